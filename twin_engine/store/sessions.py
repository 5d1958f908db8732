"""Sessions in Redis: who is signed in, from when, last touched when. Ended by deleting a key, and so at once.

A session's secret (256 random bits) is in one browser's cookie and nowhere else: it is stored as its SHA-256, so that a
copy of the database opens no session. A session ends when it is idle for too long, when its time is up, when its
account is disabled, gone or has another role or password, and when somebody ends it. A wall clock that is set back
makes no session older or younger: time stands for it until it is seen, and goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from dataclasses import asdict, dataclass, replace

from security.errors import Rejected
from security.keys import MasterKey
from security.people import PATIENCE, Account
from twin_engine.store.connection import Client, translated
from twin_engine.store.people import Clock, clock_ms

log = logging.getLogger(__name__)

SESSION = "eb:people:session:"
SECRET_BYTES = 32
TOUCH_EVERY_MS = 15_000


@dataclass(frozen=True, slots=True)
class Session:
    """One browser, signed in. `id` is the hash of its secret; `agent` and `address` are for the person to recognise."""

    id: str
    name: str
    role: str
    from_ms: int
    touched_ms: int
    address: str = ""
    agent: str = ""
    password_ms: int | None = None  # when the account's password was set; None where that was not noted

    def over(self, account: Account | None, now_ms: int) -> bool:
        """Whether it counts no more. Fails closed: no account, no session."""
        if account is None or account.disabled or account.name != self.name or account.role != self.role:
            return True
        patience, seen_ms = PATIENCE[self.role], max(now_ms, self.touched_ms)
        aged = seen_ms - self.from_ms >= 1000 * patience.most_s or seen_ms - now_ms >= 1000 * patience.most_s
        idle = patience.idle_s > 0 and seen_ms - self.touched_ms >= 1000 * patience.idle_s
        return aged or idle or self._before_password(account)

    def _before_password(self, account: Account) -> bool:
        """Whether the password was another one when it began. No clock is asked, where that was noted."""
        if self.password_ms is None:
            return self.from_ms < account.changed_ms
        return self.password_ms != account.changed_ms

    def dated(self, now_ms: int) -> Session:
        """The session where the clock was set back after its last touch: touched now, and as old as it was then."""
        step_ms = self.touched_ms - now_ms
        return replace(self, from_ms=self.from_ms - step_ms, touched_ms=now_ms)

    def left_s(self, now_ms: int) -> tuple[float | None, float]:
        """(until it is idle for too long, None where that is no end; until its time is up), s; what is over is 0."""
        patience = PATIENCE[self.role]
        idle_s = patience.idle_s - (now_ms - self.touched_ms) / 1000
        most_s = patience.most_s - (now_ms - self.from_ms) / 1000
        return max(0.0, idle_s) if patience.idle_s else None, max(0.0, most_s)


class SessionStore:
    """Sessions by the hash of their secret. Every method raises StoreDown."""

    def __init__(self, client: Client, master: MasterKey, clock: Clock = clock_ms) -> None:
        self._client, self._master, self._clock = client, master, clock

    def begin(self, account: Account, address: str = "", agent: str = "") -> tuple[str, Session]:
        """(secret for the cookie, session). Always a new secret: what was in the browser before is worth nothing."""
        secret, now_ms = secrets.token_urlsafe(SECRET_BYTES), self._clock()
        session = Session(
            hash_of(secret), account.name, account.role, now_ms, now_ms, address[:64], agent[:120], account.changed_ms
        )  # fmt: skip
        most_ms = 1000 * PATIENCE[account.role].most_s
        with translated():
            batch = self._client.pipeline(transaction=True)
            batch.set(_key(session.id), self._seal(session), px=most_ms)
            batch.sadd(_of(account.name), session.id)
            batch.execute()
        return secret, session

    def find(self, secret: str) -> Session | None:
        """The session of a cookie's secret, whether it still counts or not (:meth:`Session.over`)."""
        return self.find_all([hash_of(secret)]).get(hash_of(secret)) if 0 < len(secret) <= 128 else None

    def find_all(self, ids: list[str]) -> dict[str, Session]:
        """Several by their ids, in one round trip."""
        if not ids:
            return {}
        with translated():
            blobs = self._client.mget([_key(session_id) for session_id in ids])
        opened = {i: self._open(i, blob) for i, blob in zip(ids, blobs, strict=True) if blob is not None}
        return {i: self._dated(session) for i, session in opened.items() if session is not None}

    def _dated(self, session: Session) -> Session:
        """One whose last touch lies in the future is dated anew at first sight: it is idle, and ages, from now on.

        One further ahead than any may last is left as it is, which is over.
        """
        now_ms = self._clock()
        if not TOUCH_EVERY_MS <= session.touched_ms - now_ms < 1000 * PATIENCE[session.role].most_s:
            return session
        dated = session.dated(now_ms)
        with translated():
            self._client.set(_key(session.id), self._seal(dated), xx=True, keepttl=True)
        return dated

    def touch(self, session: Session) -> None:
        """The person is there. Written at most every quarter of a minute, and never for a session that was ended."""
        now_ms = self._clock()
        if now_ms - session.touched_ms >= TOUCH_EVERY_MS:
            with translated():
                touched = self._seal(replace(session, touched_ms=now_ms))
                self._client.set(_key(session.id), touched, xx=True, keepttl=True)

    def end(self, session: Session) -> None:
        """Nobody is signed in with it from now on."""
        with translated():
            batch = self._client.pipeline(transaction=True)
            batch.delete(_key(session.id), _saw(session.id))
            batch.srem(_of(session.name), session.id)
            batch.execute()

    def of(self, name: str) -> list[Session]:
        """The sessions of one account, newest first; what Redis has forgotten is tidied away."""
        with translated():
            ids = sorted(member.decode() for member in self._client.smembers(_of(name)))
        found = self.find_all(ids)
        if gone := [i for i in ids if i not in found]:
            with translated():
                self._client.srem(_of(name), *gone)
        return sorted(found.values(), key=lambda session: -session.from_ms)

    def end_all(self, name: str, keep: str = "") -> int:
        """End every session of an account but the one with the id `keep`; gives how many."""
        ended = [session for session in self.of(name) if session.id != keep]
        for session in ended:
            self.end(session)
        return len(ended)

    def first_view(self, session: Session, patient: str) -> bool:
        """Whether this session looks at the patient for the first time."""
        with translated():
            new = bool(self._client.sadd(_saw(session.id), patient))
            if new:
                self._client.pexpire(_saw(session.id), 1000 * PATIENCE[session.role].most_s)
        return new

    def _seal(self, session: Session) -> bytes:
        return self._master.wrap(json.dumps(asdict(session)).encode(), session_context(session.id))

    def _open(self, session_id: str, blob: bytes) -> Session | None:
        try:
            return Session(**json.loads(self._master.unwrap(blob, session_context(session_id))))
        except (Rejected, ValueError, TypeError) as error:
            log.error("a session can't be read (%s); it counts as ended", error)
            return None


def hash_of(secret: str) -> str:
    """How a session's secret is stored."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def session_context(session_id: str) -> bytes:
    """What a session's wrap is bound to."""
    return b"session|" + session_id.encode()


def _key(session_id: str) -> str:
    return SESSION + session_id


def _of(name: str) -> str:
    return f"eb:people:of:{name}"


def _saw(session_id: str) -> str:
    return f"eb:people:saw:{session_id}"
