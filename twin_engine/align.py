"""Event time: the device's own clock, except where it can't be a clock.

A board without a battery wakes up in 1970, and a broken one lives in the future. Only then is an offset used: the
difference to the hub's clock at the first such frame of a boot. A clock that is merely off by seconds, or a frame that
is merely late, keeps its own time, so late readings are shown in the past, where they belong.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np

from device.frame import Block, Frame
from twin_engine.messages import ChannelReadings, Readings
from twin_engine.registry import Assignments

EARLIEST_MS = 1_577_836_800_000  # 2020-01-01: no clock of ours was set before
AHEAD_MS = 5_000  # how far ahead of the hub's a healthy clock may be
LIVE_MS = 30_000  # a frame delayed this much more than the quickest of late does not tell of the present
_RECENT = 8


@dataclass(frozen=True, slots=True)
class DeviceClock:
    """What is known of a device's clock during one boot."""

    epoch: int = -1
    offset_ms: int = 0  # to add to the device's time while that is no time
    delays_ms: tuple[int, ...] = ()  # of recent live frames, hub's clock minus device's

    def learn(self, epoch: int, device_ms: int, hub_ms: int) -> DeviceClock:
        """After a frame of the live lane, closed at `device_ms`, reached the hub at `hub_ms`."""
        before = self if epoch == self.epoch else DeviceClock(epoch)
        delays = (*before.delays_ms, hub_ms - device_ms)[-_RECENT:]
        offset = before.offset_ms
        if not offset and not EARLIEST_MS <= device_ms <= hub_ms + AHEAD_MS:
            offset = hub_ms - device_ms
        return DeviceClock(epoch, offset, delays)

    def corrected_ms(self, device_ms: int, hub_ms: int) -> int:
        """Event time: the device's own where that can be a time, else by the boot's offset, never in the future."""
        if EARLIEST_MS <= device_ms <= hub_ms + AHEAD_MS:
            return device_ms
        return min(device_ms + self.offset_ms, hub_ms)

    def is_live(self, device_ms: int, hub_ms: int) -> bool:
        """Whether a frame of the live lane tells of the present, by the quickest of the recent ones."""
        return hub_ms - device_ms - min(self.delays_ms, default=0) < LIVE_MS


def split_by_patient(readings: Readings, assignments: Assignments) -> dict[str | None, Readings]:
    """Readings by whose they are: those of the patient to whom the device was assigned at each one's own time."""
    borders = sorted({ms * 1000 for a in assignments.history for ms in (a.from_ms, a.to_ms) if ms is not None})
    parts: dict[str | None, list[ChannelReadings]] = {}
    for block in readings.channels:
        cuts = [0, *np.searchsorted(block.times_us, borders).tolist(), len(block.times_us)]
        for start, end in itertools.pairwise(cuts):
            if start < end:
                patient = assignments.patient_at(int(block.times_us[start]) // 1000)
                piece = ChannelReadings(block.channel, block.times_us[start:end], block.values[start:end])
                parts.setdefault(patient, []).append(piece)
    if not parts:  # an empty frame: a sign of life
        parts[assignments.patient_at(readings.frame_ms)] = []
    return {patient: replace(readings, channels=tuple(blocks)) for patient, blocks in parts.items()}


def readings_of(device: str, frame: Frame, offset_ms: int, live: bool) -> Readings:
    """A proven frame as a message for the fold, in corrected event time."""
    channels = tuple(_channel_readings(block, offset_ms) for block in frame.blocks)
    return Readings(device, channels, frame.device_time_ms + offset_ms, live, frame.source.name.lower(), frame.epoch)


def _channel_readings(block: Block, offset_ms: int) -> ChannelReadings:
    times = np.array(block.times_us(), np.int64) + offset_ms * 1000
    values = np.array([np.nan if v is None else v for v in block.values()], np.float64)
    real = times >= EARLIEST_MS * 1000  # a reading from before that is none of ours; the record keeps it
    return ChannelReadings(block.channel, times[real], values[real])
