"""The fold's input: a stream a shard, written by ingest and downlink, read by the shard's one owner.

An envelope goes to the shard that can open it: where its session was opened, or the key was made that it is sealed to.
So a device that was given to a patient of another shard still empties its spool; only then does its route count.

A batch of events and their checkpoint go in as one transaction; Redis fsyncs it before it answers (``appendfsync
always``), so what :meth:`RawSink.put` returned from is on disk.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from device.ingest import HubEvent
from security.envelope import named_recipient, parse_header
from security.errors import Rejected
from twin_engine.store import keys
from twin_engine.store.connection import Client, translated

_OPENED_KEPT = 1024  # sessions; more than are opened between two commits of an engine


@dataclass(frozen=True, slots=True)
class RawEvent:
    """A sealed envelope as it came from the hub."""

    id: str
    device: str  # as the hub authenticated it
    body: bytes
    enqueued_ms: int


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What a device answered to a command."""

    id: str
    device: str
    name: str
    payload: dict[str, Any]
    status: int
    t_ms: int


RawRecord = RawEvent | RawAnswer


class RawSink:
    """Where ingest puts events: implements :class:`device.ingest.Sink`."""

    def __init__(self, client: Client, shards: int) -> None:
        self._client = client
        self._shards = shards
        self._opened: dict[bytes, str] = {}

    def put(self, events: Sequence[HubEvent]) -> None:
        """Store events and their partitions' checkpoints at once. On disk when it returns; StoreDown otherwise."""
        if not events:
            return
        with translated():
            shards = self._shards_of(events)
            batch = self._client.pipeline(transaction=True)
            for event, shard in zip(events, shards, strict=True):
                fields = {"k": "event", "device": event.device, "body": event.body, "ms": event.enqueued_ms}
                batch.xadd(keys.raw(shard), fields)
                batch.set(keys.checkpoint(event.partition), event.offset)
            batch.execute()

    def checkpoint(self, partition: str) -> str | None:
        """Offset of the last stored event of a partition, or None where there is none."""
        with translated():
            offset = self._client.get(keys.checkpoint(partition))
        return offset.decode() if offset else None

    def _shards_of(self, events: Sequence[HubEvent]) -> list[str]:
        """For each event the shard that can open it, else that of its device's patient, else any one."""
        if self._shards == 1:
            return ["s0"] * len(events)
        names = [_session_and_key(event) for event in events]
        asked = self._client.hmget(keys.HOMES, [name for pair in names for name in pair])
        routes = self._client.hmget(keys.ROUTE, [event.device for event in events])
        out = []
        for i, (event, (session, _)) in enumerate(zip(events, names, strict=True)):
            home = asked[2 * i] or asked[2 * i + 1]
            shard = home.decode() if home else self._opened.get(session) or keys.read_route(routes[i])[0]
            out.append(shard or keys.shard_of(event.device, self._shards))
            if asked[2 * i + 1]:
                self._note_opened(session, out[-1])
        return out

    def _note_opened(self, session: bytes, shard: str) -> None:
        """Until the engine has opened a session, its first messages follow its open record."""
        self._opened[session] = shard
        while len(self._opened) > _OPENED_KEPT:
            del self._opened[next(iter(self._opened))]


def _session_and_key(event: HubEvent) -> tuple[bytes, bytes]:
    """Names in :data:`keys.HOMES`: the message's session, and, of an open record, the key it is sealed to. Unproven."""
    try:
        header = parse_header(event.body)
    except Rejected:
        return b"", b""
    key = named_recipient(event.body) if header.is_open else None
    return event.device.encode() + b"|" + header.sid, key or b""


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
        case b"answer":
            payload = json.loads(fields[b"payload"])
            return RawAnswer(name, device, fields[b"name"].decode(), payload, int(fields[b"status"]), t_ms)
        case other:
            raise ValueError(f"expected an event or an answer in the raw stream, got {other!r}; it was left out")
