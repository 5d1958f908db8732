"""Cipher suite A: HPKE seals one secret for a session, HKDF makes its keys, AES-128-GCM seals its messages.

HPKE is RFC 9180 base mode, one shot, with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM. Base mode does not
authenticate the sender; the signature of the open record does (``security.envelope``). Session keys are HKDF-SHA256
(RFC 5869) with info ``everbeat/1|suite|device|epoch|sid|direction``; a device id has no "|", so no two sessions
share an info. Other suites will differ only in the KEM and the bulk AEAD.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from security.errors import Reason, Rejected

SUITE_A = "A"
SECRET_BYTES = 32
ENC_BYTES = 32 + SECRET_BYTES + 16  # HPKE: encapsulated key, sealed secret, tag
KEY_BYTES, NONCE_BYTES, TAG_BYTES = 16, 12, 16
RECEIPT_KEY_BYTES = 32
_UP, _RECEIPT = "up", "receipt"  # directions: device to engine, engine to device


@dataclass(frozen=True, slots=True)
class Context:
    """What a session's keys are bound to. All of it is public."""

    suite: str
    device: str
    epoch: int
    sid: bytes

    def info(self, direction: str) -> bytes:
        """HKDF info: different for each session and direction."""
        return f"everbeat/1|{self.suite}|{self.device}|{self.epoch}|{self.sid.hex()}|{direction}".encode()


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """Keys of one session. The nonce of message `seq` is the base XOR `seq`, as in RFC 9180 section 5.2."""

    aead: AESGCM = field(repr=False)
    base_nonce: int = field(repr=False)
    receipt_key: bytes = field(repr=False)

    def seal(self, seq: int, plaintext: bytes, header: bytes) -> bytes:
        """Ciphertext and tag. The caller never seals twice under one `seq`."""
        return self.aead.encrypt(self._nonce(seq), plaintext, header)

    def open(self, seq: int, sealed: bytes, header: bytes) -> bytes:
        """The plaintext. Raises InvalidTag where header, ciphertext or tag are not those that were sealed."""
        return self.aead.decrypt(self._nonce(seq), sealed, header)

    def _nonce(self, seq: int) -> bytes:
        return (self.base_nonce ^ seq).to_bytes(NONCE_BYTES, "big")


def derive(secret: bytes, context: Context) -> SessionKeys:
    """The keys that both ends make of the session's 32-byte secret."""
    up = _hkdf(secret, context.info(_UP), KEY_BYTES + NONCE_BYTES)
    receipt_key = _hkdf(secret, context.info(_RECEIPT), RECEIPT_KEY_BYTES)
    return SessionKeys(AESGCM(up[:KEY_BYTES]), int.from_bytes(up[KEY_BYTES:], "big"), receipt_key)


def seal_secret(secret: bytes, public_key: bytes, context: Context) -> bytes:
    """`secret` for the holder of the raw X25519 `public_key` alone: ENC_BYTES bytes."""
    return _hpke().encrypt(secret, X25519PublicKey.from_public_bytes(public_key), info=context.info("open"))


def open_secret(enc: bytes, key: X25519PrivateKey, context: Context) -> bytes:
    """The secret. Raises Rejected("forged") where it was sealed for another key or another session."""
    try:
        return _hpke().decrypt(enc, key, info=context.info("open"))
    except (InvalidTag, ValueError) as error:
        raise Rejected(
            Reason.FORGED,
            "a session secret sealed to our key",
            "one that does not open",
            "the session was refused and its messages cannot be read",
        ) from error


def _hpke() -> Suite:
    return Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)


def _hkdf(secret: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=info).derive(secret)
