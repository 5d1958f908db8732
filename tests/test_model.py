"""The generative core: it forecasts every signal, from any context, the same way twice, and refuses altered weights."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device.signals import SIGNALS
from twin_engine.model import LEVELS, Context, Generator, ModelError
from twin_engine.plans import PLANS
from twin_engine.weightfile import WEIGHTS

TRAINED = [plan.signal for plan in PLANS.values() if plan.trained]
TYPICAL = {"gsr_uS": 4.0, "emg_activity_mV": 3e-4, "skin_temp_C": 32.0, "hr_bpm": 75.0, "spo2_pct": 97.0}
MID = LEVELS.index(0.5)


def context(signal: str, steps: int = 300, seed: int = 0, others: bool = True) -> Context:
    rng = np.random.default_rng([seed, 5])
    level = TYPICAL.get(signal, (SIGNALS[signal].low + SIGNALS[signal].high) / 2)
    values = level * (1 + 0.02 * np.cumsum(rng.standard_normal(steps)) / np.sqrt(steps))
    beside = {"skin_temp_C": np.full(steps, 32.0), "emg_activity_mV.corr": np.full(steps, 2e-4)} if others else {}
    return Context(signal, values, beside, seed)


@pytest.mark.parametrize("signal", list(SIGNALS))
def test_every_signal_of_the_table_is_forecast_with_ordered_quantiles(signal: str, generator: Generator) -> None:
    (forecast,) = generator.forecast([context(signal)])
    assert forecast.quantiles.shape == (len(forecast.ages_s), len(LEVELS))
    assert np.isfinite(forecast.quantiles).all()
    assert np.all(np.diff(forecast.quantiles, axis=1) >= 0)
    assert np.all(np.diff(forecast.ages_s) > 0)
    assert forecast.ages_s[0] == pytest.approx(generator.grid_s(signal))
    assert forecast.ages_s[-1] == pytest.approx(generator.horizon_s(signal))
    assert np.all((forecast.quantiles >= SIGNALS[signal].low) & (forecast.quantiles <= SIGNALS[signal].high))
    assert forecast.bounds.shape == (len(forecast.experts), len(forecast.ages_s), 3)
    assert np.all(np.diff(forecast.bounds, axis=-1) >= 0)


@pytest.mark.parametrize("signal", TRAINED)
def test_a_trained_signal_has_the_network_and_every_cheap_forecast_as_experts(
    signal: str, generator: Generator
) -> None:
    (forecast,) = generator.forecast([context(signal)])
    assert forecast.experts == ("lstm-vae", *PLANS[signal].bases)
    assert np.array_equal(forecast.bounds[0], forecast.quantiles[:, [LEVELS.index(at) for at in (0.05, 0.5, 0.95)]])
    weights = generator.population_weights(signal, np.array([0.01, 1.0, 50.0, 1e4]))
    assert weights.shape == (4, len(forecast.experts))
    assert weights.sum(1) == pytest.approx(1.0)


def test_an_untrained_signal_names_its_simple_method(generator: Generator) -> None:
    assert generator.forecast([context("pressure_hPa")])[0].experts == ("hold",)


def test_the_cheap_forecasts_by_themselves_are_the_experts_bounds(generator: Generator) -> None:
    names, quantiles = generator.baselines([context("gsr_uS")])
    (forecast,) = generator.forecast([context("gsr_uS")])
    at = names.index("ar")
    assert np.allclose(quantiles[0, :, at, LEVELS.index(0.5)], forecast.bounds[1 + at, :, 1])


@pytest.mark.parametrize("signal", TRAINED)
def test_the_same_seed_gives_the_same_forecast(signal: str, generator: Generator) -> None:
    first, again = (generator.forecast([context(signal)])[0].quantiles for _ in range(2))
    assert np.array_equal(first, again)


def test_a_forecast_does_not_depend_on_its_neighbours_in_the_batch(generator: Generator) -> None:
    batch = [context(signal, seed=i) for i, signal in enumerate([*TRAINED, "ppg", *TRAINED])]
    together = generator.forecast(batch)
    for made, one in zip(together, batch, strict=True):
        (alone,) = generator.forecast([one])
        width = np.maximum(np.ptp(alone.quantiles, axis=1), 1e-12)
        assert np.all(np.abs(made.quantiles - alone.quantiles) <= 1e-4 * width[:, None])


@pytest.mark.parametrize("signal", TRAINED)
def test_three_readings_are_context_enough(signal: str, generator: Generator) -> None:
    values = np.full(generator.context_steps(signal), np.nan)
    values[-3:] = context(signal).values[-3:]
    (forecast,) = generator.forecast([Context(signal, values, {}, 1)])
    assert np.isfinite(forecast.quantiles).all()
    assert forecast.quantiles[0, MID] == pytest.approx(values[-1], rel=0.3)


def test_a_shorter_array_means_missing_readings_before_it(generator: Generator) -> None:
    short = context("gsr_uS", steps=40, others=False)
    missing = np.full(generator.context_steps("gsr_uS") - 40, np.nan)
    padded = Context("gsr_uS", np.concatenate([missing, short.values]), {}, 0)
    made, same = generator.forecast([short, padded])
    assert np.allclose(made.quantiles, same.quantiles)


def test_nothing_older_than_the_context_is_looked_at(generator: Generator) -> None:
    recent = context("hr_bpm", steps=generator.context_steps("hr_bpm"), others=False)
    older = Context("hr_bpm", np.concatenate([np.full(100, 240.0), recent.values]), {}, 0)
    made, same = generator.forecast([recent, older])
    assert np.allclose(made.quantiles, same.quantiles)


@pytest.mark.parametrize("signal", ["gsr_uS", "room_temp_C"])
def test_without_any_reading_there_is_no_honest_value(signal: str, generator: Generator) -> None:
    (forecast,) = generator.forecast([Context(signal, np.full(50, np.nan), {}, 0)])
    assert np.isnan(forecast.quantiles).all()


def test_a_signal_without_a_row_is_a_programming_error(generator: Generator) -> None:
    with pytest.raises(KeyError):
        generator.forecast([Context("blood_sugar", np.zeros(10), {}, 0)])


@pytest.mark.parametrize("signal", TRAINED)
def test_uncertainty_grows_along_the_gap(signal: str, generator: Generator) -> None:
    (forecast,) = generator.forecast([context(signal)])
    width = forecast.quantiles[:, LEVELS.index(0.95)] - forecast.quantiles[:, LEVELS.index(0.05)]
    assert width[-1] > width[0] > 0


def test_a_forecast_between_ages_lies_between_its_nodes(generator: Generator) -> None:
    (forecast,) = generator.forecast([context("gsr_uS")])
    assert np.allclose(forecast.at(forecast.ages_s), forecast.quantiles)
    between = forecast.at(np.sqrt(forecast.ages_s[3:4] * forecast.ages_s[4:5]))[0]
    assert np.allclose(between, forecast.quantiles[3:5].mean(0))


@pytest.mark.parametrize("signal", list(SIGNALS))
def test_prior_scores_are_sorted_and_centred_for_every_signal(signal: str, generator: Generator) -> None:
    scores = generator.prior_scores(signal, np.array([0.05, 1.0, 7.0, 1e5]))
    assert scores.shape[0] == 4
    assert np.all(np.diff(scores, axis=1) >= 0)
    assert np.all(np.abs(np.median(scores, axis=1)) < 0.5)
    assert np.all((scores[:, 0] < 0) & (scores[:, -1] > 0))


# ------------------------------------------------------------------------------------------------- the weights


def test_the_weights_are_small_enough_for_the_repository() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) < 6_000_000


def test_missing_weights_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="run `everbeat train`"):
        Generator.load(tmp_path)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(WEIGHTS, tmp_path / "weights"))


def test_a_missing_file_of_weights_is_named(copied: Path) -> None:
    (copied / "gsr_uS.safetensors").unlink()
    with pytest.raises(ModelError, match=r"gsr_uS\.safetensors"):
        Generator.load(copied)


def test_one_altered_byte_in_the_weights_is_refused(copied: Path) -> None:
    path = copied / "hr_bpm.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="SHA-256"):
        Generator.load(copied)


def test_weights_for_another_plan_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLANS, "gsr_uS", replace(PLANS["gsr_uS"], grid_s=0.5))
    with pytest.raises(ModelError, match="retrain"):
        Generator.load()
