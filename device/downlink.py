"""Carries the engine's words to devices: receipts and settings as desired properties, commands as direct methods.

By the official azure-iot-hub package, whose calls block: they run in threads. Every device has its own queue and its
own two tasks (one for its twin, one for methods), so a device that does not answer holds up nobody else and not even
its own receipts. Receipts are cumulative: only the newest of a session waits, and one PATCH a device and
`receipt_every_s` carries all of them. Settings and methods go at once. A throttled (429) or unreachable hub is tried
again with a growing pause, for as long as it takes; nothing is dropped.

What an order means is the engine's business, and it carries the engine's proof, as an answer carries the device's
(ADR 0019). `payload` by kind: "method": the method's payload. "desired": properties below ``everbeat``, merged into the
twin. "receipt": the receipt of the session `name` (sid in hex); empty = forget it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import requests
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties
from msrest.exceptions import ClientRequestError, HttpOperationError

log = logging.getLogger(__name__)
T = TypeVar("T")

TAKE_MS = 500
TWIN_TIMEOUT_S = 10
METHOD_CONNECT_S = 0  # a device that is not there is not waited for
METHOD_ANSWER_S = 10  # IoT Hub allows 5 to 300
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 60.0
TWIN_THREADS, METHOD_THREADS = 8, 32
MAX_WAITING = 10_000  # orders; beyond it nothing more is taken from the outbox until some are done
IDLE_S = 300.0  # a device without orders gives up its tasks after this
_AGAIN = frozenset({408, 429, 500, 502, 503})
_UNREACHABLE = (ClientRequestError, requests.RequestException, OSError)


@dataclass(frozen=True, slots=True)
class Order:
    """Something to tell a device."""

    id: str
    device: str
    kind: Literal["method", "desired", "receipt"]
    name: str
    payload: dict[str, object]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an order: an HTTP status, or the status that the device's method gave."""

    status: int  # 200 done, 404 no such device or not connected, 504 no answer in time
    payload: dict[str, object]
    detail: str = ""  # one sentence, where it failed


class Outbox(Protocol):
    """Where orders come from. Called from threads."""

    def take(self, block_ms: int) -> Sequence[Order]:
        """New orders, each once a process; waits at most `block_ms` for the first."""

    def done(self, order: Order, outcome: Outcome) -> None:
        """The order need not come again."""


@dataclass(frozen=True, slots=True)
class RestSettings:
    """The hub's service endpoint."""

    connection_string: str = field(repr=False)  # HostName=host[:port];SharedAccessKeyName=...;SharedAccessKey=...
    root: Path | None = None  # PEM; None = the roots that the machine trusts
    receipt_every_s: float = 10.0


class HubBusy(Exception):
    """The hub asks for patience, or cannot be reached."""


class Hub:
    """The service SDK with our timeouts, our roots and no hidden retries. Blocks; one object serves all threads."""

    def __init__(self, settings: RestSettings) -> None:
        """Raises ValueError on a connection string that is none."""
        self._twins = _manager(settings, TWIN_TIMEOUT_S)
        self._methods = _manager(settings, METHOD_CONNECT_S + METHOD_ANSWER_S + 5)

    def patch(self, device: str, properties: dict[str, object]) -> Outcome:
        """Merges `properties` into the desired ones below ``everbeat``. Raises HubBusy."""
        twin = Twin(properties=TwinProperties(desired={"everbeat": properties}))
        return _outcome(lambda: _patched(self._twins.update_twin(device, twin, "*")))

    def invoke(self, device: str, name: str, payload: dict[str, object]) -> Outcome:
        """The device's own status and answer. Raises HubBusy."""
        method = CloudToDeviceMethod(
            method_name=name,
            payload=payload,
            response_timeout_in_seconds=METHOD_ANSWER_S,
            connect_timeout_in_seconds=METHOD_CONNECT_S,
        )
        return _outcome(lambda: _answered(self._methods.invoke_device_method(device, method)))

    def reported(self, device: str) -> dict[str, object]:
        """What the device last reported below ``everbeat``; empty where it never did. Raises HubBusy."""
        outcome = _outcome(lambda: _reported(self._twins.get_twin(device)))
        if outcome.status not in (200, 404):  # a key that is none: nothing was reported to *us*
            raise HubBusy(outcome.detail)
        return outcome.payload


