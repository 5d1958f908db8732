"""Shared access signatures as both Azure SDKs make them: parsed, then proven, in constant time. Pure.

A token is ``SharedAccessSignature sr=<resource>&sig=<HMAC>&se=<expiry, Unix s>&skn=<policy>``, and the HMAC-SHA256
is over ``<resource, still URL-encoded>\\n<expiry>``. IoT Hub's REST signs with the decoded key, Event Hubs with the
key's base64 text: one policy serves both.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote, unquote_plus, urlsplit

from device.hub.settings import HubError, Policy, Right

_SCHEME = "SharedAccessSignature "
_MAX_TOKEN = 4096
_MAX_LIFETIME_S = 366 * 24 * 3600


class Unauthorized(HubError):
    """The token proves nothing; whoever sent it is refused."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a proven token allows: `rights` on `authority` below `path`, until `expires_s` (Unix s)."""

    authority: str  # host or host:port, lower case
    path: str  # "" for the whole hub, else "/..."
    rights: Right
    expires_s: float

    def covers(self, path: str, right: Right, now_s: float) -> bool:
        """Whether the token allows `right` on `path` now. A token for a path also covers what lies below it."""
        below = path == self.path or path.startswith(f"{self.path}/")
        return below and right in self.rights and now_s < self.expires_s


def rest_key(policy: Policy) -> bytes:
    """The key as IoT Hub's REST SDK uses it: decoded."""
    return base64.b64decode(policy.key)


def event_key(policy: Policy) -> bytes:
    """The key as the Event Hubs SDK uses it: the text itself."""
    return policy.key.encode()


def prove(token: str, keys: Iterable[tuple[Policy, bytes]], names: frozenset[str], now_s: float) -> Grant:
    """What `token` allows. Raises Unauthorized unless a key of ours signed it for one of our `names` and it is valid.

    Every failure reads alike to the client; the exception's text is for the hub's own log.
    """
    if len(token) > _MAX_TOKEN or not token.startswith(_SCHEME):
        raise Unauthorized("expected a SharedAccessSignature, got something else; access was refused")
    resource, signature, expiry, name = _fields(token.removeprefix(_SCHEME))
    match = next(((p, k) for p, k in keys if p.name == name), None)
    key = match[1] if match else b"\0" * 32  # an unknown name takes as long as a wrong key
    proof = hmac.new(key, f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    if not hmac.compare_digest(proof, signature) or match is None:
        raise Unauthorized(f"expected the signature of a known policy, got another of {name!r}; access was refused")
    if not now_s < int(expiry) < now_s + _MAX_LIFETIME_S:
        raise Unauthorized(f"expected a token that is valid now, got expiry {expiry}; access was refused")
    authority, path = _resource(unquote_plus(resource))
    if authority not in names:
        raise Unauthorized(f"expected a token for this hub, got one for {authority!r}; access was refused")
    return Grant(authority, path, match[0].rights, float(expiry))


def _fields(text: str) -> tuple[str, bytes, str, str]:
    raw = dict(part.partition("=")[::2] for part in text.split("&", 8))
    try:
        signature = base64.b64decode(unquote(raw["sig"]), validate=True)
        resource, expiry = raw["sr"], raw["se"]
        name = unquote_plus(unquote_plus(raw["skn"]))  # the Event Hubs SDK encodes it twice
    except (KeyError, ValueError) as error:  # binascii.Error is a ValueError
        raise Unauthorized("expected sr, sig, se and skn in a token, got fewer; access was refused") from error
    if not (expiry.isascii() and expiry.isdecimal() and len(expiry) <= 12):
        raise Unauthorized("expected an expiry in Unix seconds, got something else; access was refused")
    return resource, signature, expiry, name


def _resource(text: str) -> tuple[str, str]:
    try:
        parts = urlsplit(text if "//" in text else f"//{text}")
    except ValueError as error:
        raise Unauthorized("expected a URL as the token's resource, got another; access was refused") from error
    return parts.netloc.lower(), parts.path.rstrip("/")
