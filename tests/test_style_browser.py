"""Parts of the page that bear like names do not wear each other's style, wherever a person comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fake_feed import CARD
from tests.fake_ward import FakeWard
from tests.web_kit import serving
from web.settings import WebSettings

pytestmark = pytest.mark.browser

SETTINGS = WebSettings(host="127.0.1.84", port=8684, block_ms=100)
URL = f"http://{SETTINGS.host}:{SETTINGS.port}"


@pytest.fixture(scope="module")
def room(browser: Any) -> Iterator[Any]:
    with serving(FakeWard(2), SETTINGS):
        page = browser.new_page(viewport={"width": 1600, "height": 900})
        page.goto(f"{URL}/patient/{CARD.id}")
        page.wait_for_selector('.eb-list [data-region="cheek"]', timeout=60_000)
        yield page
        page.close()


def style(page: Any, selector: str, name: str) -> str:
    return str(page.eval_on_selector(selector, f"(node) => getComputedStyle(node)['{name}']"))


def test_the_meter_of_a_bodys_card_is_not_framed_like_the_alarm_bar(room: Any) -> None:
    meter = ".eb-list [data-region=cheek] > :has(> i)"
    assert style(room, meter, "borderTopWidth") == "0px"
    assert style(room, meter, "paddingRight") == "0px"


def test_the_note_of_the_patients_page_stays_in_its_place_after_a_visit_to_a_body(room: Any) -> None:
    room.click('.eb-places a[href="/patients"]')
    room.wait_for_selector("#eb-note", state="attached")
    assert style(room, "#eb-note", "position") == "static"
    assert style(room, "#eb-note", "cursor") == "auto"
