"""The room over a feed with alarms, in a browser: fixtures and looks that the browser tests of alarms share.

axe needs a context without the page's policy, which lets no foreign script in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.web_kit import until, wait_for

BAR, PANEL, SOUND = "#alarm-bar", "#alarm-bar-panel", "#alarm-bar-sound"
GSR = '[data-tile="gsr_uS"]'


@contextmanager
def bedside(browser: Any) -> Iterator[Any]:
    """A context in which axe can run."""
    context = browser.new_context(viewport={"width": 1600, "height": 900}, bypass_csp=True)
    yield context
    context.close()


@contextmanager
def room(context: Any, url: str) -> Iterator[Any]:
    """The room with its readings, its sound armed by a click; what goes wrong in it is in `page.trouble`."""
    page = context.new_page()
    page.trouble = []
    page.on("pageerror", lambda error: page.trouble.append(str(error)))
    page.goto(f"{url}/patient/p-7f3a")
    wait_for(page, f'{GSR}[data-provenance="measured"]', 60)
    page.click(SOUND)
    yield page
    page.close()


def says(page: Any, selector: str, *words: str) -> None:
    for word in words:
        until(page, f"document.querySelector('{selector}')?.innerText.toLowerCase().includes({word.lower()!r})", 8)
