"""The forms of the page *Patients and devices*: what a person may fill in, by tab. Layout; the rules are web/fields.py.

A form is a list of fields and a button. Every id in it names the form and whose it is, so that what is pressed can't
reach another patient than the one it was drawn for; a form of a consequential act asks for the end of the record number
in a field of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import dash_mantine_components as dmc
from dash import html

from device.signals import SIGNALS
from twin_engine.registry import DEFAULT_LIMITS, SEXES, Limits, PatientCard, shown_number
from web.acts import CONFIRM_LENGTH, CONSEQUENTIAL
from web.look import looks
from web.words import Translate

TABS = ("record", "bed", "devices", "limits", "discharge")
ON, OFF = "on", "off"
_BIRDS = ("PLOVER", "HERON", "SISKIN", "AVOCET", "DUNLIN", "KESTREL", "WHIMBREL", "ORIOLE", "LINNET", "MERLIN")
_DECIMAL = {"inputMode": "decimal"}
_WHOLE = True  # a value leaves with Enter or with the focus, never half typed
_HINT_BELOW = ["label", "input", "description", "error"]  # so that fields side by side stay in line


def seen(card: PatientCard) -> str:
    """A mark of the record number that a form was drawn beside: it changes with the number and does not tell it."""
    return hashlib.sha256(f"{card.id} {shown_number(card)}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Sheet:
    """One form: its words, its kind, and whose it is, which every id in it carries; `about`: the signal of limits."""

    t: Translate
    form: str
    card: PatientCard
    about: str = ""

    def id(self, kind: str, **more: str) -> dict[str, str]:
        """The id of a part of it."""
        whose = {"patient": self.card.id, "seen": seen(self.card), "about": self.about}
        return {"type": kind, "form": self.form, **whose, **more}

    def field(self, name: str) -> dict[str, str]:
        """The id of a field."""
        return self.id("eb-field", name=name)


def admit(t: Translate, cards: list[PatientCard], devices: list[str], again: PatientCard | None = None) -> list[Any]:
    """Who comes: a new patient, or one who was discharged."""
    sheet = Sheet(t, "admit", again or PatientCard("", suggestion(cards), 0, ""))
    return [_form(sheet, [*_record(sheet), _text(sheet, "bed", ""), _device(sheet, "device", devices)])]


def of(tab: str, card: PatientCard, t: Translate, devices: list[str], free: list[str], signal: str) -> list[Any]:
    """The forms of one tab for one patient. `devices` speak for her, `free` for nobody that is known."""
    if tab == "record":
        sheet = Sheet(t, "edit", card)
        return [_form(sheet, _record(sheet))]
    if tab == "bed":
        sheet = Sheet(t, "transfer", card)
        return [html.P(t("patients.now_in", bed=card.bed)), _form(sheet, [_text(sheet, "bed", "")])]
    if tab == "devices":
        return _devices(t, card, devices, free)
    if tab == "limits":
        return _limits(t, card, signal)
    return [html.P(t("patients.discharge_means", bed=card.bed)), _form(Sheet(t, "discharge", card), [])]


def suggestion(cards: Iterable[PatientCard]) -> str:
    """A pseudonym that nobody has: a bird and a number, which goes up with those who were here."""
    taken = {card.pseudonym for card in cards}
    start = 7 * len(taken)
    names = (f"{_BIRDS[n % len(_BIRDS)]}-{10 + n % 90}" for n in range(start, start + 900))
    return next((name for name in names if name not in taken), "")


def _record(s: Sheet) -> list[Any]:
    sexes = [{"value": sex, "label": s.t(f"sex.{sex}")} for sex in SEXES]
    return [
        _text(s, "pseudonym", s.card.pseudonym),
        _text(s, "number", s.card.number),
        _text(s, "birth_year", str(s.card.birth_year or ""), inputProps={"inputMode": "numeric"}),
        _select(s.field("sex"), s.t("patients.field.sex"), sexes, s.card.sex),
        _text(s, "height_cm", f"{s.card.height_cm:g}", inputProps=_DECIMAL),
        _text(s, "weight_kg", f"{s.card.weight_kg:g}", inputProps=_DECIMAL),
    ]  # fmt: skip


def _devices(t: Translate, card: PatientCard, devices: list[str], free: list[str]) -> list[Any]:
    exchange, assign, release = (Sheet(t, form, card) for form in ("exchange", "assign", "release"))
    added = _form(assign, [_device(assign, "device", free)])
    if not devices:
        return [html.P(t("patients.no_device")), added]
    return [
        html.H3(t("patients.exchange_title")),
        _form(exchange, [_own_device(exchange, "old", devices), _device(exchange, "new", free)]),
        html.H3(t("patients.assign_title")),
        added,
        html.H3(t("patients.release_title")),
        html.P(t("patients.release_means")),
        _form(release, [_own_device(release, "device", devices)]),
    ]


def _own_device(s: Sheet, name: str, devices: list[str]) -> dmc.Select:
    own = [{"value": device, "label": device} for device in devices]
    return _select(s.field(name), s.t(f"patients.field.{s.form}_{name}"), own, devices[0])


def _select(field: Any, label: str, data: list[dict[str, str]], value: str) -> dmc.Select:
    return dmc.Select(
        id=field, label=label, data=data, value=value, allowDeselect=False, comboboxProps={"withinPortal": False}
    )


def _limits(t: Translate, card: PatientCard, signal: str) -> list[Any]:
    signals = limited(card)
    chosen = signal if signal in signals else signals[0]
    sheet = Sheet(t, "limits", card, chosen)
    own, unit = card.limits_of(chosen) or Limits(on=False), str(looks()[chosen]["unit"])
    usual = DEFAULT_LIMITS.get(chosen)
    names = [{"value": s, "label": t(f"signal.{s}")} for s in signals]
    pick = _select("eb-signal", t("patients.field.signal"), names, chosen)
    switch = [{"value": v, "label": t(f"patients.limit_{v}")} for v in (ON, OFF)]
    fields = [
        *(_bound(sheet, name, own, usual, unit) for name in ("high", "crisis_high", "low", "crisis_low")),
        _text(sheet, "delay_s", _said(own.delay_s), unit="s", inputProps=_DECIMAL),
        _select(sheet.field("on"), t("patients.field.on"), switch, ON if own.on else OFF),
    ]
    state = "patients.limits_own" if chosen in card.limits else "patients.limits_usual"
    reset = _button(Sheet(t, "reset", card, chosen), variant="default", disabled=chosen not in card.limits)
    return [pick, html.P(t(state)), _form(sheet, fields, more=[reset])]


def _bound(s: Sheet, name: str, own: Limits, usual: Limits | None, unit: str) -> dmc.TextInput:
    hint = s.t("patients.usual", value=(_said(getattr(usual, name)) if usual else "") or "–")
    return _text(s, name, _said(getattr(own, name)), unit=unit, inputProps=_DECIMAL, description=hint)


def limited(card: PatientCard) -> list[str]:
    """Signals that may have limits: those with usual ones first, then whatever is shown in its own unit."""
    plain = [s for s, look in looks().items() if look["factor"] == 1.0 and s not in DEFAULT_LIMITS]
    return [*DEFAULT_LIMITS, *(s for s in plain if SIGNALS[s].kind.value == "level" and SIGNALS[s].region != "room")]


def _said(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _form(s: Sheet, fields: list[Any], more: list[Any] | None = None) -> html.Div:
    guarded = [_confirm(s)] if s.form in CONSEQUENTIAL else []
    return html.Div(
        [
            html.Div([*fields, *guarded], className="eb-fields"),
            html.P("", id=s.id("eb-wrong"), className="eb-form-wrong", role="alert"),
            html.Div([_button(s), *(more or [])], className="eb-form-buttons"),
        ],
        className="eb-form",
        role="group",
        **{"aria-label": s.t(f"patients.do.{s.form}")},
    )


def _confirm(s: Sheet) -> dmc.TextInput:
    hidden = len(shown_number(s.card)[:-CONFIRM_LENGTH])
    return dmc.TextInput(
        id=s.field("confirm"), label=s.t("patients.confirm", count=CONFIRM_LENGTH),
        description=s.t("patients.confirm_hint", pseudonym=s.card.pseudonym, number="•" * hidden),
        autoComplete="off", debounce=_WHOLE, inputWrapperOrder=_HINT_BELOW, className="eb-confirm",
    )  # fmt: skip


def _button(s: Sheet, variant: str = "filled", disabled: bool = False) -> dmc.Button:
    variant, colour = ("white", "dark") if s.form == "discharge" else (variant, "cyan")
    return dmc.Button(
        s.t(f"patients.do.{s.form}"), id=s.id("eb-send"), variant=variant, disabled=disabled,
        color=colour,
        className=f"eb-send eb-send-{s.form}",
    )  # fmt: skip


def _text(s: Sheet, name: str, value: str, unit: str = "", **rest: Any) -> dmc.TextInput:
    label = s.t(f"patients.field.{name}") + (f" ({unit})" if unit else "")
    return dmc.TextInput(
        id=s.field(name),
        label=label,
        value=value,
        autoComplete="off",
        debounce=_WHOLE,
        inputWrapperOrder=_HINT_BELOW,
        **rest,
    )


def _device(s: Sheet, name: str, known: list[str]) -> dmc.Autocomplete:
    return dmc.Autocomplete(
        id=s.field(name), label=s.t(f"patients.field.{name}"), data=known, value="", limit=8,
        description=s.t("patients.device_hint"), debounce=_WHOLE, inputWrapperOrder=_HINT_BELOW,
        comboboxProps={"withinPortal": False},
    )  # fmt: skip


__all__ = ["OFF", "ON", "TABS", "Sheet", "admit", "limited", "of", "seen", "suggestion"]
