"""The device's memory of what it has sealed and nobody has receipted: put before send, freed only by a receipt.

One SQLite file in WAL mode with ``synchronous=FULL``: a put is on disk (fsync) when it returns; each WAL frame carries
a checksum, so a write torn by a power cut is left out and everything before it is read back; freeing in the middle is
cheap, which an append-only file would need compaction for. Envelopes are kept and given back byte for byte. A session's
open record and receipt keys live beside its envelopes and go with the last of them.

The spool is bounded: beyond `max_bytes` the oldest envelopes are dropped, counted for good, and reported. The file also
holds the boot epoch. What it needs of secrecy: envelopes are ciphertext; receipt keys can forge receipts to this
device, so the file is 0600. Thread-safe; one process at a time, a second one is refused.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

MAX_BYTES = 256 * 1024 * 1024  # at 2 s a frame and 2 KB: about three days
_PRIVATE = 0o600
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS session (sid BLOB PRIMARY KEY, lane INTEGER NOT NULL, open_record BLOB NOT NULL,
    state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS envelope (id INTEGER PRIMARY KEY AUTOINCREMENT, lane INTEGER NOT NULL, sid BLOB NOT NULL,
    seq INTEGER NOT NULL, readings INTEGER NOT NULL, body BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS by_seq ON envelope (sid, seq);
CREATE INDEX IF NOT EXISTS by_lane ON envelope (lane, id);
"""
_NEXT = "SELECT id, sid, seq, body FROM envelope WHERE lane = ? AND id > ? ORDER BY id LIMIT 1"
_GET = "SELECT id, sid, seq, body FROM envelope WHERE id = ?"
_RANGE = "SELECT id, LENGTH(body) FROM envelope WHERE sid = ? AND seq BETWEEN ? AND ?"
_OLDEST = "SELECT id, LENGTH(body), readings FROM envelope ORDER BY id"
_TOTALS = "SELECT COALESCE(SUM(LENGTH(body)), 0), COUNT(*) FROM envelope"
_DELETE = "DELETE FROM envelope WHERE id = ?"


class SpoolError(Exception):
    """The spool can't be used, or can't take an envelope: it is in use, the disk is full or failing."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """An envelope that waits for its receipt. `id` grows in the order of sealing."""

    id: int
    sid: bytes
    seq: int
    body: bytes


@dataclass(frozen=True, slots=True)
class StoredSession:
    """What a session's envelopes need after a restart."""

    sid: bytes
    lane: int
    open_record: bytes
    state: bytes  # checks its receipts


