"""The numbers of the model card, from the evaluation's JSON, as Markdown. Nothing is measured here.

The evaluation's parts are rows of ``scorecard.Row`` (``rows``), bins of ``scorecard.reliability`` (``reliability``),
``scorecard.PersonCoverage`` (``coverage_by_person``), ``{signal: {expert: share}}`` (``share_by_method``) and rows of
``subgroups.by_subgroup`` (``by_subgroup``), as JSON has them. A part that is absent is said to be not measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from device.signals import SIGNALS
from twin_engine.lab.scorecard import OURS, UNLEARNT

Row = Mapping[str, Any]
NEURAL = ("saits", "brits")  # rivals that are not cheap
TIE = 0.05  # of a score; less is no difference
NOT_MEASURED = "Not measured for these weights."


def table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table; what is not measured where there are no lines."""
    body = [f"| {' | '.join(cells)} |" for cells in lines]
    return "\n".join([f"| {' | '.join(heads)} |", "|" + "---|" * len(heads), *body]) if body else NOT_MEASURED


def number(value: float | None, digits: int = 3) -> str:
    """`value` with so many significant digits; a dash for what is not known."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}g}"


def share(value: float | None) -> str:
    """A fraction as people read it: 0.904 is "90 %"."""
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.0f} %"


def interval(ci: Sequence[float] | None, as_share: bool = False) -> str:
    """`` [low to high]``, or nothing where there is none."""
    if ci is None or any(v is None or not math.isfinite(v) for v in ci):
        return ""
    text = share if as_share else number
    return f" [{text(ci[0])} to {text(ci[1])}]"


def label(signal: str) -> str:
    """What people call a signal."""
    return SIGNALS[signal].label if signal in SIGNALS else signal


def gap(gap_s: float) -> str:
    """A gap's length in words."""
    return f"{gap_s:g} s" if gap_s < 120 else f"{gap_s / 60:.2g} min"


class Comparison:
    """One row of the evaluation: what is shown, beside the best cheap method and SAITS at the same gaps."""

    def __init__(self, own: Row, others: Sequence[Row]) -> None:
        cheap = [row for row in others if row["method"] not in (OURS, UNLEARNT, *NEURAL)]
        self.own = own
        self.best_mae, self.best_crps = _least(cheap, "mae"), _least(cheap, "crps")
        self.saits = next((row for row in others if row["method"] == "saits"), None)

    def ratio(self, score: str) -> float:
        """Own score over the best cheap one's; below 1 is better than every cheap method. NaN where there is none."""
        best = self.best_mae if score == "mae" else self.best_crps
        known = best is not None and self.own[score] is not None and best[score] > 0
        return float(self.own[score] / best[score]) if best is not None and known else math.nan


