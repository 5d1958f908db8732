"""The replay in a real browser: scrubbing, jumping, then against later, and that every number on it is the same number.

The past is scripted (tests/past_feed.py); the last test plays a real recording through the whole house.
"""

from __future__ import annotations

import csv
import io
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from everbeat.patients import card_of
from tests.conftest import shared_path
from tests.demo_kit import running_demo
from tests.past_feed import PastFeed, eventful
from tests.web_kit import serving, violations, wait_until, watch
from web.settings import WebSettings

pytestmark = pytest.mark.browser

SETTINGS = WebSettings(host="127.0.1.82", port=8682, block_ms=100)
URL = f"http://{SETTINGS.host}:{SETTINGS.port}"
EMG, GSR = "emg_activity_mV.zyg", "gsr_uS"


@pytest.fixture(scope="module")
def feed() -> Iterator[PastFeed]:
    feed = eventful()
    with serving(feed, SETTINGS):
        yield feed


@pytest.fixture(scope="module")
def page(feed: PastFeed, browser: Any) -> Iterator[Any]:
    made = browser.new_page(viewport={"width": 1600, "height": 900})
    watch(made, URL)
    open_at(made, feed, 310, 120, EMG)
    yield made
    made.close()


def open_at(page: Any, feed: PastFeed, at: float, span: float, channel: str) -> None:
    page.goto(f"{URL}/patient/p-7f3a/replay?at={feed.start_s + at}&span={span}&channel={channel}")
    page.wait_for_selector(f'[data-then="{channel}"][data-at]:not([data-at=""])', timeout=60_000)
    page.wait_for_selector("#timeline .uplot canvas", timeout=30_000)


def until(ask: Any, holds: Any = bool, timeout_s: float = 20) -> Any:
    return wait_until(ask, holds, timeout_s)


def moment(page: Any) -> float:
    return float(page.input_value(".eb-scrub"))


def fact(page: Any, part: str, name: str) -> str:
    found = page.query_selector(f'[data-later="{part}"] [data-fact="{name}"]')
    return str(found.inner_text()) if found else ""


def export(page: Any) -> list[dict[str, str]]:
    with urllib.request.urlopen(URL + page.get_attribute('[data-do="export"]', "href")) as answer:
        lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return list(csv.DictReader(io.StringIO("\n".join(lines))))


def test_the_head_says_whose_past_this_is(page: Any) -> None:
    said = page.inner_text("#session-bar")
    for words in ("KESTREL-17", "No. 4711", "1968", "not a primary alarm system"):
        assert words in said


def test_then_and_later_tells_the_error_where_true_readings_came(page: Any) -> None:
    until(lambda: fact(page, "gap", "mae"))
    assert "SYNTHESISED" in fact(page, "moment", "shown")
    assert fact(page, "moment", "truth").endswith("µV")
    assert fact(page, "moment", "error").endswith("µV")
    assert fact(page, "moment", "inside") in ("yes", "no")
    assert fact(page, "gap", "late") == "900"


def test_where_the_twin_only_mended_the_gap_nothing_was_measured_later(page: Any) -> None:
    page.click('[data-then="emg_activity_mV.corr"]')
    until(lambda: fact(page, "moment", "revision"))
    assert fact(page, "moment", "truth") == "nothing was measured later"
    assert not fact(page, "moment", "error")
    page.click(f'[data-then="{EMG}"]')


def test_the_values_of_the_moment_are_those_of_the_export(page: Any, feed: PastFeed) -> None:
    rows = export(page)
    for channel in (EMG, GSR):
        tile = page.locator(f'[data-then="{channel}"]').evaluate("e => ({...e.dataset})")
        near = [r for r in rows if r["channel"] == channel and abs(float(r["time_s"]) - float(tile["at"])) < 0.0005]
        assert len(near) == 1, (channel, tile)
        assert np.float32(near[0]["shown_value"]) == np.float32(tile["value"])
        assert near[0]["shown_provenance"] == tile["provenance"]


def test_the_tooltip_says_the_number_of_that_time_as_the_export_does(page: Any) -> None:
    box = page.locator(f'[data-chart="{GSR}"] .u-over').bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] / 2)
    shown = until(lambda: page.query_selector(f'[data-tip="{GSR}"]') and page.get_attribute(".eb-tip", "data-value"))
    values = {np.float32(r["shown_value"]) for r in export(page) if r["channel"] == GSR}
    assert np.float32(shown) in values
    assert "MEASURED" in page.inner_text(".eb-tip")
    page.mouse.move(5, 5)


def test_the_tooltip_stays_at_the_pointer_where_the_page_is_scrolled(browser: Any, feed: PastFeed) -> None:
    page = browser.new_page(viewport={"width": 800, "height": 700})
    open_at(page, feed, 310, 120, EMG)
    page.locator(f'[data-chart="{GSR}"]').scroll_into_view_if_needed()
    page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
    box = page.locator(f'[data-chart="{EMG}"] .u-over').bounding_box()
    assert page.evaluate("window.scrollY") > 100 and box["y"] > 0, "scrolled, and the chart in sight"
    x, y = box["x"] + box["width"] * 0.3, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    until(lambda: page.query_selector(f'[data-tip="{EMG}"]'))
    tip = page.locator(".eb-timeline .eb-tip").bounding_box()
    assert abs(tip["x"] - x) < 40 and abs(tip["y"] + tip["height"] - y) < 40
    page.close()


