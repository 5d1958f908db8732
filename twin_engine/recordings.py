"""Recordings for training and evaluation: people, their channels on a model grid, and who is held out.

Reads the two folders whose people wore the sensors that are trained for (``emg_gsr``, ``wrist_e4``) and, for a
test on a device never seen in training, ``vitals_1hz``. The split is by person, the same for every signal
and every training, and frozen: who was held out once is never trained on.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device.signals import channel_of_column
from twin_engine.messages import Floats

TRAINING_FOLDERS = ("emg_gsr", "wrist_e4")
SPLIT_SEED = 7  # not the training's: a retrained model is tested on the same people
ALWAYS_TEST = {"emg_gsr/subj09", "emg_gsr/subj10", "wrist_e4/s01"}
HELD_OUT = {"emg_gsr": (6, 4), "wrist_e4": (5, 3)}  # test and validation people
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

    @property
    def folder(self) -> str:
        return self.person.partition("/")[0]

    def on_grid(self, grid_s: float) -> dict[str, Floats]:
        """Every channel on one grid from the start: the last reading of each step, NaN where there is none."""
        end = max(times[-1] for times, _ in self.channels.values())
        steps = int(end / grid_s) + 1
        out = {}
        for name, (times, values) in self.channels.items():
            grid = np.full(steps, np.nan)
            grid[np.minimum(np.ceil(times / grid_s - 1e-6).astype(np.int64), steps - 1)] = values
            out[name] = grid
        return out


def read_folder(data: Path, folder: str, only: Collection[str] | None = None) -> list[Recording]:
    """All people of one folder of recordings, or `only` those named, by name.

    Raises RecordingError where the folder holds no recordings.
    """
    files = [path for path in sorted((data / folder).glob("*.csv.gz")) if "_" not in path.name]
    if not files:
        raise RecordingError(f"expected recordings in {data / folder}, got none; nothing was read")
    named = {f"{folder}/{path.name.removesuffix('.csv.gz')}": path for path in files}
    return [_read(path, person) for person, path in named.items() if only is None or person in only]


def _read(path: Path, person: str) -> Recording:
    with gzip.open(path, "rt", newline="") as file:
        columns = next(csv.reader(file))
        if columns[0] != "time_s":
            raise RecordingError(f"expected time_s as the first column of {path}, got {columns[0]}; it was not read")
        wanted = [(i, c.id) for i, name in enumerate(columns) if (c := channel_of_column(name))]
        table = np.genfromtxt(file, delimiter=",", usecols=[0, *(i for i, _ in wanted)], dtype=np.float64)
    table = table[table[:, 0] >= _SETTLING_S]
    channels = {}
    for column, (_, name) in enumerate(wanted, start=1):
        known = np.isfinite(table[:, column])
        if (person, name) not in DEAD_CHANNELS and known.any():
            channels[name] = (table[known, 0], table[known, column])
    return Recording(person, channels)


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
    return parts
