"""From rules to a verdict: the worst rule that blames what came in last decides, and says why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from device.signals import SIGNALS
from twin_engine.messages import Floats
from twin_engine.quality.marks import Mask, Stretch, dense
from twin_engine.quality.table import BAD, LEAST_READINGS, RULES, Rule


@dataclass(frozen=True, slots=True)
class Quality:
    """What the twin thinks of a channel's recent past."""

    verdict: str  # "good" | "doubtful" | "bad"
    rule: str  # id of the rule that decided, "" when good
    reason: str  # one short sentence for humans, with the number seen and the limit


GOOD = Quality("good", "", "")


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that blames something in a stretch."""

    rule: Rule
    blamed: Mask  # (T,) over the grid steps of the stretch
    reason: str


def judge(signal: str, values: Floats, grid_s: float, step: float) -> Quality:
    """Quality of a channel now, from its recent past `values` (T,) on the signal's grid, oldest first, NaN missing.

    `step` is the sensor's own resolution in the signal's unit. A blamed reading counts for the rule's `hold_s` (the
    newest reading always counts). Nothing known, nothing blamed: silence is a gap, not a fault.
    """
    doubt = GOOD
    for finding in find(signal, values, grid_s, step, live=True):
        rule = finding.rule
        known = np.flatnonzero(np.isfinite(values))
        recent = min(len(values) - max(1, round(rule.hold_s / grid_s)), int(known[-1]))
        if not finding.blamed[recent:].any():
            continue
        if rule.verdict == BAD:
            return Quality(rule.verdict, rule.id, finding.reason)
        doubt = doubt if doubt is not GOOD else Quality(rule.verdict, rule.id, finding.reason)
    return doubt


def find(signal: str, values: Floats, grid_s: float, step: float, live: bool = False) -> Iterator[Finding]:
    """Every rule that blames a step of `values` (T,), in the table's order. Rules about losses only speak `live`."""
    stretch = Stretch.of(values, grid_s, step)
    if len(stretch.values) < LEAST_READINGS:
        return
    row = SIGNALS[signal]
    for rule in RULES.get(signal, ()):
        if rule.live_only and not live:
            continue
        mark = rule.mark(stretch)
        if mark.blamed.any():
            blamed = np.zeros(len(values), np.bool_)
            blamed[stretch.at] = mark.blamed
            blamed = dense(blamed, round(rule.hold_s / grid_s), rule.least)
            unit = "" if row.unit == "1" else row.unit
            yield Finding(rule, blamed, " ".join(rule.words.format(mark.seen, mark.limit, unit).split()))
