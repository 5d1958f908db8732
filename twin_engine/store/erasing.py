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
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import cbor2
import redis

from security.errors import Rejected
from security.keyhome import fingerprint, name_of
from security.keys import belongs_to
from security.merkle import root
from security.recipient import RECIPIENT_LIFE_MS
from security.tombstones import Tombstone
from twin_engine.recipients import open_stored, seal_stored, stored_wrap, unwrap_stored
from twin_engine.records import Act, ActRefused
from twin_engine.registry import Assignments
from twin_engine.store import keys
from twin_engine.store.acts import context as act_context
from twin_engine.store.connection import Client, translated
from twin_engine.store.errors import NotOwner, StoreCorrupt, StoreDown
from twin_engine.store.vault import Vault

_CHUNK = 1000
_HOLD_MS = 15_000  # as long as a shard is taken away at most
_REWRITE_S = 600.0
Counts = Counter[str]
Fields = dict[bytes, bytes]  # of an entry of a stream
Mark = Callable[[str, Fields, Fields | None], bytes]


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
        counts = purge(self._client, shard, patient)
        with self._owning(shard) as token:
            counts += purge(self._client, shard, patient)
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


# ------------------------------------------------------------------------------------- what lies in Redis


def purge(client: Client, shard: str, patient: str, mark: Mark | None = None) -> Counts:
    """Delete her raw envelopes and answers, and the dead letters about her. Needs her assignments.

    `mark`: what is left in ``eb:{s0}:erased`` for a raw record, from its id, its fields and its dead letter's, in the
    transaction that deletes them: whoever checks the log against the raw stream then knows why it is gone.
    """
    spans, name = _spans(client, shard, patient), name_of(patient)

    def hers(entry_id: bytes, fields: Fields) -> bool:
        written_ms = int(fields.get(b"id", entry_id).split(b"-")[0])
        device = fields.get(b"device", b"").decode(errors="replace")
        within = any(start <= written_ms <= end for start, end in spans.get(device, ()))
        return within or belongs_to(fields.get(b"body", b"")) == name

    letters = [(entry_id, fields) for entry_id, fields in _entries(client, keys.dead(shard)) if hers(entry_id, fields)]
    of_record = {fields[b"id"]: (entry_id, fields) for entry_id, fields in letters if fields.get(b"device")}
    gone = 0
    for chunk in _chunks(client, keys.raw(shard)):
        wanted = {entry_id: fields for entry_id, fields in chunk if hers(entry_id, fields)}
        if not wanted:
            continue
        with translated(), client.pipeline(transaction=True) as batch:
            if mark is not None:
                marks = {i: mark(i.decode(), f, of_record[i][1] if i in of_record else None) for i, f in wanted.items()}
                batch.hset(keys.erased(shard), mapping=marks)
            batch.xdel(keys.raw(shard), *wanted)
            if about := [of_record[record][0] for record in wanted if record in of_record]:
                batch.xdel(keys.dead(shard), *about)
            batch.execute()
        gone += len(wanted)
    if letters:
        with translated():
            client.xdel(keys.dead(shard), *(entry_id for entry_id, _ in letters))
    return Counts({"raw records": gone, "dead letters": len(letters)})


def sweep(client: Client, vault: Vault, shard: str, patient: str, token: int) -> Counts:
    """Everything else of hers, in one transaction. Raises NotOwner where `token` is not the newest of the shard."""
    name = name_of(patient)

    def is_her_act(_: bytes, fields: Fields) -> bool:
        sealed = fields.get(b"b", b"")
        return belongs_to(sealed) == name or (not belongs_to(sealed) and _wants(vault, shard, sealed) == patient)

    counts = Counts({"acts": _delete_entries(client, keys.acts(shard), is_her_act)})
    with translated(), client.pipeline(transaction=True) as batch:
        batch.watch(keys.fence(shard))
        if int(batch.get(keys.fence(shard)) or 0) != token:
            raise NotOwner(f"expected to own shard {shard}, but a newer owner has taken it; erase again")
        sessions = [n for n, b in batch.hgetall(keys.sessions(shard)).items() if cbor2.loads(b)[0] == patient]
        recipients = [k for k, b in batch.hgetall(keys.recipients(shard)).items() if stored_wrap(b)[0] == patient]
        assigned = {d: Assignments.from_json(t.decode()) for d, t in batch.hgetall(keys.assignments(shard)).items()}
        routes = [d for d, entry in batch.hgetall(keys.ROUTE).items() if keys.read_route(entry)[1] == patient]
        owned = (keys.data_key(patient), keys.patient(patient), keys.state(shard, patient))
        counts["entries of the twin stream"] = batch.xlen(keys.twin(shard, patient))
        counts["keys, card and state"] = batch.exists(*owned)
        batch.multi()
        batch.delete(*owned, keys.twin(shard, patient))
        batch.srem(keys.PATIENTS, patient)
        for key, fields in ((keys.sessions(shard), sessions), (keys.recipients(shard), recipients),
                            (keys.HOMES, [*sessions, *recipients]), (keys.ROUTE, routes)):  # fmt: skip
            if fields:
                batch.hdel(key, *fields)
        counts["assignments"] = _put_assignments(batch, shard, patient, assigned)
        try:
            batch.execute()
        except redis.WatchError as error:
            raise NotOwner(f"shard {shard} changed hands while a patient was erased; erase again") from error
    return counts + Counts({"sessions": len(sessions), "recipient keys": len(recipients), "devices": len(routes)})


