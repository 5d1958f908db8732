"""When is a channel silent? The rules of time, and nothing else.

All times are event times in µs. A blank shorter than 1.5 periods lies between readings and is no gap. While frames
arrive in batches, silence shows only after the batch that should have carried the reading: a gap opens at the first
tick later than the last reading by two periods or two frame intervals, whichever is longer.
"""

from __future__ import annotations

import itertools

import numpy as np

from twin_engine.messages import Times

BETWEEN_PERIODS = 1.5
OPEN_AFTER = 2.0
ON_GRID = 0.05  # a time within 5 % of a whole period after the last reading is where a reading was due
MAX_DUE = 60_000  # ten minutes at 100 Hz
MIN_PERIOD_US = 200  # nothing is sampled faster than 5 kHz
_HISTORY = 64


def silence_limit_us(period_us: float, frame_interval_us: float) -> float:
    """How long after the last reading a tick opens a gap."""
    return OPEN_AFTER * max(period_us, frame_interval_us)


def is_between(elapsed_us: float, period_us: float) -> bool:
    """Whether a blank of this length lies between two readings of a channel with that period."""
    return elapsed_us < BETWEEN_PERIODS * period_us


def is_due(elapsed_us: float, period_us: float) -> bool:
    """Whether a reading should have stood at this time: on the channel's own beat, or clearly past it."""
    return not is_between(elapsed_us, period_us) or abs(elapsed_us - period_us) <= ON_GRID * period_us


def unbroken_runs(times_us: Times, period_us: float) -> list[tuple[int, int]]:
    """Index ranges [start, end) of `times_us` (N,) without a gap inside, oldest first."""
    cuts = np.flatnonzero(np.diff(times_us) >= BETWEEN_PERIODS * period_us) + 1
    edges = [0, *cuts.tolist(), len(times_us)]
    return list(itertools.pairwise(edges)) if len(times_us) else []


def grid_between(start_us: int, end_us: int, period_us: int, after_us: int | None = None) -> Times:
    """The times in (start, end] at which readings were due, on whole periods from `start`, and later than `after_us`.

    At most MAX_DUE of them, the newest: a gap of years, or a device that claims a megahertz, costs no more.
    """
    last = (end_us - start_us) // period_us
    first = 1 if after_us is None else max(1, (after_us - start_us) // period_us + 1)
    first = max(first, last - MAX_DUE + 1)
    return start_us + period_us * np.arange(first, last + 1, dtype=np.int64)


def learn_steps(steps_us: Times, new_times_us: Times, last_us: int | None) -> Times:
    """The recent steps between readings, with new ones added: what :func:`period_of` takes its median from."""
    edges = new_times_us if last_us is None else np.concatenate(([last_us], new_times_us))
    fresh = np.diff(edges)
    return np.concatenate((steps_us, fresh[fresh > 0]))[-_HISTORY:].astype(np.int64)


def period_of(steps_us: Times, nominal_us: int) -> int:
    """The channel's period: the median recent step, or the signal's nominal one before any is known."""
    return max(MIN_PERIOD_US, int(np.median(steps_us))) if len(steps_us) else nominal_us
