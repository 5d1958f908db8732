"""One ward on a real Redis, for tests: engines, patients, a device; the hub is played by the test."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from device.downlink import Order
from device.frame import Block, Frame, Source, encode, quantise
from device.ingest import HubEvent
from device.orders import Orders
from security.envelope import Lane, Recipient, Sealer, open_session
from security.identity import DeviceIdentity, ensure_engine, issue_device, load_or_create_ca, wall_clock_ms
from security.keys import MasterKey
from twin_engine.model import Generator
from twin_engine.pipeline import Engine
from twin_engine.registry import PatientCard
from twin_engine.store.connection import connect
from twin_engine.store.orders import OrderQueue
from twin_engine.store.patients import PatientStore
from twin_engine.store.raw import RawSink
from twin_engine.store.reader import RedisFeed
from twin_engine.store.server import RedisFiles
from twin_engine.store.shard import ShardStore
from twin_engine.store.vault import Vault

DEVICE, PATIENT = "dev-1", "p-1"
PATIENCE_S = 30  # a test on a busy machine is slow, not wrong
CARD = PatientCard(PATIENT, "WREN-3", 1970, "Bed 1", DEVICE)


@dataclass
class Ward:
    """At first one patient with one device; shards and engines as many as the test starts."""

    files: RedisFiles
    state: Path
    generator: Generator
    shards: int = 1
    stops: list[threading.Event] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)
    taken: list[Order] = field(default_factory=list)
    offset: int = 0

    def __post_init__(self) -> None:
        self.ca = load_or_create_ca(self.state / "ca")
        self.master = MasterKey.load_or_create(self.state / "master.key")
        self.identity: DeviceIdentity = issue_device(self.ca, DEVICE, self.state / "dev")
        self.keeper = connect(self.files.login("keeper"))
        self.patients = PatientStore(self.keeper, Vault(self.keeper, self.master), self.shards)
        self.patients.admit(CARD, wall_clock_ms())
        self.patients.assign(DEVICE, PATIENT, wall_clock_ms() - 30_000)  # before the readings that tests send
        self.sink = RawSink(connect(self.files.login("ingest")), self.shards)
        self.orders = OrderQueue(connect(self.files.login("downlink")), self.shards)
        web = connect(self.files.login("web"))
        self.feed = RedisFeed(web, Vault(web, self.master), self.shards, connect(self.files.login("acts")))

    def store(self, shard: str = "s0") -> ShardStore:
        client = connect(self.files.login("engine"))
        return ShardStore(client, Vault(client, self.master), shard, self.shards)

    def engine(self, shard: str = "s0") -> threading.Event:
        """Start an engine of its own; returns what stops it."""
        stop = threading.Event()
        made = Engine(
            self.store(shard),
            self.generator,
            trust=self.ca.trust,
            identity=ensure_engine(self.ca, self.state / "engine"),
            master=self.master,
            clock_ms=wall_clock_ms,
        )
        thread = threading.Thread(target=made.run, args=(stop,), daemon=True)
        thread.start()
        self.threads.append(thread)
        self.stops.append(stop)
        return stop

    def take(self, kind: str) -> dict[str, object]:
        """The payload of the next order of a kind, as downlink would take it."""
        return dict(self.take_order(kind).payload)

    def take_order(self, kind: str) -> Order:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            self.taken += self.orders.take(200)
            for order in self.taken:
                if order.kind == kind:
                    self.taken.remove(order)
                    return order
        raise AssertionError(f"no {kind} order came")

    def connect_device(self, epoch: int = 1) -> None:
        """The device gets its key and opens a session."""
        wanted = self.take("desired")
        self.recipient = recipient = Recipient.from_json(wanted["recipient"])
        record, self.sealer = open_session(
            self.identity, recipient, epoch=epoch, lane=Lane.LIVE, now_ms=wall_clock_ms()
        )
        self.record = record
        self.send(record)

    def send(self, *bodies: bytes, device: str = DEVICE) -> None:
        """Events as ingest would store them."""
        events = []
        for body in bodies:
            self.offset += 1
            events.append(HubEvent("0", str(self.offset), self.offset, device, wall_clock_ms(), body))
        self.sink.put(events)

    def told(self, name: str = "identify", payload: dict[str, object] | None = None, who: str = "nurse") -> None:
        """Somebody leaves a command for the device, as the page does."""
        body = {"device": DEVICE, "name": name, "payload": payload or {}}
        self.feed.act(PATIENT, "command", body, who)

    def listen(self) -> Orders:
        """The device's ear for the session that it has open, as it would have it after what it sealed."""
        orders = Orders()
        orders.opened(self.sealer, 0)
        for number in range(self.sealer.next_seq):
            orders.sealed(self.sealer.sid, number, 0)
        return orders

    def open_late(self) -> tuple[bytes, Sealer]:
        """A session opened with the key that the device had before, though the engine has made a newer one."""
        return open_session(self.identity, self.recipient, epoch=1, lane=Lane.BACKFILL, now_ms=wall_clock_ms())

    def wait_for_receipt(self, sealer: Sealer, upto: int) -> None:
        """Until every number up to `upto` of a session is receipted."""
        end, found = time.monotonic() + PATIENCE_S, -1
        while found < upto:
            assert time.monotonic() < end, f"expected a receipt up to {upto}, got {found}"
            self.taken += self.orders.take(100)
            mine = [o for o in self.taken if o.kind == "receipt" and o.name == sealer.sid.hex() and o.payload]
            found = max((sealer.check_receipt(dict(order.payload)).upto for order in mine), default=-1)

    def close(self) -> None:
        """Stop every engine."""
        for stop in self.stops:
            stop.set()
        for thread in self.threads:
            thread.join(5)

    def frame(self, n: int = 8, value: float = 4.0, sealer: Sealer | None = None) -> bytes:
        """A sealed frame with n readings of skin conductance, the newest of now."""
        now = wall_clock_ms()
        block = Block("gsr_uS", now - 250 * n, 250_000, -4, quantise([value + i / 1000 for i in range(n)], -4))
        sealer = sealer or self.sealer
        return sealer.seal(encode(Frame(now, now, sealer.epoch, sealer.next_seq, Source.SENSOR, (block,))))

    def counts(self, shard: str = "s0") -> dict[str, int]:
        return self.store(shard).cursor().counts

    def wait_for(self, name: str, count: int, shard: str = "s0") -> dict[str, int]:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            found = self.counts(shard)
            if found.get(name, 0) >= count:
                return found
            time.sleep(0.03)
        raise AssertionError(f"expected {name} to reach {count}, got {self.counts(shard)}")

    def events(self, patient: str = PATIENT) -> list[dict[str, object]]:
        return [event for entry in self.feed.recent(patient, 60) for event in entry.events]

    def story(self, kind: str, at: int = 0) -> dict[str, object]:
        """An event of that kind, once there are so many."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            found = [event for event in self.events() if event["kind"] == kind]
            if len(found) > at:
                return found[at]
            time.sleep(0.03)
        raise AssertionError(f"expected an event of kind {kind}, got {[event['kind'] for event in self.events()]}")

    def card(self, patient: str = PATIENT) -> PatientCard:
        """As the page would read it; an empty one while there is none."""
        empty = PatientCard(patient, "", 0, "")
        return next((card for card in self.feed.patients() if card.id == patient), empty)