class Spool:
    """Envelopes on disk. Every call may take a few ms (fsync): not for an event loop."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES) -> None:
        """Opens or makes the spool at `path`. A damaged file is set aside and named in `damaged`."""
        self.damaged: Path | None = None
        self._path, self._max_bytes, self._lock = path, max_bytes, Lock()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._db = _open(path)
        except sqlite3.OperationalError as error:
            raise SpoolError(f"expected a spool at {path} that nobody else uses, got: {error}; not started") from error
        except sqlite3.DatabaseError:
            self.damaged = _set_aside(path)
            self._db = _open(path)
        size, count = self._db.execute(_TOTALS).fetchone()
        self._size, self._count = int(size), int(count)
        self._dropped = self._meta("dropped")
        self._dropped_readings = self._meta("dropped_readings")

    @property
    def count(self) -> int:
        """Envelopes that wait for a receipt."""
        return self._count

    @property
    def size(self) -> int:
        """Their size in bytes."""
        return self._size

    @property
    def dropped(self) -> tuple[int, int]:
        """(envelopes, readings) that were dropped for want of room since the spool was made."""
        return self._dropped, self._dropped_readings

    def next_epoch(self, now_ms: int) -> int:
        """A boot epoch higher than every one before, on disk when it returns.

        Unix seconds where they are higher than the last epoch plus one: should the disk be lost, its successor does
        not repeat epochs under which an engine has already seen (and would quietly deduplicate) other readings.
        """
        epoch = max(self._meta("epoch") + 1, now_ms // 1000)
        with self._writing() as db:
            _set_meta(db, "epoch", epoch)
        return epoch

    def add_session(self, session: StoredSession) -> None:
        """Before the first envelope of the session."""
        row = (session.sid, session.lane, session.open_record, session.state)
        with self._writing() as db:
            db.execute("INSERT INTO session VALUES (?, ?, ?, ?)", row)

    def sessions(self) -> list[StoredSession]:
        """Every session that still has envelopes, or may get some."""
        with self._lock:
            rows = self._db.execute("SELECT sid, lane, open_record, state FROM session").fetchall()
        return [StoredSession(*row) for row in rows]

    def forget_empty_sessions(self, but: Sequence[bytes]) -> list[bytes]:
        """Deletes sessions without envelopes, except those that are still sealed in. Returns whom it deleted."""
        with self._writing() as db:
            rows = db.execute("SELECT sid FROM session WHERE sid NOT IN (SELECT DISTINCT sid FROM envelope)").fetchall()
            gone = [sid for (sid,) in rows if sid not in but]
            db.executemany("DELETE FROM session WHERE sid = ?", [(sid,) for sid in gone])
        return gone

    def put(self, lane: int, sid: bytes, seq: int, body: bytes, readings: int) -> int:
        """Keeps an envelope; on disk when it returns. Drops the oldest where there is no room. Returns its id."""
        with self._writing() as db:
            freed = self._make_room(db, len(body))
            row = (lane, sid, seq, readings, body)
            cursor = db.execute("INSERT INTO envelope (lane, sid, seq, readings, body) VALUES (?, ?, ?, ?, ?)", row)
        self._count += 1 - freed[0]
        self._size += len(body) - freed[1]
        return int(cursor.lastrowid or 0)

    def next(self, lane: int, after: int) -> Spooled | None:
        """The oldest envelope of the lane with an id above `after`."""
        return self._spooled(_NEXT, lane, after)

    def get(self, envelope_id: int) -> Spooled | None:
        """That envelope, or None where it was freed or dropped."""
        return self._spooled(_GET, envelope_id)

    def free(self, sid: bytes, upto: int, extra: Sequence[tuple[int, int]]) -> list[int]:
        """Frees every envelope of the session with seq <= `upto` or in an inclusive range. Returns their ids.

        The caller has checked the receipt.
        """
        gone = list[tuple[int, int]]()
        with self._writing() as db:
            for first, last in [(0, upto), *extra]:
                gone += db.execute(_RANGE, (sid, first, last)).fetchall()
            db.executemany(_DELETE, [(envelope_id,) for envelope_id, _ in gone])
        self._count -= len(gone)
        self._size -= sum(size for _, size in gone)
        return [envelope_id for envelope_id, _ in gone]

    def close(self) -> None:
        """Safe to call twice."""
        with self._lock:
            self._db.close()

    def _make_room(self, db: sqlite3.Connection, size: int) -> tuple[int, int]:
        """Deletes the oldest until `size` bytes fit. Returns (envelopes, bytes) deleted."""
        over, gone, readings = self._size + size - self._max_bytes, list[tuple[int, int]](), 0
        if over <= 0:
            return 0, 0
        freed = 0
        for envelope_id, length, held in db.execute(_OLDEST):
            if freed >= over:
                break
            gone.append((envelope_id, length))
            freed, readings = freed + length, readings + held
        db.executemany(_DELETE, [(envelope_id,) for envelope_id, _ in gone])
        self._dropped, self._dropped_readings = self._dropped + len(gone), self._dropped_readings + readings
        _set_meta(db, "dropped", self._dropped)
        _set_meta(db, "dropped_readings", self._dropped_readings)
        return len(gone), freed

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise SpoolError(f"expected to write to {self._path}, got: {error}; nothing was changed") from error

    def _spooled(self, query: str, *values: int) -> Spooled | None:
        row = self._one(query, *values)
        return Spooled(*row) if row else None

    def _meta(self, name: str) -> int:
        row = self._one("SELECT value FROM meta WHERE name = ?", name)
        return int(row[0]) if row else 0

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        with self._lock:
            try:
                return self._db.execute(query, values).fetchone()  # type: ignore[no-any-return]
            except sqlite3.Error as error:
                raise SpoolError(f"expected to read {self._path}, got: {error}; envelopes in it wait") from error


def _set_meta(db: sqlite3.Connection, name: str, value: int) -> None:
    db.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value))


def _open(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, _PRIVATE))
    db = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(_SCHEMA)
        if db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("the quick check failed")
        db.execute("BEGIN EXCLUSIVE")
        db.execute("COMMIT")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _set_aside(path: Path) -> Path:
    """A damaged spool is kept for a person to look at, and never read again by this code."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return aside
