"""The sheet for when the twin is down: what is seen, what it means, what to do, whom to call; to be printed.

A plain document: it needs no script, no engine and no store, and holds no patient's data. The room's page has the
browser keep a copy (:data:`WORKER`, whose scope is this page alone), so that it opens when the server doesn't answer.
It is no page of the app, so links to it must load it (a plain ``<a>``).
"""

from __future__ import annotations

from html import escape

from dash import Dash
from flask import Response

from twin_engine.store.feed import Feed
from web.pages.downtime_look import PICTURES, STYLE
from web.pages.frame import DOWNTIME, WARD, language
from web.relay import Relay
from web.settings import WebSettings
from web.words import Translate, words

STEPS = {  # as in web/ui/src/downtime.js
    "network": ("patient", "monitor", "manual", "call", "back"),
    "server": ("patient", "monitor", "manual", "call", "back"),
    "engine": ("patient", "monitor", "manual", "call", "back"),
    "store": ("patient", "monitor", "manual", "call", "back"),
    "locked": ("patient", "monitor", "manual", "call", "back"),
    "devices": ("patient", "monitor", "device", "call", "back"),
}
WORKER = """// Keeps the downtime sheet, and nothing else: one document without patients' data.
const KEPT = 'everbeat-downtime';
const keep = () => caches.open(KEPT).then((cache) => cache.add(new Request('/downtime', {cache: 'reload'})));
self.addEventListener('install', (event) => event.waitUntil(keep().then(() => self.skipWaiting())));
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
self.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== 'GET' || url.origin !== self.location.origin || url.pathname !== '/downtime') return;
  event.respondWith(fetch(event.request).catch(() => caches.match('/downtime', {cacheName: KEPT})));
});
"""


def register(app: Dash, feed: Feed, relay: Relay, settings: WebSettings) -> None:
    """The sheet's address and its keeper's."""

    @app.server.get(DOWNTIME)  # type: ignore[untyped-decorator]  # dash is untyped
    def sheet() -> Response:
        return Response(page(language(), settings.downtime_contact), mimetype="text/html")

    @app.server.get(f"{DOWNTIME}/worker.js")  # type: ignore[untyped-decorator]  # dash is untyped
    def worker() -> Response:
        return Response(WORKER, mimetype="text/javascript", headers={"Service-Worker-Allowed": DOWNTIME})


def page(tongue: str, contact: str) -> str:
    """The whole document in one language; `contact` "" = the catalogue's default."""
    t = words(tongue)
    call = contact or t("downtime.contact_default")
    states = "".join(_state(t, name, call) for name in STEPS)
    first = "".join(f"<li>{escape(t(f'downtime.step.{step}'))}</li>" for step in ("patient", "monitor", "manual"))
    return f"""<!DOCTYPE html>
<html lang="{tongue}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(t("downtime.title"))} · {escape(t("app.name"))}</title>
<link rel="icon" type="image/svg+xml" href="/assets/favicon.svg">
<style>{STYLE}</style>
</head>
<body>
<main>
<header><h1>{escape(t("downtime.title"))}</h1><p>{escape(t("notice.secondary"))}</p></header>
<p class="lead">{escape(t("downtime.lead"))}</p>
<section class="first"><h2>{escape(t("downtime.first"))}</h2><ol>{first}</ol>
<p class="call"><b>{escape(t("downtime.call"))}:</b> {escape(call)}</p></section>
{states}
<section class="notes"><h2>{escape(t("downtime.notes"))}</h2><div></div></section>
<nav><a href="{WARD}">{escape(t("downtime.to_ward"))}</a></nav>
</main>
</body>
</html>"""


def _state(t: Translate, name: str, call: str) -> str:
    title = t(f"downtime.{name}.title")
    steps = "".join(f"<li>{escape(t(f'downtime.step.{step}', contact=call, title=title))}</li>" for step in STEPS[name])
    return f"""<section class="state" id="{name}">
<h2>{escape(title)}</h2>
<svg viewBox="0 0 200 64" role="img" aria-label="{escape(t(f"downtime.picture.{name}"))}">{PICTURES[name]}</svg>
<dl><dt>{escape(t("downtime.seen"))}</dt><dd>{escape(t(f"downtime.{name}.sign"))}</dd>
<dt>{escape(t("downtime.meaning"))}</dt><dd>{escape(t(f"downtime.{name}.cause"))}</dd></dl>
<h3>{escape(t("downtime.steps"))}</h3><ol>{steps}</ol>
</section>"""
