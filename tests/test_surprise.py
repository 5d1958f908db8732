"""The judge's scores: are they probabilities, do they see what sensors never do, and can an attack teach itself?"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from twin_engine.codec import dump, load
from twin_engine.lab.inject import ANOMALIES, inject
from twin_engine.lab.recordings import people_of, read_people, split
from twin_engine.lab.scored import channels_of, reconstruction_p
from twin_engine.surprise import Scores, Surprise
from twin_engine.tails import LEAST_P, Prior, Tail, harmonic

_PERIOD_US = 250_000
_STEP = 0.001


def _honest(seed: int, n: int = 8000) -> np.ndarray:
    """A level that wanders with momentum and heavy-tailed noise, as a sensor rounds it."""
    rng = np.random.default_rng(seed)
    moves = np.zeros(n)
    noise = rng.standard_t(4, n)
    for i in range(1, n):
        moves[i] = 0.6 * moves[i - 1] + 0.004 * noise[i]
    return np.round(5 + np.cumsum(moves) + 0.002 * rng.standard_normal(n), 3)


def _times(n: int, start: int = 0) -> np.ndarray:
    return start + _PERIOD_US * np.arange(n, dtype=np.int64)


def _read(values: np.ndarray, signal: str = "gsr_uS") -> tuple[Surprise, Scores]:
    return Surprise.start(signal).read(_times(len(values)), values, _PERIOD_US, _STEP)


def test_residuals_of_an_honest_sensor_are_as_improbable_as_they_say() -> None:
    for seed in range(4):
        p = _read(_honest(seed))[1].residual_p[200:]
        assert 0.005 <= (p < 0.01).mean() <= 0.02
        assert 0.08 <= (p < 0.1).mean() <= 0.12
        assert 0.45 <= (p < 0.5).mean() <= 0.55


def test_residuals_stay_calibrated_where_the_noise_changes_slowly_by_a_factor_of_ten() -> None:
    rng = np.random.default_rng(5)
    noise = rng.standard_normal(12000) * 10 ** (0.5 * np.sin(np.arange(12000) / 1000))
    p = _read(np.round(np.cumsum(0.01 * noise), 3))[1].residual_p[200:]
    assert 0.005 <= (p < 0.01).mean() <= 0.02


def test_scores_do_not_depend_on_how_readings_were_cut_into_frames() -> None:
    values = _honest(1, 1500)
    whole = _read(values)
    state, parts, at = Surprise.start("gsr_uS"), list[Scores](), 0
    for size in [1] * 50 + [7] * 60 + [200] * 10:
        piece = values[at : at + size]
        state, scores = state.read(_times(len(piece), at * _PERIOD_US), piece, _PERIOD_US, _STEP)
        parts.append(scores)
        at += len(piece)
    assert at == 1500
    np.testing.assert_allclose(np.concatenate([s.residual_p for s in parts]), whole[1].residual_p, rtol=1e-9)
    np.testing.assert_allclose(np.concatenate([s.sustained_p for s in parts]), whole[1].sustained_p, rtol=1e-9)
    np.testing.assert_allclose(np.concatenate([s.run_p for s in parts]), whole[1].run_p, rtol=1e-9)
    np.testing.assert_allclose(state.residuals.ring, whole[0].residuals.ring, rtol=1e-6)
    assert state.runs.did.tolist() == whole[0].runs.did.tolist()


def test_later_readings_never_change_earlier_scores() -> None:
    values = _honest(2, 2000)
    cut = _read(values[:1200])[1]
    whole = _read(values)[1]
    np.testing.assert_array_equal(cut.residual_p, whole.residual_p[:1200])
    np.testing.assert_array_equal(cut.run_p, whole.run_p[:1200])


def test_a_spike_is_improbable_in_proportion_to_its_size() -> None:
    values = _honest(3, 4000)
    found = []
    for size in (0.02, 0.1, 1.0):
        spiked = values.copy()
        spiked[3000] += size
        found.append(float(_read(spiked)[1].residual_p[3000]))
    assert found[0] > found[1] > found[2]
    assert found[1] < 1e-2
    assert found[2] < 1e-4


def test_a_frozen_sensor_gets_less_and_less_probable() -> None:
    values = _honest(4, 4000)
    values[3000:3120] = values[2999]
    run_p = _read(values)[1].run_p
    assert run_p[2999] > 0.1
    assert run_p[3004] > run_p[3030] > run_p[3119]
    assert run_p[3030] < 1e-3
    assert run_p[3119] < 1e-4


def test_long_equal_runs_are_nothing_odd_on_a_sensor_that_has_always_had_them() -> None:
    rng = np.random.default_rng(6)
    room = 21.0 + np.cumsum(rng.random(6000) < 0.01) % 3  # a whole-degree sensor: a change in a hundred readings
    run_p = Surprise.start("room_temp_C").read(_times(6000), room, _PERIOD_US, 1.0)[1].run_p[3000:]
    assert (run_p < 0.001).mean() < 0.02
    assert run_p.min() > 1e-5


def test_more_noise_is_seen_in_the_sum_where_no_single_reading_tells() -> None:
    values = _honest(7, 6000)
    noisy = values.copy()
    noisy[5000:5100] += np.round(np.random.default_rng(8).normal(0, 0.02, 100), 3)
    scores = _read(noisy)[1]
    assert np.median(scores.sustained_p[5020:5100]) < 0.05 < 0.3 < np.median(scores.sustained_p[4000:5000])
    assert (scores.residual_p[5020:5100] < 0.01).mean() < 0.5


def test_an_attack_does_not_teach_itself() -> None:
    """A quarter of an hour of noise: the judge must not get used to it, nor hold it against the sensor afterwards."""
    values = _honest(9, 12000)
    attacked = values.copy()
    attacked[6000:9600:40] += 0.5  # a spike every ten seconds
    p = _read(attacked)[1].residual_p
    spikes = p[6000:9600:40]
    assert np.median(spikes[:10]) < 1e-3
    assert np.median(spikes[-10:]) < 1e-3
    assert 0.004 <= (p[9800:] < 0.01).mean() <= 0.03


def test_a_repeated_freeze_does_not_make_freezing_normal() -> None:
    values = _honest(10, 12000)
    for start in range(3000, 11000, 800):
        values[start : start + 120] = values[start - 1]
    run_p = _read(values)[1].run_p
    assert max(run_p[start + 119] for start in range(3000, 11000, 800)) < 1e-4


def test_nothing_is_surprising_before_something_is_known() -> None:
    scores = _read(_honest(11, 12))[1]
    np.testing.assert_array_equal(scores.residual_p, 1.0)
    assert scores.reconstruction_p == 1.0


def test_a_gap_breaks_the_forecast_and_the_run_and_is_no_surprise() -> None:
    values = _honest(12, 3000)
    state, _ = _read(values)
    later = np.full(40, values[-1] + 3.0)  # another level, as the patient is after ten minutes
    later[1:] += np.round(np.cumsum(np.random.default_rng(0).normal(0, 0.004, 39)), 3)
    scores = state.read(_times(40, 3000 * _PERIOD_US + 600_000_000), later, _PERIOD_US, _STEP)[1]
    assert scores.residual_p[0] == 1.0
    assert scores.residual_p.min() > 1e-3
    same = np.full(5, values[-1])
    assert state.read(_times(5, 3000 * _PERIOD_US + 600_000_000), same, _PERIOD_US, _STEP)[1].run_p[0] == 1.0


def test_the_reconstruction_is_judged_by_its_own_past() -> None:
    rng = np.random.default_rng(13)
    state, p = Surprise.start("gsr_uS"), []
    for density in -rng.gamma(3.0, 0.3, 600):
        state = state.reconstructed(float(density))
        p.append(state.reconstruction_p)
    assert 0.002 <= (np.array(p[100:]) < 0.01).mean() <= 0.025
    assert state.reconstructed(-9.0).reconstruction_p < 1e-3
    assert state.reconstructed(float("nan")) is state


def test_the_state_is_small_and_survives_being_stored() -> None:
    state, _ = _read(_honest(14, 8063))  # a block that is all but full
    for density in np.linspace(-2, 0, 200):
        state = state.reconstructed(float(density))
    stored = dump(state)
    assert len(stored) < 4096
    values = _honest(15, 100)
    scores = [
        s.read(_times(100, 8063 * _PERIOD_US), values, _PERIOD_US, _STEP)[1] for s in (state, load(Surprise, stored))
    ]
    np.testing.assert_array_equal(scores[0].together_p, scores[1].together_p)


@pytest.mark.alone
def test_a_frame_is_judged_in_half_a_millisecond() -> None:
    state, _ = _read(_honest(16))
    frames = [_honest(17 + i, 8) for i in range(200)]  # two seconds at 4 Hz
    took = []
    for i, frame in enumerate(frames):
        began = time.perf_counter()
        state, _ = state.read(_times(8, (8000 + 8 * i) * _PERIOD_US), frame, _PERIOD_US, _STEP)
        took.append(time.perf_counter() - began)
    assert np.median(took) < 0.5e-3


def test_the_harmonic_mean_of_probabilities_lies_between_the_least_and_four_times_it() -> None:
    p = np.array([1e-6, 0.5, 1.0])
    together = harmonic(p, 1.0, np.ones(3), 1.0)
    np.testing.assert_allclose(together, [4 / (1e6 + 3), 4 / 5, 1.0])


def test_beyond_all_that_was_seen_probability_falls_on_and_never_reaches_nothing() -> None:
    scores = np.random.default_rng(0).exponential(1.0, 384)
    tail = replace(Tail(), ring=scores.astype(np.float32))
    p = tail.probability(np.array([3.0, 6.0, 9.0, 1e6, np.nan]), Prior(2.3, 1.0))
    assert p[0] > p[1] > p[2] > p[3] == LEAST_P
    assert p[4] == 1.0
    np.testing.assert_allclose(p[:2], np.exp([-3.0, -6.0]), rtol=0.9)


@pytest.mark.parametrize("signal", ["gsr_uS", "hr_bpm"])
def test_one_reading_in_a_hundred_of_test_people_is_called_one_in_a_hundred(shared, signal) -> None:  # type: ignore[no-untyped-def]
    data = shared("data")
    people = [name for name in split(list(people_of(data)))["test"] if name.startswith("wrist_e4/")]
    shares = []
    for recording in read_people(data, only=set(people)):
        times, values = recording.channels[signal]
        times_us = np.round(times * 1e6).astype(np.int64)
        state = Surprise.start(signal)
        _, scores = state.read(times_us, values, int(np.median(np.diff(times_us))), _STEP)
        shares.append((scores.residual_p[200:] < 0.01).mean())
    assert len(shares) == len(people) > 0
    assert min(shares) >= 0.005
    assert max(shares) <= 0.025
    assert 0.005 <= np.mean(shares) <= 0.02


def test_a_shifted_heart_rate_is_reconstructed_worse_and_always_equally_so(shared, generator) -> None:  # type: ignore[no-untyped-def]
    if "hr_bpm" not in generator.metadata["signals"]:
        pytest.skip("needs packaged weights of hr_bpm, which this checkout has not trained")
    channel = channels_of(shared("data"), "hr_bpm", ["wrist_e4/s05"])[0]
    shift = next(anomaly for anomaly in ANOMALIES if anomaly.name == "level shift")
    made = inject(channel.person, channel.id, channel.values, channel.period_s, shift, 1.0)
    p, honest = (reconstruction_p(generator, channel, values) for values in (made.values, channel.values))
    np.testing.assert_array_equal(p, reconstruction_p(generator, channel, made.values))
    first = made.events[0][0]
    np.testing.assert_array_equal(p[:first], honest[:first])
    least, usual = (np.mean([q[a : b + 1].min() for a, b in made.events]) for q in (p, honest))
    assert least < 0.1
    assert least < 0.5 * usual


def test_a_step_of_the_sensors_own_size_is_nothing_odd_however_rare_it_is() -> None:
    rng = np.random.default_rng(18)
    humidity = 40.0 + np.cumsum(rng.choice([-1.0, 0.0, 1.0], 4000, p=[0.015, 0.97, 0.015]))
    scores = Surprise.start("room_rh_pct").read(_times(4000), humidity, _PERIOD_US, 1.0)[1]
    assert (scores.residual_p[500:] < 0.001).mean() < 0.002
    humidity[3000] += 12.0
    assert Surprise.start("room_rh_pct").read(_times(4000), humidity, _PERIOD_US, 1.0)[1].residual_p[3000] < 0.01


def test_a_frame_with_a_gap_inside_is_scored_as_two() -> None:
    values, times = _honest(19, 600), _times(600)
    times[350:] += 5_000_000
    together = Surprise.start("gsr_uS").read(times, values, _PERIOD_US, _STEP)[1]
    state, first = Surprise.start("gsr_uS").read(times[:350], values[:350], _PERIOD_US, _STEP)
    second = state.read(times[350:], values[350:], _PERIOD_US, _STEP)[1]
    np.testing.assert_allclose(together.together_p, np.concatenate((first.together_p, second.together_p)), rtol=1e-9)
    assert together.residual_p[350] == 1.0
