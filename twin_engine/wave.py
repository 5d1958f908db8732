"""Cheap causal forecasts of a fast wave (pulse, ECG, breath, raw EMG), each from the patient's own last seconds.

Nothing here was learnt from other people and nothing is kept: a wave repeats itself, so its own past says most.

- :func:`autoregress`: a long linear predictor, fitted to the context, newer readings counting more;
- :func:`analog`: the stretches of the context most like its end, and what came after them (Lorenz 1969, "Atmospheric
  predictability as revealed by naturally occurring analogues");
- :func:`seasonal`: the last two periods again, fading to the mean as fast as periods resemble each other.

All take contexts `path` (B, T), newest last, normalised with the last value at 0 and NaN where missing, and `nodes`
(N,) increasing grid steps after the last value; all return (B, N). A context with too little in it gives its mean.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from twin_engine.messages import Floats
from twin_engine.plans import Ints

Bools = npt.NDArray[np.bool_]
Base = Callable[[Floats, Ints], Floats]

ORDER = 48  # of the linear predictor: two beats at a pulse of 75 /min are 51 steps of 1/32 s
_MEMORY = 300.0  # steps after which a reading counts 1/e in fitting the predictor
_REACH = 1.5  # a forecast goes no further from the mean than this multiple of the context
_NOISE = 1e-9  # of the energy: what is left below it is rounding, and not predicted from
_LEAST_PAIRS = 12  # of readings, below which a reflection coefficient is left at zero
_MATCH, _NEAREST, _NEWEST_LAG = 64, 16, 8  # steps compared, stretches averaged, least age of a stretch in steps
_OFFSET = 0.5  # share of the difference in level that a stretch is moved by
_ALMOST = 0.85  # the period is the shortest lag whose autocorrelation is this share of the best
_OLDER, _FADING = 0.6, 0.5  # weight of the period before the last; power of the autocorrelation a period
_LEAST_LAG = 4


def autoregress(path: Floats, nodes: Ints) -> Floats:
    """(B, N) the linear predictor of order ORDER run on, held within _REACH of what the context shows."""
    filled, known = fill(path)
    weights = known.astype(float) * np.exp(-np.arange(path.shape[1])[::-1] / _MEMORY)
    middle = _mean(filled, weights)
    x = np.where(_begun(known), filled - middle, 0.0)
    coefficients = _burg(x, weights, min(ORDER, path.shape[1] // 4))
    return _run(coefficients, x, int(nodes[-1]))[:, nodes - 1] + middle


def analog(path: Floats, nodes: Ints) -> Floats:
    """(B, N) the mean of what followed the _NEAREST most alike stretches, the more alike the heavier.

    A stretch that ended d steps ago is followed by d steps of truth; after that it is repeated with period d.
    """
    filled, known = fill(path)
    length = min(_MATCH, path.shape[1] // 4)
    apart, move = _distances(filled, known, length)  # (B, D), lag _NEWEST_LAG + column
    nearest = np.argsort(apart, axis=1)[:, :_NEAREST]
    distance = np.take_along_axis(apart, nearest, 1)  # (B, K), inf where there are fewer
    lag = (nearest + _NEWEST_LAG)[:, :, None]
    source = path.shape[1] - lag + (nodes - 1) % lag  # (B, K, N)
    rows = np.arange(len(path))[:, None, None]
    after = filled[rows, source] + np.take_along_axis(move, nearest, 1)[:, :, None]
    best = np.maximum(distance[:, :1], np.finfo(float).tiny)
    weight = np.where(np.isfinite(distance), np.exp(1.0 - np.where(np.isfinite(distance), distance, 0.0) / best), 0.0)
    total = weight.sum(1)[:, None]
    averaged = (after * weight[:, :, None]).sum(1) / np.where(total > 0, total, 1.0)
    return np.where(total > 0, averaged, _mean(filled, known.astype(float)))


def seasonal(path: Floats, nodes: Ints) -> Floats:
    """(B, N) the last two periods averaged and repeated, fading to the mean by the period's autocorrelation."""
    filled, known = fill(path)
    middle = _mean(filled, known.astype(float))
    steps, likeness = period(path)
    turns = np.ceil(nodes / steps[:, None])  # (B, N)
    newest = path.shape[1] - 1 + nodes - turns * steps[:, None]
    last, before = _between(filled, newest), _between(filled, newest - steps[:, None])
    share = np.where(newest - steps[:, None] >= 0, _OLDER / (1 + _OLDER), 0.0)
    again = last * (1 - share) + before * share - middle
    forecast: Floats = middle + again * likeness[:, None] ** (_FADING * turns)
    return forecast


