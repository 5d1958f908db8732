"""Detector: a value that the sensor cannot have measured on a living patient or in a room.

A reading is suspect where it is outside [low, high] of its signal's row (``device/signals.py`` gives the sources of
the ranges), infinite included. The ranges are wide: they bound the sensor, not the patient.
"""

from __future__ import annotations

import numpy as np

from security.threats import Detector, Floats, Mask, Verdict, Window


class Plausible:
    """Distrusts values outside the plausible range.

    >>> t = np.arange(3, dtype=np.int64)
    >>> verdict = Plausible().judge(Window("hr_bpm", "/min", 20, 300, t, np.array([72.0, 999.0, np.nan])))
    >>> verdict.suspect.tolist(), verdict.evidence
    ([False, True, False], '1 of 2 readings of hr_bpm is outside 20 to 300 /min: 999')
    """

    id = "plausible"
    looks_at = "values outside the plausible range of their signal"

    def judge(self, window: Window) -> Verdict:
        """(N,) suspects, and the most extreme of them in the evidence."""
        values = window.values
        suspect: Mask = (values < window.low) | (values > window.high)  # both False for NaN
        return Verdict(self.id, suspect, _evidence(window, values[suspect]) if suspect.any() else "")


def _evidence(window: Window, outside: Floats) -> str:
    beyond = np.maximum(window.low - outside, outside - window.high)
    worst, n = outside[int(np.argmax(beyond))], len(outside)
    given = int(np.count_nonzero(~np.isnan(window.values)))
    verb = "is" if n == 1 else "are"
    limits = f"{window.low:g} to {window.high:g} {window.unit}"
    which = f"{worst:g}" if n == 1 else f"the furthest is {worst:g}"
    return f"{n} of {given} readings of {window.channel} {verb} outside {limits}: {which}"


PLAUSIBLE: Detector = Plausible()
