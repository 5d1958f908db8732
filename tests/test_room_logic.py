"""Runs the tests of the room's JavaScript with node's own test runner."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.mark.parametrize("suite", ["room_logic.mjs", "traces_logic.mjs", "replay_logic.mjs", "shield_logic.mjs"])
def test_the_pure_parts_of_the_room_do_what_they_say(suite: str) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node to run the room's JavaScript")
    path = Path(__file__).with_name(suite)
    done = subprocess.run([node, "--test", str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
