"""The table of signals: what can be measured, in which unit, how often, how exactly, and where on the body.

One row a signal. Adding a sensor is adding a row here; nothing else in the house names a signal. A *channel* is
one source of a signal on a device: its id is the signal's id, or ``signal.part`` where a device has several
(two DHT11s, two muscles, three axes). Recordings carry channels as columns; :func:`channel_of_column` maps one
to the other, and columns without a row belong to no channel.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
import numpy.typing as npt


class Kind(StrEnum):
    """How a signal behaves, which decides how it is drawn and how a gap in it is filled."""

    LEVEL = "level"  # slow quantity, meaningful sample by sample
    ENVELOPE = "envelope"  # smoothed activity of a faster wave
    WAVE = "wave"  # its shape carries the meaning


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a shown value may lie from what the sensor would have reported and still count as right."""

    absolute: float  # in the signal's unit
    relative: float  # fraction of the true value
    source: str

    def at(self, value: float) -> float:
        """Tolerance in the signal's unit around `value`: the larger of the absolute and the relative part."""
        return max(self.absolute, self.relative * abs(value))

    def at_each(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The same around each of `values`, any shape."""
        return np.maximum(self.absolute, self.relative * np.abs(values))


@dataclass(frozen=True, slots=True)
class Signal:
    """One measured quantity. `columns` are regular expressions; a group named `part` names the channel."""

    id: str
    label: str
    unit: str  # UCUM, https://ucum.org
    kind: Kind
    period_s: float  # nominal; the true one is learnt from the readings
    low: float  # plausible range, in `unit`; outside it a reading is distrusted
    high: float
    resolution: float  # the sensor's own step, in `unit`; synthesised values are rounded to it
    tolerance: Tolerance
    region: str  # body region it is shown on
    columns: tuple[str, ...]
    code: str | None = None  # LOINC, or MDC (ISO/IEEE 11073-10101) where LOINC has none


@dataclass(frozen=True, slots=True)
class Channel:
    """One source of a signal on a device."""

    id: str
    signal: Signal
    part: str  # "" where the device has a single source

    @property
    def label(self) -> str:
        """What a person reads: the signal's label and, where there are several, the part's name."""
        return f"{self.signal.label} {_PART_LABELS.get(self.part, self.part)}".strip()

    @property
    def region(self) -> str:
        """Body region: the part's own where it has one (a cheek muscle), else the signal's."""
        return _PART_REGIONS.get(self.part, self.signal.region)


_DHT11 = "DHT11 data sheet, Aosong: accuracy 2 Cel, 5 %RH"
_CLINICAL = "clinical relevance chosen by the project, docs/clinical-safety.md"

_ROWS = (
    Signal("hr_bpm", "Heart rate", "/min", Kind.LEVEL, 1.0, 20, 300, 1.0,
           Tolerance(5, 0.10, "ANSI/AAMI EC13: the larger of 10 % and 5 /min"), "chest",
           (r"hr_bpm", r"(?P<part>pulse)_bpm"), "8867-4"),
    Signal("spo2_pct", "SpO₂", "%", Kind.LEVEL, 1.0, 30, 100, 1.0,
           Tolerance(2, 0, "half of the 4 % Arms of ISO 80601-2-61"), "finger", (r"spo2_pct",), "59408-5"),
    Signal("resp_rpm", "Respiration", "/min", Kind.LEVEL, 1.0, 2, 80, 1.0,
           Tolerance(2, 0, _CLINICAL), "chest", (r"resp_rpm",), "9279-1"),
    Signal("ecg_mV", "ECG", "mV", Kind.WAVE, 0.004, -10, 10, 0.001,
           Tolerance(0.1, 0, _CLINICAL), "chest", (r"ecg_mV", r"ecg_(?P<part>ii|v|mcl1)_mV"), "11524-6"),
    Signal("ppg", "PPG", "1", Kind.WAVE, 0.016, -1e6, 1e6, 0.001,
           Tolerance(0, 0.10, _CLINICAL), "finger", (r"bvp", r"ppg_(?:V|mV|nu)", r"(?:ppg|bvp)_raw", r"pleth_nu"),
           "MDC_PULS_OXIM_PLETH"),
    Signal("resp_wave", "Breath", "1", Kind.WAVE, 0.04, -1e6, 1e6, 0.001,
           Tolerance(0, 0.15, _CLINICAL), "chest", (r"rsp_V", r"resp_nu"), "MDC_RESP"),
    Signal("emg_activity_mV", "EMG", "mV", Kind.ENVELOPE, 0.1, 0, 10, 1e-6,
           Tolerance(0.00002, 0.25, _CLINICAL), "forearm",
           (r"emg_(?P<part>[a-z]+)_avg_mV", r"emg_avg_mV"), "MDC_EMG_ELEC_POTL_MUSCL"),
    Signal("emg_raw_mV", "EMG raw", "mV", Kind.WAVE, 0.001, -20, 20, 1e-5,
           Tolerance(0.01, 0, _CLINICAL), "forearm",
           (r"emg_(?P<part>(?!avg)[a-z]+)_mV", r"emg_mV"), "MDC_EMG_ELEC_POTL_MUSCL"),
    Signal("gsr_uS", "Skin conductance", "uS", Kind.LEVEL, 0.25, 0, 100, 0.001,
           Tolerance(0.05, 0.05, _CLINICAL), "palm", (r"scl_uS", r"eda_uS", r"gsr_uS"), "MDC_EDA"),
    Signal("skin_temp_C", "Skin temperature", "Cel", Kind.LEVEL, 0.25, 10, 45, 0.01,
           Tolerance(0.3, 0, "ISO 80601-2-56 laboratory accuracy, 0.3 Cel"), "wrist", (r"skin_temp_C",), "39106-0"),
    Signal("room_temp_C", "Room temperature", "Cel", Kind.LEVEL, 2.0, -40, 80, 0.1,
           Tolerance(1.0, 0, _DHT11), "room",
           (r"temp_C", r"room_temp_C", r"(?P<part>dht(?:11_[ab]|22))_temp_C"), "60832-3"),
    Signal("room_rh_pct", "Room humidity", "%", Kind.LEVEL, 2.0, 0, 100, 1.0,
           Tolerance(5.0, 0, _DHT11), "room",
           (r"rh_pct", r"room_rh_pct", r"(?P<part>dht(?:11_[ab]|22))_rh_pct"), "65643-9"),
    Signal("acc_g", "Acceleration", "[g]", Kind.WAVE, 0.25, -16, 16, 0.001,
           Tolerance(0.05, 0, _CLINICAL), "wrist", (r"acc_(?P<part>[xyz])_g",), None),
    Signal("pressure_hPa", "Air pressure", "hPa", Kind.LEVEL, 10.0, 300, 1200, 0.01,
           Tolerance(1.0, 0, "FBM320 data sheet: 1 hPa absolute"), "room", (r"pressure_hPa",), "3141-9"),
    Signal("light_lux", "Light", "lx", Kind.LEVEL, 10.0, 0, 120_000, 1.0,
           Tolerance(5, 0.20, "BH1750 data sheet: factor 0.96 to 1.44"), "room", (r"light_lux",), None),
    Signal("mag_uT", "Magnetic field", "uT", Kind.WAVE, 0.1, -1000, 1000, 0.1,
           Tolerance(2, 0, "MAG3110 data sheet: noise and offset"), "room", (r"mag_(?P<part>[xyz])_uT",), None),
)  # fmt: skip

SIGNALS: dict[str, Signal] = {row.id: row for row in _ROWS}

_PART_LABELS = {
    "zyg": "cheek", "corr": "brow", "fds": "finger flexor", "ap": "thumb", "dht11_a": "DHT11 a",
    "dht11_b": "DHT11 b", "dht22": "DHT22", "ii": "II", "v": "V", "mcl1": "MCL1", "pulse": "(pulse)",
}  # fmt: skip
_PART_REGIONS = {"zyg": "cheek", "corr": "brow", "pulse": "finger"}
_PART = re.compile(r"[A-Za-z0-9_]{0,32}")


@lru_cache(4096)  # ids come from devices
def channel(channel_id: str) -> Channel | None:
    """The channel of that id, or None where no signal row matches (an unknown sensor)."""
    signal_id, _, part = channel_id.partition(".")
    row = SIGNALS.get(signal_id)
    if row is None or not _PART.fullmatch(part):
        return None
    return Channel(channel_id, row, part)


@lru_cache(4096)
def channel_of_column(column: str) -> Channel | None:
    """The channel that a recording's column carries, or None where the column has no signal row."""
    for row in _ROWS:
        for pattern in row.columns:
            if match := re.fullmatch(pattern, column):
                part = match.groupdict().get("part") or ""
                return Channel(f"{row.id}.{part}" if part else row.id, row, part)
    return None
