"""A gap has closed: the revision, from both sides, at once and again when more of the far side is known.

The first reading after a gap says where it ended, the next ones with which slope. So a closed gap stays a wound for a
few steps of the model's grid: it is revised with the frame that ended it, and again when as many steps as the
model looks at lie behind it (``HEALING``). Gaps that no trained revision reaches are bridged
(:func:`twin_engine.synthesise.bridge`).
"""

from __future__ import annotations

import math
import zlib
from dataclasses import replace

import numpy as np

from device.signals import Signal
from twin_engine.calibrate import requantise
from twin_engine.channel_state import ChannelState, Made, Surroundings, Wound
from twin_engine.mend import Hole, Mended
from twin_engine.mend_bases import AFTER_STEPS
from twin_engine.messages import REVISED, Floats, Times
from twin_engine.silence import current_plan
from twin_engine.synthesise import bridge, emitted

HEALING = (16, AFTER_STEPS)  # steps after the gap at which its revision is worth another look


def close(
    state: ChannelState, time_us: int, value: float, inside: Times, near: Surroundings, made: Made
) -> ChannelState:
    """The gap after the last reading ended with a reading at `time_us`; `inside` (n,) are the times to revise."""
    start_us = state.last_us or 0
    if not len(inside):
        return state
    if not near.forecaster.mends(state.row.signal.id, (time_us - start_us) / 1e6):
        plan, signal = current_plan(state), state.row.signal
        made.revise(bridge(state.id, plan, start_us, time_us, value, inside, signal, state.step))
        return state
    before = state.window.until(start_us).astype(np.float32)
    return replace(state, wound=Wound(start_us, time_us, inside, before))


def heal(state: ChannelState, near: Surroundings, made: Made, closed: bool) -> ChannelState:
    """Revise an open wound: just `closed`, or with so much more of the far side known that it is worth it."""
    wound, last_us = state.wound, state.last_us or 0
    if wound is None:
        return state
    if (last_us - wound.end_us) // state.window.grid_us >= state.window.steps - 1:
        return replace(state, wound=None)  # the window no longer holds its far side
    known = min(AFTER_STEPS, (last_us - wound.end_us) // state.window.grid_us + 1)
    if not closed and not any(wound.known < stage <= known for stage in HEALING):
        return state
    grid_us = state.window.grid_us
    after = state.window.until(wound.end_us + (known - 1) * grid_us)[-known:]
    seed = zlib.crc32(f"{near.patient}|{state.id}|{wound.start_us}".encode())
    steps = (wound.end_us - wound.start_us) / grid_us
    (mended,) = near.forecaster.mend([Hole(state.row.signal.id, wound.before.astype(np.float64), after, steps, seed)])
    columns = revision(mended, (wound.times_us - wound.start_us) / 1e6, state.row.signal, state.step)
    made.revise(emitted(state.id, wound.times_us, columns, REVISED, mended.method))
    return replace(state, wound=replace(wound, known=known) if known < AFTER_STEPS else None)


def revision(mended: Mended, ages_s: Floats, signal: Signal, step: float) -> tuple[Floats, Floats, Floats, Floats]:
    """(value, lower, upper, confidence), each (n,), of a filled gap at `ages_s`, in the sensor's own `step`.

    Confidence takes the error of each side for a Laplace error of that side's width.
    """
    centre, below, above = mended.at(ages_s)
    value = requantise(np.clip(centre, signal.low, signal.high), step)
    lower, upper = np.clip(centre - below, signal.low, signal.high), np.clip(centre + above, signal.low, signal.high)
    allowed, least = signal.tolerance.at_each(value), signal.resolution / 2
    missed = [np.exp(-math.log(10) * allowed / np.maximum(side, least)) for side in (below, above)]
    return value, np.minimum(lower, value), np.maximum(upper, value), 1 - (missed[0] + missed[1]) / 2
