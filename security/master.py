"""The master key: what it wraps names its version, and the patient without whose secret it can't be opened.

``P | version(4) | name(16) | nonce(12) | ciphertext | tag(16)`` lies under both, a version of the master key and the
patient's secret; ``M | version(4) | nonce | ciphertext | tag`` under the master key alone. A wrap of before there were
versions begins with 01. AES-256-GCM, the head and the context are associated data, the keys come by HKDF-SHA256.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from security import files
from security.errors import Reason, Rejected, SecurityError
from security.keyhome import NAME_BYTES, KeyHome, MasterVersions, name_of

KEY_BYTES = 32
_FIRST, _BY_MASTER, _BY_BOTH = b"\x01", b"M", b"P"
_VERSION_BYTES, _NONCE_BYTES, _TAG_BYTES = 4, 12, 16
_WRAP = b"everbeat/1 wrap|"
Random = Callable[[int], bytes]


class MasterKey:
    """The key that wraps all others. It never leaves its file's machine and is never in the database."""

    __slots__ = ("_random", "_versions", "home")

    def __init__(self, key32: bytes, random: Random = os.urandom) -> None:
        """A key without a directory: it knows no patient's secret."""
        if len(key32) != KEY_BYTES:
            raise SecurityError(f"expected a key of {KEY_BYTES} bytes, got {len(key32)}; nothing can be sealed with it")
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
            raise forged()
        try:
            aad = _WRAP + context if head == _FIRST else _WRAP + head + context
            return AESGCM(self._key_for(head, self._now())).decrypt(nonce, sealed, aad)
        except InvalidTag as error:
            raise forged() from error

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
            raise forged()
        try:
            secret = self.home.secret(head[1 + _VERSION_BYTES :])
        except files.KeyFileError as error:  # one patient's file: the others go on
            raise Rejected(Reason.UNSAFE_KEY, "a patient's secret that only this house can read", str(error)[:200],
                           "nothing of her can be read or written until that is mended") from error  # fmt: skip
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


def forged() -> Rejected:
    """The answer to bytes that prove nothing."""
    got = "one that was altered, moved, or sealed by another key"
    return Rejected(Reason.FORGED, "an intact stored record", got, "it was not read")
