"""The life of one channel: readings come, silence falls, estimates are shown, readings return, the past is revised.

Two transitions, :func:`take` (readings arrived) and :func:`pass_time` (a tick). Both return the new state and what was
made. The state is a value; the generative model and the other channels' windows come in through the surroundings.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from security.threats import Window as Judged
from security.threats.plausible import PLAUSIBLE
from twin_engine import gaps
from twin_engine.calibrate import learn_decimals
from twin_engine.channel_state import ChannelState, Made, Surroundings, under
from twin_engine.healing import close, heal
from twin_engine.messages import REVISED, Floats, Output, Provenance, Samples, Times
from twin_engine.quality import GOOD
from twin_engine.shadow import Learnt, Shadows
from twin_engine.silence import announce, current_plan, open_gap, overdue, reach, show_gap
from twin_engine.synthesise import population_of
from twin_engine.told import number

MAX_TURNS = 32  # how often a channel may go from trusted to doubtful in one frame before its readings are sorted


def take(
    state: ChannelState, times_us: Times, values: Floats, near: Surroundings, live: bool
) -> tuple[ChannelState, Output]:
    """Readings (N,) arrived, oldest first, NaN where the sensor gave none. Backfill (`live` False) only revises."""
    given = np.isfinite(values)
    times_us, values = times_us[given], values[given]
    made = Made(state.id)
    if len(times_us):
        state, window = _scored(state, times_us, values)
        doubtful = PLAUSIBLE.judge(window).suspect
        for turn in _turns(doubtful):
            step = _distrust if doubtful[turn[0]] else _trust
            state = step(state, times_us[turn], values[turn], near, live, made)
    return state, made.output()


def _turns(doubtful: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.int64]]:
    """Which readings of a frame are taken together, in order: each run of trusted or of doubtful ones.

    A sensor that changes its mind more than MAX_TURNS times in one frame costs no more than that: of the rest its
    trusted readings come first, then the doubtful ones among them, then those after.
    """
    runs = [np.arange(start, end) for start, end in _runs(doubtful)]
    if len(runs) <= MAX_TURNS:
        return runs
    rest = np.concatenate(runs[MAX_TURNS:])
    trusted, doubted = rest[~doubtful[rest]], rest[doubtful[rest]]
    split = np.searchsorted(doubted, trusted[-1]) if len(trusted) else 0
    return [*runs[:MAX_TURNS], *(part for part in (trusted, doubted[:split], doubted[split:]) if len(part))]


def _scored(state: ChannelState, times_us: Times, values: Floats) -> tuple[ChannelState, Judged]:
    """What the detectors look at: the readings, and how rare each is. Late ones have no score of their own (1)."""
    signal = state.row.signal
    fresh = times_us > (-1 if state.surprise.last_us is None else state.surprise.last_us)
    span = signal.high - signal.low  # ten of them beyond the range are as surprising as any more
    bounded = np.clip(values[fresh], signal.low - 10 * span, signal.high + 10 * span)
    surprise, scores = state.surprise.read(times_us[fresh], bounded, state.period_us, state.step)
    tails = np.ones((3, len(times_us)))
    tails[:, fresh] = scores.residual_p, scores.sustained_p, scores.run_p
    rare = {"residual_p": tails[0], "sustained_p": tails[1], "run_p": tails[2]}
    window = Judged(state.id, signal.unit, signal.low, signal.high, times_us, values, **rare)
    return replace(state, surprise=surprise), replace(window, reconstruction_p=scores.reconstruction_p)


def pass_time(state: ChannelState, now_us: int, near: Surroundings) -> tuple[ChannelState, Output]:
    """The engine's clock moved on: open a gap where readings are overdue, and go on showing an open one."""
    made = Made(state.id)
    if state.last_us is None:
        return state, made.output()
    if state.plan is None:
        if not overdue(state, now_us, near):
            return state, made.output()
        state = open_gap(state, near)
    until_us = now_us if near.at_ticks else now_us - near.frame_interval_us
    state = show_gap(state, until_us, near, made)
    return announce(state, now_us, near, made), made.output()


def _trust(
    state: ChannelState, times_us: Times, values: Floats, near: Surroundings, live: bool, made: Made
) -> ChannelState:
    """Trusted readings: late ones revise, new ones close what was open, and everything learns from them."""
    last_us = -1 if state.last_us is None else state.last_us
    late, new = times_us <= last_us, times_us > last_us
    if late.any():
        for start, end in gaps.unbroken_runs(times_us[late], state.period_us):
            made.revise(_measured(state.id, times_us[late][start:end], values[late][start:end], revised=True))
        state = replace(state, window=state.window.add(times_us[late], values[late]))
        state = _told(state, times_us[late])
    times_us, values = times_us[new], values[new]
    steps_us = gaps.learn_steps(state.steps_us, times_us, state.last_us)
    for start, end in gaps.unbroken_runs(times_us, gaps.period_of(steps_us, state.period_us)):
        run = slice(start, end)
        state = _close(state, int(times_us[start]), float(values[start]), near, live, made)
        fresh = state.wound is not None and state.wound.end_us == int(times_us[start])
        state = _measure(state, times_us[run], values[run], near, live, made)
        state = heal(state, near, made, closed=fresh)
    return state


