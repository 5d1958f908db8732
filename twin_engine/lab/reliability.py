"""Is the twin right about how sure it is? Measured on what it really shows, person by person.

Recordings of people whom the model has never seen are played through the engine with gaps cut into them at frozen
places; each value that was shown in a gap is held against the reading that was hidden. The table says, for each
signal and gap length, how far off the shown values were (beside the last value, held), how often the 90 % bounds held
the truth (with the worst and best person), and how many were withheld. The reliability table says whether values shown
with a confidence of 0.8 were within tolerance 80 % of the time.
"""

from __future__ import annotations

import csv
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from device.recording import Column, Recording, read_recording
from device.signals import SIGNALS, Kind, Signal
from twin_engine.messages import Floats
from twin_engine.offline import HEADER, twin_of_recording
from twin_engine.synthesise import Forecaster

GAPS_S: tuple[float, ...] = (1.0, 5.0, 10.0, 30.0, 60.0)
WARM_UP_S = 60.0  # no gap before
REST_S = 25.0  # between gaps, so that the sensor is alive again
BINS: tuple[float, ...] = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0001)


@dataclass(frozen=True, slots=True)
class GapRow:
    """One signal and gap length, over all people."""

    signal: str
    gap_s: float
    values: int  # hidden readings
    mae: float  # of shown values, in the signal's unit
    mae_locf: float  # of the last value held, at the same places
    coverage: float  # share of shown values whose 90 % bounds held the truth
    coverage_worst: float  # of the person with the lowest
    coverage_best: float
    confidence: float  # mean, of shown values
    hit_rate: float  # share within tolerance
    withheld: float  # share of hidden readings for which nothing was shown


@dataclass(frozen=True, slots=True)
class ReliabilityRow:
    """All values shown with a confidence in [low, high)."""

    low: float
    high: float
    values: int
    confidence: float  # mean
    hit_rate: float


@dataclass(slots=True)
class _Shown:
    """Hidden readings of one person, signal and gap length. Lists grow together."""

    truth: list[float]
    held: list[float]
    value: list[float]
    inside: list[bool]
    confidence: list[float]


def measure(
    recordings: Sequence[Path], forecaster: Forecaster, progress: Callable[[float], None] = lambda _: None
) -> tuple[list[GapRow], list[ReliabilityRow]]:
    """The two tables over `recordings`, one file a person. Raises RecordingError."""
    found: dict[tuple[str, float, str], _Shown] = {}
    for done, path in enumerate(recordings):
        _measure_person(path, forecaster, found)
        progress((done + 1) / len(recordings))
    return _gap_rows(found), _reliability_rows(found)


