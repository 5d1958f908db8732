"""The ward: every patient's twin at a glance, sorted by need. The rows come through the socket; see WardBoard.js."""

from __future__ import annotations

import dash
from dash import Dash, html

from twin_engine.store.feed import Feed
from web import ui
from web.pages.frame import WARD
from web.pages.shell import TITLE
from web.relay import Relay
from web.settings import WebSettings


def register(app: Dash, feed: Feed, relay: Relay, settings: WebSettings) -> None:
    """The page."""
    dash.register_page("ward", path=WARD, title=TITLE, layout=lambda **_: layout())


def layout() -> html.Main:
    """The head and the board."""
    return html.Main(
        [ui.SessionBar(id="session-bar", page="ward"), ui.WardBoard(id="ward")],
        className="eb-sheet",
        id="content",
    )
