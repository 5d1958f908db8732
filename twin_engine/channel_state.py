"""The state of one channel: a value, and the small things that its transitions share.

What happens to it is in :mod:`twin_engine.channel` (readings, time) and :mod:`twin_engine.silence` (gaps).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from device.signals import Channel, channel
from twin_engine import gaps
from twin_engine.messages import Event, Output, Provenance, Samples, Times
from twin_engine.quality import GOOD, Quality
from twin_engine.shadow import Learnt, Shadows
from twin_engine.surprise import Surprise
from twin_engine.synthesise import Forecaster, Plan
from twin_engine.told import told
from twin_engine.window import Window


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a channel may know besides itself."""

    patient: str
    forecaster: Forecaster
    others: Mapping[str, Window]
    frame_interval_us: int  # 0 where readings arrive one by one (offline)
    at_ticks: bool = False  # offline: show at the tick's own time; live: on the channel's grid, up to what may be here


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
class Wound:
    """A gap that has closed and will be revised once more when more is known of its far side."""

    start_us: int
    end_us: int
    times_us: Times  # (n,) to be revised
    before: npt.NDArray[np.float32]  # (T,) what was known when it opened
    known: int = 1  # steps after it that the last revision knew


@dataclass(frozen=True, slots=True)
class ChannelState:
    """All that the twin knows of one channel."""

    id: str
    window: Window
    learnt: Learnt
    shadows: Shadows
    steps_us: Times  # recent steps between readings
    beat_us: int = 0  # their median; 0 until a step is known
    decimals: int = -1  # that the sensor reports; -1 until a reading came
    last_us: int | None = None  # the last trusted reading
    last_value: float = float("nan")
    emitted_us: int = -1  # samples were shown up to here
    plan: Plan | None = None  # set while a gap is open
    gap_shown_us: Times = field(default_factory=lambda: np.empty(0, np.int64))  # offline only: times shown in this gap
    doubted_us: Times = field(default_factory=lambda: np.empty(0, np.int64))  # quarantined readings of this gap
    wound: Wound | None = None  # the last gap, while its revision may yet get better
    announced: bool = False  # the gap was told to people
    quality: Quality = GOOD  # of the sensor's recent past
    surprise: Surprise = field(default_factory=Surprise.start)  # how rare its readings are
    drift: str = ""  # why the model fits this person badly; "" where it does not
    shown: Shown | None = None

    @property
    def row(self) -> Channel:
        """The channel's row in the table of signals."""
        found = channel(self.id)
        if found is None:
            raise ValueError(f"expected a channel of a known signal, got {self.id!r}; its state can't be used")
        return found

    @property
    def step(self) -> float:
        """The sensor's own resolution, in the signal's unit: learnt from the readings, the signal's before."""
        return self.row.signal.resolution if self.decimals < 0 else 10.0**-self.decimals

    @property
    def period_us(self) -> int:
        """Learnt from the readings; the signal's nominal period before."""
        return self.beat_us or round(self.row.signal.period_s * 1e6)

    def beating(self, times_us: Times) -> ChannelState:
        """With the beat that new readings at `times_us` (N,) show."""
        steps_us = gaps.learn_steps(self.steps_us, times_us, self.last_us)
        return replace(self, steps_us=steps_us, beat_us=gaps.period_of(steps_us, 0) if len(steps_us) else 0)


def new_channel(channel_id: str, forecaster: Forecaster) -> ChannelState:
    """A channel that has said nothing yet."""
    row = channel(channel_id)
    if row is None:
        raise ValueError(f"expected a channel of a known signal, got {channel_id!r}; nothing can be made of it")
    signal = row.signal.id
    window = Window.empty(round(forecaster.grid_s(signal) * 1e6), forecaster.context_steps(signal))
    learnt = Learnt.start(_experts(signal, forecaster), forecaster.version)
    nothing = np.empty(0, np.int64)
    return ChannelState(channel_id, window, learnt, Shadows.none(), nothing, surprise=Surprise.start(signal))


def under(state: ChannelState, forecaster: Forecaster) -> ChannelState:
    """The channel as it goes on under this model: what another version promised is forgotten."""
    learnt, experts = state.learnt, _experts(state.row.signal.id, forecaster)
    if learnt.monitor.version == forecaster.version and learnt.personal.experts == experts:
        return state
    return replace(state, learnt=learnt.under(experts, forecaster.version), shadows=Shadows.none())


def _experts(signal: str, forecaster: Forecaster) -> int:
    return int(forecaster.population_weights(signal, np.ones(1)).shape[1])


class Made:
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

    def tell(self, time_us: int, kind: str, severity: str, **facts: str) -> None:
        """A line in the story of the channel; its sentence is :data:`twin_engine.told.SENTENCES`'."""
        row = channel(self.channel)
        label = row.label if row else self.channel
        self.events.append(told(time_us // 1000, kind, severity, self.channel, label, **facts))

    def output(self) -> Output:
        return Output(tuple(self.samples), tuple(self.revisions), tuple(self.events))
