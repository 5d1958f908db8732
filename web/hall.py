"""The hall before the door: a place for each connection, how many there may be, and how long each may take.

A connection is a thread. Until it has shown a session it is a *stranger*, and strangers are few, in all and from each
address; whoever shows one is counted apart, so that strangers never take the places of people at work. Where strangers'
places are full, the one who has been sending its request for longest, a second at least, goes for the next: half-sent
requests push out each other. Nothing here reads or writes a connection; :mod:`web.listener` does.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

log = logging.getLogger(__name__)

PLACE = "everbeat.place"  # where a request's environment has its place
OF_SESSION_MOST = 100  # connections of one session: many tabs, not a flood
ANSWER_S = 120.0  # a stranger's whole answer; the sign-in page is small
GRACE_S = 1.0  # how long a request may be under way before it can lose its place to the next
RETRY_S = 2  # when who was refused may come again
SWEEP_S = 0.25
SAY_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """Connections in all, without a session, without one from one address; s for a request's head and its body."""

    connections: int
    strangers: int
    strangers_each: int
    head_s: float
    body_s: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no place, as HTTP says it."""

    status: int
    why: str


@dataclass(slots=True, eq=False)
class Place:
    """One connection's. `until_s`: when its present stage must be over (monotonic s), None: it may take its time."""

    hall: Hall
    sock: socket.socket
    address: str
    since_s: float
    until_s: float | None
    session: str | None = None  # "" in a house without accounts; None: a stranger
    reading: bool = True  # its request is not here yet
    late: bool = False
    long: bool = field(default=False)  # a socket that stays

    def head_is_here(self, body: bool) -> None:
        """Its body is next, or our answer."""
        self.reading = body
        self._next(self.hall.bounds.body_s if body else ANSWER_S)

    def body_is_here(self) -> None:
        """Our answer is next."""
        self.reading = False
        self._next(ANSWER_S)

    def known(self, session: str) -> bool:
        """It has shown a session and is no stranger any more; False where that session has too many connections."""
        return self.hall.known(self, session)

    def stays(self) -> None:
        """It has become a socket of the page: the watch over sessions looks after it from now on."""
        self.long, self.reading, self.until_s = True, False, None

    def cut(self) -> None:
        """End it, from whatever thread."""
        self.until_s = None
        _shut(self.sock, socket.SHUT_RDWR)

    def _next(self, stage_s: float) -> None:
        stays = self.session is not None and not self.reading
        self.until_s = None if stays or self.long else self.hall.clock() + stage_s

    def hurry(self, now_s: float) -> None:
        """Its time is up. A request that is not here whole can still be told so: only its reading ends."""
        if self.reading and not self.late:
            self.late, self.reading, self.until_s = True, False, now_s + ANSWER_S
            _shut(self.sock, socket.SHUT_RD)
        else:
            self.cut()


class Hall:
    """All places. Safe to use from any thread."""

    def __init__(self, bounds: Bounds, clock: Callable[[], float] = time.monotonic) -> None:
        self.bounds, self.clock = bounds, clock
        self._lock = threading.Lock()
        self._places: dict[socket.socket, Place] = {}
        self._refused, self._said_s = 0, float("-inf")
        self._stop = threading.Event()
        threading.Thread(target=self._run, name="hall", daemon=True).start()

    def enter(self, sock: socket.socket, address: str) -> Place | Refusal:
        """A place for a new connection, or why there is none."""
        with self._lock:
            refusal = self._refusal(network_of(address))
            if refusal is None:
                now_s = self.clock()
                place = Place(self, sock, network_of(address), now_s, now_s + self.bounds.head_s)
                self._places[sock] = place
                return place
        self._note(refusal)
        return refusal

    def _refusal(self, address: str) -> Refusal | None:
        strangers = [p for p in self._places.values() if p.session is None]
        if len(self._places) >= self.bounds.connections and not self._make_room(strangers):
            return Refusal(503, f"expected at most {self.bounds.connections} connections, got one more")
        near = [p for p in strangers if p.address == address]
        if len(near) >= self.bounds.strangers_each and not self._make_room(near):
            most = self.bounds.strangers_each
            return Refusal(429, f"expected at most {most} connections of an address before sign-in, got one more")
        if len(strangers) >= self.bounds.strangers and not self._make_room(strangers):
            return Refusal(503, f"expected at most {self.bounds.strangers} connections before sign-in, got one more")
        return None

    def _make_room(self, places: list[Place]) -> bool:
        """Whether the slowest of these gave up its place: it may go on to be told so, but counts no more."""
        now_s = self.clock()
        slow = [p for p in places if p.reading and now_s - p.since_s >= GRACE_S and p.sock in self._places]
        if not slow:
            return False
        slowest = min(slow, key=lambda p: p.since_s)
        del self._places[slowest.sock]
        slowest.cut()
        return True

    def place(self, sock: socket.socket) -> Place | None:
        """Of a connection that has one."""
        with self._lock:
            return self._places.get(sock)

    def leave(self, sock: socket.socket) -> None:
        """It is over; one without a place is no error."""
        with self._lock:
            self._places.pop(sock, None)

    def known(self, place: Place, session: str) -> bool:
        """See :meth:`Place.known`."""
        with self._lock:
            same = sum(p.session == session for p in self._places.values()) if session else 0
            if same >= OF_SESSION_MOST and place.session != session:
                return False
            place.session = session
            if not place.reading:
                place.until_s = None
        return True

    def count(self) -> tuple[int, int]:
        """(connections, strangers among them)."""
        with self._lock:
            return len(self._places), sum(p.session is None for p in self._places.values())

    def stop(self) -> None:
        """Look no longer."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(SWEEP_S):
            now_s = self.clock()
            with self._lock:
                over = [p for p in self._places.values() if p.until_s is not None and p.until_s <= now_s]
            for place in over:
                place.hurry(now_s)

    def _note(self, refusal: Refusal) -> None:
        """One line a minute, however many come."""
        self._refused += 1
        if self.clock() - self._said_s >= SAY_EVERY_S:
            self._said_s = self.clock()
            log.warning("%s; %d were refused since the start", refusal.why, self._refused)


def network_of(address: str) -> str:
    """What counts as one address: an IPv6 customer has a whole /64 of them."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def admit(environ: Mapping[str, Any], session: str) -> bool:
    """Whoever sent this request has shown a session; False where that has too many connections."""
    place: Place | None = environ.get(PLACE)
    return place is None or place.known(session)


def _shut(sock: socket.socket, how: int) -> None:
    with suppress(OSError):  # gone by itself
        socket.socket.shutdown(sock, how)  # an SSLSocket's own would forget its TLS, and the thread's last word with it
