"""What happened in a shift, in the reader's language: alarms, threats, commands, and what people did. Pure.

The engine tells an event by its kind, a variant, facts and an English text. A sentence of the catalogue stands only
where there is one of just that kind and variant and every fact it asks for is there: else the engine's own words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from web.fields import BOUNDS
from web.words import catalogue, words

ALARMS = ("alarm-raised", "alarm-over", "alarm-acknowledged", "audio-paused", "audio-resumed", "gap-opened", "withheld")
THREATS = ("refused", "quarantined", "put-back")
PEOPLE = ("admitted", "edited", "transferred", "discharged", "assigned", "released", "limits-changed", "act-refused")
CHAPTERS = {"alarms": ALARMS, "threats": THREATS, "people": PEOPLE, "commands": ("command",)}


class Teller:
    """Tells events in one language. `name(channel or signal)` is what the reader calls it."""

    def __init__(self, language: str, name: Callable[[str], str]) -> None:
        self._texts, self._t, self._name = catalogue(language), words(language), name

    def sentence(self, event: Mapping[str, Any]) -> str:
        """One event; never a sentence with a hole, never that of another variant."""
        facts, text = dict(event.get("facts") or {}), str(event.get("text", ""))
        key = ".".join(filter(None, (str(event.get("kind")), facts.get("variant"))))
        template = self._texts.get(f"event.{key}")
        try:
            return template.format(**self._said(event, facts)) if template and facts else text
        except (KeyError, IndexError, ValueError):
            return text

    def _said(self, event: Mapping[str, Any], facts: Mapping[str, str]) -> dict[str, str]:
        """The facts in the reader's words."""
        said = {**facts, "who": str(event.get("who") or "–")}
        if "act" in facts:
            said["act"] = self._texts.get(f"patients.do.{facts['act']}", facts["act"])
        about = str(event.get("channel") or facts.get("signal") or "")
        if about:
            said["label"] = self._name(about)
        if facts.get("fields"):
            said["fields"] = ", ".join(self._field(name) for name in facts["fields"].split(", "))
        if event.get("kind") == "limits-changed":
            said["limits"] = self._limits(facts)
        return said

    def _field(self, name: str) -> str:
        return self._texts.get(f"patients.column.{name}") or self._texts.get(f"patients.field.{name}") or name

    def _limits(self, facts: Mapping[str, str]) -> str:
        if facts.get("on") == "off":
            return self._t("patients.limit_off")
        return ", ".join(f"{self._field(name)} {facts.get(name) or '–'}" for name in BOUNDS)


__all__ = ["CHAPTERS", "Teller"]
