"""The life of one channel: readings come, silence falls, estimates are shown, readings return, the past is revised.

Two transitions, :func:`take` (readings arrived) and :func:`pass_time` (a tick). Both return the new state and what was
made. The state is a value; the generative model and the other channels' windows come in through :class:`Surroundings`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from device.signals import Channel, channel
from security.threats import Window as Judged
from security.threats.plausible import PLAUSIBLE
from twin_engine import gaps
from twin_engine.calibrate import Calibration
from twin_engine.messages import REVISED, Event, Floats, Output, Provenance, Samples, Times
from twin_engine.shadow import Shadows
from twin_engine.synthesise import HOLD, Forecaster, Plan, bridge, context_of, emit, hold_plan, plan_of, prior_of
from twin_engine.window import Window

CATCH_UP_US = 600_000_000  # an engine that was away does not show more of a gap than this at once


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a channel may know besides itself."""

    patient: str
    forecaster: Forecaster
    others: Mapping[str, Window]
    frame_interval_us: int  # 0 where readings arrive one by one (offline)
    at_ticks: bool = (
        False  # offline: show at the tick's own time; live: on the channel's grid, up to what may have come
    )


@dataclass(frozen=True, slots=True)
class Shown:
    """The newest sample, as tiles and the status show it."""

    time_us: int
    value: float
    lower: float
    upper: float
    confidence: float
    provenance: int
    method: str
    since_us: int  # when this provenance began


@dataclass(frozen=True, slots=True)
class ChannelState:
    """All that the twin knows of one channel."""

    id: str
    window: Window
    calibration: Calibration
    shadows: Shadows
    steps_us: Times  # recent steps between readings
    last_us: int | None = None  # the last trusted reading
    last_value: float = float("nan")
    emitted_us: int = -1  # samples were shown up to here
    plan: Plan | None = None  # set while a gap is open
    gap_shown_us: Times = field(default_factory=lambda: np.empty(0, np.int64))  # offline only: times shown in this gap
    announced: bool = False  # the gap was told to people
    shown: Shown | None = None

    @property
    def row(self) -> Channel:
        """The channel's row in the table of signals."""
        found = channel(self.id)
        if found is None:
            raise ValueError(f"expected a channel of a known signal, got {self.id!r}; its state can't be used")
        return found

    @property
    def period_us(self) -> int:
        """Learnt from the readings; the signal's nominal period before."""
        return gaps.period_of(self.steps_us, round(self.row.signal.period_s * 1e6))


def new_channel(channel_id: str, forecaster: Forecaster) -> ChannelState:
    """A channel that has said nothing yet."""
    row = channel(channel_id)
    if row is None:
        raise ValueError(f"expected a channel of a known signal, got {channel_id!r}; nothing can be made of it")
    signal = row.signal.id
    window = Window.empty(round(forecaster.grid_s(signal) * 1e6), forecaster.context_steps(signal))
    return ChannelState(channel_id, window, Calibration.start(), Shadows.none(), np.empty(0, np.int64))


def take(
    state: ChannelState, times_us: Times, values: Floats, near: Surroundings, live: bool
) -> tuple[ChannelState, Output]:
    """Readings (N,) arrived, oldest first, NaN where the sensor gave none. Backfill (`live` False) only revises."""
    given = np.isfinite(values)
    times_us, values = times_us[given], values[given]
    made = _Made(state.id)
    if len(times_us):
        signal = state.row.signal
        doubtful = PLAUSIBLE.judge(Judged(state.id, signal.unit, signal.low, signal.high, times_us, values)).suspect
        for start, end in _runs(doubtful):
            run = slice(start, end)
            step = _distrust if doubtful[start] else _trust
            state = step(state, times_us[run], values[run], near, live, made)
    return state, made.output()


def pass_time(state: ChannelState, now_us: int, near: Surroundings) -> tuple[ChannelState, Output]:
    """The engine's clock moved on: open a gap where readings are overdue, and go on showing an open one."""
    made = _Made(state.id)
    if state.last_us is None:
        return state, made.output()
    if state.plan is None:
        if not _overdue(state, now_us, near):
            return state, made.output()
        state = _open(state, near)
    until_us = now_us if near.at_ticks else now_us - near.frame_interval_us
    state = _show_gap(state, until_us, near, made)
    return _announce(state, now_us, near, made), made.output()


# ------------------------------------------------------------------------------------------------ readings


