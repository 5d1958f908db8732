"""Cheap causal forecasts: last value, running mean, autoregression, Kalman filter, ridge.

They are what the LSTM-VAE corrects, what it is measured against, and what a patient's own forecast leans on where
they are better. They work on contexts already centred on the last value (``features.normalise``). A new one is a
function of path (B, T) and nodes (N,) and a row in METHODS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np

from twin_engine.features import Prepared, fill_bins
from twin_engine.messages import Floats
from twin_engine.plans import Floats32, Ints, Plan, node_steps

F = TypeVar("F", Floats, Floats32)
AR_ORDER = 8
_AR_REACH = 1.5  # an autoregressive forecast goes no further from the mean than this multiple of the context
_AR_PAIRS = 12  # pairs of readings below which a reflection coefficient is left at zero
_SLOT_BINS = (-1, -3, -6, -12, -24, -36)  # bins of the other channels that ridge looks at


@dataclass(frozen=True, slots=True)
class Ridge:
    """Linear forecasts of each age from the context's bins, one for each of R kinds of device. F features, N ages."""

    weights: Floats  # (R, F, N)
    centre: Floats  # (R, F)
    intercept: Floats  # (R, N)

    @classmethod
    def of(cls, rows: Sequence[Ridge]) -> Ridge:
        """Several put together."""
        return cls(*(np.concatenate([getattr(row, f) for row in rows]) for f in ("weights", "centre", "intercept")))

    def forecast(self, prepared: Prepared) -> Floats:
        """(B, N, R) normalised forecasts."""
        features = ridge_features(prepared)
        rows = zip(self.weights, self.centre, self.intercept, strict=True)
        return np.stack([(features - centre) @ weights + intercept for weights, centre, intercept in rows], axis=-1)


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
    return Ridge(weights[None], centre[None], intercept[None])


def stack(plan: Plan, prepared: Prepared, ridge: Ridge) -> Floats:
    """(B, N, C) the plan's cheap forecasts at its nodes, normalised, in the order of ``plan.bases``."""
    return joined(plan, ridge.forecast(prepared), untrained(plan, prepared.path))


def joined(plan: Plan, ridge: Floats, others: F) -> F:
    """(B, N, C) from ridge's forecasts (B, N, R) and the others' (B, N, C - R), in the order of ``plan.bases``."""
    both: F = np.concatenate([ridge.astype(others.dtype), others], axis=-1)
    order = [*(name for name in plan.bases if is_ridge(name)), *(name for name in plan.bases if not is_ridge(name))]
    return both[..., [order.index(name) for name in plan.bases]]


def is_ridge(name: str) -> bool:
    """Whether a cheap forecast is a ridge regression: of all recordings, or of one make of device ("ridge:folder")."""
    return name.partition(":")[0] == "ridge"


def untrained(plan: Plan, path: Floats) -> Floats:
    """(B, N, C - R) the plan's forecasts that need no training, for contexts `path` (B, T)."""
    nodes = node_steps(plan.signal)
    return np.stack([METHODS[name](path, nodes) for name in plan.bases if not is_ridge(name)], axis=-1)


def hold(path: Floats, nodes: Ints) -> Floats:
    """(B, N) the last value, which is the origin."""
    return np.zeros((len(path), len(nodes)))


def mean(path: Floats, nodes: Ints) -> Floats:
    """(B, N) the mean of the context."""
    return np.broadcast_to(running_mean(path)[:, None], (len(path), len(nodes)))


def running_mean(path: Floats) -> Floats:
    """(B,) mean of the known values of each context in `path` (B, T); 0 where there are none."""
    known = np.isfinite(path)
    average: Floats = np.where(known, path, 0.0).sum(1) / np.maximum(known.sum(1), 1)
    return average


def autoregress(path: Floats, nodes: Ints, order: int = AR_ORDER) -> Floats:
    """(B, N) autoregressive forecasts of contexts `path` (B, T) at `nodes` (grid steps, increasing)."""
    middle = running_mean(path)[:, None]
    x = path - middle
    coefficients, _ = burg(x, order)
    bound = _AR_REACH * np.nanmax(np.abs(np.nan_to_num(x)), axis=1, keepdims=True)
    return _bounded(advance(coefficients, newest(x, order), nodes), bound) + middle


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


