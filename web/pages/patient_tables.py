"""The tables of the page *Patients and devices*, out of cards and statuses. Layout only."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from twin_engine.registry import PatientCard, shown_number
from web.pages.frame import room_path
from web.words import Translate

NEWS_S = 10.0


@dataclass(frozen=True, slots=True)
class Device:
    """What is known of a device: whose it is, and what its patient's twin last heard of it."""

    id: str
    patient: PatientCard | None
    source: str = ""
    last_frame_s: float = 0.0
    channels: int = 0
    unplugged: tuple[str, ...] = ()


def devices(cards: Iterable[PatientCard], statuses: Mapping[str, Mapping[str, Any]]) -> list[Device]:
    """Every device that a card or a status names, by id."""
    found: dict[str, Device] = {}
    for card in cards:
        status = statuses.get(card.id, {})
        for name, said in (status.get("devices") or {}).items():
            patient = card if card.present else None
            found[name] = Device(
                name, patient, str(said.get("source", "")), float(said.get("last_frame_s") or 0.0),
                len(status.get("channels", {})), tuple(said.get("unplugged") or ()),
            )  # fmt: skip
    for card in cards:
        if card.device and card.present and (card.device not in found or found[card.device].patient is None):
            found[card.device] = Device(card.device, card)
    return sorted(found.values(), key=lambda device: device.id)


def patients_table(t: Translate, cards: list[PatientCard]) -> Any:
    """Those who are here, by bed as the store has it, then those who left."""
    if not cards:
        return html.Div([html.H2(t("ward.empty")), html.P(t("patients.empty_do"))], className="eb-ward-empty")
    here = [card for card in cards if card.present]
    gone = sorted((card for card in cards if not card.present), key=lambda c: -(c.discharged_ms or 0))
    names = ("bed", "pseudonym", "number", "birth_year", "body", "device", "since", "change")
    head = html.Thead(html.Tr([html.Th(t(f"patients.column.{name}"), scope="col") for name in names]))
    body = html.Tbody([*(_present(t, card) for card in here), *(_left(t, card) for card in gone)])
    return html.Table([html.Caption(t("patients.present", count=len(here))), head, body], className="eb-table")


def _present(t: Translate, card: PatientCard) -> html.Tr:
    return html.Tr(
        [
            html.Th(card.bed, scope="row"),
            html.Td(dcc.Link(card.pseudonym, href=room_path(card.id))),
            html.Td(shown_number(card)),
            html.Td(str(card.birth_year or "–")),
            html.Td(_body(t, card)),
            html.Td(card.device or t("patients.none"), className="" if card.device else "eb-missing"),
            html.Td(_when(card.admitted_ms)),
            html.Td(_open(t, card, "patients.change")),
        ],
        **{"data-patient": card.id, "data-present": "true"},
    )


def _left(t: Translate, card: PatientCard) -> html.Tr:
    return html.Tr(
        [
            html.Th(t("patients.left"), scope="row"),
            html.Td(dcc.Link(card.pseudonym, href=room_path(card.id))),
            html.Td(shown_number(card)),
            html.Td(str(card.birth_year or "–")),
            html.Td(_body(t, card)),
            html.Td("–"),
            html.Td(_when(card.discharged_ms or 0)),
            html.Td(_open(t, card, "patients.again")),
        ],
        **{"data-patient": card.id, "data-present": "false"},
    )


def _open(t: Translate, card: PatientCard, key: str) -> dmc.Button:
    return dmc.Button(
        t(key), id={"type": "eb-open", "patient": card.id}, size="compact-sm", variant="default",
        className="eb-open", **{"aria-label": f"{t(key)}: {card.pseudonym}, {card.bed}"},
    )  # fmt: skip


def _body(t: Translate, card: PatientCard) -> str:
    return f"{t(f'sex.{card.sex}')} · {card.height_cm:g} cm · {card.weight_kg:g} kg"


def _when(ms: int) -> Any:
    """Date and time of day in the server's zone; "–" where it is not known."""
    if ms <= 0:
        return "–"
    moment = time.localtime(ms / 1000)
    return html.Time(time.strftime("%Y-%m-%d %H:%M", moment), dateTime=time.strftime("%Y-%m-%dT%H:%M:%S%z", moment))


def devices_table(t: Translate, rows: list[Device], now_s: float) -> Any:
    """Every known device."""
    if not rows:
        return html.P(t("patients.no_devices"), className="eb-waiting")
    names = ("device", "patient", "source", "last", "channels", "unplugged")
    head = html.Thead(html.Tr([html.Th(t(f"patients.column.{name}"), scope="col") for name in names]))
    body = html.Tbody([_device(t, row, now_s) for row in rows])
    return html.Table([html.Caption(t("patients.devices_known", count=len(rows))), head, body], className="eb-table")


def _device(t: Translate, row: Device, now_s: float) -> html.Tr:
    source = row.source if row.source in ("simulated", "recording", "sensor") else "unknown"
    fresh = now_s - row.last_frame_s < NEWS_S
    last = t("patients.sending") if fresh else _when(int(row.last_frame_s * 1000))
    return html.Tr(
        [
            html.Th(row.id, scope="row"),
            html.Td(f"{row.patient.pseudonym} · {row.patient.bed}" if row.patient else t("patients.free")),
            html.Td(html.Span(t(f"source.{source}"), className="eb-source")),
            html.Td(last, **{"data-fresh": str(fresh).lower()}),
            html.Td(str(row.channels or "–")),
            html.Td(", ".join(row.unplugged) or "–", className="eb-missing" if row.unplugged else ""),
        ],
        **{"data-device": row.id},
    )
