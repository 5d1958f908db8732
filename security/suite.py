"""Cipher suites, one row each: how a session's secret reaches the engine, and what seals its messages.

=====  ======================  ==========================================  ====================================
suite  KEM                     how the secret travels (HPKE, RFC 9180)      messages
=====  ======================  ==========================================  ====================================
C      X-Wing (with ML-KEM)    sealed, one shot, AES-256-GCM               AES-256-GCM
A      X25519                  sealed, one shot, AES-128-GCM               AES-128-GCM
B      X25519                  exported (export-only form), and confirmed  AES-128-CCM, RFC 3610, 13-byte nonce
=====  ======================  ==========================================  ====================================

Strongest first: that order is the preference. B is for boards whose only cipher is the AES block (stock MicroPython):
it needs X25519, HMAC-SHA256 and AES-ECB, and no GCM. All add 30 bytes to a frame. HPKE's base mode does not
authenticate the sender; the signature of the open record does (``security.envelope``).

Session keys are HKDF-SHA256 (RFC 5869) with info ``everbeat/1|suite|device|epoch|sid|direction``; a device id has no
"|", so no two sessions, and no two suites, share an info. See ADR 0016.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from security import hpke
from security.errors import Reason, Rejected
from security.hpke import EXPORT_ONLY, DhKem, Kem, Random, XWing

SUITE_A, SUITE_B, SUITE_C = "A", "B", "C"
SECRET_BYTES, TAG_BYTES, RECEIPT_KEY_BYTES = 32, 16, 32
_MAC_KEY_BYTES = 32  # of commands and answers
_GCM_NONCE_BYTES, _CCM_NONCE_BYTES = 12, 13
_CCM_MAX_BYTES = 2 ** (8 * (15 - _CCM_NONCE_BYTES)) - 1  # RFC 3610 section 2.1: what two length bytes can say
_GCM_MAX_BYTES = 2**31 - 1
_UP, _RECEIPT, _OPEN = "up", "receipt", "open"  # directions: device to engine, engine to device; and the open record
_COMMAND, _ANSWER = "command", "answer"  # to the device, and back


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


class Aead(Protocol):
    """A cipher that proves what it opens."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Cipher:
    """What seals messages."""

    make: Callable[[bytes], Aead]
    key_bytes: int
    nonce_bytes: int
    max_bytes: int  # of one message, by the cipher's own form


class Carrier(Protocol):
    """How 32 secret bytes reach the holder of a private key."""

    @property
    def enc_bytes(self) -> int:
        """What travels."""

    def send(self, kem: Kem[Any], public_key: bytes, info: bytes, random: Random) -> tuple[bytes, bytes]:
        """(secret, what travels)."""

    def receive(self, kem: Kem[Any], enc: bytes, key: Any, info: bytes) -> bytes:
        """The secret. Raises InvalidTag or ValueError where `enc` was made for another key or another `info`."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """HPKE's one shot (RFC 9180 section 6.1): encapsulated key, then the secret and its tag."""

    aead_id: int
    key_bytes: int
    enc_bytes: int = SECRET_BYTES + TAG_BYTES  # beside the KEM's own

    def send(self, kem: Kem[Any], public_key: bytes, info: bytes, random: Random) -> tuple[bytes, bytes]:
        secret = random(SECRET_BYTES)
        shared, enc = kem.encap(public_key, random)
        context = self._context(kem, shared, info)
        return secret, enc + AESGCM(context.key).encrypt(context.nonce, secret, b"")

    def receive(self, kem: Kem[Any], enc: bytes, key: Any, info: bytes) -> bytes:
        context = self._context(kem, kem.decap(enc[: kem.enc_bytes], key), info)
        return AESGCM(context.key).decrypt(context.nonce, enc[kem.enc_bytes :], b"")

    def _context(self, kem: Kem[Any], shared: bytes, info: bytes) -> hpke.Context:
        return hpke.schedule(shared, info, kem.id, self.aead_id, self.key_bytes, _GCM_NONCE_BYTES)