def tables(gaps: Sequence[GapRow], reliability: Sequence[ReliabilityRow]) -> str:
    """Both tables as Markdown."""
    lines = ["| signal | gap | shown MAE | last value MAE | 90 % bounds held | worst to best person | mean confidence "
             "| within tolerance | withheld |", "|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for r in gaps:
        lines.append(
            f"| {r.signal} | {r.gap_s:g} s | {r.mae:.4g} | {r.mae_locf:.4g} | {r.coverage:.2f} "
            f"| {r.coverage_worst:.2f} to {r.coverage_best:.2f} | {r.confidence:.2f} | {r.hit_rate:.2f} "
            f"| {r.withheld:.2f} |"
        )
    lines += ["", "| confidence shown | values | mean confidence | within tolerance |", "|---|---|---|---|"]
    for b in reliability:
        high = min(b.high, 1.0)
        lines.append(f"| {b.low:g} to {high:g} | {b.values} | {b.confidence:.3f} | {b.hit_rate:.3f} |")
    return "\n".join(lines)


def as_json(gaps: Sequence[GapRow], reliability: Sequence[ReliabilityRow]) -> dict[str, list[dict[str, object]]]:
    """Both tables for a file."""
    return {"gaps": [asdict(r) for r in gaps], "reliability": [asdict(r) for r in reliability]}


def _measure_person(path: Path, forecaster: Forecaster, found: dict[tuple[str, float, str], _Shown]) -> None:
    """Cut gaps, run the engine, and note what it showed in them."""
    whole = read_recording(path)
    columns, hidden = {}, dict[str, dict[str, tuple[float, float, float]]]()
    for name, column in whole.columns.items():
        columns[name], hidden[name] = _with_gaps(column, whole, f"{path.parent.name}/{path.name}/{name}")
    lines, _ = twin_of_recording(replace(whole, columns=columns), forecaster)
    for row in csv.DictReader([HEADER, *lines]):
        place = hidden[row["column"]].get(row["time_s"])
        if place is not None:
            gap_s, truth, held = place
            _note(found, (row["signal"], gap_s, path.name), row, truth, held)


def _with_gaps(column: Column, whole: Recording, seed: str) -> tuple[Column, dict[str, tuple[float, float, float]]]:
    """The column with gaps cut into it, and time text -> (gap length, hidden reading, last reading before)."""
    values, texts = column.values.copy(), column.texts.copy()
    hidden = dict[str, tuple[float, float, float]]()
    if column.channel.signal.kind is Kind.WAVE:
        return column, hidden
    for start_s, gap_s in _places(float(whole.times_s[-1]), seed):
        rows = np.flatnonzero((whole.times_s >= start_s) & (whole.times_s < start_s + gap_s) & np.isfinite(values))
        before = np.flatnonzero((whole.times_s < start_s) & np.isfinite(column.values))
        if len(rows) and len(before):
            held = float(column.values[before[-1]])
            for row in rows:
                hidden[bytes(whole.time_texts[row]).decode()] = (gap_s, float(column.values[row]), held)
            values[rows], texts[rows] = np.nan, b""
    return replace(column, values=values, texts=texts), hidden


def _places(end_s: float, seed: str) -> Iterator[tuple[float, float]]:
    """(start, length) of each gap: every length in turn, at places that depend on the seed alone."""
    rng = np.random.default_rng(zlib.crc32(seed.encode()))
    order = rng.permutation(len(GAPS_S))
    at_s, turn = WARM_UP_S + rng.uniform(0, REST_S), 0
    while at_s + max(GAPS_S) < end_s:
        gap_s = GAPS_S[int(order[turn % len(GAPS_S)])]
        yield at_s, gap_s
        at_s, turn = at_s + gap_s + REST_S + rng.uniform(0, REST_S), turn + 1


def _note(
    found: dict[tuple[str, float, str], _Shown], key: tuple[str, float, str], row: dict[str, str], truth: float,
    held: float,
) -> None:  # fmt: skip
    kept = found.setdefault(key, _Shown([], [], [], [], []))
    shown = float(row["value"]) if row["value"] else np.nan
    inside = bool(row["lower"]) and float(row["lower"]) <= truth <= float(row["upper"])
    kept.truth.append(truth)
    kept.held.append(held)
    kept.value.append(shown)
    kept.inside.append(inside)
    kept.confidence.append(float(row["confidence"]))


def _gap_rows(found: dict[tuple[str, float, str], _Shown]) -> list[GapRow]:
    grouped: dict[tuple[str, float], list[_Shown]] = defaultdict(list)
    for (signal, gap_s, _), shown in found.items():
        grouped[signal, gap_s].append(shown)
    return [_gap_row(signal, gap_s, people) for (signal, gap_s), people in sorted(grouped.items())]


def _gap_row(signal: str, gap_s: float, people: list[_Shown]) -> GapRow:
    truth, held, value, inside, confidence = _columns(people)
    shown = np.isfinite(value)
    by_person = [np.mean(np.array(p.inside)[np.isfinite(p.value)]) for p in people if np.isfinite(p.value).any()]
    return GapRow(
        signal,
        gap_s,
        len(truth),
        _mean(np.abs(value - truth)[shown]),
        _mean(np.abs(held - truth)[shown]),
        _mean(inside[shown]),
        float(min(by_person, default=np.nan)),
        float(max(by_person, default=np.nan)),
        _mean(confidence[shown]),
        _mean(_hits(SIGNALS[signal], value, truth)[shown]),
        float(1 - shown.mean()),
    )


def _reliability_rows(found: dict[tuple[str, float, str], _Shown]) -> list[ReliabilityRow]:
    confidence, hits = [], []
    for (signal, _, _), shown in found.items():
        value, truth = np.array(shown.value), np.array(shown.truth)
        seen = np.isfinite(value)
        confidence.append(np.array(shown.confidence)[seen])
        hits.append(_hits(SIGNALS[signal], value, truth)[seen])
    sure, hit = np.concatenate(confidence), np.concatenate(hits)
    bins = np.digitize(sure, BINS) - 1
    return [
        ReliabilityRow(BINS[i], BINS[i + 1], int(at.sum()), _mean(sure[at]), _mean(hit[at]))
        for i in range(len(BINS) - 1)
        if (at := bins == i).any()
    ]


def _hits(signal: Signal, value: Floats, truth: Floats) -> Floats:
    allowed = signal.tolerance.at_each(truth)
    return (np.abs(value - truth) <= allowed).astype(np.float64)


def _columns(people: list[_Shown]) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """truth, held, value, inside, confidence of several people, each (N,)."""
    names = ("truth", "held", "value", "inside", "confidence")
    truth, held, value, inside, confidence = (
        np.concatenate([np.array(getattr(p, name), np.float64) for p in people]) for name in names
    )
    return truth, held, value, inside, confidence


def _mean(values: Floats) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
