"""Who is who: patients' cards, and which device speaks for whom at which time. Pure values and rules.

A card holds a pseudonym and identifiers, never a name or a picture. A reading belongs to the patient to whom its
device was assigned at the reading's event time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class PatientCard:
    """What a banner shows of a patient: a pseudonym and two identifiers (birth year, bed)."""

    id: str
    pseudonym: str
    birth_year: int  # 0 where it is not known
    bed: str
    device: str
    sex: str = "unknown"  # female, male, unknown
    height_cm: float = 170.0
    weight_kg: float = 70.0


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
        """From `t_ms` on the device speaks for `patient`; the one before ends there. Repeating it changes nothing."""
        if self.history and self.history[-1].patient == patient and self.history[-1].to_ms is None:
            return self
        return Assignments((*self.release(t_ms).history, Assignment(patient, t_ms)))

    def release(self, t_ms: int) -> Assignments:
        """From `t_ms` on the device speaks for nobody."""
        return Assignments(tuple(replace(a, to_ms=t_ms) if a.to_ms is None else a for a in self.history))

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
