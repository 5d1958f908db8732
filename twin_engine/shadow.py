"""Shadow forecasts: what the twin would have shown, had the sensor just died; scored a moment later against it.

A table of promises, one row a (forecast, gap age): when it falls due, and what it claimed. Rows whose moment passes
are scored against the reading of that moment and feed :mod:`twin_engine.calibrate`; rows that fall into a hole are
forgotten, for nothing is known there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin_engine.calibrate import SCORE_AGES_S, Calibration
from twin_engine.messages import Floats, Times
from twin_engine.synthesise import Plan, score_ages

EVERY_US = 2_000_000  # a new shadow forecast this often
LONG_EVERY = 5  # ages from LONG_AGE_S on are promised by every fifth one only
LONG_AGE_S = 10.0


@dataclass(frozen=True, slots=True)
class Shadows:
    """P promises waiting for their moment, and how many forecasts were made."""

    due_us: Times  # (P,)
    age: Times  # (P,) index into SCORE_AGES_S
    claims: Floats  # (P, 4): centre, halfwidth, lower, upper
    made: int = 0
    next_us: int = 0  # no new forecast before this event time

    @classmethod
    def none(cls) -> Shadows:
        """Nothing promised yet."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 4)))

    def promise(self, plan: Plan, origin_us: int) -> Shadows:
        """With the claims of a plan made at `origin_us`, as if a gap began there."""
        ages = score_ages(plan)
        if self.made % LONG_EVERY:
            ages = ages[np.array(SCORE_AGES_S)[ages] < LONG_AGE_S]
        at = np.array(SCORE_AGES_S)[ages]
        columns = (plan.raw_centre, plan.halfwidth, plan.band.lower, plan.band.upper)
        claims = np.stack([np.interp(at, plan.band.ages_s, column) for column in columns], axis=1)
        return Shadows(
            np.concatenate((self.due_us, origin_us + np.round(at * 1e6).astype(np.int64))),
            np.concatenate((self.age, ages)),
            np.concatenate((self.claims, claims)),
            self.made + 1,
            origin_us + EVERY_US,
        )

    def settle(
        self, calibration: Calibration, times_us: Times, values: Floats, period_us: int
    ) -> tuple[Shadows, Calibration]:
        """Score what fell due by the last of `times_us` (N,), given trusted readings `values` (N,), oldest first.

        The reading of a moment is the last one not after it, unless that is older than 1.5 periods.
        """
        due = self.due_us <= times_us[-1]
        if not due.any():
            return self, calibration
        for when, age, claim in zip(self.due_us[due], self.age[due], self.claims[due], strict=True):
            at = int(np.searchsorted(times_us, when, side="right")) - 1
            if at < 0 or when - times_us[at] > 1.5 * period_us:
                continue
            centre, half, lower, upper = (float(c) for c in claim)
            truth = float(values[at])
            calibration = calibration.add(int(age), (truth - centre) / half, lower <= truth <= upper)
        kept = ~due
        return Shadows(self.due_us[kept], self.age[kept], self.claims[kept], self.made, self.next_us), calibration
