"""What a device does when it is told to: direct methods and desired settings, as a table of small functions.

A method changes :class:`Controls` and says in its answer what it did, or says what it expected and changes nothing.
Whether it is the engine that tells it was proven before (``device/orders.py``). No I/O; ``device/uplink.py`` brings the
words in and acts on the controls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Answer = tuple[int, dict[str, object]]

MIN_INTERVAL_S, DEFAULT_INTERVAL_S, MAX_INTERVAL_S = 0.05, 2.0, 60.0  # between two frames


@dataclass(slots=True)
class Controls:
    """What can be changed from outside while the device runs."""

    channels: tuple[str, ...]
    interval_s: float
    unplugged: set[str] = field(default_factory=set)  # channel ids whose readings are not taken
    tampering: int = 0  # true envelopes that get a forged copy sent ahead
    identified: int = 0  # how often somebody asked which device this is


def answer(controls: Controls, name: str, payload: object) -> Answer:
    """Carries out method `name`. (200, what was done), or 400 or 404 and what was expected."""
    method = _METHODS.get(name)
    if method is None:
        return 404, {"error": f"expected one of {', '.join(_METHODS)}, got {name[:40]!r}; nothing was done"}
    return method(controls, payload if isinstance(payload, Mapping) else {})


def interval_s(value: object) -> float | None:
    """`value` as a frame interval in seconds, or None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if MIN_INTERVAL_S <= value <= MAX_INTERVAL_S else None


def _sensor(controls: Controls, payload: Mapping[str, object]) -> Answer:
    signal, connected = payload.get("signal"), payload.get("connected")
    channels = [c for c in controls.channels if isinstance(signal, str) and signal and c.startswith(signal)]
    if not channels or not isinstance(connected, bool):
        return 400, {
            "error": f"expected a signal of this device and connected true or false, got {str(dict(payload))[:80]}; "
            "nothing was done",
            "channels": list(controls.channels),
        }
    if connected:
        controls.unplugged.difference_update(channels)
    else:
        controls.unplugged.update(channels)
    return 200, {"connected": connected, "channels": channels}


def _frame_interval(controls: Controls, payload: Mapping[str, object]) -> Answer:
    seconds = interval_s(payload.get("seconds"))
    if seconds is None:
        got = str(payload.get("seconds"))[:40]
        return 400, {"error": f"expected {MIN_INTERVAL_S} to {MAX_INTERVAL_S} seconds, got {got}; nothing was changed"}
    controls.interval_s = seconds
    return 200, {"seconds": seconds}


def _identify(controls: Controls, payload: Mapping[str, object]) -> Answer:
    controls.identified += 1
    return 200, {"identified": controls.identified, "channels": list(controls.channels)}


def _tamper(controls: Controls, payload: Mapping[str, object]) -> Answer:
    controls.tampering += 1
    return 200, {"tampering": True}


SETTINGS = frozenset({"frame_interval"})  # methods that may also come as a desired property, and then last

_METHODS: dict[str, Callable[[Controls, Mapping[str, object]], Answer]] = {
    "sensor": _sensor,
    "identify": _identify,
    "frame_interval": _frame_interval,
    "tamper": _tamper,
}
