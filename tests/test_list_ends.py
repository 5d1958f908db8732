"""A hospital's list of revoked certificates is said to end before it does: by ``pki list``, processes' logs, audit."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from everbeat import wiring
from everbeat.cli import app
from everbeat.settings import Settings
from everbeat.watching import AGAIN_MS, ListWatch
from security.hospital import import_lists, import_trust
from security.identity import create_ca
from security.list_ends import ListEnd, list_ends, list_warnings
from tests.test_hospital import NOW, NOW_MS, Hospital

DAY_MS = 86_400_000


@pytest.fixture
def state() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="eb-"))
    yield made
    shutil.rmtree(made)


def clinic(folder: Path, ca_dir: Path, life: timedelta, now: datetime = NOW, now_ms: int = NOW_MS) -> Hospital:
    """Our own CA, and a hospital beside it whose lists end after `life`."""
    hospital, ours = Hospital(folder), create_ca(ca_dir, now_ms=now_ms)
    hospital.write("crl.pem", hospital.lists(1, life=life, now=now))
    f = hospital.folder
    import_trust(ours, f / "root.pem", [f / "issuer.pem"], f / "crl.pem", now_ms=now_ms)
    return hospital


def test_a_list_is_warned_of_a_week_before_it_ends_or_a_third_of_its_life_where_that_is_shorter() -> None:
    def warned(life_days: float, left_days: float) -> bool:
        end = NOW + timedelta(days=life_days)
        return ListEnd("x", NOW, end).is_ending(end - timedelta(days=left_days))

    assert [warned(30, left) for left in (8, 6.9, 0, -1)] == [False, True, True, True]
    assert [warned(6, left) for left in (3, 1.9, -1)] == [False, True, True]
    assert ListEnd("x", None, None).is_ending(NOW) and ListEnd("x", None, None).is_over(NOW)


def test_who_is_told_what_before_and_after_a_hospitals_list_ends_and_again_when_a_newer_one_came(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hospital, ca_dir = clinic(tmp_path / "h", tmp_path / "ca", timedelta(days=21)), tmp_path / "ca"
    files = (ca_dir / "trust.pem", ca_dir / "crl.pem")
    watch = ListWatch(*files)
    assert watch(NOW_MS) == [] and list_warnings(*files, NOW) == []
    soon_ms = NOW_MS + 15 * DAY_MS
    told = watch(soon_ms)
    assert {event.kind for event in told} == {"list.ending"} and len(told) == 2, "of root and intermediate"
    assert all("Clinic" in event.facts["issuer"] and event.about == "pki" for event in told)
    said = caplog.text
    assert "in 6 days: from then on nobody of it gets in" in said and "everbeat pki import --crl FILE" in said
    assert watch(soon_ms + 60_000) == [] and caplog.text == said, "once"
    assert watch(soon_ms + AGAIN_MS + 1) == [] and len(caplog.text) > len(said), "the log again each hour"
    over_ms = NOW_MS + 22 * DAY_MS
    assert {event.kind for event in watch(over_ms)} == {"list.ended"}
    caplog.clear()
    watch(over_ms + AGAIN_MS + 1)
    assert "no new session is opened, running ones end within the hour" in caplog.text
    now = NOW + timedelta(days=22)
    ca = wiring.load_or_create_ca(ca_dir)
    import_lists(ca, hospital.write("crl.pem", hospital.lists(2, now=now)), now_ms=over_ms)
    assert [row for row in list_ends(*files) if "Clinic" in row.issuer and row.is_ending(now)] == []


def test_pki_list_says_until_when_each_list_speaks_and_warns(state: Path, tmp_path: Path) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    clinic(tmp_path / "h", state / "ca", timedelta(days=5), now - timedelta(days=4), int(now.timestamp() * 1000))
    env = {"EVERBEAT_STATE": str(state), "COLUMNS": "300"}
    said = CliRunner().invoke(app, ["pki", "list"], env=env)
    assert said.exit_code == 0, said.output
    assert "Lists of revoked certificates" in said.output and f"{now + timedelta(days=1):%F %R}Z" in said.output
    assert "Warning: the list of revoked certificates of" in said.output and "in 24 hours" in said.output


def test_hub_and_engine_say_it_when_they_start(state: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    clinic(tmp_path / "h", state / "ca", timedelta(days=5), now - timedelta(days=4), int(now.timestamp() * 1000))
    assert wiring.live_trust(Settings(state))().doubt == ""
    assert caplog.text.count("from then on nobody of it gets in and no new session is opened") == 2


def test_where_there_is_no_ca_nothing_is_watched_and_a_spoilt_file_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = (tmp_path / "trust.pem", tmp_path / "crl.pem")
    assert ListWatch(*files)(NOW_MS) == [] and not caplog.text
    files[0].write_bytes(b"nothing")
    assert ListWatch(*files)(NOW_MS) == [] and "expected" in caplog.text