async def run_downlink(settings: RestSettings, outbox: Outbox, stop: asyncio.Event) -> None:
    """Runs until `stop` is set; then what is under way is finished, and what waits stays in the outbox."""
    desk = _Desk(Hub(settings), outbox, settings.receipt_every_s)
    try:
        while not stop.is_set():
            if desk.waiting >= MAX_WAITING:
                await asyncio.sleep(TAKE_MS / 1000)
                continue
            for order in await desk.take():
                await desk.accept(order)
    finally:
        await desk.close()


class _Desk:
    """Knows every device that has orders."""

    def __init__(self, hub: Hub, outbox: Outbox, receipt_every_s: float) -> None:
        self.hub, self._outbox, self.receipt_every_s = hub, outbox, receipt_every_s
        self.twin_threads = ThreadPoolExecutor(TWIN_THREADS, "twins")
        self.method_threads = ThreadPoolExecutor(METHOD_THREADS, "methods")
        self._store_threads = ThreadPoolExecutor(2, "outbox")
        self._devices = dict[str, _Device]()
        self.waiting = 0

    async def take(self) -> Sequence[Order]:
        """New orders. The store's failure is waited out."""
        try:
            return await _in_thread(self._store_threads, self._outbox.take, TAKE_MS)
        except Exception as error:  # noqa: BLE001 whatever the store's trouble is, devices still wait for orders
            log.warning("no orders could be read (%r); trying again", error)
            await asyncio.sleep(FIRST_RETRY_S)
            return ()

    async def accept(self, order: Order) -> None:
        """Queues it at its device."""
        device = self._devices.get(order.device)
        if device is None:
            self._devices = {name: d for name, d in self._devices.items() if not d.retire()}
            device = self._devices[order.device] = _Device(order.device, self)
        self.waiting += 1
        superseded = device.accept(order)
        if superseded is not None:
            await self.done([superseded], Outcome(200, {}, "a newer receipt says the same and more"))

    async def done(self, orders: Sequence[Order], outcome: Outcome) -> None:
        """Tells the outbox, again and again until it listens."""
        self.waiting -= len(orders)
        for order in orders:
            if outcome.detail and outcome.status >= 400:
                log.warning("%s %s to %s: %s", order.kind, order.name, order.device, outcome.detail)
            with suppress(Exception):  # an order that comes twice does no harm; losing the process would
                await _in_thread(self._store_threads, self._outbox.done, order, outcome)

    async def ask(self, threads: ThreadPoolExecutor, call: Callable[..., Outcome], *args: Any) -> Outcome:
        """Makes the call in a thread until the hub has time for it."""
        retry_s = FIRST_RETRY_S
        while True:
            try:
                return await _in_thread(threads, call, *args)
            except HubBusy as busy:
                log.warning("%s; trying again in %g s", busy, retry_s)
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, LAST_RETRY_S)

    async def close(self) -> None:
        """Ends all devices' tasks."""
        await asyncio.gather(*(device.close() for device in self._devices.values()))
        for threads in (self.twin_threads, self.method_threads, self._store_threads):
            threads.shutdown(wait=False, cancel_futures=True)


