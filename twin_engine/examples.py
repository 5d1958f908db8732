"""Examples for training and validation: contexts before a pretended gap, and what came after it.

A window ends at a reading, chosen evenly over folders, people and channels. For training it is then spoilt the way
life spoils it: short contexts, dropped readings, holes, other channels absent, a sensor that gives whole numbers.
Everything a forecaster may see is made by ``features.prepare`` from the context alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from device.signals import SIGNALS
from twin_engine.baselines import untrained
from twin_engine.features import (
    CONTEXT_STEPS,
    PLANS,
    SLOTS,
    Floats32,
    Ints,
    Plan,
    Population,
    Prepared,
    bin_means,
    last_value,
    node_steps,
    prepare,
    slot_series,
    slot_space,
)
from twin_engine.messages import Floats
from twin_engine.recordings import Recording

_CHUNK = 2000
_MIN_READINGS = 3
# Share of training windows that are made rougher, noisier, coarser, as another device might be, and share that is
# replaced by a process without any trend.
_DEVICE = (0.1, 0.1, 0.1, 0.03)
_DEVICES = {"hr_bpm": (0.3, 0.05, 0.4, 0.2)}  # the wristband's heart rate is its maker's long average
_WHOLE_STEPS = {"hr_bpm"}  # coarse means the signal's own resolution: most monitors give whole beats
_TRUTH_CLIP = 15.0  # scales


@dataclass(frozen=True, slots=True)
class Series:
    """One channel of one person on the model grid, and the slots beside it on the same grid."""

    person: str
    channel: str
    values: Floats  # (S,)
    others: dict[str, Floats]  # slot -> (S,)
    sd: float  # of the whole recording: only to report errors, never to forecast


@dataclass(frozen=True, slots=True)
class Examples:
    """B windows. `truth` (B, N) is normalised like the contexts, NaN where the recording has no reading."""

    prepared: Prepared  # its `path` is empty: `cheap` is all that was needed of it
    cheap: Floats32  # (B, N, 3) the baselines that need no training
    truth: Floats32
    person_sd: Floats  # (B,)
    person: Ints  # (B,) index into the list of people


def series_of(recordings: Sequence[Recording], signal: str) -> list[Series]:
    """Every channel of `signal` in `recordings`, on its model grid."""
    out = []
    for recording in recordings:
        if not any(name.partition(".")[0] == signal for name in recording.channels):
            continue
        grid = recording.on_grid(PLANS[signal].grid_s)
        for name in (name for name in grid if name.partition(".")[0] == signal):
            rest = {other: values for other, values in grid.items() if other != name}
            beside = {slot: series for slot in SLOTS if (series := slot_series(slot, rest)) is not None}
            out.append(Series(recording.person, name, grid[name], beside, float(np.nanstd(grid[name]))))
    return out


def population_of(recordings: Sequence[Recording], rng: np.random.Generator) -> Population:
    """Typical scale, level and spread of level of every slot's signal among these (training) people."""
    scale, level, spread = {}, {}, {}
    for slot in SLOTS:
        plan = PLANS[slot]
        own, levels = [], []
        for recording in recordings:
            grid = recording.on_grid(plan.grid_s)
            series = slot_series(slot, grid)
            if series is None:
                continue
            x = slot_space(slot, series)
            ends = rng.choice(np.flatnonzero(np.isfinite(x)), 100)
            windows = gather(x, ends, np.arange(1 - CONTEXT_STEPS, 1))
            means, seen = bin_means(windows - last_value(windows)[:, None])
            own.append((np.abs(means) * (seen > 0)).sum(1) / np.maximum((seen > 0).sum(1), 1))
            levels.append(float(np.nanmedian(x)))
        scale[slot] = float(np.median(np.concatenate(own)))
        level[slot] = float(np.median(levels))
        spread[slot] = max(float(np.std(levels)), scale[slot])
    return Population(scale, level, spread)


