"""How many viewers one web process feeds, how late they see, and what a viewer on a slow line costs.

The real web process (page, relay, sockets) runs beside this one over a feed that makes an entry of eight channels at
250 Hz ten times a second. Two hundred viewers open a websocket each and confirm every message as a page does; how late
a frame is, is the time from its making to its last byte here. Beside it, in the same run, the same samples as JSON text
to each viewer, which is what dashboards send (Grafana Live, ThingsBoard). One more viewer reads 100 kbit/s and no more:
it must fall behind by missing frames, while the process grows by nothing.

    python -m benchmarks.viewers [VIEWERS] [SECONDS]
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing as mp
import os
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Request, TextMessage

from twin_engine.messages import FrameKind, Provenance, Samples, encode_wire
from twin_engine.registry import PatientCard
from twin_engine.store.feed import Entry

HOST, PORT = "127.0.0.1", 8979
CARD = PatientCard("bench", "BENCH-1", 1970, "Bed 1", "bench-device", number="0000-0000")
CHANNELS = tuple(f"emg_raw_mV.c{i}" for i in range(8))
RATE_HZ, PUSH_S = 250, 0.1
SLOW_BYTES_S = 100_000 / 8
CLOCK_AT = 4  # byte of a wire message from which on the engine's clock stands, f64


class Feed:
    """Entries made from the clock alone, `PUSH_S` apart. `as_json`: the samples travel as text in the status."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._next_s = time.time()
        self._lock = threading.Lock()

    def follow(self, last: dict[str, str], block_ms: int) -> list[tuple[str, Entry]]:
        time.sleep(max(0.0, self._next_s - time.time()))
        with self._lock:
            self._next_s += PUSH_S
        return [(CARD.id, self._entry(time.time()))]

    def recent(self, patient: str, seconds: float) -> list[Entry]:
        return []

    def patients(self) -> list[PatientCard]:
        return [CARD]

    def _entry(self, now_s: float) -> Entry:
        n = int(RATE_HZ * PUSH_S)
        times = (now_s * 1e6 - np.arange(n)[::-1] * 1e6 / RATE_HZ).astype(np.int64)
        values = np.sin(times / 3e5)
        marks = np.full(n, Provenance.MEASURED, np.uint8)
        samples = [Samples(c, times, values, values, values, np.ones(n), marks) for c in CHANNELS]
        name = f"{int(now_s * 1000)}-0"
        if not self._as_json:
            return Entry(name, encode_wire(FrameKind.LIVE, now_s, samples))
        points = [[t / 1e6, v, v, v, 1.0, 0] for t, v in zip(times.tolist(), values.tolist(), strict=True)]
        rows = {s.channel: points for s in samples}
        return Entry(name, b"", b"", {"t": now_s, "samples": rows})


def serve(as_json: bool, ready: Any, relayed: Any) -> None:
    """The web process."""
    from web.app import create_app, serve
    from web.settings import WebSettings

    def handed_on(entry: Entry, now_ms: int) -> None:
        relayed.value += 1

    settings = WebSettings(host=HOST, port=PORT, snapshot_s=10.0)
    app, _ = create_app(Feed(as_json), settings, handed_on)  # type: ignore[arg-type]  # what a viewer needs of a feed
    server = serve(app, settings)
    ready.set()
    server.serve_forever()


@dataclass
class Seen:
    """What one viewer saw."""

    late_ms: list[float] = field(default_factory=list)
    bytes: int = 0
    frames: int = 0
    dropped: int = 0
    closed: bool = False


async def watch(seen: Seen, end_s: float, bytes_s: float | None = None) -> None:
    """One viewer over a plain websocket: Socket.IO 5 by hand, so that 200 of them cost little."""
    limit = 2**16 if bytes_s is None else 4096
    reader, writer = await asyncio.open_connection(HOST, PORT, limit=limit)
    wire = WSConnection(ConnectionType.CLIENT)
    origin = [(b"Origin", f"http://{HOST}:{PORT}".encode())]
    target = "/socket.io/?EIO=4&transport=websocket"
    writer.write(wire.send(Request(host=f"{HOST}:{PORT}", target=target, extra_headers=origin)))
    text, event, started = "", "", time.monotonic()
    while time.time() < end_s:
        if bytes_s is not None:
            await asyncio.sleep(max(0.0, started + seen.bytes / bytes_s - time.monotonic()))
        try:
            data = await asyncio.wait_for(reader.read(4096 if bytes_s else 2**16), max(0.01, end_s - time.time()))
        except TimeoutError:
            break
        if not data:
            seen.closed = True
            break
        seen.bytes += len(data)
        wire.receive_data(data)
        for item in wire.events():
            match item:
                case AcceptConnection():
                    writer.write(wire.send(TextMessage(f"40/twin,{json.dumps({'patient': CARD.id})}")))
                case Ping():
                    writer.write(wire.send(item.response()))
                case CloseConnection():
                    seen.closed = True
                    return
                case TextMessage(data=part, message_finished=done):
                    text += part
                    if done:
                        event, text = text, ""
                        _text(event, seen, writer, wire)
                case BytesMessage(data=blob, message_finished=done):
                    _binary(event, bytes(blob), seen, writer, wire, done)
    writer.close()


