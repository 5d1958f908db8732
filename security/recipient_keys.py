"""The private keys that devices seal to: an X25519 half, which names the key, and an X-Wing half.

Stored as bytes, which ``security.keys.MasterKey`` wraps at once.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from security.errors import SecurityError
from security.hpke import SEED_BYTES, DhKem, Random, XWing, XWingKey

KID_BYTES = 8


@dataclass(frozen=True, slots=True)
class RecipientKey:
    """The private halves of one recipient: X25519, which names it, and X-Wing where it has one.

    Grown apart, not one from the other: who breaks X25519 some day must learn nothing of the other.
    """

    point: X25519PrivateKey = field(repr=False)
    xwing: XWingKey | None = field(default=None, repr=False)

    @property
    def kid(self) -> bytes:
        """The key's name."""
        return recipient_kid(self.point.public_key().public_bytes_raw())

    @property
    def xwing_public(self) -> bytes:
        """1216 bytes, or none."""
        return self.xwing.public if self.xwing else b""

    def public_key(self) -> X25519PublicKey:
        """The X25519 half."""
        return self.point.public_key()

    def half(self, kem_id: int) -> X25519PrivateKey | XWingKey | None:
        """The private key of a KEM, or None where this recipient has none of its kind."""
        halves: dict[int, X25519PrivateKey | XWingKey | None] = {DhKem.id: self.point, XWing.id: self.xwing}
        return halves.get(kem_id)


def create_recipient_key(random: Random = os.urandom) -> tuple[bytes, RecipientKey]:
    """A new key that devices seal to, as (kid, private key). Store it by :func:`recipient_to_bytes`."""
    key = RecipientKey(X25519PrivateKey.from_private_bytes(random(SEED_BYTES)), XWingKey(random(SEED_BYTES)))
    return key.kid, key


def recipient_kid(public_key: bytes) -> bytes:
    """The name of a recipient key: the first 8 bytes of SHA-256 of its 32 raw X25519 bytes."""
    return hashlib.sha256(public_key).digest()[:KID_BYTES]


def recipient_to_bytes(key: RecipientKey) -> bytes:
    """The secret bytes, X25519's and then X-Wing's seed, to be wrapped by the master key at once."""
    return key.point.private_bytes_raw() + (key.xwing.seed if key.xwing else b"")


def recipient_from_bytes(secret: bytes) -> RecipientKey:
    """The inverse of :func:`recipient_to_bytes`; 32 bytes are a key of before X-Wing. Raises SecurityError."""
    if len(secret) not in (SEED_BYTES, 2 * SEED_BYTES):
        raise SecurityError(
            f"expected {SEED_BYTES} or {2 * SEED_BYTES} secret bytes, got {len(secret)}; the recipient key is unusable"
        )
    point = X25519PrivateKey.from_private_bytes(secret[:SEED_BYTES])
    return RecipientKey(point, XWingKey(secret[SEED_BYTES:]) if len(secret) > SEED_BYTES else None)