BASES: dict[str, Base] = {"wave-ar": autoregress, "analog": analog, "seasonal": seasonal}


def period(path: Floats) -> tuple[Floats, Floats]:
    """(B,) period in steps, with its fraction, and (B,) autocorrelation there, 0 to 1; 0 where nothing repeats.

    The shortest peak, after the autocorrelation has first been negative, that is nearly as high as the highest.
    """
    likeness = _autocorrelation(path)[:, : path.shape[1] // 2]
    seen = np.logical_or.accumulate(likeness < 0, axis=1)
    peak = np.zeros_like(seen)
    peak[:, 1:-1] = (likeness[:, 1:-1] >= likeness[:, :-2]) & (likeness[:, 1:-1] > likeness[:, 2:]) & seen[:, :-2]
    peak[:, :_LEAST_LAG] = False
    height = np.where(peak, likeness, 0.0)
    best = height.max(1)
    at = np.clip((height >= _ALMOST * np.maximum(best, 1e-9)[:, None]).argmax(1), 1, likeness.shape[1] - 2)
    left, top, right = (likeness[np.arange(len(path)), at + step] for step in (-1, 0, 1))
    bend = left - 2 * top + right
    fraction = np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, 1.0), 0.0)
    found = best > 0
    steps = np.where(found, at + np.clip(fraction, -0.5, 0.5), float(likeness.shape[1]))
    return steps, np.where(found, np.clip(top, 0.0, 1.0), 0.0)


def fill(path: Floats) -> tuple[Floats, Bools]:
    """`path` (B, T) with holes bridged by straight lines (its ends held; 0 where nothing is known), and what is known.

    Looks at the context only: a hole lies between two readings that have both come.
    """
    known: Bools = np.isfinite(path)
    index = np.arange(path.shape[1])
    older = np.maximum.accumulate(np.where(known, index, -1), axis=1)
    newer = np.minimum.accumulate(np.where(known, index, path.shape[1])[:, ::-1], axis=1)[:, ::-1]
    older, newer = np.where(older < 0, newer, older), np.where(newer == path.shape[1], older, newer)
    older, newer = (np.clip(side, 0, path.shape[1] - 1) for side in (older, newer))
    values = np.where(known, path, 0.0)
    before, after = (np.take_along_axis(values, side, 1) for side in (older, newer))
    share = (index - older) / np.maximum(newer - older, 1)
    return before + (after - before) * share, known


def _begun(known: Bools) -> Bools:
    """(B, T) whether the first reading of each row has come."""
    begun: Bools = np.logical_or.accumulate(known, axis=1)
    return begun


def _mean(filled: Floats, weights: Floats) -> Floats:
    """(B, 1) weighted mean of rows (B, T); 0 where nothing weighs."""
    mean: Floats = (filled * weights).sum(1, keepdims=True) / np.maximum(weights.sum(1, keepdims=True), 1e-12)
    return mean


def _burg(x: Floats, weights: Floats, order: int) -> Floats:
    """(B, order) coefficients, lag 1 first, of zero-mean rows `x` (B, T): Burg's method with `weights` (B, T) >= 0.

    Weighted reflection coefficients stay within ±1 (Swingler 1980 tapers them likewise), so no forecast explodes.
    """
    forward = backward = x
    pairs = (weights > 0).sum(1)
    least = _NOISE * (weights * x**2).sum(1) + np.finfo(float).tiny
    a = np.zeros((len(x), order))
    for k in range(order):
        f, b, w = forward[:, 1:], backward[:, :-1], weights[:, k + 1 :]
        wf = w * f
        r = 2 * (wf * b).sum(1) / ((wf * f).sum(1) + (w * b * b).sum(1) + least)
        r = np.where(pairs - k > _LEAST_PAIRS, r, 0.0)
        a[:, :k] -= r[:, None] * a[:, :k][:, ::-1]
        a[:, k] = r
        forward, backward = f - r[:, None] * b, b - r[:, None] * f
    return a


