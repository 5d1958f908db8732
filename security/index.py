"""What the CA remembers: every certificate it issued or took in, which are revoked, and what is still to be told.

One SQLite file beside the CA's key. Every change is one transaction together with its audit event, which waits here
until the audit log takes it: who revokes a certificate while the store is down has it revoked at once, and told
later. The signed lists (``security.listing``) are made from here; the truth about a revocation is here and in the
list.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from security.audit import AuditEvent
from security.crl import Why
from security.errors import Reason, Rejected, SecurityError
from security.roles import common_name, role_of

INDEX = "index.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS certificate (
    serial TEXT PRIMARY KEY, role TEXT NOT NULL, name TEXT NOT NULL, der BLOB NOT NULL, issued_ms INTEGER NOT NULL,
    ends_ms INTEGER NOT NULL, replaces TEXT, late INTEGER NOT NULL DEFAULT 0, revoked_ms INTEGER, reason TEXT);
CREATE INDEX IF NOT EXISTS of_name ON certificate (role, name, issued_ms);
CREATE TABLE IF NOT EXISTS request (id BLOB PRIMARY KEY, until_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS number (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS told (id INTEGER PRIMARY KEY AUTOINCREMENT, event BLOB NOT NULL);
"""
_ROW = "serial, role, name, der, issued_ms, ends_ms, replaces, revoked_ms, reason"


@dataclass(frozen=True, slots=True)
class Issued:
    """One certificate. `role` is device, engine, server, or issuer for an intermediate."""

    serial: int
    role: str
    name: str
    certificate: x509.Certificate
    issued_ms: int
    ends_ms: int
    replaces: int | None  # the serial of the certificate whose key asked for this one
    revoked_ms: int | None
    why: Why | None


class Index:
    """The file's reader and writer; several processes may use it at once. Close it, or use it in a `with`."""

    def __init__(self, directory: Path) -> None:
        file = directory / INDEX
        try:
            os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(file, timeout=10.0, isolation_level=None)
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise SecurityError(f"expected the CA's index in {file}, got {error}; nothing was done") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    # ---------------------------------------------------------------------------------------------- certificates

    def add(
        self, certificate: x509.Certificate, now_ms: int, *, replaces: int | None = None, late: bool = False,
        told: AuditEvent | None = None,
    ) -> None:  # fmt: skip
        """Remember a certificate; one that is known stays as it is."""
        values = (
            _hex(certificate.serial_number), role_of(certificate), common_name(certificate),
            certificate.public_bytes(Encoding.DER), now_ms, int(certificate.not_valid_after_utc.timestamp() * 1000),
            None if replaces is None else _hex(replaces), late,
        )  # fmt: skip
        with self.exclusively():
            self._db.execute(
                "INSERT OR IGNORE INTO certificate (serial, role, name, der, issued_ms, ends_ms, replaces, late) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values
            )  # fmt: skip
            self._tell(told)

    def all(self) -> list[Issued]:
        """Every certificate, by role, name and time."""
        rows = self._db.execute(f"SELECT {_ROW} FROM certificate ORDER BY role, name, issued_ms, rowid")  # noqa: S608
        return [_issued(row) for row in rows]

    def find(self, serial: int) -> Issued | None:
        """The certificate of that serial number."""
        rows = self._db.execute(f"SELECT {_ROW} FROM certificate WHERE serial = ?", (_hex(serial),))  # noqa: S608
        return next((_issued(row) for row in rows), None)

    def of(self, role: str, name: str) -> list[Issued]:
        """All of one holder, the oldest first."""
        query = f"SELECT {_ROW} FROM certificate WHERE role = ? AND name = ? ORDER BY issued_ms, rowid"  # noqa: S608
        return [_issued(row) for row in self._db.execute(query, (role, name))]

    def is_barred(self, role: str, name: str) -> bool:
        """Whether the holder's newest certificate is revoked: only an officer makes a new one then."""
        mine = self.of(role, name)
        return bool(mine) and mine[-1].revoked_ms is not None

    def revoke(self, serials: Mapping[int, AuditEvent | None], why: Why, now_ms: int) -> None:
        """For good. One that is revoked already keeps its time and reason."""
        with self.exclusively():
            for serial, told in serials.items():
                changed = self._db.execute(
                    "UPDATE certificate SET revoked_ms = ?, reason = ? WHERE serial = ? AND revoked_ms IS NULL",
                    (now_ms, why.value, _hex(serial)),
                ).rowcount
                self._tell(told if changed else None)

    def was_late(self, serial: int) -> bool:
        """Whether a certificate was issued already because that one had expired."""
        query = "SELECT 1 FROM certificate WHERE replaces = ? AND late = 1"
        return self._db.execute(query, (_hex(serial),)).fetchone() is not None

    # ------------------------------------------------------------------------------------- requests and numbers

    def spend(self, request: bytes, until_ms: int, now_ms: int) -> None:
        """Note that a request was used; it is kept while it is fresh. Raises Rejected where it was used before."""
        with self.exclusively():
            self._db.execute("DELETE FROM request WHERE until_ms < ?", (now_ms,))
            row = self._db.execute("INSERT OR IGNORE INTO request VALUES (?, ?)", (request, until_ms))
            if not row.rowcount:
                raise Rejected(Reason.REPLAYED, "a new request", "one that was answered before", "nothing was issued")

    def next_number(self, name: str, at_least: int) -> int:
        """A number above all that were given under that name, `at_least` or more: also after the file was lost."""
        with self.exclusively():
            row = self._db.execute("SELECT value FROM number WHERE name = ?", (name,)).fetchone()
            value = max(at_least, row[0] + 1 if row else 0)
            self._db.execute("INSERT OR REPLACE INTO number VALUES (?, ?)", (name, value))
        return value

    # --------------------------------------------------------------------------------------------------- events

    def waiting(self, limit: int = 100) -> list[tuple[int, AuditEvent]]:
        """Audit events that the audit log has not taken yet, the oldest first, each with its number here."""
        rows = self._db.execute("SELECT id, event FROM told ORDER BY id LIMIT ?", (limit,))
        return [(number, AuditEvent.from_bytes(event)) for number, event in rows]

    def left_to_tell(self) -> int:
        """How many of them there are."""
        return int(self._db.execute("SELECT COUNT(*) FROM told").fetchone()[0])

    def was_told(self, number: int) -> None:
        """The audit log has it."""
        self._db.execute("DELETE FROM told WHERE id = ?", (number,))

    def tell(self, event: AuditEvent) -> None:
        """An event that belongs to no certificate."""
        self._tell(event)

    def _tell(self, event: AuditEvent | None) -> None:
        if event is not None:
            self._db.execute("INSERT INTO told (event) VALUES (?)", (event.to_bytes(),))

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """One transaction, while every other process waits; what is inside it belongs to it."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _hex(serial: int) -> str:
    return f"{serial:x}"


def _issued(row: tuple[str, str, str, bytes, int, int, str | None, int | None, str | None]) -> Issued:
    serial, role, name, der, issued_ms, ends_ms, replaces, revoked_ms, reason = row
    return Issued(
        int(serial, 16), role, name, x509.load_der_x509_certificate(der), issued_ms, ends_ms,
        None if replaces is None else int(replaces, 16), revoked_ms, None if reason is None else Why(reason),
    )  # fmt: skip
