"""The two ends of an open session: a device's :class:`Sealer`, an engine's :class:`Opener`.

A (key, sequence number) pair is never used twice. So a sealer cannot be copied, pickled or used after a fork, and
what it leaves on disk (:class:`ClosedSession`) has no key to seal with: it only checks receipts. After a reboot a
device opens a new session. Which numbers an engine has seen is the engine's state (``security.replay``).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import replace
from threading import Lock
from typing import Any, NoReturn

from cryptography.exceptions import InvalidTag

from security import canonical, suite
from security.commands import Command, check_answer, check_command, make_answer, make_command
from security.errors import Reason, Rejected, SecurityError, SessionSpent
from security.receipts import MAX_MESSAGES, Ranges, Receipt, check_receipt, make_receipt
from security.roles import is_device_id
from security.wire import (
    HEADER_BYTES,
    MAX_ENVELOPE_BYTES,
    MAX_EPOCH,
    MAX_TIME_MS,
    SID_BYTES,
    VERSION,
    Header,
    Lane,
    malformed,
    parse_header,
)

ROTATE_AFTER_MS = 3600 * 1000
OVERHEAD_BYTES = HEADER_BYTES + suite.TAG_BYTES  # 30
_SEQ_AT = HEADER_BYTES - 4
_pack_seq = struct.Struct(">I").pack
_CLOSED, _OPENER = "everbeat/1 closed session", "everbeat/1 opener"
_MAX_STATE_BYTES = 1024


class ClosedSession:
    """What remains of a session after a restart: it checks receipts for envelopes in the spool, and cannot seal."""

    def __init__(self, device: str, epoch: int, lane: Lane, sid: bytes, opened_ms: int, receipt_key: bytes) -> None:
        _need_identifiers(device, epoch, lane, sid, opened_ms)
        self.device, self.epoch, self.lane, self.sid, self.opened_ms = device, epoch, Lane(lane), sid, opened_ms
        self._receipt_key = receipt_key

    def check_receipt(self, receipt: object) -> Receipt:
        """The engine's receipt for this session. Raises Rejected on anything else, and then frees nothing."""
        return check_receipt(receipt, self.sid, self.lane, self._receipt_key)

    def to_bytes(self) -> bytes:
        """For a file of mode 0600: whoever has it can forge receipts to this device, and nothing more."""
        identifiers = [self.device, self.epoch, int(self.lane), self.sid, self.opened_ms]
        return canonical.encode([_CLOSED, *identifiers, self._receipt_key])

    @staticmethod
    def from_bytes(data: bytes) -> ClosedSession:
        """The inverse of :meth:`to_bytes`. Raises SecurityError on other bytes."""
        device, epoch, lane, sid, opened_ms, key = _fields(data, _CLOSED, 6)
        _need_secret(key, suite.RECEIPT_KEY_BYTES)
        return ClosedSession(device, epoch, lane, sid, opened_ms, key)


