"""Faults that only a sensor's own rate shows, for training: single-sample spikes, converter rails, odd beats.

The engine sees a channel on its grid, where a spike of one millisecond seldom falls and an extreme is seldom met twice.
A whole recording at its own rate shows them. Beats are compared by neurokit2's template matching (ppg_quality,
Orphanidou et al. 2015); its ECG index calls the true rhythms of these intensive-care patients unacceptable, so it is
not asked.
"""

from __future__ import annotations

import warnings

import numpy as np

from twin_engine.messages import Floats
from twin_engine.quality.marks import Mask

_SPIKE_US = 2.5  # uS, as the live rule
_NEIGHBOURS = 5
_RAIL_VISITS, _RAIL_LEVELS, _RAIL_RATIO = 4, 300, 4.0
_BEATS_S, _BEATS_LEAST = 30.0, 0.5


def native_faults(signal: str, times_s: Floats, values: Floats, wave: bool) -> dict[str, Mask]:
    """Rule id -> (N,) readings that it blames, of readings `values` (N,) at `times_s` (N,)."""
    found = {}
    if signal == "gsr_uS":
        found["spike"] = spikes(values, _SPIKE_US)
    if wave and signal != "acc_g":
        found["clipped"] = rails(values)
    if signal == "ppg":
        found["odd-beats"] = odd_beats(times_s, values)
    return {rule: mask for rule, mask in found.items() if mask.any()}


def spikes(values: Floats, limit: float) -> Mask:
    """Readings further than `limit` from the median of their five neighbours."""
    if len(values) < _NEIGHBOURS:
        return np.zeros(len(values), np.bool_)
    padded = np.pad(values, _NEIGHBOURS // 2, mode="edge")
    median = np.median(np.lib.stride_tricks.sliding_window_view(padded, _NEIGHBOURS), axis=1)
    return np.asarray(np.abs(values - median) > limit)


def rails(values: Floats) -> Mask:
    """Readings at an extreme of the whole recording that is met far more often than the levels beside it."""
    levels, counts = np.unique(values, return_counts=True)
    blamed = np.zeros(len(values), np.bool_)
    if len(levels) < _RAIL_LEVELS:
        return blamed
    for level, count, beside in ((levels[0], counts[0], counts[1:11]), (levels[-1], counts[-1], counts[-11:-1])):
        if count >= _RAIL_VISITS and count > _RAIL_RATIO * beside.mean():
            blamed |= values == level
    return blamed


def odd_beats(times_s: Floats, values: Floats) -> Mask:
    """Readings in beats that hardly resemble the average beat of their half minute (correlation under 0.5)."""
    import neurokit2 as nk

    rate_hz = 1.0 / float(np.median(np.diff(times_s)))
    width = round(_BEATS_S * rate_hz)
    blamed = np.zeros(len(values), np.bool_)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of empty beats at the ends
        for start in range(0, max(len(values) - width // 2, 1), width):
            part = values[start : start + width]
            try:
                clean = nk.ppg_clean(part, sampling_rate=rate_hz)
                quality = np.asarray(nk.ppg_quality(clean, sampling_rate=rate_hz, method="templatematch"))
            except (ValueError, IndexError, ZeroDivisionError):  # too few beats to compare
                continue
            blamed[start : start + width] = quality < _BEATS_LEAST
    return blamed
