"""The key directory: the master key's versions, and one secret for each patient. Nothing of it is ever in the database.

::

    master.key        32 bytes (one version), or a header and deterministic CBOR of [current, [[version, key], ...]]
    patients/NAME.key the patient's secret, 32 bytes; NAME is a hash of her id
    erased            the tombstones (security/tombstones.py): one signed line for each patient who was erased
    house.key         what signs tombstones and certificates (Ed25519)
    sign-in           there once there was an account: from then on nobody is let in without one
    generation        rewritten when a patient's data key got a new version: other processes look again
    lock, rotating    held while any of it is changed, and while the master key is exchanged

What wraps a patient's keys is derived from both, the master key and her secret. Who has one of them, and a copy of the
database of any age, reads nothing of her.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from security import canonical, files, signing
from security.errors import Reason, Rejected, SecurityError
from security.tombstones import Tombstone

SECRET_BYTES = 32
NAME_BYTES = 16
LOOK_EVERY_S = 1.0  # how soon a process notices that keys were changed by another one
_HEADER = b"everbeat/1 master\n"
_ATTEMPTS = 20
Random = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class MasterVersions:
    """All versions of the master key, and the one that wraps."""

    current: int
    keys: dict[int, bytes]

    def to_bytes(self) -> bytes:
        """For the file. The only, first version is its bare 32 bytes."""
        if self.keys.keys() == {1} and self.current == 1:
            return self.keys[1]
        return _HEADER + canonical.encode([self.current, [[n, key] for n, key in sorted(self.keys.items())]])

    @classmethod
    def from_bytes(cls, data: bytes) -> MasterVersions:
        """The inverse of :meth:`to_bytes`. Raises SecurityError on other bytes."""
        if len(data) == SECRET_BYTES:
            return cls(1, {1: data})
        if data.startswith(_HEADER):
            try:
                current, rows = canonical.decode(data[len(_HEADER) :], "a master key")
                keys = {int(n): bytes(key) for n, key in rows}
                if current in keys and all(len(key) == SECRET_BYTES for key in keys.values()):
                    return cls(current, keys)
            except (Rejected, ValueError, TypeError):
                pass
        raise SecurityError(f"expected a key of {SECRET_BYTES} bytes, got {len(data)}; nothing can be sealed with it")


def name_of(patient: str) -> bytes:
    """What a patient is called where her id must not stand: 16 bytes of a hash. Whoever knows the id can make it."""
    return hashlib.sha256(b"everbeat/1 patient|" + patient.encode()).digest()[:NAME_BYTES]


def fingerprint(secret: bytes) -> str:
    """A short name of a random secret, which says nothing of it: the first 8 bytes of a hash in hex."""
    return hashlib.sha256(b"everbeat/1 fingerprint|" + secret).hexdigest()[:16]


class KeyHome:
    """One key directory, shared by all processes of the house. Thread-safe: every answer is read whole."""

    def __init__(self, master: Path, random: Random = os.urandom) -> None:
        """`master`: the path of master.key, made where missing. Raises KeyFileError, SecurityError."""
        self._path, self._dir, self._random = master, master.parent, random
        if not master.exists():
            files.private_dir(self._dir)
            files.create_private(master, random(SECRET_BYTES))  # False: another process was first
        self._stamp: tuple[object, ...] = ()
        self._generation = 0
        self._look_at_s = 0.0
        self._tombstones: dict[bytes, Tombstone] = {}
        self.look()

    @property
    def versions(self) -> MasterVersions:
        """As last read; :meth:`look` reads again where the file changed."""
        return self._versions

    def generation(self) -> int:
        """Grows when any process changed something here. Looked for once a second; else it costs nothing."""
        if time.monotonic() >= self._look_at_s:
            self.look()
        return self._generation

    def look(self) -> None:
        """Read again what changed since it was last read."""
        stamp = (_stamp(self._path), *(_stamp(self._dir / name) for name in ("erased", "patients", "generation")))
        if stamp != self._stamp:
            self._versions = self._read_versions()
            self._tombstones = self._read_tombstones()
            self._stamp = stamp
            self._generation += 1
        self._look_at_s = time.monotonic() + LOOK_EVERY_S

    # ------------------------------------------------------------------------------------------- patients' secrets

    def secret(self, name: bytes) -> bytes | None:
        """A patient's secret by her name; None where there is none, or where she was erased."""
        if name in self._tombstones:
            return None
        path = self._secret_path(name)
        return files.read_private(path) if path.exists() else None

    def create_secret(self, patient: str) -> None:
        """A secret for a new patient; who has one keeps it. Raises Rejected("erased") for one who was erased."""
        name = name_of(patient)
        with self.changing():
            self.look()
            if name in self._tombstones:
                raise refused(patient, self._tombstones[name])
            path = self._secret_path(name)
            if not path.exists():
                files.private_dir(path.parent)
                files.create_private(path, self._random(SECRET_BYTES))

    def names(self) -> set[bytes]:
        """Of all patients who have a secret."""
        return {bytes.fromhex(path.stem) for path in (self._dir / "patients").glob("*.key")}

    # ------------------------------------------------------------------------------------------- tombstones

    def tombstone(self, patient: str) -> Tombstone | None:
        """When and by whom she was erased; None where she was not."""
        return self._tombstones.get(name_of(patient))

    @property
    def tombstones(self) -> dict[bytes, Tombstone]:
        """All of them, by name."""
        return dict(self._tombstones)

    def bury(self, lines: list[bytes]) -> list[Tombstone]:
        """Add tombstones that are missing, and destroy those patients' secrets. May be repeated; returns the new ones.

        Raises Rejected where a line was not signed by this house: nobody is erased on a stranger's word.
        """
        with self.changing():
            self.look()
            signers = self._signers()
            read = [(line, Tombstone.from_bytes(line, signers)) for line in lines]
            new = {stone.name: (line, stone) for line, stone in read if stone.name not in self._tombstones}
            fresh = [line for line, _ in new.values()]
            if new:
                files.write_private(self._dir / "erased", b"".join(line + b"\n" for line in (*self._lines(), *fresh)))
            self.look()
            for name in self._tombstones:
                files.destroy_private(self._secret_path(name))
        return [stone for _, stone in new.values()]

    def house_key(self) -> Ed25519PrivateKey:
        """What signs tombstones and certificates of erasure, made on first use."""
        return signing.load_or_create(self._dir / "house.key")

    # ------------------------------------------------------------------------------------------- people

    @property
    def has_people(self) -> bool:
        """Whether this house ever had an account, whatever an old or empty copy of the database says."""
        return (self._dir / "sign-in").exists()

    def note_people(self) -> None:
        """It has one now."""
        if not self.has_people:
            files.create_private(self._dir / "sign-in", b"")

    # ------------------------------------------------------------------------------------------- changing

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Alone among all processes that change keys here."""
        with files.locked(self._dir / "lock"):
            yield

    def write_versions(self, versions: MasterVersions) -> None:
        """Replace the master key's file at once; the old file's bytes are overwritten. Call inside :meth:`changing`."""
        files.replace_private(self._path, versions.to_bytes())
        self.look()

    def new_secret(self) -> bytes:
        """32 fresh bytes."""
        return self._random(SECRET_BYTES)

    @contextmanager
    def rotating(self) -> Iterator[None]:
        """Alone among all processes that exchange the master key."""
        with files.locked(self._dir / "rotating"):
            yield

    def touch(self) -> None:
        """Make every process look again: what lies in the database was wrapped anew."""
        files.write_private(self._dir / "generation", self._random(16).hex().encode())
        self.look()

    def _secret_path(self, name: bytes) -> Path:
        return self._dir / "patients" / f"{name.hex()}.key"

    def tombstone_lines(self) -> dict[bytes, bytes]:
        """All of them as signed lines, by name in hex: for the copy in the database."""
        lines = self._lines()
        signers = self._signers() if lines else {}
        return {Tombstone.from_bytes(line, signers).name.hex().encode(): line for line in lines}

    def _lines(self) -> list[bytes]:
        path = self._dir / "erased"
        return files.read_private_lines(path) if path.exists() else []

    def _signers(self) -> signing.Signers:
        return {signing.public_of(self.house_key()): "this house"}

    def _read_versions(self) -> MasterVersions:
        """A reader that meets the moment in which an old version is overwritten reads once more."""
        for attempt in range(_ATTEMPTS):
            try:
                return MasterVersions.from_bytes(files.read_private(self._path))
            except SecurityError:
                if attempt == _ATTEMPTS - 1 or not self._stamp:
                    raise
                time.sleep(0.01)
        raise AssertionError("unreachable")

    def _read_tombstones(self) -> dict[bytes, Tombstone]:
        """Raises SecurityError where a line can't be proven: who was erased must be known before anything is read."""
        found, lines = dict[bytes, Tombstone](), self._lines()
        signers = self._signers() if lines else {}
        for line in lines:
            try:
                stone = Tombstone.from_bytes(line, signers)
            except Rejected as error:
                raise SecurityError(
                    f"expected tombstones in {self._dir / 'erased'} that its house.key signed, got another line "
                    f"({error.reason}); nothing was read or written: bring both files back from the newest backup"
                ) from error
            found[stone.name] = stone
        return found


def refused(patient: str, stone: Tombstone) -> Rejected:
    """The answer to whoever wants keys of a patient who was erased."""
    return Rejected(
        Reason.ERASED,
        "a patient who may be admitted",
        f"{patient}, who was erased on {stone.when}",
        "an erased patient stays erased: a person who comes again gets a new id",
    )


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return None
    return info.st_ino, info.st_mtime_ns, info.st_size
