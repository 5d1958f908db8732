"""What the tests of the device side share: a hub with our own certificates, and a small engine in memory.

The engine is real where it counts: it proves every message with ``security.envelope``, stores in a list, and answers
with MACed receipts through the real downlink. It only has no disk.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from device.downlink import Order, Outcome, RestSettings
from device.frame import Block, Frame, Source, decode
from device.hub.registry import Registry
from device.hub.server import HubSettings, Policy, Right
from device.ingest import EventHubSettings, HubEvent
from device.link import HubAddress
from device.uplink import UplinkSettings
from security.commands import METHOD, Command
from security.envelope import Opener, Recipient, Rejected, accept_open_record, parse_header, sign_recipient
from security.identity import DeviceIdentity, create_ca, issue_device, issue_engine, issue_server
from security.keys import RecipientKey, create_recipient_key
from security.suite import STRONGEST_FIRST
from tests.hub_kit import KEY, HubThread


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Ramp:
    """A source whose n-th reading, every 20 ms, has the value n: whatever is lost or doubled shows."""

    source = Source.SENSOR
    label = "ramp"
    channels = ("gsr_uS", "emg_activity_mV.zyg", "emg_activity_mV.corr")
    finished = False
    period_ms = 20

    def __init__(self) -> None:
        self.given = 0
        self._start_ms = 0

    def start(self, now_ms: int) -> None:
        self._start_ms = now_ms

    def due(self, now_ms: int) -> list[Block]:
        end = (now_ms - self._start_ms) // self.period_ms + 1
        first, self.given = self.given, max(self.given, end)
        counts = tuple(range(first, self.given))
        t0_ms = self._start_ms + first * self.period_ms
        return [Block(c, t0_ms, self.period_ms * 1000, 0, counts) for c in self.channels] if counts else []


@dataclass
class Engine:
    """Sink and outbox in one, with the key to open what devices seal."""

    house: House
    seen: dict[str, list[tuple[bytes, int, bool, Frame]]] = field(default_factory=dict)  # device -> sid, seq, live, ...
    refused: list[Rejected] = field(default_factory=list)
    duplicates: int = 0
    outcomes: list[tuple[Order, Outcome]] = field(default_factory=list)
    stored_s: dict[tuple[bytes, int], float] = field(default_factory=dict)
    silent: bool = False  # gives no receipts
    down: bool = False  # the store fails
    checkpoints: dict[str, str] = field(default_factory=dict)
    puts: list[int] = field(default_factory=list)
    events: list[HubEvent] = field(default_factory=list)
    asked: dict[int, Command] = field(default_factory=dict)
    _told: int = -1
    _openers: dict[bytes, Opener] = field(default_factory=dict)
    _numbers: dict[bytes, set[int]] = field(default_factory=dict)
    _orders: queue.Queue[Order] = field(default_factory=queue.Queue)
    _count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    # -- sink

    def put(self, events: Sequence[HubEvent]) -> None:
        if self.down:
            raise ConnectionError("the store is down")
        with self._lock:
            self.puts.append(len(events))
            touched = {sid for event in events if (sid := self._take(event)) is not None}
            for event in events:
                self.checkpoints[event.partition] = event.offset
        for sid in touched if not self.silent else ():
            self.receipt(sid)

    def checkpoint(self, partition: str) -> str | None:
        return self.checkpoints.get(partition)

    def _take(self, event: HubEvent) -> bytes | None:
        self.events.append(event)
        try:
            header = parse_header(event.body)
            if header.is_open:
                if header.sid not in self._openers:
                    self._openers[header.sid] = accept_open_record(
                        event.body, trust=self.house.ca.trust, recipient_key=self.house.keys.get,
                        hub_device_id=event.device, now_ms=now_ms(),
                    )  # fmt: skip
                return None
            opener = self._openers[header.sid]
            seq, data = opener.open(event.body)
        except Rejected as refusal:
            self.refused.append(refusal)
            return None
        numbers = self._numbers.setdefault(header.sid, set())
        if seq in numbers:
            self.duplicates += 1
        else:
            numbers.add(seq)
            self.stored_s[header.sid, seq] = time.time()
            self.seen.setdefault(event.device, []).append((header.sid, seq, header.lane == 0, decode(data)))
        return header.sid

    def receipt(self, sid: bytes) -> None:
        """Orders a receipt for all that is stored of the session."""
        opener, numbers = self._openers[sid], self._numbers[sid]
        upto = -1
        while upto + 1 in numbers:
            upto += 1
        extra = [(n, n) for n in sorted(numbers) if n > upto]
        merged: list[tuple[int, int]] = []
        for first, last in extra:
            if merged and merged[-1][1] + 1 == first:
                merged[-1] = (merged[-1][0], last)
            else:
                merged.append((first, last))
        self.order(opener.device, "receipt", sid.hex(), opener.make_receipt(upto, tuple(merged), now_ms()))

    # -- outbox

    def order(self, device: str, kind: str, name: str, payload: dict[str, object]) -> None:
        self._count += 1
        self._orders.put(Order(str(self._count), device, kind, name, payload))  # type: ignore[arg-type]

    def command(self, device: str, name: str, payload: dict[str, object], **changes: object) -> Order:
        """Orders a method of the device, as the engine proves it."""
        command, sent = self.proven(device, METHOD, name, payload, **changes)
        self.asked[command.number] = command
        self.order(device, METHOD, name, sent)
        return Order("", device, METHOD, name, sent)

    def proven(
        self, device: str, kind: str, name: str, payload: dict[str, object], **changes: object
    ) -> tuple[Command, dict[str, object]]:
        """A command of the device's newest session, and what is sent of it."""
        opener = self.newest(device)
        self._told += 1
        after = max(self._numbers.get(opener.sid, {-1}))
        wanted = Command(
            opener.sid, device, kind, name, self._told, after, now_ms(), now_ms() + 30_000, json.dumps(payload)
        )
        return opener.make_command(replace(wanted, **changes))  # type: ignore[arg-type]

    def newest(self, device: str) -> Opener:
        """Of the device's sessions of the live lane the one that was opened last."""
        return [o for o in self._openers.values() if o.device == device and o.lane == 0][-1]

    def answered(self, name: str, status: int | None = None) -> dict[str, object] | None:
        """What the device proved to have answered to the last method of that name; None while there is nothing."""
        for order, outcome in reversed(self.outcomes):
            if (order.kind, order.name) == (METHOD, name) and status in (None, outcome.status):
                command = self.asked[int(str(order.payload["n"]))]
                return self._openers[command.sid].check_answer(outcome.payload, outcome.status, command)
        return None

    def take(self, block_ms: int) -> Sequence[Order]:
        try:
            return [self._orders.get(timeout=block_ms / 1000)]
        except queue.Empty:
            return []

    def done(self, order: Order, outcome: Outcome) -> None:
        self.outcomes.append((order, outcome))

    # -- what tests ask

    def frames(self, device: str, live: bool | None = None) -> list[Frame]:
        return [f for _, _, lane, f in self.seen.get(device, []) if live is None or lane == live]

    def values(self, device: str, channel: str = "gsr_uS") -> Counter[float]:
        """How often each value arrived."""
        blocks = [b for f in self.frames(device) for b in f.blocks if b.channel == channel]
        return Counter(v for b in blocks for v in b.values() if v is not None)

    def outcome_of(self, kind: str, name: str) -> Outcome | None:
        return next((o for order, o in reversed(self.outcomes) if (order.kind, order.name) == (kind, name)), None)


