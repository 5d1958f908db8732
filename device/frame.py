"""The frame: what a device sends at once. A small CBOR record (RFC 8949) of delta-coded integers.

Layout, version 1, a CBOR array: ``[1, device_time_ms, uptime_ms, epoch, seq, source, blocks]``; a block is
``[channel, t0_ms, timing, exponent, deltas]`` where

* ``t0_ms`` is the first reading's time relative to ``device_time_ms`` (zero or negative),
* ``timing`` is the period in µs, or a list of further time steps in ms for an irregular channel,
* a reading is ``count × 10**exponent`` in the signal's unit; ``deltas`` are differences of successive counts, with
  null for a reading that the sensor failed to give (the next delta counts from the last good one).

A frame holds readings of one device and nothing that names a patient. Counts are integers, so NaN and infinity
cannot be written; whatever else is wrong raises :class:`FrameError` and the whole frame is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import cbor2

VERSION = 1
MAX_FRAME_BYTES = 64 * 1024  # Azure IoT Hub takes 256 KiB a message; a 2 s frame is a few KiB
MAX_BLOCKS = 64
MAX_READINGS = 20_000  # a frame, all blocks together: four times what `device/source.py: pack` puts into one
_MAX_COUNT = 2**53  # exact in float64 and in JavaScript


class FrameError(ValueError):
    """The bytes are no frame of ours; the frame is refused whole."""


class Source(IntEnum):
    """Where a device's readings come from. A screen must say so."""

    SENSOR = 0
    RECORDING = 1
    SIMULATED = 2


@dataclass(frozen=True, slots=True)
class Block:
    """Readings of one channel, oldest first. `steps_ms` is set only where the channel is irregular."""

    channel: str
    t0_ms: int  # event time of the first reading, device UTC
    period_us: int
    exponent: int
    counts: tuple[int | None, ...]
    steps_ms: tuple[int, ...] | None = None

    def times_us(self) -> list[int]:
        """Event time of each reading, µs since 1970 UTC by the device's clock."""
        first = self.t0_ms * 1000
        if self.steps_ms is None:
            return [first + i * self.period_us for i in range(len(self.counts))]
        times = [first]
        for step in self.steps_ms:
            times.append(times[-1] + step * 1000)
        return times

    def values(self) -> list[float | None]:
        """Each reading in the signal's unit; None where the sensor gave none."""
        if self.exponent >= 0:
            factor = 10**self.exponent
            return [None if c is None else float(c * factor) for c in self.counts]
        divisor = float(10**-self.exponent)  # dividing gives the nearest double to the decimal the sensor meant
        return [None if c is None else c / divisor for c in self.counts]


@dataclass(frozen=True, slots=True)
class Frame:
    """A block of readings of several channels that a device sends at once."""

    device_time_ms: int  # UTC by the device's clock when the frame was closed
    uptime_ms: int  # monotonic since boot
    epoch: int  # counts boots
    seq: int
    source: Source
    blocks: tuple[Block, ...]


def quantise(values: Iterable[float | None], exponent: int) -> tuple[int | None, ...]:
    """Counts of ``10**exponent`` nearest to `values` (signal's unit). Raises FrameError on NaN or infinity."""
    scale = 10.0**-exponent
    counts: list[int | None] = []
    for value in values:
        if value is None:
            counts.append(None)
            continue
        try:
            counts.append(round(value * scale))
        except (ValueError, OverflowError) as error:
            raise FrameError(f"expected a finite reading, got {value!r}; the frame was not made") from error
    return tuple(counts)


def encode(frame: Frame) -> bytes:
    """The frame as CBOR. Raises FrameError where it would exceed MAX_FRAME_BYTES."""
    blocks = [
        [
            b.channel,
            b.t0_ms - frame.device_time_ms,
            list(b.steps_ms) if b.steps_ms is not None else b.period_us,
            b.exponent,
            _deltas(b.counts),
        ]
        for b in frame.blocks
    ]
    record = [
        VERSION,
        frame.device_time_ms,
        frame.uptime_ms,
        frame.epoch,
        frame.seq,
        int(frame.source),
        blocks,
    ]
    data: bytes = cbor2.dumps(record)
    if len(data) > MAX_FRAME_BYTES:
        raise FrameError(f"expected a frame of at most {MAX_FRAME_BYTES} bytes, got {len(data)}; send shorter batches")
    return data