# Gains for level and slope, and damping of the slope, of steady-state Kalman filters of a damped local linear trend
# (Harvey 1989, sections 4.1 and 4.3; Gardner and McKenzie 1985 for the damping). From "follow every reading and its
# slope" to "average over a hundred readings"; each context takes the likeliest.
_GAINS = (
    (1.0, 1.0, 0.80), (1.0, 0.5, 0.90), (1.0, 0.2, 0.95), (0.8, 0.3, 0.95), (0.8, 0.0, 0.0), (0.5, 0.1, 0.95),
    (0.5, 0.0, 0.0), (0.3, 0.05, 0.98), (0.3, 0.0, 0.0), (0.15, 0.01, 0.98), (0.1, 0.0, 0.0), (0.03, 0.0, 0.0),
)  # fmt: skip
_JUDGED = 128  # newest one-step errors that say which filter is likeliest


def kalman(path: Floats, nodes: Ints) -> Floats:
    """(B, N) forecasts of the likeliest Kalman filter of a damped local linear trend (see _GAINS).

    Missing readings are held from the one before and not judged by. Likelihood is that of Laplace errors.
    """
    known = np.isfinite(path)
    filled = _held(path, known)
    one_step, states = _filters(path.shape[1])
    judged = known[:, -_JUDGED:]
    errors = np.abs(filled @ one_step - np.tile(filled[:, -_JUDGED:], len(_GAINS)))  # (B, G·J)
    errors = (errors.reshape(len(path), len(_GAINS), -1) * judged[:, None]).sum(-1)
    chosen = errors.argmin(1)
    level, slope = (filled @ states).reshape(len(path), len(_GAINS), 2)[np.arange(len(path)), chosen].T
    damping = np.array(_GAINS)[chosen, 2][:, None]
    reach = damping * (1 - damping**nodes) / (1 - damping)  # damping + damping² + …
    forecast: Floats = level[:, None] + slope[:, None] * reach
    return forecast


@cache
def _filters(steps: int) -> tuple[Floats, Floats]:
    """Matrices that filter contexts (., T) to one-step forecasts (T, G·J) and to the last level and slope (T, G·2)."""
    one_step, states = [], []
    for level_gain, slope_gain, damping in _GAINS:
        move = np.array([[1.0, damping], [0.0, damping]])
        gain = np.array([level_gain, slope_gain])
        keep = move - np.outer(gain, move[0])
        response = np.empty((steps, 2))  # of (level, slope) to a reading so many steps ago
        state = gain.copy()
        for age in range(steps):
            response[age] = state
            state = keep @ state
        began = np.linalg.matrix_power(keep, steps - 1) @ np.array([1.0, 0.0])
        weights = response[::-1].copy()
        weights[0] = began  # the first reading is where the level began
        states.append(weights)
        ahead = response @ move[0]
        columns = np.zeros((steps, _JUDGED))
        for column, t in enumerate(range(steps - _JUDGED, steps)):
            columns[:t, column] = ahead[:t][::-1]
            columns[0, column] += 1.0 - columns[:t, column].sum()
        one_step.append(columns)
    return np.concatenate(one_step, axis=1), np.concatenate(states, axis=1)


def _held(path: Floats, known: np.ndarray) -> Floats:
    """`path` with missing readings held from the one before; before the first, the first."""
    index = np.where(known, np.arange(path.shape[1]), 0)
    np.maximum.accumulate(index, axis=1, out=index)
    first = known.argmax(1)
    index = np.maximum(index, first[:, None])
    held: Floats = np.nan_to_num(np.take_along_axis(path, index, axis=1))
    return held


METHODS: dict[str, Callable[[Floats, Ints], Floats]] = {"locf": hold, "ar": autoregress, "mean": mean, "kalman": kalman}
