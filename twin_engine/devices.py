"""The devices of one patient: how often each sends, how far it lags, and which of them speaks for which channel.

A channel belongs to one device at a time, so that two sensors never interleave in one trace: the one that sent it
first, until it is released, or until the channel has fallen silent and another sends it. What another device sends of a
channel meanwhile is left out, and people are told once. Its readings of before the channel changed hands still revise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from device.commands import DEFAULT_INTERVAL_S
from device.signals import channel
from twin_engine.channel_state import ChannelState
from twin_engine.gaps import OPEN_AFTER
from twin_engine.messages import ChannelReadings, CommandResult, Event, Readings
from twin_engine.told import told

DEFAULT_FRAME_INTERVAL_US = round(DEFAULT_INTERVAL_S * 1e6)  # until a device's own is learnt
FIRST_FRAME_S = 30.0  # after its assignment: time for a key, a session and a few frames of two seconds
_RECENT = 5  # frames over which the beat and the delay are learnt
HEALTHY_DELAY_MS = 500
APART_MS = 30_000  # clocks of engine and device that are further apart than this are told of
_FRAME_INTERVAL_RANGE_MS = (20, 60_000)
MAX_CHANNELS = 64  # of one patient; what a device claims beyond is left out


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What the twin knows of one of the patient's devices."""

    id: str = ""
    source: str = ""  # sensor, recording, simulated
    last_frame_ms: int = 0  # 0: it has not spoken since it was assigned
    intervals_ms: tuple[int, ...] = ()
    delays_ms: tuple[int, ...] = ()  # of recent frames: engine's clock minus device's, when they came
    unplugged: tuple[str, ...] = ()  # channels the device confirmed as unplugged, since its boot
    boot: int = 0  # of its newest live frame; 0: not known
    left_out: tuple[str, ...] = ()  # channels it sends that are another device's
    assigned_ms: int = 0

    @property
    def behind_us(self) -> int:
        """How far the device's clock, or its way to us, lags for good: the least of the recent delays."""
        least = min(self.delays_ms, default=0)
        return least * 1000 if least > HEALTHY_DELAY_MS else 0

    @property
    def frame_interval_us(self) -> int:
        """The usual time between frames: median of the recent ones."""
        if not self.intervals_ms:
            return DEFAULT_FRAME_INTERVAL_US
        return sorted(self.intervals_ms)[len(self.intervals_ms) // 2] * 1000

    def never_spoke(self, now_us: int) -> bool:
        """Whether it was assigned a while ago and has sent nothing that tells of the present."""
        return self.last_frame_ms == 0 and now_us - self.assigned_ms * 1000 >= FIRST_FRAME_S * 1e6

    def is_overdue(self, now_us: int) -> bool:
        """Whether its next frame should have come: the line, or the device itself, is silent."""
        return now_us - self.behind_us - self.last_frame_ms * 1000 >= OPEN_AFTER * self.frame_interval_us

    def apart_s(self, now_us: int) -> float:
        """By how much the engine's clock is ahead of this device's, by all that came lately; negative: behind; 0: not.

        The line may be that late, too: nobody can tell from here, and either way somebody must look.
        """
        early_ms, late_ms = self.last_frame_ms - now_us // 1000, min(self.delays_ms, default=0)
        if early_ms > APART_MS:
            return -early_ms / 1000
        return late_ms / 1000 if late_ms > APART_MS and len(self.delays_ms) == _RECENT else 0.0

    def heard(self, message: Readings, now_us: int) -> DeviceState:
        """The device after a live frame. One that has booted has every sensor plugged in again."""
        low, high = _FRAME_INTERVAL_RANGE_MS
        step = message.frame_ms - self.last_frame_ms
        intervals = self.intervals_ms
        if self.last_frame_ms and low <= step <= high and message.channels:  # an empty frame is a sign of life, no beat
            intervals = (*intervals, step)[-_RECENT:]
        delays = (*self.delays_ms, max(0, now_us // 1000 - message.frame_ms))[-_RECENT:]
        newest = max(self.last_frame_ms, message.frame_ms)
        return replace(
            self, id=message.device, source=message.source, last_frame_ms=newest, intervals_ms=intervals,
            delays_ms=delays, boot=max(self.boot, message.boot),
            unplugged=() if 0 < self.boot < message.boot else self.unplugged,
        )  # fmt: skip

    def obeyed(self, message: CommandResult) -> DeviceState:
        """The device after its answer to a command; a refusal, or what it did not prove, changes nothing."""
        touched = message.payload.get("channels")
        if message.doubt or message.name != "sensor" or message.status != 200 or not isinstance(touched, list):
            return self
        names = {str(name) for name in touched}
        off = set(self.unplugged) - names if message.payload.get("connected") else set(self.unplugged) | names
        return replace(self, unplugged=tuple(sorted(off)))


@dataclass(frozen=True, slots=True)
class Owner:
    """Which device a channel belongs to, and from which reading on."""

    device: str
    since_us: int


class Claims:
    """Which blocks of a frame are taken, and whose each channel is then; lives for one frame only."""

    def __init__(
        self, message: Readings, live: bool, devices: Mapping[str, DeviceState], owners: Mapping[str, Owner],
        released: bool,
    ) -> None:  # fmt: skip
        """`released`: the device speaks for this patient no more, and only its past does; then `live` is False."""
        self._message, self._live, self._devices, self._released = message, live, devices, released
        self.owners = dict(owners)
        self.taken: list[ChannelReadings] = []
        self.events: list[Event] = []
        self.left_out = devices.get(message.device, DeviceState()).left_out

    def settle(self, channels: Mapping[str, ChannelState]) -> None:
        """Take each block of a known sensor that is this device's, or that no other's is."""
        names = set(channels)
        for block in self._message.channels:
            if channel(block.channel) is None or (block.channel not in names and len(names) >= MAX_CHANNELS):
                continue
            self._claim(block, channels.get(block.channel))
            names |= {taken.channel for taken in self.taken[-1:]}
        unknown = [b.channel for b in self._message.channels if channel(b.channel) is None]
        if unknown and self._devices.get(self._message.device, DeviceState()).last_frame_ms == 0:
            self._tell("", names=", ".join(unknown))

    def _claim(self, block: ChannelReadings, state: ChannelState | None) -> None:
        owner, name = self.owners.get(block.channel), block.channel
        if owner is not None and owner.device == self._message.device:
            self.taken.append(block)
        elif not self._released and self._is_free(owner, state):
            first_us = int(block.times_us[0]) if len(block.times_us) else self._message.frame_ms * 1000
            self.owners[name] = Owner(self._message.device, first_us)
            self.left_out = tuple(other for other in self.left_out if other != name)
            self.taken.append(block)
        else:
            self._leave_out(block, owner)

    def _is_free(self, owner: Owner | None, state: ChannelState | None) -> bool:
        """Whether another device may have the channel: it is nobody's, or silent while this one speaks."""
        if owner is None or owner.device not in self._devices:
            return True
        return self._live and state is not None and state.announced

    def _leave_out(self, block: ChannelReadings, owner: Owner | None) -> None:
        """Another's channel: only what is older than that is taken, from the spool of who had it before."""
        old = block.times_us < owner.since_us if owner else np.ones(len(block.times_us), np.bool_)
        if not self._live and old.any():
            self.taken.append(ChannelReadings(block.channel, block.times_us[old], block.values[old]))
        elif self._live and owner and block.channel not in self.left_out:
            self.left_out = tuple(sorted({*self.left_out, block.channel}))
            self._tell(block.channel, variant="claimed", owner=owner.device)

    def _tell(self, name: str, **facts: str) -> None:
        row = channel(name)
        facts |= {"device": self._message.device}
        frame_ms = self._message.frame_ms
        self.events.append(told(frame_ms, "device", "warning", name, row.label if row else "", **facts))
