"""HPKE, base mode (RFC 9180), with what a board needs: two KEMs, the key schedule, and the export-only form.

The curve, ML-KEM and the hash are the library's; only the schedule is ours, since the library's one shot neither
exports (its AEAD 0xFFFF, section 5.3) nor takes the ephemeral key that a vector fixes. Tests run the RFC's vectors
and open and seal against the library's own HPKE both ways. KDF: HKDF-SHA256 (0x0001). KEMs:

- DHKEM(X25519, HKDF-SHA256), 0x0020, section 4.1;
- X-Wing (draft-connolly-cfrg-xwing-kem), 0x647A: X25519 and ML-KEM-768, safe while either is.

A point of low order, a ciphertext of another length: ValueError, from the library or from here.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Protocol, TypeVar

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

Random = Callable[[int], bytes]
K = TypeVar("K", contravariant=True)

HASH_BYTES = SEED_BYTES = POINT_BYTES = 32
EXPORT_ONLY = 0xFFFF
_KDF = (0x0001).to_bytes(2, "big")
_MLKEM_PUBLIC_BYTES, _MLKEM_ENC_BYTES, _MLKEM_SEED_BYTES = 1184, 1088, 64
_XWING_LABEL = bytes.fromhex("5c2e2f2f5e5c")  # the little ship of the draft


class Kem(Protocol[K]):
    """A way to agree on 32 bytes with the holder of a public key. `K` is the private key."""

    id: ClassVar[int]
    enc_bytes: ClassVar[int]
    public_bytes: ClassVar[int]

    def encap(self, public_key: bytes, random: Random) -> tuple[bytes, bytes]:
        """(shared secret, what to send). Raises ValueError on a key of another form."""

    def decap(self, enc: bytes, key: K) -> bytes:
        """The shared secret. Raises ValueError on bytes of another form; other bytes give another secret."""


class DhKem(Kem[X25519PrivateKey]):
    """DHKEM(X25519, HKDF-SHA256)."""

    id = 0x0020
    enc_bytes = public_bytes = POINT_BYTES
    _suite: ClassVar[bytes] = b"KEM" + (0x0020).to_bytes(2, "big")

    def encap(self, public_key: bytes, random: Random) -> tuple[bytes, bytes]:
        ephemeral = X25519PrivateKey.from_private_bytes(random(SEED_BYTES))
        enc = ephemeral.public_key().public_bytes_raw()
        dh = ephemeral.exchange(X25519PublicKey.from_public_bytes(public_key))
        return self._shared(dh, enc + public_key), enc

    def decap(self, enc: bytes, key: X25519PrivateKey) -> bytes:
        dh = key.exchange(X25519PublicKey.from_public_bytes(enc))
        return self._shared(dh, enc + key.public_key().public_bytes_raw())

    def _shared(self, dh: bytes, both: bytes) -> bytes:
        return _expand(_extract(b"", self._suite, b"eae_prk", dh), self._suite, b"shared_secret", both, HASH_BYTES)


@dataclass(frozen=True)
class XWingKey:
    """A private key of X-Wing: its seed, 32 bytes, from which both halves grow (section 5.2 of the draft)."""

    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.seed) != SEED_BYTES:
            raise ValueError(f"expected a seed of {SEED_BYTES} bytes, got {len(self.seed)}; there is no such key")

    @cached_property
    def halves(self) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
        """The ML-KEM-768 and the X25519 key."""
        grown = hashlib.shake_256(self.seed).digest(_MLKEM_SEED_BYTES + SEED_BYTES)
        lattice = MLKEM768PrivateKey.from_seed_bytes(grown[:_MLKEM_SEED_BYTES])
        return lattice, X25519PrivateKey.from_private_bytes(grown[_MLKEM_SEED_BYTES:])

    @cached_property
    def public(self) -> bytes:
        """1216 bytes: ML-KEM-768's key, then X25519's."""
        lattice, curve = self.halves
        return lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()


class XWing(Kem[XWingKey]):
    """X-Wing. ML-KEM's own randomness is the library's, so only the curve's half of `enc` follows `random`."""

    id = 0x647A
    public_bytes = _MLKEM_PUBLIC_BYTES + POINT_BYTES
    enc_bytes = _MLKEM_ENC_BYTES + POINT_BYTES

    def encap(self, public_key: bytes, random: Random) -> tuple[bytes, bytes]:
        lattice, point = public_key[:_MLKEM_PUBLIC_BYTES], public_key[_MLKEM_PUBLIC_BYTES:]
        shared, enc = MLKEM768PublicKey.from_public_bytes(lattice).encapsulate()
        ephemeral = X25519PrivateKey.from_private_bytes(random(SEED_BYTES))
        ours = ephemeral.public_key().public_bytes_raw()
        dh = ephemeral.exchange(X25519PublicKey.from_public_bytes(point))
        return _combined(shared, dh, ours, point), enc + ours

    def decap(self, enc: bytes, key: XWingKey) -> bytes:
        lattice, curve = key.halves
        point = enc[_MLKEM_ENC_BYTES:]
        shared = lattice.decapsulate(enc[:_MLKEM_ENC_BYTES])
        dh = curve.exchange(X25519PublicKey.from_public_bytes(point))
        return _combined(shared, dh, point, key.public[_MLKEM_PUBLIC_BYTES:])


@dataclass(frozen=True, slots=True)
class Context:
    """What both ends hold after the key schedule (section 5.1): a key for one message, or none, and an exporter."""

    key: bytes = field(repr=False)
    nonce: bytes = field(repr=False)
    exporter: bytes = field(repr=False)
    suite: bytes

    def export(self, context: bytes, length: int) -> bytes:
        """Bytes that only the two ends can make (section 5.3); another `context`, other bytes."""
        return _expand(self.exporter, self.suite, b"sec", context, length)


def schedule(shared: bytes, info: bytes, kem_id: int, aead_id: int, key_bytes: int, nonce_bytes: int) -> Context:
    """Section 5.1 in base mode. `key_bytes` and `nonce_bytes` are 0 with EXPORT_ONLY."""
    suite = b"HPKE" + kem_id.to_bytes(2, "big") + _KDF + aead_id.to_bytes(2, "big")
    no_psk, hashed = _extract(b"", suite, b"psk_id_hash", b""), _extract(b"", suite, b"info_hash", info)
    bound = b"\0" + no_psk + hashed  # mode_base
    secret = _extract(shared, suite, b"secret", b"")
    key = _expand(secret, suite, b"key", bound, key_bytes)
    nonce = _expand(secret, suite, b"base_nonce", bound, nonce_bytes)
    return Context(key, nonce, _expand(secret, suite, b"exp", bound, HASH_BYTES), suite)


def _combined(lattice: bytes, dh: bytes, enc_point: bytes, public_point: bytes) -> bytes:
    return hashlib.sha3_256(lattice + dh + enc_point + public_point + _XWING_LABEL).digest()


def _extract(salt: bytes, suite: bytes, label: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt, b"HPKE-v1" + suite + label + ikm, "sha256")


def _expand(prk: bytes, suite: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """LabeledExpand of section 4: HKDF-Expand (RFC 5869) over a labelled info."""
    labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    made = block = b""
    while len(made) < length:
        block = hmac.digest(prk, block + labelled + bytes([len(made) // HASH_BYTES + 1]), "sha256")
        made += block
    return made[:length]
