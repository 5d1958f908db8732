"""How sure the twin may be: adaptive conformal calibration, one per channel, learnt from shadow forecasts.

While a sensor is alive the engine forecasts it as if it were about to fall silent, and scores each forecast a moment
later: ``score = (truth - centre) / halfwidth``. Scores are kept by gap age. They turn a forecast into the central
90 % bounds (adaptive conformal inference, Gibbs & Candès 2021, "Adaptive Conformal Inference Under Distribution
Shift") and into a confidence: the share of scores under which the shown value would have lain within the signal's
tolerance. A new patient starts from the scores of validation people, which count less and less. During a gap nothing
is scored, so the calibration is frozen.

All of it is values and functions; a calibration is never changed, only replaced.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from device.signals import Tolerance
from twin_engine.messages import Floats

MISS_TARGET = 0.10  # bounds are the central 90 %
GAMMA = 0.02  # step of the adaptation
BUFFER = 150  # scores kept for each age
PRIOR_WEIGHT = 50.0  # scores of other people count as so many of the patient's own, until she has as many
LEARNT = 30  # own scores at the youngest age before "still learning" goes
MAX_DECIMALS = 6
FLOOR = 0.10  # below this confidence a value is withheld
_MISS_RANGE = (0.01, 0.5)

# Gap ages (s) at which shadow forecasts are scored; between them calibration is interpolated.
SCORE_AGES_S: tuple[float, ...] = (0.3, 1.0, 2.5, 6.0, 15.0, 40.0, 100.0, 220.0)


@dataclass(frozen=True, slots=True)
class Calibration:
    """State of one channel. Rows belong to SCORE_AGES_S (A of them)."""

    scores: npt.NDArray[np.float32]  # (A, BUFFER) own scores, a ring; NaN where none yet
    counts: Floats  # (A,) own scores ever taken
    miss: Floats  # (A,) the adapted miss rate alpha

    @classmethod
    def start(cls) -> Calibration:
        """Nothing learnt yet."""
        ages = len(SCORE_AGES_S)
        return cls(np.full((ages, BUFFER), np.nan, np.float32), np.zeros(ages), np.full(ages, MISS_TARGET))

    @property
    def scored(self) -> int:
        """How many of this patient's own shadow forecasts were scored at the best known age."""
        return int(self.counts.max())

    @property
    def learning(self) -> bool:
        """True while too few were scored to trust the calibration for this person."""
        return self.scored < LEARNT

    def add(self, age: int, score: float, covered: bool) -> Calibration:
        """With one scored shadow forecast of age index `age`; `covered` says whether its bounds held the truth."""
        scores, counts, miss = self.scores.copy(), self.counts.copy(), self.miss.copy()
        scores[age, int(counts[age]) % BUFFER] = score
        counts[age] += 1
        miss[age] = np.clip(miss[age] + GAMMA * (MISS_TARGET - (not covered)), *_MISS_RANGE)
        return replace(self, scores=scores, counts=counts, miss=miss)


