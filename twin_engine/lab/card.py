"""Writes the model card: what the weights were made from, how well they do and for whom, and what they can't do.

From the metadata beside the weights (people, hashes, training, energy) and, where there is one, the evaluation's JSON
(``card_tables`` says its form). Every sentence that states a result is made from these two (``card_findings``).
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from device.signals import SIGNALS
from security import files
from twin_engine.lab import card_findings as findings
from twin_engine.lab import card_tables as t
from twin_engine.lab import card_text as text
from twin_engine.lab.energy import from_json
from twin_engine.lab.recordings import DEAD_CHANNELS

CARD = "model-card.md"
WIDTH = 120
_ABLATION = (
    "The same training again without a part (the latent, the cheap forecasts, the person), on validation people, in "
    "units of ridge regression's usual error; lower is better."
)
Metadata = Mapping[str, Any]


def write_card(folder: Path, metadata: Metadata, evaluation: findings.Evaluation | None) -> Path:
    """Write ``model-card.md`` into `folder`; returns its path. `evaluation` None: nothing was evaluated yet."""
    path = folder / CARD
    files.write_public(path, card(metadata, evaluation).encode())
    return path


def card(metadata: Metadata, evaluation: findings.Evaluation | None) -> str:
    """The card as Markdown."""
    found: findings.Evaluation = evaluation or {}
    parts = [
        "# Model card: the generative core of Everbeat",
        text.INTRODUCTION,
        "## In short", findings.in_short(found),
        "## Intended use", text.INTENDED_USE,
        "## What it can't do", cannot(metadata),
        "## What it covers", covers(metadata),
        "## Data, people, licences", people(metadata),
        "## Method", text.METHOD,
        "## Training", training(metadata),
        *findings.results(found),
        "## Targets set beforehand", t.targets(found.get("bars", [])),
        "## Subgroups", findings.SUBGROUPS, t.subgroups(found.get("by_subgroup", [])),
        "## Calibration", findings.calibration(found),
        "## What made the shown values", t.shares(found.get("share_by_method", {})),
        "## What each part contributes", _ABLATION, t.ablation(findings.ablation_of(metadata)),
        "## Limits", limits(metadata),
        "## Energy", energy(metadata),
    ]  # fmt: skip
    return "\n\n".join(_wrapped(part) for part in parts) + "\n"


def cannot(metadata: Metadata) -> str:
    """What it can't do, and whom it does not know."""
    sources = [text.SOURCES.get(folder) for folder in _folders(metadata)]
    healthy = all(source is not None and not source.patients for source in sources)
    return "\n".join([text.CANNOT, text.HEALTHY_ONLY if healthy else text.SOMEBODY])


def limits(metadata: Metadata) -> str:
    """Limits of every such model, and of these recordings."""
    caveats = [text.SOURCES[folder].caveat for folder in _folders(metadata) if folder in text.SOURCES]
    return "\n".join([text.LIMITS, *(f"- {caveat}" for caveat in caveats if caveat)])


def covers(metadata: Metadata) -> str:
    """The trained signals and how far they are forecast."""
    heads = ("signal", "unit", "step", "context", "longest gap", "cheap forecasts it mixes")
    lines = []
    for signal, entry in metadata["signals"].items():
        plan = entry["plan"]
        context = t.gap(round(plan["grid_s"] * plan["context_steps"]))
        unit = SIGNALS[signal].unit if signal in SIGNALS else ""
        bases = ", ".join(plan.get("bases", []))
        lines.append((t.label(signal), unit, f"{plan['grid_s']:g} s", context, t.gap(plan["horizon_s"]), bases))
    others = [row.label for row in SIGNALS.values() if row.id not in metadata["signals"]]
    rest = f"Without weights, by a simple method that says so: {', '.join(others)}." if others else ""
    return f"{t.table(heads, lines)}\n\n{rest}".rstrip()


def people(metadata: Metadata) -> str:
    """Who was used for what, from where, under which licence."""
    parts = {part: Counter(map(_folder, who)) for part, who in metadata["split"].items()}
    lines = []
    for folder in _folders(metadata):
        source = text.SOURCES.get(folder, text.UNKNOWN_SOURCE)
        used = ", ".join(f"{counts[folder]} {part}" for part, counts in parts.items() if counts[folder])
        lines.append((f"`{folder}`", f"{source.what} ({source.origin})", used, source.licence))
    tested = ", ".join(metadata["split"].get("test", [])) or "nobody"
    return (
        f"{t.table(('folder', 'what', 'people (a room counts as one)', 'licence'), lines)}\n\n"
        "The split is by person, the same for every signal and every training, drawn once with seed "
        f"{metadata.get('split_seed', '–')}. Held out for testing: {tested}. SHA-256 over all recordings read: "
        f"`{metadata.get('data_sha256', 'not recorded')}`; who is known by which hash is in `metadata.json`. Licences "
        "are those of the sources; the recordings are not distributed with the weights and no part of them is stored "
        "in the weights. People in them are anonymous.\n\n"
        f"{text.LEFT_OUT}{_dead(metadata)}"
    )


def training(metadata: Metadata) -> str:
    """What each signal's training took."""
    heads = ("signal", "steps", "windows", "batch", "validation CRPS", "SHA-256 of the weights")
    lines = []
    for signal, entry in metadata["signals"].items():
        told = entry.get("training", {})
        counts = (str(told.get(name, "–")) for name in ("steps", "windows", "batch"))
        crps = t.number(entry.get("validation", {}).get("crps"))
        lines.append((t.label(signal), *counts, crps, f"`{str(entry.get('sha256', ''))[:16]}…`"))
    versions = sorted({str(e.get("training", {}).get("torch", "unknown")) for e in metadata["signals"].values()})
    return (
        f"{t.table(heads, lines)}\n\nSeed {metadata.get('seed', '–')}, torch {', '.join(versions)}. The same seed, "
        "data, steps and kind of machine give the same weights. Validation CRPS is that of sampled paths, relative to "
        "ridge regression's usual error at each age, on the validation people."
    )


def energy(metadata: Metadata) -> str:
    """What the training took from the socket, of the signals that recorded it."""
    told = [entry.get("training", {}).get("energy") for entry in metadata["signals"].values()]
    known = [from_json(value) for value in told if value]
    if not known:
        return "Not recorded for these weights."
    missing = f" Of {len(told) - len(known)} signals it was not recorded." if len(known) < len(told) else ""
    took = reduce(add, known).text()
    return f"Training took {took}.{missing} The search for the method took more and was not counted."


def _wrapped(part: str) -> str:
    """Paragraphs in lines of at most WIDTH; headings, tables and lists as they are."""
    return "\n\n".join(
        block if block.startswith(("#", "|", "-", "1.")) else textwrap.fill(block, WIDTH, break_on_hyphens=False)
        for block in part.split("\n\n")
    )


def _folder(person: str) -> str:
    return person.rpartition("/")[0]


def _dead(metadata: Metadata) -> str:
    """Channels that are left out altogether, by name."""
    there = {person for who in metadata["split"].values() for person in who}
    dead = [(person, channel.partition(".")[0]) for person, channel in DEAD_CHANNELS if person in there]
    names = sorted(f"{t.label(signal).lower()} of {person}" for person, signal in dead)
    return f" Not used at all, because the electrode was off: {', '.join(names)}." if names else ""


def _folders(metadata: Metadata) -> list[str]:
    return sorted({_folder(person) for who in metadata["split"].values() for person in who})
