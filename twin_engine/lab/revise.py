"""What the twin says of a gap once it has closed: the revision, from both sides, for many pretended gaps at once.

As in the engine (:mod:`twin_engine.healing`): by what was trained for it, or by the wave's own way, and where neither
reaches by the bridge (:func:`twin_engine.synthesise.bridge`). Where a revision is withheld, the straight line stands in
for it with no spread at all, so that withholding never improves a score.
"""

from __future__ import annotations

import numpy as np

from device.signals import SIGNALS
from twin_engine.calibrate import Band, step_of
from twin_engine.healing import revision
from twin_engine.lab.masks import Mask
from twin_engine.lab.scorecard import SCORED_LEVELS
from twin_engine.lab.stream import Shown
from twin_engine.mend import Hole, Mended
from twin_engine.messages import Floats
from twin_engine.model import Generator
from twin_engine.simple import laplace
from twin_engine.synthesise import Plan, bridge

BRIDGE = "bridge"


def revised(mask: Mask, live: Shown, generator: Generator) -> Shown:
    """The revision of every gap of a mask, given what was shown `live`."""
    signal, grid_s = mask.track.signal, mask.track.grid_s
    starts = mask.starts.tolist()
    learned = [generator.mends(signal, (_end(mask, start) - start) * grid_s) for start in starts]
    fillings = iter(generator.mend([_hole(mask, start) for start, yes in zip(starts, learned, strict=True) if yes]))
    columns, methods = [], []
    for row, start in enumerate(starts):
        made = next(fillings) if learned[row] else None
        columns.append(_bridged(mask, live, row) if made is None else _mended(mask, start, made))
        methods.append(BRIDGE if made is None else made.method)
    value, lower, upper, confidence = (np.stack(column) for column in zip(*columns, strict=True))
    names = tuple(sorted(set(methods)))
    weights = np.array([[float(method == name) for name in names] for method in methods])  # (G, E)
    every = np.repeat(weights[:, None], len(mask.steps), axis=1)
    return Shown(value, lower, upper, confidence, _spread(value, lower, upper), every, names)


def _hole(mask: Mask, start: int) -> Hole:
    values, end = mask.track.values, _end(mask, start)
    return Hole(mask.track.signal, values[: start + 1], values[end:], float(end - start), mask.seed * 1_000_003 + start)


def _end(mask: Mask, start: int) -> int:
    """The grid step of the first reading after the gap."""
    after = mask.track.values[start + mask.length + 1 :]
    return start + mask.length + 1 + int(np.isfinite(after).argmax())


def _mended(mask: Mask, start: int, made: Mended) -> tuple[Floats, Floats, Floats, Floats]:
    step = step_of(mask.track.values[: start + 1])
    return revision(made, mask.steps.astype(np.float64) * mask.track.grid_s, SIGNALS[mask.track.signal], step)


def _bridged(mask: Mask, live: Shown, row: int) -> tuple[Floats, Floats, Floats, Floats]:
    track, start, signal = mask.track, int(mask.starts[row]), SIGNALS[mask.track.signal]
    end = _end(mask, start)
    last, following = float(track.values[start]), float(track.values[end])
    ages_s = np.concatenate(([0.0], mask.steps * track.grid_s))

    def begun(values: Floats) -> Floats:
        return np.concatenate(([last], values))

    centre = begun(live.value[row])
    band = Band(ages_s, centre, begun(live.lower[row]), begun(live.upper[row]), np.ones(len(ages_s)))
    nothing = np.zeros(len(ages_s))
    plan = Plan(band, centre, nothing, nothing, np.empty((0, len(ages_s))), ("",) * len(ages_s))
    start_us, end_us = 0, round((end - start) * track.grid_s * 1e6)
    times_us = np.round(ages_s[1:] * 1e6).astype(np.int64)
    made = bridge(
        track.channel, plan, start_us, end_us, following, times_us, signal, step_of(track.values[: start + 1])
    )
    line = last + (following - last) * mask.steps / (end - start)
    value, lower, upper = (np.where(np.isfinite(x), x, line) for x in (made.values, made.lower, made.upper))
    return value, lower, upper, np.asarray(made.confidence, np.float64)


def _spread(value: Floats, lower: Floats, upper: Floats) -> Floats:
    """(G, K, Q) quantiles of a two-sided Laplace distribution with these 5 % and 95 % levels."""
    side = laplace(np.array(SCORED_LEVELS))
    width = np.where(side < 0, (value - lower)[..., None], (upper - value)[..., None])
    return np.asarray(value[..., None] + side * width)