@dataclass(frozen=True, slots=True)
class Exported:
    """HPKE's export-only form (section 5.3): encapsulated key, then an exported proof that both ends agree.

    Without the proof a secret made for another key would be found out at the first message only.
    """

    enc_bytes: int = TAG_BYTES  # beside the KEM's own

    def send(self, kem: Kem[Any], public_key: bytes, info: bytes, random: Random) -> tuple[bytes, bytes]:
        shared, enc = kem.encap(public_key, random)
        secret, proof = self._both(kem, shared, info)
        return secret, enc + proof

    def receive(self, kem: Kem[Any], enc: bytes, key: Any, info: bytes) -> bytes:
        secret, proof = self._both(kem, kem.decap(enc[: kem.enc_bytes], key), info)
        if not hmac.compare_digest(proof, enc[kem.enc_bytes :]):
            raise InvalidTag
        return secret

    def _both(self, kem: Kem[Any], shared: bytes, info: bytes) -> tuple[bytes, bytes]:
        context = hpke.schedule(shared, info, kem.id, EXPORT_ONLY, 0, 0)
        return context.export(b"everbeat/1 session secret", SECRET_BYTES), context.export(
            b"everbeat/1 proof", TAG_BYTES
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One suite."""

    name: str
    kem: Kem[Any]
    carrier: Carrier
    cipher: Cipher

    @property
    def enc_bytes(self) -> int:
        """Length of `enc` in an open record."""
        return self.kem.enc_bytes + self.carrier.enc_bytes


def _ccm(key: bytes) -> AESCCM:
    return AESCCM(key, tag_length=TAG_BYTES)


_X25519, _XWING = DhKem(), XWing()
_ROWS = (  # strongest first
    Row(SUITE_C, _XWING, Sealed(0x0002, 32), Cipher(AESGCM, 32, _GCM_NONCE_BYTES, _GCM_MAX_BYTES)),
    Row(SUITE_A, _X25519, Sealed(0x0001, 16), Cipher(AESGCM, 16, _GCM_NONCE_BYTES, _GCM_MAX_BYTES)),
    Row(SUITE_B, _X25519, Exported(), Cipher(_ccm, 16, _CCM_NONCE_BYTES, _CCM_MAX_BYTES)),
)
SUITES: dict[str, Row] = {row.name: row for row in _ROWS}
STRONGEST_FIRST: tuple[str, ...] = tuple(SUITES)


def choose(offered: Collection[str], able: Sequence[str] = STRONGEST_FIRST) -> str:
    """The strongest suite that both ends speak. The order in which either lists them means nothing.

    Raises Rejected("unknown-suite") where there is none.
    """
    for name in STRONGEST_FIRST:
        if name in offered and name in able:
            return name
    got = ", ".join(sorted(offered))[:40] or "none"
    raise Rejected(
        Reason.UNKNOWN_SUITE, f"a cipher suite of {', '.join(able)}", got, "no session was opened; nothing was sealed"
    )


def stronger(name: str) -> tuple[str, ...]:
    """The suites that go before `name`."""
    return STRONGEST_FIRST[: STRONGEST_FIRST.index(name)]


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """Keys of one session. The nonce of message `seq` is the base XOR `seq`, as in RFC 9180 section 5.2."""

    aead: Aead = field(repr=False)
    base_nonce: int = field(repr=False)
    nonce_bytes: int
    max_bytes: int
    receipt_key: bytes = field(repr=False)
    command_key: bytes = field(repr=False)
    answer_key: bytes = field(repr=False)

    def seal(self, seq: int, plaintext: bytes, header: bytes) -> bytes:
        """Ciphertext and tag. The caller never seals twice under one `seq`."""
        return self.aead.encrypt(self._nonce(seq), plaintext, header)

    def open(self, seq: int, sealed: bytes, header: bytes) -> bytes:
        """The plaintext. Raises InvalidTag where header, ciphertext or tag are not those that were sealed."""
        return self.aead.decrypt(self._nonce(seq), sealed, header)

    def _nonce(self, seq: int) -> bytes:
        return (self.base_nonce ^ seq).to_bytes(self.nonce_bytes, "big")


def derive(secret: bytes, context: Context) -> SessionKeys:
    """The keys that both ends make of the session's 32-byte secret."""
    cipher = SUITES[context.suite].cipher
    up = _hkdf(secret, context.info(_UP), cipher.key_bytes + cipher.nonce_bytes)
    key, base = up[: cipher.key_bytes], int.from_bytes(up[cipher.key_bytes :], "big")
    receipt_key = _hkdf(secret, context.info(_RECEIPT), RECEIPT_KEY_BYTES)
    spoken = [_hkdf(secret, context.info(direction), _MAC_KEY_BYTES) for direction in (_COMMAND, _ANSWER)]
    return SessionKeys(cipher.make(key), base, cipher.nonce_bytes, cipher.max_bytes, receipt_key, *spoken)


def send_secret(public_key: bytes, context: Context, random: Random = os.urandom) -> tuple[bytes, bytes]:
    """(a new secret, `enc` that tells it to the holder of `public_key` alone), by the context's suite."""
    row = SUITES[context.suite]
    return row.carrier.send(row.kem, public_key, context.info(_OPEN), random)


def receive_secret(enc: bytes, key: Any, context: Context) -> bytes:
    """The secret. `key` fits the suite's KEM. Raises Rejected("forged") where `enc` is for another key or session."""
    row = SUITES[context.suite]
    try:
        return row.carrier.receive(row.kem, enc, key, context.info(_OPEN))
    except (InvalidTag, ValueError) as error:
        raise Rejected(
            Reason.FORGED,
            "a session secret sealed to our key",
            "one that does not open",
            "the session was refused and its messages cannot be read",
        ) from error


def _hkdf(secret: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=info).derive(secret)