class House:
    """A CA, a hub that trusts it, devices and an engine's identity."""

    def __init__(self, host: str, folder: Path) -> None:
        self.host, self.folder = host, folder
        self.ca = create_ca(folder / "ca")
        self.keys: dict[bytes, RecipientKey] = {}
        self._engine = issue_engine(self.ca, folder / "engine")
        server = issue_server(self.ca, host, [host], folder / "server")
        self.hub = HubThread(
            HubSettings(
                host=host, certificate=server.chain_path, key=server.key_path, ca=self.ca.root_path,
                state_dir=folder / "hub", policies=(Policy("service", KEY, Right.OWNER),),
            )
        )  # fmt: skip

    def device(self, device_id: str, *, enrol: bool = True) -> DeviceIdentity:
        if enrol:
            registry = Registry(self.hub.settings.state_dir, time.time)
            registry.enrol(device_id)
            registry.close()
        return issue_device(self.ca, device_id, self.folder / "devices")

    def recipient(self, device_id: str, *, life_ms: int = 3_600_000) -> Recipient:
        _, key = create_recipient_key()
        recipient = sign_recipient(
            self._engine, key.public_key().public_bytes_raw(), device_id=device_id, now_ms=now_ms(), life_ms=life_ms,
            suites=STRONGEST_FIRST, xwing_key=key.xwing_public,
        )  # fmt: skip
        self.keys[recipient.kid] = key
        return recipient

    def uplink(self, identity: DeviceIdentity, **changes: object) -> UplinkSettings:
        address = HubAddress(self.host, root=self.ca.root_path, keep_alive_s=5)
        defaults: dict[str, object] = {"frame_interval_s": 0.2, "live_grace_s": 0.5, "drain_s": 5.0, "report_s": 0.3}
        state_dir = self.folder / "state" / identity.device_id
        return UplinkSettings(address, identity, state_dir, **(defaults | changes))  # type: ignore[arg-type]

    @property
    def events(self) -> EventHubSettings:
        text = f"Endpoint=sb://{self.host}/;SharedAccessKeyName=service;SharedAccessKey={KEY};EntityPath=everbeat"
        return EventHubSettings(text, root=self.ca.root_path)

    def rest(self, receipt_every_s: float = 0.3) -> RestSettings:
        port = self.hub.settings.rest_port
        text = f"HostName={self.host}:{port};SharedAccessKeyName=service;SharedAccessKey={KEY}"
        return RestSettings(text, self.ca.root_path, receipt_every_s)


@contextmanager
def running_house(host: str, folder: Path) -> Iterator[House]:
    house = House(host, folder)
    house.hub.start()
    try:
        yield house
    finally:
        house.hub.stop()