def _measure(
    state: ChannelState, times_us: Times, values: Floats, near: Surroundings, live: bool, made: Made
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
    shadows, learnt = _settled(under(state, near.forecaster), known_us, known, near)
    return replace(
        state.beating(times_us),
        window=state.window.add(times_us, values),
        decimals=learn_decimals(state.decimals, values),
        last_us=int(times_us[-1]),
        last_value=float(values[-1]),
        shadows=shadows,
        learnt=learnt,
    )


def _settled(state: ChannelState, times_us: Times, values: Floats, near: Surroundings) -> tuple[Shadows, Learnt]:
    """Shadow forecasts that fell due are scored; from a sensor that is not good nothing is learnt."""
    if state.quality.verdict != GOOD.verdict:
        return state.shadows.without(state.shadows.due_us <= times_us[-1]), state.learnt
    population = population_of(near.forecaster, state.row.signal)
    return state.shadows.settle(state.learnt, population, times_us, values, state.period_us)


def _distrust(
    state: ChannelState, times_us: Times, values: Floats, near: Surroundings, live: bool, made: Made
) -> ChannelState:
    """Readings that the sensor can't have meant: kept visible, marked, with the twin's own estimate as bounds."""
    lower, upper, sure = (np.full(len(times_us), fill) for fill in (np.nan, np.nan, 0.0))
    late = times_us <= (-1 if state.last_us is None else state.last_us)
    if late.any():  # old news of a sensor that has been trusted since: no gap opens
        state = _told(state, times_us[late])
    if state.last_us is not None and not late.all():
        state = state if state.plan else open_gap(state, near)
        for i in np.flatnonzero(~late):  # one at a time, so that bounds know nothing of later readings
            state = reach(state, int(times_us[i]), near)
            age_s = np.array([(times_us[i] - (state.last_us or 0)) / 1e6])
            _, lower[i : i + 1], upper[i : i + 1], _ = current_plan(state).band.at(age_s)
        state = replace(state, doubted_us=np.concatenate((state.doubted_us, times_us[~late]))[-gaps.MAX_DUE :])
    old = REVISED if not live or late.all() else 0
    marks = np.full(len(times_us), Provenance.QUARANTINED | old, np.uint8)
    doubtful = Samples(state.id, times_us, values, lower, upper, sure, marks)
    if not live or late.all():
        made.revise(doubtful)
        return state
    first = state.shown is None or state.shown.provenance != Provenance.QUARANTINED
    if first and not any(event.kind == "quarantined" for event in made.events):  # once a frame, however it wavers
        signal = state.row.signal
        facts = {"value": values[0], "low": signal.low, "high": signal.high}
        said = {name: number(float(value)) for name, value in facts.items()}
        made.tell(int(times_us[0]), "quarantined", "alarm", unit=signal.unit, **said)
    return made.show(state, doubtful)


def _close(state: ChannelState, time_us: int, value: float, near: Surroundings, live: bool, made: Made) -> ChannelState:
    """A reading after silence: fill what was never shown, then revise the gap from both sides.

    Quarantined readings of the gap stay as they were shown. Backfill closes a stretch of the past; that the sensor
    speaks again is told by its first live reading.
    """
    if state.last_us is None:
        return state
    if state.plan is None:
        if gaps.is_between(time_us - state.last_us, state.period_us):
            return state
        state = open_gap(state, near)
    state = reach(state, time_us, near)
    if not near.at_ticks:
        state = show_gap(state, time_us - state.period_us // 2, near, made)
    start_us = state.last_us or 0
    inside = state.gap_shown_us if near.at_ticks else gaps.grid_between(
        start_us, time_us - state.period_us // 2, state.period_us)  # fmt: skip
    inside = inside[(inside > start_us) & (inside < time_us) & ~_near(inside, state.doubted_us, state.period_us // 2)]
    state = close(state, time_us, value, inside, near, made)
    if live and state.announced:
        made.tell(time_us, "gap-closed", "info", seconds=f"{(time_us - start_us) / 1e6:.1f}")
    nothing = np.empty(0, np.int64)
    told = state.announced and not live
    return replace(state, plan=None, announced=told, gap_shown_us=nothing, doubted_us=nothing)


def _told(state: ChannelState, times_us: Times) -> ChannelState:
    """Readings of the past arrived at `times_us` (N,): what is known is not healed over."""
    wound = state.wound
    if wound is None or not ((times_us > wound.start_us) & (times_us < wound.end_us)).any():
        return state
    left = wound.times_us[~_near(wound.times_us, times_us, state.period_us // 2)]
    return replace(state, wound=replace(wound, times_us=left) if len(left) else None)


def _measured(channel_id: str, times_us: Times, values: Floats, revised: bool = False) -> Samples:
    marks = np.full(len(times_us), Provenance.MEASURED | (REVISED * revised), np.uint8)
    return Samples(channel_id, times_us, values, values, values, np.ones(len(times_us)), marks)


def _near(times_us: Times, others_us: Times, within_us: int) -> npt.NDArray[np.bool_]:
    """Which of `times_us` (N,) lie within a distance of one of `others_us` (M,), which are sorted."""
    if not len(others_us):
        return np.zeros(len(times_us), np.bool_)
    right = np.searchsorted(others_us, times_us).clip(0, len(others_us) - 1)
    left = (right - 1).clip(0)
    distance = np.minimum(np.abs(others_us[right] - times_us), np.abs(others_us[left] - times_us))
    return np.asarray(distance <= within_us)


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """Index ranges [start, end) over which a mask keeps its value."""
    cuts = np.flatnonzero(np.diff(mask.astype(np.int8))) + 1
    edges = [0, *cuts.tolist(), len(mask)]
    return list(itertools.pairwise(edges))
