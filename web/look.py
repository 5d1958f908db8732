"""How a signal looks on a page: a person's unit, digits, colour and order. Derived from the table of signals.

Colours are for data only. Where bedside monitors have a custom (heart green, oxygen cyan, breath yellow) it is kept;
a signal without a row here gets one of the spare colours, so that a new sensor needs no change in this file.
"""

from __future__ import annotations

import math
from functools import cache

from device.signals import SIGNALS, Kind, Signal

_UNITS = {"Cel": "°C", "uS": "µS", "uT": "µT", "[g]": "g", "lx": "lx", "1": ""}  # UCUM to print
_MICRO = {"mV": "µV"}  # printed in micro-units where the sensor resolves them
_MICRO_BELOW = 1e-4
_MAX_DIGITS = 2
_COLOURS = {
    "hr_bpm": "#3ddc84", "ecg_mV": "#3ddc84", "spo2_pct": "#35d0e6", "ppg": "#35d0e6",
    "resp_rpm": "#f2d65c", "resp_wave": "#f2d65c", "emg_activity_mV": "#ff8fa8", "emg_raw_mV": "#d98aa0",
    "gsr_uS": "#b69cff", "skin_temp_C": "#ffa07a", "room_temp_C": "#8ab4f8", "room_rh_pct": "#6fd3c5",
    "acc_g": "#c8d36b",
}  # fmt: skip
_SPARE = ("#9bd1a0", "#d3a6e8", "#a8c7dc", "#d8c3a5")


def looks() -> dict[str, dict[str, object]]:
    """signal id -> {label, unit, factor, digits, color, order, limits, minSpan}, the last two in the signal's unit."""
    return {row.id: _look(row, order) for order, row in enumerate(SIGNALS.values())}


@cache
def _look(row: Signal, order: int) -> dict[str, object]:
    micro = row.unit in _MICRO and row.resolution < _MICRO_BELOW
    factor = 1000.0 if micro else 1.0
    return {
        "label": row.label,
        "unit": _MICRO[row.unit] if micro else _UNITS.get(row.unit, row.unit),
        "factor": factor,
        "digits": max(0, min(_MAX_DIGITS, round(-math.log10(row.resolution * factor)))),
        "color": _COLOURS.get(row.id, _SPARE[order % len(_SPARE)]),
        "order": _ORDER[row.kind] * 100 + order,
        "limits": [row.low, row.high],
        "minSpan": 4 * row.tolerance.absolute if row.kind is Kind.LEVEL else 10 * row.resolution,
    }


_ORDER = {Kind.ENVELOPE: 0, Kind.LEVEL: 0, Kind.WAVE: 1}  # numbers a person reads come before raw waves
