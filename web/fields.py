"""What may be written into a patient's record, field by field: one row a field, one story a kind of act. Pure.

A rule takes what a person typed (or a socket sent) and gives the value that the engine is told, or raises
:class:`Wrong` with the key of a sentence and its facts. Nothing passes that no row allows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from device.signals import SIGNALS
from twin_engine.registry import DELAY_MOST_S, HEIGHT_CM, MAX_NAME, OLDEST_YEAR, PAUSE_S, SEXES, WEIGHT_KG

MAX_TEXT = 200  # nothing that a person types here is longer
ALARMS_MOST = 64  # acknowledged by one act
BOUNDS = ("crisis_low", "low", "high", "crisis_high")


class Wrong(ValueError):
    """A field does not hold what it must. `key` and `facts` make the sentence that the person reads."""

    def __init__(self, key: str, **facts: object) -> None:
        super().__init__(key)
        self.key, self.facts = key, facts


Rule = Callable[[Any], Any]


def _text(least: int, most: int, allowed: str = r"[^\x00-\x1f\x7f<>]*", blank: bool = False) -> Rule:
    def rule(raw: Any) -> str:
        text = raw.strip() if isinstance(raw, str) else ("" if raw is None else None)
        if text is None or len(text) > MAX_TEXT:
            raise Wrong("patients.wrong.text", most=most)
        if not text and blank:
            return ""
        if not text:
            raise Wrong("patients.wrong.missing")
        if not least <= len(text) <= most:
            raise Wrong("patients.wrong.length", least=least, most=most, got=len(text))
        if not re.fullmatch(allowed, text):
            raise Wrong("patients.wrong.characters")
        return text

    return rule


def _number(low: float, high: float, unit: str = "", whole: bool = False, blank: bool = False) -> Rule:
    def rule(raw: Any) -> float | int | None:
        if blank and (raw is None or raw == ""):
            return None
        if raw is None or raw == "":
            raise Wrong("patients.wrong.missing")
        value = _as_number(raw)
        if value is None or not low <= value <= high or (whole and value != int(value)):
            raise Wrong("patients.wrong.range", low=f"{low:g}", high=f"{high:g}", unit=unit, got=str(raw)[:20])
        return int(value) if whole else value

    return rule


def _as_number(raw: Any) -> float | None:
    """A finite number out of a number or a person's text ("36,5" too); None where it is none."""
    if isinstance(raw, bool) or not isinstance(raw, (int, float, str)) or len(str(raw)) > 20:
        return None
    try:
        value = float(str(raw).replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _one_of(*names: str) -> Rule:
    def rule(raw: Any) -> str:
        if raw not in names:
            raise Wrong("patients.wrong.choice")
        return str(raw)

    return rule


def _alarms(raw: Any) -> str | list[str]:
    """An alarm's id (or "all"), or a list of 1 to 64 ids."""
    one = _text(1, 120)
    if not isinstance(raw, list):
        return str(one(raw))
    if not 0 < len(raw) <= ALARMS_MOST:
        raise Wrong("patients.wrong.length", least=1, most=ALARMS_MOST, got=len(raw))
    return [str(one(name)) for name in raw]


def _yes(raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise Wrong("patients.wrong.choice")
    return raw


def _birth_year(this_year: int) -> Rule:
    number = _number(OLDEST_YEAR, this_year, whole=True, blank=True)
    return lambda raw: 0 if raw in (0, "0") else number(raw) or 0


_DEVICE = r"[A-Za-z0-9._:@-]*"
_RECORD: dict[str, Rule] = {
    "pseudonym": _text(2, MAX_NAME),
    "number": _text(4, 24, r"[A-Za-z0-9./-]*"),
    "sex": _one_of(*SEXES),
    "height_cm": _number(*HEIGHT_CM, "cm"),
    "weight_kg": _number(*WEIGHT_KG, "kg"),
}
_BED, _SPEAKER = _text(1, 24), _text(1, 64, _DEVICE)


@dataclass(frozen=True, slots=True)
class Checked:
    """What the engine would be told, and which fields are wrong and why. Send only where nothing is wrong."""

    body: dict[str, Any]
    wrong: dict[str, Wrong]


def check(kind: str, body: Mapping[str, Any], this_year: int) -> Checked:
    """Hold `body` to the rules of its kind. KeyError on a kind that people don't do."""
    if kind == "limits":
        return _limits(body)
    clean, wrong = dict[str, Any](), dict[str, Wrong]()
    for name, rule in _rules(this_year)[kind].items():
        try:
            clean[name] = rule(body.get(name))
        except Wrong as error:
            wrong[name] = error
    return Checked(clean, wrong)


def _rules(this_year: int) -> dict[str, dict[str, Rule]]:
    record = _RECORD | {"birth_year": _birth_year(this_year)}
    return {
        "ack": {"alarm": _alarms},
        "pause": {"seconds": _number(*PAUSE_S, "s", whole=True)},
        "resume": {},
        "admit": record | {"bed": _BED, "device": _text(1, 64, _DEVICE, blank=True)},
        "edit": record,
        "transfer": {"bed": _BED},
        "discharge": {},
        "assign": {"device": _SPEAKER},
        "release": {"device": _SPEAKER},
        "exchange": {"old": _SPEAKER, "new": _SPEAKER},
    }


KINDS = frozenset({*_rules(2000), "limits"})


def _limits(body: Mapping[str, Any]) -> Checked:
    """Limits of one signal, within what its sensor can report and in order; or back to the usual ones."""
    signal = body.get("signal")
    row = SIGNALS.get(signal) if isinstance(signal, str) else None
    if row is None:
        return Checked({}, {"signal": Wrong("patients.wrong.choice")})
    if body.get("reset") is True:
        return Checked({"signal": row.id, "reset": True}, {})
    clean, wrong = {"signal": row.id}, dict[str, Wrong]()
    rules: dict[str, Rule] = {name: _number(row.low, row.high, blank=True) for name in BOUNDS}
    for name, rule in (rules | {"delay_s": _number(0, DELAY_MOST_S, "s"), "on": _yes}).items():
        try:
            clean[name] = rule(body.get(name))
        except Wrong as error:
            wrong[name] = error
    return Checked(clean, wrong or _order(clean))


def _order(clean: Mapping[str, Any]) -> dict[str, Wrong]:
    """Limits must rise from crisis low to crisis high; what is not set is not compared."""
    given = [(name, clean[name]) for name in BOUNDS if clean[name] is not None]
    for (below, low), (above, high) in pairwise(given):
        if low > high or (low == high and (below, above) == ("low", "high")):
            return {above: Wrong("patients.wrong.order", below=f"{low:g}")}
    return {}
