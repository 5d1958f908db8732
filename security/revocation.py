"""Who is believed no longer: what signed lists of revoked certificates say together, and a watch over them.

Reading fails closed: where an issuer's list (:mod:`security.crl`) is missing, expired, not signed by it, or older than
one that was seen, :attr:`Trust.doubt` says so, and nobody new is believed; who is believed already goes on, unless the
last list that was good names him (docs/adr/0015). Serials are compared whoever issued them: ours are random numbers of
160 bits.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from security import files
from security.certificates import CLOCK_SKEW
from security.crl import MAX_LISTS_BYTES, end_of, is_signed, number_of, read_lists
from security.errors import SecurityError
from security.roles import key_id
from security.trust import Trust

_READ_CRITICAL = {x509.oid.ExtensionOID.CRL_NUMBER, x509.oid.ExtensionOID.AUTHORITY_KEY_IDENTIFIER}


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
            found[key_id(issuer)] = _newest_of(issuer, lists, now, numbers)
        except SecurityError as error:
            doubts[key_id(issuer)] = str(error)
    revoked = frozenset(entry.serial_number for one in found.values() for entry in one)
    numbers |= {key: number_of(one) for key, one in found.items()}
    ends = min((end_of(one) for one in found.values()), default=None)
    kept = seen.revoked if doubts else frozenset[int]()
    return Lists(revoked | kept, numbers, ends, next(iter(doubts.values()), ""), frozenset(doubts) or None)


def _newest_of(
    issuer: x509.Certificate, lists: list[x509.CertificateRevocationList], now: datetime, numbers: dict[bytes, int]
) -> x509.CertificateRevocationList:
    """The newest list of one issuer. Raises SecurityError where there is none that is good."""
    name = issuer.subject.rfc4514_string()[:80]
    mine = [c for c in lists if c.issuer == issuer.subject]
    if not mine:
        raise _no_list(f"one of {name!r}", "none")
    good = [c for c in mine if is_signed(c, issuer)]
    if len(good) < len(mine):
        raise _no_list(f"one signed by {name!r}", "one that is not, so it was changed or made by somebody else")
    best = max(good, key=number_of)
    odd = [e.oid.dotted_string for e in best.extensions if e.critical and e.oid not in _READ_CRITICAL]
    if odd:
        raise _no_list(f"a whole one of {name!r}", f"one of a kind that is not read here ({', '.join(odd)})")
    if number_of(best) < numbers.get(key_id(issuer), 0):
        raise _no_list(f"number {numbers[key_id(issuer)]} or later of {name!r}", f"the older number {number_of(best)}")
    if not best.last_update_utc <= now + CLOCK_SKEW or now >= end_of(best):
        raise _no_list(
            f"one of {name!r} in force", f"one from {best.last_update_utc:%Y-%m-%d} to {end_of(best):%F %R}Z"
        )
    return best


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
