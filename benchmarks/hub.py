"""How many messages the local hub carries and how long each takes, in one run on one machine, hub in its own process.

First byte by byte (raw MQTT to raw AMQP: what the hub itself costs), then through the unmodified SDKs (what an
installation sees: the consumer SDK alone polls every 50 ms). Messages are 2 KiB, QoS 1, over TLS.

    python -m benchmarks.hub [--messages 5000]
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import tempfile
import threading
import time
from multiprocessing.synchronize import Event
from pathlib import Path

from device.hub import amqp_frames as frames
from device.hub.server import HubSettings, serve
from tests.hub_kit import Kit, device_sha, running_hub
from tests.hub_raw import raw_consumer, raw_device
from tests.mqtt_packets import events, publish

HOST = "127.0.1.20"
BODY = bytes(2048)
WINDOW = 100  # unacknowledged messages on the way
Times = list[float]


def run_hub(settings: HubSettings, up: Event) -> None:
    """The other process."""
    asyncio.run(serve(settings, asyncio.Event(), ready=up.set))


def say(what: str, spent: Times, seconds: float = 0.0) -> None:
    """One line of the report. `spent` in seconds."""
    cuts = statistics.quantiles(spent, n=100)
    rate = f", {len(spent) / seconds:,.0f} messages/s" if seconds else ""
    print(f"{what}: p50 {cuts[49] * 1e3:.1f} ms, p95 {cuts[94] * 1e3:.1f} ms{rate}")


def raw_latency(kit: Kit, count: int) -> None:
    """One message at a time, 100 a second."""
    spent = Times()
    with raw_consumer(kit) as consumer, raw_device(kit, kit.enrol("raw"), "raw") as device:
        consumer.read_partition(device_sha("raw", 2), credit=count)
        for i in range(1, count + 1):
            start = time.perf_counter()
            device.send(publish(events("raw"), BODY, i))
            consumer.until(frames.TRANSFER)
            spent.append(time.perf_counter() - start)
            device.acked(i)
            time.sleep(0.01)
    say("hub alone, publish to delivery", spent)


def raw_throughput(kit: Kit, count: int) -> None:
    """One device, one consumer, as fast as acknowledgements come; latency under that load."""
    sent, spent = list[float](), Times()
    with raw_consumer(kit) as consumer, raw_device(kit, kit.enrol("fast"), "fast") as device:
        consumer.read_partition(device_sha("fast", 2), credit=count)

        def receive() -> None:
            for i in range(count):
                consumer.until(frames.TRANSFER)
                spent.append(time.perf_counter() - sent[i])
                if i % 1000 == 999:
                    consumer.grant(1, count, seen=i + 1, frames_seen=i + 2)

        reader, start = threading.Thread(target=receive), time.perf_counter()
        reader.start()
        for i in range(count + WINDOW):
            if i >= WINDOW:
                device.acked((i - WINDOW) % 60_000 + 1)
            if i < count:
                sent.append(time.perf_counter())
                device.send(publish(events("fast"), BODY, i % 60_000 + 1))
        reader.join()
        say(f"hub alone, {WINDOW} on the way", spent, time.perf_counter() - start)


async def sdk(kit: Kit, count: int, pause_s: float, what: str) -> None:
    """azure-iot-device to azure-eventhub: four devices, each waiting for its acknowledgement."""
    names = [f"sdk-{i}" for i in range(4)]
    devices = [kit.device(name, kit.enrol(name)) for name in names]
    spent, ready = Times(), asyncio.Event()

    async def take(_: object, event: object) -> None:
        moment = float(b"".join(event.body)[:20])  # type: ignore[attr-defined]
        if moment:
            spent.append(time.perf_counter() - moment)
        ready.set()

    consumer = kit.consumer()
    task = asyncio.create_task(consumer.receive(on_event=take, starting_position="@latest", prefetch=3000))
    for device in devices:
        await device.connect()
    while not ready.is_set():
        await devices[0].send_message(b"0".ljust(20) + BODY)
        await asyncio.sleep(0.2)

    async def send(device: object) -> None:
        for _ in range(count // len(devices)):
            moment = f"{time.perf_counter():.6f}".encode().ljust(20)
            await device.send_message(moment + BODY[20:])  # type: ignore[attr-defined]
            await asyncio.sleep(pause_s)

    start = time.perf_counter()
    await asyncio.gather(*(send(device) for device in devices))
    while len(spent) < count // len(devices) * len(devices):
        await asyncio.sleep(0.01)
    say(what, spent, 0 if pause_s else time.perf_counter() - start)
    for device in devices:
        await device.shutdown()
    await consumer.close()
    task.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--messages", type=int, default=5000)
    count = parser.parse_args().messages
    with tempfile.TemporaryDirectory() as folder, running_hub(HOST, Path(folder)) as kit:
        kit.hub.stop()  # it has made the settings; the hub that is measured has a process of its own
        context = multiprocessing.get_context("spawn")
        up = context.Event()
        process = context.Process(target=run_hub, args=(kit.hub.settings, up))
        process.start()
        try:
            up.wait(10)
            raw_latency(kit, 500)
            raw_throughput(kit, count)
            asyncio.run(sdk(kit, 400, 0.2, "device SDK to consumer SDK, 20 messages/s"))
            asyncio.run(sdk(kit, min(count, 2000), 0.0, "device SDK to consumer SDK, as fast as it goes"))
        finally:
            process.terminate()
            process.join()


if __name__ == "__main__":
    main()
