"""Every score of a recorded channel, as the judge would have had it: what ``anomalies`` measures.

The judge's own scores by ``surprise``, and beside them a random score, a moving z-score and a control chart. All are
causal, and larger for odder readings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twin_engine.baselines import stack
from twin_engine.calibrate import step_of
from twin_engine.features import CONTEXT_STEPS, prepare
from twin_engine.lab.examples import Series, gather, series_of
from twin_engine.lab.recordings import Recording, read_people
from twin_engine.messages import Floats, Times
from twin_engine.model import Generator
from twin_engine.plans import PLANS, node_steps
from twin_engine.surprise import Surprise, reconstruction
from twin_engine.tails import harmonic

STRETCH = 0.1  # of the horizon is the newest stretch, which is reconstructed
_EVERY_S = 10.0  # a stretch is reconstructed
_BATCH = 1000
_Z_S, _CHART = 300.0, 0.2  # memory of the moving z-score, and of the control chart (its weight of the newest reading)


@dataclass(frozen=True, slots=True, eq=False)
class Channel:
    """One person's channel of a signal. N readings."""

    person: str
    id: str
    times_us: Times  # (N,)
    values: Floats  # (N,)
    period_us: int
    grid: Series  # the same on the model grid, with the channels beside it
    stress: Floats  # (N,) 1, 0, or NaN where nobody said

    @property
    def signal(self) -> str:
        return self.id.partition(".")[0]

    @property
    def period_s(self) -> float:
        return self.period_us / 1e6


def channels_of(data: Path, signal: str, people: Sequence[str]) -> list[Channel]:
    """The channels of `signal` that `people` have."""
    out = []
    for recording in read_people(data, only=set(people)):
        for series in series_of([recording], signal):
            times, values = recording.channels[series.channel]
            times_us = np.round(times * 1e6).astype(np.int64)
            period_us = int(np.median(np.diff(times_us)))
            stress = _label(recording, "stress", times)
            out.append(Channel(recording.person, series.channel, times_us, values, period_us, series, stress))
    return out


def scores_of(generator: Generator, channel: Channel, values: Floats) -> dict[str, Floats]:
    """Every score, (N,) each and larger for odder readings, of a channel that reports `values` (N,)."""
    state, step = Surprise.start(channel.signal), step_of(values)
    _, made = state.read(channel.times_us, values, channel.period_us, step)
    rebuilt = reconstruction_p(generator, channel, values)
    every = {"residual": made.residual_p, "sustained": made.sustained_p, "run": made.run_p, "reconstruction": rebuilt}
    every["together"] = harmonic(*every.values())
    name = int.from_bytes(hashlib.sha256(f"{channel.person} {channel.id}".encode()).digest()[:4], "big")
    out = {score: -np.log(p) for score, p in every.items()}
    out["random"] = np.random.default_rng(name).random(len(values))
    out["z-score"] = _z_score(values, 1 - np.exp(-channel.period_s / _Z_S))
    out["control chart"] = _control_chart(values, 1 - np.exp(-channel.period_s / _Z_S))
    return out


def reconstruction_p(generator: Generator, channel: Channel, values: Floats) -> Floats:
    """(N,) tail probability of the newest reconstruction at each reading."""
    plan = PLANS[channel.signal]
    grid = Recording(channel.person, {channel.id: (channel.times_us / 1e6, values)}).on_grid(plan.grid_s)[channel.id]
    stretch = round(STRETCH * plan.horizon_s / plan.grid_s)
    now = np.arange(stretch, len(grid), max(1, round(_EVERY_S / plan.grid_s)))
    state, p = Surprise.start(channel.signal), []
    for density in log_densities(generator, channel, grid, now - stretch, stretch):
        state = state.reconstructed(float(density))
        p.append(state.reconstruction_p)
    newest = np.searchsorted(now * plan.grid_s, channel.times_us / 1e6 + 1e-6, "right") - 1
    return np.where(newest >= 0, np.array([*p, 1.0])[newest], 1.0)


def log_densities(generator: Generator, channel: Channel, grid: Floats, ends: Times, stretch: int) -> Floats:
    """(M,) log-probability a node of the `stretch` steps after each of `ends` (M,) on the grid (S,)."""
    plan, trained = PLANS[channel.signal], generator._trained[channel.signal]
    past, nodes = np.arange(1 - CONTEXT_STEPS, 1), node_steps(channel.signal)
    out = []
    for some in np.array_split(ends, max(1, len(ends) // _BATCH)):
        others = {slot: gather(x, some, past) for slot, x in channel.grid.others.items()}
        prepared = prepare(plan, gather(grid, some, past), others, generator.population)
        truth = np.where(nodes <= stretch, gather(grid, some, nodes), np.nan)
        normal = (plan.forward(truth) - prepared.last[:, None]) / prepared.scale[:, None]
        known = np.isfinite(normal).astype(np.float64)
        bases = stack(plan, prepared, trained.ridge)
        out.append(reconstruction(trained.network, prepared, bases, normal, known, [0] * len(normal)))
    return np.concatenate(out)


def _label(recording: Recording, name: str, times: Floats) -> Floats:
    """(N,) the newest value of a label at each time, NaN before it is known."""
    known, values = recording.labels.get(name, (np.empty(0), np.empty(0)))
    return np.append(values, np.nan)[np.searchsorted(known, times + 1e-6, "right") - 1]


def _z_score(values: Floats, weight: float) -> Floats:
    """Distance to the moving mean in moving standard deviations, each without the reading itself."""
    mean, square = _moving(values, weight), _moving((values - _moving(values, weight)) ** 2, weight)
    return np.asarray(np.abs(values - mean) / np.sqrt(square + 1e-12))


def _control_chart(values: Floats, weight: float) -> Floats:
    """Exponentially weighted control chart of the same distance: what persists counts."""
    mean, square = _moving(values, weight), _moving((values - _moving(values, weight)) ** 2, weight)
    distance = (values - mean) / np.sqrt(square + 1e-12)
    return np.asarray(np.abs(_moving(np.append(distance[1:], distance[-1]), _CHART)))


def _moving(values: Floats, weight: float) -> Floats:
    """(N,) exponentially weighted mean of the values before each."""
    out, mean = np.empty(len(values)), float(values[0])
    for i, value in enumerate(values):
        out[i] = mean
        mean += weight * (float(value) - mean)
    return out
