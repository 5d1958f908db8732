"""The replay of one patient: what the twin showed at any moment of the last hours, beside what is known now."""

from __future__ import annotations

import dash
from dash import Dash, html

from twin_engine.store.feed import Feed
from web import ui
from web.pages.frame import REPLAY_TEMPLATE, section, translate
from web.pages.shell import TITLE
from web.relay import Relay
from web.settings import WebSettings


def register(app: Dash, feed: Feed, relay: Relay, settings: WebSettings) -> None:
    """The page."""
    dash.register_page("replay", path_template=REPLAY_TEMPLATE, title=TITLE, layout=lambda **_: layout(settings))


def layout(settings: WebSettings) -> html.Main:
    """Head, alarms of now, and timeline. Which patient, and which moment, the timeline reads from the address."""
    t = translate()
    return html.Main(
        [
            ui.SessionBar(id="session-bar", page="replay"),
            ui.AlarmBar(id="alarm-bar", shortcut=False),  # key A goes to the next alarm here
            ui.Downtime(id="downtime", contact=settings.downtime_contact),
            section(t("replay.title"), "replay", [ui.Timeline(id="timeline")], panel=False),
        ],
        className="eb-page eb-replay",
        id="content",
    )
