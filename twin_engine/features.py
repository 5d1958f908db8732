"""What a forecast looks at: the model grid, bins that widen with age, and a normaliser that knows only the past.

The way of one context: readings are put on the grid (:func:`to_grid`), centred on the last value and divided by a
scale that is learnt from that context and shrunk to the population's (:func:`prepare`), and averaged in bins that
widen with age. Nothing here uses a value later than the last reading, so nothing can leak from the gap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from twin_engine.messages import Floats, Times
from twin_engine.plans import PLANS, Floats32, Plan

# (number, width in steps) of context bins, newest first: 70 bins see 536 steps
_BINS = ((24, 1), (12, 2), (10, 4), (8, 8), (8, 16), (8, 32))
CONTEXT_STEPS = sum(count * width for count, width in _BINS)
_SHRINK_BINS = 10.0  # the population's scale weighs as much as this many bins of the patient's own
_LEAST_SCALE = 1e-9  # of a context that never moved, in a unit that nobody knows
_CLIP = 15.0  # normalised inputs beyond this many scales tell no more
SLOTS = ("emg_activity_mV", "gsr_uS", "skin_temp_C", "hr_bpm", "acc_g")  # signals seen beside the target
_LAGS = (1, 4, 16, 64)  # steps over which it is asked whether a trend goes on
STATICS = 6 + len(_LAGS)


def to_grid(times_us: Times, values: Floats, end_us: int, grid_s: float, steps: int = CONTEXT_STEPS) -> Floats:
    """(steps,) readings on the model grid that ends at `end_us`: the last reading of each step, NaN where none.

    `times_us` (N,) must increase; readings after `end_us` are not looked at.
    """
    grid = np.full(steps, np.nan)
    known = np.isfinite(values) & (times_us <= end_us)
    back = np.floor((end_us - times_us[known]) / (grid_s * 1e6) + 1e-6).astype(np.int64)
    inside = back < steps
    grid[steps - 1 - back[inside]] = values[known][inside]  # later readings overwrite earlier ones of the same step
    return grid


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch of contexts as the forecasters see them. B contexts, T steps, L bins."""

    path: Floats  # (B, T) target, model space, (value - last) / scale, NaN missing
    bins: Floats32  # (B, L, channels) oldest first: target, presence, log width, then value and presence a slot
    statics: Floats32  # (B, STATICS)
    last: Floats  # (B,) last value, model space
    scale: Floats  # (B,) > 0, model space


@dataclass(frozen=True, slots=True)
class Population:
    """What the training people looked like, in model space: typical scale and level of each signal."""

    scale: dict[str, float]
    level: dict[str, float]
    spread: dict[str, float]  # of the level, between people


def prepare(plan: Plan, values: Floats, others: Mapping[str, Floats], population: Population) -> Prepared:
    """Contexts `values` (B, T) and `others` (slot -> (B, T)), signal's unit, NaN missing, normalised causally."""
    typical = None if plan.arbitrary else population.scale[plan.signal]
    path, last, scale, means, seen = normalise(plan.forward(values), typical)
    widths = np.log2(bin_widths())
    columns = [means, seen, np.broadcast_to(widths / 5, means.shape)]
    for slot in SLOTS:
        columns += _slot(slot, others.get(slot), len(values), population)
    unknown = np.zeros(len(last))
    level = (last - population.level[plan.signal]) / population.spread[plan.signal] if typical else unknown
    statics = [
        np.log(scale / typical) if typical else unknown,
        np.clip(level, -3, 3),
        _mean_of(means, seen),
        seen.mean(1),
        seen[:, -24:].mean(1),
        _mean_of(np.abs(np.diff(means[:, -25:], axis=1)), seen[:, -24:]),
        *(momentum(path, lag) for lag in _LAGS),
    ]
    bins = np.clip(np.stack(columns, -1), -_CLIP, _CLIP).astype(np.float32)
    return Prepared(path, bins, np.clip(np.stack(statics, -1), -5, 5).astype(np.float32), last, scale)


