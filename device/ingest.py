"""Carries events from the hub into the store, in order, each at least once, and forgets none.

Read :func:`ingest`. For every partition it starts behind the store's checkpoint. What has arrived is put into the sink
in one call a batch (a group commit over partitions); nothing counts as received before that call has returned. While
the sink fails, the same batch is tried again and nothing more is read than the SDK's bounded prefetch. A consumer that
fails, or says nothing although the hub has newer events, is thrown away and a new one starts behind the checkpoint, so
events may come twice; the sink knows them by (partition, offset).

What an envelope says is none of ingest's business: it can read none.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from azure.eventhub import EventData, TransportType
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext
from azure.eventhub.exceptions import EventHubError

from device.prompt import hasten

log = logging.getLogger(__name__)

FROM_THE_START = "-1"
BATCH_EVENTS = 256
PREFETCH_EVENTS = 300
SIGN_OF_LIFE_S = 1.0  # an idle partition calls back this often
WATCH_S = 10.0
SILENT_S = 20.0  # a partition whose newest event has not come for this long is taken for dead
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 15.0
_DEVICE = b"iothub-connection-device-id"


class SinkFailed(Exception):
    """The sink still failed when ingest was told to stop; the batch comes again with the next start."""


_FAILURES = (EventHubError, OSError, TimeoutError, ValueError, SinkFailed)


@dataclass(frozen=True, slots=True)
class HubEvent:
    """One message of a device, as the hub keeps it."""

    partition: str
    offset: str
    sequence: int  # grows within a partition
    device: str  # whom the hub authenticated
    enqueued_ms: int  # the hub's clock, UTC
    body: bytes


class Sink(Protocol):
    """Where events are kept. Called from threads, one call at a time."""

    def put(self, events: Sequence[HubEvent]) -> None:
        """Stores the events and each partition's checkpoint in one go; durable when it returns. Raises to try again."""

    def checkpoint(self, partition: str) -> str | None:
        """Offset of the last stored event, or None."""


@dataclass(frozen=True, slots=True)
class EventHubSettings:
    """The hub's event endpoint."""

    connection_string: str = field(repr=False)  # with EntityPath
    consumer_group: str = "$Default"
    root: Path | None = None  # PEM; None = the roots that the machine trusts


@dataclass(slots=True)
class IngestMetrics:
    """What one ingest process has done."""

    events: int = 0
    bytes: int = 0
    batches: int = 0
    foreign: int = 0  # events that no device sent, such as lifecycle notices
    failed_puts: int = 0
    connections: int = 0
    put_ms: float = 0.0  # of the last batch
    lag_ms: float = 0.0  # from the hub's clock at enqueuing to stored, of the last event
    behind: dict[str, int] = field(default_factory=dict)  # events that the hub has and the sink has not, a partition


async def ingest(
    connection: EventHubSettings, sink: Sink, stop: asyncio.Event, metrics: IngestMetrics | None = None
) -> None:
    """Runs until `stop` is set; then the batch under way is still stored."""
    writer = _Writer(sink, metrics or IngestMetrics(), stop)
    retry_s = FIRST_RETRY_S
    while not stop.is_set():
        began_s = time.monotonic()
        try:
            await _consume(connection, writer, stop)
        except _FAILURES as error:
            log.warning("the hub's events stopped (%s); starting again behind the checkpoint", str(error)[:200])
        if time.monotonic() - began_s > LAST_RETRY_S:
            retry_s = FIRST_RETRY_S
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), retry_s)
        retry_s = min(2 * retry_s, LAST_RETRY_S)


class _Writer:
    """Joins the batches of all partitions into one put at a time, and tries again until it has succeeded."""

    def __init__(self, sink: Sink, metrics: IngestMetrics, stop: asyncio.Event) -> None:
        self.sink, self.metrics, self._stop = sink, metrics, stop
        self._waiting: list[HubEvent] = []
        self._done = asyncio.Event()
        self._busy = asyncio.Lock()

    async def put(self, events: list[HubEvent]) -> None:
        """Returns when `events` are durable. Whoever comes while a put is under way shares the next one."""
        self._waiting += events
        done = self._done
        async with self._busy:
            if done.is_set():
                return  # another partition's put took ours along
            batch, self._waiting = self._waiting, []
            self._done = asyncio.Event()
            try:
                await self._store(batch)
            except SinkFailed:
                self._waiting = batch + self._waiting
                raise
            done.set()

    async def _store(self, batch: list[HubEvent]) -> None:
        if not batch:
            return
        retry_s = FIRST_RETRY_S
        while True:
            began_s = time.perf_counter()
            try:
                await asyncio.to_thread(self.sink.put, batch)
                break
            except Exception as error:  # whatever the store's trouble is
                self.metrics.failed_puts += 1
                log.warning("%d events could not be stored (%r); trying the same again", len(batch), error)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), retry_s)
                    raise SinkFailed(
                        f"expected to store {len(batch)} events, got {error!r}; they come again"
                    ) from error
                retry_s = min(2 * retry_s, LAST_RETRY_S)
        self.metrics.put_ms = (time.perf_counter() - began_s) * 1000
        self.metrics.events += len(batch)
        self.metrics.bytes += sum(len(e.body) for e in batch)
        self.metrics.batches += 1
        self.metrics.lag_ms = time.time() * 1000 - batch[-1].enqueued_ms


