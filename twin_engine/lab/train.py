"""Trains the generative core on recordings and writes the weights, with all that is needed to judge them.

In order: read the people and split them; learn what is typical of them; then, a signal at a time, draw examples,
fit ridge, fit the LSTM-VAE (``fit``), ask validation people how far off every expert is and whom to believe
(``weigh``), and save. Test people are never looked at here; ``evaluate`` does that.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from twin_engine.baselines import Ridge, fit_ridge, is_ridge, joined, ridge_features
from twin_engine.features import SLOTS, Population, Prepared
from twin_engine.lab.checkpoint import key_of, path_of
from twin_engine.lab.descent import Progress, Recipe
from twin_engine.lab.energy import Meter
from twin_engine.lab.examples import Examples, draw, population_of, series_of
from twin_engine.lab.fit import fit_network
from twin_engine.lab.fit_mend import GAPS as MENDER_GAPS
from twin_engine.lab.fit_mend import fit_mender
from twin_engine.lab.normal import normal
from twin_engine.lab.recordings import (
    SPLIT_SEED,
    TRAINING_FOLDERS,
    Recording,
    RecordingError,
    read_people,
    split,
)
from twin_engine.lab.weigh import dress_of, judge
from twin_engine.messages import Floats
from twin_engine.model import LEVELS, METHOD, experts_of, predict
from twin_engine.network import BASES_PART, LATENT_PART, LstmVae
from twin_engine.plans import PLANS, Floats32
from twin_engine.plans import Plan as SignalPlan
from twin_engine.trained import Trained, plan_of, tensors_of
from twin_engine.weightfile import ModelError, Tensors, read_draft, write_draft, write_tensors

Metrics = dict[str, dict[str, Any]]  # signal -> what its training and validation gave

Entry = dict[str, Any]  # of one file of weights, in the metadata

SIGNALS, MENDERS, ABLATIONS = "signals", "menders", "ablations"  # keys of the metadata
SIGNALS_TRAINED = tuple(plan.signal for plan in PLANS.values() if plan.trained)
MENDED = (
    "gsr_uS",
    "emg_activity_mV",
    "skin_temp_C",
    "hr_bpm",
    "spo2_pct",
)  # rooms are too few to learn a revision from
STEPS = 4_000
TRAIN_WINDOWS, CLEAN_WINDOWS, VALIDATION_WINDOWS = 24_000, 8_000, 2_400
_RIDGE_PENALTIES = (1e-3, 1e-2, 1e-1)
_SLICE = 200  # windows forecast at once, to bound memory


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole training: which data, where to, and how."""

    data: Path
    out: Path
    steps: int
    seed: int
    population: Population  # what serving will take for typical
    device: str = "cpu"
    workers: int = 1  # processes that share the signals


def train(
    data: Path,
    out: Path,
    *,
    steps: int = STEPS,
    seed: int,
    progress: Progress,
    signals: Sequence[str] = SIGNALS_TRAINED,
    device: str = "cpu",
    workers: int = 1,
    ablate: bool = False,
) -> Metrics:
    """Train `signals` on the recordings in `data` and write weights and a draft of their metadata to `out`.

    `steps` of the optimiser each. What `out` already holds from the same data, people, seed and steps is kept, and a
    signal that was interrupted goes on from its checkpoint. `workers` processes share the signals, each on one core.
    `ablate` also measures what parts of the network contribute. `progress` is told a part of the training and the
    fraction of it that is done. Returns the validation numbers. Raises
    RecordingError where `data` holds no recordings of the kind that is trained on.
    """
    out.mkdir(parents=True, exist_ok=True)
    learners, _ = _people(_usual(data, {*SIGNALS_TRAINED, *SLOTS}))
    plan = Plan(data, out, steps, seed, population_of(learners, np.random.default_rng(seed)), device, workers)
    metadata = _metadata(plan, list(_recordings(data)))
    wanted = PARTS if ablate else (SIGNALS, MENDERS)
    parts = [(part, signal) for part in wanted for signal in signals if part != MENDERS or signal in MENDED]
    todo = [(part, signal) for part, signal in parts if not _done(metadata, part, signal, steps)]
    for part, signal in set(parts) - set(todo):
        progress(_name(part, signal), 1.0)
    for part, signal, entry in _entries(plan, todo, progress):
        metadata[part] = {**metadata[part], signal: entry}
        write_draft(out, metadata)
    return {signal: metadata[SIGNALS][signal]["validation"] for signal in signals}


def _entries(plan: Plan, todo: Sequence[tuple[str, str]], progress: Progress) -> Iterator[tuple[str, str, Entry]]:
    """Each part's entry of the metadata, as it is done; in processes of their own where there are several."""
    if plan.workers == 1:
        for part, signal in todo:
            yield part, signal, train_one(plan, part, signal, progress)
        return
    spawn = multiprocessing.get_context("spawn")
    with spawn.Manager() as manager, ProcessPoolExecutor(plan.workers, spawn) as pool:
        told = manager.Queue()
        jobs = {pool.submit(train_one, plan, *task, _Teller(told)): task for task in todo}
        waiting = set(jobs)
        while waiting:
            done, waiting = wait(waiting, timeout=1.0, return_when=FIRST_COMPLETED)
            while not told.empty():
                progress(*told.get())
            for job in done:
                yield *jobs[job], job.result()