def _trust(
    state: ChannelState, times_us: Times, values: Floats, near: Surroundings, live: bool, made: _Made
) -> ChannelState:
    """Trusted readings: late ones revise, new ones close what was open, and everything learns from them."""
    last_us = -1 if state.last_us is None else state.last_us
    late, new = times_us <= last_us, times_us > last_us
    if late.any():
        made.revise(_measured(state.id, times_us[late], values[late], revised=True))
        state = replace(state, window=state.window.add(times_us[late], values[late]))
    times_us, values = times_us[new], values[new]
    steps_us = gaps.learn_steps(state.steps_us, times_us, state.last_us)
    for start, end in gaps.unbroken_runs(times_us, gaps.period_of(steps_us, state.period_us)):
        run = slice(start, end)
        state = _close(state, int(times_us[start]), float(values[start]), near, made)
        state = _measure(state, times_us[run], values[run], near, live, made)
    return state


def _measure(
    state: ChannelState, times_us: Times, values: Floats, near: Surroundings, live: bool, made: _Made
) -> ChannelState:
    """A run without a hole: shown as measured, or as a revision where something else was shown already."""
    shown_before = (times_us <= state.emitted_us) | (not live)
    if shown_before.any():
        made.revise(_measured(state.id, times_us[shown_before], values[shown_before], revised=True))
    fresh = ~shown_before
    if fresh.any():
        state = made.show(state, _measured(state.id, times_us[fresh], values[fresh]))
    known_us, known = times_us, values
    if state.last_us is not None:
        known_us, known = np.append(state.last_us, times_us), np.append(state.last_value, values)
    shadows, calibration = state.shadows.settle(state.calibration, known_us, known, state.period_us)
    state = replace(
        state,
        window=state.window.add(times_us, values),
        steps_us=gaps.learn_steps(state.steps_us, times_us, state.last_us),
        last_us=int(times_us[-1]),
        last_value=float(values[-1]),
        shadows=shadows,
        calibration=calibration,
    )
    return _rehearse(state, near) if live else state


def _rehearse(state: ChannelState, near: Surroundings) -> ChannelState:
    """A shadow forecast now and then, while the sensor is alive."""
    last_us = state.last_us or 0
    if last_us < state.shadows.next_us:
        return state
    return replace(state, shadows=state.shadows.promise(_forecast(state, near), last_us))


def _distrust(
    state: ChannelState, times_us: Times, values: Floats, near: Surroundings, live: bool, made: _Made
) -> ChannelState:
    """Readings that the sensor can't have meant: kept visible, marked, with the twin's own estimate as bounds."""
    if not live:
        return state
    unknown = np.full(len(times_us), np.nan)
    lower, upper, sure = unknown, unknown.copy(), np.zeros(len(times_us))
    if state.last_us is not None:
        state = state if state.plan else _open(state, near)
        state = _reach(state, int(times_us[-1]), near)
        _, lower, upper, _ = _plan(state).band.at((times_us - (state.last_us or 0)) / 1e6)
        if near.at_ticks:
            state = replace(state, gap_shown_us=np.concatenate((state.gap_shown_us, times_us)))
    marks = np.full(len(times_us), Provenance.QUARANTINED, np.uint8)
    return made.show(state, Samples(state.id, times_us, values, lower, upper, sure, marks))


