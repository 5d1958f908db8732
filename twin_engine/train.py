"""Trains the generative core on recordings and writes the weights, with all that is needed to judge them.

In order: read the people and split them; learn what is typical of them; then, a signal at a time, draw examples,
fit ridge, train the LSTM-VAE on what it will be asked for (paths sampled from its prior), choose on validation
people where a cheap centre is better, keep those people's residuals as the first calibration, and save. Test
people are never looked at here; ``evaluate`` does that.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from twin_engine.baselines import NAMES, Ridge, fit_ridge, ridge_features
from twin_engine.examples import Examples, draw, population_of, series_of
from twin_engine.features import PLANS, Floats32, Plan, Population, Prepared, node_steps
from twin_engine.messages import Floats
from twin_engine.model import (
    FORMAT,
    LEVELS,
    METADATA,
    METHOD,
    SCORE_LEVELS,
    normalised_residuals,
    plan_of,
    predict,
)
from twin_engine.network import LATENT, LstmVae, kl_divergence, laplace_nll, laplace_noise
from twin_engine.recordings import TRAINING_FOLDERS, Recording, read_folder, split

Progress = Callable[[str, float], None]
Metrics = dict[str, dict[str, Any]]  # signal -> what its training and validation gave

SIGNALS_TRAINED = tuple(plan.signal for plan in PLANS.values() if plan.trained)
TRAIN_WINDOWS, VALIDATION_WINDOWS = 24_000, 2_400
BATCH, PATHS = 64, 6
_RATE = 1.5e-3
_RIDGE_PENALTIES = (1e-3, 1e-2, 1e-1)
_GATE_MARGIN = 0.02  # a cheap centre must be this much better on validation people to be shipped
_KL_WEIGHT, _ENERGY_WEIGHT, _STEP_WEIGHT, _FREE_NATS = 0.3, 0.5, 0.3, 0.02


@dataclass(frozen=True, slots=True)
class Batch:
    """Tensors of B examples: what the network sees, and the truth (B, N) with `known` 0/1."""

    bins: Tensor
    statics: Tensor
    bases: Tensor
    truth: Tensor
    known: Tensor


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

    Each signal's training stops after `seconds_per_signal` of wall time; a few seconds of preparation come on top.
    Signals that `out` already holds from the same seed are kept, so a long training may be done in parts.
    `progress` is told a stage and the fraction of it that is done. Raises RecordingError where `data` holds no
    recordings of the kind that is trained on.
    """
    torch.set_num_threads(1)
    recordings = [recording for folder in TRAINING_FOLDERS for recording in read_folder(data, folder)]
    parts = split([recording.person for recording in recordings], seed)
    learners = [recording for recording in recordings if recording.person in parts["train"]]
    judges = [recording for recording in recordings if recording.person in parts["validation"]]
    population = population_of(learners, np.random.default_rng(seed))
    out.mkdir(parents=True, exist_ok=True)
    metadata = _metadata(out, seed, parts, population)
    metrics: Metrics = {}
    for signal in signals:
        entry = _train_signal(signal, learners, judges, population, out, seconds_per_signal, seed, progress)
        metadata["signals"][signal] = entry
        (out / METADATA).write_text(json.dumps(metadata, indent=1, ensure_ascii=False) + "\n")
        metrics[signal] = entry["validation"]
    return metrics


def examples_for(
    signal: str, learners: Sequence[Recording], judges: Sequence[Recording], population: Population, seed: int
) -> tuple[Examples, Examples, Ridge, Floats32, Floats32]:
    """Training and validation examples, the ridge fitted to them, and all baselines (B, N, 4) of each."""
    plan, rng = PLANS[signal], np.random.default_rng([seed, sorted(PLANS).index(signal)])
    fit = draw(series_of(learners, signal), plan, population, TRAIN_WINDOWS, rng, spoil=True)
    check = draw(series_of(judges, signal), plan, population, VALIDATION_WINDOWS, rng, spoil=False)
    ridge = _best_ridge(fit, check)
    return fit, check, ridge, _bases(fit, ridge), _bases(check, ridge)


