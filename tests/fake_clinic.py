"""Records and alarms behind a fake twin stream: it carries out what people do, or refuses it, as the engine does."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any

from device.signals import channel as channel_row
from twin_engine.registry import DEFAULT_LIMITS, Limits, PatientCard

_CARD_FACTS = ("pseudonym", "number", "birth_year", "sex", "height_cm", "weight_kg", "bed")


@dataclass
class Clinic:
    """Cards, standing alarms and paused audio by patient; `refuse` is the engine's next refusal, if any."""

    cards: dict[str, PatientCard]
    alarms: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    paused: dict[str, tuple[float, str]] = field(default_factory=dict)
    acts: list[tuple[str, str, dict[str, Any], str]] = field(default_factory=list)
    events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    refuse: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock)

    # ------------------------------------------------------------------------------------------ alarms

    def raise_alarm(self, patient: str, kind: str, channel: str, priority: int, text: str, **more: Any) -> str:
        """An alarm stands from now on, unacknowledged. Its id."""
        signal, alarm_id = channel.partition(".")[0], f"{kind}:{channel}"
        label = channel_row(channel).label if channel else ""
        alarm = {
            "id": alarm_id, "kind": kind, "channel": channel, "signal": signal, "priority": priority,
            "since_s": time.time(), "over_s": None, "acked_by": "", "acked_s": None, "text": text,
            "facts": {"label": label}, "value": None, "limit": None,
        } | more  # fmt: skip
        with self.lock:
            if alarm_id not in self.alarms.setdefault(patient, {}):
                self.alarms[patient][alarm_id] = alarm
                self.tell(patient, "alarm-raised", text, "alarm", facts={"alarm": alarm_id})
        return alarm_id

    def end_alarm(self, patient: str, alarm_id: str) -> None:
        """The condition is over: gone where it was acknowledged, else latched."""
        with self.lock:
            alarm = self.alarms.get(patient, {}).get(alarm_id)
            if alarm is None or alarm["over_s"]:
                return
            self.tell(patient, "alarm-over", f"over: {alarm['text']}", facts={"alarm": alarm_id})
            if alarm["acked_by"]:
                del self.alarms[patient][alarm_id]
            else:
                alarm["over_s"] = time.time()

    def status(self, patient: str) -> dict[str, Any]:
        """The status' part about alarms."""
        with self.lock:
            standing = [dict(alarm) for alarm in self.alarms.get(patient, {}).values()]
            until_s, by = self.paused.get(patient, (None, ""))
        if until_s is not None and until_s < time.time():
            until_s, by = None, ""
        standing.sort(key=lambda a: (-a["priority"], -a["since_s"]))
        return {"alarms": standing, "audio": {"paused_until_s": until_s, "by": by}}

    # ------------------------------------------------------------------------------------------ acts

    def act(self, patient: str, kind: str, body: dict[str, Any], who: str) -> None:
        """Carry out what a person did, at once; the story tells it with the next commit."""
        with self.lock:
            self.acts.append((patient, kind, dict(body), who))
            if self.refuse:
                reason, self.refuse = self.refuse, ""
                self.tell(patient, "act-refused", reason, "warning", who, {"act": kind})
                return
            getattr(self, f"_{kind}")(patient, body, who)

    def tell(
        self, patient: str, kind: str, text: str, severity: str = "info", who: str = "",
        facts: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        """A line of the patient's story."""
        line = {"t": time.time(), "kind": kind, "severity": severity, "text": text, "channel": "", "who": who,
                "facts": facts or {}}  # fmt: skip
        with self.lock:
            self.events.setdefault(patient, []).append(line)

    def told(self, patient: str) -> list[dict[str, Any]]:
        """What has happened since this was asked last."""
        with self.lock:
            return self.events.pop(patient, [])

    def _ack(self, patient: str, body: dict[str, Any], who: str) -> None:
        for alarm in list(self.alarms.get(patient, {}).values()):
            if body["alarm"] in ("all", alarm["id"]):
                alarm |= {"acked_by": who, "acked_s": time.time()}
                self.tell(patient, "alarm-acknowledged", alarm["text"], who=who, facts={"alarm": alarm["id"]})
                if alarm["over_s"]:
                    del self.alarms[patient][alarm["id"]]

    def _pause(self, patient: str, body: dict[str, Any], who: str) -> None:
        self.paused[patient] = (time.time() + body["seconds"], who)
        self.tell(patient, "audio-paused", f"audio paused for {body['seconds']} s", who=who)

    def _resume(self, patient: str, body: dict[str, Any], who: str) -> None:
        self.paused.pop(patient, None)
        self.tell(patient, "audio-resumed", "audio on again", who=who)

    def _admit(self, patient: str, body: dict[str, Any], who: str) -> None:
        facts = {name: body[name] for name in _CARD_FACTS if name in body}
        blank = PatientCard(patient, "", 0, "")
        self.cards[patient] = replace(
            blank, **facts, device=body.get("device", ""), admitted_ms=int(time.time() * 1000)
        )
        self.tell(patient, "admitted", f"admitted to {body['bed']}", who=who)

    def _edit(self, patient: str, body: dict[str, Any], who: str) -> None:
        self._change(patient, "edited", who, **body)

    def _transfer(self, patient: str, body: dict[str, Any], who: str) -> None:
        self._change(patient, "transferred", who, bed=body["bed"])

    def _discharge(self, patient: str, body: dict[str, Any], who: str) -> None:
        self._change(patient, "discharged", who, discharged_ms=int(time.time() * 1000), device="")

    def _assign(self, patient: str, body: dict[str, Any], who: str) -> None:
        self._change(patient, "assigned", who, device=body["device"])

    def _release(self, patient: str, body: dict[str, Any], who: str) -> None:
        self._change(patient, "released", who, device="")

    def _exchange(self, patient: str, body: dict[str, Any], who: str) -> None:
        self._change(patient, "assigned", who, device=body["new"])

    def _limits(self, patient: str, body: dict[str, Any], who: str) -> None:
        own = dict(self.cards[patient].limits)
        signal = body["signal"]
        if body.get("reset"):
            own.pop(signal, None)
        else:
            values = {name: value for name, value in body.items() if name != "signal"}
            own[signal] = replace(
                self.cards[patient].limits_of(signal) or DEFAULT_LIMITS.get(signal) or Limits(), **values
            )
        self._change(patient, "limits-changed", who, limits=own)

    def _change(self, patient: str, kind: str, who: str, **facts: Any) -> None:
        self.cards[patient] = replace(self.cards[patient], **facts)
        self.tell(patient, kind, f"{kind}: {', '.join(facts)}", who=who)
