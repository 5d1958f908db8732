"""A bed for tests of alarms: a twin, hand-made readings at 1 Hz, frames of two seconds, ticks every quarter of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from twin_engine.messages import Acted, ChannelReadings, Event, Message, Output, Readings, Samples, Tick
from twin_engine.model import Generator
from twin_engine.rehearse import rehearse
from twin_engine.status import status
from twin_engine.twin import Twin, fold

T0 = 1_760_000_000_000_000  # µs
HR, SPO2, GSR = "hr_bpm", "spo2_pct", "gsr_uS"
CALM: dict[str, float] = {HR: 72.0, SPO2: 97.0, GSR: 4.0}
PERIOD_S = {HR: 1.0, SPO2: 1.0, GSR: 0.25}
NURSE = "nurse (test)"


def at(seconds: float) -> int:
    """Event time in µs."""
    return T0 + round(seconds * 1e6)


def readings(
    start_s: float, values: Mapping[str, Sequence[float]], device: str = "dev", live: bool = True, lasts_s: float = 2.0
) -> Readings:
    """A frame of `lasts_s` that begins at `start_s`, channel by channel at its own rate, one value after the other."""
    blocks = []
    for name, column in values.items():
        seconds = start_s + np.arange(len(column)) * PERIOD_S[name]
        times_us = np.round(T0 + seconds * 1e6).astype(np.int64)
        blocks.append(ChannelReadings(name, times_us, np.array(column, np.float64)))
    return Readings(device, tuple(blocks), at(start_s + lasts_s) // 1000, live, "sensor")


def steady(start_s: float, device: str = "dev", **levels: float | None) -> Readings:
    """Two seconds of constant values, :data:`CALM` where nothing else is said; None = the sensor is silent."""
    wanted = {name: levels.get(name, level) for name, level in CALM.items()}
    given = {n: [v] * round(2 / PERIOD_S[n]) for n, v in wanted.items() if v is not None}
    return readings(start_s, given, device)


class Bed:
    """A twin and all it said and made."""

    def __init__(self, generator: Generator, at_ticks: bool = False) -> None:
        self.twin, self.generator = Twin("p1", at_ticks), generator
        self.events: list[Event] = []
        self.samples: list[Samples] = []
        self.told: list[Message] = []
        self.now_s = 0.0

    def copy(self) -> Bed:
        """As it is now, to go on from: a story's beginning need be folded once only."""
        made = Bed(self.generator)
        made.twin, made.now_s = self.twin, self.now_s
        made.events, made.samples, made.told = list(self.events), list(self.samples), list(self.told)
        return made

    def tell(self, message: Message) -> Output:
        """Fold one message, and its second half."""
        self.told.append(message)
        self.twin, made = fold(self.twin, message, self.generator)
        for twin, extra in rehearse({"p1": self.twin}, self.generator).values():
            self.twin = twin
            self.events += extra.events
        self.events += made.events
        self.samples += made.samples
        return made

    def live(self, seconds: float, device: str = "dev", **levels: float | None) -> None:
        """Time goes on with these values: a frame every two seconds and eight ticks after it."""
        for _ in range(round(seconds / 2)):
            self.tell(steady(self.now_s, device, **levels))
            self.wait(2)

    def wait(self, seconds: float) -> None:
        """Only time passes."""
        for quarter in range(round(seconds * 4)):
            self.tell(Tick(at(self.now_s + 2.0 + quarter / 4)))
        self.now_s += seconds

    def act(self, kind: str, who: str = NURSE, **body: Any) -> None:
        """A person does something."""
        self.tell(Acted(kind, body, who, at(self.now_s) // 1000))

    def said(self, kind: str, channel: str | None = None) -> list[Event]:
        """The events of a kind, of one channel or of any."""
        return [e for e in self.events if e.kind == kind and channel in (None, e.channel)]

    @property
    def alarms(self) -> list[dict[str, Any]]:
        """As the page gets them."""
        found: list[dict[str, Any]] = status(self.twin)["alarms"]
        return found

    @property
    def only(self) -> dict[str, Any]:
        """The one alarm there is."""
        (alarm,) = self.alarms
        return alarm
