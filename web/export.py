"""The stored past as CSV: one row a channel and time, the best known (or what was shown) beside what was shown live.

Values are float32, as they go to the screen, in the shortest decimals that give the same float32 back: what the page
shows is these numbers, rounded. A time that only one of the two views has (a revision on a finer grid) leaves the
other's columns empty; a withheld value is empty, too, and its provenance says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from device.signals import channel as channel_row
from twin_engine.messages import REVISED, SAMPLE, Packed, Provenance
from twin_engine.registry import shown_number
from twin_engine.store.feed import Feed
from web.asked import Asked

COLUMNS = (
    "time_utc,time_s,channel,signal,unit,value,lower,upper,confidence,provenance,revised,"
    "shown_value,shown_lower,shown_upper,shown_provenance"
)
_PIECE_S = 60.0  # read, made and sent minute by minute: an export of hours needs the memory of a minute
_SAME_US = 500
_NO_ROW = -1
_NAMES = np.array([*(p.name.lower() for p in Provenance), *[""] * 11])
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run what starts so

Texts = npt.NDArray[np.str_]


def csv_lines(feed: Feed, a: Asked, who: str, made: datetime) -> Iterator[str]:
    """The file, a piece at a time; comment lines first. Raises StoreError, at the first piece if the store is down."""
    first = _piece(feed, a, a.t0_s)
    yield head(a, who, made) + COLUMNS + "\n"
    yield from first
    start_s = a.t0_s + _PIECE_S
    while start_s < a.t1_s:
        yield from _piece(feed, a, start_s)
        start_s += _PIECE_S


def head(a: Asked, who: str, made: datetime) -> str:
    """Whose values these are, of when, how they were made, and what they are not."""
    start, end = (datetime.fromtimestamp(t, UTC) for t in (a.t0_s, a.t1_s))
    lines = (
        f"Everbeat export for {a.card.pseudonym}, record number {shown_number(a.card)}",
        f"from {start.isoformat()} to {end.isoformat()}; time_utc is UTC, the page's zone was {a.zone.key}",
        f"view {a.view}: {'revisions and late readings applied' if a.view == 'best' else 'as shown at the time'}; "
        "the columns shown_* are what was shown live",
        "lower and upper are the central 90 %; values are float32 as sent to the screen, before rounding for display",
        f"made {made.isoformat(timespec='seconds')} by {who}",
        "secondary display, not a primary alarm system; synthesised values were never measured",
    )
    return "".join(f"# {_one_line(line)}\n" for line in lines)


def _piece(feed: Feed, a: Asked, start_s: float) -> list[str]:
    """The rows of one minute, by time and then channel."""
    end_s = min(a.t1_s, start_s + _PIECE_S)
    if end_s < a.t1_s:
        end_s -= 1e-6  # the next piece begins there
    piece = replace(a, t0_s=start_s, t1_s=end_s)
    main, shown = piece.past(feed, a.view).samples, piece.past(feed, "live").samples
    rows = [_rows(c, main.get(c), shown.get(c)) for c in sorted(main | shown)]
    if not rows:
        return []
    times = np.concatenate([t for t, _ in rows])
    lines = np.concatenate([text for _, text in rows])
    return ["\n".join(lines[np.argsort(times, kind="stable")]) + "\n"] if len(lines) else []


def _rows(channel: str, main: Packed | None, shown: Packed | None) -> tuple[Any, Texts]:
    nothing = Packed(channel, np.empty(0, np.int64), np.empty(0, SAMPLE))
    main, shown = main or nothing, shown or nothing
    times, at_main, at_shown = _aligned(main.times_us, shown.times_us)
    row = channel_row(channel)
    unit, signal = (row.signal.unit, row.signal.id) if row else ("", "")
    stamps = np.char.add(np.datetime_as_string(times.astype("datetime64[us]"), unit="us"), "Z")
    seconds = np.char.mod("%.6f", times / 1e6)
    names = np.full(len(times), f"{_cell(channel)},{_cell(signal)},{_cell(unit)}")
    known, live = _at(main, at_main), _at(shown, at_shown)
    sure = np.char.mod("%.3f", known["confidence"] / 255.0)
    revised = np.where(known["provenance"] & REVISED, "1", "0")
    columns = [
        *(_numbers(known[k]) for k in ("value", "lower", "upper")), sure, _NAMES[known["provenance"] & 0x0F], revised,
    ]  # fmt: skip
    beside = [*(_numbers(live[k]) for k in ("value", "lower", "upper")), _NAMES[live["provenance"] & 0x0F]]
    columns = [np.where(at_main == _NO_ROW, "", c) for c in columns]
    beside = [np.where(at_shown == _NO_ROW, "", c) for c in beside]
    return times, _glued([stamps, seconds, names, *columns, *beside])


def _aligned(a_us: Any, b_us: Any) -> tuple[Any, Any, Any]:
    """The times of both, and for each the index of its sample in either, -1 where it has none."""
    near = np.searchsorted(a_us, b_us - _SAME_US)
    same = (near < len(a_us)) & (np.append(a_us, np.iinfo(np.int64).max)[near] <= b_us + _SAME_US)
    times = np.concatenate((a_us, b_us[~same]))
    at_a = np.concatenate((np.arange(len(a_us)), np.full((~same).sum(), _NO_ROW)))
    at_b = np.full(len(times), _NO_ROW)
    at_b[near[same]] = np.flatnonzero(same)
    at_b[len(a_us) :] = np.flatnonzero(~same)
    order = np.argsort(times, kind="stable")
    return times[order], at_a[order], at_b[order]


def _at(s: Packed, index: Any) -> Any:
    """The samples of these indices; a blank one for -1."""
    return np.append(s.data, np.array([(np.nan, np.nan, np.nan, 0, 0)], SAMPLE))[index]


def _numbers(values: npt.NDArray[np.float32]) -> Texts:
    return np.where(np.isnan(values), "", values.astype(np.float32).astype(str))


def _glued(columns: list[Any]) -> Texts:
    return np.array([",".join(cells) for cells in zip(*columns, strict=True)], dtype=object)


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text.replace(",", " ")


def _one_line(text: str) -> str:
    return " ".join(text.split())
