"""The owner's side of a shard: take it, read its two streams in order, commit what the fold made, all or nothing.

One engine owns a shard. It holds a lease of five seconds and a fencing token; a commit whose token is not the newest
writes nothing. A commit is one transaction: samples, snapshots, leaves, sessions, cards, receipts and cursor. A crash
between two commits therefore repeats work, and never loses or doubles it.
"""

from __future__ import annotations

import logging
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import cbor2
import redis

from security.keys import version_of
from twin_engine.recipients import stored_wrap
from twin_engine.registry import PatientCard
from twin_engine.retention import Mark, Retention
from twin_engine.store import acts, keys, raw
from twin_engine.store.aside import set_aside, stretches
from twin_engine.store.commit import Commit, put
from twin_engine.store.connection import Client, translated
from twin_engine.store.errors import NotOwner
from twin_engine.store.ledger import Ledger
from twin_engine.store.patients import cards_of, patient_ids
from twin_engine.store.renewing import drop_retired
from twin_engine.store.sweeping import adopt_recipients, marker, purge, sweep
from twin_engine.store.vault import Vault

log = logging.getLogger(__name__)

LEASE_MS = 5000
READ_COUNT = 500  # of each stream
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the shard was folded."""

    id: str
    acts: str
    tick_us: int
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Read:
    """An entry of one of the shard's two streams."""

    id: str
    is_act: bool
    record: raw.RawRecord | acts.RawAct | None
    fields: dict[bytes, bytes]

    @property
    def order(self) -> tuple[int, int]:
        """When it was written, by the store's clock: both streams have the same."""
        return keys.written(self.id)


