"""Where a device's readings come from, seen by the uplink: one protocol, and the blocks that it speaks in.

:class:`SensorSource` is what a real sensor board, ``device/replay.py`` and ``device/simulator.py`` have in common.
:func:`make_block` turns times and values into a frame's block, even or uneven; :func:`pack` cuts blocks into frames
that keep the codec's limits. Nothing here knows a clock: times come in as arguments.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from device.frame import MAX_BLOCKS, MAX_READINGS, Block, Source

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]  # µs since 1970 UTC

FRAME_READINGS = 5_000  # a frame; at 12 bytes for value and time, the most it takes, still below the codec's 64 KiB
_EVEN_US = 500  # readings this close to an even grid are sent as even; a block's start is a whole ms anyway
_MAX_COUNT = float(2**53 - 1)


class SensorSource(Protocol):
    """Something that gives readings as time passes."""

    @property
    def source(self) -> Source:
        """What kind of source it is; every screen says so."""

    @property
    def label(self) -> str:
        """What a person reads: the recording's name, "simulated patient"."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Channel ids that it may give readings of."""

    @property
    def finished(self) -> bool:
        """True when no reading will ever come again."""

    def start(self, now_ms: int) -> None:
        """Event time begins: the first reading is due at `now_ms` (device UTC)."""

    def due(self, now_ms: int) -> list[Block]:
        """Readings with an event time after the last call and up to `now_ms`, oldest first in each block."""


def make_block(channel: str, times_us: Times, values: Floats, exponent: int, period_us: int) -> Block:
    """A block of readings (N > 0): `values` in the signal's unit, NaN = the sensor gave none.

    `period_us` is the channel's own period; where the times stray from it by more than half a millisecond, the
    block carries each time step in ms instead, and steps below 1 ms are stretched to 1 ms.
    """
    counts = _counts(values, exponent)
    grid = times_us[0] + np.arange(len(times_us)) * period_us
    if len(times_us) == 1 or np.abs(times_us - grid).max() <= _EVEN_US:
        return Block(channel, int(times_us[0]) // 1000, period_us, exponent, counts)
    order = np.arange(len(times_us))
    times_ms = np.maximum.accumulate(times_us // 1000 - order) + order
    steps_ms = tuple(int(step) for step in np.diff(times_ms))
    return Block(channel, int(times_ms[0]), 0, exponent, counts, steps_ms)


def _counts(values: Floats, exponent: int) -> tuple[int | None, ...]:
    scaled = np.rint(values * 10.0**-exponent)
    sendable = np.abs(scaled) <= _MAX_COUNT  # False for NaN
    return tuple(int(count) if good else None for count, good in zip(scaled, sendable, strict=True))


def readings(blocks: Iterable[Block]) -> int:
    """How many readings with a value the blocks hold."""
    return sum(len(block.counts) - block.counts.count(None) for block in blocks)


def frame_time_ms(blocks: Iterable[Block], now_ms: int) -> int:
    """Device time to write on a frame closed at `now_ms`: never earlier than its newest reading."""
    return max([now_ms, *(-(-block.times_us()[-1] // 1000) for block in blocks)])


def pack(blocks: Iterable[Block]) -> list[list[Block]]:
    """The blocks as one list a frame: in each at most FRAME_READINGS readings and MAX_BLOCKS channels, none twice."""
    frames, room, held = [list[Block]()], FRAME_READINGS, set[str]()
    for block in blocks:
        for piece in _pieces(block):
            if len(piece.counts) > room or len(held) == MAX_BLOCKS or piece.channel in held:
                frames.append([])
                room, held = FRAME_READINGS, set()
            frames[-1].append(piece)
            held.add(piece.channel)
            room -= len(piece.counts)
    return [frame for frame in frames if frame]


def _pieces(block: Block) -> list[Block]:
    """The block itself, or several where it is too long for one frame. Cut so that every piece starts on a whole ms."""
    limit = min(FRAME_READINGS, MAX_READINGS)
    if len(block.counts) <= limit:
        return [block]
    times_us = block.times_us()
    pieces, start = list[Block](), 0
    while start < len(block.counts):
        end = min(start + limit, len(block.counts))
        while end < len(block.counts) and times_us[end] % 1000 and end - start > limit // 2:
            end -= 1
        steps = block.steps_ms[start : end - 1] if block.steps_ms is not None else None
        pieces.append(replace(block, t0_ms=times_us[start] // 1000, counts=block.counts[start:end], steps_ms=steps))
        start = end
    return pieces
