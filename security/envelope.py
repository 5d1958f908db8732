"""Opens sessions: the record that a device signs, and all that must hold before an engine believes it.

An open record is an envelope header with the open flag, then deterministic CBOR of ``{suite, device, epoch, sid,
lane, kid, created_ms, enc, chain}``, then the device's ECDSA P-256 signature over ``"everbeat/1 open record|"`` and
everything before it: raw r and s, 64 bytes, s in the lower half of the order, so that a record has one form only.
`enc` is the session's secret, brought by HPKE to the recipient `kid`. The device takes the strongest suite that both
speak (``security.suite``); the engine's offer is signed in the recipient and the choice in the record, which also goes
into every key, so nobody between can talk two ends down to a weaker one. The signature is deterministic (RFC 6979):
no bad randomness of a board can give its key away. The messages of the session are in ``security.session``.

What is left to the engine, since it needs a memory: it keeps every (device, epoch, sid) for good, because an old
record proves who made it and not when; and it looks sessions up by (the hub's device, sid), because a device chooses
its own sids and could choose another's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from security import canonical, freshness, suite
from security.errors import Reason, Rejected, SecurityError, SessionSpent
from security.identity import DeviceIdentity, is_device_id
from security.keys import KID_BYTES, RecipientKey
from security.receipts import MAX_EXTRA, MAX_MESSAGES, Receipt
from security.recipient import RECIPIENT_LIFE_MS, Recipient, sign_recipient, verify_recipient
from security.session import OVERHEAD_BYTES, ROTATE_AFTER_MS, ClosedSession, Opener, Sealer
from security.suite import STRONGEST_FIRST, SUITES, Context
from security.trust import MAX_CERTIFICATE_BYTES, MAX_CHAIN
from security.wire import (
    HEADER_BYTES,
    MAX_ENVELOPE_BYTES,
    MAX_EPOCH,
    MAX_TIME_MS,
    SID_BYTES,
    VERSION,
    Header,
    Lane,
    malformed,
    parse_header,
)

__all__ = [
    "MAX_ENVELOPE_BYTES", "MAX_EXTRA", "MAX_MESSAGES", "MAX_OPEN_RECORD_BYTES", "OVERHEAD_BYTES", "RECIPIENT_LIFE_MS",
    "ROTATE_AFTER_MS", "ClosedSession", "Header", "Lane", "Opener", "Receipt", "Recipient", "Rejected", "Sealer",
    "SessionSpent", "accept_open_record", "named_chain", "named_recipient", "open_session", "parse_header",
    "sign_recipient", "verify_recipient",
]  # fmt: skip

MAX_OPEN_RECORD_BYTES = 8 * 1024


class Chains(Protocol):
    """Who believes a device's certificates: ``security.trust.Trust``, or its memory, ``security.chains.ChainCache``."""

    def verify_device(
        self, chain_der: Sequence[bytes], expected_device_id: str, now_ms: int, /
    ) -> ec.EllipticCurvePublicKey:
        """The public key of that device, or Rejected."""


_DOMAIN = b"everbeat/1 open record|"
_SIGNATURE_BYTES, _SCALAR_BYTES = 64, 32
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # FIPS 186-5, SP 800-186
_ECDSA = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
_FIELDS = frozenset({"suite", "device", "epoch", "sid", "lane", "kid", "created_ms", "enc", "chain"})


def open_session(
    identity: DeviceIdentity, recipient: Recipient, *, epoch: int, lane: Lane, now_ms: int,
    random: Callable[[int], bytes] = os.urandom, suites: Sequence[str] = STRONGEST_FIRST,
) -> tuple[bytes, Sealer]:  # fmt: skip
    """The open record to send first, and the sealer of the session that it opens.

    `epoch` must be higher after each boot; `suites` is what the device can do, and will not go below. The recipient is
    verified here, against the device's own root. Raises Rejected where our engine did not sign it for this device, it
    is out of force, or offers none of `suites`.
    """
    verify_recipient(recipient, identity.trust, now_ms, identity.device_id)
    if not (0 <= epoch < MAX_EPOCH and 0 <= now_ms < MAX_TIME_MS):
        raise SecurityError(f"expected an epoch and a time below 2^52, got {epoch}, {now_ms}; no session was opened")
    sid = random(SID_BYTES)
    context = Context(suite.choose(recipient.offered, suites), identity.device_id, epoch, sid)
    secret, enc = suite.send_secret(recipient.key_for(context.suite), context, random)
    record = {
        "suite": context.suite,
        "device": context.device,
        "epoch": epoch,
        "sid": sid,
        "lane": int(lane),
        "kid": recipient.kid,
        "created_ms": now_ms,
        "enc": enc,
        "chain": list(identity.chain_der),
    }
    unsigned = Header(VERSION, Lane(lane), True, sid, 0).pack() + canonical.encode(record)
    return unsigned + _sign(identity.key, unsigned), Sealer(context, Lane(lane), now_ms, secret)


