"""Measures of anomaly scores: what they are worth by hand-worked examples."""

from __future__ import annotations

import numpy as np
import pytest

from twin_engine.lab.inject import ANOMALIES, inject
from twin_engine.lab.vus import alarms, auprc, events_of, fade, found, range_auc_pr, threshold, vus_pr


def _labels(n: int, *events: tuple[int, int]) -> np.ndarray:
    labels = np.zeros(n, np.bool_)
    for a, b in events:
        labels[a : b + 1] = True
    return labels


def test_average_precision_of_a_hand_worked_ranking() -> None:
    labels = np.array([True, False, True, False, False])
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    assert auprc(labels, scores) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_a_score_that_is_the_same_everywhere_is_worth_the_share_of_events() -> None:
    labels = _labels(100, (10, 19), (50, 54))
    assert auprc(labels, np.ones(100)) == pytest.approx(0.15)


def test_labels_fade_by_the_square_root_up_to_half_the_buffer() -> None:
    faded = fade(_labels(10, (4, 5)), [(4, 5)], 4)
    side = [np.sqrt(1 - 2 / 4), np.sqrt(1 - 1 / 4)]
    np.testing.assert_allclose(faded, [0, 0, *side, 1, 1, *side[::-1], 0, 0])


def test_range_precision_and_recall_of_a_hand_worked_curve() -> None:
    labels, scores = _labels(8, (3, 4)), np.array([0, 0, 0, 3, 0, 2, 1, 0.0])
    near = np.sqrt(0.5)  # of reading 5 with a buffer of 2
    total = (2 + 2 + 2 * near) / 2
    recall = np.array([1, 1 + near, 1 + near, 2 + 2 * near]) / total
    precision = np.array([1, (1 + near) / 2, (1 + near) / 3, (2 + 2 * near) / 8])
    expected = np.diff(np.minimum(recall, 1), prepend=0) @ precision
    assert range_auc_pr(labels, scores, 2) == pytest.approx(expected)


def test_an_event_of_which_nothing_is_found_halves_the_recall() -> None:
    labels = _labels(1000, (50, 59), (250, 259))
    one = np.where(_labels(1000, (50, 59)), 1.0, 0.0)
    one[240:270] = -1.0  # the other event scores lowest of all
    assert auprc(labels, one) > 0.5  # half of the labels are found at once
    assert 0.2 < range_auc_pr(labels, one, 4) < 0.3


def test_the_volume_forgives_a_score_that_comes_a_little_late_and_the_plain_curve_does_not() -> None:
    labels = _labels(200, (50, 59), (120, 129))
    late = np.where(_labels(200, (55, 64), (125, 134)), 1.0, 0.0)
    assert vus_pr(labels, late, 20) > auprc(labels, late) + 0.15


def test_the_volume_ranks_right_above_late_above_random() -> None:
    labels = _labels(2000, (300, 340), (900, 940), (1500, 1540))
    right = labels.astype(float)
    late = np.roll(right, 15)
    random = np.random.default_rng(0).random(2000)
    worth = [vus_pr(labels, scores, 20) for scores in (right, late, random)]
    assert worth[0] > worth[1] + 0.1 > worth[2] + 0.4
    assert worth[2] < 0.15  # 6 % of the readings are in events


def test_without_events_there_is_no_measure() -> None:
    assert np.isnan(vus_pr(np.zeros(10, np.bool_), np.arange(10.0), 4))


def test_alarms_close_to_each_other_are_one() -> None:
    above = _labels(100, (10, 12), (20, 20), (80, 99))
    assert alarms(above, period_s=1.0) == [(10, 20), (80, 99)]
    assert events_of(above) == [(10, 12), (20, 20), (80, 99)]


def test_the_threshold_keeps_the_false_alarms_that_were_agreed() -> None:
    rng = np.random.default_rng(3)
    quiet = [rng.standard_normal(3600) for _ in range(10)]
    for per_hour in (1.0, 6.0):
        level = threshold(quiet, [1.0] * 10, per_hour)
        raised = sum(len(alarms(s > level, 1.0)) for s in quiet)
        assert 0.5 * per_hour <= raised / 10 <= per_hour


def test_an_event_counts_as_found_until_a_little_after_its_end() -> None:
    scores = np.zeros(100)
    scores[[15, 44]] = 1.0
    assert found(scores, [(10, 20), (30, 40), (60, 70)], 0.5, late=5) == 2
    assert found(scores, [(10, 20), (30, 40), (60, 70)], 0.5, late=0) == 1


@pytest.mark.parametrize("anomaly", ANOMALIES, ids=lambda a: a.name)
def test_falsified_readings_differ_inside_events_only_and_are_as_the_sensor_rounds(anomaly) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(1)
    values = np.round(33 + 0.02 * np.cumsum(rng.standard_normal(8000)), 2)
    for magnitude in anomaly.magnitudes:
        made = inject("p", "skin_temp_C", values, 0.25, anomaly, magnitude)
        again = inject("p", "skin_temp_C", values, 0.25, anomaly, magnitude)
        np.testing.assert_array_equal(made.values, again.values)
        assert len(made.events) >= 3
        assert events_of(made.labels) == made.events
        np.testing.assert_array_equal(made.values[~made.labels], values[~made.labels])
        assert (made.values[made.labels] != values[made.labels]).mean() > 0.5
        np.testing.assert_array_equal(made.values, np.round(made.values, 2))
