"""Fewer samples that draw the same picture: first, smallest, largest and last of each run in each slice of time (M4).

A run is a stretch of one channel with one provenance and without a hole. Runs are told apart before anything is left
out, so that a thinned trace neither mixes what was measured with what was made nor bridges a gap: where a hole lies
between two runs of a thinned trace, :func:`thin` says so with a sample of provenance :data:`HOLE`. Of made values the
bounds are those of the samples that are kept. Pure; times are in µs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from twin_engine.messages import REVISED, SAMPLE, Packed, Times
from twin_engine.store.history import in_order, select

HOLE = 0x0F  # no sample at all from here to the next one; only in thinned history, never in a twin stream
COARSE_US = 1_000_000  # slices of the thinned trace that is kept for long ranges
MARK_US = 1000  # so long after the last sample: further than two words for one time lie apart
_KIND = 0x0F
_LATE = 1.5  # a step longer than so many periods is a hole (twin_engine/gaps.py draws the same line)
_SLACK_US = 2000  # device clocks count whole ms

Mask = npt.NDArray[np.bool_]
Index = npt.NDArray[np.int64]


def holes(s: Packed) -> Mask:
    """(N,) whether readings are missing between sample i and the one before it; False for the first."""
    out = np.zeros(len(s), np.bool_)
    if len(s) > 1:
        kinds = s.data["provenance"] & _KIND
        steps = np.diff(s.times_us)
        period = _periods(kinds, steps)
        out[1:] = steps > _LATE * np.maximum(period[kinds[1:]], period[kinds[:-1]]) + _SLACK_US
    return out


def _periods(kinds: npt.NDArray[Any], steps: Times) -> npt.NDArray[np.float64]:
    """(16,) the median step of each kind, as a measured channel and its estimate may differ in rate; 0 = never seen."""
    out = np.zeros(16)
    inside = kinds[1:] == kinds[:-1]
    for kind in np.unique(kinds):
        own = steps[inside & (kinds[1:] == kind)]
        out[kind] = np.median(own) if len(own) else 0.0
    return out


def thin(s: Packed, slice_us: int, marked: bool = False) -> Packed:
    """At most four samples a run and slice of `slice_us`, and a HOLE wherever readings are missing.

    `marked`: the holes of `s` are marked already, as it was thinned to shorter slices of which these are multiples.
    """
    if not len(s):
        return s
    gaps = np.zeros(len(s), np.bool_) if marked else holes(s)
    gone = np.flatnonzero(gaps)
    return in_order([select(s, _kept(s, slice_us, gaps)), _marks(s.channel, s.times_us[gone - 1])])


def settled(s: Packed, slice_us: int) -> Packed:
    """A trace of pieces that were thinned to `slice_us` and then revised: marks of holes that were filled are gone,
    and holes between the pieces are marked."""
    if len(s) < 2:
        return s
    mark = s.data["provenance"] == HOLE
    filled = np.zeros(len(s), np.bool_)
    filled[:-1] = mark[:-1] & ((s.data["provenance"][1:] & REVISED) > 0) & (np.diff(s.times_us) < 2 * slice_us)
    s, mark = select(s, ~filled), mark[~filled]
    steps, kinds = np.diff(s.times_us), s.data["provenance"] & _KIND
    period = _periods(kinds, steps)
    longest = np.maximum(_LATE * np.maximum(period[kinds[1:]], period[kinds[:-1]]), 2.5 * slice_us)
    gone = np.flatnonzero((steps > longest) & ~mark[:-1])
    return in_order([s, _marks(s.channel, s.times_us[gone])])


def _marks(channel: str, after_us: Times) -> Packed:
    """A HOLE just after each of these times."""
    marks = np.zeros(len(after_us), SAMPLE)
    for name in ("value", "lower", "upper"):
        marks[name] = np.nan
    marks["provenance"] = HOLE
    return Packed(channel, after_us + MARK_US, marks)


def _kept(s: Packed, slice_us: int, gaps: Mask) -> Index:
    slices, kinds = s.times_us // slice_us, s.data["provenance"]
    new = gaps.copy()
    new[0] = True
    new[1:] |= (slices[1:] != slices[:-1]) | (kinds[1:] != kinds[:-1])
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(s)) - 1
    group = np.cumsum(new) - 1
    values = s.data["value"]
    ends = [_first_at(values, op.reduceat(values, first), group) for op in (np.fmin, np.fmax)]
    return np.unique(np.concatenate((first, last, *ends)))


def _first_at(values: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32], group: Index) -> Index:
    """In each group the index of the first sample that has the wanted value; none where that is NaN."""
    found = np.flatnonzero(values == wanted[group])
    _, at = np.unique(group[found], return_index=True)
    return found[at]
