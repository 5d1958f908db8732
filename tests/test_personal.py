"""Whom a person's twin listens to: weights follow her own scored forecasts, and are taken back where they do worse."""

from __future__ import annotations

import numpy as np
import pytest

from twin_engine.calibrate import SCORE_AGES_S
from twin_engine.messages import Floats
from twin_engine.monitor import Monitor
from twin_engine.personal import Personal, mixed

AGES = len(SCORE_AGES_S)
EVEN = np.tile([0.8, 0.1, 0.1], (AGES, 1))  # the population believes the first of three experts
RNG = np.random.default_rng(2)


def learn(personal: Personal, age: int, spreads: tuple[float, float, float], count: int) -> Personal:
    """`count` truths, and experts that miss them by these spreads."""
    for _ in range(count):
        truth = float(RNG.standard_normal())
        personal = personal.add(age, truth + np.array(spreads) * RNG.standard_normal(3), truth, EVEN)
    return personal


def test_a_person_nobody_knows_is_served_with_the_populations_weights() -> None:
    assert np.array_equal(Personal.start(3).weights(EVEN), EVEN)


def test_the_expert_that_serves_a_person_best_gets_the_weight_at_that_age_alone() -> None:
    weights = learn(Personal.start(3), 1, (1.0, 1.0, 0.1), 60).weights(EVEN)
    assert weights[1, 2] > 0.95
    assert weights[4] == pytest.approx(EVEN[4])
    assert weights.sum(1) == pytest.approx(1.0)


def test_an_expert_that_the_population_ruled_out_can_still_be_found() -> None:
    certain = np.tile([1.0, 0.0, 0.0], (AGES, 1))
    personal = Personal.start(3)
    for _ in range(60):
        personal = personal.add(0, np.array([1.0, 1.0, 0.05]) * RNG.standard_normal(3), 0.0, certain)
    assert personal.weights(certain)[0, 2] > 0.9


def test_scores_that_overlap_move_the_weights_less() -> None:
    young, old = (learn(Personal.start(3), age, (1.0, 1.0, 0.3), 30).weights(EVEN)[age, 2] for age in (1, 7))
    assert young > old + 0.2


def test_what_is_learnt_is_forgotten_when_the_person_changes() -> None:
    personal = learn(Personal.start(3), 1, (1.0, 1.0, 0.1), 60)
    personal = learn(personal, 1, (0.1, 1.0, 1.0), 400)
    assert personal.weights(EVEN)[1, 0] > 0.9


def test_personal_weights_that_do_worse_than_the_populations_are_taken_back() -> None:
    personal = learn(Personal.start(3), 1, (1.0, 1.0, 0.05), 60)  # now it trusts the third alone
    assert not personal.rolled_back[1]
    for _ in range(5):  # ... which goes wild
        personal = personal.add(1, np.array([0.0, 0.0, 50.0]), 0.0, EVEN)
    assert personal.rolled_back[1]
    assert personal.weights(EVEN)[1] == pytest.approx(EVEN[1])


def test_adding_a_score_changes_nothing_of_the_state_before() -> None:
    before = Personal.start(3)
    before.add(0, np.ones(3), 0.0, EVEN)
    assert not before.losses.any()
    assert before.experts == 3


def test_centres_are_mixed_with_the_persons_weights_and_spreads_with_the_populations() -> None:
    bounds: Floats = np.array([[[-1.0, 0.0, 2.0]], [[9.0, 10.0, 14.0]]])  # (E, N, 3)
    own, population = np.array([[0.25], [0.75]]), np.array([[0.5], [0.5]])
    centre, below, above = mixed(bounds, own, population)
    assert (centre[0], below[0], above[0]) == pytest.approx((7.5, 1.0, 3.0))


# ------------------------------------------------------------------------------------------------------ the monitor

PRIOR = np.tile(RNG.laplace(size=400) * 0.4, (AGES, 1))


def watched(held: float, size: float, count: int = 300) -> Monitor:
    monitor = Monitor.start("v1")
    for i in range(count):
        monitor = monitor.add(1, size * float(RNG.laplace()) * 0.4, (i * 0.618) % 1 < held)
    return monitor


def test_a_model_that_fits_is_not_called_drifting() -> None:
    monitor = watched(0.9, 1.0)
    assert monitor.drift(PRIOR) == ""
    assert monitor.coverage == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize(("held", "size", "words"), [(0.6, 1.0, "held in"), (1.0, 1.0, "held in"), (0.9, 4.0, "times")])
def test_bounds_that_do_not_hold_and_errors_too_large_are_told_with_their_number(
    held: float, size: float, words: str
) -> None:
    assert words in watched(held, size).drift(PRIOR)


def test_too_few_scores_say_nothing() -> None:
    assert Monitor.start("v1").coverage is None
    assert watched(0.2, 1.0, count=20).drift(PRIOR) == ""
