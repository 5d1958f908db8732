"""The walk that both trainings share: a rate that falls as a cosine, averaged weights, the best of them on validation.

Who trains says what one step is and how weights are judged; this says how fast, when to judge, and what to keep.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from twin_engine.lab.checkpoint import State, drop_checkpoint, load_checkpoint, save_checkpoint

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Pace:
    """How one training walks. `follow(step)`: the share by which averaged weights move to the present ones."""

    rate: float  # of the optimiser at its highest
    check_every: int  # steps between two judgements
    follow: Callable[[int], float]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long to train and from which seed; where, and which checkpoint to go on from (None: none is kept)."""

    steps: int
    seed: int
    device: str = "cpu"  # torch's name
    checkpoint: Path | None = None
    key: str = ""  # of the training that a checkpoint must belong to


def begin(network: nn.Module, optimiser: torch.optim.Optimizer, recipe: Recipe) -> State:
    """The first step's state, or where the checkpoint left off."""
    averages = {name: value.clone() for name, value in network.state_dict().items()}
    state = State(0, network, optimiser, averages, averages, {"crps": math.inf})
    if recipe.checkpoint is not None:
        load_checkpoint(recipe.checkpoint, recipe.key, state)
    return state


def descend(
    state: State,
    recipe: Recipe,
    pace: Pace,
    step: Callable[[float], None],
    judge: Callable[[], dict[str, float]],
    progress: Callable[[float], None],
) -> None:
    """Walk `recipe.steps` and leave the network with the averaged weights of the least validation CRPS.

    `step(done)` takes one step, `done` in (0, 1]; `judge()` gives numbers, "crps" among them, of the network as it is.
    """
    while state.step < recipe.steps:
        state.step += 1
        done = state.step / recipe.steps
        state.optimiser.param_groups[0]["lr"] = pace.rate * (0.02 + 0.49 * (1 + math.cos(math.pi * done)))
        step(done)
        _follow(state.averages, state.network, pace.follow(state.step))
        if state.step % pace.check_every == 0 or state.step == recipe.steps:
            with _as_averaged(state.network, state.averages):
                _keep_best(state, judge())
            if recipe.checkpoint is not None:
                save_checkpoint(recipe.checkpoint, recipe.key, state)
            progress(done)
    state.network.load_state_dict(state.best)
    if recipe.checkpoint is not None:
        drop_checkpoint(recipe.checkpoint)


def _keep_best(state: State, numbers: dict[str, float]) -> None:
    if numbers["crps"] < state.numbers["crps"]:
        state.numbers = numbers | {"best_step": float(state.step)}
        state.best = {name: value.clone() for name, value in state.averages.items()}


@torch.no_grad()
def _follow(averages: dict[str, Tensor], network: nn.Module, share: float) -> None:
    for name, value in network.state_dict().items():
        averages[name].lerp_(value, share)


@contextmanager
def _as_averaged(network: nn.Module, averages: dict[str, Tensor]) -> Iterator[None]:
    """The network with its averaged weights, ready to be judged, while the block runs."""
    current = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(averages)
    network.eval()
    yield
    network.load_state_dict(current)
