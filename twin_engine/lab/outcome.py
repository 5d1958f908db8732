"""From what was measured to what is told: the rows, the bars, the JSON and the tables on the screen."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twin_engine.lab.bars import PAPER, Bar, bars
from twin_engine.lab.card_findings import ablation_of
from twin_engine.lab.evaluate import Evaluation
from twin_engine.lab.rivals import RIVALS
from twin_engine.lab.scorecard import (
    MODES,
    OURS,
    UNLEARNT,
    PersonCoverage,
    Ratio,
    Row,
    coverage_of,
    ece,
    ratios,
    reliability,
    rows_of,
    shares,
)
from twin_engine.lab.subgroups import by_subgroup

NO_RIVALS = "SAITS and BRITS are not in the tables: nothing is cached. `everbeat train --baselines` trains them once."


@dataclass(frozen=True)
class Outcome:
    """Everything that is told."""

    evaluation: Evaluation
    rows: list[Row]  # everybody together
    rows_by_folder: list[Row]  # people of one folder share a device
    ratios: list[Ratio]  # ours over the best cheap rival of each row
    against_saits: list[Ratio]
    coverage: list[PersonCoverage]
    reliability: dict[str, dict[str, Any]]  # mode -> table
    reliability_by_signal: dict[str, dict[str, Any]]  # causal
    shares: dict[str, dict[str, float]]  # of what was shown live
    shares_later: dict[str, dict[str, float]]  # of the revisions
    bars: list[Bar]


def outcome(evaluation: Evaluation) -> Outcome:
    """Put together what was measured."""
    scored = [s for found in evaluation.found for s in found.scored]
    every = [row for s in scored for row in rows_of(s)]
    rows = [row for row in every if row.folder == "all"]
    cheap = [r for s in scored for r in ratios(s, apart=(*RIVALS, UNLEARNT))]
    saits = [r for s in scored for r in ratios(s, rivals=("saits",))]
    people = [c for f in evaluation.found if f.scored for mode in MODES for c in coverage_of(f.scored, mode)]
    tallied = {mode: np.sum([f.tallies[mode] for f in evaluation.found], axis=0) for mode in MODES}
    lively = [f.liveliness for f in evaluation.found if f.liveliness is not None]
    return Outcome(
        evaluation,
        rows,
        [row for row in every if row.folder != "all"],
        cheap,
        saits,
        people,
        {mode: reliability(t) for mode, t in tallied.items()},
        {f.signal: reliability(f.tallies["causal"]) for f in evaluation.found},
        shares({f.signal: f.weights["causal"] for f in evaluation.found}),
        shares({f.signal: f.weights["retrospective"] for f in evaluation.found}),
        bars(every, cheap, saits, people, ece(tallied["causal"]), lively),
    )


def write_json(told: Outcome, path: Path) -> None:
    """One file that a program can read; the rows one a line. Unknown numbers are null."""
    evaluation = told.evaluation
    head = {
        "seeds": list(evaluation.seeds),
        "data_sha256": evaluation.data_sha256,
        "masks_sha256": evaluation.masks_sha256,
        "people": evaluation.people,
        "refused": evaluation.refused,
        "seconds": evaluation.seconds,
        "reliability": told.reliability["causal"],
        "reliability_retrospective": told.reliability["retrospective"],
        "reliability_by_signal": told.reliability_by_signal,
        "share_by_method": told.shares,
        "share_by_method_retrospective": told.shares_later,
        "realism": [f.liveliness for f in evaluation.found if f.liveliness is not None],
        "anomalies": evaluation.anomalies,
        "ablation": ablation_of(evaluation.metadata),
        "bars": told.bars,
        "coverage_by_person": told.coverage,
        "by_subgroup": by_subgroup([s for f in evaluation.found for s in f.scored], evaluation.who),
        "ratio_to_best_cheap": told.ratios,
        "ratio_to_saits": told.against_saits,
        "paper": PAPER,
    }
    parts = [f"{json.dumps(name)}: {json.dumps(_plain(value))}" for name, value in head.items()]
    for name, rows in (("rows", told.rows), ("rows_by_folder", told.rows_by_folder)):
        lines = ",\n".join(json.dumps(_plain(row)) for row in rows)
        parts.append(f'"{name}": [\n{lines}\n]')
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def text(told: Outcome) -> str:
    """The tables for the screen: causal and retrospective apart, then the bars."""
    lines = list[str]()
    for mode in MODES:
        lines += [
            f"{mode.upper()}: MAE / CRPS in the person's SD, random places, single channel",
            *_table(told, mode),
            "",
        ]
    for title, by_signal in (("WHO MADE WHAT WAS SHOWN LIVE", told.shares), ("WHO REVISED IT", told.shares_later)):
        lines += [f"{title} (mean weight)"]
        lines += [f"  {s:<17}" + "  ".join(f"{n} {w:.2f}" for n, w in by.items()) for s, by in by_signal.items()]
    if parts := ablation_of(told.evaluation.metadata):
        lines += ["", "ABLATION (validation people, in units of ridge's error)", *_indented(parts)]
    lines += ["", "NUMBERS TO REACH", *map(_bar, told.bars), "", PAPER]
    if not told.evaluation.rivals:
        lines += ["", NO_RIVALS]
    if told.evaluation.refused:
        lines += ["", f"REFUSED, because the model knows them ({len(told.evaluation.refused)})"]
        lines += [f"  {why}: {', '.join(people)}" for why, people in _by_reason(told.evaluation.refused).items()]
    return "\n".join(lines)


def methods_of(rows: Sequence[Row], mode: str) -> list[str]:
    """Every method of a mode, ours first, published networks last."""
    found = dict.fromkeys(row.method for row in rows if row.mode == mode)
    return sorted(found, key=lambda m: (m != OURS, m in RIVALS, list(found).index(m)))


def _table(told: Outcome, mode: str) -> Iterator[str]:
    chosen = [r for r in told.rows if (r.mode, r.mask, r.drop) == (mode, "random", "single")]
    names = methods_of(chosen, mode)
    over = {(r.signal, r.gap_s, r.metric): r for r in told.ratios if (r.mode, r.mask) == (mode, "random")}
    yield f"  {'signal':<16}{'gap':>6} {'people':>6}" + "".join(f"{n:>16}" for n in names) + "   over the best cheap"
    for signal, gap_s in dict.fromkeys((r.signal, r.gap_s) for r in chosen):
        by = {r.method: r for r in chosen if (r.signal, r.gap_s) == (signal, gap_s)}
        cells = "".join(f"{f'{by[n].mae:.3f} / {by[n].crps:.3f}' if n in by else '–':>16}" for n in names)
        both = [over[signal, gap_s, metric] for metric in ("mae", "crps") if (signal, gap_s, metric) in over]
        told_ratio = "   " + " / ".join(f"{r.ratio:.3f} ({r.rival})" for r in both)
        yield f"  {signal:<16}{gap_s:>4g} s {by[OURS].people:>6}{cells}{told_ratio}"


def _by_reason(refused: Mapping[str, str]) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for person, why in refused.items():
        out.setdefault(why, []).append(person)
    return out


def _bar(bar: Bar) -> str:
    mark = "?" if bar.met is None else "ok" if bar.met else "SHORT"
    reached = "–" if bar.reached is None else f"{bar.reached:.3f}"
    return f"  {mark:<6}{bar.name:<64} {reached:>8}  {bar.bound:<14} {bar.note}"


def _indented(value: Any) -> list[str]:
    return ["  " + line for line in json.dumps(_plain(value), indent=1).splitlines()]


def _plain(value: Any) -> Any:
    """What JSON can hold: floats at six digits, unknown ones null."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
