"""Sample paths through a gap: what the sensor might have shown, step by step, rather than how sure one is at each age.

A path is pieced together from stretches of the patient's own past (nearest-neighbour resampling, Lall and Sharma
1996, "A nearest neighbor bootstrap for resampling hydrologic time series"): each stretch begins where the past looked
as the path does now, and is moved to join on. So paths look like this patient on this sensor. Then their spread at
each age is brought to the calibrated forecast, and they are rounded to the sensor's step. Nothing of other people
is used, nothing is kept.

In order: :func:`_resample` pieces an ensemble together; :func:`_calibrate_level` moves its ranks to the forecast's
quantiles at a few ages (the Schaake shuffle, Clark et al. 2004, keeps ranks in the same way), by smooth curves between
them, so that the fine structure stays the sensor's own; :func:`_calibrate_wave` moves and widens a wave slowly,
because moving its ranks step by step would bend the beats. A wave's spread is therefore its own past's, widened where
the forecast is less sure, never narrowed.
"""

from __future__ import annotations

import numpy as np

from device.signals import SIGNALS, Kind
from twin_engine.calibrate import requantise
from twin_engine.messages import Floats
from twin_engine.model import LEVELS
from twin_engine.plans import PLANS, Ints
from twin_engine.wave import fill

ENSEMBLE = 96  # paths pieced together, of which the first `count` are returned
_NEIGHBOURS = 64  # alike moments from which the next stretch is drawn, the nearer the likelier
_LAGS = (0, 1, 2, 4, 8, 16, 32)  # steps before a moment that must look alike
_WAVE_LAGS = (0, 1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48)
_LEVEL_WEIGHT, _ACTIVITY_WEIGHT = 1.0, 2.0
_STRETCH = (0.2, 0.4)  # shortest and longest stretch, as a share of the past
_KEEP = 0.95  # share of a difference in level that is left after each step of a wave
_BEND = 0.8  # share of a difference in slope that is left after each step of a smooth signal
_LEAST_READINGS = 24  # fewer than these, and a path is the forecast's own quantile
# First age in steps, and factor between ages, at which ranks are calibrated. Before it the past simply goes on. An
# envelope's bursts are its own; calibrated often, they would become a slow wander between ranks.
_CALIBRATED = {Kind.LEVEL: (4, 2.0), Kind.ENVELOPE: (16, 8.0)}
_SMOOTH_S = 1.0  # a wave's spread is compared over this time
_MOST_WIDENING = 1.5
_MARGIN = 1e-9


def sample_paths(
    signal: str, context: Floats, ages_s: Floats, quantiles: Floats, count: int, seed: int, step: float
) -> Floats:
    """(count, S) equally likely paths at every grid step after the last reading up to the last of `ages_s`.

    `context` (T,) is the channel's past on the signal's grid, newest last, NaN where missing; `quantiles` (N, Q) is
    the calibrated forecast at `ages_s` (N,) for model.LEVELS, all in the signal's unit, like the paths. They are
    multiples of `step`, the sensor's own. The same `seed` gives the same paths. Where the context holds hardly a
    reading, each path follows one level of the forecast. Raises KeyError for a signal that is not in the table.
    """
    plan, rng = PLANS[signal], np.random.default_rng(seed)
    steps = np.maximum(1, np.round(ages_s / plan.grid_s).astype(np.int64))
    nodes, first = np.unique(steps, return_index=True)
    target = plan.forward(quantiles[first])  # (N, Q) model space
    ensemble = max(ENSEMBLE, count)
    past = plan.forward(context[np.isfinite(context).argmax() :])
    wave = SIGNALS[signal].kind is Kind.WAVE
    if np.isfinite(past).sum() < _LEAST_READINGS:
        paths = _by_level(target, nodes, rng.random(ensemble))
    else:
        paths = _resample(
            fill(past[None])[0][0], int(nodes[-1]), ensemble, _WAVE_LAGS if wave else _LAGS, _KEEP if wave else 1.0, rng
        )
        if wave:
            paths = _calibrate_wave(paths, target, nodes, max(1, round(_SMOOTH_S / plan.grid_s)))
        else:
            paths = _calibrate_level(paths, target, nodes, _CALIBRATED[SIGNALS[signal].kind], rng.random(ensemble))
    return _as_sensor(signal, plan.inverse(paths[:count]), context, step)


