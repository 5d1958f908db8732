"""`everbeat train`: signed, described, the same twice, and going on where it was cut off."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from everbeat import weights
from everbeat.cli import app
from everbeat.settings import Settings, SettingsError
from everbeat.training import TrainingPlan, forget, run
from security.signing import SIGNATURE_BYTES, public_of
from twin_engine.lab.descent import Pace
from twin_engine.weightfile import METADATA, SIGNATURE, ModelError, files_of, read_metadata

SIGNAL, STEPS = "skin_temp_C", 60


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten people with a wristband, three minutes each: enough to train on, nothing to learn."""
    folder = tmp_path_factory.mktemp("data") / "wrist_e4"
    folder.mkdir()
    rng, t = np.random.default_rng(0), np.arange(0, 180, 0.25)
    for person in range(10):
        values = 30 + 0.02 * np.cumsum(rng.standard_normal(len(t)))
        with gzip.open(folder / f"s{person + 1:02d}.csv.gz", "wt") as file:
            np.savetxt(file, np.column_stack([t, values]), "%.5g", ",", header="time_s,skin_temp_C", comments="")
    return folder.parent


def shrink(patch: pytest.MonkeyPatch) -> None:
    for name in ("TRAIN_WINDOWS", "CLEAN_WINDOWS", "VALIDATION_WINDOWS"):
        patch.setattr(f"twin_engine.lab.train.{name}", 200)
    patch.setattr("twin_engine.lab.train.MENDER_GAPS", 400)
    patch.setattr("twin_engine.lab.fit._PACE", Pace(1.5e-3, 20, lambda _: 0.01))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real training, on less."""
    shrink(monkeypatch)


def plan_of(data: Path, out: Path) -> TrainingPlan:
    return TrainingPlan(data, out, 3, STEPS, (SIGNAL,), "cpu", 1)


def nothing(*_: object) -> None:
    """Progress and words that nobody reads."""


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Path]:
    """One whole training: its settings and its folder."""
    settings, out = Settings(tmp_path_factory.mktemp("state")), tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        run(settings, plan_of(data, out), nothing, nothing)
    return settings, out


def test_a_training_is_signed_by_this_machine_and_described(trained: tuple[Settings, Path]) -> None:
    settings, out = trained
    metadata = read_metadata(out, weights.signers(settings))
    assert set(metadata["signals"]) == {SIGNAL} and (out / f"{SIGNAL}.safetensors").exists()
    signature = (out / SIGNATURE).read_bytes()
    assert len(signature) == SIGNATURE_BYTES and signature[:32] == public_of(weights.own_key(settings))
    card = (out / "model-card.md").read_text()
    assert "Skin temperature" in card and f"| {STEPS} |" in card and " Wh (" in card
    assert not list(out.glob("*.checkpoint.pt"))


def test_no_other_machine_runs_it(trained: tuple[Settings, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="unknown key"):
        read_metadata(trained[1], weights.signers(Settings(tmp_path)))


def test_what_is_trained_already_is_kept(trained: tuple[Settings, Path], data: Path) -> None:
    settings, out = trained
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.safetensors")}
    run(settings, plan_of(data, out), nothing, nothing)
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*.safetensors")} == before
    assert read_metadata(out, weights.signers(settings))


def test_a_training_that_was_cut_off_gives_the_same_weights_as_one_that_was_not(
    trained: tuple[Settings, Path], data: Path, tmp_path: Path
) -> None:
    settings, whole = trained
    told: list[float] = []

    def cut_off(_: str, share: float) -> None:
        told.append(share)
        if share >= 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(settings, plan_of(data, tmp_path), cut_off, nothing)
    assert list(tmp_path.glob("*.checkpoint.pt")) and not (tmp_path / SIGNATURE).exists()
    with pytest.raises(ModelError):
        read_metadata(tmp_path, weights.signers(settings))
    told.clear()
    run(settings, plan_of(data, tmp_path), lambda _, share: told.append(share), nothing)
    assert min(share for share in told if share > 0) > 0.6  # it went on, it did not begin anew
    assert files_of(json.loads((tmp_path / METADATA).read_text())) == files_of(
        json.loads((whole / METADATA).read_text())
    )


def test_to_begin_anew_is_to_forget_what_a_training_would_go_on_from(tmp_path: Path) -> None:
    for name in (METADATA, SIGNATURE, f"{SIGNAL}.checkpoint.pt", "notes.txt"):
        (tmp_path / name).write_text("x")
    forget(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_unknown_signal_or_device_is_refused_before_anything_is_made(data: Path, tmp_path: Path) -> None:
    settings, out = Settings(tmp_path / "state"), tmp_path / "out"
    for plan in (TrainingPlan(data, out, signals=("blood_sugar",)), TrainingPlan(data, out, device="abacus")):
        with pytest.raises(SettingsError, match="nothing was trained"):
            run(settings, plan, nothing, nothing)
    assert not (tmp_path / "state").exists() and not out.exists()


def test_the_command_says_in_one_line_that_there_are_no_recordings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERBEAT_STATE", str(tmp_path / "state"))
    result = CliRunner().invoke(app, ["train", "--data", str(tmp_path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "nothing was trained" in result.output and "Traceback" not in result.output
