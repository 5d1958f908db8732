"""Runs the real demo in a subprocess, on loopback addresses and in a state directory of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

PROJECT = Path(__file__).resolve().parents[1]


class Demo:
    """A running demo. Use through :func:`running_demo`."""

    def __init__(self, hub_host: str, *args: str, env: dict[str, str] | None = None) -> None:
        self.state = Path(tempfile.mkdtemp(prefix="eb-demo-"))
        self.hub_host = hub_host
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.report_file = self.state / "report.json"
        self.output = self.state / "output.txt"
        command = [sys.executable, "-m", "everbeat.cli", "demo", "--port", str(self.port), *args]
        variables = os.environ | {"EVERBEAT_STATE": str(self.state), "EVERBEAT_HUB_HOST": hub_host, "COLUMNS": "400"}
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                command, cwd=PROJECT, env=variables | (env or {}), stdout=out, stderr=out, start_new_session=True
            )

    def wait_until_up(self, timeout_s: float = 60) -> None:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(self.url, timeout=2) as reply:
                if reply.status == 200:
                    return
            time.sleep(0.2)
        raise AssertionError(f"the demo did not come up:\n{self.said()}")

    def children(self) -> dict[str, psutil.Process]:
        """Its processes by name (the subcommand of each)."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            line = child.cmdline()
            name = line[3] if "everbeat.cli" in line else "redis"
            found[name] = child
        return found

    def kill(self, name: str) -> None:
        """kill -9, as a crash would."""
        self.children()[name].kill()

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def wait(self, timeout_s: float) -> int:
        return self.process.wait(timeout_s)

    def report(self) -> dict[str, Any]:
        return dict(json.loads(self.report_file.read_text()))

    def said(self) -> str:
        logs = sorted((self.state / "logs").glob("*.log")) if (self.state / "logs").exists() else []
        tails = [f"== {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in logs]
        return "\n".join([self.output.read_text(errors="replace"), *tails])

    def close(self) -> None:
        if self.process.poll() is None:
            self.interrupt()
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
        shutil.rmtree(self.state, ignore_errors=True)


@contextlib.contextmanager
def running_demo(hub_host: str, *args: str) -> Iterator[Demo]:
    demo = Demo(hub_host, *args)
    try:
        yield demo
    finally:
        demo.close()


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(host: str, port: int) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) != 0
