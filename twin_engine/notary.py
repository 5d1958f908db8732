"""The notary's story: look at every log, raise the alarm, sign what only grew, have it witnessed, publish.

It keeps outside Redis what it signed last of each log and what it saw of the records, and never signs a tree that is
not an extension of it. Every round looks at what is new; every :data:`WHOLE_S` it looks at everything. One notary a
house; the signing key is nowhere in Redis.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from security import checkpoint, note
from security.audit import AuditEvent
from security.checkpoint import Checkpoint
from security.errors import Rejected, SecurityError
from security.keys import MasterKey
from security.note import LOG, VerifierKey
from security.tiles import Grower, MissingHash, Tree
from twin_engine import notary_memory
from twin_engine.store import keys
from twin_engine.store.audit import AuditWriter
from twin_engine.store.auditlog import AuditCheck, AuditKeeper
from twin_engine.store.connection import Client, translated
from twin_engine.store.errors import StoreCorrupt, StoreDown
from twin_engine.store.fsck import Digests, Finding, RecordCheck, check_tree
from twin_engine.store.log import Extent, LogReader, order
from twin_engine.witnessing import Push, WitnessAddress, ask

log = logging.getLogger(__name__)

ROUND_S = 2.0
Watch = Callable[[int], Sequence[AuditEvent]]  # looks at something else of the house: (UTC ms) -> what is to be told

WHOLE_S = 20.0  # between two looks at everything: a third of what is promised
SIGN_S, SIGN_LEAVES = 10.0, 1000  # a checkpoint after so long, or after so many new leaves
REFRESH_S = 60.0  # a witness' word is renewed, so that it says "as of now"
AWAY_S = 30.0  # a witness that did not answer is let be for so long: its silence must not delay an alarm
ARCHIVE_MS = 3_600_000
_READ = 4096
_BATCHES = 25  # of audit events in one round: who floods the queue must not delay an alarm


@dataclass(frozen=True, slots=True)
class Notarised:
    """What one log needs: its names, its key and where it is remembered."""

    name: str  # s0, s1, …, audit
    origin: str
    memory: Path


class LogKeeper:
    """Looks after one log."""

    def __init__(
        self, which: Notarised, reader: Client, scribe: Client, key: Ed25519PrivateKey, master: MasterKey,
        witnesses: Sequence[WitnessAddress], push: Push, away: dict[str, float],
    ) -> None:  # fmt: skip
        """`away`: witness -> until when it is let be, since it did not answer; all keepers share it."""
        self._which, self._scribe, self._key, self._master = which, scribe, key, master
        self._reader = LogReader(reader, which.name)
        self._witnesses, self._push = witnesses, push
        self.memory = notary_memory.load(which.memory, which.origin)
        self._known: Digests = {}
        self._whole_ms = self._took_ms = self._looked_ms = 0
        self._asked_s: dict[str, float] = {}
        self._away = away
        self._size = 0
        self._shown: set[str] | None = None  # what Redis may hold as the checkpoint; None: this process has just begun
        self._audit = AuditCheck(self._reader, master) if which.name == keys.AUDIT_LOG else None

    @property
    def verifier(self) -> VerifierKey:
        """The key under which this log's checkpoints are signed."""
        return note.verifier_of(self.memory.origin, LOG, self._key)

    def look(self, now_ms: int, *, whole: bool) -> list[Finding]:
        """One round. Returns what is newly found. Raises StoreDown; whatever is wrong with the data is a finding."""
        began = time.monotonic()
        try:
            extent = self._reader.extent()
            self._size = extent.size
            findings = self._check(extent, now_ms, whole or not self._whole_ms)
        except (StoreCorrupt, ValueError, KeyError, IndexError, Rejected) as error:
            extent, findings = None, [Finding("unreadable", self._which.name, str(error)[:200])]
        new = self.memory.raise_alarm(findings, now_ms)
        self._looked_ms = now_ms
        if (whole or not self._whole_ms) and extent is not None:
            self._whole_ms, self._took_ms = now_ms, int((time.monotonic() - began) * 1000)
        try:
            if extent is not None and not self.memory.is_broken:
                new += self.memory.raise_alarm(self._sign(extent, now_ms), now_ms)
            if not self.memory.is_broken:
                new += self.memory.raise_alarm(self._witness(now_ms), now_ms)
        except (StoreCorrupt, ValueError, IndexError) as error:
            new += self.memory.raise_alarm([Finding("unreadable", self._which.name, str(error)[:200])], now_ms)
        if new:
            notary_memory.save(self._which.memory, self.memory)
        self._publish(now_ms)
        return new

    def report(self, findings: list[Finding], now_ms: int) -> list[Finding]:
        """Raise the alarm for what was found elsewhere. Returns what is new."""
        new = self.memory.raise_alarm(findings, now_ms)
        if new:
            notary_memory.save(self._which.memory, self.memory)
        return new

    def examine(self, now_ms: int) -> tuple[int, list[Finding]]:
        """(leaves, what is wrong), by a look at everything that nothing remembers."""
        try:
            extent = self._reader.extent()
            return extent.size, self._check(extent, now_ms, whole=True, thorough=True)
        except (StoreCorrupt, ValueError, KeyError, IndexError, Rejected) as error:
            return 0, [Finding("unreadable", self._which.name, str(error)[:200])]

    def accept(self, reason: str) -> None:
        """A person knows of the alarm and goes on."""
        log.warning("log %s: the alarm was accepted (%s)", self._which.name, reason)
        self.memory.accept(self._which.origin)
        self._known.clear()
        notary_memory.save(self._which.memory, self.memory)

    # ------------------------------------------------------------------------------------------------ look

    def _is_early(self, extent: Extent) -> bool:
        """Whether no engine has taken the log up yet: what an older version folded has neither nodes nor lines."""
        return self._audit is None and not extent.since and self.memory.since is None

    def _check(self, extent: Extent, now_ms: int, whole: bool, thorough: bool = False) -> list[Finding]:
        if self._is_early(extent):
            return []
        findings = self._against_memory(extent)
        if whole:
            findings += check_tree(self._reader, extent, self._roots(findings), self._known)
        if self._audit is not None:
            return findings + self._audit.look(extent.size, whole=whole)
        walk = RecordCheck(self._reader, extent, self._master, self.memory.seen, thorough)
        return findings + (walk.whole(now_ms) if whole else walk.newest(now_ms))

    def _against_memory(self, extent: Extent) -> list[Finding]:
        """Is the tree that was signed last still there, by few reads, and its checkpoint?"""
        memory, findings = self.memory, list[Finding]()
        if memory.since is None:
            memory.since = extent.since
        elif memory.since != extent.since:
            findings.append(Finding("since-changed", extent.since, f"records were to have lines after {memory.since}"))
        if extent.size < memory.size:
            detail = f"{memory.size} leaves were signed, {extent.size} are left: an older state was put back, or cut"
            findings.append(Finding("tree-shorter", f"size {memory.size}", detail))
        elif memory.size and not self._is_same_tree():
            findings.append(Finding("forked", f"size {memory.size}", "another tree than was signed at this size"))
        stored = self._reader.note()
        if stored is None:
            replaced = self._shown is not None
        else:
            replaced = self._own(stored) is None if self._shown is None else stored not in self._shown
        if memory.published and replaced:
            findings.append(Finding("checkpoint-changed", f"size {memory.size}", "Redis holds another checkpoint"))
        return findings

    def _is_same_tree(self) -> bool:
        try:
            return Tree(self._reader).frontier(self.memory.size).to_bytes() == self.memory.frontier.to_bytes()
        except MissingHash:
            return False

    def _roots(self, findings: list[Finding]) -> dict[int, bytes]:
        """Every root that was signed and is still known, by size. A kept checkpoint that is not ours is a finding."""
        roots = {self.memory.size: self.memory.frontier.root()} if self.memory.size else {}
        kept = self._reader.notes()
        ours = [point for point in map(self._own, kept) if point is not None]
        if len(ours) < len(kept) or (self.memory.published and len(kept) < self.memory.archived):
            detail = f"{self.memory.archived} were kept, {len(ours)} of {len(kept)} are signed by this notary"
            findings.append(Finding("checkpoint-changed", "kept checkpoints", detail))
        for point in ours:
            if point.origin == self.memory.origin:
                roots.setdefault(point.size, point.root)
        return roots

    def _own(self, signed: str) -> Checkpoint | None:
        try:
            point = checkpoint.read(signed)
            key = note.verifier_of(point.origin, LOG, self._key)
            return point if note.check(signed, [key])[1] else None
        except Rejected:
            return None

    # ------------------------------------------------------------------------------------------------ sign

    def _sign(self, extent: Extent, now_ms: int) -> list[Finding]:
        """A checkpoint of what was added, where it is time; remembered before anybody sees it."""
        memory, added = self.memory, extent.size - self.memory.size
        if self._is_early(extent) or added <= 0 or (added < SIGN_LEAVES and now_ms - memory.signed_ms < SIGN_S * 1000):
            return []
        grower = Grower.from_bytes(memory.frontier.to_bytes())
        while grower.size < extent.size:
            leaves = self._reader.read(0, grower.size, min(_READ, extent.size - grower.size))
            if not leaves:
                return [Finding("leaves-missing", f"leaf {grower.size}", "fewer leaves than there were")]
            for leaf in leaves:
                grower.append(leaf)
        if Tree(self._reader).root(extent.size) != grower.root():
            return [Finding("forked", f"size {extent.size}", "the stored nodes give another root than the leaves")]
        point = Checkpoint(memory.origin, extent.size, grower.root())
        memory.frontier, memory.signed_ms = grower, now_ms
        memory.upto_ms = now_ms if self._audit is not None else order(extent.cursor)[0]
        memory.published = note.assemble(point.text, [note.sign_line(point.text, memory.origin, self._key)])
        notary_memory.save(self._which.memory, memory)
        return []

    def _witness(self, now_ms: int) -> list[Finding]:
        """Ask the witnesses that have not cosigned this checkpoint, or long ago."""
        memory, findings = self.memory, list[Finding]()
        if not memory.published:
            return findings
        now_s = time.monotonic()
        for witness in self._witnesses:
            name = witness.key.name
            due_s = REFRESH_S if memory.witnesses.get(name) == memory.size else 0.0
            last_s = self._asked_s.get(name)
            if now_s < self._away.get(name, 0.0) or (last_s is not None and now_s - last_s < due_s):
                continue
            said = ask(witness, memory.published, memory.witnesses.get(name, 0), Tree(self._reader), self._push)
            self._asked_s[name] = now_s
            if not said.answered:
                self._away[name] = time.monotonic() + AWAY_S
            if said.line:
                text, lines = note.split(memory.published)
                others = [line for line in lines if not line.startswith(f"— {name} ")]
                memory.published = note.assemble(text, [*others, said.line])
                memory.witnesses[name] = memory.size
                notary_memory.save(self._which.memory, memory)
            if said.disagrees:
                findings.append(Finding("witness-disagrees", name, said.disagrees))
        return findings

    # --------------------------------------------------------------------------------------------- publish

    def _publish(self, now_ms: int) -> None:
        """Checkpoint and state, for whoever reads."""
        memory = self.memory
        with translated():
            if memory.published and not memory.is_broken:
                self._shown = (self._shown or set()) | {memory.published}
                self._scribe.set(keys.note(self._which.name), memory.published)
                self._shown = {memory.published}
                if now_ms - memory.archived_ms >= ARCHIVE_MS:
                    self._scribe.xadd(keys.notes(self._which.name), {"n": memory.published})
                    memory.archived, memory.archived_ms = memory.archived + 1, now_ms
                    notary_memory.save(self._which.memory, memory)
            self._scribe.hset(keys.LOG_STATE, self._which.name, json.dumps(self._state(now_ms)))

    def _state(self, now_ms: int) -> dict[str, object]:
        memory = self.memory
        cosigned = self._cosigned()
        alarm = None
        if memory.alarm:
            found = [{"kind": f.kind, "where": f.where, "detail": f.detail} for f in memory.alarm[:10]]
            alarm = {"since_ms": memory.alarm_ms, "broken": memory.is_broken, "findings": found}
        return {
            "t_ms": now_ms, "origin": memory.origin, "key": str(self.verifier), "size": memory.size,
            "root": base64.b64encode(memory.frontier.root()).decode(), "signed_ms": memory.signed_ms,
            "upto_ms": memory.upto_ms, "leaves": self._size, "whole_ms": self._whole_ms, "whole_took_ms": self._took_ms,
            "witnesses": [{"name": name, "t_s": t_s} for name, t_s in cosigned],
            "witnesses_wanted": len(self._witnesses), "alarm": alarm,
        }  # fmt: skip

    def _cosigned(self) -> list[tuple[str, int]]:
        if not self.memory.published:
            return []
        try:
            signed = note.check(self.memory.published, [witness.key for witness in self._witnesses])[1]
        except Rejected:
            return []
        return [(s.key.name, s.t_s or 0) for s in signed]


