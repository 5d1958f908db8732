"""The cheap forecasts and the simple method: right where the answer is known, sane where it is not."""

from __future__ import annotations

import numpy as np
import pytest

from device.signals import SIGNALS
from twin_engine.baselines import advance, autoregress, burg, fit_ridge, newest, running_mean
from twin_engine.features import CONTEXT_STEPS, bin_means, fill_bins, last_value, momentum, normalise, to_grid
from twin_engine.plans import PLANS, node_steps
from twin_engine.simple import laplace, simple

RNG = np.random.default_rng(3)
LEVELS = np.array([0.05, 0.5, 0.95])


def autoregressive(count: int, steps: int, coefficients: tuple[float, ...]) -> np.ndarray:
    order = len(coefficients)
    x = np.zeros((count, steps + 200))
    for t in range(order, x.shape[1]):
        x[:, t] = sum(a * x[:, t - j] for j, a in enumerate(coefficients, 1)) + RNG.standard_normal(count)
    return x[:, 200:]


def test_burg_finds_the_coefficients_of_a_process_it_has_not_seen() -> None:
    found, variance = burg(autoregressive(20, 2000, (1.2, -0.5)), 2)
    assert found.mean(0) == pytest.approx([1.2, -0.5], abs=0.03)
    assert variance.mean() == pytest.approx(1.0, abs=0.1)


def test_burg_leaves_missing_readings_out() -> None:
    x = autoregressive(20, 2000, (0.8,))
    x[RNG.random(x.shape) < 0.2] = np.nan
    assert burg(x, 1)[0].mean() == pytest.approx(0.8, abs=0.05)


def test_too_few_readings_give_no_coefficients_but_a_forecast() -> None:
    path = np.full((1, CONTEXT_STEPS), np.nan)
    path[0, -3:] = (0.2, 0.1, 0.0)
    assert np.isfinite(autoregress(path, node_steps("gsr_uS"))).all()


@pytest.mark.parametrize("shape", ["walk", "ramp", "explosion", "constant"])
def test_an_autoregressive_forecast_never_explodes(shape: str) -> None:
    t = np.arange(CONTEXT_STEPS)
    paths = {"walk": np.cumsum(RNG.standard_normal(len(t))), "ramp": t, "explosion": np.exp(t / 50), "constant": t * 0}
    path = (paths[shape] - paths[shape][-1])[None].astype(float)
    forecast = autoregress(path, node_steps("gsr_uS"))
    assert np.abs(forecast).max() <= 2 * max(np.ptp(path), 1.0)


def test_jumping_ahead_by_powers_equals_walking_step_by_step() -> None:
    coefficients, x = np.array([[0.6, 0.2, -0.1]]), [0.3, -0.2, 0.5]
    walked = list(reversed(x))
    for _ in range(40):
        walked.append(float(coefficients[0] @ np.array(walked[-3:])[::-1]))
    nodes = np.array([1, 2, 5, 40])
    assert advance(coefficients, np.array([x]), nodes)[0] == pytest.approx([walked[2 + n] for n in nodes])


def test_the_newest_values_are_held_over_missing_ones() -> None:
    assert newest(np.array([[1.0, 2.0, np.nan, 4.0, np.nan]]), 4).tolist() == [[4.0, 4.0, 2.0, 2.0]]


def test_ridge_finds_a_linear_rule_and_skips_unknown_targets() -> None:
    x = RNG.standard_normal((500, 3))
    y = x @ np.array([[1.0], [-2.0], [0.5]]) + 3.0
    y[::7] = np.nan
    ridge = fit_ridge(x, y, 1e-6)
    assert ridge.weights[0, :, 0] == pytest.approx([1.0, -2.0, 0.5], abs=1e-3)
    assert ridge.intercept[0, 0] - ridge.centre[0] @ ridge.weights[0, :, 0] == pytest.approx(3.0, abs=1e-2)


def test_the_running_mean_counts_only_what_is_known() -> None:
    assert running_mean(np.array([[np.nan, 1.0, 3.0], [np.nan, np.nan, np.nan]])).tolist() == [2.0, 0.0]


def test_laplace_quantiles_put_ninety_percent_between_minus_one_and_one() -> None:
    assert laplace(LEVELS) == pytest.approx([-1.0, 0.0, 1.0])


