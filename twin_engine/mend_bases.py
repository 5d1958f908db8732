"""A closed gap as the revision sees it: both sides in bins, a scale, places in the gap, and the cheap fillings.

Everything is measured from the straight line between the last reading before the gap and the first one after it, in
units of a scale that both sides give. So a filling is a residual (B, P) at P places strictly inside each gap, zero
means "the straight line", and both ends are always met. B gaps, P places, F features, K knots, G lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from twin_engine.messages import Floats
from twin_engine.plans import Floats32, Ints

# (number, width in steps) of bins, from the gap outwards
_BEFORE = ((8, 1), (6, 2), (6, 4), (4, 8), (4, 16), (4, 32))
_AFTER = ((8, 1), (6, 2), (5, 4), (3, 8))
BEFORE_STEPS = sum(count * width for count, width in _BEFORE)
AFTER_STEPS = sum(count * width for count, width in _AFTER)
BEFORE_BINS, AFTER_BINS = sum(c for c, _ in _BEFORE), sum(c for c, _ in _AFTER)
FEATURES = 2 * (BEFORE_BINS + AFTER_BINS + 1)
NODES, KNOTS = 16, 23  # knots are odd in number, so that one is the middle
BASES = ("linear", "hermite", "ridge", "ou", "last", "next")
AFTER_CLASSES = (1, 3, 12)  # with so many steps after the gap begins the next ridge: one reading tells no slope
_SHRINK_BINS = 10.0  # the population's scale weighs as much as so many bins of the patient's own
_CLIP = 15.0  # scales
_SLOPE_STEPS = 4
ROUGH_STEPS = (1, 2, 4, 8, 16, 32, 64)  # how far apart the three readings of a second difference lie
FACTS = len(ROUGH_STEPS) + 4
_BROWNIAN, _CURVE = 0.75, 1.4  # growth of second differences from which on a signal is not rough, is smooth
_ROUGH_SHRINK = 6.0  # the population's roughness weighs as much as so many second differences
_DENSER = 0.7  # places at the ends of a gap lie this much denser than evenly


@dataclass(frozen=True, slots=True)
class Seen:
    """A batch of gaps, model space. Bins run from the gap outwards; a missing one is 0, as is its presence."""

    before: Floats  # (B, BEFORE_BINS, 2) (mean - last) / scale, share of the bin that is known
    after: Floats  # (B, AFTER_BINS, 2) (mean - next) / scale, share known
    last: Floats  # (B,) the last reading before
    jump: Floats  # (B,) (next - last) / scale
    scale: Floats  # (B,) > 0
    steps: Floats  # (B,) from the last reading to the next one
    reach: Floats  # (B,) steps after the gap that may be looked at, 1 … AFTER_STEPS
    at: Floats  # (B, P) places in steps from the last reading, increasing; the last is repeated to fill up
    real: Floats  # (B, P) 1 where a place is no repetition
    rough: Floats  # (B, len(ROUGH_STEPS)) log of the mean absolute second difference / scale

    def features(self) -> Floats:
        """(B, F) what ridge looks at: the bins of smooth signals, then those of rough ones. Devices differ in this."""
        own = np.concatenate([self.before[..., 0], self.after[..., 0], self.jump[:, None]], axis=1)
        smooth = self.smooth()[:, None]
        return np.concatenate([own * smooth, own * (1 - smooth)], axis=1)

    def smooth(self) -> Floats:
        """(B,) 0 noise or Brownian motion … 1 smooth, by how second differences grow with their distance.

        From 1 to 4 steps they grow 4^0 in white noise, 4^0.5 in Brownian motion, 4^2 in a smooth curve.
        """
        growth = (self.rough[:, 2] - self.rough[:, 0]) / np.log(4.0)
        out: Floats = np.clip((growth - _BROWNIAN) / (_CURVE - _BROWNIAN), 0.0, 1.0)
        return out

    def facts(self) -> Floats:
        """(B, FACTS) by which a gap is judged hard or easy."""
        jump = np.log(np.abs(self.jump) + 0.1)
        more = [np.ones_like(jump), jump, self.smooth(), np.log(self.reach)]
        return np.concatenate([np.stack(more, 1), self.rough], axis=1)

    def rows(self, rows: Ints) -> Seen:
        """Some of them."""
        return Seen(*(getattr(self, name)[rows] for name in self.__slots__))

    def value(self, residual: Floats) -> Floats:
        """(B, P) or (B, P, X) residuals from the straight line as values in model space."""
        line = self.last[:, None] + (self.jump * self.scale)[:, None] * self.at / self.steps[:, None]
        extra = (slice(None), slice(None)) + (None,) * (residual.ndim - 2)
        out: Floats = line[extra] + residual * self.scale.reshape(-1, *(1,) * (residual.ndim - 1))
        return out

    def residual(self, value: Floats) -> Floats:
        """The inverse of :meth:`value` for (B, P)."""
        zero = self.value(np.zeros_like(value))
        out: Floats = (value - zero) / self.scale[:, None]
        return out


def look(before: Floats, after: Floats, steps: Floats, typical: Floats) -> Seen:
    """Gaps with `before` (B, BEFORE_STEPS) up to the last reading and `after` (B, AFTER_STEPS) from the next one on.

    Model space, NaN missing. The caller guarantees that the last of `before` and the first of `after` are known and
    `steps` (B,) > 1. `typical` (1 + len(ROUGH_STEPS),) > 0 is the population's scale and roughness.
    """
    last, following = before[:, -1], after[:, 0]
    head, head_seen = _binned(before[:, ::-1] - last[:, None], _BEFORE)
    tail, tail_seen = _binned(after - following[:, None], _AFTER)
    count = (head_seen > 0).sum(1) + (tail_seen > 0).sum(1)
    scale = (np.abs(head).sum(1) + np.abs(tail).sum(1) + _SHRINK_BINS * typical[0]) / (count + _SHRINK_BINS)
    sides = [
        np.stack([np.clip(means / scale[:, None], -_CLIP, _CLIP), seen], -1)
        for means, seen in ((head, head_seen), (tail, tail_seen))
    ]
    known = np.isfinite(after)
    reach = AFTER_STEPS - known[:, ::-1].argmax(1).astype(np.float64)
    at, real = places(steps)
    jump = np.clip((following - last) / scale, -4 * _CLIP, 4 * _CLIP)
    scale = np.where(jump == 0, scale, np.abs(following - last) / np.maximum(np.abs(jump), 1e-12))  # both ends are met
    rough = np.log(_roughness(before, after, typical[1:]) / scale[:, None])
    return Seen(sides[0], sides[1], last, jump, scale, steps, reach, at, real, rough)


def _roughness(before: Floats, after: Floats, typical: Floats) -> Floats:
    """(B, len(ROUGH_STEPS)) mean absolute second differences of both sides, shrunk to `typical` where they are few."""
    out = np.empty((len(before), len(ROUGH_STEPS)))
    for i, h in enumerate(ROUGH_STEPS):
        total, number = np.zeros(len(before)), np.zeros(len(before))
        for side in (before, after):
            if side.shape[1] > 2 * h:
                bend = np.abs(side[:, 2 * h :] - 2 * side[:, h:-h] + side[:, : -2 * h])
                known = np.isfinite(bend)
                total += np.where(known, bend, 0.0).sum(1)
                number += known.sum(1)
        # neighbours at distance h say much the same: count those that don't overlap
        number_apart = number / h
        out[:, i] = (total / h + _ROUGH_SHRINK * typical[i]) / (number_apart + _ROUGH_SHRINK)
    return np.maximum(out, 1e-3 * typical)


def _binned(x: Floats, bins: tuple[tuple[int, int], ...]) -> tuple[Floats, Floats]:
    """Means (B, L) of the known values of `x` (B, T) in each bin, 0 where none, and the share known (B, L)."""
    widths = np.array([width for count, width in bins for _ in range(count)])
    starts = np.concatenate([[0], np.cumsum(widths)[:-1]])
    known = np.isfinite(x)
    number = np.add.reduceat(known.astype(float), starts, axis=1)
    total = np.add.reduceat(np.where(known, x, 0.0), starts, axis=1)
    return total / np.maximum(number, 1.0), number / widths


def places(steps: Floats) -> tuple[Floats, Floats]:
    """(B, NODES) whole steps strictly inside gaps of `steps` (B,), every one of a short gap; and 1 where no repeat."""
    final = np.maximum(np.ceil(steps - 1e-6) - 1, 1)[:, None]
    every = np.arange(1, NODES + 1, dtype=np.float64)[None]
    spread = np.round(_warp(every / (NODES + 1)) * steps[:, None])
    at = np.clip(np.where(final <= NODES, every, spread), 1, final)
    real = np.diff(at, axis=1, prepend=0) > 0
    return at, real.astype(np.float64)


def _warp(even: Floats) -> Floats:
    """Evenly spaced 0 … 1 made denser at both ends."""
    out: Floats = even - _DENSER * np.sin(2 * np.pi * even) / (2 * np.pi)
    return out


@cache
def knots() -> Floats:
    """(K,) relative places in a gap, 0 to 1 without the ends, for which ridge and the unit are fitted."""
    return _warp(np.arange(1, KNOTS + 1) / (KNOTS + 1))


@dataclass(frozen=True, slots=True)
class Cheap:
    """The fitted part of the cheap fillings."""

    lengths: Floats  # (G,) steps, increasing
    unit: Floats  # (G, K) profile of ridge's error along the gap
    hard: Floats  # (G, FACTS) log of the error's size from the facts
    ridge: Floats  # (C, G, K, F) a class of `reach` each
    recall: float  # steps over which the Ornstein-Uhlenbeck process forgets
    typical: Floats  # (1 + len(ROUGH_STEPS),) the population's scale and roughness, model space

    def fill(self, seen: Seen) -> tuple[Floats32, Floats32]:
        """(B, P, len(BASES)) residuals of the cheap fillings, and the unit (B, P) > 0, both in scales."""
        jump, u = seen.jump[:, None], seen.at / seen.steps[:, None]
        fillings = {
            "linear": np.zeros_like(u),
            "hermite": _hermite(seen, u),
            "ridge": self._regress(seen),
            "ou": _ornstein(seen, u, self.recall),
            "last": -jump * u,
            "next": jump * (1 - u),
        }
        low, high, part = self.between(seen.steps)
        unit = self.unit[low] * (1 - part) + self.unit[high] * part
        hard = self.hard[low] * (1 - part) + self.hard[high] * part
        unit = unit * np.exp(np.clip((hard * seen.facts()).sum(1), -8, 4))[:, None]
        stacked = np.stack([fillings[name] for name in BASES], -1)
        return stacked.astype(np.float32), np.maximum(_at_knots(unit, u), 1e-3).astype(np.float32)

    def between(self, steps: Floats) -> tuple[Ints, Ints, Floats]:
        """Indices of the fitted lengths around `steps` (B,), and the upper one's part (B, 1), in log length."""
        place = np.interp(np.log(steps), np.log(self.lengths), np.arange(len(self.lengths)))
        low = np.minimum(np.floor(place).astype(np.int64), len(self.lengths) - 2)
        return low, low + 1, (place - low)[:, None]

    def _regress(self, seen: Seen) -> Floats:
        features = seen.features()
        group = np.searchsorted(AFTER_CLASSES, seen.reach, side="right") - 1
        low, high, part = self.between(seen.steps)
        out = np.zeros((len(features), KNOTS))
        for index, share in ((low, 1 - part), (high, part)):
            for g in np.unique(index):
                for c in range(len(AFTER_CLASSES)):
                    rows = (index == g) & (group == c)
                    out[rows] += share[rows] * (features[rows] @ self.ridge[c, g].T)
        return _at_knots(out, seen.at / seen.steps[:, None])


