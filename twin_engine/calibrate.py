"""How sure the twin may be: adaptive conformal calibration, one per channel, learnt from shadow forecasts.

While a sensor is alive the engine forecasts it as if it were about to fall silent, and scores each forecast a moment
later: :func:`score` is the error in units of the forecast's own spread on that side. Scores are kept by gap age. They
turn a forecast into the central 90 % bounds (adaptive conformal inference, Gibbs & Candès 2021, "Adaptive Conformal
Inference Under Distribution Shift") and into a confidence: the share of scores under which the shown value would have
lain within the signal's tolerance. A new patient starts from the scores of validation people, which count less and
less as her own bring news; forecasts that overlap bring little. During a gap nothing is scored, so the calibration is
frozen.

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
MOST = 20.0  # a score beyond it tells no more
MAX_DECIMALS = 6
FLOOR = 0.10  # below this confidence a value is withheld
_MISS_RANGE = (0.01, 0.5)

# Gap ages (s) at which shadow forecasts are scored; between them calibration is interpolated.
SCORE_AGES_S: tuple[float, ...] = (0.3, 1.0, 2.5, 6.0, 15.0, 40.0, 100.0, 220.0)
EVERY_S = 2.0  # a new shadow forecast this often
LONG_EVERY = 5  # ages from LONG_AGE_S on are scored by every fifth one only
LONG_AGE_S = 10.0
# How much news one more score of each age brings: forecasts that overlap err together.
NEWS: tuple[float, ...] = tuple(
    min(1.0, EVERY_S * (LONG_EVERY if age >= LONG_AGE_S else 1) / age) for age in SCORE_AGES_S
)


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


def score(truth: Floats, centre: Floats, below: Floats, above: Floats) -> Floats:
    """The error of a forecast in units of its spread on the side of the error: 1 lies on its 95 % level.

    At most MOST. All of one shape. `below` and `above` are > 0: distances from the centre to the 5 % and 95 % levels.
    """
    error = truth - centre
    scores: Floats = np.clip(error / np.where(error < 0, below, above), -MOST, MOST)
    return scores


def calibrate(
    calibration: Calibration,
    prior: Floats,
    ages_s: Floats,
    centre: Floats,
    below: Floats,
    above: Floats,
    tolerance: Tolerance,
    step: float,
) -> Band:
    """Bounds and confidence of a forecast at ages (N,), given its centre and uncalibrated spread to each side (N,).

    `prior` (A, M) are scores of people outside training, at SCORE_AGES_S. The shown value is the centre rounded to
    the sensor's `step`. Confidence never rises along a gap.
    """
    shown = requantise(centre, step)
    lower, upper, confidence = (np.empty((len(SCORE_AGES_S), len(ages_s))) for _ in range(3))
    for i in range(len(SCORE_AGES_S)):
        scores, weights = _weighted(calibration.scores[i], NEWS[i], prior[i])
        low, high = _quantiles(scores, weights, np.array([calibration.miss[i] / 2, 1 - calibration.miss[i] / 2]))
        lower[i], upper[i] = _unscored(low, centre, below, above), _unscored(high, centre, below, above)
        confidence[i] = _confidence(shown, centre, below, above, scores, weights, tolerance)
    low_at, high_at, sure = (_between_ages(ages_s, rows) for rows in (lower, upper, confidence))
    return Band(ages_s, shown, np.minimum(low_at, shown), np.maximum(high_at, shown), np.minimum.accumulate(sure))


def distribution(
    calibration: Calibration, prior: Floats, ages_s: Floats, centre: Floats, below: Floats, above: Floats,
    levels: Floats,
) -> Floats:  # fmt: skip
    """(N, Q) the whole calibrated distribution behind a band: its quantiles at `levels` (Q,), non-decreasing."""
    rows = np.empty((len(levels), len(SCORE_AGES_S), len(ages_s)))
    for i in range(len(SCORE_AGES_S)):
        for q, at in enumerate(_quantiles(*_weighted(calibration.scores[i], NEWS[i], prior[i]), levels)):
            rows[q, i] = _unscored(float(at), centre, below, above)
    quantiles = np.stack([_between_ages(ages_s, row) for row in rows], axis=-1)
    return np.maximum.accumulate(quantiles, axis=-1)


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


def step_of(values: Floats) -> float:
    """A sensor's own resolution, as it shows in readings (N,); missing ones tell nothing."""
    return float(10.0 ** -learn_decimals(-1, values[np.isfinite(values)]))


def requantise(values: Floats, step: float) -> Floats:
    """Values rounded to the sensor's own resolution; decimal steps stay decimal (0.1, not 0.30000000000000004)."""
    decimals = max(0, round(-np.log10(step))) if step > 0 else 12
    return np.asarray(np.round(np.round(values / step) * step, decimals + 2)) if step > 0 else values


def withheld(confidence: Floats) -> npt.NDArray[np.bool_]:
    """Where a value is too unsure to be shown."""
    return confidence < FLOOR


def _weighted(ring: npt.NDArray[np.float32], news: float, prior: Floats) -> tuple[Floats, Floats]:
    """Scores at one age, own (a ring with NaN, each worth `news`) and prior (M,), ascending, and weights of sum 1."""
    own = ring[np.isfinite(ring)].astype(np.float64)
    rest = PRIOR_WEIGHT * max(0.0, 1.0 - news * len(own) / BUFFER)
    scores = np.concatenate((own, prior))
    weights = np.concatenate((np.full(len(own), news), np.full(len(prior), rest / max(1, len(prior)))))
    order = np.argsort(scores, kind="stable")
    return scores[order], weights[order] / weights.sum()


def _quantiles(scores: Floats, weights: Floats, levels: Floats) -> Floats:
    """The scores at `levels` (Q,) of their weighted distribution."""
    return np.interp(levels, np.cumsum(weights) - weights / 2, scores)


def _unscored(score: float, centre: Floats, below: Floats, above: Floats) -> Floats:
    """The value that has this score."""
    return centre + score * (below if score < 0 else above)


def _confidence(
    shown: Floats,
    centre: Floats,
    below: Floats,
    above: Floats,
    scores: Floats,
    weights: Floats,
    tolerance: Tolerance,
) -> Floats:
    """P(|shown - truth| <= tolerance(truth)) at each of N ages under the scored distribution."""
    truth = centre[:, None] + np.where(scores < 0, below[:, None], above[:, None]) * scores  # (N, S)
    allowed = tolerance.at_each(truth)
    return np.asarray((np.abs(shown[:, None] - truth) <= allowed) @ weights)


def _between_ages(ages_s: Floats, rows: Floats) -> Floats:
    """Rows (A, N), one for each scored age, blended at each of N ages by the logarithm of age."""
    position = np.interp(np.log(np.maximum(ages_s, 1e-3)), np.log(SCORE_AGES_S), np.arange(len(SCORE_AGES_S)))
    below = np.minimum(position.astype(int), len(SCORE_AGES_S) - 2)
    share = position - below
    n = np.arange(len(ages_s))
    return np.asarray(rows[below, n] * (1 - share) + rows[below + 1, n] * share)
