"""How well gaps were filled: scores of single gaps, rows of the table, intervals by bootstrap, reliability, shares.

A gap's score is the mean over its scored moments. A person's is the mean over the gaps of each channel, then over
channels; a row's is the mean over people, so that everybody counts the same. Intervals resample people; where a row
knows one person only, stretches of time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from device.signals import SIGNALS
from twin_engine.calibrate import withheld
from twin_engine.lab.masks import KINDS
from twin_engine.messages import Floats
from twin_engine.model import LEVELS
from twin_engine.plans import Ints

SCORED_LEVELS: tuple[float, ...] = tuple(sorted({*LEVELS, 0.025, 0.975}))
OURS = "everbeat"
UNLEARNT = "everbeat-unlearnt"  # the same for a person of whom nothing was learnt yet: an ablation
MODES = ("causal", "retrospective")
COVERAGES = (50, 80, 90, 95)
MIN_GAPS = 100  # of a person, below which coverage is not measurable
BINS = 20
_DRAWS, _BLOCKS, _LEAST_BLOCK_S = 1000, 12, 20.0

Scores = dict[str, Floats]  # metric -> (B,) one a gap


@dataclass(frozen=True, slots=True)
class Where:
    """Which gaps were scored: B of one signal and length."""

    signal: str
    gap_s: float
    people: tuple[str, ...]
    person: Ints  # (B,) index into `people`
    channel: Ints  # (B,) a number for each channel of each person
    kind: Ints  # (B,) index into masks.KINDS
    seed: Ints  # (B,)
    start_s: Floats  # (B,)
    span_s: Floats  # (B,) length of the recording
    sd: Floats  # (B,) of the whole recording, signal's unit
    sd_before: Floats  # (B,) of what was before the gap


@dataclass
class Scored:
    """All methods on the same gaps: (mode, method) -> scores."""

    where: Where
    scores: dict[tuple[str, str], Scores] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One method on one signal and gap length. Errors and widths in the person's standard deviation; None: unknown."""

    signal: str
    gap_s: float
    drop: str
    mask: str
    folder: str  # "all", or the people of one folder, who share a device
    mode: str
    method: str
    mae: float
    mae_ci: tuple[float, float]
    ci_over: str  # "people" or "time"
    rmse: float
    crps: float
    crps_ci: tuple[float, float]
    cover50: float | None
    cover80: float | None
    cover90: float | None
    cover95: float | None
    width90: float | None
    people: int
    gaps: int
    mae_causal_z: float  # in the standard deviation of what was before each gap
    mae_unit: float  # in the signal's unit
    mae_by_seed: tuple[float, ...]
    withheld: float | None  # share of moments at which the twin showed nothing


def measure(
    signal: str, value: Floats, quantiles: Floats, truth: Floats, bounds: tuple[Floats, Floats] | None = None
) -> Scores:
    """Scores of B gaps filled with `value` (B, K) and `quantiles` (B, K, Q), signal's unit; NaN truth isn't scored."""
    blank = np.where(np.isfinite(truth), 0.0, np.nan)
    error = np.abs(value - truth)
    out = {"mae": error, "mse": error**2, "crps": crps(quantiles, truth)}
    for percent in COVERAGES:
        low, high = (_level(quantiles, 0.5 + side * percent / 200) for side in (-1, 1))
        if percent == 90:
            low, high = bounds or (low, high)
            out["width90"] = high - low + blank
        out[f"cover{percent}"] = ((truth >= low) & (truth <= high)) + blank
    return {name: _mean(values) for name, values in out.items()}


def crps(quantiles: Floats, truth: Floats) -> Floats:
    """CRPS (...,) of `truth` (...,) from `quantiles` (..., Q) at SCORED_LEVELS: twice the pinball loss over all levels.

    Each level stands for the levels nearest to it (Laio and Tamea 2007, eq. 8, by the midpoint rule).
    """
    levels = np.array(SCORED_LEVELS)
    edges = np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2, [1.0]])
    error = truth[..., None] - quantiles
    pinball = np.maximum(levels * error, (levels - 1) * error)
    out: Floats = 2 * (pinball * np.diff(edges)).sum(-1)
    return out


def rows_of(scored: Scored) -> Iterator[Row]:
    """Every row: each kind of mask, both drops, everybody together and each folder by itself."""
    folders = sorted({person.rpartition("/")[0] for person in scored.where.people})
    groups = {"all": np.ones(len(scored.where.people), bool)}
    for folder in folders:
        groups[folder] = np.array([person.rpartition("/")[0] == folder for person in scored.where.people])
    for (mode, method), scores in scored.scores.items():
        for k, mask in enumerate(KINDS):
            for folder, members in groups.items():
                rows = np.flatnonzero((scored.where.kind == k) & members[scored.where.person])
                rows = rows[np.isfinite(scores["mae"][rows])]
                if len(rows):
                    for drop in ("single", "all"):
                        yield _row(scored.where, scores, rows, (drop, mask, folder, mode, method))


