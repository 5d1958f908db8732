"""Gaps of one length as every rival sees them: what was before, what came after, and the truth in between.

All of one signal and of the same scored steps, from any number of tracks, in model space (``plans.Plan.forward``),
centred on the last reading and divided by a scale that knows only the past. B gaps, T context steps, K scored steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twin_engine.features import CONTEXT_STEPS, bin_means, fill_bins, normalise
from twin_engine.lab.examples import gather
from twin_engine.lab.masks import Mask, Track, draw, gap_steps
from twin_engine.messages import Floats
from twin_engine.plans import PLANS, Ints

_CLIP = 15.0  # scales: what rivals learn from is no further away than this


@dataclass(frozen=True, slots=True)
class Gaps:
    """B gaps. `after` runs away from the gap: its first step is the one that follows."""

    signal: str
    length: int  # hidden steps
    steps: Ints  # (K,)
    person: Ints  # (B,) index into the caller's people
    path: Floats  # (B, T) oldest first, normalised, NaN missing
    after: Floats  # (B, T) normalised
    truth: Floats  # (B, K) normalised, NaN where there was no reading
    last: Floats  # (B,) model space
    scale: Floats  # (B,) model space

    def __len__(self) -> int:
        """B."""
        return len(self.last)

    @property
    def next_value(self) -> Floats:
        """(B,) the first reading after the gap, normalised; the last one before it where there is none."""
        known = np.isfinite(self.after)
        first = self.after[np.arange(len(self)), known.argmax(1)]
        return np.where(known.any(1), np.nan_to_num(first), 0.0)

    @property
    def next_step(self) -> Floats:
        """(B,) how many steps after the last reading that reading came."""
        steps: Floats = self.length + 1.0 + np.isfinite(self.after).argmax(1)
        return steps

    def before_bins(self) -> Floats:
        """(B, L) means of the past in bins that widen with age, oldest first."""
        return fill_bins(*bin_means(np.clip(self.path, -_CLIP, _CLIP)))

    def after_bins(self) -> Floats:
        """(B, L) the same of what came after, farthest first."""
        return fill_bins(*bin_means(np.clip(self.after[:, ::-1] - self.next_value[:, None], -_CLIP, _CLIP)))

    def unit(self, normal: Floats) -> Floats:
        """Normalised values (B, ...) in the signal's unit."""
        shape = (-1, *(1,) * (normal.ndim - 1))
        return PLANS[self.signal].inverse(normal * self.scale.reshape(shape) + self.last.reshape(shape))

    def take(self, rows: Ints) -> Gaps:
        """Only these gaps."""
        wide = (x[rows] for x in (self.path, self.after, self.truth, self.last, self.scale))
        return Gaps(self.signal, self.length, self.steps, self.person[rows], *wide)


def gaps_of(masks: Sequence[Mask], people: Sequence[str], typical: float | None) -> Gaps:
    """The gaps of masks that share signal, length and scored steps, in order."""
    tracks, starts = [m.track for m in masks], [m.starts for m in masks]
    return _gaps(tracks, starts, masks[0].length, masks[0].steps, people, typical)


def library(
    tracks: Sequence[Track], gap_s: float, steps: Ints, people: Sequence[str], typical: float | None, count: int
) -> Gaps | None:
    """About `count` gaps evenly over `tracks`, for rivals to learn from; None where none is long enough."""
    drawn = [draw(track, gap_s, "random", -1 % 2**32, max(1, count // len(tracks))) for track in tracks]
    masks = [mask for mask in drawn if mask is not None]
    if not masks:
        return None
    length = gap_steps(masks[0].track.signal, gap_s)
    return _gaps([m.track for m in masks], [m.starts for m in masks], length, steps, people, typical)


def _gaps(
    tracks: Sequence[Track], starts: Sequence[Ints], length: int, steps: Ints, people: Sequence[str],
    typical: float | None,
) -> Gaps:  # fmt: skip
    plan, past = PLANS[tracks[0].signal], np.arange(1 - CONTEXT_STEPS, 1)
    beyond = np.arange(length + 1, length + 1 + CONTEXT_STEPS)

    def cut(offsets: Ints) -> Floats:
        return plan.forward(np.concatenate([gather(t.values, s, offsets) for t, s in zip(tracks, starts, strict=True)]))

    path, last, scale, _, _ = normalise(cut(past), typical)
    person = np.concatenate([np.full(len(s), people.index(t.person)) for t, s in zip(tracks, starts, strict=True)])

    def normal(x: Floats) -> Floats:
        return np.asarray((x - last[:, None]) / scale[:, None])

    return Gaps(plan.signal, length, steps, person, path, normal(cut(beyond)), normal(cut(steps)), last, scale)
