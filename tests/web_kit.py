"""A web process over a feed of the test's own, and what a browser's page is asked: until it holds, and what went wrong.

Everything runs in threads of the test; what is started is stopped when the block ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dash import Dash

from twin_engine.store.feed import Feed
from web.app import create_app, serve
from web.relay import OnSent, Relay
from web.settings import WebSettings


@contextmanager
def serving(feed: Feed, settings: WebSettings, on_sent: OnSent | None = None) -> Iterator[Relay]:
    """A web process over `feed` that listens where `settings` says; its relay may not know the patients yet."""
    app, _ = create_app(feed, settings, on_sent)
    relay: Relay = app.server.extensions["relay"]
    server = serve(app, settings)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield relay
    finally:
        server.shutdown()
        relay.stop()


@contextmanager
def app_over(feed: Feed, settings: WebSettings) -> Iterator[Dash]:
    """The pages over `feed` without a port, for Flask's own client; their relay knows all patients."""
    app, _ = create_app(feed, settings)
    relay: Relay = app.server.extensions["relay"]
    relay.start()
    try:
        wait_until(lambda: len(relay.cards()) == len(feed.patients()))
        yield app
    finally:
        relay.stop()


def wait_until(
    ask: Callable[[], Any], holds: Callable[[Any], object] = bool, timeout_s: float = 20.0, what: str = "this"
) -> Any:
    """Ask until the answer holds, and return it; a test that gives up says what it was told last."""
    deadline = time.monotonic() + timeout_s
    while not holds(found := ask()):
        assert time.monotonic() < deadline, f"expected {what} within {timeout_s:g} s, got {found!r}"
        time.sleep(0.05)
    return found


def until(page: Any, holds: str, timeout_s: float = 30) -> None:
    """Wait until the expression is true. Playwright's own wait evaluates strings in the page: the policy forbids it."""
    wait_until(lambda: page.evaluate(holds), timeout_s=timeout_s, what=holds)


def wait_for(page: Any, selector: str, timeout_s: float = 20) -> None:
    """Wait until there is such an element, seen or not."""
    page.wait_for_selector(selector, timeout=timeout_s * 1000, state="attached")


def watch(page: Any, url: str) -> None:
    """From now on `page.trouble` tells in words each error, and each address beyond `url` that the page asks."""
    own = (url, url.replace("http", "ws"), "data:", "blob:")
    page.trouble = []
    page.on("pageerror", lambda error: page.trouble.append(f"error: {error}"))
    page.on("console", lambda m: page.trouble.append(f"console: {m.text}") if m.type == "error" else None)
    page.on("request", lambda r: None if r.url.startswith(own) else page.trouble.append(f"external: {r.url}"))


def violations(page: Any, inside: str | None = None) -> list[Any]:
    """What axe finds in the page, or in a part of it, short. The page's policy must be off: it lets no script in."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context=inside).response["violations"]
    return [(v["id"], [n["html"][:160] for n in v["nodes"]]) for v in found]
