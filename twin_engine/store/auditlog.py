"""The audit log's one writer: events from the queue get a place, a salt and a leaf, and lie sealed. Nothing is pruned.

Entry, leaf, inner nodes and the removal from the queue are one transaction, so a crash neither loses nor doubles an
event. Entries are sealed under a data key of their own, which the master key wraps: a new master key rewraps one key.
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
from twin_engine.store.connection import Client, translated
from twin_engine.store.errors import StoreCorrupt
from twin_engine.store.fsck import Finding
from twin_engine.store.ledger import Ledger
from twin_engine.store.log import LogReader

log = logging.getLogger(__name__)

_BATCH = 200


class AuditKeeper:
    """Takes events out of the queue, in order, into the log. `reader` may read, `scribe` may write the audit log."""

    def __init__(
        self, reader: Client, scribe: Client, master: MasterKey, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._reader, self._scribe, self._master, self._random = reader, scribe, master, random
        self._ledger = Ledger(scribe, keys.AUDIT_LOG)
        self._cipher: PatientCipher | None = None

    def take(self, now_ms: int) -> int:
        """Sequence what waits. Returns how many events. Raises StoreDown, StoreCorrupt."""
        with translated():
            waiting = self._reader.xrange(keys.AUDIT_IN, count=_BATCH)
        if waiting:
            self._ledger.load()
            events = [self._opened(entry_id, fields, now_ms) for entry_id, fields in waiting]
            self._commit([entry_id for entry_id, _ in waiting], events)
        return len(waiting)

    def _commit(self, ids: list[bytes], events: list[bytes]) -> None:
        cipher = self._own_cipher()
        with translated(), self._scribe.pipeline(transaction=True) as batch:
            batch.watch(keys.leaves(keys.AUDIT_LOG))
            first = int(batch.llen(keys.leaves(keys.AUDIT_LOG)))
            if first != self._ledger.size:
                self._ledger.forget()
                raise StoreCorrupt(f"expected {self._ledger.size} leaves in the audit log, got {first}; read anew")
            batch.multi()
            entries = [audit_entry(self._random(SALT_BYTES), event) for event in events]
            for index, entry in enumerate(entries, first):
                sealed = cipher.seal(entry, entry_context(index))
                batch.xadd(keys.entries(keys.AUDIT_LOG), {"i": index, "b": sealed})
            self._ledger.push(batch, [leaf_hash(entry) for entry in entries])
            batch.xdel(keys.AUDIT_IN, *ids)
            try:
                self._ledger.settle(batch.execute())
            except redis.WatchError as error:
                self._ledger.forget()
                raise StoreCorrupt("expected to be the audit log's only writer, got another one; read anew") from error
            except redis.RedisError:
                self._ledger.forget()
                raise

    def _opened(self, entry_id: bytes, fields: dict[bytes, bytes], now_ms: int) -> bytes:
        """The event's bytes. One that this house did not seal is itself an event: it is told, and holds up nobody."""
        try:
            return open_event(self._master, fields).to_bytes()
        except (Rejected, SecurityError, KeyError) as error:
            log.warning("an audit event that can't be read (%s): %s", entry_id.decode(), error)
            facts = {"what": "an event in the queue was not sealed by this house", "id": entry_id.decode()}
            return AuditEvent(now_ms, "notary", "log.alarm", keys.AUDIT_LOG, facts).to_bytes()

    def _own_cipher(self) -> PatientCipher:
        if self._cipher is None:
            made = self._master.wrap(create_data_key(), KEY_CONTEXT)
            with translated():
                self._scribe.set(keys.AUDIT_KEY, made, nx=True)
            self._cipher = audit_cipher(self._scribe, self._master)
        assert self._cipher is not None  # noqa: S101 - just made, or was there
        return self._cipher


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
