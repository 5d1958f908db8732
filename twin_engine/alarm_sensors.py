"""Technical alarms: a sensor is silent, distrusted or bad, a device is silent or apart in time, a message was refused.

Each is a condition that holds or not at a tick; :data:`_DELAYS_S` says for how long before it becomes an alarm, and
before that is over, so that none flutters. Silence of what somebody relies on is of medium priority: a signal with
limits that are on, or a wave at the chest; of anything else, low. A device that sends no frames is one alarm and not
one a sensor: there is one thing to do about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from device.signals import Kind
from twin_engine.alarms import HIGH, LIMIT_KINDS, LOW, MEDIUM, Alarm, Desk, place
from twin_engine.channel_state import ChannelState, Shown
from twin_engine.devices import DeviceState, Owner
from twin_engine.messages import Provenance, Refused
from twin_engine.registry import Limits
from twin_engine.told import number

_DELAYS_S = {  # kind: (before it is raised, before it is over)
    "silent": (0.0, 0.0),  # told with the gap, and over with it: a gap already waits two frames
    "withheld": (0.0, 0.0),
    "distrusted": (0.0, 5.0),  # a loose contact gives good and impossible readings by turns
    "clock": (10.0, 10.0),
    "bad-signal": (10.0, 10.0),  # the judge looks at the last seconds and can waver
}
MOST_REASON = 120  # characters of a reason that came from outside


@dataclass(frozen=True, slots=True)
class _Condition:
    """A technical condition that holds now."""

    kind: str
    priority: int
    channel: str = ""
    device: str = ""
    signal: str = ""
    label: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Ending:
    """Of a technical alarm: the device of its channel, and the variant of the sentence; "" for the usual one."""

    device: str
    variant: str = ""


def look(
    desk: Desk, channels: Mapping[str, ChannelState], owners: Mapping[str, Owner], devices: Mapping[str, DeviceState]
) -> None:
    """A tick: raise what has held for long enough, end what has not held for long enough."""
    found = {place(c.kind, c.channel, c.device): c for c in _conditions(desk, channels, owners, devices)}
    alarms = desk.alarms
    technical = {a.place: a for a in alarms.standing if a.over_us is None and a.kind not in (*LIMIT_KINDS, "refused")}
    if not (found or technical or alarms.onsets_us):
        return
    now_us = desk.now_us
    onsets = {where: alarms.onsets_us.get(where, now_us) for where in found}
    offsets = {where: alarms.offsets_us.get(where, now_us) for where in technical if where not in found}
    desk.change(onsets_us=onsets, offsets_us=offsets)
    for where in offsets:
        _fade(desk, technical[where], now_us - offsets[where], found, _ending(technical[where], channels, owners))
    for where, condition in found.items():
        if where in technical:
            _go_on(desk, technical[where], condition)
        elif now_us - onsets[where] >= _DELAYS_S[condition.kind][0] * 1e6:
            _raise(desk, condition)


def _fade(desk: Desk, alarm: Alarm, gone_us: int, found: Mapping[str, _Condition], ending: _Ending) -> None:
    """An alarm whose condition does not hold: over after its time, or replaced by silence, which tells itself."""
    silences = {place("silent", alarm.channel), place("silent", "", ending.device)} if ending.device else set[str]()
    if silences & found.keys():
        desk.remove(alarm)
    elif gone_us >= _DELAYS_S[alarm.kind][1] * 1e6:
        desk.end(alarm, desk.now_us, ending.variant)


def _ending(alarm: Alarm, channels: Mapping[str, ChannelState], owners: Mapping[str, Owner]) -> _Ending:
    """Whose the alarm's channel is, and how its end is told where that is not by its kind.

    That a silent device speaks again is said only where it measures something: if another device has taken its
    channels over meanwhile, it may be as silent as before.
    """
    if alarm.kind == "clock":
        return _Ending("")
    if not alarm.device:
        owner = owners.get(alarm.channel)
        return _Ending(owner.device if owner else "")
    if alarm.facts.get("variant") == "never":
        return _Ending("", "silent.never")
    own = [channels[name] for name, owner in owners.items() if owner.device == alarm.device]
    return _Ending("", "" if any(not state.announced for state in own) else "silent.replaced")


def release(desk: Desk, device: str, channels: list[str]) -> None:
    """A device speaks for the patient no more: technical alarms go, those of limits end and latch."""
    for alarm in desk.alarms.standing:
        if alarm.over_us is not None or (alarm.device != device and alarm.channel not in channels):
            continue
        if alarm.kind in LIMIT_KINDS:
            desk.end(alarm, desk.now_us, "released", device=device)
        else:
            desk.remove(alarm)
    kept = {key: c for key, c in desk.alarms.crossings.items() if key.split("|")[1] not in channels}
    desk.change(crossings=kept)


def refuse(desk: Desk, message: Refused) -> None:
    """A message was refused: over as soon as it happened, and kept until somebody acknowledges it; repeats count."""
    facts = {"device": message.device, "reason": message.reason[:MOST_REASON], "count": "1"}
    known = next((a for a in desk.alarms.standing if a.kind == "refused"), None)
    if known is not None:
        facts |= {"count": str(int(known.facts["count"]) + 1), "variant": "many"}
        desk.put(replace(known, facts=facts, over_us=message.t_ms * 1000))
        return
    us = message.t_ms * 1000
    alarm = Alarm(f"refused||{message.t_ms}", "refused", "", "", "", "", MEDIUM, us, facts)
    desk.raise_(alarm)
    desk.put(replace(alarm, over_us=us))


def _conditions(
    desk: Desk, channels: Mapping[str, ChannelState], owners: Mapping[str, Owner], devices: Mapping[str, DeviceState]
) -> list[_Condition]:
    found = [_never_spoke(device) for device in devices.values() if device.never_spoke(desk.now_us)]
    found += [_clock(device, apart_s) for device in devices.values() if (apart_s := device.apart_s(desk.now_us))]
    quiet = dict[str, list[ChannelState]]()  # device -> its channels whose gap was told
    count = dict[str, int]()
    for name, owner in owners.items():
        state = channels[name]
        count[owner.device] = count.get(owner.device, 0) + 1
        if state.shown is not None and state.shown.provenance == Provenance.QUARANTINED:
            found.append(_distrusted(state, state.shown, desk.alarms.limits.get(state.row.signal.id)))
        elif state.announced:
            quiet.setdefault(owner.device, []).append(state)
        elif state.quality.verdict == "bad":
            found.append(_of(state, "bad-signal", LOW, {"quality": state.quality.reason}))
    for device, states in quiet.items():
        known = devices.get(device, DeviceState(device))
        if known.is_overdue(desk.now_us) or 1 < len(states) == count[device]:
            found.append(_device_silent(device, states))
        else:
            found += [_silent(desk, state) for state in states if _spoke_since(known, state)]
    return found


def _spoke_since(device: DeviceState, state: ChannelState) -> bool:
    """Whether the device sent a frame that should have held a reading: then it is the sensor that is silent."""
    due_us = (state.last_us or 0) + max(state.period_us, device.frame_interval_us)
    return device.last_frame_ms * 1000 >= due_us


def _silent(desk: Desk, state: ChannelState) -> _Condition:
    limits, signal = desk.alarms.limits.get(state.row.signal.id), state.row.signal
    relied_on = (limits is not None and limits.on) or (signal.kind is Kind.WAVE and state.row.region == "chest")
    return _of(state, _kind_of_silence([state]), MEDIUM if relied_on else LOW, {})


def _device_silent(device: str, states: list[ChannelState]) -> _Condition:
    facts = {"device": device, "variant": "device", "count": str(len(states))}
    return _Condition(_kind_of_silence(states), MEDIUM, device=device, facts=facts)


def _kind_of_silence(states: list[ChannelState]) -> str:
    withheld = all(s.shown is not None and s.shown.provenance == Provenance.WITHHELD for s in states)
    return "withheld" if withheld else "silent"


def _never_spoke(device: DeviceState) -> _Condition:
    facts = {"device": device.id, "variant": "never"}
    return _Condition("silent", MEDIUM, device=device.id, facts=facts)


def _clock(device: DeviceState, apart_s: float) -> _Condition:
    """Its readings may all be late, or to come, by the engine's clock: said before anybody wonders why."""
    facts = {"device": device.id, "seconds": f"{abs(apart_s):.0f}", "variant": "" if apart_s > 0 else "behind"}
    facts = {name: text for name, text in facts.items() if text}
    return _Condition("clock", MEDIUM, device=device.id, facts=facts)


