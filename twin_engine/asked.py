"""What a session's device was told: the last number given to a command, and the commands that wait for their answers.

Stored with the session, under the patient's key, in the transaction that writes the order: so no number is given twice,
and an engine that takes over proves answers to what the one before it asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from security.commands import Command

MAX_WAITING = 16  # of a session; beyond it nothing more is asked


@dataclass(frozen=True, slots=True)
class Question:
    """A command on its way. `told`: people have heard that no answer, or none with a proof, came."""

    command: Command
    patient: str
    who: str
    told: bool = False


@dataclass(slots=True)
class Asked:
    """Of one session."""

    next: int = 0
    waiting: dict[int, Question] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        """Whether too many commands wait for an answer that nobody has given up yet."""
        return sum(not question.told for question in self.waiting.values()) >= MAX_WAITING

    def put(self, question: Question) -> None:
        """One that was sent; of those that were given up, the oldest is forgotten where they become too many."""
        self.waiting[question.command.number] = question
        given_up = [number for number, one in self.waiting.items() if one.told]
        for number in given_up[: max(0, len(self.waiting) - MAX_WAITING)]:
            del self.waiting[number]

    def to_list(self) -> list[Any]:
        """For the store."""
        return [self.next, [_plain(question) for question in self.waiting.values()]]

    @classmethod
    def from_list(cls, stored: list[Any]) -> Asked:
        """The inverse of :meth:`to_list`."""
        questions = [Question(Command(*fields), patient, who, told) for fields, patient, who, told in stored[1]]
        return cls(stored[0], {one.command.number: one for one in questions})


def _plain(question: Question) -> list[Any]:
    c = question.command
    fields = [c.sid, c.device, c.kind, c.name, c.number, c.after, c.issued_ms, c.expires_ms, c.body, c.mac]
    return [fields, question.patient, question.who, question.told]
