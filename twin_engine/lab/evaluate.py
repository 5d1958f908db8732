"""Judges the twin on people it never saw, beside every rival, on the same pretended gaps with the same contexts.

``everbeat evaluate`` in one call: read any folder of recordings, refuse whoever the weights have learnt from, pretend
gaps at frozen places (``masks``), let the twin (``stream``, ``revise``) and the rivals (``methods``, ``rivals``) fill
them, and score all alike (``scorecard``). Signals are measured by themselves, in as many processes as are allowed.
"""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from device.signals import SIGNALS, Kind
from security.signing import Signers
from twin_engine.lab import anomalies
from twin_engine.lab.judge import Found, Task, judge
from twin_engine.lab.masks import Track, tracks
from twin_engine.lab.recordings import Recording, people_of, read_people, split
from twin_engine.lab.rivals import Rivals
from twin_engine.lab.subgroups import Belongs, belongs
from twin_engine.model import Generator

SEEDS = (0, 1, 2)
_WAVE_FEWER = 4  # of a wave, whose every forecast costs ten times as much, so many times fewer gaps
_FALSIFIED = 2  # people of a folder on whose recordings the judge's scores are measured
COUNT = 24  # gaps a channel, length, kind of place and seed
Progress = Callable[[float], None]


class EvaluationError(RuntimeError):
    """There is nothing to measure."""


