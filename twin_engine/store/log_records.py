"""The log's records for people: found by device and time, or by their place in the log. Nothing is proven here."""

from __future__ import annotations

from dataclasses import dataclass

from security import checkpoint
from security.errors import Rejected
from security.log import RecordEntry, read_record_entry
from security.merkle import leaf_hash
from twin_engine.store import keys
from twin_engine.store.connection import Client, translated
from twin_engine.store.log import CHUNK, LogReader

MAX_RECORDS = 5000  # in one answer, and in one bundle of proofs
_LOOK_AT = 20_000  # lines, for the newest records of one device


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record of the log, for people: its fields, its hashes, and whether a checkpoint covers it."""

    index: int
    entry: RecordEntry
    leaf: bytes
    covered: bool


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


def newest_records(client: Client, shard: str, device: str, t0_ms: int, t1_ms: int, limit: int) -> list[LogRecord]:
    """The last `limit` that :func:`records` would give, newest first; looks at no more than 20,000 lines."""
    reader = LogReader(client, shard)
    covered, found, looked, upto = _covered(reader), list[LogRecord](), 0, str(t1_ms)
    while looked < _LOOK_AT:
        with translated():
            lines = client.xrevrange(keys.entries(shard), max=upto, min=str(t0_ms), count=CHUNK)
        for entry_id, fields in lines:
            upto = f"({entry_id.decode()}"
            record = _record(fields, covered)
            if record is not None and record.entry.device == device:
                found.append(record)
                if len(found) >= limit:
                    return found
        looked += len(lines)
        if len(lines) < CHUNK:
            break
    return found


def record_by_index(client: Client, shard: str, index: int) -> LogRecord | None:
    """The record that is leaf `index`; None where its entry is not there (any more)."""
    reader = LogReader(client, shard)
    covered = _covered(reader)
    for _, fields in reader.lines("0-0"):
        if int(fields.get(b"i", b"-1")) == index:
            return _record(fields, covered)
    return None


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
