"""Who is believed no longer: lists of revoked certificates (RFC 5280, section 5), written, read, and watched.

A list speaks for one issuer, is signed by it, carries a number that only rises, and ends. Reading fails closed: where
an issuer's list is missing, expired, not signed by it, or older than one that was seen, :attr:`Trust.doubt` says so,
and nobody new is believed; who is believed already goes on, unless the last list that was good names him
(docs/adr/0015). Serials are compared whoever issued them: ours are random numbers of 160 bits.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from security import files
from security.certificates import CLOCK_SKEW, IssuerKey
from security.errors import SecurityError
from security.trust import Trust, key_id

LIST_LIFE = timedelta(days=30)
RENEW_LIST_BEFORE = timedelta(days=23)  # whoever has the issuer's key signs a new list each week
MAX_LISTS_BYTES = 4 * 1024 * 1024
_BEGIN, _END = b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----"
_READ_CRITICAL = {x509.oid.ExtensionOID.CRL_NUMBER, x509.oid.ExtensionOID.AUTHORITY_KEY_IDENTIFIER}


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
        mine = [c for c in read_lists(data) if c.issuer == issuer.subject and _is_signed(c, issuer)]
    except SecurityError:
        return []
    return [Revoked(e.serial_number, e.revocation_date_utc, _why(e)) for one in mine for e in one]


def _why(entry: x509.RevokedCertificate) -> Why:
    try:
        flag = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except x509.ExtensionNotFound:
        return Why.UNSPECIFIED
    return Why(flag) if flag in list(Why) else Why.UNSPECIFIED


@dataclass(frozen=True, slots=True)
class Lists:
    """What signed lists say together. `doubt`, `unsure` as in :class:`Trust`; `ends` is when the first of them ends."""

    revoked: frozenset[int] = frozenset()
    numbers: Mapping[bytes, int] = field(default_factory=dict)  # an issuer's key's id -> the number of its newest list
    ends: datetime | None = None
    doubt: str = ""
    unsure: frozenset[bytes] | None = None


def judge_lists(data: bytes, issuers: Sequence[x509.Certificate], now: datetime, before: Lists | None = None) -> Lists:
    """What the lists in `data` say. Every one of `issuers` must have one that it signed and that is in force.

    An issuer without one is in doubt, and whoever rests on him; the others' holders are believed as before.
    `before` is what was good last: its entries stay while there is a doubt, and an issuer's number may not fall. A list
    in doubt does not keep the others from revoking.
    """
    seen, found, doubts = before or Lists(), dict[bytes, x509.CertificateRevocationList](), dict[bytes, str]()
    numbers = dict(seen.numbers)
    try:
        lists = read_lists(data)
    except SecurityError as error:
        return replace(seen, doubt=str(error), unsure=None)
    for issuer in issuers:
        try:
            found[key_id(issuer)] = _of(issuer, lists, now, numbers)
        except SecurityError as error:
            doubts[key_id(issuer)] = str(error)
    revoked = frozenset(entry.serial_number for one in found.values() for entry in one)
    numbers |= {key: _number(one) for key, one in found.items()}
    ends = min((_end(one) for one in found.values()), default=None)
    kept = seen.revoked if doubts else frozenset[int]()
    return Lists(revoked | kept, numbers, ends, next(iter(doubts.values()), ""), frozenset(doubts) or None)


def _of(
    issuer: x509.Certificate, lists: list[x509.CertificateRevocationList], now: datetime, numbers: dict[bytes, int]
) -> x509.CertificateRevocationList:
    """The newest list of one issuer. Raises SecurityError where there is none that is good."""
    name = issuer.subject.rfc4514_string()[:80]
    mine = [c for c in lists if c.issuer == issuer.subject]
    if not mine:
        raise _no_list(f"one of {name!r}", "none")
    good = [c for c in mine if _is_signed(c, issuer)]
    if len(good) < len(mine):
        raise _no_list(f"one signed by {name!r}", "one that is not, so it was changed or made by somebody else")
    best = max(good, key=_number)
    odd = [e.oid.dotted_string for e in best.extensions if e.critical and e.oid not in _READ_CRITICAL]
    if odd:
        raise _no_list(f"a whole one of {name!r}", f"one of a kind that is not read here ({', '.join(odd)})")
    if _number(best) < numbers.get(key_id(issuer), 0):
        raise _no_list(f"number {numbers[key_id(issuer)]} or later of {name!r}", f"the older number {_number(best)}")
    if not best.last_update_utc <= now + CLOCK_SKEW or now >= _end(best):
        raise _no_list(f"one of {name!r} in force", f"one from {best.last_update_utc:%Y-%m-%d} to {_end(best):%F %R}Z")
    return best


def _is_signed(found: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        return False
    return found.is_signature_valid(key)


def _number(found: x509.CertificateRevocationList) -> int:
    try:
        return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0


def _end(found: x509.CertificateRevocationList) -> datetime:
    return found.next_update_utc or datetime.min.replace(tzinfo=UTC)  # one without an end never ends its holder's doubt


def _no_list(expected: str, got: str) -> SecurityError:
    return SecurityError(f"expected a revocation list, {expected}, got {got}; no new session is opened")


class TrustWatch:
    """The trust of now: call it as often as you like, it reads its files only when they changed, or in doubt.

    `certificates` holds roots and intermediates, each of which must have a list in `lists`. Only the first reading of
    `certificates` raises; later, what can't be read is a doubt. For one thread.
    """

    def __init__(self, certificates: Path, lists: Path, clock_ms: Callable[[], int]) -> None:
        self._files, self._clock_ms = (certificates, lists), clock_ms
        self._trust, self._known = Trust.load(certificates), Lists()
        self._stamps: tuple[object, ...] = ()
        self._now = self._judge(self._time())

    def __call__(self) -> Trust:
        """The same object as before where nothing has changed."""
        now = self._time()
        ended = self._known.ends is not None and now >= self._known.ends
        if self._now.doubt or ended or self._stamps != tuple(map(_stamp, self._files)):
            new = self._judge(now)
            self._now = self._now if new == self._now else new
        return self._now

    def _judge(self, now: datetime) -> Trust:
        certificates, lists = self._files
        self._stamps = tuple(map(_stamp, self._files))
        try:
            self._trust = Trust.load(certificates)
            data = files.read_trusted(lists, MAX_LISTS_BYTES)
        except SecurityError as error:
            self._known = replace(self._known, doubt=str(error), unsure=None)
        else:
            issuers = (*self._trust.roots, *self._trust.intermediates)
            self._known = judge_lists(data, issuers, now, self._known)
        known = self._known
        return replace(self._trust, revoked=known.revoked, doubt=known.doubt, unsure=known.unsure)

    def _time(self) -> datetime:
        return datetime.fromtimestamp(self._clock_ms() / 1000, UTC)


def _stamp(path: Path) -> object:
    try:
        info = os.stat(path)
    except OSError as error:
        return error.errno
    return info.st_mtime_ns, info.st_size, info.st_ino
