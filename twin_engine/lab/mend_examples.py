"""Gaps pretended in recordings, with what is known on both sides and what was really there.

Channels of all people lie end to end, so that a gap is two indices. Choice is even over folders, people, channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twin_engine.lab.recordings import Recording
from twin_engine.mend_bases import AFTER_STEPS, BEFORE_STEPS, Cheap, Seen, look
from twin_engine.messages import Floats
from twin_engine.plans import PLANS, Ints, Plan


@dataclass(frozen=True, slots=True)
class Field:
    """Every channel of one signal end to end, so that a gap is two indices. S steps in all, C channels."""

    plan: Plan
    values: Floats  # (S,) signal's unit, NaN missing and between channels
    ends: Ints  # (S,) where the channel of a step ends
    readings: tuple[Ints, ...]  # a channel's known steps
    share: Floats  # (C,) how often a channel is chosen: evenly over folders, people, channels
    person: tuple[str, ...]  # a channel's
    sd: Floats  # (C,) of the whole recording: only to report errors, never to fill


@dataclass(frozen=True, slots=True)
class Gaps:
    """B pretended gaps."""

    channel: Ints  # (B,)
    start: Ints  # (B,) step of the last reading before
    steps: Ints  # (B,)


def field_of(recordings: Sequence[Recording], signal: str) -> Field:
    """Every channel of `signal` on its grid. ValueError where there is none."""
    plan, margin = PLANS[signal], np.full(BEFORE_STEPS, np.nan)
    parts, readings, persons, spread, offset = [margin], [], [], [], BEFORE_STEPS
    for recording in recordings:
        names = [name for name in recording.channels if name.partition(".")[0] == signal]
        for values in recording.on_grid(plan.grid_s, names).values() if names else ():
            readings.append(offset + np.flatnonzero(np.isfinite(values)))
            persons.append(recording.person)
            spread.append(float(np.nanstd(values)))
            parts += [values, margin]
            offset += len(values) + BEFORE_STEPS
    if not readings:
        raise ValueError(f"expected recordings with {signal}, got {len(recordings)} without; nothing was fitted")
    lengths = [len(part) for part in parts]
    ends = np.repeat(np.cumsum(lengths), lengths)
    folders = [person.partition("/")[0] for person in persons]
    in_folder = {f: len({p for p in persons if p.startswith(f"{f}/")}) for f in folders}
    share = np.array([1 / (in_folder[f] * persons.count(p)) for f, p in zip(folders, persons, strict=True)])
    return Field(
        plan, np.concatenate(parts), ends, tuple(readings), share / share.sum(), tuple(persons), np.array(spread)
    )


def pretend(field: Field, steps: Ints, rng: np.random.Generator, channel: Ints | None = None) -> Gaps:
    """Gaps of `steps` (B,) at random readings of random channels (or of `channel`); what fits nowhere is left out."""
    if channel is None:
        channel = rng.choice(len(field.readings), len(steps), p=field.share)
    start = np.full(len(steps), -1)
    for _ in range(6):
        open_ = np.flatnonzero(start < 0)
        counts = np.array([len(r) for r in field.readings])[channel[open_]]
        which = (rng.random(len(open_)) * counts).astype(np.int64)
        at = np.array([field.readings[c][w] for c, w in zip(channel[open_], which, strict=True)], np.int64)
        end = at + steps[open_]
        fits = end < field.ends[at]
        fits[fits] = np.isfinite(field.values[end[fits]])
        start[open_[fits]] = at[fits]
    found = start >= 0
    return Gaps(channel[found], start[found], steps[found])


def sides(field: Field, gaps: Gaps, reach: Ints) -> tuple[Floats, Floats]:
    """What is known before (B, BEFORE_STEPS) and after (B, AFTER_STEPS), of it `reach` (B,) steps; model space."""
    before = field.values[gaps.start[:, None] + np.arange(1 - BEFORE_STEPS, 1)]
    offsets = np.arange(AFTER_STEPS)
    after = field.values[np.minimum((gaps.start + gaps.steps)[:, None] + offsets, len(field.values) - 1)]
    after = np.where(offsets < reach[:, None], after, np.nan)
    return field.plan.forward(before), field.plan.forward(after)


def truth_of(field: Field, gaps: Gaps, at: Floats) -> Floats:
    """(B, P) what was really there at steps `at` (B, P) after the last reading; signal's unit, NaN missing."""
    out: Floats = field.values[gaps.start[:, None] + np.round(at).astype(np.int64)]
    return out


def reaches(count: int, rng: np.random.Generator, low: int = 1, high: int = AFTER_STEPS) -> Ints:
    """(count,) steps that may be seen after a gap, log-uniform from `low` to `high`."""
    return np.floor(np.exp(rng.uniform(math.log(low), math.log(high + 1), count))).astype(np.int64)


def spoil(before: Floats, after: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Some sides with lost readings, some short before: as life has them. The readings at the gap stay."""
    count = len(before)
    loss = np.where(rng.random(count) < 0.25, rng.uniform(0, 0.6, count), 0.0)[:, None]
    short = np.where(rng.random(count) < 0.15, rng.integers(1, 60, count), BEFORE_STEPS)[:, None]
    head = (rng.random(before.shape) >= loss) & (np.arange(BEFORE_STEPS)[::-1] < short)
    tail = rng.random(after.shape) >= loss
    head[:, -1] = tail[:, 0] = True
    return np.where(head, before, np.nan), np.where(tail, after, np.nan)


@dataclass(frozen=True, slots=True)
class Drawn:
    """B pretended gaps and what was there: `truth` (B, P), residual in scales, NaN where missing or repeated."""

    seen: Seen
    gaps: Gaps
    truth: Floats

    def rows(self, rows: Ints) -> Drawn:
        """Some of them."""
        gaps = Gaps(self.gaps.channel[rows], self.gaps.start[rows], self.gaps.steps[rows])
        return Drawn(self.seen.rows(rows), gaps, self.truth[rows])


def draw(
    field: Field, cheap: Cheap, count: int, rng: np.random.Generator, steps: Ints | None = None, spoilt: bool = False
) -> Drawn:
    """About `count` gaps, log-uniform in length (or of `steps`), a third of them with one to a few readings after."""
    if steps is None:
        steps = np.floor(np.exp(rng.uniform(math.log(2), math.log(cheap.lengths[-1] + 1), count))).astype(np.int64)
    gaps = pretend(field, steps, rng)
    many = rng.random(len(gaps.steps)) < 0.4
    reach = np.where(many, AFTER_STEPS, reaches(len(gaps.steps), rng))
    before, after = sides(field, gaps, reach)
    if spoilt:
        before, after = spoil(before, after, rng)
    seen = look(before, after, gaps.steps.astype(np.float64), cheap.typical)
    truth = seen.residual(field.plan.forward(truth_of(field, gaps, seen.at)))
    return Drawn(seen, gaps, np.where(seen.real > 0, truth, np.nan))
