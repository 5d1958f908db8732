"""Looks after one log: raises the alarm, signs what only grew, has it witnessed, publishes.

It keeps outside Redis what it signed last and what it saw of the records (:mod:`twin_engine.notary_memory`), and never
signs a tree that is not an extension of it. What it signs is remembered before anybody sees it.
"""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from security import note
from security.checkpoint import Checkpoint
from security.keys import MasterKey
from security.note import LOG, VerifierKey
from security.tiles import Grower, Tree
from twin_engine import notary_memory
from twin_engine.log_check import UNREADABLE, LogCheck
from twin_engine.store import keys
from twin_engine.store.connection import Client, translated
from twin_engine.store.fsck import Finding
from twin_engine.store.log import Extent, LogReader, order
from twin_engine.witnessing import Cosigning, Push, WitnessAddress

log = logging.getLogger(__name__)

SIGN_S, SIGN_LEAVES = 10.0, 1000  # a checkpoint after so long, or after so many new leaves
ARCHIVE_MS = 3_600_000
TOLD = 5  # findings of one look that are told: more say no more, and the state has more of them
_READ = 4096


@dataclass(frozen=True, slots=True)
class Notarised:
    """What one log needs: its names, its key and where it is remembered."""

    name: str  # s0, s1, …, audit
    origin: str
    memory: Path


