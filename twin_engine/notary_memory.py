"""What the notary remembers of a log, outside Redis: what it signed, and what it saw. One private file a log.

It is written before what it remembers is published, so that after any crash nothing was signed that is not known.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from security import files
from security.errors import SecurityError
from security.tiles import Grower
from twin_engine.store.fsck import Finding, Seen, before_bucket

# What these say of the tree can't be undone: a log that is no extension of what was signed is never signed again.
OF_THE_TREE = frozenset({
    "tree-shorter", "forked", "leaf-changed", "leaves-missing", "nodes-missing", "node-changed", "witness-disagrees",
})  # fmt: skip

_MOST = 40  # findings that are kept: the file stays below what private files may hold


@dataclass(slots=True)
class Memory:
    """One log. `frontier` is the growing end of the last signed tree; `published` the note as Redis must hold it."""

    origin: str
    generation: int = 1
    frontier: Grower = field(default_factory=Grower)
    published: str = ""
    signed_ms: int = 0
    upto_ms: int = 0  # every record that was stored by then is in the signed tree, or is known to have no leaf
    archived: int = 0  # checkpoints kept in Redis, and when the last one was
    archived_ms: int = 0
    since: str | None = None
    witnesses: dict[str, int] = field(default_factory=dict)  # name -> size it cosigned last
    alarm: list[Finding] = field(default_factory=list)
    alarm_ms: int = 0
    accepted: set[tuple[str, str]] = field(default_factory=set)
    seen: Seen = field(default_factory=Seen)

    @property
    def size(self) -> int:
        """Leaves of the last signed tree."""
        return self.frontier.size

    @property
    def is_broken(self) -> bool:
        """Whether the tree itself is not what was signed."""
        return any(finding.kind in OF_THE_TREE for finding in self.alarm)

    def raise_alarm(self, findings: list[Finding], now_ms: int) -> list[Finding]:
        """Keep what is new of `findings`, and return it. An alarm stays until somebody accepts it."""
        known = {(f.kind, f.where) for f in self.alarm} | self.accepted
        new = [f for f in findings if (f.kind, f.where) not in known][: max(0, _MOST - len(self.alarm))]
        if new and not self.alarm:
            self.alarm_ms = now_ms
        self.alarm += new
        return new

    def origin_after(self, origin_of: str) -> str:
        """Under which name the log, which began as `origin_of`, goes on once its alarm is accepted."""
        return f"{origin_of}/{self.generation + 1}" if self.is_broken else self.origin

    def accept(self, origin_of: str) -> None:
        """Somebody knows of the alarm. A tree that is broken goes on as a new log under a new name."""
        if self.is_broken:
            self.origin = self.origin_after(origin_of)
            self.generation += 1
            self.frontier, self.published, self.archived, self.witnesses = Grower(), "", 0, {}
        self.accepted |= {(f.kind, f.where) for f in self.alarm if f.kind not in OF_THE_TREE}
        self.alarm, self.alarm_ms, self.since, self.seen = [], 0, None, Seen()

    def to_json(self) -> str:
        """For its file. Of young records nothing is kept: they are looked at again."""
        sealed = self.seen.sealed
        facts: dict[str, Any] = {
            "origin": self.origin, "generation": self.generation,
            "frontier": base64.b64encode(self.frontier.to_bytes()).decode(), "published": self.published,
            "signed_ms": self.signed_ms, "upto_ms": self.upto_ms,
            "archived": self.archived, "archived_ms": self.archived_ms,
            "since": self.since, "witnesses": self.witnesses, "alarm_ms": self.alarm_ms,
            "alarm": [[f.kind, f.where[:200], f.detail[:200]] for f in self.alarm],
            "accepted": sorted(self.accepted)[-100:],
            "upto": before_bucket(max(sealed) + 1) if sealed else "0-0", "sealed": sealed,
        }  # fmt: skip
        return json.dumps(facts)

    @classmethod
    def from_json(cls, text: str) -> Memory:
        """The inverse of :meth:`to_json`. Raises SecurityError on anything else."""
        try:
            facts = json.loads(text)
            frontier = Grower.from_bytes(base64.b64decode(facts["frontier"]))
            sealed = {int(bucket): str(digest) for bucket, digest in facts["sealed"].items()}
            return cls(
                facts["origin"], facts["generation"], frontier, facts["published"], facts["signed_ms"],
                facts["upto_ms"], facts["archived"], facts["archived_ms"], facts["since"], facts["witnesses"],
                [Finding(*parts) for parts in facts["alarm"]], facts["alarm_ms"],
                {(kind, where) for kind, where in facts["accepted"]}, Seen({}, sealed, facts["upto"]),
            )  # fmt: skip
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise SecurityError(
                f"expected what the notary remembers of a log, got {error}; it signs nothing: restore the file, or "
                "remove it and tell your witnesses"
            ) from error


def load(path: Path, origin: str) -> Memory:
    """What is remembered of the log that began as `origin`; an empty memory where there is no file."""
    return Memory.from_json(files.read_private(path).decode()) if path.exists() else Memory(origin)


def save(path: Path, memory: Memory) -> None:
    """On disk when it returns."""
    files.write_private(path, memory.to_json().encode())
