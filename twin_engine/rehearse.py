"""While the sensors live: how good are they, and what would the twin have said, had they just died?

Every other second each living channel is judged (:mod:`twin_engine.quality`), watched for drift
(:mod:`twin_engine.monitor`), and forecast as if a gap began (:mod:`twin_engine.shadow`). All channels of all twins
that are due are forecast together, which costs a fraction of one by one. It is the second half of every fold of live
readings: pure, and a function of the twins alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from twin_engine.channel_state import ChannelState, Made, Surroundings, under
from twin_engine.messages import Output
from twin_engine.quality import GOOD, judge
from twin_engine.silence import context_of_gap, hindsight, planned
from twin_engine.synthesise import Forecaster, prior_of
from twin_engine.twin import Twin, joined, surroundings

LOOK_BACK_EVERY = 2  # rehearsals


@dataclass(frozen=True, slots=True)
class _Due:
    """A channel whose turn it is."""

    patient: str
    state: ChannelState
    near: Surroundings


def rehearse(twins: Mapping[str, Twin], forecaster: Forecaster) -> dict[str, tuple[Twin, Output]]:
    """Those of `twins` (by patient) with channels that are due, after their rehearsal, and what that made."""
    outputs: dict[str, list[Output]] = {}
    rehearsed: dict[str, dict[str, ChannelState]] = {}
    fit = list[_Due]()  # to be forecast from: a sensor that is not good promises nothing
    for turn in (turn for patient, twin in twins.items() for turn in _due(patient, twin, forecaster)):
        made = Made(turn.state.id)
        state = _looked_at(under(turn.state, forecaster), forecaster, made)
        outputs.setdefault(turn.patient, []).append(made.output())
        if state.quality.verdict == GOOD.verdict:
            fit.append(replace(turn, state=state))
        waiting = replace(state, shadows=state.shadows.after(state.last_us or 0))
        rehearsed.setdefault(turn.patient, {})[state.id] = waiting
    _look_back(fit, rehearsed, forecaster)
    forecasts = forecaster.forecast([context_of_gap(turn.state, turn.near) for turn in fit])
    for turn, forecast in zip(fit, forecasts, strict=True):
        state, origin_us = rehearsed[turn.patient][turn.state.id], turn.state.last_us or 0
        shadows = turn.state.shadows.promise(planned(state, turn.near, forecast), origin_us)
        rehearsed[turn.patient][state.id] = replace(state, shadows=shadows)
    return {
        patient: (replace(twins[patient], channels={**twins[patient].channels, **states}), joined(outputs[patient]))
        for patient, states in rehearsed.items()
    }


def _look_back(fit: list[_Due], rehearsed: dict[str, dict[str, ChannelState]], forecaster: Forecaster) -> None:
    """How probable was what came lately, to the model? For every other rehearsal of each channel."""
    turns = [turn for turn in fit if turn.state.shadows.made % LOOK_BACK_EVERY == 0]
    seen = [hindsight(turn.state, turn.near) for turn in turns]
    densities = forecaster.reconstruct([context for context, _ in seen], [truth for _, truth in seen])
    for turn, density in zip(turns, densities, strict=True):
        state = rehearsed[turn.patient][turn.state.id]
        surprise = state.surprise.reconstructed(float(density))
        rehearsed[turn.patient][state.id] = replace(state, surprise=surprise)


def _due(patient: str, twin: Twin, forecaster: Forecaster) -> list[_Due]:
    """Channels that speak, and were last rehearsed long enough ago."""
    near = surroundings(twin, twin.channels, forecaster)
    return [
        _Due(patient, state, near)
        for state in twin.channels.values()
        if state.plan is None and state.last_us is not None and state.last_us >= state.shadows.next_us
    ]


def _looked_at(state: ChannelState, forecaster: Forecaster, made: Made) -> ChannelState:
    """With fresh verdicts on the sensor and on the model; people are told when one changes."""
    last_us, signal = state.last_us or 0, state.row.signal
    quality = judge(signal.id, state.window.until(last_us), state.window.grid_us / 1e6, state.step)
    was, now = (verdict == "bad" for verdict in (state.quality.verdict, quality.verdict))
    if was != now:  # doubt stands on the tile; only what is bad is worth a line in the story
        facts = {"rule": quality.rule, "reason": quality.reason} if now else {"variant": "recovered"}
        made.tell(last_us, "quality", "warning" if now else "info", **facts)
    drift = state.learnt.monitor.drift(prior_of(forecaster, signal))
    if drift and not state.drift:
        made.tell(last_us, "drift", "warning", reason=drift)
    return replace(state, quality=quality, drift=drift)
