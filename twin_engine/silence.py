"""Silence: when a gap opens, what is shown while it lasts, and when people are told.

A gap begins after the last trusted reading. Its plan is made from nothing later than that, once: the last value for the
first step of the model's grid, then the generative model's forecast.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from twin_engine import gaps
from twin_engine.channel_state import ChannelState, Made, Surroundings, under
from twin_engine.messages import Floats, Provenance
from twin_engine.synthesise import Plan, context_of, emit, hold_plan, plan_of, population_of, prior_of

if TYPE_CHECKING:
    from twin_engine.model import Context, Forecast


def overdue(state: ChannelState, now_us: int, near: Surroundings) -> bool:
    elapsed = now_us - (state.last_us or 0)
    if near.at_ticks:
        return gaps.is_due(elapsed, state.period_us)
    return elapsed > gaps.silence_limit_us(state.period_us, near.frame_interval_us)


def open_gap(state: ChannelState, near: Surroundings) -> ChannelState:
    """A gap begins after the last reading. A short one shows the last value; the model is asked when it lasts."""
    signal = state.row.signal
    prior, last_us = prior_of(near.forecaster, signal), state.last_us or 0
    hold = hold_plan(state.last_value, state.window, last_us, signal, state.step, state.learnt.calibration, prior)
    return replace(state, plan=hold, emitted_us=max(state.emitted_us, last_us))


def reach(state: ChannelState, time_us: int, near: Surroundings) -> ChannelState:
    """Make sure that the plan covers `time_us`, asking the model once a gap outlasts one step of its grid.

    Confidence never rises along a gap, so the model's plan starts no surer than what was already shown.
    """
    plan, last_us = current_plan(state), state.last_us or 0
    if not plan.holds or (time_us - last_us) / 1e6 < 0.99 * plan.band.ages_s[-1]:
        return state
    (forecast,) = near.forecaster.forecast([context_of_gap(state, near)])
    plan = planned(state, near, forecast)
    if state.shown is not None and state.shown.time_us > last_us and state.shown.provenance == Provenance.SYNTHESISED:
        plan = replace(
            plan, band=replace(plan.band, confidence=np.minimum(plan.band.confidence, state.shown.confidence))
        )
    return replace(state, plan=plan)


def show_gap(state: ChannelState, until_us: int, near: Surroundings, made: Made) -> ChannelState:
    """Show the open gap up to `until_us`."""
    start_us = state.last_us or 0
    if near.at_ticks:
        times = np.array([until_us], np.int64) if until_us > state.emitted_us else np.empty(0, np.int64)
    else:
        times = gaps.grid_between(start_us, until_us, state.period_us, max(state.emitted_us, start_us))
    if not len(times):
        return state
    state = reach(state, int(times[-1]), near)
    state = made.show(state, emit(state.id, current_plan(state), start_us, times))
    return replace(state, gap_shown_us=np.concatenate((state.gap_shown_us, times))) if near.at_ticks else state


def announce(state: ChannelState, now_us: int, near: Surroundings, made: Made) -> ChannelState:
    """Tell people once that a sensor is silent, and once that nothing honest can be shown any more."""
    shown = state.shown
    if near.at_ticks or shown is None or state.last_us is None:
        return state
    if shown.provenance == Provenance.QUARANTINED:
        return state  # readings do come; that they are distrusted was told when they came
    if not state.announced:
        variant = "withheld" if made.turned_withheld else ""
        made.tell(now_us, "gap-opened", "warning", variant=variant, seconds=f"{(now_us - state.last_us) / 1e6:.1f}")
        return replace(state, announced=True)
    if made.turned_withheld:
        made.tell(now_us, "withheld", "warning")
    return state


def context_of_gap(state: ChannelState, near: Surroundings) -> Context:
    """What the model may look at for a gap that begins after the last reading."""
    others = {name: window for name, window in near.others.items() if name != state.id}
    return context_of(state.row.signal.id, state.window, state.last_us or 0, others, near.patient)


def hindsight(state: ChannelState, near: Surroundings) -> tuple[Context, Floats]:
    """What the model could look at a stretch ago (a tenth of its reach), and what has come since, step by step."""
    window, signal, last_us = state.window, state.row.signal.id, state.last_us or 0
    steps = min(max(2, round(0.1 * near.forecaster.horizon_s(signal) * 1e6 / window.grid_us)), window.steps // 2)
    values, then_us = window.until(last_us), last_us - steps * window.grid_us
    others = {name: other for name, other in near.others.items() if name != state.id}
    context = context_of(signal, window, then_us, others, near.patient)
    return context, values[-steps:]


def planned(state: ChannelState, near: Surroundings, forecast: Forecast) -> Plan:
    """A plan from the model's forecast, weighed and calibrated for this person."""
    signal, learnt = state.row.signal, under(state, near.forecaster).learnt
    prior, population = prior_of(near.forecaster, signal), population_of(near.forecaster, signal)
    own = learnt.personal.weights(population)
    return plan_of(forecast, state.last_value, signal, state.step, learnt.calibration, prior, own, population)


def current_plan(state: ChannelState) -> Plan:
    if state.plan is None:
        raise RuntimeError(f"expected an open gap in {state.id}, got none; the fold has a fault")
    return state.plan
