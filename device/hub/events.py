"""The event log: what devices sent, in order, by partition, until it is dropped. In memory, bounded, no I/O.

An event is here before its sender reads a PUBACK. The log does not outlive the process: a device keeps what has
no receipt and sends it again. What must outlive it is the *order of offsets*: they start at a number that grows
with every start of the hub (`base`), so no checkpoint of an earlier run lies at or after a new event.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

Waker = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What a device published: its bytes, the system properties ("mid", "ct", ...) and its own."""

    device: str
    generation: str  # of the device's identity: a device deleted and made again is another one
    body: bytes
    system: dict[str, str]
    properties: dict[str, str]


@dataclass(frozen=True, slots=True)
class Event:
    """One logged message. `wire` is the whole AMQP message, encoded once for all readers."""

    sequence: int
    enqueued_ms: int  # UTC
    device: str
    wire: bytes

    @property
    def offset(self) -> str:
        """Opaque to readers, as Event Hubs has it; here the sequence number in decimal."""
        return str(self.sequence)


class Partition:
    """Events of some devices, oldest first, numbered without holes from `base` on."""

    def __init__(self, base: int, max_events: int, max_bytes: int) -> None:
        self._events: deque[Event] = deque()
        self._next = base
        self._bytes = 0
        self._max_events, self._max_bytes = max_events, max_bytes
        self._wakers: set[Waker] = set()
        self.last: Event | None = None
        self.dropped = 0

    @property
    def start(self) -> int:
        """Sequence number of the oldest event held; where there is none, of the next to come."""
        return self._next - len(self._events)

    @property
    def end(self) -> int:
        """Sequence number of the next event to come."""
        return self._next

    def append(self, event: Event) -> None:
        """Hold `event`, drop the oldest beyond the bounds, wake all readers. Its number must be :attr:`end`."""
        if event.sequence != self._next:
            raise ValueError(f"expected event {self._next}, got {event.sequence}; it was not logged")
        self._events.append(event)
        self.last = event
        self._next += 1
        self._bytes += len(event.wire)
        while len(self._events) > self._max_events or (self._bytes > self._max_bytes and len(self._events) > 1):
            self._bytes -= len(self._events.popleft().wire)
            self.dropped += 1
        for wake in tuple(self._wakers):
            wake()

    def get(self, sequence: int) -> Event | None:
        """The event of that number, or None where it is not held (dropped, or still to come)."""
        index = sequence - self.start
        return self._events[index] if 0 <= index < len(self._events) else None

    def after(self, sequence: int) -> int:
        """Number of the first event after `sequence`. Beyond the log's ends it is the log's start.

        A checkpoint that is older than the log has lost what was dropped; one that is newer comes from a hub
        whose state is gone. Both resume at the start: an event sent twice is found out, one hidden is not.
        """
        return sequence + 1 if self.start - 1 <= sequence < self._next else self.start

    def since(self, t_ms: int) -> int:
        """Number of the first event enqueued after `t_ms` (UTC); :attr:`end` where there is none."""
        return next((e.sequence for e in self._events if e.enqueued_ms > t_ms), self._next)

    def listen(self, wake: Waker) -> None:
        """Call `wake` after every append, until :meth:`leave`."""
        self._wakers.add(wake)

    def leave(self, wake: Waker) -> None:
        """Stop calling `wake`."""
        self._wakers.discard(wake)


class EventLog:
    """All partitions. `encode` turns (sequence, enqueued ms, telemetry) into the AMQP message; `clock` is Unix s."""

    def __init__(
        self,
        partitions: tuple[Partition, ...],
        encode: Callable[[int, int, Telemetry], bytes],
        clock: Callable[[], float],
    ) -> None:
        self.partitions = partitions
        self._encode, self._clock = encode, clock

    def partition_of(self, device: str) -> int:
        """The same device is always in the same partition, whatever the process or its hash seed."""
        digest = hashlib.sha256(device.encode()).digest()
        return int.from_bytes(digest[:8]) % len(self.partitions)

    def append(self, telemetry: Telemetry) -> Event:
        """Log what a device sent. On return it is readable by every consumer."""
        partition = self.partitions[self.partition_of(telemetry.device)]
        enqueued_ms = int(self._clock() * 1000)
        wire = self._encode(partition.end, enqueued_ms, telemetry)
        event = Event(partition.end, enqueued_ms, telemetry.device, wire)
        partition.append(event)
        return event
