"""The rivals: every cheap way to fill a gap, causal (nothing after it is seen) and retrospective (both sides are).

Each is a function of gaps (``windows.Gaps``) and, where it learns, of a library of other people's gaps; it gives
centres (B, K), normalised. Nobody's gaps are filled with the help of the same person's. Their spread, for CRPS and
coverage, is :func:`dressed`: how far off the method was for the other people, at the same place in the gap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from device.signals import SIGNALS, Kind
from twin_engine.baselines import METHODS, autoregress, kalman, running_mean
from twin_engine.lab.windows import Gaps
from twin_engine.messages import Floats
from twin_engine.plans import PLANS, Ints
from twin_engine.wave import BASES

NEIGHBOURS = 20
_SLOPE_READINGS = 16  # a straight line is laid through so many
_REACH = 1.5  # a straight line goes no further than this multiple of what the context has shown
_CLIP = 15.0  # scales
_PENALTIES = (0.003, 0.03, 0.3)  # of ridge, chosen by people left out
_PLACES = 12  # stretches of a gap for which errors are pooled
_POOL = 20_000
_CHUNK = 1000
_THIN = 5  # every fifth gap of others is enough to mix two filters

Filler = Callable[[Gaps], Floats]


def _on_path(method: Callable[[Floats, Ints], Floats]) -> Filler:
    """A forecast of paths as one of gaps."""
    return lambda gaps: method(gaps.path, gaps.steps)


def causal(gaps: Gaps, others: Gaps | None) -> dict[str, Floats]:
    """(B, K) of every causal rival; those that learn are absent where there is nobody to learn from."""
    out = {name: _in_chunks(gaps, _on_path(method)) for name, method in METHODS.items()}
    out["linear"] = _extrapolated(gaps)
    out["seasonal"] = _season(gaps.path, gaps.steps)
    for name, method in _own(gaps.signal).items():
        out[name] = _in_chunks(gaps, _on_path(method))
    if others is not None:
        out["ridge"] = regress(gaps, others, Gaps.before_bins, lambda g: np.zeros(g.truth.shape))
        out["analog"] = analog(gaps, others, Gaps.before_bins)
    return out


def retrospective(gaps: Gaps, others: Gaps | None) -> dict[str, Floats]:
    """(B, K) of every retrospective rival."""
    line = straight(gaps)
    few = None if others is None else others.take(np.arange(0, len(others), _THIN))
    out = {
        "linear": line,
        "locf": np.zeros_like(line),
        "mean": np.repeat(_both_means(gaps)[:, None], len(gaps.steps), axis=1),
    }
    for name, method in {"kalman": kalman, "ar": autoregress, "seasonal": _season, **_own(gaps.signal)}.items():
        ahead, behind = two_ways(gaps, method)
        share = 0.5 if few is None else mixing(few, *two_ways(few, method))
        out[name] = share * ahead + (1 - share) * behind
    if others is not None:
        out["ridge"] = regress(gaps, others, _both_sides, straight)
        out["analog"] = analog(gaps, others, _both_sides, straight)
    return out


# ---------------------------------------------------------------------------------------------- single methods


def _own(signal: str) -> dict[str, Callable[[Floats, Ints], Floats]]:
    """A wave's forecasts from its own last seconds, which the twin mixes too."""
    if SIGNALS[signal].kind is not Kind.WAVE:
        return {}
    return {own_name(name): method for name, method in BASES.items()}


def own_name(base: str) -> str:
    """A wave's own way under a name of its own: "analog" looks at other people, "seasonal" is the plain one."""
    return base if base.startswith("wave-") else f"{base}-own"


def straight(gaps: Gaps) -> Floats:
    """The straight line from the last reading to the first one after the gap."""
    return np.asarray(gaps.next_value[:, None] * gaps.steps / gaps.next_step[:, None])


def two_ways(gaps: Gaps, method: Callable[[Floats, Ints], Floats]) -> tuple[Floats, Floats]:
    """(B, K) each: a forecast from the past, and one backwards from what came after."""
    ahead = _in_chunks(gaps, lambda g: method(g.path, g.steps))
    nodes = (gaps.length + 1 - gaps.steps)[::-1]
    behind = _in_chunks(gaps, lambda g: method((g.after - g.next_value[:, None])[:, ::-1], nodes)[:, ::-1])
    return ahead, behind + gaps.next_value[:, None]


