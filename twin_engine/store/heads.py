"""Which snapshot of each patient of a shard is the newest: digests in one sealed list, written with every commit.

Who can write to the database and has no key could put an older snapshot of one patient back: it is sealed, and opens.
It is not the one of the list then. An older list names another cursor than the one that lies beside it; and an older
cursor, with all that belongs to it, is the rollback that the notary finds.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from security import canonical
from security.errors import Rejected
from security.keys import MasterKey
from twin_engine.store.commit import Commit

log = logging.getLogger(__name__)

_DIGEST_BYTES = 16
OLDER, UNSURE = "", "unsure"  # what is wrong: variants of the event put-back


@dataclass(frozen=True, slots=True)
class Heads:
    """Of one commit. `trusted` is False where the list itself is not the newest, or can't be read."""

    at: tuple[str, int] = ("", 0)  # cursor and tick of the commit that wrote it
    digests: Mapping[str, bytes] = field(default_factory=dict)
    trusted: bool = True

    def after(self, commit: Commit) -> Heads:
        """The list that the commit writes."""
        new = {write.patient: digest(write.snapshot) for write in commit.twins if write.snapshot is not None}
        return Heads((commit.cursor, commit.tick_us), {**self.digests, **new})

    def kept(self, patients: list[str]) -> Heads:
        """Without who is not here any more."""
        here = {patient: self.digests[patient] for patient in patients if patient in self.digests}
        return Heads(self.at, here, self.trusted)

    def wrong(self, patient: str, snapshot: bytes | None) -> str | None:
        """What is wrong with a stored snapshot; None where nothing is. Of whom nothing is known, nothing is said."""
        wanted = self.digests.get(patient)
        if not self.trusted:
            return None if snapshot is None and wanted is None else UNSURE
        return None if wanted is None or (snapshot is not None and digest(snapshot) == wanted) else OLDER

    def sealed(self, master: MasterKey, shard: str) -> bytes:
        """For the store."""
        return master.wrap(canonical.encode([list(self.at), dict(self.digests)]), context(shard))


def read_heads(blob: bytes | None, master: MasterKey, shard: str, at: tuple[str, int]) -> Heads:
    """The stored list. `at`: cursor and tick as they lie beside it. None was written before there were lists."""
    if blob is None:
        if at[1]:
            log.warning(
                "shard %s has no list of its newest snapshots yet: an older one would not be noticed now", shard
            )
        return Heads()
    try:
        (cursor, tick_us), digests = canonical.decode(master.unwrap(blob, context(shard)), "a list of snapshots")
        found = Heads((str(cursor), int(tick_us)), {str(p): bytes(d) for p, d in digests.items()})
    except (Rejected, ValueError, TypeError, AttributeError) as error:
        log.error(
            "the list of the newest snapshots of shard %s can't be read (%s): older ones may lie there", shard, error
        )
        return Heads(trusted=False)
    if found.at != at:
        log.error(
            "expected the list of the newest snapshots of shard %s to be that of the last commit (%s), got that of %s: "
            "an older one was put back, or an older version ran meanwhile; older snapshots may lie there",
            shard, at[0], found.at[0],
        )  # fmt: skip
        return Heads(found.at, found.digests, trusted=False)
    return found


def digest(snapshot: bytes) -> bytes:
    """Of an unsealed snapshot: a new version of her key seals the same one."""
    return hashlib.sha256(snapshot).digest()[:_DIGEST_BYTES]


def context(shard: str) -> bytes:
    """Of a sealed list."""
    return b"heads|" + shard.encode()