def kinds(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """(mode, drop, mask) as they occur."""
    return list(dict.fromkeys(_kind(row) for row in _everybody(rows)))


def comparisons(rows: Sequence[Row], kind: tuple[str, str, str]) -> list[Comparison]:
    """Every signal and gap length of one kind of gap, over the people of all folders."""
    of_kind = [row for row in _everybody(rows) if _kind(row) == kind]
    places = dict.fromkeys((row["signal"], row["gap_s"]) for row in of_kind)
    out = []
    for place in places:
        here = [row for row in of_kind if (row["signal"], row["gap_s"]) == place]
        out += [Comparison(row, here) for row in here if row["method"] == OURS]
    return out


def results(found: Sequence[Comparison]) -> str:
    """The table of one kind of gap."""
    heads = ("signal", "gap", "MAE [95 %]", "best cheap MAE", "CRPS", "best cheap CRPS", "SAITS MAE",
             "90 % bounds held", "width", "people", "gaps")  # fmt: skip
    return table(heads, (_result(c) for c in found))


def _result(c: Comparison) -> tuple[str, ...]:
    own = c.own
    return (
        label(own["signal"]),
        gap(own["gap_s"]),
        number(own["mae"]) + interval(own.get("mae_ci")),
        "–" if c.best_mae is None else f"{number(c.best_mae['mae'])} ({c.best_mae['method']})",
        number(own["crps"]),
        "–" if c.best_crps is None else f"{number(c.best_crps['crps'])} ({c.best_crps['method']})",
        "–" if c.saits is None else number(c.saits["mae"]),
        share(own.get("cover90")),
        number(own.get("width90")),
        str(own["people"]),
        str(own["gaps"]),
    )


def other_kinds(rows: Sequence[Row], shown: Sequence[tuple[str, str, str]]) -> str:
    """One line for each kind of gap that has no table of its own: means over its rows."""
    heads = ("gaps", "rows", "MAE against the best cheap", "CRPS against the best cheap", "90 % bounds held")
    lines = []
    for kind in (k for k in kinds(rows) if k not in shown):
        found = comparisons(rows, kind)
        held = [c.own["cover90"] for c in found if c.own.get("cover90") is not None]
        ratios = [number(mean(c.ratio(score) for c in found)) for score in ("mae", "crps")]
        lines.append((", ".join(part for part in kind if part), str(len(found)), *ratios, share(mean(held))))
    return table(heads, lines)


def subgroups(rows: Sequence[Row]) -> str:
    """How well each subgroup is served, with n and intervals."""
    heads = ("group", "part", "signal", "gap", "MAE [95 %]", "CRPS [95 %]", "90 % bounds held [95 %]", "people", "gaps")
    order = sorted(rows, key=lambda row: (row["group"], row["signal"], row["gap_s"], row["part"]))
    return table(heads, (
        (row["group"], row["part"], label(row["signal"]), gap(row["gap_s"]),
         number(row["mae"]) + interval(row.get("mae_ci")), number(row["crps"]) + interval(row.get("crps_ci")),
         share(row["cover90"]) + interval(row.get("cover90_ci"), as_share=True), str(row["people"]), str(row["gaps"]))
        for row in order
    ))  # fmt: skip


def coverage(found: Sequence[Comparison]) -> str:
    """How often intervals of each level held the truth, by signal, each gap length counting the same."""
    signals = dict.fromkeys(c.own["signal"] for c in found)
    levels = ("cover50", "cover80", "cover90", "cover95")
    lines = []
    for signal in signals:
        rows = [c.own for c in found if c.own["signal"] == signal]
        lines.append((label(signal), *(share(mean(row.get(level) for row in rows)) for level in levels)))
    return table(("signal", "50 %", "80 %", "90 %", "95 %"), lines)


def reliability(rows: Sequence[Row]) -> str:
    """Confidence shown against how often it was right."""
    return table(
        ("confidence shown", "values", "mean confidence", "within tolerance"),
        (
            (
                f"{r['low']:.2g} to {min(r['high'], 1.0):.2g}",
                str(r["n"]),
                number(r["confidence"]),
                number(r["hit_rate"]),
            )
            for r in rows
        ),
    )


def calibration_error(rows: Sequence[Row]) -> float:
    """Expected calibration error of confidence: mean |confidence − share within tolerance|, weighted by values."""
    total = sum(row["n"] for row in rows)
    return sum(row["n"] * abs(row["confidence"] - row["hit_rate"]) for row in rows) / total if total else math.nan


def shares(by_signal: Mapping[str, Mapping[str, float]]) -> str:
    """Which method made what was shown."""
    methods = list(dict.fromkeys(method for of in by_signal.values() for method in of))
    lines = ((label(signal), *(share(of.get(m, 0.0)) for m in methods)) for signal, of in by_signal.items())
    return table(("signal", *methods), lines)


def mean(values: Iterable[float | None]) -> float:
    """Mean of what is known; NaN where nothing is."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    return sum(known) / len(known) if known else math.nan


def targets(bars: Sequence[Row]) -> str:
    """The numbers that were set beforehand, and what was reached."""
    words = {True: "met", False: "**not met**", None: "not measured"}
    lines = ((b["name"], str(b["bound"]), number(b["reached"]), words[b["met"]], b.get("note", "")) for b in bars)
    return table(("target", "bound", "reached", "", "note"), lines)


def ablation(by_signal: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """The same training with and without a part: validation numbers, lower is better."""
    names = list(dict.fromkeys(name for of in by_signal.values() for numbers in of.values() for name in numbers))
    lines = (
        (label(signal), variant, *(number(numbers.get(name)) for name in names))
        for signal, of in by_signal.items()
        for variant, numbers in of.items()
    )
    return table(("signal", "trained", *(name.replace("_", " ") for name in names)), lines)


def _least(rows: Sequence[Row], score: str) -> Row | None:
    """The best row by a score; rows where it is unknown don't count."""
    known = [row for row in rows if row[score] is not None and math.isfinite(row[score])]
    return min(known, key=lambda row: float(row[score]), default=None)


def _everybody(rows: Sequence[Row]) -> list[Row]:
    """Without the rows of single folders, which ``by_subgroup`` has."""
    return [row for row in rows if row.get("folder", "all") == "all"]


def _kind(row: Row) -> tuple[str, str, str]:
    return str(row.get("mode", "causal")), str(row.get("drop", "")), str(row.get("mask", ""))
