"""Through the real hub, with its service key in the wrong hands: nothing that the engine did not say is done."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.downlink import Hub, Outcome
from security.commands import DESIRED, METHOD
from security.errors import Rejected
from tests.device_kit import Engine, House, Ramp, running_house
from tests.hub_kit import eventually, in_loop
from tests.test_uplink import RunningDevice, give_key, reported, running_engine

pytestmark = [pytest.mark.hub, pytest.mark.timeout(90)]

UNPLUG: dict[str, object] = {"signal": "emg", "connected": False}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house("127.0.1.36", tmp_path) as house:
        yield house


async def measuring(house: House, engine: Engine, name: str, frames: int = 3) -> RunningDevice:
    identity = house.device(name)
    give_key(engine, house, name)
    device = RunningDevice(house.uplink(identity), Ramp())
    await eventually(lambda: len(engine.frames(name)) > frames)
    return device


@in_loop
async def test_who_holds_the_service_key_can_neither_make_nor_change_nor_repeat_a_command(house: House) -> None:
    async with running_engine(house) as engine:
        device, other = await measuring(house, engine, "bed-1"), await measuring(house, engine, "bed-2")
        thief = Hub(house.rest())

        async def tells(payload: dict[str, object], name: str = "sensor", to: str = "bed-1") -> Outcome:
            return await asyncio.to_thread(thief.invoke, to, name, payload)

        _, sent = engine.proven("bed-1", METHOD, "sensor", UNPLUG)
        mac = str(sent["mac"])
        attacks = [
            (await tells(UNPLUG), 401),  # as it was before there was a proof
            (await tells({"seconds": 60}, "frame_interval"), 401),
            (await tells(sent | {"mac": mac[::-1]}), 401),
            (await tells(sent | {"body": json.dumps({"signal": "gsr", "connected": False})}), 401),
            (await tells(sent, "tamper"), 401),
            (await tells(sent, to="bed-2"), 410),
            (await tells(sent | {"sid": engine.newest("bed-2").sid.hex()}, to="bed-2"), 401),
        ]
        assert [outcome.status for outcome, _ in attacks] == [status for _, status in attacks]
        assert all(re.match("expected .*, got .*; nothing was done", str(o.payload["error"])) for o, _ in attacks)
        first, again = await tells(sent), await tells(sent)
        assert (first.status, again.status) == (200, 409), "the true one still counted, and once"
        await eventually_reported(house, "bed-1", "refused_commands", 6)
        await eventually_reported(house, "bed-2", "refused_commands", 2)
        assert await reported(house, "bed-1", "unplugged") == ["emg_activity_mV.corr", "emg_activity_mV.zyg"]
        assert await reported(house, "bed-1", "frame_interval_s") == 0.2
        assert await reported(house, "bed-2", "unplugged") == []
        assert (await device.stop()).forged == (await other.stop()).forged == 0


@in_loop
async def test_commands_held_back_or_from_before_another_key_do_nothing(house: House) -> None:
    async with running_engine(house) as engine:
        device = await measuring(house, engine, "bed-3")
        thief = Hub(house.rest())
        _, slow = engine.proven("bed-3", METHOD, "sensor", UNPLUG, issued_ms=1000, expires_ms=2000)
        _, held = engine.proven("bed-3", METHOD, "sensor", UNPLUG)
        _, newer = engine.proven("bed-3", METHOD, "identify", {})
        _, setting = engine.proven("bed-3", DESIRED, "frame_interval", {"seconds": 60})
        assert (await asyncio.to_thread(thief.invoke, "bed-3", "identify", newer)).status == 200
        assert (await asyncio.to_thread(thief.invoke, "bed-3", "sensor", held)).status == 409, "overtaken"
        _, crossing = engine.proven("bed-3", METHOD, "sensor", UNPLUG, issued_ms=1000, expires_ms=2000)
        assert slow["n"] < crossing["n"]  # type: ignore[operator]
        await asyncio.sleep(2.5)
        late = await asyncio.to_thread(thief.invoke, "bed-3", "sensor", crossing)
        assert late.status == 410 and "under way" in str(late.payload["body"])
        _, before = engine.proven("bed-3", METHOD, "sensor", UNPLUG)
        sid = engine.newest("bed-3").sid
        give_key(engine, house, "bed-3")  # the device is given to somebody else
        await eventually(lambda: engine.newest("bed-3").sid != sid)
        after = await asyncio.to_thread(thief.invoke, "bed-3", "sensor", before)
        assert after.status == 410 and "session" in str(after.payload["error"])
        await asyncio.to_thread(thief.patch, "bed-3", {"settings": {"frame_interval": setting}})
        await eventually_reported(house, "bed-3", "refused_settings", 1)
        assert await reported(house, "bed-3", "unplugged") == []
        assert await reported(house, "bed-3", "frame_interval_s") == 0.2
        await device.stop()


@in_loop
async def test_a_setting_without_proof_is_ignored_and_reported_and_one_with_it_holds(house: House) -> None:
    async with running_engine(house) as engine:
        device = await measuring(house, engine, "bed-4")
        thief = Hub(house.rest())
        await asyncio.to_thread(thief.patch, "bed-4", {"frame_interval_s": 60})
        await asyncio.to_thread(thief.patch, "bed-4", {"settings": {"frame_interval": {"seconds": 60}, "x": 1}})
        await eventually_reported(house, "bed-4", "refused_settings", 3)
        assert await reported(house, "bed-4", "frame_interval_s") == 0.2
        _, one = engine.proven("bed-4", DESIRED, "frame_interval", {"seconds": 1})
        _, two = engine.proven("bed-4", DESIRED, "frame_interval", {"seconds": 0.5})
        engine.order("bed-4", DESIRED, "frame_interval", {"settings": {"frame_interval": two}})
        await eventually_reported(house, "bed-4", "frame_interval_s", 0.5)
        await asyncio.to_thread(thief.patch, "bed-4", {"settings": {"frame_interval": one}})
        await eventually_reported(house, "bed-4", "refused_settings", 4)
        assert await reported(house, "bed-4", "frame_interval_s") == 0.5
        await device.stop()


@in_loop
async def test_a_device_that_was_away_finds_its_setting_and_one_that_comes_back_reports_nothing_new(
    house: House,
) -> None:
    async with running_engine(house) as engine:
        device = await measuring(house, engine, "bed-5")
        _, sent = engine.proven("bed-5", DESIRED, "frame_interval", {"seconds": 0.5})
        await asyncio.to_thread(house.hub.stop)
        await asyncio.sleep(1)
        await asyncio.to_thread(house.hub.start)
        await asyncio.to_thread(Hub(house.rest()).patch, "bed-5", {"settings": {"frame_interval": sent}})
        await eventually_reported(house, "bed-5", "frame_interval_s", 0.5)
        await asyncio.to_thread(house.hub.stop)
        await asyncio.to_thread(house.hub.start)
        seen = len(engine.frames("bed-5"))
        await eventually(lambda: len(engine.frames("bed-5")) > seen + 2, 20)
        assert (await device.stop()).refused_settings == 0


@in_loop
async def test_an_answer_changed_on_its_way_or_given_to_another_command_is_found_out(house: House) -> None:
    async with running_engine(house) as engine:
        device = await measuring(house, engine, "bed-6")
        one = engine.command("bed-6", "identify", {})
        two = engine.command("bed-6", "sensor", UNPLUG)
        await eventually(lambda: engine.answered("sensor", 200) and engine.answered("identify", 200))
        (said_one, said_two) = (o for order, o in engine.outcomes if order.kind == METHOD)
        asked = [engine.asked[int(str(order.payload["n"]))] for order in (one, two)]
        opener = engine.newest("bed-6")
        for said, status, command in (
            (said_two.payload, 200, asked[0]),
            (said_one.payload, 200, asked[1]),
            (said_one.payload, 404, asked[0]),
            (said_one.payload | {"body": said_two.payload["body"]}, 200, asked[0]),
        ):
            with pytest.raises(Rejected):
                opener.check_answer(said, status, command)
        await device.stop()


async def eventually_reported(house: House, device: str, name: str, value: object) -> None:
    """Waits for a reported property; a device reports once a second."""
    for _ in range(60):
        if await reported(house, device, name) == value:
            return
        await asyncio.sleep(0.25)
    raise AssertionError(f"expected {name} to become {value!r}, got {await reported(house, device, name)!r}")
