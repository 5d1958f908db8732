"""Secured against plain, end to end on this machine: what mutual TLS, envelopes, log and fsync cost together.

Both ways run the same code where it exists for both: a device's frames go as MQTT QoS 1 over a TCP connection to the
hub's own device endpoint, from its event log by ingest's sink into Redis' raw stream, out again by the shard's reader,
are opened and counted once, and are written with the cursor in one transaction a batch.

* secured: mutual TLS with our CA, each frame sealed (suite A) and proven by the engine's gate, a line, a Merkle leaf
  and its nodes in the log (``twin_engine.store.ledger``), what is shown sealed under the patient's key, Redis with
  ``appendfsync always``.
* plain: TCP without TLS (the endpoint is handed a certificate that nobody checked), frames decoded as they are, no
  leaf, no seal at rest, Redis without an append-only file.

Left out of both, as neither depends on security: AMQP between hub and ingest (in memory here), the twin's fold and its
synthesis, the page. All parts share one process and Redis another, over loopback. Rounds take turns; the ratio is that
of the medians. Processor time a message (this process and Redis) is printed too: it hardly depends on who else is busy
on the machine. Then latency, one message at a time, for payloads of 0.2 to 64 KB, drawn to a file.

    python -m benchmarks.secured [--rounds 15] [--seconds 1] [--out docs/latency.html]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import logging
import random
import ssl
import statistics
import struct
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil
import redis

from device.frame import Block, Frame, Source, decode, encode
from device.hub.amqp_messages import encode_event
from device.hub.events import EventLog, Partition
from device.hub.mqtt import serve_device
from device.hub.registry import Registry
from device.hub.settings import HubSettings
from device.hub.switchboard import Switchboard
from device.ingest import HubEvent
from device.simulator import Simulator
from security.envelope import Lane, open_session, sign_recipient
from security.identity import create_ca, issue_device, issue_engine, issue_server, wall_clock_ms
from security.keys import PatientCipher, create_data_key, create_recipient_key
from security.suite import STRONGEST_FIRST
from twin_engine.prove import Gate
from twin_engine.store import keys, server
from twin_engine.store.ledger import Ledger, Line
from twin_engine.store.raw import RawEvent, RawSink, parse

DEVICE, SHARD, GOAL, PAPER_RATIO = "bench", "s0", 0.85, 0.73
HOST, WINDOW, BATCH = "127.0.0.1", 64, 256
SIZES = (200, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000)
CONNECT_FLAGS = 0x82  # clean session, user name


@dataclass(slots=True)
class Result:
    """A round: messages sent and stored, seconds, bytes on loopback."""

    sent: int
    stored: int
    spent_s: float
    wire: int
    cpu_s: float


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
        """The hub's device endpoint on a free port; gives what connects a device."""
        settings = HubSettings(HOST, self.home, self.home, self.home, self.home / self.name, ())
        settings.state_dir.mkdir(exist_ok=True)
        registry = Registry(settings.state_dir, time.time)
        der = b"unchecked"
        registry.enrol(DEVICE, None if self.secured else hashlib.sha256(der).hexdigest())
        partition = Partition(1, settings.log_events, settings.log_bytes)
        board = Switchboard(settings, registry, EventLog((partition,), encode_event, time.time))
        published = board.log.append
        queue: asyncio.Queue[HubEvent] = asyncio.Queue()

        def append(telemetry: Any) -> Any:  # the log's own append, and the body beside its AMQP form
            event = published(telemetry)
            queue.put_nowait(HubEvent("0", str(event.sequence), event.sequence, DEVICE, event.enqueued_ms,
                                      telemetry.body))  # fmt: skip
            return event

        board.log.append = append  # type: ignore[method-assign]

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there = writer if self.secured else cast(asyncio.StreamWriter, _Unchecked(writer, der))
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await serve_device(board, reader, there)

        server_ = await asyncio.start_server(serve, HOST, 0, ssl=self._tls(True))
        port = server_.sockets[0].getsockname()[1]
        eater = asyncio.create_task(self._eat(queue))
        try:
            yield lambda: asyncio.open_connection(HOST, port, ssl=self._tls(False))
        finally:
            eater.cancel()
            server_.close()
            registry.close()

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


class _Unchecked:
    """A connection without TLS that shows the endpoint a certificate all the same."""

    def __init__(self, writer: asyncio.StreamWriter, der: bytes) -> None:
        self._writer, self._der = writer, der

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def get_extra_info(self, name: str) -> Any:
        return self if name == "ssl_object" else self._writer.get_extra_info(name)

    def getpeercert(self, binary_form: bool = False) -> Any:
        return self._der if binary_form else {"subject": ((("commonName", DEVICE),),)}