def _row(where: Where, scores: Scores, rows: Ints, named: tuple[str, str, str, str, str]) -> Row:
    sd, before = where.sd[rows], where.sd_before[rows]
    z = {name: scores[name][rows] / sd for name in ("mae", "crps", "width90")}
    mae, z_crps = (by_person(where, rows, z[name]) for name in ("mae", "crps"))
    cover = {f"cover{p}": _known(by_person(where, rows, scores[f"cover{p}"][rows])) for p in COVERAGES}
    seeds = [rows[where.seed[rows] == seed] for seed in np.unique(where.seed[rows])]
    drop, mask, folder, mode, method = named
    return Row(
        where.signal, where.gap_s, drop, mask, folder, mode, method,
        mae=float(mae.mean()),
        mae_ci=interval(where, rows, z["mae"], mae),
        ci_over="people" if len(mae) > 1 else "time",
        rmse=float(np.sqrt(by_person(where, rows, scores["mse"][rows] / sd**2)).mean()),
        crps=float(z_crps.mean()),
        crps_ci=interval(where, rows, z["crps"], z_crps),
        **cover,
        width90=_known(by_person(where, rows, z["width90"])),
        people=len(mae),
        gaps=len(rows),
        mae_causal_z=float(by_person(where, rows, scores["mae"][rows] / before).mean()),
        mae_unit=float(by_person(where, rows, scores["mae"][rows]).mean()),
        mae_by_seed=tuple(float(by_person(where, s, scores["mae"][s] / where.sd[s]).mean()) for s in seeds),
        withheld=_known(by_person(where, rows, scores["withheld"][rows])) if "withheld" in scores else None,
    )  # fmt: skip


def by_person(where: Where, rows: Ints, values: Floats) -> Floats:
    """(people,) mean of `values` (len(rows),) over the gaps of each channel, then over each person's channels."""
    channels, at = np.unique(where.channel[rows], return_inverse=True)
    known = np.isfinite(values)
    count = np.bincount(at, known, len(channels))
    mean = np.bincount(at, np.where(known, values, 0.0), len(channels)) / np.where(count > 0, count, np.nan)
    owner = np.zeros(len(channels), np.int64)
    owner[at] = where.person[rows]
    people = np.unique(owner)
    return np.array([np.nanmean(mean[owner == p]) if np.isfinite(mean[owner == p]).any() else np.nan for p in people])


def interval(where: Where, rows: Ints, values: Floats, people: Floats) -> tuple[float, float]:
    """95 % interval of the mean: bootstrap over people, or over stretches of time where there is only one."""
    rng = np.random.default_rng(0)
    if len(people) > 1:
        drawn = np.nanmean(people[rng.integers(len(people), size=(_DRAWS, len(people)))], axis=1)
    else:
        drawn = _by_blocks(where, rows, values, rng)
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    return float(low), float(high)


