"""Sends what the spool holds, lane by lane, and again until the engine's receipt has freed it.

Which envelope goes next is decided in ``device/outbox.py``; the connection is ``device/link.py``'s. One task a lane, so
that a long backfill never delays the present. Here also live the device's clock and its counters.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

from device.commands import Controls
from device.lanes import Lanes
from device.link import Link, LinkDown
from device.outbox import Journeys
from device.spool import Spool, Spooled
from security.envelope import Lane
from security.wire import HEADER_BYTES

log = logging.getLogger(__name__)
T = TypeVar("T")

_PAUSE_S = 0.2  # after a failed send, before the link has noticed


@dataclass(slots=True)
class Counters:
    """What this boot has done. `readings_sent` counts readings with a value in sealed frames."""

    readings_sent: int = 0
    frames_sent: int = 0
    unsealed_readings: int = 0  # lost because there was no key to seal to, or the disk refused
    refused_receipts: int = 0
    refused_commands: int = 0  # without proof, repeated, late, of another session
    refused_settings: int = 0
    resent: int = 0
    forged: int = 0  # copies sent by the tamper method


class Clock:
    """Device UTC that never jumps: wall time at the start plus monotonic time since."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._steady, self._start_s, self._utc_s = steady, steady(), wall()

    def steady_s(self) -> float:
        """Seconds, monotonic."""
        return self._steady()

    def uptime_ms(self) -> int:
        """Since the start."""
        return int((self._steady() - self._start_s) * 1000)

    def now_ms(self) -> int:
        """UTC, ms since 1970."""
        return int(self._utc_s * 1000) + self.uptime_ms()


class Disk(Protocol):
    """Does blocking work in the one thread that may touch the spool."""

    def __call__(self, work: Callable[[], T]) -> Awaitable[T]: ...


class Sender:
    """The sending half of a device."""

    def __init__(
        self, link: Link, spool: Spool, lanes: Lanes, disk: Disk, clock: Clock, counters: Counters,
        controls: Controls, resend_s: float,
    ) -> None:  # fmt: skip
        self._link, self._spool, self._lanes, self._disk = link, spool, lanes, disk
        self._clock, self._counters, self._controls = clock, counters, controls
        self._journeys = {lane: Journeys(resend_s) for lane in Lane}
        self._news = {lane: asyncio.Event() for lane in Lane}

    def wake(self, lane: Lane) -> None:
        """There is a new envelope in the spool."""
        self._news[lane].set()

    def restart(self) -> None:
        """The link is up again: everything without a receipt goes out again."""
        for lane, journeys in self._journeys.items():
            journeys.restart()
            self.wake(lane)

    def receipted(self, sid: bytes, freed: Sequence[int]) -> None:
        """A true receipt of the session came and freed these envelopes."""
        for journeys in self._journeys.values():
            journeys.receipted.add(sid)
            journeys.gone(freed)

    async def run(self, lane: Lane) -> None:
        """Sends the lane's envelopes in order, again when overdue, forever."""
        journeys, news = self._journeys[lane], self._news[lane]
        while True:
            await self._link.up.wait()
            news.clear()
            envelope = await self._next(journeys, lane)
            if envelope is None:
                with suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), journeys.wait_s(self._clock.steady_s()) + 0.05)
                continue
            try:
                await self._send(journeys, envelope, lane)
            except LinkDown as error:
                log.info("envelope %d waits: %s", envelope.id, error)
                await asyncio.sleep(_PAUSE_S)

    async def _next(self, journeys: Journeys, lane: Lane) -> Spooled | None:
        while (overdue := journeys.overdue(self._clock.steady_s())) is not None:
            if (envelope := await self._disk(lambda: self._spool.get(overdue))) is not None:
                self._counters.resent += 1
                return envelope
            journeys.gone([overdue])
        return await self._disk(lambda: self._spool.next(lane, journeys.cursor))

    async def _send(self, journeys: Journeys, envelope: Spooled, lane: Lane) -> None:
        if journeys.needs_introduction(envelope.id, envelope.sid):
            await self._link.send(self._lanes.open_record(envelope.sid))
        if lane is Lane.LIVE and self._controls.tampering:
            self._controls.tampering -= 1
            self._counters.forged += 1
            log.warning("tampering, as told: a forged copy of message %d goes first", envelope.seq)
            await self._link.send(_forged(envelope.body))
        await self._link.send(envelope.body)
        journeys.sent(envelope.id, envelope.sid, self._clock.steady_s())


def _forged(envelope: bytes) -> bytes:
    """The envelope with one bit of its ciphertext turned, under the same session and number."""
    altered = bytearray(envelope)
    altered[HEADER_BYTES] ^= 0x01
    return bytes(altered)
