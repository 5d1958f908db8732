"""The training of one rival network: blocks are hidden and guessed, and the best state on validation people is kept.

Time is processor time: a busy machine takes longer, and trains no less.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from twin_engine.lab.rival_examples import Asked, Pools, ask
from twin_engine.lab.rival_nets import Weights, reconstruct

_SIDE_WEIGHT = 0.2  # of the error of what is seen, rebuilt from the rest
_CHECKS = 4  # times a network is judged on the way


@dataclass(frozen=True, slots=True)
class Settings:
    """What was tuned. `width` of SAITS's hidden layer, `hidden` of BRITS's memory."""

    width: int = 64
    layers: int = 1
    heads: int = 2
    hidden: int = 64
    batch: int = 64
    rate: float = 4e-3
    tune_rate: float = 2e-3


def fit_net(
    method: str,
    net: torch.nn.Module,
    fit: Pools,
    check: Pools,
    seconds: float,
    rate: float,
    settings: Settings,
    rng: np.random.Generator,
    progress: Callable[[float], None],
) -> dict[str, float]:
    """Train `net` for `seconds` and leave it in its best state on `check`; returns its numbers."""
    weights, heads = dict(net.named_parameters()), settings.heads
    optimiser = torch.optim.AdamW(net.parameters(), rate, weight_decay=1e-2)
    asked = [ask(pool, np.arange(len(pool.windows)), np.random.default_rng(5)) for pool in check.values()]
    keys, steps, checks = list(fit), 0, 0
    best, state = judge_net(method, weights, heads, asked), copied(net)
    first, began = best, time.process_time()
    while (done := (time.process_time() - began) / seconds) < 1:
        optimiser.param_groups[0]["lr"] = rate * min(1.0, 0.1 + 10 * done) * (0.02 + 0.49 * (1 + np.cos(np.pi * done)))
        pool = fit[keys[steps % len(keys)]]
        rows = rng.integers(len(pool.windows), size=settings.batch)
        _step(net, optimiser, _loss(method, weights, heads, ask(pool, rows, rng)))
        steps += 1
        if done * _CHECKS > checks + 1:
            checks += 1
            progress(done)
            if (score := judge_net(method, weights, heads, asked)) < best:
                best, state = score, copied(net)
    if (score := judge_net(method, weights, heads, asked)) < best:
        best, state = score, copied(net)
    net.load_state_dict(state)
    return {"validation_mae_z": best, "start_mae_z": first, "steps": steps}


def _loss(method: str, weights: Weights, heads: int, asked: Asked) -> Tensor:
    x, seen, truth, weight, _ = asked
    made = reconstruct(method, weights, x, seen, heads)
    side = ((made - x).abs() * seen).sum() / seen.sum()
    return ((made[..., 0] - truth).abs() * weight).sum() / weight.sum() + _SIDE_WEIGHT * side


def _step(net: torch.nn.Module, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimiser.step()


@torch.no_grad()
def judge_net(method: str, weights: Weights, heads: int, asked: Sequence[Asked]) -> float:
    """Mean absolute error in the person's SD, each window the same; mean over pools."""
    errors = []
    for x, seen, truth, weight, sds in asked:
        made = reconstruct(method, weights, x, seen, heads)
        inside = (weight > 0).float()
        error = ((made[..., 0] - truth).abs() * inside).sum(1) / inside.sum(1).clamp(min=1) * sds
        errors.append(float(error[inside.any(1)].mean()))
    return float(np.mean(errors))


def copied(net: torch.nn.Module) -> dict[str, Tensor]:
    """The present weights of `net`."""
    return {name: value.clone() for name, value in net.state_dict().items()}