class _Device:
    """The orders of one device, and the two tasks that carry them out."""

    def __init__(self, name: str, desk: _Desk) -> None:
        self._name, self._desk = name, desk
        self._methods: asyncio.Queue[Order] = asyncio.Queue()
        self._desired, self._receipts = list[Order](), dict[str, Order]()
        self._news, self._urgent = asyncio.Event(), asyncio.Event()
        self._open = 0  # orders that were accepted and are not done
        self._last_patch_s = float("-inf")
        self._last_order_s = time.monotonic()
        self._tasks = [asyncio.create_task(self._twin()), asyncio.create_task(self._call())]

    def accept(self, order: Order) -> Order | None:
        """Queues it. Returns the order that it makes needless."""
        self._last_order_s = time.monotonic()
        self._open += 1
        if order.kind == "method":
            self._methods.put_nowait(order)
            return None
        self._news.set()
        if order.kind == "desired":
            self._desired.append(order)
            self._urgent.set()
            return None
        superseded = self._receipts.pop(order.name, None)
        self._open -= superseded is not None
        self._receipts[order.name] = order
        return superseded

    def retire(self) -> bool:
        """True, and its tasks end, where it has had nothing to do for long."""
        if self._open or time.monotonic() - self._last_order_s < IDLE_S:
            return False
        for task in self._tasks:
            task.cancel()
        return True

    async def close(self) -> None:
        """Ends the tasks; orders that were not done come again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _twin(self) -> None:
        """One PATCH at a time: at once for settings, else when receipts have waited their turn."""
        while True:
            await self._news.wait()
            wait_s = self._last_patch_s + self._desk.receipt_every_s - time.monotonic()
            if wait_s > 0 and not self._desired:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._urgent.wait(), wait_s)
            self._news.clear()
            self._urgent.clear()
            settings, self._desired = self._desired, []
            receipts, self._receipts = self._receipts, {}
            properties: dict[str, object] = {}
            for order in settings:
                _merge(properties, order.payload)
            if receipts:
                properties["receipts"] = {sid: order.payload or None for sid, order in receipts.items()}
            outcome = await self._desk.ask(self._desk.twin_threads, self._desk.hub.patch, self._name, properties)
            self._last_patch_s = time.monotonic()
            await self._finish([*settings, *receipts.values()], outcome)

    async def _call(self) -> None:
        """One method at a time, in order: "unplug" and "plug in" must not overtake each other."""
        while True:
            order = await self._methods.get()
            outcome = await self._desk.ask(
                self._desk.method_threads, self._desk.hub.invoke, order.device, order.name, order.payload
            )
            await self._finish([order], outcome)

    async def _finish(self, orders: list[Order], outcome: Outcome) -> None:
        self._open -= len(orders)
        await self._desk.done(orders, outcome)


def _merge(properties: dict[str, object], newer: dict[str, object]) -> None:
    """One level deep, as the hub merges patches: two settings in one patch do not push each other out."""
    for name, value in newer.items():
        before = properties.get(name)
        properties[name] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value


async def _in_thread(threads: ThreadPoolExecutor, call: Callable[..., T], *args: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(threads, call, *args)


def _manager(settings: RestSettings, timeout_s: int) -> IoTHubRegistryManager:
    manager = IoTHubRegistryManager.from_connection_string(settings.connection_string)
    config = manager.protocol.config
    config.connection.timeout = timeout_s
    config.retry_policy.retries = 0
    if settings.root is not None:
        config.connection.verify = str(settings.root)
    return manager


def _outcome(call: Callable[[], Outcome]) -> Outcome:
    """The call's outcome, or the outcome that its error means. Raises HubBusy where it should be tried again."""
    try:
        return call()
    except HttpOperationError as error:
        status = int(error.response.status_code)
        if status in _AGAIN:
            raise HubBusy(f"expected the hub to take an order, got {status}") from error
        return Outcome(status, {}, f"expected 200 from the hub, got {status}: {_reason(error)}")
    except _UNREACHABLE as error:
        raise HubBusy(f"expected an answer from the hub, got {str(error)[:160]}") from error


def _reported(twin: Twin) -> Outcome:
    return Outcome(200, dict((twin.properties.reported or {}).get("everbeat", {})))


def _patched(_: Twin) -> Outcome:
    return Outcome(200, {})


def _answered(result: Any) -> Outcome:
    payload = result.payload if isinstance(result.payload, dict) else {"answer": result.payload}
    detail = "" if result.status < 400 else f"expected the device to obey, got: {json.dumps(payload)[:200]}"
    return Outcome(int(result.status), payload, detail)


def _reason(error: HttpOperationError) -> str:
    """IoT Hub packs its sentence twice: {"Message": "ErrorCode:X;{..., \"message\": \"the sentence\"}"}."""
    text = getattr(error.response, "text", "")
    whole = str(text() if callable(text) else text)
    found = re.search(r'\\"message\\":\s*\\"(.*?)\\"', whole, re.IGNORECASE)
    return (found.group(1) if found else whole)[:200]
