"""The recipient: the public key that a device seals its sessions to, signed by an engine, for one device and a week.

The signature covers the device's id, so that nobody between engine and device can have one patient's readings
sealed to another patient's key, which would survive the erasure of the first. A device takes no recipient that ends
before the one it has (``supersedes``): an old one, shown again, may belong to the patient before.

It also tells which cipher suites the engine takes, with a key for each KEM. The signature covers that list, in another
domain than records without one, so a list can neither be stripped, shortened nor added; a record without a list is of
an engine from before there was a choice, and means suite A.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from security import canonical, suite
from security.errors import Reason, Rejected, SecurityError
from security.hpke import DhKem, XWing
from security.identity import EngineIdentity, Trust, is_device_id
from security.keys import KEY_BYTES, KID_BYTES, recipient_kid
from security.trust import MAX_CERTIFICATE_BYTES
from security.wire import MAX_TIME_MS

RECIPIENT_LIFE_MS = 7 * 24 * 3600 * 1000
_MAX_SIGNATURE_BYTES = 72  # ECDSA P-256 in DER
_DOMAIN, _DOMAIN_WITH_SUITES = b"everbeat/1 recipient|", b"everbeat/1 recipient and suites|"
_MAX_SUITES, _MAX_SUITE_NAME = 8, 8  # of which we need not know all: a later engine may offer more


@dataclass(frozen=True, slots=True)
class Recipient:
    """A public key to seal to. Worth nothing before :func:`verify_recipient`."""

    kid: bytes  # 8 bytes
    public_key: bytes  # 32 bytes, X25519
    device: str  # the only device that may seal to it
    not_after_ms: int  # UTC
    signature: bytes
    signer_der: bytes  # the engine's certificate
    suites: tuple[str, ...] = ()  # that the engine takes; none: a record of before, A alone
    xwing_key: bytes = b""  # 1216 bytes where suite C is among them

    @property
    def offered(self) -> tuple[str, ...]:
        """The suites that may be sealed with."""
        return self.suites or (suite.SUITE_A,)

    def key_for(self, name: str) -> bytes:
        """The public key that the suite `name` seals to; empty where there is none."""
        keys = {DhKem.id: self.public_key, XWing.id: self.xwing_key}
        return keys.get(suite.SUITES[name].kem.id, b"")

    def to_json(self) -> dict[str, str | int | list[str]]:
        """For a desired property: hex, base64, an integer and a list of names."""
        more: dict[str, str | int | list[str]] = {"suites": list(self.suites)} if self.suites else {}
        if self.xwing_key:
            more["xwing_key"] = self.xwing_key.hex()
        return more | {
            "kid": self.kid.hex(),
            "public_key": self.public_key.hex(),
            "device": self.device,
            "not_after_ms": self.not_after_ms,
            "signature": self.signature.hex(),
            "signer": base64.b64encode(self.signer_der).decode(),
        }

    @classmethod
    def from_json(cls, data: object) -> Recipient:
        """The inverse of :meth:`to_json`. Raises Rejected("malformed") on anything else."""
        try:
            if not isinstance(data, Mapping):
                raise TypeError(f"{type(data).__name__}")
            found = cls(
                _hex(data["kid"], KID_BYTES, KID_BYTES),
                _hex(data["public_key"], KEY_BYTES, KEY_BYTES),
                data["device"],
                data["not_after_ms"],
                _hex(data["signature"], 8, _MAX_SIGNATURE_BYTES),
                _base64(data["signer"]),
                _suites(data.get("suites", [])),
                _hex(data.get("xwing_key", ""), 0, XWing.public_bytes),
            )
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise _refused(Reason.MALFORMED, "a recipient key", f"something else ({str(error)[:60]})") from error
        if not is_device_id(found.device) or type(found.not_after_ms) is not int:
            raise _refused(Reason.MALFORMED, "a recipient's device and end", "something else")
        if not 0 <= found.not_after_ms < MAX_TIME_MS:
            raise _refused(Reason.MALFORMED, "an end below 2^52 ms", f"{found.not_after_ms:.6g}")
        return found

    def supersedes(self, other: Recipient) -> bool:
        """True where this one was issued later for the same device (all live equally long)."""
        return self.device == other.device and self.not_after_ms > other.not_after_ms

    def signed_bytes(self) -> bytes:
        """What the engine signs."""
        fields = [self.kid, self.public_key, self.device, self.not_after_ms]
        if not (self.suites or self.xwing_key):
            return _DOMAIN + canonical.encode(fields)
        return _DOMAIN_WITH_SUITES + canonical.encode([*fields, list(self.suites), self.xwing_key])


def sign_recipient(
    engine: EngineIdentity, public_key: bytes, *, device_id: str, now_ms: int, life_ms: int = RECIPIENT_LIFE_MS,
    suites: Sequence[str] = (), xwing_key: bytes = b"",
) -> Recipient:  # fmt: skip
    """`public_key` (32 raw X25519 bytes) as the recipient of `device_id` from now on, for at most a week.

    `suites`: what the engine takes; `xwing_key` is wanted where one of them needs it. None: a record of the old form.
    """
    if len(public_key) != KEY_BYTES or not is_device_id(device_id) or not 0 < life_ms <= RECIPIENT_LIFE_MS:
        raise SecurityError(
            f"expected {KEY_BYTES} key bytes, a device id and at most {RECIPIENT_LIFE_MS} ms, got {len(public_key)}, "
            f"{device_id!r:.80}, {life_ms}; nothing was signed"
        )
    bare = Recipient(
        recipient_kid(public_key), public_key, device_id, now_ms + life_ms, b"", engine.chain_der[0],
        tuple(suites), xwing_key,
    )  # fmt: skip
    lacking = [n for n in suites if n not in suite.SUITES or len(bare.key_for(n)) != suite.SUITES[n].kem.public_bytes]
    if lacking or len(set(suites)) != len(suites):
        raise SecurityError(f"expected known suites, each once, with keys, got {suites!r:.80}; nothing was signed")
    return replace(bare, signature=engine.key.sign(bare.signed_bytes(), ec.ECDSA(hashes.SHA256())))


def verify_recipient(r: Recipient, trust: Trust, now_ms: int, device_id: str | None = None) -> Recipient:
    """`r` again where an engine of `trust` signed it and it is in force (for `device_id`, if given), else Rejected."""
    if r.not_after_ms <= now_ms:
        raise _refused(Reason.EXPIRED, "a recipient key in force", f"one that ended at {r.not_after_ms} ms")
    if device_id is not None and r.device != device_id:
        raise _refused(Reason.WRONG_DEVICE, f"a recipient key for {device_id}", f"one for {r.device!r:.80}")
    if r.kid != recipient_kid(r.public_key):
        raise _refused(Reason.FORGED, "a recipient key under its own name", "another name")
    signer = trust.verify_engine((r.signer_der,), now_ms)
    try:
        signer.verify(r.signature, r.signed_bytes(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise _refused(Reason.FORGED, "a recipient key signed by our engine", "a wrong signature") from error
    return r


def _hex(text: object, least: int, most: int) -> bytes:
    if not isinstance(text, str) or not 2 * least <= len(text) <= 2 * most:
        raise ValueError(f"expected {least} to {most} bytes in hex")
    return bytes.fromhex(text)


def _suites(names: object) -> tuple[str, ...]:
    if not isinstance(names, list) or len(names) > _MAX_SUITES or len(set(map(str, names))) != len(names):
        raise ValueError("expected a list of suites, each once")
    if not all(isinstance(name, str) and 0 < len(name) <= _MAX_SUITE_NAME for name in names):
        raise ValueError("expected names of suites")
    return tuple(names)


def _base64(text: object) -> bytes:
    if not isinstance(text, str) or len(text) > 2 * MAX_CERTIFICATE_BYTES:
        raise ValueError("expected a certificate in base64")
    return base64.b64decode(text, validate=True)


def _refused(reason: Reason, expected: str, got: str) -> Rejected:
    return Rejected(reason, expected, got, "the device seals to no key that our engine did not vouch for")
