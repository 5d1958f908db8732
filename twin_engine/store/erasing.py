"""Erasing a patient: what is destroyed, in an order in which a crash anywhere can be repeated.

First the tombstone, on disk and in Redis; it is never taken back, and every process refuses her from then on. Then her
secret, without which no copy of Redis can be read. Then what lies in Redis: her raw envelopes and dead letters, and,
with the shard taken away from its engine for that moment, all the rest in one transaction. Then the append-only file
is written anew. Leaf hashes stay: they are hashes, and the log stays verifiable.

The engine does the second half again at its every start (:meth:`twin_engine.store.shard.ShardStore.acquire`), so an old
copy of Redis that is put back brings nobody back.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from security.errors import Rejected
from security.keyhome import fingerprint, name_of
from security.merkle import root
from security.tombstones import Tombstone
from twin_engine.recipients import stored_wrap
from twin_engine.store import keys
from twin_engine.store.connection import Client, translated
from twin_engine.store.errors import StoreCorrupt, StoreDown
from twin_engine.store.sweeping import adopt_recipients, marker, purge, sweep
from twin_engine.store.vault import Vault

_HOLD_MS = 15_000  # as long as a shard is taken away at most
_REWRITE_S = 600.0


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was destroyed."""

    patient: str
    tombstone: Tombstone
    keys: tuple[str, ...]  # kind and fingerprint of each
    counts: dict[str, int] = field(default_factory=dict)
    shard: str = ""
    log_size: int = 0
    log_root: bytes = b""


class Eraser:
    """Erases patients. `client` speaks as the user ``eraser``. Raises StoreDown, StoreCorrupt."""

    def __init__(self, client: Client, vault: Vault, shards: int) -> None:
        self._client, self._vault, self._shards = client, vault, shards
        home = vault.master.home
        if home is None:
            raise StoreCorrupt("expected a master key with its directory, got one without; nobody was erased")
        self._home = home

    def knows(self, patient: str) -> bool:
        """Whether there is or was such a patient: a card, a key, a secret or a tombstone."""
        with translated():
            stored = self._client.exists(keys.data_key(patient), keys.patient(patient))
            listed = self._client.sismember(keys.PATIENTS, patient)
        return bool(stored or listed or self._home.secret(name_of(patient)) or self._vault.is_erased(patient))

    def erase(self, patient: str, who: str, now_ms: int) -> Erasure:
        """All of it. Who was erased before is erased again: nothing but what is left is found."""
        shard = keys.shard_of(patient, self._shards)
        self._vault.sync_tombstones(write=True)
        adopt_recipients(self._client, self._vault, shard)
        named = self._fingerprints(patient, shard)
        stone = self._home.tombstone(patient) or Tombstone(name_of(patient), now_ms, who)
        if self._home.tombstone(patient) is None:
            self._home.bury([stone.sign(self._home.house_key())])
        self._vault.sync_tombstones(write=True)
        marks = marker(self._vault.master, shard)
        counts = purge(self._client, shard, patient, marks)
        with self._owning(shard) as token:
            counts += purge(self._client, shard, patient, marks)
            counts += sweep(self._client, self._vault, shard, patient, token)
        self._rewrite_log_of_writes()
        with translated():
            leaves = list(self._client.lrange(keys.leaves(shard), 0, -1))
        return Erasure(patient, stone, named, dict(counts), shard, len(leaves), root(leaves))

    def _fingerprints(self, patient: str, shard: str) -> tuple[str, ...]:
        """Of every key that will be destroyed, as far as it is still here."""
        secret = self._home.secret(name_of(patient))
        found = [f"patient secret {fingerprint(secret)}"] if secret else []
        try:
            for version, key in sorted(self._vault.data_keys(patient).keys.items()):
                found.append(f"data key {version} {fingerprint(key)}")
        except (StoreCorrupt, Rejected):
            pass  # destroyed before
        with translated():
            recipients = self._client.hgetall(keys.recipients(shard))
        found += [f"recipient key {kid.hex()}" for kid, b in recipients.items() if stored_wrap(b)[0] == patient]
        return tuple(found)

    @contextmanager
    def _owning(self, shard: str) -> Iterator[int]:
        """The shard, whoever had it: an engine that runs writes nothing more until it reads everything anew."""
        me = uuid.uuid4().hex
        with translated():
            self._client.set(keys.owner(shard), me, px=_HOLD_MS)
            token = int(self._client.incr(keys.fence(shard)))
        try:
            yield token
        finally:
            with translated():
                if self._client.get(keys.owner(shard)) == me.encode():
                    self._client.delete(keys.owner(shard))

    def _rewrite_log_of_writes(self) -> None:
        """Redis' append-only file, written anew without what was deleted; returns when the old one is gone."""
        deadline_s = time.monotonic() + _REWRITE_S
        if not self._persistence().get("aof_enabled"):
            return
        self._wait_for_rewrite(deadline_s)  # one that began before says nothing of ours
        with translated():
            self._client.bgrewriteaof()
        self._wait_for_rewrite(deadline_s)
        if self._persistence().get("aof_last_bgrewrite_status") != "ok":
            raise StoreDown("expected Redis to rewrite its file of writes, but it failed; erase again: see redis.log")

    def _wait_for_rewrite(self, deadline_s: float) -> None:
        while True:
            facts = self._persistence()
            if not (facts.get("aof_rewrite_in_progress") or facts.get("aof_rewrite_scheduled")):
                return
            if time.monotonic() > deadline_s:
                raise StoreDown(f"expected Redis to rewrite its file within {_REWRITE_S:.0f} s; erase again")
            time.sleep(0.02)

    def _persistence(self) -> dict[str, object]:
        with translated():
            return dict(self._client.info("persistence"))
