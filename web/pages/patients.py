"""Patients and devices: who is here, which device speaks for whom, and the forms that change it.

A form is filled in beside the patient's two identifiers; what can't be undone asks for the end of her record number.
A press checks (web/fields.py), sends (web/acts.py) and then waits: the page says *sent* until the record itself has
changed, the engine has refused, or nobody has answered.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from typing import Any

import dash
import dash_mantine_components as dmc
from dash import ALL, Dash, Input, Output, State, ctx, dcc, html, no_update

from security.people import Right
from twin_engine.registry import PatientCard, shown_number
from web import ui
from web.acts import Acts
from web.fields import Wrong, check
from web.pages import patient_forms as forms
from web.pages import pending
from web.pages.frame import PATIENTS, translate
from web.pages.patient_tables import devices, devices_table, patients_table
from web.pages.shell import TITLE
from web.relay import Relay
from web.sight import Reach
from web.words import Translate

NEW = ""  # the patient of the form that admits somebody
_LOOK_MS, _WAIT_MS = 2000, 400
_PART = {"form": ALL, "patient": ALL, "seen": ALL, "about": ALL}  # of a form's ids: patient_forms.Sheet
_FIELD = {"type": "eb-field", "name": ALL, **_PART}


def register(app: Dash, reach: Reach, relay: Relay, acts: Acts) -> None:
    """The page and its callbacks."""
    dash.register_page("patients", path=PATIENTS, title=TITLE, layout=lambda **_: layout(relay, reach))
    _register_tables(app, relay)
    _register_panel(app, relay)
    _register_sending(app, relay, acts)
    _register_waiting(app, relay)


def layout(relay: Relay, reach: Reach) -> html.Main:
    """Tables now, and the panel that opens beside them."""
    t = translate()
    tables = _tables(t, relay)
    return html.Main(
        [
            ui.SessionBar(id="session-bar", page="patients"),
            html.Div(
                [html.H1(t("patients.page")), html.P("", id="eb-note", role="status", className="eb-outcome"),
                 html.Div(dmc.Button(t("patients.do.admit"), id="eb-admit", color="cyan", variant="filled"),
                          hidden=not reach.offers(Right.ADMIT))],
                className="eb-ward-tools",
            ),
            html.Div(
                [html.Div(tables[0], id="eb-patients", className="eb-panel eb-tablebox", tabIndex=0, role="region",
                          **{"aria-label": t("ward.list")}),
                 html.Div(tables[1], id="eb-devices", className="eb-panel eb-tablebox", tabIndex=0, role="region",
                          **{"aria-label": t("patients.devices")})],
                className="eb-tables",
            ),
            _panel(t),
            dcc.Store(id="eb-who", data=None),
            dcc.Store(id="eb-sent", data=None),
            dcc.Store(id="eb-seen", data=" ".join(marks(tables))),
            dcc.Interval(id="eb-look", interval=_LOOK_MS),
            dcc.Interval(id="eb-wait", interval=_WAIT_MS, disabled=True),
        ],
        className="eb-sheet eb-patients",
        id="content",
    )  # fmt: skip


def _panel(t: Translate) -> dmc.Drawer:
    tabs = dmc.Tabs(
        [
            dmc.TabsList([dmc.TabsTab(t(f"patients.tab.{name}"), value=name) for name in forms.TABS]),
            *(dmc.TabsPanel([], value=name) for name in forms.TABS),  # a tab must name a panel; the form lies below
        ],
        id="eb-tab", value="record", color="cyan", keepMounted=True,
    )  # fmt: skip
    return dmc.Drawer(
        [
            html.Div(tabs, id="eb-tabs"),
            html.Div([], id="eb-form"),
            html.P("", id="eb-panel-note", role="status", className="eb-outcome"),
        ],
        id="eb-panel", opened=False, position="right", size="min(560px, 100vw)", title="", padding="lg",
        closeButtonProps={"aria-label": t("button.close"), "size": "lg"}, transitionProps={"duration": 0},
        className="eb-drawer",
    )  # fmt: skip


def _tables(t: Translate, relay: Relay) -> list[Any]:
    cards = relay.cards()
    statuses = {card.id: relay.status(card.id) for card in cards}
    return [patients_table(t, cards), devices_table(t, devices(cards, statuses), time.time())]


def _register_tables(app: Dash, relay: Relay) -> None:
    @app.callback(
        Output("eb-patients", "children"), Output("eb-devices", "children"), Output("eb-seen", "data"),
        Input("eb-look", "n_intervals"), Input("eb-sent", "data"), State("eb-seen", "data"), prevent_initial_call=True,
    )  # type: ignore[untyped-decorator]  # dash is untyped  # fmt: skip
    def look(_: int, __: Any, seen: str) -> list[Any]:
        tables = _tables(translate(), relay)
        new, old = marks(tables), (seen or " ").split(" ")
        changed = [no_update if mark == before else table for table, mark, before in zip(tables, new, old, strict=True)]
        return [*changed, " ".join(new)]


def marks(tables: list[Any]) -> list[str]:
    """One a table: it is drawn anew only where its mark has changed, so that no button goes under a finger."""
    return [hashlib.sha256(json.dumps(table, default=_plain).encode()).hexdigest() for table in tables]


def _plain(component: Any) -> Any:
    return component.to_plotly_json()


def _register_panel(app: Dash, relay: Relay) -> None:
    @app.callback(
        Output("eb-who", "data"), Output("eb-panel", "opened"), Output("eb-tab", "value"),
        Output("eb-panel-note", "children"), Input("eb-admit", "n_clicks"),
        Input({"type": "eb-open", "patient": ALL}, "n_clicks"), prevent_initial_call=True,
    )  # type: ignore[untyped-decorator]  # dash is untyped  # fmt: skip
    def choose(_: Any, __: Any) -> Any:
        if not ctx.triggered or not ctx.triggered[0]["value"]:  # rows were drawn anew, nobody pressed
            return no_update, no_update, no_update, no_update
        who = ctx.triggered_id
        return (NEW if who == "eb-admit" else who["patient"]), True, "record", ""

    @app.callback(
        Output("eb-panel", "title"), Output("eb-form", "children"), Output("eb-tabs", "hidden"),
        Input("eb-who", "data"), Input("eb-tab", "value"), prevent_initial_call=True,
    )  # type: ignore[untyped-decorator]  # dash is untyped  # fmt: skip
    def draw(patient: str | None, tab: str) -> Any:
        return _drawn(relay, patient, tab) if patient is not None else (no_update, no_update, no_update)

    @app.callback(
        Output("eb-form", "children", allow_duplicate=True),
        Input("eb-signal", "value"), State({"type": "eb-wrong", **_PART}, "id"), State("eb-who", "data"),
        prevent_initial_call=True,
    )  # type: ignore[untyped-decorator]  # dash is untyped  # fmt: skip
    def other_signal(signal: str, drawn: list[dict[str, str]], patient: str) -> Any:
        card = relay.card(patient) if patient else None
        if card is None or any(form["about"] == signal for form in drawn):  # Dash asks for a select just drawn, too
            return no_update
        return forms.of("limits", card, translate(), [], [], signal)


def _drawn(relay: Relay, patient: str, tab: str) -> tuple[Any, Any, bool]:
    """(title, forms, whether the tabs are hidden)."""
    t, cards = translate(), relay.cards()
    card = relay.card(patient) if patient else None
    known = devices(cards, {c.id: relay.status(c.id) for c in cards})
    free = [device.id for device in known if device.patient is None]
    if card is None:
        return _title(t("patients.admit_title"), ""), forms.admit(t, cards, free), True
    if not card.present:
        return _title(card.pseudonym, identity(t, card)), forms.admit(t, cards, free, card), True
    own = [device.id for device in known if device.patient is not None and device.patient.id == card.id]
    return _title(card.pseudonym, identity(t, card)), forms.of(tab, card, t, own, free, ""), False


def _title(name: str, rest: str) -> list[Any]:
    return [html.B(name, className="eb-panel-name"), html.Span(rest, className="eb-panel-identity")]


def identity(t: Translate, card: PatientCard) -> str:
    """Two identifiers and the bed, as on every page of a patient."""
    born = t("patient.born", year=card.birth_year) if card.birth_year else t("patient.born_unknown")
    return " · ".join((t("patient.number", number=shown_number(card)), born, card.bed))


def _register_sending(app: Dash, relay: Relay, acts: Acts) -> None:
    @app.callback(
        Output(_FIELD, "error"), Output({"type": "eb-wrong", **_PART}, "children"), Output("eb-sent", "data"),
        Output("eb-wait", "disabled"), Output("eb-panel-note", "children", allow_duplicate=True),
        Input({"type": "eb-send", **_PART}, "n_clicks"), Input(_FIELD, "n_submit"),
        State(_FIELD, "value"), State("eb-who", "data"), prevent_initial_call=True,
    )  # type: ignore[untyped-decorator]  # dash is untyped  # fmt: skip
    def press(_: Any, __: Any, values: list[Any], patient: str | None) -> Any:
        ids = [spec["id"] for spec in ctx.outputs_list[0]]
        places = [spec["id"]["form"] for spec in ctx.outputs_list[1]]
        if patient is None or not ctx.triggered or not ctx.triggered[0]["value"]:
            return [no_update] * len(ids), [no_update] * len(places), no_update, no_update, no_update
        t, pressed = translate(), ctx.triggered_id
        form = "limits" if pressed["form"] == "reset" else pressed["form"]
        wrong, sent, stop = send(acts, relay, patient, pressed, typed_in(pressed, form, ids, values), t)
        errors = [wrong.get(i["name"], "") if i["form"] == form else "" for i in ids]
        note = t("patients.sent") if sent else ""
        return errors, [stop if place == form else "" for place in places], sent or no_update, sent is None, note


def typed_in(pressed: dict[str, str], form: str, ids: list[dict[str, str]], values: list[Any]) -> dict[str, Any]:
    """What the fields of the pressed form hold, and nothing of a form that was drawn for somebody or something else."""
    signal = {"signal": pressed["about"]} if form == "limits" else {}
    if pressed["form"] == "reset":
        return signal | {"reset": True}
    own = {name: pressed[name] for name in ("patient", "seen", "about")} | {"form": form}
    return signal | {i["name"]: v for i, v in zip(ids, values, strict=True) if own.items() <= i.items()}


def send(
    acts: Acts, relay: Relay, patient: str, pressed: dict[str, str], typed: dict[str, Any], t: Translate,
) -> tuple[dict[str, str], dict[str, Any] | None, str]:  # fmt: skip
    """(errors by field, what was sent or None, why nothing could be sent at all).

    `patient` is whose panel is open, `pressed` the id of what was pressed: the form must have been drawn for her, and
    beside the record number that is hers now.
    """
    card = relay.card(patient) if patient else None
    drawn_for = forms.seen(card) if card else pressed["seen"]
    if pressed["patient"] != patient or pressed["seen"] != drawn_for or (patient and card is None):
        return {}, None, t("patients.act.other")
    kind = "limits" if pressed["form"] == "reset" else pressed["form"]
    if "on" in typed:
        typed["on"] = typed["on"] == forms.ON
    patient = patient or f"p-{secrets.token_hex(6)}"
    sent_s = time.time()
    try:
        wrong = acts.send(patient, kind, typed)
    except Wrong as error:
        return {}, None, t(error.key, **error.facts)
    if wrong:
        return {name: t(w.key, **w.facts) for name, w in wrong.items()}, None, ""
    body = check(kind, typed, time.gmtime().tm_year).body
    return {}, {"patient": patient, "kind": kind, "body": body, "who": acts.who, "t": sent_s}, ""


def _register_waiting(app: Dash, relay: Relay) -> None:
    @app.callback(
        Output("eb-wait", "disabled", allow_duplicate=True), Output("eb-panel-note", "children", allow_duplicate=True),
        Output("eb-note", "children"), Output("eb-panel", "title", allow_duplicate=True),
        Output("eb-form", "children", allow_duplicate=True), Output("eb-panel", "opened", allow_duplicate=True),
        Output("eb-sent", "data", allow_duplicate=True),
        Input("eb-wait", "n_intervals"), State("eb-sent", "data"), State("eb-who", "data"), State("eb-tab", "value"),
        prevent_initial_call=True,
    )  # type: ignore[untyped-decorator]  # dash is untyped  # fmt: skip
    def wait(_: int, sent: dict[str, Any] | None, patient: str | None, tab: str) -> Any:
        if sent is None:
            return True, *[no_update] * 6
        relay.look_again()
        card = relay.card(sent["patient"])
        end, why = pending.outcome(
            sent, card, relay.status(sent["patient"]), relay.events(sent["patient"]), time.time()
        )
        if end == pending.WAITING:
            return [no_update] * 7
        t = translate()
        note = html.Span(_told(t, end, why, sent, card), **{"data-outcome": end})
        if end != pending.DONE:
            return True, note, note, no_update, no_update, no_update, None
        if sent["kind"] in ("admit", "discharge") or patient != sent["patient"]:
            return True, note, note, no_update, no_update, False, None
        title, drawn, _hidden = _drawn(relay, sent["patient"], tab)
        return True, note, note, title, drawn, no_update, None


def _told(t: Translate, end: str, why: str, sent: dict[str, Any], card: PatientCard | None) -> str:
    who = card.pseudonym if card else str(sent["body"].get("pseudonym", ""))
    act = t(f"patients.do.{sent['kind']}")
    return t(f"patients.end.{end}", act=act, who=who, why=why)
