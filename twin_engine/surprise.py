"""How surprising a channel's readings are: tail probabilities for the judge, never verdicts.

Each is the probability that an honest sensor would do this: an error so large of the forecast from the readings just
before (`residual_p`; `sustained_p` for the last few together), so long a repeat of the very same number (`run_p`), a
newest stretch that the LSTM-VAE, even after having seen it, explains so badly (`reconstruction_p`; An & Cho 2015,
"Variational autoencoder based anomaly detection using reconstruction probability"). A small one says "unlike this
sensor's own past", not "attack": the patient may be the reason. What follows is the detectors' business.

The forecast is an autoregression of the channel's own differences, learnt block by block; probabilities come from the
channel's own past (``tails``). What was improbable never enters the autoregression, enters the scale clipped, and
enters the past hardly ever. Scores depend on earlier readings only, and not on how readings were cut into frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from device.signals import SIGNALS, Kind
from twin_engine.gaps import BETWEEN_PERIODS
from twin_engine.messages import Floats, Times
from twin_engine.tails import RARE, Prior, Runs, Tail, harmonic

if TYPE_CHECKING:
    from twin_engine.features import Prepared
    from twin_engine.network import LstmVae

_ORDER = 4  # lags of the autoregression of differences
_BLOCK = 64  # readings scored by one state of knowledge
_WARM = 16  # readings before which nothing is called surprising
_MEMORY = 2000.0  # readings that the autoregression looks back on
_FAST, _SLOW = 8.0, 1000.0  # readings over which the scale is averaged
_CLIP = 7.0  # scales beyond which a difference or an error counts no more
_PENALTY = 3.0  # readings that the belief "the next difference is none" counts for
_ROUNDING = 1.5  # steps of the sensor
_SUSTAINED = 16  # readings whose surprise is averaged
_RING, _SUM_RING, _DENSITY_RING = 384, 192, 96
_RING_S = 300.0  # of the past that a ring covers at least, once it is full
_LATENTS = 8
_MOST = 1e3  # an error of more scales tells no more
_FLOOR = 1e-3  # scales; below it one error is as good as another

# Of validation people, all signals together (``lab.anomalies.priors``)
_RESIDUALS = Prior(0.75, 0.5)
_SUSTAINEDS = Prior(1.6, 0.7)
_RECONSTRUCTIONS = Prior(1.0, 0.45)
_RUN_INDEX = {Kind.LEVEL: 3.0, Kind.ENVELOPE: 4.0, Kind.WAVE: 4.0}  # a wave that stands still is soon odd
_STILL = {"spo2_pct": 1.2, "room_temp_C": 1.2, "room_rh_pct": 1.2, "pressure_hPa": 1.2, "light_lux": 1.2}  # steady


@dataclass(frozen=True, slots=True)
class Scores:
    """Tail probabilities in (0, 1]: of N readings, and of the newest stretch. 1 where nothing is known."""

    residual_p: Floats  # (N,) of an error so large of the one-step forecast, either side
    sustained_p: Floats  # (N,) of so much surprise in the last 16 errors together
    run_p: Floats  # (N,) of so long a run of exactly equal readings
    reconstruction_p: float  # of the newest stretch, as the model explains it

    @property
    def together_p(self) -> Floats:
        """(N,) one probability for all four."""
        return harmonic(self.residual_p, self.sustained_p, self.run_p, self.reconstruction_p)


@dataclass(frozen=True, slots=True)
class Autoregression:
    """Forecast of the next difference from the last ones, by recursive least squares in scales."""

    gram: Floats = field(default_factory=lambda: np.zeros((_ORDER, _ORDER)))
    cross: Floats = field(default_factory=lambda: np.zeros(_ORDER))
    coefficients: Floats = field(default_factory=lambda: np.zeros(_ORDER))

    def learn(self, lags: Floats, moves: Floats) -> Autoregression:
        """From differences `moves` (M,) after `lags` (M, _ORDER), both in scales."""
        fade = math.exp(-len(moves) / _MEMORY)
        gram, cross = fade * self.gram + lags.T @ lags, fade * self.cross + lags.T @ moves
        coefficients: Floats = np.linalg.solve(gram + _PENALTY * np.eye(_ORDER), cross).astype(np.float64)
        return Autoregression(gram, cross, coefficients)


@dataclass(frozen=True, slots=True)
class _Looked:
    """What was seen in the block in hand. n readings."""

    lags: Floats  # (n, _ORDER) differences before each reading, 0 where unknown
    moves: Floats  # (n,) difference to the reading before, NaN where unknown
    scale: Floats  # (n,) expected size of the error
    errors: Floats  # (n,) absolute; NaN where unknown
    scores: Floats  # (n,) log of errors in scales
    residual_p: Floats  # (n,)
    surprises: Floats  # (_SUSTAINED - 1 + n,) -log residual_p, with those before the block
    sums: Floats  # (n,) their mean over the last _SUSTAINED
    sustained_p: Floats  # (n,)
    lengths: Floats  # (n,) of the run of equal readings that each belongs to, 0 where there is no reading
    run_p: Floats  # (n,)


@dataclass(frozen=True, slots=True)
class Surprise:
    """What is known of one channel's habits. Below 5 kB; replaced, never changed."""

    signal: str = ""
    block: Floats = field(default_factory=lambda: np.empty(0))  # readings not learnt from yet, NaN where a gap was
    before: Floats = field(default_factory=lambda: np.full(_ORDER + 1, np.nan))  # those just before the block
    last_us: int | None = None
    learnt: int = 0  # readings
    autoregression: Autoregression = field(default_factory=Autoregression)
    fast: float = 0.0  # mean absolute error of late, and of long, in the signal's unit
    slow: float = 0.0
    residuals: Tail = field(default_factory=Tail)
    surprises: Floats = field(default_factory=lambda: np.zeros(_SUSTAINED - 1))
    sustained: Tail = field(default_factory=Tail)
    run: int = 0  # length of the run at the end of `before`
    runs: Runs = field(default_factory=Runs)
    reconstructions: Tail = field(default_factory=Tail)
    reconstruction_p: float = 1.0

    @classmethod
    def start(cls, signal: str = "") -> Surprise:
        """Nothing known yet, of a channel of `signal` (an id of the table; "" where it doesn't matter)."""
        return cls(signal)

    def read(self, times_us: Times, values: Floats, period_us: int, step: float) -> tuple[Surprise, Scores]:
        """Scores of new readings (N,), oldest first, all later than those before, and what is known after them.

        `step` is the sensor's resolution. After a gap the first reading has no score (1): nothing foretold it.
        """
        if not len(times_us):
            return self, Scores(np.empty(0), np.empty(0), np.empty(0), self.reconstruction_p)
        state, made, at = self, list[tuple[Floats, Floats, Floats]](), 0
        since = np.diff(times_us, prepend=times_us[0] if self.last_us is None else self.last_us)
        breaks = np.flatnonzero(since >= BETWEEN_PERIODS * period_us)
        values = np.insert(values, breaks, np.nan)
        while at < len(values):
            block = np.append(state.block, values[at : at + state._room()])
            seen, new = state._look(block, step), slice(len(state.block), None)
            made.append((seen.residual_p[new], seen.sustained_p[new], seen.run_p[new]))
            at += len(block) - len(state.block)
            state = replace(state, block=block)
            state = state if state._room() else state._learn(seen, period_us, step)
        residual_p, sustained_p, run_p = (
            np.delete(np.concatenate(column), breaks + np.arange(len(breaks))) for column in zip(*made, strict=True)
        )
        state = replace(state, last_us=int(times_us[-1]))
        return state, Scores(residual_p, sustained_p, run_p, self.reconstruction_p)

    def reconstructed(self, log_density: float) -> Surprise:
        """With a new reconstruction log-probability (:func:`reconstruction`), one every two seconds or slower."""
        if not math.isfinite(log_density):
            return self
        score = np.array([-log_density])
        p = self.reconstructions.probability(score, _RECONSTRUCTIONS)
        tail = self.reconstructions.learn(score, p, _DENSITY_RING)
        return replace(self, reconstructions=tail, reconstruction_p=float(p[0]))

    def _room(self) -> int:
        """Readings that the block still takes: the first blocks are short, so that something is soon known."""
        return min(_BLOCK, max(1, self.learnt)) - len(self.block)

    def _look(self, block: Floats, step: float) -> _Looked:
        """The block's readings (n,), all scored by what was known before it."""
        n = len(block)
        moves = np.diff(np.concatenate((self.before, block)))  # (_ORDER + n,)
        calm = max(0.5 * (self.fast + self.slow), step / 4, 1e-12)
        bounded = np.clip(np.nan_to_num(moves), -_CLIP * calm, _CLIP * calm)
        lags = np.lib.stride_tricks.sliding_window_view(bounded, _ORDER)[:n, ::-1]
        errors = np.abs(moves[_ORDER:] - lags @ self.autoregression.coefficients)
        scale = np.maximum(0.5 * (self._fast_before(errors, calm) + self.slow), max(step / 4, 1e-12))
        scores = np.log(np.minimum(errors / scale, _MOST) + _FLOOR)
        residual_p = self.residuals.probability(scores, _RESIDUALS) if self.learnt >= _WARM else np.ones(n)
        surprises = np.concatenate((self.surprises, -np.log(residual_p)))
        summed = np.cumsum(np.append(0.0, surprises))
        sums = (summed[_SUSTAINED:] - summed[:-_SUSTAINED]) / _SUSTAINED
        sustained_p = self.sustained.probability(sums, _SUSTAINEDS)
        lengths = self._lengths(block, moves[_ORDER:])
        run_p = self.runs.probability(lengths, _run_index(self.signal))
        return _Looked(
            lags, moves[_ORDER:], scale, errors, scores, residual_p, surprises, sums, sustained_p, lengths, run_p
        )

    def _fast_before(self, errors: Floats, calm: float) -> Floats:
        """(n,) mean absolute error of late, before each of `errors` (n,), which count clipped."""
        counted = np.minimum(np.where(np.isfinite(errors), errors, self.fast), _CLIP * calm)
        before: Floats = _fading(len(errors)) @ np.append(self.fast, counted[:-1])
        return before

    def _lengths(self, block: Floats, moves: Floats) -> Floats:
        """(n,) length so far of the run of equal readings at each reading; 0 where there is none."""
        index = np.arange(1, len(block) + 1)
        began = np.maximum.accumulate(np.where(moves == 0, 1 - self.run, index))
        return np.where(np.isfinite(block), index - began + 1.0, 0.0)

    def _learn(self, seen: _Looked, period_us: int, step: float) -> Surprise:
        """The whole block becomes past. An error of the sensor's own step is rounding, however rare it is."""
        residual_p = np.where(seen.errors <= _ROUNDING * step, 1.0, seen.residual_p)
        usual = np.isfinite(seen.errors) & (residual_p >= RARE)
        scale = seen.scale[usual]
        fast, slow = self._scales(seen)
        lengths = np.append(self.run, seen.lengths[:-1])  # of the run that each reading goes on with, or ends
        told = np.isfinite(seen.moves)
        index = _run_index(self.signal)
        return replace(
            self,
            block=np.empty(0),
            before=np.concatenate((self.before, self.block))[-_ORDER - 1 :],
            learnt=self.learnt + len(self.block),
            autoregression=self.autoregression.learn(seen.lags[usual] / scale[:, None], seen.moves[usual] / scale),
            fast=fast,
            slow=slow,
            residuals=self._kept(self.residuals, seen.scores, residual_p, _RING, period_us),
            surprises=seen.surprises[1 - _SUSTAINED :],
            sustained=self._kept(self.sustained, seen.sums, seen.sustained_p, _SUM_RING, period_us),
            run=int(seen.lengths[-1]),
            runs=self.runs.learn(lengths[told], seen.moves[told] != 0, self.runs.probability(lengths[told], index)),
        )

    def _scales(self, seen: _Looked) -> tuple[float, float]:
        """The two scales after the block: plain means at first, then errors count clipped."""
        known = np.isfinite(seen.errors)
        if self.learnt >= _WARM:
            calm = float(seen.scale[-1])
            clipped = np.minimum(seen.errors[known], _CLIP * calm)
            fast = float(self._fast_before(np.append(seen.errors, np.nan), calm)[-1])
        else:
            clipped, fast = seen.errors[known], math.nan
        share = len(clipped) / min(self.learnt + len(clipped), _SLOW) if len(clipped) else 0.0
        slow = self.slow + share * (float(clipped.mean()) - self.slow) if share else self.slow
        return (slow if math.isnan(fast) else fast), slow

    def _kept(self, tail: Tail, scores: Floats, p: Floats, size: int, period_us: int) -> Tail:
        """The tail with some of the block's scores: so few that it covers all of the past, or the last _RING_S."""
        if self.learnt < _WARM:
            return tail
        every = max(1, min(self.learnt // size, round(_RING_S * 1e6 / (size * period_us))))
        some = np.arange(-self.learnt % every, len(scores), every)
        some = some[np.isfinite(scores[some])]
        return tail.learn(scores[some], p[some], size)


@cache
def _fading(count: int) -> Floats:
    """(count, count) weights: a mean over _FAST errors before each reading, of the mean so far and errors since."""
    keep = math.exp(-1 / _FAST)
    age = np.arange(count)[:, None] - np.arange(count)
    weights = np.where(age >= 0, (1 - keep) * keep ** np.maximum(age, 0), 0.0)
    weights[:, 0] = keep ** np.arange(count)
    weights.setflags(write=False)
    return weights


def _run_index(signal: str) -> float:
    """How fast long repeats get rare on channels of that signal, before the channel's own past says better."""
    kind = SIGNALS[signal].kind if signal in SIGNALS else Kind.LEVEL
    return _STILL.get(signal, _RUN_INDEX[kind])


def reconstruction(
    trained_network: LstmVae,
    prepared: Prepared,
    bases: Floats,
    truth_nodes: Floats,
    known: Floats,
    seeds: Sequence[int],
) -> Floats:
    """(B,) log-probability a known node of what came after each context, explained by latents that have seen it.

    `prepared` holds B contexts that end where the newest stretch begins, `bases` (B, N, C) their cheap forecasts,
    `truth_nodes` (B, N) the stretch at the plan's nodes, normalised like the contexts, and `known` (B, N) 1 where
    there is a reading. Averaged over _LATENTS latents with noise fixed by each context's seed; NaN where nothing known.
    """
    import torch

    from twin_engine.network import LATENT, laplace_nll

    noise = np.stack([np.random.default_rng(seed).standard_normal((_LATENTS, LATENT)) for seed in seeds])
    truth = torch.tensor(np.where(known > 0, truth_nodes, 0.0), dtype=torch.float32)  # (B, N)
    given = torch.tensor(known, dtype=torch.float32)
    with torch.inference_mode():
        context = trained_network.encode(torch.from_numpy(prepared.bins), torch.from_numpy(prepared.statics))
        mean, log_var = trained_network.posterior_of(context, truth, given)
        z = mean[:, None] + torch.exp(0.5 * log_var)[:, None] * torch.tensor(noise, dtype=torch.float32)
        centre, scale = trained_network.decode(context, z, torch.tensor(bases, dtype=torch.float32))  # (B, K, N)
        density = -(laplace_nll(truth[:, None], centre, scale) * given[:, None]).sum(-1)  # (B, K)
        total = (torch.logsumexp(density, -1) - math.log(_LATENTS)).numpy().astype(np.float64)
    count = known.sum(1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