@dataclass(frozen=True, slots=True)
class _Teller:
    """Progress across processes."""

    queue: Any

    def __call__(self, signal: str, share: float) -> None:
        self.queue.put((signal, share))


def train_one(plan: Plan, part: str, signal: str, progress: Progress) -> Entry:
    """Train one part of one signal and write its file, where it has one; returns its entry of the metadata."""
    torch.set_num_threads(1)
    name = _name(part, signal)
    progress(name, 0.0)
    with Meter(plan.device, shared_by=plan.workers) as meter:
        tensors, numbers = PARTS[part](plan, signal, lambda _, share: progress(name, share))
    progress(name, 1.0)
    file = f"{name.replace(' ', '.')}.safetensors"
    written = {"file": file, "sha256": write_tensors(plan.out, file, tensors)} if tensors else {}
    used = {"steps": plan.steps, "torch": torch.__version__, "device": plan.device, "energy": meter.used.as_json()}
    return {**written, "plan": plan_of(signal), "validation": numbers, "training": used}


def _forecaster(plan: Plan, signal: str, progress: Progress) -> tuple[Tensors, dict[str, Any]]:
    material = material_of(plan, signal)
    checkpoint = path_of(plan.out, signal)
    key = key_of(signal=signal, steps=plan.steps, seed=plan.seed, plan=plan_of(signal), data=material.sha256)
    recipe = Recipe(plan.steps, plan.seed, plan.device, checkpoint, key)
    trained, numbers = train_signal(material, recipe, progress)
    return tensors_of(trained), numbers


def _mender(plan: Plan, signal: str, progress: Progress) -> tuple[Tensors, dict[str, Any]]:
    learners, judges = _people(_usual(plan.data, {signal}))
    recipe = {"steps": plan.steps, "seed": plan.seed, "gaps": MENDER_GAPS}
    mender, numbers = fit_mender(signal, learners, judges, **recipe, progress=progress)
    return {name: np.asarray(value) for name, value in mender.tensors().items()}, numbers


def _ablation(plan: Plan, signal: str, progress: Progress) -> tuple[Tensors, dict[str, Any]]:
    """The network without its latent, and with nothing to mix: validation numbers of each, and of the whole."""
    material, numbers = material_of(plan, signal), {}
    fit, check = (material.fit, material.fit_bases), (material.check, material.check_bases)
    for name, part in VARIANTS.items():
        recipe = Recipe(plan.steps, plan.seed, plan.device)
        _, numbers[name] = fit_network(signal, fit, check, recipe, progress, part)
    return {}, numbers


VARIANTS = {"whole": "", "without latent": LATENT_PART, "without baselines": BASES_PART}
PARTS = {SIGNALS: _forecaster, MENDERS: _mender, ABLATIONS: _ablation}  # key of the metadata -> what trains it


def _name(part: str, signal: str) -> str:
    return {SIGNALS: signal, MENDERS: f"{signal} mend", ABLATIONS: f"{signal} ablation"}[part]


def material_of(plan: Plan, signal: str) -> Material:
    """All that one signal's training looks at. Raises RecordingError where that is nothing."""
    learners, judges = _people(_usual(plan.data, {signal, *SLOTS}))
    return Material(signal, learners, judges, plan.population, plan.seed)


def usual(recording: Recording, signals: Collection[str]) -> Recording:
    """Only channels of these `signals`, and of them only what the quality stage calls normal (``normal``)."""
    kept = {name: readings for name, readings in recording.channels.items() if name.partition(".")[0] in signals}
    channels = {}
    for name, verdict in normal(replace(recording, channels=kept)).items():
        if verdict.learn.any():
            channels[name] = (kept[name][0][verdict.learn], kept[name][1][verdict.learn])
    return replace(recording, channels=channels)