def test_the_keyboard_steps_plays_and_jumps(page: Any, feed: PastFeed) -> None:
    page.evaluate("document.activeElement.blur()")
    before = moment(page)
    page.keyboard.press("ArrowRight")
    until(lambda: moment(page), lambda t: t == pytest.approx(before + 1, abs=0.11))
    page.keyboard.press("Shift+ArrowLeft")
    until(lambda: moment(page), lambda t: t == pytest.approx(before - 9, abs=0.11))
    page.keyboard.press("Space")
    until(lambda: moment(page), lambda t: t > before - 8)
    page.keyboard.press("Space")
    assert "Play" in until(lambda: page.inner_text('[data-do="play"]'), lambda text: "Play" in text)
    page.keyboard.press("g")
    until(lambda: moment(page) - feed.start_s, lambda t: t == pytest.approx(600.5, abs=1))
    assert page.get_attribute(f'[data-chart="{GSR}"]', "data-chosen") == "true"
    page.keyboard.press("Shift+G")
    until(lambda: moment(page) - feed.start_s, lambda t: t == pytest.approx(300.5, abs=1))
    page.keyboard.press("t")
    until(lambda: moment(page) - feed.start_s, lambda t: t == pytest.approx(951, abs=1))
    page.keyboard.press("Shift+A")
    until(lambda: moment(page) - feed.start_s, lambda t: t == pytest.approx(604, abs=1))  # nor what was withheld later


def test_the_address_names_the_moment_and_leads_back_to_it(page: Any, feed: PastFeed) -> None:
    at = moment(page)

    def named() -> float:
        return float(page.evaluate("new URLSearchParams(location.search).get('at')"))

    until(named, lambda t: t == pytest.approx(at, abs=0.11))
    page.reload()
    page.wait_for_selector(f'[data-then="{GSR}"][data-provenance="synthesised"]', timeout=30_000)
    assert moment(page) == pytest.approx(at, abs=0.11)


def test_dragging_over_a_chart_chooses_the_range_and_a_click_the_moment(page: Any) -> None:
    page.wait_for_selector("#timeline .uplot canvas")
    box = page.locator(f'[data-chart="{GSR}"] .u-over').bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.25, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, y, steps=5)
    page.mouse.up()
    until(lambda: float(page.get_attribute(".eb-scrub", "max")) - float(page.get_attribute(".eb-scrub", "min")),
          lambda span: span == pytest.approx(60, abs=2))  # fmt: skip
    time.sleep(0.4)
    page.mouse.click(box["x"] + box["width"] * 0.5, y)
    low = float(page.get_attribute(".eb-scrub", "min"))
    until(lambda: moment(page) - low, lambda t: t == pytest.approx(30, abs=2))


def test_scrubbing_shows_another_moment_within_a_second(page: Any) -> None:
    low, high = (float(page.get_attribute(".eb-scrub", name)) for name in ("min", "max"))
    page.locator(".eb-scrub").evaluate(
        "(e, v) => { Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(e, v);"
        " e.dispatchEvent(new Event('input', {bubbles: true})); }",
        str(round((low + high) / 2 - 20, 1)),
    )
    want = (low + high) / 2 - 20
    until(lambda: page.get_attribute(f'[data-then="{EMG}"]', "data-at"), lambda t: t and abs(float(t) - want) < 0.2, 3)


def test_it_is_accessible_in_german_and_all_words_are_german(browser: Any, feed: PastFeed) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 720}, locale="de-DE", bypass_csp=True)
    page = context.new_page()
    open_at(page, feed, 630, 600, GSR)
    said = page.inner_text("#timeline")  # headings are shown in capitals
    for words in ("DAMALS UND SPÄTER", "Hautleitwert", "SYNTHETISCH", "Zurück zu Live", "Wie damals gezeigt"):
        assert words in said, said
    assert "replay." not in said
    assert violations(page) == []
    context.close()


