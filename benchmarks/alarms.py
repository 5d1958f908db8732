"""How often do the default limits alarm on real people, and what do alarms cost? Recordings at rest and under stress.

Every recording is folded as a device in live view would send it (frames of two seconds, ticks of 250 ms), with the
default limits, and nobody acknowledges anything. Counted are the alarms that were raised, by kind and priority, per
hour. Healthy volunteers should have next to none of a limit: each is a false one, or a reason to look at the record.
The cost is that of the alarms' part of the fold alone, beside the whole fold of the same message.

    python -m benchmarks.alarms [RECORDING ...]
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from device.recording import read_recording
from twin_engine import twin as fold_module
from twin_engine.messages import ChannelReadings, Message, Readings, Tick
from twin_engine.model import Generator
from twin_engine.twin import Twin, fold

DATA = Path(__file__).resolve().parents[2] / "shared/data/vitals_1hz"  # where nothing else is named
T0_US = 1_760_000_000_000_000
FRAME_US, TICK_US = 2_000_000, 250_000


def main(paths: list[Path]) -> None:
    """Print what was measured."""
    if not paths:
        raise SystemExit(f"expected recordings as arguments, or in {DATA}, got none; nothing was measured")
    generator, raised, hours = Generator.load(), Counter[tuple[str, str, str]](), 0.0
    spent = _timed()
    for path in paths:
        messages = list(_messages(path))
        found, seconds = _alarms(messages, generator)
        raised += found
        hours += (messages[-1].t_us - T0_US) / 3.6e9 if isinstance(messages[-1], Tick) else 0.0
        spent["fold"] += seconds
        spent["messages"] += len(messages)
        print(f"{path.name}: {dict(found)}")
    print(f"{len(paths)} recordings, {hours:.1f} h")
    for (kind, channel, priority), count in sorted(raised.items()):
        print(f"  {kind:12} {channel:10} priority {priority}: {count:4d}, {count / hours:6.2f} per hour")
    alarms, whole = (spent[name] / spent["messages"] * 1e6 for name in ("alarms", "fold"))
    print(f"alarms' part of the fold: {alarms:.1f} µs a message, of {whole:.1f} µs ({alarms / whole:.1%})")


def _timed() -> dict[str, float]:
    """Seconds spent in the alarms' part, counted by standing in its way."""
    spent, true = {"alarms": 0.0, "fold": 0.0, "messages": 0.0}, fold_module._alarmed

    def alarmed(*args):  # type: ignore[no-untyped-def]
        start = time.perf_counter()
        made = true(*args)
        spent["alarms"] += time.perf_counter() - start
        return made

    fold_module._alarmed = alarmed
    return spent


def _messages(path: Path) -> list[Message]:
    """A recording as frames and ticks."""
    recording = read_recording(path)
    times_us = T0_US + np.round(recording.times_s * 1e6).astype(np.int64)
    messages = list[Message]()
    for start_us in range(T0_US, int(times_us[-1]), FRAME_US):
        rows = np.flatnonzero((times_us >= start_us) & (times_us < start_us + FRAME_US))
        blocks = []
        for column in recording.columns.values():
            given = rows[np.isfinite(column.values[rows])]
            if len(given):
                blocks.append(ChannelReadings(column.channel.id, times_us[given], column.values[given]))
        messages.append(Readings("recording", tuple(blocks), (start_us + FRAME_US) // 1000, source="recording"))
        messages += [Tick(start_us + FRAME_US + k * TICK_US) for k in range(FRAME_US // TICK_US)]
    return messages


def _alarms(messages: list[Message], generator: Generator) -> tuple[Counter[tuple[str, str, str]], float]:
    """Alarms that were raised, by kind, channel and priority; and seconds that the folds took."""
    twin, raised, seconds = Twin("p"), Counter[tuple[str, str, str]](), 0.0
    for message in messages:
        start = time.perf_counter()
        twin, made = fold(twin, message, generator)
        seconds += time.perf_counter() - start
        for event in made.events:
            if event.kind == "alarm-raised":
                raised[event.facts["variant"], event.channel, event.facts["priority"]] += 1
    return raised, seconds


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]] or sorted(DATA.glob("*.csv.gz")))
