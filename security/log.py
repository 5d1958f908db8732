"""What the tamper-evident log holds: one leaf for each stored envelope, never a reading and never a patient.

An entry is deterministic CBOR (RFC 8949 section 4.2) of the array ``["everbeat/1 record", stream id, device, epoch,
lane, seq, SHA-256 of the envelope's ciphertext and tag]``; its leaf hash is that of RFC 9162 (SHA-256 of a zero byte
and the entry). Test vector: stream ``1700000000000-0``, device ``esp32-01``, epoch 1, lane 0, seq 7, ciphertext hash
SHA-256("") gives the leaf ``0101a42c7d266dec85d440a68a0609e91a807bc7a900f2478155137363e638a3``.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from security import canonical
from security.errors import Reason, Rejected, SecurityError
from security.merkle import HASH_BYTES, leaf_hash
from security.roles import is_device_id
from security.wire import HEADER_BYTES

_DOMAIN = "everbeat/1 record"
_AUDIT_DOMAIN = "everbeat/1 audit entry"
_MAX_STREAM_ID = 64
_MAX_ENTRY = 1024
_MAX_AUDIT_ENTRY = 8192
SALT_BYTES = 16


@dataclass(frozen=True, slots=True)
class RecordEntry:
    """The fields of one entry: which stored envelope, and the SHA-256 of its ciphertext and tag."""

    stream_id: str
    device: str
    epoch: int
    lane: int
    seq: int
    ciphertext_hash: bytes

    def to_bytes(self) -> bytes:
        """The entry. Raises SecurityError on a field that is not of its form."""
        return record_entry(self.stream_id, self.device, self.epoch, self.lane, self.seq, self.ciphertext_hash)


def ciphertext_hash(envelope: bytes) -> bytes:
    """SHA-256 of what follows the envelope's header: the ciphertext and its tag."""
    return sha256(envelope[HEADER_BYTES:]).digest()


def record_entry(stream_id: str, device: str, epoch: int, lane: int, seq: int, ciphertext_hash: bytes) -> bytes:
    """The bytes of one entry. Raises SecurityError on a field that is not of its form: no leaf may be ambiguous."""
    named = 0 < len(stream_id) <= _MAX_STREAM_ID and stream_id.isascii() and is_device_id(device)
    counted = epoch >= 0 and lane in (0, 1) and seq >= 0
    if not (named and counted and len(ciphertext_hash) == HASH_BYTES):
        got = f"{stream_id!r:.80}, {device!r:.80}, {epoch}, {lane}, {seq}, {len(ciphertext_hash)} bytes"
        raise SecurityError(f"expected the fields of a stored envelope, got {got}; nothing was logged")
    return canonical.encode([_DOMAIN, stream_id, device, int(epoch), int(lane), int(seq), ciphertext_hash])


def record_leaf(stream_id: str, device: str, epoch: int, lane: int, seq: int, ciphertext_hash: bytes) -> bytes:
    """The 32-byte leaf hash of one stored envelope. `stream_id` is its place in the raw stream."""
    return leaf_hash(record_entry(stream_id, device, epoch, lane, seq, ciphertext_hash))


def read_record_entry(entry: bytes) -> RecordEntry:
    """The inverse of :func:`record_entry`. Raises Rejected on any other bytes."""
    value: Any = canonical.decode(entry, "an entry of the log") if len(entry) <= _MAX_ENTRY else ()
    try:
        domain, *fields = value
        found = RecordEntry(*fields)
        if domain == _DOMAIN and found.to_bytes() == entry:
            return found
    except (TypeError, ValueError, AttributeError, SecurityError):
        pass
    raise Rejected(Reason.MALFORMED, "an entry of a log of records", "other bytes", "it proves nothing")


def audit_entry(salt: bytes, event: bytes) -> bytes:
    """The entry of one audit event: the salt keeps who sees only its leaf from guessing the event."""
    if len(salt) != SALT_BYTES:
        raise SecurityError(f"expected a salt of {SALT_BYTES} bytes, got {len(salt)}; nothing was logged")
    return canonical.encode([_AUDIT_DOMAIN, salt, event])


def read_audit_entry(entry: bytes) -> tuple[bytes, bytes]:
    """(salt, the event's bytes). Raises Rejected on any other bytes."""
    value: Any = canonical.decode(entry, "an audit entry") if len(entry) <= _MAX_AUDIT_ENTRY else ()
    match value:
        case [domain, bytes(salt), bytes(event)] if domain == _AUDIT_DOMAIN and len(salt) == SALT_BYTES:
            return salt, event
    raise Rejected(Reason.MALFORMED, "an entry of the audit log", "other bytes", "it proves nothing")