def accept_open_record(
    data: bytes, *, trust: Chains, recipient_key: Callable[[bytes], RecipientKey | X25519PrivateKey | None],
    hub_device_id: str, now_ms: int, suites: Collection[str] = STRONGEST_FIRST,
) -> Opener:  # fmt: skip
    """The receiving end of the session that `data` opens, or Rejected.

    `hub_device_id` is whom the hub authenticated; `recipient_key` gives the private key of a kid that belongs to that
    device's assignment, or None; `suites` is what this house takes. Order, cheapest first: form, claimed names, suite,
    certificate, signature, age, and only then any decryption.
    """
    header, record, signature = _parse(data)
    if record["device"] != hub_device_id:
        raise _refused(Reason.WRONG_DEVICE, f"a session of {hub_device_id!r:.80}", f"one of {record['device']!r}")
    if record["suite"] not in suites:
        raise _refused(Reason.WEAK_SUITE, f"a cipher suite of {', '.join(suites)}", f"suite {record['suite']}")
    key = trust.verify_device(record["chain"], hub_device_id, now_ms)
    _verify(key, signature, data[:-_SIGNATURE_BYTES])
    freshness.check_opened(record["created_ms"], now_ms)
    recipient = _half(recipient_key(record["kid"]), record)
    context = Context(record["suite"], record["device"], record["epoch"], record["sid"])
    secret = suite.receive_secret(record["enc"], recipient, context)
    if len(secret) != suite.SECRET_BYTES:
        raise malformed(f"a secret of {suite.SECRET_BYTES} bytes", f"{len(secret)}")
    return Opener(context, header.lane, record["created_ms"], record["kid"], secret)


def _half(found: RecipientKey | X25519PrivateKey | None, record: dict[str, Any]) -> object:
    """The private key that fits the record's suite."""
    if found is None:
        got = f"one sealed to key {record['kid'].hex()}, unknown or erased"
        raise _refused(Reason.UNKNOWN_RECIPIENT, "a session sealed to a key of this assignment", got)
    whole = found if isinstance(found, RecipientKey) else RecipientKey(found)
    half = whole.half(SUITES[record["suite"]].kem.id)
    if half is None:
        raise _refused(Reason.UNKNOWN_SUITE, "a suite that was offered", f"suite {record['suite']}, which was not")
    return half


def named_recipient(data: bytes) -> bytes | None:
    """The kid that an open record names, for whoever must find the engine that has it; None in any other bytes.

    Nothing is proven by it: only :func:`accept_open_record` proves.
    """
    try:
        return bytes(_parse(data)[1]["kid"])
    except Rejected:
        return None


def named_chain(data: bytes) -> list[bytes]:
    """The certificates (DER) in an open record. Nothing is proven by it. Raises Rejected on any other bytes."""
    return list(_parse(data)[1]["chain"])


def _parse(data: bytes) -> tuple[Header, dict[str, Any], bytes]:
    """Header, record and signature of an open record in which every field has the form it must have."""
    if not HEADER_BYTES + _SIGNATURE_BYTES < len(data) <= MAX_OPEN_RECORD_BYTES:
        raise malformed(f"an open record of at most {MAX_OPEN_RECORD_BYTES} bytes", f"{len(data)} bytes")
    header = parse_header(data)
    if not header.is_open or header.seq != 0:
        raise malformed("an open record, number 0", f"a message with number {header.seq}")
    record = canonical.decode(data[HEADER_BYTES:-_SIGNATURE_BYTES], "an open record")
    if not isinstance(record, dict) or record.keys() != _FIELDS:
        raise malformed(f"an open record of {len(_FIELDS)} fields", "another")
    row = SUITES.get(record["suite"]) if isinstance(record["suite"], str) else None
    if row is None:
        raise _refused(Reason.UNKNOWN_SUITE, f"a cipher suite of {', '.join(SUITES)}", f"{record['suite']!r:.40}")
    if record["sid"] != header.sid or type(record["lane"]) is not int or record["lane"] != header.lane:
        raise malformed("the same session and lane in header and record", "different ones")
    if not _bytes_of(row.enc_bytes)(record["enc"]) or not all(good(record[name]) for name, good in _FORMS.items()):
        raise malformed("an open record with fields of their form", "others")
    return header, record, data[-_SIGNATURE_BYTES:]


def _count_below(limit: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and 0 <= value < limit


def _bytes_of(length: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, bytes) and len(value) == length


def _is_chain(value: Any) -> bool:
    whole = isinstance(value, list) and 1 <= len(value) <= MAX_CHAIN
    return whole and all(isinstance(der, bytes) and len(der) <= MAX_CERTIFICATE_BYTES for der in value)


_FORMS: dict[str, Callable[[Any], bool]] = {
    "device": is_device_id,
    "epoch": _count_below(MAX_EPOCH),
    "kid": _bytes_of(KID_BYTES),
    "created_ms": _count_below(MAX_TIME_MS),
    "chain": _is_chain,
}


def _sign(key: ec.EllipticCurvePrivateKey, unsigned: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(_DOMAIN + unsigned, _ECDSA))
    return r.to_bytes(_SCALAR_BYTES, "big") + min(s, _P256_ORDER - s).to_bytes(_SCALAR_BYTES, "big")


def _verify(key: ec.EllipticCurvePublicKey, signature: bytes, unsigned: bytes) -> None:
    r, s = (int.from_bytes(part, "big") for part in (signature[:_SCALAR_BYTES], signature[_SCALAR_BYTES:]))
    try:
        if s > _P256_ORDER // 2:
            raise InvalidSignature("the mirror image of a signature")
        key.verify(encode_dss_signature(r, s), _DOMAIN + unsigned, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        got = "a signature that does not match"
        raise _refused(Reason.FORGED, "an open record signed by the device's own key", got) from error


def _refused(reason: Reason, expected: str, got: str) -> Rejected:
    return Rejected(reason, expected, got, "no session was opened and its messages will not be read")
