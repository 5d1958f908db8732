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
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace

from device.cloud import reported_properties
from device.hub.settings import AMQPS_PORT, HTTPS_PORT, MQTT_PORT
from everbeat import notarial, wiring
from everbeat.demo_patients import admit, all_here, refuse_erased, with_shards
from everbeat.demo_plan import DemoFailed, DemoPlan, jobs
from everbeat.report import Probe, Report
from everbeat.settings import Settings
from everbeat.supervisor import Job, Supervisor
from twin_engine.store.errors import StoreDown
from twin_engine.store.server import command, prepare

Say = Callable[[str], None]
WATCH_S = 0.25
READY_S = 60.0
ONE_SHARD = 8  # patients that one engine serves on a laptop; docs/operations.md has the measurements


def run(settings: Settings, plan: DemoPlan, say: Say) -> Report | None:
    """Run until Ctrl-C or the end of `plan.duration_s`. Raises DemoFailed where it can't start."""
    _need_free_ports(settings, plan.port)
    settings = replace(settings, shards=plan.shards or (1 if len(plan.cards) <= ONE_SHARD else 2))
    supervisor = Supervisor(settings.environment() | _inherited(), settings.state / "logs")
    stopped = _on_signals()
    try:
        _start_redis(settings, supervisor)
        settings = _with_witness(with_shards(settings, plan))
        refuse_erased(settings, plan)
        supervisor.env = settings.environment() | _inherited()
        admit(settings, plan.cards)
        before = wiring.counters(settings)
        for job in jobs(settings, plan):
            if job.name == "web":  # its first viewer shall find everybody
                _wait_for(lambda: all_here(settings, plan), "the patients' admission", supervisor, stopped, say)
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


def _with_witness(settings: Settings) -> Settings:
    """Who brings no witness gets the demo's own, which shows how one works and is no other trust domain."""
    if settings.witnesses is not None:
        return settings
    own = notarial.demo_witness(settings)
    return replace(settings, witnesses=f"{own.url}+{own.key}")


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
    return None if probe is None else _measured(settings, plan, supervisor, probe, say)


def _measured(settings: Settings, plan: DemoPlan, supervisor: Supervisor, probe: Probe, say: Say) -> Report:
    """Stop the devices, wait for their last receipts, and write down what came of it."""
    say("stopping the devices and waiting for their last receipts")
    supervisor.watch()
    supervisor.stop("device")
    probe.settle()
    target = wiring.downlink_settings(settings)
    sent = [reported_properties(target, card.device) for card in plan.cards]
    report = probe.report(sent, supervisor.peaks_mb(), supervisor.restarts())
    if plan.report is not None:
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
