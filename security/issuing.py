"""What the authority issues and takes back: certificates for keys, each in the index before anybody has it."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from security import certificates
from security.audit import AuditEvent
from security.authority import Authority
from security.crl import Why
from security.errors import Reason, Rejected
from security.index import Index, Issued
from security.listing import recall, sign_lists, time_of
from security.requests import read_csr
from security.roles import Role, role_of
from security.trust import Trust

NOBODY = "everbeat"  # who does what no person asked for


def issue(
    ca: Authority, role: Role, name: str, hosts: Sequence[str], key: ec.EllipticCurvePublicKey, *, now_ms: int,
    who: str = NOBODY, replaces: x509.Certificate | None = None, late: bool = False,
) -> list[x509.Certificate]:  # fmt: skip
    """A certificate for a key and its chain, leaf first, root left out. It is in the index when this returns."""
    leaf = certificates.create_leaf(ca.certificate, ca.key, role, name, hosts, time_of(now_ms), key)
    told = None
    if role is Role.DEVICE:
        facts = {"serial": f"{leaf.serial_number:x}", "until": f"{leaf.not_valid_after_utc:%Y-%m-%d}"}
        kind = "device.renewed" if replaces is not None else "device.enrolled"
        told = AuditEvent(now_ms, who, kind, name, facts | ({"late": "yes"} if late else {}))
    with ca.index() as index:
        old = None if replaces is None else replaces.serial_number
        index.add(leaf, now_ms, replaces=old, late=late, told=told)
    return [leaf, *ca.chain]


def enrol(ca: Authority, device_id: str, csr: bytes, *, now_ms: int, who: str) -> list[x509.Certificate]:
    """The chain for a device that made its own key. Raises Rejected where the request does not fit."""
    return issue(ca, Role.DEVICE, device_id, (), read_csr(csr, device_id), now_ms=now_ms, who=who)


def revoke(ca: Authority, found: Sequence[Issued], why: Why, *, now_ms: int, who: str) -> None:
    """These certificates are good no longer; the list that says so is on disk when this returns."""
    told: dict[int, AuditEvent | None] = {}
    for one in found:
        facts = {"serial": f"{one.serial:x}", "reason": why.value, "role": one.role}
        told[one.serial] = AuditEvent(now_ms, who, "device.revoked", one.name, facts)
    with ca.index() as index:
        index.revoke(told, why, now_ms)
    sign_lists(ca, now_ms=now_ms)


def take_in(ca: Authority, certificate: x509.Certificate, *, now_ms: int, told: AuditEvent | None = None) -> None:
    """Remember a certificate that was issued before there was an index, or elsewhere."""
    if role_of(certificate) in ("device", "engine", "server", "issuer"):
        with ca.index() as index:
            if index.find(certificate.serial_number) is None:
                made_ms = int(certificate.not_valid_before_utc.timestamp() * 1000)
                index.add(certificate, min(now_ms, made_ms), told=told)
                recall(ca, index, time_of(now_ms))


def current_trust(ca: Authority, *, now_ms: int) -> Trust:
    """The trust of now as the index has it, for who issues certificates."""
    with ca.index() as index:
        revoked = frozenset(one.serial for one in index.all() if one.revoked_ms is not None)
    found = Trust.load(ca.trust_path)
    return Trust(found.roots, revoked, found.intermediates)


def need_enrolled(index: Index, leaf: x509.Certificate, device_id: str) -> None:
    """Raises Rejected where a device's certificate is not one that was issued here and is in force."""
    one = index.find(leaf.serial_number)
    if one is None:
        raise Rejected(Reason.UNTRUSTED, "a certificate that was issued here", "an unknown one", "nothing was issued")
    if one.revoked_ms is not None or index.is_barred("device", device_id):
        got = "one whose certificate was revoked"
        raise Rejected(Reason.REVOKED, f"the device {device_id} in force", got, "nothing was issued; enrol it anew")
