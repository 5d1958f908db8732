"""Suites, rates and ends of sessions on a running engine and a real Redis."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from security import freshness
from security.envelope import Lane, open_session
from security.identity import wall_clock_ms
from tests.engine_kit import Ward
from twin_engine import admission, pipeline
from twin_engine.model import Generator
from twin_engine.store.server import RedisFiles

pytestmark = pytest.mark.redis


@pytest.fixture
def ward(redis_server: tuple[RedisFiles, object], tmp_path: Path, generator: Generator) -> Iterator[Ward]:
    made = Ward(redis_server[0], tmp_path, generator)
    yield made
    made.close()


def test_the_engine_hands_out_every_suite_and_a_device_of_each_kind_is_heard(ward: Ward) -> None:
    ward.engine()
    ward.connect_device()
    assert (ward.recipient.offered, ward.sealer.suite) == (("C", "A", "B"), "C")
    ward.send(ward.frame(8))
    ward.wait_for("stored", 8)
    for epoch, name, stored in ((1, "A", 8), (1, "B", 8)):  # under one key nobody steps down
        record, sealer = open_session(
            ward.identity, ward.recipient, epoch=epoch, lane=Lane.LIVE, now_ms=wall_clock_ms(), suites=(name,)
        )
        ward.send(record, ward.frame(8, sealer=sealer))
        assert ward.counts()["stored"] == stored
    assert ward.wait_for("refused", 4)["stored"] == 8
    assert any("weak-suite" in str(event["text"]) for event in ward.events())


def test_a_flood_of_open_records_is_counted_and_told_once(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "OPENS_BURST", 3)
    monkeypatch.setattr(admission, "OPENS_PER_S", 0.001)
    ward.engine()
    ward.connect_device()  # one of the three
    forged = ward.open_late()[0]
    ward.send(*[forged[:-1] + bytes([forged[-1] ^ 1])] * 20)
    counts = ward.wait_for("throttled", 18)
    assert counts["refused"] == 3  # two looked at, and the first that was not
    ward.send(ward.frame(8))
    ward.wait_for("stored", 8)  # the device's open session goes on
    told = [event for event in ward.events() if event["kind"] == "refused" and "too-many" in str(event["text"])]
    assert len(told) == 1


def test_sessions_end_on_a_running_engine_and_stay_ended_over_a_restart(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = ward.engine()
    ward.connect_device()
    body = ward.frame(8)
    ward.send(body)
    ward.wait_for("stored", 8)
    stop.set()
    before = ward.store().sessions()
    monkeypatch.setattr(freshness, "ends_ms", lambda opened_ms: opened_ms)
    monkeypatch.setattr(pipeline, "EXPIRE_MS", 100)
    ward.engine()
    ward.wait_for("sessions_expired", 1)
    end = time.monotonic() + 10
    while ward.store().sessions() == before and time.monotonic() < end:
        time.sleep(0.05)
    assert all(len(blob) < 60 < len(before[name]) for name, blob in ward.store().sessions().items())
    monkeypatch.undo()
    ward.send(ward.record, ward.frame(8))
    assert ward.wait_for("refused", 1)["stored"] == 8
    assert any("spent" in str(event["text"]) for event in ward.events())
