"""What an evaluation found, in sentences and sections of the model card. Tables are made by ``card_tables``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from twin_engine.lab import card_tables as t
from twin_engine.lab.scorecard import MIN_GAPS

Evaluation = Mapping[str, Any]

SUBGROUPS = (
    "Live values (causal), errors in the person's own standard deviation, 95 % intervals by bootstrap over people. No "
    "interval: fewer than three people."
)
_RESULTS = (
    "MAE is the mean distance of the shown value from the truth, CRPS judges value and range together; both are in the "
    "person's own standard deviation, lower is better. The best cheap method is chosen anew in each row. SAITS is a "
    "published neural network, trained on the same people."
)
_MODES = {"causal": "Live values", "retrospective": "Revisions, when both sides of the gap are known"}


def in_short(evaluation: Evaluation) -> str:
    """The findings in sentences."""
    live = _live(evaluation)
    if not live:
        return "These weights were not evaluated yet: run `everbeat evaluate`. Don't rely on them until then."
    lengths, gaps = [c.own["gap_s"] for c in live], sum(c.own["gaps"] for c in live)
    held = t.mean(c.own.get("cover90") for c in live)
    lines = [
        f"- Tested live in {gaps} gaps of {t.gap(min(lengths))} to {t.gap(max(lengths))}, in "
        f"up to {max(c.own['people'] for c in live)} people for a signal, all unknown to it.",
        f"- Its 90 % range held the truth in {t.share(held)} of cases{_worst_person(evaluation)}.",
        _against(live),
        *(f"- {sentence}" for sentence in losses(live)),
    ]
    return "\n".join(lines)


def losses(found: Sequence[t.Comparison]) -> list[str]:
    """Where a cheap method is better by more than a tie, plainly; one sentence a row, worst first."""
    lost = []
    for c in found:
        ratios = {name: c.ratio(name) for name in ("mae", "crps") if not math.isnan(c.ratio(name))}
        worst = max(ratios, key=ratios.__getitem__, default="mae")
        best = c.best_mae if worst == "mae" else c.best_crps
        if best is not None and ratios.get(worst, 0.0) > 1 + t.TIE:
            where, gain = f"{t.label(c.own['signal'])}, {t.gap(c.own['gap_s'])}", t.share(1 - 1 / ratios[worst])
            sentence = f"**{where}:** `{best['method']}` has the better {worst.upper()}, by {gain}."
            lost.append((ratios[worst], sentence))
    return [sentence for _, sentence in sorted(lost, reverse=True)]


def results(evaluation: Evaluation) -> list[str]:
    """A table for live values and one for revisions; other kinds of gaps in a line each."""
    rows = evaluation.get("rows", [])
    out = ["## Results on people it has never seen", _RESULTS if rows else t.NOT_MEASURED]
    kinds = t.kinds(rows)
    first = [next(kind for kind in kinds if kind[0] == mode) for mode in dict.fromkeys(kind[0] for kind in kinds)]
    for kind in first:
        out += [f"### {_MODES.get(kind[0], kind[0])} ({', '.join(part for part in kind[1:] if part) or 'all gaps'})"]
        out += [t.results(t.comparisons(rows, kind))]
    if len(kinds) > len(first):
        out += ["### Other kinds of gaps", t.other_kinds(rows, first)]
    if rows:
        masks = evaluation.get("masks_sha256", "not recorded")
        out += [f"Seeds of the gaps: {evaluation.get('seeds', 'not recorded')}; SHA-256 of their places: `{masks}`."]
    return out


def calibration(evaluation: Evaluation) -> str:
    """Are ranges and confidence right?"""
    rows = _bins(evaluation.get("reliability", {}))
    parts = [
        "How often the range of each level held the truth (live values):",
        t.coverage(_live(evaluation)),
        _person_by_person(evaluation),
        "Confidence is the probability that the shown value is within the signal's tolerance. Of all values shown with "
        "a confidence:",
        t.reliability(rows),
    ]
    if rows:
        parts += [f"Mean difference (expected calibration error): {t.number(t.calibration_error(rows))}."]
    return "\n\n".join(parts)


def ablation_of(metadata: Mapping[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """Signal -> variant of the network -> validation numbers, where the training measured them."""
    return {signal: entry["validation"] for signal, entry in metadata.get("ablations", {}).items()}


def _bins(reliability: Any) -> list[t.Row]:
    """The bins of live values, whether the table is of live values alone or one of several."""
    if isinstance(reliability, Mapping):
        return list(reliability["bins"]) if "bins" in reliability else _bins(reliability.get("causal", []))
    return list(reliability)


def _live(evaluation: Evaluation) -> list[t.Comparison]:
    """The first kind of gap of live values."""
    rows = evaluation.get("rows", [])
    kind = next((kind for kind in t.kinds(rows) if kind[0] == "causal"), None)
    return t.comparisons(rows, kind) if kind else []


def _against(live: Sequence[t.Comparison]) -> str:
    mae, crps = ([c.ratio(name) for c in live if not math.isnan(c.ratio(name))] for name in ("mae", "crps"))
    if not mae or not crps:
        return "- It was not compared with cheap methods."
    return (
        f"- Against the best cheap method of each row, its error (MAE) is {t.number(t.mean(mae))} times as large on "
        f"average ({t.number(min(mae))} to {t.number(max(mae))}), its CRPS {t.number(t.mean(crps))} times "
        f"({t.number(min(crps))} to {t.number(max(crps))}); below 1 is better."
    )


def _measurable(evaluation: Evaluation) -> list[t.Row]:
    rows = evaluation.get("coverage_by_person", [])
    return [row for row in rows if row["mode"] == "causal" and row["measurable"]]


def _worst_person(evaluation: Evaluation) -> str:
    worst = min(_measurable(evaluation), key=lambda row: float(row["cover90"]), default=None)
    if worst is None:
        return ""
    return f"; for the worst person in {t.share(worst['cover90'])} ({t.label(worst['signal'])})"


def _person_by_person(evaluation: Evaluation) -> str:
    rows = [row for row in evaluation.get("coverage_by_person", []) if row["mode"] == "causal"]
    enough = _measurable(evaluation)
    if not rows:
        return "Person by person it was not measured."
    right = [row for row in enough if row["holds"]]
    held = [row["cover90"] for row in enough]
    spread = f" From worst to best: {t.share(min(held))} to {t.share(max(held))}." if held else ""
    return (
        f"Person by person (each with each signal): for {len(right)} of {len(enough)} the 95 % interval of how often "
        f"the 90 % range held contains 90 %.{spread} Not measurable, with fewer than {MIN_GAPS} gaps: "
        f"{len(rows) - len(enough)}."
    )