async def _consume(connection: EventHubSettings, writer: _Writer, stop: asyncio.Event) -> None:
    """One consumer's life: returns on stop, raises on any failure or on silence."""
    client = _client(connection)
    async with client:
        partitions = await asyncio.wait_for(client.get_partition_ids(), LAST_RETRY_S)
        reader = _Reader(writer, {p: await asyncio.to_thread(writer.sink.checkpoint, p) for p in partitions})
        writer.metrics.connections += 1
        log.info("reading %d partitions of the hub", len(partitions))
        receiving = asyncio.create_task(client.receive_batch(
            reader.on_events,
            on_error=reader.on_error,
            starting_position={p: offset or FROM_THE_START for p, offset in reader.offsets.items()},
            max_batch_size=BATCH_EVENTS,
            max_wait_time=SIGN_OF_LIFE_S,
            prefetch=PREFETCH_EVENTS,
        ))  # fmt: skip
        watching = asyncio.create_task(_watch(client, reader))
        stopping = asyncio.create_task(stop.wait())
        failing = asyncio.create_task(reader.failed.wait())
        tasks = [receiving, watching, stopping, failing]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await reader.idle()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    if reader.failed.is_set():
        raise reader.error
    for task in (receiving, watching):
        if task.done() and not task.cancelled():
            task.result()


def _client(connection: EventHubSettings) -> EventHubConsumerClient:
    options: dict[str, Any] = {"connection_verify": str(connection.root)} if connection.root else {}
    client = EventHubConsumerClient.from_connection_string(
        connection.connection_string,
        connection.consumer_group,
        transport_type=TransportType.Amqp,
        retry_total=1,
        **options,
    )
    hasten(client)
    return client


class _Reader:
    """What one consumer has read, and how it fares."""

    def __init__(self, writer: _Writer, offsets: dict[str, str | None]) -> None:
        self._writer, self.offsets = writer, offsets
        self.sequences = dict.fromkeys(offsets, -1)  # of the last event that this consumer has stored
        self.failed, self.error = asyncio.Event(), Exception()
        self.moved_s = dict.fromkeys(offsets, time.monotonic())  # when there last was nothing to complain of
        self._called_s = dict.fromkeys(offsets, time.monotonic())
        self.busy = 0

    async def on_events(self, partition: PartitionContext, events: list[EventData]) -> None:
        """The SDK's callback: stores them, and only then lets the SDK read on."""
        name = partition.partition_id
        ours = [e for e in (_event(name, raw) for raw in events) if e is not None]
        self._writer.metrics.foreign += len(events) - len(ours)
        if ours:
            self.busy += 1
            try:
                await self._writer.put(ours)
            finally:
                self.busy -= 1
        self._called_s[name] = time.monotonic()
        if events:
            self.offsets[name], self.sequences[name] = events[-1].offset, int(events[-1].sequence_number or 0)
            self.moved_s[name] = time.monotonic()

    async def on_error(self, partition: PartitionContext | None, error: Exception) -> None:
        """The SDK's callback. One broken partition is reason enough to begin again: order matters more."""
        if not isinstance(error, _FAILURES):
            log.error("an unexpected error of the event hub SDK", exc_info=error)
        self.error = error if isinstance(error, _FAILURES) else EventHubError(repr(error))
        self.failed.set()

    async def idle(self) -> None:
        """Returns when no put is under way."""
        while self.busy:
            await asyncio.sleep(0.01)

    def judge(self, name: str, hub: dict[str, Any]) -> None:
        """`hub` is what the hub says of the partition. Raises EventHubError where its events do not come."""
        now_s = time.monotonic()
        read_all = hub["is_empty"] or hub["last_enqueued_offset"] == self.offsets[name]
        newest = int(hub["last_enqueued_sequence_number"])
        self._writer.metrics.behind[name] = 0 if read_all else max(1, newest - self.sequences[name])
        if self.busy:
            self.moved_s[name] = self._called_s[name] = now_s
        elif read_all:
            self.moved_s[name] = now_s
        if now_s - min(self.moved_s[name], self._called_s[name]) > SILENT_S:
            raise EventHubError(
                f"partition {name} gives nothing after {self.offsets[name]}, although {newest} is there"
            )


async def _watch(client: EventHubConsumerClient, reader: _Reader) -> None:
    """Raises where a partition is dead and the SDK has not noticed."""
    while True:
        await asyncio.sleep(WATCH_S)
        for name in reader.offsets:
            reader.judge(name, await asyncio.wait_for(client.get_partition_properties(name), LAST_RETRY_S))


def _event(partition: str, raw: EventData) -> HubEvent | None:
    """None where no device sent it."""
    device = raw.system_properties.get(_DEVICE)
    if device is None or raw.offset is None or raw.sequence_number is None:
        return None
    body = raw.body if isinstance(raw.body, bytes) else b"".join(raw.body)
    enqueued_ms = int(raw.enqueued_time.timestamp() * 1000) if raw.enqueued_time else 0
    return HubEvent(partition, raw.offset, raw.sequence_number, device.decode(), enqueued_ms, body)
