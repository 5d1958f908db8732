"""The recent past of a channel: what a forecast is made from.

A window keeps the last reading of each cell; a step of the model's grid has SUB cells, so that the past can be read in
whole grid steps back from any reading, whatever the phase and jitter of the channel's own rate. It is a value: adding
readings returns a new window. Cells without a reading are NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twin_engine.messages import Floats, Times

SUB = 4  # cells a grid step
_NEAREST = (0, -1, 1, -2)  # where to look for a reading, in cells from where it should stand


@dataclass(frozen=True, slots=True)
class Window:
    """`cells` is (T * SUB,), oldest first; cell i covers the time from ``(end - T * SUB + 1 + i) * cell_us``."""

    grid_us: int
    end: int  # index of the newest cell: floor(time / cell_us)
    cells: npt.NDArray[np.float32]

    @classmethod
    def empty(cls, grid_us: int, steps: int) -> Window:
        """A window of `steps` (T) grid steps that has seen nothing."""
        return cls(grid_us, 0, np.full(steps * SUB, np.nan, np.float32))

    @property
    def cell_us(self) -> float:
        """Length of a cell."""
        return self.grid_us / SUB

    @property
    def steps(self) -> int:
        """Length in grid steps (T)."""
        return len(self.cells) // SUB

    def add(self, times_us: Times, values: Floats) -> Window:
        """With readings (N,) added, in any order; those older than the window are dropped."""
        if not len(times_us):
            return self
        index = times_us * SUB // self.grid_us
        end = max(self.end, int(index.max()))
        cells = _shifted(self.cells, end - self.end)
        at = index - end + len(cells) - 1
        keep = at >= 0
        cells[at[keep]] = values[keep]  # later readings of one cell overwrite earlier ones
        return Window(self.grid_us, end, cells)

    def moved(self, by_us: int) -> Window:
        """The same readings, so much later (earlier where negative), to the nearest cell."""
        return Window(self.grid_us, self.end + round(by_us / self.cell_us), self.cells)

    def until(self, time_us: int) -> Floats:
        """(T,) values at whole grid steps back from `time_us`, the last of them that of `time_us`; NaN where missing.

        Each step takes the reading nearest to its moment within half a step. What came after `time_us` is left out.
        """
        cells = _shifted(self.cells, time_us * SUB // self.grid_us - self.end)
        wanted = np.arange(SUB - 1, len(cells), SUB)
        out = np.full(len(wanted), np.nan)
        for offset in _NEAREST:
            at = np.clip(wanted + offset, 0, len(cells) - 1)
            out = np.where(np.isnan(out), cells[at], out)
        return out

    def resampled(self, end_us: int, grid_us: int, steps: int) -> Floats:
        """(steps,) values at whole steps of another grid back from `end_us`: each the newest not after its moment.

        Only cells that had ended by `end_us` count, so nothing later can leak in. A value counts for two steps of its
        own grid (or of the other one, where that is coarser); then the step is NaN.
        """
        wanted = end_us - np.arange(steps - 1, -1, -1) * grid_us
        starts = (np.arange(len(self.cells)) + self.end - len(self.cells) + 1) * self.cell_us
        seen = np.flatnonzero(np.isfinite(self.cells) & (starts + self.cell_us <= end_us + 1))
        if not len(seen):
            return np.full(steps, np.nan)
        found = np.searchsorted(starts[seen], wanted, side="right") - 1
        age = wanted - starts[seen][np.maximum(found, 0)]
        fresh = (found >= 0) & (age < 2 * max(self.grid_us, grid_us))
        return np.where(fresh, self.cells[seen[np.maximum(found, 0)]], np.nan)


def _shifted(cells: npt.NDArray[np.float32], by: int) -> npt.NDArray[np.float32]:
    """A copy moved towards the past by `by` cells (towards the future where negative), padded with NaN."""
    out = np.full_like(cells, np.nan)
    if by >= len(cells) or by <= -len(cells):
        return out
    if by >= 0:
        out[: len(cells) - by] = cells[by:]
    else:
        out[-by:] = cells[:by]
    return out
