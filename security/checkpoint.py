"""A log's word on itself (C2SP tlog-checkpoint): which log, how many leaves, which root. A note carries it, signed.

Extension lines are refused: ours have none, and what nobody can audit nobody should sign.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from security import note
from security.errors import Reason, Rejected
from security.merkle import HASH_BYTES

_MAX_DIGITS = 19  # below 2^63


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tree head of a log at one size."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The note's text: three lines."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """The inverse of :attr:`text`. Raises Rejected on any other text."""
        lines = text.split("\n")
        if len(lines) == 4 and note.is_name(lines[0]) and is_size(lines[1]):
            found = cls(lines[0], int(lines[1]), note.unbase64(lines[2]))
            if len(found.root) == HASH_BYTES and found.text == text:
                return found
        raise Rejected(Reason.MALFORMED, "a checkpoint of three lines", "another text", "no tree is believed by it")


def read(signed: str) -> Checkpoint:
    """The checkpoint in a note, unproven. Raises Rejected."""
    return Checkpoint.parse(note.split(signed)[0])


def is_size(text: str) -> bool:
    """Whether it is a tree size: decimal, no leading zeroes."""
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS and (text == "0" or text[0] != "0")
