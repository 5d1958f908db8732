"""A house on a real Redis whose state directory is laid out like a real one, for tests of erasing and rotating."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from everbeat.settings import Settings
from security.envelope import Lane, Recipient, Sealer, open_session
from security.identity import issue_device, wall_clock_ms
from tests.engine_kit import PATIENCE_S, Ward
from twin_engine.registry import PatientCard
from twin_engine.store.connection import connect
from twin_engine.store.errors import StoreDown
from twin_engine.store.server import prepare, start

OTHER, OTHER_DEVICE = "p-2", "dev-2"


@dataclass
class House:
    """Redis in STATE/redis, keys in STATE/keys, as `everbeat` has them; engines as threads of the test."""

    state: Path
    generator: object
    settings: Settings = field(init=False)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.settings = Settings(self.state)

    def start_redis(self) -> None:
        files = prepare(self.settings.redis_files.directory)
        self.process = start(files)
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                connect(files.login("keeper")).close()
                return
            except StoreDown:
                assert time.monotonic() < end, "Redis did not come up"
                time.sleep(0.02)

    def stop_redis(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def ward(self) -> Ward:
        """A ward with its one patient; keys in STATE/keys."""
        return Ward(self.settings.redis_files, self.state / "keys", self.generator)  # type: ignore[arg-type]

    def copy(self, what: str, to: Path) -> Path:
        """A backup of one directory of the state."""
        skip = shutil.ignore_patterns("*.sock")
        return Path(shutil.copytree(self.state / what, to / what.replace("/", "-"), ignore=skip))

    def put_back(self, backup: Path, what: str) -> None:
        shutil.rmtree(self.state / what)
        shutil.copytree(backup, self.state / what)


@contextmanager
def running_house(generator: object) -> Iterator[House]:
    state = Path(tempfile.mkdtemp(prefix="eb-"))  # a unix socket's path must be short
    house = House(state, generator)
    house.start_redis()
    try:
        yield house
    finally:
        house.stop_redis()
        shutil.rmtree(state, ignore_errors=True)


def second_patient(ward: Ward) -> Sealer:
    """Another patient of the ward, with a device of her own that has opened its session."""
    ward.patients.admit(PatientCard(OTHER, "HERON-8", 1950, "Bed 2", number="7777-0001"), wall_clock_ms())
    ward.patients.assign(OTHER_DEVICE, OTHER, wall_clock_ms() - 30_000)
    identity = issue_device(ward.ca, OTHER_DEVICE, ward.state / "dev2")
    order = ward.take_order("desired")
    while order.device != OTHER_DEVICE:
        ward.taken.append(order)
        order = ward.take_order("desired")
    record, sealer = open_session(
        identity, Recipient.from_json(dict(order.payload)["recipient"]), epoch=1, lane=Lane.LIVE, now_ms=wall_clock_ms()
    )
    ward.send(record, device=OTHER_DEVICE)
    return sealer


def bytes_under(*roots: Path) -> dict[Path, bytes]:
    """What every plain file holds."""
    return {path: path.read_bytes() for root in roots for path in root.rglob("*") if path.is_file()}


def wait_until(ready, what: str) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + PATIENCE_S
    while not ready():
        assert time.monotonic() < end, f"expected {what}"
        time.sleep(0.03)
