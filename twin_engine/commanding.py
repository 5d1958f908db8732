"""What people tell devices: an act becomes an order with the session's proof, and an answer is believed by its own.

What is asked is stored with the session (:mod:`twin_engine.asked`) in the commit that writes the order; whoever carries
it can delay or lose it, and no more. Which acts are allowed is in :mod:`twin_engine.records`. See ADR 0019.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from security.commands import DESIRED, METHOD, Command
from security.errors import Rejected
from security.session import ROTATE_AFTER_MS
from twin_engine.asked import Question
from twin_engine.messages import CommandResult
from twin_engine.prove import Gate, Session
from twin_engine.records import Act, ActRefused
from twin_engine.store.commit import Order
from twin_engine.store.raw import RawAnswer

log = logging.getLogger(__name__)

LIFE_MS = 30_000  # from the press on: nobody expects a button pressed long ago to act now
PATIENCE_MS = LIFE_MS + 15_000  # until people are told that no answer came
SETTING_LIFE_MS = 2 * ROTATE_AFTER_MS  # the device judges it by its sessions


class Commands:
    """Of one shard. `patient_of`: for whom a recipient key was made; empty where that is not known."""

    def __init__(self, gate: Gate, patient_of: Callable[[bytes], str]) -> None:
        self._gate, self._patient_of = gate, patient_of
        self._asking = {session.opener.sid: session for session in gate.asking()}

    def order(self, act: Act, entry_ms: int, now_ms: int) -> Order:
        """The act as an order with its proof. Raises ActRefused; then no number was used."""
        device, name, kind = act.body["device"], act.body["name"], DESIRED if act.body.get("lasting") else METHOD
        late_ms = max(0, now_ms - entry_ms)
        if kind == METHOD and late_ms >= LIFE_MS:
            text = f"expected to be asked within {LIFE_MS / 1000:g} s, got it after {late_ms / 1000:.0f} s"
            raise ActRefused("late", f"{text}; nothing was sent to {device}, ask again if it is still wanted")
        session = self._session(act.patient, device)
        life_ms = SETTING_LIFE_MS if kind == DESIRED else LIFE_MS - late_ms
        body = json.dumps(act.body.get("payload", {}), allow_nan=False)
        number, after = session.asked.next, session.seen.extra[-1][1] if session.seen.extra else session.seen.upto
        wanted = Command(session.opener.sid, device, kind, name, number, after, now_ms, now_ms + life_ms, body)
        command, sent = session.opener.make_command(wanted)
        session.asked.next = number + 1
        if kind == METHOD:
            session.asked.put(Question(command, act.patient, act.who))
            self._asking[command.sid] = session
        self._gate.changed(session)
        return Order(device, kind, name, sent if kind == METHOD else {"settings": {name: sent}})

    def _session(self, patient: str, device: str) -> Session:
        """The one in which the device hears this patient's people. Raises ActRefused."""
        session = self._gate.newest(device)
        if session is None or self._patient_of(session.opener.kid) not in ("", patient):
            text = f"expected a session that {device} opened for this patient, got none (its first frame opens one)"
            raise ActRefused("no-session", f"{text}; nothing was sent to it, ask again when it measures")
        if session.asked.is_full:
            text = f"expected {device} to answer what it was asked before, got no answer to many commands"
            raise ActRefused("too-many", f"{text}; nothing was sent to it, wait a minute")
        return session

    def hear(self, record: RawAnswer) -> tuple[str, CommandResult] | None:
        """(patient, what the device answered); None where nobody waits for it, or its want of a proof is told already.

        Of an answer that is not proven nothing is taken but that it came.
        """
        found = self._question(record)
        if found is None:
            return None
        session, question = found
        said = record.payload.get("answer")
        try:
            payload = session.opener.check_answer(said, record.status, question.command)
        except Rejected as error:
            if not question.told:
                log.warning("an answer of %s to %s counts nothing: %s", record.device, question.command.name, error)
            is_word = isinstance(said, Mapping) and bool(said)
            return self._told(session, question, record.status, record.t_ms, "unproven" if is_word else "unanswered")
        del session.asked.waiting[question.command.number]
        self._gate.changed(session)
        return question.patient, _first(question, record.status, payload, record.t_ms)

    def overdue(self, now_ms: int) -> list[tuple[str, CommandResult]]:
        """(patient, that no answer came) for what was asked long ago."""
        out = []
        for sid, session in list(self._asking.items()):
            untold = [question for question in session.asked.waiting.values() if not question.told]
            if not untold:
                del self._asking[sid]
            for question in untold:
                if abs(now_ms - question.command.issued_ms) > PATIENCE_MS:  # or our clock was set back since
                    told = self._told(session, question, 504, now_ms, "unanswered")
                    out += [told] if told else []
        return out

    def _question(self, record: RawAnswer) -> tuple[Session, Question] | None:
        named = record.payload if isinstance(record.payload, dict) else {}
        sid, number = named.get("sid"), named.get("n")
        try:
            session = self._gate.session(record.device, bytes.fromhex(str(sid)))
        except ValueError:
            return None
        question = session.asked.waiting.get(number) if session is not None and isinstance(number, int) else None
        return None if session is None or question is None else (session, question)

    def _told(
        self, session: Session, question: Question, status: int, t_ms: int, doubt: str
    ) -> tuple[str, CommandResult] | None:
        """What is not proven is told once; a proven answer that comes after it still counts."""
        if question.told:
            return None
        session.asked.waiting[question.command.number] = replace(question, told=True)
        self._gate.changed(session)
        return question.patient, _result(question, status, {}, t_ms, doubt)


def _first(question: Question, status: int, payload: dict[str, object], t_ms: int) -> CommandResult:
    """What a proven answer comes to. A command that came twice was perhaps carried out the first time: its first answer
    was lost on the way, and counts where the device still has it."""
    was, said = payload.get("was"), payload.get("said")
    if status != 409:
        return _result(question, status, payload, t_ms)
    if isinstance(was, int) and isinstance(said, dict):
        return _result(question, was, said, t_ms)
    return _result(question, status, {}, t_ms, "unanswered")


def _result(question: Question, status: int, payload: dict[str, object], t_ms: int, doubt: str = "") -> CommandResult:
    command = question.command
    return CommandResult(command.device, command.name, payload, status, t_ms, doubt, question.who)
