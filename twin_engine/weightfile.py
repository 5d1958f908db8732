"""The weights on disk: one safetensors file a signal, and metadata that says what they are and vouches for them.

Reading checks format, hash and plan before a tensor is looked at; writing is the other half. What the numbers mean
is elsewhere (``network``, ``baselines``).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from twin_engine.baselines import Ridge
from twin_engine.features import CONTEXT_STEPS
from twin_engine.messages import Floats
from twin_engine.plans import PLANS, node_steps

if TYPE_CHECKING:
    from twin_engine.network import LstmVae

WEIGHTS = Path(__file__).parent / "weights"
METADATA = "metadata.json"
FORMAT = 1


class ModelError(RuntimeError):
    """The weights are missing, altered, or not of this program; nothing can be synthesised with them."""


@dataclass(frozen=True)
class Trained:
    """One signal's weights and what validation said about them."""

    network: LstmVae
    ridge: Ridge
    gate: tuple[str, ...]  # (N,) "lstm-vae" or the name of the baseline whose centre was better on validation
    scores: Floats  # (N, len(SCORE_LEVELS)) sorted

    @property
    def method(self) -> str:
        return max(sorted(set(self.gate)), key=self.gate.count)


def read_metadata(folder: Path) -> dict[str, Any]:
    """The metadata beside the weights in `folder`. Raises ModelError where there are none of this format."""
    path = folder / METADATA
    try:
        metadata = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"expected model metadata at {path}, got {error}; run `everbeat train`") from error
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise ModelError(f"expected model metadata of format {FORMAT} at {path}, got another; run `everbeat train`")
    return metadata


def write_metadata(folder: Path, metadata: dict[str, Any]) -> None:
    """Write the metadata; the last thing written, so that half a training is never taken for a whole one."""
    (folder / METADATA).write_text(json.dumps(metadata, indent=1, ensure_ascii=False) + "\n")


def write_signal(folder: Path, signal: str, network: LstmVae, ridge: Ridge, scores: Floats) -> tuple[str, str]:
    """Write one signal's tensors; returns the file's name and its SHA-256."""
    import torch
    from safetensors.torch import save

    arrays = {"ridge.weights": ridge.weights, "ridge.centre": ridge.centre, "ridge.intercept": ridge.intercept}
    tensors = {name: torch.tensor(value, dtype=torch.float32) for name, value in (arrays | {"scores": scores}).items()}
    tensors |= {f"net.{name}": value.contiguous() for name, value in network.state_dict().items()}
    blob = save(tensors)
    file = f"{signal}.safetensors"
    (folder / file).write_bytes(blob)
    return file, hashlib.sha256(blob).hexdigest()


def plan_of(signal: str) -> dict[str, Any]:
    """What weights depend on besides their training; stored with them and compared on loading."""
    return asdict(PLANS[signal]) | {"nodes": len(node_steps(signal)), "context_steps": CONTEXT_STEPS}


def read_signal(folder: Path, signal: str, entry: dict[str, Any]) -> Trained:
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = folder / str(entry["file"])
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"expected weights of {signal} at {path}, got {error}; run `everbeat train`") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry["sha256"]:
        raise ModelError(f"expected SHA-256 {entry['sha256']} of {path}, got {digest}; the weights are not used")
    if entry["plan"] != plan_of(signal):
        raise ModelError(f"expected weights of {signal} for {plan_of(signal)}, got {entry['plan']}; retrain them")
    try:
        return _restore(signal, load(data), tuple(entry["gate"]))
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(f"expected the tensors of an LSTM-VAE in {path}, got {error}; retrain them") from error


def _restore(signal: str, tensors: dict[str, Any], gate: tuple[str, ...]) -> Trained:
    import torch

    from twin_engine.network import LstmVae

    parts = {name: tensors.pop(name).numpy().astype(np.float64) for name in list(tensors) if "net." not in name}
    state = {name.removeprefix("net."): tensor for name, tensor in tensors.items()}
    network = LstmVae(torch.tensor(node_steps(signal)), state["horizon_scale"])
    network.load_state_dict(state)
    ridge = Ridge(parts["ridge.weights"], parts["ridge.centre"], parts["ridge.intercept"])
    return Trained(network.eval(), ridge, gate, parts["scores"])