class Sealer(ClosedSession):
    """The sending end. Thread-safe; one process, one life. Made by ``envelope.open_session`` alone."""

    def __init__(self, context: suite.Context, lane: Lane, opened_ms: int, secret: bytes) -> None:
        self._keys = keys = suite.derive(secret, context)
        super().__init__(context.device, context.epoch, lane, context.sid, opened_ms, keys.receipt_key)
        self.suite = context.suite
        self.max_frame_bytes = min(MAX_ENVELOPE_BYTES - OVERHEAD_BYTES, keys.max_bytes)
        self._next_seq = 0
        self._prefix = _prefix(self.lane, self.sid)
        self._encrypt, self._base_nonce, self._nonce_bytes = keys.aead.encrypt, keys.base_nonce, keys.nonce_bytes
        self._lock = Lock()
        self._process = os.getpid()

    @property
    def next_seq(self) -> int:
        """The sequence number of the next envelope, and the number of envelopes so far."""
        return self._next_seq

    def is_spent(self, now_ms: int) -> bool:
        """True when it is time for a new session: after 1 h, or 2^20 messages, or when the clock was set back."""
        return self._next_seq >= MAX_MESSAGES or not 0 <= now_ms - self.opened_ms < ROTATE_AFTER_MS

    def seal(self, frame: bytes) -> bytes:
        """The envelope of `frame`, 30 bytes longer. Raises SessionSpent after 2^20 messages or a fork.

        Written out for speed: the header's first ten bytes never change, the nonce is the base XOR the number.
        """
        if len(frame) > self.max_frame_bytes:
            raise SecurityError(f"expected at most {self.max_frame_bytes} bytes, got {len(frame)}; nothing was sealed")
        seq = self._take_seq()
        header = self._prefix + _pack_seq(seq)
        return header + self._encrypt((self._base_nonce ^ seq).to_bytes(self._nonce_bytes, "big"), frame, header)

    def check_receipt(self, receipt: object) -> Receipt:
        """As for a closed session; moreover nothing can be receipted that was not yet sealed."""
        found = super().check_receipt(receipt)
        if found.newest >= self._next_seq:
            got = f"one up to {found.newest}"
            raise Rejected(
                Reason.MALFORMED, f"a receipt below message {self._next_seq}", got, "nothing was freed from the spool"
            )
        return found

    def check_command(self, data: object, kind: str, name: str) -> Command:
        """The engine's command to this device in this session, whether seen before or not. Raises Rejected."""
        return check_command(data, kind, name, self.device, self.sid, self._keys.command_key)

    def make_answer(self, command: Command, status: int, payload: Mapping[str, object]) -> dict[str, object]:
        """The device's answer to a command that :meth:`check_command` gave."""
        return make_answer(command, status, payload, self._keys.answer_key)

    def _take_seq(self) -> int:
        """Counted before it is used: a failure between the two loses a number, and never repeats one."""
        with self._lock:
            if self._next_seq >= MAX_MESSAGES or os.getpid() != self._process:
                raise SessionSpent(f"expected a session with numbers left, got {self._next_seq} used; open a new one")
            seq = self._next_seq
            self._next_seq = seq + 1
        return seq

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("expected to keep the only copy of a Sealer, got a request to copy it; it would repeat nonces")


