"""How each signal is forecast: its grid, its horizon, the gap ages that are looked at, whether it is trained.

One row a signal of the table; a signal without a row here gets its nominal period and a short horizon. Ages are
log-spaced, so that a gap of five minutes costs hardly more than one of five seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from device.signals import SIGNALS
from twin_engine.messages import Floats

Ints = npt.NDArray[np.int64]
Floats32 = npt.NDArray[np.float32]

# "ridge" learns from everybody; "ridge:FOLDER" only from those who wore that make of device.
LEVEL_BASES = ("ridge", "locf", "ar", "mean", "kalman")


@dataclass(frozen=True, slots=True)
class Plan:
    """How one signal is forecast. `log_offset` (signal's unit): the model sees log(value + offset)."""

    signal: str
    grid_s: float
    horizon_s: float
    trained: bool = False
    log_offset: float | None = None
    bases: tuple[str, ...] = LEVEL_BASES  # the cheap forecasts that the network mixes and corrects
    dense_steps: int = 0  # every step up to this one is a node; beyond it nothing is known of a wave but its mean

    @property
    def arbitrary(self) -> bool:
        """Whether the signal's unit is the device's own, so that other people's level and scale say nothing."""
        return SIGNALS[self.signal].unit == "1"

    def forward(self, values: Floats) -> Floats:
        """Model space of `values` in the signal's unit; any shape, NaN stays NaN."""
        if self.log_offset is None:
            return values
        return np.log(np.maximum(values, 0.0) + self.log_offset)

    def inverse(self, values: Floats) -> Floats:
        """The inverse of :meth:`forward`, kept inside the signal's plausible range."""
        row = SIGNALS[self.signal]
        back = values if self.log_offset is None else np.exp(np.minimum(values, 50.0)) - self.log_offset
        return np.clip(back, row.low, row.high)


_TRAINED = (
    Plan("gsr_uS", 0.25, 300.0, True, bases=(*LEVEL_BASES, "ridge:emg_gsr", "ridge:wrist_e4")),
    Plan("emg_activity_mV", 0.1, 60.0, True, 2e-5),  # noise floors of 1e-5 to 1e-3 mV: activity is multiplicative
    Plan("skin_temp_C", 1.0, 300.0, True),
    Plan("hr_bpm", 1.0, 300.0, True, bases=(*LEVEL_BASES, "ridge:vitals_1hz", "ridge:wrist_e4")),
    Plan("spo2_pct", 1.0, 300.0, True),
    Plan("room_temp_C", 60.0, 1800.0, True),  # rooms are slow; below a minute the last value holds
    Plan("room_rh_pct", 60.0, 1800.0, True),
)
WAVE_BASES = ("wave-ar", "analog", "seasonal", "mean")  # from the patient's own last seconds alone
_WAVES = (  # grids on which a context of 536 steps holds some ten beats or breaths
    Plan("ppg", 1 / 32, 10.0, bases=WAVE_BASES, dense_steps=160),
    Plan("ecg_mV", 0.01, 5.0, bases=WAVE_BASES, dense_steps=300),
    Plan("resp_wave", 0.1, 20.0, bases=WAVE_BASES, dense_steps=150),
    Plan("emg_raw_mV", 0.01, 5.0, bases=WAVE_BASES, dense_steps=100),
    Plan("acc_g", 0.25, 60.0, bases=WAVE_BASES, dense_steps=64),
    Plan("mag_uT", 0.1, 60.0, bases=WAVE_BASES, dense_steps=64),
)
_SIMPLE = {
    "pressure_hPa": (10.0, 3600.0),
    "light_lux": (10.0, 600.0),
}
_SIMPLE_HORIZON_S = 120.0  # a signal nobody has studied here


def _plans() -> dict[str, Plan]:
    plans = {plan.signal: plan for plan in (*_TRAINED, *_WAVES)}
    for row in SIGNALS.values():
        grid_s, horizon_s = _SIMPLE.get(row.id, (row.period_s, _SIMPLE_HORIZON_S))
        plans.setdefault(row.id, Plan(row.id, grid_s, horizon_s, bases=()))
    return plans


PLANS: dict[str, Plan] = _plans()


@cache
def node_steps(signal: str) -> Ints:
    """(N,) gap ages in grid steps at which a signal is forecast: 1 2 3 4 6 8 12 16 24 … up to the horizon."""
    plan = PLANS[signal]
    last = round(plan.horizon_s / plan.grid_s)
    powers = [2**k for k in range(last.bit_length())]
    ladder = {1, *powers, *(3 * p // 2 for p in powers[1:])}
    ladder |= set(range(1, plan.dense_steps + 1))
    nodes: Ints = np.array([*sorted(n for n in ladder if n < 0.9 * last), last], np.int64)
    nodes.setflags(write=False)
    return nodes


def node_ages_s(signal: str) -> Floats:
    """(N,) the same ages in seconds."""
    return node_steps(signal).astype(np.float64) * PLANS[signal].grid_s
