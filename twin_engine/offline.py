"""The same engine over a recording: what would the twin have shown, row by row, knowing only what came before?

Every row of the file is a moment: readings are folded as they come, and where a reading should have stood a tick asks
the twin for its estimate. The output of a row never depends on a later one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

import numpy as np

from device.recording import Column, Recording
from security.threats.plausible import PLAUSIBLE
from twin_engine import gaps
from twin_engine.messages import (
    REVISED,
    ChannelReadings,
    Message,
    Output,
    Provenance,
    Readings,
    Samples,
    Tick,
)
from twin_engine.rehearse import rehearse
from twin_engine.synthesise import Forecaster
from twin_engine.twin import Twin, fold

HEADER = "time_s,column,signal,value,lower,upper,sd,confidence,provenance,threat"
CHUNK_US = 2_000_000  # fold at least this often, as a device in live view sends
_SD_OF_HALFWIDTH = 1 / 1.6449  # the 95 % quantile of a normal distribution
_PATIENT = "offline"


@dataclass
class _Run:
    """The state of one pass over a recording."""

    recording: Recording
    forecaster: Forecaster
    twin: Twin = field(default_factory=lambda: Twin(_PATIENT, at_ticks=True))
    pending: list[int] = field(default_factory=list)  # rows read and not folded yet
    shown: dict[tuple[str, int], list[str]] = field(default_factory=dict)  # (channel, µs) -> what stands in its row
    revised: dict[tuple[str, int], str] = field(default_factory=dict)  # (column, row) -> the last revision of it

    def __post_init__(self) -> None:
        self.times_us = np.round(self.recording.times_s * 1e6).astype(np.int64)
        self.row_of = {int(t): i for i, t in enumerate(self.times_us)}
        self.columns = list(self.recording.columns.values())
        self.by_channel = {column.channel.id: column for column in self.columns}
        self.last_us: dict[str, int] = {}
        self.begun: set[str] = set()

    def lines(self, progress: Callable[[float], None]) -> Iterator[str]:
        """The output's rows, in the file's order."""
        first = 0
        for row, now_us in enumerate(self.times_us.tolist()):
            blank = self._read(row, now_us)
            if blank or now_us - int(self.times_us[first]) >= CHUNK_US or row == len(self.times_us) - 1:
                self._fold_pending()
                if blank:
                    self._fold(Tick(now_us))
                for done in range(first, row + 1):
                    yield from self._row(done)
                first = row + 1
                progress((row + 1) / len(self.times_us))
                self.shown.clear()

    def _read(self, row: int, now_us: int) -> bool:
        """Queue a row; True where a reading that was due is missing from it."""
        self.pending.append(row)
        blank = False
        for column in self.columns:
            channel = column.channel.id
            if np.isfinite(column.values[row]):
                self.last_us[channel] = now_us
            elif channel in self.last_us:
                known = self.twin.channels.get(channel)
                period = known.period_us if known else round(column.channel.signal.period_s * 1e6)
                blank |= gaps.is_due(now_us - self.last_us[channel], period) or bool(known and known.plan)
        return blank

    def _fold_pending(self) -> None:
        rows = np.array(self.pending, np.int64)
        self.pending.clear()
        blocks = []
        for column in self.columns:
            given = rows[np.isfinite(column.values[rows])]
            if len(given):
                blocks.append(ChannelReadings(column.channel.id, self.times_us[given], column.values[given]))
        if blocks:
            self._fold(Readings("recording", tuple(blocks), int(self.times_us[rows[-1]]) // 1000, source="recording"))

    def _fold(self, message: Message) -> None:
        self.twin, made = fold(self.twin, message, self.forecaster)
        self._keep(made)
        rehearsed = rehearse({_PATIENT: self.twin}, self.forecaster)
        self.twin = rehearsed[_PATIENT][0] if rehearsed else self.twin

    def _keep(self, made: Output) -> None:
        for samples in made.samples:
            for i, time_us in enumerate(samples.times_us.tolist()):
                if samples.provenance[i] != Provenance.MEASURED:
                    self.shown[samples.channel, time_us] = _cells(samples, i)
        for samples in made.revisions:
            column = self.by_channel[samples.channel]
            for i, time_us in enumerate(samples.times_us.tolist()):
                row = self.row_of[time_us]
                self.revised[column.name, row] = self._line(column, row, _cells(samples, i))

    def _row(self, row: int) -> Iterator[str]:
        """One line a column: the file's own value, the twin's, or none between readings."""
        for column in self.columns:
            cells = self.shown.get((column.channel.id, int(self.times_us[row])))
            text = column.text(row)
            if cells and cells[5] == "quarantined":
                cells = [text, *cells[1:]]
            elif text:
                cells = [text, text, text, "", "1", "measured", ""]
            elif not cells and column.channel.id not in self.begun:
                cells = ["", "", "", "", "0", "withheld", ""]  # nothing is known before a first reading
            if text:
                self.begun.add(column.channel.id)
            if cells:
                yield self._line(column, row, cells)

    def _line(self, column: Column, row: int, cells: list[str]) -> str:
        time = bytes(self.recording.time_texts[row]).decode()
        return ",".join((time, column.name, column.channel.signal.id, *cells))


def twin_of_recording(
    recording: Recording, forecaster: Forecaster, progress: Callable[[float], None] = lambda _: None
) -> tuple[Iterator[str], Collection[str]]:
    """(lines of what was shown, lines of the revisions). The second fills while the first is consumed.

    A row that was revised more than once has its last revision.
    """
    run = _Run(recording, forecaster)
    return run.lines(progress), run.revised.values()


def _cells(samples: Samples, i: int) -> list[str]:
    """value, lower, upper, sd, confidence, provenance, threat of one sample."""
    provenance = Provenance(int(samples.provenance[i]) & ~REVISED)
    value, lower, upper = (_number(column[i]) for column in (samples.values, samples.lower, samples.upper))
    sd = (float(samples.upper[i]) - float(samples.lower[i])) / 2 * _SD_OF_HALFWIDTH
    confidence = _number(round(float(samples.confidence[i]), 4))
    threat = PLAUSIBLE.id if provenance is Provenance.QUARANTINED else ""
    return [value, lower, upper, _number(sd), confidence, provenance.name.lower(), threat]


def _number(value: float) -> str:
    """Ten significant digits; nothing for NaN."""
    return f"{value:.10g}" if np.isfinite(value) else ""
