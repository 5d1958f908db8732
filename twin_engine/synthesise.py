"""From a model's forecast to what is shown: bands for a gap, shadow forecasts, and the revision when a gap closes.

The forecaster (the LSTM-VAE, :mod:`twin_engine.model`) comes in as an argument. Nothing here keeps state.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from device.signals import Signal
from twin_engine.calibrate import (
    SCORE_AGES_S,
    Band,
    Calibration,
    calibrate,
    distribution,
    requantise,
    withheld,
)
from twin_engine.messages import REVISED, Floats, Provenance, Samples, Times
from twin_engine.personal import mixed
from twin_engine.window import Window

if TYPE_CHECKING:  # the engine's process alone pays for torch
    from twin_engine.mend import Hole, Mended
    from twin_engine.model import Context, Forecast


class Forecaster(Protocol):
    """What the twin needs of a generative model; :class:`twin_engine.model.Generator` is one."""

    @property
    def version(self) -> str:
        """Which weights these are."""
        ...

    def grid_s(self, signal: str) -> float:
        """Step of the model's grid for this signal."""
        ...

    def horizon_s(self, signal: str) -> float:
        """Gap age in seconds beyond which nothing is forecast."""
        ...

    def context_steps(self, signal: str) -> int:
        """Grid steps of the past that a forecast looks at."""
        ...

    def forecast(self, contexts: Sequence[Context]) -> list[Forecast]:
        """One forecast a context."""
        ...

    def mends(self, signal: str, gap_s: float) -> bool:
        """Whether a closed gap of that length can be filled by :meth:`mend`."""
        ...

    def mend(self, holes: Sequence[Hole]) -> list[Mended]:
        """One filling a hole, seen from both sides; only where :meth:`mends` says yes."""
        ...

    def reconstruct(self, contexts: Sequence[Context], truths: Sequence[Floats]) -> Floats:
        """(B,) log-probability of what came after each context (steps on its grid, NaN missing); NaN if untrained."""
        ...

    def prior_scores(self, signal: str, ages_s: Floats) -> Floats:
        """(len(ages_s), M) scores of people outside training."""
        ...

    def population_weights(self, signal: str, ages_s: Floats) -> Floats:
        """(len(ages_s), E) weights of the experts that served people outside training best."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What the twin will show while a gap lasts: made once, from nothing later than the last reading.

    N ages from 0 on, E experts. `below` and `above` are the uncalibrated distances to the 5 % and 95 % levels.
    """

    band: Band
    raw_centre: Floats  # (N,) before rounding
    below: Floats  # (N,)
    above: Floats  # (N,)
    centres: Floats  # (E, N) of each expert by itself
    methods: tuple[str, ...]  # (N,) the expert with the most weight at each age

    @property
    def holds(self) -> bool:
        """Whether this is the last value, held until the model is asked."""
        return self.methods[0] == HOLD

    def method_at(self, age_s: float) -> str:
        """The expert that the value of this age leans on most."""
        at = int(np.searchsorted(self.band.ages_s, age_s - 1e-9))
        return self.methods[min(at, len(self.methods) - 1)]

    def quantiles(self, calibration: Calibration, prior: Floats, levels: Floats) -> Floats:
        """(N, Q) the calibrated distribution at every age; at age 0 that of the nearest scored age."""
        return distribution(calibration, prior, self.band.ages_s, self.raw_centre, self.below, self.above, levels)


HOLD = "last-value"
_LEAST_SHARE = 0.02  # of the widest spread of a forecast


def hold_plan(
    value: float, window: Window, last_us: int, signal: Signal, step: float, calibration: Calibration, prior: Floats
) -> Plan:
    """The last value, for gaps shorter than one step of the model's grid, with the usual spread of a step."""
    steps = np.abs(np.diff(window.until(last_us)))
    steps = steps[np.isfinite(steps)]
    spread = max(2.0 * float(np.median(steps)) if len(steps) else 0.0, signal.resolution)
    ages = np.array([0.0, window.grid_us / 1e6])
    half = np.array([signal.resolution, spread])
    centre = np.full(2, value)
    band = calibrate(calibration, prior, ages, centre, half, half, signal.tolerance, step)
    return Plan(band, centre, half, half, centre[None], (HOLD, HOLD))


def plan_of(
    forecast: Forecast,
    value: float,
    signal: Signal,
    step: float,
    calibration: Calibration,
    prior: Floats,
    own: Floats,
    population: Floats,
) -> Plan:
    """A calibrated plan from the model's forecast; at age 0 it starts from the last reading's value.

    `own` and `population` (A, E) are the experts' weights for this person and for unknown people, at SCORE_AGES_S.
    """
    ages = np.concatenate(([0.0], forecast.ages_s))
    trust = _at_ages(forecast.ages_s, own)
    centre, below, above = mixed(forecast.bounds, trust, _at_ages(forecast.ages_s, population))
    least = _least(signal, below, above)
    centre = np.clip(np.concatenate(([value], centre)), signal.low, signal.high)
    below, above = (np.maximum(np.concatenate(([0.0], spread)), least) for spread in (below, above))
    band = calibrate(calibration, prior, ages, centre, below, above, signal.tolerance, step)
    centres = np.concatenate([np.full((len(forecast.experts), 1), value), forecast.bounds[..., 1]], axis=1)
    heaviest = [forecast.experts[i] for i in trust.argmax(0)]
    return Plan(_inside(band, signal), centre, below, above, centres, (heaviest[0], *heaviest))


