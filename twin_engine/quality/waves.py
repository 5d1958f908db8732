"""What the quality rules measure in waves, whose shape carries the meaning: rails, wraps, missing pulse, movement.

As in :mod:`twin_engine.quality.marks`: a mark is (K,) over the known readings of the stretch, with numpy alone.
"""

from __future__ import annotations

import numpy as np

from twin_engine.messages import Floats
from twin_engine.quality.marks import LEAST_USUAL, Mark, Stretch, nothing, runs

_LEVELS = 0.35  # different values a reading; with fewer, a peak is flat because the converter is coarse
_PULSE_S = (0.3, 1.6)  # 37 to 200 beats a minute


def rails(stretch: Stretch, run: int, visits: int) -> Mark:
    """The exact extremes of a wave, where it rests there for `run` readings or comes back `visits` times.

    A wave with many levels meets its own extreme once; a converter at its end gives the same number again and again.
    """
    values = stretch.values
    if len(values) < LEAST_USUAL or len(np.unique(values)) < _LEVELS * len(values):
        return nothing(stretch)
    starts, ends = runs(values)
    blamed = np.zeros(len(values), np.bool_)
    for extreme in (values.min(), values.max()):
        here = values[starts] == extreme
        if np.count_nonzero(here) >= visits or (ends - starts)[here].max() >= run:
            blamed |= values == extreme
    return Mark(blamed, float(np.count_nonzero(blamed)), 0.0)


def across(stretch: Stretch, share: float, within_s: float) -> Mark:
    """Both ends of a step over `share` of a wave's whole swing within `within_s`: the converter wrapped around.

    Readings further apart say nothing: a heart's R wave crosses the swing in two hundredths of a second.
    """
    values = stretch.values
    swing = float(values.max() - values.min())
    if len(values) < LEAST_USUAL or len(np.unique(values)) < _LEVELS * len(values):
        return nothing(stretch)
    size = np.abs(np.diff(values)) / swing * (np.diff(stretch.at) * stretch.grid_s <= within_s)
    over = size > share
    blamed = np.concatenate((over, [False])) | np.concatenate(([False], over))
    return Mark(blamed, 100.0 * float(size.max()), 100.0 * share)


def pulseless(stretch: Stretch, least: float) -> Mark:
    """The newer half of a stretch whose best autocorrelation at a heart's periods is under `least`."""
    if len(stretch.values) < stretch.steps // 2:
        return nothing(stretch)
    wave = np.interp(np.arange(stretch.at[0], stretch.at[-1] + 1), stretch.at, stretch.values)
    wave = wave - _smoothed(wave, round(1.0 / stretch.grid_s))
    size = 1 << (2 * len(wave) - 1).bit_length()
    power = np.abs(np.fft.rfft(wave, size)) ** 2
    echo = np.fft.irfft(power, size)[: len(wave)]
    lags = np.arange(*(round(s / stretch.grid_s) for s in _PULSE_S))
    lags = lags[lags < len(wave) // 2]
    best = float((echo[lags] * len(wave) / (len(wave) - lags)).max() / max(echo[0], 1e-30)) if len(lags) else 1.0
    return Mark((stretch.at >= stretch.steps // 2) & (best < least), best, least)


def shaken(stretch: Stretch, times: float) -> Mark:
    """Seconds of a wave whose swing is `times` the median second's: movement, not the pulse."""
    width = max(2, round(1.0 / stretch.grid_s))
    second = (stretch.steps - 1 - stretch.at) // width
    edges = np.flatnonzero(np.diff(second)) + 1
    starts = np.concatenate(([0], edges))
    swing = np.maximum.reduceat(stretch.values, starts) - np.minimum.reduceat(stretch.values, starts)
    if len(swing) < 5:
        return nothing(stretch)
    usual = max(float(np.median(swing)), stretch.resolution)
    lengths = np.diff(np.concatenate((starts, [len(second)])))
    return Mark(np.repeat(swing > times * usual, lengths), float(swing.max() / usual), times)


def _smoothed(wave: Floats, width: int) -> Floats:
    """Moving mean over `width` points, the ends held."""
    padded = np.pad(wave, (width // 2, width - width // 2), mode="edge")
    total = np.cumsum(padded)
    mean: Floats = (total[width:] - total[:-width]) / width
    return mean
