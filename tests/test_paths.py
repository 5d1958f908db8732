"""Sample paths: they look like the sensor, spread as the forecast says, and come from nobody else."""

from __future__ import annotations

import numpy as np
import pytest

from twin_engine.lab.realism import auc, feature_errors, heart_rate_bpm, log_spectral_distance, sd_ratio, skin_responses
from twin_engine.model import LEVELS, Context
from twin_engine.paths import sample_paths
from twin_engine.plans import PLANS

GAUSS = np.array([-2.326, -1.645, -1.282, -1.036, -0.674, -0.385, 0, 0.385, 0.674, 1.036, 1.282, 1.645, 2.326])


def forecast_of(centre, sigma_at):
    """Gaussian quantiles at doubling ages: ages in steps (N,), quantiles (N, Q)."""
    ages = np.array([1, 2, 4, 8, 16, 32, 64, 128])
    return ages, centre + sigma_at(ages)[:, None] * GAUSS[None]


def wander(seed=0, steps=536):
    """A skin conductance that drifts, with a little noise, in steps of 0.01 µS."""
    rng = np.random.default_rng(seed)
    return np.round(5 + np.cumsum(0.02 * rng.standard_normal(steps)), 2)


def test_the_levels_of_the_model_are_those_these_tests_know():
    assert len(LEVELS) == len(GAUSS)


def test_paths_spread_as_the_forecast_says_at_every_calibrated_age():
    context = wander()
    ages, quantiles = forecast_of(context[-1] + 0.5, lambda n: 0.05 * np.sqrt(n))
    paths = sample_paths("gsr_uS", context, ages * 0.25, quantiles, 400, 1, 0.001)
    assert paths.shape == (400, 128)
    for age, row in zip(ages[2:], quantiles[2:], strict=True):
        at = np.quantile(paths[:, age - 1], [0.05, 0.5, 0.95])
        np.testing.assert_allclose(at, row[[1, 6, 11]], atol=0.15 * (row[11] - row[1]))


def test_paths_start_where_the_last_reading_was():
    context = wander()
    ages, quantiles = forecast_of(context[-1], lambda n: 0.02 * np.sqrt(n))
    paths = sample_paths("gsr_uS", context, ages * 0.25, quantiles, 50, 1, 0.01)
    assert np.abs(paths[:, 0] - context[-1]).max() < 0.1


def test_paths_lie_on_the_sensors_steps():
    context = np.round(wander() / 0.05) * 0.05
    ages, quantiles = forecast_of(context[-1], lambda n: 0.1 * np.sqrt(n))
    paths = sample_paths("gsr_uS", context, ages * 0.25, quantiles, 20, 1, 0.05)
    np.testing.assert_allclose(paths / 0.05, np.round(paths / 0.05), atol=1e-6)


def test_a_converters_own_grain_is_found_where_the_unit_hides_it():
    grain = 0.00128
    context = 5 + grain * np.round((wander(3) - 5) / 0.02)
    ages, quantiles = forecast_of(context[-1], lambda n: 0.005 * np.sqrt(n))
    paths = sample_paths("gsr_uS", context, ages * 0.25, quantiles, 20, 1, 1e-6)
    counts = (paths - context[-1]) / grain
    np.testing.assert_allclose(counts, np.round(counts), atol=0.01)