def _at_knots(values: Floats, u: Floats) -> Floats:
    """(B, P) at relative places `u`, from `values` (B, K) at the knots and 0 at the ends."""
    full = np.concatenate([[0.0], knots(), [1.0]])
    padded = np.pad(values, ((0, 0), (1, 1)))
    right = np.clip(np.searchsorted(full, u, side="right"), 1, KNOTS + 1)
    part = (u - full[right - 1]) / (full[right] - full[right - 1])
    left = np.take_along_axis(padded, right - 1, 1)
    out: Floats = left + part * (np.take_along_axis(padded, right, 1) - left)
    return out


def _hermite(seen: Seen, u: Floats) -> Floats:
    """Cubic Hermite with the end slopes of both sides, limited as in Fritsch and Carlson (1980)."""
    ages = np.arange(1, _SLOPE_STEPS + 1)
    steps = seen.steps[:, None]
    limit = 3 * np.maximum(np.abs(seen.jump), 1.0)[:, None] / steps
    slopes = []
    for side, sign in ((seen.before, -1.0), (seen.after, 1.0)):
        means, known = side[:, 1 : _SLOPE_STEPS + 1, 0], side[:, 1 : _SLOPE_STEPS + 1, 1]
        slope = sign * (means * ages * known).sum(1) / np.maximum((ages**2 * known).sum(1), 1)
        slopes.append(np.clip(slope[:, None], -limit, limit))
    jump = seen.jump[:, None]
    bend = jump * (3 * u**2 - 2 * u**3 - u)
    out: Floats = bend + steps * (slopes[0] * (u**3 - 2 * u**2 + u) + slopes[1] * (u**3 - u**2))
    return out


def _ornstein(seen: Seen, u: Floats, recall: float) -> Floats:
    """Mean of the Ornstein-Uhlenbeck bridge around the mean of both sides' bins (Karatzas and Shreve 1991, 5.6)."""
    own = (seen.before[..., 0] * (seen.before[..., 1] > 0)).sum(1)
    other = ((seen.after[..., 0] + seen.jump[:, None]) * (seen.after[..., 1] > 0)).sum(1)
    count = (seen.before[..., 1] > 0).sum(1) + (seen.after[..., 1] > 0).sum(1)
    middle = ((own + other) / np.maximum(count, 1))[:, None]
    rate = (seen.steps / recall)[:, None]
    jump = seen.jump[:, None]
    whole = -np.expm1(-2 * rate)
    from_last = (np.exp(-rate * u) - np.exp(-rate * (2 - u))) / whole
    from_next = (np.exp(-rate * (1 - u)) - np.exp(-rate * (1 + u))) / whole
    out: Floats = middle - middle * from_last + (jump - middle) * from_next - jump * u
    return out
