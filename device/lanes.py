"""A device's two lanes, live and backfill: frames go in, sealed envelopes come to lie in the spool.

Each lane has its own session, opened when a frame needs one, and opened anew after an hour, 2^20 messages, a reboot or
a change of the recipient. The order that keeps a crash harmless: the session's open record and receipt keys are on disk
before its first envelope, an envelope is on disk before it is sent, and after a restart no old session is sealed in
again, so a sequence number that was used but never stored stays unused.

Every call may block for a disk write; ``device/uplink.py`` makes them all from one thread, which also is the only lock.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from device.frame import Block, Frame, Source, encode
from device.orders import Orders
from device.source import frame_time_ms, readings
from device.spool import Spool, StoredSession
from security import files
from security.envelope import ClosedSession, Lane, Recipient, Rejected, Sealer, open_session, verify_recipient
from security.errors import SecurityError
from security.identity import DeviceIdentity
from security.suite import STRONGEST_FIRST


class NoRecipient(Exception):
    """There is no key in force to seal to: the frame was not made."""


class Lanes:
    """Seals this boot's frames and checks receipts of this boot's and earlier ones."""

    def __init__(
        self,
        identity: DeviceIdentity,
        spool: Spool,
        recipient_path: Path,
        epoch: int,
        random: Callable[[int], bytes] = os.urandom,
        suites: Sequence[str] = STRONGEST_FIRST,
    ) -> None:
        """`suites`: what this device can do, and will not go below."""
        self._suites = suites
        self._identity, self._spool, self._path, self._random = identity, spool, recipient_path, random
        self.epoch = epoch
        self.orders = Orders()
        self.recipient: Recipient | None = None
        self._sealers = dict[Lane, Sealer]()
        self._next_seq = dict.fromkeys(Lane, 0)
        stored = spool.sessions()
        self._open_records = {s.sid: s.open_record for s in stored}
        self._sessions: dict[bytes, ClosedSession] = {s.sid: ClosedSession.from_bytes(s.state) for s in stored}

    def recall_recipient(self, now_ms: int) -> None:
        """The recipient of the last boot, so that a device that starts without a network can seal."""
        try:
            self.use(Recipient.from_json(json.loads(files.read_private(self._path))), now_ms)
        except (SecurityError, ValueError):
            self.recipient = None  # none yet, or none in force any more: the next one comes with the twin

    def use(self, recipient: Recipient, now_ms: int) -> bool:
        """Seals to `recipient` from now on. False where it did already. Raises Rejected where it proves nothing."""
        verify_recipient(recipient, self._identity.trust, now_ms, self._identity.device_id)
        if recipient == self.recipient:
            return False
        if self.recipient is not None and not recipient.supersedes(self.recipient):
            got = f"key {recipient.kid.hex()}, which ends no later"
            raise Rejected("replayed", "a newer key than the one in use", got, "the key in use was kept")
        if self.recipient is None or recipient.kid != self.recipient.kid:
            self._sealers.clear()
            self.orders.forget()
        self.recipient = recipient
        files.write_private(self._path, json.dumps(recipient.to_json()).encode())
        return True

    def seal(self, lane: Lane, blocks: Sequence[Block], *, now_ms: int, uptime_ms: int, source: Source) -> int:
        """One frame into the spool. Returns its readings. Raises NoRecipient or SpoolError; then nothing was kept."""
        sealer = self._sealer(lane, now_ms, uptime_ms)
        seq, self._next_seq[lane] = self._next_seq[lane], self._next_seq[lane] + 1
        frame = Frame(frame_time_ms(blocks, now_ms), uptime_ms, self.epoch, seq, source, tuple(blocks))
        number, count = sealer.next_seq, readings(blocks)
        self._spool.put(lane, sealer.sid, number, sealer.seal(encode(frame)), count)
        self.orders.sealed(sealer.sid, number, uptime_ms)
        return count

    def receipt(self, sid: bytes, data: object) -> list[int]:
        """What the receipt frees from the spool: ids of envelopes. Raises Rejected where the engine did not make it."""
        session = self._sessions.get(sid)
        if session is None:
            return []  # freed and forgotten before; the twin keeps old receipts
        receipt = session.check_receipt(data)
        return self._spool.free(sid, receipt.upto, receipt.extra)

    def open_record(self, sid: bytes) -> bytes:
        """What opens that session at the engine. The session must have envelopes in the spool."""
        return self._open_records[sid]

    def tidy(self) -> None:
        """Forgets sessions that are neither sealed in nor waiting for receipts."""
        for sid in self._spool.forget_empty_sessions([s.sid for s in self._sealers.values()]):
            del self._sessions[sid], self._open_records[sid]

    def _sealer(self, lane: Lane, now_ms: int, uptime_ms: int) -> Sealer:
        sealer = self._sealers.get(lane)
        if sealer is not None and not sealer.is_spent(now_ms):
            return sealer
        if self.recipient is None:
            raise NoRecipient("expected a key from the engine to seal to, got none yet; the frame was not made")
        try:
            record, sealer = open_session(
                self._identity, self.recipient, epoch=self.epoch, lane=lane, now_ms=now_ms, random=self._random,
                suites=self._suites,
            )  # fmt: skip
        except Rejected as error:
            raise NoRecipient(str(error)) from error
        self._spool.add_session(StoredSession(sealer.sid, lane, record, sealer.to_bytes()))
        self._open_records[sealer.sid], self._sessions[sealer.sid] = record, sealer
        self._sealers[lane] = sealer
        self.orders.opened(sealer, uptime_ms)
        return sealer
