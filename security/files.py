"""Files that hold secrets: mode 0600 in a directory of mode 0700, whole or not there, never a link.

Writing is atomic (a temporary file, fsync, rename), so that a crash leaves the old file or the new one. Reading
refuses a file that other users can reach: a secret that was readable yesterday is not a secret today.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from security.errors import SecurityError

MAX_FILE_BYTES = 64 * 1024
MAX_GROWN_BYTES = 64 * 1024 * 1024  # of a list that only grows
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class KeyFileError(SecurityError):
    """A key file or its directory is missing, unreadable or open to others."""


def private_dir(path: Path) -> Path:
    """`path` as a directory of mode 0700, made where missing. Raises KeyFileError where others could write in it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    info = path.stat()
    if info.st_uid != os.geteuid() or info.st_mode & _OTHERS_WRITE:
        raise KeyFileError(
            f"expected {path} to be ours and writable by nobody else, got owner {info.st_uid} and mode "
            f"{stat.S_IMODE(info.st_mode):04o}; no key was written there (chmod 700 it)"
        )
    return path


def write_private(path: Path, data: bytes) -> None:
    """Replaces the file at `path` by `data`, mode 0600, durable when it returns."""
    temporary = _temporary(path, data, 0o600)
    os.replace(temporary, path)
    _sync_dir(path.parent)


def write_public(path: Path, data: bytes) -> None:
    """The same for what anybody may read (certificates), mode 0644."""
    temporary = _temporary(path, data, 0o644)
    os.replace(temporary, path)
    _sync_dir(path.parent)


def create_private(path: Path, data: bytes) -> bool:
    """Writes `data` where no file is yet. False where there is one: of two processes at once, one wins."""
    temporary = _temporary(path, data, 0o600)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    _sync_dir(path.parent)
    return True


def destroy_private(path: Path) -> bool:
    """Overwrites the file's bytes, removes it, and makes both durable. False where there is none.

    On a disk that writes elsewhere than it was told to (an SSD, a copy-on-write file system) the old bytes may stay
    readable for whoever has the bare medium. Encrypt the disk; no program can do more.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        _overwrite(fd)
        os.unlink(path)
    finally:
        os.close(fd)
    _sync_dir(path.parent)
    return True


def replace_private(path: Path, data: bytes) -> None:
    """:func:`write_private`, and what the old file held is overwritten. Who reads at that moment must read again."""
    fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        write_private(path, data)
        _overwrite(fd)
    finally:
        os.close(fd)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone among all processes that lock the file at `path`; made where missing, released even by a crash."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def read_private(path: Path) -> bytes:
    """The file's bytes. Raises KeyFileError where it is missing, a link, not ours, or open to others."""
    return _read(path, {os.geteuid()}, _OTHERS)


def read_trusted(path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """The same for a root certificate: others may read it, but only we or the system's root may have written it."""
    return _read(path, {os.geteuid(), 0}, _OTHERS_WRITE, limit)


def read_private_lines(path: Path) -> list[bytes]:
    """The same for a file that only grows, of any size."""
    return _read(path, {os.geteuid()}, _OTHERS, MAX_GROWN_BYTES).splitlines()


def _read(path: Path, owners: set[int], forbidden: int, limit: int = MAX_FILE_BYTES) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise KeyFileError(f"expected a file at {path}, got {error.strerror}; it was not read") from error
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_uid not in owners or info.st_mode & forbidden:
            raise KeyFileError(
                f"expected {path} to be a plain file of ours, closed to others (chmod 600), got owner {info.st_uid} "
                f"and mode {stat.S_IMODE(info.st_mode):04o}; it may be known to others, so it was not used"
            )
        if info.st_size > limit:
            raise KeyFileError(f"expected at most {limit} bytes in {path}, got more; it was not read")
        return os.read(fd, info.st_size)
    finally:
        os.close(fd)


def _temporary(path: Path, data: bytes, mode: int) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, mode)  # whatever the umask was
        file.write(data)
        file.flush()
        os.fsync(fd)
    return temporary


def _overwrite(fd: int) -> None:
    os.pwrite(fd, secrets.token_bytes(os.fstat(fd).st_size), 0)
    os.fsync(fd)


def _sync_dir(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
