"""Keys at rest: outside the database a master key and each patient's secret, inside it keys wrapped by both.

Everything is AES-256-GCM with a fresh random 96-bit nonce and the caller's context as associated data, so that a
blob moved to another place does not open there. Erasing a patient is destroying her secret (:mod:`security.keyhome`):
what her keys sealed stays noise, in every copy. A key may seal 2^32 blobs (NIST SP 800-38D 8.3); at 10 a second that
is 13 years. All keys have versions, so that they can be exchanged while others read and write.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from security import canonical
from security.errors import Reason, Rejected, SecurityError
from security.master import KEY_BYTES, MasterKey, belongs_to, forged, version_of
from security.recipient_keys import (
    KID_BYTES,
    RecipientKey,
    create_recipient_key,
    recipient_from_bytes,
    recipient_kid,
    recipient_to_bytes,
)

__all__ = [
    "KEY_BYTES", "KID_BYTES", "DataKeys", "MasterKey", "PatientCipher", "RecipientKey", "belongs_to", "create_data_key",
    "create_recipient_key", "recipient_from_bytes", "recipient_kid", "recipient_to_bytes", "version_of",
]  # fmt: skip

_FIRST, _LATER = b"\x01", b"\x02"  # sealed by a key's first version, or by the one that is named
_VERSION_BYTES, _NONCE_BYTES, _TAG_BYTES = 4, 12, 16
Random = Callable[[int], bytes]


class PatientCipher:
    """Seals what lies in the database of one patient. `key32` is the patient's data key."""

    __slots__ = ("_aead", "_head", "_opens", "_random")

    def __init__(
        self, key32: bytes, random: Random = os.urandom, version: int = 1, older: Mapping[int, bytes] | None = None
    ) -> None:
        """`older`: other versions of the key, which open and seal no more."""
        known = {**(older or {}), version: key32}
        for key in known.values():
            if len(key) != KEY_BYTES:
                raise SecurityError(
                    f"expected a key of {KEY_BYTES} bytes, got {len(key)}; nothing can be sealed with it"
                )
        self._opens = {_head(number): AESGCM(key) for number, key in known.items()}
        self._head, self._random = _head(version), random
        self._aead = self._opens[self._head]

    def seal(self, plaintext: bytes, aad: bytes) -> bytes:
        """``01 | nonce(12) | ciphertext | tag(16)``: 29 bytes more than `plaintext`; later versions of the key have
        ``02 | version(4)`` in front instead.
        """
        nonce = self._random(_NONCE_BYTES)
        return self._head + nonce + self._aead.encrypt(nonce, plaintext, aad)

    def unseal(self, blob: bytes, aad: bytes) -> bytes:
        """The plaintext. Raises Rejected("forged") where `blob` was altered, moved or sealed by another key."""
        start = 1 if blob[:1] == _FIRST else 1 + _VERSION_BYTES
        if len(blob) < start + _NONCE_BYTES + _TAG_BYTES or blob[:1] not in (_FIRST, _LATER):
            raise Rejected(Reason.MALFORMED, "a sealed record", f"{len(blob)} other bytes", "it was not read")
        aead = self._opens.get(blob[:start])
        if aead is None:
            raise forged()
        try:
            return aead.decrypt(blob[start : start + _NONCE_BYTES], blob[start + _NONCE_BYTES :], aad)
        except InvalidTag as error:
            raise forged() from error

    def is_current(self, blob: bytes) -> bool:
        """Whether `blob` was sealed by the newest version."""
        return blob.startswith(self._head)


@dataclass(frozen=True, slots=True)
class DataKeys:
    """All versions of one patient's data key. `retired_ms`: since when a version seals nothing any more."""

    current: int
    keys: Mapping[int, bytes]
    retired_ms: Mapping[int, int]

    @classmethod
    def create(cls, random: Random = os.urandom) -> DataKeys:
        """A new patient's."""
        return cls(1, {1: create_data_key(random)}, {})

    def cipher(self) -> PatientCipher:
        """What seals by the newest and opens all."""
        return PatientCipher(self.keys[self.current], version=self.current, older=self.keys)

    def announced(self, random: Random = os.urandom) -> DataKeys:
        """With a new version that opens and does not seal yet: every reader must know it first."""
        return replace(self, keys={**self.keys, max(self.keys) + 1: create_data_key(random)})

    def turned(self, now_ms: int) -> DataKeys:
        """The newest version seals from now on."""
        newest = max(self.keys)
        retired = {n: self.retired_ms.get(n, now_ms) for n in self.keys if n != newest}
        return replace(self, current=newest, retired_ms=retired)

    def dropped(self, before_ms: int) -> DataKeys:
        """Without versions that were retired before that time."""
        kept = {n: key for n, key in self.keys.items() if self.retired_ms.get(n, before_ms) >= before_ms}
        return DataKeys(self.current, kept, {n: t for n, t in self.retired_ms.items() if n in kept})

    def to_bytes(self) -> bytes:
        """To be wrapped at once."""
        rows = [[n, key, self.retired_ms.get(n, 0)] for n, key in sorted(self.keys.items())]
        return canonical.encode([self.current, rows])

    @classmethod
    def from_bytes(cls, data: bytes) -> DataKeys:
        """The inverse of :meth:`to_bytes`; a bare key is the first version. Raises Rejected on other bytes."""
        if len(data) == KEY_BYTES:
            return cls(1, {1: data}, {})
        try:
            current, rows = canonical.decode(data, "a patient's data keys")
            keys = {int(n): bytes(key) for n, key, _ in rows}
            if current in keys:
                return cls(current, keys, {int(n): int(t_ms) for n, _, t_ms in rows if t_ms})
        except (TypeError, ValueError):
            pass
        raise Rejected(Reason.MALFORMED, "a patient's data keys", "another value", "nothing of her can be read")


def _head(version: int) -> bytes:
    return _FIRST if version == 1 else _LATER + version.to_bytes(_VERSION_BYTES, "big")


def create_data_key(random: Random = os.urandom) -> bytes:
    """A new key for a :class:`PatientCipher`."""
    return random(KEY_BYTES)