class Opener:
    """The receiving end. Made by ``envelope.accept_open_record``, or from its own bytes.

    The owner finds it by (the device that the hub authenticated, sid), and drops it when that device is revoked.
    """

    def __init__(self, context: suite.Context, lane: Lane, opened_ms: int, kid: bytes, secret: bytes) -> None:
        _need_identifiers(context.device, context.epoch, lane, context.sid, opened_ms)
        self.device, self.epoch, self.lane, self.sid = context.device, context.epoch, Lane(lane), context.sid
        self.opened_ms, self.kid = opened_ms, kid
        self.suite = context.suite
        self._context, self._secret = context, secret
        self._keys = keys = suite.derive(secret, context)
        self._prefix = _prefix(self.lane, self.sid)
        self._decrypt, self._base_nonce, self._nonce_bytes = keys.aead.decrypt, keys.base_nonce, keys.nonce_bytes

    def open(self, envelope: bytes) -> tuple[int, bytes]:
        """(sequence number, frame). Raises Rejected; whether the number was seen before is the caller's to check."""
        if not envelope.startswith(self._prefix) or not OVERHEAD_BYTES <= len(envelope) <= MAX_ENVELOPE_BYTES:
            self._explain(envelope)
        header = envelope[:HEADER_BYTES]
        seq = int.from_bytes(header[_SEQ_AT:], "big")
        if seq >= MAX_MESSAGES:
            raise self._refused(Reason.SPENT, f"message {seq}, beyond the session's life")
        nonce = (self._base_nonce ^ seq).to_bytes(self._nonce_bytes, "big")
        try:
            return seq, self._decrypt(nonce, envelope[HEADER_BYTES:], header)
        except (InvalidTag, ValueError) as error:  # ValueError: longer than the cipher's form allows
            raise self._refused(Reason.FORGED, f"message {seq} with a seal that does not match") from error

    def make_receipt(self, upto: int, extra: Ranges, now_ms: int) -> dict[str, object]:
        """Tells the device what is proven AND on disk. Call it after the durable write only."""
        return make_receipt(Receipt(self.sid, int(self.lane), upto, extra, now_ms), self._keys.receipt_key)

    def make_command(self, command: Command) -> tuple[Command, dict[str, object]]:
        """(the command with its MAC, what is sent). The caller never gives two commands one number."""
        sent = make_command(command, self._keys.command_key)
        return replace(command, mac=bytes.fromhex(str(sent["mac"]))), sent

    def check_answer(self, data: object, status: object, command: Command) -> dict[str, object]:
        """What the device answered to `command`. Raises Rejected on anything that it did not say to this very one."""
        return check_answer(data, status, command, self._keys.answer_key)

    def to_bytes(self) -> bytes:
        """Holds the session's secret: the caller seals it (``keys.PatientCipher``) before it is stored anywhere."""
        identifiers = [self.device, self.epoch, int(self.lane), self.sid, self.opened_ms]
        return canonical.encode([_OPENER, self._context.suite, self.kid, *identifiers, self._secret])

    @staticmethod
    def from_bytes(data: bytes) -> Opener:
        """The inverse of :meth:`to_bytes`. Raises SecurityError on other bytes."""
        name, kid, device, epoch, lane, sid, opened_ms, secret = _fields(data, _OPENER, 8)
        _need_secret(secret, suite.SECRET_BYTES)
        if name not in suite.STRONGEST_FIRST:
            raise SecurityError(f"expected a known suite, got {str(name)[:20]}; the session is unusable")
        _need_identifiers(device, epoch, lane, sid, opened_ms)
        return Opener(suite.Context(name, device, epoch, sid), Lane(lane), opened_ms, kid, secret)

    def _explain(self, envelope: bytes) -> NoReturn:
        """Why an envelope that does not begin or end like one of this session is refused."""
        header = parse_header(envelope)
        if header.is_open or len(envelope) < OVERHEAD_BYTES:
            raise malformed(
                f"a sealed frame of {OVERHEAD_BYTES} bytes or more", f"{len(envelope)} bytes of another kind"
            )
        if header.sid != self.sid:
            raise self._refused(Reason.UNKNOWN_SESSION, f"one of session {header.sid.hex()}")
        raise self._refused(Reason.FORGED, f"message {header.seq} under the flag of the other lane")

    def _refused(self, reason: Reason, got: str) -> Rejected:
        expected = f"a message that device {self.device} sealed in this session ({self.lane.name.lower()} lane)"
        return Rejected(reason, expected, got, "it was refused; no value on any screen comes from it")


def _prefix(lane: Lane, sid: bytes) -> bytes:
    """What every envelope of a session begins with: all of the header but the number."""
    return Header(VERSION, lane, False, sid, 0).pack()[:_SEQ_AT]


def _need_identifiers(device: object, epoch: object, lane: object, sid: object, t_ms: object) -> None:
    ok = is_device_id(device) and lane in set(Lane) and isinstance(sid, bytes) and len(sid) == SID_BYTES
    ok = ok and type(epoch) is int and 0 <= epoch < MAX_EPOCH
    if not (ok and type(t_ms) is int and 0 <= t_ms < MAX_TIME_MS):
        raise malformed("a session of a device, epoch, lane, id and time", "something else")


def _need_secret(secret: object, length: int) -> None:
    if not isinstance(secret, bytes) or len(secret) != length:
        raise SecurityError(f"expected {length} secret bytes, got something else; the session is unusable")


def _fields(data: bytes, kind: str, count: int) -> list[Any]:
    value = canonical.decode(data, "a stored session") if len(data) <= _MAX_STATE_BYTES else None
    if not isinstance(value, list) or len(value) != count + 1 or value[0] != kind:
        raise SecurityError(f"expected a stored {kind}, got {len(data)} other bytes; the session is unusable")
    return value[1:]
