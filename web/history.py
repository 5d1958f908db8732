"""The last minute of one patient, as the relay remembers it: enough to give a new viewer the whole picture at once.

Entries go in as the engine made them; out comes one SNAPSHOT message with revisions applied, the newest status and
the newest events. Bounded in time and in number. Values in, values out; no I/O.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twin_engine.messages import FrameKind, Samples, decode_wire, encode_wires, set_back_ms
from twin_engine.store.feed import Entry
from twin_engine.store.history import merge

MAX_ENTRIES = 4000
MAX_EVENTS = 60
_CHUNK = 256  # samples a block: a block's times are first + i x period, so short blocks keep an uneven clock true


class History:
    """Entries of the last `keep_s` seconds by the engine's clock."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._frames: deque[tuple[float, bytes]] = deque(maxlen=MAX_ENTRIES)  # (engine's clock, wire message)
        self._snapshot: bytes | None = None
        self.events: deque[dict[str, Any]] = deque(maxlen=MAX_EVENTS)
        self.status: dict[str, Any] | None = None
        self.clock_s = 0.0

    def add(self, entry: Entry) -> None:
        """Remember `entry`. Raises ValueError where its bytes are no wire message; the rest is kept."""
        self._snapshot = None
        clock_s = (entry.status or {}).get("t")
        if clock_s is not None and set_back_ms(round(1000 * clock_s), round(1000 * self.clock_s)):
            self._begin_anew()
        self.events.extend(entry.events)
        if entry.status is not None:
            self.status = entry.status
            self.clock_s = max(self.clock_s, float(entry.status.get("t", 0.0)))
        for message in (entry.frame, entry.revision):
            if message:
                _, clock_s, _ = decode_wire(message)
                self.clock_s = max(self.clock_s, clock_s)
                self._frames.append((clock_s, message))
        while self._frames and self._frames[0][0] < self.clock_s - self._keep_s:
            self._frames.popleft()

    def _begin_anew(self) -> None:
        """The engine's clock was ahead and was set right: what lies in the future is not the present, and is let go.

        Of the events too: they would stand above everything that comes.
        """
        self._frames.clear()
        self.events.clear()
        self.clock_s = 0.0

    def snapshot(self) -> bytes:
        """One SNAPSHOT message of everything kept, in order of time, revisions in place of what they replaced.

        Of more uneven samples than one message holds, the newest.
        """
        if self._snapshot is None:
            merged = merge(message for _, message in self._frames)
            keep_s = self._keep_s
            while len(wires := self._wires(merged, keep_s)) > 1:
                keep_s /= 2
            self._snapshot = wires[0]
        return self._snapshot

    def _wires(self, merged: list[Samples], keep_s: float) -> list[bytes]:
        oldest_us = (self.clock_s - keep_s) * 1e6
        chunks = [c for s in merged for c in _chunks(s) if c.times_us[-1] >= oldest_us]
        return encode_wires(FrameKind.SNAPSHOT, self.clock_s, chunks)


def _chunks(s: Samples) -> list[Samples]:
    return [_part(s, i) for i in range(0, len(s), _CHUNK)]


def _part(s: Samples, start: int) -> Samples:
    return Samples(s.channel, **{name: getattr(s, name)[start : start + _CHUNK] for name in _COLUMNS})


_COLUMNS = ("times_us", "values", "lower", "upper", "confidence", "provenance")