def _by_blocks(where: Where, rows: Ints, values: Floats, rng: np.random.Generator) -> Floats:
    """(draws,) means of resampled stretches of time."""
    length = np.maximum(where.span_s[rows] / _BLOCKS, _LEAST_BLOCK_S)
    _, block = np.unique((where.start_s[rows] // length).astype(np.int64), return_inverse=True)
    known = np.isfinite(values)
    total, count = np.bincount(block, np.where(known, values, 0.0)), np.bincount(block, known)
    picked = rng.integers(len(total), size=(_DRAWS, len(total)))
    return np.asarray(total[picked].sum(1) / np.maximum(count[picked].sum(1), 1e-9))


@dataclass(frozen=True, slots=True)
class PersonCoverage:
    """How often the 90 % interval held the truth for one person: random gaps of every length and seed."""

    signal: str
    person: str
    mode: str
    cover90: float
    interval: tuple[float, float]  # 95 %, block bootstrap over time
    gaps: int
    measurable: bool
    holds: bool  # the interval contains 0.90


def coverage_of(scored: Sequence[Scored], mode: str) -> list[PersonCoverage]:
    """Of every person in the scored gaps of one signal, for what the twin showed."""
    out = []
    for person in sorted({p for s in scored for p in s.where.people}):
        parts = []
        for s in scored:
            mine = [i for i, p in enumerate(s.where.people) if p == person]
            rows = np.flatnonzero(np.isin(s.where.person, mine) & (s.where.kind == 0))
            if (mode, OURS) in s.scores:
                parts.append((s.where.start_s[rows], s.where.span_s[rows], s.scores[mode, OURS]["cover90"][rows]))
        start_s, span_s, inside = (np.concatenate(p) for p in zip(*parts, strict=True)) if parts else [np.empty(0)] * 3
        known = np.isfinite(inside)
        if known.any():
            out.append(_coverage(scored[0].where.signal, person, mode, start_s[known], span_s[known], inside[known]))
    return out


def _coverage(
    signal: str, person: str, mode: str, start_s: Floats, span_s: Floats, inside: Floats
) -> PersonCoverage:  # fmt: skip
    zeros = np.zeros(len(inside), np.int64)
    where = Where(signal, 0.0, (person,), zeros, zeros, zeros, zeros, start_s, span_s, inside, inside)
    drawn = _by_blocks(where, np.arange(len(inside)), inside, np.random.default_rng(0))
    low, high = (float(q) for q in np.quantile(drawn, (0.025, 0.975)))
    enough = len(inside) >= MIN_GAPS
    return PersonCoverage(
        signal, person, mode, float(inside.mean()), (low, high), len(inside), enough, low <= 0.90 <= high
    )


# ------------------------------------------------------------------------------------------------- reliability


def tally(signal: str, value: Floats, confidence: Floats, truth: Floats) -> Floats:
    """(BINS, 3) number, summed confidence and hits of shown values, by confidence; all arguments of one shape."""
    row = SIGNALS[signal]
    seen = np.isfinite(truth) & ~withheld(confidence)
    allowed = np.maximum(row.tolerance.absolute, row.tolerance.relative * np.abs(truth[seen]))
    slack = 1e-9 * np.abs(truth[seen])  # a tolerance of 0.3 met exactly is met
    hit = np.abs(value[seen] - truth[seen]) <= allowed + slack
    sure = confidence[seen]
    at = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    return np.stack([np.bincount(at, w, BINS) for w in (np.ones(len(sure)), sure, hit)], axis=1)


def reliability(tallied: Floats) -> dict[str, object]:
    """The table of confidence against hit rate, and the expected calibration error, of a (BINS, 3) tally."""
    number, sure, hits = tallied.T
    bins = [
        {
            "low": i / BINS,
            "high": (i + 1) / BINS,
            "n": int(number[i]),
            "confidence": float(sure[i] / number[i]),
            "hit_rate": float(hits[i] / number[i]),
        }
        for i in range(BINS)
        if number[i]
    ]
    return {"bins": bins, "ece": ece(tallied), "n": int(number.sum())}


def ece(tallied: Floats) -> float:
    """Expected calibration error: mean distance of confidence and hit rate, weighted by how often it was shown."""
    number, sure, hits = tallied.T
    return float(np.abs(sure - hits).sum() / max(number.sum(), 1.0))


# ------------------------------------------------------------------------------------------------- the ratios


@dataclass(frozen=True, slots=True)
class Ratio:
    """A row of ours over the best rival of the same gaps, with the interval of the ratio by bootstrap over people."""

    signal: str
    gap_s: float
    mask: str
    mode: str
    metric: str
    rival: str
    ratio: float
    interval: tuple[float, float]


def ratios(scored: Scored, rivals: Sequence[str] | None = None, apart: Sequence[str] = ()) -> Iterator[Ratio]:
    """Ours against the best of `rivals` (all but `apart` where None), each kind of mask, mode and metric."""
    for mode in MODES:
        own = scored.scores.get((mode, OURS))
        names = [m for at, m in scored.scores if at == mode and m != OURS and m not in apart]
        names = names if rivals is None else [name for name in names if name in rivals]
        if own is None or not names:
            continue
        for k, mask in enumerate(KINDS):
            rows = np.flatnonzero((scored.where.kind == k) & np.isfinite(own["mae"]))
            for metric in ("mae", "crps") if len(rows) else ():
                yield _ratio(scored, rows, mode, mask, metric, names)


def _ratio(scored: Scored, rows: Ints, mode: str, mask: str, metric: str, names: Sequence[str]) -> Ratio:
    where = scored.where
    mine, theirs = (
        {name: by_person(where, rows, scored.scores[mode, name][metric][rows] / where.sd[rows]) for name in group}
        for group in ((OURS,), names)
    )
    best = min(theirs, key=lambda name: float(np.nanmean(theirs[name])))
    own, other = mine[OURS], theirs[best]
    picked = np.random.default_rng(0).integers(len(own), size=(_DRAWS, len(own)))
    drawn = own[picked].mean(1) / np.maximum(other[picked].mean(1), 1e-12)
    low, high = np.quantile(drawn, (0.025, 0.975))
    ratio = float(own.mean() / max(float(other.mean()), 1e-12))
    return Ratio(where.signal, where.gap_s, mask, mode, metric, best, ratio, (float(low), float(high)))


# ------------------------------------------------------------------------------------------------- small parts


def _level(quantiles: Floats, level: float) -> Floats:
    return np.asarray(quantiles[..., int(np.argmin(np.abs(np.array(SCORED_LEVELS) - level)))])


def _mean(values: Floats) -> Floats:
    """(B,) mean over known moments; NaN where there is none."""
    known = np.isfinite(values)
    return np.asarray(np.where(known, values, 0.0).sum(1) / np.where(known.any(1), known.sum(1), np.nan))


def _known(people: Floats) -> float | None:
    return float(np.nanmean(people)) if np.isfinite(people).any() else None


def shares(weights: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """signal -> method -> mean weight, from summed weights."""
    return {
        signal: {name: weight / sum(by.values()) for name, weight in by.items()}
        for signal, by in weights.items()
        if sum(by.values()) > 0
    }
