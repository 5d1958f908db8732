"""What held-out people say about the experts: how far off each is, whom to believe, and what is left to doubt.

From validation examples: the spread of every cheap forecast's errors (its dress), the weights of the experts'
mixture that lose least, and the scores of that mixture, from which a new patient's calibration begins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from device.signals import SIGNALS
from twin_engine.calibrate import score
from twin_engine.lab.examples import Examples
from twin_engine.messages import Floats
from twin_engine.model import BOUNDS, LEVELS, SCORE_LEVELS, dress_unit
from twin_engine.plans import PLANS, Floats32

_STEPS, _RATE = 300, 0.05
_SMOOTH, _TOWARDS_FIRST = 0.02, 0.002  # of neighbouring ages' logits, and towards the network where it hardly matters


@dataclass(frozen=True, slots=True)
class Judged:
    """N nodes, C cheap forecasts, E experts."""

    weights: Floats  # (N, E), rows sum to 1
    scores: Floats  # (N, len(SCORE_LEVELS)), sorted
    errors: Floats  # (E + 1, N) mean absolute error of each expert and of the mixture, in the person's SD


def dress_of(signal: str, check: Examples, bases: Floats32) -> Floats:
    """(N, C, len(LEVELS)) quantiles of the errors of the cheap forecasts `bases` (B, N, C), their median moved to 0.

    Every person counts the same; an age that no recording reaches has the spread of the age before.
    """
    unit = dress_unit(PLANS[signal], check.prepared.scale)
    errors = (check.truth[..., None] - bases) * unit[:, None, None]  # (B, N, C)
    spread: Floats = np.nanquantile(errors[:, _reached(check.truth)], LEVELS, axis=0).transpose(1, 2, 0)
    return spread - spread[..., LEVELS.index(0.5), None]


def judge(signal: str, check: Examples, truth: Floats, bounds: Floats) -> Judged:
    """Weights, scores and errors from the experts' `bounds` (B, E, N, 3) and the `truth` (B, N), signal's unit."""
    reached = _reached(truth)
    weights = _weights(bounds, truth, check)[reached]
    low, centre, high = np.einsum("benq,ne->qbn", bounds, weights)
    least = SIGNALS[signal].resolution / 2
    residuals = score(truth, centre, np.maximum(centre - low, least), np.maximum(high - centre, least))
    scores: Floats = np.nanquantile(residuals[:, reached], SCORE_LEVELS, axis=0).T
    everybody = np.concatenate([bounds[..., 1], centre[:, None]], axis=1)  # (B, E + 1, N)
    off = np.abs(everybody - truth[:, None]) / check.person_sd[:, None, None]
    return Judged(weights, scores, np.nanmean(off[..., reached], axis=0))


def _weights(bounds: Floats, truth: Floats, check: Examples) -> Floats:
    """(N, E) weights with the least pinball loss, each folder (make of device) and age counting the same."""
    known = torch.from_numpy(np.isfinite(truth))
    y = torch.from_numpy(np.nan_to_num(truth))[..., None]
    x = torch.from_numpy(bounds)
    folders = np.array([name.rpartition("/")[0] for name in check.people])[check.person]
    shares = [torch.from_numpy(folders == folder) for folder in np.unique(folders)]
    alone = [_loss(x[:, 0], y, known, rows) for rows in shares]
    first = torch.zeros(x.shape[1], dtype=torch.float64)
    first[0] = 1.5
    logits = first.repeat(x.shape[2], 1).requires_grad_()
    optimiser = torch.optim.Adam([logits], _RATE)
    for _ in range(_STEPS):
        mixture = torch.einsum("benq,ne->bnq", x, torch.softmax(logits, -1))
        loss = torch.stack(
            [(_loss(mixture, y, known, rows) / own).mean() for rows, own in zip(shares, alone, strict=True)]
        )
        rough = (logits[1:] - logits[:-1]).square().sum(-1).mean()
        total = loss.mean() + _SMOOTH * rough + _TOWARDS_FIRST * (logits - first).square().mean()
        optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    weights: Floats = torch.softmax(logits, -1).detach().numpy()
    return weights


def _loss(bounds: Tensor, truth: Tensor, known: Tensor, rows: Tensor) -> Tensor:
    """(N,) mean pinball loss of `bounds` (B, N, 3) over known truths of `rows` (B,); a tiny constant where none is."""
    levels = torch.tensor(BOUNDS, dtype=torch.float64)
    error = truth - bounds
    loss = torch.maximum(levels * error, (levels - 1) * error).sum(-1)
    seen = known & rows[:, None]
    return torch.where(seen, loss, 0.0).sum(0) / seen.sum(0).clamp(min=1) + 1e-9


def _reached(truth: Floats | Floats32) -> np.ndarray:
    """(N,) for each age itself, or the newest age before it that some recording reaches."""
    ages = np.arange(truth.shape[1])
    return np.maximum.accumulate(np.where(np.isfinite(truth).any(0), ages, 0))
