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
from twin_engine.calibrate import SCORE_AGES_S, Band, Calibration, calibrate, requantise, withheld
from twin_engine.messages import LOWER, REVISED, UPPER, Floats, Provenance, Samples, Times
from twin_engine.window import Window

if TYPE_CHECKING:  # the engine's process alone pays for torch
    from twin_engine.model import Context, Forecast


class Forecaster(Protocol):
    """What the twin needs of a generative model; :class:`twin_engine.model.Generator` is one."""

    def grid_s(self, signal: str) -> float:
        """Step of the model's grid for this signal."""
        ...

    def context_steps(self, signal: str) -> int:
        """Grid steps of the past that a forecast looks at."""
        ...

    def forecast(self, contexts: Sequence[Context]) -> list[Forecast]:
        """One forecast a context."""
        ...

    def prior_scores(self, signal: str, ages_s: Floats) -> Floats:
        """(len(ages_s), M) scores of people outside training."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What the twin will show while a gap lasts: made once, from nothing later than the last reading."""

    band: Band
    halfwidth: Floats  # (N,) of the uncalibrated forecast, for scoring
    raw_centre: Floats  # (N,) before rounding
    method: str


HOLD = "last-value"


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
    band = calibrate(calibration, prior, ages, centre, half, signal.tolerance, step)
    return Plan(band, half, centre, HOLD)


def plan_of(
    forecast: Forecast,
    value: float,
    signal: Signal,
    step: float,
    calibration: Calibration,
    prior: Floats,
    levels: Sequence[float],
) -> Plan:
    """A calibrated plan from the model's forecast; at age 0 it starts from the last reading's value."""
    ages = np.concatenate(([0.0], forecast.ages_s))
    middle, low, high = (forecast.quantiles[:, levels.index(level)] for level in (0.5, LOWER, UPPER))
    centre = np.clip(np.concatenate(([value], middle)), signal.low, signal.high)
    half = np.maximum(np.concatenate(([0.0], (high - low) / 2)), signal.resolution / 2)
    band = calibrate(calibration, prior, ages, centre, half, signal.tolerance, step)
    return Plan(_inside(band, signal), half, centre, forecast.method)


def prior_of(forecaster: Forecaster, signal: Signal) -> Floats:
    """Scores (A, M) of people outside training, at the ages at which shadow forecasts are scored."""
    return forecaster.prior_scores(signal.id, np.array(SCORE_AGES_S))


def context_of(signal: str, window: Window, last_us: int, others: Mapping[str, Window], patient: str) -> Context:
    """What the model may look at: this channel and the device's others, nothing later than `last_us`."""
    from twin_engine.model import Context  # not at import: the web and the tests of the pure core need no torch

    steps = window.steps
    aligned = {name: other.resampled(last_us, window.grid_us, steps) for name, other in others.items()}
    seed = zlib.crc32(f"{patient}|{signal}|{last_us}".encode())
    return Context(signal, window.until(last_us), aligned, seed)


def emit(channel: str, plan: Plan, start_us: int, times_us: Times) -> Samples:
    """Samples of a gap that began after `start_us`, at `times_us` (n,): synthesised, or withheld where too unsure."""
    return _shown(channel, times_us, plan.band.at((times_us - start_us) / 1e6), 0, plan.method)


def _shown(
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
    allowed = np.maximum(signal.tolerance.absolute, signal.tolerance.relative * np.abs(value))
    confidence = 1 - np.exp(-np.log(10) * allowed / half)
    confidence[np.minimum(age, total - age) > plan.band.ages_s[-1]] = 0.0  # neither side reaches so far
    lower, upper = (np.clip(value + side * half, signal.low, signal.high) for side in (-1, 1))
    return _shown(channel, times_us, (value, lower, upper, confidence), REVISED, f"{plan.method}+bridge")


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
