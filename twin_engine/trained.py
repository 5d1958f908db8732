"""One trained signal: the network, the cheap forecasts' parameters, and what held-out people said about them all.

:func:`tensors_of` and :func:`restore` turn it into named arrays and back; the files are ``weightfile``'s business.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from twin_engine.baselines import Ridge
from twin_engine.features import CONTEXT_STEPS
from twin_engine.mend import HoleError, Mender
from twin_engine.messages import Floats
from twin_engine.plans import PLANS, node_steps
from twin_engine.weightfile import ModelError, read_tensors

if TYPE_CHECKING:
    from twin_engine.network import LstmVae


@dataclass(frozen=True)
class Trained:
    """N nodes, C cheap forecasts, E = C + 1 experts, the network first."""

    network: LstmVae
    ridge: Ridge
    dress: Floats  # (N, C, len(LEVELS)) held-out people's errors of each cheap forecast
    weights: Floats  # (N, E) of the experts for unknown people; rows sum to 1
    scores: Floats  # (N, len(SCORE_LEVELS)) sorted residuals of the weighted mixture


def plan_of(signal: str) -> dict[str, Any]:
    """What weights depend on besides their training; stored with them and compared on loading."""
    plan = asdict(PLANS[signal])
    return plan | {"bases": list(plan["bases"]), "nodes": len(node_steps(signal)), "context_steps": CONTEXT_STEPS}


def load_signals(folder: Path, metadata: dict[str, Any]) -> dict[str, Trained]:
    """Every trained signal in `folder`. Raises ModelError where a file is altered or made for another program."""
    return {signal: _load(folder, signal, entry) for signal, entry in metadata["signals"].items()}


def load_menders(folder: Path, metadata: dict[str, Any]) -> dict[str, Mender]:
    """The trained revision of every signal that has one. Raises ModelError."""
    out = {}
    for signal, entry in metadata["menders"].items():
        try:
            out[signal] = Mender.restore(signal, read_tensors(folder, entry["file"], entry["sha256"]))
        except HoleError as error:
            raise ModelError(f"expected the tensors of a revision of {signal}, got {error}; retrain them") from error
    return out


def tensors_of(trained: Trained) -> dict[str, np.ndarray]:
    """The named arrays of one signal, as they are stored."""
    ridge = trained.ridge
    arrays = {
        "ridge.weights": ridge.weights,
        "ridge.centre": ridge.centre,
        "ridge.intercept": ridge.intercept,
        "dress": trained.dress,
        "weights": trained.weights,
        "scores": trained.scores,
    }
    tensors = {f"net.{name}": value.cpu().numpy() for name, value in trained.network.state_dict().items()}
    return tensors | {name: value.astype(np.float32) for name, value in arrays.items()}


def restore(signal: str, tensors: dict[str, np.ndarray]) -> Trained:
    """The inverse of :func:`tensors_of`. Raises KeyError or RuntimeError where tensors are missing or misshapen."""
    import torch

    from twin_engine.network import LstmVae

    state = {n.removeprefix("net."): torch.from_numpy(v) for n, v in tensors.items() if n.startswith("net.")}
    arrays = {name: value.astype(np.float64) for name, value in tensors.items() if not name.startswith("net.")}
    network = LstmVae(torch.tensor(node_steps(signal)), state["horizon_scale"], len(PLANS[signal].bases))
    network.load_state_dict(state)
    ridge = Ridge(arrays["ridge.weights"], arrays["ridge.centre"], arrays["ridge.intercept"])
    weights = arrays["weights"] / arrays["weights"].sum(1, keepdims=True)  # exactly 1 again after rounding
    return Trained(network.eval(), ridge, arrays["dress"], weights, arrays["scores"])


def _load(folder: Path, signal: str, entry: dict[str, Any]) -> Trained:
    if signal not in PLANS or entry["plan"] != plan_of(signal):
        raise ModelError(
            f"expected weights of {signal} for this program's plan of it, got {entry['plan']}; retrain them"
        )
    try:
        return restore(signal, read_tensors(folder, entry["file"], entry["sha256"]))
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"expected the tensors of an LSTM-VAE for {signal}, got {error!r}; retrain them") from error