def _close(state: ChannelState, time_us: int, value: float, near: Surroundings, made: _Made) -> ChannelState:
    """A reading after silence: fill what was never shown, then revise the gap from both sides."""
    if state.last_us is None:
        return state
    if state.plan is None:
        if gaps.is_between(time_us - state.last_us, state.period_us):
            return state
        state = _open(state, near)
    state = _reach(state, time_us, near)
    if not near.at_ticks:
        state = _show_gap(state, time_us - state.period_us // 2, near, made)
    start_us, plan = state.last_us or 0, _plan(state)
    inside = state.gap_shown_us if near.at_ticks else gaps.grid_between(
        start_us, time_us - state.period_us // 2, state.period_us)  # fmt: skip
    inside = inside[(inside > start_us) & (inside < time_us)][:100_000]
    if len(inside):
        made.revise(bridge(state.id, plan, start_us, time_us, value, inside, state.row.signal))
    if state.announced:
        seconds = (time_us - start_us) / 1e6
        made.tell(time_us, "gap-closed", "info", f"{state.row.label}: measured again after {seconds:.1f} s; revised")
    return replace(state, plan=None, announced=False, gap_shown_us=np.empty(0, np.int64))


# --------------------------------------------------------------------------------------------------- silence


def _overdue(state: ChannelState, now_us: int, near: Surroundings) -> bool:
    elapsed = now_us - (state.last_us or 0)
    if near.at_ticks:
        return gaps.is_due(elapsed, state.period_us)
    return elapsed > gaps.silence_limit_us(state.period_us, near.frame_interval_us)


def _open(state: ChannelState, near: Surroundings) -> ChannelState:
    """A gap begins after the last reading. A short one shows the last value; the model is asked when it lasts."""
    signal = state.row.signal
    prior = prior_of(near.forecaster, signal)
    hold = hold_plan(state.last_value, state.window, signal, state.calibration, prior)
    return replace(state, plan=hold, emitted_us=max(state.emitted_us, state.last_us or 0))


def _reach(state: ChannelState, time_us: int, near: Surroundings) -> ChannelState:
    """Make sure that the plan covers `time_us`, asking the model once a gap outlasts one step of its grid."""
    plan = _plan(state)
    age_s = (time_us - (state.last_us or 0)) / 1e6
    if plan.method != HOLD or age_s <= plan.band.ages_s[-1]:
        return state
    return replace(state, plan=_forecast(state, near))


def _show_gap(state: ChannelState, until_us: int, near: Surroundings, made: _Made) -> ChannelState:
    """Show the open gap up to `until_us`."""
    start_us = state.last_us or 0
    if near.at_ticks:
        times = np.array([until_us], np.int64) if until_us > state.emitted_us else np.empty(0, np.int64)
    else:
        times = _gap_times(state, start_us, until_us)
    if not len(times):
        return state
    state = _reach(state, int(times[-1]), near)
    state = made.show(state, emit(state.id, _plan(state), start_us, times))
    return replace(state, gap_shown_us=np.concatenate((state.gap_shown_us, times))) if near.at_ticks else state


def _gap_times(state: ChannelState, start_us: int, until_us: int) -> Times:
    """Due times not shown yet, on the channel's own beat. After a long outage only the newest: older are withheld."""
    due = gaps.grid_between(start_us, until_us, state.period_us)
    return due[due > max(state.emitted_us, until_us - CATCH_UP_US)]


def _announce(state: ChannelState, now_us: int, near: Surroundings, made: _Made) -> ChannelState:
    """Tell people once that a sensor is silent, and once that nothing honest can be shown any more."""
    shown = state.shown
    if near.at_ticks or shown is None or state.last_us is None:
        return state
    if not state.announced:
        seconds = (now_us - state.last_us) / 1e6
        text = f"{state.row.label}: no reading for {seconds:.1f} s; the twin shows its estimate"
        made.tell(now_us, "gap-opened", "warning", text)
        return replace(state, announced=True)
    if made.turned_withheld:
        made.tell(now_us, "withheld", "warning", f"{state.row.label}: too unsure for an honest value; withheld")
    return state


def _forecast(state: ChannelState, near: Surroundings) -> Plan:
    """A plan from the generative model, for a gap that begins after the last reading."""
    from twin_engine.model import LEVELS

    signal = state.row.signal
    others = {name: window for name, window in near.others.items() if name != state.id}
    context = context_of(signal.id, state.window, state.last_us or 0, others, near.patient)
    (forecast,) = near.forecaster.forecast([context])
    prior = prior_of(near.forecaster, signal)
    return plan_of(forecast, state.last_value, signal, state.calibration, prior, LEVELS)


def _plan(state: ChannelState) -> Plan:
    if state.plan is None:
        raise RuntimeError(f"expected an open gap in {state.id}, got none; the fold has a fault")
    return state.plan


# ------------------------------------------------------------------------------------------------ small parts


class _Made:
    """Collects what one transition makes; lives for one call only."""

    def __init__(self, channel_id: str) -> None:
        self.channel = channel_id
        self.samples: list[Samples] = []
        self.revisions: list[Samples] = []
        self.events: list[Event] = []
        self.turned_withheld = False

    def show(self, state: ChannelState, samples: Samples) -> ChannelState:
        """Samples for the live trace; the newest becomes what tiles show."""
        self.samples.append(samples)
        before, provenance = state.shown, int(samples.provenance[-1])
        same = before is not None and before.provenance == provenance
        self.turned_withheld |= provenance == Provenance.WITHHELD and not same
        newest = Shown(
            int(samples.times_us[-1]),
            float(samples.values[-1]),
            float(samples.lower[-1]),
            float(samples.upper[-1]),
            float(samples.confidence[-1]),
            provenance,
            samples.method,
            before.since_us if before and same else int(samples.times_us[0]),
        )
        return replace(state, emitted_us=max(state.emitted_us, newest.time_us), shown=newest)

    def revise(self, samples: Samples) -> None:
        self.revisions.append(samples)

    def tell(self, time_us: int, kind: str, severity: str, text: str) -> None:
        self.events.append(Event(time_us // 1000, kind, severity, text, self.channel))

    def output(self) -> Output:
        return Output(tuple(self.samples), tuple(self.revisions), tuple(self.events))


def _measured(channel_id: str, times_us: Times, values: Floats, revised: bool = False) -> Samples:
    marks = np.full(len(times_us), Provenance.MEASURED | (REVISED * revised), np.uint8)
    return Samples(channel_id, times_us, values, values, values, np.ones(len(times_us)), marks)


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """Index ranges [start, end) over which a mask keeps its value."""
    cuts = np.flatnonzero(np.diff(mask.astype(np.int8))) + 1
    edges = [0, *cuts.tolist(), len(mask)]
    return list(itertools.pairwise(edges))
