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
import logging
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks._latency_page import Delays, draw
from benchmarks._publisher import Publisher
from benchmarks._sides import DEVICE, Side, redis_of
from device.frame import Block
from device.simulator import Simulator
from security.identity import wall_clock_ms

GOAL, PAPER_RATIO = 0.85, 0.73
SIZES = (200, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000)


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
    for name, found in results.items():
        print_side(name, found)
    print_ratio(results["secured"], results["plain"])


def print_side(name: str, found: Sequence[Result]) -> None:
    """Rate, loss and bandwidth of one side."""
    sent, stored = sum(r.sent for r in found), sum(r.stored for r in found)
    rate, wire = statistics.median(r.rate for r in found), sum(r.wire for r in found) / sent
    print(f"{name:8} {rate:8,.0f} messages/s  {sent - stored} of {sent:,d} lost"
          f"  {wire:7,.0f} B a message on loopback, acknowledgements and TCP included")  # fmt: skip


def print_ratio(secured: Sequence[Result], plain: Sequence[Result]) -> None:
    """How much of the plain way's throughput is left, and of its processor time."""
    ratio = statistics.median(r.rate for r in secured) / statistics.median(r.rate for r in plain)
    ratios = sorted(s.rate / p.rate for s, p in zip(secured, plain, strict=True))
    print(f"secured / plain: {ratio:.2f} (rounds {ratios[0]:.2f} to {ratios[-1]:.2f})"
          f"  goal >= {GOAL}, paper {PAPER_RATIO}  {'met' if ratio >= GOAL else 'NOT MET'}")  # fmt: skip
    cpu_us, plain_us = (1e6 * sum(r.cpu_s for r in found) / sum(r.stored for r in found) for found in (secured, plain))
    print(f"processor time a message: {cpu_us:.0f} µs secured, {plain_us:.0f} µs plain, "
          f"plain / secured {plain_us / cpu_us:.2f}")  # fmt: skip


def delays(sides: Sequence[Side], count: int) -> Delays:
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


@dataclass(slots=True)
class Result:
    """A round: messages sent and stored, seconds, bytes on loopback, processor time."""

    sent: int
    stored: int
    spent_s: float
    wire: int
    cpu_s: float

    @property
    def rate(self) -> float:
        """Messages stored in a second."""
        return self.stored / self.spent_s


async def throughput(side: Side, blocks: tuple[Block, ...], seconds: float) -> Result:
    """As many frames as go through in about `seconds`, each of the same readings."""
    async with connected(side) as device:
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
    async with connected(side) as device:
        for number in range(count + 3):
            before, start = side.stored, time.perf_counter()
            await device.publish(side.message(payload))
            await _stored(side, before + 1)
            await device.settle()
            if number >= 3:
                times.append((time.perf_counter() - start) * 1000)
    return sorted(times)


@contextlib.asynccontextmanager
async def connected(side: Side) -> AsyncIterator[Publisher]:
    """The side's device, with a session where this side seals."""
    async with side.hub() as connect:
        device = Publisher(DEVICE, *await connect())
        await device.greet()
        if opening := side.begin():
            await device.publish(opening)
        yield device


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


def one_second() -> tuple[Block, ...]:
    """A second of the simulated patient."""
    patient = Simulator()
    now_ms = wall_clock_ms()
    patient.start(now_ms - 61_000)
    patient.due(now_ms - 60_000)
    return tuple(patient.due(now_ms - 59_000))


def _on_loopback() -> int:
    return int(psutil.net_io_counters(pernic=True)["lo"].bytes_sent)


def _cpu_s() -> float:
    """Of this process and the Redis servers that it started."""
    here = psutil.Process()
    times = [process.cpu_times() for process in (here, *here.children())]
    return float(sum(t.user + t.system for t in times))


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


if __name__ == "__main__":
    main()
