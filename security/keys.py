"""Keys at rest: a master key outside the database, keys wrapped by it, data sealed by those.

Everything is AES-256-GCM with a fresh random 96-bit nonce and the caller's context as associated data, so that a
blob moved to another place does not open there. Erasing a patient is destroying the wrapped keys: what they sealed
stays noise. A key may seal 2^32 blobs (NIST SP 800-38D 8.3); at 10 a second that is 13 years.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from security import files
from security.errors import Reason, Rejected, SecurityError
from security.recipient_keys import (
    KID_BYTES,
    RecipientKey,
    create_recipient_key,
    recipient_from_bytes,
    recipient_kid,
    recipient_to_bytes,
)

__all__ = [
    "KEY_BYTES", "KID_BYTES", "MasterKey", "PatientCipher", "RecipientKey", "create_data_key", "create_recipient_key",
    "recipient_from_bytes", "recipient_kid", "recipient_to_bytes",
]  # fmt: skip

KEY_BYTES = 32
_VERSION = b"\x01"
_NONCE_BYTES, _TAG_BYTES = 12, 16
Random = Callable[[int], bytes]


class PatientCipher:
    """Seals what lies in the database of one patient. `key32` is the patient's data key."""

    __slots__ = ("_aead", "_random")

    def __init__(self, key32: bytes, random: Random = os.urandom) -> None:
        if len(key32) != KEY_BYTES:
            raise SecurityError(f"expected a key of {KEY_BYTES} bytes, got {len(key32)}; nothing can be sealed with it")
        self._aead, self._random = AESGCM(key32), random

    def seal(self, plaintext: bytes, aad: bytes) -> bytes:
        """``version(1) | nonce(12) | ciphertext | tag(16)``: 29 bytes more than `plaintext`."""
        nonce = self._random(_NONCE_BYTES)
        return _VERSION + nonce + self._aead.encrypt(nonce, plaintext, aad)

    def unseal(self, blob: bytes, aad: bytes) -> bytes:
        """The plaintext. Raises Rejected("forged") where `blob` was altered, moved or sealed by another key."""
        if len(blob) < 1 + _NONCE_BYTES + _TAG_BYTES or blob[:1] != _VERSION:
            raise Rejected(Reason.MALFORMED, "a sealed record", f"{len(blob)} other bytes", "it was not read")
        try:
            return self._aead.decrypt(blob[1 : 1 + _NONCE_BYTES], blob[1 + _NONCE_BYTES :], aad)
        except InvalidTag as error:
            got = "one that was altered, moved, or sealed by another key"
            raise Rejected(Reason.FORGED, "an intact stored record", got, "it was not read") from error


class MasterKey:
    """The key that wraps all others. It never leaves its file's machine and is never in the database."""

    __slots__ = ("_cipher",)

    def __init__(self, key32: bytes, random: Random = os.urandom) -> None:
        self._cipher = PatientCipher(key32, random)

    @classmethod
    def load_or_create(cls, path: Path, random: Random = os.urandom) -> MasterKey:
        """The key in `path` (0600), made on the first call. Raises KeyFileError where others could read it."""
        if not path.exists():
            files.private_dir(path.parent)
            files.create_private(path, random(KEY_BYTES))  # False: another process was first; its key is read below
        return cls(files.read_private(path), random)

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """`key` sealed for storage. `context` names its place and purpose, e.g. ``b"patient/7f3a"``."""
        return self._cipher.seal(key, b"everbeat/1 wrap|" + context)

    def unwrap(self, blob: bytes, context: bytes) -> bytes:
        """The key. Raises Rejected where it was altered or belongs to another context."""
        return self._cipher.unseal(blob, b"everbeat/1 wrap|" + context)


def create_data_key(random: Random = os.urandom) -> bytes:
    """A new key for a :class:`PatientCipher`."""
    return random(KEY_BYTES)
