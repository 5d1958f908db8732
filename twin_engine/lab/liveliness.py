"""Do the twin's sampled paths look and behave like the patient? One path a gap, beside what the sensor reported.

Measured at one gap length a signal, long enough for the shape to show, with the measures of :mod:`realism`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from device.signals import SIGNALS, Kind
from twin_engine.calibrate import step_of
from twin_engine.features import CONTEXT_STEPS
from twin_engine.lab.masks import GAPS_S, Mask
from twin_engine.lab.realism import auc, feature_errors, log_spectral_distance, sd_ratio
from twin_engine.lab.scorecard import SCORED_LEVELS
from twin_engine.lab.stream import Shown
from twin_engine.messages import Floats
from twin_engine.model import LEVELS
from twin_engine.paths import sample_paths
from twin_engine.plans import PLANS

_SHAPE_STEPS = 60  # steps in which a shape shows, about
_WAVE_S = 5.0  # a wave needs a few beats
_LEAST_STEPS = 20
_LEAST_WINDOWS = 20
_AT_LEVELS = [SCORED_LEVELS.index(level) for level in LEVELS]


@dataclass(frozen=True, slots=True)
class Liveliness:
    """Of one signal. `auc` is None where fewer than two people were tested."""

    signal: str
    gap_s: float
    windows: int
    auc: float | None  # a random forest's, real against sampled; 0.5 is perfect
    sd_ratio: float  # of a sampled path over the truth's; 1 is perfect
    log_spectral_distance: float  # dB
    features: dict[str, float]  # mean errors of physiological features


def length_for(signal: str) -> float | None:
    """The gap length (s) at which a signal's paths are looked at; None where none shows a shape."""
    plan, wave = PLANS[signal], SIGNALS[signal].kind is Kind.WAVE
    fit = [g for g in GAPS_S if g <= plan.horizon_s and g / plan.grid_s >= _LEAST_STEPS and (g >= _WAVE_S or not wave)]
    return min(fit, key=lambda g: abs(np.log(g / plan.grid_s / _SHAPE_STEPS)), default=None)


def liveliness(masks: Sequence[Mask], live: Sequence[Shown]) -> Liveliness | None:
    """Sampled paths against the truth in the random gaps of the first seed; None where there are too few."""
    real, made, people = list[Floats](), list[Floats](), list[str]()
    for mask, shown in zip(masks, live, strict=True):
        if mask.kind == "random" and mask.seed == masks[0].seed:
            for row, start in enumerate(mask.starts):
                window = mask.track.values[start + 1 : start + 1 + mask.length]
                if np.isfinite(window).all():
                    real.append(window)
                    made.append(_path(mask, shown, row))
                    people.append(mask.track.person)
    if len(real) < _LEAST_WINDOWS:
        return None
    truth, paths = np.stack(real), np.stack(made)
    signal, rate_hz = masks[0].track.signal, 1 / masks[0].track.grid_s
    return Liveliness(
        signal,
        masks[0].gap_s,
        len(truth),
        auc(truth, paths, people) if len(set(people)) > 1 else None,
        sd_ratio(truth, paths),
        log_spectral_distance(truth, paths, rate_hz),
        feature_errors(signal, truth, paths, rate_hz),
    )


def _path(mask: Mask, shown: Shown, row: int) -> Floats:
    """(length,) one path from what was known when the gap began."""
    track, start = mask.track, int(mask.starts[row])
    context = track.values[max(0, start + 1 - CONTEXT_STEPS) : start + 1]
    ages_s, quantiles = mask.steps.astype(np.float64) * track.grid_s, shown.quantiles[row][:, _AT_LEVELS]
    seed = mask.seed * 1_000_003 + start
    path: Floats = sample_paths(track.signal, context, ages_s, quantiles, 1, seed, step_of(track.values[: start + 1]))[
        0
    ]
    return path
