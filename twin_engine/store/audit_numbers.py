"""Numbers on audit events, so that one that vanishes while it waits for its place leaves a hole. Pure.

Whoever may append to the queue may also cut it (Redis can't allow XADD without MAXLEN). So every writer counts its
events under the seal, from 0, and each event is counted once more in Redis, in the transaction that leaves it, where
who may append can only count on (:data:`twin_engine.store.keys.AUDIT_COUNT`). The log's keeper compares both: the first
says whose events are missing and where, the second also finds those of a writer that never speaks again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from security import canonical
from security.audit import MAX_EVENT_BYTES, AuditEvent
from security.errors import Reason, Rejected

WRITER_BYTES = 8
STALE_MS = 7 * 86_400_000  # a writer that was quiet for so long begins anew under another name
FORGET_MS = 30 * 86_400_000  # and after so long nobody expects it any more
_DOMAIN = "everbeat/1 numbered audit event"
_MOST_BYTES = MAX_EVENT_BYTES + 64


@dataclass(frozen=True, slots=True)
class Numbered:
    """An event as it waits. `writer` is empty where an older version wrote it: then it has no number."""

    writer: bytes
    number: int
    event: AuditEvent

    def to_bytes(self) -> bytes:
        """To be sealed."""
        return canonical.encode([_DOMAIN, self.writer, self.number, self.event.to_bytes()])

    @classmethod
    def from_bytes(cls, data: bytes) -> Numbered:
        """The inverse of :meth:`to_bytes`, and of a bare event's. Raises Rejected on other bytes."""
        value: Any = canonical.decode(data, "an audit event") if len(data) <= _MOST_BYTES else ()
        match value:
            case [domain, bytes(writer), int(number), bytes(event)] if domain == _DOMAIN:
                if len(writer) == WRITER_BYTES and number >= 0 and type(number) is int:
                    return cls(writer, number, AuditEvent.from_bytes(event))
                raise Rejected(Reason.MALFORMED, "a numbered audit event", "another value", "it was left out")
        return cls(b"", 0, AuditEvent.from_bytes(data))


class Expected:
    """The next number of each writer, as the log's keeper stores it: writer -> ``NUMBER|MS`` of its last event."""

    def __init__(self, stored: Mapping[bytes, bytes]) -> None:
        """Raises ValueError on rows of another form."""
        rows = {writer: row.split(b"|") for writer, row in stored.items()}
        self._next = {writer: (int(number), int(ms)) for writer, (number, ms) in rows.items()}
        self._changed = set[bytes]()

    def take(self, found: Numbered, now_ms: int) -> int:
        """How many events of this writer are missing before this one. One that comes twice misses nothing."""
        if not found.writer:
            return 0
        wanted, _ = self._next.get(found.writer, (0, 0))
        if found.number >= wanted:
            self._next[found.writer] = (found.number + 1, now_ms)
            self._changed.add(found.writer)
        return max(0, found.number - wanted)

    def changed(self) -> dict[bytes, bytes]:
        """Rows to be written."""
        return {writer: b"%d|%d" % self._next[writer] for writer in self._changed}

    def forgotten(self, now_ms: int) -> list[bytes]:
        """Writers of whom nothing is expected any more."""
        return [writer for writer, (_, ms) in self._next.items() if now_ms - ms > FORGET_MS]
