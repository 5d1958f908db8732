"""Reading what was audited, newest first. The web sees only :class:`AuditReader`; who keeps the audit log fills it.

:class:`WaitingAudit` reads the events where they wait (``eb:audit:in``) and so needs a user who may read that stream.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Protocol

from security.audit import AuditEvent
from security.errors import Rejected
from security.keys import MasterKey
from twin_engine.store import audit, keys
from twin_engine.store.audit import open_event
from twin_engine.store.connection import Client, translated

log = logging.getLogger(__name__)

_PAGE, _LOOK_AT = 200, 5000  # entries a round trip; entries that one question may look at
_CURSOR = re.compile(r"\d{1,20}-\d{1,20}")


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which events: "" = any. `before` is where the last answer ended ("" = the newest)."""

    kind: str = ""
    who: str = ""
    about: str = ""
    before: str = ""
    limit: int = 100

    def fits(self, event: AuditEvent) -> bool:
        """Whether the event was asked for."""
        wanted = ((self.kind, event.kind), (self.who, event.who), (self.about, event.about))
        return all(not want or want == have for want, have in wanted)


@dataclass(frozen=True, slots=True)
class AuditPage:
    """(place in the log, event), newest first. `before`: where to go on; "" = that was all."""

    events: tuple[tuple[str, AuditEvent], ...]
    before: str


class AuditReader(Protocol):
    """Raises StoreDown."""

    def read(self, query: AuditQuery) -> AuditPage:
        """At most `query.limit` events that fit."""
        ...


class WaitingAudit:
    """An :class:`AuditReader` over the stream in which events wait for their place in the log."""

    def __init__(self, client: Client, master: MasterKey) -> None:
        self._client, self._master = client, master

    def read(self, query: AuditQuery) -> AuditPage:
        """Looks at no more than 5,000 entries; `before` goes on from there."""
        end, looked = (f"({query.before}" if _CURSOR.fullmatch(query.before) else "+"), 0
        found = list[tuple[str, AuditEvent]]()
        while looked < _LOOK_AT:
            with translated():
                entries = self._client.xrevrange(keys.AUDIT_IN, max=end, count=_PAGE)
            for entry_id, fields in entries:
                looked, place = looked + 1, entry_id.decode()
                event = self._open(place, fields)
                if event is not None and query.fits(event):
                    found.append((place, event))
                    if len(found) >= query.limit:
                        return AuditPage(tuple(found), place)
                end = f"({place}"
            if len(entries) < _PAGE:
                return AuditPage(tuple(found), "")
        return AuditPage(tuple(found), end.removeprefix("("))

    def _open(self, place: str, fields: dict[bytes, bytes]) -> AuditEvent | None:
        try:
            return open_event(self._master, fields)
        except (Rejected, KeyError) as error:
            log.error("entry %s of the audit stream can't be read: %s", place, error)
            return None


class SequencedAudit:
    """An :class:`AuditReader` over the audit log itself: events that the notary has given their place."""

    def __init__(self, client: Client, master: MasterKey) -> None:
        self._log = audit.AuditReader(client, master)

    def read(self, query: AuditQuery) -> AuditPage:
        """A line that can't be opened is left out here; the notary raises the alarm about it."""
        before = query.before if _CURSOR.fullmatch(query.before) else ""
        page = self._log.page(before=before, count=query.limit, kind=query.kind, about=query.about, who=query.who)
        return AuditPage(tuple((line.id, line.event) for line in page.lines if line.event is not None), page.older)
