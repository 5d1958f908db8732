"""Proof bundles: what ``everbeat verify --proof`` checks offline (:mod:`security.proofs`), made from a stored log.

A bundle needs of Redis what :mod:`twin_engine.store.log` reads: the web's reading user may. With envelopes also XRANGE
on ``eb:*:raw``, which the web may not, and the notary may.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from security import checkpoint, proofs
from security.errors import Rejected
from security.tiles import MissingHash, Tree
from twin_engine.store import keys
from twin_engine.store.connection import Client, translated
from twin_engine.store.errors import StoreCorrupt
from twin_engine.store.log import LogReader, read_state
from twin_engine.store.log_records import MAX_RECORDS, LogRecord


def proof_bundle(
    client: Client,
    shard: str,
    wanted: Sequence[LogRecord],
    *,
    since_ms: int | None = None,
    since_size: int | None = None,
    envelopes: bool = False,
) -> dict[str, Any]:
    """A bundle for ``everbeat verify --proof`` (:mod:`security.proofs`): each record's proof to the newest checkpoint.

    `since_ms`: also that the log only grew since the checkpoint that was kept last at that time; `since_size`: since a
    tree of that size, for who brings its checkpoint. Records above the checkpoint are left out. Raises StoreCorrupt
    where the store can't prove (no checkpoint yet, hashes missing), ValueError on more than :data:`MAX_RECORDS`.
    """
    if len(wanted) > MAX_RECORDS:
        raise ValueError(f"expected at most {MAX_RECORDS} records in one bundle, got {len(wanted)}; none was made")
    reader = LogReader(client, shard)
    signed = reader.note()
    if signed is None:
        raise StoreCorrupt(f"expected a checkpoint of the log {shard}, got none; run 'everbeat notary'")
    try:
        size, tree = checkpoint.read(signed).size, Tree(reader)
        bundle = proofs.new_bundle(signed, str(read_state(client).get(shard, {}).get("key", "")))
        for record in wanted:
            if record.index < size:
                steps = tree.inclusion(record.index, size)
                envelope = _envelope(client, shard, record.entry.stream_id) if envelopes else None
                bundle["records"].append(proofs.record_json(record.index, record.entry, steps, envelope))
        if since_ms is not None and (kept := reader.notes(since_ms)):
            earlier = checkpoint.read(kept[0])
            bundle["earlier"] = proofs.earlier_json(kept[0], earlier.size, tree.consistency(earlier.size, size))
        elif since_size is not None:
            bundle["earlier"] = proofs.earlier_json("", since_size, tree.consistency(since_size, size))
    except (MissingHash, Rejected, IndexError) as error:
        raise StoreCorrupt(f"log {shard}: {error}") from error
    return bundle


def to_file(bundle: dict[str, Any]) -> str:
    """The bundle as people download it."""
    return json.dumps(bundle, indent=1) + "\n"


def _envelope(client: Client, shard: str, record_id: str) -> bytes | None:
    with translated():
        found = client.xrange(keys.raw(shard), min=record_id, max=record_id)
    return base64.b64encode(found[0][1][b"body"]) if found and b"body" in found[0][1] else None
