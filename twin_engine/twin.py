"""The twin of one patient: a pure fold over messages. Same messages, same twin, wherever and whenever they are folded.

:func:`fold` takes the twin as it was and one message, and returns the twin as it is now and what was made. Time passes
only through ticks; randomness is seeded by what is forecast; the generative model is an argument. What a channel does
with readings and silence is in :mod:`twin_engine.channel`; here messages find their channels, and the story is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from device.signals import channel
from twin_engine.channel import pass_time, take
from twin_engine.channel_state import ChannelState, Surroundings, new_channel
from twin_engine.messages import (
    REVISED,
    Acted,
    Assigned,
    CommandResult,
    Event,
    Message,
    Output,
    Provenance,
    Readings,
    Recorded,
    Refused,
    Released,
    Tick,
)
from twin_engine.synthesise import Forecaster

DEFAULT_FRAME_INTERVAL_US = 2_000_000
_RECENT = 5  # frames over which the beat and the delay are learnt
HEALTHY_DELAY_MS = 500
_FRAME_INTERVAL_RANGE_MS = (100, 60_000)
VIEW_MARGIN_S = 0.5
MAX_CHANNELS = 64  # of one patient; what a device claims beyond is left out


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What the twin knows of the patient's device."""

    id: str = ""
    source: str = ""  # sensor, recording, simulated
    last_frame_ms: int = 0
    intervals_ms: tuple[int, ...] = ()
    delays_ms: tuple[int, ...] = ()  # of recent frames: engine's clock minus device's, when they came
    unplugged: tuple[str, ...] = ()  # channels the device confirmed as unplugged

    @property
    def behind_us(self) -> int:
        """How far the device's clock, or its way to us, lags for good: the least of the recent delays."""
        least = min(self.delays_ms, default=0)
        return least * 1000 if least > HEALTHY_DELAY_MS else 0

    @property
    def frame_interval_us(self) -> int:
        """The usual time between frames: median of the recent ones."""
        if not self.intervals_ms:
            return DEFAULT_FRAME_INTERVAL_US
        return sorted(self.intervals_ms)[len(self.intervals_ms) // 2] * 1000


@dataclass(frozen=True, slots=True)
class Twin:
    """The state of one patient's twin."""

    patient: str
    at_ticks: bool = False  # offline: every tick is a time to show; live: each channel keeps its own grid
    now_us: int = 0
    device: DeviceState = field(default_factory=DeviceState)
    channels: Mapping[str, ChannelState] = field(default_factory=dict)
    refused: int = 0

    @property
    def view_lag_s(self) -> float:
        """How far behind the engine's clock a screen must run, so that a trace never freezes before a gap shows."""
        return (2 * self.device.frame_interval_us + self.device.behind_us) / 1e6 + VIEW_MARGIN_S


def fold(twin: Twin, message: Message, forecaster: Forecaster) -> tuple[Twin, Output]:
    """The twin after one message, and what that made. Readings of unknown sensors are told once and left out."""
    match message:
        case Readings():
            return _readings(twin, message, forecaster)
        case Tick():
            return _tick(twin, message, forecaster)
        case Refused():
            event = Event(message.t_ms, "refused", "alarm", message.detail)
            return replace(twin, refused=twin.refused + 1), Output(events=(event,))
        case CommandResult():
            return _command(twin, message)
        case Assigned():
            text = f"device {message.device} now speaks for this patient"
            event = Event(message.t_ms, "assigned", "info", text)
            return replace(twin, device=DeviceState(id=message.device)), Output(events=(event,))
        case Released() | Recorded() | Acted():
            return twin, Output()


def status(twin: Twin) -> dict[str, Any]:
    """What the page shows besides traces; its shape is described in ARCHITECTURE.md."""
    device = twin.device
    return {
        "t": twin.now_us / 1e6,
        "patient": twin.patient,
        "devices": {
            device.id: {
                "source": device.source,
                "last_frame_s": device.last_frame_ms / 1e3,
                "unplugged": list(device.unplugged),
            }
        }
        if device.id
        else {},
        "view_lag_s": twin.view_lag_s,
        "frame_interval_s": device.frame_interval_us / 1e6,
        "refused": twin.refused,
        "channels": {name: _channel_status(state) for name, state in twin.channels.items()},
    }


def _readings(twin: Twin, message: Readings, forecaster: Forecaster) -> tuple[Twin, Output]:
    """Each channel takes its readings; the device's beat is learnt from live frames."""
    channels = dict(twin.channels)
    outputs = list[Output]()
    for block in message.channels:
        if channel(block.channel) is None or (block.channel not in channels and len(channels) >= MAX_CHANNELS):
            continue
        before = channels.get(block.channel) or new_channel(block.channel, forecaster)
        near = surroundings(twin, channels, forecaster)
        after, made = take(before, block.times_us, block.values, near, message.live)
        channels[block.channel] = after
        outputs.append(made)
    unknown = [b.channel for b in message.channels if channel(b.channel) is None]
    if unknown and twin.device.last_frame_ms == 0:
        text = f"device {message.device} sends {', '.join(unknown)}, of which no signal row is known; not shown"
        outputs.append(Output(events=(Event(message.frame_ms, "device", "warning", text),)))
    device = _heard(twin.device, message, twin.now_us) if message.live and not twin.at_ticks else twin.device
    return replace(twin, channels=channels, device=device), joined(outputs)


def _tick(twin: Twin, message: Tick, forecaster: Forecaster) -> tuple[Twin, Output]:
    """Time passes for every channel. A clock that stepped back changes nothing."""
    if message.t_us <= twin.now_us:
        return twin, Output()
    channels = dict(twin.channels)
    outputs = list[Output]()
    late_us = twin.device.behind_us
    for name, state in twin.channels.items():
        channels[name], made = pass_time(state, message.t_us - late_us, surroundings(twin, channels, forecaster))
        outputs.append(made)
    return replace(twin, now_us=message.t_us, channels=channels), joined(outputs)


def _command(twin: Twin, message: CommandResult) -> tuple[Twin, Output]:
    """What the device answered becomes part of the story, and of what is known about it."""
    device = twin.device
    touched = message.payload.get("channels")
    if message.name == "sensor" and message.status == 200 and isinstance(touched, list):
        names = {str(name) for name in touched}
        off = set(device.unplugged) - names if message.payload.get("connected") else set(device.unplugged) | names
        device = replace(device, unplugged=tuple(sorted(off)))
    obeyed = message.status == 200
    event = Event(message.t_ms, "command", "info" if obeyed else "warning", _answer_text(message))
    return replace(twin, device=device), Output(events=(event,))


def _answer_text(message: CommandResult) -> str:
    if message.status != 200:
        return f"{message.device} did not carry out '{message.name}' (status {message.status}); nothing changed"
    if message.name == "sensor":
        touched = message.payload.get("channels")
        labels = [row.label for name in (touched if isinstance(touched, list) else []) if (row := channel(str(name)))]
        state = "plugged in" if message.payload.get("connected") else "unplugged"
        return f"{message.device} confirms: {', '.join(labels) or 'no such sensor'} {state}"
    return f"{message.device} confirms: {message.name}"


def _heard(device: DeviceState, message: Readings, now_us: int) -> DeviceState:
    """The device's own state after a live frame."""
    low, high = _FRAME_INTERVAL_RANGE_MS
    step = message.frame_ms - device.last_frame_ms
    intervals = device.intervals_ms
    if device.last_frame_ms and low <= step <= high and message.channels:  # an empty frame is a sign of life, no beat
        intervals = (*intervals, step)[-_RECENT:]
    delays = (*device.delays_ms, max(0, now_us // 1000 - message.frame_ms))[-_RECENT:]
    newest = max(device.last_frame_ms, message.frame_ms)
    return DeviceState(message.device, message.source, newest, intervals, delays, device.unplugged)


def surroundings(twin: Twin, channels: Mapping[str, ChannelState], forecaster: Forecaster) -> Surroundings:
    others = {name: state.window for name, state in channels.items()}
    interval = 0 if twin.at_ticks else twin.device.frame_interval_us
    return Surroundings(twin.patient, forecaster, others, interval, twin.at_ticks)


def joined(outputs: list[Output]) -> Output:
    return Output(
        tuple(s for made in outputs for s in made.samples),
        tuple(s for made in outputs for s in made.revisions),
        tuple(e for made in outputs for e in made.events),
    )


def _channel_status(state: ChannelState) -> dict[str, Any]:
    row, shown = state.row, state.shown
    facts: dict[str, Any] = {
        "label": row.label,
        "signal": row.signal.id,
        "unit": row.signal.unit,
        "kind": str(row.signal.kind),
        "region": row.region,
        "resolution": row.signal.resolution,
        "period_s": state.period_us / 1e6,
        "learning": state.learnt.calibration.learning,
        "scored": state.learnt.calibration.scored,
        "coverage": state.learnt.monitor.coverage,
        "drift": state.drift,
        "quality": {"verdict": state.quality.verdict, "reason": state.quality.reason},
        "last_reading_s": None if state.last_us is None else state.last_us / 1e6,
        "provenance": "none",
    }
    if shown is not None:
        facts |= {
            "provenance": Provenance(shown.provenance & ~REVISED).name.lower(),
            "method": shown.method,
            "value": _finite(shown.value),
            "lower": _finite(shown.lower),
            "upper": _finite(shown.upper),
            "confidence": shown.confidence,
            "since_s": shown.since_us / 1e6,
        }
    return facts


def _finite(value: float) -> float | None:
    """JSON knows no NaN."""
    return value if value == value else None
