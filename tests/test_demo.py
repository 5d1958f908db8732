"""The whole house as a user starts it: measured, killed in the middle, interrupted, refused a port."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from device.hub.settings import AMQPS_PORT, HTTPS_PORT, MQTT_PORT
from everbeat.notarial import WITNESS_PORT
from tests.demo_kit import PROJECT, Demo, is_free, running_demo

pytestmark = pytest.mark.e2e
KILLED = ("engine", "ingest", "web", "redis", "hub", "downlink")


@pytest.fixture
def source() -> tuple[str, ...]:
    """A real recording, or the simulator where ../shared is missing."""
    recording = PROJECT.parent / "shared" / "data" / "emg_gsr" / "subj09.csv.gz"
    return ("--replay", str(recording)) if recording.exists() else ()


def test_a_measured_run_loses_nothing_though_every_process_but_the_device_is_killed_in_the_middle(
    source: tuple[str, ...], tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    with running_demo("127.0.3.1", *source, "--for", "55", "--report", str(report)) as demo:
        demo.wait_until_up()
        time.sleep(8)
        for name in KILLED:
            demo.kill(name)
            time.sleep(5)
        assert demo.wait(120) == 0, demo.said()
        demo.report_file = report
        found = demo.report()
        said = demo.said()
    assert found["lost"] == 0
    assert found["readings_stored"] == found["readings_sent"] > 0
    assert found["spooled"] == 0
    assert found["samples_shown"] > 0
    assert found["restarts"] == dict.fromkeys(KILLED, 1)
    assert set(found["end_to_end_ms"]) == {"p50", "p95", "p99"}
    assert {"redis", "hub", "ingest", "engine", "downlink", "web", "device"} <= set(found["peak_memory_mb"])
    assert "engine died (SIGKILL); starting it again" in said


@pytest.fixture(scope="module")
def simulated() -> Iterator[Demo]:
    """A demo that two tests look at; the second ends it."""
    with running_demo("127.0.3.2") as demo:
        demo.wait_until_up()
        yield demo


def test_keys_are_private_and_lie_outside_the_project(simulated: Demo) -> None:
    secrets = [p for p in simulated.state.rglob("*") if p.suffix in {".key", ".password", ".acl", ".conf"}]
    assert len(secrets) >= 8
    assert {oct(p.stat().st_mode & 0o777) for p in secrets} == {"0o600"}
    assert PROJECT not in simulated.state.parents


def test_ctrl_c_leaves_no_process_and_no_port_behind(simulated: Demo) -> None:
    children = list(simulated.children().values())
    assert len(children) == 9  # also the notary and the demo's witness
    simulated.interrupt()
    assert simulated.wait(40) == 0, simulated.said()
    assert not [c for c in children if c.is_running() and c.status() != psutil.STATUS_ZOMBIE]
    assert is_free("127.0.0.1", simulated.port)
    for port in (MQTT_PORT, AMQPS_PORT, HTTPS_PORT, WITNESS_PORT):
        assert is_free(simulated.hub_host, port)


def test_when_the_demo_itself_is_killed_its_processes_go_too() -> None:
    with running_demo("127.0.3.3") as demo:
        demo.wait_until_up()
        children = list(demo.children().values())
        demo.process.kill()
        _, alive = psutil.wait_procs(children, 20)
        assert not alive


@pytest.mark.parametrize("taken", ["page", "hub"])
def test_a_port_in_use_is_one_clear_error_and_nothing_is_started(taken: str) -> None:
    host = "127.0.3.5"
    with socket.create_server(("127.0.0.1", 0)) as page:
        arguments = ["--port", str(page.getsockname()[1])] if taken == "page" else []
        blocker = socket.create_server((host, MQTT_PORT)) if taken == "hub" else None
        try:
            demo = Demo(host, *arguments)
            assert demo.wait(30) == 2
            said = demo.said()
        finally:
            if blocker:
                blocker.close()
    assert "to be free, got" in said
    assert "nothing was started" in said
    assert "Traceback" not in said
    demo.close()


def test_a_file_that_is_no_recording_is_one_clear_error(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("time_s,shoe_size\n0,42\n")
    demo = Demo("127.0.3.6", "--replay", str(wrong))
    assert demo.wait(30) == 2
    said = demo.said()
    demo.close()
    assert "expected a column of a known signal, got shoe_size" in said
    assert "Traceback" not in said


def test_twin_over_a_recording_marks_every_value_and_never_looks_ahead(tmp_path: Path) -> None:
    rows = [f"{i * 0.25:.2f},{4 + i / 1000:.4f}" if not 200 <= i < 240 else f"{i * 0.25:.2f}," for i in range(400)]
    whole, cut = tmp_path / "whole.csv", tmp_path / "cut.csv"
    whole.write_text("\n".join(["time_s,scl_uS", *rows]) + "\n")
    cut.write_text("\n".join(["time_s,scl_uS", *rows[:220]]) + "\n")
    outputs = []
    for source in (whole, cut):
        out, revised = tmp_path / f"{source.stem}.out.csv", tmp_path / f"{source.stem}.rev.csv"
        command = [sys.executable, "-m", "everbeat.cli", "twin", str(source), "--out", str(out)]
        subprocess.run([*command, "--revisions", str(revised)], check=True, cwd=PROJECT, capture_output=True)
        outputs.append((out.read_text().splitlines(), revised.read_text().splitlines()))
    (shown, revisions), (shown_cut, revisions_cut) = outputs
    assert shown[0] == "time_s,column,signal,value,lower,upper,sd,confidence,provenance,threat"
    assert shown[: len(shown_cut)] == shown_cut
    assert len(shown) == 401
    assert sum(",synthesised," in line for line in shown) == 40
    assert len(revisions) == 41
    assert len(revisions_cut) == 1
    assert shown[1] == "0.00,scl_uS,gsr_uS,4.0000,4.0000,4.0000,,1,measured,"
