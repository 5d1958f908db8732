"""Then and later: what the twin showed of a channel against what was measured, and arrived, afterwards. Pure.

Truth is only what a sensor said: readings that came late (measured and revised). A gap that the model mended from both
sides is an opinion, not a truth, and no error is computed against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from device.signals import Tolerance
from twin_engine.messages import REVISED, SAMPLE, Packed, Provenance
from twin_engine.store.history import select
from twin_engine.store.thin import HOLE

_MADE = (Provenance.SYNTHESISED, Provenance.PREDICTED)
_NEAR = 0.6  # of the true readings' step: which one a made sample is held against
_SLACK_US = 2000
_LEAST_GAP_US = 1_000_000  # shorter stretches without a reading are not worth a mark
_KIND = 0x0F


@dataclass(frozen=True, slots=True)
class Score:
    """One channel over a stretch; in the signal's unit. Without true readings `pairs` is 0 and the errors are None."""

    made: int  # samples that were shown as the twin's own
    pairs: int  # of these, how many have a true reading
    error: float | None  # mean absolute
    worst: float | None
    bias: float | None  # shown less true
    inside: float | None  # share of true readings within the 90 % bounds that were shown
    tolerated: float | None  # share within the signal's tolerance
    confidence: float | None  # mean of what was shown
    hidden: int  # true readings of times at which the value was withheld
    late: int  # true readings that came late
    mended: int  # samples that the twin revised by itself

    def to_json(self) -> dict[str, Any]:
        """For the page."""
        return asdict(self)


def score(shown: Packed | None, known: Packed | None, tolerance: Tolerance) -> Score:
    """What was shown against what is known; either may be missing."""
    made = _of(shown, _MADE)
    true = _late_truth(known)
    mended = 0 if known is None else int(np.isin(known.data["provenance"], [kind | REVISED for kind in _MADE]).sum())
    hidden = _near(_of(shown, (Provenance.WITHHELD,)).times_us, true.times_us)
    at = _near(made.times_us, true.times_us)
    pairs, truth = made.data[at >= 0], true.data["value"][at[at >= 0]].astype(np.float64)
    error = pairs["value"].astype(np.float64) - truth
    inside = (pairs["lower"] <= truth) & (truth <= pairs["upper"])
    sure = _mean(made.data["confidence"] / 255.0)
    return Score(
        len(made), len(pairs), _mean(np.abs(error)), float(np.abs(error).max()) if len(error) else None, _mean(error),
        _mean(inside), _mean(np.abs(error) <= tolerance.at_each(truth)), sure,
        int((hidden >= 0).sum()), len(true), mended,
    )  # fmt: skip


def pooled(parts: Sequence[Score]) -> Score:
    """The score of a stretch out of those of its parts; at least one. A mean counts what each part counted."""
    pairs, made = [s.pairs for s in parts], [s.made for s in parts]
    worst = [s.worst for s in parts if s.worst is not None]
    return Score(
        sum(made), sum(pairs), _weighted([s.error for s in parts], pairs), max(worst, default=None),
        _weighted([s.bias for s in parts], pairs), _weighted([s.inside for s in parts], pairs),
        _weighted([s.tolerated for s in parts], pairs), _weighted([s.confidence for s in parts], made),
        sum(s.hidden for s in parts), sum(s.late for s in parts), sum(s.mended for s in parts),
    )  # fmt: skip


def _weighted(means: Sequence[float | None], counts: Sequence[int]) -> float | None:
    rows = [(mean, n) for mean, n in zip(means, counts, strict=True) if mean is not None and n]
    return sum(mean * n for mean, n in rows) / sum(n for _, n in rows) if rows else None


def gaps(shown: Packed) -> list[tuple[float, float]]:
    """Stretches of a second and more without a trusted reading (from, to in Unix s); `shown` has its holes marked."""
    kinds = shown.data["provenance"] & _KIND
    real = kinds != HOLE
    measured = np.flatnonzero(kinds == Provenance.MEASURED)
    edges = np.concatenate(([real.argmax()] if real.any() else [], measured, [len(shown) - 1] if real.any() else []))
    edges = np.unique(edges.astype(np.int64))
    missing = np.cumsum(kinds != Provenance.MEASURED)
    apart = missing[edges[1:]] - missing[edges[:-1]] > 0
    times = shown.times_us[edges]
    long = np.diff(times) >= _LEAST_GAP_US
    return [(times[i] / 1e6, times[i + 1] / 1e6) for i in np.flatnonzero(apart & long)]


def runs(s: Packed) -> list[tuple[float, float, int]]:
    """(from, to in Unix s, provenance byte) of each stretch of one provenance; nothing where there is no sample."""
    if not len(s):
        return []
    marks = s.data["provenance"]
    new = np.append(True, (marks[1:] != marks[:-1]))
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(s)) - 1
    until = s.times_us[np.minimum(last + 1, len(s) - 1)]
    return [
        (s.times_us[a] / 1e6, max(s.times_us[b], u) / 1e6, int(marks[a]))
        for a, b, u in zip(first, last, until, strict=True)
        if marks[a] != HOLE
    ]


def _of(s: Packed | None, kinds: tuple[int, ...]) -> Packed:
    from_nothing = Packed("", np.empty(0, np.int64), np.empty(0, SAMPLE))
    return from_nothing if s is None else select(s, np.isin(s.data["provenance"] & _KIND, kinds))


def _late_truth(known: Packed | None) -> Packed:
    found = _of(known, (Provenance.MEASURED,))
    return select(found, (found.data["provenance"] & REVISED) > 0)


def _near(times_us: Any, true_us: Any) -> Any:
    """For each time the index of the true reading beside it, -1 where none is near."""
    if not len(true_us) or not len(times_us):
        return np.full(len(times_us), -1)
    step = float(np.median(np.diff(true_us))) if len(true_us) > 1 else 0.0
    right = np.searchsorted(true_us, times_us).clip(0, len(true_us) - 1)
    left = (right - 1).clip(0)
    nearest = np.where(np.abs(true_us[right] - times_us) < np.abs(times_us - true_us[left]), right, left)
    return np.where(np.abs(true_us[nearest] - times_us) <= _NEAR * step + _SLACK_US, nearest, -1)


def _mean(values: Any) -> float | None:
    return float(np.mean(values)) if len(values) else None
