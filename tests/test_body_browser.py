"""The 3D body in a real browser, on a bare page: doubt that is seen, places that are picked, facts that are read."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.body_kit import LABELS, lying, open_body, show, until, view, word
from tests.body_page import serve_body

pytestmark = pytest.mark.browser

SIZE = {"width": 700, "height": 800}
LENS = (470, 12, 218, 218)  # x, y, width, height of the enlarged face
LISTS = "[...document.querySelectorAll('.eb-facts')].filter((node) => !node.hidden).length"
FACTS = "[...document.querySelectorAll('.eb-facts li')].map((node) => node.textContent)"
NO_WEBGL = "HTMLCanvasElement.prototype.getContext = () => null"
LOSE = """(() => {
  window.lost = document.querySelector('canvas').getContext('webgl2').getExtension('WEBGL_lose_context');
  window.lost.loseContext();
})()"""
RING = """(() => {
  const ring = document.querySelector('.eb-ring');
  return [+ring.getAttribute('cx'), +ring.getAttribute('cy')];
})()"""
TOO_SMALL = """[...document.querySelectorAll('.eb-list button')]
  .filter((button) => Math.min(button.offsetWidth, button.offsetHeight) < 24).length"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve_body() as address:
        yield address


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    page = browser.new_page(viewport=SIZE)
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    yield page
    page.close()
    assert trouble == []


def pixels(page: Any, x: int, y: int, width: int, height: int) -> Any:
    """(height, width, 3) of a part of the screen."""
    png = page.screenshot(clip={"x": x, "y": y, "width": width, "height": height})
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def pink(page: Any) -> int:
    """How many pixels of the enlarged face are in the cheek's colour rather than in the skin's."""
    seen = pixels(page, *LENS)
    return int(((seen[..., 0] > 90) & (seen[..., 0] > seen[..., 1] + 12)).sum())


def test_what_is_synthesised_dissolves_on_the_skin_as_confidence_falls(page: Any, url: str) -> None:
    open_body(page, url, view(), reducedMotion=True)
    show(page, view())
    solid = pink(page)
    shares = []
    for confidence in (0.95, 0.7, 0.5, 0.15):
        show(page, view("synthesised", confidence))
        shares.append(pink(page) / solid)
    assert solid > 300
    assert shares == sorted(shares, reverse=True), shares
    assert shares[0] > 0.55 and shares[1] < shares[0] - 0.08 and shares[3] < 0.35, shares
    show(page, view("withheld", 0))
    assert pink(page) < 0.1 * solid


def test_an_organ_moved_by_a_synthesised_rate_dissolves_and_says_so(page: Any, url: str) -> None:
    open_body(page, url, view(), reducedMotion=True)
    red = []
    for shown in (view(), view("synthesised", 0.72), view("synthesised", 0.2)):
        show(page, shown)
        seen = pixels(page, 290, 160, 120, 160)
        red.append(int(((seen[..., 0] > 80) & (seen[..., 0] > seen[..., 2] + 20)).sum()))
    assert red[0] > red[1] > red[2] and red[2] < 0.5 * red[0], red
    show(page, view("synthesised", 0.72))
    assert page.inner_text("[data-region=heart]").split("\n")[-1].endswith("SYNTHESISED 72 %")
    assert page.get_attribute("[data-region=heart]", "data-provenance") == "synthesised"


def test_a_place_is_picked_by_mouse_on_the_body_and_on_its_card(page: Any, url: str) -> None:
    open_body(page, url, view(), reducedMotion=True)
    show(page, view())
    page.click("[data-region=heart]")
    until(page, "document.querySelector('.eb-ring[data-kind=picked]')?.dataset.place === 'heart'")
    ring = page.evaluate(RING)
    page.click("[data-region=heart]")
    page.mouse.click(*ring)
    until(page, "picks.length === 3")
    assert page.evaluate("picks") == ["heart", None, "heart"]


def test_a_place_is_picked_by_touch(browser: Any, url: str) -> None:
    context = browser.new_context(viewport=SIZE, has_touch=True)
    page = context.new_page()
    open_body(page, url, view(), reducedMotion=True)
    show(page, view())
    page.touchscreen.tap(330, 240)  # the right lung, or the heart before it
    until(page, "picks.length === 1")
    assert page.evaluate("picks")[0] in ("heart", "lungs")
    context.close()


def test_the_list_of_places_is_walked_and_picked_with_keys_alone(page: Any, url: str) -> None:
    open_body(page, url, view(), reducedMotion=True)
    show(page, view())
    page.focus("[data-region=cheek]")
    for _ in range(2):
        page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.dataset.region") == "heart"
    until(page, "document.querySelector('.eb-ring[data-kind=pointed]')?.dataset.place === 'heart'")
    page.keyboard.press("Enter")
    until(page, "picks.length === 1")
    assert page.evaluate("picks") == ["heart"]
    assert page.get_attribute(".eb-list", "aria-label") == LABELS["places"]
    until(page, "document.querySelector('[data-region=heart]').getAttribute('aria-pressed') === 'true'")
    assert page.evaluate(TOO_SMALL) == 0


def test_every_fact_of_the_picture_can_be_read(page: Any, url: str) -> None:
    humid = {
        "room_rh_pct": word(
            "measured", 1, "Room humidity", "61 %", "#fff", signal="room_rh_pct", value=61, effect=LABELS["effect_haze"]
        )
    }
    open_body(page, url, lying() | {"air": humid}, reducedMotion=True)
    until(page, f"{FACTS}.length === 6")
    assert page.evaluate(FACTS) == [
        "EMG cheek 0.15 µV, MEASURED", "Skin conductance 4.67 µS, MEASURED", "Heart 72/min, MEASURED",
        "Breathing 16/min, MEASURED", "Posture on the back, still, MEASURED",
        "Room humidity 61 %, MEASURED, shown as haze",
    ]  # fmt: skip
    page.evaluate("(view) => { window.view = view; }", view("synthesised", 0.6))
    assert "MEASURED" in page.evaluate(FACTS)[0], "at most every five seconds"
    until(page, "document.querySelector('.eb-facts [aria-live=polite]').textContent.includes('SYNTHESISED 60 %')", 15)


