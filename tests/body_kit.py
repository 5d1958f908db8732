"""Views for the 3D body, as web/ui/src/bodyView.js makes them, and what a test asks of the bare page (body_page.py)."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from tests import web_kit
from tests.body_page import ROOT

WORDS = ROOT / "web" / "words" / "en" / "body.json"
LABELS = {key.removeprefix("body."): text for key, text in json.loads(Path(WORDS).read_text("utf-8")).items()}
MOVES = ("measured", "synthesised", "predicted")


def word(provenance: str, confidence: float, label: str, text: str, color: str, **more: Any) -> dict[str, Any]:
    """One place's word; `more` for what its kind has besides."""
    sure = "" if provenance in ("measured", "withheld") else f" {round(confidence * 100)} %"
    return {
        "provenance": provenance, "confidence": confidence, "label": label, "text": text, "color": color,
        "activity": 0.5, "provenanceText": provenance.upper() + sure, **more,
    }  # fmt: skip


def view(provenance: str = "measured", confidence: float = 1.0, **more: Any) -> dict[str, Any]:
    """Every kind of place in one provenance; `more` replaces parts of the view."""
    moves = provenance in MOVES
    return {
        "regions": {
            "cheek": word(provenance, confidence, "EMG cheek", "0.15 µV", "#ff8fa3"),
            "palm": word(provenance, confidence, "Skin conductance", "4.67 µS", "#b794ff"),
        },
        "organs": {
            "heart": word(provenance, confidence, "Heart", "72/min", "#ff5d6c", rate=72 if moves else None),
            "lungs": word(provenance, confidence, "Breathing", "16/min", "#5fe3cf", rate=16 if moves else None),
        },
        "air": {}, "skin": None, "posture": None,
    } | more  # fmt: skip


def lying() -> dict[str, Any]:
    """A body on its back."""
    told = word("measured", 1, "Posture", "on the back, still", "", fact="posture", up=[0, 0, 1], moving=False)
    return view(posture=told)


def until(page: Any, holds: str, timeout_s: float = 30) -> None:
    """Wait until the expression is true, with the patience that software rendering needs."""
    web_kit.until(page, holds, timeout_s)


def open_body(page: Any, url: str, shown: dict[str, Any], before: str = "", **options: Any) -> None:
    """Open the bare page and mount the body with `shown`; `before` runs first."""
    page.goto(url)
    until(page, "window.loaded === true")
    if before:
        page.evaluate(before)
    page.evaluate("(view) => { window.view = view; }", shown)
    page.evaluate("async (o) => { mount(o); await twin.screenshotReady; }", {"labels": LABELS, **options})


def show(page: Any, shown: dict[str, Any]) -> None:
    """Change what the body shows, and wait until it has eased there (software rendering is slow)."""
    page.evaluate("(view) => { window.view = view; }", shown)
    time.sleep(3.5)
