"""A log as its readers see it: leaves, lines, checkpoints, and proof bundles for whoever asks.

Everything here only reads. A bundle (:func:`proof_bundle`) needs of Redis: LRANGE and LLEN on ``eb:*:leaves`` and
``eb:*:nodes:*``, XRANGE on ``eb:*:entries`` and ``eb:*:notes``, GET on ``eb:*:note``, HGETALL on ``eb:log:state``: the
web's reading user has these. With envelopes also XRANGE on ``eb:*:raw``, which the web has not, and the notary has.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from security import checkpoint, proofs
from security.errors import Rejected
from security.log import RecordEntry, read_record_entry
from security.merkle import leaf_hash
from security.tiles import MissingHash, Tree
from twin_engine.registry import Assignments
from twin_engine.store import keys
from twin_engine.store.connection import Client, translated
from twin_engine.store.errors import StoreCorrupt
from twin_engine.store.ledger import SINCE, StoredHashes

LEVELS = (8, 16, 24)
MAX_RECORDS = 5000  # in one bundle
_CHUNK = 500
_LOOK_AT = 20_000  # lines, for the newest records of one device


@dataclass(frozen=True, slots=True)
class Extent:
    """How long a log is at one moment, its lists together; what lies below never changes."""

    size: int
    cursor: str  # the last raw record folded
    since: str  # records up to here have no lines: an older version folded them; empty: no engine has said so yet
    nodes: dict[int, int]  # level -> how many


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record of the log, for people: its fields, its hashes, and whether a checkpoint covers it."""

    index: int
    entry: RecordEntry
    leaf: bytes
    covered: bool


@dataclass(frozen=True, slots=True)
class Held:
    """A device was one patient's from `t0_ms` to `t1_ms`, both inclusive."""

    device: str
    t0_ms: int
    t1_ms: int


class LogReader(StoredHashes):
    """One log: a shard's, or the audit log. Methods raise StoreDown, StoreCorrupt."""

    def __init__(self, client: Client, name: str) -> None:
        super().__init__(client, name)
        self.client, self.name = client, name

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
    found = [None] * _CHUNK
    while len(found) == _CHUNK:
        with translated():
            found = client.xrange(key, min=f"({after}", max=upto, count=_CHUNK)
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


def records(
    client: Client, shard: str, device: str, t0_ms: int, t1_ms: int, limit: int = MAX_RECORDS
) -> list[LogRecord]:
    """The log's records of a device that arrived from t0 to t1 (ms, the store's clock), oldest first."""
    reader = LogReader(client, shard)
    covered, found = _covered(reader), list[LogRecord]()
    for _, fields in reader.lines(f"{max(0, t0_ms - 1)}-{2**64 - 1}", str(t1_ms)):
        record = _record(fields, covered)
        if record is not None and record.entry.device == device:
            found.append(record)
            if len(found) >= limit:
                break
    return found


def newest_records(reader: LogReader, device: str, t0_ms: int, t1_ms: int, limit: int) -> list[LogRecord]:
    """The last `limit` records of a device that arrived from t0 to t1, newest first."""
    covered, found, looked, upto = _covered(reader), list[LogRecord](), 0, str(t1_ms)
    while looked < _LOOK_AT:
        with translated():
            lines = reader.client.xrevrange(keys.entries(reader.name), max=upto, min=str(t0_ms), count=_CHUNK)
        for entry_id, fields in lines:
            upto = f"({entry_id.decode()}"
            record = _record(fields, covered)
            if record is not None and record.entry.device == device:
                found.append(record)
                if len(found) >= limit:
                    return found
        looked += len(lines)
        if len(lines) < _CHUNK:
            break
    return found


def record_at(client: Client, shard: str, record_id: str) -> LogRecord | None:
    """The record with an id in the raw stream, or None where it has no entry in the log (or no longer)."""
    reader = LogReader(client, shard)
    with translated():
        found = client.xrange(keys.entries(shard), min=record_id, max=record_id)
    return _record(found[0][1], _covered(reader)) if found else None


def record_by_index(client: Client, shard: str, index: int) -> LogRecord | None:
    """The record that is leaf `index`; None where its entry is not there (any more)."""
    reader = LogReader(client, shard)
    covered = _covered(reader)
    for _, fields in reader.lines("0-0"):
        if int(fields.get(b"i", b"-1")) == index:
            return _record(fields, covered)
    return None