def test_a_body_on_its_back_lies_across_the_room(page: Any, url: str) -> None:
    open_body(page, url, view(), reducedMotion=True)
    show(page, view())
    standing = extent(page)
    show(page, lying())
    flat = extent(page)
    assert standing[1] > 1.2 * standing[0], standing
    assert flat[0] > 1.2 * flat[1], flat


def extent(page: Any) -> tuple[int, int]:
    """Width and height in pixels of what is lit between the cards, without the floor's rings."""
    page.add_style_tag(content=".eb-list, .eb-lines, .eb-air, .eb-legend { opacity: 0; }")
    seen = pixels(page, 165, 240, 370, 480)
    lit = seen[..., 2] > 120
    rows, columns = np.flatnonzero(lit.sum(1) > 3), np.flatnonzero(lit.sum(0) > 1)
    return int(np.ptp(columns)) if len(columns) else 0, int(np.ptp(rows)) if len(rows) else 0


def test_with_reduced_motion_nothing_moves_and_the_pulse_is_a_number(page: Any, url: str) -> None:
    open_body(page, url, view(), reducedMotion=True)
    show(page, view())
    first, second = pixels(page, 0, 0, 700, 800), (page.wait_for_timeout(1300), pixels(page, 0, 0, 700, 800))[1]
    assert (np.abs(first - second).max(-1) > 12).sum() < 30
    assert "72/min" in page.inner_text("[data-region=heart]")


def test_without_webgl_the_same_facts_styles_and_picks_are_there(page: Any, url: str) -> None:
    open_body(page, url, view("synthesised", 0.5), NO_WEBGL)
    assert page.get_attribute(".eb-twin", "data-state") == "flat"
    assert page.inner_text(".eb-status") == LABELS["flat"]
    until(page, f"{FACTS}.length === 4")
    assert page.evaluate(FACTS)[2] == "Heart 72/min, SYNTHESISED 50 %"
    width = "+document.querySelector('pattern[id$=\"-palm\"] rect').getAttribute('width')"
    until(page, f"{width} > 2")
    half = page.evaluate(width)
    show(page, view("synthesised", 0.15))
    assert page.evaluate(width) < 0.5 * half
    page.click("path[data-organ=heart]")
    until(page, "document.querySelector('.eb-ring[data-kind=picked]')?.dataset.place === 'heart'")
    assert page.evaluate("picks") == ["heart"]


def test_a_lost_context_is_stood_in_for_and_comes_back(page: Any, url: str) -> None:
    open_body(page, url, view())
    page.click("[data-region=heart]")
    for _ in range(2):
        page.evaluate(LOSE)
        until(page, "document.querySelector('.eb-twin').dataset.state === 'lost'")
        assert page.inner_text(".eb-status") == LABELS["lost"]
        assert page.evaluate(LISTS) == 1, "the facts are read twice"
        assert "MEASURED" in page.inner_text(".eb-list:not([style*=hidden]) [data-region=palm]")
        page.evaluate("window.lost.restoreContext()")
        until(page, "document.querySelector('.eb-twin').dataset.state === 'live'")
        assert page.evaluate("document.querySelectorAll('svg.eb-flat').length") == 0
        assert page.evaluate(LISTS) == 1
    until(page, "document.querySelector('.eb-ring[data-kind=picked]')?.dataset.place === 'heart'")
    page.evaluate("twin.dispose()")
    assert page.evaluate("document.querySelectorAll('.eb-twin, canvas').length") == 0


def test_a_view_that_fails_shows_nothing_as_present(page: Any, url: str) -> None:
    open_body(page, url, view())
    until(page, "document.querySelectorAll('.eb-card').length === 2")
    page.evaluate("() => { Object.defineProperty(window, 'view', {get() { throw new Error('no view'); }}); }")
    until(page, "document.querySelectorAll('.eb-card, .eb-note').length === 0")


def test_what_is_scrolled_away_is_still_told(page: Any, url: str) -> None:
    open_body(page, url, view())
    until(page, f"{FACTS}.join().includes('Skin conductance 4.67')")
    page.evaluate("document.getElementById('stage').style.marginTop = '5000px'")
    time.sleep(1)
    page.evaluate("(view) => { window.view = view; }", view("synthesised", 0.6))
    until(page, f"{FACTS}.join().includes('SYNTHESISED 60 %')", 15)


def test_a_region_is_drawn_by_its_least_trustworthy_channel_and_names_it(page: Any, url: str) -> None:
    palm = word("withheld", 0, "Skin conductance", "4.67 µS", "#b794ff", own="measured", others=[
        word("withheld", 0, "Skin temperature", "–", "#ffb454"),
    ])  # fmt: skip
    open_body(page, url, view(regions={"palm": palm | {"provenanceText": "MEASURED"}}))
    until(page, "document.querySelectorAll('.eb-card').length === 1")
    assert page.get_attribute(".eb-card", "data-provenance") == "withheld"
    assert page.inner_text(".eb-card .eb-word") == "MEASURED"
    assert page.inner_text(".eb-card .eb-other") == "Skin temperature – WITHHELD"
    assert "WITHHELD" in str(page.get_attribute(".eb-card", "aria-label"))
    until(page, f"{FACTS}.join().includes('4.67 µS, MEASURED; Skin temperature –, WITHHELD')")