def _resample(
    past: Floats, steps: int, count: int, lags: tuple[int, ...], keep: float, rng: np.random.Generator
) -> Floats:
    """(count, steps) continuations of `past` (T,): stretches of it, each from a moment like the path's present one."""
    lags = tuple(lag for lag in lags if 2 * lag < len(past))
    reach = lags[-1]
    known = np.concatenate([np.broadcast_to(past, (count, len(past)))[:, -reach - 1 :], np.empty((count, steps))], 1)
    moments = np.arange(reach, len(past) - 1)  # (J,) after which a stretch may begin
    alike = _looks(past[moments[:, None] + np.arange(-reach, 1)], lags)
    smooth = _smoothness(past)
    done = 0
    while done < steps:
        length = min(steps - done, max(2, int(len(past) * rng.uniform(*_STRETCH))))
        usable = len(past) - 1 - length - reach + 1
        newest = known[:, done : done + reach + 1]
        start = moments[_draw(_looks(newest, lags), alike[:usable], rng)]
        stretch = past[start[:, None] + np.arange(1, length + 1)]
        offset = (newest[:, -1] - past[start])[:, None] * keep ** np.arange(1, length + 1)
        bend = (newest[:, -1] - newest[:, -2]) - (past[start] - past[start - 1])
        settled = np.cumsum(_BEND ** np.arange(1, length + 1)) * smooth
        known[:, reach + 1 + done : reach + 1 + done + length] = stretch + offset + bend[:, None] * settled
        done += length
    return known[:, reach + 1 :]


def _looks(windows: Floats, lags: tuple[int, ...]) -> Floats:
    """(M, F) what moments look like that `windows` (M, W) end at: level, shape relative to it, log activity."""
    shape = windows[:, -1:] - windows[:, [-1 - lag for lag in lags[1:]]]
    active = np.log(np.abs(np.diff(windows, axis=1)).mean(1, keepdims=True) + _MARGIN)
    return np.concatenate([windows[:, -1:], shape, active], axis=1)


def _smoothness(past: Floats) -> float:
    """0 to 1: how far successive moves of `past` (T,) go the same way; 0 for noise, 1 for a line without a kink."""
    moves = np.diff(past)
    energy = float((moves[1:] ** 2 + moves[:-1] ** 2).sum()) / 2
    return max(0.0, float((moves[1:] * moves[:-1]).sum()) / energy) if energy > 0 else 0.0


def _draw(present: Floats, looks: Floats, rng: np.random.Generator) -> Ints:
    """(count,) for each of `present` (count, F) one of the moments with `looks` (J, F): of the nearest, by 1 / rank.

    Distances are in units of each feature's own spread in the past; the whole shape weighs as much as the level.
    """
    weights = np.full(looks.shape[1], 1 / np.sqrt(max(1, looks.shape[1] - 2)))
    weights[0], weights[-1] = _LEVEL_WEIGHT, _ACTIVITY_WEIGHT
    scale = weights / (looks.std(0) + _MARGIN)
    features, now = looks * scale, present * scale
    apart = (features**2).sum(1) - 2 * now @ features.T  # (count, J), up to a constant of the row
    nearest = np.argsort(apart, axis=1)[:, :_NEIGHBOURS]
    odds = np.cumsum(1.0 / np.arange(1, nearest.shape[1] + 1))
    picked = np.searchsorted(odds, rng.random(len(now)) * odds[-1])
    drawn: Ints = nearest[np.arange(len(now)), picked]
    return drawn


def _calibrate_level(
    paths: Floats, target: Floats, nodes: Ints, first_and_ratio: tuple[int, float], tie: Floats
) -> Floats:
    """`paths` (K, S) whose ranks at some ages (see _CALIBRATED) have the quantiles `target` (N, Q) of `nodes` (N,).

    Between those ages the correction is a smooth curve. `tie` (K,) decides between equal values, at all ages alike.
    """
    first, ratio = first_and_ratio
    chosen = [len(nodes) - 1]
    for i in range(len(nodes) - 2, -1, -1):
        if first <= nodes[i] <= nodes[chosen[-1]] / ratio:
            chosen.append(i)
    ages, corrections = [0.0], [np.zeros(len(paths))]
    for i in chosen[::-1]:
        values = paths[:, nodes[i] - 1]
        rank = np.empty(len(paths))
        rank[np.lexsort((tie, values))] = (np.arange(len(paths)) + 0.5) / len(paths)
        ages.append(float(nodes[i]))
        corrections.append(_quantile(target[i], rank) - values)
    return paths + _curve(np.array(ages), np.stack(corrections, axis=-1), paths.shape[1])


