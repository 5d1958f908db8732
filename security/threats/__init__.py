"""What every detector of bad readings keeps to. One file a detector; each is pure and looks at one channel's window.

A detector speaks only on evidence against the message or the sensor, never because a value is alarming: a real
deterioration must not be hidden as an attack. It marks readings; whether they are quarantined, and that the raw
value stays visible, is the twin's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive readings of one channel, oldest first, and what is known of its signal."""

    channel: str
    unit: str
    low: float  # plausible range, in `unit`
    high: float
    times_us: Times  # (N,)
    values: Floats  # (N,) in `unit`; NaN where the sensor gave none
    # How rare each reading is on this channel, as tail probabilities; None where it was not scored. Detectors weigh
    # them: a rare reading may well be a patient's real change.
    residual_p: Floats | None = None  # (N,) of the error of a one-step forecast
    sustained_p: Floats | None = None  # (N,) of the last 16 such errors together
    run_p: Floats | None = None  # (N,) of so long a run of exactly equal readings
    reconstruction_p: float = 1.0  # of the newest stretch, by the generative model


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which readings a detector distrusts, and why."""

    detector: str
    suspect: Mask  # (N,)
    evidence: str  # one sentence for a clinician; "" where nothing is suspect


class Detector(Protocol):
    """A row in the table of detectors."""

    @property
    def id(self) -> str:
        """Short and stable: it appears in records and exports."""

    @property
    def looks_at(self) -> str:
        """What its evidence is, in words for the documentation."""

    def judge(self, window: Window) -> Verdict:
        """The verdict on each reading. NaN readings are never suspect: a missing value is a gap."""
