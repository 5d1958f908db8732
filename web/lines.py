"""Open sockets and whose they are: looked after twice a second, so that a session that ends takes its sockets along.

A socket is opened with the cookie of its handshake, and from then on held to what its session may see *now*: it is
closed when the session is over or its patient no longer hers, and the ward is told anew when her grants change.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from security.people import Right
from twin_engine.store.errors import StoreError
from twin_engine.store.people import clock_ms
from web.access import Access, Person, allowed

log = logging.getLogger(__name__)

CHECK_EVERY_S = 0.5
BLIND_MOST_S = 60.0  # without the store nobody learns of an end; after this long every socket is closed
SESSION, RIGHTS = "session", "rights"  # why a socket is closed: it is over, or the patient no longer hers
LINES_MOST = 48  # sockets of one session: tabs on a desk, not a flood


@dataclass(slots=True)
class Line:
    """One socket. `patient` "" = the ward."""

    namespace: str
    patient: str
    person: Person


class Lines:
    """Safe to use from the watcher, the relay and socket threads."""

    def __init__(
        self,
        access: Access,
        cut: Callable[[str, str, str], None],
        renew: Callable[[str], None],
        tidy: Callable[[], None],
    ) -> None:
        """`cut(sid, namespace, why)` closes a socket, `why` is :data:`SESSION` or :data:`RIGHTS`; `renew(sid)` tells it
        the ward as it may now be seen; `tidy()` looks after sockets that are nobody's line."""
        self._access, self._cut, self._renew, self._tidy = access, cut, renew, tidy
        self._lock = threading.Lock()
        self._lines: dict[str, Line] = {}
        self._seen_s = time.monotonic()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self, sid: str, namespace: str, patient: str = "") -> bool:
        """Whether the request at hand may have this socket. Raises StoreError."""
        person = self._access.person()
        if person is None or (patient and not self._access.may(Right.VIEW, patient)):
            return False
        with self._lock:
            ids = [line.person.session.id for line in self._lines.values() if line.person.session]
            if person.session is not None and ids.count(person.session.id) >= LINES_MOST:
                return False
            self._lines[sid] = Line(namespace, patient, person)
        self.start()
        return True

    def start(self) -> None:
        """Begin to look; a second call does nothing."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lines", daemon=True)
                self._thread.start()

    def close(self, sid: str) -> None:
        """It is gone; an unknown one is no error."""
        with self._lock:
            self._lines.pop(sid, None)

    def sees(self, sid: str, patient: str) -> bool:
        """Whether the socket's person may see the patient, by the newest look at her session."""
        with self._lock:
            line = self._lines.get(sid)
        return line is not None and allowed(line.person, Right.VIEW, patient, clock_ms())

    def stop(self) -> None:
        """Look no longer."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(CHECK_EVERY_S):
            try:
                self._tidy()
                self.check()
            except StoreError as error:
                log.warning("open sockets can't be held to their sessions: %s", error)
                self._blind()
            except Exception:  # the thread's edge
                log.exception("the watch over open sockets stumbled")
                self._blind()

    def check(self) -> None:
        """One look at everybody. Raises StoreError."""
        with self._lock:
            lines = dict(self._lines)
        people = self._access.people
        sessions = {line.person.session.id for line in lines.values() if line.person.session}
        found = people.sessions.find_all(sorted(sessions)) if people else {}
        persons = self._access.renewed(list(found.values()))
        demo_over = self._access.required
        for sid, line in lines.items():
            session = line.person.session
            person = persons.get(session.id) if session else (None if demo_over else line.person)
            self._hold(sid, line, person)
        self._seen_s = time.monotonic()

    def _hold(self, sid: str, line: Line, person: Person | None) -> None:
        if person is None:
            self._end(sid, line, SESSION)
            return
        if line.patient and not allowed(person, Right.VIEW, line.patient, clock_ms()):
            self._end(sid, line, RIGHTS)
            return
        changed = person.sees != line.person.sees
        line.person = person
        if changed and not line.patient:
            self._renew(sid)

    def _blind(self) -> None:
        if time.monotonic() - self._seen_s > BLIND_MOST_S:
            with self._lock:
                lines = {sid: line for sid, line in self._lines.items() if line.person.session}
            for sid, line in lines.items():
                self._end(sid, line, SESSION)

    def _end(self, sid: str, line: Line, why: str) -> None:
        self.close(sid)
        log.info("a socket of %s was closed: %s", line.person.name, why)
        self._cut(sid, line.namespace, why)