def _run(coefficients: Floats, x: Floats, count: int) -> Floats:
    """(B, count) the predictor's own future, fed by its forecasts, kept within _REACH of the largest `x` (B, T)."""
    order = coefficients.shape[1]
    bound = _REACH * np.abs(x).max(1)
    reverse = coefficients[:, ::-1]
    state = np.concatenate([x[:, x.shape[1] - order :], np.zeros((len(x), count))], axis=1)
    for step in range(count):
        value = np.einsum("bp,bp->b", reverse, state[:, step : step + order])
        state[:, order + step] = np.minimum(np.maximum(value, -bound), bound)
    return state[:, order:]


def _distances(filled: Floats, known: Bools, length: int) -> tuple[Floats, Floats]:
    """Distance (B, D) of the newest `length` steps to those that ended _NEWEST_LAG, … steps before, and the move.

    Mean square difference, newer steps heavier, after the move in level (B, D) that the stretch would be given; inf
    where it is no local minimum or was mostly not measured. Sums over stretches are correlations, done by FFT.
    """
    count, steps = filled.shape
    weight = np.exp(-np.arange(length)[::-1] / length)
    weight /= weight.sum()
    query = filled[:, -length:]
    size = 1 << (steps + length).bit_length()
    kernels = np.fft.rfft(np.stack([np.broadcast_to(weight, query.shape), weight * query])[..., ::-1], size)
    series = np.fft.rfft(np.stack([filled, filled**2, known.astype(float)]), size)
    products = np.stack(
        [series[0] * kernels[0], series[1] * kernels[0], series[2] * kernels[0], series[0] * kernels[1]]
    )
    ends = np.arange(steps - 1 - _NEWEST_LAG, length - 2, -1)  # of the stretches, newest first
    mean, square, share, cross = np.fft.irfft(products, size)[..., ends]  # each (B, D)
    own = (query * weight).sum(1, keepdims=True)
    apart = square - 2 * cross + (query**2 * weight).sum(1, keepdims=True)
    apart = np.maximum(apart - (2 * _OFFSET - _OFFSET**2) * (own - mean) ** 2, 0.0)
    least = np.ones((count, len(ends)), bool)
    least[:, 1:] &= apart[:, 1:] <= apart[:, :-1]
    least[:, :-1] &= apart[:, :-1] <= apart[:, 1:]
    return np.where(least & (share > 0.5), apart, np.inf), _OFFSET * (own - mean)


def _autocorrelation(path: Floats) -> Floats:
    """(B, T) autocorrelation of each row, lag 0 first, each lag by the energy of the parts that overlap."""
    filled, known = fill(path)
    x = np.where(_begun(known), filled - _mean(filled, known.astype(float)), 0.0)
    steps = x.shape[1]
    spectrum = np.fft.rfft(x, 2 * steps)
    products = np.fft.irfft(np.abs(spectrum) ** 2, 2 * steps)[:, :steps]
    energy = np.cumsum(x**2, axis=1)
    newest = energy[:, -1:] - np.concatenate([np.zeros((len(x), 1)), energy[:, :-1]], axis=1)
    likeness: Floats = products / np.sqrt(np.maximum(energy[:, ::-1] * newest, np.finfo(float).tiny))
    return likeness


def _between(filled: Floats, position: Floats) -> Floats:
    """(B, N) rows `filled` (B, T) at fractional steps `position` (B, N), held at the ends."""
    position = np.clip(position, 0, filled.shape[1] - 1)
    low = np.minimum(position.astype(np.int64), filled.shape[1] - 2)
    share = position - low
    values: Floats = np.take_along_axis(filled, low, 1) * (1 - share) + np.take_along_axis(filled, low + 1, 1) * share
    return values
