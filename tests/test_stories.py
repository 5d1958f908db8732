"""What one round of an engine makes of its twins, without a store."""

from __future__ import annotations

import numpy as np

from twin_engine.messages import ChannelReadings, Readings
from twin_engine.model import Generator
from twin_engine.stories import Stories
from twin_engine.twin import Twin

T0_US = 1_760_000_000_000_000
GSR = "gsr_uS"


def frame(start_s: float, live: bool) -> Readings:
    """Two seconds of skin conductance at 4 Hz."""
    seconds = start_s + np.arange(8) * 0.25
    times_us = np.round(T0_US + seconds * 1e6).astype(np.int64)
    blocks = (ChannelReadings(GSR, times_us, 4.0 + 0.2 * np.sin(seconds / 7)),)
    return Readings("dev", blocks, T0_US // 1000 + round((start_s + 2) * 1000), live)


def rounds(generator: Generator, with_backfill: bool) -> Twin:
    """A twin after a minute of live frames, one a round, perhaps with an old frame of the spool behind it."""
    twins = {"p": Twin("p")}
    for i in range(30):
        stories = Stories(twins, generator)
        for live in (True, False) if with_backfill else (True,):
            readings = frame(2.0 * i if live else 2.0 * i - 600, live)
            stories.hear("p", readings, readings.frame_ms)
        stories.rehearse()
    return twins["p"]


def test_a_spool_that_empties_beside_live_frames_takes_none_of_their_rehearsals(generator: Generator) -> None:
    alone = rounds(generator, with_backfill=False).channels[GSR].shadows.made
    assert alone > 5
    assert rounds(generator, with_backfill=True).channels[GSR].shadows.made == alone
