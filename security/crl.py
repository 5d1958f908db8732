"""Lists of revoked certificates (CRL: RFC 5280, section 5): one written, one read. What they come to together, and
whether they are good, :mod:`security.revocation` knows.

A list speaks for one issuer, is signed by it, carries a number that only rises, and ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from security.certificates import CLOCK_SKEW, IssuerKey
from security.errors import SecurityError

MAX_LISTS_BYTES = 4 * 1024 * 1024
_BEGIN, _END = b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----"


class Why(StrEnum):
    """Reasons that may stand in a list (RFC 5280, 5.3.1), but for those that take a revocation back."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    CA_COMPROMISE = "cACompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION = "cessationOfOperation"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"


@dataclass(frozen=True, slots=True)
class Revoked:
    """One entry of a list."""

    serial: int
    at: datetime
    why: Why


def sign_list(
    issuer: x509.Certificate, key: IssuerKey, number: int, entries: Iterable[Revoked], now: datetime, end: datetime
) -> bytes:
    """A whole list of `issuer` as PEM, good until `end`."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now - CLOCK_SKEW)
        .next_update(end)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    for entry in entries:
        builder = builder.add_revoked_certificate(_entry(entry))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _entry(entry: Revoked) -> x509.RevokedCertificate:
    made = x509.RevokedCertificateBuilder().serial_number(entry.serial).revocation_date(entry.at)
    if entry.why is not Why.UNSPECIFIED:  # RFC 5280: leave the extension out then
        made = made.add_extension(x509.CRLReason(x509.ReasonFlags(entry.why.value)), critical=False)
    return made.build()


def read_lists(data: bytes) -> list[x509.CertificateRevocationList]:
    """The lists in a PEM file. Raises SecurityError on anything else between them."""
    found = list[x509.CertificateRevocationList]()
    try:
        for part in data.split(_END)[:-1]:
            if not part.lstrip().startswith(_BEGIN):
                raise ValueError("something else before a list")
            found.append(x509.load_pem_x509_crl(part + _END + b"\n"))
    except ValueError as error:
        raise SecurityError(f"expected revocation lists in PEM, got {str(error)[:80]}; none was read") from error
    return found


def own_entries(data: bytes, issuer: x509.Certificate) -> list[Revoked]:
    """What the lists in `data` say that `issuer` itself signed, in force or not; nothing where they can't be read."""
    try:
        mine = [c for c in read_lists(data) if c.issuer == issuer.subject and is_signed(c, issuer)]
    except SecurityError:
        return []
    return [Revoked(e.serial_number, e.revocation_date_utc, _why(e)) for one in mine for e in one]


def _why(entry: x509.RevokedCertificate) -> Why:
    try:
        flag = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except x509.ExtensionNotFound:
        return Why.UNSPECIFIED
    return Why(flag) if flag in list(Why) else Why.UNSPECIFIED


def is_signed(found: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Whether this very issuer signed the list, whatever name stands in it."""
    key = issuer.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        return False
    return found.is_signature_valid(key)


def number_of(found: x509.CertificateRevocationList) -> int:
    """Its number among its issuer's lists; 0 where it has none."""
    try:
        return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0


def end_of(found: x509.CertificateRevocationList) -> datetime:
    """When it ends. One that never says so is over: else nobody would have to bring a newer one."""
    return found.next_update_utc or datetime.min.replace(tzinfo=UTC)
