"""The certificate authority: an offline root, an intermediate that signs leaves, and the list of what is revoked.

In its directory: ``root.key`` (may be moved off the machine once the authority exists: only :func:`renew_issuer`
wants it), ``issuer.key`` (the intermediate's key and chain), ``index.sqlite`` (``security.index``), and for everybody
to read ``root.pem``, ``trust.pem`` (roots and intermediates), ``crl.pem`` (the lists of all of them). ``root.crl``
and ``imported.*`` are parts of the last two. A directory of an older version holds ``ca.key``, a root that signs
leaves itself; it goes on working as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from security import certificates, files
from security.audit import AuditEvent
from security.certificates import IssuerKey, KeyAndCertificate
from security.errors import Reason, Rejected, SecurityError
from security.index import Index, Issued
from security.listing import (
    ROOT_KEY,
    read_optional,
    recall,
    refresh_lists,
    sign_lists,
    time_of,
    write_root_list,
)
from security.requests import read_csr
from security.revocation import Why
from security.trust import Role, Trust, role_of

ROOT_FILE, TRUST_FILE, LISTS_FILE = "root.pem", "trust.pem", "crl.pem"
ISSUER_KEY, IMPORTED = "issuer.key", "imported.pem"
OLD_KEY = "ca.key"  # of a root that signs leaves itself
NOBODY = "everbeat"  # who does what no person asked for


@dataclass(frozen=True, slots=True)
class Authority:
    """What issues certificates. `certificate` signs leaves; in an old directory it is the root."""

    root: x509.Certificate
    certificate: x509.Certificate
    key: IssuerKey = field(repr=False)
    directory: Path

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """What follows a leaf in its chain: the intermediate."""
        return () if self.certificate == self.root else (self.certificate,)

    @property
    def root_path(self) -> Path:
        """The root as PEM."""
        return self.directory / ROOT_FILE

    @property
    def trust_path(self) -> Path:
        """Everybody who may have signed a certificate that is believed here, as PEM."""
        return self.directory / TRUST_FILE

    @property
    def lists_path(self) -> Path:
        """The lists of what they revoked, as PEM."""
        return self.directory / LISTS_FILE

    @property
    def trust(self) -> Trust:
        """Trust in this authority alone; what is revoked is for :class:`~security.revocation.TrustWatch` to see."""
        return Trust((self.root,), intermediates=self.chain)

    def index(self) -> Index:
        """Its memory."""
        return Index(self.directory)


def create_ca(directory: Path, *, now_ms: int) -> Authority:
    """A new root and intermediate in `directory` (0700). Raises SecurityError where a CA is already: it is kept."""
    files.private_dir(directory)
    if (directory / OLD_KEY).exists() or (directory / ISSUER_KEY).exists():
        raise _there(directory)
    key, root = certificates.create_root(time_of(now_ms))
    if not files.create_private(directory / ROOT_KEY, certificates.to_pem(key, [root])):
        raise _there(directory)
    return load_ca(directory, now_ms=now_ms)


def load_ca(directory: Path, *, now_ms: int) -> Authority:
    """The CA in `directory`. Raises KeyFileError where it is missing or others could read its key."""
    if not (directory / ISSUER_KEY).exists():
        if (directory / OLD_KEY).exists():
            key, chain = certificates.read_issuer(directory / OLD_KEY)
            return _published(Authority(chain[0], chain[0], key, directory), now_ms)
        if (directory / ROOT_KEY).exists():  # a crash, or another process, came between the two keys
            _create_issuer(directory, now_ms)
    key, chain = certificates.read_issuer(directory / ISSUER_KEY)
    return _published(Authority(chain[-1], chain[0], key, directory), now_ms)


def _create_issuer(directory: Path, now_ms: int) -> None:
    root_key, (root, *_) = certificates.read_issuer(directory / ROOT_KEY)
    key, certificate = certificates.create_intermediate(root, root_key, time_of(now_ms))
    files.create_private(directory / ISSUER_KEY, certificates.to_pem(key, [certificate, root]))


def _published(ca: Authority, now_ms: int) -> Authority:
    """The public files as they must be. A list that is missing, spoilt or old is signed anew."""
    imported = x509.load_pem_x509_certificates(read_optional(ca.directory / IMPORTED)) if _has(ca, IMPORTED) else []
    publish(ca.root_path, [ca.root])
    publish(ca.trust_path, [ca.root, *ca.chain, *(c for c in imported if c not in (ca.root, *ca.chain))])
    refresh_lists(ca, now_ms=now_ms)
    return ca


def renew_issuer(ca: Authority, root_key_path: Path, *, now_ms: int, fresh_key: bool = False) -> Authority:
    """A new certificate for the intermediate. Its key and name stay, so that all chains stay good.

    With `fresh_key` it is another intermediate, and the old one is revoked: every certificate has to be issued anew.
    """
    root_key, (root, *_) = certificates.read_issuer(root_key_path)
    if root != ca.root or not ca.chain:
        raise SecurityError(f"expected the key of {ca.root_path} in {root_key_path}, got another; nothing was renewed")
    old: KeyAndCertificate | None = None
    if not fresh_key and isinstance(ca.key, ec.EllipticCurvePrivateKey):
        old = (ca.key, ca.certificate)
    key, certificate = certificates.create_intermediate(root, root_key, time_of(now_ms), old)
    with ca.index() as index:
        if fresh_key:
            mine = [i.serial for i in index.all() if i.role == "issuer"]
            index.revoke(dict.fromkeys(mine), Why.CA_COMPROMISE, now_ms)
        index.add(certificate, now_ms)
        write_root_list(ca.directory, root, root_key, index, certificate.not_valid_after_utc, now_ms)
    files.write_private(ca.directory / ISSUER_KEY, certificates.to_pem(key, [certificate, root]))
    found = load_ca(ca.directory, now_ms=now_ms)
    sign_lists(found, now_ms=now_ms)
    return found


# ------------------------------------------------------------------------------------------------- certificates


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


# --------------------------------------------------------------------------------------------- who may be answered


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


def publish(path: Path, chain: Sequence[x509.Certificate]) -> None:
    """Writes a PEM file that anybody may read, where it is not so already."""
    data = b"".join(c.public_bytes(Encoding.PEM) for c in chain)
    if not path.exists() or path.read_bytes() != data:
        files.write_public(path, data)


def _has(ca: Authority, name: str) -> bool:
    return (ca.directory / name).exists()


def _there(directory: Path) -> SecurityError:
    return SecurityError(f"expected no CA in {directory}, got one; it was kept, load it instead")
