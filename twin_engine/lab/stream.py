"""What the twin itself would have shown: a recording streamed through the engine's own parts, then a gap.

The recording runs on the signal's model grid. Every two seconds a shadow forecast is made and later scored, as the
engine does it (``shadow``, ``calibrate``, ``personal``); where a gap is pretended, the plan is made from what was
known and learnt by then. Forecasts are computed in batches beforehand, for their contexts are known; nothing else
differs from the live engine, and nothing later than the gap's first moment is looked at.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from device.signals import SIGNALS, Signal
from twin_engine.calibrate import EVERY_S, SCORE_AGES_S, learn_decimals
from twin_engine.features import CONTEXT_STEPS, SLOTS
from twin_engine.lab.masks import Mask, Track
from twin_engine.lab.scorecard import SCORED_LEVELS
from twin_engine.messages import Floats
from twin_engine.model import Context, Forecast, Generator
from twin_engine.plans import Ints
from twin_engine.quality import GOOD, judge
from twin_engine.shadow import Learnt, Shadows
from twin_engine.synthesise import Plan, plan_of, population_of, prior_of

_BATCH = 200


@dataclass(frozen=True, slots=True)
class Shown:
    """What was shown in G gaps at K scored steps, signal's unit."""

    value: Floats  # (G, K)
    lower: Floats  # (G, K) of the central 90 %
    upper: Floats  # (G, K)
    confidence: Floats  # (G, K)
    quantiles: Floats  # (G, K, Q) at SCORED_LEVELS
    weights: Floats  # (G, K, E) of each expert
    experts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _State:
    """What one channel has learnt by some reading."""

    shadows: Shadows
    learnt: Learnt
    decimals: int
    good: bool  # whether the sensor was, when it was last looked at; else nothing is promised or learnt
    at: int  # index of the last reading that was taken


def stream(
    track: Track,
    masks: Sequence[Mask],
    generator: Generator,
    tick: Callable[[], None] = lambda: None,
    learn: bool = True,
) -> list[Shown]:
    """What was shown in every gap of `masks`, which all lie in `track`.

    Without `learn` nothing is learnt of the person: no shadow forecasts, so population's weights and calibration.
    """
    readings = np.flatnonzero(np.isfinite(track.values))
    origins = _origins(readings, track) if learn else []
    wanted = sorted({(int(start), mask.seed) for mask in masks for start in mask.starts})
    rehearsals = _forecasts(track, [(s, -1) for s in origins], generator)
    forecasts = _forecasts(track, wanted, generator)
    gaps: dict[int, list[tuple[int, int, int]]] = {}  # start -> (mask, row, seed)
    for m, mask in enumerate(masks):
        for row, start in enumerate(mask.starts):
            gaps.setdefault(int(start), []).append((m, row, mask.seed))
    found: list[list[_Moment | None]] = [[None] * len(mask.starts) for mask in masks]
    line = _Line(track, readings, generator)
    state = line.begin()
    for step in sorted({*origins, *gaps}):
        state = line.take(state, step)
        for m, row, seed in gaps.get(step, []):
            found[m][row] = line.show(state, forecasts[step, seed], masks[m].steps)
        if (step, -1) in rehearsals:
            state = line.rehearse(state, rehearsals[step, -1])
    tick()
    experts = next(iter(forecasts.values())).experts if forecasts else ()
    return [_joined([moment for moment in rows if moment], experts) for rows in found]


_Moment = tuple[Floats, Floats, Floats, Floats, Floats, Floats]


