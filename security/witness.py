"""A witness (C2SP tlog-witness): it remembers one checkpoint of each log, and cosigns what only grew since.

Meant to run where the house can't reach: own key, own disk, told once which logs to believe. Everything but the
directory it remembers in comes from outside; HTTP is somebody else's (:mod:`everbeat.witness`).
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from security import checkpoint, files, note
from security.checkpoint import Checkpoint
from security.errors import Rejected
from security.merkle import verify_consistency
from security.note import LOG, WITNESS, VerifierKey

MAX_REQUEST_BYTES = 64 * 1024
MAX_STEPS = 63
_MAX_EVIDENCE = 100  # requests kept that prove a log's misbehaviour
SIZE_TYPE = "text/x.tlog.size"


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer over HTTP."""

    status: int
    body: str
    content_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Request:
    """A checkpoint with the proof that its tree extends the one of `old` leaves."""

    old: int
    steps: tuple[bytes, ...]
    signed: str

    def to_text(self) -> str:
        """The body of ``POST /add-checkpoint``."""
        lines = [f"old {self.old}", *(base64.b64encode(step).decode() for step in self.steps), "", self.signed]
        return "\n".join(lines)

    @classmethod
    def parse(cls, text: str) -> Request | None:
        """The inverse of :meth:`to_text`; None where it is no request."""
        head, found, signed = text.partition("\n\n")
        first, *steps = head.split("\n")
        hashes = [note.unbase64(step) for step in steps]
        sized = first.startswith("old ") and checkpoint.is_size(first[4:])
        if not (found and sized and len(steps) <= MAX_STEPS and all(len(h) == 32 for h in hashes)):
            return None
        return cls(int(first[4:]), tuple(hashes), signed)


class Witness:
    """Its rules and its memory. Safe to call from several threads, and from several processes on one directory."""

    def __init__(
        self, name: str, key: Ed25519PrivateKey, logs: Iterable[VerifierKey], home: Path, clock_s: Callable[[], float]
    ) -> None:
        """`logs`: keys of the logs to believe, named by their origins. `home`: a private directory of its own."""
        self.name, self._key, self._clock_s = name, key, clock_s
        self._logs: dict[str, list[VerifierKey]] = {}
        for log in logs:
            if log.kind == LOG:
                self._logs.setdefault(log.name, []).append(log)
        self._home = files.private_dir(home)
        self._lock = threading.Lock()

    @property
    def verifier(self) -> VerifierKey:
        """The key that houses and auditors are given."""
        return note.verifier_of(self.name, WITNESS, self._key)

    def latest(self, origin: str) -> str | None:
        """The last checkpoint that was cosigned, or None."""
        path = self._path(origin)
        return files.read_private(path).decode() if path.exists() else None

    def add_checkpoint(self, body: bytes) -> Answer:
        """The answer to ``POST /add-checkpoint``. What is cosigned is on disk before this returns."""
        try:
            request = Request.parse(body.decode()) if len(body) <= MAX_REQUEST_BYTES else None
            point = checkpoint.read(request.signed) if request is not None else None
        except (UnicodeDecodeError, Rejected):
            request = point = None
        if request is None or point is None:
            return Answer(400, "expected an old size, a proof and a checkpoint, got another body\n")
        keys = self._logs.get(point.origin)
        if keys is None:
            return Answer(404, "expected a log that this witness was told of, got another origin\n")
        try:
            if not note.check(request.signed, keys)[1]:
                return Answer(403, "expected a signature of the log, got none\n")
        except Rejected:
            return Answer(403, "expected a signature of the log, got one that does not fit\n")
        if request.old > point.size:
            return Answer(400, "expected an old size up to the checkpoint's, got a larger one\n")
        with self._alone():
            return self._judge(request, point)

    def _judge(self, request: Request, point: Checkpoint) -> Answer:
        held = self.latest(point.origin)
        before = None if held is None else checkpoint.read(held)
        size = 0 if before is None else before.size
        if request.old != size:
            return Answer(409, f"{size}\n", SIZE_TYPE)
        if before is not None and point.size == size and point.root != before.root:
            self._keep_evidence(request)
            return Answer(409, f"{size}\n", SIZE_TYPE)
        if before is None or size == 0:
            grown = not request.steps
        else:
            grown = verify_consistency(size, point.size, request.steps, before.root, point.root)
        if not grown:
            self._keep_evidence(request)
            return Answer(422, "expected a tree that only grew, got a proof that does not hold\n")
        files.write_private(self._path(point.origin), request.signed.encode())
        text = note.split(request.signed)[0]
        return Answer(200, note.cosign_line(text, self.name, self._key, int(self._clock_s())))

    def _keep_evidence(self, request: Request) -> None:
        """A log signed what contradicts what it signed before: its signature proves it."""
        kept = files.private_dir(self._home / "evidence")
        digest = hashlib.sha256(request.signed.encode()).hexdigest()[:16]
        if len(list(kept.iterdir())) < _MAX_EVIDENCE:
            files.create_private(kept / f"{digest}.txt", request.to_text().encode()[: files.MAX_FILE_BYTES])

    def _path(self, origin: str) -> Path:
        return self._home / f"{hashlib.sha256(origin.encode()).hexdigest()[:24]}.note"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else compares or writes meanwhile."""
        with self._lock:
            fd = os.open(self._home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                yield
            finally:
                os.close(fd)
