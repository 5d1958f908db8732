"""What the rivals are trained on: windows of training people, and blocks hidden in them as the evaluation hides them.

Half of the blocks are at the window's end (causal), half before its last cells (retrospective); lengths are spread
evenly over their logarithm, from the longest gap of the finer grid up to the longest of this one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from twin_engine.lab.examples import Series, gather, series_of
from twin_engine.lab.recordings import Recording, RecordingError
from twin_engine.lab.rival_windows import AFTER, CLIP, STEPS, model_space, nan_mean, normalise, stacked
from twin_engine.lab.rivals import GRIDS_S
from twin_engine.messages import Floats
from twin_engine.plans import PLANS, Ints

_FLOOR = 0.3  # of the typical context's deviation


@dataclass(frozen=True, slots=True)
class Pool:
    """Whole windows of one signal on one grid, in model space."""

    windows: Floats  # (B, STEPS, C)
    person_sd: Floats  # (B,) target's, model space: only to weigh errors as the evaluation counts them
    floors: Floats  # (C,)
    gaps: tuple[int, int]  # shortest and longest block, cells


Key = tuple[str, float]
Pools = dict[Key, Pool]
Asked = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def ask(pool: Pool, rows: Ints, rng: np.random.Generator) -> Asked:
    """Windows with a block hidden: x, seen (B, L, C); truth, weight (B, L), 0 off the block; person's SDs a scale."""
    window = pool.windows[rows].copy()
    low, high = pool.gaps
    length = np.exp(rng.uniform(np.log(low), np.log(high + 1), len(rows))).astype(np.int64)
    end = np.where(rng.random(len(rows)) < 0.5, STEPS, STEPS - AFTER)
    step = np.arange(STEPS)
    lost = (step >= (end - length)[:, None]) & (step < end[:, None])
    truth = window[..., 0].copy()
    window[lost] = np.nan  # a device that falls silent loses all its channels
    normal = normalise(window, lost, pool.floors)
    known = lost & np.isfinite(truth) & np.isfinite(normal.base)
    target = np.where(known, (truth - normal.base) / normal.scale[:, None], 0.0)
    sds = normal.scale / pool.person_sd[rows]  # how many of the person's SDs one unit of the window is
    worth = np.clip(sds, 0.02, 2.0) / np.sqrt(length)  # long gaps have large errors, and would drown the short ones
    weight = known * (worth / np.maximum(known.sum(1), 1))[:, None]
    arrays = (normal.x, normal.seen, np.clip(target, -CLIP, CLIP), weight, sds)
    return tuple(torch.from_numpy(np.ascontiguousarray(a, dtype=np.float32)) for a in arrays)  # type: ignore[return-value]


def pools_of(
    known: Sequence[Recording], people: Sequence[str], signals: Sequence[str], count: int, seed: int
) -> Iterator[tuple[Key, Pool]]:
    """A pool a signal and grid, evenly over folders, people and channels."""
    chosen = [recording for recording in known if recording.person in people]
    for signal in signals:
        series = series_of(chosen, signal)
        if not series:
            raise RecordingError(f"expected {signal} of people to train and to validate, got none; nothing was trained")
        shortest_s = PLANS[signal].grid_s
        for grid_s, longest_s in GRIDS_S[signal]:
            rng = np.random.default_rng([seed, sorted(GRIDS_S).index(signal), round(1000 * grid_s)])
            gaps = max(1, round(shortest_s / grid_s)), round(longest_s / grid_s)
            yield (signal, grid_s), _pool(signal, series, grid_s, gaps, count, rng)
            shortest_s = longest_s


def _pool(
    signal: str, series: Sequence[Series], grid_s: float, gaps: tuple[int, int], count: int, rng: np.random.Generator
) -> Pool:
    folders = sorted({s.person.partition("/")[0] for s in series})
    width, windows, sds = round(grid_s / PLANS[signal].grid_s), [], []
    for folder in folders:
        members = [s for s in series if s.person.startswith(f"{folder}/")]
        share = max(1, count // len(folders) // len(members))
        for member in members:
            whole = model_space(signal, stacked(signal, member.values, member.others))  # (S, C)
            ends = rng.integers(min(STEPS * width // 2, len(whole) - 1), len(whole), share)
            fine = np.stack([gather(c, ends, np.arange(1 - STEPS * width, 1)) for c in whole.T], -1)
            windows.append(nan_mean(fine.reshape(share, STEPS, width, -1)))
            sds.append(np.full(share, max(float(np.nanstd(whole[:, 0])), 1e-6)))
    window = np.concatenate(windows)
    return Pool(window, np.concatenate(sds), _floors(window), gaps)


def _floors(windows: Floats) -> Floats:
    """(C,) floor of each channel's scale: part of the typical deviation over half a window; 1 where never seen."""
    known = np.isfinite(windows[:, : STEPS // 2])
    count = np.maximum(known.sum(1), 1)
    flat = np.where(known, windows[:, : STEPS // 2], 0.0)
    mean = flat.sum(1) / count
    variance = (np.where(known, windows[:, : STEPS // 2] - mean[:, None], 0.0) ** 2).sum(1) / count
    seen = np.asarray(known.any(1))
    typical = [np.median(np.sqrt(v[n])) if n.any() else 1.0 for v, n in zip(variance.T, seen.T, strict=True)]
    return np.asarray(_FLOOR * np.maximum(typical, 1e-6))
