"""Examples for training and validation: contexts before a pretended gap, and what came after it.

A window ends at a reading, chosen evenly over folders, people and channels. For training it may then be spoilt the
way life spoils it (``spoil``). Everything a forecaster may see is made by ``features.prepare`` from the context alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twin_engine.baselines import untrained
from twin_engine.features import (
    CONTEXT_STEPS,
    SLOTS,
    Population,
    Prepared,
    bin_means,
    last_value,
    prepare,
    slot_series,
    slot_space,
)
from twin_engine.lab.recordings import Recording
from twin_engine.lab.spoil import lose, other_device
from twin_engine.messages import Floats
from twin_engine.plans import PLANS, Floats32, Ints, Plan, node_steps

_CHUNK = 2000
_MIN_READINGS = 3
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
    cheap: Floats32  # (B, N, C - 1) the baselines that need no training
    truth: Floats32
    person_sd: Floats  # (B,)
    people: tuple[str, ...]
    person: Ints  # (B,) index into `people`

    def of_folder(self, folder: str) -> npt.NDArray[np.bool_]:
        """(B,) which windows are of people of that folder; all where it is empty."""
        return np.array([not folder or name.startswith(f"{folder}/") for name in self.people])[self.person]


def series_of(recordings: Sequence[Recording], signal: str) -> list[Series]:
    """Every channel of `signal` in `recordings`, on its model grid."""
    out = []
    for recording in recordings:
        if not any(name.partition(".")[0] == signal for name in recording.channels):
            continue
        wanted = {name for name in recording.channels if name.partition(".")[0] in {signal, *SLOTS}}
        grid = recording.on_grid(PLANS[signal].grid_s, wanted)
        for name in (name for name in grid if name.partition(".")[0] == signal):
            rest = {other: values for other, values in grid.items() if other != name}
            beside = {slot: series for slot in SLOTS if (series := slot_series(slot, rest)) is not None}
            out.append(Series(recording.person, name, grid[name], beside, float(np.nanstd(grid[name]))))
    return out


def population_of(recordings: Sequence[Recording], rng: np.random.Generator) -> Population:
    """Typical scale, level and spread of level of every trained or slot signal that these (training) people have."""
    scale, level, spread = {}, {}, {}
    for slot in sorted({*SLOTS, *(plan.signal for plan in PLANS.values() if plan.trained)}):
        plan = PLANS[slot]
        own, levels = [], []
        for recording in recordings:
            wanted = {name for name in recording.channels if name.partition(".")[0] == slot}
            grid = recording.on_grid(plan.grid_s, wanted)
            series = slot_series(slot, grid)
            if series is None:
                continue
            x = slot_space(slot, series)
            ends = rng.choice(np.flatnonzero(np.isfinite(x)), 100)
            windows = gather(x, ends, np.arange(1 - CONTEXT_STEPS, 1))
            means, seen = bin_means(windows - last_value(windows)[:, None])
            own.append((np.abs(means) * (seen > 0)).sum(1) / np.maximum((seen > 0).sum(1), 1))
            levels.append(float(np.nanmedian(x)))
        if not own:
            continue
        scale[slot] = float(np.median(np.concatenate(own)))
        level[slot] = float(np.median(levels))
        spread[slot] = max(float(np.std(levels)), scale[slot])
    return Population(scale, level, spread)


def draw(
    series: Sequence[Series], plan: Plan, population: Population, count: int, rng: np.random.Generator, spoil: bool
) -> Examples:
    """`count` windows, evenly over folders, people and channels; spoilt for training where `spoil`."""
    people = tuple(sorted({s.person for s in series}))
    chunks = [_chunk(members, people, plan, population, rng, spoil) for members in _shares(series, count, rng)]
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
        people,
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


def _shares(series: Sequence[Series], count: int, rng: np.random.Generator) -> Iterator[list[tuple[Series, int]]]:
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
    people: tuple[str, ...],
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
        x, y = other_device(plan.signal, x, y, rng)
        x, beside = lose(x, beside, rng)
    prepared = prepare(plan, x, beside, population)
    normal = (plan.forward(y) - prepared.last[:, None]) / prepared.scale[:, None]
    cheap = untrained(plan, prepared.path).astype(np.float32)
    bare = Prepared(np.empty((len(x), 0)), prepared.bins, prepared.statics, prepared.last, prepared.scale)
    clipped = np.clip(normal, -_TRUTH_CLIP, _TRUTH_CLIP).astype(np.float32)
    return Examples(bare, cheap, clipped, np.concatenate(sd), people, np.concatenate(person))
