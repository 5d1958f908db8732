"""Which devices exist, by which certificate they are known, and their twins. One SQLite file; nothing else is kept.

Every change is one transaction, on disk when the call returns; a crash leaves the state before or after it. Several
processes may use the file at once (``everbeat`` enrols a device while the hub runs), so nothing is cached here.
The hub's own numbers live here too: the base of event offsets, and the subscriptions of a device's MQTT session,
which outlive the hub as IoT Hub's do: the device SDK never subscribes again after a lost connection.
"""

from __future__ import annotations

import json
import re
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from device.hub.settings import CannotStart, HubError
from device.hub.twins import Json, Section, Twin

DATABASE = "hub.sqlite"
DEVICE_ID = re.compile(r"[A-Za-z0-9\-.%_*?!(),:=@$']{1,128}")  # IoT Hub's; "+" and "#" are left out: MQTT wildcards
THUMBPRINT = re.compile(r"[0-9A-F]{64}")  # SHA-256 of the DER certificate; SHA-1, which Azure still takes, is refused

_SCHEMA = """
CREATE TABLE IF NOT EXISTS device (
    id TEXT PRIMARY KEY, generation TEXT NOT NULL, enabled INTEGER NOT NULL, revision INTEGER NOT NULL,
    primary_thumbprint TEXT, secondary_thumbprint TEXT, subscriptions TEXT);
CREATE TABLE IF NOT EXISTS section (
    device TEXT NOT NULL REFERENCES device(id) ON DELETE CASCADE, name TEXT NOT NULL,
    properties TEXT NOT NULL, version INTEGER NOT NULL, updated_ms INTEGER NOT NULL, PRIMARY KEY (device, name));
CREATE TABLE IF NOT EXISTS number (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
_SECTIONS = ("desired", "reported", "tags")


class RegistryError(HubError):
    """The registry was asked for something it can not keep."""


class UnknownDevice(RegistryError):
    """No device of that id is registered."""


@dataclass(frozen=True, slots=True)
class Device:
    """An identity. Without thumbprints any certificate of the CA with this name will do."""

    id: str
    generation: str  # differs between a deleted device and a new one of the same id
    enabled: bool
    revision: int
    thumbprints: tuple[str | None, str | None]  # primary, secondary: SHA-256, upper-case hex

    @property
    def pinned(self) -> bool:
        """Whether it is known by certain certificates, not by its CA alone."""
        return any(self.thumbprints)

    def accepts(self, thumbprint: str) -> bool:
        """Whether a certificate that the CA vouches for, with this SHA-256 (upper-case hex), may act as the device."""
        return self.enabled and (not self.pinned or thumbprint in self.thumbprints)


class Registry:
    """The file's only reader and writer, for one thread. `clock` gives Unix s. CannotStart where the file is none."""

    def __init__(self, state_dir: Path, clock: Callable[[], float]) -> None:
        file = state_dir / DATABASE
        self._clock = clock
        try:
            state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._db = sqlite3.connect(file, timeout=5.0, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise CannotStart(f"expected a device registry in {file}, got {error}; nothing was opened") from error

    def close(self) -> None:
        """Leave the file. No call may follow."""
        self._db.close()

    # ------------------------------------------------------------------------------------------- identities

    def enrol(
        self, device_id: str, thumbprint: str | None = None, secondary: str | None = None, *, enabled: bool = True
    ) -> Device:
        """Register a device, or change what it is known by; its twin stays. Thumbprints: SHA-256, hex, any case."""
        if not DEVICE_ID.fullmatch(device_id):
            raise RegistryError(f"expected an id of 1 to 128 plain characters, got {device_id!r}; no device was made")
        pins = (_thumbprint(thumbprint), _thumbprint(secondary))
        with self._transaction():
            self._db.execute(
                "INSERT INTO device VALUES (?, ?, ?, 1, ?, ?, NULL) ON CONFLICT (id) DO UPDATE SET enabled = "
                "excluded.enabled, revision = revision + 1, primary_thumbprint = excluded.primary_thumbprint, "
                "secondary_thumbprint = excluded.secondary_thumbprint",
                (device_id, uuid.uuid4().hex, enabled, *pins),
            )
            for name in _SECTIONS:
                self._db.execute(
                    "INSERT OR IGNORE INTO section VALUES (?, ?, '{}', 1, ?)", (device_id, name, self._now_ms())
                )
        return self.device(device_id)

    def device(self, device_id: str) -> Device:
        """The identity. Raises UnknownDevice."""
        row = self._db.execute(_SELECT_ONE, (device_id,)).fetchone()
        if row is None:
            raise UnknownDevice(f"expected a registered device, got {device_id!r}; nothing was done")
        return _device(row)

    def devices(self, limit: int = 1000) -> list[Device]:
        """At most `limit` identities, by id."""
        rows = self._db.execute(_SELECT_SOME, (limit,))
        return [_device(row) for row in rows]

    def remove(self, device_id: str) -> None:
        """Forget the device and its twin. Raises UnknownDevice."""
        with self._transaction():
            if not self._db.execute("DELETE FROM device WHERE id = ?", (device_id,)).rowcount:
                raise UnknownDevice(f"expected a registered device, got {device_id!r}; nothing was removed")

    # ------------------------------------------------------------------------------------------------ twins

    def twin(self, device_id: str) -> Twin:
        """The device's twin. Raises UnknownDevice."""
        rows = self._db.execute(
            "SELECT name, properties, version, updated_ms FROM section WHERE device = ?", (device_id,)
        )
        found = {name: Section(json.loads(text), version, at) for name, text, version, at in rows}
        if len(found) < len(_SECTIONS):
            raise UnknownDevice(f"expected a registered device, got {device_id!r}; it has no twin")
        return Twin(**found)

    def patch_reported(self, device_id: str, patch: Json) -> Twin:
        """Merge what the device reports. Raises BadPatch, UnknownDevice."""
        return self._change(device_id, reported=lambda s: s.patched(patch, self._now_ms()))

    def patch_twin(self, device_id: str, desired: Json | None, tags: Json | None) -> Twin:
        """Merge what a service wants; None leaves a section alone. Raises BadPatch, UnknownDevice."""
        now = self._now_ms()
        return self._change(
            device_id,
            desired=None if desired is None else lambda s: s.patched(desired, now),
            tags=None if tags is None else lambda s: s.patched(tags, now),
        )

    def replace_twin(self, device_id: str, desired: Json | None, tags: Json | None) -> Twin:
        """Put sections in the place of those there are; None leaves one alone. Raises BadPatch, UnknownDevice."""
        now = self._now_ms()
        return self._change(
            device_id,
            desired=None if desired is None else lambda s: s.replaced(desired, now),
            tags=None if tags is None else lambda s: s.replaced(tags, now),
        )

    def _change(self, device_id: str, **changes: Callable[[Section], Section] | None) -> Twin:
        with self._transaction():
            twin = self.twin(device_id)
            for name, change in changes.items():
                if change is not None:
                    self._write(device_id, name, change(getattr(twin, name)))
            return self.twin(device_id)

    def _write(self, device_id: str, name: str, section: Section) -> None:
        self._db.execute(
            "UPDATE section SET properties = ?, version = ?, updated_ms = ? WHERE device = ? AND name = ?",
            (json.dumps(section.properties), section.version, section.updated_ms, device_id, name),
        )

    # ------------------------------------------------------------------------------------ the hub's own state

    def subscriptions(self, device_id: str) -> frozenset[str] | None:
        """Topic filters of the device's stored MQTT session; None where none is stored."""
        row = self._db.execute("SELECT subscriptions FROM device WHERE id = ?", (device_id,)).fetchone()
        return None if row is None or row[0] is None else frozenset(json.loads(row[0]))

    def store_subscriptions(self, device_id: str, filters: frozenset[str] | None) -> None:
        """Keep the session's topic filters; None ends the session."""
        text = None if filters is None else json.dumps(sorted(filters))
        with self._transaction():
            self._db.execute("UPDATE device SET subscriptions = ? WHERE id = ?", (text, device_id))

    def reserve(self, name: str, at_least: int, count: int) -> int:
        """First of `count` numbers that no call before was given and none after will be; `at_least` or more."""
        with self._transaction():
            row = self._db.execute("SELECT value FROM number WHERE name = ?", (name,)).fetchone()
            first = max(at_least, row[0] if row else 0)
            self._db.execute("INSERT OR REPLACE INTO number VALUES (?, ?)", (name, first + count))
        return first

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")  # takes the write lock before reading: no lost update between processes
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


_SELECT = "SELECT id, generation, enabled, revision, primary_thumbprint, secondary_thumbprint FROM device"
_SELECT_ONE, _SELECT_SOME = _SELECT + " WHERE id = ?", _SELECT + " ORDER BY id LIMIT ?"


def _device(row: tuple[str, str, int, int, str | None, str | None]) -> Device:
    device_id, generation, enabled, revision, primary, secondary = row
    return Device(device_id, generation, bool(enabled), revision, (primary, secondary))


def _thumbprint(text: str | None) -> str | None:
    if text is None:
        return None
    upper = text.replace(":", "").upper()
    if not THUMBPRINT.fullmatch(upper):
        raise RegistryError(f"expected a SHA-256 thumbprint of 64 hex digits, got {text[:80]!r}; no device was made")
    return upper
