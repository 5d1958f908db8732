"""Picking on the body in the room's page: its card, its tile and trace, the store and the way out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fake_feed import FakeFeed
from tests.web_kit import serving, until
from web.settings import WebSettings

pytestmark = pytest.mark.browser

SETTINGS = WebSettings(host="127.0.0.25", port=8552, block_ms=100)
URL = f"http://{SETTINGS.host}:{SETTINGS.port}"
SHOTS = os.environ.get("EVERBEAT_SHOTS", "")  # a folder, to look at what the tests see


@pytest.fixture(scope="module")
def feed() -> Iterator[FakeFeed]:
    feed = FakeFeed(decay_s=20)
    with serving(feed, SETTINGS):
        yield feed


@pytest.fixture(scope="module")
def page(browser: Any, feed: FakeFeed) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1600, "height": 900})
    page.goto(f"{URL}/patient/{feed.card.id}")
    page.wait_for_selector('.eb-list [data-region="cheek"]', timeout=60_000)
    until(page, "document.querySelector('.eb-twin').dataset.state === 'live'", 60)
    yield page
    page.close()


def shot(page: Any, name: str) -> None:
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/{name}.png")


def test_a_picked_region_opens_its_card_and_marks_its_tile_and_trace(page: Any, feed: FakeFeed) -> None:
    feed.unplugged.add("emg")
    page.focus(".eb-list [data-region=cheek]")
    page.keyboard.press("Enter")
    card = '.eb-region-card [data-channel="emg_activity_mV.zyg"]'
    page.wait_for_selector(f'{card}[data-provenance="synthesised"]', timeout=30_000)
    text = page.inner_text(card)
    for words in ("EMG cheek", "SYNTHESISED", "confidence", "90 %:", "last reading", "ago", "µV"):
        assert words in text, text
    assert page.evaluate("window.everbeat.picked") == {
        "region": "cheek",
        "channels": ["emg_activity_mV.zyg", "emg_raw_mV.zyg"],
    }
    assert page.get_attribute('[data-tile="emg_activity_mV.zyg"]', "data-picked") == "true"
    assert page.get_attribute('[data-row="emg_raw_mV.zyg"]', "data-picked") == "true"
    assert page.get_attribute('[data-tile="gsr_uS"]', "data-picked") is None
    href = page.get_attribute(f"{card} a", "href")
    assert href == f"/patient/{feed.card.id}/replay?channel=emg_activity_mV.zyg"
    spark = "(c) => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v > 0)"
    until(page, f"({spark})(document.querySelector('.eb-spark'))", 30)
    shot(page, "room-picked-1600")
    for width, height in ((1280, 720), (820, 1180)):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(2500)
        shot(page, f"room-picked-{width}")
    page.set_viewport_size({"width": 1600, "height": 900})


def test_escape_closes_the_card_and_gives_the_focus_back(page: Any) -> None:
    page.focus(".eb-region-card a")
    page.keyboard.press("Escape")
    page.wait_for_selector(".eb-region-card", state="detached")
    assert page.evaluate("document.activeElement.dataset.region") == "cheek"
    assert page.evaluate("window.everbeat.picked") is None
    assert page.query_selector("[data-picked]") is None


def test_an_organ_that_nothing_measures_says_that_it_is_illustrative(page: Any) -> None:
    assert "illustrative" in page.inner_text(".eb-list [data-region=heart]")
    page.click(".eb-list [data-region=heart]")
    page.wait_for_selector(".eb-region-card")
    assert "No sensor measures this" in page.inner_text(".eb-region-card")
    shot(page, "room-heart-1600")
    page.click(".eb-region-card header button")
    page.wait_for_selector(".eb-region-card", state="detached")


def test_the_body_speaks_the_language_of_the_page(page: Any, feed: FakeFeed) -> None:
    page.goto(f"{URL}/language/de?next=/patient/{feed.card.id}")
    page.wait_for_selector(".eb-list [data-region=heart]", timeout=60_000)
    until(page, "document.querySelector('[data-region=heart]').innerText.includes('illustrativ')", 30)
    assert "Herz" in page.inner_text(".eb-list [data-region=heart]")
    assert page.get_attribute(".eb-list", "aria-label") == "Wählbare Regionen und Organe"
