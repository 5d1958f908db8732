"""The simple method, for signals that nothing was trained for: hold, or continue a wave, and say how far off it may be.

A level is held at its last value, with a spread that grows as the context itself has moved. A wave is continued by
autoregression until only its mean and its own spread are left.
"""

from __future__ import annotations

import math

import numpy as np

from device.signals import SIGNALS, Kind
from twin_engine.baselines import AR_ORDER, advance, burg, newest
from twin_engine.features import last_value
from twin_engine.messages import Floats
from twin_engine.plans import WAVE_DENSE_STEPS, Ints, node_steps

_MIN_READINGS = 8


def laplace(levels: Floats) -> Floats:
    """Quantiles of the Laplace distribution at `levels`, scaled so that the central 90 % is -1 to 1."""
    unit = -np.sign(levels - 0.5) * np.log1p(-2 * np.abs(levels - 0.5))
    scaled: Floats = unit / math.log(10.0)
    return scaled


def simple(signal: str, values: Floats, levels: Floats) -> tuple[Floats, str]:
    """Quantiles (N, Q) in the signal's unit at the signal's nodes, and the method's name, from `values` (T,)."""
    row = SIGNALS[signal]
    if row.kind is Kind.WAVE:
        centre, half, method = _wave(signal, values)
    else:
        nodes = node_steps(signal)
        centre = np.full(len(nodes), last_value(values[None])[0])
        half, method = _drift(signal, values, nodes), "hold"
    half = np.maximum(half, row.resolution / 2)
    spread = centre[:, None] + half[:, None] * laplace(levels)
    return np.clip(spread, row.low, row.high), method


def _drift(signal: str, values: Floats, nodes: Ints) -> Floats:
    """(N,) 90 % half width at each age: how far the context moved in that time, never less than a slow random walk.

    Up to half the context the 0.9 quantile of |x(t+n) - x(t)| is read off; beyond it grows with the square root.
    The walk is the prior for a quiet context: it reaches the signal's tolerance at its horizon.
    """
    row, half = SIGNALS[signal], np.zeros(len(nodes))
    known_step, known_move = 1, 0.0
    tolerance = row.tolerance.at(float(last_value(values[None])[0]))
    for i, step in enumerate(nodes):
        moves = np.abs(values[step:] - values[:-step]) if 2 * step <= len(values) else np.empty(0)
        moves = moves[np.isfinite(moves)]
        if len(moves) >= _MIN_READINGS:
            known_step, known_move = int(step), max(known_move, float(np.quantile(moves, 0.9)))
        half[i] = max(known_move * math.sqrt(step / known_step), tolerance * math.sqrt(step / nodes[-1]))
    return half


def _wave(signal: str, values: Floats) -> tuple[Floats, Floats, str]:
    """Centre (N,), 90 % half width (N,) and method of a wave: autoregression first, then its mean and own spread."""
    nodes = node_steps(signal)
    stride = _stride(values)  # a recording may be slower than the grid
    series = values[::-1][::stride][::-1]
    known = series[np.isfinite(series)]
    mean = float(known.mean()) if len(known) else 0.0
    spread = 1.645 * float(known.std()) if len(known) else SIGNALS[signal].tolerance.at(mean)
    centre, half = np.full(len(nodes), mean), np.full(len(nodes), spread)
    dense = nodes <= WAVE_DENSE_STEPS
    if len(known) < 4 * AR_ORDER:
        return centre, half, "mean"
    ages = np.maximum(1, nodes[dense] // stride)
    coefficients, variance = burg((series - mean)[None], AR_ORDER)
    path = advance(coefficients, newest((series - mean)[None], AR_ORDER), np.unique(ages))[0]
    centre[dense] = mean + path[np.searchsorted(np.unique(ages), ages)]
    growth = np.cumsum(_impulse(coefficients[0], int(ages[-1])) ** 2)
    half[dense] = np.minimum(spread, 1.645 * np.sqrt(variance[0] * growth[ages - 1]))
    return centre, half, "ar"


def _stride(values: Floats) -> int:
    index = np.flatnonzero(np.isfinite(values))
    return max(1, int(np.median(np.diff(index)))) if len(index) > 1 else 1


def _impulse(coefficients: Floats, count: int) -> Floats:
    """(count,) response of the autoregression to one unit innovation; its squares add up to the error's variance."""
    response = np.zeros(count + len(coefficients))
    response[len(coefficients)] = 1.0
    for i in range(len(coefficients) + 1, len(response)):
        response[i] = coefficients @ response[i - len(coefficients) : i][::-1]
    return response[len(coefficients) :]