def normalise(x: Floats, typical: float | None) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Contexts `x` (B, T) centred on the last value and scaled: path, last, scale, bin means, bin presence.

    The scale is the mean absolute distance of the bins to the last value (bins widen with age, so the recent past
    weighs more), shrunk to `typical` (where that is known) as the context is short. A context without any value is
    all zero.
    """
    last = last_value(x)
    means, seen = bin_means(x - last[:, None])
    weight = (seen > 0).astype(float)
    own = (np.abs(means) * weight).sum(1)
    shrink = 0.0 if typical is None else _SHRINK_BINS
    scale = np.maximum((own + shrink * (typical or 0.0)) / np.maximum(weight.sum(1) + shrink, 1.0), _LEAST_SCALE)
    return (x - last[:, None]) / scale[:, None], last, scale, means / scale[:, None], seen


def momentum(path: Floats, lag: int) -> Floats:
    """(B,) correlation, -1 to 1, of successive moves over `lag` steps in contexts `path` (B, T): do trends go on?

    Devices differ in this more than people do: some average over many seconds, some not at all. Few pairs count
    little.
    """
    moves = path[:, lag:] - path[:, :-lag]
    before, after = moves[:, :-lag], moves[:, lag:]
    both = np.isfinite(before) & np.isfinite(after)
    before, after = np.where(both, before, 0.0), np.where(both, after, 0.0)
    energy = np.sqrt((before**2).sum(1) * (after**2).sum(1))
    pairs = both.sum(1)
    out: Floats = (before * after).sum(1) / np.maximum(energy, 1e-12) * pairs / (pairs + 2.0 * lag)
    return out


def last_value(x: Floats) -> Floats:
    """(B,) newest known value of each row of `x` (B, T); 0 where a row has none."""
    known = np.isfinite(x)
    index = x.shape[1] - 1 - known[:, ::-1].argmax(1)
    newest: Floats = np.nan_to_num(x[np.arange(len(x)), index], nan=0.0)
    return newest


@cache
def bin_widths() -> Floats:
    """(L,) width of each context bin in steps, oldest first."""
    return np.array([float(width) for count, width in reversed(_BINS) for _ in range(count)])


def bin_means(x: Floats) -> tuple[Floats, Floats]:
    """Mean (B, L) of the known values in each bin of `x` (B, T), 0 where none, and the share known (B, L)."""
    starts = np.concatenate([[0], np.cumsum(bin_widths())[:-1]]).astype(np.int64)
    known = np.isfinite(x)
    count = np.add.reduceat(known.astype(float), starts, axis=1)
    total = np.add.reduceat(np.where(known, x, 0.0), starts, axis=1)
    return total / np.maximum(count, 1.0), count / bin_widths()


def fill_bins(means: Floats, seen: Floats) -> Floats:
    """Bin means (B, L) with unknown bins filled from the next newer known one (0, the last value, where none)."""
    filled = means.copy()
    for i in range(means.shape[1] - 2, -1, -1):
        unknown = seen[:, i] == 0
        filled[unknown, i] = filled[unknown, i + 1]
    return filled


def slot_series(signal: str, channels: Mapping[str, Floats]) -> Floats | None:
    """One series for a slot from a device's channels `channels` (id -> (..., T)); None where it has none of them.

    Several parts are averaged; of acceleration only its change a step matters, whichever axis it came on.
    """
    parts = [series for name, series in channels.items() if name.partition(".")[0] == signal]
    if not parts:
        return None
    stack = np.stack(parts)
    if signal == "acc_g":
        stack = np.abs(np.diff(stack, axis=-1, prepend=np.nan))
    known = np.isfinite(stack)
    total = np.where(known, stack, 0.0).sum(0)
    return np.where(known.any(0), total / np.maximum(known.sum(0), 1), np.nan)


def slot_space(slot: str, series: Floats) -> Floats:
    """A slot's series in the space in which it is normalised."""
    return np.log(series + 0.003) if slot == "acc_g" else PLANS[slot].forward(series)


def _slot(slot: str, series: Floats | None, count: int, population: Population) -> list[Floats]:
    if series is None or slot not in population.scale:
        empty = np.zeros((count, len(bin_widths())))
        return [empty, empty]
    _, _, _, means, seen = normalise(slot_space(slot, series), population.scale[slot])
    return [means, seen]


def _mean_of(means: Floats, seen: Floats) -> Floats:
    known = seen > 0
    mean: Floats = (means * known).sum(1) / np.maximum(known.sum(1), 1)
    return mean
