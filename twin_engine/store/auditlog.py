"""The audit log's one writer: events from the queue get a place, a salt and a leaf, and lie sealed. Nothing is pruned.

Entry, leaf, inner nodes, what is expected next of each writer and the removal from the queue are one transaction, so a
crash neither loses nor doubles an event. What was cut out of the queue is itself an event, in its place. Entries are
sealed under a data key of their own, which the master key wraps: a new master key rewraps one key.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

import redis

from security.audit import AuditEvent
from security.errors import Rejected, SecurityError
from security.keys import MasterKey, PatientCipher, create_data_key
from security.log import SALT_BYTES, audit_entry
from security.merkle import leaf_hash
from twin_engine.store import keys
from twin_engine.store.audit import KEY_CONTEXT, audit_cipher, entry_context, open_event
from twin_engine.store.audit_numbers import Expected
from twin_engine.store.connection import Client, translated
from twin_engine.store.errors import StoreCorrupt
from twin_engine.store.fsck import Finding
from twin_engine.store.ledger import Ledger
from twin_engine.store.log import LogReader

log = logging.getLogger(__name__)

MISSING = "events-missing"  # the kind of a finding
_BATCH = 200


class AuditKeeper:
    """Takes events out of the queue, in order, into the log. `reader` may read, `scribe` may write the audit log."""

    def __init__(
        self, reader: Client, scribe: Client, master: MasterKey, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._reader, self._scribe, self._master, self._random = reader, scribe, master, random
        self._ledger = Ledger(scribe, keys.AUDIT_LOG)
        self._cipher: PatientCipher | None = None
        self._holes = list[Finding]()

    def take(self, now_ms: int) -> int:
        """Sequence what waits. Returns how many events. Raises StoreDown, StoreCorrupt."""
        with translated(), self._reader.pipeline(transaction=True) as batch:  # queue and count of one moment
            waiting, count = batch.xrange(keys.AUDIT_IN, count=_BATCH).get(keys.AUDIT_COUNT).execute()
        with translated():
            counted = self._scribe.get(keys.AUDIT_TAKEN)
        if waiting or counted != count:
            self._ledger.load()
            self._commit(waiting, int(count or 0), None if counted is None else int(counted), now_ms)
        return len(waiting)

    def take_holes(self) -> list[Finding]:
        """What was found missing since the last call. The log says it already."""
        found, self._holes = self._holes, []
        return found

    def _commit(
        self, waiting: list[tuple[bytes, dict[bytes, bytes]]], count: int, counted: int | None, now_ms: int
    ) -> None:
        """`count` events were ever left in the queue, `counted` of them have their place or were told to be missing."""
        cipher = self._own_cipher()
        with translated(), self._scribe.pipeline(transaction=True) as batch:
            batch.watch(keys.leaves(keys.AUDIT_LOG))
            first = int(batch.llen(keys.leaves(keys.AUDIT_LOG)))
            if first != self._ledger.size:
                self._ledger.forget()
                raise StoreCorrupt(f"expected {self._ledger.size} leaves in the audit log, got {first}; read anew")
            queue = _Queue(self._master, Expected(batch.hgetall(keys.AUDIT_WRITERS)), now_ms)
            events = [event for one in waiting for event in queue.opened(*one)]
            counted = count if counted is None else counted + queue.numbered + queue.missing
            if len(waiting) < _BATCH:
                events += queue.unexplained(count - counted, count)
                counted = count
            batch.multi()
            entries = [audit_entry(self._random(SALT_BYTES), event) for event in events]
            for index, entry in enumerate(entries, first):
                sealed = cipher.seal(entry, entry_context(index))
                batch.xadd(keys.entries(keys.AUDIT_LOG), {"i": index, "b": sealed})
            self._ledger.push(batch, [leaf_hash(entry) for entry in entries])
            if waiting:
                batch.xdel(keys.AUDIT_IN, *(entry_id for entry_id, _ in waiting))
            queue.note(batch, counted)
            try:
                self._ledger.settle(batch.execute())
            except redis.WatchError as error:
                self._ledger.forget()
                raise StoreCorrupt("expected to be the audit log's only writer, got another one; read anew") from error
            except redis.RedisError:
                self._ledger.forget()
                raise
        self._holes += queue.holes

    def _own_cipher(self) -> PatientCipher:
        if self._cipher is None:
            made = self._master.wrap(create_data_key(), KEY_CONTEXT)
            with translated():
                self._scribe.set(keys.AUDIT_KEY, made, nx=True)
            self._cipher = audit_cipher(self._scribe, self._master)
        assert self._cipher is not None  # noqa: S101 - just made, or was there
        return self._cipher


class _Queue:
    """What waits, as it is opened entry by entry; and what is missing of it, which becomes an event in its place."""

    def __init__(self, master: MasterKey, expected: Expected, now_ms: int) -> None:
        self._master, self._expected, self._now_ms = master, expected, now_ms
        self.numbered = self.missing = 0
        self.holes = list[Finding]()

    def opened(self, entry_id: bytes, fields: dict[bytes, bytes]) -> list[bytes]:
        """The event's bytes, after one that tells of the hole before it. One that this house did not seal is itself an
        event: it is told, and holds up nobody.
        """
        try:
            found = open_event(self._master, fields)
        except (Rejected, SecurityError, KeyError) as error:
            log.warning("an audit event that can't be read (%s): %s", entry_id.decode(), error)
            what = "an event in the queue was not sealed by this house; who wrote it may have removed others"
            return [self._alarm({"what": what, "id": entry_id.decode()})]
        missing = self._expected.take(found, self._now_ms)
        self.numbered += bool(found.writer)
        self.missing += missing
        told = self._hole(missing, f"before {entry_id.decode()}", f"of the writer {found.writer.hex()}")
        return [*told, found.event.to_bytes()]

    def unexplained(self, missing: int, count: int) -> list[bytes]:
        """The same for what no number tells: whose it was shows when the writer speaks again, if it ever does."""
        return self._hole(missing, f"of the first {count}", "their writers have not spoken since")

    def note(self, batch: Client, counted: int) -> None:
        """Queue what is to be expected from now on."""
        batch.set(keys.AUDIT_TAKEN, counted)
        if changed := self._expected.changed():
            batch.hset(keys.AUDIT_WRITERS, mapping=changed)
        if forgotten := self._expected.forgotten(self._now_ms):
            batch.hdel(keys.AUDIT_WRITERS, *forgotten)

    def _hole(self, missing: int, where: str, whose: str) -> list[bytes]:
        if missing <= 0:
            return []
        were = "1 audit event was" if missing == 1 else f"{missing} audit events were"
        finding = Finding(MISSING, where, f"{were} removed from the queue before having a place: {whose}")
        log.error("%s (%s)", finding.detail, finding.where)
        self.holes.append(finding)
        return [self._alarm({"kind": finding.kind, "where": finding.where, "what": finding.detail})]

    def _alarm(self, facts: dict[str, str]) -> bytes:
        return AuditEvent(self._now_ms, "notary", "log.alarm", keys.AUDIT_LOG, facts).to_bytes()


class AuditCheck:
    """Do the audit log's entries open, and hash to their leaves, without a hole? Remembers how far it looked."""

    def __init__(self, reader: LogReader, master: MasterKey) -> None:
        self._reader, self._master = reader, master
        self._after, self._next = "0-0", 0

    def look(self, size: int, *, whole: bool) -> list[Finding]:
        """What is wrong among new entries, or among all. `size`: number of leaves when the look began."""
        if whole:
            self._after, self._next = "0-0", 0
        findings, cipher = list[Finding](), audit_cipher(self._reader.client, self._master)
        at, leaves, first = self._next, list[bytes](), -1
        for entry_id, fields in self._reader.lines(self._after):
            if at >= size:
                break
            if not first <= at < first + len(leaves):
                first, leaves = at, self._reader.read(0, at, 256)
            stored = leaves[0 if first < 0 else at - first] if leaves else b""
            if fields.get(b"i") != str(at).encode():
                return [*findings, Finding("entry-missing", f"leaf {at}", f"line {entry_id.decode()} is another's")]
            if cipher is None or not _hashes_to(cipher, at, fields, stored):
                findings.append(Finding("entry-changed", f"leaf {at}", "the sealed entry does not open to its leaf"))
            at += 1
            self._after, self._next = entry_id.decode(), at
        if at < size and len(findings) < 20:
            findings.append(Finding("entry-missing", f"leaf {at}", f"{size} leaves, and entries up to {at} only"))
        return findings[:20]


def _hashes_to(cipher: PatientCipher, index: int, fields: dict[bytes, bytes], leaf: bytes) -> bool:
    try:
        return leaf_hash(cipher.unseal(fields[b"b"], entry_context(index))) == leaf
    except (Rejected, KeyError):
        return False
