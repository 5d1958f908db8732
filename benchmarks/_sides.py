"""The two ways that :mod:`benchmarks.secured` compares: from a device's frames to the house's disk, secured and plain.

Each has its own CA, hub endpoint, Redis, device and session, and runs the same code where that exists for both.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import redis

from benchmarks._endpoint import HOST, endpoint
from device.frame import Block, Frame, Source, decode, encode
from device.ingest import HubEvent
from security.envelope import Lane, open_session, sign_recipient
from security.identity import create_ca, issue_device, issue_engine, issue_server, wall_clock_ms
from security.keys import PatientCipher, create_data_key, create_recipient_key
from security.suite import STRONGEST_FIRST
from twin_engine.prove import Gate
from twin_engine.store import keys, server
from twin_engine.store.ledger import Ledger, Line
from twin_engine.store.raw import RawEvent, RawSink, parse

DEVICE, SHARD = "bench", "s0"
BATCH = 256


class Side:
    """One of the two ways: its own CA, hub, Redis, device and session."""

    def __init__(self, home: Path, secured: bool) -> None:
        self.secured, self.name = secured, "secured" if secured else "plain"
        self._ca = create_ca(home / "ca")
        self._identity = issue_device(self._ca, DEVICE, home / "device")
        engine = issue_engine(self._ca, home / "engine")
        self._served = issue_server(self._ca, HOST, [HOST], home / "server")
        self._kid, self._key = create_recipient_key()
        self._recipient = sign_recipient(
            engine, self._key.public_key().public_bytes_raw(), device_id=DEVICE, now_ms=wall_clock_ms()
        )
        self._cipher = PatientCipher(create_data_key())
        self.home, self.stored, self.failed = home, 0, ""
        self._seq, self._cursor = 0, "0-0"
        self._seen = set[int]()

    def connect_store(self, client: redis.Redis) -> None:
        self.client, self._sink = client, RawSink(cast(Any, client), 1)
        self._ledger = Ledger(cast(Any, client), SHARD)

    # ------------------------------------------------------------------------------------------ the device

    def begin(self) -> bytes:
        """A new session; its open record. Empty where nothing is sealed."""
        self._gate = Gate(self._ca.trust, {}, STRONGEST_FIRST)
        if not self.secured:
            return b""
        record, self._sealer = open_session(
            self._identity, self._recipient, epoch=1, lane=Lane.LIVE, now_ms=wall_clock_ms(), suites=("A",)
        )
        return record

    def message(self, blocks: tuple[Block, ...]) -> bytes:
        """The next frame, sealed where this side seals."""
        now_ms = wall_clock_ms()
        seq = self._sealer.next_seq if self.secured else self._seq
        self._seq += 1
        frame = encode(Frame(now_ms, now_ms % 2**40, 1, seq, Source.SIMULATED, blocks))
        return self._sealer.seal(frame) if self.secured else frame

    # ------------------------------------------------------------------------------------------- the house

    def take(self, events: Sequence[HubEvent]) -> None:
        """Ingest and engine: into the raw stream, out of it, proven, counted, written."""
        self._sink.put(events)
        reply = self.client.xread({keys.raw(SHARD): self._cursor}, count=len(events))
        batch = self.client.pipeline(transaction=True)
        lines = list[Line]()
        if self.secured:
            self._ledger.load()
        for entry_id, fields in reply[0][1]:
            record = parse(entry_id, fields)
            assert isinstance(record, RawEvent)  # noqa: S101
            self._cursor = record.id
            plain, entry = self._opened(record)
            lines.append(Line(record.id, entry, "" if entry else "open"))
            if plain is None:
                continue
            self.stored += 1
            sealed = self._cipher.seal(plain, b"twin|p") if self.secured else plain
            batch.xadd(keys.twin(SHARD, "p"), {"b": sealed}, maxlen=1000, approximate=True)
        if self.secured:
            self._ledger.append(batch, lines)
        batch.hset(keys.cursor(SHARD), "id", self._cursor)
        batch.xtrim(keys.raw(SHARD), maxlen=2000, approximate=True)
        replies = batch.execute()
        if self.secured:
            self._ledger.settle(replies)

    def _opened(self, record: RawEvent) -> tuple[bytes | None, bytes]:
        if not self.secured:
            frame = decode(record.body)
            fresh = frame.seq not in self._seen
            self._seen.add(frame.seq)
            return (encode(frame) if fresh else None), b""
        proven = self._gate.check(record.id, record.device, record.body, record.enqueued_ms, {self._kid: self._key}.get)
        return (None, b"") if proven is None else (encode(proven.frame), proven.entry)

    # --------------------------------------------------------------------------------------------- the hub

    @contextlib.asynccontextmanager
    async def hub(self) -> AsyncIterator[Callable[[], Any]]:
        """The hub's device endpoint; gives what connects a device."""
        queue: asyncio.Queue[HubEvent] = asyncio.Queue()
        async with endpoint(DEVICE, self.home / self.name, self._tls(True), queue) as port:
            eater = asyncio.create_task(self._eat(queue))
            try:
                yield lambda: asyncio.open_connection(HOST, port, ssl=self._tls(False))
            finally:
                eater.cancel()

    def _tls(self, there: bool) -> ssl.SSLContext | None:
        if not self.secured:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if there else ssl.PROTOCOL_TLS_CLIENT)
        pair = self._served if there else self._identity
        context.load_cert_chain(pair.key_path)
        context.load_verify_locations(self._ca.root_path)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    async def _eat(self, queue: asyncio.Queue[HubEvent]) -> None:
        while not self.failed:
            events = [await queue.get()]
            while not queue.empty() and len(events) < BATCH:
                events.append(queue.get_nowait())
            try:
                await asyncio.to_thread(self.take, events)
            except Exception as error:  # noqa: BLE001 - the edge of a task that nobody awaits: what is missing is loss
                self.failed = f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def redis_of(home: Path, durable: bool) -> Iterator[redis.Redis]:
    """A Redis of its own: as the house configures it, or without a disk."""
    files = server.prepare(home / "redis")
    command = server.command(files)
    if not durable:
        command = (command[0], "--port", "0", "--unixsocket", str(files.socket), "--appendonly", "no", "--save", "")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        login = files.login("keeper")
        secret = {"username": login.user, "password": login.password} if durable else {}
        client = redis.Redis(unix_socket_path=str(files.socket), **secret)
        for _ in range(200):
            with contextlib.suppress(redis.exceptions.ConnectionError):
                client.ping()
                break
            time.sleep(0.05)
        try:
            yield client
        finally:
            client.close()
            process.terminate()
