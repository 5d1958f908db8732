"""The window: the recent past of a channel on its model's grid."""

from __future__ import annotations

import numpy as np
import pytest

from twin_engine.window import Window


def filled(grid_us: int, steps: int, times: list[int], values: list[float]) -> Window:
    return Window.empty(grid_us, steps).add(np.array(times, np.int64), np.array(values, float))


def test_a_cell_keeps_its_last_reading() -> None:
    window = filled(100, 4, [0, 40, 99, 100], [1.0, 2.0, 3.0, 4.0])
    assert window.cells[-2:].tolist() == [3.0, 4.0]
    assert np.isnan(window.cells[:-2]).all()


def test_adding_returns_a_new_window_and_leaves_the_old_one() -> None:
    before = filled(100, 3, [0], [1.0])
    before.add(np.array([100], np.int64), np.array([2.0]))
    assert np.isnan(before.cells[:-1]).all()
    assert before.cells[-1] == 1.0


def test_late_readings_fill_their_own_cell_and_too_old_ones_are_dropped() -> None:
    window = filled(100, 3, [1000], [9.0]).add(np.array([900, 100], np.int64), np.array([8.0, 1.0]))
    assert window.cells.tolist()[1:] == [8.0, 9.0]
    assert np.isnan(window.cells[0])


def test_until_leaves_out_what_came_later() -> None:
    window = filled(100, 4, [0, 100, 200, 300], [0.0, 1.0, 2.0, 3.0])
    assert window.until(199)[-2:].tolist() == [0.0, 1.0]
    assert np.isnan(window.until(600)[-3:]).all()


@pytest.mark.parametrize("end_us", [250, 299, 300, 349])
def test_resampling_never_looks_past_its_end(end_us: int) -> None:
    fine = filled(10, 100, list(range(0, 400, 10)), [float(t) for t in range(0, 400, 10)])
    seen = fine.resampled(end_us, 100, 4)
    assert np.nanmax(seen) <= end_us - 9, "a cell counts only once it has ended"


def test_resampling_a_slow_channel_repeats_its_value_for_two_cells_only() -> None:
    slow = filled(1000, 5, [0], [7.0])
    seen = slow.resampled(5000, 500, 10)
    assert np.flatnonzero(seen == 7.0).tolist() == [0, 1, 2], "500 and 1000 ms, and up to two cells of age"
    assert np.isnan(seen[3:]).all()
