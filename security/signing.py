"""Signatures that say who made a file: Ed25519, a list of believed signers, a key that is made once.

A signature is 96 bytes: the signer's public key (32) and the Ed25519 signature (64, RFC 8032) of the file's exact
bytes. The public key in it only says whom to ask for; it is believed where a list of signers names it. Pure
functions first, files after them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from security import files
from security.errors import Reason, Rejected, SecurityError

PUBLIC_BYTES, SIGNATURE_BYTES = 32, 96
Signers = Mapping[bytes, str]  # raw public key -> whose it is


def sign(data: bytes, key: Ed25519PrivateKey) -> bytes:
    """The signature (96 bytes) of `data`. The same key and data always give the same one."""
    return public_of(key) + key.sign(data)


def check(data: bytes, signature: bytes, signers: Signers) -> str:
    """The name of the signer of `data`.

    Raises Rejected: "malformed" where it is no signature, "untrusted" where `signers` does not know the key,
    "forged" where `data` or the signature was changed.
    """
    if len(signature) != SIGNATURE_BYTES:
        got = f"{len(signature)} bytes"
        raise Rejected(Reason.MALFORMED, f"a signature of {SIGNATURE_BYTES} bytes", got, "nothing it covers is used")
    public, proof = signature[:PUBLIC_BYTES], signature[PUBLIC_BYTES:]
    if public not in signers:
        known = ", ".join(sorted(signers.values())) or "nobody"
        got = f"one by an unknown key ({fingerprint(public)})"
        raise Rejected(Reason.UNTRUSTED, f"a signature by one of: {known}", got, "nothing it covers is used")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(proof, data)
    except (InvalidSignature, ValueError) as error:
        got = "other bytes or another signature"
        raise Rejected(
            Reason.FORGED, f"the bytes that {signers[public]} signed", got, "nothing they name is used"
        ) from error
    return signers[public]


def public_of(key: Ed25519PrivateKey) -> bytes:
    """The 32 raw bytes of its public half."""
    return key.public_key().public_bytes_raw()


def fingerprint(public: bytes) -> str:
    """A short name of a public key, for people: the first 8 bytes of its SHA-256 in hex."""
    return hashlib.sha256(public).hexdigest()[:16]


def signers_from_text(text: str, where: str) -> dict[bytes, str]:
    """A list of signers: one line a key, name and base64, ``#`` begins a comment. Raises SecurityError.

    `where` is what errors call the list. One name may have several keys (a new one and the one before).
    """
    signers: dict[bytes, str] = {}
    for line in text.splitlines():
        if (line := line.partition("#")[0].strip()) == "":
            continue
        name, _, encoded = line.rpartition(" ")
        signers[_public(encoded, f"{where}: {line[:80]!r}")] = name.strip() or "unnamed"
    return signers


def signer_line(name: str, public: bytes) -> str:
    """The line of a list of signers, with its newline."""
    return f"{name} {base64.b64encode(public).decode()}\n"


def load_or_create(path: Path) -> Ed25519PrivateKey:
    """The signing key in `path` (32 raw bytes, 0600), made on the first call. Raises KeyFileError, SecurityError."""
    if not path.exists():
        files.private_dir(path.parent)
        files.create_private(path, Ed25519PrivateKey.generate().private_bytes_raw())  # False: another was first
    secret = files.read_private(path)
    try:
        return Ed25519PrivateKey.from_private_bytes(secret)
    except ValueError as error:
        raise SecurityError(f"expected a signing key of 32 bytes in {path}, got {len(secret)}; not used") from error


def read_signers(path: Path) -> dict[bytes, str]:
    """The signers in `path`; none where there is no file. Raises SecurityError where others could have written it."""
    return signers_from_text(files.read_trusted(path).decode(), str(path)) if path.exists() else {}


def add_signer(path: Path, name: str, public: bytes) -> None:
    """Put a key into the list of signers at `path`, where it is not in it yet."""
    if public in read_signers(path):
        return
    before = path.read_text() if path.exists() else ""
    before += "\n" if before and not before.endswith("\n") else ""  # a person may have left it out
    files.write_public(path, (before + signer_line(name, public)).encode())


def _public(encoded: str, where: str) -> bytes:
    try:
        public = base64.b64decode(encoded, validate=True)
        if len(public) == PUBLIC_BYTES and base64.b64encode(public).decode() == encoded:
            Ed25519PublicKey.from_public_bytes(public)
            return public
    except (binascii.Error, ValueError):
        pass
    raise SecurityError(f"expected a name and 32 bytes of base64 in {where}, got another line; nobody is believed")
