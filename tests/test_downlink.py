"""Orders reach devices by the real service SDK: receipts together, commands at once, none lost, none held up."""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from azure.iot.device import X509, MethodRequest, MethodResponse
from azure.iot.device.aio import IoTHubDeviceClient

from device.downlink import Hub, Order, Outcome, _Desk, run_downlink
from tests.device_kit import House, running_house
from tests.hub_kit import eventually, in_loop

pytestmark = [pytest.mark.hub, pytest.mark.timeout(60)]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house("127.0.1.34", tmp_path) as house:
        yield house


class Tray:
    """An outbox in memory."""

    def __init__(self) -> None:
        self.results: dict[str, Outcome] = {}
        self._orders: queue.Queue[Order] = queue.Queue()
        self._count = 0

    def add(self, device: str, kind: str, name: str, payload: dict[str, object]) -> str:
        self._count += 1
        self._orders.put(Order(str(self._count), device, kind, name, payload))  # type: ignore[arg-type]
        return str(self._count)

    def take(self, block_ms: int) -> Sequence[Order]:
        try:
            return [self._orders.get(timeout=block_ms / 1000)]
        except queue.Empty:
            return []

    def done(self, order: Order, outcome: Outcome) -> None:
        assert order.id not in self.results, "an order is done once"
        self.results[order.id] = outcome


@asynccontextmanager
async def running(house: House, receipt_every_s: float = 0.5) -> AsyncIterator[Tray]:
    tray, stop = Tray(), asyncio.Event()
    task = asyncio.create_task(run_downlink(house.rest(receipt_every_s), tray, stop))
    try:
        yield tray
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)


@asynccontextmanager
async def device(house: House, name: str, delay_s: float = 0.0) -> AsyncIterator[tuple[list[str], list[dict]]]:  # type: ignore[type-arg]
    """A connected device that obeys after a while: names of methods, desired patches."""
    identity, methods, patches = house.device(name), [], []
    client = IoTHubDeviceClient.create_from_x509_certificate(
        X509(str(identity.chain_path), str(identity.key_path)), house.host, name,
        server_verification_cert=identity.root_path.read_text(), connection_retry_interval=1,
    )  # fmt: skip

    async def obey(request: MethodRequest) -> None:
        methods.append(request.name)
        await asyncio.sleep(delay_s)
        answer = MethodResponse.create_from_method_request(request, 200, {"did": request.payload})
        await client.send_method_response(answer)

    async def note(patch: dict) -> None:  # type: ignore[type-arg]
        patches.append(patch["everbeat"])

    await client.connect()
    await asyncio.to_thread(setattr, client, "on_method_request_received", obey)
    await asyncio.to_thread(setattr, client, "on_twin_desired_properties_patch_received", note)
    try:
        yield methods, patches
    finally:
        await client.shutdown()


@in_loop
async def test_a_method_s_answer_is_the_outcome(house: House) -> None:
    async with device(house, "a") as (methods, _), running(house) as tray:
        order = tray.add("a", "method", "sensor", {"signal": "emg", "connected": False})
        await eventually(lambda: order in tray.results)
        assert tray.results[order] == Outcome(200, {"did": {"signal": "emg", "connected": False}})
        assert methods == ["sensor"]


@in_loop
async def test_a_device_that_is_not_connected_or_not_known_is_404_with_the_reason(house: House) -> None:
    house.device("away")
    async with running(house) as tray:
        orders = [tray.add("away", "method", "identify", {}), tray.add("nobody", "desired", "x", {"x": 1})]
        await eventually(lambda: all(o in tray.results for o in orders))
        assert [tray.results[o].status for o in orders] == [404, 404]
        assert "online" in tray.results[orders[0]].detail


@pytest.mark.alone
@in_loop
async def test_receipts_wait_their_turn_and_go_together_the_newest_of_each_session(house: House) -> None:
    async with device(house, "a") as (_, patches), running(house, receipt_every_s=1.0) as tray:
        first = tray.add("a", "receipt", "00", {"upto": 0})
        await eventually(lambda: first in tray.results)
        began_s = time.monotonic()
        orders = [tray.add("a", "receipt", sid, {"upto": n}) for n in range(5) for sid in ("00", "01")]
        await eventually(lambda: all(o in tray.results for o in orders))
        assert 0.5 < time.monotonic() - began_s < 3
        await eventually(lambda: len(patches) == 2)
        assert patches[1]["receipts"] == {"00": {"upto": 4}, "01": {"upto": 4}}
        assert all(tray.results[o].status == 200 for o in orders)


