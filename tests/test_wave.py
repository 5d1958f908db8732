"""The cheap forecasts of waves: what they find in a wave's own past, and what they never do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from twin_engine.wave import BASES, fill, period
from twin_engine.wave_mix import bridge_wave, mixed, own_halfwidth

RATE_HZ = 32
NODES = np.arange(1, 161)


def pulse(times_s):
    """A pulse of 75 /min with a second harmonic, on a slow breath."""
    beat = 2 * np.pi * 1.25 * times_s
    return np.sin(beat) + 0.4 * np.sin(2 * beat + 0.7) + 0.2 * np.sin(2 * np.pi * 0.2 * times_s)


def context_and_truth(shift_s=0.0):
    times = np.arange(-535, 161) / RATE_HZ + shift_s
    wave = pulse(times)
    return (wave[:536] - wave[535])[None], wave[536:] - wave[535]


@pytest.mark.parametrize("name", BASES)
def test_a_regular_pulse_goes_on_as_it_was(name):
    context, truth = context_and_truth()
    error = np.abs(BASES[name](context, NODES)[0] - truth).mean()
    assert error < 0.3 * np.abs(truth - truth.mean()).mean()


@pytest.mark.parametrize("name", BASES)
def test_rows_of_a_batch_do_not_touch_each_other(name):
    one, other = context_and_truth()[0], context_and_truth(0.3)[0]
    other[0, 100:200] = np.nan
    both = BASES[name](np.concatenate([one, other]), NODES)
    np.testing.assert_allclose(both[:1], BASES[name](one, NODES), atol=1e-9)
    np.testing.assert_allclose(both[1:], BASES[name](other, NODES), atol=1e-9)


@pytest.mark.parametrize("name", BASES)
def test_a_forecast_scales_with_its_wave(name):
    context, _ = context_and_truth()
    np.testing.assert_allclose(BASES[name](1000 * context, NODES), 1000 * BASES[name](context, NODES), rtol=1e-6)


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("known", [0, 1, 5, 40])
def test_a_short_context_gives_finite_values_near_its_own(name, known):
    context = np.full((1, 536), np.nan)
    if known:
        context[0, -known:] = context_and_truth()[0][0, -known:]
    forecast = BASES[name](context, NODES)
    assert np.isfinite(forecast).all()
    assert np.abs(forecast).max() <= 3 * np.abs(np.nan_to_num(context)).max()


@pytest.mark.parametrize("name", BASES)
def test_noise_and_ramps_do_not_explode(name):
    rng = np.random.default_rng(0)
    for row in (rng.standard_normal(536), np.linspace(-10, 0, 536), np.zeros(536), np.cumsum(rng.standard_normal(536))):
        context = (row - row[-1])[None]
        forecast = BASES[name](context, NODES)
        assert np.isfinite(forecast).all()
        assert np.abs(forecast).max() <= 3 * np.abs(context).max() + 1e-9


@pytest.mark.parametrize("name", BASES)
def test_with_every_tenth_reading_lost_a_forecast_is_still_twice_as_good_as_the_mean(name):
    context, truth = context_and_truth()
    context[0, np.random.default_rng(1).random(536) < 0.1] = np.nan
    context[0, -1] = 0.0
    assert np.abs(BASES[name](context, NODES)[0] - truth).mean() < 0.5 * np.abs(truth - truth.mean()).mean()


def test_the_period_is_found_between_steps():
    steps, likeness = period(context_and_truth()[0])
    assert steps[0] == pytest.approx(RATE_HZ / 1.25, abs=0.2)
    assert likeness[0] > 0.9
    assert period(np.zeros((1, 536)))[1][0] == 0


def test_a_hole_is_bridged_by_a_straight_line():
    filled, known = fill(np.array([[np.nan, 1.0, np.nan, np.nan, 4.0, np.nan], [np.nan] * 6]))
    assert filled.tolist() == [[1, 1, 2, 3, 4, 4], [0] * 6]
    assert known.sum() == 2


def test_a_real_pulse_is_forecast_better_than_by_its_last_value_or_its_mean(shared):
    table = pd.read_csv(shared("data/multi/ecg_ppg_rsp_rest_100hz.csv.gz"))
    times = np.arange(0, 170, 1 / RATE_HZ)
    wave = np.interp(times, table["time_s"], table["ppg_V"])
    ends = np.random.default_rng(2).integers(536, len(wave) - 160, 60)
    context = wave[ends[:, None] + np.arange(-535, 1)]
    last = context[:, -1:]
    truth = wave[ends[:, None] + NODES] - last
    mean = np.abs((context - last).mean(1)[:, None] - truth).mean()
    held = np.abs(truth).mean()
    for name in ("wave-ar", "analog"):
        error = np.abs(BASES[name](context - last, NODES) - truth).mean()
        assert error < 0.85 * min(mean, held), name


def test_a_closed_gap_is_filled_better_from_both_sides_than_from_one(shared):
    table = pd.read_csv(shared("data/multi/ecg_ppg_rsp_rest_100hz.csv.gz"))
    wave = np.interp(np.arange(0, 170, 1 / RATE_HZ), table["time_s"], table["ppg_V"])
    starts = np.random.default_rng(3).integers(536, len(wave) - 700, 60)
    before, truth = wave[starts[:, None] + np.arange(-535, 1)], wave[starts[:, None] + NODES]
    after = wave[starts[:, None] + 160 + np.arange(1, 537)]
    last = before[:, -1:]
    ahead = np.abs(mixed(before - last, NODES) + last - truth).mean()
    assert np.abs(bridge_wave(before, after, 160) - truth).mean() < 0.97 * ahead
    few = bridge_wave(before, after[:, :8], 160)
    np.testing.assert_allclose(few, mixed(before - last, NODES) + last)


def test_a_bridge_meets_both_sides():
    times = np.arange(-535, 697) / RATE_HZ
    wave = pulse(times)
    filled = bridge_wave(wave[None, :536], wave[None, 696:], 160)[0]
    assert abs(filled[0] - wave[536]) < 0.05
    assert abs(filled[-1] - wave[695]) < 0.05
    assert np.abs(filled - wave[536:696]).mean() < 0.2


def test_the_spread_told_by_the_past_holds_most_of_what_comes(shared):
    table = pd.read_csv(shared("data/multi/ecg_ppg_rsp_rest_100hz.csv.gz"))
    wave = np.interp(np.arange(0, 170, 1 / RATE_HZ), table["time_s"], table["ppg_V"])
    inside = []
    for end in np.random.default_rng(4).integers(536, len(wave) - 161, 40):
        context = wave[end - 535 : end + 1]
        centre = mixed((context - context[-1])[None], NODES)[0] + context[-1]
        half = own_halfwidth(context, NODES)
        assert (np.diff(half) >= 0).all()
        inside.append(np.abs(wave[end + NODES] - centre) <= half)
    assert 0.75 < np.mean(inside) < 0.99


@pytest.mark.parametrize("known", [0, 1, 20, 536])
def test_the_spread_is_finite_whatever_is_known(known):
    context = np.full(536, np.nan)
    if known:
        context[-known:] = pulse(np.arange(known) / RATE_HZ)
    half = own_halfwidth(context, NODES)
    assert np.isfinite(half).all() and (half >= 0).all()
