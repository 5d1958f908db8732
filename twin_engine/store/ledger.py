"""The growing end of a log: entries, leaves and inner nodes, put into a transaction that somebody else commits.

For each raw record that was folded there is one line in the stream of entries, under the record's own id: the entry
that the leaf hashes and its index, or the reason why it has none (open, duplicate, answer, dead, throttled). Lines are
kept as long as raw records are; leaves and the roots of complete subtrees of 256 are kept for good. One writer a log.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from security.merkle import leaf_hash
from security.tiles import TILE, TILE_LEVELS, Grower, MissingHash, Tree, tile_root
from twin_engine.store import keys
from twin_engine.store.connection import Client, translated
from twin_engine.store.errors import StoreCorrupt

log = logging.getLogger(__name__)

VERDICTS = frozenset({"open", "duplicate", "answer", "dead", "throttled"})
SINCE = "ledger_from"  # field of the cursor, written once: records up to this id were folded before there were lines


class Line(NamedTuple):
    """What became of one raw record: an entry of the log, or a verdict."""

    record: str
    entry: bytes = b""
    verdict: str = ""


class StoredHashes:
    """Leaves and nodes of one log in Redis: what :class:`security.tiles.Tree` reads."""

    def __init__(self, client: Client, name: str) -> None:
        self.client, self.name = client, name

    def read(self, level: int, start: int, count: int) -> list[bytes]:
        """Hashes of a level. Raises StoreDown."""
        with translated():
            return list(self.client.lrange(keys.nodes(self.name, level), start, start + count - 1))

    def length(self, level: int) -> int:
        """How many hashes of a level are stored."""
        with translated():
            return int(self.client.llen(keys.nodes(self.name, level)))


class Ledger:
    """A log as its one writer sees it. A commit that failed is followed by :meth:`forget`."""

    def __init__(self, client: Client, name: str) -> None:
        self._client, self._name = client, name
        self._tree: Grower | None = None
        self._at = -1  # of the reply to the last append, in its transaction

    @property
    def size(self) -> int:
        """Number of leaves; 0 before :meth:`load`."""
        return self._tree.size if self._tree else 0

    def load(self) -> None:
        """Read the growing end from the store, unless it is known. Makes nodes that an older version did not store.

        Raises StoreDown, and StoreCorrupt where what is stored is no tree.
        """
        if self._tree is not None:
            return
        hashes = StoredHashes(self._client, self._name)
        size = hashes.length(0)
        try:
            self._make_nodes(hashes, size)
            self._tree = Tree(hashes).frontier(size)
        except MissingHash as error:
            raise StoreCorrupt(f"log {self._name}: {error}; nothing is appended to it") from error
        self._note_first_line()  # from now on the notary looks at it

    def forget(self) -> None:
        """What is in the store may be another than thought: read it again before the next append."""
        self._tree = None

    def append(self, batch: Client, lines: Sequence[Line]) -> None:
        """Queue lines, leaves and nodes. The caller has loaded, and commits `batch`."""
        self._at = -1
        if self._tree is None or not lines:
            return
        stream, leaves = keys.entries(self._name), list[bytes]()
        for record, entry, verdict in lines:  # the plain command: redis-py's xadd() costs more than Redis' own work
            if entry:
                batch.execute_command("XADD", stream, record, "i", self._tree.size + len(leaves), "e", entry)
                leaves.append(leaf_hash(entry))
            else:
                batch.execute_command("XADD", stream, record, "v", verdict)
        self.push(batch, leaves)

    def push(self, batch: Client, leaves: Sequence[bytes]) -> None:
        """Queue leaf hashes and the nodes that they complete."""
        self._at = -1
        if self._tree is None or not leaves:
            return
        for leaf in leaves:
            self._tree.append(leaf)
        batch.rpush(keys.leaves(self._name), *leaves)
        self._at = len(batch.command_stack) - 1
        for level, node in self._tree.take_completed():
            batch.rpush(keys.nodes(self._name, level), node)

    def settle(self, replies: Sequence[Any]) -> None:
        """Hear what the transaction answered. A list of another length than ours was tampered with: told, never hidden.

        The twin goes on: the notary raises the alarm, and nothing here can mend what was lost.
        """
        if self._at < 0 or self._tree is None or int(replies[self._at]) == self._tree.size:
            return
        log.error(
            "expected %d leaves in the log %s, got %d: the list was changed by somebody else; the notary will say so",
            self._tree.size, self._name, int(replies[self._at]),
        )  # fmt: skip
        self.forget()

    def _note_first_line(self) -> None:
        """Say once from which record on there are lines: after those that an older version folded without."""
        if self._name == keys.AUDIT_LOG:
            return
        cursor = keys.cursor(self._name)
        with translated():
            folded, since = self._client.hmget(cursor, "id", SINCE)
            if since is None:
                lines = self._client.exists(keys.entries(self._name))
                self._client.hset(cursor, SINCE, b"0-0" if folded is None or lines else folded)

    def _make_nodes(self, hashes: StoredHashes, size: int) -> None:
        level, below = TILE_LEVELS, size
        while below >= TILE:
            stored, wanted = hashes.length(level), below // TILE
            if stored > wanted:
                log.error("expected %d nodes at level %d of the log %s, got %d", wanted, level, self._name, stored)
            for number in range(stored, wanted):
                node = tile_root(hashes.read(level - TILE_LEVELS, number * TILE, TILE))
                with translated():
                    self._client.rpush(keys.nodes(self._name, level), node)
            level, below = level + TILE_LEVELS, wanted
