"""A simulated patient as a sensor source, for machines without recordings. Says so in its source and its label.

The body is made by ``device/physiology.py`` in chunks of 10 s; a chunk takes a few ms and is made when its first
reading falls due, so the source never runs out and never falls behind.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from device.frame import Block, Source
from device.physiology import CHUNK_S, REFERENCE, Body, Traits, load_shapes
from device.source import make_block

Times = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_EXPONENTS = {
    "hr_bpm": 0, "resp_rpm": 0, "spo2_pct": 0, "ppg": -3, "gsr_uS": -3, "skin_temp_C": -2, "emg_activity_mV.zyg": -6,
    "emg_activity_mV.corr": -6, "emg_raw_mV.zyg": -5, "room_temp_C": 0, "room_rh_pct": 0,
}  # fmt: skip


@dataclass(slots=True)
class _Waiting:
    """Readings of one channel that were made and are not due yet."""

    period_us: int
    times_us: Times = field(default_factory=lambda: np.empty(0, np.int64))
    values: Floats = field(default_factory=lambda: np.empty(0))


class Simulator:
    """A believable, endless, made-up patient in a room."""

    source = Source.SIMULATED
    label = "simulated patient"
    channels = tuple(_EXPONENTS)
    finished = False

    def __init__(self, seed: int = 0, traits: Traits = REFERENCE) -> None:
        """The same seed and traits give the same patient. Takes about 2 s: it imports neurokit2."""
        self._body = Body(load_shapes(seed), np.random.default_rng(seed), traits)
        self._waiting = dict[str, _Waiting]()
        self._start_us = 0
        self._made_us = 0  # how far the body has been made, since the start

    def start(self, now_ms: int) -> None:
        """The first readings are due at `now_ms`."""
        self._start_us = now_ms * 1000

    def due(self, now_ms: int) -> list[Block]:
        """Readings that have become due."""
        elapsed_us = now_ms * 1000 - self._start_us
        while self._made_us <= elapsed_us:
            self._make()
        blocks = list[Block]()
        for channel, waiting in self._waiting.items():
            end = int(np.searchsorted(waiting.times_us, elapsed_us, side="right"))
            if end:
                times_us = waiting.times_us[:end] + self._start_us
                values, waiting.values = np.split(waiting.values, [end])
                waiting.times_us = waiting.times_us[end:]
                blocks.append(make_block(channel, times_us, values, _EXPONENTS[channel], waiting.period_us))
        return blocks

    def _make(self) -> None:
        for channel, (values, rate_hz) in self._body().items():
            period_us = round(1e6 / rate_hz)
            waiting = self._waiting.setdefault(channel, _Waiting(period_us))
            times_us = self._made_us + np.arange(len(values), dtype=np.int64) * period_us
            waiting.times_us = np.concatenate([waiting.times_us, times_us])
            waiting.values = np.concatenate([waiting.values, values])
        self._made_us += CHUNK_S * 1_000_000
