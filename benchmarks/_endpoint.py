"""The hub's device endpoint as a benchmark runs it: on a free port, with mutual TLS or without, its log followed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

from device.hub.amqp_messages import encode_event
from device.hub.events import EventLog, Partition
from device.hub.mqtt import serve_device
from device.hub.registry import Registry
from device.hub.settings import HubSettings
from device.hub.switchboard import Switchboard
from device.ingest import HubEvent

HOST = "127.0.0.1"
_DER = b"unchecked"


@contextlib.asynccontextmanager
async def endpoint(
    device: str, state: Path, tls: ssl.SSLContext | None, queue: asyncio.Queue[HubEvent]
) -> AsyncIterator[int]:
    """Serve one device; gives the port. What enters the event log goes into `queue` too."""
    settings = HubSettings(HOST, state.parent, state.parent, state.parent, state, ())
    state.mkdir(exist_ok=True)
    registry = Registry(state, time.time)
    registry.enrol(device, None if tls else hashlib.sha256(_DER).hexdigest())
    log = EventLog((Partition(1, settings.log_events, settings.log_bytes),), encode_event, time.time)
    _follow(log, device, queue)
    board = Switchboard(settings, registry, log)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = writer if tls else cast(asyncio.StreamWriter, _Unchecked(writer, device))
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await serve_device(board, reader, there)

    server = await asyncio.start_server(serve, HOST, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        registry.close()


def _follow(log: EventLog, device: str, queue: asyncio.Queue[HubEvent]) -> None:
    """The log's own append, and the body beside its AMQP form."""
    published = log.append

    def append(telemetry: Any) -> Any:
        event = published(telemetry)
        number = event.sequence
        queue.put_nowait(HubEvent("0", str(number), number, device, event.enqueued_ms, telemetry.body))
        return event

    log.append = append  # type: ignore[method-assign]


class _Unchecked:
    """A connection without TLS that shows the endpoint a certificate all the same."""

    def __init__(self, writer: asyncio.StreamWriter, device: str) -> None:
        self._writer, self._device = writer, device

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def get_extra_info(self, name: str) -> Any:
        return self if name == "ssl_object" else self._writer.get_extra_info(name)

    def getpeercert(self, binary_form: bool = False) -> Any:
        return _DER if binary_form else {"subject": ((("commonName", self._device),),)}
