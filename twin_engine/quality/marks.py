"""What the quality rules measure: each takes a stretch of readings and marks those that its rule blames.

Pure functions of numpy, a few ten microseconds each, for the engine calls them for every channel every two seconds.
A mark is (K,) over the *known* readings of the stretch; thresholds come from the table. Nothing here looks at other
channels, and nothing looks at whether a value is alarming: a fast heart and a strong stress response are normal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from twin_engine.messages import Floats

Mask = npt.NDArray[np.bool_]
Index = npt.NDArray[np.int64]

LEAST_USUAL = 100  # readings, before a stretch has a usual level
_LOSS_READINGS = 32  # over how many expected readings a loss is judged


@dataclass(frozen=True, slots=True)
class Stretch:
    """K known readings of a stretch of T grid steps, oldest first."""

    values: Floats  # (K,) signal's unit
    at: Index  # (K,) grid step of each
    steps: int  # T
    grid_s: float
    resolution: float  # the sensor's own step, signal's unit

    @classmethod
    def of(cls, values: Floats, grid_s: float, resolution: float) -> Self:
        """From values (T,) on the grid, NaN missing."""
        at = np.flatnonzero(np.isfinite(values))
        return cls(values[at], at, len(values), grid_s, resolution)

    @property
    def spacing(self) -> int:
        """Usual steps between readings, 1 at least."""
        if len(self.at) < 2:
            return 1
        gaps = np.diff(self.at)
        return max(1, int(np.partition(gaps, len(gaps) // 2)[len(gaps) // 2]))


@dataclass(frozen=True, slots=True)
class Mark:
    """Which readings a rule blames, the worst number it saw, and the limit that it broke."""

    blamed: Mask  # (K,)
    seen: float = float("nan")
    limit: float = float("nan")


def nothing(stretch: Stretch) -> Mark:
    """No reading is blamed."""
    return Mark(np.zeros(len(stretch.values), np.bool_))


def outside(stretch: Stretch, low: float, high: float) -> Mark:
    """Readings that no sensor of this kind reports on a living patient, or in a room."""
    values = stretch.values
    beyond = np.maximum(low - values, values - high)
    worst = int(beyond.argmax())
    return Mark(beyond > 0, float(values[worst]), low if values[worst] < low else high)


def below(stretch: Stretch, limit: float) -> Mark:
    """Readings under `limit`."""
    return Mark(stretch.values < limit, float(stretch.values.min()), limit)


def stuck(stretch: Stretch, limit_s: float, readings: int, usual: float) -> Mark:
    """Runs of exactly equal readings, longer than `limit_s` and than `readings`.

    The limit is for a sensor whose own step is `usual`; a coarser one stays longer on a step, in proportion.
    """
    limit_s *= max(1.0, stretch.resolution / usual)
    starts, ends = runs(stretch.values)
    held_s = (stretch.at[ends - 1] - stretch.at[starts]) * stretch.grid_s
    frozen = (held_s >= limit_s) & (ends - starts >= readings)
    if not frozen.any():
        return nothing(stretch)
    blamed = np.repeat(frozen, ends - starts)
    return Mark(blamed, float(held_s[frozen].max()), limit_s)


def jump(stretch: Stretch, lag_s: float, limit: float, relative: float = 0.0) -> Mark:
    """Readings that lie further than `limit` (or `relative` of the level) from those `lag_s` before; both ends count.

    Only pairs not further apart than 1.5 lags are compared, so that nothing is said across a hole.
    """
    values, at = stretch.values, stretch.at
    lag = max(1, round(lag_s / stretch.grid_s))
    before = np.searchsorted(at, at - lag, side="right") - 1
    paired = (before >= 0) & (at - at[before] <= 1.5 * lag)
    size = np.where(paired, np.abs(values - values[before]), 0.0)
    level = np.minimum(np.abs(values), np.abs(values[before]))
    limits = np.maximum(limit, relative * level)
    over = size > limits
    if not over.any():
        return nothing(stretch)
    worst = int(np.where(over, size, 0.0).argmax())
    return Mark(over | _hit(before[over], len(values)), float(size[worst]), float(limits[worst]))


def burst(stretch: Stretch, times: float, spreads: float) -> Mark:
    """Readings `times` the stretch's own 90 % quantile, and `spreads` interquartile ranges above its median."""
    if len(stretch.values) < LEAST_USUAL:
        return nothing(stretch)
    quarter, median, three, ninety = np.quantile(stretch.values, (0.25, 0.5, 0.75, 0.9))
    limit = max(times * ninety, median + spreads * (three - quarter))
    return Mark(stretch.values > limit, float(stretch.values.max() / max(ninety, 1e-12)), limit / max(ninety, 1e-12))


def lossy(stretch: Stretch, share: float) -> Mark:
    """The newest readings where fewer than `share` of the expected ones came."""
    span = min(_LOSS_READINGS * stretch.spacing, stretch.steps)
    newest = stretch.at >= stretch.steps - span
    expected = min(span, stretch.steps - int(stretch.at[0])) / stretch.spacing
    came = np.count_nonzero(newest) / max(expected, 1.0)
    return Mark(newest & (came < share), 100.0 * came, 100.0 * share)


def dense(blamed: Mask, width: int, least: int) -> Mask:
    """The blamed steps (T,) that have `least` blamed ones, themselves included, in the `width` steps up to one of them.

    One reading over a limit is chance where five in as many seconds are a fault.
    """
    if least <= 1:
        return blamed
    total: Index = np.concatenate((np.zeros(width, np.int64), np.cumsum(blamed, dtype=np.int64)))
    enough = np.flatnonzero((total[width:] - total[: len(blamed)] >= least) & blamed)
    edges = np.zeros(len(blamed) + 1, np.int64)
    np.add.at(edges, np.maximum(enough - width + 1, 0), 1)
    np.add.at(edges, enough + 1, -1)
    return np.asarray((np.cumsum(edges[:-1]) > 0) & blamed)


def runs(values: Floats) -> tuple[Index, Index]:
    """Starts and ends of the runs of equal values."""
    cuts = np.flatnonzero(np.diff(values) != 0) + 1
    return np.concatenate(([0], cuts)), np.concatenate((cuts, [len(values)]))


def _hit(index: Index, count: int) -> Mask:
    out = np.zeros(count, np.bool_)
    out[index] = True
    return out
