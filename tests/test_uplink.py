"""The device process against the real hub with the real SDKs, from a reading to its receipt."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from device.downlink import run_downlink
from device.ingest import ingest
from device.uplink import Counters, UplinkSettings, run_device
from tests.device_kit import Engine, House, Ramp, now_ms, running_house
from tests.hub_kit import eventually, in_loop

pytestmark = [pytest.mark.hub, pytest.mark.timeout(60)]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house("127.0.1.31", tmp_path) as house:
        yield house


@asynccontextmanager
async def running_engine(house: House) -> AsyncIterator[Engine]:
    """An engine in memory behind the real ingest and the real downlink."""
    engine, stop = Engine(house), asyncio.Event()
    tasks = [
        asyncio.create_task(ingest(house.events, engine, stop)),
        asyncio.create_task(run_downlink(house.rest(), engine, stop)),
    ]
    try:
        yield engine
    finally:
        stop.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 30)


class RunningDevice:
    """A device that a test may stop."""

    def __init__(self, settings: UplinkSettings, source: Ramp) -> None:
        self.source, self._stop = source, asyncio.Event()
        self._task = asyncio.create_task(run_device(settings, source, self._stop))

    async def stop(self) -> Counters:
        self._stop.set()
        return await asyncio.wait_for(self._task, 40)  # the SDK may hang up slowly


def give_key(engine: Engine, house: House, device: str) -> None:
    engine.order(device, "desired", "recipient", {"recipient": house.recipient(device).to_json()})


def assert_whole(engine: Engine, device: str, source: Ramp) -> None:
    """Every reading arrived, and none twice."""
    values = engine.values(device)
    assert set(values) == set(map(float, range(source.given)))
    assert set(values.values()) == {1}


@in_loop
async def test_every_reading_arrives_once_and_the_spool_is_empty_after_the_stop(house: House) -> None:
    identity = house.device("bed-1")
    async with running_engine(house) as engine:
        give_key(engine, house, "bed-1")
        device = RunningDevice(house.uplink(identity), Ramp())
        await eventually(lambda: len(engine.frames("bed-1")) > 5)
        counters = await device.stop()
        assert_whole(engine, "bed-1", device.source)
        assert counters.readings_sent == 3 * device.source.given
        assert counters.frames_sent == len(engine.frames("bed-1"))
        assert engine.frames("bed-1", live=False) == [] and engine.refused == [] and engine.duplicates == 0


@in_loop
async def test_readings_of_a_link_loss_arrive_by_the_backfill_lane(house: House) -> None:
    identity = house.device("bed-2")
    async with running_engine(house) as engine:
        give_key(engine, house, "bed-2")
        device = RunningDevice(house.uplink(identity), Ramp())
        await eventually(lambda: len(engine.frames("bed-2")) > 3)
        await asyncio.to_thread(house.hub.stop)
        await asyncio.sleep(3)
        assert device.source.given > 100
        await asyncio.to_thread(house.hub.start)
        await eventually(lambda: engine.frames("bed-2", live=False), 15)
        count = len(engine.frames("bed-2", live=True))
        await eventually(lambda: len(engine.frames("bed-2", live=True)) > count + 3)
        await device.stop()
        assert_whole(engine, "bed-2", device.source)
        assert engine.refused == []


@in_loop
async def test_what_has_no_receipt_is_sent_again_byte_for_byte(house: House) -> None:
    identity = house.device("bed-3")
    async with running_engine(house) as engine:
        engine.silent = True
        give_key(engine, house, "bed-3")
        device = RunningDevice(house.uplink(identity, resend_s=0.5, drain_s=0.1), Ramp())
        await eventually(lambda: engine.duplicates > 5)
        await device.stop()
        bodies = {(e.body[2:10], e.body[10:14], e.body[1]): e.body for e in engine.events}
        assert all(bodies[e.body[2:10], e.body[10:14], e.body[1]] == e.body for e in engine.events)
        assert engine.refused == []


@in_loop
async def test_a_restarted_device_sends_what_its_last_boot_could_not(house: House) -> None:
    identity = house.device("bed-4")
    settings = house.uplink(identity, drain_s=0.2)
    async with running_engine(house) as engine:
        engine.silent = True
        give_key(engine, house, "bed-4")
        first = RunningDevice(settings, Ramp())
        await eventually(lambda: len(engine.frames("bed-4")) > 3)
        await first.stop()
        engine.silent, before = False, engine.duplicates
        second = RunningDevice(house.uplink(identity), Ramp())
        await eventually(lambda: engine.duplicates > before)  # the old boot's envelopes, again
        await eventually(lambda: len({f.epoch for f in engine.frames("bed-4")}) == 2)
        await second.stop()
        epochs = [f.epoch for f in engine.frames("bed-4")]
        assert epochs == sorted(epochs)
        assert await reported(house, "bed-4", "spooled") == 0


@in_loop
async def test_a_forged_receipt_frees_nothing_and_is_counted(house: House) -> None:
    identity = house.device("bed-5")
    async with running_engine(house) as engine:
        engine.silent = True
        give_key(engine, house, "bed-5")
        device = RunningDevice(house.uplink(identity, drain_s=0.1), Ramp())
        await eventually(lambda: len(engine.frames("bed-5")) > 3)
        sid = engine.seen["bed-5"][0][0]
        forged = {"sid": sid.hex(), "lane": 0, "upto": 2, "extra": [], "t_ms": now_ms(), "mac": "00" * 32}
        engine.order("bed-5", "receipt", sid.hex(), forged)
        await eventually(lambda: engine.outcome_of("receipt", sid.hex()))
        await asyncio.sleep(0.5)
        counters = await device.stop()
        assert counters.refused_receipts == 1
        assert await reported(house, "bed-5", "refused_receipts") == 1
        assert await reported(house, "bed-5", "spooled") == len(engine.frames("bed-5"))


@in_loop
async def test_told_to_tamper_it_sends_a_forged_copy_and_the_true_message_still_counts(house: House) -> None:
    identity = house.device("bed-6")
    async with running_engine(house) as engine:
        give_key(engine, house, "bed-6")
        device = RunningDevice(house.uplink(identity), Ramp())
        await eventually(lambda: len(engine.frames("bed-6")) > 3)
        engine.command("bed-6", "tamper", {})
        await eventually(lambda: engine.refused)
        await device.stop()
        assert [r.reason for r in engine.refused] == ["forged"]
        assert_whole(engine, "bed-6", device.source)


@in_loop
async def test_an_unplugged_signal_stops_at_once_and_comes_back_when_plugged_in(house: House) -> None:
    identity = house.device("bed-7")
    async with running_engine(house) as engine:
        give_key(engine, house, "bed-7")
        device = RunningDevice(house.uplink(identity), Ramp())
        await eventually(lambda: len(engine.frames("bed-7")) > 3)
        engine.command("bed-7", "sensor", {"signal": "emg", "connected": False})
        await eventually(lambda: engine.answered("sensor", 200))
        expected = {"connected": False, "channels": ["emg_activity_mV.zyg", "emg_activity_mV.corr"]}
        assert engine.answered("sensor", 200) == expected
        await asyncio.sleep(1.0)
        engine.command("bed-7", "sensor", {"signal": "emg", "connected": True})
        await asyncio.sleep(1.0)
        await device.stop()
        gsr, emg = engine.values("bed-7"), engine.values("bed-7", "emg_activity_mV.zyg")
        missing = sorted(set(gsr) - set(emg))
        assert 30 < len(missing) < 90 and missing == [missing[0] + i for i in range(len(missing))]
        assert_whole(engine, "bed-7", device.source)


@in_loop
async def test_wrong_commands_change_nothing_and_say_what_was_expected(house: House) -> None:
    identity = house.device("bed-8")
    async with running_engine(house) as engine:
        give_key(engine, house, "bed-8")
        device = RunningDevice(house.uplink(identity), Ramp())
        await eventually(lambda: engine.frames("bed-8"))
        for name, payload in (("sensor", {"signal": "ecg", "connected": False}), ("frame_interval", {"seconds": 1e9})):
            engine.command("bed-8", name, payload)
            await eventually(lambda name=name: engine.answered(name, 400))
            assert "expected" in str((engine.answered(name, 400) or {})["error"])
        engine.command("bed-8", "explode", {})
        await eventually(lambda: engine.answered("explode", 404))
        engine.command("bed-8", "frame_interval", {"seconds": 1})
        await eventually(lambda: engine.answered("frame_interval", 200))
        await device.stop()
        assert await reported(house, "bed-8", "frame_interval_s") == 1


@in_loop
async def test_a_new_key_opens_a_new_session_and_a_stranger_s_key_does_not(house: House) -> None:
    identity = house.device("bed-9")
    async with running_engine(house) as engine:
        give_key(engine, house, "bed-9")
        device = RunningDevice(house.uplink(identity), Ramp())
        await eventually(lambda: len(engine.frames("bed-9")) > 3)
        stranger = House("127.0.1.35", house.folder / "stranger").recipient("bed-9")
        engine.order("bed-9", "desired", "recipient", {"recipient": stranger.to_json()})
        await eventually(lambda: engine.outcome_of("desired", "recipient"))
        await asyncio.sleep(0.6)
        assert len({sid for sid, *_ in engine.seen["bed-9"]}) == 1
        give_key(engine, house, "bed-9")
        await eventually(lambda: len({sid for sid, *_ in engine.seen["bed-9"]}) == 2)
        await device.stop()
        assert_whole(engine, "bed-9", device.source)
        assert engine.refused == []


@in_loop
async def test_a_device_without_network_keeps_what_it_reads_for_the_next_boot(house: House) -> None:
    identity = house.device("bed-10")
    async with running_engine(house) as engine:
        give_key(engine, house, "bed-10")
        first = RunningDevice(house.uplink(identity), Ramp())
        await eventually(lambda: engine.frames("bed-10"))
        await first.stop()
    await asyncio.to_thread(house.hub.stop)
    offline = RunningDevice(house.uplink(identity), Ramp())  # the key is remembered
    await asyncio.sleep(1.5)
    counters = await offline.stop()
    assert counters.readings_sent == 3 * offline.source.given > 150
    await asyncio.to_thread(house.hub.start)
    async with running_engine(house) as second:
        third = RunningDevice(house.uplink(identity), Ramp())
        await eventually(lambda: sum(f.epoch == third_epoch(second) for f in second.frames("bed-10")) > 2)
        await third.stop()
        old = [f for f in second.frames("bed-10") if f.epoch != third_epoch(second)]
        assert sum(len(b.counts) for f in old for b in f.blocks) == counters.readings_sent


def third_epoch(engine: Engine) -> int:
    return max((f.epoch for f in engine.frames("bed-10")), default=0)


@in_loop
async def test_an_unknown_device_keeps_trying_and_sends_nothing(house: House) -> None:
    identity = house.device("bed-11", enrol=False)
    device = RunningDevice(house.uplink(identity), Ramp())
    await asyncio.sleep(1.5)
    counters = await device.stop()
    assert counters.frames_sent == 0


async def reported(house: House, device: str, name: str) -> object:
    """A reported property, as the engine reads it."""
    from device.downlink import _manager

    twin = await asyncio.to_thread(_manager(house.rest(), 5).get_twin, device)
    return twin.properties.reported["everbeat"][name]


_DEVICE = """
import asyncio, sys
from pathlib import Path
from device.link import HubAddress
from device.uplink import UplinkSettings, run_device
from security.identity import DeviceIdentity
from tests.device_kit import Ramp
host, directory, name, root, state = sys.argv[1:]
identity = DeviceIdentity.load(Path(directory), name)
settings = UplinkSettings(HubAddress(host, root=Path(root)), identity, Path(state), frame_interval_s=0.2)
asyncio.run(run_device(settings, Ramp(), asyncio.Event()))
"""


@in_loop
async def test_a_device_killed_while_the_hub_is_away_loses_no_sealed_frame(house: House) -> None:
    identity = house.device("bed-12")
    state_dir = house.folder / "state" / "bed-12"
    arguments = (house.host, str(identity.key_path.parent), "bed-12", str(house.ca.root_path), str(state_dir))
    async with running_engine(house) as engine:
        give_key(engine, house, "bed-12")
        victim = await asyncio.create_subprocess_exec(sys.executable, "-c", _DEVICE, *arguments)
        await eventually(lambda: len(engine.frames("bed-12")) > 3, 20)
        await asyncio.to_thread(house.hub.stop)
        await asyncio.sleep(5)  # frames go to the spool, at last by the backfill lane
        victim.kill()
        await victim.wait()
        await asyncio.to_thread(house.hub.start)
        device = RunningDevice(house.uplink(identity), Ramp())
        await eventually(lambda: len({f.epoch for f in engine.frames("bed-12")}) == 2, 20)
        await device.stop()
        first = min(f.epoch for f in engine.frames("bed-12"))
        killed = [f for f in engine.frames("bed-12") if f.epoch == first]
        counts = sorted(c for f in killed for b in f.blocks if b.channel == "gsr_uS" for c in b.counts if c is not None)
        assert counts == list(range(len(counts))) and len(counts) > 200
        assert engine.frames("bed-12", live=False)
        assert engine.refused == []


@pytest.mark.parametrize(
    ("wrong", "said"), [("root", "CERTIFICATE_VERIFY_FAILED"), ("certificate", "SSL"), ("enrolment", "not authorised")]
)
def test_a_device_that_cannot_connect_says_why(
    house: House, wrong: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = House("127.0.1.35", house.folder / "stranger")
    identity = (stranger if wrong == "certificate" else house).device("bed-13", enrol=False)
    settings = house.uplink(identity)
    if wrong == "root":
        settings = replace(settings, address=replace(settings.address, root=stranger.ca.root_path))

    async def attempt() -> None:
        device = RunningDevice(settings, Ramp())
        await eventually(lambda: said in caplog.text)
        await device.stop()

    asyncio.run(attempt())
    assert f"expected a connection to the hub at {house.host}, got" in caplog.text
