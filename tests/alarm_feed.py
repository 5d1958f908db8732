"""A fake feed with alarms: what a test raises stands in the status, and acts of people change it as the engine would.

With `itself` it also raises the alarms of silent sensors and refused messages, and ends the former, as the engine does.
`raised` holds the alarms by id; :meth:`act` acknowledges, pauses and resumes, or refuses while `refusing` says why.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from tests.fake_feed import CARD, FakeFeed
from twin_engine.registry import Limits

LABELS = {
    "gsr_uS": "Skin conductance", "emg_activity_mV.zyg": "EMG cheek", "emg_activity_mV.corr": "EMG brow",
    "emg_raw_mV.zyg": "EMG raw cheek",
}  # fmt: skip
WHO = "nurse Ada"


class AlarmingFeed(FakeFeed):
    """The usual patient, with a record number, own limits of one signal, and alarms that a test raises."""

    def __init__(self, *, itself: bool = False, **how: Any) -> None:
        limits = {"gsr_uS": Limits(1.0, 12.0, None, 20.0, 3.0)}
        super().__init__(card=replace(CARD, number="4711", limits=limits), **how)
        self.itself, self._refused_told = itself, 0
        self.raised: dict[str, dict[str, Any]] = {}
        self.audio: dict[str, Any] = {"paused_until_s": None, "by": ""}
        self.acts: list[tuple[str, dict[str, Any]]] = []
        self.refusing = ""
        self.deaf = False  # no device is heard, while the engine runs on
        self._told: list[dict[str, Any]] = []

    def alarm(self, kind: str, priority: int, channel: str = "", **facts: Any) -> str:
        """Raise one; returns its id. `value` and `limit` are the alarm's own fields, the rest are facts."""
        name, label = f"{kind}-{channel}-{len(self.raised)}", LABELS.get(channel, channel)
        own = {key: facts.pop(key, None) for key in ("value", "limit")}
        text = facts.pop("text", f"{label}: {kind}")
        self.raised[name] = {
            "id": name, "kind": kind, "channel": channel, "signal": channel.split(".")[0], "priority": priority,
            "since_s": time.time(), "over_s": None, "acked_by": "", "acked_s": None, "text": text, "facts": facts,
            **own,
        }  # fmt: skip
        self._tell("alarm-raised", text, channel)
        return name

    def act(self, patient: str, kind: str, body: dict[str, Any], who: str) -> None:
        """What the engine does with it. Raises ValueError while `refusing`."""
        if self.refusing:
            raise ValueError(self.refusing)
        self.acts.append((kind, body))
        if kind == "ack":
            self._acknowledge(body["alarm"] if isinstance(body["alarm"], list) else [body["alarm"]], who)
        elif kind == "pause":
            self.audio = {"paused_until_s": time.time() + body["seconds"], "by": who}
            self._tell("audio-paused", f"{who} paused the alarm sound", who=who)
        elif kind == "resume":
            self.audio = {"paused_until_s": None, "by": ""}
        else:
            super().act(patient, kind, body, who)

    def write(self, **fields: Any) -> None:
        """Change the patient's record."""
        self.clinic.cards[self.card.id] = replace(self.card, **fields)

    def clear(self) -> None:
        """No alarm, no pause."""
        self.raised.clear()
        self.audio = {"paused_until_s": None, "by": ""}

    def _raise_by_itself(self) -> None:
        silent = {a["channel"]: name for name, a in self.raised.items() if a["kind"] == "silent"}
        for channel, line in self._lines.items():
            if line.gap_open and channel not in silent:
                self.alarm("silent", 2, channel, text=f"{LABELS.get(channel, channel)}: sensor silent. Synthesised.")
            elif not line.gap_open and channel in silent:
                del self.raised[silent[channel]]
        while self._refused_told < self._refused:
            self._refused_told += 1
            self.alarm("refused", 2, text="A message of sim-01 was refused (forged). No value was taken from it.")

    def _acknowledge(self, names: list[str], who: str) -> None:
        for name in names:
            self.raised[name] |= {"acked_by": who, "acked_s": time.time()}
            self._tell("alarm-acknowledged", f"{who} acknowledged: {self.raised[name]['text']}", who=who)

    def _tell(self, kind: str, text: str, channel: str = "", who: str = "") -> None:
        event = {"t": time.time(), "kind": kind, "severity": "warning", "text": text, "channel": channel}
        self._told.append({**event, "who": who, "facts": {}})

    def _answer(self, t_s: float) -> list[dict[str, Any]]:
        told, self._told = self._told, []
        return super()._answer(t_s) + told

    def _status(self, t_s: float) -> dict[str, Any]:
        status = super()._status(t_s)
        if self.itself:
            self._raise_by_itself()
        alarms = sorted(self.raised.values(), key=lambda a: (-a["priority"], -a["since_s"]))
        if self.deaf:
            status["devices"] = {name: d | {"last_frame_s": t_s - 60} for name, d in status["devices"].items()}
        return status | {"alarms": [dict(a) for a in alarms], "audio": dict(self.audio)}