@dataclass(frozen=True, slots=True)
class Band:
    """A calibrated forecast at N gap ages: what will be shown, until the gap closes."""

    ages_s: Floats  # (N,)
    centre: Floats
    lower: Floats
    upper: Floats
    confidence: Floats

    def at(self, ages_s: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """(centre, lower, upper, confidence) at other ages, each (n,); ages past the last node are NaN, 0."""
        past = ages_s > self.ages_s[-1] + 1e-9
        columns = (self.centre, self.lower, self.upper, self.confidence)
        centre, lower, upper, confidence = (np.interp(ages_s, self.ages_s, column) for column in columns)
        for column in (centre, lower, upper):
            column[past] = np.nan
        confidence[past] = 0.0
        return centre, lower, upper, confidence


def calibrate(
    calibration: Calibration,
    prior: Floats,
    ages_s: Floats,
    centre: Floats,
    halfwidth: Floats,
    tolerance: Tolerance,
    step: float,
) -> Band:
    """Bounds and confidence of a forecast at ages (N,), given its centre and uncalibrated half width (N,).

    `prior` (A, M) are scores of people outside training, at SCORE_AGES_S. The shown value is the centre rounded to
    the sensor's `step`. Confidence never rises along a gap.
    """
    shown = requantise(centre, step)
    lower, upper, confidence = (np.empty((len(SCORE_AGES_S), len(ages_s))) for _ in range(3))
    for i in range(len(SCORE_AGES_S)):
        scores, weights = _weighted(calibration.scores[i], prior[i])
        low, high = _quantiles(scores, weights, calibration.miss[i])
        lower[i], upper[i] = centre + low * halfwidth, centre + high * halfwidth
        confidence[i] = _confidence(shown, centre, halfwidth, scores, weights, tolerance)
    low_at, high_at, sure = (_between_ages(ages_s, rows) for rows in (lower, upper, confidence))
    return Band(ages_s, shown, np.minimum(low_at, shown), np.maximum(high_at, shown), np.minimum.accumulate(sure))


def learn_decimals(known: int, values: Floats) -> int:
    """How many decimals a sensor reports, after readings (N,): the most ever needed, at most MAX_DECIMALS.

    >>> learn_decimals(-1, np.array([21.0, 22.0])), learn_decimals(0, np.array([72.43]))
    (0, 2)
    """
    for decimals in range(max(known, 0), MAX_DECIMALS):
        scaled = values * 10.0**decimals
        if np.all(np.abs(scaled - np.round(scaled)) < np.maximum(1e-6, 1e-11 * np.abs(scaled))):
            return decimals
    return MAX_DECIMALS


def requantise(values: Floats, step: float) -> Floats:
    """Values rounded to the sensor's own resolution; decimal steps stay decimal (0.1, not 0.30000000000000004)."""
    decimals = max(0, round(-np.log10(step))) if step > 0 else 12
    return np.asarray(np.round(np.round(values / step) * step, decimals + 2)) if step > 0 else values


def withheld(confidence: Floats) -> npt.NDArray[np.bool_]:
    """Where a value is too unsure to be shown."""
    return confidence < FLOOR


def _weighted(ring: npt.NDArray[np.float32], prior: Floats) -> tuple[Floats, Floats]:
    """Scores at one age, own (a ring with NaN) and prior (M,), ascending, with weights that sum to 1."""
    own = ring[np.isfinite(ring)].astype(np.float64)
    rest = PRIOR_WEIGHT * max(0.0, 1.0 - len(own) / BUFFER)
    scores = np.concatenate((own, prior))
    weights = np.concatenate((np.ones(len(own)), np.full(len(prior), rest / max(1, len(prior)))))
    order = np.argsort(scores, kind="stable")
    return scores[order], weights[order] / weights.sum()


def _quantiles(scores: Floats, weights: Floats, miss: float) -> tuple[float, float]:
    """The scores that leave miss/2 on either side."""
    cumulative = np.cumsum(weights) - weights / 2
    low, high = np.interp((miss / 2, 1 - miss / 2), cumulative, scores)
    return float(low), float(high)


def _confidence(
    shown: Floats, centre: Floats, halfwidth: Floats, scores: Floats, weights: Floats, tolerance: Tolerance
) -> Floats:
    """P(|shown - truth| <= tolerance(truth)) at each of N ages under the scored distribution."""
    truth = centre[:, None] + halfwidth[:, None] * scores  # (N, S)
    allowed = np.maximum(tolerance.absolute, tolerance.relative * np.abs(truth))
    return np.asarray((np.abs(shown[:, None] - truth) <= allowed) @ weights)


def _between_ages(ages_s: Floats, rows: Floats) -> Floats:
    """Rows (A, N), one for each scored age, blended at each of N ages by the logarithm of age."""
    position = np.interp(np.log(np.maximum(ages_s, 1e-3)), np.log(SCORE_AGES_S), np.arange(len(SCORE_AGES_S)))
    below = np.minimum(position.astype(int), len(SCORE_AGES_S) - 2)
    share = position - below
    n = np.arange(len(ages_s))
    return np.asarray(rows[below, n] * (1 - share) + rows[below + 1, n] * share)
