"""Subgroups: who belongs where, from what a recording says, and how well each part is served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import shared_path
from twin_engine.lab.recordings import Recording, read_people
from twin_engine.lab.scorecard import OURS, Scored, Where
from twin_engine.lab.subgroups import DEVICE, EMG_FLOOR, HIGH_FLOOR_MV, MEDICINE, STRESS, Belongs, belongs, by_subgroup


def muscle(floor_mv: float) -> tuple[np.ndarray, np.ndarray]:
    times = np.arange(0.0, 60.0, 0.1)
    return times, floor_mv * (1 + np.abs(np.sin(times)))


def test_the_noisiest_muscle_decides_about_the_noise_floor(tmp_path: Path) -> None:
    quiet, loud = muscle(HIGH_FLOOR_MV / 10), muscle(HIGH_FLOOR_MV * 1.1)
    both = Recording("lab/p1", {"emg_activity_mV.zyg": quiet, "emg_activity_mV.corr": loud})
    assert belongs(both, tmp_path).always == {DEVICE: "lab", EMG_FLOOR: "high"}
    assert belongs(Recording("lab/p2", {"emg_activity_mV.zyg": quiet}), tmp_path).always[EMG_FLOOR] == "normal"
    assert EMG_FLOOR not in belongs(Recording("lab/p3", {"hr_bpm": quiet}), tmp_path).always


def test_a_medicine_is_read_from_the_table_beside_the_recordings(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "subjects.csv").write_text("subject,drug_arm\np1,oxazepam\np2,\n")
    arms = [belongs(Recording(f"lab/{p}", {}), tmp_path).always.get(MEDICINE) for p in ("p1", "p2", "p3", "p1#2")]
    assert arms == ["oxazepam", None, None, "oxazepam"]


def test_stress_changes_with_time_and_an_old_label_says_nothing() -> None:
    of = Belongs({DEVICE: "wrist"}, (np.array([10.0, 11.0, 12.0, 40.0]), np.array([0.0, 1.0, 1.0, 0.0])))
    found = [of.at(t).get(STRESS) for t in (9.0, 10.5, 11.0, 13.9, 14.1, 40.0)]
    assert found == [None, "rest", "stress", "stress", None, "rest"]


def test_people_who_are_known_are_put_where_their_recordings_say() -> None:
    data = shared_path("data")
    names = {"emg_gsr/subj10", "emg_gsr/subj36", "emg_gsr/subj09", "wrist_e4/s01", "wrist_e4/s02"}
    who = {r.person: belongs(r, data) for r in read_people(data, ["emg_gsr", "wrist_e4"], only=names)}
    assert who["emg_gsr/subj10"].always == {DEVICE: "emg_gsr", MEDICINE: "placebo", EMG_FLOOR: "normal"}
    assert who["emg_gsr/subj36"].always == {DEVICE: "emg_gsr", MEDICINE: "placebo", EMG_FLOOR: "high"}
    assert who["emg_gsr/subj09"].always[MEDICINE] == "oxazepam"
    assert who["wrist_e4/s01"].stress is None  # it has no label
    assert {who["wrist_e4/s02"].at(t).get(STRESS) for t in range(100, 3000, 50)} == {"rest", "stress"}


def scored(errors: dict[str, list[float]], starts: dict[str, list[float]] | None = None) -> Scored:
    """Gaps of heart rate at random places: person -> errors; the person's standard deviation is 2."""
    people = tuple(errors)
    person = np.concatenate([np.full(len(e), i) for i, e in enumerate(errors.values())])
    mae, zero = np.concatenate([np.array(e) for e in errors.values()]), np.zeros(len(person), np.int64)
    start_s = np.concatenate([starts[p] for p in people]) if starts else mae * 0.0
    span, sd = mae * 0 + 600.0, mae * 0 + 2.0
    where = Where("hr_bpm", 10.0, people, person, person, zero, zero, start_s, span, sd, sd)
    return Scored(where, {("causal", OURS): {"mae": mae, "crps": mae / 2, "cover90": (mae < 3).astype(float)}})


def test_every_person_counts_the_same_and_errors_are_in_their_own_deviation() -> None:
    gaps = scored({"a/1": [2.0] * 10, "a/2": [4.0], "a/3": [6.0, 6.0], "b/1": [8.0]})
    who = {name: Belongs({DEVICE: name[0]}) for name in gaps.where.people}
    first, second = by_subgroup([gaps], who)
    assert (first["group"], first["part"], first["people"], first["gaps"]) == (DEVICE, "a", 3, 13)
    assert first["mae"] == pytest.approx((1 + 2 + 3) / 3) and first["crps"] == pytest.approx(1.0)
    assert first["cover90"] == pytest.approx(1 / 3)
    low, high = first["mae_ci"]
    assert 1.0 <= low < first["mae"] < high <= 3.0
    assert second["part"] == "b" and second["mae_ci"] is None  # one person: no interval


def test_one_persons_gaps_are_parted_by_the_time_they_begin() -> None:
    labels = np.arange(0.0, 600.0), (np.arange(600) >= 300).astype(float)
    names = ["w/1", "w/2", "w/3"]
    gaps = scored({n: [1.0, 1.0, 3.0] for n in names}, {n: [10.0, 20.0, 400.0] for n in names})
    rows = by_subgroup([gaps], {n: Belongs({}, labels) for n in names})
    assert [(r["part"], r["mae"], r["gaps"], r["people"]) for r in rows] == [("rest", 0.5, 6, 3), ("stress", 1.5, 3, 3)]


def test_what_was_not_shown_has_no_rows() -> None:
    gaps = scored({"a/1": [1.0]})
    gaps.scores.clear()
    assert by_subgroup([gaps], {"a/1": Belongs({DEVICE: "a"})}) == []
