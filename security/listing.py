"""The lists of revoked certificates as the authority keeps them: signed anew in time, and never forgetful.

The issuer's list is made from the index, the root's by whoever has the root's key, a hospital's is brought. All lie
in one file for hub and engines. What was revoked once stays so where the index or the list was lost (not both).
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from security import certificates, files
from security.authority import IMPORTED_LIST, ROOT_KEY, ROOT_LIST, Authority
from security.certificates import IssuerKey
from security.crl import MAX_LISTS_BYTES, Revoked, Why, own_entries, sign_list
from security.index import Index, Issued
from security.revocation import judge_lists

log = logging.getLogger(__name__)

LIST_LIFE = timedelta(days=30)
RENEW_LIST_BEFORE = timedelta(days=23)  # whoever has the issuer's key signs a new list each week
_KEPT_AFTER_END = timedelta(days=100)  # in the list: longer than a certificate may be renewed late


def refresh_lists(ca: Authority, *, now_ms: int) -> None:
    """Signs a new list where the one on disk is older than a week, or not as it must be."""
    root_list = ca.directory / ROOT_LIST
    if ca.chain and not root_list.exists() and (ca.directory / ROOT_KEY).exists():
        root_key, (root, *_) = certificates.read_issuer(ca.directory / ROOT_KEY)
        with ca.index() as index:
            index.add(ca.certificate, now_ms)
            write_root_list(ca.directory, root, root_key, index, ca.certificate.not_valid_after_utc, now_ms)
    issuers = [ca.certificate] if not ca.chain else [ca.certificate, ca.root]
    try:
        read_optional(ca.lists_path)
    except files.KeyFileError as error:  # every list in it is signed: it is put there anew, closed to others again
        log.error("the list of revoked certificates is made anew: %s", error)
        ca.lists_path.unlink(missing_ok=True)
    found = judge_lists(read_optional(ca.lists_path), issuers, time_of(now_ms))
    with ca.index() as index:
        recall(ca, index, time_of(now_ms))
        revoked = {one.serial for one in index.all() if one.revoked_ms is not None and _is_listed(one, now_ms)}
    own = judge_lists(read_optional(ca.lists_path), [ca.certificate], time_of(now_ms))
    young = own.ends is not None and own.ends - time_of(now_ms) > RENEW_LIST_BEFORE
    if found.doubt or not young or not revoked <= found.revoked:
        sign_lists(ca, now_ms=now_ms)


def sign_lists(ca: Authority, *, now_ms: int) -> None:
    """Signs the issuer's list anew, from the index, and puts all lists into one file. Of two at once the later wins."""
    now = time_of(now_ms)
    with ca.index() as index, index.exclusively():
        number = index.next_number("crl", now_ms)
        carried = recall(ca, index, now)
        entries = [_entry(i) for i in index.all() if i.revoked_ms is not None and _is_listed(i, now_ms)] + carried
        own = sign_list(ca.certificate, ca.key, number, entries, now, now + LIST_LIFE)
        others = [read_optional(ca.directory / name) for name in (ROOT_LIST, IMPORTED_LIST)]
        files.write_public(ca.lists_path, b"".join([own, *others]))


def recall(ca: Authority, index: Index, now: datetime) -> list[Revoked]:
    """What the list on disk says and the index does not, because it was lost or restored from an older copy.

    A revocation is taken back by neither: known certificates are revoked in the index again, the others carried on.
    """
    carried = list[Revoked]()
    for entry in own_entries(read_optional(ca.lists_path), ca.certificate):
        one = index.find(entry.serial)
        if one is not None and one.revoked_ms is None:
            index.revoke({entry.serial: None}, entry.why, int(entry.at.timestamp() * 1000))
        elif one is None and now - entry.at < LIST_LIFE + _KEPT_AFTER_END:
            carried.append(entry)
    return carried


def write_root_list(
    directory: Path, root: x509.Certificate, key: IssuerKey, index: Index, end: datetime, now_ms: int
) -> None:
    """The root's own list, which names intermediates. It ends with the intermediate: both want the root's key."""
    entries = [_entry(i) for i in index.all() if i.role == "issuer" and i.revoked_ms is not None]
    number = index.next_number("root crl", now_ms)
    files.write_public(directory / ROOT_LIST, sign_list(root, key, number, entries, time_of(now_ms), end))


def _is_listed(one: Issued, now_ms: int) -> bool:
    return one.role != "issuer" and now_ms < one.ends_ms + _KEPT_AFTER_END / timedelta(milliseconds=1)


def _entry(one: Issued) -> Revoked:
    return Revoked(one.serial, time_of(one.revoked_ms or 0), one.why or Why.UNSPECIFIED)


def read_optional(path: Path) -> bytes:
    """The lists or certificates in a file; nothing where there is none."""
    return files.read_trusted(path, MAX_LISTS_BYTES) if path.exists() else b""


def time_of(now_ms: int) -> datetime:
    """Unix ms as certificates and lists have it."""
    return datetime.fromtimestamp(now_ms / 1000, UTC)
