"""``everbeat train``: train, sign, write the card. What is trained and how is ``twin_engine.lab.train``'s business.

A training that was cut off goes on where it was; the metadata is signed last, so that the engine never takes half a
training for a whole one. Weights trained here are believed on this machine; ``release`` signs them for everybody.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from everbeat import weights
from everbeat.settings import Settings, SettingsError
from security import signing
from twin_engine.lab.card import write_card
from twin_engine.lab.checkpoint import SUFFIX as CHECKPOINTS
from twin_engine.weightfile import METADATA, SIGNATURE, read_draft, sign_draft

Progress = Callable[[str, float], None]  # a signal, and the fraction of its training that is done
Say = Callable[[str], None]
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What to train. `steps` and `signals` None: those of the recipe."""

    data: Path
    out: Path
    seed: int = 0
    steps: int | None = None
    signals: tuple[str, ...] | None = None
    device: str = "auto"
    workers: int | None = None  # None: a core each, at most as many as there are
    resume: bool = True
    release: bool = False
    ablate: bool = False


def run(settings: Settings, plan: TrainingPlan, progress: Progress, say: Say) -> None:
    """Train, sign, write ``model-card.md``. Raises RecordingError, SettingsError, SecurityError, ModelError."""
    from twin_engine.lab.train import SIGNALS_TRAINED, STEPS, train

    signals, device = _signals(plan.signals, SIGNALS_TRAINED), _device(plan.device)
    key = weights.release_key(settings) if plan.release else weights.own_key(settings)  # before hours, not after
    say(f"training {', '.join(signals)} on {_name(device)}, seed {plan.seed}, into {plan.out}")
    if not plan.resume:
        forget(plan.out)
    train(
        plan.data, plan.out, steps=plan.steps or STEPS, seed=plan.seed, progress=progress, signals=signals,
        device=device, workers=_workers(plan.workers, len(signals), device),
    )  # fmt: skip
    sign_draft(plan.out, key)
    card = write_card(plan.out, read_draft(plan.out), None)
    who = weights.RELEASE if plan.release else weights.OWN
    say(f"signed by {who!r} ({signing.fingerprint(signing.public_of(key))}); {card} describes the weights")


def forget(out: Path) -> None:
    """Take away what a training in `out` would go on from."""
    for path in (out / METADATA, out / SIGNATURE, *out.glob(f"*{CHECKPOINTS}")):
        path.unlink(missing_ok=True)


def _signals(wanted: tuple[str, ...] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    if wanted is None:
        return known
    if not wanted or (unknown := set(wanted) - set(known)):
        got = ", ".join(sorted(unknown)) if wanted else "none"
        raise SettingsError(f"expected signals out of {', '.join(known)}, got {got}; nothing was trained")
    return tuple(dict.fromkeys(wanted))


def _device(wanted: str) -> str:
    """torch's name of where to train: a graphics card where there is one, unless another was asked for."""
    import torch

    if wanted not in DEVICES:
        raise SettingsError(f"expected a device out of {', '.join(DEVICES)}, got {wanted!r}; nothing was trained")
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise SettingsError("expected a CUDA card that torch can use, got none; nothing was trained")
    return "cuda" if there and wanted != "cpu" else "cpu"


def _workers(wanted: int | None, signals: int, device: str) -> int:
    """How many signals are trained at once: on a graphics card one after the other. The weights don't depend on it."""
    at_once = wanted or (1 if device == "cuda" else len(os.sched_getaffinity(0)))
    return min(at_once, signals)


def _name(device: str) -> str:
    import torch

    return f"the graphics card {torch.cuda.get_device_name()}" if device == "cuda" else "the processor"
