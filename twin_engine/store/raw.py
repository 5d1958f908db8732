"""The fold's input: a stream a shard, written by ingest and by the registry, read by the shard's one owner.

A batch of events and their checkpoint go in as one transaction; Redis fsyncs it before it answers (``appendfsync
always``), so what :meth:`RawSink.put` returned from is on disk.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from device.ingest import HubEvent
from twin_engine.store import keys
from twin_engine.store.connection import Client, translated


@dataclass(frozen=True, slots=True)
class RawEvent:
    """A sealed envelope as it came from the hub."""

    id: str
    device: str  # as the hub authenticated it
    body: bytes
    enqueued_ms: int


@dataclass(frozen=True, slots=True)
class RawAssignment:
    """From `t_ms` on, `device` speaks for `patient`, or for nobody where that is empty."""

    id: str
    device: str
    patient: str
    t_ms: int


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What a device answered to a command."""

    id: str
    device: str
    name: str
    payload: dict[str, Any]
    status: int
    t_ms: int


RawRecord = RawEvent | RawAssignment | RawAnswer


class RawSink:
    """Where ingest puts events: implements :class:`device.ingest.Sink`."""

    def __init__(self, client: Client, shards: int) -> None:
        self._client = client
        self._shards = shards

    def put(self, events: Sequence[HubEvent]) -> None:
        """Store events and their partitions' checkpoints at once. On disk when it returns; StoreDown otherwise."""
        if not events:
            return
        with translated():
            devices = sorted({e.device for e in events})
            routes = dict(zip(devices, self._client.hmget(keys.ROUTE, devices), strict=True))
            batch = self._client.pipeline(transaction=True)
            for event in events:
                route = routes[event.device]
                shard = route.decode() if route else keys.shard_of(event.device, self._shards)
                fields = {"k": "event", "device": event.device, "body": event.body, "ms": event.enqueued_ms}
                batch.xadd(keys.raw(shard), fields)
                batch.set(keys.checkpoint(event.partition), event.offset)
            batch.execute()

    def checkpoint(self, partition: str) -> str | None:
        """Offset of the last stored event of a partition, or None where there is none."""
        with translated():
            offset = self._client.get(keys.checkpoint(partition))
        return offset.decode() if offset else None


def assignment_fields(device: str, patient: str, t_ms: int) -> dict[str, str | int]:
    """An assignment as an entry of the raw stream."""
    return {"k": "assigned", "device": device, "patient": patient, "ms": t_ms}


def answer_fields(device: str, name: str, payload: dict[str, Any], status: int, t_ms: int) -> dict[str, str | int]:
    """A device's answer as an entry of the raw stream."""
    return {
        "k": "answer",
        "device": device,
        "name": name,
        "payload": json.dumps(payload),
        "status": status,
        "ms": t_ms,
    }


def parse(entry_id: bytes, fields: dict[bytes, bytes]) -> RawRecord:
    """An entry of the raw stream. Raises ValueError on one of another kind."""
    name, device, t_ms = entry_id.decode(), fields[b"device"].decode(), int(fields[b"ms"])
    match fields.get(b"k"):
        case b"event":
            return RawEvent(name, device, fields[b"body"], t_ms)
        case b"assigned":
            return RawAssignment(name, device, fields[b"patient"].decode(), t_ms)
        case b"answer":
            payload = json.loads(fields[b"payload"])
            return RawAnswer(name, device, fields[b"name"].decode(), payload, int(fields[b"status"]), t_ms)
        case other:
            raise ValueError(
                f"expected an event, assignment or answer in the raw stream, got {other!r}; it was left out"
            )
