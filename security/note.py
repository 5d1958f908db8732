"""Signed notes (C2SP signed-note): a text that anybody can read, with one line for each who signed it.

Two kinds of signature: a log's own (type 1, Ed25519 over the text) and a witness' (type 4, tlog-cosignature v1: it also
says when). A signature by an unknown key is ignored; one by a known key that doesn't fit refuses the whole note.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from security.errors import Reason, Rejected
from security.signing import PUBLIC_BYTES, public_of

LOG, WITNESS = 1, 4  # signature types
MAX_NOTE_BYTES = 32 * 1024
_MAX_LINES = 64
_DASH = "— "
_ID_BYTES, _TIME_BYTES, _SIGNATURE_BYTES = 4, 8, 64
_NO_TRUST = "nothing it says is believed"


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key and the name it signs under. Its text is ``name+id+base64``, as Go's note package writes it."""

    name: str
    kind: int  # LOG or WITNESS
    public: bytes

    @property
    def key_id(self) -> bytes:
        """Four bytes that, with the name, say which key a line is by."""
        return hashlib.sha256(self.name.encode() + b"\n" + self._material).digest()[:_ID_BYTES]

    @property
    def _material(self) -> bytes:
        return bytes([self.kind]) + self.public

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self._material).decode()}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """The inverse of ``str()``. Raises Rejected on any other text."""
        name, _, rest = text.strip().partition("+")
        _, _, encoded = rest.partition("+")
        material = unbase64(encoded)
        if is_name(name) and len(material) == 1 + PUBLIC_BYTES and material[0] in (LOG, WITNESS):
            key = cls(name, material[0], material[1:])
            if str(key) == text.strip():
                return key
        raise Rejected(Reason.MALFORMED, "a verifier key (name+id+base64)", f"{text[:80]!r}", "nobody is believed")


@dataclass(frozen=True, slots=True)
class Signature:
    """Who signed; `t_s` is when (Unix s, the witness' clock), None for a log, whose signature says no time."""

    key: VerifierKey
    t_s: int | None


def verifier_of(name: str, kind: int, key: Ed25519PrivateKey) -> VerifierKey:
    """The public half of a signing key, under a name."""
    return VerifierKey(name, kind, public_of(key))


def sign_line(text: str, name: str, key: Ed25519PrivateKey) -> str:
    """A log's signature line, with its newline."""
    return _line(verifier_of(name, LOG, key), key.sign(text.encode()))


def cosign_line(text: str, name: str, key: Ed25519PrivateKey, t_s: int) -> str:
    """A witness' line: as of `t_s` this was the largest consistent tree it knew."""
    stamp = t_s.to_bytes(_TIME_BYTES, "big")
    return _line(verifier_of(name, WITNESS, key), stamp + key.sign(_cosigned(text, t_s)))


def assemble(text: str, lines: Iterable[str]) -> str:
    """A note of a text (which ends in a newline) and signature lines."""
    return f"{text}\n{''.join(lines)}"


def split(note: str) -> tuple[str, list[str]]:
    """(text, signature lines), unproven. Raises Rejected where it is no note."""
    at = note.rfind("\n\n")
    lines = note[at + 2 :].splitlines(keepends=True) if at > 0 else []
    clean = _is_short(note) and not any(c < " " and c != "\n" for c in note)
    if not clean or not 0 < len(lines) <= _MAX_LINES or not all(_is_line(line) for line in lines):
        raise Rejected(Reason.MALFORMED, "a signed note", "another text", _NO_TRUST)
    return note[: at + 1], lines


def check(note: str, keys: Iterable[VerifierKey]) -> tuple[str, list[Signature]]:
    """The text and whose signatures on it hold, of those that `keys` names; maybe none.

    Raises Rejected: "malformed" where it is no note, "forged" where a line by one of `keys` doesn't fit the text.
    """
    text, lines = split(note)
    known = {(key.name, key.key_id): key for key in keys}
    found = []
    for line in lines:
        name, encoded = line[len(_DASH) : -1].rsplit(" ", 1)
        blob = unbase64(encoded)
        key = known.get((name, blob[:_ID_BYTES]))
        if key is not None:
            found.append(_checked(text, key, blob[_ID_BYTES:]))
    return text, found


def is_name(name: str) -> bool:
    """Whether it may name a key: not empty, no spaces, no plus."""
    return bool(name) and "+" not in name and name.isprintable() and not any(c.isspace() for c in name)


def unbase64(text: str) -> bytes:
    """The bytes of standard base64 in its one form; empty where it is none."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if base64.b64encode(data).decode() == text else b""


def _is_short(note: str) -> bool:
    """Whether it is UTF-8 of no more than a note may be; JSON can hold half a surrogate pair, which is none."""
    try:
        return len(note.encode()) <= MAX_NOTE_BYTES
    except UnicodeEncodeError:
        return False


def _checked(text: str, key: VerifierKey, signature: bytes) -> Signature:
    t_s, signed = None, text.encode()
    if key.kind == WITNESS:
        t_s, signature = int.from_bytes(signature[:_TIME_BYTES], "big"), signature[_TIME_BYTES:]
        signed = _cosigned(text, t_s)
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, signed)
    except (InvalidSignature, ValueError) as error:
        got = "a signature that does not fit"
        raise Rejected(Reason.FORGED, f"the text that {key.name} signed", got, _NO_TRUST) from error
    return Signature(key, t_s)


def _cosigned(text: str, t_s: int) -> bytes:
    return f"cosignature/v1\ntime {t_s}\n{text}".encode()


def _line(key: VerifierKey, signature: bytes) -> str:
    return f"{_DASH}{key.name} {base64.b64encode(key.key_id + signature).decode()}\n"


def _is_line(line: str) -> bool:
    name, space, encoded = line[len(_DASH) :].rstrip("\n").rpartition(" ")
    framed = line.startswith(_DASH) and line.endswith("\n") and bool(space)
    return framed and is_name(name) and len(unbase64(encoded)) > _ID_BYTES
