"""Who belongs to which subgroup, and how well each subgroup is served.

Subgroups are rows: the device (folder of the recordings), a medicine taken before (``subjects.csv`` beside the
recordings, column ``drug_arm``), the EMG's noise floor, and stress against rest, which changes within a recording
(its ``stress`` label). What a recording does not say, its person belongs to no part of. Age, sex and skin colour are
in none of the recordings here.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from twin_engine.lab.masks import KINDS
from twin_engine.lab.recordings import Recording
from twin_engine.lab.scorecard import OURS, Scored, Scores, Where, by_person
from twin_engine.messages import Floats
from twin_engine.plans import Ints

DEVICE, MEDICINE, EMG_FLOOR, STRESS = "device", "medicine", "EMG noise floor", "stress"
HIGH_FLOOR_MV = 3.5e-4  # of the noisiest muscle; electrodes that sit well give 2e-5 to 3e-4 here
_FLOOR_QUANTILE = 0.02  # activity is hardly ever below it: what is left is noise
_STRESS_NAMES = {0.0: "rest", 1.0: "stress"}
_LABEL_HOLDS_S = 2.0  # a label is valid so long after it was written
_DRAWS, _FEWEST_PEOPLE = 2000, 3  # with fewer people there is no interval


@dataclass(frozen=True, slots=True)
class Belongs:
    """One recording's subgroups: group -> part for all of it, and the labels that change with time."""

    always: dict[str, str]
    stress: tuple[Floats, Floats] | None = None  # times (s), 0 or 1

    def at(self, time_s: float) -> dict[str, str]:
        """Group -> part at one moment of the recording."""
        if self.stress is None:
            return self.always
        times, values = self.stress
        index = int(np.searchsorted(times, time_s, side="right")) - 1
        if index < 0 or time_s - times[index] > _LABEL_HOLDS_S or float(values[index]) not in _STRESS_NAMES:
            return self.always
        return self.always | {STRESS: _STRESS_NAMES[float(values[index])]}


def belongs(recording: Recording, data: Path) -> Belongs:
    """The subgroups of one person's recording below `data`."""
    folder, _, subject = recording.person.partition("#")[0].rpartition("/")
    always = {DEVICE: folder}
    beside = data / folder if (data / folder).is_dir() else data  # `data` may be that folder itself
    if arm := _arms(beside / "subjects.csv").get(subject):
        always[MEDICINE] = arm
    if (floor_mv := _emg_floor_mv(recording)) is not None:
        always[EMG_FLOOR] = "high" if floor_mv >= HIGH_FLOOR_MV else "normal"
    return Belongs(always, recording.labels.get("stress"))


def by_subgroup(scored: Iterable[Scored], who: Mapping[str, Belongs], mode: str = "causal") -> list[dict[str, Any]]:
    """A row for each signal, gap length and part of a group, of what is shown in gaps at random places.

    Keys: signal, gap_s, group, part, mae, crps, cover90 (means over people, errors in the person's standard
    deviation), mae_ci, crps_ci, cover90_ci (95 %, bootstrap over people; None with fewer than three), people, gaps.
    `who` maps every person in `scored`.
    """
    rows = []
    for found in scored:
        where, scores = found.where, found.scores.get((mode, OURS))
        members: dict[tuple[str, str], list[int]] = defaultdict(list)
        for gap in np.flatnonzero(where.kind == KINDS.index("random")) if scores else ():
            belongs_to = who[where.people[where.person[gap]]]
            for group_and_part in belongs_to.at(float(where.start_s[gap])).items():
                members[group_and_part].append(int(gap))
        rows += [_row(where, scores or {}, of, np.array(gaps)) for of, gaps in sorted(members.items())]
    return rows


def _row(where: Where, scores: Scores, part: tuple[str, str], gaps: Ints) -> dict[str, Any]:
    row: dict[str, Any] = {"signal": where.signal, "gap_s": where.gap_s, "group": part[0], "part": part[1]}
    for name in ("mae", "crps", "cover90"):
        unit = 1.0 if name == "cover90" else where.sd[gaps]
        of_person = by_person(where, gaps, scores[name][gaps] / unit)
        row |= {name: float(np.nanmean(of_person)), f"{name}_ci": _interval(of_person)}
    return row | {"people": len(of_person), "gaps": len(gaps)}


def _interval(of_person: Floats) -> list[float] | None:
    """The 95 % interval of the mean of (P,) people."""
    if len(of_person) < _FEWEST_PEOPLE:
        return None
    picked = np.random.default_rng(0).integers(len(of_person), size=(_DRAWS, len(of_person)))
    return [float(v) for v in np.quantile(np.nanmean(of_person[picked], axis=1), (0.025, 0.975))]


def _emg_floor_mv(recording: Recording) -> float | None:
    """The noise floor of the noisiest muscle in mV; None without EMG."""
    muscles = [values for name, (_, values) in recording.channels.items() if name.startswith("emg_activity_mV")]
    return max((float(np.quantile(values, _FLOOR_QUANTILE)) for values in muscles), default=None)


@cache
def _arms(path: Path) -> dict[str, str]:
    """Subject -> arm of the trial, from the table beside the recordings; none where there is no such table."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {row["subject"]: row["drug_arm"] for row in csv.DictReader(file) if row.get("drug_arm")}
