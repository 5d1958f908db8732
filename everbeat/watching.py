"""What the notary's process watches beside the logs: patients' keys, the lists of revoked certificates, Redis' memory.

A watch takes the time (UTC ms) and returns audit events: what has changed, once. For an operator it logs in words, and
says again each hour what has not been mended.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

from security.audit import AuditEvent
from security.errors import SecurityError
from security.keys import MasterKey
from security.list_ends import list_ends
from twin_engine.store.connection import Client
from twin_engine.store.lost import lost_keys, said
from twin_engine.store.memory import memory_warnings, read_memory

log = logging.getLogger(__name__)

WATCHER = "notary"
AGAIN_MS = 3_600_000


class KeyWatch:
    """Patients of whom nothing can be read, since their file in the key directory is missing or unsafe."""

    def __init__(self, client: Client, master: MasterKey) -> None:
        self._client, self._master = client, master
        self._lost = dict[str, str]()

    def __call__(self, now_ms: int) -> list[AuditEvent]:
        """Who can't be read any more, and who can again. Raises StoreDown."""
        lost = lost_keys(self._client, self._master)
        new, back = sorted(lost.keys() - self._lost.keys()), sorted(self._lost.keys() - lost.keys())
        for patient in new:
            log.error("%s", said(patient, lost[patient]))
        for patient in back:
            log.warning("patient %s: her key is back", patient)
        self._lost = lost
        return [AuditEvent(now_ms, WATCHER, "key.missing", p, {"file": lost[p][:200]}) for p in new] + [
            AuditEvent(now_ms, WATCHER, "key.returned", p) for p in back
        ]


class ListWatch:
    """Lists of revoked certificates that end soon, or have ended: a hospital's must be brought anew."""

    def __init__(self, certificates: Path, lists: Path) -> None:
        self._files = (certificates, lists)
        self._told = dict[str, tuple[str, str]]()  # issuer -> (kind, end)
        self._again = _Again()

    def __call__(self, now_ms: int) -> list[AuditEvent]:
        """Nothing where there is no CA on this machine."""
        now = datetime.fromtimestamp(now_ms / 1000, UTC)
        try:
            rows = list_ends(*self._files) if self._files[0].exists() else []
        except SecurityError as error:
            self._again.say(now_ms, [str(error)])
            return []
        bad = {row.issuer: row for row in rows if row.is_ending(now)}
        self._again.say(now_ms, [row.words(now) for row in bad.values()])
        before, self._told = (
            self._told,
            {
                name: ("list.ended" if row.is_over(now) else "list.ending", str(row.ends or "none"))
                for name, row in bad.items()
            },
        )
        return [
            AuditEvent(now_ms, WATCHER, kind, "pki", {"issuer": name, "ends": ends})
            for name, (kind, ends) in self._told.items() if before.get(name) != (kind, ends)
        ]  # fmt: skip


class MemoryWatch:
    """Redis' memory, before it is full."""

    def __init__(self, client: Client) -> None:
        self._client, self._again = client, _Again()

    def __call__(self, now_ms: int) -> list[AuditEvent]:
        """Says it in the process' log alone. Raises StoreDown."""
        self._again.say(now_ms, memory_warnings(read_memory(self._client)))
        return []


class _Again:
    """Warnings in the log: at once, and each hour for as long as there are any."""

    def __init__(self) -> None:
        self._count, self._said_ms = 0, 0

    def say(self, now_ms: int, lines: list[str]) -> None:
        if len(lines) > self._count or (lines and not 0 <= now_ms - self._said_ms < AGAIN_MS):
            self._said_ms = now_ms
            for line in lines:
                log.warning("%s", line)
        self._count = len(lines)
