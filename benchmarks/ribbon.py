"""Whether the inner band of a trace holds half of the truth: the twin beside what was removed, on people it never saw.

The wire carries the central 90 % of a made value. A screen also draws the central 50 %, FACTOR of the way from the
value to each bound (web/ui/src/traces/ribbon.js): the factor of a two-sided Laplace distribution, ln 2 / ln 10, the
family by which the engine spreads an error that it knows two levels of (``twin_engine.simple.laplace``). Here the real
engine (``twin_engine.offline``) runs over recordings of the model's test people with stretches removed from one column
at a time, and each synthesised value is held against the reading that was taken out. For each signal: the share of
readings inside the 90 % and inside the 50 % band, both averaged over gaps so that long ones don't outvote short ones,
and the factor that would have held half. A sensor of coarse steps (SpO2 in whole percent) can't be split in half:
where the value doesn't change for a minute, most of the truth is the value itself.

    python -m benchmarks.ribbon [FOLDER OF RECORDINGS]
"""

from __future__ import annotations

import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from device.recording import Column, Recording, read_recording
from twin_engine.messages import Floats
from twin_engine.model import Generator
from twin_engine.offline import twin_of_recording

RIBBON_JS = Path("web/ui/src/traces/ribbon.js")
DATA = Path(__file__).resolve().parents[2] / "shared/data"
MINUTES = {"vitals_1hz": 25.0, "wrist_e4": 10.0, "emg_gsr": 2.6}  # of each recording
GAPS_S = (4.0, 10.0, 25.0, 60.0)
CALM_S = 30.0  # between gaps; and twice as long before the first, so that something is known
STEP_S = 0.1  # judged no more often than this


def main() -> None:
    """Print what was measured, signal by signal and over all."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA
    factor = factor_on_screen()
    generator = Generator.load()
    ratios: dict[str, list[Floats]] = defaultdict(list)  # signal -> |error| / distance to the bound, one array a gap
    began = time.monotonic()
    for kind, minutes in MINUTES.items():
        for person in (p for p in generator.metadata["split"]["test"] if p.startswith(f"{kind}/")):
            for signal, found in measured(folder / f"{person}.csv.gz", minutes, generator):
                ratios[signal].append(found)
            print(f"  {person} done after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(f"inner band: {factor:.4f} of the way to the 90 % bounds")
    for signal, gaps in sorted(ratios.items()):
        print(line(signal, gaps, factor))
    inner, outer = (np.mean([held(gaps, part) for gaps in ratios.values()]) for part in (factor, 1.0))
    print(f"mean of {len(ratios)} signals: 90 % band holds {outer:.1f} %, 50 % band {inner:.1f} %")


def held(gaps: list[Floats], part: float) -> float:
    """Percent of the readings inside the band that reaches `part` of the way to the bounds, mean of the gaps."""
    return float(100 * np.mean([np.mean(gap <= part) for gap in gaps]))


def line(name: str, gaps: list[Floats], factor: float) -> str:
    """One row of the table: coverage of both bands, and the factor that would have held half."""
    inner, outer = held(gaps, factor), held(gaps, 1.0)
    weights = np.concatenate([np.full(len(gap), 1 / len(gap)) for gap in gaps])
    pooled = np.concatenate(gaps)
    order = np.argsort(pooled)
    half = pooled[order][np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)]
    return (
        f"{name:18} {len(gaps):4} gaps {len(pooled):7,} readings: 90 % band holds {outer:5.1f} %, "
        f"50 % band {inner:5.1f} %; {half:.3f} would hold half"
    )


def measured(path: Path, minutes: float, generator: Generator) -> Iterator[tuple[str, Floats]]:
    """(signal, ratios (N,)) of each gap of a recording's first minutes, one column silent at a time."""
    whole = cropped(read_recording(path), minutes * 60)
    for name, column in whole.columns.items():
        gaps = list(places(whole.times_s, len(name)))
        silent = without(whole, column, gaps)
        lines, _ = twin_of_recording(silent, generator)
        made = {round(float(row[0]), 4): row for row in (text.split(",") for text in lines) if row[1] == name}
        for start_s, end_s in gaps:
            found = ratios_of(whole, column, made, start_s, end_s)
            if len(found):
                yield column.channel.signal.id, found


def ratios_of(
    whole: Recording, column: Column, made: dict[float, list[str]], start_s: float, end_s: float
) -> Floats:  # fmt: skip
    """|truth - shown| / |bound on that side - shown| of the synthesised rows in a gap, at most one in STEP_S."""
    found, due = [], -np.inf
    for i in np.flatnonzero((whole.times_s >= start_s) & (whole.times_s < end_s) & np.isfinite(column.values)):
        at = float(whole.times_s[i])
        row = made.get(round(at, 4))
        if at < due or row is None or row[8] != "synthesised":
            continue
        due = at + STEP_S - 1e-9
        value, lower, upper = (float(cell) for cell in row[3:6])
        error = float(column.values[i]) - value
        found.append(abs(error) / max(1e-12, value - lower if error < 0 else upper - value))
    return np.array(found)


def places(times_s: Floats, shift: int) -> Iterator[tuple[float, float]]:
    """(from, to) of each gap, s: all lengths in turn, with calm between them."""
    at, k = float(times_s[0]) + 2 * CALM_S, shift
    while True:
        length = GAPS_S[k % len(GAPS_S)]
        if at + length + 1 > times_s[-1]:
            return
        yield at, at + length
        at, k = at + length + CALM_S, k + 1


def cropped(recording: Recording, seconds: float) -> Recording:
    """The first seconds of a recording."""
    n = int(np.searchsorted(recording.times_s, recording.times_s[0] + seconds))
    columns = {k: replace(c, values=c.values[:n], texts=c.texts[:n]) for k, c in recording.columns.items()}
    return replace(recording, times_s=recording.times_s[:n], time_texts=recording.time_texts[:n], columns=columns)


def without(recording: Recording, column: Column, gaps: list[tuple[float, float]]) -> Recording:
    """A recording in which one column is silent in the gaps."""
    values, texts = column.values.copy(), column.texts.copy()
    for start_s, end_s in gaps:
        gone = (recording.times_s >= start_s) & (recording.times_s < end_s)
        values[gone], texts[gone] = np.nan, b""
    return replace(recording, columns=recording.columns | {column.name: replace(column, values=values, texts=texts)})


def factor_on_screen() -> float:
    """INNER of web/ui/src/traces/ribbon.js: the two numbers whose logarithms it divides."""
    found = re.search(r"INNER = Math\.log\((\d+)\) / Math\.log\((\d+)\)", RIBBON_JS.read_text())
    if found is None:
        raise ValueError(f"expected INNER = Math.log(a) / Math.log(b) in {RIBBON_JS}; the band can't be measured")
    return float(np.log(int(found[1])) / np.log(int(found[2])))


if __name__ == "__main__":
    main()
