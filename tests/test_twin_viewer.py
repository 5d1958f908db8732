"""Runs the tests of the 3D viewer's pure JavaScript with node's own test runner."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["twin_logic.mjs", "body_logic.mjs"])
def test_the_pure_parts_of_the_viewer_do_what_they_say(name: str) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node to run the viewer's JavaScript")
    suite = Path(__file__).with_name(name)
    done = subprocess.run([node, "--test", str(suite)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
