"""The bill of materials: of its schema, whole, and the same from the same locks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from scripts import sbom

ROOT = sbom.ROOT


@pytest.fixture(scope="module")
def bom(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("sbom") / "sbom.cdx.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["sbom", "--out", str(out)])
        sbom.main()
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_it_is_of_its_schema_and_a_broken_one_is_refused(bom: dict[str, Any]) -> None:
    sbom.validate(json.dumps(bom))
    with pytest.raises(SystemExit, match=r"CycloneDX 1\.6"):
        sbom.validate(json.dumps(bom | {"components": [{"name": "without a type"}]}))


def test_every_locked_python_package_is_in_it_with_its_version(bom: dict[str, Any]) -> None:
    locked = re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.M)
    held = {(c["name"].lower(), c["version"]) for c in bom["components"]}
    assert len(locked) > 80
    assert {(name.lower(), version) for name, version in locked} <= held


def test_what_browsers_load_is_in_it_with_hashes_and_what_only_builds_is_not(bom: dict[str, Any]) -> None:
    npm = {c["purl"]: c for c in bom["components"] if c["purl"].startswith("pkg:npm/")}
    wanted = json.loads((ROOT / "web/ui/package.json").read_text())["dependencies"]
    for name, version in wanted.items():
        assert f"pkg:npm/{name.replace('@', '%40')}@{version}" in npm
    assert all(re.fullmatch(r"[0-9a-f]{128}", c["hashes"][0]["content"]) for c in npm.values())
    assert not any("esbuild" in purl for purl in npm)


def test_the_same_locks_give_the_same_file(bom: dict[str, Any], tmp_path: Path) -> None:
    again = sbom.python_part(ROOT / "requirements.lock", ROOT / "pyproject.toml")
    assert again["components"] == [c for c in bom["components"] if not c["purl"].startswith("pkg:npm/")]
    assert "timestamp" not in again["metadata"]
    assert str(ROOT) not in json.dumps(bom)
