"""How far back the shard's streams are kept: six hours as they passed, whatever the wall clock did meanwhile. Pure.

Ids in the store are its clock's. Judged by the wall clock alone, one that is set ahead would make all of the last hours
old at once, and in a stream whose ids lie in the future nothing would ever grow old. So the engine notes now and then
where it stood, by a steady clock, and what was there six hours ago by that may go.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from twin_engine.store import keys


@dataclass(frozen=True, slots=True)
class Mark:
    """Where the engine stood: steady clock and wall clock (ms), last raw record and last act folded."""

    steady_ms: int
    wall_ms: int
    record: str
    act: str


@dataclass(frozen=True, slots=True)
class Oldest:
    """What is older than this may go: a time (ms) for what is made, an id for each of the streams that are read."""

    made_ms: int
    record: str
    act: str


class Retention:
    """Of one engine, as long as it owns the shard: a clock that stood wrong when it began is not noticed."""

    def __init__(self) -> None:
        self._marks: deque[Mark] = deque()

    def note(self, mark: Mark) -> Oldest:
        """Where the engine stands now. Never lets go of what was not folded."""
        self._marks.append(mark)
        while len(self._marks) > 1 and self._marks[1].steady_ms <= mark.steady_ms - keys.HISTORY_MS:
            self._marks.popleft()
        first = self._marks[0]
        passed_ms = first.wall_ms + mark.steady_ms - first.steady_ms  # what the wall clock would say without steps
        made_ms = max(0, min(mark.wall_ms, passed_ms) - keys.HISTORY_MS)
        full = mark.steady_ms - first.steady_ms >= keys.HISTORY_MS
        record, act = (
            then if full and keys.written(folded)[0] > mark.wall_ms else f"{min(made_ms, keys.written(folded)[0])}-0"
            for folded, then in ((mark.record, first.record), (mark.act, first.act))
        )
        return Oldest(made_ms, record, act)