def fit_network(
    signal: str,
    examples: tuple[Examples, Floats32],
    judged: tuple[Examples, Floats32],
    seconds: float,
    seed: int,
    progress: Progress,
    latent: bool = True,
) -> tuple[LstmVae, dict[str, float]]:
    """The network with the best validation CRPS within `seconds` of training, and its validation numbers."""
    torch.manual_seed(seed)
    data, check = _tensors(*examples), _tensors(*judged)
    error = (data.truth - data.bases[..., 0]).abs() * data.known
    scale = (error.sum(0) / data.known.sum(0).clamp(min=1)).clamp(min=1e-3)
    network = LstmVae(torch.tensor(node_steps(signal)), scale, latent)
    average = {name: value.clone() for name, value in network.state_dict().items()}
    best, best_state, best_score = {"crps": math.inf}, average, math.inf
    optimiser = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=1e-2)
    began, steps = time.monotonic(), 0
    while (done := (time.monotonic() - began) / seconds) < 1:
        optimiser.param_groups[0]["lr"] = _RATE * (0.02 + 0.49 * (1 + math.cos(math.pi * done)))
        picked = torch.randint(0, len(data.truth), (BATCH,))
        _step(network, optimiser, _take(data, picked), min(1.0, 3 * done))
        _follow(average, network, 0.01)
        steps += 1
        if steps % 200 == 0:
            scores = _judge(network, average, check)
            if scores["crps"] < best_score:
                best, best_score = scores | {"steps": float(steps)}, scores["crps"]
                best_state = {name: value.clone() for name, value in average.items()}
            progress(f"{signal}: step {steps}, validation CRPS {scores['crps']:.4f}", done)
    network.load_state_dict(best_state)
    return network.eval(), best | {"steps_done": float(steps)}