def _least(signal: Signal, below: Floats, above: Floats) -> float:
    """The least spread that errors are counted in: half of the sensor's step, or in a device's own unit a share."""
    return _LEAST_SHARE * float(max(below.max(), above.max())) if signal.unit == "1" else signal.resolution / 2


def _at_ages(ages_s: Floats, weights: Floats) -> Floats:
    """(E, N) weights (A, E), known at SCORE_AGES_S, at other ages: linear in the logarithm of age."""
    return np.stack([np.interp(np.log(ages_s), np.log(SCORE_AGES_S), row) for row in weights.T])


def prior_of(forecaster: Forecaster, signal: Signal) -> Floats:
    """Scores (A, M) of people outside training, at the ages at which shadow forecasts are scored."""
    return forecaster.prior_scores(signal.id, np.array(SCORE_AGES_S))


def population_of(forecaster: Forecaster, signal: Signal) -> Floats:
    """Weights (A, E) of the experts for unknown people, at the same ages."""
    return forecaster.population_weights(signal.id, np.array(SCORE_AGES_S))


def context_of(signal: str, window: Window, last_us: int, others: Mapping[str, Window], patient: str) -> Context:
    """What the model may look at: this channel and the device's others, nothing later than `last_us`."""
    from twin_engine.model import Context  # not at import: the web and the tests of the pure core need no torch

    steps = window.steps
    aligned = {name: other.resampled(last_us, window.grid_us, steps) for name, other in others.items()}
    seed = zlib.crc32(f"{patient}|{signal}|{last_us}".encode())
    return Context(signal, window.until(last_us), aligned, seed)


def emit(channel: str, plan: Plan, start_us: int, times_us: Times) -> Samples:
    """Samples of a gap that began after `start_us`, at `times_us` (n,): synthesised, or withheld where too unsure."""
    ages_s = (times_us - start_us) / 1e6
    return emitted(channel, times_us, plan.band.at(ages_s), 0, plan.method_at(float(ages_s[-1])))


def emitted(
    channel: str, times_us: Times, columns: tuple[Floats, Floats, Floats, Floats], flag: int, method: str
) -> Samples:
    """Samples of (value, lower, upper, confidence); withheld where the confidence is below the floor."""
    value, lower, upper, confidence = columns
    hidden = withheld(confidence)
    for column in (value, lower, upper):
        column[hidden] = np.nan
    confidence[hidden] = 0.0
    marks = np.where(hidden, Provenance.WITHHELD | flag, Provenance.SYNTHESISED | flag).astype(np.uint8)
    return Samples(channel, times_us, value, lower, upper, confidence, marks, method)


def bridge(
    channel: str, plan: Plan, start_us: int, end_us: int, end_value: float, times_us: Times, signal: Signal, step: float
) -> Samples:
    """The revision: what the closed gap looks like from both sides, at `times_us` (n,), in the sensor's own `step`.

    The causal forecast is taken for a Gauss-Markov process whose spread at age t is f(t) and in the long run S; the
    reading that ended the gap then pulls the centre by cov/var and narrows the spread (the Ornstein-Uhlenbeck bridge;
    for S without bound, the Brownian bridge). Confidence assumes a Laplace error of the bridged width; what lies beyond
    the forecast's horizon from both sides is withheld.
    """
    age, total = (times_us - start_us) / 1e6, (end_us - start_us) / 1e6
    spread = np.maximum.accumulate(np.maximum((plan.band.upper - plan.band.lower) / 2, signal.resolution / 2))
    ahead, behind, whole = (np.interp(t, plan.band.ages_s, spread) for t in (age, total - age, total))
    still = float(spread[-1]) * 1.001  # the spread in the long run, as far as the plan knows
    remembered = np.sqrt(1 - (behind / still) ** 2)
    miss = end_value - float(np.interp(total, plan.band.ages_s, plan.raw_centre))
    centre = np.interp(age, plan.band.ages_s, plan.raw_centre) + (ahead / whole) ** 2 * remembered * miss
    value = requantise(np.clip(centre, signal.low, signal.high), step)
    half = np.maximum(1 / np.sqrt(1 / ahead**2 + 1 / behind**2 - 1 / still**2), signal.resolution / 2)
    allowed = signal.tolerance.at_each(value)
    confidence = 1 - np.exp(-np.log(10) * allowed / half)
    confidence[np.minimum(age, total - age) > plan.band.ages_s[-1]] = 0.0  # neither side reaches so far
    lower, upper = (np.clip(value + side * half, signal.low, signal.high) for side in (-1, 1))
    return emitted(channel, times_us, (value, lower, upper, confidence), REVISED, f"{plan.method_at(total)}+bridge")


def score_ages(plan: Plan) -> Times:
    """Indices into SCORE_AGES_S that this plan reaches."""
    reach = np.array(SCORE_AGES_S)
    return np.flatnonzero((reach >= plan.band.ages_s[1] - 1e-9) & (reach <= plan.band.ages_s[-1] + 1e-9))


def _inside(band: Band, signal: Signal) -> Band:
    return Band(
        band.ages_s,
        band.centre,
        np.clip(band.lower, signal.low, signal.high),
        np.clip(band.upper, signal.low, signal.high),
        band.confidence,
    )
