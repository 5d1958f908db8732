"""What a rival network sees of a gap: a window of cells, coarse enough for the gap, scaled by what went before.

A window has STEPS cells: the target first, then the device's other channels (:data:`BESIDE`). Gaps are at its end
(causal) or before its last AFTER cells (retrospective). Cells are means in model space (logarithms for EMG), so that a
cell's middle is as fair a guess as a reading's. Values are divided by the deviation before the gap and taken less a
cheap filling: the last value (causal) or the straight line over the gap (retrospective), which the networks correct.
Nothing in the gap is looked at, and nothing after it in a causal window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twin_engine.features import slot_series
from twin_engine.messages import Floats
from twin_engine.plans import PLANS, Ints

Bools = npt.NDArray[np.bool_]

STEPS, AFTER = 80, 12  # cells of a window; those after the gap in a retrospective one
BESIDE = ("emg_activity_mV", "gsr_uS", "skin_temp_C", "hr_bpm")  # a channel of the target's own signal is another part
CHANNELS = 2 + len(BESIDE)  # of a normalised window: its last one is the cheap filling
CLIP = 15.0  # scales


@dataclass(frozen=True, slots=True)
class Layout:
    """A window for one gap, in cells: `context` before it, `gap` lost, `after` it; channels beside the target."""

    grid_s: float
    context: int
    gap: int
    after: int
    beside: tuple[str, ...] = BESIDE


def layout_of(grid_s: float, gap_s: float, retrospective: bool) -> Layout:
    """The window of STEPS cells for a gap of `gap_s`."""
    gap, after = max(1, int(np.ceil(gap_s / grid_s - 1e-6))), AFTER if retrospective else 0
    return Layout(grid_s, STEPS - gap - after, gap, after)


def stacked(signal: str, values: Floats, others: Mapping[str, Floats]) -> Floats:
    """(S, C) the target and the channels beside it, several parts of one signal averaged, NaN where there is none."""
    blank = np.full(len(values), np.nan)
    beside = [slot_series(slot, others) for slot in BESIDE]
    return np.stack([values, *(blank if series is None else series for series in beside)], 1)


def model_space(signal: str, window: Floats) -> Floats:
    """`window` (..., C) with each channel in its plan's model space."""
    names = (signal, *BESIDE)
    return np.stack([PLANS[name].forward(window[..., i]) for i, name in enumerate(names)], -1)


def cells(signal: str, whole: Floats, starts: Ints, layout: Layout, width: int) -> Floats:
    """(B, STEPS, C) means of `width` steps of `whole` (S, C), signal's unit; NaN in the gap and without readings."""
    offsets = np.arange(-layout.context * width, (layout.gap + layout.after) * width) + 1
    index = starts[:, None] + offsets
    inside = (index >= 0) & (index < len(whole))
    fine = np.where(inside[..., None], model_space(signal, whole)[np.clip(index, 0, len(whole) - 1)], np.nan)
    means = nan_mean(fine.reshape(len(starts), STEPS, width, -1))
    means[:, layout.context : layout.context + layout.gap] = np.nan
    names = (signal, *BESIDE)
    return np.stack([PLANS[name].inverse(means[..., i]) for i, name in enumerate(names)], -1)


def nan_mean(fine: Floats) -> Floats:
    """(B, L, C) means over the third axis of (B, L, width, C); NaN where nothing is known."""
    known = np.isfinite(fine)
    return np.asarray(np.where(known, fine, 0.0).sum(2) / np.where(known.any(2), known.sum(2), np.nan))


@dataclass(frozen=True, slots=True)
class Normal:
    """Windows as the networks see them, and how to come back: value = out * scale + base, in model space."""

    x: npt.NDArray[np.float32]  # (B, L, C + 1), 0 where not seen; the last channel is the base itself
    seen: npt.NDArray[np.float32]  # (B, L, C + 1) 0/1
    base: Floats  # (B, L) of the target; NaN where nothing is known before the gap
    scale: Floats  # (B,) of the target


def normalise(window: Floats, lost: Bools, floors: Floats, *, straight: bool = True) -> Normal:
    """Windows (B, L, C) in model space: less the last value before the gap, divided by the context's deviation.

    The context is all before the first lost cell; scale = sqrt(variance + floor²), `floors` (C,). Where the target is
    known again after the gap, it is taken less the straight line over the gap (and the value at its end from there
    on), so that the networks correct linear interpolation.
    """
    known = np.isfinite(window)
    known[..., 0] &= ~lost
    before = known & (np.arange(window.shape[1]) < lost.argmax(1)[:, None])[..., None]
    count = before.sum(1)  # (B, C)
    mean = np.where(before, window, 0.0).sum(1) / np.maximum(count, 1)
    variance = (np.where(before, window - mean[:, None], 0.0) ** 2).sum(1) / np.maximum(count, 1)
    scale = np.sqrt(variance + floors**2)
    newest = window.shape[1] - 1 - before[:, ::-1].argmax(1)
    last = np.where(count > 0, np.take_along_axis(window, newest[:, None], 1)[:, 0], np.nan)
    base = np.repeat(last[:, None], window.shape[1], 1)
    if straight:
        base[..., 0] = _line(window[..., 0], known[..., 0], newest[:, 0], lost, last[:, 0])
    seen = known & (count > 0)[:, None]
    x = np.where(seen, np.clip((window - base) / scale[:, None], -CLIP, CLIP), 0.0)
    way = (base[..., 0] - last[:, :1]) / scale[:, :1]
    line = np.clip(np.nan_to_num(way), -CLIP, CLIP)[..., None]
    x, seen = np.concatenate([x, line], 2), np.concatenate([seen, np.ones_like(line)], 2)
    return Normal(x.astype(np.float32), seen.astype(np.float32), base[..., 0], scale[:, 0])


def _line(target: Floats, known: Bools, newest: Ints, lost: Bools, last: Floats) -> Floats:
    """(B, L) `last` up to the cell `newest`, the straight line to the next known cell after the gap, its value then."""
    step = np.arange(target.shape[1])
    end = target.shape[1] - lost[:, ::-1].argmax(1)  # the first cell after the gap
    again = known & (step >= end[:, None])
    first = again.argmax(1)
    rise = np.where(again.any(1), np.take_along_axis(target, first[:, None], 1)[:, 0] - last, 0.0)
    share = np.clip((step - newest[:, None]) / np.maximum(first - newest, 1)[:, None], 0.0, 1.0)
    return np.asarray(last[:, None] + rise[:, None] * share)


def between(
    signal: str, made: Floats, values: Floats, starts: Ints, length: int, width: int, retrospective: bool
) -> Floats:
    """(B, length) cell means `made` (B, gap) laid through the cells' middles, from the last reading to the next."""
    plan, out = PLANS[signal], np.empty((len(starts), length))
    middles = np.arange(made.shape[1]) * width + (width + 1) / 2
    for row, start in enumerate(starts):
        at, y = [0.0, *middles], [values[start], *made[row]]
        rest = values[start + length + 1 : start + length + 1 + AFTER * width]
        if retrospective and np.isfinite(rest).any():
            first = int(np.isfinite(rest).argmax())
            at, y = [*at, length + 1.0 + first], [*y, rest[first]]
        out[row] = np.interp(np.arange(1, length + 1), at, plan.forward(np.array(y)))
    return plan.inverse(out)
