"""A hub in memory for its targets: each endpoint as its listener runs it, over a connection that has ended.

The connection has ended behind the bytes, so that every run comes to an end. The endpoints are the hub's own; only the
socket and TLS are missing. A hub is thrown away after so many runs, so that what devices stored in it does not pile up.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from device.hub.amqp import EventEndpoint
from device.hub.amqp_messages import encode_event
from device.hub.events import EventLog, Partition
from device.hub.registry import Registry
from device.hub.rest import RestEndpoint
from device.hub.settings import HubSettings, Policy, Right
from device.hub.switchboard import Switchboard
from fuzzing.targets import Run

NOW_S = 1_780_000_000.0
DEVICE, DER = "fuzzed", b"a certificate that TLS has verified"
KEY = base64.b64encode(bytes(range(32))).decode()
RUNS_A_HUB = 2000
Made = tuple[Run, list[bytes]]
Serve = Callable[["Hub", asyncio.StreamReader, Any], Awaitable[None]]


class _Transport:
    """What endpoints ask of a transport: whether it still takes bytes."""

    def __init__(self) -> None:
        self.closed = False

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return 0


class _Tls:
    """The certificate that the TLS of a true connection would have verified."""

    def getpeercert(self, binary_form: bool = False) -> Any:
        return DER if binary_form else {"subject": ((("commonName", DEVICE),),)}


class _Writer:
    """The hub's side of a connection in memory; it counts what was written, and may grow no further than `most`."""

    def __init__(self, most: int = 4 * 1024 * 1024) -> None:
        self.transport, self.written, self._most = _Transport(), 0, most

    def write(self, data: bytes) -> None:
        self.written += len(data)
        assert self.written <= self._most, "a short request had an answer of megabytes"

    async def drain(self) -> None:
        await asyncio.sleep(0)

    def close(self) -> None:
        self.transport.closed = True

    def get_extra_info(self, name: str) -> object:
        return _Tls() if name == "ssl_object" else None


class Hub:
    """A hub without sockets."""

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory()
        here = Path(self._home.name)
        policy = Policy("service", KEY, Right.OWNER)
        nowhere = here / "none.pem"
        self.settings = HubSettings("127.0.0.9", nowhere, nowhere, nowhere, here, (policy,), log_events=200)
        self.registry = Registry(here, lambda: NOW_S)
        self.registry.enrol(DEVICE, hashlib.sha256(DER).hexdigest(), None)
        self.log = _log(self.settings)
        self.board = Switchboard(self.settings, self.registry, self.log)
        self.events = EventEndpoint(self.settings, self.log, lambda: NOW_S)
        self.rest = RestEndpoint(self.settings, self.board, lambda: NOW_S)
        self.left = RUNS_A_HUB

    def close(self) -> None:
        self.registry.close()
        self._home.cleanup()


class Endpoint:
    """Runs one endpoint on bytes, in one event loop, on one hub after the other."""

    def __init__(self, serve: Serve) -> None:
        self._serve, self._loop, self._hub = serve, asyncio.new_event_loop(), Hub()

    def run(self, data: bytes) -> None:
        """Serve a connection that says `data` and ends."""
        self._hub.left -= 1
        if not self._hub.left:
            self._hub.close()
            self._hub = Hub()
        self._loop.run_until_complete(self._one(data))

    async def _one(self, data: bytes) -> None:
        reader, writer = asyncio.StreamReader(), _Writer()
        reader.feed_data(data)
        reader.feed_eof()
        try:
            async with asyncio.timeout(5):
                await self._serve(self._hub, reader, writer)
        except ConnectionError:
            pass  # the end of the bytes
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        if left:
            _, alive = await asyncio.wait(left, timeout=2)
            assert not alive, "a connection ended and left a task behind"


def _log(settings: HubSettings) -> EventLog:
    parts = tuple(Partition(1, settings.log_events, settings.log_bytes) for _ in range(settings.partitions))
    return EventLog(parts, encode_event, lambda: NOW_S)


def token(audience: str, key: bytes) -> str:
    """A shared access signature as a client of the service makes one."""
    resource, expiry = quote(audience, safe=""), str(int(NOW_S) + 3600)
    proof = hmac.new(key, f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    return f"SharedAccessSignature sr={resource}&sig={quote(base64.b64encode(proof), safe='')}&se={expiry}&skn=service"
