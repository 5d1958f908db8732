"""The gate: a sealed envelope comes in, a proven frame goes out, once. Open, prove, then deduplicate.

The order matters: a message that fails its proof is refused before its sequence number is looked at, so that a forged
message never displaces the true one. A session lives no longer than the certificates that it rests on: once one of
them is revoked its messages are refused, wherever they come from. Sessions survive restarts (sealed, in the shard's
store) together with the sequence numbers they have seen. When no message of a session can come any more
(``security.freshness``), its keys are forgotten and its name stays, so that its open record never opens it again.

What an open record costs is bounded: one that is known costs a look-up; each device has so many new ones at a time, and
only then is a record read, its chain (remembered, if it was verified before), its signature, and last its secret.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import cbor2

from device.frame import Frame, FrameError, decode
from security import freshness
from security.envelope import Lane, Opener, accept_open_record, named_chain, parse_header
from security.errors import Reason, Rejected
from security.identity import Trust
from security.keys import RecipientKey
from security.log import ciphertext_hash, record_entry
from security.replay import IntervalSet
from security.suite import STRONGEST_FIRST
from twin_engine.admission import Admission
from twin_engine.asked import Asked

KEPT_RECEIPTS = 3  # sessions of one lane whose receipts stay in the device's twin (32 KiB there)


@dataclass(slots=True)
class Session:
    """One lane of one boot of one device: its keys, what was seen of it, and the certificates that it rests on.

    `serials` is empty for a session that was stored before they were noted: only the hub can cut that one.
    """

    opener: Opener
    seen: IntervalSet
    serials: frozenset[int] = frozenset()
    asked: Asked = field(default_factory=Asked)  # its commands


@dataclass(frozen=True, slots=True)
class Proven:
    """A frame that was sealed by the device it names, seen for the first time."""

    session: Session
    seq: int
    frame: Frame
    entry: bytes  # what the log's leaf hashes


class Gate:
    """All sessions of a shard, by device and session id: a device can neither use nor occupy another one's."""

    def __init__(
        self, trust: Trust, stored: dict[bytes, bytes], suites: Collection[str] = STRONGEST_FIRST,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`stored`: name -> session as :meth:`take_changed` and :meth:`take_buried` gave it.

        `suites`: what this house takes.
        """
        self._trust = trust
        self._admission = Admission(suites, steady_s)
        open_ = {name: blob for name, blob in stored.items() if not self._admission.recall(name, cbor2.loads(blob))}
        self._sessions = {name: _thaw(blob) for name, blob in open_.items()}
        for name, session in self._sessions.items():
            self._admission.note(name, session.opener)
        self._changed: set[bytes] = set()
        self._outdated: list[tuple[str, bytes]] = []

    def believe(self, trust: Trust) -> set[str]:
        """Go by `trust` from now on. The devices of sessions that it ends."""
        before, self._trust = self._trust.revoked, trust
        new = trust.revoked - before
        return {s.opener.device for s in self._sessions.values() if s.serials & new}

    def check(
        self,
        record_id: str,
        device: str,
        body: bytes,
        now_ms: int,
        recipient_key: Callable[[bytes], RecipientKey | None],
    ) -> Proven | None:
        """The proven frame in `body`, or None where it is an open record or was counted before.

        `record_id` is its place in the raw stream, `device` whom the hub authenticated. Raises Rejected or FrameError;
        then nothing was changed.
        """
        header = parse_header(body)
        if header.is_open:
            self._open(device, body, header.sid, now_ms, recipient_key)
            return None
        name = _name(device, header.sid)
        session = self._sessions.get(name)
        if session is None and self._admission.is_over(name):
            raise Rejected(
                Reason.SPENT,
                f"a message of a session of {device} that is not over",
                f"one of session {header.sid.hex()}",
                "the message was refused for good",
            )
        if session is None:
            raise Rejected(
                "unknown-session",
                f"a session that {device} opened",
                f"session {header.sid.hex()}",
                "the message was refused; sent again after its open record it will count",
            )
        if session.serials & self._trust.revoked:
            raise _revoked(device)
        freshness.check_arrival(session.opener.opened_ms, now_ms)
        seq, plain = session.opener.open(body)
        if seq in session.seen:
            return None
        frame = decode(plain)
        if frame.epoch != session.opener.epoch:
            raise FrameError(f"expected a frame of epoch {session.opener.epoch}, got one of {frame.epoch}; refused")
        freshness.check_frame(session.opener.opened_ms, frame.device_time_ms)
        session.seen.add(seq)
        self._changed.add(name)
        return Proven(session, seq, frame, _entry(record_id, session, seq, body))

    def newest(self, device: str) -> Session | None:
        """The session in which the device can be told something: of its latest boot, of the live lane first."""
        name = self._admission.newest(device)
        session = None if name is None else self._sessions[name]
        return None if session is None or session.serials & self._trust.revoked else session

    def session(self, device: str, sid: bytes) -> Session | None:
        """That session, while there is one."""
        return self._sessions.get(_name(device, sid))

    def asking(self) -> list[Session]:
        """The sessions with commands that wait for their answers."""
        return [session for session in self._sessions.values() if session.asked.waiting]

    def changed(self, session: Session) -> None:
        """To be stored with the next commit, unless it is over."""
        name = _name(session.opener.device, session.opener.sid)
        if name in self._sessions:
            self._changed.add(name)

    def take_changed(self) -> tuple[dict[bytes, bytes], list[Session]]:
        """(name -> session with its keys, the sessions) to be sealed and stored with the next commit."""
        sessions = [self._sessions[name] for name in self._changed]
        out = {name: _freeze(self._sessions[name]) for name in self._changed}
        self._changed.clear()
        return out, sessions

    def take_outdated(self) -> list[tuple[str, bytes]]:
        """(device, sid) of sessions that have fallen out of use: nobody needs their receipts any more."""
        out, self._outdated = self._outdated, []
        return out

    def expire(self, now_ms: int) -> int:
        """Forgets the keys of sessions of which nothing can come any more. Returns how many they were."""
        ended = self._admission.ended(now_ms)
        for name in ended:
            del self._sessions[name]
            self._changed.discard(name)
            self._admission.bury(name)
        return len(ended)

    def take_buried(self) -> dict[bytes, bytes]:
        """name -> what is left of a session that is over, to be stored with the next commit; no secret."""
        return self._admission.take_buried()

    def _note_outdated(self, opened: Opener) -> None:
        alike = self._admission.alike(opened)
        if len(alike) > KEPT_RECEIPTS:
            self._outdated.append((opened.device, alike[-1 - KEPT_RECEIPTS].sid))

    def _open(
        self,
        device: str,
        body: bytes,
        sid: bytes,
        now_ms: int,
        recipient_key: Callable[[bytes], RecipientKey | None],
    ) -> None:
        """A new session. One that is known stays as it is, so a replayed open record resets nothing."""
        name = _name(device, sid)
        if name in self._sessions or self._admission.is_over(name):
            return
        self._admission.knock(device)
        opener = accept_open_record(
            body, trust=self._admission.chains.of(self._trust), recipient_key=recipient_key, hub_device_id=device,
            now_ms=now_ms, suites=self._admission.suites,
        )  # fmt: skip
        self._admission.check(opener)
        self._admission.note(name, opener)
        self._sessions[name] = Session(opener, IntervalSet(), self._trust.serials(named_chain(body)))
        self._changed.add(name)
        self._note_outdated(opener)


def is_live(session: Session) -> bool:
    """Whether the session is of the live lane."""
    return session.opener.lane is Lane.LIVE


def _name(device: str, sid: bytes) -> bytes:
    return device.encode() + b"|" + sid


def _entry(record_id: str, session: Session, seq: int, body: bytes) -> bytes:
    opener = session.opener
    return record_entry(record_id, opener.device, opener.epoch, int(opener.lane), seq, ciphertext_hash(body))


def _revoked(device: str) -> Rejected:
    return Rejected(
        Reason.REVOKED,
        f"a session of {device} whose certificate is in force",
        "one whose certificate was revoked",
        "the message was refused; enrolled anew, the device opens new sessions",
    )


def _freeze(session: Session) -> bytes:
    serials = sorted(session.serials)
    data: bytes = cbor2.dumps([session.opener.to_bytes(), session.seen.to_json(), serials, session.asked.to_list()])
    return data


def _thaw(data: bytes) -> Session:
    opener, seen, *more = cbor2.loads(data)  # without serials, or commands, where an older version wrote it
    serials, asked = more[0] if more else (), Asked.from_list(more[1]) if len(more) > 1 else Asked()
    return Session(Opener.from_bytes(opener), IntervalSet.from_json(seen), frozenset(serials), asked)
