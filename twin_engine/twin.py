"""The twin of one patient: a pure fold over messages. Same messages, same twin, wherever and whenever they are folded.

:func:`fold` takes the twin as it was and one message, and returns the twin as it is now and what was made. Time passes
only through ticks; randomness is seeded by what is forecast; the generative model is an argument. What a channel does
with readings and silence is in :mod:`twin_engine.channel`; here messages find their channels, and then the alarms look
at what came of it. Offline there are no alarms: a recording has nobody at the bedside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from device.signals import channel
from twin_engine import alarm_limits, alarm_sensors, setback
from twin_engine.alarms import Alarms, Desk
from twin_engine.channel import pass_time, take
from twin_engine.channel_state import ChannelState, Surroundings, new_channel
from twin_engine.devices import DEFAULT_FRAME_INTERVAL_US, Claims, DeviceState, Owner
from twin_engine.messages import (
    Acted,
    Assigned,
    CommandResult,
    Event,
    Message,
    Output,
    Readings,
    Recorded,
    Refused,
    Released,
    SetBack,
    Tick,
)
from twin_engine.synthesise import Forecaster
from twin_engine.told import told

TICKS_US = (50_000, 250_000)  # time passes no oftener, and no more seldom, than this
_RELEASED = 8  # devices remembered as released, so that what is left in their spools makes none of them speak again


@dataclass(frozen=True, slots=True)
class Twin:
    """The state of one patient's twin."""

    patient: str
    at_ticks: bool = False  # offline: every tick is a time to show; live: each channel keeps its own grid
    now_us: int = 0
    devices: Mapping[str, DeviceState] = field(default_factory=dict)
    channels: Mapping[str, ChannelState] = field(default_factory=dict)
    owners: Mapping[str, Owner] = field(default_factory=dict)  # of channels; one whose device was released has none
    released: tuple[str, ...] = ()  # devices, newest last
    refused: int = 0
    alarms: Alarms = field(default_factory=Alarms)

    @property
    def tick_us(self) -> int:
        """How often time should pass: as often as frames come, within TICKS_US."""
        fastest = min((device.frame_interval_us for device in self.devices.values()), default=TICKS_US[1])
        return min(max(fastest, TICKS_US[0]), TICKS_US[1])

    @property
    def view_lag_s(self) -> float:
        """How far behind the engine's clock a screen must run, so that a trace never freezes before a gap shows.

        Two frame intervals until a gap opens; two ticks for the tick itself, the commit and the way to the browser.
        """
        lags = (2 * device.frame_interval_us + device.behind_us for device in self.devices.values())
        return (max(lags, default=2 * DEFAULT_FRAME_INTERVAL_US) + 2 * self.tick_us) / 1e6

    @property
    def frame_interval_s(self) -> float:
        """The usual time between frames, of the device that sends most seldom."""
        intervals = (device.frame_interval_us for device in self.devices.values())
        return max(intervals, default=DEFAULT_FRAME_INTERVAL_US) / 1e6

    def device_of(self, name: str) -> DeviceState:
        """The device to which a channel belongs; one of which nothing is known where it belongs to none."""
        owner = self.owners.get(name)
        return self.devices.get(owner.device, DeviceState()) if owner else DeviceState()


def fold(twin: Twin, message: Message, forecaster: Forecaster) -> tuple[Twin, Output]:
    """The twin after one message, and what that made. Readings of unknown sensors are told once and left out."""
    if isinstance(message, Tick) and message.t_us <= twin.now_us:
        return twin, Output()  # a clock that stepped back changes nothing
    if isinstance(message, SetBack):
        return setback.begin_anew(twin, message)
    after, made = _folded(twin, message, forecaster)
    if after.at_ticks:
        return after, made
    alarms, events = _alarmed(twin, after, message, made)
    if alarms is not twin.alarms:
        after = replace(after, alarms=alarms)
    return after, replace(made, events=(*made.events, *events)) if events else made


def _folded(twin: Twin, message: Message, forecaster: Forecaster) -> tuple[Twin, Output]:
    match message:
        case Readings():
            return _readings(twin, message, forecaster)
        case Tick():
            return _tick(twin, message, forecaster)
        case Refused():
            facts = {"device": message.device, "reason": message.reason, "detail": message.detail}
            variant = message.reason if message.reason in ("forged", "revoked") else ""
            event = told(message.t_ms, "refused", "alarm", variant=variant, **facts)
            return replace(twin, refused=twin.refused + 1), Output(events=(event,))
        case CommandResult():
            return _command(twin, message)
        case Assigned():
            devices = {**twin.devices, message.device: DeviceState(id=message.device, assigned_ms=message.t_ms)}
            released = tuple(device for device in twin.released if device != message.device)
            event = told(message.t_ms, "assigned", "info", device=message.device)
            return replace(twin, devices=devices, released=released), Output(events=(event,))
        case Released():
            return _released(twin, message)
        case Recorded() | Acted() | SetBack():
            return twin, Output()


