"""The demo's patients: nobody, under a pseudonym made from the source, so that two sources never share a twin."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from twin_engine.registry import PatientCard

_BIRDS = (
    "WREN",
    "HERON",
    "SISKIN",
    "PLOVER",
    "DUNLIN",
    "AVOCET",
    "PETREL",
    "CURLEW",
    "MARTIN",
    "LINNET",
    "BITTERN",
    "SHRIKE",
)
DEMO_PREFIX = "demo-"
_NOT_IN_AN_ID = re.compile(r"[^a-z0-9]+")


def card_of(replay: Path | None) -> PatientCard:
    """The simulated patient, or the unknown person of a recording."""
    if replay is None:
        return PatientCard(
            f"{DEMO_PREFIX}simulated", "KESTREL-17", 1984, "Bed 4", "esp32-simulated", "female", 168.0, 64.0
        )
    name = _NOT_IN_AN_ID.sub("-", replay.name.split(".")[0].lower()).strip("-")[:40] or "recording"
    mark = zlib.crc32(str(replay.resolve()).encode())
    pseudonym = f"{_BIRDS[mark % len(_BIRDS)]}-{mark // 64 % 90 + 10}"
    name = f"{name}-{mark & 0xFFFF:04x}"  # two files of one name are two people
    return PatientCard(f"{DEMO_PREFIX}{name}", pseudonym, 0, "Bed 4", f"esp32-{name}")
