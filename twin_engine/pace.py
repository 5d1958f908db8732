"""How long an engine's rounds take: whether it keeps up is said once a minute, and at once where it does not.

>>> pace = Pace(0.25, now_s=0.0)
>>> [pace.note(0.1, now_s=t) for t in (1.0, 30.0)]
['', '']
>>> pace.note(0.3, now_s=60.0)
'3 rounds in 60 s: half of them below 100 ms, 19 of 20 below 280 ms, the slowest 300 ms; falls behind'
"""

from __future__ import annotations

import numpy as np

SAID_EVERY_S = 60.0


class Pace:
    """`limit_s`: the time in which a round must be done, or the next tick waits for it."""

    def __init__(self, limit_s: float, now_s: float) -> None:
        self._limit_s, self._since_s = limit_s, now_s
        self._rounds_s: list[float] = []

    def note(self, took_s: float, now_s: float) -> str:
        """After a round: a line for the log once a minute, else nothing."""
        self._rounds_s.append(took_s)
        span_s = now_s - self._since_s
        if span_s < SAID_EVERY_S:
            return ""
        half, most, worst = (float(np.percentile(self._rounds_s, q)) * 1e3 for q in (50, 95, 100))
        late = "; falls behind" if most > self._limit_s * 1e3 else ""
        count, self._rounds_s, self._since_s = len(self._rounds_s), [], now_s
        return (
            f"{count} rounds in {span_s:.0f} s: half of them below {half:.0f} ms, 19 of 20 below {most:.0f} ms, "
            f"the slowest {worst:.0f} ms{late}"
        )
