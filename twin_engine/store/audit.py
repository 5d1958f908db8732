"""Where every process leaves its audit events: one stream, sealed under the master key, written before it is answered.

They wait there until the log's keeper gives each its place in the audit log. Whoever may append here can't read it, and
who cuts it leaves a hole in the writers' numbers (:mod:`twin_engine.store.audit_numbers`).
:class:`AuditReader` reads the log itself, for the audit page and ``everbeat audit``.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass

from security.audit import AuditEvent
from security.errors import Rejected
from security.keys import MasterKey, PatientCipher
from security.log import read_audit_entry
from security.merkle import leaf_hash
from twin_engine.store import keys
from twin_engine.store.audit_numbers import STALE_MS, WRITER_BYTES, Numbered
from twin_engine.store.connection import Client, translated
from twin_engine.store.errors import StoreCorrupt

CONTEXT = b"audit"


class AuditWriter:
    """Appends events, each with its number. `client` speaks as a user who may write to the stream. Thread-safe."""

    def __init__(self, client: Client, master: MasterKey) -> None:
        self._client, self._master = client, master
        self._lock = threading.Lock()  # numbers go out in their order
        self._name, self._next, self._wrote_s = b"", 0, 0.0
        self._begin()

    def write(self, event: AuditEvent) -> None:
        """Leave one event; on disk when it returns. Raises StoreDown."""
        with self._lock:
            if (time.monotonic() - self._wrote_s) * 1000 > STALE_MS:
                self._begin()
            body = Numbered(self._name, self._next, event).to_bytes()
            try:
                with translated(), self._client.pipeline(transaction=True) as batch:
                    batch.xadd(keys.AUDIT_IN, {"b": self._master.wrap(body, CONTEXT)})
                    batch.execute_command("INCR", keys.AUDIT_COUNT)  # INCRBY, which could count back, is not allowed
                    batch.execute()
            except BaseException:  # it may be there or not: under another name no number is missing or there twice
                self._begin()
                raise
            self._next, self._wrote_s = self._next + 1, time.monotonic()

    def _begin(self) -> None:
        self._name, self._next, self._wrote_s = os.urandom(WRITER_BYTES), 0, time.monotonic()


def open_event(master: MasterKey, fields: dict[bytes, bytes]) -> Numbered:
    """An entry of the stream. Raises Rejected where it was not sealed by this house, KeyError where it holds none."""
    return Numbered.from_bytes(master.unwrap(fields[b"b"], CONTEXT))


KEY_CONTEXT = b"audit|key"  # what the audit log's wrapped data key is bound to
_CHUNK = 500
_SCANNED = 50_000  # entries that one page may look through for what it shows


def audit_cipher(client: Client, master: MasterKey) -> PatientCipher | None:
    """What opens the audit log's entries, or None where there is no audit log yet. Raises Rejected, StoreDown."""
    with translated():
        wrapped = client.get(keys.AUDIT_KEY)
    return None if wrapped is None else PatientCipher(master.unwrap(wrapped, KEY_CONTEXT))


def entry_context(index: int) -> bytes:
    """What a sealed entry is bound to: its place."""
    return f"audit|{index}".encode()


@dataclass(frozen=True, slots=True)
class AuditLine:
    """An event in its place. `entry` is what its leaf hashes (it holds the salt); None where it can't be opened."""

    id: str  # for :meth:`AuditReader.page`
    index: int
    event: AuditEvent | None
    entry: bytes
    leaf: bytes


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Lines, newest first, and where the next page begins; `older` is empty where there is nothing more."""

    lines: tuple[AuditLine, ...]
    older: str


class AuditReader:
    """Reads the audit log. `client` may read the log's keys, and `master` opens its data key."""

    def __init__(self, client: Client, master: MasterKey) -> None:
        self._client, self._master = client, master
        self._cipher: PatientCipher | None = None

    def page(self, *, before: str = "", count: int = 50, kind: str = "", about: str = "", who: str = "") -> AuditPage:
        """At most `count` events, newest first, of before the line `before`.

        `kind`: a whole kind or its first word ("access"); `about` and `who`: whole words. A page that looked through
        very many events may be short and still have `older`. Raises StoreDown, StoreCorrupt, Rejected.
        """
        lines, scanned = list[AuditLine](), 0
        while len(lines) < count and scanned < _SCANNED:
            with translated():
                found = self._client.xrevrange(
                    keys.entries(keys.AUDIT_LOG), max=f"({before}" if before else "+", count=_CHUNK
                )
            for entry_id, fields in found:
                before = entry_id.decode()
                line = self._line(before, fields)
                if _is_wanted(line.event, kind, about, who):
                    lines.append(line)
                    if len(lines) >= count:
                        return AuditPage(tuple(lines), before)
            scanned += len(found)
            if len(found) < _CHUNK:
                return AuditPage(tuple(lines), "")
        return AuditPage(tuple(lines), before)

    def _line(self, entry_id: str, fields: dict[bytes, bytes]) -> AuditLine:
        index = int(fields[b"i"]) if fields.get(b"i", b"").isdigit() else -1
        opener = self._opener()
        try:
            entry = opener.unseal(fields[b"b"], entry_context(index))
            return AuditLine(
                entry_id, index, AuditEvent.from_bytes(read_audit_entry(entry)[1]), entry, leaf_hash(entry)
            )
        except (Rejected, KeyError):
            return AuditLine(entry_id, index, None, b"", b"")  # the notary says what is wrong with it

    def _opener(self) -> PatientCipher:
        """Raises Rejected where the master key is another, StoreCorrupt where the log's key is gone."""
        self._cipher = self._cipher or audit_cipher(self._client, self._master)
        if self._cipher is None:
            raise StoreCorrupt("expected the audit log's key beside its entries, got none; it can't be read")
        return self._cipher


def _is_wanted(event: AuditEvent | None, kind: str, about: str, who: str) -> bool:
    if event is None:
        return not (kind or about or who)
    named = not kind or event.kind == kind or event.kind.split(".")[0] == kind
    return named and about in ("", event.about) and who in ("", event.who)