def adopt_recipients(client: Client, vault: Vault, shard: str) -> None:
    """Put recipient keys of before there were patients' secrets under the secret of whom they were made for."""
    with translated():
        stored = client.hgetall(keys.recipients(shard))
        assigned = client.hgetall(keys.assignments(shard))
    for kid, blob in stored.items():
        if vault.master.home is None or stored_wrap(blob)[0]:
            continue
        try:
            _, _, device, end_ms = open_stored(vault.master, kid, blob)
        except Rejected:
            continue  # of a master key that is not here any more: nobody can open it
        history = Assignments.from_json(assigned.get(device.encode(), b"[]").decode())
        patient = history.patient_at(end_ms - RECIPIENT_LIFE_MS) or (
            history.history[-1].patient if history.history else ""
        )
        with translated():
            if not patient or not vault.is_readable(patient):
                client.hdel(keys.recipients(shard), kid)  # what it opens, nobody may or can read
            else:
                vault.master.home.create_secret(patient)
                body = unwrap_stored(vault.master, kid, blob)[1]
                client.hset(keys.recipients(shard), kid, seal_stored(vault.master, kid, patient, body))


def _spans(client: Client, shard: str, patient: str) -> dict[str, list[tuple[int, float]]]:
    """When each device spoke for her, in ms."""
    with translated():
        stored = client.hgetall(keys.assignments(shard))
    out = dict[str, list[tuple[int, float]]]()
    for device, text in stored.items():
        for a in Assignments.from_json(text.decode()).history:
            if a.patient == patient:
                out.setdefault(device.decode(), []).append((a.from_ms, a.to_ms or float("inf")))
    return out


def _put_assignments(batch: Client, shard: str, patient: str, assigned: dict[bytes, Assignments]) -> int:
    """The devices' histories without her; how many of hers there were."""
    gone = 0
    for device, had in assigned.items():
        kept = tuple(a for a in had.history if a.patient != patient)
        gone += len(had.history) - len(kept)
        if not kept:
            batch.hdel(keys.assignments(shard), device)
        elif len(kept) < len(had.history):
            batch.hset(keys.assignments(shard), device, replace(had, history=kept).to_json())
    return gone


def _wants(vault: Vault, shard: str, sealed: bytes) -> str:
    """Of whom an act was that the master key alone sealed; empty where nobody can tell."""
    try:
        return Act.from_bytes(vault.master.unwrap(sealed, act_context(shard))).patient
    except (Rejected, ActRefused):
        return ""


def _delete_entries(client: Client, key: str, hers: Callable[[bytes, Fields], bool]) -> int:
    """How many entries of a stream were deleted."""
    gone = 0
    for chunk in _chunks(client, key):
        wanted = [entry_id for entry_id, fields in chunk if hers(entry_id, fields)]
        if wanted:
            with translated():
                gone += int(client.xdel(key, *wanted))
    return gone


def _entries(client: Client, key: str) -> Iterator[tuple[bytes, Fields]]:
    return (entry for chunk in _chunks(client, key) for entry in chunk)


def _chunks(client: Client, key: str) -> Iterator[list[tuple[bytes, Fields]]]:
    """A whole stream, in pieces so that nobody waits long."""
    after, found = "-", list[tuple[bytes, Fields]]()
    while True:
        with translated():
            found = client.xrange(key, min=after, count=_CHUNK)
        if found:
            yield found
        if len(found) < _CHUNK:
            return
        after = f"({found[-1][0].decode()}"
