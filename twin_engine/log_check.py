"""One look at one log: against what its keeper remembers, against itself, and record by record. Only reads.

What is compared is told in :mod:`twin_engine.store.fsck`; here is what is compared with what, and when.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from security import checkpoint, note
from security.checkpoint import Checkpoint
from security.errors import Rejected
from security.keys import MasterKey
from security.note import LOG
from security.tiles import MissingHash, Tree
from twin_engine.notary_memory import Memory
from twin_engine.store import keys
from twin_engine.store.auditlog import AuditCheck
from twin_engine.store.errors import StoreCorrupt
from twin_engine.store.fsck import Digests, Finding, RecordCheck, check_tree
from twin_engine.store.log import Extent, LogReader

UNREADABLE = (StoreCorrupt, Rejected, ValueError, KeyError, IndexError)  # what spoilt data makes a reader raise


class LogCheck:
    """The looks of one process at one log; tiles that are as they were are not hashed again."""

    def __init__(self, reader: LogReader, memory: Memory, key: Ed25519PrivateKey, master: MasterKey) -> None:
        """`key`: the notary's, by which its own checkpoints are known."""
        self._reader, self._memory, self._key, self._master = reader, memory, key, master
        self._audit = AuditCheck(reader, master) if reader.name == keys.AUDIT_LOG else None
        self._known: Digests = {}
        self.shown: set[str] | None = None  # what Redis may hold as the checkpoint; None: this process has just begun

    @property
    def is_audit(self) -> bool:
        """Whether it is the audit log, which has entries and no raw records."""
        return self._audit is not None

    def is_early(self, extent: Extent) -> bool:
        """Whether no engine has taken the log up yet: what an older version folded has neither nodes nor lines."""
        return self._audit is None and not extent.since and self._memory.since is None

    def look(self, extent: Extent, now_ms: int, *, whole: bool, thorough: bool = False) -> list[Finding]:
        """What is wrong. `whole`: also with what is old; `thorough`: also with what was looked at before."""
        if self.is_early(extent):
            return []
        findings = self._against_memory(extent)
        if whole:
            findings += check_tree(self._reader, extent, self._roots(findings), self._known)
        if self._audit is not None:
            return findings + self._audit.look(extent.size, whole=whole)
        walk = RecordCheck(self._reader, extent, self._master, self._memory.seen, thorough)
        return findings + (walk.whole(now_ms) if whole else walk.newest(now_ms))

    def forget(self) -> None:
        """Hash everything again."""
        self._known.clear()

    def _against_memory(self, extent: Extent) -> list[Finding]:
        """Is the tree that was signed last still there, by few reads, and its checkpoint?"""
        return [*self._since_changed(extent), *self._tree_replaced(extent), *self._checkpoint_replaced()]

    def _since_changed(self, extent: Extent) -> list[Finding]:
        memory = self._memory
        if memory.since is None:
            memory.since = extent.since
        if memory.since == extent.since:
            return []
        return [Finding("since-changed", extent.since, f"records were to have lines after {memory.since}")]

    def _tree_replaced(self, extent: Extent) -> list[Finding]:
        where, signed = f"size {self._memory.size}", self._memory.size
        if extent.size < signed:
            detail = f"{signed} leaves were signed, {extent.size} are left: an older state was put back, or cut"
            return [Finding("tree-shorter", where, detail)]
        if signed and not self._is_same_tree():
            return [Finding("forked", where, "another tree than was signed at this size")]
        return []

    def _checkpoint_replaced(self) -> list[Finding]:
        stored = self._reader.note()
        if stored is None:
            replaced = self.shown is not None
        else:
            replaced = self._own(stored) is None if self.shown is None else stored not in self.shown
        if not (self._memory.published and replaced):
            return []
        return [Finding("checkpoint-changed", f"size {self._memory.size}", "Redis holds another checkpoint")]

    def _is_same_tree(self) -> bool:
        try:
            return Tree(self._reader).frontier(self._memory.size).to_bytes() == self._memory.frontier.to_bytes()
        except MissingHash:
            return False

    def _roots(self, findings: list[Finding]) -> dict[int, bytes]:
        """Every root that was signed and is still known, by size. A kept checkpoint that is not ours is a finding."""
        roots = {self._memory.size: self._memory.frontier.root()} if self._memory.size else {}
        kept = self._reader.notes()
        ours = [point for point in map(self._own, kept) if point is not None]
        if len(ours) < len(kept) or (self._memory.published and len(kept) < self._memory.archived):
            detail = f"{self._memory.archived} were kept, {len(ours)} of {len(kept)} are signed by this notary"
            findings.append(Finding("checkpoint-changed", "kept checkpoints", detail))
        for point in ours:
            if point.origin == self._memory.origin:
                roots.setdefault(point.size, point.root)
        return roots

    def _own(self, signed: str) -> Checkpoint | None:
        try:
            point = checkpoint.read(signed)
            key = note.verifier_of(point.origin, LOG, self._key)
            return point if note.check(signed, [key])[1] else None
        except Rejected:
            return None