def test_an_hour_that_cannot_be_read_is_told_and_hatched_until_it_comes(browser: Any, feed: PastFeed) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    hour = int(feed.start_s // 3600) - 2
    broken = f"**/events?from={hour * 3600}&*"
    page.route(broken, lambda route: route.fulfill(status=503, body="the record store can't be reached"))
    open_at(page, feed, 310, 120, EMG)
    said = until(lambda: page.inner_text(".eb-trouble") if page.query_selector(".eb-trouble") else "")
    assert "can't be reached" in said
    until(lambda: page.get_attribute(".eb-over-box canvas", "aria-label"), lambda text: "Not read" in text)
    assert page.inner_text(f'[data-then="{EMG}"] b') not in ("", "…")
    page.unroute(broken)
    page.click('[data-do="retry"]')
    until(lambda: page.query_selector(".eb-trouble"), lambda trouble: trouble is None)
    assert "Not read" not in page.get_attribute(".eb-over-box canvas", "aria-label")
    page.close()


def test_a_comparison_that_could_not_be_read_comes_with_another_try(browser: Any, feed: PastFeed) -> None:
    page = browser.new_page(viewport={"width": 1600, "height": 900})
    page.route("**/compare*", lambda route: route.fulfill(status=503, body="the record store can't be reached"))
    open_at(page, feed, 310, 120, EMG)
    page.wait_for_selector(".eb-trouble")
    page.unroute("**/compare*")
    page.click('[data-do="retry"]')
    until(lambda: fact(page, "gap", "mae"), timeout_s=5)
    until(lambda: page.query_selector(".eb-trouble") is None, timeout_s=5)
    page.close()


def test_without_the_charts_the_page_says_so_and_another_try_brings_them(browser: Any, feed: PastFeed) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.route("**/everbeat_timeline*", lambda route: route.abort())
    page.goto(f"{URL}/patient/{feed.card.id}/replay?at={feed.start_s + 310:.1f}&span=120&channel={EMG}")
    page.wait_for_selector(f'[data-then="{EMG}"][data-provenance="synthesised"]', timeout=30_000)
    assert "Charts and overview" in page.inner_text(".eb-trouble")
    page.unroute("**/everbeat_timeline*")
    page.click('[data-do="retry"]')
    page.wait_for_selector(f'[data-chart="{EMG}"] .u-over', timeout=20_000)
    until(lambda: page.query_selector(".eb-trouble"), lambda trouble: trouble is None)
    page.close()


def test_the_report_prints_to_pdf(browser: Any, page: Any, feed: PastFeed) -> None:
    made = browser.new_page()
    made.goto(URL + page.get_attribute('[data-do="report"]', "href"))
    pdf = made.pdf(prefer_css_page_size=True)
    made.close()
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") >= 1


def test_nothing_went_wrong_and_nobody_else_was_asked(page: Any) -> None:
    assert page.trouble == []


def test_a_patient_of_whom_nothing_is_stored_gets_a_sentence_not_an_empty_chart(browser: Any) -> None:
    settings = WebSettings(host="127.0.1.83", port=8683, block_ms=100)
    with serving(PastFeed(0, [], []), settings):
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto(f"http://{settings.host}:{settings.port}/patient/p-7f3a/replay")
        page.wait_for_selector(".eb-nothing", timeout=30_000)
        assert "Nothing is stored" in page.inner_text(".eb-nothing")
        page.close()


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_a_real_recording_can_be_replayed_with_its_unplugged_gap_and_readings_that_came_late(browser: Any) -> None:
    recording = shared_path("data/emg_gsr/subj09.csv.gz")
    with running_demo("127.0.26.1", "--replay", str(recording)) as demo:
        demo.wait_until_up()
        page = browser.new_page(viewport={"width": 1600, "height": 900})
        page.goto(f"{demo.url}patient/{card_of(recording).id}")
        page.wait_for_selector(f'[data-tile="{EMG}"][data-provenance="measured"]', timeout=90_000)
        time.sleep(12)
        page.click("#btn-emg")
        page.wait_for_selector(f'[data-tile="{EMG}"][data-provenance="synthesised"]', timeout=40_000)
        time.sleep(15)
        page.click("#btn-emg")
        page.wait_for_selector(f'[data-tile="{EMG}"][data-provenance="measured"]', timeout=40_000)
        for _ in range(3):  # the link is gone for longer than the device holds its frames back
            demo.kill("hub")
            time.sleep(4)
        page.wait_for_selector(f'[data-tile="{GSR}"][data-provenance="measured"]', timeout=60_000)
        replay = page.url.rstrip("/") + "/replay?span=120"
        story = wait_until(lambda: story_at(page, replay), lambda it: late_s(it) > 0.2, 90, "late readings")
        emg = [b - a for a, b in story["gaps"][EMG]]
        assert any(14 < seconds < 40 for seconds in emg), emg
        late = late_rows(story)  # they came by the backfill lane
        page.goto(page.url.split("?")[0] + f"?at={late[0][0] + 1}&span=60&channel={GSR}")
        until(lambda: fact(page, "window", "late"))
        assert int(fact(page, "window", "late")) > 4
        page.close()


STORY = """(async () => {
  const now = Math.floor(Date.now() / 1000);
  const patient = location.pathname.split('/')[2];
  return (await fetch(`/data/${patient}/events?from=${now - 600}&to=${now}`)).json();
})()"""


def story_at(page: Any, address: str) -> Any:
    """What the replay at `address` knows now."""
    page.goto(address)
    page.wait_for_selector("#timeline .uplot canvas", timeout=60_000)
    until(lambda: page.locator('[data-do="gap-back"]').is_enabled())
    return page.evaluate(STORY)


def late_rows(story: Any) -> list[Any]:
    """Stretches (from, to, provenance) of the skin's conductance that came late."""
    return [row for row in story["known"][GSR] if row[2] == 0x80]


def late_s(story: Any) -> float:
    """How long they are together."""
    return float(sum(end - begin for begin, end, _ in late_rows(story)))
