"""What every page has around it: providers, the skip link, and the page's own content; and which addresses exist."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

import dash
import dash_mantine_components as dmc
from dash import dcc, html
from flask import request

from web.words import COOKIE, Translate, best, words

PATIENT_PREFIX = "/patient/"
WARD, PATIENTS, DOWNTIME = "/", "/patients", "/downtime"
ROOM_TEMPLATE, REPLAY_TEMPLATE = "/patient/<patient>", "/patient/<patient>/replay"
THEME = {
    "fontFamily": '"Inter", system-ui, "Segoe UI", sans-serif',
    "primaryColor": "cyan",
    "defaultRadius": "sm",
    "cursorType": "pointer",
}


def language() -> str:
    """The language of the visitor whose request is answered now."""
    return best(request.cookies.get(COOKIE), [tag for tag, _ in request.accept_languages])


def translate() -> Translate:
    """Words in the visitor's language."""
    return words(language())


def frame() -> dmc.MantineProvider:
    """Around every page."""
    return dmc.MantineProvider(
        forceColorScheme="dark",
        theme=THEME,
        children=[
            html.A(translate()("nav.skip"), href="#content", className="eb-skip"),
            dcc.Location(id="url", refresh=False),
            dash.page_container,
        ],
    )


def section(name: str, area: str, children: list[Any], panel: bool = True) -> html.Section:
    """One part of a page, named for those who hear it."""
    classes = f"eb-panel eb-area-{area}" if panel else f"eb-area-{area}"
    return html.Section(children, className=classes, **{"aria-label": name})


def patient_of(path: str) -> str:
    """The patient's id in a page's path, "" where it has none."""
    if not path.startswith(PATIENT_PREFIX):
        return ""
    return unquote(path.removeprefix(PATIENT_PREFIX).split("/", 1)[0])


def room_path(patient: str) -> str:
    """The address of a patient's room."""
    return f"{PATIENT_PREFIX}{quote(patient, safe='')}"


def is_page(path: str) -> bool:
    """Whether the path has the form of one of our pages; whether the patient exists is another question."""
    if path in (WARD, PATIENTS, DOWNTIME):
        return True
    rest = path.removeprefix(PATIENT_PREFIX).rstrip("/") if path.startswith(PATIENT_PREFIX) else ""
    return bool(rest) and (rest.count("/") == 0 or (rest.count("/") == 1 and rest.endswith("/replay")))