class _Line:
    """One channel's way through the recording; knows the track, keeps no state."""

    def __init__(self, track: Track, readings: Ints, generator: Generator) -> None:
        self._track, self._readings = track, readings
        self._signal: Signal = SIGNALS[track.signal]
        self._times_us = np.round(readings * track.grid_s * 1e6).astype(np.int64)
        self._values = track.values[readings]
        self._period_us = round(track.period_steps * track.grid_s * 1e6)
        self._prior = prior_of(generator, self._signal)
        self._version = generator.version
        self._population = population_of(generator, self._signal)

    def begin(self) -> _State:
        return _State(Shadows.none(), Learnt.start(self._population.shape[1], self._version), -1, True, 0)

    def take(self, state: _State, step: int) -> _State:
        """Readings up to a grid step that has one: shadow forecasts that fell due are scored."""
        at = int(np.searchsorted(self._readings, step))
        new = slice(state.at, at + 1)  # with the one before, which may be the reading of a moment in between
        times_us, values = self._times_us[new], self._values[new]
        decimals = learn_decimals(state.decimals, values)
        if not state.good:
            return replace(
                state, shadows=state.shadows.without(state.shadows.due_us <= times_us[-1]), decimals=decimals, at=at
            )
        shadows, learnt = state.shadows.settle(state.learnt, self._population, times_us, values, self._period_us)
        return replace(state, shadows=shadows, learnt=learnt, decimals=decimals, at=at)

    def rehearse(self, state: _State, forecast: Forecast) -> _State:
        """A look at the sensor, and a shadow forecast at the last reading where it is good."""
        step, grid_s = int(self._readings[state.at]), self._track.grid_s
        seen = until(self._track.values, step)
        state = replace(state, good=judge(self._signal.id, seen, grid_s, self._step(state)).verdict == GOOD.verdict)
        if not state.good:
            return state
        shadows = state.shadows.promise(self._plan(state, forecast), int(self._times_us[state.at]))
        return replace(state, shadows=shadows)

    def show(self, state: _State, forecast: Forecast, steps: Ints) -> _Moment:
        """What is shown at `steps` (K,) of a gap that begins after the last reading."""
        plan, ages_s = self._plan(state, forecast), steps * self._track.grid_s
        quantiles = plan.quantiles(state.learnt.calibration, self._prior, np.array(SCORED_LEVELS))
        at_steps = np.stack([np.interp(ages_s, plan.band.ages_s, column) for column in quantiles.T], -1)
        weights = state.learnt.personal.weights(self._population)
        trust = np.stack([np.interp(np.log(ages_s), np.log(SCORE_AGES_S), row) for row in weights.T], -1)
        bounds = np.clip(at_steps, self._signal.low, self._signal.high)
        return (*plan.band.at(np.asarray(ages_s, np.float64)), bounds, trust)

    def _plan(self, state: _State, forecast: Forecast) -> Plan:
        weights = state.learnt.personal.weights(self._population)
        value, calibration = float(self._values[state.at]), state.learnt.calibration
        return plan_of(
            forecast, value, self._signal, self._step(state), calibration, self._prior, weights, self._population
        )

    def _step(self, state: _State) -> float:
        """The sensor's own resolution, as learnt so far."""
        return self._signal.resolution if state.decimals < 0 else 10.0**-state.decimals


def until(values: Floats, step: int) -> Floats:
    """(CONTEXT_STEPS,) values up to a grid step, newest last; NaN before the recording."""
    seen = values[max(0, step + 1 - CONTEXT_STEPS) : step + 1]
    return np.concatenate([np.full(CONTEXT_STEPS - len(seen), np.nan), seen])


def contexts(track: Track, moments: Sequence[tuple[int, int]]) -> list[Context]:
    """What may be known at (grid step, seed); seed -1 is the engine's own."""
    beside = {name: values for name, values in track.others.items() if name.partition(".")[0] in SLOTS}

    return [
        Context(
            track.signal,
            until(track.values, step),
            {name: until(values, step) for name, values in beside.items()},
            zlib.crc32(f"{track.person}|{track.signal}|{step}|{seed}".encode()),
        )
        for step, seed in moments
    ]


def _forecasts(
    track: Track, moments: Sequence[tuple[int, int]], generator: Generator
) -> dict[tuple[int, int], Forecast]:
    out: dict[tuple[int, int], Forecast] = {}
    for at in range(0, len(moments), _BATCH):
        batch = moments[at : at + _BATCH]
        out |= zip(batch, generator.forecast(contexts(track, batch)), strict=True)
    return out


def _origins(readings: Ints, track: Track) -> list[int]:
    """Grid steps at which the engine makes a shadow forecast: readings at least two seconds apart."""
    apart, out = EVERY_S / track.grid_s, [int(readings[0])]
    while True:
        at = int(np.searchsorted(readings, out[-1] + apart - 1e-9))
        if at >= len(readings):
            return out
        out.append(int(readings[at]))


def _joined(moments: Sequence[_Moment], experts: tuple[str, ...]) -> Shown:
    value, lower, upper, confidence, quantiles, weights = (np.stack(column) for column in zip(*moments, strict=True))
    return Shown(value, lower, upper, confidence, quantiles, weights, experts)
