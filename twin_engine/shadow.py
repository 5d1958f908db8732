"""Shadow forecasts: what the twin would have shown, had the sensor just died; scored a moment later against it.

A table of promises, one row a (forecast, gap age): when it falls due, and what it claimed. Rows whose moment passes
are scored against the reading of that moment and feed :mod:`twin_engine.calibrate` (how sure) and
:mod:`twin_engine.personal` (whom to listen to); rows that fall into a hole are forgotten, for nothing is known there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from twin_engine.calibrate import EVERY_S, LONG_AGE_S, LONG_EVERY, SCORE_AGES_S, Calibration, score
from twin_engine.messages import Floats, Times
from twin_engine.monitor import Monitor
from twin_engine.personal import Personal
from twin_engine.synthesise import Plan, score_ages

_SHOWN = 5  # columns of a claim before the experts': centre, below, above, lower, upper


@dataclass(frozen=True, slots=True)
class Learnt:
    """What the shadow forecasts of one channel have taught."""

    calibration: Calibration
    personal: Personal
    monitor: Monitor

    @classmethod
    def start(cls, experts: int, version: str) -> Learnt:
        """Nothing yet, of a channel that a model of this version forecasts by so many experts."""
        return cls(Calibration.start(), Personal.start(experts), Monitor.start(version))

    def under(self, experts: int, version: str) -> Learnt:
        """As it goes on under another version of the model: scores are kept and fade, the rest begins anew."""
        return Learnt(self.calibration, Personal.start(experts), Monitor.start(version))


@dataclass(frozen=True, slots=True)
class Shadows:
    """P promises waiting for their moment, and how many forecasts were made."""

    due_us: Times  # (P,)
    age: Times  # (P,) index into SCORE_AGES_S
    claims: npt.NDArray[np.float32]  # (P, 5 + E): what would have been shown, then each expert's centre
    made: int = 0
    next_us: int = 0  # no new forecast before this event time

    @classmethod
    def none(cls) -> Shadows:
        """Nothing promised yet."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 0), np.float32))

    def promise(self, plan: Plan, origin_us: int) -> Shadows:
        """With the claims of a plan made at `origin_us`, as if a gap began there."""
        ages = score_ages(plan)
        if self.made % LONG_EVERY:
            ages = ages[np.array(SCORE_AGES_S)[ages] < LONG_AGE_S]
        at = np.array(SCORE_AGES_S)[ages]
        columns = [plan.raw_centre, plan.below, plan.above, plan.band.lower, plan.band.upper]
        columns += list(plan.centres)
        claims = np.stack([np.interp(at, plan.band.ages_s, column) for column in columns], axis=1).astype(np.float32)
        before = self.claims if len(self.claims) else claims[:0]
        return Shadows(
            np.concatenate((self.due_us, origin_us + np.round(at * 1e6).astype(np.int64))),
            np.concatenate((self.age, ages)),
            np.concatenate((before, claims)),
            self.made + 1,
            origin_us + round(EVERY_S * 1e6),
        )

    def after(self, origin_us: int) -> Shadows:
        """As it is, but with no new forecast for a while after `origin_us`."""
        return replace(self, next_us=origin_us + round(EVERY_S * 1e6))

    def moved(self, by_us: int) -> Shadows:
        """The same promises, so much later (earlier where negative)."""
        return replace(self, due_us=self.due_us + by_us, next_us=self.next_us + by_us)

    def settle(
        self, learnt: Learnt, population: Floats, times_us: Times, values: Floats, period_us: int
    ) -> tuple[Shadows, Learnt]:
        """Score what fell due by the last of `times_us` (N,), given trusted readings `values` (N,), oldest first.

        The reading of a moment is the last one not after it, unless that is older than 1.5 periods. `population`
        (A, E) are the experts' weights for unknown people.
        """
        due = self.due_us <= times_us[-1]
        if not due.any():
            return self, learnt
        for when, age, claim in zip(self.due_us[due], self.age[due], self.claims[due], strict=True):
            at = int(np.searchsorted(times_us, when, side="right")) - 1
            if at >= 0 and when - times_us[at] <= 1.5 * period_us:
                learnt = _scored(learnt, int(age), claim.astype(np.float64), float(values[at]), population)
        return self.without(due), learnt

    def without(self, gone: npt.NDArray[np.bool_]) -> Shadows:
        """Those promises left that are not `gone` (P,)."""
        kept = ~gone
        return Shadows(self.due_us[kept], self.age[kept], self.claims[kept], self.made, self.next_us)


def _scored(learnt: Learnt, age: int, claim: Floats, truth: float, population: Floats) -> Learnt:
    centre, below, above, lower, upper = claim[:_SHOWN]
    scored = float(score(np.array(truth), np.array(centre), np.array(below), np.array(above)))
    held = bool(lower <= truth <= upper)
    return Learnt(
        learnt.calibration.add(age, scored, held),
        learnt.personal.add(age, claim[_SHOWN:], truth, population),
        learnt.monitor.add(age, scored, held),
    )
