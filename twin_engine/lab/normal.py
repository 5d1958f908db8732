"""What of a recording is normal enough to learn from: bad stretches are marked, reading by reading, with the reason.

The rows of :mod:`twin_engine.quality.table` run over the whole recording in windows that overlap, on each signal's own
grid; :mod:`twin_engine.lab.native` adds what only the sensor's own rate shows. What a "bad" rule blames is left out of
training, with the margin of that rule on both sides; of a wave, whose shape is what is learnt, what is doubtful is left
out as well. docs/normal.md lists what is excluded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from device.signals import SIGNALS, Kind
from twin_engine.calibrate import step_of
from twin_engine.features import CONTEXT_STEPS
from twin_engine.lab.native import native_faults
from twin_engine.lab.recordings import Recording
from twin_engine.messages import Floats
from twin_engine.plans import PLANS
from twin_engine.quality.marks import Mask
from twin_engine.quality.table import BAD, RULES
from twin_engine.quality.verdict import find

_HOPS = 4  # windows that see each reading


@dataclass(frozen=True, slots=True)
class Normal:
    """One channel's verdicts. Masks are (N,) over its readings."""

    bad: Mask
    doubtful: Mask  # and not bad
    learn: Mask  # normal enough to learn from
    reasons: Mapping[str, Mask]  # rule id -> what it blames

    def share(self, rule: str) -> float:
        """Part of the readings that `rule` blames, 0 to 1."""
        return float(self.reasons[rule].mean()) if rule in self.reasons else 0.0


def normal(recording: Recording) -> dict[str, Normal]:
    """The verdict on every channel of `recording`: channel id -> masks over its readings.

    A burst is a fault of its electrode, so the raw wave of that muscle is left out with it; a burst of every muscle at
    once is a moving person, so skin conductance is left out as well.
    """
    verdicts = {name: judge_channel(name, *readings) for name, readings in recording.channels.items()}
    bursts = {
        name.partition(".")[2]: (recording.channels[name][0], verdict.reasons.get("burst", np.zeros_like(verdict.bad)))
        for name, verdict in verdicts.items()
        if name.partition(".")[0] == "emg_activity_mV"
    }
    for name, verdict in verdicts.items():
        signal, _, part = name.partition(".")
        times_s = recording.channels[name][0]
        if signal == "emg_raw_mV" and part in bursts:
            verdicts[name] = _also(verdict, "burst", _at(*bursts[part], times_s))
        if signal == "gsr_uS" and bursts:
            moving = np.all([_at(*burst, times_s) for burst in bursts.values()], axis=0)
            verdicts[name] = _also(verdict, "movement", moving)
    return verdicts


def judge_channel(channel_id: str, times_s: Floats, values: Floats) -> Normal:
    """Verdicts on readings `values` (N,) at `times_s` (N,), increasing."""
    signal = channel_id.partition(".")[0]
    wave = SIGNALS[signal].kind is Kind.WAVE
    grid_s = PLANS[signal].grid_s
    cell = np.ceil((times_s - times_s[0]) / grid_s - 1e-6).astype(np.int64)
    grid = np.full(int(cell[-1]) + 1, np.nan)
    grid[cell] = values
    blamed = _sweep(signal, grid, grid_s, step_of(values))
    for rule, mask in native_faults(signal, times_s, values, wave).items():
        np.logical_or.at(blamed.setdefault(rule, np.zeros(len(grid), np.bool_)), cell, mask)
    if "stuck" in blamed:
        np.logical_or.at(blamed["stuck"], cell, _whole_runs(values, blamed["stuck"][cell]))
    margins = {rule.id: round(rule.hold_s / grid_s) for rule in RULES[signal] if rule.verdict == BAD}
    reasons = {rule: _widened(mask, margins.get(rule, 0))[cell] for rule, mask in blamed.items()}
    bad = _any([mask for rule, mask in reasons.items() if rule in margins], len(values))
    doubtful = _any([mask for rule, mask in reasons.items() if rule not in margins], len(values)) & ~bad
    return Normal(bad, doubtful, ~(bad | doubtful) if wave else ~bad, reasons)


def _sweep(signal: str, grid: Floats, grid_s: float, step: float) -> dict[str, Mask]:
    """Rule id -> grid steps (S,) that it blames in any window."""
    blamed: dict[str, Mask] = {}
    width = min(CONTEXT_STEPS, len(grid))
    starts = range(0, len(grid) - width + 1, max(1, CONTEXT_STEPS // _HOPS))
    for start in sorted({*starts, len(grid) - width}):
        window = slice(start, start + width)
        for finding in find(signal, grid[window], grid_s, step):
            if finding.rule.relative and start:
                finding.blamed[: -CONTEXT_STEPS // _HOPS] = False
            blamed.setdefault(finding.rule.id, np.zeros(len(grid), np.bool_))[window] |= finding.blamed
    return blamed


def _also(verdict: Normal, rule: str, blamed: Mask) -> Normal:
    """With `blamed` (N,) bad as well."""
    if not blamed.any():
        return verdict
    bad = verdict.bad | blamed
    reasons = {**verdict.reasons, rule: blamed | verdict.reasons.get(rule, blamed)}
    return Normal(bad, verdict.doubtful & ~bad, verdict.learn & ~bad, reasons)


def _at(times_s: Floats, mask: Mask, wanted_s: Floats) -> Mask:
    """What a mask at `times_s` says at other times: that of the last reading not later."""
    return mask[np.clip(np.searchsorted(times_s, wanted_s, side="right") - 1, 0, len(mask) - 1)]


def _whole_runs(values: Floats, blamed: Mask) -> Mask:
    """The whole run of equal values around what is blamed; windows see parts of it."""
    run = np.concatenate(([0], np.cumsum(np.diff(values) != 0)))
    return np.asarray(np.isin(run, run[blamed]))


def _widened(mask: Mask, margin: int) -> Mask:
    """With `margin` steps on both sides of what is blamed."""
    if not margin:
        return mask
    edges = np.zeros(len(mask) + 1, np.int64)
    at = np.flatnonzero(mask)
    np.add.at(edges, np.maximum(at - margin, 0), 1)
    np.add.at(edges, np.minimum(at + margin + 1, len(mask)), -1)
    return np.asarray(np.cumsum(edges[:-1]) > 0)


def _any(masks: list[Mask], count: int) -> Mask:
    return np.any(masks, axis=0) if masks else np.zeros(count, np.bool_)
