"""Judges the generative core on people it never saw, beside the cheap methods, on the same gaps and contexts.

Gaps are pretended at frozen places in the test people's recordings (a hash of the places is reported). For every
signal, folder and gap length: mean absolute error and CRPS over all steps of the gap, in the signal's unit and in
the person's own standard deviation, and how often the raw 90 % interval held the truth, on average and for the
best and worst served person. Cheap methods get their spread from the validation people's errors at the same age,
scaled by the same causal scale, so that their CRPS is as good as theirs can be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twin_engine.baselines import NAMES, stack
from twin_engine.examples import Series, gather, series_of
from twin_engine.features import CONTEXT_STEPS
from twin_engine.messages import Floats
from twin_engine.model import LEVELS, METHOD, Context, Forecast, Generator
from twin_engine.plans import PLANS, Ints, node_ages_s, node_steps
from twin_engine.recordings import TRAINING_FOLDERS, Recording, read_folder
from twin_engine.scorecard import Row, scores, table, write_json

__all__ = ["Row", "evaluate", "masks_sha256", "table", "write_json"]

GAPS_S = (1.0, 5.0, 10.0, 30.0, 60.0)
UNSEEN_FOLDERS = {"vitals_1hz": ("hr_bpm",)}  # other devices, never trained on: every person is a test person
_CONTEXT_S, _FUTURE_S = 30.0, 10.0  # a gap begins no earlier in a recording, and no later before its end
_BATCH = 50
_MID = LEVELS.index(0.5)


@dataclass(frozen=True, slots=True)
class _Case:
    """Windows of one channel: contexts, the truth at every step (B, S), and the person's standard deviation."""

    series: Series
    contexts: list[Context]
    truth: Floats


def evaluate(
    data: Path,
    generator: Generator,
    *,
    seed: int = 11,
    windows: int = 150,
    signals: Sequence[str] | None = None,
    progress: Callable[[float], None] = lambda _share: None,
) -> list[Row]:
    """Rows for every trained signal, gap length and method; `windows` gaps a channel of each test person.

    Raises RecordingError where `data` holds no recordings.
    """
    parts = generator.metadata["split"]
    known = _held_out(data, generator)
    rows = []
    chosen = list(signals or generator.metadata["signals"])
    for i, signal in enumerate(chosen):
        progress(i / len(chosen))
        dress = _dress(generator, signal, [known[person] for person in parts["validation"]], seed)
        for folder, people in _test_people(data, signal, known, parts["test"]):
            cases = _cases(people, signal, windows, seed)
            if cases:
                rows += _rows(generator, signal, folder, cases, dress)
    progress(1.0)
    return rows


def masks_sha256(
    data: Path, generator: Generator, *, seed: int = 11, windows: int = 150, signals: Sequence[str] | None = None
) -> str:
    """Hash of who is tested and where the gaps begin: the same hash, the same test."""
    digest, known = hashlib.sha256(), _held_out(data, generator)
    for signal in signals or generator.metadata["signals"]:
        for _, people in _test_people(data, signal, known, generator.metadata["split"]["test"]):
            for series in series_of(people, signal):
                ends = _ends(series, PLANS[signal].grid_s, windows, seed)
                digest.update(f"{series.person} {series.channel} {ends.tolist()}\n".encode())
    return digest.hexdigest()


def _held_out(data: Path, generator: Generator) -> dict[str, Recording]:
    """The test and validation people, by name."""
    parts = generator.metadata["split"]
    wanted = {*parts["test"], *parts["validation"]}
    return {r.person: r for folder in TRAINING_FOLDERS for r in read_folder(data, folder, wanted)}


def _test_people(
    data: Path, signal: str, known: dict[str, Recording], test: Sequence[str]
) -> Iterator[tuple[str, list[Recording]]]:
    for folder in TRAINING_FOLDERS:
        yield folder, [known[person] for person in test if person.startswith(f"{folder}/")]
    for folder, wanted in UNSEEN_FOLDERS.items():
        if signal in wanted and (data / folder).is_dir():
            yield folder, read_folder(data, folder)


def _ends(series: Series, grid_s: float, windows: int, seed: int) -> Ints:
    """Where gaps begin: at a reading, with some context before it. A gap may outlast the recording."""
    first, last = (round(edge / grid_s) for edge in (_CONTEXT_S, len(series.values) * grid_s - _FUTURE_S))
    known = np.flatnonzero(np.isfinite(series.values))
    known = known[(known >= first) & (known <= last)]
    name = int.from_bytes(hashlib.sha256(f"{series.person} {series.channel}".encode()).digest()[:4], "big")
    rng = np.random.default_rng([seed, name])
    return np.sort(rng.choice(known, min(windows, len(known)), replace=False)) if len(known) else known


def _cases(people: Sequence[Recording], signal: str, windows: int, seed: int) -> list[_Case]:
    grid_s, cases = PLANS[signal].grid_s, []
    past = np.arange(1 - CONTEXT_STEPS, 1)
    future = np.arange(1, round(GAPS_S[-1] / grid_s) + 1)
    for series in series_of(people, signal):
        ends = _ends(series, grid_s, windows, seed)
        if not len(ends):
            continue
        values = gather(series.values, ends, past)
        others = {slot: gather(x, ends, past) for slot, x in series.others.items()}
        contexts = [
            Context(signal, values[i], {slot: x[i] for slot, x in others.items()}, seed=int(end))
            for i, end in enumerate(ends)
        ]
        cases.append(_Case(series, contexts, gather(series.values, ends, future)))
    return cases


