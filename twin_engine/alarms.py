"""The alarms of one twin: what stands, who has acknowledged it, and whether their sound is paused. A value.

Priorities and behaviour after IEC 60601-1-8: 3 high, 2 medium, 1 low. An alarm of a limit latches: when its condition
is over, it stays until somebody has acknowledged it. A technical one goes with its condition, but for refused messages.
Whoever raises one is elsewhere: limits in :mod:`twin_engine.alarm_limits`, sensors in :mod:`twin_engine.alarm_sensors`.

Bounded by its form: of one kind and channel there is at most one alarm that stands and one that has latched.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from twin_engine.messages import Acted, Event
from twin_engine.registry import DEFAULT_LIMITS, PAUSE_S, Limits
from twin_engine.told import told

HIGH, MEDIUM, LOW = 3, 2, 1
LIMIT_KINDS = ("limit-high", "limit-low")
MAX_ACKNOWLEDGED = 64  # ids in one act
_SAME_PLACE = {"withheld": "silent", "distrusted": "silent"}  # one alarm for a channel without trusted readings


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm. `over_us` set: its condition is over, and it waits to be acknowledged."""

    id: str
    kind: str  # limit-high, limit-low, silent, withheld, distrusted, bad-signal, clock, refused
    channel: str  # "" where it is of a whole device
    device: str
    signal: str
    label: str
    priority: int  # 3 high, 2 medium, 1 low
    since_us: int  # when it was raised: event time of a limit, the engine's clock else
    facts: Mapping[str, str]  # what its text says
    value: float | None = None  # of a limit: the newest measured value beyond it
    limit: float | None = None
    over_us: int | None = None
    acked_by: str = ""
    acked_us: int | None = None

    @property
    def place(self) -> str:
        """What it is an alarm of; of one place, one alarm stands at a time."""
        return place(self.kind, self.channel, self.device)

    @property
    def latches(self) -> bool:
        """Whether it stays, unacknowledged, when its condition is over."""
        return self.kind in (*LIMIT_KINDS, "refused") and self.priority >= MEDIUM

    @property
    def variant(self) -> str:
        """Its kind and the variant of its text, as events name it."""
        return self.kind + (f".{self.facts['variant']}" if self.facts.get("variant") else "")


@dataclass(frozen=True, slots=True)
class Crossing:
    """How long a channel's measured readings have been on one side of a limit, in event time; None = they are not."""

    beyond_us: int | None = None
    crisis_us: int | None = None
    inside_us: int | None = None  # while an alarm stands


@dataclass(frozen=True, slots=True)
class Alarms:
    """State: what stands or has latched, the limits, and what is on its way to become an alarm or to end one."""

    standing: tuple[Alarm, ...] = ()
    limits: Mapping[str, Limits] = field(default_factory=lambda: dict(DEFAULT_LIMITS))  # by signal
    crossings: Mapping[str, Crossing] = field(default_factory=dict)  # by "kind|channel"
    onsets_us: Mapping[str, int] = field(default_factory=dict)  # by place: a technical condition holds since
    offsets_us: Mapping[str, int] = field(default_factory=dict)  # by place: the condition of a standing one ended
    paused_until_us: int | None = None
    paused_by: str = ""


def place(kind: str, channel: str, device: str = "") -> str:
    """The key of an alarm: its kind and its channel, or the device where it is of a whole device."""
    return f"{_SAME_PLACE.get(kind, kind)}|{channel or device}"


