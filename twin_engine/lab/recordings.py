"""Recordings for training and evaluation: people, their channels on a model grid, and who is held out.

Any folder of recordings can be read: gzip CSV files, the first column `time_s`, other columns named as in the table
of signals, as deep in subfolders as one likes. The split is by person, the same for every signal and every
training, and frozen: who was held out once is never trained on. A room counts as a person.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from device.signals import SIGNALS, channel_of_column
from twin_engine.messages import Floats

SUFFIX = ".csv.gz"
SPLIT_SEED = 7  # not the training's: a retrained model is tested on the same people
ALWAYS_TEST = {"emg_gsr/subj09", "emg_gsr/subj10", "wrist_e4/s01"}
HELD_OUT = {"emg_gsr": (6, 4), "wrist_e4": (5, 3), "vitals_1hz": (4, 2)}  # test and validation people
# Everybody else: too few for a draw. Whoever is not named here or above is neither trained on nor validated with.
FIXED = {
    "dht/dht11x2_dht22_10h": "test",
    "room/occupancy_room_feb02_04": "validation",
    "room/occupancy_room_feb04_10": "train",
}
TRAINING_FOLDERS = (*HELD_OUT, *sorted({name.partition("/")[0] for name in FIXED}))
# The electrode was not connected (data/README.md); nothing can be learnt from it.
DEAD_CHANNELS = {("emg_gsr/subj25", "gsr_uS")}
_SETTLING_S = 10.0  # sensors are being put on


class RecordingError(ValueError):
    """A file is no recording; it is not used."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One person's readings. `channels` maps a channel id to its times (s) and values (signal's unit)."""

    person: str  # folder/subject
    channels: dict[str, tuple[Floats, Floats]]
    sha256: dict[str, str] = field(default_factory=dict)  # file name -> hash, of every file of this person
    labels: dict[str, tuple[Floats, Floats]] = field(default_factory=dict)  # columns without a signal: stage, stim …

    @property
    def folder(self) -> str:
        return self.person.rpartition("/")[0]

    def on_grid(self, grid_s: float, only: Collection[str] | None = None) -> dict[str, Floats]:
        """Every channel (or `only` those) on one grid from the start: the last reading of each step, else NaN."""
        end = max(times[-1] for times, _ in self.channels.values())
        steps = int(end / grid_s) + 1
        out = {}
        for name, (times, values) in self.channels.items():
            if only is not None and name not in only:
                continue
            grid = np.full(steps, np.nan)
            grid[np.minimum(np.ceil(times / grid_s - 1e-6).astype(np.int64), steps - 1)] = values
            out[name] = grid
        return out


def read_people(
    data: Path, folders: Sequence[str] | None = None, only: Collection[str] | None = None
) -> Iterator[Recording]:
    """Every person below `data` (or in these `folders`, or `only` those named), by name.

    Files of one person (``s01.csv.gz``, ``s01_bvp64.csv.gz``) are joined. A file whose time steps back holds several
    recordings (``camera#1``, ``camera#2`` …). Files without a known column are left out. Raises RecordingError where
    there is no recording, or a file can't be read.
    """
    found = False
    for person, paths in people_of(data, folders).items():
        if only is None or person in only:
            for recording in _read(person, paths):
                found = True
                yield recording
    if not found and only is None:
        raise RecordingError(f"expected recordings (*{SUFFIX}) in {data}, got none; nothing was read")


def people_of(data: Path, folders: Sequence[str] | None = None) -> dict[str, list[Path]]:
    """Person -> files, without opening them. A file named as another with a suffix after "_" is the same person's."""
    roots = [data / folder for folder in folders] if folders is not None else [data]
    files = sorted(path for root in roots for path in root.rglob(f"*{SUFFIX}"))
    names = {_name(data, path) for path in files}
    people: dict[str, list[Path]] = {}
    for path in files:
        name = _name(data, path)
        parts = name.split("_")
        shorter = ["_".join(parts[:n]) for n in range(1, len(parts))]
        people.setdefault(next((s for s in shorter if s in names), name), []).append(path)
    return dict(sorted(people.items()))


def split(people: Sequence[str]) -> dict[str, list[str]]:
    """Who trains, validates and tests: disjoint lists of `people` under "train", "validation" and "test"."""
    parts: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for folder, (tests, validations) in HELD_OUT.items():
        members = sorted(person for person in people if person.startswith(f"{folder}/"))
        fixed = [person for person in members if person in ALWAYS_TEST]
        free = [person for person in members if person not in ALWAYS_TEST]
        free = [free[i] for i in np.random.default_rng(SPLIT_SEED).permutation(len(free))]
        cut = tests - len(fixed)
        parts["test"] += sorted(fixed + free[:cut])
        parts["validation"] += sorted(free[cut : cut + validations])
        parts["train"] += sorted(free[cut + validations :])
    for person in people:
        if part := FIXED.get(person.partition("#")[0]):
            parts[part].append(person)
    return parts


def _name(data: Path, path: Path) -> str:
    relative = path.relative_to(data)
    folder = relative.parent.as_posix()
    stem = relative.name.removesuffix(SUFFIX)
    return f"{data.resolve().name if folder == '.' else folder}/{stem}"


def _read(person: str, paths: Sequence[Path]) -> Iterator[Recording]:
    """The recordings in one person's files: one, or several where time steps back."""
    channels, labels, hashes = list[dict[str, tuple[Floats, Floats]]](), dict[str, tuple[Floats, Floats]](), {}
    for path in paths:
        table = _table(path)
        hashes[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        times = table["time_s"].to_numpy(np.float64)
        edges = [0, *(np.flatnonzero(np.diff(times) < 0) + 1).tolist(), len(times)]
        for part, (start, end) in enumerate(itertools.pairwise(edges)):
            if part == len(channels):
                channels.append({})
            channels[part] = _channels(person, table.iloc[start:end]) | channels[part]  # the first file's wins
        if len(edges) == 2:
            labels |= {name: _known(times, table[name]) for name in table if channel_of_column(str(name)) is None}
    for part, of_part in enumerate(channels, start=1):
        if of_part:
            name = person if len(channels) == 1 else f"{person}#{part}"
            yield Recording(name, of_part, hashes, {n: v for n, v in labels.items() if n != "time_s" and len(v[0])})


def _table(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError, EOFError) as error:
        raise RecordingError(f"expected a gzip CSV recording in {path}, got {error}; it was not read") from error
    if table.columns[0] != "time_s":
        raise RecordingError(f"expected time_s as the first column of {path}, got {table.columns[0]}; it was not read")
    return table


def _channels(person: str, table: pd.DataFrame) -> dict[str, tuple[Floats, Floats]]:
    """Channel id -> times and values, without the settling time and what no sensor of that kind can report."""
    out = {}
    times = table["time_s"].to_numpy(np.float64)
    settling = _SETTLING_S if len(times) and times[-1] - times[0] > 10 * _SETTLING_S else 0.0
    for name in table.columns[1:]:
        channel = channel_of_column(str(name))
        if channel is None or (person, channel.id) in DEAD_CHANNELS:
            continue
        row = SIGNALS[channel.signal.id]
        values = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64)
        known = np.isfinite(values) & (values >= row.low) & (values <= row.high) & (times >= times[0] + settling)
        if known.any():
            out[channel.id] = (times[known], values[known])
    return out


def _known(times: Floats, column: pd.Series[float]) -> tuple[Floats, Floats]:
    values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
    known = np.isfinite(values)
    return times[known], values[known]
