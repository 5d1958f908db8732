"""The simple methods, for signals that nothing was trained for: hold a level, or continue a wave as it went.

A level is held at its last value, with a spread that grows with age as the context itself has moved. A wave is
continued by several forecasts from its own last seconds (``wave``), experts between which each person's own shadow
forecasts choose, until only its mean and its own spread are left.
"""

from __future__ import annotations

import math

import numpy as np

from device.signals import SIGNALS, Kind
from twin_engine.baselines import mean
from twin_engine.features import last_value
from twin_engine.messages import Floats
from twin_engine.plans import PLANS, Ints, node_steps
from twin_engine.wave import BASES
from twin_engine.wave_mix import own_halfwidth

_MIN_READINGS = 8
_TRUSTED = {"wave-ar": 0.5, "analog": 0.5}  # of a wave's experts, for people nobody knows: see ``wave_mix.mixed``


def laplace(levels: Floats) -> Floats:
    """Quantiles of the Laplace distribution at `levels`, scaled so that the central 90 % is -1 to 1."""
    unit = -np.sign(levels - 0.5) * np.log1p(-2 * np.abs(levels - 0.5))
    scaled: Floats = unit / math.log(10.0)
    return scaled


def simple_weights(signal: str) -> Floats:
    """(E,) weights of a signal's simple experts for people nobody knows."""
    if SIGNALS[signal].kind is not Kind.WAVE:
        return np.ones(1)
    return np.array([_TRUSTED.get(name, 0.0) for name in PLANS[signal].bases])


def simple(signal: str, values: Floats, levels: Floats) -> tuple[tuple[str, ...], Floats]:
    """Names of the simple experts (E,) and their quantiles (E, N, Q) at the signal's nodes, from `values` (T,)."""
    row, plan = SIGNALS[signal], PLANS[signal]
    if row.kind is Kind.WAVE:
        names, (centres, half) = plan.bases, _wave(signal, values)
    else:
        nodes = node_steps(signal)
        names, centres = ("hold",), np.full((1, len(nodes)), last_value(values[None])[0])
        half = _drift(signal, values, nodes)
    half = np.maximum(half, row.resolution / 2)
    spread = centres[..., None] + half[:, None] * laplace(levels)
    return names, np.clip(spread, row.low, row.high)


def _wave(signal: str, values: Floats) -> tuple[Floats, Floats]:
    """Centres (E, N) of a wave's experts, and the 90 % half width (N,) that its own past shows.

    Step by step as far as the plan is dense; beyond it the mean, as far off as the wave itself swings.
    """
    nodes, plan = node_steps(signal), PLANS[signal]
    near = nodes[nodes <= plan.dense_steps]
    last = last_value(values[None])[0]
    path = (values - last)[None]
    centres = np.repeat(mean(path, nodes), len(plan.bases), axis=0)
    for e, name in enumerate(plan.bases):
        if name in BASES:
            centres[e, : len(near)] = BASES[name](path, near)[0]
    known = values[np.isfinite(values)]
    half = np.full(len(nodes), 1.645 * float(known.std()) if len(known) > 1 else SIGNALS[signal].tolerance.at(last))
    if len(known) >= _MIN_READINGS:
        half[: len(near)] = own_halfwidth(values, near)
    return centres + last, half


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
