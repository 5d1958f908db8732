"""A consumer's link to one partition: it sleeps until the partition or the consumer's credit wakes it.

So an event leaves in the turn of the loop after the one in which it was logged. A reader never sends more than the
consumer's credit and the session's window allow, nor more than the socket takes; what the log has dropped meanwhile
is skipped, and said.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from device.hub.amqp_links import Outgoing, Session
from device.hub.amqp_messages import encode_runtime
from device.hub.amqp_nodes import Address
from device.hub.events import Event, Partition

logger = logging.getLogger("everbeat.hub.amqp")

_BURST = 64  # events sent before other tasks have their turn


class Reader(Outgoing):
    """:meth:`pump` runs as a task from attach to detach."""

    def __init__(self, session: Session, handle: int, address: Address, partition: Partition, start: int) -> None:
        super().__init__(session, handle, address.path)
        self.address = address
        self.on_close: Callable[[], None] = lambda: None
        self.epoch: int | None = None  # set: no other consumer of the group reads this partition
        self.runtime_clock: Callable[[], float] | None = None  # set: the consumer asked for the partition's progress
        self._partition, self._next = partition, start
        self._awake, self._closed = asyncio.Event(), False
        partition.listen(self._awake.set)

    def wake(self) -> None:
        """See Link."""
        self._awake.set()

    def close(self) -> None:
        """See Link."""
        self._closed = True
        self.on_close()
        self._partition.leave(self._awake.set)
        self._awake.set()

    async def pump(self, drained: Callable[[], Awaitable[None]]) -> None:
        """Send events as they come and credit allows; `drained` waits until the socket takes more."""
        burst = 0
        while not self._closed:
            self._awake.clear()  # before looking: what comes after the look sets it again
            event = self._take()
            if event is None:
                if self.drain:
                    self.give_back()
                await self._awake.wait()
                continue
            self.spend()
            await self._deliver(event)
            await drained()
            burst += 1
            if burst % _BURST == 0:
                await asyncio.sleep(0)

    def _take(self) -> Event | None:
        if self.credit <= 0:
            return None
        if self._next < self._partition.start:
            logger.warning("a consumer of %s is late: %d events dropped", self.node, self._partition.start - self._next)
            self._next = self._partition.start
        event = self._partition.get(self._next)
        self._next += event is not None
        return event

    async def _deliver(self, event: Event) -> None:
        clock = self.runtime_clock
        prefix = encode_runtime(self._partition, int(clock() * 1000)) if clock else b""
        for frame in self.session.cut(self.handle, prefix + event.wire):
            while self.session.window <= 0:
                self._awake.clear()
                await self._awake.wait()
                if self._closed:
                    return
            self.session.transfer(frame)
