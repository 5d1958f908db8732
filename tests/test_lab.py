"""The laboratory: who is read, who is held out, and a training that writes what the engine can load."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.conftest import shared_path
from twin_engine.lab.descent import Pace
from twin_engine.lab.recordings import ALWAYS_TEST, RecordingError, people_of, read_people, split
from twin_engine.model import Context, Generator
from twin_engine.weightfile import sign_draft

# -------------------------------------------------------------------------------------------------- the people


def test_no_person_is_both_learnt_from_and_judged_by(generator: Generator) -> None:
    parts = generator.metadata["split"]
    people = [person for part in parts.values() for person in part]
    assert len(people) == len(set(people)) == 64
    assert set(parts["test"]) >= ALWAYS_TEST
    assert split(people) == {name: list(part) for name, part in parts.items()}


def test_the_electrode_that_was_off_teaches_nothing() -> None:
    recordings = read_people(shared_path("data"), ["emg_gsr"], {"emg_gsr/subj25"})
    (person,) = recordings
    assert "gsr_uS" not in person.channels
    assert "emg_activity_mV.zyg" in person.channels


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="expected recordings"):
        list(read_people(tmp_path))


def test_a_file_without_a_time_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "emg_gsr").mkdir()
    with gzip.open(tmp_path / "emg_gsr" / "subj01.csv.gz", "wt") as file:
        file.write("scl_uS\n1.0\n")
    with pytest.raises(RecordingError, match="time_s"):
        list(read_people(tmp_path))


# ------------------------------------------------------------------------------------------------ the training


def made_up_recordings(data: Path) -> None:
    """Twelve people in a laboratory and ten with a wristband, a minute each: enough to train on, nothing to learn."""
    rng = np.random.default_rng(0)
    columns = {
        "emg_gsr": (12, "scl_uS,emg_zyg_avg_mV,emg_corr_avg_mV"),
        "wrist_e4": (10, "eda_uS,skin_temp_C,hr_bpm"),
    }
    for folder, (people, names) in columns.items():
        (data / folder).mkdir(parents=True)
        for person in range(people):
            t = np.arange(0, 60, 0.1)
            series = 1 + 0.1 * np.cumsum(rng.standard_normal((len(t), 3)), axis=0) ** 2 / 60
            scale = (1, 1e-4, 1e-4) if folder == "emg_gsr" else (1, 30, 70)
            with gzip.open(data / folder / f"p{person:02d}.csv.gz", "wt") as file:
                np.savetxt(
                    file, np.column_stack([t, series * scale]), "%.7g", ",", header=f"time_s,{names}", comments=""
                )


def test_training_writes_weights_that_load_and_keeps_signals_trained_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from twin_engine.lab import train as story

    made_up_recordings(tmp_path / "data")
    for name in ("TRAIN_WINDOWS", "CLEAN_WINDOWS", "VALIDATION_WINDOWS"):
        monkeypatch.setattr(story, name, 200)
    monkeypatch.setattr(story, "MENDER_GAPS", 400)
    monkeypatch.setattr("twin_engine.lab.fit._PACE", Pace(1.5e-3, 20, lambda _: 0.01))
    told: list[tuple[str, float]] = []
    for signal in ("gsr_uS", "hr_bpm"):
        metrics = story.train(
            tmp_path / "data",
            tmp_path / "out",
            steps=40,
            seed=1,
            progress=lambda what, share: told.append((what, share)),
            signals=[signal],
        )
        assert np.isfinite(metrics[signal]["crps"])
    assert {what for what, _ in told} == {"gsr_uS", "gsr_uS mend", "hr_bpm", "hr_bpm mend"}
    assert all(0 <= share <= 1 for _, share in told)
    key = Ed25519PrivateKey.generate()
    sign_draft(tmp_path / "out", key)
    generator = Generator.load(tmp_path / "out", signers={key.public_key().public_bytes_raw(): "a test"})
    contexts = [Context(name, np.linspace(1, 2, 300), {}, 0) for name in ("gsr_uS", "hr_bpm", "skin_temp_C")]
    made = generator.forecast(contexts)
    assert made[2].experts == ("hold",)  # not trained here: the simple method, and it says so
    assert all(np.isfinite(forecast.quantiles).all() for forecast in made)


def test_an_interrupted_training_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from twin_engine.lab import train as story

    made_up_recordings(tmp_path / "data")
    for name in ("TRAIN_WINDOWS", "CLEAN_WINDOWS", "VALIDATION_WINDOWS"):
        monkeypatch.setattr(story, name, 200)
    monkeypatch.setattr(story, "MENDER_GAPS", 400)
    monkeypatch.setattr("twin_engine.lab.fit._PACE", Pace(1.5e-3, 10, lambda _: 0.01))

    class Cut(Exception):
        """Somebody pulled the plug."""

    def cut(_: str, share: float) -> None:
        if share == 0.5:
            raise Cut

    def once(out: str, progress: story.Progress) -> bytes:
        story.train(tmp_path / "data", tmp_path / out, steps=40, seed=1, progress=progress, signals=["gsr_uS"])
        return (tmp_path / out / "gsr_uS.safetensors").read_bytes()

    with pytest.raises(Cut):
        once("cut", cut)
    shares: list[float] = []
    resumed = once("cut", lambda what, share: shares.append(share) if what == "gsr_uS" else None)
    assert 0.25 not in shares  # it did not begin anew
    assert resumed == once("whole", lambda *_: None)


def test_files_of_one_person_are_joined_and_several_recordings_in_one_file_are_told_apart(tmp_path: Path) -> None:
    for name, text in {
        "w/s01.csv.gz": "time_s,eda_uS\n0,1\n1,2\n",
        "w/s01_bvp64.csv.gz": "time_s,bvp,eda_uS\n0,5,9\n1,6,9\n",
        "w/s02.csv.gz": "time_s,eda_uS,stage\n0,1,3\n1,2,4\n0,5,3\n1,6,3\n",
    }.items():
        (tmp_path / "w").mkdir(exist_ok=True)
        with gzip.open(tmp_path / name, "wt") as file:
            file.write(text)
    people = {person.person: person for person in read_people(tmp_path)}
    assert list(people) == ["w/s01", "w/s02#1", "w/s02#2"]
    assert set(people["w/s01"].channels) == {"gsr_uS", "ppg"}
    assert people["w/s01"].channels["gsr_uS"][1].tolist() == [1.0, 2.0]  # the person's own file, not the other's copy
    assert people["w/s02#2"].channels["gsr_uS"][1].tolist() == [5.0, 6.0]
    assert len(people_of(tmp_path)["w/s01"]) == 2
