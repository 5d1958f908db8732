"""``everbeat demo``: the whole house on one machine, as separate processes, on recordings or simulated patients.

The order of things: keys and certificates, Redis, the patients and their devices, then hub, engines, ingest, downlink,
web and devices. Ctrl-C, or the end of ``--for``, stops the devices first (so that their last frames are receipted) and
everything else after them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from device.cloud import enrol_local, reported_properties
from device.commands import DEFAULT_INTERVAL_S
from device.hub.settings import AMQPS_PORT, HTTPS_PORT, MQTT_PORT
from device.recording import read_recording
from everbeat import notarial, officer, wiring
from everbeat.fleet import Member, write_fleet
from everbeat.patients import DEMO_PREFIX, Source
from everbeat.report import Probe, Report
from everbeat.settings import Settings
from everbeat.supervisor import Job, Supervisor
from security.identity import wall_clock_ms
from twin_engine.registry import PatientCard
from twin_engine.store.errors import StoreDown
from twin_engine.store.server import command

Say = Callable[[str], None]
WATCH_S = 0.25
READY_S = 60.0
ONE_SHARD = 8  # patients that one engine serves on a laptop; docs/operations.md has the measurements
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


def run(settings: Settings, plan: DemoPlan, say: Say) -> Report | None:
    """Run until Ctrl-C or the end of `plan.duration_s`. Raises DemoFailed where it can't start."""
    _need_free_ports(settings, plan.port)
    settings = replace(settings, shards=plan.shards or (1 if len(plan.cards) <= ONE_SHARD else 2))
    supervisor = Supervisor(settings.environment() | _inherited(), settings.state / "logs")
    stopped = _on_signals()
    try:
        _start_redis(settings, supervisor)
        settings = _with_witness(_with_shards(settings, plan))
        _refuse_erased(settings, plan)
        supervisor.env = settings.environment() | _inherited()
        admit(settings, plan.cards)
        before = wiring.counters(settings)
        for job in jobs(settings, plan):
            if job.name == "web":  # its first viewer shall find everybody
                _wait_for(lambda: _all_here(settings, plan), "the patients' admission", supervisor, stopped, say)
            supervisor.start(job)
        url = f"http://127.0.0.1:{plan.port}{plan.path}"
        _wait_for(lambda: _answers(url), "the web page", supervisor, stopped, say)
        who = "The twin is" if len(plan.cards) == 1 else f"{len(plan.cards)} twins are"
        say(f"[bold]{who} alive:[/bold] {url}   (Ctrl-C stops it; logs in {settings.state / 'logs'})")
        return _watch(settings, plan, supervisor, before, stopped, say)
    except StoreDown as error:
        raise DemoFailed(str(error)) from error
    finally:
        supervisor.stop_all()


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
    yield Job("web", (*everbeat, "web", "--port", str(plan.port)), env=provider)  # else nobody would have to sign in
    fleet = settings.state / "fleet.json"
    write_fleet(fleet, [_member(source, plan) for source in plan.sources])
    grace_s = 20.0 if plan.report else 4.0  # a measured run waits for the last receipts
    drain = ("--drain", "15" if plan.report else "1.5")
    yield Job("device", (*everbeat, "fleet", str(fleet), *drain), grace_s=grace_s)


def _member(source: Source, plan: DemoPlan) -> Member:
    """The device of a patient. It knows of her what shapes a simulated body, and not who she is."""
    card, replay = source.card, None if source.replay is None else str(source.replay.resolve())
    return Member(card.device, replay, source.seed, card.sex, source.age, plan.speed, plan.interval_s)


def _with_shards(settings: Settings, plan: DemoPlan) -> Settings:
    """Patients stay where they are: over as many shards as this state began with."""
    there = wiring.patient_store(settings).fix_shards()
    if plan.shards not in (None, there):
        raise DemoFailed(
            f"expected {plan.shards} shards, but the patients in {settings.state} are spread over {there}; nothing was "
            f"started: leave the number out, or set EVERBEAT_STATE to another directory"
        )
    return replace(settings, shards=there)


def _refuse_erased(settings: Settings, plan: DemoPlan) -> None:
    """Who was erased is not admitted again, not even by a demo."""
    keys = wiring.vault(settings, "keeper")
    gone = [card.id for card in plan.cards if keys.is_erased(card.id)]
    if gone:
        raise DemoFailed(
            f"expected patients who may be admitted, got {', '.join(gone)}, erased in {settings.state}; nothing was "
            "started: an erased patient stays erased. Play others, or set EVERBEAT_STATE to another directory"
        )


def _with_witness(settings: Settings) -> Settings:
    """Who brings no witness gets the demo's own, which shows how one works and is no other trust domain."""
    if settings.witnesses is not None:
        return settings
    own = notarial.demo_witness(settings)
    return replace(settings, witnesses=f"{own.url}+{own.key}")


