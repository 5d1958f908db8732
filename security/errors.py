"""What security says when it says no.

Two families, by what the caller should do. :class:`Rejected`: this input proved nothing; drop it, tell the story,
go on. Any other :class:`SecurityError`: our own state or set-up is unsafe; stop and let a person look. Nothing
here ever carries key material.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Short codes of a refusal, for counters and logs. Equal to their plain strings."""

    MALFORMED = "malformed"  # not of our form, or too large
    UNKNOWN_SUITE = "unknown-suite"  # a cipher suite that we do not speak; never negotiated downwards
    WEAK_SUITE = "weak-suite"  # one that this house does not take, or weaker than the same device took before
    WRONG_DEVICE = "wrong-device"  # the hub authenticated another device than the message names
    WRONG_IDENTITY = "wrong-identity"  # a certificate for somebody else
    WRONG_USAGE = "wrong-usage"  # a server's certificate where a device's belongs, and the like
    WRONG_KEY = "wrong-key"  # not a P-256 key
    SELF_SIGNED = "self-signed"
    UNTRUSTED = "untrusted"  # no chain to a root that we trust
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    REVOKED = "revoked"
    UNSURE = "revocation-unknown"  # the list of revoked certificates is missing, expired or not signed by its issuer
    STALE = "stale"  # made too long ago, or in the future
    REPLAYED = "replayed"
    FORGED = "forged"  # a signature, seal or MAC does not match
    UNKNOWN_SESSION = "unknown-session"  # another session's id
    UNKNOWN_RECIPIENT = "unknown-recipient"  # sealed to a key that we do not hold (any more)
    ERASED = "erased"  # the key that could open it was destroyed
    UNSAFE_KEY = "unsafe-key"  # the key that opens it lies where others could read or have written it
    SPENT = "spent"  # beyond a session's life
    TOO_OLD = "too-old"  # opened longer ago than any spool waits
    AHEAD = "ahead"  # opened in the future
    ROLLED_BACK = "rolled-back"  # an earlier boot that speaks after a later one
    TOO_MANY = "too-many"  # more than any honest device asks for


class SecurityError(Exception):
    """Our own keys, files or calls are not as they must be. Stop."""


class SessionSpent(SecurityError):
    """A sealer has used up its sequence numbers (or is a copy); open a new session."""


class Rejected(SecurityError):
    """An input proved nothing and changed nothing. `reason` is a short code; `str()` is one sentence for humans."""

    def __init__(self, reason: str, expected: str, got: str, consequence: str) -> None:
        super().__init__(reason, expected, got, consequence)
        self.reason = str(reason)
        self.expected, self.got, self.consequence = expected, got, consequence

    def __str__(self) -> str:
        return f"expected {self.expected}, got {self.got}; {self.consequence}"
