"""A house of real processes (Redis, hub, engine, ingest) with two devices, of which one is stolen and revoked.

The stolen one tries both ways: by the hub, through the unmodified device SDK, and past it, as behind a hub that knows
of no revocation: its sealed messages are put straight into the raw stream, where ingest would put them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from azure.iot.device import X509, Message
from azure.iot.device.aio import IoTHubDeviceClient

from device.frame import Block, Frame, Source, encode, quantise
from device.ingest import HubEvent
from everbeat import wiring
from everbeat.settings import Settings
from security.envelope import Lane, Recipient, Sealer, open_session
from security.identity import wall_clock_ms
from twin_engine.registry import PatientCard
from twin_engine.store.errors import StoreDown
from twin_engine.store.orders import OrderQueue
from twin_engine.store.server import prepare, start

PROJECT = Path(__file__).resolve().parents[1]
PATIENCE_S = 90.0  # for processes to come up on a busy machine
STOLEN, OTHER = "stolen-1", "honest-1"
_TRY_EVERY_S = 0.05


@dataclass
class Device:
    """What a device's board does, by hand: one SDK client, one session."""

    name: str
    client: IoTHubDeviceClient
    sealer: Sealer
    lost_s: list[float] = field(default_factory=list)  # when the connection went, monotonic

    def frame(self) -> bytes:
        now = wall_clock_ms()
        block = Block("gsr_uS", now - 2000, 250_000, -4, quantise([4.0 + i / 1000 for i in range(8)], -4))
        return self.sealer.seal(encode(Frame(now, now, 1, self.sealer.next_seq, Source.SENSOR, (block,))))

    async def send(self) -> None:
        await asyncio.wait_for(self.client.send_message(Message(self.frame())), 10)


