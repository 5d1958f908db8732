"""A house with a device and the engine's gate, without a store: what the gate takes and refuses, at any time."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from device.frame import Block, Frame, Source, encode, quantise
from security.envelope import Lane, Recipient, Sealer, open_session, sign_recipient
from security.identity import Authority, DeviceIdentity, EngineIdentity, create_ca, issue_device, issue_engine
from security.keys import RecipientKey, create_recipient_key
from security.suite import STRONGEST_FIRST
from twin_engine.prove import Gate, Proven

NOW_MS = 1_780_000_000_000
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
DEVICE = "esp32-01"


@dataclass(frozen=True)
class People:
    """Who never changes: making keys and certificates takes time."""

    ca: Authority
    device: DeviceIdentity
    other: DeviceIdentity
    engine: EngineIdentity


@cache
def people() -> People:
    with tempfile.TemporaryDirectory() as home:
        ca = create_ca(Path(home) / "ca", now_ms=NOW_MS - DAY_MS)
        made = [issue_device(ca, name, Path(home) / "d", now_ms=NOW_MS - DAY_MS) for name in (DEVICE, "esp32-02")]
        return People(ca, *made, issue_engine(ca, Path(home) / "e", now_ms=NOW_MS - DAY_MS))


@dataclass
class Desk:
    """One engine's gate, its clocks, and what a device would send."""

    suites: Sequence[str] = STRONGEST_FIRST
    offered: Sequence[str] = STRONGEST_FIRST
    now_ms: int = NOW_MS
    steady_s: float = 0.0
    stored: dict[bytes, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.people = people()
        self.kid, self.key = create_recipient_key()
        self.keys: dict[bytes, RecipientKey] = {self.kid: self.key}
        self.recipient = self.recipient_of(self.offered)
        self.restart()

    def recipient_of(self, suites: Sequence[str], now_ms: int = NOW_MS) -> Recipient:
        return sign_recipient(
            self.people.engine, self.key.public_key().public_bytes_raw(), device_id=DEVICE, now_ms=now_ms,
            suites=suites, xwing_key=self.key.xwing_public if "C" in suites else b"",
        )  # fmt: skip

    def restart(self) -> None:
        """The engine comes back with what was stored."""
        self.gate = Gate(self.people.ca.trust, self.stored, self.suites, lambda: self.steady_s)

    def commit(self) -> None:
        self.stored |= self.gate.take_changed()[0] | self.gate.take_buried()

    def open(
        self, lane: Lane = Lane.LIVE, epoch: int = 3, at_ms: int | None = None, suites: Sequence[str] = STRONGEST_FIRST
    ) -> tuple[bytes, Sealer]:
        return open_session(
            self.people.device, self.recipient, epoch=epoch, lane=lane, now_ms=at_ms or self.now_ms, suites=suites
        )

    def frame(self, sealer: Sealer, at_ms: int | None = None) -> bytes:
        at_ms = at_ms or self.now_ms
        block = Block("gsr_uS", at_ms - 1000, 250_000, -4, quantise([4.0, 4.1], -4))
        return sealer.seal(encode(Frame(at_ms, at_ms, sealer.epoch, sealer.next_seq, Source.SENSOR, (block,))))

    def take(self, body: bytes, at_ms: int | None = None, device: str = DEVICE) -> Proven | None:
        """As the shard's owner would. Raises what the gate raises."""
        return self.gate.check("1-0", device, body, at_ms or self.now_ms, self.keys.get)
