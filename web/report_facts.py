"""The numbers of a report: how long each channel was measured, made up or withheld, and what was measured. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from twin_engine.messages import Packed, Provenance

_KIND = 0x0F


@dataclass(frozen=True, slots=True)
class Facts:
    """One channel over the stretch of a report. Values are in the signal's unit."""

    seconds: dict[str, float]  # provenance (lower case) or "none" -> s
    low: float | None  # of what was measured only
    median: float | None  # None where only the thinned trace was read
    high: float | None
    confidence: float | None  # mean of what was made, None where nothing was


def facts(shown: Packed, span_s: float, whole: bool) -> Facts:
    """Of what was shown. `shown` has its holes marked; `whole`: it holds every sample, so a median means something.

    A sample stands until the next one or the mark of a hole.
    """
    kinds = shown.data["provenance"] & _KIND
    durations = np.append(np.diff(shown.times_us), 0) / 1e6
    seconds = {p.name.lower(): float(durations[kinds == p].sum()) for p in Provenance}
    seconds["none"] = max(0.0, span_s - sum(seconds.values()))
    values = shown.data["value"][kinds == Provenance.MEASURED].astype(np.float64)
    made = np.isin(kinds, (Provenance.SYNTHESISED, Provenance.PREDICTED))
    low, high = (float(values.min()), float(values.max())) if len(values) else (None, None)
    median = float(np.median(values)) if whole and len(values) else None
    return Facts(seconds, low, median, high, _sure(shown, durations, made))


def _sure(shown: Packed, durations: Any, made: Any) -> float | None:
    """Mean confidence over the time in which values were made."""
    if not made.any():
        return None
    weights = durations[made] if durations[made].sum() > 0 else np.ones(int(made.sum()))
    return float(np.average(shown.data["confidence"][made] / 255.0, weights=weights))
