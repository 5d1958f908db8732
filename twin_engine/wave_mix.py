"""A wave that nothing was trained for: the mean of its two best forecasts, how far off it may be, and a closed gap.

All from the patient's own past: the spread from forecasting that past over again, a closed gap from both its sides
(time turned round, the readings after it are a context like any other). Nothing is learnt and nothing kept.
"""

from __future__ import annotations

import numpy as np

from twin_engine.mend import Hole, Mended
from twin_engine.messages import Floats
from twin_engine.plans import Ints
from twin_engine.wave import analog, autoregress, fill

METHOD = "wave-bridge"
LEAST_AFTER = 32  # steps after a gap below which only the side before it is asked
_ORIGINS = 8  # earlier moments from which the past is forecast over again
_FARTHEST = 0.5  # the earliest of them, as a share of the past
_ALIKE = 1.5  # errors at ages within this factor are taken together
_TRIED = 12  # ages at which errors are counted; between them lines
_LEAST_ERRORS = 8


def mixed(path: Floats, nodes: Ints) -> Floats:
    """(B, N) the mean of the two best forecasts of a wave, :func:`autoregress` and :func:`analog`; path (B, T)."""
    return 0.5 * autoregress(path, nodes) + 0.5 * analog(path, nodes)


def own_halfwidth(context: Floats, nodes: Ints) -> Floats:
    """(N,) within which nine in ten errors of :func:`mixed` lay when `context` (T,) was forecast from earlier moments.

    Never falls with age, at most 1.645 standard deviations of the context; beyond the ages that could be tried, and
    where hardly anything is known, that is what it is.
    """
    known = np.isfinite(context)
    most = 1.645 * float(context[known].std()) if known.any() else 0.0
    back = np.unique(np.linspace(8, _FARTHEST * len(context), _ORIGINS).astype(np.int64))
    earlier = np.full((len(back), len(context)), np.nan)
    for row, steps in enumerate(back):
        earlier[row, steps:] = context[:-steps]
    ages = np.arange(1, min(int(nodes[-1]), int(back[-1])) + 1)
    errors = np.full((len(back), len(ages)), np.nan)
    forecast = _forecast(earlier, ages)
    for row, steps in enumerate(back):
        reach = min(steps, len(ages))
        errors[row, :reach] = np.abs(forecast[row, :reach] - context[len(context) - steps :][:reach])
    tried = np.unique(np.geomspace(1, ages[-1], _TRIED).astype(np.int64))
    half = np.full(len(tried), most)
    for n, age in enumerate(tried):
        near = errors[:, (ages >= age / _ALIKE) & (ages <= age * _ALIKE)]
        near = near[np.isfinite(near)]
        if len(near) >= _LEAST_ERRORS:
            half[n] = np.quantile(near, 0.9)
    grown = np.minimum(np.maximum.accumulate(half), most)
    return np.interp(nodes, tried, grown, right=most)


def bridge_wave(before: Floats, after: Floats, steps: int) -> Floats:
    """(B, steps) the likely wave in a gap of `steps` between `before` (B, T) and `after` (B, U), signal's unit.

    NaN where missing. Each side counts the less the farther it is. With fewer than LEAST_AFTER steps after the gap it
    is the forecast from before it.
    """
    nodes = np.arange(1, steps + 1)
    ahead = _forecast(before, nodes)
    if after.shape[1] < LEAST_AFTER:
        return ahead
    back = _forecast(after[:, ::-1], nodes)[:, ::-1]
    share = nodes / (steps + 1.0)
    return ahead * (1 - share) + back * share


def mend_wave(hole: Hole, grid_s: float) -> Mended:
    """A closed gap of a wave, step by step: :func:`bridge_wave`, as unsure as the nearer side's own past says."""
    steps = max(1, round(hole.steps) - 1)
    nodes = np.arange(1, steps + 1)
    before, after = hole.before, hole.after[:, None].T
    half = own_halfwidth(before, nodes)
    if after.shape[1] >= LEAST_AFTER:
        half = np.minimum(half, own_halfwidth(hole.after[::-1], nodes)[::-1])
    ends = (float(fill(before[None])[0][0, -1]), float(hole.after[0]))
    return Mended(
        nodes.astype(np.float64) * grid_s,
        bridge_wave(before[None], after, steps)[0],
        half,
        half,
        METHOD,
        ends,
        hole.steps * grid_s,
    )


def _forecast(context: Floats, nodes: Ints) -> Floats:
    """(B, N) in the unit of `context` (B, T)."""
    last = fill(context)[0][:, -1:]
    return mixed(context - last, nodes) + last
