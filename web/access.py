"""Who asks, and what she may: the one place where a person's rights and grants are looked at. Whatever is not allowed
is refused.

Every page, callback, download and socket gets the relay and the feed only as :class:`Sight` and :class:`Reach`, which
ask here at each call: a patient whom a person may not see is, to that person, a patient who is not there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from flask import g, has_request_context, request

from security.audit import AuditEvent
from security.people import EVERYBODY, ROLES, Account, Right
from twin_engine.store.people import PeopleStore, clock_ms
from twin_engine.store.sessions import Session, SessionStore
from twin_engine.store.signin import Attempts, Begun
from web.settings import WebSettings

log = logging.getLogger(__name__)

COOKIE = "__Host-everbeat"  # Secure; chromium and firefox count loopback as secure, so plain HTTP there needs no other
SEARCH_EVERY_S = 1.0  # how often a house without accounts is asked whether it has one now
TELL_AGAIN_S, TOLD_MOST = 60.0, 10_000
_THROUGH_GLASS = frozenset({Right.VIEW, Right.ACT, Right.COMMAND})  # to treat her; not to take her data away
_OF_NOBODY = frozenset({Right.ADMIT, Right.AUDIT, Right.PEOPLE, Right.BREAK_GLASS})  # rights that need no patient


class AuditSink(Protocol):
    """Where events go; raises StoreDown, and then what was to be told is not done."""

    def write(self, event: AuditEvent) -> None: ...


@dataclass(frozen=True, slots=True)
class People:
    """What signing in needs of the store."""

    accounts: PeopleStore
    sessions: SessionStore
    attempts: Attempts
    begun: Begun
    audit: AuditSink


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks. `session` is None for the demo's clinician alone."""

    name: str
    called: str  # what records and exports say
    role: str
    rights: frozenset[Right]
    grants: frozenset[str]
    glass: Mapping[str, int] = field(default_factory=dict)  # patient -> until when, UTC ms
    session: Session | None = None

    @property
    def sees(self) -> tuple[frozenset[Right], frozenset[str], frozenset[tuple[str, int]]]:
        """Changes when what she may see changes."""
        return self.rights, self.grants, frozenset(self.glass.items())


def allowed(person: Person | None, right: Right, patient: str, now_ms: int) -> bool:
    """The rule. `patient` "" asks for the right itself, where it is about no patient."""
    if person is None or right not in person.rights:
        return False
    if right in _OF_NOBODY or not patient:
        return right in _OF_NOBODY
    if EVERYBODY in person.grants or patient in person.grants:
        return True
    return right in _THROUGH_GLASS and person.glass.get(patient, 0) > now_ms


def demo_person(settings: WebSettings) -> Person:
    """Who is signed in by itself while a house has no accounts."""
    return Person("demo", settings.person, "clinician", ROLES["clinician"], frozenset({EVERYBODY}))


def person_of(account: Account, session: Session, glass: Mapping[str, int]) -> Person:
    """An account in one of its sessions."""
    return Person(account.name, account.called, account.role, account.rights, account.grants, dict(glass), session)


class Access:
    """Asks the rule for whoever sent the request at hand. `people` None: the demo's clinician, on loopback only."""

    def __init__(self, people: People | None, settings: WebSettings) -> None:
        self.people = people
        self.identity_provider = False  # whether people may sign in elsewhere, too
        self._settings = settings
        self._sign_in = settings.sign_in
        self._asked_at = float("-inf")
        self._lock = threading.Lock()
        self._told: dict[tuple[str, str, str], float] = {}

    # ------------------------------------------------------------------------------------------- who

    @property
    def required(self) -> bool:
        """Whether nobody is let in without an account: it was asked for, or there is one. Never again False then."""
        if not self._sign_in and self.people is not None and time.monotonic() - self._asked_at > SEARCH_EVERY_S:
            self._sign_in = self.people.accounts.any()
            self._asked_at = time.monotonic()
        return self._sign_in

    def person(self) -> Person | None:
        """Who sent this request, None where nobody is signed in. Raises StoreError."""
        if not has_request_context():
            return None
        if "person" not in g:
            g.person = self._find(request.cookies.get(COOKIE, ""))
        person: Person | None = g.person
        return person

    def _find(self, secret: str) -> Person | None:
        if not self.required:
            return demo_person(self._settings)
        if self.people is None or not secret:
            return None
        session = self.people.sessions.find(secret)
        return self.renewed([session]).get(session.id) if session else None

    def renewed(self, sessions: list[Session]) -> dict[str, Person]:
        """session id -> the person as she is now; without those whose session is over."""
        if self.people is None:
            return {}
        accounts = self.people.accounts.find_all(sorted({s.name for s in sessions}))
        glass = self.people.accounts.seen_through_glass()
        now_ms = clock_ms()
        return {
            s.id: person_of(accounts[s.name], s, glass.get(s.name, {}))
            for s in sessions
            if not s.over(accounts.get(s.name), now_ms)
        }

    def who(self) -> str:
        """What records and exports say of whoever sent this request."""
        person = self.person()
        return person.called if person else "nobody"

    # ------------------------------------------------------------------------------------------- may she

    def has(self, right: Right) -> bool:
        """Whether her role has this right at all: what a page offers. Nothing is told."""
        person = self.person()
        return person is not None and right in person.rights

    def sees(self, patient: str) -> bool:
        """Whether she may see this patient; nothing is told. For lists."""
        return allowed(self.person(), Right.VIEW, patient, clock_ms())

    def may(self, right: Right, patient: str = "") -> bool:
        """Whether she may do this; a refusal is audited."""
        person = self.person()
        if allowed(person, right, patient, clock_ms()):
            return True
        if person is not None:
            self._tell_once("access.refused", person, patient, {"right": right.value})
        return False

    def saw(self, patient: str, page: str) -> None:
        """A patient's page or line was opened: told once for each session and patient."""
        person = self.person()
        if self.people is None or person is None:
            return
        if person.session is None:
            self._tell_once("access.view", person, patient, {"page": page})
        elif self.people.sessions.first_view(person.session, patient):
            self.tell("access.view", person.name, patient, {"page": page})

    def tell(self, kind: str, who: str, about: str = "", facts: Mapping[str, str] | None = None) -> None:
        """Leave an audit event. Raises StoreError."""
        if self.people is not None:
            short = {name: text[:200] for name, text in (facts or {}).items()}
            self.people.audit.write(AuditEvent(clock_ms(), who, kind, about[:64], short))

    def _tell_once(self, kind: str, person: Person, about: str, facts: Mapping[str, str]) -> None:
        """At most once a minute for the same thing, so that nobody fills the log by asking again."""
        key, now_s = (kind, f"{person.name}|{facts}", about[:64]), time.monotonic()
        with self._lock:
            if now_s - self._told.get(key, float("-inf")) < TELL_AGAIN_S:
                return
            if len(self._told) >= TOLD_MOST:
                self._told.clear()
            self._told[key] = now_s
        self.tell(kind, person.name, about, facts)
