"""The device process: readings become frames, frames become sealed envelopes, envelopes reach the hub at least once.

Read :meth:`Uplink.run`. One task keeps the connection (``device/link.py``), one closes a frame every interval and puts
it into the spool (``device/lanes.py``, ``device/spool.py``), one a lane sends what the spool holds until the engine's
receipt comes back through the twin (``device/sending.py``), one reports counters, one asks in time for the next
certificate (``device/renewing.py``). While the link has been down for more than a few seconds, frames are sealed in the
backfill lane.

The device frees nothing without a receipt. On a stop it closes the last frame, sends it and waits for receipts; what
is not receipted by then lies in the spool for the next start. It stops by itself when it has got a new certificate:
whoever runs it starts it again, and then it connects with that one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from device.commands import DEFAULT_INTERVAL_S, SETTINGS, Controls, answer
from device.frame import Block
from device.lanes import Lanes, NoRecipient
from device.link import HubAddress, Link, LinkDown
from device.orders import NotBelieved
from device.renewing import ANSWER, REQUEST, Renewing
from device.sending import Clock, Counters, Sender
from device.source import SensorSource, pack
from device.spool import MAX_BYTES, Spool, SpoolError
from security.commands import DESIRED, METHOD
from security.envelope import Lane, Recipient, Rejected
from security.files import KeyFileError
from security.identity import DeviceIdentity
from security.suite import STRONGEST_FIRST

log = logging.getLogger(__name__)
T = TypeVar("T")

__all__ = ["Clock", "Counters", "HubAddress", "Uplink", "UplinkSettings", "run_device"]

SLICE_S = 10  # readings are taken in slices of at most this, should the process have slept
RENEW_CHECK_S = 60
HEARTBEAT_S = 10  # an empty frame says that the device lives while all its sensors are unplugged
TWIN_KEY = "everbeat"


@dataclass(frozen=True, slots=True)
class UplinkSettings:
    """How a device reaches its hub and where it keeps what it must not lose."""

    address: HubAddress
    identity: DeviceIdentity
    state_dir: Path  # spool.sqlite, recipient.json
    frame_interval_s: float = DEFAULT_INTERVAL_S
    live_grace_s: float = 3.0  # the link may be down this long before frames go to the backfill lane
    resend_s: float = 30.0
    drain_s: float = 12.0  # receipts come every 10 s
    report_s: float = 10.0
    spool_bytes: int = MAX_BYTES
    suites: tuple[str, ...] = STRONGEST_FIRST  # cipher suites that it can do


async def run_device(
    settings: UplinkSettings, source: SensorSource, stop: asyncio.Event, clock: Clock | None = None
) -> Counters:
    """Runs the device until `stop` is set, or it has a new certificate to start with, and it has drained.

    Raises SpoolError where the spool can't be used.
    """
    uplink = await asyncio.to_thread(Uplink, settings, source, clock or Clock())
    try:
        return await uplink.run(stop)
    finally:
        uplink.close()


class Uplink:
    """The parts of one device, and the story that joins them."""

    def __init__(self, settings: UplinkSettings, source: SensorSource, clock: Clock) -> None:
        """Opens the spool and begins a new boot epoch: blocks for disk writes."""
        self._settings, self._source, self._clock = settings, source, clock
        self._spool = Spool(settings.state_dir / "spool.sqlite", max_bytes=settings.spool_bytes)
        if self._spool.damaged:
            log.error("expected a whole spool, got a damaged one; set aside as %s", self._spool.damaged)
        epoch = self._spool.next_epoch(clock.now_ms())
        memory = settings.state_dir / "recipient.json"
        self._lanes = Lanes(settings.identity, self._spool, memory, epoch, suites=settings.suites)
        self._lanes.recall_recipient(clock.now_ms())
        self._disk_thread = ThreadPoolExecutor(1, "spool")
        self.counters = Counters()
        self.controls = Controls(source.channels, settings.frame_interval_s)
        self._renewing = Renewing(settings.identity)

    async def run(self, stop: asyncio.Event) -> Counters:
        """The device's life: see the module's docstring."""
        self._begin()
        tasks = [asyncio.create_task(work) for work in self._works()]
        frames = asyncio.create_task(self._frames())
        stopping = [asyncio.create_task(event.wait()) for event in (stop, self._renewed)]
        try:
            await asyncio.wait([*stopping, frames, *tasks], return_when=asyncio.FIRST_COMPLETED)
            self._raise_failure([frames, *tasks])
            async with self._closing:  # never between taking readings and sealing them
                frames.cancel()
            await asyncio.wait([frames])
            await self._close_frame()
            await self._drain()
        finally:
            for task in (*stopping, frames, *tasks):
                task.cancel()
            await asyncio.gather(*stopping, frames, *tasks, return_exceptions=True)
        return self.counters

    def close(self) -> None:
        """Ends the disk thread and closes the spool."""
        self._disk_thread.shutdown(wait=True)
        self._spool.close()

    def _begin(self) -> None:
        self._link = Link(self._settings.address, self._settings.identity, self)
        self._sender = Sender(self._link, self._spool, self._lanes, self._disk, self._clock, self.counters,
                              self.controls, self._settings.resend_s)  # fmt: skip
        self._changed, self._report_now = asyncio.Event(), asyncio.Event()  # the interval; something worth a report
        self._can_seal, self._renewed = asyncio.Event(), asyncio.Event()
        self._closing = asyncio.Lock()  # one frame at a time, and no command in the middle of one
        self._taken_ms = 0  # readings up to here have been taken from the source
        self._last_frame_ms = 0
        self._settings_heard = dict[str, object]()  # by name: what the twin says again is not judged again
        self._down_since_s: float | None = self._clock.steady_s()
        if self._lanes.recipient is not None:
            self._can_seal.set()

    def _works(self) -> list[Any]:
        lanes = (self._sender.run(lane) for lane in Lane)
        return [self._link.run(), *lanes, self._reports(), self._watch_link(), self._renew()]

    def _raise_failure(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            if task.done() and not task.cancelled():
                task.result()

    # ------------------------------------------------------------------------------------------------- frames

    async def _frames(self) -> None:
        """Closes a frame every interval, from the moment on at which there is a key to seal to."""
        await self._can_seal.wait()
        self._taken_ms = self._clock.now_ms()
        self._source.start(self._taken_ms)
        log.info("%s: %d channels, a frame every %g s", self._source.label, len(self._source.channels),
                 self.controls.interval_s)  # fmt: skip
        deadline_s = self._clock.steady_s()
        while True:
            deadline_s = max(deadline_s + self.controls.interval_s, self._clock.steady_s())
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), deadline_s - self._clock.steady_s())
                self._changed.clear()
                deadline_s = self._clock.steady_s()
            await self._close_frame()

    async def _close_frame(self) -> None:
        async with self._closing:
            await self._close_frame_now()

    async def _close_frame_now(self) -> None:
        """Seals what is due into the spool, on the lane that fits the link."""
        now_ms = self._clock.now_ms()
        while self._taken_ms and self._taken_ms < now_ms:
            until_ms = min(now_ms, self._taken_ms + SLICE_S * 1000)
            due = [b for b in self._source.due(until_ms) if b.channel not in self.controls.unplugged]
            self._taken_ms = until_ms
            empty: list[list[Block]] = [[]] if now_ms - self._last_frame_ms >= HEARTBEAT_S * 1000 else []
            for blocks in pack(due) or empty:
                await self._seal(blocks, until_ms)

    async def _seal(self, blocks: list[Block], now_ms: int) -> None:
        lane = Lane.LIVE if self._is_live() else Lane.BACKFILL
        self._last_frame_ms = now_ms
        try:
            count = await self._disk(
                lambda: self._lanes.seal(
                    lane, blocks, now_ms=now_ms, uptime_ms=self._clock.uptime_ms(), source=self._source.source
                )
            )
        except (NoRecipient, SpoolError) as error:
            self.counters.unsealed_readings += sum(len(b.counts) for b in blocks)
            log.error("a frame was lost: %s", error)
            return
        self.counters.frames_sent += 1
        self.counters.readings_sent += count
        self._sender.wake(lane)

    def _is_live(self) -> bool:
        """True while what is sealed now has a fair chance to arrive now."""
        down_since_s = self._down_since_s
        return down_since_s is None or self._clock.steady_s() - down_since_s < self._settings.live_grace_s

    async def _watch_link(self) -> None:
        """Notes since when the link is down, and has everything without a receipt sent again once it is up."""
        while True:
            await self._link.up.wait()
            self._down_since_s = None
            self._sender.restart()
            self._report_now.set()
            connection = self._link.connections
            while self._link.up.is_set() and self._link.connections == connection:
                await asyncio.sleep(0.1)
            self._down_since_s = self._clock.steady_s()

    # -------------------------------------------------------------------------------------- what the hub says

    async def twin(self, desired: dict[str, Any], whole: bool) -> None:
        """Desired properties: a recipient, receipts, settings. What proves nothing changes nothing."""
        words = desired.get(TWIN_KEY)
        if not isinstance(words, dict):
            return
        if words.get("recipient"):
            await self._use_recipient(words["recipient"])
        if words.get(ANSWER):
            await self._use_certificate(words[ANSWER])
        receipts = words.get("receipts")
        for sid, data in receipts.items() if isinstance(receipts, dict) else ():
            await self._use_receipt(sid, data)
        settings = words.get("settings")
        for name, data in settings.items() if isinstance(settings, dict) else ():
            await self._use_setting(name, data)
        if words.get("frame_interval_s") is not None:  # as it was before settings had to be proven
            await self._use_setting("frame_interval_s", words["frame_interval_s"])

    async def method(self, name: str, payload: object) -> tuple[int, dict[str, object]]:
        """A direct method, if it is the engine's: what can't be believed is answered and counted, and changes nothing.

        Readings until now are sent as they were; the change holds from now on.
        """
        orders = self._lanes.orders
        async with self._closing:
            try:
                heard = await self._disk(lambda: orders.hear(METHOD, name, payload, self._clock.uptime_ms()))
            except NotBelieved as error:
                self.counters.refused_commands += 1
                self._report_now.set()
                log.warning("command %.40r was refused: %s", name, error)
                return error.status, error.said
            await self._close_frame_now()
            status, said = answer(self.controls, name, heard.payload)
        log.info("told to %s %s: %d", name, heard.command.body, status)
        if name == "frame_interval":
            self._changed.set()
        self._report_now.set()
        return status, heard.answer(status, said)

    async def _use_setting(self, name: str, data: object) -> None:
        """A setting of the engine's. One that proves nothing is counted once, and ignored."""
        if data is None or self._settings_heard.get(name) == data:
            return
        self._settings_heard = {**self._settings_heard, name: data} if name in SETTINGS else {name: data}
        before = self.controls.interval_s
        try:
            heard = await self._disk(lambda: self._lanes.orders.hear(DESIRED, name, data, self._clock.uptime_ms()))
            status, said = answer(self.controls, name, heard.payload) if name in SETTINGS else (404, {})
        except NotBelieved as error:
            status, said = error.status, {"error": str(error)}
        if status != 200:
            self.counters.refused_settings += 1
            log.warning("setting %.40r was refused: %s", name, said.get("error", "there is no such setting"))
        if self.controls.interval_s != before:
            self._changed.set()
        self._report_now.set()

    async def _use_recipient(self, data: object) -> None:
        try:
            recipient = Recipient.from_json(data)
            if await self._disk(lambda: self._lanes.use(recipient, self._clock.now_ms())):
                log.info("sealing to key %s of the engine", recipient.kid.hex())
            self._can_seal.set()
        except Rejected as error:
            log.error("a recipient was refused: %s", error)

    async def _use_certificate(self, answer: object) -> None:
        try:
            if await self._disk(lambda: self._renewing.take(answer, self._clock.now_ms())):
                log.info("renewed: stopping, so that the next start connects with the new certificate")
                self._renewed.set()
        except (Rejected, KeyFileError, OSError) as error:
            log.error("a new certificate was not taken: %s", error)

    async def _use_receipt(self, sid: str, data: object) -> None:
        if data is None:
            return
        try:
            session = bytes.fromhex(sid)
            freed = await self._disk(lambda: self._lanes.receipt(session, data))
        except (Rejected, ValueError) as error:
            self.counters.refused_receipts += 1
            self._report_now.set()
            log.warning("a receipt was refused: %s", error)
            return
        self._sender.receipted(session, freed)
        if freed:
            await self._disk(self._lanes.tidy)

    # ----------------------------------------------------------------------------------------- reports, end

    async def _reports(self) -> None:
        """Reports when something has changed, at most once a second."""
        last: dict[str, object] = {}
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._report_now.wait(), self._settings.report_s)
            self._report_now.clear()
            await self._link.up.wait()
            if (properties := self._properties()) != last:
                with suppress(LinkDown):
                    await self._link.report({TWIN_KEY: properties})
                    last = properties
            await asyncio.sleep(1)

    async def _renew(self) -> None:
        """Asks for the next certificate while one is due."""
        while True:
            await self._link.up.wait()
            request = await self._disk(lambda: self._renewing.ask(self._clock.now_ms()))
            if request is not None:
                with suppress(LinkDown):
                    await self._link.report({TWIN_KEY: {REQUEST: request}})
            await asyncio.sleep(RENEW_CHECK_S)

    def _properties(self) -> dict[str, object]:
        dropped, dropped_readings = self._spool.dropped
        return {
            "source": self._source.source.name.lower(),
            "label": self._source.label,
            "readings_sent": self.counters.readings_sent,
            "frames_sent": self.counters.frames_sent,
            "unsealed_readings": self.counters.unsealed_readings,
            "spooled": self._spool.count,
            "dropped": dropped,
            "dropped_readings": dropped_readings,
            "refused_receipts": self.counters.refused_receipts,
            "refused_commands": self.counters.refused_commands,
            "refused_settings": self.counters.refused_settings,
            "channels": list(self._source.channels),
            "unplugged": sorted(self.controls.unplugged),
            "identified": self.controls.identified,
            "frame_interval_s": self.controls.interval_s,
            "finished": self._source.finished,
            "epoch": self._lanes.epoch,
        }

    async def _drain(self) -> None:
        """Waits for the last receipts, then says goodbye with the final counters."""
        deadline_s = self._clock.steady_s() + self._settings.drain_s
        while self._spool.count and self._clock.steady_s() < deadline_s and self._is_live():
            await asyncio.sleep(0.05)
        log.info("stopping: %d frames sent, %d wait in the spool for their receipts", self.counters.frames_sent,
                 self._spool.count)  # fmt: skip
        with suppress(LinkDown):
            await self._link.report(
                {TWIN_KEY: self._properties() | ({REQUEST: None} if self._renewed.is_set() else {})}
            )

    async def _disk(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk_thread, work)