def _text(event: str, seen: Seen, writer: asyncio.StreamWriter, wire: WSConnection) -> None:
    if event == "2":
        writer.write(wire.send(TextMessage("3")))
    elif event.startswith("42/twin,"):
        at = event.index("[")
        if '"dropped"' in event[:60]:
            seen.dropped += json.loads(event[at:])[1]["count"]
        if '"status"' in event[: at + 12]:
            _frame(json.loads(event[at:])[1]["t"], seen)
        _confirm(event[len("42/twin,") : at], writer, wire)


_parts: dict[int, bytes] = {}


def _binary(event: str, blob: bytes, seen: Seen, writer: asyncio.StreamWriter, wire: WSConnection, done: bool) -> None:
    whole = _parts.pop(id(seen), b"") + blob
    if not done:
        _parts[id(seen)] = whole
        return
    if '"frame"' in event:
        _frame(float(np.frombuffer(whole, "<f8", 1, CLOCK_AT)[0]), seen)
    at = event.index("[")
    _confirm(event[event.index(",") + 1 : at], writer, wire)


def _frame(made_s: float, seen: Seen) -> None:
    seen.frames += 1
    seen.late_ms.append((time.time() - made_s) * 1000)


def _confirm(ack: str, writer: asyncio.StreamWriter, wire: WSConnection) -> None:
    if ack:
        writer.write(wire.send(TextMessage(f"43/twin,{ack}[]")))


def measure(viewers: int, seconds: float, as_json: bool, slow: bool) -> dict[str, float]:
    """Run one web process and all its viewers; numbers by name."""
    context = mp.get_context("spawn")
    ready, relayed = context.Event(), context.Value("i", 0)
    process = context.Process(target=serve, args=(as_json, ready, relayed), daemon=True)
    process.start()
    ready.wait(60)
    time.sleep(1.0)
    return asyncio.run(_measured(viewers, seconds, process, slow))


async def _measured(viewers: int, seconds: float, process: Any, slow: bool) -> dict[str, float]:
    web = psutil.Process(process.pid)
    end_s = time.time() + seconds + viewers * 0.01
    seen = [Seen() for _ in range(viewers)]
    tasks = []
    for one in seen:
        tasks.append(asyncio.create_task(watch(one, end_s)))
        await asyncio.sleep(0.01)
    behind = Seen()
    if slow:
        tasks.append(asyncio.create_task(watch(behind, end_s, SLOW_BYTES_S)))
    await asyncio.sleep(3)
    early_mb, busy = web.memory_info().rss / 1e6, web.cpu_times()
    began = time.monotonic()
    for one in seen:
        one.late_ms.clear()
    await asyncio.gather(*tasks)
    used = web.cpu_times()
    grown_mb = web.memory_info().rss / 1e6 - early_mb
    process.kill()
    late = np.concatenate([one.late_ms for one in seen]) if seen else np.empty(0)
    return {
        "p50": float(np.percentile(late, 50)),
        "p95": float(np.percentile(late, 95)),
        "p99": float(np.percentile(late, 99)),
        "closed": sum(one.closed for one in seen),
        "dropped": sum(one.dropped for one in seen),
        "kilobytes_s": sum(one.bytes for one in seen) / viewers / seconds / 1000,
        "cpu": (used.user + used.system - busy.user - busy.system) / (time.monotonic() - began),
        "grown_mb": grown_mb,
        "slow_frames": behind.frames,
        "slow_dropped": behind.dropped,
        "slow_closed": behind.closed,
        "slow_late_s": float(np.median(behind.late_ms[-20:]) / 1000) if behind.late_ms else float("nan"),
    }


def main() -> None:
    """Print what was measured."""
    viewers = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 30.0
    size = f"{len(CHANNELS)} channels at {RATE_HZ} Hz, {1 / PUSH_S:g} pushes/s"
    print(f"{viewers} viewers, {size}, {os.cpu_count()} cores")
    ours = measure(viewers, seconds, as_json=False, slow=False)
    json_text = measure(viewers, seconds, as_json=True, slow=False)
    for name, got in (("binary frames (ours)", ours), ("JSON text (as dashboards send)", json_text)):
        print(
            f"{name:32} p50 {got['p50']:6.0f} ms  p95 {got['p95']:6.0f} ms  p99 {got['p99']:6.0f} ms  "
            f"disconnected {got['closed']}  dropped {got['dropped']}  {got['kilobytes_s']:.1f} kB/s a viewer  "
            f"{got['cpu']:.2f} cores"
        )
    print(f"ratio of p95, ours to JSON: {ours['p95'] / json_text['p95']:.2f}")
    slow = measure(1, seconds, as_json=False, slow=True)
    print(
        f"a viewer on 100 kbit/s: {slow['slow_frames']:.0f} frames seen, {slow['slow_dropped']:.0f} told as dropped, "
        f"the newest {slow['slow_late_s']:.1f} s old, disconnected {bool(slow['slow_closed'])}; "
        f"the web process grew by {slow['grown_mb']:.1f} MB"
    )


if __name__ == "__main__":
    main()
