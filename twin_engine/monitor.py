"""Does the model still fit this person? Coverage and size of the errors of scored shadow forecasts, watched for drift.

Both are kept by gap age with a memory of some hundred scores, and belong to one version of the model: a new version
begins anew. They drift where the bounds hold clearly less or more often than promised although the calibration adapts,
or where errors are far larger than those of the people that the calibration began from. Values and functions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from twin_engine.calibrate import NEWS, SCORE_AGES_S
from twin_engine.messages import Floats

MEMORY = 200  # scores after which an old one counts 1/e
COVERAGE = (0.78, 0.985)  # of bounds meant to hold in 0.90 of cases
LARGER = 2.0  # mean size of the errors, in those of the people outside training
_ENOUGH = 40.0  # pieces of news (scores that do not overlap) below which nothing is said


@dataclass(frozen=True, slots=True)
class Monitor:
    """State of one channel. Arrays are (A,), one entry a scored age, discounted sums."""

    version: str  # of the model that was watched
    seen: npt.NDArray[np.float32]
    held: npt.NDArray[np.float32]  # scores whose bounds held
    size: npt.NDArray[np.float32]  # |score|

    @classmethod
    def start(cls, version: str) -> Monitor:
        """Nothing seen yet."""
        nothing = np.zeros(len(SCORE_AGES_S), np.float32)
        return cls(version, nothing, nothing, nothing)

    def add(self, age: int, score: float, held: bool) -> Monitor:
        """With one scored forecast of age index `age`."""
        seen, kept, size = self.seen.copy(), self.held.copy(), self.size.copy()
        for sums, value in ((seen, 1.0), (kept, float(held)), (size, min(abs(score), 10.0))):
            sums[age] = (1 - 1 / MEMORY) * sums[age] + value
        return replace(self, seen=seen, held=kept, size=size)

    @property
    def coverage(self) -> float | None:
        """Share of bounds that held lately, all ages together; None before anything was scored."""
        weight = self.seen * np.array(NEWS)
        share = self.held / np.maximum(self.seen, 1e-9)
        return float((share * weight).sum() / weight.sum()) if weight.sum() > 0 else None

    def drift(self, prior: Floats) -> str:
        """Why the model no longer fits, for people; "" where it does. `prior` (A, M) are the scores it began from."""
        enough = self.seen * np.array(NEWS) >= _ENOUGH
        for age in np.flatnonzero(enough):
            held = float(self.held[age] / self.seen[age])
            if not COVERAGE[0] <= held <= COVERAGE[1]:
                return f"90 % bounds at {SCORE_AGES_S[age]:g} s held in {held:.0%} of the last {self.seen[age]:.0f}"
            larger = float(self.size[age] / self.seen[age] / max(1e-9, np.minimum(np.abs(prior[age]), 10.0).mean()))
            if larger > LARGER:
                return f"errors at {SCORE_AGES_S[age]:g} s are {larger:.1f} times those the model is known for"
        return ""
