"""The window: the recent past of a channel, read in whole grid steps back from any reading."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin_engine.window import SUB, Window


def filled(grid_us: int, steps: int, times: list[int], values: list[float]) -> Window:
    return Window.empty(grid_us, steps).add(np.array(times, np.int64), np.array(values, float))


def test_the_last_reading_of_a_fast_channel_is_the_newest_step_and_the_others_stand_whole_steps_before_it() -> None:
    fast = list(range(0, 4000, 10))
    window = filled(400, 5, fast, [float(t) for t in fast])
    seen = window.until(3990)
    assert seen[-1] == 3990.0
    assert np.abs(np.diff(seen) - 400).max() <= 400 / SUB


@given(st.integers(0, 10**6), st.lists(st.integers(-90, 90), min_size=6, max_size=6))
def test_a_channel_on_the_grid_gives_one_reading_a_step_whatever_its_phase_and_jitter(
    phase: int, jitter: list[int]
) -> None:
    times = [phase + 1000 + 1000 * i + j for i, j in enumerate(jitter)]
    window = filled(1000, 6, times, [float(i) for i in range(6)])
    assert window.until(times[-1]).tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_adding_returns_a_new_window_and_leaves_the_old_one() -> None:
    before = filled(100, 3, [0], [1.0])
    before.add(np.array([100], np.int64), np.array([2.0]))
    assert before.until(0)[-1] == 1.0
    assert np.isfinite(before.cells).sum() == 1


def test_late_readings_fill_their_own_step_and_too_old_ones_are_dropped() -> None:
    window = filled(100, 3, [1000], [9.0]).add(np.array([900, 100], np.int64), np.array([8.0, 1.0]))
    assert window.until(1000).tolist()[1:] == [8.0, 9.0]
    assert np.isnan(window.until(1000)[0])


def test_until_leaves_out_what_came_later() -> None:
    window = filled(100, 4, [0, 100, 200, 300], [0.0, 1.0, 2.0, 3.0])
    assert window.until(100)[-2:].tolist() == [0.0, 1.0]
    assert np.isnan(window.until(700)).all()


@pytest.mark.parametrize("end_us", [250, 299, 300, 349])
def test_resampling_never_looks_past_its_end(end_us: int) -> None:
    fine = filled(40, 100, list(range(0, 400, 10)), [float(t) for t in range(0, 400, 10)])
    seen = fine.resampled(end_us, 100, 4)
    assert np.nanmax(seen) <= end_us - 9, "a cell counts only once it has ended"


def test_resampling_a_slow_channel_repeats_its_value_for_two_of_its_steps_only() -> None:
    slow = filled(1000, 5, [0], [7.0])
    seen = slow.resampled(4500, 500, 10)
    assert np.flatnonzero(seen == 7.0).tolist() == [0, 1, 2, 3], "0 to 1500 ms; at 2000 it is too old"
    assert np.isnan(seen[4:]).all()
