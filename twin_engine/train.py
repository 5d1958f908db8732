"""Trains the generative core on recordings and writes the weights, with all that is needed to judge them.

In order: read the people and split them; learn what is typical of them; then, a signal at a time, draw examples,
fit ridge, fit the LSTM-VAE (``fit``), choose on validation people where a cheap centre is better, keep those
people's residuals as the first calibration, and save. Test people are never looked at here; ``evaluate`` does that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from twin_engine.baselines import NAMES, Ridge, fit_ridge, ridge_features
from twin_engine.examples import Examples, draw, population_of, series_of
from twin_engine.features import Population, Prepared
from twin_engine.fit import BATCH, Progress, fit_network
from twin_engine.messages import Floats
from twin_engine.model import LEVELS, METHOD, SCORE_LEVELS, normalised_residuals, predict
from twin_engine.network import LstmVae
from twin_engine.plans import PLANS, Floats32, Plan, node_steps
from twin_engine.recordings import SPLIT_SEED, TRAINING_FOLDERS, Recording, RecordingError, read_folder, split
from twin_engine.weightfile import FORMAT, ModelError, plan_of, read_metadata, write_metadata, write_signal

Metrics = dict[str, dict[str, Any]]  # signal -> what its training and validation gave

SIGNALS_TRAINED = tuple(plan.signal for plan in PLANS.values() if plan.trained)
TRAIN_WINDOWS, CLEAN_WINDOWS, VALIDATION_WINDOWS = 24_000, 8_000, 2_400
_RIDGE_PENALTIES = (1e-3, 1e-2, 1e-1)
_GATE_MARGIN = 0.02  # a cheap centre must be this much better, on every folder, to be shipped
_SLICE = 200  # windows forecast at once, to bound memory


def train(
    data: Path,
    out: Path,
    *,
    seconds_per_signal: float,
    seed: int,
    progress: Callable[[str, float], None],
    signals: Sequence[str] = SIGNALS_TRAINED,
) -> Metrics:
    """Train `signals` on the recordings in `data` and write weights and metadata to `out`.

    Each signal's training stops after `seconds_per_signal` of wall time; half a minute of preparation comes on top.
    Signals that `out` already holds from the same seed are kept, so a long training may be done in parts.
    `progress` is told a signal and the fraction of its training that is done. Returns the validation numbers.
    Raises RecordingError where `data` holds no recordings of the kind that is trained on.
    """
    torch.set_num_threads(1)
    recordings = [recording for folder in TRAINING_FOLDERS for recording in read_folder(data, folder)]
    parts = split([recording.person for recording in recordings])
    learners = [recording for recording in recordings if recording.person in parts["train"]]
    judges = [recording for recording in recordings if recording.person in parts["validation"]]
    population = population_of(learners, np.random.default_rng(seed))
    out.mkdir(parents=True, exist_ok=True)
    metadata = _metadata(out, seed, parts, population)
    metrics: Metrics = {}
    for signal in signals:
        progress(signal, 0.0)
        material = Material(signal, learners, judges, population, seed)
        entry = _train_signal(material, out, seconds_per_signal, seed, progress)
        metadata["signals"][signal] = entry
        write_metadata(out, metadata)
        metrics[signal] = entry["validation"]
        progress(signal, 1.0)
    return metrics


class Material:
    """What one signal is trained and validated on: spoilt training windows, clean validation windows, baselines.

    Ridge is fitted on clean training windows, so that it is as good a baseline as it can be; the network learns
    from the spoilt ones when not to trust it. `fit_bases` and `check_bases` are (B, N, 4).
    """

    def __init__(
        self,
        signal: str,
        learners: Sequence[Recording],
        judges: Sequence[Recording],
        population: Population,
        seed: int,
    ) -> None:
        plan, rng = PLANS[signal], np.random.default_rng([seed, sorted(PLANS).index(signal)])
        learn, judge = series_of(learners, signal), series_of(judges, signal)
        if not learn or not judge:
            raise RecordingError(f"expected {signal} of people to train and to validate, got none; nothing was trained")
        self.plan = plan
        self.fit = draw(learn, plan, population, TRAIN_WINDOWS, rng, spoil=True)
        self.check = draw(judge, plan, population, VALIDATION_WINDOWS, rng, spoil=False)
        self.ridge = _best_ridge(draw(learn, plan, population, CLEAN_WINDOWS, rng, spoil=False), self.check)
        self.fit_bases = _bases(self.fit, self.ridge)
        self.check_bases = _bases(self.check, self.ridge)


def choose_gate(
    plan: Plan, network: LstmVae, check: Examples, bases: Floats32
) -> tuple[tuple[str, ...], dict[str, list[float]]]:
    """Whose centre is shipped at each age, and the validation MAE (person's SD) of every method at each age.

    A cheap centre is shipped where it is better on every folder (every make of device), by a margin.
    """
    nodes = node_steps(plan.signal)
    truth = _in_unit(plan, check, check.truth)
    own = _forecast(plan.signal, network, (METHOD,) * len(nodes), check, bases)[..., LEVELS.index(0.5)]
    centres = {METHOD: own} | {name: _in_unit(plan, check, bases[..., i]) for i, name in enumerate(NAMES)}
    errors = {name: np.abs(centre - truth) / check.person_sd[:, None] for name, centre in centres.items()}
    folders = np.array([name.partition("/")[0] for name in check.people])[check.person]
    table = {  # method -> (folders, N)
        name: np.stack([_mean_known(error[folders == folder]) for folder in np.unique(folders)])
        for name, error in errors.items()
    }
    gate = []
    for n in range(len(nodes)):
        worst = {name: float((table[name][:, n] / table[METHOD][:, n]).max()) for name in NAMES}
        cheapest = min(NAMES, key=worst.__getitem__)
        gate.append(cheapest if worst[cheapest] < 1 - _GATE_MARGIN else METHOD)
    return tuple(gate), {name: [round(float(v), 5) for v in rows.mean(0)] for name, rows in table.items()}


def _train_signal(material: Material, out: Path, seconds: float, seed: int, progress: Progress) -> dict[str, Any]:
    plan, check, bases = material.plan, material.check, material.check_bases
    network, numbers = fit_network(
        plan.signal, (material.fit, material.fit_bases), (check, bases), seconds, seed, progress
    )
    gate, table = choose_gate(plan, network, check, bases)
    quantiles = _forecast(plan.signal, network, gate, check, bases)
    residuals = normalised_residuals(plan.signal, _in_unit(plan, check, check.truth), quantiles)
    scores = _score_table(residuals)
    file, digest = write_signal(out, plan.signal, network, material.ridge, scores)
    return {
        "file": file,
        "sha256": digest,
        "plan": plan_of(plan.signal),
        "gate": list(gate),
        "validation": numbers | {"mae_z_by_age": table},
        "training": {"seconds": seconds, "windows": TRAIN_WINDOWS, "batch": BATCH, "torch": torch.__version__},
    }


def _mean_known(error: Floats) -> Floats:
    """(N,) mean over the known of (B, N); NaN where none is."""
    known = np.isfinite(error)
    mean: Floats = np.where(known, error, 0.0).sum(0) / np.where(known.any(0), known.sum(0), np.nan)
    return mean


def _score_table(residuals: Floats) -> Floats:
    """(N, M) sorted residuals of (B, N); an age that no recording reaches has those of the age before."""
    ages = np.arange(residuals.shape[1])
    newest = np.maximum.accumulate(np.where(np.isfinite(residuals).any(0), ages, 0))
    scores: Floats = np.nanquantile(residuals[:, newest], SCORE_LEVELS, axis=0).T
    return scores


def _best_ridge(clean: Examples, check: Examples) -> Ridge:
    """The ridge whose penalty is best on validation people, by mean absolute error over all ages."""
    features, targets = ridge_features(clean.prepared), clean.truth.astype(np.float64)
    fitted = [fit_ridge(features, targets, penalty) for penalty in _RIDGE_PENALTIES]
    return min(fitted, key=lambda ridge: float(np.nanmean(np.abs(ridge.forecast(check.prepared) - check.truth))))


def _bases(examples: Examples, ridge: Ridge) -> Floats32:
    own = ridge.forecast(examples.prepared)[..., None].astype(np.float32)
    return np.concatenate([own, examples.cheap], axis=-1)


def _forecast(signal: str, network: LstmVae, gate: Sequence[str], check: Examples, bases: Floats32) -> Floats:
    """(B, N, Q) quantiles in the signal's unit."""
    out, p = [], check.prepared
    for at in range(0, len(bases), _SLICE):
        rows = slice(at, at + _SLICE)
        part = Prepared(p.path[rows], p.bins[rows], p.statics[rows], p.last[rows], p.scale[rows])
        seeds = range(at, at + len(part.last))
        out.append(predict(signal, network, gate, part, bases[rows].astype(np.float64), seeds))
    return np.concatenate(out)


def _in_unit(plan: Plan, examples: Examples, normal: Floats32) -> Floats:
    scale, last = examples.prepared.scale[:, None], examples.prepared.last[:, None]
    return plan.inverse(normal.astype(np.float64) * scale + last)


def _metadata(out: Path, seed: int, parts: dict[str, list[str]], population: Population) -> dict[str, Any]:
    """Fresh metadata, with the signals that `out` already holds from the same seed, people and population."""
    fresh: dict[str, Any] = {
        "format": FORMAT,
        "seed": seed,
        "split_seed": SPLIT_SEED,
        "levels": list(LEVELS),
        "split": parts,
        "population": asdict(population),
        "signals": {},
    }
    try:
        old = read_metadata(out)
    except ModelError:
        return fresh
    same = all(old.get(key) == value for key, value in fresh.items() if key != "signals")
    return fresh | {"signals": old["signals"]} if same else fresh
