"""The clock was ahead, was believed, and has been set right: twins begin anew at the true time. Pure.

A twin's time never goes back by ticks, so a clock that had run ahead would blank its patient until the true time has
caught up. Where the clock lies clearly behind what was reached, the engine therefore says so (:class:`SetBack`), and
here is what a twin makes of it. One rule: a time that lies in the future was written by the wrong clock, or by a
device whose clock went wrong with it, and moves back by the step; a time of the past stays. What was learnt has no time
and stays; a forecast of an open gap counts from its last reading and stays; what waited for its moment begins anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from twin_engine import gaps
from twin_engine.alarms import Alarm, Alarms
from twin_engine.align import AHEAD_MS
from twin_engine.channel_state import ChannelState
from twin_engine.devices import DeviceState
from twin_engine.messages import Output, SetBack
from twin_engine.told import told

if TYPE_CHECKING:
    from twin_engine.twin import Twin

_NEAR_US = AHEAD_MS * 1000  # a healthy device's clock may be ahead by as much


def begin_anew(twin: Twin, message: SetBack) -> tuple[Twin, Output]:
    """The twin at the true time, with all that it had learnt, and the line in its story."""
    now_us, step_us = message.t_ms * 1000, message.step_ms * 1000
    devices = {name: _device(device, message) for name, device in twin.devices.items()}
    channels = {}
    for name, state in twin.channels.items():
        interval_us = twin.device_of(name).frame_interval_us
        channels[name] = _channel(_in_the_past(state, now_us, step_us), now_us, step_us, interval_us)
    owners = {
        name: replace(owner, since_us=moved(owner.since_us, now_us, step_us)) for name, owner in twin.owners.items()
    }
    event = told(message.t_ms, "clock-back", "warning", seconds=f"{message.step_ms / 1000:.0f}")
    after = replace(
        twin, now_us=now_us, devices=devices, channels=channels, owners=owners,
        alarms=_alarms(twin.alarms, now_us, step_us),
    )  # fmt: skip
    return after, Output(events=(event,))


def moved(t: int, now: int, step: int) -> int:
    """A time that lies after `now`, back by `step` and never after `now`; any other as it is. All in one unit."""
    return min(t - step, now) if t > now else t


def _device(device: DeviceState, message: SetBack) -> DeviceState:
    """How far it lags is learnt anew: that was the wrong clock's word."""
    now_ms, step_ms = message.t_ms, message.step_ms
    frame_ms = device.last_frame_ms
    return replace(
        device, delays_ms=(), assigned_ms=moved(device.assigned_ms, now_ms, step_ms),
        last_frame_ms=moved(frame_ms, now_ms, step_ms) if frame_ms > now_ms + AHEAD_MS else frame_ms,
    )  # fmt: skip


def _in_the_past(state: ChannelState, now_us: int, step_us: int) -> ChannelState:
    """With readings that its device dated into the future moved back together, so that their distances stay."""
    if state.last_us is None or state.last_us <= now_us + _NEAR_US:
        return state
    surprise = state.surprise
    if surprise.last_us is not None:
        surprise = replace(surprise, last_us=surprise.last_us - step_us)
    return replace(
        state, last_us=min(state.last_us - step_us, now_us), window=state.window.moved(-step_us),
        shadows=state.shadows.moved(-step_us), surprise=surprise,
    )  # fmt: skip


def _channel(state: ChannelState, now_us: int, step_us: int, interval_us: int) -> ChannelState:
    """A sensor that is silent by the true time stays silent; of any other, nothing was shown yet."""
    last_us, nothing = state.last_us, np.empty(0, np.int64)
    state = replace(state, gap_shown_us=nothing, doubted_us=nothing, wound=None)
    if last_us is None or now_us - last_us <= gaps.silence_limit_us(state.period_us, interval_us):
        emitted_us = -1 if last_us is None else min(state.emitted_us, last_us)
        return replace(state, plan=None, announced=False, emitted_us=emitted_us, shown=None)
    shown = state.shown
    if shown is not None:
        since_us, time_us = (moved(t, now_us, step_us) for t in (shown.since_us, shown.time_us))
        shown = replace(shown, since_us=max(since_us, last_us), time_us=max(time_us, last_us))
    return replace(state, emitted_us=min(state.emitted_us, now_us), shown=shown)


def _alarms(alarms: Alarms, now_us: int, step_us: int) -> Alarms:
    """What stands goes on standing, acknowledged or not; a pause lasts as long as it had left."""

    def back(t_us: int | None) -> int | None:
        return None if t_us is None else moved(t_us, now_us, step_us)

    def alarm(a: Alarm) -> Alarm:
        since_us = moved(a.since_us, now_us, step_us)
        return replace(a, since_us=since_us, over_us=back(a.over_us), acked_us=back(a.acked_us))

    until_us = alarms.paused_until_us
    return replace(
        alarms, standing=tuple(alarm(a) for a in alarms.standing), crossings={},
        onsets_us={where: moved(t, now_us, step_us) for where, t in alarms.onsets_us.items()},
        offsets_us={where: moved(t, now_us, step_us) for where, t in alarms.offsets_us.items()},
        paused_until_us=None if until_us is None else until_us - step_us,
    )  # fmt: skip
