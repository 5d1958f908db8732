"""The unmodified azure-iot-device SDK against the local hub: telemetry, twin, methods, reconnection, isolation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest
from azure.iot.device import Message, MethodRequest, MethodResponse
from azure.iot.device.aio import IoTHubDeviceClient
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties

from device.hub.topics import DESIRED, METHODS
from tests.hub_kit import Kit, eventually, in_loop, running_hub

pytestmark = pytest.mark.hub


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    with running_hub("127.0.1.11", tmp_path_factory.mktemp("hub")) as kit:
        yield kit


def desired(**properties: object) -> Twin:
    return Twin(properties=TwinProperties(desired=properties))


def obeying(client: IoTHubDeviceClient, seen: list[tuple[str, object]]) -> None:
    async def obey(request: MethodRequest) -> None:
        seen.append((request.name, request.payload))
        response = MethodResponse.create_from_method_request(request, 200, {"did": request.payload})
        await client.send_method_response(response)

    client.on_method_request_received = obey


@in_loop
async def test_telemetry_is_acknowledged_once_it_is_logged(kit: Kit) -> None:
    client = kit.device("tele-1", kit.enrol("tele-1"))
    await client.connect()
    message = Message(b"\x00envelope\xff", content_type="application/octet-stream")
    await asyncio.wait_for(client.send_message(message), 5)
    await client.shutdown()


@in_loop
async def test_a_device_reads_its_twin_and_reports(kit: Kit) -> None:
    kit_pair = kit.enrol("twin-1")
    client, rest = kit.device("twin-1", kit_pair), kit.rest()
    await asyncio.to_thread(rest.update_twin, "twin-1", desired(everbeat={"frame_interval_s": 2}))
    await client.connect()
    twin = await asyncio.wait_for(client.get_twin(), 5)
    assert twin["desired"]["everbeat"] == {"frame_interval_s": 2}
    assert twin["desired"]["$version"] == 2
    await asyncio.wait_for(client.patch_twin_reported_properties({"everbeat": {"label": "bed 3", "epoch": 4}}), 5)
    await asyncio.wait_for(client.patch_twin_reported_properties({"everbeat": {"label": None}}), 5)
    reported = (await asyncio.to_thread(rest.get_twin, "twin-1")).properties.reported
    assert reported["everbeat"] == {"epoch": 4}
    assert reported["$version"] == 3
    await client.shutdown()


@in_loop
async def test_a_desired_patch_reaches_the_addressed_device_and_no_other(kit: Kit) -> None:
    patches: dict[str, list[dict[str, object]]] = {"patch-1": [], "patch-2": []}
    clients = {}
    for name, seen in patches.items():
        clients[name] = kit.device(name, kit.enrol(name))
        await clients[name].connect()
        clients[name].on_twin_desired_properties_patch_received = seen.append
        await kit.subscribed(name, DESIRED)
    await asyncio.to_thread(kit.rest().update_twin, "patch-1", desired(everbeat={"x": [1, 2]}))
    await eventually(lambda: patches["patch-1"], what="the patch")
    assert patches["patch-1"] == [{"everbeat": {"x": [1, 2]}, "$version": 2}]
    assert patches["patch-2"] == []
    for client in clients.values():
        await client.shutdown()


@in_loop
async def test_a_method_is_obeyed_and_its_answer_returned(kit: Kit) -> None:
    client, seen = kit.device("method-1", kit.enrol("method-1")), list[tuple[str, object]]()
    await client.connect()
    obeying(client, seen)
    rest = kit.rest()
    call = CloudToDeviceMethod(method_name="sensor", payload={"signal": "emg", "connected": False},
                               response_timeout_in_seconds=5, connect_timeout_in_seconds=5)  # fmt: skip
    result = await asyncio.to_thread(rest.invoke_device_method, "method-1", call)
    assert (result.status, result.payload) == (200, {"did": {"signal": "emg", "connected": False}})
    assert seen == [("sensor", {"signal": "emg", "connected": False})]
    await client.shutdown()


@in_loop
async def test_after_a_restart_of_the_hub_the_device_is_back_and_still_takes_methods(kit: Kit) -> None:
    client, seen = kit.device("back-1", kit.enrol("back-1")), list[tuple[str, object]]()
    patches = list[dict[str, object]]()
    await client.connect()
    obeying(client, seen)
    client.on_twin_desired_properties_patch_received = patches.append
    await kit.subscribed("back-1", DESIRED)
    await kit.subscribed("back-1", METHODS)
    kit.hub.stop()
    kit.hub.start()
    rest = kit.rest()
    call = CloudToDeviceMethod(method_name="identify", payload={}, response_timeout_in_seconds=5,
                               connect_timeout_in_seconds=20)  # fmt: skip
    result = await asyncio.to_thread(rest.invoke_device_method, "back-1", call)
    assert result.status == 200
    await asyncio.to_thread(rest.update_twin, "back-1", desired(after="restart"))
    await eventually(lambda: any(p.get("after") == "restart" for p in patches), what="the patch after the restart")
    await asyncio.wait_for(client.send_message(Message(b"after")), 10)
    await client.shutdown()


@in_loop
async def test_what_was_desired_while_the_device_was_away_is_learnt_on_its_return(kit: Kit) -> None:
    client, patches = kit.device("away-1", kit.enrol("away-1")), list[dict[str, object]]()
    await client.connect()
    client.on_twin_desired_properties_patch_received = patches.append
    await client.get_twin()  # without this the SDK has not subscribed to answers, and does not learn what it missed
    await kit.subscribed("away-1", DESIRED)
    await client.disconnect()
    await asyncio.to_thread(kit.rest().update_twin, "away-1", desired(while_away=True))
    await client.connect()
    await eventually(lambda: any(p.get("while_away") for p in patches), what="the missed patch")
    await client.shutdown()


@pytest.mark.parametrize("flaw", ["unregistered", "another's name", "another certificate", "expired", "self-signed"])
@in_loop
async def test_a_device_that_cannot_prove_itself_is_refused(kit: Kit, flaw: str) -> None:
    name = f"flawed-{flaw.replace(' ', '-').replace(chr(39), '')}"
    pair = kit.enrol(name)
    if flaw == "unregistered":
        name, pair = "nobody", kit.ca.device("nobody")
    elif flaw == "another's name":
        kit.enrol("victim")
        name = "victim"
    elif flaw == "another certificate":
        pair = kit.ca.device(name)
    elif flaw == "expired":
        pair = kit.ca.device(name, life=timedelta(days=-1))
    elif flaw == "self-signed":
        pair = kit.ca.device(name, self_signed=True)
    client = kit.device(name, pair, connection_retry=False, auto_connect=False)
    with pytest.raises(Exception, match=r"(?i)credential|refused|connection|unauthorized|could not"):
        await asyncio.wait_for(client.connect(), 10)
    await client.shutdown()