class LogKeeper:
    """The keeper of one log. `news`: what it found and nobody has been told of yet."""

    def __init__(
        self, which: Notarised, reader: Client, scribe: Client, key: Ed25519PrivateKey, master: MasterKey,
        witnesses: Sequence[WitnessAddress], push: Push, away: dict[str, float],
    ) -> None:  # fmt: skip
        """`away`: witness -> until when it is let be, since it did not answer; all keepers share it."""
        self._which, self._scribe, self._key = which, scribe, key
        self._reader = LogReader(reader, which.name)
        self.memory = notary_memory.load(which.memory, which.origin)
        self._check = LogCheck(self._reader, self.memory, key, master)
        self._cosigning = Cosigning(witnesses, push, away)
        self._whole_ms = self._took_ms = self._size = 0
        self.news = list[Finding]()

    @property
    def verifier(self) -> VerifierKey:
        """The key under which this log's checkpoints are signed."""
        return note.verifier_of(self.memory.origin, LOG, self._key)

    def look(self, now_ms: int, *, whole: bool) -> list[Finding]:
        """One round. Returns what is newly found. Raises StoreDown; whatever is wrong with the data is a finding."""
        new = self._examine(now_ms, whole or not self._whole_ms)
        if new:
            self._save()
        self.news += new[:TOLD]
        for finding in new[:TOLD]:
            log.error("log %s: %s at %s: %s", self._which.name, finding.kind, finding.where, finding.detail)
        self._publish(now_ms)
        return new

    def _examine(self, now_ms: int, whole: bool) -> list[Finding]:
        """Look, and sign and have witnessed what is as it should be."""
        began, memory, new = time.monotonic(), self.memory, list[Finding]()
        try:
            extent = self._reader.extent()
            self._size = extent.size
            new += memory.raise_alarm(self._check.look(extent, now_ms, whole=whole), now_ms)
            if whole:
                self._whole_ms, self._took_ms = now_ms, int((time.monotonic() - began) * 1000)
            if not memory.is_broken:
                new += memory.raise_alarm(self._sign(extent, now_ms), now_ms)
        except UNREADABLE as error:
            new += memory.raise_alarm([self._unreadable(error)], now_ms)
        try:
            if not memory.is_broken:
                new += memory.raise_alarm(self._witness(), now_ms)
        except UNREADABLE as error:
            new += memory.raise_alarm([self._unreadable(error)], now_ms)
        return new

    def report(self, findings: list[Finding], now_ms: int) -> list[Finding]:
        """Raise the alarm for what was found elsewhere. Returns what is new."""
        new = self.memory.raise_alarm(findings, now_ms)
        if new:
            self._save()
        return new

    def examine(self, now_ms: int) -> tuple[int, list[Finding]]:
        """(leaves, what is wrong), by a look at everything that nothing remembers."""
        try:
            extent = self._reader.extent()
            return extent.size, self._check.look(extent, now_ms, whole=True, thorough=True)
        except UNREADABLE as error:
            return 0, [self._unreadable(error)]

    def accept(self, reason: str) -> None:
        """A person knows of the alarm and goes on."""
        log.warning("log %s: the alarm was accepted (%s)", self._which.name, reason)
        self.memory.accept(self._which.origin)
        self._check.forget()
        self._save()

    def goes_on_as(self) -> str:
        """The log's name once the alarm is accepted."""
        return self.memory.origin_after(self._which.origin)

    # ------------------------------------------------------------------------------------------------ sign

    def _sign(self, extent: Extent, now_ms: int) -> list[Finding]:
        """A checkpoint of what was added, where it is time; remembered before anybody sees it."""
        memory, added = self.memory, extent.size - self.memory.size
        if self._check.is_early(extent) or not self._is_time(added, now_ms):
            return []
        grower = self._grown(extent.size)
        if grower.size < extent.size:
            return [Finding("leaves-missing", f"leaf {grower.size}", "fewer leaves than there were")]
        if Tree(self._reader).root(extent.size) != grower.root():
            return [Finding("forked", f"size {extent.size}", "the stored nodes give another root than the leaves")]
        point = Checkpoint(memory.origin, extent.size, grower.root())
        memory.frontier, memory.signed_ms = grower, now_ms
        memory.upto_ms = now_ms if self._check.is_audit else order(extent.cursor)[0]
        memory.published = note.assemble(point.text, [note.sign_line(point.text, memory.origin, self._key)])
        self._save()
        return []

    def _is_time(self, added: int, now_ms: int) -> bool:
        return added >= SIGN_LEAVES or (added > 0 and now_ms - self.memory.signed_ms >= SIGN_S * 1000)

    def _grown(self, size: int) -> Grower:
        """The tree that was signed last, and the leaves that were added; it stays short where some are missing."""
        grower = Grower.from_bytes(self.memory.frontier.to_bytes())
        while grower.size < size and (leaves := self._reader.read(0, grower.size, min(_READ, size - grower.size))):
            for leaf in leaves:
                grower.append(leaf)
        return grower

    def _witness(self) -> list[Finding]:
        before = self.memory.published
        try:
            return self._cosigning.ask_due(self.memory, Tree(self._reader))
        finally:
            if self.memory.published != before:
                self._save()

    # --------------------------------------------------------------------------------------------- publish

    def _publish(self, now_ms: int) -> None:
        """Checkpoint and state, for whoever reads."""
        memory = self.memory
        with translated():
            if memory.published and not memory.is_broken:
                self._check.shown = (self._check.shown or set()) | {memory.published}
                self._scribe.set(keys.note(self._which.name), memory.published)
                self._check.shown = {memory.published}
                if now_ms - memory.archived_ms >= ARCHIVE_MS:
                    self._scribe.xadd(keys.notes(self._which.name), {"n": memory.published})
                    memory.archived, memory.archived_ms = memory.archived + 1, now_ms
                    self._save()
            self._scribe.hset(keys.LOG_STATE, self._which.name, json.dumps(self._state(now_ms)))

    def _state(self, now_ms: int) -> dict[str, object]:
        memory, witnesses = self.memory, self._cosigning
        return {
            "t_ms": now_ms, "origin": memory.origin, "key": str(self.verifier), "size": memory.size,
            "root": base64.b64encode(memory.frontier.root()).decode(), "signed_ms": memory.signed_ms,
            "upto_ms": memory.upto_ms, "leaves": self._size, "whole_ms": self._whole_ms, "whole_took_ms": self._took_ms,
            "witnesses": [{"name": name, "t_s": t_s} for name, t_s in witnesses.cosigned(memory.published)],
            "witnesses_wanted": witnesses.wanted, "alarm": self._alarm(),
        }  # fmt: skip

    def _alarm(self) -> dict[str, object] | None:
        memory = self.memory
        if not memory.alarm:
            return None
        found = [{"kind": f.kind, "where": f.where, "detail": f.detail} for f in memory.alarm[:10]]
        return {"since_ms": memory.alarm_ms, "broken": memory.is_broken, "findings": found}

    def _save(self) -> None:
        notary_memory.save(self._which.memory, self.memory)

    def _unreadable(self, error: Exception) -> Finding:
        return Finding("unreadable", self._which.name, str(error)[:200])
