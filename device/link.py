"""A device's connection to its hub, by the official azure-iot-device SDK: X.509, MQTT over TLS, kept up for good.

The same code reaches Azure IoT Hub and the local hub; only :class:`HubAddress` differs. Each connection gets a fresh
SDK client: a client that is used again does not subscribe again, and a hub that was restarted has forgotten its
subscriptions. After connecting, the twin is read and handed on before anything is sent, so that receipts that came
meanwhile spare their envelopes a second journey. The SDK calls handlers in threads of its own; here they are brought
back into the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from azure.iot.device import X509, Message, MethodResponse
from azure.iot.device import exceptions as sdk
from azure.iot.device.aio import IoTHubDeviceClient

from security.identity import DeviceIdentity

log = logging.getLogger(__name__)

SDK_ERRORS = (sdk.ClientError, sdk.OperationCancelled, sdk.OperationTimeout, sdk.ServiceError, OSError, TimeoutError)
CONNECT_TIMEOUT_S = 30.0
SEND_TIMEOUT_S = 20.0
SHUTDOWN_TIMEOUT_S = 10.0
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 30.0
_WATCH_S = 1.0  # how often a lost connection is looked for, should the SDK's own word not come
_CONTENT_TYPE = "application/octet-stream"


class LinkDown(Exception):
    """The hub did not take the message: there is no connection, or it was lost meanwhile. Try again later."""


@dataclass(frozen=True, slots=True)
class HubAddress:
    """Where the hub is and which root vouches for it."""

    hostname: str  # of the IoT Hub: name.azure-devices.net, or the local hub's address
    gateway: str | None = None  # connect here instead, and expect a certificate for this name
    root: Path | None = None  # PEM; None = the roots that the machine trusts
    keep_alive_s: int = 20


class Listener(Protocol):
    """Who hears what the hub says. All calls come from the event loop."""

    async def twin(self, desired: dict[str, Any], whole: bool) -> None:
        """Desired properties: the whole set after connecting, a patch later."""

    async def method(self, name: str, payload: object) -> tuple[int, dict[str, object]]:
        """A direct method: status and answer."""


class Link:
    """Runs until cancelled; `up` is set while messages can be sent."""

    def __init__(self, address: HubAddress, identity: DeviceIdentity, listener: Listener) -> None:
        self._address, self._identity, self._listener = address, identity, listener
        self._client: IoTHubDeviceClient | None = None
        self._lost = asyncio.Event()
        self.up = asyncio.Event()
        self.connections = 0

    async def run(self) -> None:
        """Connects, hands on the twin, waits for the loss of the connection, begins again. Never returns."""
        retry_s = FIRST_RETRY_S
        while True:
            client = self._new_client()
            try:
                if await self._connect(client):
                    retry_s = FIRST_RETRY_S
                    await self._watch(client)
            finally:
                self.up.clear()
                self._client = None
                await _quietly(client.shutdown(), SHUTDOWN_TIMEOUT_S)
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, LAST_RETRY_S)

    async def send(self, body: bytes) -> None:
        """Returns when the hub has acknowledged the message, which proves nothing about its being stored."""
        await self._call(lambda client: client.send_message(Message(body, content_type=_CONTENT_TYPE)))

    async def report(self, properties: dict[str, object]) -> None:
        """Patches the reported properties."""
        await self._call(lambda client: client.patch_twin_reported_properties(properties))

    async def _call(self, call: Callable[[IoTHubDeviceClient], Awaitable[None]]) -> None:
        client = self._client
        if client is None:
            raise LinkDown("expected a connection to the hub, got none; it is sent later")
        try:
            await asyncio.wait_for(call(client), SEND_TIMEOUT_S)
        except SDK_ERRORS as error:
            self._lost.set()
            raise LinkDown(f"expected the hub's acknowledgement, got: {_root_cause(error)}") from error

    def _new_client(self) -> IoTHubDeviceClient:
        address, identity = self._address, self._identity
        options: dict[str, Any] = {"keep_alive": address.keep_alive_s}
        if address.gateway:
            options["gateway_hostname"] = address.gateway
        if address.root:
            options["server_verification_cert"] = address.root.read_text()
        return IoTHubDeviceClient.create_from_x509_certificate(
            X509(str(identity.key_path), str(identity.key_path)),  # one file: never a key with another one's chain
            address.hostname,
            identity.device_id,
            connection_retry=False,
            auto_connect=False,
            ensure_desired_properties=False,
            **options,
        )

    async def _connect(self, client: IoTHubDeviceClient) -> bool:
        place = self._address.gateway or self._address.hostname
        try:
            await asyncio.wait_for(client.connect(), CONNECT_TIMEOUT_S)
            self._lost.clear()
            await asyncio.to_thread(self._attach, client, asyncio.get_running_loop())
            twin = await asyncio.wait_for(client.get_twin(), CONNECT_TIMEOUT_S)
        except SDK_ERRORS as error:
            log.warning("expected a connection to the hub at %s, got: %s; trying again", place, _root_cause(error))
            return False
        self._client = client
        self.connections += 1
        log.info("connected to the hub at %s as %s", place, self._identity.device_id)
        await self._listener.twin(twin.get("desired", {}), True)
        self.up.set()
        return True

    async def _watch(self, client: IoTHubDeviceClient) -> None:
        while client.connected and not self._lost.is_set():
            await _quietly(self._lost.wait(), _WATCH_S)
        log.warning("connection to the hub lost; readings are kept")

    def _attach(self, client: IoTHubDeviceClient, loop: asyncio.AbstractEventLoop) -> None:
        """Handlers. Setting them subscribes, which blocks: called in a thread."""

        async def on_patch(patch: dict[str, Any]) -> None:
            asyncio.run_coroutine_threadsafe(self._listener.twin(patch, False), loop).add_done_callback(_complain)

        async def on_method(request: Any) -> None:
            asyncio.run_coroutine_threadsafe(self._method(client, request), loop).add_done_callback(_complain)

        def on_state() -> None:
            if not client.connected:
                loop.call_soon_threadsafe(self._lost.set)

        client.on_connection_state_change = on_state
        client.on_twin_desired_properties_patch_received = on_patch
        client.on_method_request_received = on_method

    async def _method(self, client: IoTHubDeviceClient, request: Any) -> None:
        status, payload = await self._listener.method(request.name, request.payload)
        response = MethodResponse.create_from_method_request(request, status, payload)
        await _quietly(client.send_method_response(response), SEND_TIMEOUT_S)


def _root_cause(error: BaseException) -> str:
    """The innermost error: the SDK wraps what TLS or the socket said in several nameless layers."""
    told = [error]
    while (inner := told[-1].__cause__ or told[-1].__context__) is not None and inner not in told:
        told.append(inner)
    spoken = next((e for e in reversed(told) if str(e)), told[-1])
    return f"{type(spoken).__name__}: {spoken}"


async def _quietly(work: Awaitable[Any], timeout_s: float) -> None:
    """Awaits `work`, whose failure changes nothing here: the connection is watched elsewhere."""
    try:
        await asyncio.wait_for(work, timeout_s)
    except SDK_ERRORS as error:
        log.debug("the hub's SDK said: %r", error)


def _complain(done: Any) -> None:
    """A handler's failure must not vanish in the SDK's threads."""
    if not done.cancelled() and done.exception() is not None:
        log.error("what the hub said could not be carried out", exc_info=done.exception())