class Material:
    """What one signal is trained and validated on: spoilt training windows, clean validation windows, baselines.

    Ridge is fitted on clean training windows, so that it is as good a baseline as it can be; the network learns
    from the spoilt ones when not to trust it. `fit_bases` and `check_bases` are (B, N, C).
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
        self.plan, self.sha256 = plan, _hash([*learners, *judges])
        self.fit = draw(learn, plan, population, TRAIN_WINDOWS, rng, spoil=True)
        self.check = draw(judge, plan, population, VALIDATION_WINDOWS, rng, spoil=False)
        clean = draw(learn, plan, population, CLEAN_WINDOWS, rng, spoil=False)
        self.ridge = Ridge.of([_best_ridge(clean, self.check, name) for name in plan.bases if is_ridge(name)])
        self.fit_bases = _bases(plan, self.fit, self.ridge)
        self.check_bases = _bases(plan, self.check, self.ridge)


def train_signal(material: Material, recipe: Recipe, progress: Progress) -> tuple[Trained, dict[str, Any]]:
    """One signal, from examples to what held-out people say; and the numbers of its validation."""
    plan, check, bases = material.plan, material.check, material.check_bases
    fit = (material.fit, material.fit_bases)
    network, numbers = fit_network(plan.signal, fit, (check, bases), recipe, progress)
    dress = dress_of(plan.signal, check, bases)
    bounds = _experts(plan, network, check, bases, dress)
    judged = judge(plan.signal, check, _in_unit(plan, check, check.truth), bounds)
    names = (METHOD, *plan.bases, "mixture")
    errors = {name: [round(float(v), 5) for v in row] for name, row in zip(names, judged.errors, strict=True)}
    trained = Trained(network, material.ridge, dress, judged.weights, judged.scores)
    return trained, numbers | {"mae_z_by_age": errors, "weights": np.round(judged.weights, 3).tolist()}


def _best_ridge(clean: Examples, check: Examples, name: str) -> Ridge:
    """The ridge whose penalty is best on validation people, by mean absolute error over all ages.

    For "ridge:FOLDER", learnt from and judged by people of that folder alone, where there are any.
    """
    learn, judge = (part.of_folder(name.partition(":")[2]) for part in (clean, check))
    if not (learn.any() and judge.any()):
        learn, judge = (part.of_folder("") for part in (clean, check))
    features, targets = ridge_features(clean.prepared)[learn], clean.truth[learn].astype(np.float64)
    fitted = [fit_ridge(features, targets, penalty) for penalty in _RIDGE_PENALTIES]

    def error(ridge: Ridge) -> float:
        return float(np.nanmean(np.abs(ridge.forecast(check.prepared)[judge, :, 0] - check.truth[judge])))

    return min(fitted, key=error)


def _bases(plan: SignalPlan, examples: Examples, ridge: Ridge) -> Floats32:
    return joined(plan, ridge.forecast(examples.prepared), examples.cheap)


def _experts(plan: SignalPlan, network: LstmVae, check: Examples, bases: Floats32, dress: Floats) -> Floats:
    """(B, E, N, 3) the bounds of every expert for validation examples."""
    out, p = [], check.prepared
    for at in range(0, len(bases), _SLICE):
        rows = slice(at, at + _SLICE)
        part = Prepared(p.path[rows], p.bins[rows], p.statics[rows], p.last[rows], p.scale[rows])
        cheap = bases[rows].astype(np.float64)
        quantiles = predict(plan, network, part, cheap, range(at, at + len(part.last)))
        out.append(experts_of(plan, part, quantiles, cheap, dress))
    return np.concatenate(out)


def _in_unit(plan: SignalPlan, examples: Examples, normal: Floats32) -> Floats:
    scale, last = examples.prepared.scale[:, None], examples.prepared.last[:, None]
    return plan.inverse(normal.astype(np.float64) * scale + last)


def _recordings(data: Path) -> Iterator[Recording]:
    there = [folder for folder in TRAINING_FOLDERS if (data / folder).is_dir()]
    if not there:
        raise RecordingError(f"expected one of {', '.join(TRAINING_FOLDERS)} in {data}, got none; nothing was trained")
    return read_people(data, there)


def _usual(data: Path, signals: Collection[str]) -> list[Recording]:
    """Everybody who has something normal to show of these signals."""
    return [person for recording in _recordings(data) if (person := usual(recording, signals)).channels]


def _people(recordings: Sequence[Recording]) -> tuple[list[Recording], list[Recording]]:
    """Learners and judges."""
    parts = split([recording.person for recording in recordings])
    learners, judges = ([r for r in recordings if r.person in parts[part]] for part in ("train", "validation"))
    return learners, judges


def _hash(recordings: Sequence[Recording]) -> str:
    """SHA-256 over the hashes of all files."""
    hashes = sorted(digest for recording in recordings for digest in recording.sha256.values())
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _done(metadata: dict[str, Any], part: str, signal: str, steps: int) -> bool:
    entry = metadata[part].get(signal)
    return entry is not None and entry["training"]["steps"] == steps and entry["plan"] == plan_of(signal)


def _metadata(plan: Plan, recordings: Sequence[Recording]) -> dict[str, Any]:
    """Fresh metadata, with the signals that `out` already holds from the same seed, people and data."""
    parts = split([recording.person for recording in recordings])
    known = {person for part in ("train", "validation") for person in parts[part]}
    fresh: dict[str, Any] = {
        "seed": plan.seed,
        "split_seed": SPLIT_SEED,
        "levels": list(LEVELS),
        "split": parts,
        "people_sha256": {d: r.person for r in recordings for d in sorted(r.sha256.values()) if r.person in known},
        "data_sha256": _hash(recordings),
        "population": asdict(plan.population),
        **{part: {} for part in PARTS},
    }
    try:
        old = read_draft(plan.out)
    except ModelError:
        return fresh
    same = all(old.get(key) == value for key, value in fresh.items() if key not in PARTS)
    return fresh | {part: old.get(part, {}) for part in PARTS} if same else fresh
