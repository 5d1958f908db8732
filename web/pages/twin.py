"""The twin page: its layout, and the callbacks of its demo bar. Waves and numbers never pass through callbacks."""

from __future__ import annotations

import logging
import time
from typing import Any
from urllib.parse import unquote

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, ctx, dcc, html, no_update

from twin_engine.store.errors import StoreError
from twin_engine.store.feed import Feed
from web import ui
from web.pages.commands import BUTTONS, button, expectation, face, payload
from web.relay import Relay
from web.settings import WebSettings

log = logging.getLogger(__name__)

PATIENT_PREFIX = "/patient/"
SWEEP_S = 20
COMMAND, PENDING = "eb-command", "eb-pending"  # classes of a button, and of one that waits for its answer
THEME = {
    "fontFamily": '"Inter", system-ui, "Segoe UI", sans-serif',
    "primaryColor": "cyan",
    "defaultRadius": "sm",
    "cursorType": "pointer",
}


def layout(settings: WebSettings) -> dmc.MantineProvider:
    """The page of one patient. Which one, the components read from the address and the socket."""
    return dmc.MantineProvider(
        forceColorScheme="dark",
        theme=THEME,
        children=html.Main(
            [
                dcc.Location(id="url", refresh=False),
                ui.TwinLink(id="link"),
                ui.SessionBar(id="session-bar"),
                ui.AlarmBar(id="alarm-bar"),
                _area("Body", "twin", [ui.PatientTwin(id="twin", glbUrl=settings.body_url)]),
                _area("Traces", "waves", [ui.WaveMonitor(id="waves", seconds=SWEEP_S)]),
                _area("Values", "tiles", [ui.VitalBoard(id="tiles")], panel=False),
                _area("Events", "events", [html.H2("Events"), ui.EventLog(id="events")]),
                _area("Commands", "demo", _demo_bar()),
            ],
            className="eb-page",
        ),
    )


def _area(name: str, area: str, children: list[Any], panel: bool = True) -> html.Section:
    """One part of the page, named for those who hear it."""
    classes = f"eb-panel eb-area-{area}" if panel else f"eb-area-{area}"
    return html.Section(children, className=classes, **{"aria-label": name})


def _demo_bar() -> list[Any]:
    buttons = [
        html.Div(
            dmc.Button(
                b.label, id=b.id, size="xs", variant="default", disabled=True, fullWidth=True, className=COMMAND
            ),
            title=b.title,
        )
        for b in BUTTONS
    ]
    return [
        html.H2("Demo: commands to the device"),
        html.Div(buttons, className="eb-buttons"),
        html.P("", id="command-note", role="status", className="eb-command-note"),
    ]


def register(app: Dash, feed: Feed, relay: Relay) -> None:
    """Connect the demo bar: a press becomes a command, an answer becomes a new face."""

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
        row = button(str(ctx.triggered_id))
        card = relay.card(patient_of(path or "/"))
        if card is None:
            return no_update, "No such patient: the command was not sent."
        try:
            feed.command(card.device, row.method, payload(row, live or {}))
        except StoreError as error:
            log.warning("command %s for %s did not leave: %s", row.method, card.device, error)
            return no_update, "The record store can't be reached: the command was not sent."
        return {**(asked or {}), row.id: expectation(row, live or {}, time.time())}, ""

    @app.callback(
        Output("command-note", "children"),
        [Output(b.id, prop) for b in BUTTONS for prop in ("children", "className", "disabled")],
        Input("link", "live"),
        Input("link", "asked"),
        prevent_initial_call=True,
    )  # type: ignore[untyped-decorator]  # dash is untyped
    def show(live: dict[str, Any] | None, asked: dict[str, Any] | None) -> list[Any]:
        faces = [face(row, live or {}, asked or {}) for row in BUTTONS]
        note = " ".join(f.note for f in faces if f.note)
        return [
            note,
            *(
                value
                for f in faces
                for value in (f.label, f"{COMMAND} {PENDING}" if f.pending else COMMAND, f.disabled)
            ),
        ]


def patient_of(path: str) -> str:
    """The patient's id in a page's path; "" for the first patient."""
    return unquote(path.removeprefix(PATIENT_PREFIX)).strip("/") if path.startswith(PATIENT_PREFIX) else ""
