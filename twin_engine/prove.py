"""The gate: a sealed envelope comes in, a proven frame goes out, once. Open, prove, then deduplicate.

The order matters: a message that fails its proof is refused before its sequence number is looked at, so that a forged
message never displaces the true one. Sessions survive restarts (wrapped, in the shard's store) together with the
sequence numbers they have seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cbor2
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from device.frame import Frame, FrameError, decode
from security.envelope import Lane, Opener, accept_open_record, parse_header
from security.errors import Rejected
from security.identity import Trust
from security.keys import MasterKey
from security.log import ciphertext_hash, record_leaf
from security.replay import IntervalSet

_CONTEXT = b"session|"


@dataclass(slots=True)
class Session:
    """One lane of one boot of one device: its keys, and what was seen of it."""

    opener: Opener
    seen: IntervalSet
    newest_frame_ms: int = 0


@dataclass(frozen=True, slots=True)
class Proven:
    """A frame that was sealed by the device it names, seen for the first time."""

    session: Session
    seq: int
    frame: Frame
    leaf: bytes  # Merkle leaf hash of the record


class Gate:
    """All sessions of a shard. `changed` names those to be stored with the next commit."""

    def __init__(self, trust: Trust, master: MasterKey, stored: dict[bytes, bytes]) -> None:
        self._trust = trust
        self._master = master
        self._sessions = {sid: _thaw(master, sid, blob) for sid, blob in stored.items()}
        self.changed: set[bytes] = set()

    def session(self, sid: bytes) -> Session:
        """A session that is known to be there."""
        return self._sessions[sid]

    def check(
        self,
        record_id: str,
        device: str,
        body: bytes,
        now_ms: int,
        recipient_key: Callable[[bytes], X25519PrivateKey | None],
    ) -> Proven | None:
        """The proven frame in `body`, or None where it is an open record or was counted before.

        `record_id` is its place in the raw stream, `device` whom the hub authenticated. Raises Rejected or FrameError; then nothing was changed.
        """
        header = parse_header(body)
        if header.is_open:
            self._open(device, body, header.sid, now_ms, recipient_key)
            return None
        session = self._sessions.get(header.sid)
        if session is None or session.opener.device != device:
            raise Rejected(
                "unknown-session",
                f"a session that {device} opened",
                f"session {header.sid.hex()}",
                "the message was refused; the device will be asked to open a new one",
            )
        seq, plain = session.opener.open(body)
        if seq in session.seen:
            return None
        frame = decode(plain)
        if frame.seq != seq or frame.epoch != session.opener.epoch:
            raise FrameError(
                f"expected frame {seq} of epoch {session.opener.epoch}, got {frame.seq} of {frame.epoch}; refused"
            )
        session.seen.add(seq)
        session.newest_frame_ms = max(session.newest_frame_ms, frame.device_time_ms)
        self.changed.add(header.sid)
        return Proven(session, seq, frame, _leaf(record_id, session, seq, body))

    def take_changed(self) -> dict[bytes, bytes]:
        """sid -> wrapped session, for the commit; what was changed counts as stored from here on."""
        out = {sid: _freeze(self._master, sid, self._sessions[sid]) for sid in self.changed}
        self.changed.clear()
        return out

    def _open(
        self,
        device: str,
        body: bytes,
        sid: bytes,
        now_ms: int,
        recipient_key: Callable[[bytes], X25519PrivateKey | None],
    ) -> None:
        """A new session. One that is known stays as it is, so a replayed open record resets nothing."""
        if sid in self._sessions:
            return
        opener = accept_open_record(
            body, trust=self._trust, recipient_key=recipient_key, hub_device_id=device, now_ms=now_ms
        )
        self._sessions[sid] = Session(opener, IntervalSet())
        self.changed.add(sid)


def is_live(session: Session) -> bool:
    """Whether the session is of the live lane."""
    return session.opener.lane is Lane.LIVE


def _leaf(record_id: str, session: Session, seq: int, body: bytes) -> bytes:
    opener = session.opener
    return record_leaf(record_id, opener.device, opener.epoch, int(opener.lane), seq, ciphertext_hash(body))


def _freeze(master: MasterKey, sid: bytes, session: Session) -> bytes:
    state = cbor2.dumps([session.opener.to_bytes(), session.seen.to_json(), session.newest_frame_ms])
    return master.wrap(state, _CONTEXT + sid)


def _thaw(master: MasterKey, sid: bytes, blob: bytes) -> Session:
    opener, seen, newest = cbor2.loads(master.unwrap(blob, _CONTEXT + sid))
    return Session(Opener.from_bytes(opener), IntervalSet.from_json(seen), newest)