def _distrusted(state: ChannelState, shown: Shown, limits: Limits | None) -> _Condition:
    """Of high priority where the patient would be in danger if it were true: no pulse looks like no sensor."""
    signal = state.row.signal
    facts = {"value": number(shown.value), "unit": signal.unit, "low": number(signal.low), "high": number(signal.high)}
    crisis = _crisis(limits, shown.value)
    if limits is None or crisis is None:
        return _of(state, "distrusted", MEDIUM, facts)
    lasted_us, delay_us = shown.time_us - shown.since_us, limits.delay_s * 1e6
    if lasted_us < delay_us and state.period_us <= delay_us:
        return _of(state, "distrusted", MEDIUM, facts)
    return _of(state, "distrusted", HIGH, facts | {"variant": "crisis", "limit": number(crisis)})


def _crisis(limits: Limits | None, value: float) -> float | None:
    """The crisis limit beyond which a value lies, of a signal that is watched."""
    if limits is None or not limits.on:
        return None
    if limits.crisis_low is not None and value < limits.crisis_low:
        return limits.crisis_low
    return limits.crisis_high if limits.crisis_high is not None and value > limits.crisis_high else None


def _of(state: ChannelState, kind: str, priority: int, facts: dict[str, str]) -> _Condition:
    row = state.row
    return _Condition(kind, priority, state.id, "", row.signal.id, row.label, facts)


def _raise(desk: Desk, found: _Condition) -> None:
    name = f"{found.kind}|{found.channel or found.device}|{desk.now_us // 1000}"
    of = (found.channel, found.device, found.signal, found.label, found.priority)
    desk.raise_(Alarm(name, found.kind, *of, desk.now_us, found.facts))


def _go_on(desk: Desk, alarm: Alarm, found: _Condition) -> None:
    """The same alarm says what holds now. Of a higher priority it is a new one; a lower one does not calm it."""
    if found.priority > alarm.priority:
        _raise(desk, found)
    elif (found.kind, found.facts) != (alarm.kind, alarm.facts):
        desk.put(replace(alarm, kind=found.kind, facts=found.facts))
