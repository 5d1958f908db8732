"""Reading what was audited, newest first. The web sees only :class:`AuditReader`; who keeps the audit log fills it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from security.audit import AuditEvent
from security.keys import MasterKey
from twin_engine.store import audit
from twin_engine.store.connection import Client

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


class SequencedAudit:
    """An :class:`AuditReader` over the audit log itself: events that the notary has given their place."""

    def __init__(self, client: Client, master: MasterKey) -> None:
        self._log = audit.AuditReader(client, master)

    def read(self, query: AuditQuery) -> AuditPage:
        """A line that can't be opened is left out here; the notary raises the alarm about it."""
        before = query.before if _CURSOR.fullmatch(query.before) else ""
        page = self._log.page(before=before, count=query.limit, kind=query.kind, about=query.about, who=query.who)
        return AuditPage(tuple((line.id, line.event) for line in page.lines if line.event is not None), page.older)