def mixing(gaps: Gaps, ahead: Floats, behind: Floats) -> Floats:
    """(K,) 0 to 1: the share of the forward filter that served these people best (Fraser and Potter 1969)."""
    known = np.isfinite(gaps.truth)
    apart = np.where(known, np.clip(ahead - behind, -_CLIP, _CLIP), 0.0)
    wanted = np.where(known, np.clip(gaps.truth - behind, -_CLIP, _CLIP), 0.0)
    return np.asarray(np.clip((apart * wanted).sum(0) / np.maximum((apart**2).sum(0), 1e-9), 0.0, 1.0))


def regress(gaps: Gaps, others: Gaps, look: Filler, start: Filler) -> Floats:
    """Ridge on `look` (B, F), as a correction of `start` (B, K), for each person fitted on everybody else."""
    x, y = _standing(look(others)), _targets(others, start)
    query, out = _standing(look(gaps)), start(gaps)
    gram, cross = x.T @ x, x.T @ y
    for person in np.unique(gaps.person):
        own, mine = others.person == person, gaps.person == person
        if own.all():
            continue
        rest = ~own
        penalty = _best_penalty(x[rest], y[rest], others.person[rest]) * rest.sum()
        weights = _solved(gram - x[own].T @ x[own], cross - x[own].T @ y[own], penalty)
        out[mine] += query[mine] @ weights
    return out


def analog(gaps: Gaps, others: Gaps, look: Filler, start: Filler | None = None) -> Floats:
    """The mean course of the 20 nearest situations of other people (Lorenz 1969)."""
    recent = np.geomspace(0.2, 1.0, look(others.take(np.arange(1))).shape[1])
    base = start(gaps) if start else np.zeros(gaps.truth.shape)
    library, courses = look(others) * recent, _targets(others, start or (lambda g: np.zeros(g.truth.shape)))
    query = look(gaps) * recent
    for at in range(0, len(gaps), _CHUNK):
        rows = slice(at, at + _CHUNK)
        distance = (library**2).sum(1) - 2 * query[rows] @ library.T
        distance[gaps.person[rows, None] == others.person] = np.inf
        count = min(NEIGHBOURS, distance.shape[1] - 1)
        nearest = np.argpartition(distance, count, axis=1)[:, :count]
        usable = np.isfinite(np.take_along_axis(distance, nearest, 1)).astype(float)
        mean = np.einsum("bn,bnk->bk", usable, courses[nearest]) / np.maximum(usable.sum(1), 1)[:, None]
        base[rows] += mean
    return base


def _extrapolated(gaps: Gaps) -> Floats:
    """The straight line through the newest readings, carried on to 1.5 times what the context has shown."""
    t = np.arange(1 - gaps.path.shape[1], 1, dtype=float)
    known = np.isfinite(gaps.path)
    newest = known & (known[:, ::-1].cumsum(1)[:, ::-1] <= _SLOPE_READINGS)
    slope = (np.where(newest, gaps.path, 0.0) * t).sum(1) / np.maximum((newest * t**2).sum(1), 1e-9)
    reach = _REACH * np.abs(np.nan_to_num(gaps.path)).max(1)[:, None]
    return np.asarray(np.clip(slope[:, None] * gaps.steps, -reach, reach))


def _season(path: Floats, steps: Ints) -> Floats:
    """(B, K) the last cycle again and again; the cycle is where the past resembles itself most."""
    filled = _filled(path)
    cycle = _cycle(filled)[:, None]
    back = cycle - 1 - (steps[None] - 1) % cycle
    return np.asarray(np.take_along_axis(filled, path.shape[1] - 1 - back, axis=1))


