"""Detectors speak only on evidence against the sensor; one suite runs on each of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from security.threats import Detector, Floats, Window
from security.threats.plausible import PLAUSIBLE

DETECTORS = [PLAUSIBLE]


def window(values: Floats, low: float = 20, high: float = 300) -> Window:
    return Window("hr_bpm", "/min", low, high, np.arange(len(values), dtype=np.int64) * 1_000_000, values)


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: str(d.id))
@given(values=arrays(np.float64, st.integers(0, 30)))
def test_a_detector_marks_readings_and_gives_its_evidence(detector: Detector, values: Floats) -> None:
    before = values.copy()
    verdict = detector.judge(window(values))
    assert verdict.detector == detector.id and verdict.suspect.shape == values.shape
    assert verdict.suspect.dtype == np.bool_
    assert not verdict.suspect[np.isnan(values)].any()  # a missing value is a gap, not a threat
    assert bool(verdict.evidence) == bool(verdict.suspect.any())
    assert detector.looks_at and np.array_equal(before, values, equal_nan=True)


def test_values_outside_their_range_are_suspect_with_the_furthest_as_evidence() -> None:
    verdict = PLAUSIBLE.judge(window(np.array([19.9, 20, 300, 301, np.nan, 72, 900])))
    assert verdict.suspect.tolist() == [True, False, False, True, False, False, True]
    assert verdict.evidence == "3 of 6 readings of hr_bpm are outside 20 to 300 /min: the furthest is 900"


def test_infinite_values_are_suspect() -> None:
    verdict = PLAUSIBLE.judge(window(np.array([-np.inf, 72, np.inf])))
    assert verdict.suspect.tolist() == [True, False, True]


def test_an_alarming_but_possible_value_is_no_threat() -> None:
    assert not PLAUSIBLE.judge(window(np.array([25.0, 220.0]))).suspect.any()