def _alarmed(before: Twin, after: Twin, message: Message, made: Output) -> tuple[Alarms, list[Event]]:
    """The alarms after a message, and what people are told about them."""
    now_us = after.now_us if before.devices else 0  # no time passes for a patient without a device
    if not isinstance(message, Readings | Tick):
        now_us = now_us or message.t_ms * 1000
    desk = Desk(before.alarms, now_us)
    match message:
        case Readings() if message.live and message.device not in after.released:
            interval_us = after.devices[message.device].frame_interval_us
            alarm_limits.cross(desk, before.channels, after.channels, made, interval_us)
        case Tick():
            alarm_sensors.look(desk, after.channels, after.owners, after.devices)
            desk.pass_time()
        case Refused():
            alarm_sensors.refuse(desk, message)
        case Released():
            gone = [name for name, owner in before.owners.items() if owner.device == message.device]
            alarm_sensors.release(desk, message.device, gone)
        case Recorded():
            alarm_limits.unwatch(desk, message.limits)
        case Acted():
            desk.act(message)
        case _:
            pass
    return desk.alarms, desk.events


def _readings(twin: Twin, message: Readings, forecaster: Forecaster) -> tuple[Twin, Output]:
    """Each channel takes its readings; the device's beat is learnt from live frames."""
    channels = dict(twin.channels)
    outputs = list[Output]()
    is_gone = message.device in twin.released
    live = message.live and not is_gone
    claims = Claims(message, live, twin.devices, twin.owners, is_gone)
    claims.settle(channels)
    device = twin.devices.get(message.device, DeviceState())
    for block in claims.taken:
        before = channels.get(block.channel) or new_channel(block.channel, forecaster)
        near = surroundings(twin, channels, forecaster, device)
        after, made = take(before, block.times_us, block.values, near, live)
        channels[block.channel] = after
        outputs.append(made)
    outputs.append(Output(events=tuple(claims.events)))
    devices = twin.devices
    if live and not twin.at_ticks:
        heard = replace(device, left_out=claims.left_out).heard(message, twin.now_us)
        devices = {**devices, message.device: heard}
    return replace(twin, channels=channels, devices=devices, owners=claims.owners), joined(outputs)


def _tick(twin: Twin, message: Tick, forecaster: Forecaster) -> tuple[Twin, Output]:
    """Time passes for every channel that belongs to a device: where nobody measures, nothing is made up."""
    channels = dict(twin.channels)
    outputs = list[Output]()
    for name in [name for name in twin.channels if name in twin.owners]:
        device = twin.device_of(name)
        near = surroundings(twin, channels, forecaster, device)
        channels[name], made = pass_time(twin.channels[name], message.t_us - device.behind_us, near)
        outputs.append(made)
    return replace(twin, now_us=message.t_us, channels=channels), joined(outputs)


def _released(twin: Twin, message: Released) -> tuple[Twin, Output]:
    """The device speaks for this patient no more. Its channels rest and keep what was learnt until one claims them."""
    devices = {name: device for name, device in twin.devices.items() if name != message.device}
    owners = {name: owner for name, owner in twin.owners.items() if owner.device != message.device}
    released = (*(name for name in twin.released if name != message.device), message.device)[-_RELEASED:]
    event = told(message.t_ms, "released", "info", device=message.device)
    return replace(twin, devices=devices, owners=owners, released=released), Output(events=(event,))


def _command(twin: Twin, message: CommandResult) -> tuple[Twin, Output]:
    """What a device answered becomes part of the story, and of what is known about it."""
    devices = dict(twin.devices)
    if message.device in devices:
        devices[message.device] = devices[message.device].obeyed(message)
    severity = "info" if message.status == 200 and not message.doubt else "warning"
    event = told(message.t_ms, "command", severity, who=message.who, **_answer(message))
    return replace(twin, devices=devices), Output(events=(event,))


def _answer(message: CommandResult) -> dict[str, str]:
    """The facts of a device's answer. `channels` are the ids of `names`, for pages in other languages."""
    facts = {"device": message.device, "command": message.name, "status": str(message.status)}
    if message.doubt or message.status != 200:
        return facts | {"variant": message.doubt or "failed"}
    if message.name != "sensor":
        return facts
    touched = message.payload.get("channels")
    rows = [row for name in (touched if isinstance(touched, list) else []) if (row := channel(str(name)))]
    names = ", ".join(row.label for row in rows) or "no such sensor"
    variant = "plugged" if message.payload.get("connected") else "unplugged"
    return facts | {"variant": variant, "names": names, "channels": ",".join(row.id for row in rows)}


def surroundings(
    twin: Twin, channels: Mapping[str, ChannelState], forecaster: Forecaster, device: DeviceState | None = None
) -> Surroundings:
    """What a channel of `device` may know besides itself."""
    others = {name: state.window for name, state in channels.items()}
    interval = 0 if twin.at_ticks else (device or DeviceState()).frame_interval_us
    return Surroundings(twin.patient, forecaster, others, interval, twin.at_ticks)


def joined(outputs: list[Output]) -> Output:
    """What several steps made, as one, in their order."""
    return Output(
        tuple(s for made in outputs for s in made.samples),
        tuple(s for made in outputs for s in made.revisions),
        tuple(e for made in outputs for e in made.events),
    )