def _train_signal(
    signal: str,
    learners: Sequence[Recording],
    judges: Sequence[Recording],
    population: Population,
    out: Path,
    seconds: float,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    progress(f"{signal}: drawing examples", 0.0)
    fit, check, ridge, fit_bases, check_bases = examples_for(signal, learners, judges, population, seed)
    network, numbers = fit_network(signal, (fit, fit_bases), (check, check_bases), seconds, seed, progress)
    gate, table = choose_gate(PLANS[signal], network, check, check_bases)
    quantiles = _forecast(signal, network, gate, check, check_bases)
    residuals = normalised_residuals(signal, _in_unit(PLANS[signal], check, check.truth), quantiles)
    scores = np.nanquantile(residuals, SCORE_LEVELS, axis=0).T  # (N, M)
    tensors = {f"net.{name}": value.contiguous() for name, value in network.state_dict().items()}
    tensors |= {f"ridge.{name}": torch.tensor(value, dtype=torch.float32) for name, value in _fields(ridge)}
    blob = save(tensors | {"scores": torch.tensor(scores, dtype=torch.float32)})
    (out / f"{signal}.safetensors").write_bytes(blob)
    return {
        "file": f"{signal}.safetensors",
        "sha256": hashlib.sha256(blob).hexdigest(),
        "plan": plan_of(signal),
        "gate": list(gate),
        "validation": numbers | {"mae_z_by_age": table},
        "training": {"seconds": seconds, "windows": TRAIN_WINDOWS, "batch": BATCH, "torch": torch.__version__},
    }


def choose_gate(
    plan: Plan, network: LstmVae, check: Examples, bases: Floats32
) -> tuple[tuple[str, ...], dict[str, list[float]]]:
    """Whose centre is shipped at each age, and the validation MAE (person's SD) of every method at each age."""
    nodes = node_steps(plan.signal)
    truth = _in_unit(plan, check, check.truth)
    own = _forecast(plan.signal, network, (METHOD,) * len(nodes), check, bases)[..., LEVELS.index(0.5)]
    centres = {METHOD: own} | {name: _in_unit(plan, check, bases[..., i]) for i, name in enumerate(NAMES)}
    table = {
        name: np.nanmean(np.abs(centre - truth) / check.person_sd[:, None], axis=0) for name, centre in centres.items()
    }
    gate = []
    for n in range(len(nodes)):
        cheapest = min(NAMES, key=lambda name: float(table[name][n]))
        gate.append(cheapest if table[cheapest][n] < (1 - _GATE_MARGIN) * table[METHOD][n] else METHOD)
    return tuple(gate), {name: [round(float(v), 5) for v in column] for name, column in table.items()}


def _step(network: LstmVae, optimiser: torch.optim.Optimizer, batch: Batch, warm: float) -> None:
    """One step on paths from the prior (CRPS, path energy) and on the evidence lower bound (posterior, KL)."""
    network.train()
    context = network.encode(batch.bins, batch.statics)
    prior = network.prior_of(context)
    noise = torch.randn(len(context), PATHS, LATENT)
    z = prior[0][:, None] + torch.exp(0.5 * prior[1])[:, None] * noise
    centre, scale = network.decode(context, z, batch.bases)
    paths = (centre + scale * laplace_noise(torch.rand_like(centre))) / network.horizon_scale
    truth = batch.truth / network.horizon_scale
    crps, energy, moves = path_scores(paths, truth, batch.known)
    loss = crps + _ENERGY_WEIGHT * energy + _STEP_WEIGHT * moves
    if network.latent:
        posterior = network.posterior_of(context, batch.truth, batch.known)
        z = posterior[0] + torch.exp(0.5 * posterior[1]) * torch.randn_like(posterior[0])
        centre, scale = network.decode(context, z[:, None], batch.bases)
        nll = laplace_nll(batch.truth, centre[:, 0], scale[:, 0]) * batch.known
        kl = kl_divergence(posterior, prior).mean(0).clamp(min=_FREE_NATS).sum()
        loss = loss + _KL_WEIGHT * (nll.sum() / batch.known.sum() + warm * kl / batch.truth.shape[1])
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()


def path_scores(paths: Tensor, truth: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fair CRPS, energy score of the path, and energy score of its increments; means over the batch.

    `paths` (B, K, N), `truth` and `known` (B, N). Gneiting and Raftery 2007; all three are least for the truth's
    own distribution, and the last two also when its ages hang together as the truth's do.
    """
    truth = torch.where(known > 0, truth, 0.0)
    seen = paths * known[:, None]
    count = known.sum().clamp(min=1)
    ordered = paths.sort(1)[0]
    k = paths.shape[1]
    weights = (2 * torch.arange(1, k + 1) - k - 1).float()[None, :, None]
    spread = (weights * ordered).sum(1) / (k * (k - 1))
    crps = (((paths - truth[:, None]).abs().mean(1) - spread) * known).sum() / count
    both = known[:, 1:] * known[:, :-1]
    energy = _energy(seen, truth * known, known)
    moves = _energy(seen.diff(dim=-1) * both[:, None], truth.diff(dim=-1) * both, both)
    return crps, energy, moves


def _energy(paths: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    size = known.sum(-1).clamp(min=1).sqrt()  # (B,)
    k = paths.shape[1]
    apart = torch.stack([_norm(paths[:, i] - paths[:, j]) for i in range(k) for j in range(i)]).mean(0)
    return ((_norm(paths - truth[:, None]).mean(1) - 0.5 * apart) / size).mean()


def _norm(x: Tensor) -> Tensor:
    return (x.pow(2).sum(-1) + 1e-6).sqrt()


@torch.no_grad()
def _judge(network: LstmVae, average: dict[str, Tensor], check: Batch) -> dict[str, float]:
    """Validation numbers of the averaged weights, in units of ridge's error at each age; the same noise each time."""
    current = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(average)
    network.eval()
    noise = torch.Generator().manual_seed(0)
    count, ages = check.truth.shape
    latent = torch.randn((count, 12, LATENT), generator=noise)
    rattle = laplace_noise(torch.rand((count, 12, ages), generator=noise))
    paths = network.paths(check.bins, check.statics, check.bases, latent, rattle) / network.horizon_scale
    truth = check.truth / network.horizon_scale
    crps, energy, moves = path_scores(paths, truth, check.known)
    context = network.encode(check.bins, check.statics)
    posterior = network.posterior_of(context, check.truth, check.known)
    kl = kl_divergence(posterior, network.prior_of(context)).sum(1).mean()
    network.load_state_dict(current)
    return {"crps": float(crps), "path_energy": float(energy), "move_energy": float(moves), "kl_nats": float(kl)}


def _follow(average: dict[str, Tensor], network: LstmVae, rate: float) -> None:
    with torch.no_grad():
        for name, value in network.state_dict().items():
            average[name].lerp_(value, rate)


def _best_ridge(fit: Examples, check: Examples) -> Ridge:
    """The ridge whose penalty is best on validation people, by mean absolute error at all ages."""
    features, targets = ridge_features(fit.prepared), fit.truth.astype(np.float64)
    fitted = [fit_ridge(features, targets, penalty) for penalty in _RIDGE_PENALTIES]
    return min(fitted, key=lambda ridge: float(np.nanmean(np.abs(ridge.forecast(check.prepared) - check.truth))))


def _bases(examples: Examples, ridge: Ridge) -> Floats32:
    own = ridge.forecast(examples.prepared)[..., None].astype(np.float32)
    return np.concatenate([own, examples.cheap], axis=-1)


def _tensors(examples: Examples, bases: Floats32) -> Batch:
    known = np.isfinite(examples.truth)
    truth = np.where(known, examples.truth, 0.0).astype(np.float32)
    arrays = (examples.prepared.bins, examples.prepared.statics, bases, truth, known.astype(np.float32))
    return Batch(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))


def _take(batch: Batch, rows: Tensor) -> Batch:
    return Batch(batch.bins[rows], batch.statics[rows], batch.bases[rows], batch.truth[rows], batch.known[rows])


def _forecast(signal: str, network: LstmVae, gate: Sequence[str], check: Examples, bases: Floats32) -> Floats:
    """(B, N, Q) quantiles in the signal's unit, a slice at a time to bound memory."""
    out = []
    for at in range(0, len(bases), 200):
        rows = slice(at, at + 200)
        p = check.prepared
        part = Prepared(p.path[rows], p.bins[rows], p.statics[rows], p.last[rows], p.scale[rows])
        seeds = range(at, at + len(p.last[rows]))
        out.append(predict(signal, network, gate, part, bases[rows].astype(np.float64), seeds))
    return np.concatenate(out)


def _in_unit(plan: Plan, examples: Examples, normal: Floats32) -> Floats:
    scale, last = examples.prepared.scale[:, None], examples.prepared.last[:, None]
    return plan.inverse(normal.astype(np.float64) * scale + last)


def _fields(ridge: Ridge) -> list[tuple[str, Floats]]:
    return [("weights", ridge.weights), ("centre", ridge.centre), ("intercept", ridge.intercept)]


def _metadata(out: Path, seed: int, parts: dict[str, list[str]], population: Population) -> dict[str, Any]:
    """Fresh metadata, or what `out` already holds where it is of the same seed, people and population."""
    fresh: dict[str, Any] = {
        "format": FORMAT,
        "seed": seed,
        "levels": list(LEVELS),
        "split": parts,
        "population": asdict(population),
        "signals": {},
    }
    path = out / METADATA
    if path.exists():
        old = json.loads(path.read_text())
        if all(old.get(key) == fresh[key] for key in ("format", "seed", "split", "population")):
            fresh["signals"] = old["signals"]
    return fresh
