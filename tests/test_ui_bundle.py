"""The committed bundle is the one that its sources make."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from web import ui

HERE = Path(ui.__file__).parent
WORDS = HERE.parent / "words"
SOURCES = ("src", "shim", "build.mjs", "package-lock.json")


def source_hash() -> str:
    """As build.mjs computes it: SHA-256 over each file's relative path and bytes, in order of path."""
    files = [p for name in SOURCES for p in ([HERE / name] if (HERE / name).is_file() else (HERE / name).rglob("*"))]
    named = [(path.relative_to(HERE).as_posix(), path) for path in files if path.is_file()]
    named += [(f"../words/{path.relative_to(WORDS).as_posix()}", path) for path in WORDS.rglob("*.json")]
    digest = hashlib.sha256()
    for name, path in sorted(named):
        digest.update(f"{name}\n".encode() + path.read_bytes() + b"\n")
    return digest.hexdigest()


def test_the_bundle_was_built_from_these_sources() -> None:
    expected = ui.SOURCE_HASH.read_text("utf-8").strip()
    assert source_hash() == expected, "sources changed: run `npm ci && node build.mjs` in web/ui and commit the bundle"


def test_the_lock_names_no_registry() -> None:
    lock = json.loads((HERE / "package-lock.json").read_text("utf-8"))
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
    assert all("integrity" in package for name, package in lock["packages"].items() if name)


def test_the_bundle_brings_no_second_react() -> None:
    source = ui.BUNDLE.read_text("utf-8")
    assert "window.React" in source
    assert "react.element" not in source and "react.transitional.element" not in source
