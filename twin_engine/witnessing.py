"""Asking witnesses for their cosignatures (C2SP tlog-witness): when, the request, the answers, and what they mean."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from security import checkpoint, note
from security.errors import Reason, Rejected
from security.note import WITNESS, VerifierKey
from security.tiles import Tree
from security.witness import Request
from twin_engine.notary_memory import Memory
from twin_engine.store.fsck import Finding

Push = Callable[[str, bytes], tuple[int, str]]  # URL, body -> HTTP status (0: nobody answered), body
MAX_ANSWER = 16 * 1024
REFRESH_S = 60.0  # a witness' word is renewed, so that it says "as of now"
AWAY_S = 30.0  # a witness that did not answer is let be for so long: its silence must not delay an alarm


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


class Cosigning:
    """Has one log's checkpoints cosigned by every witness, without waiting long for any."""

    def __init__(self, witnesses: Sequence[WitnessAddress], push: Push, away: dict[str, float]) -> None:
        """`away`: witness -> until when (monotonic s) it is let be, since it did not answer; all logs share it."""
        self._witnesses, self._push, self._away = witnesses, push, away
        self._asked_s: dict[str, float] = {}

    @property
    def wanted(self) -> int:
        """How many witnesses there are."""
        return len(self._witnesses)

    def ask_due(self, memory: Memory, tree: Tree) -> list[Finding]:
        """Ask those that have not cosigned this checkpoint, or long ago; what they say is remembered. Who disagrees."""
        findings, now_s = list[Finding](), time.monotonic()
        for witness in self._witnesses if memory.published else ():
            name = witness.key.name
            if not self._is_due(name, memory, now_s):
                continue
            said = ask(witness, memory.published, memory.witnesses.get(name, 0), tree, self._push)
            self._asked_s[name] = now_s
            if not said.answered:
                self._away[name] = time.monotonic() + AWAY_S
            if said.line:
                memory.published, memory.witnesses[name] = _with_line(memory.published, name, said.line), memory.size
            if said.disagrees:
                findings.append(Finding("witness-disagrees", name, said.disagrees))
        return findings

    def _is_due(self, name: str, memory: Memory, now_s: float) -> bool:
        wait_s = REFRESH_S if memory.witnesses.get(name) == memory.size else 0.0
        last_s = self._asked_s.get(name)
        return now_s >= self._away.get(name, 0.0) and (last_s is None or now_s - last_s >= wait_s)

    def cosigned(self, signed: str) -> list[tuple[str, int]]:
        """(witness, when in Unix s) of every good cosignature on a checkpoint."""
        if not signed:
            return []
        try:
            found = note.check(signed, [witness.key for witness in self._witnesses])[1]
        except Rejected:
            return []
        return [(s.key.name, s.t_s or 0) for s in found]


def _with_line(signed: str, name: str, line: str) -> str:
    """The checkpoint with a witness' newest word in place of its last one."""
    text, lines = note.split(signed)
    return note.assemble(text, [*(old for old in lines if not old.startswith(f"— {name} ")), line])


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