class ShardStore:
    """A shard as its owner sees it. Methods raise StoreDown, NotOwner, StoreCorrupt."""

    def __init__(self, client: Client, vault: Vault, shard: str, shards: int = 1) -> None:
        """`shards`: over how many the patients are spread."""
        self.shard, self._shards = shard, shards
        self._client = client
        self._vault = vault
        self._me = uuid.uuid4().hex
        self._token = 0
        self._ledger = Ledger(client, shard)
        self._retention = Retention()

    def acquire(self) -> bool:
        """Try to become the owner. False while another engine's lease runs; one's own is taken up again."""
        with translated():
            taken = self._client.set(keys.owner(self.shard), self._me, nx=True, px=LEASE_MS)
            if not taken and self._client.get(keys.owner(self.shard)) != self._me.encode():
                return False
            self._token = int(self._client.incr(keys.fence(self.shard)))
            self._ledger.forget()
        self._retention = Retention()
        self._settle()
        return True

    def _settle(self) -> None:
        """Before anything is read: who was erased is erased again, should this be an old copy; old keys are adopted."""
        self._vault.look()
        self._vault.sync_tombstones(write=True)
        adopt_recipients(self._client, self._vault, self.shard)
        with translated():
            ids = {key.decode().removeprefix(keys.data_key("")) for key in self._client.scan_iter(keys.data_key("*"))}
        for patient in sorted(ids.union(self._patients())):
            if self.owns(patient) and self._vault.is_erased(patient):
                log.warning("%s was erased, and something of her was here; it is destroyed again", patient)
                purge(self._client, self.shard, patient, marker(self._vault.master, self.shard))
                sweep(self._client, self._vault, self.shard, patient, self._token)
            elif self.owns(patient):
                self._vault.adopt(patient)

    def is_erased(self, patient: str) -> bool:
        """Whether there is a tombstone."""
        return self._vault.is_erased(patient)

    def renew(self) -> None:
        """Prolong the lease. Raises NotOwner where another engine has taken the shard meanwhile."""
        with translated():
            if int(self._client.get(keys.fence(self.shard)) or 0) != self._token:
                raise NotOwner(f"expected to own shard {self.shard}, but a newer owner has taken it; stopped writing")
            self._client.set(keys.owner(self.shard), self._me, px=LEASE_MS)

    def release(self) -> None:
        """Give the shard up at once, so that a successor need not wait for the lease to run out."""
        with translated():
            if self._client.get(keys.owner(self.shard)) == self._me.encode():
                self._client.delete(keys.owner(self.shard))

    def cursor(self) -> Cursor:
        """Where the last owner stopped."""
        with translated():
            stored = self._client.hgetall(keys.cursor(self.shard))
        facts = {k.decode(): v.decode() for k, v in stored.items()}
        counts = {k.removeprefix("n:"): int(v) for k, v in facts.items() if k.startswith("n:")}
        return Cursor(facts.get("id", "0-0"), facts.get("acts", "0-0"), int(facts.get("tick_us", 0)), counts)

    def read(self, after: str, acts_after: str, block_ms: int) -> list[Read]:
        """Raw records and acts after their ids, in the order in which they were written; waits up to `block_ms`.

        An entry of no known kind comes as None. Where one stream holds more than one batch, of the other comes nothing
        that was written after the end of that: it would overtake what is still to be read.
        """
        streams = {keys.raw(self.shard): after, keys.acts(self.shard): acts_after}
        with translated():
            reply = self._client.xread(streams, count=READ_COUNT, block=max(1, block_ms)) or {}
        wishes = [
            Read(i.decode(), True, _parsed(acts.parse, i, f), f) for i, f in _entries(reply, keys.acts(self.shard))
        ]
        raws = [Read(i.decode(), False, _parsed(raw.parse, i, f), f) for i, f in _entries(reply, keys.raw(self.shard))]
        ends = [batch[-1].order for batch in (wishes, raws) if len(batch) >= READ_COUNT]
        found = sorted(wishes + raws, key=lambda read: read.order)
        return [read for read in found if all(read.order <= end for end in ends)]

    def snapshot(self, patient: str) -> bytes | None:
        """The twin's stored state, unsealed, or None where there is none."""
        with translated():
            sealed = self._client.get(keys.state(self.shard, patient))
        if sealed is None:
            return None
        return zlib.decompress(self._vault.cipher(patient).unseal(sealed, b"state|" + patient.encode()))

    def patients(self) -> set[str]:
        """Who was ever admitted to the shard and not erased, whether anything of her can be read or not."""
        return {patient for patient in self._patients() if not self.is_erased(patient)}

    def cards(self) -> dict[str, PatientCard]:
        """The cards of the shard's patients, by id; without those who were erased, or whose cards nobody can read."""
        return cards_of(self._client, self._vault, self._patients())

    def owns(self, patient: str) -> bool:
        """Whether the patient belongs to this shard."""
        return keys.shard_of(patient, self._shards) == self.shard

    def create_key(self, patient: str) -> None:
        """A data key for a new patient; who has one keeps it. Written at once: a key alone says nothing."""
        self._vault.create(patient)

    def claim(self, device: str, patient: str) -> str:
        """Take a device for a patient, at once, unless it speaks for another: returns for whom it speaks now.

        Every engine asks here, so two can't both have it. Who dies before the commit finds its own claim again.
        Raises NotOwner where another engine has taken the shard.
        """
        with translated(), self._client.pipeline(transaction=True) as batch:
            while True:
                try:
                    batch.watch(keys.fence(self.shard), keys.ROUTE)
                    self._check_token(batch)
                    _, holder = keys.read_route(batch.hget(keys.ROUTE, device))
                    if holder not in ("", patient):
                        return holder
                    batch.multi()
                    batch.hset(keys.ROUTE, device, keys.route(self.shard, patient))
                    batch.execute()
                    return patient
                except redis.WatchError:  # another device was claimed meanwhile, or the shard changed hands
                    batch.reset()

    def _check_token(self, batch: Client) -> None:
        if int(batch.get(keys.fence(self.shard)) or 0) != self._token:
            raise NotOwner(f"expected to own shard {self.shard}, but a newer owner has taken it; nothing written")

    def is_readable(self, patient: str) -> bool:
        """Whether the patient was admitted and not erased: there is a key to her data."""
        return self._vault.is_readable(patient)

    def sessions(self) -> dict[bytes, bytes]:
        """device|sid -> session with its keys. Those of patients who were erased can't be read, and are left out."""
        with translated():
            stored = self._client.hgetall(keys.sessions(self.shard))
        out = {}
        for name, blob in stored.items():
            patient, sealed = cbor2.loads(blob)
            if self.is_readable(patient):
                out[name] = self._vault.cipher(patient).unseal(sealed, b"session|" + name)
        return out

    def recipients(self) -> dict[bytes, bytes]:
        """kid -> wrapped private key."""
        with translated():
            return dict(self._client.hgetall(keys.recipients(self.shard)))

    def assignments(self) -> dict[str, str]:
        """device -> JSON of its assignments."""
        with translated():
            stored = self._client.hgetall(keys.assignments(self.shard))
        return {k.decode(): v.decode() for k, v in stored.items()}

    def leaf_hashes(self) -> list[bytes]:
        """All leaf hashes (32 B each), in order."""
        with translated():
            return list(self._client.lrange(keys.leaves(self.shard), 0, -1))

    def commit(self, commit: Commit) -> None:
        """Write everything, or nothing. Raises NotOwner where the fencing token is no longer the newest."""
        with translated(), self._client.pipeline(transaction=True) as batch:
            batch.watch(keys.fence(self.shard))
            self._check_token(batch)
            if commit.recipients:
                self._check_wraps(batch, commit)
            self._ledger.load()
            batch.multi()
            try:
                self._ledger.append(batch, commit.ledger)
                put(batch, commit, self._vault, self.shard)
                self._ledger.settle(batch.execute())
            except redis.WatchError as error:
                self._ledger.forget()
                text = f"shard {self.shard} changed hands, or the master key was exchanged, during a commit"
                raise NotOwner(f"{text}; nothing written") from error
            except BaseException:  # whatever it was: the ledger is ahead of the store
                self._ledger.forget()
                raise

    def _check_wraps(self, batch: Client, commit: Commit) -> None:
        """New keys must lie under the version of the master key that stays. Raises NotOwner: the round is redone."""
        batch.watch(keys.MASTER)
        newest = int(batch.get(keys.MASTER) or 0)
        if any(version_of(stored_wrap(entry)[1]) < newest for entry in commit.recipients.values()):
            raise NotOwner("expected keys under the newest master key, but it was exchanged meanwhile; nothing written")

    def trim(self, now_ms: int, cursor_id: str, acts_id: str, steady_ms: int | None = None) -> int:
        """Forget raw records and acts older than the history, never one that was not folded, and all of what was made.

        The last of it too, which a patient who was discharged would otherwise leave for good: nothing follows it.
        `steady_ms`: of a steady clock, by which steps of the other one are known; None: there are none. Returns from
        when on (ms) what was made stays.
        """
        oldest = self._retention.note(Mark(now_ms if steady_ms is None else steady_ms, now_ms, cursor_id, acts_id))
        with translated():
            batch = self._client.pipeline(transaction=False)
            for key, first in ((keys.raw(self.shard), oldest.record), (keys.entries(self.shard), oldest.record),
                               (keys.acts(self.shard), oldest.act)):  # fmt: skip
                batch.xtrim(key, minid=first, approximate=True)
            for patient in self._patients():
                batch.xtrim(keys.twin(self.shard, patient), minid=f"{oldest.made_ms}-0", approximate=False)
            batch.execute()
        for patient in self._patients():
            if self._vault.has_older(patient) and not stretches(self._client, self.shard, patient):
                drop_retired(self._client, self._vault, self.shard, patient, oldest.made_ms + keys.HISTORY_MS)
        return oldest.made_ms

    def set_aside(self, now_ms: int) -> None:
        """Twin streams whose ids lie in the future make way for new ones (:mod:`twin_engine.store.aside`)."""
        for patient in set_aside(self._client, self.shard, self._patients(), self._token, now_ms):
            log.error("what was made for %s bears times after now: it is set aside, her history begins anew", patient)

    def _patients(self) -> list[str]:
        """The shard's patients, whether their cards can be read or not."""
        return [patient for patient in patient_ids(self._client) if self.owns(patient)]


def _entries(reply: Mapping[bytes, Any], key: str) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
    """The entries of one stream in an XREAD reply (RESP3 gives a mapping of lists of batches)."""
    return (entry for batch in reply.get(key.encode(), ()) for entry in batch)


def _parsed(parse: Callable[[bytes, dict[bytes, bytes]], _T], entry_id: bytes, fields: dict[bytes, bytes]) -> _T | None:
    try:
        return parse(entry_id, fields)
    except (ValueError, KeyError):
        return None
