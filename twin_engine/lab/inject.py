"""Seven ways to falsify a channel, at three magnitudes each, at frozen places of a recording.

What an attacker or a failing sensor does to the numbers: they are rounded as the sensor rounds, and kept in its range.
Magnitudes are in the person's own standard deviation unless said otherwise. A new way is a function and a row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from device.signals import SIGNALS
from twin_engine.calibrate import learn_decimals
from twin_engine.lab.vus import Event, Mask
from twin_engine.messages import Floats

WARM_S = 60.0  # at the start nothing is falsified, and nothing is judged
_APART_S = (240.0, 60.0)  # between events, in long and in short recordings
_SHORT_S = 900.0
_REPLAY_AGE_S = 30.0  # a replayed stretch ended at least so long ago

# all readings (N,), index of the event's first, how many, magnitude in the signal's unit, random numbers -> (n,)
_Falsify = Callable[[Floats, int, int, float, np.random.Generator], Floats]


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One way to falsify. `magnitudes` are seconds where `lasts_s` is 0, factors where `plain`, else SDs."""

    name: str
    falsify: _Falsify
    magnitudes: tuple[float, float, float]
    lasts_s: float  # 0: as long as the magnitude says
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Falsified:
    """A recording's channel with events. N readings."""

    values: Floats  # (N,)
    labels: Mask  # (N,) inside an event
    events: list[Event]


def _freeze(x: Floats, at: int, n: int, _size: float, _rng: np.random.Generator) -> Floats:
    return np.full(n, x[at - 1])


def _shift(x: Floats, at: int, n: int, size: float, rng: np.random.Generator) -> Floats:
    return np.asarray(x[at : at + n] + rng.choice([-1, 1]) * size)


def _noise(x: Floats, at: int, n: int, size: float, rng: np.random.Generator) -> Floats:
    return x[at : at + n] + rng.normal(0, size, n)


def _drift(x: Floats, at: int, n: int, size: float, rng: np.random.Generator) -> Floats:
    return np.asarray(x[at : at + n] + rng.choice([-1, 1]) * np.linspace(0, size, n))


def _replay(x: Floats, at: int, n: int, apart: float, rng: np.random.Generator) -> Floats:
    latest = at - n - int(apart)
    start = int(rng.integers(0, max(latest, 1)))
    return x[start : start + n]


def _scale(x: Floats, at: int, n: int, size: float, _rng: np.random.Generator) -> Floats:
    return np.asarray(x[at - 1] + (x[at : at + n] - x[at - 1]) * size)


ANOMALIES = (
    Anomaly("freeze", _freeze, (10.0, 30.0, 90.0), 0.0, True),
    Anomaly("level shift", _shift, (0.25, 0.5, 1.0), 40.0),
    Anomaly("noise", _noise, (0.05, 0.15, 0.3), 30.0),
    Anomaly("spike", _shift, (0.25, 0.5, 1.0), 1e-9),  # one reading
    Anomaly("slow drift", _drift, (0.5, 1.0, 2.0), 60.0),
    Anomaly("replay", _replay, (20.0, 40.0, 90.0), 0.0, True),
    Anomaly("impossible rate", _scale, (1.5, 2.0, 4.0), 30.0, True),
)


def inject(person: str, channel: str, values: Floats, period_s: float, anomaly: Anomaly, magnitude: float) -> Falsified:
    """`values` (N,) with events of one kind, at places that depend on names and the kind only."""
    name = hashlib.sha256(f"{person} {channel} {anomaly.name} {magnitude}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(name[:8], "big"))
    lasts_s = anomaly.lasts_s or magnitude
    n = max(1, round(lasts_s / period_s))
    apart = _APART_S[len(values) * period_s < _SHORT_S]
    size = magnitude if anomaly.plain else magnitude * float(np.std(values))
    size = _REPLAY_AGE_S / period_s if anomaly.name == "replay" else size
    first_s = max(WARM_S, lasts_s + _REPLAY_AGE_S) if anomaly.name == "replay" else WARM_S
    out, labels, events = values.copy(), np.zeros(len(values), np.bool_), list[Event]()
    at = round((first_s + rng.uniform(0, apart)) / period_s)
    while at + n < len(values) - 1:
        out[at : at + n] = anomaly.falsify(values, at, n, size, rng)
        labels[at : at + n] = True
        events.append((at, at + n - 1))
        at += n + round(rng.uniform(0.5, 1.5) * apart / period_s)
    return Falsified(_as_sensed(channel, values, out, labels), labels, events)


def _as_sensed(channel: str, before: Floats, after: Floats, labels: Mask) -> Floats:
    """The falsified readings rounded and bounded as the sensor's own."""
    row = SIGNALS[channel.partition(".")[0]]
    sensed = np.clip(np.round(after, learn_decimals(-1, before)), row.low, row.high)
    return np.where(labels, sensed, before)
