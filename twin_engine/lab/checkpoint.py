"""A training that was cut off goes on as if it had not been: weights, optimiser, averages and random numbers on disk.

Goes on bit by bit: the same number of steps gives the same weights, with or without a stop between. A checkpoint
belongs to one training (``key``: seed, data, plan, steps …); one of another training is not used. It is a working
file of one machine and no part of the weights: it is deleted when its signal is done.
"""

from __future__ import annotations

import hashlib
import json
import logging
import pickle  # for its UnpicklingError alone; torch.load reads with weights_only  # nosec B403
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SUFFIX = ".checkpoint.pt"
_log = logging.getLogger(__name__)


@dataclass
class State:
    """What changes while a signal is trained. `numbers` is anything that JSON can hold."""

    step: int
    network: nn.Module
    optimiser: torch.optim.Optimizer
    averages: dict[str, Tensor]  # the network's averaged state
    best: dict[str, Tensor]  # the averaged state that was best on validation
    numbers: dict[str, Any] = field(default_factory=dict)  # validation numbers of `best`, energy used so far …
    rng: np.random.Generator | None = None  # where the training draws from numpy


def key_of(**facts: Any) -> str:
    """A hash (64 hex digits) of what a training is; `facts` are anything that JSON can hold."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def path_of(out: Path, name: str) -> Path:
    """Where the checkpoint of the training `name` (a signal) lies."""
    return out / f"{name}{SUFFIX}"


def save_checkpoint(path: Path, key: str, state: State) -> None:
    """Write `state` and the random generators' states, all or nothing."""
    content = {
        "key": key,
        "step": state.step,
        "network": state.network.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "averages": state.averages,
        "best": state.best,
        "numbers": json.dumps(state.numbers),
        "rng": None if state.rng is None else json.dumps(state.rng.bit_generator.state),
        "torch_rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    part = path.with_name(path.name + ".part")
    torch.save(content, part)
    part.replace(path)


def load_checkpoint(path: Path, key: str, state: State) -> bool:
    """Put the checkpoint at `path` into `state` and into torch's generators.

    `state` brings a network and an optimiser of the same layout, on their device. False, with nothing changed, where
    there is no checkpoint, or one of another training, or one that can't be read.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)  # never runs code from the file
    except FileNotFoundError:
        return False
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        _log.warning("expected a checkpoint in %s, got %s; its training begins anew", path, error)
        return False
    if not isinstance(content, Mapping) or content.get("key") != key:
        return False
    _restore(content, state)
    return True


def drop_checkpoint(path: Path) -> None:
    """The training it belonged to is done."""
    path.unlink(missing_ok=True)


def _restore(content: Mapping[str, Any], state: State) -> None:
    device = next(state.network.parameters()).device
    state.network.load_state_dict(content["network"])
    state.optimiser.load_state_dict(content["optimiser"])
    state.averages = {name: value.to(device) for name, value in content["averages"].items()}
    state.best = {name: value.to(device) for name, value in content["best"].items()}
    state.step, state.numbers = content["step"], json.loads(content["numbers"])
    if state.rng is not None and content["rng"] is not None:
        state.rng.bit_generator.state = json.loads(content["rng"])
    torch.set_rng_state(content["torch_rng"])
    if content["cuda_rng"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(content["cuda_rng"])
