"""What every page has around it: providers, the skip link, and the page's own content; and which addresses exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

import dash
import dash_mantine_components as dmc
from dash import dcc, html
from flask import request

from web.pages.shell import TITLE
from web.relay import Relay
from web.words import COOKIE, Translate, best, words

PATIENT_PREFIX = "/patient/"
WARD, PATIENTS, DOWNTIME = "/", "/patients", "/downtime"
OWN = ("/account", "/break-glass", "/audit")  # of people, without the app
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


def frame(strip: Callable[[], Any] = html.Div) -> dmc.MantineProvider:
    """Around every page. `strip` says who is signed in."""
    return dmc.MantineProvider(
        forceColorScheme="dark",
        theme=THEME,
        children=[
            html.A(translate()("nav.skip"), href="#content", className="eb-skip"),
            strip(),
            dcc.Location(id="url", refresh=False),
            dash.page_container,
        ],
    )


def section(name: str, area: str, children: list[Any], panel: bool = True, hidden: bool = False) -> html.Section:
    """One part of a page, named for those who hear it."""
    classes = f"eb-panel eb-area-{area}" if panel else f"eb-area-{area}"
    return html.Section(children, className=classes, hidden=hidden, **{"aria-label": name})


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
    if path in (WARD, PATIENTS, DOWNTIME, *OWN):
        return True
    rest = path.removeprefix(PATIENT_PREFIX).rstrip("/") if path.startswith(PATIENT_PREFIX) else ""
    return bool(rest) and (rest.count("/") == 0 or (rest.count("/") == 1 and rest.endswith("/replay")))


def back_to(wanted: str) -> str:
    """Where a visitor goes back to: one of our own pages, with its query; the ward where `wanted` is none.

    A browser drops tabs and line ends out of an address and takes a backslash for a slash, so only what is a page
    letter for letter passes, and it is written anew.
    """
    path, _, query = wanted.partition("#")[0].partition("?")
    if not is_page(path) or not path.isprintable() or "\\" in path or "//" in path:
        return WARD
    return quote(path, safe="/%") + (f"?{urlencode(parse_qsl(query))}" if query else "")


def missing() -> html.Main:
    """The page of a wrong address that was reached without leaving the app."""
    t = translate()
    return html.Main(
        [
            html.H1(t("ward.missing_title")),
            html.P(t("ward.missing_text")),
            html.P(html.A(t("ward.missing_go"), href=WARD)),
        ],
        className="eb-notfound",
        id="content",
    )


def register_missing(
    relay: Relay, banner: Callable[[str], Any] = lambda _: None, saw: Callable[[str], None] = lambda _: None
) -> None:
    """Give wrong addresses their page, also those of patients who are not there. Call it after all other pages.

    `banner(patient)` stands above her pages; `saw(patient)` is told that one is opened.
    """
    for page in dash.page_registry.values():
        if "<patient>" in (page.get("path_template") or ""):
            page["layout"] = _of_known(page["layout"], relay, banner, saw)
    dash.register_page("not_found_404", title=TITLE, layout=lambda **_: missing())


def _of_known(
    layout: Callable[..., Any], relay: Relay, banner: Callable[[str], Any], saw: Callable[[str], None]
) -> Callable[..., Any]:
    """A patient's page, drawn anew for each patient so that nothing of the one before stays on it."""

    def checked(patient: str = "", **rest: Any) -> Any:
        if relay.ready and relay.card(unquote(patient)) is None:
            return missing()
        saw(unquote(patient))
        page, above = layout(patient=patient, **rest), banner(unquote(patient))
        page = page if above is None else html.Div([above, page], className="eb-glassed")
        page.key = patient
        return page

    return checked
