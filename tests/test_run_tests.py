"""How the suite itself is run: two passes that both always run, and no two files of tests at one address."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ADDRESS = re.compile(r"\b127(?:\.\d+){3}\b")
EVERYBODYS = {"127.0.0.1", "127.0.0.2"}  # free ports are looked for at the first; nothing here listens at the second
SETTINGS = "[pytest]\nmarkers =\n    e2e: e\n    browser: b\n    hub: h\n    alone: a\n"


def run(folder: Path, markers: str, *arguments: str, **tests: str) -> tuple[int, list[str]]:
    """Run the suite's script over a project of its own. `tests`: name -> its marker and body, as "marker: body"."""
    (folder / "pytest.ini").write_text(SETTINGS)
    for name, text in tests.items():
        marker, body = text.split(": ")
        mark = f"@pytest.mark.{marker}\n" if marker else ""
        code = f"open({str(folder / 'ran')!r}, 'a').write('{name} ')\n    {body}"
        (folder / f"test_{name}.py").write_text(f"import pytest\n{mark}def test_it():\n    {code}\n")
    script = [str(ROOT / "scripts" / "run-tests.sh"), str(Path(sys.executable).parent), "1", markers]
    bare = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # else a third of a minute goes to imports
    command = [*script, "-q", "-p", "xdist", *arguments]
    done = subprocess.run(command, cwd=folder, env=bare, capture_output=True, text=True, timeout=240)
    ran = folder / "ran"
    return done.returncode, sorted(ran.read_text().split()) if ran.exists() else []


GOOD, BAD = "assert True", "assert False"


@pytest.mark.parametrize(("shared", "alone", "status"), [(GOOD, GOOD, 0), (BAD, GOOD, 1), (GOOD, BAD, 1)])
def test_both_passes_run_and_either_can_fail_the_whole(tmp_path: Path, shared: str, alone: str, status: int) -> None:
    tests = {"quick": f": {shared}", "hub": f"hub: {GOOD}", "page": f"browser: {GOOD}", "timed": f"alone: {alone}"}
    assert run(tmp_path, "", **tests) == (status, ["hub", "page", "quick", "timed"])


def test_markers_and_arguments_choose_in_both_passes_and_none_chosen_is_an_error(tmp_path: Path) -> None:
    tests = {"quick": f": {GOOD}", "page": f"browser: {BAD}", "timed": f"alone: {GOOD}"}
    assert run(tmp_path, "not browser", **tests) == (0, ["quick", "timed"])
    (tmp_path / "ran").unlink()
    assert run(tmp_path, "", "-k", "timed or nothing", **tests) == (0, ["timed"])
    assert run(tmp_path, "", "-k", "nothing", **tests)[0] == 5


def test_no_address_is_listened_at_by_two_files_of_tests() -> None:
    users = defaultdict[str, set[str]](set)
    for path in Path(__file__).parent.glob("test_*.py"):
        for address in set(ADDRESS.findall(path.read_text())) - EVERYBODYS:
            users[address].add(path.name)
    assert {address: names for address, names in users.items() if len(names) > 1} == {}
    assert len(users) > 40, "the search finds what is there"
