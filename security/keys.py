"""Keys at rest: outside the database a master key and each patient's secret, inside it keys wrapped by both.

Everything is AES-256-GCM with a fresh random 96-bit nonce and the caller's context as associated data, so that a
blob moved to another place does not open there. Erasing a patient is destroying her secret (:mod:`security.keyhome`):
what her keys sealed stays noise, in every copy. A key may seal 2^32 blobs (NIST SP 800-38D 8.3); at 10 a second that
is 13 years. All keys have versions, so that they can be exchanged while others read and write.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from security import canonical
from security.errors import Reason, Rejected, SecurityError
from security.keyhome import NAME_BYTES, KeyHome, MasterVersions, name_of

KEY_BYTES = 32
KID_BYTES = 8
_FIRST, _LATER = b"\x01", b"\x02"  # sealed by a key's first version, or by the one that is named
_BY_MASTER, _BY_BOTH = b"M", b"P"  # wrapped by the master key alone, or by it and a patient's secret
_VERSION_BYTES, _NONCE_BYTES, _TAG_BYTES = 4, 12, 16
_WRAP = b"everbeat/1 wrap|"
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
            raise _forged()
        try:
            return aead.decrypt(blob[start : start + _NONCE_BYTES], blob[start + _NONCE_BYTES :], aad)
        except InvalidTag as error:
            raise _forged() from error

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


class MasterKey:
    """The key that wraps all others. It never leaves its file's machine and is never in the database.

    What belongs to a patient is wrapped by a key that is derived from both, a version of the master key and the
    patient's secret: ``P | version(4) | name(16) | nonce | ciphertext | tag``. The rest is wrapped by the master key
    alone: ``M | version(4) | nonce | ciphertext | tag``. A wrap of before there were versions begins with 01.
    """

    __slots__ = ("_random", "_versions", "home")

    def __init__(self, key32: bytes, random: Random = os.urandom) -> None:
        """A key without a directory: it knows no patient's secret."""
        PatientCipher(key32)  # its length
        self.home: KeyHome | None = None
        self._versions, self._random = MasterVersions(1, {1: key32}), random

    @classmethod
    def load_or_create(cls, path: Path, random: Random = os.urandom) -> MasterKey:
        """The key in `path` (0600), made on the first call. Raises KeyFileError where others could read it."""
        home = KeyHome(path, random)
        made = cls(home.versions.keys[home.versions.current], random)
        made.home = home
        return made

    def wrap(self, key: bytes, context: bytes, patient: str | None = None) -> bytes:
        """`key` sealed for storage. `context` names its place and purpose, e.g. ``b"patient/7f3a"``.

        `patient`: to whom it belongs; it can't be read any more once her secret is destroyed. Raises Rejected("erased")
        where she has none.
        """
        return self.wrap_for(b"" if patient is None else name_of(patient), key, context)

    def wrap_for(self, name: bytes, key: bytes, context: bytes) -> bytes:
        """The same for a patient of whom only the name is known; empty for nobody."""
        versions = self._now()
        number = versions.current.to_bytes(_VERSION_BYTES, "big")
        head = _BY_BOTH + number + name if name else _BY_MASTER + number
        nonce = self._random(_NONCE_BYTES)
        sealed = AESGCM(self._key_for(head, versions)).encrypt(nonce, key, _WRAP + head + context)
        return head + nonce + sealed

    def unwrap(self, blob: bytes, context: bytes, patient: str | None = None) -> bytes:
        """The key. Raises Rejected where it was altered or belongs to another context, or another patient than said."""
        head, nonce, sealed = _parts(blob)
        if patient is not None and head[:1] == _BY_BOTH and head[1 + _VERSION_BYTES :] != name_of(patient):
            raise _forged()
        try:
            aad = _WRAP + context if head == _FIRST else _WRAP + head + context
            return AESGCM(self._key_for(head, self._now())).decrypt(nonce, sealed, aad)
        except InvalidTag as error:
            raise _forged() from error

    @property
    def version(self) -> int:
        """The one that wraps now."""
        return self._now().current

    @property
    def versions(self) -> frozenset[int]:
        """All that are here."""
        return frozenset(self._now().keys)

    def _now(self) -> MasterVersions:
        """As the file is at this moment: a version that was replaced wraps nothing more."""
        if self.home is None:
            return self._versions
        self.home.look()
        return self.home.versions

    def _key_for(self, head: bytes, versions: MasterVersions) -> bytes:
        key = versions.keys.get(version_of(head))
        if key is None:
            raise Rejected(Reason.ERASED, "a wrap by a version of the master key that is here", "another one",
                           "it was not read")  # fmt: skip
        if head[:1] != _BY_BOTH:
            return key if head == _FIRST else _derived(key, b"", b"master")
        if self.home is None:
            raise _forged()
        secret = self.home.secret(head[1 + _VERSION_BYTES :])
        if secret is None:
            raise Rejected(Reason.ERASED, "a patient whose secret is here", "one who was erased, or never admitted",
                           "nothing of her can be read or written")  # fmt: skip
        return _derived(key, secret, b"patient|" + head[1 + _VERSION_BYTES :])


