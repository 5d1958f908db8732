"""Entering and leaving the room again and again: nothing of a room may outlive it, or a shift ends in a crash."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fake_feed import FakeFeed
from tests.web_kit import serving, until
from web.settings import WebSettings

pytestmark = pytest.mark.browser

SETTINGS = WebSettings(host="127.0.0.26", port=8551, block_ms=100)
URL = f"http://{SETTINGS.host}:{SETTINGS.port}"
VISITS = 50
WARM = 15  # visits after which all is loaded and V8 has compiled what runs often; compiled code counts as heap
COUNT_CONTEXTS = """(() => {
  const made = new Set();
  const get = HTMLCanvasElement.prototype.getContext;
  HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
    const context = get.call(this, kind, ...rest);
    if (context && String(kind).startsWith('webgl')) made.add(new WeakRef(context));
    return context;
  };
  window.contextsAlive = () => [...made].map((ref) => ref.deref()).filter((gl) => gl && !gl.isContextLost()).length;
})()"""
COUNT_SOCKETS = """(() => {
  const Plain = window.WebSocket;
  window.sockets = [];
  window.WebSocket = class extends Plain {
    constructor(...args) { super(...args); window.sockets.push(new WeakRef(this)); }
  };
  window.socketsOpen = () => window.sockets.map((ref) => ref.deref()).filter((s) => s && s.readyState < 2).length;
})()"""


@pytest.fixture(scope="module")
def feed() -> Iterator[FakeFeed]:
    feed = FakeFeed()
    with serving(feed, SETTINGS):
        yield feed


@pytest.mark.timeout(600)
def test_fifty_visits_leak_no_context_no_socket_no_listener_and_no_memory(browser: Any, feed: FakeFeed) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.add_init_script(COUNT_CONTEXTS)
    page.add_init_script(COUNT_SOCKETS)
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    late = "Data frame received after close"  # the server was still speaking when the page hung up
    page.on("console", lambda m: trouble.append(m.text) if m.type == "error" and late not in m.text else None)
    session = page.context.new_cdp_session(page)
    room = f"/patient/{feed.card.id}"
    page.goto(URL + room)
    first: dict[str, float] = {}
    for visit in range(1, VISITS + 1):
        page.locator("#twin canvas").first.wait_for(timeout=60_000)  # a handle on the element would keep it alive
        if visit % 5 == 0:
            until(
                page, "document.querySelector('.eb-twin').dataset.state === 'live'", 60
            )  # else it is left while it loads
        page.click('.eb-places a[href="/"]')
        page.locator(".eb-twin").wait_for(state="detached")
        if visit == WARM:
            first = left_behind(page, session)
        if visit < VISITS:
            page.click(f'a[href="{room}"]') if visit % 2 else page.go_back()
    last = left_behind(page, session)
    page.close()
    assert trouble == []
    assert last["contexts"] == 0
    assert last["sockets"] <= first["sockets"]
    assert last["listeners"] <= first["listeners"] + 5, (first, last)
    print(f"visits: {first} -> {last}")
    assert last["nodes"] <= 1.1 * first["nodes"] + 20, (first, last)
    assert last["heap_mb"] <= 1.1 * first["heap_mb"], (first, last)


def left_behind(page: Any, session: Any) -> dict[str, float]:
    """What is alive on the ward's page once the garbage is gone."""
    page.wait_for_timeout(1500)  # the store lingers for the next page of the same patient
    for _ in range(3):
        session.send("HeapProfiler.collectGarbage")
    counters = session.send("Memory.getDOMCounters")
    return {
        "heap_mb": session.send("Runtime.getHeapUsage")["usedSize"] / 1e6,
        "nodes": counters["nodes"],
        "listeners": counters["jsEventListeners"],
        "contexts": page.evaluate("contextsAlive()"),
        "sockets": page.evaluate("socketsOpen()"),
    }
