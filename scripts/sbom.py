"""Writes the bill of materials, CycloneDX 1.6, to dist/sbom.cdx.json: ``make sbom``.

Python packages come from requirements.lock (by cyclonedx-py), what the browser is sent from web/ui/package-lock.json
(those that are bundled, not those that build). Nothing is fetched, and no clock or random number goes in: the same
locks give the same file. Validated against its schema before it is written.
"""

from __future__ import annotations

import argparse
import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "dist" / "sbom.cdx.json"
SPEC = SchemaVersion.V1_6


def main() -> None:
    """Writes the file and says what is in it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=OUT)
    out = parser.parse_args().out
    bom = python_part(ROOT / "requirements.lock", ROOT / "pyproject.toml")
    python = len(bom["components"])
    bom["components"] += browser_part(json.loads((ROOT / "web/ui/package-lock.json").read_text()))
    text = json.dumps(bom, indent=1) + "\n"
    validate(text)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    print(f"{out}: {python} Python packages, {len(bom['components']) - python} in the browser's bundle; CycloneDX 1.6")


def python_part(lock: Path, project: Path) -> dict[str, Any]:
    """The locked Python packages, and this project as what they are parts of."""
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "--pyproject", str(project), "--sv", "1.6",
               "--of", "JSON", "--output-reproducible", str(lock)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    for component in found["components"]:
        component.pop("description", None)  # "requirements line 3: ..."
        component.pop("externalReferences", None)  # which index pip was set to
    return found


def browser_part(lock: dict[str, Any]) -> list[dict[str, Any]]:
    """The npm packages that are bundled into what browsers load, with the hashes of their archives."""
    rows = sorted((path, row) for path, row in lock["packages"].items() if path and not row.get("dev"))
    return [_npm(path.rpartition("node_modules/")[2], row) for path, row in rows]


def _npm(name: str, row: dict[str, Any]) -> dict[str, Any]:
    scope, _, bare = name.rpartition("/")
    purl = f"pkg:npm/{scope.replace('@', '%40')}/{bare}" if scope else f"pkg:npm/{bare}"
    component: dict[str, Any] = {"type": "library", "bom-ref": f"npm:{name}@{row['version']}", "name": bare,
                                 "version": row["version"], "purl": f"{purl}@{row['version']}"}  # fmt: skip
    if scope:
        component["group"] = scope
    kind, _, digest = row.get("integrity", "").partition("-")
    if kind == "sha512":
        component["hashes"] = [{"alg": "SHA-512", "content": base64.b64decode(digest).hex()}]
    if row.get("license"):
        component["licenses"] = [{"expression": row["license"]}]
    return component


def validate(text: str) -> None:
    """Raises SystemExit where `text` is not of the schema."""
    error = JsonStrictValidator(SPEC).validate_str(text)
    if error is not None:
        raise SystemExit(f"expected a CycloneDX 1.6 document, got one that fails: {str(error)[:400]}; nothing written")


if __name__ == "__main__":
    main()
