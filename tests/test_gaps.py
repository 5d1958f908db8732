"""When is a channel silent?"""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from twin_engine import gaps


def test_a_blank_shorter_than_one_and_a_half_periods_lies_between_readings() -> None:
    assert gaps.is_between(1_490_000, 1_000_000)
    assert not gaps.is_between(1_500_000, 1_000_000)


def test_a_reading_is_due_on_the_channels_own_beat_and_not_between() -> None:
    period = 1_000_000
    assert [gaps.is_due(t, period) for t in (250_000, 750_000, 1_000_000, 1_250_000, 1_500_000)] == [
        False,
        False,
        True,
        False,
        True,
    ]


def test_silence_waits_for_the_slower_of_period_and_frames() -> None:
    assert gaps.silence_limit_us(10_000, 2_000_000) == 4_000_000
    assert gaps.silence_limit_us(60_000_000, 2_000_000) == 120_000_000


def test_readings_fall_into_runs_without_a_gap_inside() -> None:
    times = np.array([300, 400, 700, 800], np.int64)
    assert gaps.unbroken_runs(times, 100) == [(0, 2), (2, 4)]
    assert gaps.unbroken_runs(times, 1000) == [(0, 4)]
    assert gaps.unbroken_runs(times[:0], 100) == []


@given(st.integers(0, 10**15), st.integers(0, 10**9), st.integers(1, 10**7))
def test_due_times_lie_in_the_gap_one_period_apart(start: int, length: int, period: int) -> None:
    length = min(length, 1000 * period)
    times = gaps.grid_between(start, start + length, period)
    after = gaps.grid_between(start, start + length, period, start + length // 2)
    assert after.tolist() == [t for t in times.tolist() if t > start + length // 2]
    assert all(start < t <= start + length for t in times)
    assert len(times) == length // period
    assert (np.diff(times) == period).all()


def test_the_period_is_learnt_from_the_readings_whatever_the_nominal_one() -> None:
    steps = gaps.learn_steps(np.empty(0, np.int64), np.arange(0, 100_000, 10_000, dtype=np.int64), None)
    assert gaps.period_of(steps, 999) == 10_000
    assert gaps.period_of(np.empty(0, np.int64), 999) == 999


def test_a_gap_of_years_or_a_megahertz_costs_no_more_than_ten_minutes() -> None:
    years_us = 56 * 365 * 86_400_000_000
    times = gaps.grid_between(0, years_us, 10_000)
    assert len(times) == gaps.MAX_DUE
    assert times[-1] == years_us
    assert gaps.period_of(np.ones(5, np.int64), 999) == gaps.MIN_PERIOD_US