@in_loop
async def test_settings_go_at_once_and_take_waiting_receipts_along(house: House) -> None:
    async with device(house, "a") as (_, patches), running(house, receipt_every_s=30) as tray:
        first = tray.add("a", "receipt", "00", {"upto": 0})
        await eventually(lambda: first in tray.results)
        waiting = tray.add("a", "receipt", "00", {"upto": 7})
        await asyncio.sleep(0.3)
        assert waiting not in tray.results
        urgent = tray.add("a", "desired", "frame_interval_s", {"frame_interval_s": 10})
        await eventually(lambda: urgent in tray.results and waiting in tray.results, 3)
        await eventually(lambda: len(patches) == 2)
        assert patches[1] == {"frame_interval_s": 10, "receipts": {"00": {"upto": 7}}}


@in_loop
async def test_an_empty_receipt_makes_the_twin_forget_the_session(house: House) -> None:
    async with device(house, "a") as (_, patches), running(house, receipt_every_s=0.1) as tray:
        for payload in ({"upto": 3}, {}):
            order = tray.add("a", "receipt", "00", payload)
            await eventually(lambda order=order: order in tray.results)
        await eventually(lambda: len(patches) == 2)
        assert patches[1]["receipts"] == {"00": None}


@in_loop
async def test_a_slow_device_holds_up_nobody_else_nor_its_own_receipts(house: House) -> None:
    async with device(house, "slow", delay_s=3.0), device(house, "fast"), running(house) as tray:
        slow = tray.add("slow", "method", "identify", {})
        await asyncio.sleep(0.1)
        own, others = tray.add("slow", "receipt", "00", {"upto": 1}), tray.add("fast", "method", "identify", {})
        await eventually(lambda: own in tray.results and others in tray.results, 2)
        assert slow not in tray.results
        await eventually(lambda: slow in tray.results)
        assert tray.results[slow].status == 200


@in_loop
async def test_methods_of_one_device_keep_their_order(house: House) -> None:
    async with device(house, "a") as (methods, _), running(house) as tray:
        orders = [tray.add("a", "method", f"m{i}", {}) for i in range(8)]
        await eventually(lambda: all(o in tray.results for o in orders))
        assert methods == [f"m{i}" for i in range(8)]


@in_loop
async def test_while_the_hub_is_down_orders_wait_and_are_not_lost(house: House) -> None:
    house.device("a")
    await asyncio.to_thread(house.hub.stop)
    async with running(house) as tray:
        orders = [tray.add("a", "desired", "k", {"k": 5}), tray.add("a", "receipt", "00", {"upto": 1})]
        await asyncio.sleep(1.5)
        assert tray.results == {}
        await asyncio.to_thread(house.hub.start)
        await eventually(lambda: all(o in tray.results for o in orders), 20)
        assert [tray.results[o].status for o in orders] == [200, 200]


@in_loop
async def test_a_throttled_order_is_tried_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from msrest.exceptions import HttpOperationError

    answers = [429, 503, 200]
    hub = Hub(house.rest())
    house.device("a")
    true_patch = hub._twins.update_twin

    def throttled(*args: object) -> object:
        status = answers.pop(0)
        if status == 200:
            return true_patch(*args)
        response = type("Response", (), {"status_code": status, "text": "", "reason": "", "headers": {}})()
        error = HttpOperationError.__new__(HttpOperationError)
        error.response = response
        raise error

    monkeypatch.setattr(hub._twins, "update_twin", throttled)
    monkeypatch.setattr("device.downlink.FIRST_RETRY_S", 0.05)
    tray = Tray()
    desk = _Desk(hub, tray, 0.1)
    await desk.accept(Order("1", "a", "desired", "k", {"k": 1}))
    await eventually(lambda: "1" in tray.results)
    await desk.close()
    assert tray.results["1"].status == 200 and answers == []


def test_a_connection_string_that_is_none_is_refused() -> None:
    from device.downlink import RestSettings

    with pytest.raises(ValueError, match="onnection"):
        Hub(RestSettings("HostName=only"))