@dataclass(frozen=True)
class Evaluation:
    """Everything that was measured, signal by signal, and on whom."""

    found: list[Found]
    people: list[str]
    refused: dict[str, str]  # person -> why
    seeds: tuple[int, ...]
    data_sha256: str
    masks_sha256: str
    seconds: float
    rivals: bool  # whether trained rivals were cached
    metadata: dict[str, Any] = field(repr=False)
    anomalies: list[dict[str, Any]] = field(default_factory=list)  # the judge's scores on falsified recordings
    who: dict[str, Belongs] = field(default_factory=dict, repr=False)  # subgroups of everybody tested


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is measured. `signals` None: all that anybody tested has."""

    seeds: tuple[int, ...] = SEEDS
    count: int = COUNT
    signals: tuple[str, ...] | None = None
    jobs: int = 1  # processes
    anomalies: bool = True  # also measure the judge's scores on falsified recordings


def evaluate(
    data: Path,
    model: Path | None = None,
    settings: Settings = Settings(),
    rivals: Path | None = None,
    signers: Signers | None = None,
    progress: Progress = lambda _share: None,
) -> Evaluation:
    """Measure the model in the folder `model` (the packaged one where None) on everybody below `data` it never saw.

    `rivals` is the folder of the cached SAITS and BRITS; `signers` are believed (the package's where None). Raises
    EvaluationError where nobody is left to test, RecordingError where `data` holds no recordings, ModelError where the
    weights can't be used, RivalError where the cache can't.
    """
    began = time.monotonic()
    if unknown := set(settings.signals or ()) - set(SIGNALS):
        raise EvaluationError(f"expected signals of {', '.join(SIGNALS)}, got {', '.join(sorted(unknown))}")
    generator = Generator.load(model, signers=signers)
    everybody = list(read_people(data))
    refused = dict(_refused(everybody, generator.metadata))
    tested = [r for r in everybody if r.person not in refused]
    if not tested:
        raise EvaluationError(
            f"expected people that the model has not learnt from in {data}, got only the {len(refused)} of "
            f"its training and validation ({', '.join(list(refused)[:4])} …); nothing was measured"
        )
    tasks = list(_tasks(everybody, refused, settings))
    if not tasks:
        raise EvaluationError(f"expected a known signal in {data} with enough readings, got none; nothing was measured")
    falsified = Falsified(data, tuple(_few(tested))) if settings.anomalies else None
    tools = Tools(model, signers, rivals)
    found, judged = _run(tasks, falsified, tools, settings.jobs, progress)
    lines = "\n".join(map(repr, sorted(line for f in found for line in f.masks)))
    return Evaluation(
        found,
        [r.person for r in tested],
        refused,
        settings.seeds,
        _sha256(sorted(h for r in everybody for h in r.sha256.values())),
        _sha256([lines]),
        time.monotonic() - began,
        rivals is not None and Rivals.load(rivals) is not None,
        generator.metadata,
        judged,
        {r.person: belongs(r, data) for r in tested},
    )


def _few(people: Sequence[Recording]) -> Iterator[str]:
    """The first of each folder: enough to tell the judge's scores apart, at a fraction of the time."""
    for _, members in itertools.groupby(people, key=lambda recording: recording.folder):
        yield from (recording.person for recording in itertools.islice(members, _FALSIFIED))


def _refused(people: Sequence[Recording], metadata: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Whom the weights know, by name (folder/subject) or by the content of a file, and why."""
    parts = metadata.get("split", {})
    role = {person: part for part in ("train", "validation") for person in parts.get(part, ())}
    files: dict[str, str] = metadata.get("people_sha256", {})
    for recording in people:
        name = "/".join(recording.person.partition("#")[0].split("/")[-2:])
        same = next((files[h] for h in recording.sha256.values() if files.get(h) in role), None)
        if name in role:
            yield recording.person, f"in the model's {_ROLE[role[name]]}"
        elif same is not None:
            yield recording.person, f"a file of {same}, in the model's {_ROLE[role[same]]}, under another name"


_ROLE = {"train": "training", "validation": "validation"}


def _tasks(people: Sequence[Recording], refused: dict[str, str], settings: Settings) -> Iterator[Task]:
    """One a signal, the longest first."""
    tasks = []
    for signal in settings.signals or SIGNALS:
        everybody = [track for r in people for track in tracks(r, signal)]
        tested = [track for track in everybody if track.person not in refused]
        if tested:
            bare = [Track(t.person, t.channel, t.values, {}, t.disturbance, t.key) for t in everybody]
            wave = SIGNALS[signal].kind is Kind.WAVE
            count = max(2, settings.count // _WAVE_FEWER) if wave else settings.count
            tasks.append(Task(signal, tested, bare, settings.seeds, count))
    yield from sorted(tasks, key=_cost, reverse=True)


def _cost(task: Task) -> float:
    """About how long it takes: shadow forecasts and gaps, in no unit."""
    return sum(min(len(t.values) * t.grid_s / 2, float(np.isfinite(t.values).sum())) + 700 for t in task.tested)


# ------------------------------------------------------------------------------------------------- the processes


@dataclass(frozen=True, slots=True)
class Tools:
    """Where a process finds what it works with."""

    model: Path | None
    signers: Signers | None
    rivals: Path | None

    def load(self) -> tuple[Generator, Rivals | None]:
        """The model, and the cached networks where there are any."""
        return Generator.load(self.model, signers=self.signers), Rivals.load(self.rivals) if self.rivals else None


@dataclass(frozen=True, slots=True)
class Falsified:
    """The people on whose recordings the judge's scores are measured."""

    data: Path
    people: tuple[str, ...]

    def measure(self, generator: Generator) -> list[dict[str, Any]]:
        """A row a signal, anomaly and score; nothing where there are no validation people to set thresholds on."""
        known = people_of(self.data)
        if not split(list(known))["validation"] or not generator.metadata["signals"]:
            return []
        return anomalies.measure(self.data, generator, self.people)


def _run(
    tasks: Sequence[Task], falsified: Falsified | None, tools: Tools, jobs: int, progress: Progress
) -> tuple[list[Found], list[dict[str, Any]]]:
    """What was measured for every task, and of the judge's scores; in this process, or in several."""
    total = sum(len(task.tested) for task in tasks) + (falsified is not None)
    if jobs == 1:
        generator, rivals = tools.load()
        ticks = itertools.count(1)

        def tick() -> None:
            progress(next(ticks) / total)

        found = [judge(task, generator, rivals, tick) for task in tasks]
        return found, falsified.measure(generator) if falsified else []
    spawn = multiprocessing.get_context("spawn")
    counter = spawn.Value("i", 0)
    with ProcessPoolExecutor(jobs, spawn, _begin, (tools, counter)) as pool:
        extra = pool.submit(_measured, falsified) if falsified else None
        futures = [pool.submit(_judged, task) for task in tasks]
        waiting: set[Future[Any]] = {*futures, *([extra] if extra else [])}
        while waiting:
            done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_EXCEPTION)
            for future in done:
                if future.exception() is not None:
                    pool.shutdown(cancel_futures=True)
                future.result()
            progress(min(1.0, counter.value / total))
        return [future.result() for future in futures], extra.result() if extra else []


_here: dict[str, Any] = {}  # of a worker process: what it loads once


def _begin(tools: Tools, counter: Any) -> None:
    os.nice(5)  # whoever works on this machine comes first
    _here["generator"], _here["rivals"] = tools.load()
    _here["counter"] = counter


def _tick() -> None:
    with _here["counter"].get_lock():
        _here["counter"].value += 1


def _judged(task: Task) -> Found:
    return judge(task, _here["generator"], _here["rivals"], _tick)


def _measured(falsified: Falsified) -> list[dict[str, Any]]:
    rows = falsified.measure(_here["generator"])
    _tick()
    return rows


def _sha256(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