def _all_here(settings: Settings, plan: DemoPlan) -> bool:
    """Whether the engines have admitted every patient."""
    try:
        here = {card.id for card in wiring.patient_store(settings).cards() if card.present}
    except StoreDown:
        return False
    return here >= {card.id for card in plan.cards}


def _start_redis(settings: Settings, supervisor: Supervisor) -> None:
    if settings.redis_url is not None:
        return
    supervisor.start(Job("redis", command(settings.prepare_redis())))
    deadline_s = time.monotonic() + READY_S
    while True:
        try:
            wiring.patient_store(settings)
            return
        except StoreDown:
            if time.monotonic() > deadline_s or not supervisor.alive("redis"):
                raise
            time.sleep(0.05)


def admit(settings: Settings, cards: Sequence[PatientCard]) -> None:
    """The patients, their devices with certificates, and the local hub's knowledge of them. May be repeated.

    Who was in a demo before and is not in this one is discharged: a device that no longer sends is no reason for an
    alarm. Who is here keeps what was changed on her card.
    """
    wiring.engine_identity(settings)
    if settings.local_hub:
        wiring.hub_settings(settings)
    for card in cards:
        identity = wiring.device_identity(settings, card.device)
        if settings.local_hub:
            enrol_local(settings.hub, identity)
    store, wanted = wiring.patient_store(settings), {card.id for card in cards}
    store.fix_shards()
    here = {card.id: card for card in store.cards() if card.present}
    for other in here.keys() - wanted:
        if other.startswith(DEMO_PREFIX):
            store.discharge(other, wall_clock_ms())
    for card in cards:
        if card.id not in here:
            store.admit(card, wall_clock_ms())
        elif here[card.id].device not in ("", card.device):  # exchanged in the last demo: that one is not there now
            store.release(here[card.id].device, card.id, wall_clock_ms())
        store.assign(card.device, card.id, wall_clock_ms())
    officer.tell(settings)


def _watch(
    settings: Settings,
    plan: DemoPlan,
    supervisor: Supervisor,
    before: dict[str, int],
    stopped: Callable[[], bool],
    say: Say,
) -> Report | None:
    """Look after the processes until the end; measure, where a report is asked for."""
    patients = [card.id for card in plan.cards]
    probe = Probe(plan.port, patients, before, lambda: wiring.counters(settings)) if plan.report else None
    if probe:
        probe.start()
    end_s = time.monotonic() + plan.duration_s if plan.duration_s else None
    while not stopped() and (end_s is None or time.monotonic() < end_s):
        for line in supervisor.watch():
            say(line)
        time.sleep(WATCH_S)
    if probe is None or plan.report is None:
        return None
    say("stopping the devices and waiting for their last receipts")
    supervisor.watch()
    supervisor.stop("device")
    probe.settle()
    target = wiring.downlink_settings(settings)
    sent = [reported_properties(target, card.device) for card in plan.cards]
    report = probe.report(sent, supervisor.peaks_mb(), supervisor.restarts())
    plan.report.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    return report


def _wait_for(
    ready: Callable[[], bool], what: str, supervisor: Supervisor, stopped: Callable[[], bool], say: Say
) -> None:
    deadline_s = time.monotonic() + READY_S
    while not ready():
        if stopped():
            raise DemoFailed(f"stopped while waiting for {what}")
        if time.monotonic() > deadline_s:
            raise DemoFailed(f"expected {what} within {READY_S:g} s, got nothing; look into {supervisor.logs}")
        for line in supervisor.watch():
            say(line)
        time.sleep(WATCH_S)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:  # noqa: S310 - a fixed loopback URL
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _need_free_ports(settings: Settings, web_port: int) -> None:
    """Every port that will be needed, before anything starts."""
    wanted = [("127.0.0.1", web_port, "choose another with --port")]
    if settings.local_hub:
        hint = "another demo may be running; stop it, or set EVERBEAT_HUB_HOST to another loopback address"
        wanted += [(settings.hub_host, port, hint) for port in (MQTT_PORT, AMQPS_PORT, HTTPS_PORT)]
    if settings.witnesses is None:
        wanted.append((settings.hub_host, notarial.WITNESS_PORT, "set EVERBEAT_HUB_HOST, or EVERBEAT_WITNESSES"))
    for host, port, hint in wanted:
        with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                text = f"expected port {port} on {host} to be free, got '{error.strerror}'; nothing was started: {hint}"
                raise DemoFailed(text) from error


def _on_signals() -> Callable[[], bool]:
    """True once SIGINT or SIGTERM came."""
    seen: list[int] = []

    def note(number: int, _frame: object) -> None:
        seen.append(number)

    signal.signal(signal.SIGINT, note)
    signal.signal(signal.SIGTERM, note)
    return lambda: bool(seen)


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("EVERBEAT_")}


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