def _dress(generator: Generator, signal: str, people: Sequence[Recording], seed: int) -> Floats:
    """(N, 4, Q) quantiles of the validation people's errors of each cheap method, in causal scales."""
    errors, nodes = [], node_steps(signal)
    for case in _cases(people, signal, 150, seed):
        truth = _at_nodes(case, signal)
        prepared = generator.prepared(case.contexts)
        centre = stack(prepared, nodes, generator.ridge(signal))
        normal = (PLANS[signal].forward(truth) - prepared.last[:, None]) / prepared.scale[:, None]
        errors.append((normal[..., None] - centre) * _unit(signal, prepared.scale)[:, None, None])
    error = np.concatenate(errors)  # (B, N, 4)
    known = np.isfinite(error).any((0, 2))  # ages beyond the longest gap have no truth here
    spread = np.nanquantile(error[:, known], LEVELS, axis=0).transpose(1, 2, 0)
    return np.concatenate([spread, np.repeat(spread[-1:], (~known).sum(), axis=0)])


def _unit(signal: str, scale: Floats) -> Floats:
    """What the cheap methods' errors are counted in, as multiples of `scale` (B,): the better choice for them.

    One causal scale, but for a signal in logarithms the logarithm's own unit, where their errors vary less.
    """
    return np.ones_like(scale) if PLANS[signal].log_offset is None else scale


def _at_nodes(case: _Case, signal: str) -> Floats:
    nodes = node_steps(signal)
    truth = np.full((len(case.contexts), len(nodes)), np.nan)
    inside = nodes <= case.truth.shape[1]
    truth[:, inside] = case.truth[:, nodes[inside] - 1]
    return truth


def _rows(generator: Generator, signal: str, folder: str, cases: Sequence[_Case], dress: Floats) -> list[Row]:
    steps = cases[0].truth.shape[1]
    grid_s = PLANS[signal].grid_s
    per_case = [_measure(generator, signal, case, dress, np.arange(1, steps + 1) * grid_s) for case in cases]
    rows = []
    for gap_s in GAPS_S:
        length = max(1, round(gap_s / grid_s))
        for method in (METHOD, *NAMES):
            cut = [{name: x[:, :length] for name, x in measures[method].items()} for measures in per_case]
            rows.append(_row(signal, folder, gap_s, method, cases, cut))
    return rows


def _measure(
    generator: Generator, signal: str, case: _Case, dress: Floats, ages_s: Floats
) -> dict[str, dict[str, Floats]]:
    """For every method: absolute error, CRPS, coverage and tolerance (B, S) at every step; NaN where no truth."""
    made: dict[str, list[Floats]] = {method: [] for method in (METHOD, *NAMES)}
    for at in range(0, len(case.contexts), _BATCH):
        batch = case.contexts[at : at + _BATCH]
        made[METHOD] += [forecast.at(ages_s) for forecast in generator.forecast(batch)]
        for name, quantiles in zip(NAMES, _dressed(generator, signal, batch, dress), strict=True):
            made[name] += [Forecast(node_ages_s(signal), q, name).at(ages_s) for q in quantiles]
    return {method: scores(signal, np.stack(quantiles), case.truth) for method, quantiles in made.items()}


def _dressed(generator: Generator, signal: str, batch: Sequence[Context], dress: Floats) -> Iterator[Floats]:
    """(B, N, Q) quantiles of each cheap method, centre and spread, in the signal's unit."""
    prepared = generator.prepared(batch)
    bases = stack(prepared, node_steps(signal), generator.ridge(signal))
    for i in range(len(NAMES)):
        spread = dress[:, i].copy()
        spread -= spread[:, _MID : _MID + 1]  # keep its own centre, so that its MAE is its own
        normal = bases[:, :, i, None] + spread / _unit(signal, prepared.scale)[:, None, None]
        model_space = normal * prepared.scale[:, None, None] + prepared.last[:, None, None]
        yield PLANS[signal].inverse(model_space)


def _row(
    signal: str, folder: str, gap_s: float, method: str, cases: Sequence[_Case], cut: Sequence[dict[str, Floats]]
) -> Row:
    """Every channel of a person, then every person, counts the same."""

    def by_person(name: str, z: bool = False) -> dict[str, float]:
        found: dict[str, list[float]] = {}
        for case, measures in zip(cases, cut, strict=True):
            value = float(np.nanmean(measures[name])) / (case.series.sd if z else 1.0)
            found.setdefault(case.series.person, []).append(value)
        return {person: float(np.mean(values)) for person, values in found.items()}

    def mean(values: dict[str, float]) -> float:
        return float(np.mean(list(values.values())))

    inside, errors_z, crps_z = by_person("inside"), by_person("error", z=True), by_person("crps", z=True)
    return Row(
        signal=signal,
        folder=folder,
        gap_s=gap_s,
        method=method,
        people=len(inside),
        windows=sum(len(case.contexts) for case in cases),
        mae=mean(by_person("error")),
        mae_z=mean(errors_z),
        crps=mean(by_person("crps")),
        crps_z=mean(crps_z),
        coverage=mean(inside),
        coverage_worst=min(inside.values()),
        coverage_best=max(inside.values()),
        within_tolerance=mean(by_person("near")),
        mae_z_by_person=errors_z,
        crps_z_by_person=crps_z,
    )
