"""Redis' memory: our own server has a bound, says so before it is full, and loses nothing when it is."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from device.ingest import HubEvent
from everbeat.cli import app
from everbeat.settings import Settings, SettingsError
from everbeat.watching import MemoryWatch
from tests.test_store import wait_until_up
from twin_engine.store import keys
from twin_engine.store.connection import connect
from twin_engine.store.errors import StoreDown
from twin_engine.store.memory import Memory, memory_warnings, read_memory
from twin_engine.store.raw import RawSink
from twin_engine.store.server import memory_bound, start

pytestmark = pytest.mark.redis
MIB = 1 << 20


@pytest.fixture
def small() -> Iterator[Settings]:
    """A house whose Redis may use 16 MiB."""
    with tempfile.TemporaryDirectory(prefix="eb-") as state:
        settings = Settings.from_env({"EVERBEAT_STATE": state, "EVERBEAT_REDIS_MEMORY_MB": "16"})
        process = start(settings.prepare_redis())
        wait_until_up(settings.redis_files)
        yield settings
        process.kill()
        process.wait()


def test_our_redis_may_use_half_of_the_machine_and_throws_nothing_away(redis_server) -> None:  # type: ignore[no-untyped-def]
    found = read_memory(connect(redis_server[0].login("notary")))
    assert found.bound == memory_bound() <= found.machine // 2 + MIB and found.policy == "noeviction"
    assert memory_warnings(found) == []


def test_an_operator_is_warned_before_it_is_full_and_full_means_nothing_is_acknowledged_and_nothing_lost(
    small: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    sink = RawSink(connect(small.redis_login("ingest")), 1)
    reader = connect(small.redis_login("notary"))
    watch, stored, warned_at = MemoryWatch(reader), 0, 0
    assert watch(0) == [] and not caplog.text
    with pytest.raises(StoreDown, match="nothing was written"):
        for offset in range(5000):
            sink.put([HubEvent("0", str(offset), offset, "dev-1", 1, bytes(20_000))])
            stored += 1
            if offset % 20 == 0 and not warned_at:
                watch(stored)
                warned_at = stored if "when it is full nothing more is taken" in caplog.text else 0
    assert 0 < warned_at < stored, "said while there was room"
    keeper = connect(small.redis_login("keeper"))
    assert keeper.xlen(keys.raw("s0")) == stored and sink.checkpoint("0") == str(stored - 1)
    env = {"EVERBEAT_STATE": str(small.state), "COLUMNS": "300"}
    assert "EVERBEAT_REDIS_MEMORY_MB" in CliRunner().invoke(app, ["fsck"], env=env).output
    keeper.xtrim(keys.raw("s0"), maxlen=10, approximate=False)
    time.sleep(0.1)
    sink.put([HubEvent("0", "9999", 9999, "dev-1", 1, b"room again")])


def test_a_redis_that_would_throw_records_away_or_knows_no_bound_is_said_to_be_one() -> None:
    (said,) = memory_warnings(Memory(1, 100, 1000, "allkeys-lru"))
    assert "expected Redis with maxmemory-policy noeviction" in said and "throws away records" in said
    (said,) = memory_warnings(Memory(800 * MIB, 0, 1000 * MIB, "noeviction"))
    assert "80 % of the machine's memory, and has no maxmemory" in said
    assert memory_warnings(Memory(74, 100, 1000, "noeviction")) == []


@pytest.mark.parametrize("text", ["lots", "-1", "8", "1.5"])
def test_a_bound_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="EVERBEAT_REDIS_MEMORY_MB of at least 16"):
        Settings.from_env({"HOME": "/h", "EVERBEAT_REDIS_MEMORY_MB": text})
    made = Settings.from_env({"HOME": "/h", "EVERBEAT_REDIS_MEMORY_MB": "512"})
    assert Settings.from_env(made.environment()) == made
