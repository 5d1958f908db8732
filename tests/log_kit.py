"""Logs on a real Redis, for tests and benchmarks: records that an engine would have folded, a notary, a clock."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from device.ingest import HubEvent
from security import signing
from security.identity import wall_clock_ms
from security.keys import MasterKey
from security.log import ciphertext_hash, record_entry
from security.wire import Header, Lane
from twin_engine.log_keeper import Notarised
from twin_engine.notary import Notary
from twin_engine.store import keys
from twin_engine.store.commit import Commit, DeadLetter
from twin_engine.store.connection import Client, connect
from twin_engine.store.fsck import Finding
from twin_engine.store.ledger import Line
from twin_engine.store.raw import RawSink, answer_fields
from twin_engine.store.server import RedisFiles
from twin_engine.store.shard import ShardStore
from twin_engine.store.vault import Vault
from twin_engine.witnessing import Push, WitnessAddress

DEVICE = "dev-1"
HOUSE = "everbeat.test/4f2a"


def envelope(seq: int, *, is_open: bool = False, size: int = 60) -> bytes:
    """Bytes that look like an envelope; the notary can't open one, and need not."""
    return Header(1, Lane.LIVE, is_open, b"s" * 8, seq).pack() + os.urandom(size)


@dataclass
class Shard:
    """A shard whose records are stored by the real sink and committed by the real store, without an engine."""

    files: RedisFiles
    master: MasterKey
    name: str
    seq: int = 0
    dice: random.Random = field(default_factory=lambda: random.Random(0))

    def __post_init__(self) -> None:
        self.client: Client = connect(self.files.login("engine"))
        self.store = ShardStore(self.client, Vault(self.client, self.master), self.name)
        self.ingest = connect(self.files.login("ingest"))
        while not self.store.acquire():
            pass

    def fold(self, count: int) -> None:
        """So many records of all kinds, committed at once; two thirds have an entry in the log."""
        lines, dead, last = list[Line](), list[DeadLetter](), ""
        bodies = [(kind, self._body(kind)) for kind in self._kinds(count)]
        sink = _SinkOf(self.ingest, self.name)
        sink.put([HubEvent("0", str(i), i, DEVICE, wall_clock_ms(), body) for i, (_, body) in enumerate(bodies)])
        for (kind, body), record in zip(bodies, self._newest(count), strict=True):
            if kind == "entry":
                entry = record_entry(record, DEVICE, 1, 0, self.seq_of(body), ciphertext_hash(body))
                lines.append(Line(record, entry))
            else:
                lines.append(Line(record, verdict=kind))
            if kind == "dead":
                dead.append(DeadLetter(record, DEVICE, "forged", "expected …", body))
            last = record
        if self.dice.random() < 0.3:
            fields = answer_fields(DEVICE, "reboot", {}, 200, wall_clock_ms())
            last = self.client.xadd(keys.raw(self.name), fields).decode()
            lines.append(Line(last, verdict="answer"))
        self.store.commit(Commit(last, wall_clock_ms() * 1000, ledger=lines, dead=dead))

    def seq_of(self, body: bytes) -> int:
        return int.from_bytes(body[10:14], "big")

    def records(self) -> list[tuple[bytes, dict[bytes, bytes]]]:
        return list(self.client.xrange(keys.raw(self.name)))

    def _kinds(self, count: int) -> Sequence[str]:
        kinds = ["entry"] * 8 + ["open", "duplicate", "dead"]
        return ["open", "entry", *(self.dice.choice(kinds) for _ in range(count))][:count]

    def _body(self, kind: str) -> bytes:
        self.seq += 1
        return envelope(self.seq, is_open=kind == "open")

    def _newest(self, count: int) -> list[str]:
        return [i.decode() for i, _ in self.client.xrevrange(keys.raw(self.name), count=count)][::-1]


class _SinkOf(RawSink):
    """A sink that puts everything into one shard."""

    def __init__(self, client: Client, shard: str) -> None:
        super().__init__(client, 1)
        self._shard = shard

    def _shards_of(self, events: Sequence[HubEvent]) -> list[str]:
        return [self._shard] * len(events)


@dataclass
class House:
    """A Redis, some shards and a notary that the test drives by hand. `ahead_ms` moves the notary's clock."""

    files: RedisFiles
    state: Path
    names: Sequence[str] = ("s0",)
    witnesses: Sequence[WitnessAddress] = ()
    push: Push = lambda *_: (0, "")
    ahead_ms: int = 0

    def __post_init__(self) -> None:
        self.master = MasterKey.load_or_create(self.state / "master.key")
        self.key: Ed25519PrivateKey = signing.load_or_create(self.state / "notary.key")
        self.shards = {name: Shard(self.files, self.master, name) for name in self.names}
        self.keeper = connect(self.files.login("keeper"))
        self.notary = self.new_notary()

    def new_notary(self) -> Notary:
        """A notary that has just been started; it remembers what the last one kept."""
        logs = [Notarised(n, f"{HOUSE}/{n}", self.state / f"{n}.json") for n in [*self.names, keys.AUDIT_LOG]]
        reader, scribe = connect(self.files.login("notary")), connect(self.files.login("scribe"))
        inbox = self.state / "accepted"
        inbox.mkdir(exist_ok=True)
        clock: Callable[[], int] = lambda: wall_clock_ms() + self.ahead_ms  # noqa: E731
        return Notary(logs, reader, scribe, self.key, self.master, clock, self.witnesses, self.push, inbox)

    def look(self, *, whole: bool = True) -> list[tuple[str, Finding]]:
        """One round, late enough for a checkpoint."""
        self.ahead_ms += 11_000
        return self.notary.round(whole=whole)

    def kinds(self, *, whole: bool = True) -> set[str]:
        return {finding.kind for _, finding in self.look(whole=whole)}
