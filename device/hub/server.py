"""The local IoT Hub as one coroutine: three endpoints on one address, one registry, one log, until told to stop.

How the Azure SDKs are pointed to it stands in the package's own docstring (device/hub/__init__.py).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from device.hub.amqp import EventEndpoint
from device.hub.amqp_messages import encode_event
from device.hub.events import EventLog, Partition
from device.hub.http import serve_http
from device.hub.listener import Handler, Listener, server_context
from device.hub.mqtt import serve_device
from device.hub.registry import Registry
from device.hub.rest import RestEndpoint
from device.hub.settings import HubSettings, Policy, Right
from device.hub.switchboard import Switchboard

__all__ = ["HubSettings", "Policy", "Right", "serve"]

logger = logging.getLogger("everbeat.hub")

_RESERVED = 2**30  # event numbers set aside for one run; one that needs more still lies below the clock's next µs


async def serve(
    settings: HubSettings,
    stop: asyncio.Event,
    *,
    ready: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.time,
) -> None:
    """Serve until `stop` is set; `ready` is called once all three ports answer. `clock` gives Unix s.

    Raises CannotStart where a port is taken or a certificate can not be read; nothing is left listening then.
    """
    registry = Registry(settings.state_dir, clock)
    log = _log(settings, registry, clock)
    board = Switchboard(settings, registry, log)
    events, rest = EventEndpoint(settings, log, clock), RestEndpoint(settings, board, clock)
    listeners, watch = list[Listener](), asyncio.create_task(board.watch())
    try:
        for name, port, mutual, handler in (
            ("MQTT", settings.mqtt_port, True, _mqtt(board)),
            ("AMQP", settings.amqp_port, False, events.serve),
            ("HTTPS", settings.rest_port, False, _rest(rest)),
        ):
            listener = Listener(name, handler, settings)
            await listener.start(port, server_context(settings, demand_certificate=mutual))
            listeners.append(listener)
        logger.info("hub up on %s, events from %d on", settings.host, log.partitions[0].end)
        ready()
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((stopping, watch) if settings.lists else (stopping,), return_when=asyncio.FIRST_COMPLETED)
        if watch.done() and settings.lists:
            watch.result()  # who can't see revocations must not serve
    finally:
        watch.cancel()
        await asyncio.gather(*(listener.close() for listener in listeners))
        registry.close()
        logger.info("hub down; %d events were dropped from the log", sum(p.dropped for p in log.partitions))


def _log(settings: HubSettings, registry: Registry, clock: Callable[[], float]) -> EventLog:
    """An empty log whose numbers lie above all that this hub has ever given, and above the clock's µs.

    The clock covers a lost state directory, the reservation a clock that was set back.
    """
    base = registry.reserve("event", int(clock() * 1e6), _RESERVED)
    partitions = tuple(Partition(base, settings.log_events, settings.log_bytes) for _ in range(settings.partitions))
    return EventLog(partitions, encode_event, clock)


def _mqtt(board: Switchboard) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve_device(board, reader, writer)

    return handle


def _rest(rest: RestEndpoint) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve_http(rest.answer, reader, writer)

    return handle