def _curve(ages: Floats, values: Floats, steps: int) -> Floats:
    """(K, steps) curves at 1, 2, … through `values` (K, N) at `ages` (N,): cubic, with slopes from both neighbours.

    Hermite's cubics with the slopes of parabolas through three neighbours, flat at the end (de Boor 1978, chapter IV).
    """
    width = np.diff(ages)
    rise = np.diff(values, axis=1) / width  # (K, N-1)
    slope = np.zeros_like(values)
    slope[:, 1:-1] = (rise[:, :-1] * width[1:] + rise[:, 1:] * width[:-1]) / (width[1:] + width[:-1])
    grid = np.arange(1.0, steps + 1)
    at = np.clip(np.searchsorted(ages, grid, "left") - 1, 0, len(width) - 1)
    h = width[at]
    u = (grid - ages[at]) / h
    ends = values[:, at] * (1 + 2 * u) * (1 - u) ** 2 + values[:, at + 1] * u**2 * (3 - 2 * u)
    return ends + h * (slope[:, at] * u * (1 - u) ** 2 - slope[:, at + 1] * u**2 * (1 - u))


def _calibrate_wave(paths: Floats, target: Floats, nodes: Ints, window: int) -> Floats:
    """`paths` (K, S) with the forecast's level and at least its spread over any `window` steps.

    Only what is slower than the window is moved, and the spread is at most widened by _MOST_WIDENING: the beats stay
    those of the past.
    """
    grid = np.arange(1.0, paths.shape[1] + 1)
    centre, low, high = (np.interp(grid, nodes, target[:, LEVELS.index(level)]) for level in (0.5, 0.05, 0.95))
    middle = np.mean(paths, axis=0)
    own_low, own_high = np.quantile(paths, (0.05, 0.95), axis=0)
    wanted, own = _smooth(high - low, window), _smooth(own_high - own_low, window)
    ratio = np.clip(wanted / np.maximum(own, _MARGIN), 1.0, _MOST_WIDENING)
    moved: Floats = middle + _smooth(centre - middle, window) + (paths - middle) * ratio
    return moved


def _smooth(x: Floats, window: int) -> Floats:
    """(S,) triangular moving average of `x` (S,) over `window` steps either side, of fewer at the ends."""
    kernel = np.convolve(np.ones(window), np.ones(window))
    inside = np.convolve(np.ones(len(x)), kernel)
    out: Floats = (np.convolve(x, kernel) / inside)[window - 1 : window - 1 + len(x)]
    return out


def _quantile(target: Floats, rank: Floats) -> Floats:
    """(K,) the distribution with quantiles `target` (Q,) at LEVELS, at ranks (K,) in (0, 1); straight tails."""
    levels = np.array(LEVELS)
    value = np.interp(rank, levels, target)
    below = np.minimum(rank - levels[0], 0.0) * (target[1] - target[0]) / (levels[1] - levels[0])
    above = np.maximum(rank - levels[-1], 0.0) * (target[-1] - target[-2]) / (levels[-1] - levels[-2])
    out: Floats = value + below + above
    return out


def _by_level(target: Floats, nodes: Ints, rank: Floats) -> Floats:
    """(K, S) one level of the forecast a path."""
    values = np.stack([_quantile(row, rank) for row in target], axis=-1)  # (K, N)
    grid = np.arange(1.0, nodes[-1] + 1)
    return np.stack([np.interp(grid, nodes, row) for row in values])


def _as_sensor(signal: str, paths: Floats, context: Floats, step: float) -> Floats:
    """`paths` on the sensor's own grain and in multiples of `step`, inside the signal's plausible range."""
    row = SIGNALS[signal]
    grain, known = _grain(context), context[np.isfinite(context)]
    if grain > step:
        paths = known[-1] + np.round((paths - known[-1]) / grain) * grain
    return np.clip(requantise(paths, step), row.low, row.high)


def _grain(context: Floats) -> float:
    """The step of a converter whose counts are not round numbers of the unit, seen in `context` (T,); 0 where none is.

    It is taken for one if nearly all moves between readings are multiples of the least moves.
    """
    moves = np.abs(np.diff(context[np.isfinite(context)]))
    moves = moves[moves > _MARGIN]
    if len(moves) < _LEAST_READINGS:
        return 0.0
    least = np.quantile(moves, 0.1)
    grain = float(np.median(moves[moves < 1.5 * least]))
    part = moves[moves < 20 * grain] / grain
    return grain if np.mean(np.abs(part - np.round(part)) < 0.1) > 0.9 else 0.0
