"""When the lists of revoked certificates end, said before it happens. Ours are signed anew each week; a hospital's must
be brought, and once one has ended nobody of its issuer gets in and no new session is opened (docs/adr/0015).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from security import files
from security.crl import MAX_LISTS_BYTES, read_lists
from security.errors import SecurityError
from security.trust import Trust

WARN_DAYS = 7  # before the end, or a third of the list's life where that is shorter
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ListEnd:
    """The newest list of one issuer. `ends` is None where it has none."""

    issuer: str
    begins: datetime | None
    ends: datetime | None

    def is_over(self, now: datetime) -> bool:
        """Whether it says nothing any more."""
        return self.ends is None or now >= self.ends

    def is_ending(self, now: datetime) -> bool:
        """Whether it is time to bring the next one; also where it is over."""
        if self.ends is None or self.begins is None:
            return True
        return self.ends - now < min(timedelta(days=WARN_DAYS), (self.ends - self.begins) / 3)

    def words(self, now: datetime) -> str:
        """For an operator: what happens when, and what to do."""
        bring = "bring a newer one: everbeat pki import --crl FILE"
        if self.ends is None:
            return f"there is no list of revoked certificates of {self.issuer}: nobody of it gets in; {bring}"
        if self.is_over(now):
            return (
                f"the list of revoked certificates of {self.issuer} ended {self.ends:%F %R}Z: nobody of it gets in, no "
                f"new session is opened, running ones end within the hour; {bring}"
            )
        return (
            f"the list of revoked certificates of {self.issuer} ends {self.ends:%F %R}Z, in {_span(self.ends - now)}: "
            f"from then on nobody of it gets in and no new session is opened; {bring}"
        )


def list_ends(certificates: Path, lists: Path) -> list[ListEnd]:
    """One row for each issuer that is believed, whether its list is good or not. Raises SecurityError."""
    trust = Trust.load(certificates)
    found = read_lists(files.read_trusted(lists, MAX_LISTS_BYTES)) if lists.exists() else []
    return [_row(issuer, found) for issuer in (*trust.roots, *trust.intermediates)]


def list_warnings(certificates: Path, lists: Path, now: datetime) -> list[str]:
    """What an operator must know now; nothing where all lists go on for long enough."""
    try:
        return [one.words(now) for one in list_ends(certificates, lists) if one.is_ending(now)]
    except SecurityError as error:
        return [str(error)]


def _row(issuer: x509.Certificate, found: list[x509.CertificateRevocationList]) -> ListEnd:
    mine = [one for one in found if one.issuer == issuer.subject]
    newest = max(mine, key=lambda one: one.next_update_utc or _NEVER, default=None)
    name = f"{issuer.subject.rfc4514_string():.80}"
    if newest is None:
        return ListEnd(name, None, None)
    return ListEnd(name, newest.last_update_utc, newest.next_update_utc)


def _span(left: timedelta) -> str:
    return f"{left.days} days" if left >= timedelta(days=2) else f"{left / timedelta(hours=1):.0f} hours"
