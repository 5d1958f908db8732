"""What sealing and opening one message of 256 bytes costs, by suite: the best of several runs of timeit, in µs.

python -m benchmarks.sealing
"""

from __future__ import annotations

import os
import timeit

from security.session import Opener, Sealer
from security.suite import STRONGEST_FIRST, Context
from security.wire import Lane

FRAME_BYTES, CALLS, RUNS = 256, 20_000, 25


def costs_us(name: str) -> tuple[float, float, int]:
    """(sealing, opening, bytes added). Every sealed message has a number of its own; opening does its whole proof."""
    context, secret, frame = Context(name, "ward-1", 3, os.urandom(8)), os.urandom(32), os.urandom(FRAME_BYTES)
    opener = Opener(context, Lane.LIVE, 0, bytes(8), secret)
    sealing = []
    for _ in range(RUNS):
        sealer = Sealer(context, Lane.LIVE, 0, secret)  # a session has 2^20 numbers
        sealing.append(timeit.timeit(lambda s=sealer: s.seal(frame), number=CALLS))  # type: ignore[misc]
    sealed = sealer.seal(frame)
    assert opener.open(sealed) == (CALLS, frame)  # noqa: S101 - a benchmark that opens nothing is none
    opening = timeit.repeat(lambda: opener.open(sealed), number=CALLS, repeat=RUNS)
    return min(sealing) / CALLS * 1e6, min(opening) / CALLS * 1e6, len(sealed) - FRAME_BYTES


if __name__ == "__main__":
    for suite in STRONGEST_FIRST:
        seal_us, open_us, added = costs_us(suite)
        print(f"suite {suite}: seal {seal_us:.2f} µs, open {open_us:.2f} µs, {added} B added to {FRAME_BYTES} B")
