"""Reads a recording: a CSV file, plain or gzip, of one person's or one room's sensors.

The first row names the columns, the first column is ``time_s`` (seconds), an empty cell is a reading that is
missing. Columns that no row of ``device/signals.py`` claims are listed as skipped and never parsed. The original
text of every cell is kept beside its number, so that a measured value can be echoed exactly as the file wrote it.

:func:`read_chunks` streams a file in bounded memory; :func:`read_recording` joins the chunks. What cannot be
understood raises :class:`RecordingError` and nothing is read; a NaN or infinite cell is a missing reading, counted
and named in ``Recording.warnings``. Playing a recording is left to ``device/replay.py``.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from device.signals import SIGNALS, Channel, channel_of_column

Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[np.bytes_]

TIME_COLUMN = "time_s"
CHUNK_ROWS = 8192
MAX_LINE_CHARS = 64 * 1024
MAX_CELL_CHARS = 64
_GZIP_MAGIC = b"\x1f\x8b"


class RecordingError(ValueError):
    """The file is no recording of ours; none of it is used."""


@dataclass(frozen=True, slots=True)
class Column:
    """One channel of a recording."""

    name: str
    channel: Channel
    values: Floats  # (N,) in the signal's unit, NaN = missing
    texts: Texts  # (N,) the cell as the file wrote it, b"" = missing

    def text(self, row: int) -> str:
        """The cell as the file wrote it; empty where the reading is missing."""
        return bytes(self.texts[row]).decode()


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording, or a stretch of one. `columns` keeps the file's order."""

    path: str
    times_s: Floats  # (N,) strictly increasing
    time_texts: Texts  # (N,)
    columns: dict[str, Column]
    skipped: tuple[str, ...]  # columns without a signal row, and second columns of a channel
    odd: dict[str, tuple[int, int]] = field(default_factory=dict)  # column -> NaN or infinite cells, first such row

    def __len__(self) -> int:
        return len(self.times_s)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was read otherwise than written, one sentence each."""
        return tuple(
            f"{self.path}: {count} NaN or infinite cells in {name}, first in row {row}; read as missing"
            for name, (count, row) in self.odd.items()
        )


def known_columns() -> tuple[str, ...]:
    """Patterns of the column names that carry a signal, for a person to read."""
    patterns = (pattern for signal in SIGNALS.values() for pattern in signal.columns)
    return tuple(re.sub(r"\(\?(?:P<part>|:)", "(", pattern).replace("(?!avg)", "") for pattern in patterns)


def read_recording(path: Path | str) -> Recording:
    """The whole file. About 20 bytes a cell, texts included. Raises RecordingError."""
    chunks = list(read_chunks(path))
    if not chunks:
        raise RecordingError(f"{path}: expected rows of readings below the column names, got none; nothing to play")
    first = chunks[0]
    columns = {
        name: Column(
            name,
            column.channel,
            np.concatenate([c.columns[name].values for c in chunks]),
            np.concatenate([c.columns[name].texts for c in chunks]),
        )
        for name, column in first.columns.items()
    }
    odd: dict[str, tuple[int, int]] = {}
    for chunk in chunks:
        for name, (count, row) in chunk.odd.items():
            seen, first_row = odd.get(name, (0, row))
            odd[name] = (seen + count, first_row)
    times_s = np.concatenate([c.times_s for c in chunks])
    time_texts = np.concatenate([c.time_texts for c in chunks])
    return Recording(first.path, times_s, time_texts, columns, first.skipped, odd)


def read_chunks(path: Path | str, rows: int = CHUNK_ROWS) -> Iterator[Recording]:
    """Consecutive stretches of at most `rows` rows; holds one stretch in memory. Raises RecordingError."""
    with _opened(path) as lines:
        reader = csv.reader(lines)
        header = [name.strip() for name in next(reader, [])]
        wanted, skipped = _choose_columns(path, header)
        last_time_s = -np.inf
        for cells, numbers in _batches(path, reader, len(header), rows):
            chunk = _chunk(path, header, wanted, skipped, cells, numbers)
            _check_order(path, chunk.times_s, numbers, last_time_s)
            last_time_s = float(chunk.times_s[-1])
            yield chunk


@contextmanager
def _opened(path: Path | str) -> Iterator[Iterator[str]]:
    """Lines of the file, gunzipped where needed, and every way of not being text turned into one error."""
    try:
        with Path(path).open("rb") as raw:
            packed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            binary = gzip.GzipFile(fileobj=raw) if packed else raw
            with io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as text:
                yield _lines(path, text)
    except UnicodeDecodeError as error:
        raise RecordingError(
            f"{path}: expected a CSV file (UTF-8, may be gzip), got bytes that are no text; nothing was read"
        ) from error
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise RecordingError(f"{path}: expected a whole gzip file, got a damaged one ({error}); not used") from error
    except csv.Error as error:
        raise RecordingError(f"{path}: expected CSV, got a row that does not parse ({error}); not used") from error
    except OSError as error:
        raise RecordingError(f"{path}: expected a readable file, got {error.strerror or error}; not used") from error


def _lines(path: Path | str, text: io.TextIOWrapper) -> Iterator[str]:
    for line in iter(lambda: text.readline(MAX_LINE_CHARS), ""):
        if len(line) == MAX_LINE_CHARS:
            raise RecordingError(f"{path}: expected lines below {MAX_LINE_CHARS} characters, got more; not used")
        yield line


def _choose_columns(path: Path | str, header: list[str]) -> tuple[dict[int, Channel], tuple[str, ...]]:
    """Which fields carry a channel, by their place in the row; and the names of the rest."""
    if not header or header[0] != TIME_COLUMN:
        got = ", ".join(header)[:80].encode("unicode_escape").decode() or "an empty file"
        raise RecordingError(f"{path}: expected a CSV file whose first column is {TIME_COLUMN}, got {got}; not used")
    if len(set(header)) != len(header):
        twice = sorted({name for name in header if header.count(name) > 1})
        raise RecordingError(f"{path}: expected every column name once, got {', '.join(twice)} twice; not used")
    wanted, skipped, taken = dict[int, Channel](), list[str](), set[str]()
    for place, name in enumerate(header[1:], start=1):
        found = channel_of_column(name)
        if found is None or found.id in taken:
            skipped.append(name)
            continue
        wanted[place] = found
        taken.add(found.id)
    if not wanted:
        raise RecordingError(
            f"{path}: expected a column of a known signal, got {', '.join(skipped)[:200] or 'none'}; nothing to play. "
            f"Known columns: {', '.join(known_columns())}"
        )
    return wanted, tuple(skipped)


def _batches(
    path: Path | str, reader: Iterator[list[str]], width: int, rows: int
) -> Iterator[tuple[list[list[str]], list[int]]]:
    """Up to `rows` rows of `width` cells each, and the row number of each as an editor counts them."""
    cells, numbers = list[list[str]](), list[int]()
    for number, row in enumerate(reader, start=2):
        if not row:
            continue
        if len(row) != width:
            raise RecordingError(f"{path}: expected {width} fields in row {number}, got {len(row)}; not used")
        cells.append(row)
        numbers.append(number)
        if len(cells) == rows:
            yield cells, numbers
            cells, numbers = [], []
    if cells:
        yield cells, numbers


def _chunk(
    path: Path | str,
    header: list[str],
    wanted: dict[int, Channel],
    skipped: tuple[str, ...],
    rows: list[list[str]],
    numbers: list[int],
) -> Recording:
    fields = list(zip(*rows, strict=True))
    times_s, time_texts = _parse(path, TIME_COLUMN, fields[0], numbers)
    unset = np.flatnonzero(~np.isfinite(times_s))
    if len(unset):
        raise RecordingError(
            f"{path}: expected a finite time_s in every row, got {fields[0][unset[0]]!r} in row {numbers[unset[0]]}; "
            "not used"
        )
    columns, odd = dict[str, Column](), dict[str, tuple[int, int]]()
    for place, channel in wanted.items():
        name = header[place]
        values, texts = _parse(path, name, fields[place], numbers)
        strange = np.flatnonzero(~np.isfinite(values) & (texts != b""))
        if len(strange):
            odd[name] = (len(strange), numbers[strange[0]])
            values[strange], texts[strange] = np.nan, b""
        columns[name] = Column(name, channel, values, texts)
    return Recording(str(path), times_s, time_texts, columns, skipped, odd)


def _parse(path: Path | str, name: str, cells: tuple[str, ...], numbers: list[int]) -> tuple[Floats, Texts]:
    """Numbers and texts of one field. An empty cell is NaN and b""."""
    stripped = [cell.strip() for cell in cells]
    try:
        values = np.array([_number(cell) if cell else np.nan for cell in stripped], np.float64)
        return values, np.array(stripped, dtype=np.bytes_)
    except ValueError:
        row, cell = next((n, c) for n, c in zip(numbers, stripped, strict=True) if c and not _is_number(c))
        raise RecordingError(f"{path}: expected a number in {name}, row {row}, got {cell[:40]!r}; not used") from None


def _number(cell: str) -> float:
    if len(cell) > MAX_CELL_CHARS or "_" in cell or not cell.isascii():
        raise ValueError(cell)
    return float(cell)


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True


def _check_order(path: Path | str, times_s: Floats, numbers: list[int], before_s: float) -> None:
    earlier = np.concatenate([[before_s], times_s[:-1]])
    wrong = np.flatnonzero(times_s <= earlier)
    if len(wrong):
        at = int(wrong[0])
        raise RecordingError(
            f"{path}: expected time_s to increase from row to row, got {times_s[at]:g} after {earlier[at]:g} in row "
            f"{numbers[at]}; a file with several runs must be split into one file a run"
        )