def proof_bundle(
    client: Client,
    shard: str,
    wanted: Sequence[LogRecord],
    *,
    since_ms: int | None = None,
    since_size: int | None = None,
    since_note: str | None = None,
    envelopes: bool = False,
) -> dict[str, Any]:
    """A bundle for ``everbeat verify --proof`` (:mod:`security.proofs`): each record's proof to the newest checkpoint.

    `since_ms`: also that the log only grew since the checkpoint that was kept last at that time; `since_size`: since a
    tree of that size, for who brings its checkpoint; `since_note`: since that checkpoint, which goes with it. Records
    above the checkpoint are left out. Raises StoreCorrupt where the store can't prove (no checkpoint yet, hashes
    missing), ValueError on more than :data:`MAX_RECORDS`.
    """
    if len(wanted) > MAX_RECORDS:
        raise ValueError(f"expected at most {MAX_RECORDS} records in one bundle, got {len(wanted)}; none was made")
    reader = LogReader(client, shard)
    signed = reader.note()
    try:
        point = None if signed is None else checkpoint.read(signed)
        if signed is None or point is None:
            raise StoreCorrupt(f"expected a checkpoint of the log {shard}, got none; run 'everbeat notary'")
        tree = Tree(reader)
        key = read_state(client).get(shard, {}).get("key", "")
        bundle = proofs.new_bundle(signed, str(key))
        for record in wanted:
            if record.index < point.size:
                steps = tree.inclusion(record.index, point.size)
                envelope = _envelope(client, shard, record.entry.stream_id) if envelopes else None
                bundle["records"].append(proofs.record_json(record.index, record.entry, steps, envelope))
        if since_ms is not None:
            since_note = next(iter(reader.notes(since_ms)), None)
        if since_note is not None:
            earlier = checkpoint.read(since_note)
            bundle["earlier"] = proofs.earlier_json(
                since_note, earlier.size, tree.consistency(earlier.size, point.size)
            )
        elif since_size is not None:
            bundle["earlier"] = proofs.earlier_json("", since_size, tree.consistency(since_size, point.size))
    except (MissingHash, Rejected, IndexError) as error:
        raise StoreCorrupt(f"log {shard}: {error}") from error
    return bundle


class LogFeed:
    """The logs for the web, by patient. The caller checks who asks, and asks for a device only while it was hers."""

    def __init__(self, client: Client, shards: int) -> None:
        self._client, self._shards = client, shards

    def state(self, patient: str) -> dict[str, Any]:
        """What the notary last said of the patient's log (docs/operations.md); empty where it never did."""
        with translated():
            found = self._client.hgetall(keys.LOG_STATE)
        text = found.get(keys.shard_of(patient, self._shards).encode())
        return dict(json.loads(text)) if text else {}

    def records(self, patient: str, device: str, t0_ms: int, t1_ms: int, limit: int = MAX_RECORDS) -> list[LogRecord]:
        """The log's records of a device of hers that arrived from t0 to t1."""
        return records(self._client, keys.shard_of(patient, self._shards), device, t0_ms, t1_ms, limit)

    def held(self, patient: str, t0_ms: int, t1_ms: int) -> list[Held]:
        """Which devices were hers from t0 to t1, each from when to when within it."""
        with translated():
            stored = self._client.hgetall(keys.assignments(keys.shard_of(patient, self._shards)))
        return [
            Held(device.decode(), max(t0_ms, a.from_ms), min(t1_ms, t1_ms if a.to_ms is None else a.to_ms - 1))
            for device, text in stored.items()
            for a in Assignments.from_json(text.decode()).history
            if a.patient == patient and a.from_ms <= t1_ms and (a.to_ms is None or a.to_ms > max(t0_ms, a.from_ms))
        ]

    def newest(self, patient: str, device: str, t0_ms: int, t1_ms: int, limit: int) -> list[LogRecord]:
        """The last `limit` that :meth:`records` would give, newest first; looks at no more than 20,000 lines."""
        reader = LogReader(self._client, keys.shard_of(patient, self._shards))
        return newest_records(reader, device, t0_ms, t1_ms, limit)

    def bundle(self, patient: str, wanted: Sequence[LogRecord], since_ms: int | None = None) -> dict[str, Any]:
        """:func:`proof_bundle` for records that :meth:`records` gave."""
        return proof_bundle(self._client, keys.shard_of(patient, self._shards), wanted, since_ms=since_ms)


def to_file(bundle: dict[str, Any]) -> str:
    """The bundle as people download it."""
    return json.dumps(bundle, indent=1) + "\n"


def _covered(reader: LogReader) -> int:
    signed = reader.note()
    try:
        return checkpoint.read(signed).size if signed else 0
    except Rejected:
        return 0


def _record(fields: dict[bytes, bytes], covered: int) -> LogRecord | None:
    if b"e" not in fields:
        return None
    try:
        index, entry = int(fields[b"i"]), fields[b"e"]
        return LogRecord(index, read_record_entry(entry), leaf_hash(entry), index < covered)
    except (Rejected, ValueError, KeyError):
        return None  # the notary says what is wrong with it


def _envelope(client: Client, shard: str, record_id: str) -> bytes | None:
    with translated():
        found = client.xrange(keys.raw(shard), min=record_id, max=record_id)
    return base64.b64encode(found[0][1][b"body"]) if found and b"body" in found[0][1] else None
