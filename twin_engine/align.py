"""Event time: the device's clock, corrected by a bounded estimate of how wrong it is.

A board without a battery wakes up in 1970. For each boot the offset is estimated from live frames as the smallest
difference seen between the hub's clock and the device's (delay only ever adds to it). It is applied only where it
exceeds what a healthy clock and a slow network explain, and then held, so that a trace never jumps for milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from device.frame import Block, Frame
from twin_engine.messages import ChannelReadings, Readings

HEALTHY_MS = 5_000  # below this the device's own time stands
LIVE_MS = 30_000  # a frame that reached the hub later than this after it was closed is not the present


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """What to add to the device's time (ms) during one boot."""

    epoch: int = -1
    offset_ms: int = 0

    def learn(self, epoch: int, device_ms: int, hub_ms: int) -> ClockOffset:
        """After a live frame closed at `device_ms` reached the hub at `hub_ms`."""
        difference = hub_ms - device_ms
        if epoch != self.epoch:
            return ClockOffset(epoch, 0 if abs(difference) < HEALTHY_MS else difference)
        if difference < self.offset_ms - HEALTHY_MS:
            return ClockOffset(epoch, 0 if abs(difference) < HEALTHY_MS else difference)
        return self

    def is_live(self, device_ms: int, hub_ms: int) -> bool:
        """Whether a frame of the live lane still tells of the present."""
        return hub_ms - (device_ms + self.offset_ms) < LIVE_MS


def readings_of(device: str, frame: Frame, offset_ms: int, live: bool) -> Readings:
    """A proven frame as a message for the fold, in corrected event time."""
    channels = tuple(_channel_readings(block, offset_ms) for block in frame.blocks)
    return Readings(device, channels, frame.device_time_ms + offset_ms, live, frame.source.name.lower())


def _channel_readings(block: Block, offset_ms: int) -> ChannelReadings:
    times = np.array(block.times_us(), np.int64) + offset_ms * 1000
    values = np.array([np.nan if v is None else v for v in block.values()], np.float64)
    return ChannelReadings(block.channel, times, values)