class Publisher:
    """The device's MQTT: QoS 1, at most WINDOW messages without their PUBACK."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer, self.sent, self._acked = reader, writer, 0, 0
        self._topic = _text(f"devices/{DEVICE}/messages/events/")

    async def greet(self) -> None:
        """CONNECT, and its CONNACK."""
        head = _text("MQTT") + bytes([4, CONNECT_FLAGS, 0, 60]) + _text(DEVICE)
        self._writer.write(_packet(0x10, head + _text(f"hub/{DEVICE}/?api-version=2021-04-12")))
        answer = await self._reader.readexactly(4)
        if answer[0] >> 4 != 2 or answer[3]:
            raise SystemExit(f"expected to be connected, got {answer.hex()}; nothing was measured")

    async def publish(self, body: bytes) -> None:
        """Send one more; waits while too many are without an answer."""
        self.sent += 1
        number = struct.pack("!H", (self.sent - 1) % 65535 + 1)
        self._writer.write(_packet(0x32, self._topic + number + body))
        if self.sent - self._acked >= WINDOW:
            await self._writer.drain()
            await self.settle(WINDOW // 2)

    async def settle(self, open_: int = 0) -> None:
        """Wait until at most `open_` messages are without their PUBACK (4 bytes each)."""
        while self.sent - self._acked > open_:
            await self._reader.readexactly(4)
            self._acked += 1


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("!H", len(data)) + data


def _packet(first: int, body: bytes) -> bytes:
    size, head = len(body), bytearray([first])
    while True:
        head.append(size % 128 | (128 if size > 127 else 0))
        size //= 128
        if not size:
            return bytes(head) + body


# ------------------------------------------------------------------------------------------------- measuring


async def throughput(side: Side, blocks: tuple[Block, ...], seconds: float) -> Result:
    """As many frames as go through in about `seconds`, each of the same readings."""
    async with side.hub() as connect:
        device = Publisher(*await connect())
        await device.greet()
        if opening := side.begin():
            await device.publish(opening)
        before, first, wire, cpu_s = side.stored, device.sent, _on_loopback(), _cpu_s()
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            for _ in range(16):
                await device.publish(side.message(blocks))
        await device.settle()
        sent = device.sent - first
        await _stored(side, before + sent)
        spent_s = time.perf_counter() - start
        return Result(sent, side.stored - before, spent_s, _on_loopback() - wire, _cpu_s() - cpu_s)


async def latency(side: Side, size: int, count: int) -> list[float]:
    """From the device's readings to the house's disk (or memory), ms each, one message at a time."""
    payload, times = sized(size), list[float]()
    async with side.hub() as connect:
        device = Publisher(*await connect())
        await device.greet()
        if opening := side.begin():
            await device.publish(opening)
        for number in range(count + 3):
            before, start = side.stored, time.perf_counter()
            await device.publish(side.message(payload))
            await _stored(side, before + 1)
            await device.settle()
            if number >= 3:
                times.append((time.perf_counter() - start) * 1000)
    return sorted(times)


async def _stored(side: Side, want: int) -> None:
    with contextlib.suppress(TimeoutError):  # what is missing then is loss
        async with asyncio.timeout(20):
            while side.stored < want and not side.failed:
                await asyncio.sleep(0.0002)
    if side.failed:
        raise SystemExit(f"expected every message to be taken, got {side.failed}; nothing more was measured")


def sized(size: int) -> tuple[Block, ...]:
    """Readings that make a frame of about `size` bytes."""
    chance, held = random.Random(size), 0
    counts = list[int]()
    while held < size - 70:
        counts.append(chance.randrange(-(2**24), 2**24))
        held += 5
    return (Block("acc_g.x", wall_clock_ms() - 900_000, 10_000, -3, tuple(counts or [1])),)


def _on_loopback() -> int:
    return int(psutil.net_io_counters(pernic=True)["lo"].bytes_sent)


def _cpu_s() -> float:
    """Of this process and the Redis servers that it started."""
    here = psutil.Process()
    times = [process.cpu_times() for process in (here, *here.children())]
    return float(sum(t.user + t.system for t in times))


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


def main() -> None:
    """Measures, prints, draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each round and side (default: 1)")
    parser.add_argument("--messages", type=int, default=40, help="a size, for the latency (default: 40)")
    parser.add_argument("--out", type=Path, help="draw the latency to this HTML file")
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as there, contextlib.ExitStack() as stack:
        sides = [Side(_folder(Path(there) / name), name == "s") for name in ("s", "p")]
        for side in sides:
            side.connect_store(stack.enter_context(redis_of(side.home, side.secured)))
        compare(sides, one_second(), asked.rounds, asked.seconds)
        table = delays(sides, asked.messages)
    if asked.out:
        draw(table, asked.out)


