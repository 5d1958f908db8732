"""The gate: a sealed envelope comes in, a proven frame goes out, once. Open, prove, then deduplicate.

The order matters: a message that fails its proof is refused before its sequence number is looked at, so that a forged
message never displaces the true one. Sessions survive restarts (sealed, in the shard's store) together with the
sequence numbers they have seen. When no message of a session can come any more (``security.freshness``), its keys are
forgotten and its name stays, so that its open record never opens it again.

What an open record costs is bounded: one that is known costs a look-up; each device has so many new ones an hour, and
only then is a record read, its chain (remembered, if it was verified before), its signature, and last its secret.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

import cbor2

from device.frame import Frame, FrameError, decode
from security import freshness
from security.chains import ChainCache
from security.envelope import Lane, Opener, accept_open_record, parse_header
from security.errors import Reason, Rejected
from security.identity import Trust
from security.keys import RecipientKey
from security.log import ciphertext_hash, record_leaf
from security.rate import Buckets
from security.replay import IntervalSet
from security.suite import STRONGEST_FIRST, stronger

KEPT_RECEIPTS = 3  # sessions of one lane whose receipts stay in the device's twin (32 KiB there)
OPENS_PER_S, OPENS_BURST = 1.0, 512  # new sessions of a device: an hour's each, and 14 days' at once after an outage
_EXPIRED = "expired"
RecipientKeys = Callable[[bytes], RecipientKey | None]


@dataclass(slots=True)
class Session:
    """One lane of one boot of one device: its keys, and what was seen of it."""

    opener: Opener
    seen: IntervalSet


@dataclass(frozen=True, slots=True)
class Proven:
    """A frame that was sealed by the device it names, seen for the first time."""

    session: Session
    seq: int
    frame: Frame
    leaf: bytes  # Merkle leaf hash of the record


class Gate:
    """All sessions of a shard, by device and session id: a device can neither use nor occupy another one's."""

    def __init__(
        self, trust: Trust, stored: dict[bytes, bytes], suites: Collection[str] = STRONGEST_FIRST,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`stored`: name -> session as :meth:`take_changed` gave it. `suites`: what this house takes."""
        self._chains, self._suites = ChainCache(trust), suites
        self._buckets = Buckets(OPENS_PER_S, OPENS_BURST, steady_s)
        self._sessions: dict[bytes, Session] = {}
        self._expired = set[bytes]()  # names, for good
        self._of_device: dict[str, dict[bytes, Opener]] = {}
        self._boots: dict[str, dict[int, int]] = {}  # device -> epoch -> when its newest session was opened
        self._changed = set[bytes]()
        self._buried = set[bytes]()  # expired since the last commit
        self._outdated: list[tuple[str, bytes]] = []
        for name, blob in stored.items():
            self._recall(name, blob)

    def check(
        self,
        record_id: str,
        device: str,
        body: bytes,
        now_ms: int,
        recipient_key: RecipientKeys,
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
        if session is None:
            raise self._unknown(device, name, header.sid)
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
        return Proven(session, seq, frame, _leaf(record_id, session, seq, body))

    def take_changed(self) -> tuple[dict[bytes, bytes], list[Session]]:
        """(name -> session with its keys, the sessions) to be sealed and stored with the next commit."""
        sessions = [self._sessions[name] for name in self._changed]
        out = {name: _freeze(self._sessions[name]) for name in self._changed}
        out |= {name: self._tombstone(name) for name in self._buried}
        self._changed.clear()
        self._buried.clear()
        return out, sessions

    def take_outdated(self) -> list[tuple[str, bytes]]:
        """(device, sid) of sessions that have fallen out of use: nobody needs their receipts any more."""
        out, self._outdated = self._outdated, []
        return out

    def expire(self, now_ms: int) -> int:
        """Forgets the keys of sessions of which nothing can come any more. Returns how many they were."""
        over = [n for n, s in self._sessions.items() if now_ms > freshness.ends_ms(s.opener.opened_ms)]
        for name in over:
            opener = self._sessions.pop(name).opener
            del self._of_device[opener.device][name]
            self._expired.add(name)
            self._changed.discard(name)
            self._buried.add(name)
        return len(over)

    def _open(self, device: str, body: bytes, sid: bytes, now_ms: int, recipient_key: RecipientKeys) -> None:
        """A new session. One that is known stays as it is, so a replayed open record resets nothing."""
        name = _name(device, sid)
        if name in self._sessions or name in self._expired:
            return
        self._buckets.take(device)
        opener = accept_open_record(
            body, trust=self._chains, recipient_key=recipient_key, hub_device_id=device, now_ms=now_ms,
            suites=self._suites,
        )  # fmt: skip
        freshness.check_boot(opener.epoch, opener.opened_ms, self._boots.get(device, {}).items())
        self._need_no_step_down(opener)
        self._keep(name, Session(opener, IntervalSet()))
        self._changed.add(name)
        self._note_outdated(opener)

    def _need_no_step_down(self, new: Opener) -> None:
        """Under one recipient key, which offers what it offers, a device never takes a weaker suite than before."""
        for name in stronger(new.suite):
            alike = (o for o in self._of_device.get(new.device, {}).values() if (o.kid, o.suite) == (new.kid, name))
            if name in self._suites and any(alike):
                raise Rejected(
                    Reason.WEAK_SUITE,
                    f"suite {name}, with which {new.device} sealed to this key before",
                    f"suite {new.suite}",
                    "no session was opened and its messages will not be read",
                )

    def _note_outdated(self, opened: Opener) -> None:
        alike = [o for o in self._of_device[opened.device].values() if o.lane == opened.lane]
        alike.sort(key=lambda opener: (opener.epoch, opener.opened_ms))
        if len(alike) > KEPT_RECEIPTS:
            self._outdated.append((opened.device, alike[-1 - KEPT_RECEIPTS].sid))

    def _unknown(self, device: str, name: bytes, sid: bytes) -> Rejected:
        if name in self._expired:
            got = f"one of session {sid.hex()}, over for good"
            return Rejected(Reason.SPENT, f"a message of a session of {device}", got, "the message was refused")
        return Rejected(
            Reason.UNKNOWN_SESSION,
            f"a session that {device} opened",
            f"session {sid.hex()}",
            "the message was refused; sent again after its open record it will count",
        )

    def _keep(self, name: bytes, session: Session) -> None:
        opener = session.opener
        self._sessions[name] = session
        self._of_device.setdefault(opener.device, {})[name] = opener
        self._note_boot(opener.device, opener.epoch, opener.opened_ms)

    def _note_boot(self, device: str, epoch: int, opened_ms: int) -> None:
        boots = self._boots.setdefault(device, {})
        boots[epoch] = max(opened_ms, boots.get(epoch, opened_ms))

    def _recall(self, name: bytes, blob: bytes) -> None:
        """A session as it was stored, or what is left of one."""
        first, *rest = cbor2.loads(blob)
        if first == _EXPIRED:
            self._expired.add(name)
            for epoch, opened_ms in rest:
                self._note_boot(name.split(b"|")[0].decode(), epoch, opened_ms)
        else:
            self._keep(name, Session(Opener.from_bytes(first), IntervalSet.from_json(rest[0])))

    def _tombstone(self, name: bytes) -> bytes:
        boots = self._boots.get(name.split(b"|")[0].decode(), {})
        newest = max(boots.items(), default=None)
        data: bytes = cbor2.dumps([_EXPIRED, *([list(newest)] if newest else [])])
        return data


def is_live(session: Session) -> bool:
    """Whether the session is of the live lane."""
    return session.opener.lane is Lane.LIVE


def _name(device: str, sid: bytes) -> bytes:
    return device.encode() + b"|" + sid


def _leaf(record_id: str, session: Session, seq: int, body: bytes) -> bytes:
    opener = session.opener
    return record_leaf(record_id, opener.device, opener.epoch, int(opener.lane), seq, ciphertext_hash(body))


def _freeze(session: Session) -> bytes:
    data: bytes = cbor2.dumps([session.opener.to_bytes(), session.seen.to_json()])
    return data
