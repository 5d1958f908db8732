"""The whole house for a measurement: `everbeat demo` on its own state, port and hub address, until the block ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHROMIUM = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]
ROOM = "/patient/demo-simulated"


@contextmanager
def demo(port: int, *options: str) -> Iterator[str]:
    """The address of a running demo with a simulated patient; stops it afterwards. `port` also chooses the hub's."""
    state = Path(tempfile.mkdtemp(prefix="eb-"))
    env = os.environ | {"EVERBEAT_STATE": str(state), "EVERBEAT_HUB_HOST": f"127.0.0.{port % 200 + 20}"}
    command = [sys.executable, "-m", "everbeat.cli", "demo", "--port", str(port), *options]
    house = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    base = f"http://127.0.0.1:{port}"
    try:
        _wait(base)
        yield base
    finally:
        house.terminate()
        house.wait(30)
        shutil.rmtree(state, ignore_errors=True)


def _wait(base: str) -> None:
    for _ in range(120):
        try:
            urllib.request.urlopen(base + ROOM, timeout=2).close()  # noqa: S310 - a fixed loopback URL
            return
        except OSError:
            time.sleep(0.5)
    raise SystemExit("expected the demo's page within a minute, got none; nothing was measured")
