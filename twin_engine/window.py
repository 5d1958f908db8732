"""The recent past of a channel on its model's grid: what a forecast is made from.

A window keeps the last reading of each grid cell, so its newest value is the newest reading. It is a value: adding
readings returns a new window. Cells without a reading are NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin_engine.messages import Floats, Times


@dataclass(frozen=True, slots=True)
class Window:
    """`cells` is (T,), oldest first; cell i covers the grid step that ends at ``(end - T + 1 + i) * grid_us``."""

    grid_us: int
    end: int  # index of the newest cell: floor(time / grid)
    cells: Floats

    @classmethod
    def empty(cls, grid_us: int, steps: int) -> Window:
        """A window that has seen nothing."""
        return cls(grid_us, 0, np.full(steps, np.nan))

    def add(self, times_us: Times, values: Floats) -> Window:
        """With readings (N,) added, in any order; those older than the window are dropped."""
        if not len(times_us):
            return self
        index = times_us // self.grid_us
        end = max(self.end, int(index.max()))
        cells = _shifted(self.cells, end - self.end)
        at = index - end + len(cells) - 1
        keep = at >= 0
        cells[at[keep]] = values[keep]  # later readings of one cell overwrite earlier ones
        return Window(self.grid_us, end, cells)

    def until(self, time_us: int) -> Floats:
        """Cells (T,) of a window that ends with the cell of `time_us`; what lies after it is left out."""
        return _shifted(self.cells, time_us // self.grid_us - self.end)

    def resampled(self, end_us: int, grid_us: int, steps: int) -> Floats:
        """This window on another grid (steps,), ending at `end_us`: each step takes the newest value not after it.

        Only cells that had ended by `end_us` count, so nothing later can leak in. A value counts for two of its own
        cells (or of the new grid, where that is coarser); then the step is NaN.
        """
        wanted = (end_us // grid_us - np.arange(steps - 1, -1, -1) + 1) * grid_us - 1
        starts = (np.arange(len(self.cells)) + self.end - len(self.cells) + 1) * self.grid_us
        seen = np.flatnonzero(np.isfinite(self.cells) & (starts + self.grid_us <= end_us + 1))
        if not len(seen):
            return np.full(steps, np.nan)
        seen_us = starts[seen]
        found = np.searchsorted(seen_us, np.minimum(wanted, end_us), side="right") - 1
        age = wanted - seen_us[np.maximum(found, 0)]
        fresh = (found >= 0) & (age < 2 * max(self.grid_us, grid_us))
        return np.where(fresh, self.cells[seen[np.maximum(found, 0)]], np.nan)


def _shifted(cells: Floats, by: int) -> Floats:
    """A copy moved towards the past by `by` cells (towards the future where negative), padded with NaN."""
    out = np.full_like(cells, np.nan)
    if by >= len(cells) or by <= -len(cells):
        return out
    if by >= 0:
        out[: len(cells) - by] = cells[by:]
    else:
        out[-by:] = cells[:by]
    return out
