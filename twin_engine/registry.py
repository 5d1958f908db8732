"""Who is who: patients' records, and which device speaks for whom at which time. Pure values and rules.

A record holds a pseudonym and identifiers, never a name or a picture. A reading belongs to the patient to whom its
device was assigned at the reading's event time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

# What a card and an act may hold, for whoever checks it: forms, sockets and the engine. Wide enough for the smallest
# newborn and the heaviest adult; a longer delay would be no alarm any more, a longer pause one that nobody remembers
# (IEC 60601-1-8 wants an end to it).
SEXES = ("female", "male", "unknown")
MAX_NAME = 40  # characters
OLDEST_YEAR = 1900
HEIGHT_CM, WEIGHT_KG = (20.0, 280.0), (0.2, 650.0)
DELAY_MOST_S = 120.0
PAUSE_S = (1.0, 120.0)  # least and longest


@dataclass(frozen=True, slots=True)
class Limits:
    """When a measured value of one signal is an alarm, in the signal's unit; None = no such limit.

    Beyond `low` or `high` for `delay_s` on end: medium priority. Beyond `crisis_low` or `crisis_high`: high.
    """

    low: float | None = None
    high: float | None = None
    crisis_low: float | None = None
    crisis_high: float | None = None
    delay_s: float = 5.0
    on: bool = True


# Adults at rest; starting points that a clinician adapts to the patient (docs/clinical-safety.md gives the reasons).
DEFAULT_LIMITS: dict[str, Limits] = {
    "hr_bpm": Limits(50, 120, 40, 150, 4.0),
    "spo2_pct": Limits(90, None, 85, None, 8.0),
    "resp_rpm": Limits(8, 30, 5, 40, 10.0),
    "skin_temp_C": Limits(None, 39.0, None, 41.0, 30.0),
}


@dataclass(frozen=True, slots=True)
class PatientCard:
    """What is kept of a patient: a pseudonym, two identifiers (record number, year of birth), body and limits."""

    id: str  # opaque, never shown as an identifier
    pseudonym: str
    birth_year: int  # 0 where it is not known
    bed: str
    device: str = ""  # the device that speaks for her now; "" = none
    sex: str = "unknown"  # female, male, unknown
    height_cm: float = 170.0
    weight_kg: float = 70.0
    number: str = ""  # the record number that is also on the wristband
    limits: Mapping[str, Limits] = field(default_factory=dict)  # signal -> what differs from DEFAULT_LIMITS
    admitted_ms: int = 0
    discharged_ms: int | None = None

    @property
    def present(self) -> bool:
        """Whether she is admitted and not discharged."""
        return self.discharged_ms is None

    def limits_of(self, signal: str) -> Limits | None:
        """Her limits of a signal, else the usual ones; None where the signal has none."""
        return self.limits.get(signal, DEFAULT_LIMITS.get(signal))

    def to_json(self) -> str:
        """For the store."""
        return json.dumps(asdict(self) | {"limits": {name: asdict(row) for name, row in self.limits.items()}})

    @classmethod
    def from_json(cls, text: str) -> PatientCard:
        """The inverse of :meth:`to_json`. Raises TypeError or ValueError on other text."""
        facts: dict[str, Any] = json.loads(text)
        facts["limits"] = {name: Limits(**row) for name, row in facts.get("limits", {}).items()}
        return cls(**facts)


def bed_order(card: PatientCard) -> list[tuple[int, str]]:
    """Sorts beds as people do: Bed 4 before Bed 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", card.bed)]


def shown_number(card: PatientCard) -> str:
    """The identifier that stands on every page of this patient (web/ui/src/components/SessionBar.js: identity)."""
    return card.number or card.id


@dataclass(frozen=True, slots=True)
class Assignment:
    """`patient` from `from_ms` until `to_ms`, exclusive; None while it lasts."""

    patient: str
    from_ms: int
    to_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Assignments:
    """The history of one device, oldest first."""

    history: tuple[Assignment, ...] = ()

    def assign(self, patient: str, t_ms: int) -> Assignments:
        """From `t_ms` on the device speaks for `patient`; the one before ends there. Repeating it changes nothing.

        What was an earlier patient's stays hers: the new assignment begins no earlier than the last one ended.
        """
        if self.history and self.history[-1].patient == patient and self.history[-1].to_ms is None:
            return self
        before = self.release(t_ms)
        start_ms = max([t_ms, *(a.to_ms for a in before.history if a.to_ms is not None)])
        return Assignments((*before.history, Assignment(patient, start_ms)))

    def release(self, t_ms: int) -> Assignments:
        """From `t_ms` on the device speaks for nobody; at the earliest from where it began to speak."""
        return Assignments(
            tuple(replace(a, to_ms=max(t_ms, a.from_ms)) if a.to_ms is None else a for a in self.history)
        )

    def set_back(self, now_ms: int, step_ms: int) -> Assignments:
        """With borders that lie after `now_ms` moved back by `step_ms`, as far as those before them allow."""
        out, least_ms = list[Assignment](), 0
        for a in self.history:
            start_ms = max(least_ms, min(a.from_ms - step_ms, now_ms)) if a.from_ms > now_ms else a.from_ms
            end_ms = a.to_ms
            if end_ms is not None and end_ms > now_ms:
                end_ms = max(start_ms, min(end_ms - step_ms, now_ms))
            out.append(Assignment(a.patient, start_ms, end_ms))
            least_ms = end_ms or start_ms
        return Assignments(tuple(out))

    def patient_at(self, t_ms: int) -> str | None:
        """Whose readings of that moment are, or None: stored, and shown to nobody."""
        for assignment in reversed(self.history):
            if assignment.from_ms <= t_ms and (assignment.to_ms is None or t_ms < assignment.to_ms):
                return assignment.patient
        return None

    @property
    def current(self) -> str | None:
        """The patient the device speaks for now."""
        return self.history[-1].patient if self.history and self.history[-1].to_ms is None else None

    def to_json(self) -> str:
        """For the store."""
        return json.dumps([[a.patient, a.from_ms, a.to_ms] for a in self.history])

    @classmethod
    def from_json(cls, text: str) -> Assignments:
        """The inverse of :meth:`to_json`."""
        return cls(tuple(Assignment(*row) for row in json.loads(text)))
