"""A device asks for its next certificate: a signing request for the new key, signed by the key that it has now.

The message is deterministic CBOR of ``[body, signature]``; the body that of ``["everbeat/1 renewal", device,
created_ms, nonce, chain, csr]``, the signature ECDSA P-256 over ``"everbeat/1 renewal|"`` and the body, in DER. The
new key may be the old one. A request is good for ten minutes; whoever answers it notes its `id` for as long, so that
it counts once.

A device that was off for too long asks with an expired certificate. That is `late`, allowed only within a grace that
the caller names: an officer's yes (docs/adr/0015). Whether a certificate is revoked or was renewed late before is for
the caller's memory to say.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from security import canonical
from security.authority import Authority
from security.errors import Reason, Rejected
from security.identity import DeviceIdentity
from security.index import Issued
from security.issuing import NOBODY, current_trust, issue, need_enrolled
from security.requests import MAX_REQUEST_BYTES, make_csr, read_csr
from security.roles import Role, is_device_id
from security.trust import MAX_CERTIFICATE_BYTES, MAX_CHAIN, Trust, parse_certificate
from security.wire import MAX_TIME_MS

FRESH_MS = 10 * 60 * 1000
MAX_LATE = timedelta(days=90)
_DOMAIN, _NONCE_BYTES, _MAX_SIGNATURE_BYTES = "everbeat/1 renewal", 16, 72
_MAX_BYTES = MAX_CHAIN * MAX_CERTIFICATE_BYTES + MAX_REQUEST_BYTES + 512


@dataclass(frozen=True, slots=True)
class Renewal:
    """A proven request. `id` is the same for every copy of it; `until_ms` is when copies are stale anyway."""

    device: str
    key: ec.EllipticCurvePublicKey
    old: x509.Certificate
    late: bool
    id: bytes
    until_ms: int


def make_renewal(
    identity: DeviceIdentity, key: ec.EllipticCurvePrivateKey, now_ms: int,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:  # fmt: skip
    """The request of a device whose next key is `key`."""
    csr = make_csr(key, identity.device_id)
    fields = [_DOMAIN, identity.device_id, now_ms, random(_NONCE_BYTES), list(identity.chain_der), csr]
    body = canonical.encode(fields)
    return canonical.encode([body, identity.key.sign(_signed(body), ec.ECDSA(hashes.SHA256()))])


def check_answer(
    identity: DeviceIdentity, key: ec.EllipticCurvePrivateKey, chain_der: Sequence[bytes], now_ms: int
) -> list[x509.Certificate]:
    """The chain that answers a request for `key`, whoever brought it. Raises Rejected on every other."""
    if identity.trust.verify_device(chain_der, identity.device_id, now_ms) != key.public_key():
        raise Rejected(
            Reason.WRONG_KEY, "a certificate for the key that was asked for", "one for another key", "it was not used"
        )
    return [x509.load_der_x509_certificate(der) for der in chain_der]


def prove_renewal(data: bytes, trust: Trust, now_ms: int, grace: timedelta = timedelta(0)) -> Renewal:
    """The request, if the device that it names made it and is believed; else Rejected.

    `grace` is how long ago the certificate may have ended, 90 days at most. Order: form, age, certificate (also whether
    it is revoked, by `trust`), signature, and the new key last.
    """
    body, signature, (device, created_ms, chain, csr) = _parse(data)
    if not created_ms - FRESH_MS <= now_ms <= created_ms + FRESH_MS:
        got = f"one of {(now_ms - created_ms) / 1000:.0f} s ago"
        raise _refused(Reason.STALE, f"a request of the last {FRESH_MS // 60_000} minutes", got)
    leaf, end_ms = _leaf(chain)
    late = end_ms < now_ms <= end_ms + min(grace, MAX_LATE) / timedelta(milliseconds=1)
    key = trust.verify_device(chain, device, end_ms if late else now_ms)
    try:
        key.verify(signature, _signed(body), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        got = "a signature that does not match"
        raise _refused(Reason.FORGED, "a request signed by the device's present key", got) from error
    return Renewal(device, read_csr(csr, device), leaf, late, sha256(body).digest(), created_ms + FRESH_MS)


def _parse(data: bytes) -> tuple[bytes, bytes, tuple[str, int, list[bytes], bytes]]:
    outer: Any = canonical.decode(data, "a renewal") if len(data) <= _MAX_BYTES else None
    if not _is_list(outer, 2) or not all(isinstance(part, bytes) for part in outer):
        raise _refused(Reason.MALFORMED, "a signed renewal", f"{len(data)} other bytes")
    body, signature = outer
    fields: Any = canonical.decode(body, "a renewal")
    if not _is_list(fields, 6) or fields[0] != _DOMAIN or len(signature) > _MAX_SIGNATURE_BYTES:
        raise _refused(Reason.MALFORMED, "a renewal of six fields", "another value")
    _, device, created_ms, nonce, chain, csr = fields
    timed = type(created_ms) is int and 0 <= created_ms < MAX_TIME_MS
    whole = isinstance(nonce, bytes) and len(nonce) == _NONCE_BYTES and isinstance(csr, bytes)
    chained = isinstance(chain, list) and bool(chain) and all(isinstance(der, bytes) for der in chain)
    if not (is_device_id(device) and timed and whole and chained):
        raise _refused(Reason.MALFORMED, "a renewal whose fields have their form", "others")
    return body, signature, (device, created_ms, chain, csr)


def _is_list(value: object, length: int) -> bool:
    return isinstance(value, list) and len(value) == length


def _leaf(chain: list[bytes]) -> tuple[x509.Certificate, int]:
    """The leaf and its last moment, ms."""
    leaf = parse_certificate(chain[0])
    return leaf, int((leaf.not_valid_after_utc - datetime.fromtimestamp(0, UTC)) / timedelta(milliseconds=1))


def _signed(body: bytes) -> bytes:
    return f"{_DOMAIN}|".encode() + body


def _refused(reason: Reason, expected: str, got: str) -> Rejected:
    return Rejected(reason, expected, got, "no certificate was issued")


def grant(
    ca: Authority, data: bytes, *, now_ms: int, who: str = NOBODY, grace: timedelta = timedelta(0), device: str = ""
) -> tuple[Renewal, list[x509.Certificate]]:
    """The request, proven, and the chain that answers it. Raises Rejected; then nothing was issued.

    The device (where it is given: that one) must be enrolled and its certificate in force; within `grace` an expired
    one is renewed, but only once. Who asks again for the same key, as the answer was lost, gets the same answer.
    """
    found = prove_renewal(data, current_trust(ca, now_ms=now_ms), now_ms, grace)
    if device and found.device != device:
        raise _refused(Reason.WRONG_DEVICE, f"a request of {device}", f"one of {found.device}")
    with ca.index() as index, index.exclusively():
        need_enrolled(index, found.old, found.device)
        if found.late and index.was_late(found.old.serial_number):
            got = "one that was renewed late before"
            raise _refused(Reason.EXPIRED, "an expired certificate that was not renewed yet", got)
        index.spend(found.id, found.until_ms, now_ms)
        given = [] if found.late else [one for one in index.of("device", found.device) if _answers(one, found, ca)]
    if given:
        return found, [given[-1].certificate, *ca.chain]
    chain = issue(
        ca, Role.DEVICE, found.device, (), found.key, now_ms=now_ms, who=who, replaces=found.old, late=found.late
    )
    return found, chain


def _answers(one: Issued, found: Renewal, ca: Authority) -> bool:
    """Whether this certificate was given for the very key already, and by the issuer of now."""
    certificate = one.certificate
    asked = one.replaces == found.old.serial_number and certificate.public_key() == found.key
    return asked and one.revoked_ms is None and certificate.issuer == ca.certificate.subject
