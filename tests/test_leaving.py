"""A process ends before its certificate does, and its next start has a new one."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from device.cloud import enrol_local
from device.hub.registry import Registry, UnknownDevice
from everbeat.leaving import LEAVE_BEFORE, leave_in_time
from everbeat.settings import Settings
from everbeat.wiring import uplink_settings
from security.certificates import LEAF_LIFE
from security.identity import (
    Identity,
    create_ca,
    ensure_engine,
    issue_device,
    issue_engine,
    load_or_create_ca,
    wall_clock_ms,
)


def aged_ms(age: timedelta) -> int:
    return wall_clock_ms() - int(age.total_seconds() * 1000)


def test_it_leaves_when_the_first_of_its_certificates_is_due(tmp_path: Path) -> None:
    ca, left = create_ca(tmp_path / "ca"), threading.Event()
    young = issue_device(ca, "young", tmp_path / "d")
    old = issue_device(ca, "old", tmp_path / "d", now_ms=aged_ms(LEAF_LIFE - LEAVE_BEFORE - timedelta(seconds=1.5)))
    timer = leave_in_time(young, old, leave=left.set)
    assert timer is not None and not left.is_set()
    assert left.wait(5.0)


def test_one_that_is_overdue_at_the_start_is_told_and_keeps_running(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ca = create_ca(tmp_path / "ca")
    overdue = issue_engine(ca, tmp_path / "e", now_ms=aged_ms(LEAF_LIFE - timedelta(days=2)))
    with caplog.at_level(logging.ERROR):
        assert leave_in_time(overdue) is None
    assert "renew it by hand" in caplog.text


def test_the_next_start_renews_what_it_left_for(tmp_path: Path) -> None:
    ca = create_ca(tmp_path / "ca")
    old = issue_engine(ca, tmp_path / "e", now_ms=aged_ms(LEAF_LIFE - LEAVE_BEFORE))
    assert ensure_engine(ca, tmp_path / "e").certificate.not_valid_after_utc > old.certificate.not_valid_after_utc


def test_the_local_hub_is_told_of_a_certificate_that_a_known_device_renewed(tmp_path: Path) -> None:
    settings = Settings(tmp_path)
    ca = load_or_create_ca(settings.ca)
    old = issue_device(ca, "bed-7", settings.device("bed-7"), now_ms=aged_ms(LEAF_LIFE - LEAVE_BEFORE))
    registry = Registry(settings.hub, time.time)
    enrol_local(settings.hub, old)
    renewed = uplink_settings(settings, "bed-7", 1.0).identity
    assert renewed.chain_der != old.chain_der
    assert registry.device("bed-7").thumbprints == (thumbprint(renewed), thumbprint(old))
    registry.enrol("bed-7", thumbprint(old), enabled=False)
    uplink_settings(settings, "bed-7", 1.0)
    assert registry.device("bed-7").thumbprints[0] == thumbprint(renewed) and not registry.device("bed-7").enabled
    uplink_settings(settings, "stranger", 1.0)
    with pytest.raises(UnknownDevice):
        registry.device("stranger")
    registry.close()


def thumbprint(identity: Identity) -> str:
    return hashlib.sha256(identity.chain_der[0]).hexdigest().upper()


def test_a_process_ends_by_itself_as_if_it_was_stopped(tmp_path: Path) -> None:
    ca = create_ca(tmp_path / "ca")
    issue_engine(ca, tmp_path / "e", now_ms=aged_ms(LEAF_LIFE - LEAVE_BEFORE - timedelta(seconds=8)))
    story = (
        "import sys; from pathlib import Path; from everbeat.console import stop_event; "
        "from everbeat.leaving import leave_in_time; from security.identity import EngineIdentity; "
        "stop = stop_event(); leave_in_time(EngineIdentity.load(Path(sys.argv[1]), 'engine')); "
        "print(stop.wait(60))"
    )
    began_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", story, str(tmp_path / "e")], capture_output=True, text=True, timeout=70
    )
    assert done.stdout.strip() == "True" and done.returncode == 0, done.stderr
    assert time.monotonic() - began_s < 30
