"""How often did a sensor do this before? Tail probabilities from a channel's own past, begun from other people's.

:class:`Tail` for scores of any kind, :class:`Runs` for repeats of the very same number. Both are small values; what is
improbable teaches them hardly anything, so that an attack can't make itself probable.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from twin_engine.messages import Floats

Floats32 = npt.NDArray[np.float32]

RARE = 0.001  # less probable readings are learnt from only as often as they should happen
LEAST_P = 1e-9
_MOST_RARE = 4.0  # ... and no more than these at once
_TOP, _LEAST_TOP = 0.04, 4  # share of the ring, and scores, that the exponential tail is fitted to
_TOP_PRIOR = 4.0  # scores that other people's spread of the tail counts for
_PRIOR_WEIGHT = 20.0  # readings that other people's scores count for
_RARE_RUN = 0.01  # readings deeper in a run than all but this share teach nothing
_RUN_PRIOR = 2.0  # runs that the belief about each length counts for
_RUN_MEMORY = 20_000.0  # readings
_LENGTHS = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 4096, 16384], np.float64)


@dataclass(frozen=True, slots=True)
class Prior:
    """Other people's scores: one reading in ten exceeds `start`, and the share falls by e with each `spread` more."""

    start: float
    spread: float

    def probability(self, scores: Floats) -> Floats:
        return np.minimum(1.0, 0.1 * np.exp(np.clip((self.start - scores) / self.spread, -50.0, 50.0)))


@dataclass(frozen=True, slots=True)
class Tail:
    """Recent scores of one kind, and how probable it is that a score is as large as a given one."""

    ring: Floats32 = field(default_factory=lambda: np.empty(0, np.float32))  # oldest first
    allowance: float = 1.0  # rare scores that may still be learnt

    def probability(self, scores: Floats, prior: Prior) -> Floats:
        """(N,) share of past scores as large as `scores` (N,); NaN gives 1.

        Beyond the largest 4 % of its own scores the share falls exponentially, by their mean excess.
        """
        known = np.where(np.isfinite(scores), scores, -np.inf)
        others, n = prior.probability(known), len(self.ring)
        if not n:
            return np.maximum(others, LEAST_P)
        own = np.sort(self.ring).astype(np.float64)
        share = (n + 1 - np.searchsorted(own, known)) / (n + 1)
        top = max(_LEAST_TOP, int(_TOP * n))
        if n >= 10 * _LEAST_TOP:
            edge = own[-top]
            excess = (float((own[-top:] - edge).sum()) + _TOP_PRIOR * prior.spread) / (top - 1 + _TOP_PRIOR)
            beyond = known > edge
            share[beyond] = (top + 1) / (n + 1) * np.exp(-(known[beyond] - edge) / excess)
        weight = _PRIOR_WEIGHT / (1 + n / _PRIOR_WEIGHT)
        return np.maximum((weight * others + n * share) / (weight + n), LEAST_P)

    def learn(self, scores: Floats, p: Floats, size: int) -> Tail:
        """With `scores` (M,) of probability `p` added, `size` kept: rare ones only as far as the allowance goes."""
        rare = p < RARE
        allowance = self.allowance + RARE * len(scores)
        taken = scores[rare][: int(allowance)]
        kept = np.concatenate((self.ring, scores[~rare], taken))[-size:]
        return Tail(kept.astype(np.float32), min(allowance - len(taken), _MOST_RARE))


@dataclass(frozen=True, slots=True)
class Runs:
    """How long a channel repeats the very same number: at each length, how often a run could end there, and did."""

    could: Floats = field(default_factory=lambda: np.zeros(len(_LENGTHS)))
    did: Floats = field(default_factory=lambda: np.zeros(len(_LENGTHS)))

    def probability(self, lengths: Floats, index: float) -> Floats:
        """(N,) share of readings that stand as far in a run as `lengths` (N,); 1 where nothing is repeated.

        What has not been seen is believed to be a Pareto tail of this `index`, the faster falling the larger.
        """
        belief = np.minimum(index / (_LENGTHS + index), 0.95)
        width = np.append(np.diff(_LENGTHS), _LENGTHS[-1])
        weight = _RUN_PRIOR * width
        stay = 1 - np.minimum((self.did + weight * belief) / (self.could + weight), 0.9999)
        through = stay**width
        reach = np.cumprod(np.append(1.0, through[:-1]))  # of runs that reach each length
        readings = reach * (1 - through) / (1 - stay)  # they have from each length to the next
        share = np.cumsum(readings[::-1])[::-1] / readings.sum()
        between = np.interp(np.log(np.maximum(lengths, 1.0)), np.log(_LENGTHS), np.log(share))
        return np.asarray(np.maximum(np.exp(between), LEAST_P))

    def learn(self, lengths: Floats, ended: npt.NDArray[np.bool_], p: Floats) -> Runs:
        """Runs of `lengths` (M,), each of probability `p`, that ended or went on; those already rare teach nothing."""
        taught = (lengths > 0) & (p >= _RARE_RUN)
        bins = np.searchsorted(_LENGTHS, lengths[taught], "right") - 1
        size, fade = len(_LENGTHS), math.exp(-len(lengths) / _RUN_MEMORY)
        could = fade * self.could + np.bincount(bins, minlength=size)
        return Runs(could, fade * self.did + np.bincount(bins, ended[taught], minlength=size))


def harmonic(*p: Floats | float) -> Floats:
    """Harmonic mean of tail probabilities: one for all of them, however they depend (Wilson 2019, PNAS 116:1195)."""
    inverse: Floats = sum((1 / np.asarray(each) for each in p), np.zeros(()))
    return np.asarray(len(p) / inverse)
