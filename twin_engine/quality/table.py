"""The quality rules, one row each: which signals, what is measured, the limit, the words, and where the limit is from.

Limits that quote no paper were set on the training people of the recordings and checked on the others; docs/normal.md
has the numbers. "bad" is evidence against the sensor; "doubtful" is what a patient could, seldom, do as well.
The order is the order of telling: the first bad rule decides, else the first doubtful one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from device.signals import SIGNALS
from twin_engine.quality import marks, waves
from twin_engine.quality.marks import Mark, Stretch

BAD, DOUBTFUL = "bad", "doubtful"
LEAST_READINGS = 3  # of a stretch; with fewer nothing is said
_HOLD_S = 5.0  # Kleckner: what lies within 5 s of an invalid reading is invalid as well

_ANY = float("inf")  # of a unit that is the device's own, no resolution is usual

_KLECKNER = "Kleckner et al. 2018, IEEE Trans Biomed Eng 65:1460, doi 10.1109/TBME.2017.2758643"
_TRAINING = "training people of the recordings"
_TABLE = "range of the signal's row, device/signals.py"


@dataclass(frozen=True, slots=True)
class Rule:
    """`words` is filled with the number seen, the limit and the unit. `least` blamed readings in `hold_s` speak."""

    id: str
    verdict: str
    mark: Callable[[Stretch], Mark]
    words: str
    source: str
    hold_s: float = _HOLD_S
    least: int = 1
    relative: bool = False  # compares with the stretch itself: only what came last was judged as it is live
    live_only: bool = False  # about what did not come; in training such stretches are wanted


def _stuck(limit_s: float, readings: int, usual: float, verdict: str = BAD) -> Rule:
    words = "stuck: the same value for {0:.0f} s, limit {1:.0f} s"
    return Rule(
        "stuck", verdict, partial(marks.stuck, limit_s=limit_s, readings=readings, usual=usual), words, _TRAINING
    )


def _jump(
    name: str, verdict: str, words: str, lag_s: float, limit: float, relative: float = 0.0, source: str = _TRAINING
) -> Rule:
    text = words + ": {0:.3g} {2} " + f"within {lag_s:g} s" + ", limit {1:.3g} {2}"
    return Rule(name, verdict, partial(marks.jump, lag_s=lag_s, limit=limit, relative=relative), text, source)


def _wrapped(within_s: float) -> Rule:
    words = "wrapped: one step over {0:.0f} % of the wave's swing, limit {1:.0f} %"
    return Rule("wrapped", BAD, partial(waves.across, share=0.8, within_s=within_s), words, _TRAINING)


_CLIPPED = Rule(
    "clipped", BAD, partial(waves.rails, run=6, visits=4),
    "clipped: {0:.0f} readings at exactly the same extreme", _TRAINING,
)  # fmt: skip
_SHAKEN = Rule(
    "movement", DOUBTFUL, partial(waves.shaken, times=4.0),
    "movement: a swing of {0:.2g} times the usual, limit {1:.2g}", _TRAINING, hold_s=2.0, relative=True,
)  # fmt: skip
_PULSELESS = Rule(
    "no-pulse", DOUBTFUL, partial(waves.pulseless, least=0.3),
    "no steady pulse: periodicity {0:.2f}, least {1:.2f}",
    _TRAINING,
)  # fmt: skip
_OFF_GSR = Rule(
    "electrode-off", BAD, partial(marks.below, limit=0.05), "electrode off: {0:.2g} {2}, below {1:.2g} {2}", _KLECKNER
)
_BURST = Rule(
    "burst", BAD, partial(marks.burst, times=4.0, spreads=12.0),
    "burst: {0:.2g} times the usual high, limit {1:.2g}", _TRAINING, least=10, relative=True,
)  # fmt: skip
_LOSSY = Rule(
    "few-readings", DOUBTFUL, partial(marks.lossy, share=0.5),
    "few readings: {0:.0f} % came, least {1:.0f} %", "half of the readings", live_only=True,
)  # fmt: skip

_OWN: dict[str, tuple[Rule, ...]] = {
    "gsr_uS": (
        _OFF_GSR,
        _jump("spike", BAD, "spike", 0.25, 2.5, source=_KLECKNER + ": 10 uS/s"),
        _stuck(15.0, 30, 0.001),
        _jump("contact", DOUBTFUL, "contact moves", 0.25, 0.25, relative=0.25),
    ),
    "emg_activity_mV": (_stuck(2.0, 10, 1e-6), _BURST),
    "emg_raw_mV": (_stuck(0.5, 50, 1e-5), _CLIPPED),
    "skin_temp_C": (
        _jump("sensor-off", BAD, "sensor off the skin", 10.0, 0.6),
        _stuck(60.0, 30, 0.01),
    ),
    "hr_bpm": (
        _jump("impossible-rate", DOUBTFUL, "impossible rate", 1.0, 25.0),
        _stuck(180.0, 100, 1.0, DOUBTFUL),
    ),
    "spo2_pct": (
        _jump("impossible-rate", DOUBTFUL, "impossible rate", 1.0, 5.0),
        _stuck(480.0, 400, 1.0, DOUBTFUL),
    ),
    "room_temp_C": (_stuck(8.5 * 3600, 10, 0.1),),
    "room_rh_pct": (_stuck(8.5 * 3600, 10, 1.0),),
    "ecg_mV": (_stuck(1.0, 50, 0.001), _CLIPPED, _wrapped(0.005)),
    "ppg": (_stuck(1.0, 30, _ANY), _CLIPPED, _wrapped(0.04), _SHAKEN, _PULSELESS),
    "resp_wave": (_stuck(3.0, 30, _ANY), _CLIPPED, _wrapped(0.1)),
}


def _rows() -> dict[str, tuple[Rule, ...]]:
    """The rules of every signal: range first, then its own, then losses."""
    rules = {}
    for signal, row in SIGNALS.items():
        outside = partial(marks.outside, low=row.low, high=row.high)
        words = "outside what the sensor can measure: {0:.3g} {2}, limit {1:.3g} {2}"
        rules[signal] = (Rule("out-of-range", BAD, outside, words, _TABLE), *_OWN.get(signal, ()), _LOSSY)
    return rules


RULES: dict[str, tuple[Rule, ...]] = _rows()
