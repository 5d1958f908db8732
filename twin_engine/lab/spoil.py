"""Training windows as real life and other makes of device would give them.

Two steps, each on contexts (B, T) and the truth (B, N) at the signal's ages, both in the signal's unit:
:func:`other_device` makes them noisier, coarser or without momentum; :func:`lose` takes readings away.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from device.signals import SIGNALS
from twin_engine.features import SLOTS
from twin_engine.messages import Floats
from twin_engine.plans import Ints, node_steps

# Share of training windows that are made rougher, noisier, coarser, as another device might be, and share that is
# replaced by a process without any trend.
_DEVICE = (0.1, 0.1, 0.1, 0.03)
_DEVICES = {"hr_bpm": (0.3, 0.05, 0.4, 0.2)}  # the wristband's heart rate is its maker's long average
_WHOLE_STEPS = {"hr_bpm"}  # coarse means the signal's own resolution: most monitors give whole beats


def lose(x: Floats, beside: dict[str, Floats], rng: np.random.Generator) -> tuple[Floats, dict[str, Floats]]:
    """Contexts `x` (B, T), and the slots beside them, with a late start, dropped readings, a hole, absent slots.

    The last reading is never lost: it is where the gap begins.
    """
    count, steps = x.shape
    age = np.arange(steps - 1, -1, -1)[None]
    length: Floats = np.exp(rng.uniform(np.log(3), np.log(steps), (count, 1)))
    short = np.where(rng.random((count, 1)) < 0.3, length, steps)
    rate = np.where(rng.random((count, 1)) < 0.3, rng.uniform(0, 0.5, (count, 1)), 0.0)
    hole_from = np.where(rng.random((count, 1)) < 0.2, rng.integers(1, steps, (count, 1)), steps)
    hole_to = hole_from + rng.integers(1, steps // 4, (count, 1))
    lost = (age >= short) | (rng.random(x.shape) < rate) | ((age >= hole_from) & (age < hole_to))
    lost[:, -1] = False
    absent = dict(zip(SLOTS, rng.random((len(SLOTS), count, 1)) < 0.3, strict=True))
    beside = {slot: np.where(absent[slot] | (age >= short), np.nan, series) for slot, series in beside.items()}
    return np.where(lost, np.nan, x), beside


def other_device(signal: str, x: Floats, y: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Context and truth as another make might give them: less smooth, noisier, or in coarser steps.

    Two devices are far too few to learn from; without this the forecaster would take one maker's averaging for
    physiology, and continue trends that another device does not have.
    """
    count, ages = len(x), node_steps(signal)
    sd = np.nanstd(x, axis=1, keepdims=True) + SIGNALS[signal].resolution

    def some(share: float, least: float, most: float) -> Floats:
        size = np.exp(rng.uniform(np.log(least), np.log(most), (count, 1)))
        return np.where(rng.random((count, 1)) < share, size, 0.0)

    walks, noisy, coarse, aimless = _DEVICES.get(signal, _DEVICE)
    x, y = _aimless(x, y, ages, rng, rng.random((count, 1)) < aimless)
    step = sd * some(walks, 0.003, 0.1)
    x = x - step * np.cumsum(rng.standard_normal(x.shape)[:, ::-1], axis=1)[:, ::-1]
    y = y + step * np.cumsum(rng.standard_normal(y.shape) * np.sqrt(np.diff(ages, prepend=0)), axis=1)
    noise = sd * some(noisy, 0.01, 0.5)
    x, y = (part + noise * rng.standard_normal(part.shape) for part in (x, y))
    whole = SIGNALS[signal].resolution if signal in _WHOLE_STEPS else sd * some(1.0, 0.05, 0.5)
    grain = np.where(rng.random((count, 1)) < coarse, whole, 0.0)
    x, y = (np.where(grain > 0, np.round(part / np.maximum(grain, 1e-12)) * grain, part) for part in (x, y))
    return x, y


def _aimless(
    x: Floats, y: Floats, ages: Ints, rng: np.random.Generator, chosen: npt.NDArray[np.bool_]
) -> tuple[Floats, Floats]:
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
    later: Floats = state * kept + np.sqrt(1 - kept**2) * rng.standard_normal(state.shape)
    return later
