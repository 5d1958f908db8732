"""What the demo is asked to do, and the processes that come of it, in the order in which they start."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from device.commands import DEFAULT_INTERVAL_S
from device.recording import read_recording
from everbeat import notarial
from everbeat.fleet import Member, write_fleet
from everbeat.patients import Source
from everbeat.settings import Settings
from everbeat.supervisor import Job
from twin_engine.registry import PatientCard

RECORDINGS = "*.csv.gz"


class DemoFailed(RuntimeError):
    """The demo could not start; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What the demo is asked to do."""

    sources: tuple[Source, ...]
    speed: float
    duration_s: float | None
    report: Path | None
    port: int
    shards: int | None = None  # None: what the state has, else what suits the number of patients
    interval_s: float = DEFAULT_INTERVAL_S  # between a device's frames

    @property
    def cards(self) -> tuple[PatientCard, ...]:
        """The patients whom the sources stand for."""
        return tuple(source.card for source in self.sources)

    @property
    def path(self) -> str:
        """The page to begin with: the room of the only patient, or the ward."""
        return f"/patient/{self.cards[0].id}" if len(self.cards) == 1 else "/"


def jobs(settings: Settings, plan: DemoPlan) -> Iterator[Job]:
    """Every process but Redis, in the order in which they start."""
    everbeat = (sys.executable, "-m", "everbeat.cli")
    if settings.local_hub:
        yield Job("hub", (*everbeat, "hub"))
    for i in range(settings.shards):
        yield Job("engine" if i == 0 else f"engine-s{i}", (*everbeat, "engine", "--shard", f"s{i}"))
    own = f"http://{settings.hub_host}:{notarial.WITNESS_PORT}+"
    if own in (settings.witnesses or ""):
        port, told = str(notarial.WITNESS_PORT), ("--home", str(settings.witness), "--name", notarial.DEMO_WITNESS)
        yield Job("witness", (*everbeat, "witness", *told, "--host", settings.hub_host, "--port", port))
    yield Job("notary", (*everbeat, "notary"))
    yield Job("ingest", (*everbeat, "ingest"))
    yield Job("downlink", (*everbeat, "downlink"))
    provider = {name: value for name, value in os.environ.items() if name.startswith("EVERBEAT_OIDC_")}
    yield Job(
        "web", (*everbeat, "web", "--demo", "--port", str(plan.port)), env=provider
    )  # else nobody would have to sign in
    fleet = settings.state / "fleet.json"
    write_fleet(fleet, [_member(source, plan) for source in plan.sources])
    grace_s = 20.0 if plan.report else 4.0  # a measured run waits for the last receipts
    drain = ("--drain", "15" if plan.report else "1.5")
    yield Job("device", (*everbeat, "fleet", str(fleet), *drain), grace_s=grace_s)


def _member(source: Source, plan: DemoPlan) -> Member:
    """The device of a patient. It knows of her what shapes a simulated body, and not who she is."""
    card, replay = source.card, None if source.replay is None else str(source.replay.resolve())
    return Member(card.device, replay, source.seed, card.sex, source.age, plan.speed, plan.interval_s)


def recordings(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Files as they are, folders as the recordings in them, sorted. Raises DemoFailed where a folder has none."""
    found = list[Path]()
    for path in paths:
        inside = sorted(path.glob(RECORDINGS)) if path.is_dir() else [path]
        if not inside:
            raise DemoFailed(f"expected recordings ({RECORDINGS}) in {path}, got none; nothing was started")
        found += inside
    return tuple(found)


def fail_on_missing_replays(sources: Sequence[Source]) -> None:
    """Read each recording once before anything starts, so that a bad file is one clear error."""
    for source in sources:
        if source.replay is not None:
            read_recording(source.replay)
