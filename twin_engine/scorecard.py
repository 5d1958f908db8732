"""What an evaluation says: scores of a forecast, rows of a table, the table as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from device.signals import SIGNALS
from twin_engine.baselines import NAMES
from twin_engine.messages import Floats
from twin_engine.model import LEVELS, METHOD

_LOW, _MID, _HIGH = (LEVELS.index(level) for level in (0.05, 0.5, 0.95))


@dataclass(frozen=True, slots=True)
class Row:
    """One method on one signal, folder and gap length. `*_z`: divided by the person's standard deviation."""

    signal: str
    folder: str
    gap_s: float
    method: str
    people: int
    windows: int
    mae: float
    mae_z: float
    crps: float
    crps_z: float
    coverage: float  # of the raw central 90 % interval
    coverage_worst: float
    coverage_best: float
    within_tolerance: float  # share of centres within the signal's tolerance of the truth
    mae_z_by_person: dict[str, float]
    crps_z_by_person: dict[str, float]


def write_json(rows: Sequence[Row], path: Path, **about: Any) -> None:
    """The rows, one a line, and whatever else `about` says of the evaluation, as JSON in `path`."""
    head = "".join(f"{json.dumps(name)}: {json.dumps(value)},\n" for name, value in about.items())
    lines = ",\n".join(json.dumps(_rounded(asdict(row))) for row in rows)
    path.write_text(f'{{\n{head}"rows": [\n{lines}\n]\n}}\n')


def _rounded(value: Any) -> Any:
    """Floats at five significant digits, in nested dictionaries too."""
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    return float(f"{value:.5g}") if isinstance(value, float) else value


def table(rows: Sequence[Row]) -> str:
    """The rows as text: a block a signal and folder, a line a gap length, MAE and CRPS (person's SD) a method."""
    lines = []
    for signal, folder in dict.fromkeys((row.signal, row.folder) for row in rows):
        block = [row for row in rows if (row.signal, row.folder) == (signal, folder)]
        lines.append(f"{signal} on {folder}: {block[0].people} people, {block[0].windows} gaps; MAE / CRPS in SD")
        heads = "".join(f"{name:>18}" for name in (METHOD, *NAMES))
        lines.append(f"  gap  {heads}  coverage [worst..best]  CRPS saved against the best cheap one [95 %]")
        for gap_s in dict.fromkeys(row.gap_s for row in block):
            line = {row.method: row for row in block if row.gap_s == gap_s}
            own = line[METHOD]
            cells = "".join(f"{f'{line[n].mae_z:.4f} / {line[n].crps_z:.4f}':>18}" for n in (METHOD, *NAMES))
            cover = f"{own.coverage:.2f} [{own.coverage_worst:.2f}..{own.coverage_best:.2f}]"
            best = min((line[name] for name in NAMES), key=lambda row: row.crps_z)
            gain, low, high = saved(own, best)
            lines.append(f"{gap_s:4.0f} s {cells}  {cover}  {gain:+.0%} [{low:+.0%}..{high:+.0%}] of {best.method}")
    return "\n".join(lines)


def saved(own: Row, other: Row, draws: int = 2000) -> tuple[float, float, float]:
    """Share of the other's CRPS that `own` saves, and its 95 % interval by bootstrap over people."""
    people = sorted(own.crps_z_by_person)
    mine, theirs = (np.array([row.crps_z_by_person[person] for person in people]) for row in (own, other))
    picked = np.random.default_rng(0).integers(len(people), size=(draws, len(people)))
    gains = 1 - mine[picked].mean(1) / theirs[picked].mean(1)
    low, high = np.quantile(gains, (0.025, 0.975))
    return float(1 - mine.mean() / theirs.mean()), float(low), float(high)


def crps(quantiles: Floats, truth: Floats) -> Floats:
    """CRPS (...,) of `truth` (...,) from `quantiles` (..., len(LEVELS)): twice the pinball loss over all levels.

    Each level stands for the levels nearest to it (Laio and Tamea 2007, eq. 8, by the midpoint rule).
    """
    levels = np.array(LEVELS)
    edges = np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2, [1.0]])
    error = truth[..., None] - quantiles
    pinball = np.maximum(levels * error, (levels - 1) * error)
    out: Floats = 2 * (pinball * np.diff(edges)).sum(-1)
    return out


def scores(signal: str, quantiles: Floats, truth: Floats) -> dict[str, Floats]:
    row, blank = SIGNALS[signal], np.where(np.isfinite(truth), 0.0, np.nan)
    error = np.abs(quantiles[..., _MID] - truth)
    inside = (truth >= quantiles[..., _LOW]) & (truth <= quantiles[..., _HIGH])
    tolerance = np.maximum(row.tolerance.absolute, row.tolerance.relative * np.abs(truth))
    return {
        "error": error,
        "crps": crps(quantiles, truth),
        "inside": inside + blank,
        "near": (error <= tolerance) + blank,
    }