def draw(
    series: Sequence[Series], plan: Plan, population: Population, count: int, rng: np.random.Generator, spoil: bool
) -> Examples:
    """`count` windows, evenly over folders, people and channels; spoilt for training where `spoil`."""
    people = sorted({s.person for s in series})
    chunks = [_chunk(members, people, plan, population, rng, spoil) for members in _plan_chunks(series, count, rng)]
    contexts = [chunk.prepared for chunk in chunks]
    prepared = Prepared(
        np.empty((count, 0)),
        np.concatenate([c.bins for c in contexts]),
        np.concatenate([c.statics for c in contexts]),
        np.concatenate([c.last for c in contexts]),
        np.concatenate([c.scale for c in contexts]),
    )
    return Examples(
        prepared,
        np.concatenate([chunk.cheap for chunk in chunks]),
        np.concatenate([chunk.truth for chunk in chunks]),
        np.concatenate([chunk.person_sd for chunk in chunks]),
        np.concatenate([chunk.person for chunk in chunks]),
    )


def gather(x: Floats, ends: Ints, offsets: Ints) -> Floats:
    """(len(ends), len(offsets)) values of `x` (S,) at ``ends + offsets``; NaN outside."""
    index = ends[:, None] + offsets
    inside = (index >= 0) & (index < len(x))
    return np.where(inside, x[np.clip(index, 0, len(x) - 1)], np.nan)


def window_ends(series: Series, count: int, rng: np.random.Generator) -> Ints:
    """(count,) grid steps at which a gap may be pretended: there is a reading, and a few before it."""
    known = np.flatnonzero(np.isfinite(series.values))[_MIN_READINGS - 1 : -1]
    return rng.choice(known, count)


def _plan_chunks(series: Sequence[Series], count: int, rng: np.random.Generator) -> Iterator[list[tuple[Series, int]]]:
    """Which series give how many windows, in chunks of at most _CHUNK windows."""
    folders: dict[str, dict[str, list[Series]]] = {}
    for s in series:
        folders.setdefault(s.person.partition("/")[0], {}).setdefault(s.person, []).append(s)
    while count > 0:
        size = min(count, _CHUNK)
        picked: dict[int, tuple[Series, int]] = {}
        for _ in range(size):
            folder = folders[sorted(folders)[rng.integers(len(folders))]]
            channels = folder[sorted(folder)[rng.integers(len(folder))]]
            s = channels[rng.integers(len(channels))]
            picked[id(s)] = (s, picked.get(id(s), (s, 0))[1] + 1)
        yield list(picked.values())
        count -= size


def _chunk(
    members: list[tuple[Series, int]],
    people: list[str],
    plan: Plan,
    population: Population,
    rng: np.random.Generator,
    spoil: bool,
) -> Examples:
    past, nodes = np.arange(1 - CONTEXT_STEPS, 1), node_steps(plan.signal)
    values, truth, sd, person = [], [], [], []
    others: dict[str, list[Floats]] = {slot: [] for slot in SLOTS}
    for series, count in members:
        ends = window_ends(series, count, rng)
        values.append(gather(series.values, ends, past))
        truth.append(gather(series.values, ends, nodes))
        blank = np.full(len(series.values), np.nan)
        for slot in SLOTS:
            others[slot].append(gather(series.others.get(slot, blank), ends, past))
        sd.append(np.full(count, series.sd))
        person.append(np.full(count, people.index(series.person)))
    x, y = np.concatenate(values), np.concatenate(truth)
    beside = {slot: np.concatenate(rows) for slot, rows in others.items()}
    if spoil:
        x, y, beside = _spoil(plan, x, y, beside, rng)
    prepared = prepare(plan, x, beside, population)
    normal = (plan.forward(y) - prepared.last[:, None]) / prepared.scale[:, None]
    cheap = untrained(prepared.path, nodes).astype(np.float32)
    bare = Prepared(np.empty((len(x), 0)), prepared.bins, prepared.statics, prepared.last, prepared.scale)
    clipped = np.clip(normal, -_TRUTH_CLIP, _TRUTH_CLIP).astype(np.float32)
    return Examples(bare, cheap, clipped, np.concatenate(sd), np.concatenate(person))