class Notary:
    """All logs of a house. `inbox` is a folder in which a person leaves ``LOG`` files that accept an alarm."""

    def __init__(
        self, logs: Sequence[Notarised], reader: Client, scribe: Client, key: Ed25519PrivateKey, master: MasterKey,
        clock_ms: Callable[[], int], witnesses: Sequence[WitnessAddress],
        push: Push, inbox: Path, watches: Sequence[Watch] = (),
    ) -> None:  # fmt: skip
        """`watches` are called with each look at everything; each says only what has changed, and raises StoreDown."""
        away: dict[str, float] = {}
        self.keepers = {
            which.name: LogKeeper(which, reader, scribe, key, master, witnesses, push, away) for which in logs
        }
        self._queue = AuditKeeper(reader, scribe, master)
        self._audit = AuditWriter(scribe, master)
        self._clock_ms, self._inbox, self._watches = clock_ms, inbox, watches
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
        for watch in self._watches if whole else ():  # first: they also say why the rest can't be done
            for event in watch(self._clock_ms()):
                self._audit.write(event)
        found = [(keys.AUDIT_LOG, hole) for hole in self._sequence()]
        for name, keeper in self.keepers.items():
            self._hear_a_person(name, keeper)
            new = keeper.look(self._clock_ms(), whole=whole)
            found += [(name, finding) for finding in new]
            self._tell(name, new)
        if whole:
            self._whole_s = began_s
            if (took_s := time.monotonic() - began_s) > WHOLE_S:
                log.warning("a look at everything took %.0f s, more than the %g s between two", took_s, WHOLE_S)
        return found

    def _sequence(self) -> list[Finding]:
        """What waits gets its place. Returns what was found missing of it, which the log itself says already."""
        try:
            for _ in range(_BATCHES):
                if not self._queue.take(self._clock_ms()):
                    break
        except (StoreCorrupt, SecurityError, ValueError) as error:
            log.error("the audit log takes no events: %s", error)
        holes = self._queue.take_holes()
        return self.keepers[keys.AUDIT_LOG].report(holes, self._clock_ms()) if holes else []

    def _hear_a_person(self, name: str, keeper: LogKeeper) -> None:
        path = self._inbox / name
        if not path.exists():
            return
        who, _, reason = path.read_text()[:500].partition("\n")
        path.unlink()
        kinds = ",".join(sorted({finding.kind for finding in keeper.memory.alarm}))[:200]
        keeper.accept(reason.strip())
        facts = {"accepted": reason.strip()[:200], "kinds": kinds, "goes_on_as": keeper.memory.origin}
        self._audit.write(AuditEvent(self._clock_ms(), who.strip()[:100] or "somebody", "log.alarm", name, facts))

    def _tell(self, name: str, new: list[Finding]) -> None:
        for finding in new[:5]:
            log.error("log %s: %s at %s: %s", name, finding.kind, finding.where, finding.detail)
            facts = {"kind": finding.kind, "where": finding.where[:200], "detail": finding.detail[:200]}
            self._audit.write(AuditEvent(self._clock_ms(), "notary", "log.alarm", name, facts))


def examine(which: Notarised, reader: Client, key: Ed25519PrivateKey, master: MasterKey) -> tuple[int, list[Finding]]:
    """One look at everything of a log, for a person: (leaves, what is wrong). Writes nothing."""
    keeper = LogKeeper(which, reader, reader, key, master, [], lambda *_: (0, ""), {})
    return keeper.examine(time.time_ns() // 10**6)
