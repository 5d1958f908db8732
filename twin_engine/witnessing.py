"""Asking a witness for its cosignature (C2SP tlog-witness): the request, the answers, and what they mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from security import checkpoint, note
from security.errors import Reason, Rejected
from security.note import WITNESS, VerifierKey
from security.tiles import Tree
from security.witness import Request

Push = Callable[[str, bytes], tuple[int, str]]  # URL, body -> HTTP status (0: nobody answered), body
MAX_ANSWER = 16 * 1024


@dataclass(frozen=True, slots=True)
class WitnessAddress:
    """Where a witness listens, and the key it signs with."""

    url: str
    key: VerifierKey

    @classmethod
    def parse(cls, text: str) -> WitnessAddress:
        """From ``url+name+id+base64``. Raises Rejected."""
        url, _, key = text.strip().partition("+")
        found = cls(url.rstrip("/"), VerifierKey.parse(key))
        if found.key.kind != WITNESS or not url.startswith(("http://", "https://")):
            raise Rejected(Reason.MALFORMED, "a witness as url+name+id+key", f"{text[:80]!r}", "it is not asked")
        return found


@dataclass(frozen=True, slots=True)
class Said:
    """What came of asking. `line`: its cosignature; `disagrees`: why what it knows can't be of the same log."""

    answered: bool
    line: str = ""
    disagrees: str = ""


def ask(witness: WitnessAddress, signed: str, known: int, tree: Tree, push: Push) -> Said:
    """Have a checkpoint cosigned. `known`: the size that this witness cosigned last, as far as we know."""
    point = checkpoint.read(signed)
    for attempt in range(2):
        steps = tree.consistency(known, point.size) if 0 < known <= point.size else []
        body = Request(min(known, point.size), tuple(steps), signed).to_text()
        status, answer = push(f"{witness.url}/add-checkpoint", body.encode())
        match status:
            case 200:
                return _cosignature(witness, signed, answer)
            case 409 if checkpoint.is_size(answer.strip()):
                held = int(answer.strip())
                if held > point.size:
                    return Said(True, disagrees=f"it has cosigned {held} leaves, more than the {point.size} there are")
                if held == known or attempt:
                    return Said(True, disagrees=f"it has cosigned another tree of {held} leaves")
                known = held
            case 422:
                return Said(True, disagrees=f"what it cosigned at {known} leaves is no beginning of this tree")
            case _:
                return Said(False)
    return Said(False)


def _cosignature(witness: WitnessAddress, signed: str, answer: str) -> Said:
    """Its line, where it is by this witness and fits."""
    text, _ = note.split(signed)
    for line in answer.splitlines(keepends=True):
        try:
            if note.check(note.assemble(text, [line]), [witness.key])[1]:
                return Said(True, line)
        except Rejected:
            continue
    return Said(False)