def decode(data: bytes) -> Frame:
    """The frame in `data`. Raises FrameError on anything but a well-formed frame of version 1."""
    if len(data) > MAX_FRAME_BYTES:
        raise FrameError(f"expected a frame of at most {MAX_FRAME_BYTES} bytes, got {len(data)}; it was refused")
    try:
        record = cbor2.loads(data)
    except (cbor2.CBORDecodeError, ValueError, EOFError, RecursionError, MemoryError) as error:
        raise FrameError(f"expected CBOR, got bytes that do not decode ({error}); the frame was refused") from error
    if not isinstance(record, list) or len(record) != 7 or record[0] != VERSION:
        raise FrameError("expected a version 1 frame of 7 fields, got something else; the frame was refused")
    _, device_time_ms, uptime_ms, epoch, seq, source, blocks = record
    for name, value in (
        ("device time", device_time_ms),
        ("uptime", uptime_ms),
        ("epoch", epoch),
        ("seq", seq),
    ):
        _need(_is_int(value) and 0 <= value < _MAX_COUNT, f"a {name} of 0 to 2^53", value)
    _need(_is_int(source) and source in set(Source), "a known source", source)
    _need(isinstance(blocks, list) and len(blocks) <= MAX_BLOCKS, f"at most {MAX_BLOCKS} blocks", type(blocks))
    many = sum(len(b[4]) for b in blocks if isinstance(b, list) and len(b) == 5 and isinstance(b[4], list))
    _need(many <= MAX_READINGS, f"at most {MAX_READINGS} readings in all", many)
    decoded = tuple(_block(b, device_time_ms) for b in blocks)
    return Frame(device_time_ms, uptime_ms, epoch, seq, Source(source), decoded)


def _block(raw: Any, device_time_ms: int) -> Block:
    _need(isinstance(raw, list) and len(raw) == 5, "a block of 5 fields", type(raw))
    channel, t0_ms, timing, exponent, deltas = raw
    _need(isinstance(channel, str) and 0 < len(channel) <= 64, "a channel name of 1 to 64 characters", channel)
    _need(_is_int(t0_ms) and abs(t0_ms) < _MAX_COUNT, "a start relative to the frame's time", t0_ms)
    _need(_is_int(exponent) and -12 <= exponent <= 12, "an exponent of -12 to 12", exponent)
    _need(
        isinstance(deltas, list) and 0 < len(deltas) <= MAX_READINGS,
        f"1 to {MAX_READINGS} readings",
        type(deltas),
    )
    steps: tuple[int, ...] | None = None
    period_us = 0
    if isinstance(timing, list):
        _need(len(timing) == len(deltas) - 1, "one time step less than readings", len(timing))
        _need(all(_is_int(s) and 0 < s < _MAX_COUNT for s in timing), "time steps of 1 ms or more", "another")
        steps = tuple(timing)
    else:
        _need(_is_int(timing) and 0 < timing < _MAX_COUNT, "a period of 1 µs or more", timing)
        period_us = timing
    block = Block(channel, device_time_ms + t0_ms, period_us, exponent, _counts(deltas), steps)
    last_us = t0_ms * 1000 + (sum(steps) * 1000 if steps is not None else period_us * (len(deltas) - 1))
    _need(last_us <= 1000, "readings no later than the frame itself", f"{last_us / 1000:g} ms after it")
    return block


def _deltas(counts: Sequence[int | None]) -> list[int | None]:
    last, deltas = 0, list[int | None]()
    for count in counts:
        deltas.append(None if count is None else count - last)
        last = last if count is None else count
    return deltas


def _counts(deltas: Sequence[Any]) -> tuple[int | None, ...]:
    last, counts = 0, list[int | None]()
    for delta in deltas:
        if delta is not None:
            _need(_is_int(delta) and abs(last + delta) < _MAX_COUNT, "integer readings below 2^53", delta)
            last += delta
        counts.append(None if delta is None else last)
    return tuple(counts)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _need(holds: bool, expected: str, got: object) -> None:
    if not holds:
        raise FrameError(f"expected {expected}, got {str(got)[:80]}; the frame was refused")
