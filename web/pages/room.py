"""The room of one patient: its layout, and the callbacks of its command bar. Waves never pass through callbacks."""

from __future__ import annotations

import logging
import time
from typing import Any

import dash
import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, ctx, html, no_update

from security.people import Right
from twin_engine.registry import shown_number
from twin_engine.store.errors import StoreError
from web import ui
from web.fields import Wrong
from web.pages.commands import BUTTONS, button, expectation, face, payload
from web.pages.frame import ROOM_TEMPLATE, patient_of, section, translate
from web.pages.shell import TITLE
from web.relay import Relay
from web.settings import WebSettings
from web.sight import Reach
from web.words import Translate

log = logging.getLogger(__name__)

COMMAND, PENDING = "eb-command", "eb-pending"  # classes of a button, and of one that waits for its answer


def register(app: Dash, reach: Reach, relay: Relay, settings: WebSettings) -> None:
    """The page, and its command bar: a press becomes a command, an answer becomes a new face."""
    dash.register_page("room", path_template=ROOM_TEMPLATE, title=TITLE, layout=lambda **_: layout(reach, settings))
    _register_commands(app, reach, relay, settings)


def layout(reach: Reach, settings: WebSettings) -> html.Main:
    """The page of one patient. Which one, the components read from the address and the socket."""
    t = translate()
    return html.Main(
        [
            ui.SessionBar(id="session-bar", page="room"),
            ui.TwinLink(id="link"),
            ui.AlarmBar(id="alarm-bar"),
            ui.Downtime(id="downtime", contact=settings.downtime_contact),
            section(t("room.body"), "twin", [ui.PatientTwin(id="twin", glbUrl=settings.body_url)]),
            section(t("room.traces"), "waves", [ui.WaveMonitor(id="waves")]),
            section(t("room.values"), "tiles", [ui.VitalBoard(id="tiles")], panel=False),
            section(t("room.events"), "events", [html.H2(t("room.events")), ui.EventLog(id="events")]),
            section(t("room.commands"), "demo", _bar(t, settings), hidden=not reach.offers(Right.COMMAND)),
        ],
        className="eb-page eb-room",
        id="content",
    )


def _bar(t: Translate, settings: WebSettings) -> list[Any]:
    buttons = [
        html.Div(
            dmc.Button(
                t(f"command.{b.id}"),
                id=b.id,
                size="xs",
                variant="default",
                disabled=True,
                fullWidth=True,
                className=COMMAND,
            ),
            title=t(f"command.{b.id}.title"),
            hidden=b.demo and not settings.demo,
        )
        for b in BUTTONS
    ]
    return [
        html.H2(t("room.commands_title")),
        html.Div(buttons, className="eb-buttons"),
        html.P("", id="command-note", role="status", className="eb-command-note"),
    ]


def _register_commands(app: Dash, reach: Reach, relay: Relay, settings: WebSettings) -> None:
    @app.callback(
        Output("link", "asked"),
        Output("command-note", "children", allow_duplicate=True),
        [Input(b.id, "n_clicks") for b in BUTTONS],
        State("link", "live"),
        State("link", "asked"),
        State("url", "pathname"),
        prevent_initial_call=True,
    )  # type: ignore[untyped-decorator]  # dash is untyped
    def press(*args: Any) -> tuple[Any, str]:
        live, asked, path = args[-3:]
        if not any(args[: len(BUTTONS)]):
            return no_update, no_update
        row = button(str(ctx.triggered_id))
        card = relay.card(patient_of(path or ""))
        if card is None or (row.demo and not settings.demo):
            return no_update, translate()("command.no_patient")
        drawn = live or {}
        if (drawn.get("patient"), drawn.get("number")) != (card.id, shown_number(card)):
            log.warning("%s for %s was refused: the screen showed another patient", row.method, card.id)
            return no_update, translate()("command.other")
        if not card.device:
            return no_update, translate()("command.no_device")
        try:
            reach.command(card.id, card.device, row.method, payload(row, live or {}))
        except Wrong as error:
            return no_update, translate()(error.key)
        except StoreError as error:
            log.warning("command %s for %s did not leave: %s", row.method, card.device, error)
            return no_update, translate()("command.no_store")
        return {**(asked or {}), row.id: expectation(row, live or {}, time.time())}, ""

    @app.callback(
        Output("command-note", "children"),
        [Output(b.id, prop) for b in BUTTONS for prop in ("children", "className", "disabled")],
        Input("link", "live"),
        Input("link", "asked"),
        prevent_initial_call=True,
    )  # type: ignore[untyped-decorator]  # dash is untyped
    def show(live: dict[str, Any] | None, asked: dict[str, Any] | None) -> list[Any]:
        faces = [face(row, live or {}, asked or {}, translate()) for row in BUTTONS]
        note = " ".join(f.note for f in faces if f.note)
        return [
            note,
            *(
                value
                for f in faces
                for value in (f.label, f"{COMMAND} {PENDING}" if f.pending else COMMAND, f.disabled)
            ),
        ]