class Desk:
    """Changes alarms and writes down what people are told; lives for one message only."""

    def __init__(self, alarms: Alarms, now_us: int) -> None:
        self.alarms, self.now_us = alarms, now_us
        self.events: list[Event] = []

    def standing(self, where: str) -> Alarm | None:
        """The alarm of that place whose condition lasts."""
        return next((a for a in self.alarms.standing if a.over_us is None and a.place == where), None)

    def change(self, **fields: Any) -> None:
        """Replace fields of the state."""
        self.alarms = replace(self.alarms, **fields)

    def put(self, alarm: Alarm) -> None:
        """An alarm as it is now, in the place of the one with its id."""
        self.change(standing=tuple(alarm if a.id == alarm.id else a for a in self.alarms.standing))

    def raise_(self, alarm: Alarm) -> None:
        """A new alarm, or one that got worse: unacknowledged, whoever had acknowledged what stood there before.

        It takes the place of what stood, and of a latched one that was no worse. One of high priority is heard.
        """
        kept = [
            a
            for a in self.alarms.standing
            if a.place != alarm.place or (a.over_us is not None and a.priority > alarm.priority)
        ]
        self.change(standing=(*kept, alarm))
        self.tell("alarm-raised", alarm, "warning" if alarm.priority == LOW else "alarm", alarm.variant, alarm.since_us)
        if alarm.priority == HIGH and self.alarms.paused_until_us is not None:
            self._sound("broken")

    def end(self, alarm: Alarm, t_us: int, variant: str = "", latch: bool | None = None, **facts: str) -> None:
        """Its condition is over at `t_us`: it goes, or latches. `variant` says why, if not for a measurement."""
        latched = (alarm.latches if latch is None else latch) and alarm.acked_us is None
        if latched:
            self.put(replace(alarm, over_us=t_us))
        else:
            self.remove(alarm)
        if not variant:
            variant = _spoken(alarm) + (".latched" if latched else "")
        self.tell("alarm-over", alarm, "info", variant, t_us, **facts)

    def remove(self, alarm: Alarm) -> None:
        """No trace but the story's."""
        self.change(standing=tuple(a for a in self.alarms.standing if a.id != alarm.id))

    def tell(
        self, kind: str, alarm: Alarm, severity: str, variant: str, t_us: int, who: str = "", **facts: str
    ) -> None:
        """A line in the story about one alarm."""
        said = {**alarm.facts, "alarm": alarm.id, "priority": str(alarm.priority), **facts, "variant": variant}
        self.events.append(told(t_us // 1000, kind, severity, alarm.channel, alarm.label, who, **said))

    # ------------------------------------------------------------------------------------------ what people do

    def act(self, message: Acted) -> None:
        """A person acknowledges, pauses the sound, or switches it on again. What makes no sense changes nothing."""
        match message.kind:
            case "ack":
                self._acknowledge(message.body.get("alarm"), message)
            case "pause":
                self._pause(message.body.get("seconds"), message)
            case "resume":
                if self.alarms.paused_until_us is not None:
                    self._sound("", message.who)
            case _:
                self._refuse(message, "", act=message.kind)

    def pass_time(self) -> None:
        """A pause ends by itself."""
        until_us = self.alarms.paused_until_us
        if until_us is not None and self.now_us >= until_us:
            self._sound("ended")

    def _acknowledge(self, wanted: object, message: Acted) -> None:
        """`wanted` is an alarm's id, a list of at most 64, or "all". What is over goes; what lasts stays, marked.

        Ids that stand no more are told, and the others are acknowledged all the same.
        """
        ids = wanted if isinstance(wanted, list | tuple) else [wanted]
        meant = [a for a in self.alarms.standing if wanted == "all" or a.id in ids]
        if len(ids) > MAX_ACKNOWLEDGED or (not meant and wanted != "all"):
            return self._refuse(message, "alarm")
        for alarm in meant:
            if alarm.acked_us is not None:
                continue
            if alarm.over_us is not None:
                self.remove(alarm)
            else:
                self.put(replace(alarm, acked_by=message.who, acked_us=self.now_us))
            self.tell("alarm-acknowledged", alarm, "info", _spoken(alarm), self.now_us, message.who)
        missing = 0 if wanted == "all" else len({str(name) for name in ids} - {a.id for a in meant})
        if missing:
            self._refuse(message, "alarm.some", count=str(missing))
        return None

    def _pause(self, seconds: object, message: Acted) -> None:
        least, most = PAUSE_S
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not least <= seconds <= most:
            return self._refuse(message, "seconds", least=f"{least:g}", most=f"{most:g}")
        self.change(paused_until_us=self.now_us + math.floor(seconds * 1e6), paused_by=message.who)
        self.events.append(told(self.now_us // 1000, "audio-paused", "info", who=message.who, seconds=f"{seconds:g}"))
        return None

    def _sound(self, variant: str, who: str = "") -> None:
        """The alarms are heard again."""
        self.change(paused_until_us=None, paused_by="")
        self.events.append(told(self.now_us // 1000, "audio-resumed", "info", who=who, variant=variant))

    def _refuse(self, message: Acted, variant: str, **facts: str) -> None:
        event = told(self.now_us // 1000, "act-refused", "warning", who=message.who, variant=variant, **facts)
        self.events.append(event)


def _spoken(alarm: Alarm) -> str:
    """The variant of a sentence about an alarm's end: by its kind, and whether it is of a device."""
    kind = "silent" if alarm.kind == "withheld" else alarm.kind
    return f"{kind}.device" if alarm.device else kind
