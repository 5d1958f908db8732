"""A tamper-evident log without Redis and notary: real entries, a real tree, checkpoints signed by a key of the test's.

A record a device every two seconds; signed as a notary does, some seconds behind. Every patient's device sends from
the beginning; `former`: devices that were somebody else's until a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from security import note, proofs
from security.checkpoint import Checkpoint
from security.log import RecordEntry
from security.merkle import leaf_hash
from security.note import LOG, WITNESS
from security.tiles import Grower, Tree
from twin_engine.registry import PatientCard
from twin_engine.store.feed import Held, LogRecord
from twin_engine.store.log_records import MAX_RECORDS

EVERY_MS = 2000
SIGNED_EVERY = 5  # steps
ORIGIN, WITNESS_NAME = "everbeat.test/4f2a/s0", "witness.test/w1"


@dataclass
class FakeLog:
    """The log of one shard in which all these patients are. `stopped_ms`: when its notary died; `alarm`: as stored."""

    cards: dict[str, PatientCard]
    former: dict[str, Held] = field(default_factory=dict)  # patient -> a device that was hers before
    stopped_ms: int | None = None
    never: bool = False  # no notary ever ran
    alarm: dict[str, Any] | None = None
    entries: list[RecordEntry] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.key, self._witness = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        self._lock = threading.Lock()
        self._begun_ms = self._made_ms = (time.time_ns() // 10**6 // EVERY_MS) * EVERY_MS - 60_000
        self._hashes = {0: list[bytes](), 8: list[bytes](), 16: list[bytes]()}
        self._grower, self._signed, self._size, self._upto_ms, self._steps = Grower(), "", 0, 0, 0

    @property
    def verifier(self) -> str:
        """What an auditor is given."""
        return str(note.verifier_of(ORIGIN, LOG, self.key))

    # ------------------------------------------------------------------------------------------ the protocol

    def state(self, patient: str) -> dict[str, Any]:
        now_ms = self._grow()
        if self.never:
            return {}
        witnesses = [{"name": WITNESS_NAME, "t_s": self._upto_ms // 1000}]
        return {
            "t_ms": self.stopped_ms or now_ms, "origin": ORIGIN, "key": self.verifier, "size": self._size,
            "root": "", "signed_ms": self._upto_ms, "upto_ms": self._upto_ms, "leaves": len(self.entries),
            "whole_ms": now_ms - 4000, "whole_took_ms": 12, "witnesses": witnesses, "witnesses_wanted": 1,
            "alarm": self.alarm,
        }  # fmt: skip

    def held(self, patient: str, t0_ms: int, t1_ms: int) -> list[Held]:
        self._grow()
        device, before = self.cards[patient].device, self.former.get(patient)
        found = [Held(device, max(t0_ms, self._begun_ms), t1_ms)] if device else []
        if before is not None and before.t0_ms <= t1_ms and before.t1_ms >= t0_ms:
            found.append(Held(before.device, max(t0_ms, before.t0_ms), min(t1_ms, before.t1_ms)))
        return found

    def records(self, patient: str, device: str, t0_ms: int, t1_ms: int, limit: int = MAX_RECORDS) -> list[LogRecord]:
        self._grow()
        return [r for r in self._all() if r.entry.device == device and t0_ms <= _ms(r) <= t1_ms][:limit]

    def newest(self, patient: str, device: str, t0_ms: int, t1_ms: int, limit: int) -> list[LogRecord]:
        return self.records(patient, device, t0_ms, t1_ms)[::-1][:limit]

    def bundle(self, patient: str, wanted: Sequence[LogRecord], since_ms: int | None = None) -> dict[str, Any]:
        made, tree = proofs.new_bundle(self._signed, self.verifier), Tree(self)
        for record in wanted:
            steps = tree.inclusion(record.index, self._size)
            made["records"].append(proofs.record_json(record.index, record.entry, steps))
        return made

    def read(self, level: int, start: int, count: int) -> list[bytes]:
        """As :class:`security.tiles.Hashes`."""
        return self._hashes[level][start : start + count]

    # ------------------------------------------------------------------------------------------ the house

    def _all(self) -> list[LogRecord]:
        leaves = self._hashes[0]
        return [LogRecord(i, entry, leaves[i], i < self._size) for i, entry in enumerate(self.entries)]

    def _grow(self) -> int:
        """What came until now. Returns now, ms."""
        with self._lock:
            return self._grown()

    def _grown(self) -> int:
        now_ms = time.time_ns() // 10**6
        while self._made_ms + EVERY_MS <= now_ms:
            self._made_ms += EVERY_MS
            self._steps += 1
            devices = sorted({card.device for card in self.cards.values() if card.device})
            for number, device in enumerate([*devices, *sorted(h.device for h in self.former.values())]):
                self._append(f"{self._made_ms}-{number}", device)
            if self._steps % SIGNED_EVERY == 0 and not (self.stopped_ms or self.never):
                self._sign()
        return now_ms

    def _append(self, stream_id: str, device: str) -> None:
        digest = sha256(f"{stream_id} {device}".encode()).digest()
        entry = RecordEntry(stream_id, device, 1, 0, self._steps, digest)
        leaf = leaf_hash(entry.to_bytes())
        self.entries.append(entry)
        self._hashes[0].append(leaf)
        self._grower.append(leaf)
        for level, node in self._grower.take_completed():
            self._hashes[level].append(node)

    def _sign(self) -> None:
        point = Checkpoint(ORIGIN, self._grower.size, self._grower.root())
        lines = [
            note.sign_line(point.text, ORIGIN, self.key),
            note.cosign_line(point.text, WITNESS_NAME, self._witness, self._made_ms // 1000),
        ]
        self._signed = note.assemble(point.text, lines)
        self._size, self._upto_ms = point.size, self._made_ms


def witness_key(log: FakeLog) -> str:
    """What an auditor is given of the witness."""
    return str(note.verifier_of(WITNESS_NAME, WITNESS, log._witness))


def _ms(record: LogRecord) -> int:
    return int(record.entry.stream_id.partition("-")[0])
