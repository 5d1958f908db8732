"""The facts on a patient's card, one row each: what a person may enter, and what is refused. Pure.

A text is trimmed, of bounded length, and holds no control characters; a number is finite and in a range that fits a
living person.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twin_engine.registry import HEIGHT_CM, MAX_NAME, OLDEST_YEAR, SEXES, WEIGHT_KG

_NEWEST_YEAR = 2200  # no clock here; whoever takes the act in knows which year it is


class ActRefused(ValueError):
    """An act can't be carried out; nothing changed. `reason` is a short code for the dead letters and the page."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def only(body: Mapping[str, Any], names: Iterable[str], reason: str = "malformed") -> None:
    """Refuse a body that says more than `names`: who wrote it expected something that would not happen."""
    strange = sorted(str(name) for name in body.keys() - set(names))
    if strange:
        raise ActRefused(
            reason, f"expected only {', '.join(names) or 'an empty body'}, got {shown(strange[0])}; refused"
        )


def number(
    name: str, value: object, reason: str = "malformed", low: float = -math.inf, high: float = math.inf
) -> float:
    """A finite number between `low` and `high`. Raises ActRefused."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e9:
        raise ActRefused(reason, f"expected a number as {name}, got {shown(value)}; nothing changed")
    if not low <= value <= high:
        raise ActRefused(reason, f"expected {name} between {low:g} and {high:g}, got {value:g}; nothing changed")
    return float(value)


def fact(name: str, value: object) -> str | int | float:
    """A fact of the card as it is kept. Raises ActRefused."""
    return _ROWS[name](name, value)


def shown(value: object) -> str:
    """A strange value in an error: short, and on one line."""
    return repr(value)[:60]


def _text(least: int) -> Callable[[str, object], str]:
    def read(name: str, value: object) -> str:
        text = value.strip() if isinstance(value, str) else ""
        if not isinstance(value, str) or not least <= len(text) <= MAX_NAME or not text.isprintable():
            wanted = f"{least} to {MAX_NAME} plain characters"
            raise ActRefused("malformed", f"expected {wanted} as {name}, got {shown(value)}; nothing changed")
        return text

    return read


def _year(name: str, value: object) -> int:
    if value != 0:
        number(name, value, low=OLDEST_YEAR, high=_NEWEST_YEAR)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ActRefused("malformed", f"expected a year as {name}, or 0, got {shown(value)}; nothing changed")
    return value


def _sex(name: str, value: object) -> str:
    if value not in SEXES:
        raise ActRefused(
            "malformed", f"expected one of {', '.join(SEXES)} as {name}, got {shown(value)}; nothing changed"
        )
    return str(value)


_ROWS: dict[str, Callable[[str, object], str | int | float]] = {
    "pseudonym": _text(1),
    "birth_year": _year,
    "bed": _text(1),
    "sex": _sex,
    "height_cm": lambda name, value: number(name, value, "malformed", *HEIGHT_CM),
    "weight_kg": lambda name, value: number(name, value, "malformed", *WEIGHT_KG),
    "number": _text(0),
}
FACTS = tuple(_ROWS)