def compare(sides: Sequence[Side], blocks: tuple[Block, ...], rounds: int, seconds: float) -> None:
    """Throughput in turns; prints the medians, the ratio, loss and bandwidth."""
    results: dict[str, list[Result]] = {side.name: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            results[side.name].append(asyncio.run(throughput(side, blocks, seconds)))
    readings = sum(len(b.counts) for b in blocks)
    print(
        f"frames of 1 s of the simulated patient, {readings} readings; {rounds} rounds of {seconds:g} s each, in turns"
    )
    rates = {name: [r.stored / r.spent_s for r in found] for name, found in results.items()}
    for name, found in results.items():
        sent, lost = sum(r.sent for r in found), sum(r.sent - r.stored for r in found)
        wire = sum(r.wire for r in found) / sent
        print(f"{name:8} {statistics.median(rates[name]):8,.0f} messages/s  {lost} of {sent:,d} lost"
              f"  {wire:7,.0f} B a message on loopback, acknowledgements and TCP included")  # fmt: skip
    ratios = sorted(s / p for s, p in zip(rates["secured"], rates["plain"], strict=True))
    ratio = statistics.median(rates["secured"]) / statistics.median(rates["plain"])
    good = "met" if ratio >= GOAL else "NOT MET"
    print(f"secured / plain: {ratio:.2f} (rounds {ratios[0]:.2f} to {ratios[-1]:.2f})"
          f"  goal >= {GOAL}, paper {PAPER_RATIO}  {good}")  # fmt: skip
    cpu = {name: 1e6 * sum(r.cpu_s for r in f) / sum(r.stored for r in f) for name, f in results.items()}
    print(f"processor time a message: {cpu['secured']:.0f} µs secured, {cpu['plain']:.0f} µs plain, "
          f"plain / secured {cpu['plain'] / cpu['secured']:.2f}")  # fmt: skip


def delays(sides: Sequence[Side], count: int) -> list[tuple[int, dict[str, tuple[float, float]]]]:
    """Median and 95th percentile in ms by size and side, printed."""
    print("payload B      secured: median     p95      plain: median     p95   ms")
    table = []
    for size in SIZES:
        row = {}
        for side in sides:
            found = asyncio.run(latency(side, size, count))
            row[side.name] = (found[len(found) // 2], found[int(len(found) * 0.95)])
        table.append((size, row))
        (a, b), (c, d) = row["secured"], row["plain"]
        print(f"{size:9,d} {a:19.2f} {b:8.2f} {c:18.2f} {d:7.2f}")
    return table


def draw(table: Sequence[tuple[int, dict[str, tuple[float, float]]]], out: Path) -> None:
    """The latencies as a page with one drawing in it, without scripts."""
    import matplotlib

    matplotlib.use("svg")
    import io

    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name, colour in (("secured", "#0b7285"), ("plain", "#868e96")):
        sizes = [size / 1000 for size, _ in table]
        axes.plot(sizes, [row[name][0] for _, row in table], "-o", color=colour, label=f"{name}, median", ms=4)
        axes.plot(sizes, [row[name][1] for _, row in table], "--", color=colour, label=f"{name}, 95th percentile")
    axes.set(xscale="log", xlabel="payload, KB", ylabel="latency, ms", ylim=(0, None), title="Device to disk, loopback")
    axes.legend()
    axes.grid(alpha=0.3)
    held = io.StringIO()
    figure.savefig(held, format="svg", bbox_inches="tight", metadata={"Date": None})
    page = f"<!doctype html><meta charset=utf-8><title>Latency by payload</title>\n{held.getvalue()}"
    out.write_text("\n".join(line.rstrip() for line in page.splitlines()) + "\n")
    print(f"drawn to {out}")


def one_second() -> tuple[Block, ...]:
    """A second of the simulated patient."""
    patient = Simulator()
    now_ms = wall_clock_ms()
    patient.start(now_ms - 61_000)
    patient.due(now_ms - 60_000)
    return tuple(patient.due(now_ms - 59_000))


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


if __name__ == "__main__":
    main()