@dataclass
class House:
    """Running processes on a state directory of their own."""

    settings: Settings
    orders: OrderQueue
    taken: list[object] = field(default_factory=list)

    def pki(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``everbeat pki ...`` as an officer types it."""
        command = [sys.executable, "-m", "everbeat.cli", "pki", *arguments]
        env = os.environ | self.settings.environment() | {"COLUMNS": "200"}
        return subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, timeout=120)

    def admit(self, device: str) -> None:
        """A patient of whom this device speaks, and its certificate."""
        done = self.pki("enrol", device)
        assert done.returncode == 0, done.stderr
        patients = wiring.patient_store(self.settings)
        patients.admit(PatientCard(f"p-{device}", device.upper(), 1970, "Bed 1", device), wall_clock_ms())
        patients.assign(device, f"p-{device}", wall_clock_ms())

    def client(self, device: str) -> IoTHubDeviceClient:
        """The unmodified SDK, with the identity that was enrolled."""
        identity = wiring.device_identity(self.settings, device)
        return IoTHubDeviceClient.create_from_x509_certificate(
            X509(str(identity.chain_path), str(identity.key_path)), self.settings.hub_host, device,
            server_verification_cert=identity.root_path.read_text(), connection_retry=False, auto_connect=False,
        )  # fmt: skip

    def recipient(self, device: str) -> Recipient:
        """The key that the engine made for the device."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            self.taken += self.orders.take(200)
            for order in self.taken:
                if (order.device, order.kind) == (device, "desired"):  # type: ignore[attr-defined]
                    return Recipient.from_json(dict(order.payload)["recipient"])  # type: ignore[attr-defined]
        raise AssertionError(f"expected a recipient key for {device}, got none")

    @asynccontextmanager
    async def connected(self, device: str) -> AsyncIterator[Device]:
        identity, client = wiring.device_identity(self.settings, device), self.client(device)
        recipient = await asyncio.to_thread(self.recipient, device)
        record, sealer = open_session(identity, recipient, epoch=1, lane=Lane.LIVE, now_ms=wall_clock_ms())
        found = Device(device, client, sealer)

        def note() -> None:
            if not client.connected:
                found.lost_s.append(time.monotonic())

        await asyncio.wait_for(client.connect(), 30)
        client.on_connection_state_change = note
        await asyncio.wait_for(client.send_message(Message(record)), 10)
        try:
            yield found
        finally:
            await client.shutdown()

    def listed_ms(self) -> float:
        """When the list of revoked certificates was written."""
        return wiring.authority(self.settings).lists_path.stat().st_mtime_ns / 1e6

    def counts(self) -> dict[str, int]:
        return wiring.counters(self.settings)

    async def until(self, name: str, least: int, within_s: float = PATIENCE_S) -> dict[str, int]:
        end = time.monotonic() + within_s
        while (found := self.counts()).get(name, 0) < least:
            assert time.monotonic() < end, f"expected {name} to reach {least}, got {found}"
            await asyncio.sleep(0.02)
        return found


@dataclass(frozen=True)
class Cut:
    """Seconds from the start of ``everbeat pki revoke``: to the new list on disk, to the command's end, to the closed
    socket, to the first refusal. A busy machine stretches the first two most: they are the start of a process."""

    listed_s: float
    command_s: float
    hub_s: float
    engine_s: float
    stored_before: int  # messages that came past the hub and counted before
    stored_after: int  # messages of the stolen device that counted after the engine had begun to refuse
    story: list[str]  # what the patient's story says
    readmitted: bool  # whether the stolen device got in again
    others_go_on: bool

    @property
    def whole_s(self) -> float:
        """From the start of the command until both ways are shut."""
        return max(self.hub_s, self.engine_s)


async def steal_and_revoke(house: House) -> Cut:
    """Two devices send; one is revoked; it keeps trying both ways."""
    sink, offset = wiring.raw_sink(house.settings), 0
    async with house.connected(STOLEN) as stolen, house.connected(OTHER) as other:
        await stolen.send()
        await other.send()
        before = await house.until("frames", 2)
        began_s, began_ms = time.monotonic(), wall_clock_ms()
        command = asyncio.create_task(asyncio.to_thread(house.pki, "revoke", STOLEN, "--reason", "keyCompromise"))
        ended_s, refused_s, at_refusal = 0.0, 0.0, 0
        while not (refused_s and stolen.lost_s and ended_s):
            assert time.monotonic() - began_s < 60, f"expected a cut, got {house.counts()}, {stolen.lost_s}"
            offset += 1
            now_ms = wall_clock_ms()
            sink.put([HubEvent("another hub", str(offset), offset, STOLEN, now_ms, stolen.frame())])
            counts = house.counts()
            if not refused_s and counts.get("refused", 0) > before.get("refused", 0):
                refused_s, at_refusal = time.monotonic(), counts["frames"]
            if command.done() and not ended_s:
                ended_s = time.monotonic()
                assert command.result().returncode == 0, command.result().stderr
            await asyncio.sleep(_TRY_EVERY_S)
        await asyncio.sleep(1.0)
        stored_after = house.counts()["frames"] - at_refusal
        readmitted = await _gets_in(house)
        await other.send()
        go_on = (await house.until("frames", at_refusal + stored_after + 1))["frames"] > at_refusal
        feed = wiring.feed(house.settings)
        story = [str(e["text"]) for entry in feed.recent(f"p-{STOLEN}", 300) for e in entry.events]
        listed_s = (house.listed_ms() - began_ms) / 1e3
        went_s = [moment - began_s for moment in (ended_s, stolen.lost_s[0], refused_s)]
        return Cut(listed_s, *went_s, at_refusal - before["frames"], stored_after, story, readmitted, go_on)


async def _gets_in(house: House) -> bool:
    client = house.client(STOLEN)
    try:
        await asyncio.wait_for(client.connect(), 10)
        return bool(client.connected)
    except Exception:  # noqa: BLE001 - the SDK has many ways to say no
        return False
    finally:
        await client.shutdown()


@contextmanager
def running_house(hub_host: str) -> Iterator[House]:
    """Redis, hub, engine and ingest, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="eb-") as folder:  # a unix socket's path must be short
        settings = Settings(Path(folder), hub_host=hub_host)
        processes = [start(prepare(settings.redis_files.directory))]
        try:
            _wait_for_redis(settings)
            house = House(settings, wiring.order_queue(settings))
            assert house.pki("init").returncode == 0
            for device in (STOLEN, OTHER):
                house.admit(device)
            processes += [_process(settings, name) for name in ("hub", "engine", "ingest")]
            yield house
        finally:
            for process in reversed(processes):
                process.terminate()
            for process in processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(20)
                process.kill()


def _wait_for_redis(settings: Settings) -> None:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            wiring.patient_store(settings).fix_shards()
            return
        except StoreDown:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _process(settings: Settings, name: str) -> subprocess.Popen[bytes]:
    (settings.state / "logs").mkdir(exist_ok=True)
    with (settings.state / "logs" / f"{name}.log").open("wb") as out:
        command = [sys.executable, "-m", "everbeat.cli", name]
        return subprocess.Popen(command, cwd=PROJECT, env=os.environ | settings.environment(), stdout=out, stderr=out)