def _cycle(filled: Floats) -> Ints:
    """(B,) lag of the highest autocorrelation after it first fell below 0; half of the path where it never does."""
    x = filled - filled.mean(1, keepdims=True)
    spectrum = np.abs(np.fft.rfft(x, 2 * x.shape[1], axis=1)) ** 2
    likeness = np.fft.irfft(spectrum, axis=1)[:, : x.shape[1] // 2]
    below = np.maximum.accumulate(likeness < 0, axis=1)
    lag = np.where(below, likeness, -np.inf).argmax(1)
    found: Ints = np.where(below.any(1), np.maximum(lag, 1), x.shape[1] // 2)
    return found


# ------------------------------------------------------------------------------------------------- the spread


@dataclass(frozen=True, slots=True)
class Spread:
    """Quantiles (people, _PLACES, Q) of the other people's errors, in scales, for each person."""

    quantiles: Floats
    at: Ints  # (K,) which place each scored step belongs to


def dressed(gaps: Gaps, centre: Floats, levels: tuple[float, ...], people: int) -> Floats:
    """(B, K, Q) quantiles in the signal's unit around `centre` (B, K), by the errors made for other people.

    Where a person is alone, the errors are her own at her other gaps: the rival is then judged too kindly.
    """
    unit = np.ones_like(gaps.scale) if PLANS[gaps.signal].log_offset is None else gaps.scale
    errors = (gaps.truth - centre) * unit[:, None]
    spread = _spread(gaps, errors, levels, people)
    middle = levels.index(0.5)
    around = spread.quantiles[:, spread.at] - spread.quantiles[:, spread.at, middle, None]  # keeps its own centre
    normal = centre[..., None] + around[gaps.person] / unit[:, None, None]
    return gaps.unit(normal)


def _spread(gaps: Gaps, errors: Floats, levels: tuple[float, ...], people: int) -> Spread:
    relative = np.log(gaps.steps) / max(np.log(gaps.steps[-1]), 1e-9)
    at = np.minimum((relative * _PLACES).astype(np.int64), _PLACES - 1)
    _, at = np.unique(at, return_inverse=True)
    found = np.zeros((people, at.max() + 1, len(levels)))
    for person in np.unique(gaps.person):
        others = gaps.person != person
        rows = errors[others] if others.any() else errors
        for place in range(at.max() + 1):
            pool = rows[:, at == place].ravel()
            pool = pool[np.isfinite(pool)]
            if len(pool):
                found[person, place] = np.quantile(pool[:: 1 + len(pool) // _POOL], levels)
    return Spread(found, at)


# ------------------------------------------------------------------------------------------------- small parts


def _both_means(gaps: Gaps) -> Floats:
    """(B,) mean of what is known on both sides."""
    return np.asarray((running_mean(gaps.path) + running_mean(gaps.after)) / 2)


def _both_sides(gaps: Gaps) -> Floats:
    """(B, F) bins of both sides and the jump between them, oldest and farthest first, the jump last."""
    return np.concatenate([gaps.after_bins(), gaps.before_bins(), np.clip(gaps.next_value, -_CLIP, _CLIP)[:, None]], 1)


def _targets(gaps: Gaps, start: Filler) -> Floats:
    """(B, K) truth beyond `start`; where there was no reading, as between its neighbours."""
    wanted = np.clip(gaps.truth - start(gaps), -_CLIP, _CLIP)
    return _filled(wanted)


def _filled(path: Floats) -> Floats:
    """Missing readings held from the one before; before the first, the first; 0 where there is none."""
    known = np.isfinite(path)
    index = np.maximum.accumulate(np.where(known, np.arange(path.shape[1]), 0), axis=1)
    index = np.maximum(index, known.argmax(1)[:, None])
    return np.nan_to_num(np.take_along_axis(path, index, axis=1))


def _standing(features: Floats) -> Floats:
    """Features with a column of ones."""
    return np.concatenate([features, np.ones((len(features), 1))], axis=1)


def _solved(gram: Floats, cross: Floats, penalty: float) -> Floats:
    weight = np.full(len(gram), penalty)
    weight[-1] = 1e-6 * penalty  # the mean is free
    return np.asarray(np.linalg.solve(gram + np.diag(weight + 1e-9), cross))


def _best_penalty(x: Floats, y: Floats, person: Ints) -> float:
    """The penalty that served one half of the people best when fitted on the other."""
    half = person % 2 == 0
    if half.all() or not half.any():
        return _PENALTIES[1]
    gram, cross, count = x[half].T @ x[half], x[half].T @ y[half], int(half.sum())
    errors = [np.abs(x[~half] @ _solved(gram, cross, p * count) - y[~half]).mean() for p in _PENALTIES]
    return _PENALTIES[int(np.argmin(errors))]


def _in_chunks(gaps: Gaps, method: Filler) -> Floats:
    """A method on a thousand gaps at a time."""
    parts = [np.arange(at, min(at + _CHUNK, len(gaps))) for at in range(0, len(gaps), _CHUNK)]
    return np.concatenate([method(gaps.take(rows)) for rows in parts])