def test_a_held_value_grows_less_sure_with_age() -> None:
    values = 21.0 + np.cumsum(RNG.standard_normal(CONTEXT_STEPS)) * 0.02
    names, (quantiles,) = simple("pressure_hPa", 980.0 + values, LEVELS)
    width = quantiles[:, 2] - quantiles[:, 0]
    assert names == ("hold",)
    assert np.all(quantiles[:, 1] == 980.0 + values[-1])
    assert np.all(np.diff(width) >= 0)
    assert width[-1] > 2 * width[0]


def test_a_sensor_that_never_moved_is_still_not_trusted_for_ever() -> None:
    _, (quantiles,) = simple("pressure_hPa", np.full(CONTEXT_STEPS, 1000.0), LEVELS)
    assert quantiles[-1, 2] - 1000.0 == pytest.approx(SIGNALS["pressure_hPa"].tolerance.absolute)


def test_a_wave_goes_on_for_a_while_and_then_is_its_mean() -> None:
    t = np.arange(CONTEXT_STEPS) * PLANS["resp_wave"].grid_s
    values = 5.0 + np.sin(2 * np.pi * t / 0.8) + 0.01 * RNG.standard_normal(len(t))
    names, quantiles = simple("resp_wave", values, LEVELS)
    soon = 5.0 + np.sin(2 * np.pi * (t[-1] + 3 * PLANS["resp_wave"].grid_s) / 0.8)
    assert names == PLANS["resp_wave"].bases
    assert quantiles[:2, 2, 1] == pytest.approx(soon, abs=0.1)  # what is trusted at first
    assert quantiles[:, -1, 1] == pytest.approx(5.0, abs=0.05)
    assert quantiles[0, -1, 2] - quantiles[0, -1, 0] > 2.0  # its own spread, not less


def test_a_wave_of_a_few_readings_is_its_mean() -> None:
    values = np.full(CONTEXT_STEPS, np.nan)
    values[-5:] = 1.0
    assert simple("ecg_mV", values, LEVELS)[1][..., 1] == pytest.approx(1.0)


def test_a_recording_slower_than_the_grid_is_continued_at_its_own_pace() -> None:
    values = np.full(CONTEXT_STEPS, np.nan)
    values[::-5] = np.sin(np.arange(len(values[::-5])) / 3)
    _, quantiles = simple("ecg_mV", values, LEVELS)
    assert np.isfinite(quantiles).all()
    assert np.abs(quantiles[:2, :10, 1]).max() < 1.5  # it goes on as it went, and does not explode


def test_the_grid_takes_the_last_reading_of_each_step_and_nothing_later() -> None:
    times_us = np.array([0, 400_000, 900_000, 1_000_000, 1_100_000], np.int64)
    grid = to_grid(times_us, np.array([1.0, 2.0, 3.0, 4.0, 99.0]), 1_000_000, 0.5, steps=4)
    assert grid.tolist()[1:] == [1.0, 2.0, 4.0]
    assert np.isnan(grid[0])


def test_bins_average_what_is_known_and_old_holes_are_filled_from_newer_bins() -> None:
    x = np.full((1, CONTEXT_STEPS), np.nan)
    x[0, -40:] = 2.0
    x[0, -2] = np.nan
    means, seen = bin_means(x)
    assert seen[0, -1] == 1.0
    assert seen[0, -2] == 0.0
    assert fill_bins(means, seen)[0] == pytest.approx(2.0)


def test_the_normaliser_keeps_its_head_on_a_flat_context_and_on_a_single_reading() -> None:
    x = np.full((2, CONTEXT_STEPS), np.nan)
    x[0] = 7.0
    x[1, -1] = 7.0
    path, last, scale, _, _ = normalise(x, typical=0.5)
    assert last.tolist() == [7.0, 7.0]
    assert np.all(scale > 0.05)
    assert np.nanmax(np.abs(path)) == 0.0


def test_the_last_value_is_the_newest_known_one() -> None:
    assert last_value(np.array([[1.0, 2.0, np.nan], [np.nan] * 3])).tolist() == [2.0, 0.0]


def test_momentum_tells_a_smoothed_signal_from_a_rough_one() -> None:
    rough = np.cumsum(RNG.standard_normal((50, CONTEXT_STEPS)), axis=1)
    smooth = np.apply_along_axis(lambda row: np.convolve(row, np.ones(12) / 12, "same"), 1, rough)
    assert momentum(smooth, 4).mean() > 0.3
    assert abs(momentum(rough, 4).mean()) < 0.1
