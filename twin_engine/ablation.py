"""What the latent contributes: the same network trained twice on the same examples, with z and with z held at zero.

The numbers are of validation people, in units of ridge's error: CRPS says how good the forecast is at each age by
itself, the energy scores whether a sampled path hangs together from age to age. They are quoted in the model card.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from twin_engine.examples import population_of
from twin_engine.fit import fit_network
from twin_engine.recordings import TRAINING_FOLDERS, read_folder, split
from twin_engine.train import SIGNALS_TRAINED, Material


def ablate(
    data: Path,
    *,
    seconds: float,
    seed: int,
    progress: Callable[[str, float], None],
    signals: Sequence[str] = SIGNALS_TRAINED,
) -> dict[str, dict[str, dict[str, float]]]:
    """Signal -> "latent" and "no latent" -> validation numbers, each after `seconds` of training.

    Raises RecordingError where `data` holds no recordings.
    """
    torch.set_num_threads(1)
    recordings = [recording for folder in TRAINING_FOLDERS for recording in read_folder(data, folder)]
    parts = split([recording.person for recording in recordings])
    learners, judges = ([r for r in recordings if r.person in parts[part]] for part in ("train", "validation"))
    population = population_of(learners, np.random.default_rng(seed))
    out: dict[str, dict[str, dict[str, float]]] = {}
    for signal in signals:
        material = Material(signal, learners, judges, population, seed)
        fit, check = (material.fit, material.fit_bases), (material.check, material.check_bases)
        out[signal] = {}
        for name, latent in (("latent", True), ("no latent", False)):
            _, numbers = fit_network(signal, fit, check, seconds, seed, progress, latent)
            out[signal][name] = numbers
    return out