def version_of(wrap: bytes) -> int:
    """By which version of the master key something was wrapped; 0 where it is no wrap."""
    if wrap[:1] == _FIRST:
        return 1
    if wrap[:1] not in (_BY_MASTER, _BY_BOTH) or len(wrap) < 1 + _VERSION_BYTES:
        return 0
    return int.from_bytes(wrap[1 : 1 + _VERSION_BYTES], "big")


def belongs_to(wrap: bytes) -> bytes:
    """The name of the patient without whose secret a wrap can't be opened; empty where there is none."""
    return wrap[1 + _VERSION_BYTES : 1 + _VERSION_BYTES + NAME_BYTES] if wrap[:1] == _BY_BOTH else b""


def _parts(blob: bytes) -> tuple[bytes, bytes, bytes]:
    """Head, nonce and what was sealed. Raises Rejected where it is no wrap."""
    lengths = {_FIRST: 1, _BY_MASTER: 1 + _VERSION_BYTES, _BY_BOTH: 1 + _VERSION_BYTES + NAME_BYTES}
    start = lengths.get(blob[:1], 0)
    if not start or len(blob) < start + _NONCE_BYTES + _TAG_BYTES:
        raise Rejected(Reason.MALFORMED, "a wrapped key", f"{len(blob)} other bytes", "it was not read")
    return blob[:start], blob[start : start + _NONCE_BYTES], blob[start + _NONCE_BYTES :]


def _derived(master: bytes, secret: bytes, purpose: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869) of the master key, salted with the patient's secret."""
    return HKDF(SHA256(), KEY_BYTES, secret, b"everbeat/1 kek|" + purpose).derive(master)


def _head(version: int) -> bytes:
    return _FIRST if version == 1 else _LATER + version.to_bytes(_VERSION_BYTES, "big")


def _forged() -> Rejected:
    got = "one that was altered, moved, or sealed by another key"
    return Rejected(Reason.FORGED, "an intact stored record", got, "it was not read")


def create_data_key(random: Random = os.urandom) -> bytes:
    """A new key for a :class:`PatientCipher`."""
    return random(KEY_BYTES)


def create_recipient_key(random: Random = os.urandom) -> tuple[bytes, X25519PrivateKey]:
    """A new X25519 key pair that devices seal to, as (kid, private key). Store it by :func:`recipient_to_bytes`."""
    key = X25519PrivateKey.from_private_bytes(random(KEY_BYTES))
    return recipient_kid(key.public_key().public_bytes_raw()), key


def recipient_kid(public_key: bytes) -> bytes:
    """The name of a recipient key: the first 8 bytes of SHA-256 of its 32 raw public bytes."""
    return hashlib.sha256(public_key).digest()[:KID_BYTES]


def recipient_to_bytes(key: X25519PrivateKey) -> bytes:
    """The 32 secret bytes, to be wrapped by the master key at once."""
    return key.private_bytes_raw()


def recipient_from_bytes(secret: bytes) -> X25519PrivateKey:
    """The inverse of :func:`recipient_to_bytes`. Raises SecurityError on another length."""
    if len(secret) != KEY_BYTES:
        raise SecurityError(f"expected {KEY_BYTES} secret bytes, got {len(secret)}; the recipient key is unusable")
    return X25519PrivateKey.from_private_bytes(secret)
