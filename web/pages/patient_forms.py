"""The forms of the page *Patients and devices*: what a person may fill in, by tab. Layout; the rules are web/fields.py.

A form is a list of fields and a button. A field's id names its form, so that one page may hold several; a form of a
consequential act asks for the end of the record number in a field of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import dash_mantine_components as dmc
from dash import html

from device.signals import SIGNALS
from twin_engine.registry import DEFAULT_LIMITS, Limits, PatientCard
from web.acts import CONFIRM_LENGTH, CONSEQUENTIAL, shown_number
from web.fields import BOUNDS, SEXES
from web.look import looks
from web.words import Translate

TABS = ("record", "bed", "devices", "limits", "discharge")
ON, OFF = "on", "off"
_BIRDS = ("PLOVER", "HERON", "SISKIN", "AVOCET", "DUNLIN", "KESTREL", "WHIMBREL", "ORIOLE", "LINNET", "MERLIN")
_DECIMAL = {"inputMode": "decimal"}
_WHOLE = True  # a value leaves with Enter or with the focus, never half typed
_HINT_BELOW = ["label", "input", "description", "error"]  # so that fields side by side stay in line


def field_id(form: str, name: str) -> dict[str, str]:
    """The id of a field."""
    return {"type": "eb-field", "form": form, "name": name}


def admit(t: Translate, cards: list[PatientCard], devices: list[str], again: PatientCard | None = None) -> list[Any]:
    """Who comes: a new patient, or one who was discharged."""
    card = again or PatientCard("", suggestion(cards), 0, "")
    fields = [*_record(t, "admit", card), _text(t, "admit", "bed", ""), _device(t, "admit", "device", devices, "")]
    return [_form(t, "admit", fields)]


def of(tab: str, card: PatientCard, t: Translate, devices: list[str], free: list[str], signal: str) -> list[Any]:
    """The forms of one tab for one patient. `devices` speak for her, `free` for nobody that is known."""
    if tab == "record":
        return [_form(t, "edit", _record(t, "edit", card))]
    if tab == "bed":
        return [
            html.P(t("patients.now_in", bed=card.bed)),
            _form(t, "transfer", [_text(t, "transfer", "bed", "")], card),
        ]
    if tab == "devices":
        return _devices(t, card, devices, free)
    if tab == "limits":
        return _limits(t, card, signal)
    return [html.P(t("patients.discharge_means", bed=card.bed)), _form(t, "discharge", [], card)]


def suggestion(cards: Iterable[PatientCard]) -> str:
    """A pseudonym that nobody has: a bird and a number, which goes up with those who were here."""
    taken = {card.pseudonym for card in cards}
    start = 7 * len(taken)
    names = (f"{_BIRDS[n % len(_BIRDS)]}-{10 + n % 90}" for n in range(start, start + 900))
    return next((name for name in names if name not in taken), "")


def _record(t: Translate, form: str, card: PatientCard) -> list[Any]:
    sexes = [{"value": sex, "label": t(f"sex.{sex}")} for sex in SEXES]
    return [
        _text(t, form, "pseudonym", card.pseudonym),
        _text(t, form, "number", card.number),
        _text(t, form, "birth_year", str(card.birth_year or ""), inputProps={"inputMode": "numeric"}),
        _select(field_id(form, "sex"), t("patients.field.sex"), sexes, card.sex),
        _text(t, form, "height_cm", f"{card.height_cm:g}", inputProps=_DECIMAL),
        _text(t, form, "weight_kg", f"{card.weight_kg:g}", inputProps=_DECIMAL),
    ]  # fmt: skip


def _devices(t: Translate, card: PatientCard, devices: list[str], free: list[str]) -> list[Any]:
    if not devices:
        return [html.P(t("patients.no_device")), _form(t, "assign", [_device(t, "assign", "device", free, "")])]
    pick = partial(_own_device, t, devices)
    return [
        html.H3(t("patients.exchange_title")),
        _form(t, "exchange", [pick("exchange", "old"), _device(t, "exchange", "new", free, "")], card),
        html.H3(t("patients.assign_title")),
        _form(t, "assign", [_device(t, "assign", "device", free, "")]),
        html.H3(t("patients.release_title")),
        html.P(t("patients.release_means")),
        _form(t, "release", [pick("release", "device")]),
    ]


def _own_device(t: Translate, devices: list[str], form: str, name: str) -> dmc.Select:
    own = [{"value": device, "label": device} for device in devices]
    label = t(f"patients.field.{form}_{name}")
    return _select(field_id(form, name), label, own, devices[0])


def _select(field: Any, label: str, data: list[dict[str, str]], value: str) -> dmc.Select:
    return dmc.Select(
        id=field, label=label, data=data, value=value, allowDeselect=False, comboboxProps={"withinPortal": False}
    )


def _limits(t: Translate, card: PatientCard, signal: str) -> list[Any]:
    signals = limited(card)
    chosen = signal if signal in signals else signals[0]
    own, unit = card.limits_of(chosen) or Limits(on=False), str(looks()[chosen]["unit"])
    usual = DEFAULT_LIMITS.get(chosen)
    names = [{"value": s, "label": t(f"signal.{s}")} for s in signals]
    pick = _select("eb-signal", t("patients.field.signal"), names, chosen)
    switch = [{"value": v, "label": t(f"patients.limit_{v}")} for v in (ON, OFF)]
    fields = [
        *(_bound(t, name, own, usual, unit) for name in ("high", "crisis_high", "low", "crisis_low")),
        _text(t, "limits", "delay_s", _said(own.delay_s), unit="s", inputProps=_DECIMAL),
        _select(field_id("limits", "on"), t("patients.field.on"), switch, ON if own.on else OFF),
    ]
    state = "patients.limits_own" if chosen in card.limits else "patients.limits_usual"
    reset = _button(t, "reset", variant="default", disabled=chosen not in card.limits)
    return [pick, html.P(t(state)), _form(t, "limits", fields, more=[reset])]


def _bound(t: Translate, name: str, own: Limits, usual: Limits | None, unit: str) -> dmc.TextInput:
    hint = t("patients.usual", value=(_said(getattr(usual, name)) if usual else "") or "–")
    return _text(t, "limits", name, _said(getattr(own, name)), unit=unit, inputProps=_DECIMAL, description=hint)


def limited(card: PatientCard) -> list[str]:
    """Signals that may have limits: those with usual ones first, then whatever is shown in its own unit."""
    plain = [s for s, look in looks().items() if look["factor"] == 1.0 and s not in DEFAULT_LIMITS]
    return [*DEFAULT_LIMITS, *(s for s in plain if SIGNALS[s].kind.value == "level" and SIGNALS[s].region != "room")]


def _said(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _form(
    t: Translate, form: str, fields: list[Any], card: PatientCard | None = None, more: list[Any] | None = None
) -> html.Div:
    guarded = [_confirm(t, form, card)] if form in CONSEQUENTIAL and card is not None else []
    return html.Div(
        [
            html.Div([*fields, *guarded], className="eb-fields"),
            html.P("", id={"type": "eb-wrong", "form": form}, className="eb-form-wrong", role="alert"),
            html.Div([_button(t, form), *(more or [])], className="eb-form-buttons"),
        ],
        className="eb-form",
        role="group",
        **{"aria-label": t(f"patients.do.{form}")},
    )


def _confirm(t: Translate, form: str, card: PatientCard) -> dmc.TextInput:
    hidden = len(shown_number(card)[:-CONFIRM_LENGTH])
    return dmc.TextInput(
        id=field_id(form, "confirm"), label=t("patients.confirm", count=CONFIRM_LENGTH),
        description=t("patients.confirm_hint", pseudonym=card.pseudonym, number="•" * hidden),
        autoComplete="off", debounce=_WHOLE, inputWrapperOrder=_HINT_BELOW, className="eb-confirm",
    )  # fmt: skip


def _button(t: Translate, form: str, variant: str = "filled", disabled: bool = False) -> dmc.Button:
    variant, colour = ("white", "dark") if form == "discharge" else (variant, "cyan")
    return dmc.Button(
        t(f"patients.do.{form}"), id={"type": "eb-send", "form": form}, variant=variant, disabled=disabled,
        color=colour,
        className=f"eb-send eb-send-{form}",
    )  # fmt: skip


def _text(t: Translate, form: str, name: str, value: str, unit: str = "", **rest: Any) -> dmc.TextInput:
    label = t(f"patients.field.{name}") + (f" ({unit})" if unit else "")
    return dmc.TextInput(
        id=field_id(form, name),
        label=label,
        value=value,
        autoComplete="off",
        debounce=_WHOLE,
        inputWrapperOrder=_HINT_BELOW,
        **rest,
    )


def _device(t: Translate, form: str, name: str, known: list[str], value: str) -> dmc.Autocomplete:
    return dmc.Autocomplete(
        id=field_id(form, name), label=t(f"patients.field.{name}"), data=known, value=value, limit=8,
        description=t("patients.device_hint"), debounce=_WHOLE, inputWrapperOrder=_HINT_BELOW,
        comboboxProps={"withinPortal": False},
    )  # fmt: skip


__all__ = ["BOUNDS", "OFF", "ON", "TABS", "admit", "field_id", "limited", "of", "suggestion"]
