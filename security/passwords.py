"""Passwords: argon2id, and which ones are refused. Length and a block list count, composition doesn't.

Rules of NIST SP 800-63B-4 section 3.1.1 and OWASP ASVS 5.0 chapter 6.2: 15 characters where the password is the only
factor, up to 128 of any kind, compared whole and as typed after NFC, against words that are tried first. Parameters are
RFC 9106's second recommendation (64 MiB, 3 passes, 4 lanes), twice over OWASP's minimum; a check takes about 0.1 s.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from pathlib import Path

from argon2 import PasswordHasher, profiles
from argon2.exceptions import InvalidHashError, VerificationError

from security.errors import SecurityError

LEAST, MOST = 15, 128
AT_ONCE = 2  # checks that may run together: each takes 64 MiB, and a flood of guesses must not take the memory
_COMMON = Path(__file__).with_name("common_passwords.txt")
_OURS = ("everbeat", "hospital", "clinic", "krankenhaus", "klinik", "patient", "clinician", "passwort", "kennwort")
_HASHER = PasswordHasher.from_parameters(profiles.RFC_9106_LOW_MEMORY)
_TURN = threading.BoundedSemaphore(AT_ONCE)


class WeakPassword(SecurityError):
    """A password that must not be set. `reason` is short, long, common or yours (it holds the account's name)."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"expected a password of {LEAST} to {MOST} characters that is not tried first, got one that is "
            f"{_SAID[reason]}; it was not set"
        )
        self.reason = reason


_SAID = {"short": "too short", "long": "too long", "common": "common or easily guessed", "yours": "made of the name"}


def hash_password(password: str, about: Iterable[str] = ()) -> str:
    """The argon2id hash in PHC form. Raises WeakPassword. `about`: words of the account, such as its name."""
    plain = _plain(password)
    if len(plain) < LEAST:
        raise WeakPassword("short")
    if len(plain) > MOST:
        raise WeakPassword("long")
    core = _core(plain)
    if any(len(word) >= 3 and _core(word) and _core(word) in core and len(core) < 2 * len(word) for word in about):
        raise WeakPassword("yours")
    if is_common(plain):
        raise WeakPassword("common")
    with _TURN:
        return _HASHER.hash(plain)


def is_common(password: str) -> bool:
    """Whether it is tried first: a listed word, with digits or signs around it, said twice, or a plain run."""
    plain = password.casefold()
    core = _core(plain)
    if plain in _common() or len(set(plain)) <= 4 or _run(plain):
        return True
    if not core or core in _common():
        return True
    return any(re.fullmatch(f"(?:{re.escape(core[:n])})+", core) and core[:n] in _common() for n in _halves(core))


def matches(stored: str, password: str) -> bool:
    """Whether the password is the one. Takes as long for "" (nobody) as for anybody, so that it tells no names."""
    plain = _plain(password)[: MOST + 1]
    with _TURN:
        try:
            return _HASHER.verify(stored or _nobody(), plain) and bool(stored)
        except (VerificationError, InvalidHashError):
            return False


def outdated(stored: str) -> bool:
    """Whether the hash was made with other parameters: then it is made anew at the next sign-in."""
    return _HASHER.check_needs_rehash(stored)


def rehash(password: str) -> str:
    """The hash of a password that was just proven right, whatever today's rules for new ones."""
    with _TURN:
        return _HASHER.hash(_plain(password))


def _plain(password: str) -> str:
    return unicodedata.normalize("NFC", password)


def _core(text: str) -> str:
    """Its letters, without what people put around a word."""
    return re.sub(r"[\W\d_]+", "", text.casefold())


def _halves(core: str) -> Iterable[int]:
    return (n for n in range(3, len(core) // 2 + 1) if len(core) % n == 0)


def _run(plain: str) -> bool:
    """Whether most of it only counts up or down: 123456789012345, abcdefghijklmno."""
    steps = [ord(b) - ord(a) for a, b in pairwise(plain)]
    return max(steps.count(1), steps.count(-1), steps.count(0)) >= 0.75 * len(steps)


@cache
def _common() -> frozenset[str]:
    listed = (line for line in _COMMON.read_text("utf-8").splitlines() if not line.startswith("#"))
    return frozenset({*listed, *_OURS})


@cache
def _nobody() -> str:
    return _HASHER.hash("nobody has this password")