def test_the_same_seed_gives_the_same_paths_and_another_others():
    context = wander()
    ages, quantiles = forecast_of(context[-1], lambda n: 0.02 * np.sqrt(n))
    first, again, other = (sample_paths("gsr_uS", context, ages * 0.25, quantiles, 5, s, 0.001) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("known", [0, 1, 10, 30, 100])
def test_a_short_past_still_gives_paths_of_the_right_spread(known):
    context = wander()
    context[: len(context) - known] = np.nan
    ages, quantiles = forecast_of(5.0, lambda n: 0.05 * np.sqrt(n))
    paths = sample_paths("gsr_uS", context, ages * 0.25, quantiles, 200, 1, 0.001)
    assert np.isfinite(paths).all()
    wanted = quantiles[-1, 11] - quantiles[-1, 1]
    assert np.ptp(np.quantile(paths[:, -1], [0.05, 0.95])) == pytest.approx(wanted, rel=0.25)


def test_a_frozen_past_still_gives_paths_that_spread():
    ages, quantiles = forecast_of(5.0, lambda n: 0.05 * np.sqrt(n))
    paths = sample_paths("gsr_uS", np.full(536, 5.0), ages * 0.25, quantiles, 200, 1, 0.001)
    wanted = quantiles[-1, 11] - quantiles[-1, 1]
    assert np.ptp(np.quantile(paths[:, -1], [0.05, 0.95])) == pytest.approx(wanted, rel=0.25)


def test_paths_stay_within_what_a_sensor_can_report():
    context = np.maximum(wander() - 4.9, 0.0)
    ages, quantiles = forecast_of(0.1, lambda n: 1.0 + 0 * n)
    assert sample_paths("gsr_uS", context, ages * 0.25, quantiles, 50, 1, 0.001).min() >= 0


def test_a_pulse_goes_on_beating_at_its_own_rate():
    grid_s = PLANS["ppg"].grid_s
    times = np.arange(536) * grid_s
    context = np.sin(2 * np.pi * 1.5 * times) + 0.3 * np.sin(2 * np.pi * 3 * times + 1)
    nodes = np.arange(1, round(5 / grid_s) + 1)
    quantiles = np.tile(0.8 * GAUSS, (len(nodes), 1))
    paths = sample_paths("ppg", context, nodes * grid_s, quantiles, 20, 1, 1e-4)
    rates = [heart_rate_bpm(path, 1 / grid_s) for path in paths]
    assert np.nanmedian(rates) == pytest.approx(90, abs=4)
    assert 0.6 < sd_ratio(np.tile(context[-len(nodes) :], (20, 1)), paths) < 1.5


def test_a_forest_cannot_tell_a_process_from_itself_but_can_tell_noise_from_it():
    rng = np.random.default_rng(0)
    walks = np.cumsum(rng.standard_normal((400, 60)), axis=1)
    groups = np.repeat(np.arange(8), 25)
    assert abs(auc(walks[:200], walks[200:], groups) - 0.5) < 0.1
    assert auc(walks[:200], rng.standard_normal((200, 60)) * 5, groups) > 0.95


def test_paths_are_harder_to_tell_from_the_truth_than_the_forecasts_centre_with_noise():
    rng = np.random.default_rng(1)
    real, made, noisy, groups = [], [], [], []
    for person in range(6):
        series = wander(person, 6000)
        for _ in range(25):
            end = int(rng.integers(536, len(series) - 64))
            context = series[end - 536 : end]
            ages, quantiles = forecast_of(context[-1], lambda n: 0.02 * np.sqrt(n))
            ages, quantiles = ages[:7], quantiles[:7]
            made.append(sample_paths("gsr_uS", context, ages * 0.25, quantiles, 1, end, 0.01)[0])
            spread = np.interp(np.arange(1, 65), ages, quantiles[:, 9] - quantiles[:, 6])
            noisy.append(np.round(context[-1] + spread * rng.standard_normal(64), 2))
            real.append(series[end : end + 64])
            groups.append(person)
    ours, theirs = (auc(np.array(real), np.array(x), np.array(groups)) for x in (made, noisy))
    assert ours < 0.7 < 0.95 < theirs
    assert 0.8 < sd_ratio(np.array(real), np.array(made)) < 1.25


def test_spectral_distance_is_in_decibels():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((300, 64))
    assert log_spectral_distance(noise, noise, 4.0) == 0
    assert log_spectral_distance(noise, 10 * noise, 4.0) == pytest.approx(20, abs=0.1)


def test_skin_responses_are_counted():
    times = np.arange(0, 60, 0.25)
    bumps = sum(0.5 * np.exp(-0.5 * ((times - at) / 1.5) ** 2) for at in (10, 25, 40))
    count, amplitude = skin_responses(5 + bumps, 4.0)
    assert 3 <= count <= 5
    assert 0.1 < amplitude < 0.6
    errors = feature_errors("gsr_uS", np.tile(5 + bumps, (2, 1)), np.tile(5 + bumps, (2, 1)), 4.0)
    assert errors["scr_per_min"] == 0


def test_muscle_activity_is_compared_by_its_root_mean_square():
    noise = np.random.default_rng(0).standard_normal((20, 100))
    assert feature_errors("emg_raw_mV", noise, 2 * noise, 100.0)["rms_relative"] == pytest.approx(1.0)


def test_paths_from_the_packaged_model_reach_its_horizon(generator):
    context = wander()
    forecast = generator.forecast([Context("gsr_uS", context, {}, 1)])[0]
    paths = sample_paths("gsr_uS", context, forecast.ages_s, forecast.quantiles, 8, 1, 0.01)
    assert paths.shape == (8, round(forecast.ages_s[-1] / PLANS["gsr_uS"].grid_s))
    low, high = np.quantile(forecast.quantiles, [0, 1])
    assert np.isfinite(paths).all()
    assert paths.min() > low - 2 and paths.max() < high + 2
