"""What a person may change of a patient's alarm limits, and what is said of it. Pure.

An act says what differs: the rest stays as it was for this patient, else as it usually is. Every pair of limits keeps
its order, and nobody sets a limit of a signal that is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

from device.signals import SIGNALS
from twin_engine.facts import ActRefused, number, only, shown
from twin_engine.registry import DEFAULT_LIMITS, DELAY_MOST_S, Limits, PatientCard

_EDGES = ("crisis_low", "low", "high", "crisis_high")  # from the lowest to the highest


def limits_by_signal(card: PatientCard) -> dict[str, Limits]:
    """The limits of every signal that has any: her own, else the usual ones."""
    return {**DEFAULT_LIMITS, **card.limits}


def changed(body: Mapping[str, Any], card: PatientCard) -> tuple[dict[str, Limits], dict[str, str]]:
    """(her own limits after an act of kind ``limits``, the facts that its sentence says). Raises ActRefused."""
    signal = body.get("signal")
    row = SIGNALS.get(signal) if isinstance(signal, str) else None
    if row is None:
        raise ActRefused("bad-limits", f"expected a known signal, got {shown(signal)}; the limits stay as they were")
    if "reset" in body:
        only(body, ("signal", "reset"), "bad-limits")
        if body["reset"] is not True:
            raise ActRefused("bad-limits", f"expected reset: true, got {shown(body['reset'])}; nothing changed")
        new, own = DEFAULT_LIMITS.get(row.id), {name: had for name, had in card.limits.items() if name != row.id}
    else:
        new = _limits_of(body, card.limits_of(row.id) or Limits())
        own = {**card.limits, row.id: new}
    facts = {"signal": row.id, **{name: _said(value) for name, value in asdict(new or Limits(on=False)).items()}}
    return own, facts | {"label": row.label, "limits": _listed(facts)}


def _limits_of(body: Mapping[str, Any], before: Limits) -> Limits:
    """What the body says, the rest as before; every pair in its order."""
    only(body, ("signal", *_EDGES, "delay_s", "on"), "bad-limits")
    read: dict[str, Any] = {
        name: None if body[name] is None else number(name, body[name], "bad-limits") for name in _EDGES if name in body
    }
    made = replace(before, **read)
    if "delay_s" in body:
        made = replace(made, delay_s=number("delay_s", body["delay_s"], "bad-limits", 0, DELAY_MOST_S))
    if "on" in body:
        if not isinstance(body["on"], bool):
            raise ActRefused("bad-limits", f"expected on to be true or false, got {shown(body['on'])}; nothing changed")
        made = replace(made, on=body["on"])
    given = [(name, value) for name in _EDGES if (value := getattr(made, name)) is not None]
    for (below, low), (above, high) in pairwise(given):
        same_side = {below, above} in ({"crisis_low", "low"}, {"high", "crisis_high"})
        if low > high or (low == high and not same_side):
            raise ActRefused("bad-limits", f"expected {below} below {above}, got {low:g} and {high:g}; nothing changed")
    return made


def _listed(facts: Mapping[str, str]) -> str:
    """Limits in one line: "crisis low 40, low 50, high 120", or "off"."""
    given = [f"{name.replace('_', ' ')} {facts[name]}" for name in _EDGES if facts[name]]
    return "off" if facts["on"] == "off" or not given else ", ".join(given)


def _said(value: float | bool | None) -> str:
    """A limit as a fact: empty where there is none."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "" if value is None else f"{value:g}"
