"""Calibration: right about how sure it is, for a person whose errors are not those of other people."""

from __future__ import annotations

import numpy as np
import pytest

from device.signals import Tolerance
from twin_engine.calibrate import LEARNT, SCORE_AGES_S, Calibration, calibrate, learn_decimals, requantise, withheld

AGES = len(SCORE_AGES_S)
HALF = np.array([0.01, 0.5, 2.0, 8.0])
PRIOR = np.tile(
    np.quantile(np.random.default_rng(0).laplace(0, 0.43, 5000), np.linspace(0.0025, 0.9975, 200)), (AGES, 1)
)
TOLERANCE = Tolerance(0.5, 0.0, "test")


def shadow(calibration: Calibration, spread: float, n: int, seed: int) -> tuple[Calibration, float, float, float]:
    """Feed n forecasts of half width 1 whose true error has `spread`; returns coverage, confidence and hit rate."""
    rng = np.random.default_rng(seed)
    age, covered, sure, hits = 1, [], [], []
    for i in range(n):
        band = calibrate(calibration, PRIOR, np.array([1.0]), np.zeros(1), np.ones(1), np.ones(1), TOLERANCE, 0.001)
        truth = rng.laplace(0, spread)
        inside = bool(band.lower[0] <= truth <= band.upper[0])
        if i >= n // 3:
            covered.append(inside)
            sure.append(band.confidence[0])
            hits.append(abs(truth) <= TOLERANCE.absolute)
        calibration = calibration.add(age, truth, inside)
    return calibration, float(np.mean(covered)), float(np.mean(sure)), float(np.mean(hits))


@pytest.mark.parametrize("spread", [0.1, 0.43, 1.5])
def test_bounds_cover_ninety_percent_and_confidence_is_the_hit_rate_for_every_person(spread: float) -> None:
    _, coverage, confidence, hit_rate = shadow(Calibration.start(), spread, 900, seed=3)
    assert 0.87 <= coverage <= 0.93
    assert abs(confidence - hit_rate) < 0.06


def test_a_static_calibration_would_have_failed_that_person() -> None:
    rng = np.random.default_rng(3)
    band = calibrate(Calibration.start(), PRIOR, np.array([1.0]), np.zeros(1), np.ones(1), np.ones(1), TOLERANCE, 0.001)
    truth = rng.laplace(0, 1.5, 900)
    assert np.mean((band.lower[0] <= truth) & (truth <= band.upper[0])) < 0.7


def test_confidence_falls_along_a_gap_and_is_nothing_past_its_end() -> None:
    ages = np.array([0.0, 1.0, 10.0, 60.0])
    band = calibrate(Calibration.start(), PRIOR, ages, np.zeros(4), HALF, HALF, TOLERANCE, 0.001)
    *_, confidence = band.at(np.array([0.5, 5.0, 30.0, 61.0]))
    assert (np.diff(confidence) <= 0).all()
    assert confidence[-1] == 0.0
    assert np.isnan(band.at(np.array([61.0]))[0]).all()


def test_it_is_still_learning_until_enough_was_scored() -> None:
    calibration = Calibration.start()
    for _ in range(LEARNT - 1):
        calibration = calibration.add(0, 0.1, True)
    assert calibration.learning
    assert not calibration.add(0, 0.1, True).learning


def test_adding_a_score_changes_nothing_of_the_calibration_before() -> None:
    before = Calibration.start()
    before.add(0, 3.0, False)
    assert before.scored == 0
    assert (before.miss == 0.10).all()


def test_shown_values_stand_on_the_sensors_own_steps() -> None:
    assert requantise(np.array([21.26, 21.74]), 0.5).tolist() == [21.5, 21.5]
    assert requantise(np.array([0.30000001]), 0.1).tolist() == [0.3]
    assert requantise(np.array([1.23456789e-4]), 1e-6).tolist() == [0.000123]


def test_the_sensors_own_resolution_is_learnt_and_never_forgotten() -> None:
    assert learn_decimals(-1, np.array([21.0, 22.0])) == 0
    assert learn_decimals(0, np.array([72.43, 72.5])) == 2
    assert learn_decimals(2, np.array([70.0])) == 2
    assert learn_decimals(-1, np.array([np.pi])) == 6


def test_below_the_floor_a_value_is_withheld() -> None:
    assert withheld(np.array([0.09, 0.11])).tolist() == [True, False]
