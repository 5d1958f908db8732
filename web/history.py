"""The last minute of one patient, as the relay remembers it: enough to give a new viewer the whole picture at once.

Entries go in as the engine made them; out comes one SNAPSHOT message with revisions applied, the newest status and
the newest events. Bounded in time and in number. Values in, values out; no I/O.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

from twin_engine.messages import FrameKind, Samples, decode_wire, encode_wire
from twin_engine.store.feed import Entry

MAX_ENTRIES = 4000
MAX_EVENTS = 60
_CHUNK = 256  # samples a block: a block's times are first + i x period, so short blocks keep an uneven clock true
_SAME_US = 500  # closer than this, two times are one sample


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

    def snapshot(self) -> bytes:
        """One SNAPSHOT message of everything kept, in order of time, revisions in place of what they replaced."""
        if self._snapshot is None:
            merged = merge(message for _, message in self._frames)
            self._snapshot = encode_wire(FrameKind.SNAPSHOT, self.clock_s, [c for s in merged for c in _chunks(s)])
        return self._snapshot


def merge(messages: Iterable[bytes]) -> list[Samples]:
    """One :class:`Samples` a channel out of LIVE and REVISION messages, oldest first; the later word wins."""
    pieces: dict[str, list[Samples]] = {}
    for message in messages:
        kind, _, blocks = decode_wire(message)
        for block in blocks:
            kept = pieces.setdefault(block.channel, [])
            if kind == FrameKind.REVISION:
                kept[:] = _without(kept, int(block.times_us[0]), int(block.times_us[-1]))
            kept.append(block)
    return [joined for parts in pieces.values() if (joined := _join(parts)) is not None]


def _without(pieces: list[Samples], t0_us: int, t1_us: int) -> list[Samples]:
    kept = [_select(s, (s.times_us < t0_us - _SAME_US) | (s.times_us > t1_us + _SAME_US)) for s in pieces]
    return [s for s in kept if len(s)]


def _join(parts: list[Samples]) -> Samples | None:
    if not parts:
        return None
    columns: dict[str, Any] = {name: np.concatenate([getattr(p, name) for p in parts]) for name in _COLUMNS}
    joined = Samples(parts[0].channel, **columns)
    order = np.argsort(joined.times_us, kind="stable")
    joined = _select(joined, order)
    last_word = np.append(np.diff(joined.times_us) > _SAME_US, True)  # of equal times, the one that came last
    return _select(joined, last_word)


def _select(s: Samples, which: Any) -> Samples:
    return Samples(s.channel, **{name: getattr(s, name)[which] for name in _COLUMNS})


def _chunks(s: Samples) -> list[Samples]:
    return [_select(s, slice(i, i + _CHUNK)) for i in range(0, len(s), _CHUNK)]


_COLUMNS = ("times_us", "values", "lower", "upper", "confidence", "provenance")
