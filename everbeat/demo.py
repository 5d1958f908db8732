"""``everbeat demo``: the whole house on one machine, as separate processes, on real input or a simulated patient.

The order of things: keys and certificates, Redis, the patient and her device, then hub, ingest, engine, downlink, web
and device. Ctrl-C, or the end of ``--for``, stops the device first (so that its last frame is receipted) and
everything else after it.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from device.cloud import enrol_local, reported_properties
from device.hub.settings import AMQPS_PORT, HTTPS_PORT, MQTT_PORT
from device.recording import read_recording
from everbeat import wiring
from everbeat.patients import DEMO_PREFIX, card_of
from everbeat.report import Probe, Report
from everbeat.settings import Settings
from everbeat.supervisor import Job, Supervisor
from security.identity import wall_clock_ms
from twin_engine.registry import PatientCard
from twin_engine.store.errors import StoreDown
from twin_engine.store.server import command, prepare

Say = Callable[[str], None]
WATCH_S = 0.25
READY_S = 60.0


class DemoFailed(RuntimeError):
    """The demo could not start; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What the demo is asked to do."""

    replay: Path | None
    speed: float
    duration_s: float | None
    report: Path | None
    port: int

    @property
    def card(self) -> PatientCard:
        """The patient whom the source stands for."""
        return card_of(self.replay)


def run(settings: Settings, plan: DemoPlan, say: Say) -> Report | None:
    """Run until Ctrl-C or the end of `plan.duration_s`. Raises DemoFailed where it can't start."""
    _need_free_ports(settings, plan.port)
    supervisor = Supervisor(settings.environment() | _inherited(), settings.state / "logs")
    stopped = _on_signals()
    try:
        _start_redis(settings, supervisor)
        admit(settings, plan.card)
        before = wiring.counters(settings, plan.card.id)
        for job in jobs(settings, plan):
            supervisor.start(job)
        url = f"http://127.0.0.1:{plan.port}/patient/{plan.card.id}"
        _wait_for(lambda: _answers(url), "the web page", supervisor, stopped, say)
        say(f"[bold]The twin is alive:[/bold] {url}   (Ctrl-C stops it; logs in {settings.state / 'logs'})")
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
    yield Job("ingest", (*everbeat, "ingest"))
    yield Job("downlink", (*everbeat, "downlink"))
    yield Job("web", (*everbeat, "web", "--port", str(plan.port)))
    source = ("--replay", str(plan.replay), "--speed", f"{plan.speed:g}", "--loop") if plan.replay else ("--simulate",)
    grace_s = 20.0 if plan.report else 4.0  # a measured run waits for the last receipts
    drain = ("--drain", "15" if plan.report else "1.5")
    yield Job("device", (*everbeat, "device", plan.card.device, *source, *drain), grace_s=grace_s)


def _start_redis(settings: Settings, supervisor: Supervisor) -> None:
    if settings.redis_url is not None:
        return
    supervisor.start(Job("redis", command(prepare(settings.redis_files.directory))))
    deadline_s = time.monotonic() + READY_S
    while True:
        try:
            wiring.patient_store(settings)
            return
        except StoreDown:
            if time.monotonic() > deadline_s or not supervisor.alive("redis"):
                raise
            time.sleep(0.05)


def admit(settings: Settings, card: PatientCard) -> None:
    """The patient, her device with its certificate, and the local hub's knowledge of it. May be repeated.

    Whoever was in a demo before is released: a device that no longer sends is no reason for an alarm.
    """
    wiring.engine_identity(settings)
    identity = wiring.device_identity(settings, card.device)
    if settings.local_hub:
        wiring.hub_settings(settings)
        enrol_local(settings.hub, identity)
    store, now_ms = wiring.patient_store(settings), wall_clock_ms()
    for other in store.cards():
        if other.id != card.id and other.id.startswith(DEMO_PREFIX):
            store.release(other.device, other.id, now_ms)
    store.admit(card)
    store.assign(card.device, card.id, now_ms)


def _watch(
    settings: Settings,
    plan: DemoPlan,
    supervisor: Supervisor,
    before: dict[str, int],
    stopped: Callable[[], bool],
    say: Say,
) -> Report | None:
    """Look after the processes until the end; measure, where a report is asked for."""
    probe = Probe(plan.port, plan.card.id, before) if plan.report else None
    if probe:
        probe.start()
    end_s = time.monotonic() + plan.duration_s if plan.duration_s else None
    while not stopped() and (end_s is None or time.monotonic() < end_s):
        for line in supervisor.watch():
            say(line)
        time.sleep(WATCH_S)
    if probe is None or plan.report is None:
        return None
    say("stopping the device and waiting for its last receipts")
    supervisor.watch()
    supervisor.stop("device")
    probe.settle()
    sent = reported_properties(wiring.downlink_settings(settings), plan.card.device)
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


def fail_on_missing_replay(path: Path) -> None:
    """Read the recording once before anything starts, so that a bad file is one clear error."""
    read_recording(path)
