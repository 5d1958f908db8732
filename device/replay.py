"""Plays a recording as if its sensors were on the device now, at true or multiplied speed, once or in a loop.

A missing cell stays missing: where a channel gives a value in every row, a blank is sent as "the sensor gave none";
where a channel is slower than the file's rows, blanks between its readings are not readings at all, and only a blank
longer than 1.5 of its own periods counts as readings that failed. Values keep the digits that the file wrote.

Event time of a reading is the start of the replay plus its time in the file divided by the speed. At periods of 1 ms
and below, where a block's start in whole ms is too coarse, readings wait until a block can start on a whole ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np
import numpy.typing as npt

from device.frame import Block, Source
from device.recording import Column, Recording, RecordingError
from device.source import make_block

Times = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MIN_EVEN_US = 20  # shortest period that a replay may ask for
MIN_UNEVEN_US = 1000
_FINE_US = 1100  # at or below this period, blocks wait for a whole ms
_BLANK_PERIODS = 1.5
_MAX_DECIMALS = 9
_EVEN_PART = 0.02  # a channel whose steps stray less than this from their median is even


@dataclass(slots=True)
class _Track:
    """One channel of the recording, in the order and at the times at which it is sent."""

    channel: str
    times_us: Times  # (N,) since the start of the pass, at the replay's speed
    values: Floats  # (N,) NaN = sent as missing
    exponent: int
    period_us: int
    group: int  # a block's length must be a multiple of this
    next: int = 0
    lap: int = 0


class Replay:
    """A recording as a sensor source."""

    source = Source.RECORDING

    def __init__(self, recording: Recording, label: str, *, speed: float = 1.0, loop: bool = False) -> None:
        """Raises RecordingError where the speed is no positive number, or too high for a channel's rate."""
        if not (np.isfinite(speed) and speed > 0):
            raise RecordingError(f"expected a speed above 0, got {speed:g}; nothing is played")
        self.label = label if speed == 1 else f"{label} ×{speed:g}"
        self._tracks = [t for t in (_track(c, recording.times_s, speed) for c in recording.columns.values()) if t]
        self.channels = tuple(t.channel for t in self._tracks)
        self._loop = loop
        self._length_us = _lap_us(recording.times_s, speed)
        self._start_us: int | None = None

    @property
    def finished(self) -> bool:
        """True when a replay that does not loop has given its last reading."""
        return not self._loop and all(t.next == len(t.times_us) for t in self._tracks)

    def start(self, now_ms: int) -> None:
        """The recording's first row is due at `now_ms`."""
        self._start_us = now_ms * 1000

    def due(self, now_ms: int) -> list[Block]:
        """Readings that have become due. `start` must have been called."""
        assert self._start_us is not None, "start() comes before due()"  # noqa: S101
        blocks = list[Block]()
        for track in self._tracks:
            blocks += self._due(track, now_ms * 1000 - self._start_us)
        return blocks

    def _due(self, track: _Track, elapsed_us: int) -> list[Block]:
        blocks = list[Block]()
        while True:
            lap_us = track.lap * self._length_us
            end = int(np.searchsorted(track.times_us, elapsed_us - lap_us, side="right"))
            if end < len(track.times_us):  # the last readings of a lap wait for nothing
                end = track.next + (end - track.next) // track.group * track.group
            if end > track.next:
                run = slice(track.next, end)
                times_us = track.times_us[run] + ((self._start_us or 0) + lap_us)
                blocks.append(make_block(track.channel, times_us, track.values[run], track.exponent, track.period_us))
                track.next = end
            if not self._loop or track.next < len(track.times_us) or not self._next_lap_due(track, elapsed_us):
                return blocks
            track.next, track.lap = 0, track.lap + 1

    def _next_lap_due(self, track: _Track, elapsed_us: int) -> bool:
        return elapsed_us >= (track.lap + 1) * self._length_us


def _lap_us(times_s: Floats, speed: float) -> int:
    """From the first row to where the next lap begins: one typical step after the last row, in whole ms."""
    step_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1.0
    lap_ms = (times_s[-1] - times_s[0] + step_s) / speed * 1e3
    return int(np.ceil(lap_ms)) * 1000


def _track(column: Column, times_s: Floats, speed: float) -> _Track | None:
    """What of a column is sent, and when. None where it holds no value at all."""
    present = np.flatnonzero(~np.isnan(column.values))
    if not len(present):
        return None
    steps_s = np.diff(times_s[present])
    period_s = _period_s(steps_s) if len(steps_s) else column.channel.signal.period_s
    rows = _rows_sent(present, times_s, period_s)
    period_us = max(1, round(period_s / speed * 1e6))
    even = bool(np.all(np.abs(np.diff(times_s[rows]) - period_s) <= _EVEN_PART * period_s))
    _check_speed(column, period_s * 1e6, even, speed)
    offsets_us = np.round((times_s[rows] - times_s[0]) / speed * 1e6).astype(np.int64)
    group = 1
    if even and period_us <= _FINE_US:
        offsets_us = offsets_us[0] // 1000 * 1000 + np.arange(len(rows)) * period_us
        group = 1000 // gcd(1000, period_us)
    return _Track(column.channel.id, offsets_us, column.values[rows], -_decimals(column), period_us, group)


def _period_s(steps_s: Floats) -> float:
    """The channel's own step: the mean of those near the lower quartile, so that many lost readings don't count."""
    usual = np.quantile(steps_s, 0.25, method="lower")
    return float(steps_s[steps_s <= _BLANK_PERIODS * usual].mean())


def _rows_sent(present: npt.NDArray[np.intp], times_s: Floats, period_s: float) -> npt.NDArray[np.intp]:
    """Rows with a value, and in longer blanks one row a period that says that the value is missing."""
    rows, last_s = list[int](), times_s[0] - period_s
    edges = np.append(present, len(times_s))
    row = 0
    for edge in edges:
        end_s = times_s[edge] if edge < len(times_s) else times_s[-1] + period_s
        if end_s - last_s > _BLANK_PERIODS * period_s:
            for blank in range(row, edge):
                if times_s[blank] - last_s >= period_s * (1 - _EVEN_PART):
                    rows.append(blank)
                    last_s = times_s[blank]
        if edge < len(times_s):
            rows.append(int(edge))
            last_s = times_s[edge]
        row = int(edge) + 1
    return np.array(rows, dtype=np.intp)


def _check_speed(column: Column, file_period_us: float, even: bool, speed: float) -> None:
    least_us = MIN_EVEN_US if even else MIN_UNEVEN_US
    if file_period_us / speed < least_us:
        raise RecordingError(
            f"expected at least {least_us} µs between readings of {column.name}, got {file_period_us / speed:.3g} at "
            f"speed {speed:g}; play it at a speed of at most {file_period_us / least_us:.3g}"
        )


def _decimals(column: Column) -> int:
    """Digits after the point that the file uses, at most 9: every value is a whole count of that step."""
    texts = np.unique(column.texts)
    if any(b"e" in text or b"E" in text for text in texts):
        return _MAX_DECIMALS
    return min(_MAX_DECIMALS, max(len(text.partition(b".")[2]) for text in texts))
