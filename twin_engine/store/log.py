"""A log as its readers see it: how long it is, its leaves, lines and checkpoints, and what the notary says of it.

Everything here only reads: LRANGE and LLEN on ``eb:*:leaves`` and ``eb:*:nodes:*``, XRANGE on ``eb:*:entries`` and
``eb:*:notes``, GET on ``eb:*:note``, HMGET on the cursor, HGETALL on ``eb:log:state``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from twin_engine.store import keys
from twin_engine.store.connection import Client, translated
from twin_engine.store.ledger import SINCE, StoredHashes

LEVELS = (8, 16, 24)
CHUNK = 500  # entries of a stream in one read


@dataclass(frozen=True, slots=True)
class Extent:
    """How long a log is at one moment, its lists together; what lies below never changes."""

    size: int
    cursor: str  # the last raw record folded
    since: str  # records up to here have no lines: an older version folded them; empty: no engine has said so yet
    nodes: dict[int, int]  # level -> how many


class LogReader(StoredHashes):
    """One log: a shard's, or the audit log. Methods raise StoreDown, StoreCorrupt."""

    def extent(self) -> Extent:
        """Sizes and cursor as one commit left them."""
        with translated(), self.client.pipeline(transaction=True) as batch:
            batch.llen(keys.leaves(self.name))
            batch.hmget(keys.cursor(self.name), "id", SINCE) if self.name != keys.AUDIT_LOG else batch.ping()
            for level in LEVELS:
                batch.llen(keys.nodes(self.name, level))
            size, at, *counts = batch.execute()
        cursor, since = at if isinstance(at, list) else (None, None)
        nodes = dict(zip(LEVELS, (int(n) for n in counts), strict=True))
        return Extent(int(size), (cursor or b"0-0").decode(), (since or b"").decode(), nodes)

    def lines(self, after: str, upto: str = "+") -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
        """Entries of the stream of lines with ids above `after` up to `upto`, in order."""
        return stream(self.client, keys.entries(self.name), after, upto)

    def note(self) -> str | None:
        """The newest checkpoint, unproven."""
        with translated():
            found = self.client.get(keys.note(self.name))
        return None if found is None else found.decode(errors="replace")

    def notes(self, upto_ms: int | None = None) -> list[str]:
        """Checkpoints that were kept, one an hour, oldest first; `upto_ms`: only the newest that was kept by then."""
        with translated():
            if upto_ms is not None:
                found = self.client.xrevrange(keys.notes(self.name), max=str(upto_ms), count=1)
            else:
                found = self.client.xrange(keys.notes(self.name))
        return [fields.get(b"n", b"").decode(errors="replace") for _, fields in found]


def stream(client: Client, key: str, after: str, upto: str = "+") -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
    """Entries of a stream with ids above `after`, in order, read in chunks."""
    found = [None] * CHUNK
    while len(found) == CHUNK:
        with translated():
            found = client.xrange(key, min=f"({after}", max=upto, count=CHUNK)
        for entry_id, fields in found:
            after = entry_id.decode()
            yield entry_id, fields


def order(record_id: bytes | str) -> tuple[int, int]:
    """An id of a stream as Redis orders it."""
    return keys.written(record_id.decode() if isinstance(record_id, bytes) else record_id)


def read_state(client: Client) -> dict[str, dict[str, Any]]:
    """log -> what the notary last said of it (see docs/operations.md); empty where there is no notary."""
    with translated():
        found = client.hgetall(keys.LOG_STATE)
    return {name.decode(): json.loads(text) for name, text in found.items()}
