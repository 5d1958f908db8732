"""``everbeat fleet``: many devices in one process, since a process a device costs 100 MB and more.

Each device is whole: its own identity, spool, connection and keys. One that fails is started again alone, ever more
slowly; the others notice nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from device.commands import DEFAULT_INTERVAL_S
from device.source import SensorSource
from device.uplink import run_device
from everbeat import wiring
from everbeat.leaving import leave_in_time
from everbeat.settings import Settings

log = logging.getLogger(__name__)

FIRST_WAIT_S, LAST_WAIT_S = 1.0, 30.0
_FRAME_S = DEFAULT_INTERVAL_S  # devices of a ward don't send at the same moment: starts are spread over a frame's time
_GOLDEN = 0.618  # its multiples fall evenly between 0 and 1, however many they are
Run = Callable[["Member", asyncio.Event], Awaitable[object]]


class FleetError(ValueError):
    """The fleet's file can't be used. Nothing was started."""


@dataclass(frozen=True, slots=True)
class Member:
    """One device of the fleet, and what plays its sensors: a recording, or a simulated body."""

    device: str
    replay: str | None = None
    seed: int = 0
    sex: str = "unknown"
    age: int = 0  # years; 0 = not known
    speed: float = 1.0
    interval_s: float = DEFAULT_INTERVAL_S  # between frames


def write_fleet(path: Path, members: Sequence[Member]) -> None:
    """The fleet's file, as :func:`read_fleet` wants it."""
    path.write_text(json.dumps([asdict(member) for member in members], indent=1) + "\n")


def read_fleet(path: Path) -> tuple[Member, ...]:
    """The devices in a file: a JSON list of objects with the fields of :class:`Member`. Raises FleetError, OSError."""
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_text())
        members = tuple(Member(**row) for row in rows)
    except (ValueError, TypeError) as error:
        raise FleetError(f"expected a list of devices in {path}, got something else ({error}); none started") from error
    names = [member.device for member in members]
    if not names or len(set(names)) < len(names):
        raise FleetError(f"expected devices in {path}, none twice, got {len(names)}; none was started")
    return members


async def run_fleet(members: Sequence[Member], run: Run, stop: asyncio.Event) -> None:
    """Runs every device until `stop` is set and each has drained."""
    await asyncio.gather(*(_keep(member, run, stop, i * _GOLDEN % 1 * _FRAME_S) for i, member in enumerate(members)))


def runner(settings: Settings, drain_s: float) -> Run:
    """How a member is run: its own identity and state, against the hub of the settings."""

    async def run(member: Member, stop: asyncio.Event) -> object:
        link = await asyncio.to_thread(
            wiring.uplink_settings, settings, member.device, drain_s, frame_interval_s=member.interval_s
        )
        leaving = leave_in_time(link.identity)
        try:
            return await run_device(link, await asyncio.to_thread(_source, member), stop)
        finally:
            if leaving is not None:  # the next start has a timer of its own, and perhaps another certificate
                leaving.cancel()

    return run


def _source(member: Member) -> SensorSource:
    """What plays the member's sensors. A recording begins again at its end."""
    if member.replay is None:
        return wiring.simulated_person(member.seed, member.sex, member.age)
    return wiring.sensor_source(Path(member.replay), member.speed, loop=True)


async def _keep(member: Member, run: Run, stop: asyncio.Event, after_s: float) -> None:
    """One device, kept running. One that ran for longer than the longest wait before it failed is no failing one."""
    wait_s = FIRST_WAIT_S
    await _sleep(after_s, stop)
    while not stop.is_set():
        began_s = time.monotonic()
        try:
            await run(member, stop)
            wait_s = FIRST_WAIT_S  # it was stopped, or has a new certificate to start with
        except Exception:  # the edge: whatever one device does, the others go on
            if time.monotonic() - began_s > LAST_WAIT_S:
                wait_s = FIRST_WAIT_S
            log.exception("device %s failed; the others go on, it is started again in %g s", member.device, wait_s)
        await _sleep(wait_s, stop)
        wait_s = min(2 * wait_s, LAST_WAIT_S)


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