def _spoil(
    plan: Plan, x: Floats, y: Floats, beside: dict[str, Floats], rng: np.random.Generator
) -> tuple[Floats, Floats, dict[str, Floats]]:
    """Contexts as they come in real life. The last reading is never lost: it is where the gap begins."""
    count, steps = x.shape
    age = np.arange(steps - 1, -1, -1)[None]
    short = np.where(rng.random(count) < 0.3, np.exp(rng.uniform(np.log(3), np.log(steps), count)), steps)[:, None]
    rate = np.where(rng.random(count) < 0.3, rng.uniform(0, 0.5, count), 0.0)[:, None]
    hole_from = np.where(rng.random(count) < 0.2, rng.integers(1, steps, count), steps)[:, None]
    hole_to = hole_from + rng.integers(1, steps // 4, count)[:, None]
    lost = (age >= short) | (rng.random(x.shape) < rate) | ((age >= hole_from) & (age < hole_to))
    lost[:, -1] = False
    x, y = _other_device(plan, x, y, rng)
    absent = dict(zip(SLOTS, rng.random((len(SLOTS), count, 1)) < 0.3, strict=True))
    beside = {slot: np.where(absent[slot] | (age >= short), np.nan, series) for slot, series in beside.items()}
    return np.where(lost, np.nan, x), y, beside


def _other_device(plan: Plan, x: Floats, y: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Context and truth as another make might give them: less smooth, noisier, or in coarser steps.

    Two devices are far too few to learn from; without this the forecaster would take one maker's averaging for
    physiology, and continue trends that another device does not have.
    """
    count, ages = len(x), node_steps(plan.signal)
    sd = np.nanstd(x, axis=1, keepdims=True) + SIGNALS[plan.signal].resolution

    def some(share: float, least: float, most: float) -> Floats:
        size = np.exp(rng.uniform(np.log(least), np.log(most), (count, 1)))
        return np.where(rng.random((count, 1)) < share, size, 0.0)

    walks, noisy, coarse, aimless = _DEVICES.get(plan.signal, _DEVICE)
    x, y = _aimless(x, y, ages, rng, rng.random((count, 1)) < aimless)
    step = sd * some(walks, 0.003, 0.1)
    x = x - step * np.cumsum(rng.standard_normal(x.shape)[:, ::-1], axis=1)[:, ::-1]
    y = y + step * np.cumsum(rng.standard_normal(y.shape) * np.sqrt(np.diff(ages, prepend=0)), axis=1)
    noise = sd * some(noisy, 0.01, 0.5)
    x, y = (part + noise * rng.standard_normal(part.shape) for part in (x, y))
    whole = SIGNALS[plan.signal].resolution if plan.signal in _WHOLE_STEPS else sd * some(1.0, 0.05, 0.5)
    grain = np.where(rng.random((count, 1)) < coarse, whole, 0.0)
    x, y = (np.where(grain > 0, np.round(part / np.maximum(grain, 1e-12)) * grain, part) for part in (x, y))
    return x, y


def _aimless(x: Floats, y: Floats, ages: Ints, rng: np.random.Generator, chosen: Any) -> tuple[Floats, Floats]:
    """The `chosen` (B, 1) windows replaced by Ornstein-Uhlenbeck processes of the same level and spread.

    They return to their mean within 30 to 3000 steps and have no momentum: what a device shows that does not
    average. `ages` (N,) are the steps of `y` after the context.
    """
    count, steps = x.shape
    sd, mean = np.nanstd(x, axis=1, keepdims=True), np.nanmean(x, axis=1, keepdims=True)
    rate = np.exp(-rng.uniform(np.log(30), np.log(3000), (count, 1)))
    state, past, future = rng.standard_normal((count, 1)), np.empty_like(x), np.empty_like(y)
    for t in range(steps):
        past[:, t : t + 1] = state
        state = _relax(state, rate, rng)
    for n, gap in enumerate(np.diff(ages, prepend=0)):
        state = _relax(past[:, -1:] if n == 0 else state, rate * gap, rng)
        future[:, n : n + 1] = state
    known, true = np.isfinite(x), np.isfinite(y)
    x = np.where(chosen & known, mean + sd * past, x)
    return x, np.where(chosen & true, mean + sd * future, y)


def _relax(state: Floats, decay: Floats, rng: np.random.Generator) -> Floats:
    """An Ornstein-Uhlenbeck process of unit variance, `decay` time constants later."""
    kept = np.exp(-decay)
    return state * kept + np.sqrt(1 - kept**2) * rng.standard_normal(state.shape)
