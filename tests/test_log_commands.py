"""The commands around the logs, on a running house: what an officer and an operator type."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from everbeat import notarial, wiring
from everbeat.cli import app
from everbeat.settings import Settings
from security.audit import AuditEvent
from security.errors import SecurityError
from tests.log_kit import DEVICE, Shard
from twin_engine.store import keys, log_records
from twin_engine.store.audit import AuditWriter
from twin_engine.store.connection import connect
from twin_engine.store.server import RedisFiles

pytestmark = pytest.mark.redis


class Officer:
    """A house with 60 records, a checkpoint, and somebody who types commands."""

    def __init__(self, files: RedisFiles, state: Path) -> None:
        (state / "redis").symlink_to(files.directory)
        self.settings = Settings(state)
        master = wiring.vault(self.settings, "keeper").master
        self.shard = Shard(files, master, "s0")
        self.shard.fold(60)
        AuditWriter(connect(files.login("acts")), master).write(
            AuditEvent(1_700_000_000_000, "maria", "access.export", "p-1", {"what": "csv"})
        )
        self.notary = notarial.notary(self.settings)
        self.notary.round(whole=True)

    def types(self, *command: str) -> Result:
        env = {"EVERBEAT_STATE": str(self.settings.state), "COLUMNS": "300"}
        return CliRunner().invoke(app, list(command), env=env)


@pytest.fixture
def officer(redis_server: tuple[RedisFiles, object]) -> Iterator[Officer]:
    state = Path(tempfile.mkdtemp(prefix="eb-s-"))  # a unix socket's path must be short
    yield Officer(redis_server[0], state)
    shutil.rmtree(state)


def test_an_untouched_house_verifies_and_a_tampered_one_does_not(officer: Officer) -> None:
    done = officer.types("verify")
    assert done.exit_code == 0, done.output
    assert "log s0:" in done.output and "all as it was written" in done.output
    assert "signed by the key that you trust" in done.output
    assert "no witness that you trust has cosigned it" in done.output
    assert officer.types("fsck").exit_code == 0
    officer.shard.client.lset(keys.leaves("s0"), 3, bytes(32))
    for command in ("fsck", "verify"):
        done = officer.types(command)
        assert done.exit_code == 1 and "NOT as it was written" in done.output


def test_a_proof_that_is_written_here_is_verified_with_the_key_that_is_printed_here(
    officer: Officer, tmp_path: Path
) -> None:
    file = tmp_path / "p.json"
    done = officer.types("proof", str(file), "--device", DEVICE, "--since-hours", "0", "--envelopes")
    assert done.exit_code == 0, done.output
    key = officer.types("log-keys").output.split()[0]
    done = officer.types("verify", "--proof", str(file), "--log-key", key)
    assert done.exit_code == 0 and "its envelope is here, unchanged" in done.output, done.output
    assert len(json.loads(file.read_text())["records"]) == officer.notary.keepers["s0"].memory.size > 30
    assert officer.types("proof", str(file), "--index", "7").exit_code == 0
    assert "PROVEN: record 7" in officer.types("verify", "--proof", str(file), "--log-key", key).output
    assert officer.types("proof", str(file)).exit_code == 2


def test_a_proof_of_nothing_is_not_written(officer: Officer, tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    for asked in (("--device", "nobody"), ("--index", "99999"), ("--device", DEVICE, "--minutes", "0")):
        done = officer.types("proof", str(file), *asked)
        assert done.exit_code == 2 and "got none; no proof was made" in done.output, done.output
        assert not file.exists()
    done = officer.types("proof", str(file), "--device", DEVICE, "--since-hours", "168")
    assert done.exit_code == 2 and "the log of s0 is younger" in done.output and not file.exists()


def test_a_proof_leaves_no_record_out_in_silence(
    officer: Officer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_records, "MAX_RECORDS", 20)
    done = officer.types("proof", str(tmp_path / "p.json"), "--device", DEVICE)
    assert done.exit_code == 2 and "fewer than 20 records in one proof" in done.output
    assert not (tmp_path / "p.json").exists()


def test_last_weeks_proof_is_proven_anew_when_its_records_have_long_left_the_store(
    officer: Officer, tmp_path: Path
) -> None:
    then, now = tmp_path / "then.json", tmp_path / "now.json"
    assert officer.types("proof", str(then), "--device", DEVICE).exit_code == 0
    kept = len(json.loads(then.read_text())["records"])
    officer.shard.fold(60)
    officer.notary.round(whole=True)
    officer.shard.client.xtrim(keys.entries("s0"), maxlen=0)
    assert officer.types("proof", str(now), "--device", DEVICE).exit_code == 2
    done = officer.types("proof", str(now), "--again", str(then))
    assert done.exit_code == 0 and f"{kept} of {kept} records" in done.output, done.output
    key = officer.types("log-keys").output.split()[0]
    told = officer.types("verify", "--proof", str(now), "--log-key", key)
    assert told.exit_code == 0 and told.output.count("PROVEN: record ") == kept
    assert f"nothing of the first {kept} leaves was changed" in told.output


def test_a_kept_proof_that_is_not_of_this_log_is_not_proven_anew(officer: Officer, tmp_path: Path) -> None:
    then, now = tmp_path / "then.json", tmp_path / "now.json"
    assert officer.types("proof", str(then), "--index", "7").exit_code == 0
    bundle = json.loads(then.read_text())
    bundle["records"][0]["record"]["seq"] += 1
    then.write_text(json.dumps(bundle))
    done = officer.types("proof", str(now), "--again", str(then))
    assert done.exit_code == 2 and "a proof that does not hold" in done.output and not now.exists()
    assert officer.types("proof", str(now), "--again", str(then), "--index", "1").exit_code == 2


def test_an_alarm_that_nobody_raised_is_not_accepted(officer: Officer) -> None:
    done = officer.types("accept-log", "s0", "just to be safe")
    assert done.exit_code == 2 and "got none; nothing was accepted" in done.output
    assert not (officer.settings.notary / "accepted" / "s0").exists()


def test_the_audit_log_is_read_and_an_alarm_is_accepted_with_a_name_and_a_reason(officer: Officer) -> None:
    assert "access.export" in officer.types("audit", "--about", "p-1").output
    assert officer.types("audit", "--kind", "device").output == ""
    officer.shard.client.xdel(keys.raw("s0"), officer.shard.records()[5][0])
    officer.notary.round(whole=True)
    assert "the notary raises the alarm" in officer.types("verify").output
    assert officer.types("accept-log", "s9", "x").exit_code == 2
    assert officer.types("accept-log", "s0", "a test of ours").exit_code == 0
    officer.notary.round(whole=True)
    officer.notary.round(whole=True)
    assert officer.notary.keepers["s0"].memory.alarm == []
    told = officer.types("audit", "--kind", "log.alarm").output
    assert "a test of ours" in told and "record-missing" in told


def test_a_second_notary_on_the_same_memory_does_not_start(officer: Officer) -> None:
    from everbeat.logs import _only_one

    home = officer.settings.notary
    with _only_one(home), pytest.raises(SecurityError, match="only notary"), _only_one(home):
        raise AssertionError("two run")


def test_the_witness_says_its_key_and_keeps_what_it_is_told(officer: Officer, tmp_path: Path) -> None:
    key = str(officer.notary.keepers["s0"].verifier)
    asked = ("witness", "--home", str(tmp_path / "w"), "--name", "w.example/1", "--show-key")
    first = officer.types(*asked, "--log-key", key).output
    assert first == officer.types(*asked).output and first.startswith("w.example/1+")
    assert (tmp_path / "w" / "logs.txt").read_text().split() == [key]
