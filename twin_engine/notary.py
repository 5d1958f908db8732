"""The notary's story: look after every log, tell what is found, hear the person who accepts it.

Every round looks at what is new; every :data:`WHOLE_S` it looks at everything. One notary a house; the signing key is
nowhere in Redis. What is done for one log is in :mod:`twin_engine.log_keeper`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from security.audit import AuditEvent
from security.errors import SecurityError
from security.keys import MasterKey
from twin_engine.log_keeper import LogKeeper, Notarised
from twin_engine.store.audit import AuditWriter
from twin_engine.store.auditlog import AuditKeeper
from twin_engine.store.connection import Client
from twin_engine.store.errors import StoreCorrupt, StoreDown
from twin_engine.store.fsck import Finding
from twin_engine.witnessing import Push, WitnessAddress

log = logging.getLogger(__name__)

ROUND_S = 2.0
WHOLE_S = 20.0  # between two looks at everything: a third of what is promised
_BATCHES = 25  # of audit events in one round: who floods the queue must not delay an alarm


class Notary:
    """All logs of a house. `inbox` is a folder in which a person leaves ``LOG`` files that accept an alarm."""

    def __init__(
        self, logs: Sequence[Notarised], reader: Client, scribe: Client, key: Ed25519PrivateKey, master: MasterKey,
        clock_ms: Callable[[], int], witnesses: Sequence[WitnessAddress],
        push: Push, inbox: Path,
    ) -> None:  # fmt: skip
        away: dict[str, float] = {}
        self.keepers = {
            which.name: LogKeeper(which, reader, scribe, key, master, witnesses, push, away) for which in logs
        }
        self._queue = AuditKeeper(reader, scribe, master)
        self._audit = AuditWriter(scribe, master)
        self._clock_ms, self._inbox = clock_ms, inbox
        self._whole_s = 0.0

    def run(self, stop: threading.Event) -> None:
        """Until `stop`; waits where Redis is down."""
        while not stop.is_set():
            began_s = time.monotonic()
            try:
                self.round(whole=began_s - self._whole_s >= WHOLE_S)
            except StoreDown as error:
                log.warning("%s; trying again", error)
            stop.wait(max(0.1, ROUND_S - (time.monotonic() - began_s)))

    def round(self, *, whole: bool) -> list[tuple[str, Finding]]:
        """One look at every log. Returns what is newly found. Raises StoreDown."""
        began_s = time.monotonic()
        self._sequence()
        found = list[tuple[str, Finding]]()
        for name, keeper in self.keepers.items():
            self._hear_a_person(name, keeper)
            self._tell(name, keeper)  # what could not be told in the last round
            found += [(name, finding) for finding in keeper.look(self._clock_ms(), whole=whole)]
            self._tell(name, keeper)
        if whole:
            self._whole_s = began_s
            if (took_s := time.monotonic() - began_s) > WHOLE_S:
                log.warning("a look at everything took %.0f s, more than the %g s between two", took_s, WHOLE_S)
        return found

    def _sequence(self) -> None:
        try:
            for _ in range(_BATCHES):
                if not self._queue.take(self._clock_ms()):
                    break
        except (StoreCorrupt, SecurityError, ValueError) as error:
            log.error("the audit log takes no events: %s", error)

    def _hear_a_person(self, name: str, keeper: LogKeeper) -> None:
        path = self._inbox / name
        if not path.exists():
            return
        who, _, reason = path.read_bytes()[:500].decode(errors="replace").partition("\n")
        kinds = ",".join(sorted({finding.kind for finding in keeper.memory.alarm}))[:200]
        facts = {"accepted": reason.strip()[:200], "kinds": kinds, "goes_on_as": keeper.goes_on_as()}
        self._audit.write(AuditEvent(self._clock_ms(), who.strip()[:100] or "somebody", "log.alarm", name, facts))
        path.unlink()  # told before it is done: an alarm never ends without a word in the audit log
        keeper.accept(reason.strip())

    def _tell(self, name: str, keeper: LogKeeper) -> None:
        while keeper.news:
            finding = keeper.news[0]
            facts = {"kind": finding.kind, "where": finding.where[:200], "detail": finding.detail[:200]}
            self._audit.write(AuditEvent(self._clock_ms(), "notary", "log.alarm", name, facts))
            del keeper.news[0]


def examine(which: Notarised, reader: Client, key: Ed25519PrivateKey, master: MasterKey) -> tuple[int, list[Finding]]:
    """One look at everything of a log, for a person: (leaves, what is wrong). Writes nothing."""
    keeper = LogKeeper(which, reader, reader, key, master, [], lambda *_: (0, ""), {})
    return keeper.examine(time.time_ns() // 10**6)
