"""The ward: every patient's twin at a glance, sorted by need."""

from __future__ import annotations

import dash
from dash import Dash, html

from twin_engine.store.feed import Feed
from web import ui
from web.pages.frame import WARD, room_path, translate
from web.relay import Relay
from web.settings import WebSettings


def register(app: Dash, feed: Feed, relay: Relay, settings: WebSettings) -> None:
    """The page."""
    dash.register_page("ward", path=WARD, title="Everbeat", layout=lambda **_: layout(relay))


def layout(relay: Relay) -> html.Main:
    """All patients."""
    t = translate()
    rows = [html.Li(html.A(card.pseudonym, href=room_path(card.id))) for card in relay.cards()]
    return html.Main(
        [ui.SessionBar(id="session-bar", page="ward"), html.H1(t("ward.title")), html.Ul(rows)],
        className="eb-page eb-ward",
        id="content",
    )
