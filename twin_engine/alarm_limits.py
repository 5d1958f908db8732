"""Alarms of a patient's limits: raised and ended by what was measured, and by nothing else.

A limit is crossed when measured, trusted readings of the present lie beyond it on end for its delay, in event time; a
channel that speaks more seldom than the delay needs one reading. Beyond the crisis limit for as long, the priority is
high. It is over when readings lie inside for ``CLEAR_S`` on end. "On end" is broken by a silence, and by distrusted
readings between. Between readings nothing happens: a sensor that falls silent ends no alarm, and a made value raises
none. Distrusted readings count neither way; those of a bad signal count, because a deterioration must not be hidden,
and the alarm says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from twin_engine import gaps
from twin_engine.alarms import HIGH, LIMIT_KINDS, MEDIUM, Alarm, Crossing, Desk, place
from twin_engine.channel_state import ChannelState
from twin_engine.messages import REVISED, Floats, Output, Provenance, Times
from twin_engine.registry import Limits
from twin_engine.told import number

CLEAR_S = 2.0  # two readings of 1 Hz: one that dips inside for a moment ends nothing, and nobody waits for the end
_NONE = Crossing()


def cross(
    desk: Desk, before: Mapping[str, ChannelState], after: Mapping[str, ChannelState], made: Output, interval_us: int
) -> None:
    """Judge the new readings of one live frame, channel by channel. `interval_us`: the usual time between frames."""
    for name, state in after.items():
        earlier = before.get(name)
        limits = desk.alarms.limits.get(state.row.signal.id)
        if limits is None or not limits.on or (earlier is not None and earlier.last_us == state.last_us):
            continue
        times_us, values = measured(made, name, -1 if earlier is None or earlier.last_us is None else earlier.last_us)
        anew = _broken(earlier, state, made, times_us, interval_us)
        for kind in LIMIT_KINDS:
            _side(desk, kind, state, limits, times_us, values, anew)


def _broken(
    earlier: ChannelState | None, state: ChannelState, made: Output, times_us: Times, interval_us: int
) -> npt.NDArray[np.bool_]:
    """Before which of the readings at `times_us` (N,) the sensor was silent, or distrusted.

    What lay between nobody knows, so nothing has lasted over it.
    """
    last_us = None if earlier is None else earlier.last_us
    edges = np.concatenate(([times_us[0] if last_us is None else last_us], times_us)) if len(times_us) else times_us
    silent = np.diff(edges) > gaps.silence_limit_us(state.period_us, interval_us)
    parts = [s for s in (*made.samples, *made.revisions) if s.channel == state.id]
    doubted = [s.times_us[(s.provenance & ~np.uint8(REVISED)) == Provenance.QUARANTINED] for s in parts]
    before = [] if earlier is None else [earlier.doubted_us]
    doubts = np.sort(np.concatenate([*before, *doubted])) if before or doubted else np.empty(0, np.int64)
    return np.asarray(silent | (np.diff(np.searchsorted(doubts, edges)) > 0))


def measured(made: Output, channel: str, after_us: int) -> tuple[Times, Floats]:
    """The trusted readings of a channel later than its last one before, oldest first: (times (N,), values (N,)).

    A reading for whose time an estimate was shown already is the newest that is known, and counts; what only revises
    the past lies before `after_us`.
    """
    parts = [s for s in (*made.samples, *made.revisions) if s.channel == channel]
    if not parts:
        return np.empty(0, np.int64), np.empty(0)
    times_us, values = np.concatenate([s.times_us for s in parts]), np.concatenate([s.values for s in parts])
    marks = np.concatenate([s.provenance for s in parts])
    wanted = ((marks & ~np.uint8(REVISED)) == Provenance.MEASURED) & (times_us > after_us)
    order = np.argsort(times_us[wanted], kind="stable")
    return times_us[wanted][order], values[wanted][order]


def unwatch(desk: Desk, limits: Mapping[str, Limits]) -> None:
    """New limits. Where one was taken away its alarm ends; where it moved, the next readings decide."""
    desk.change(limits=dict(limits))
    for alarm in [a for a in desk.alarms.standing if a.kind in LIMIT_KINDS and a.over_us is None]:
        row = limits.get(alarm.signal)
        if row is None or not row.on or _bounds(alarm.kind, row) == (None, None):
            _note(desk, alarm.place, _NONE)
            desk.end(alarm, desk.now_us, "unwatched", latch=False)
    watched = {key: crossing for key, crossing in desk.alarms.crossings.items() if _watched(key, limits)}
    if len(watched) < len(desk.alarms.crossings):
        desk.change(crossings=watched)


def _watched(key: str, limits: Mapping[str, Limits]) -> bool:
    row = limits.get(key.split("|")[1].split(".")[0])
    return row is not None and row.on


def _note(desk: Desk, where: str, crossing: Crossing) -> None:
    """What is on its way to an alarm of that place, or to its end; of what begins anew, nothing is kept."""
    others = {key: c for key, c in desk.alarms.crossings.items() if key != where}
    desk.change(crossings=others if crossing == _NONE else {**others, where: crossing})


def _bounds(kind: str, limits: Limits) -> tuple[float | None, float | None]:
    """(limit, crisis limit) of one side."""
    return (limits.high, limits.crisis_high) if kind == "limit-high" else (limits.low, limits.crisis_low)


def _side(
    desk: Desk, kind: str, state: ChannelState, limits: Limits, times_us: Times, values: Floats,
    anew: npt.NDArray[np.bool_],
) -> None:  # fmt: skip
    """One side of one channel: reading by reading, but only where something happens. `anew`: see :func:`_broken`."""
    limit, crisis = _bounds(kind, limits)
    where = place(kind, state.id)
    crossing, standing = desk.alarms.crossings.get(where, _NONE), desk.standing(where)
    beyond, critical = _beyond(kind, values, limit), _beyond(kind, values, crisis)
    beyond = beyond | critical
    if not beyond.any() and crossing == _NONE and standing is None:
        return
    for i, time_us in enumerate(times_us.tolist()):
        crossing = _NONE if anew[i] else crossing
        if beyond[i]:
            crossing = Crossing(
                time_us if crossing.beyond_us is None else crossing.beyond_us,
                (time_us if crossing.crisis_us is None else crossing.crisis_us) if critical[i] else None,
            )
            priority = _priority(crossing, time_us, limits.delay_s, state.period_us)
            worst = HIGH in (priority, standing.priority if standing else 0)
            broken = crisis if limit is None or (worst and critical[i]) else limit  # that which this value is beyond
            standing = _raised(desk, kind, state, standing, priority, time_us, float(values[i]), broken)
        elif standing is None:
            crossing = _NONE
        else:
            crossing = Crossing(inside_us=time_us if crossing.inside_us is None else crossing.inside_us)
            if _lasted(crossing.inside_us, time_us, CLEAR_S, state.period_us):
                desk.end(standing, time_us, now=number(float(values[i])))
                standing, crossing = None, _NONE
    _note(desk, where, crossing)


def _beyond(kind: str, values: Floats, limit: float | None) -> np.ndarray:
    if limit is None:
        return np.zeros(len(values), np.bool_)
    return values > limit if kind == "limit-high" else values < limit


def _lasted(since_us: int | None, time_us: int, delay_s: float, period_us: int) -> bool:
    """Whether a condition has held long enough; one reading is enough where the next comes later than that."""
    return since_us is not None and (time_us - since_us >= delay_s * 1e6 or period_us > delay_s * 1e6)


def _priority(crossing: Crossing, time_us: int, delay_s: float, period_us: int) -> int:
    """What the crossing is worth by now; 0 = no alarm yet."""
    if _lasted(crossing.crisis_us, time_us, delay_s, period_us):
        return HIGH
    return MEDIUM if _lasted(crossing.beyond_us, time_us, delay_s, period_us) else 0


def _raised(
    desk: Desk, kind: str, state: ChannelState, standing: Alarm | None, priority: int, time_us: int, value: float,
    limit: float | None,
) -> Alarm | None:  # fmt: skip
    """The alarm that stands after a reading beyond the limit: none yet, a new one, a worse one, or the same."""
    if standing is not None and priority <= standing.priority:
        same = replace(standing, value=value, limit=limit, facts=_facts(state, value, limit))
        desk.put(same)
        return same
    if not priority:
        return None
    row, name = state.row, f"{kind}|{state.id}|{time_us // 1000}"
    alarm = Alarm(
        name, kind, state.id, "", row.signal.id, row.label, priority, time_us, _facts(state, value, limit), value, limit
    )  # fmt: skip
    desk.raise_(alarm)
    return alarm


def _facts(state: ChannelState, value: float, limit: float | None) -> dict[str, str]:
    """What the alarm's text says; a bad signal is named beside it."""
    facts = {"value": number(value), "unit": state.row.signal.unit, "limit": "" if limit is None else number(limit)}
    if state.quality.verdict == "bad":
        facts |= {"variant": "bad", "quality": state.quality.reason}
    return facts
