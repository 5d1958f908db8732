"""Cheap causal forecasts: last value, running mean, autoregression, ridge.

They are what the LSTM-VAE corrects, what it is measured against, and what a signal falls back to where they are
better. They work on contexts already centred on the last value (``features.normalise``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin_engine.features import Prepared, fill_bins
from twin_engine.messages import Floats
from twin_engine.plans import Ints

NAMES = ("ridge", "locf", "ar", "mean")  # in this order on the last axis of `stack`
AR_ORDER = 8
_AR_REACH = 1.5  # an autoregressive forecast goes no further from the mean than this multiple of the context
_AR_PAIRS = 12  # pairs of readings below which a reflection coefficient is left at zero
_SLOT_BINS = (-1, -3, -6, -12, -24, -36)  # bins of the other channels that ridge looks at


@dataclass(frozen=True, slots=True)
class Ridge:
    """Linear forecast of each age from the context's bins. F features, N ages."""

    weights: Floats  # (F, N)
    centre: Floats  # (F,)
    intercept: Floats  # (N,)

    def forecast(self, prepared: Prepared) -> Floats:
        """(B, N) normalised forecasts."""
        forecast: Floats = (ridge_features(prepared) - self.centre) @ self.weights + self.intercept
        return forecast


def ridge_features(prepared: Prepared) -> Floats:
    """(B, F) the target's filled bins, and a few bins of the channels beside it."""
    bins = prepared.bins.astype(np.float64)
    own = fill_bins(bins[:, :, 0], bins[:, :, 1])
    beside = bins[:, list(_SLOT_BINS)][:, :, 3::2].reshape(len(bins), -1)
    return np.concatenate([own, beside], axis=1)


def fit_ridge(features: Floats, targets: Floats, penalty: float) -> Ridge:
    """Least squares of `targets` (B, N; NaN = unknown) on `features` (B, F), with ``penalty × B`` on the diagonal.

    The caller guarantees that something is known at the first age.
    """
    centre = features.mean(0)
    x = features - centre  # (B, F)
    weights, intercept = np.empty((x.shape[1], targets.shape[1])), np.empty(targets.shape[1])
    for n in range(targets.shape[1]):
        known = np.isfinite(targets[:, n])
        if not known.any():  # the recordings are shorter than this age: as at the age before
            weights[:, n], intercept[n] = weights[:, n - 1], intercept[n - 1]
            continue
        a, y = x[known], targets[known, n]
        middle = a.mean(0)
        gram = (a - middle).T @ (a - middle) + penalty * len(a) * np.eye(x.shape[1])
        weights[:, n] = np.linalg.solve(gram, (a - middle).T @ (y - y.mean()))
        intercept[n] = y.mean() - middle @ weights[:, n]
    return Ridge(weights, centre, intercept)


def stack(prepared: Prepared, nodes: Ints, ridge: Ridge) -> Floats:
    """(B, N, 4) all baselines at the ages `nodes` (grid steps), normalised, in the order of NAMES."""
    return np.concatenate([ridge.forecast(prepared)[..., None], untrained(prepared.path, nodes)], axis=-1)


def untrained(path: Floats, nodes: Ints) -> Floats:
    """(B, N, 3) the baselines that need no training, for contexts `path` (B, T), in the order of NAMES[1:]."""
    held = np.zeros((len(path), len(nodes)))  # the last value is the origin
    mean = np.broadcast_to(running_mean(path)[:, None], held.shape)
    return np.stack([held, autoregress(path, nodes), mean], axis=-1)


def running_mean(path: Floats) -> Floats:
    """(B,) mean of the known values of each context in `path` (B, T); 0 where there are none."""
    known = np.isfinite(path)
    mean: Floats = np.where(known, path, 0.0).sum(1) / np.maximum(known.sum(1), 1)
    return mean


def autoregress(path: Floats, nodes: Ints, order: int = AR_ORDER) -> Floats:
    """(B, N) autoregressive forecasts of contexts `path` (B, T) at `nodes` (grid steps, increasing)."""
    mean = running_mean(path)[:, None]
    x = path - mean
    coefficients, _ = burg(x, order)
    bound = _AR_REACH * np.nanmax(np.abs(np.nan_to_num(x)), axis=1, keepdims=True)
    return _bounded(advance(coefficients, newest(x, order), nodes), bound) + mean


def _bounded(forecast: Floats, bound: Floats) -> Floats:
    """`forecast` (B, N) held from where it leaves ±`bound` (B, 1): a straight ramp's roots lie on the unit circle."""
    out = np.logical_or.accumulate(~(np.abs(forecast) <= bound), axis=1)
    first = np.take_along_axis(forecast, out.argmax(1)[:, None], axis=1)
    return np.where(out, np.copysign(bound, first), forecast)


def burg(x: Floats, order: int) -> tuple[Floats, Floats]:
    """AR coefficients (B, order), lag 1 first, and innovation variance (B,) of zero-mean rows `x` (B, T).

    Burg's method (Burg 1967): every reflection coefficient lies within ±1, so the forecast never explodes. Pairs
    with a missing reading are left out, and a coefficient that few pairs would decide is zero.
    """
    mask = np.isfinite(x)
    forward = backward = np.where(mask, x, 0.0)
    variance = (forward**2).sum(1) / np.maximum(mask.sum(1), 1)
    a = np.zeros((len(x), order))
    for k in range(order):
        f, b, mask = forward[:, 1:], backward[:, :-1], mask[:, 1:] & mask[:, :-1]
        pairs = mask.sum(1)
        r = 2 * (f * b * mask).sum(1) / np.maximum(((f**2 + b**2) * mask).sum(1), 1e-12)
        r = np.where(pairs >= _AR_PAIRS, r, 0.0)
        a[:, :k] -= r[:, None] * a[:, :k][:, ::-1]
        a[:, k] = r
        variance = variance * (1 - r**2)
        forward, backward = f - r[:, None] * b, b - r[:, None] * f
    return a, variance


def newest(x: Floats, order: int) -> Floats:
    """(B, order) the newest values, newest first; a missing one is held from the next older known one."""
    state = np.zeros((len(x), order))
    held = np.zeros(len(x))
    for i in range(order, 0, -1):
        held = np.where(np.isfinite(x[:, -i]), x[:, -i], held)
        state[:, i - 1] = held
    return state


def advance(coefficients: Floats, state: Floats, nodes: Ints) -> Floats:
    """(B, N) forecasts: powers of the companion matrix, by squaring, so that far ages cost no more than near ones."""
    count, order = coefficients.shape
    companion = np.zeros((count, order, order))
    companion[:, 0] = coefficients
    companion[:, np.arange(1, order), np.arange(order - 1)] = 1.0
    steps = np.diff(nodes, prepend=0)
    powers = [companion]
    while 2 ** len(powers) <= steps.max():
        powers.append(powers[-1] @ powers[-1])
    out = np.empty((count, len(nodes)))
    for n, step in enumerate(steps):
        for bit, power in enumerate(powers):
            if step >> bit & 1:
                state = np.einsum("bij,bj->bi", power, state)
        out[:, n] = state[:, 0]
    return out
