"""How soon a page can be used, what it loads, and whether it grows while one stays. The whole house runs.

Cold starts: a fresh browser context opens the ward and the room; interactive is when the page's own controls stand and
can be used, live when the first values do. Bytes: all scripts that the page loaded, gzipped. Staying: the JS heap after
a forced collection, every minute.

    python -m benchmarks.page [MINUTES]
"""

from __future__ import annotations

import gzip
import shutil
import sys
import time
from typing import Any

from benchmarks._demo import CHROMIUM, ROOM, demo

PORT = 8976
PAGES = {"ward": ("/", ".eb-wrow"), "room": (ROOM, '[data-tile][data-live="true"]')}


def main() -> None:
    """Print what was measured."""
    from playwright.sync_api import sync_playwright

    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0
    with demo(PORT) as base, sync_playwright() as playwright:
        time.sleep(8)
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        for name, (path, ready) in PAGES.items():
            cold(chromium, name, base + path, ready)
        if minutes:
            stay(chromium, base, minutes)
        chromium.close()


def cold(chromium: Any, name: str, url: str, ready: str) -> None:
    """Three cold starts of one page."""
    for _ in range(3):
        context = chromium.new_context(viewport={"width": 1600, "height": 900})
        page = context.new_page()
        sizes: dict[str, int] = {}
        page.on("response", lambda answer, sizes=sizes: _note(answer, sizes))
        began = time.monotonic()
        page.goto(url, wait_until="commit")
        page.wait_for_selector("#session-bar a", timeout=60_000)
        interactive_s = time.monotonic() - began
        page.wait_for_selector(ready, timeout=60_000)
        live_s = time.monotonic() - began
        first = sum(sizes.values())
        print(f"{name}: interactive after {interactive_s:.2f} s, live after {live_s:.2f} s; scripts {first / 1000:.0f} kB gzipped")  # fmt: skip  # noqa: E501
        context.close()


def stay(chromium: Any, base: str, minutes: float) -> None:
    """The heap each minute in the room."""
    page = chromium.new_page(viewport={"width": 1600, "height": 900})
    page.goto(base + PAGES["room"][0])
    page.wait_for_selector(PAGES["room"][1], timeout=60_000)
    time.sleep(200)  # a store keeps the last three minutes: before that it must grow
    session = page.context.new_cdp_session(page)
    first = _heap_mb(session)
    print(f"heap at the start {first:.2f} MB")
    for minute in range(1, round(minutes) + 1):
        time.sleep(60)
        now = _heap_mb(session)
        print(f"after {minute:2d} min {now:.2f} MB ({(now / first - 1) * 100:+.1f} %)", flush=True)


def _heap_mb(session: Any) -> float:
    session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"]) / 1e6


def _note(answer: Any, sizes: dict[str, int]) -> None:
    if answer.request.resource_type == "script":
        sizes[answer.url] = len(gzip.compress(answer.body()))


if __name__ == "__main__":
    main()
