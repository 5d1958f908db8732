"""What became of an act that was sent: the engine's answer is a record that has changed, or an event. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from twin_engine.registry import PatientCard

PATIENCE_S = 12.0  # an engine that has not answered by then may still do it: the person is told to look
WAITING, DONE, REFUSED, UNKNOWN = "waiting", "done", "refused", "unknown"
_CLOCKS_S = 1.0  # the engine's clock may be that far behind ours


def outcome(
    sent: Mapping[str, Any], card: PatientCard | None, status: Mapping[str, Any], events: Iterable[Mapping[str, Any]],
    now_s: float,
) -> tuple[str, str]:  # fmt: skip
    """(waiting, done, refused or unknown; the engine's words where it refused). `sent`: patient, kind, body, who, t."""
    refusal = [e for e in events if _refuses(e, sent)]
    if refusal:
        return REFUSED, str(refusal[-1]["text"])
    if card is not None and _shows(sent["kind"], sent["body"], card, status):
        return DONE, ""
    return (WAITING if now_s - sent["t"] < PATIENCE_S else UNKNOWN), ""


def _refuses(event: Mapping[str, Any], sent: Mapping[str, Any]) -> bool:
    """Whether the event answers this act: its kind, by this person, and not an earlier one's."""
    asked = (event.get("kind"), (event.get("facts") or {}).get("act"), event.get("who"))
    return asked == ("act-refused", sent["kind"], sent["who"]) and event["t"] >= sent["t"] - _CLOCKS_S


def _shows(kind: str, body: Mapping[str, Any], card: PatientCard, status: Mapping[str, Any]) -> bool:
    """Whether the record is as the act wanted it."""
    speaks = {card.device, *(status.get("devices") or {})}
    if kind == "discharge":
        return not card.present
    if kind == "limits":
        return _limits(body, card)
    if kind == "release":
        return str(body["device"]) not in speaks  # she may have several: the card names one, the status all
    if kind == "assign":
        return str(body["device"]) in speaks
    if kind == "exchange":
        return str(body["new"]) in speaks and str(body["old"]) not in speaks
    return card.present and all(getattr(card, name) == value for name, value in body.items() if name != "device")


def _limits(body: Mapping[str, Any], card: PatientCard) -> bool:
    if body.get("reset"):
        return body["signal"] not in card.limits
    own = card.limits.get(body["signal"])
    return own is not None and all(asdict(own).get(name) == body[name] for name in body if name != "signal")
