"""The room in a real browser, on a feed without engine: what a person sees in each state, and what must never happen.

One page lives through the whole file, in the order of the tests, as a shift at a bedside does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.alarm_feed import AlarmingFeed
from tests.fake_feed import FakeFeed
from tests.web_kit import serving, until, wait_for, watch
from web.settings import WebSettings

pytestmark = pytest.mark.browser

SETTINGS = WebSettings(host="127.0.1.73", port=8611, block_ms=100, silent_after_s=2.0, demo=True)
URL = f"http://{SETTINGS.host}:{SETTINGS.port}"
EMG = '[data-tile="emg_activity_mV.zyg"]'
WATCH_POLICY = """
document.addEventListener('securitypolicyviolation', (e) => console.error('CSP', e.blockedURI, e.violatedDirective));
"""
COLOURS = """(() => {
  const canvas = document.querySelector('.eb-sweep');
  const d = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const seen = new Set();
  for (let i = 0; i < d.length; i += 4) seen.add((d[i] << 16) | (d[i + 1] << 8) | d[i + 2]);
  return seen.size;
})()"""
LONGEST_STEP = """(() => {
  const s = window.everbeat.series.get('gsr_uS');
  return Math.max(...s.t.slice(1, s.n).map((t, i) => t - s.t[i]));
})()"""


GOOD = {"verdict": "good", "reason": ""}
ELECTRODE_OFF = {"verdict": "bad", "reason": "electrode off: 0.02 uS, below 0.05 uS"}


class JudgedFeed(AlarmingFeed):
    """A feed whose status carries what the twin thinks of each channel's signal."""

    def __init__(self) -> None:
        super().__init__(itself=True, decay_s=14.0)
        self.quality: dict[str, dict[str, str]] = {}

    def _channel_status(self, channel: str, line: Any, t_s: float) -> dict[str, Any]:
        return super()._channel_status(channel, line, t_s) | {"quality": self.quality.get(channel, GOOD)}


@pytest.fixture(scope="module")
def feed() -> Iterator[JudgedFeed]:
    feed = JudgedFeed()
    with serving(feed, SETTINGS):
        yield feed


@pytest.fixture(scope="module")
def page(feed: FakeFeed, browser: Any) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1600, "height": 900})
    page.add_init_script(WATCH_POLICY)
    watch(page, URL)
    page.goto(f"{URL}/patient/p-7f3a")
    page.wait_for_selector(f'{EMG}[data-provenance="measured"]', timeout=60_000)
    yield page
    page.close()


def attribute(page: Any, selector: str, name: str) -> str:
    return str(page.get_attribute(selector, name))


def test_the_banner_says_whose_patient_it_is_and_what_this_display_is_not(page: Any) -> None:
    wait_for(page, '#session-bar[data-connected="true"]')
    banner = page.inner_text("#session-bar")
    for words in (
        "KESTREL-17",
        "Bed 4",
        "born 1968",
        "SIMULATED PATIENT",
        "not a primary alarm system",
        "UTC",
        "4.5 s",
    ):
        assert words in banner, banner


def test_every_tile_shows_a_number_its_unit_and_where_it_comes_from(page: Any) -> None:
    tiles = page.query_selector_all("[data-tile]")
    assert len(tiles) == 5
    for tile in tiles:
        assert tile.get_attribute("data-provenance") == "measured"
        assert float(tile.query_selector(".eb-numeral").inner_text().replace("−", "-")) is not None
        assert tile.query_selector(".eb-unit").inner_text()
        assert tile.query_selector(".eb-badge").inner_text() == "MEASURED"


def test_tiles_traces_and_body_agree_on_every_number(page: Any) -> None:
    both = page.evaluate(
        """() => window.everbeat.order.map((id) => [
          document.querySelector(`[data-tile="${id}"] .eb-numeral`)?.textContent,
          document.querySelector(`[data-row="${id}"] .eb-row-value`).textContent])"""
    )
    assert all(tile in (None, row) for tile, row in both) and sum(tile is not None for tile, _ in both) == 5
    words = page.evaluate("window.everbeat.body().regions")
    assert set(words) == {"cheek", "brow", "palm"}
    assert words["palm"]["provenance"] == "measured" and words["palm"]["text"].endswith("µS")


def test_the_traces_move_and_the_body_is_drawn(page: Any) -> None:
    wait_for(page, '.eb-waves[data-moving="true"]')
    clocks = "[window.everbeat.view.t, performance.now() / 1000]"
    (view0, own0), _, (view1, own1) = page.evaluate(clocks), time.sleep(2), page.evaluate(clocks)
    assert 0.7 < (view1 - view0) / (own1 - own0) < 1.3
    until(page, f"{COLOURS} > 20", 10)
    wait_for(page, "#twin canvas", 60)


def test_the_whole_room_fits_the_screen_without_scrolling(page: Any) -> None:
    for width, height in ((1280, 720), (1600, 900)):
        page.set_viewport_size({"width": width, "height": height})
        size = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
        assert size[0] <= width and size[1] <= height, (width, height, size)


def test_on_tablets_and_phones_nothing_runs_out_at_the_side(page: Any) -> None:
    for width in (820, 390):
        page.set_viewport_size({"width": width, "height": 1000})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.set_viewport_size({"width": 1600, "height": 900})


def test_a_poor_signal_says_why_and_its_value_stays_as_measured(page: Any, feed: JudgedFeed) -> None:
    tile = '[data-tile="gsr_uS"]'
    feed.quality["gsr_uS"] = ELECTRODE_OFF
    wait_for(page, f'{tile}[data-quality="bad"]')
    assert page.inner_text(f"{tile} .eb-tile-foot") == "Bad signal – electrode off: 0.02 µS, below 0.05 µS"
    assert page.inner_text(f"{tile} .eb-badge") == "MEASURED"
    assert "confidence" not in page.inner_text(f"{tile} .eb-sure")
    assert float(page.inner_text(f"{tile} .eb-numeral")) > 0
    until(page, "document.querySelector('[data-row=\"gsr_uS\"] .eb-row-sure').innerText === 'electrode off'", 5)
    assert attribute(page, f"{EMG}", "data-quality") == "good"
    feed.quality.clear()
    wait_for(page, f'{tile}[data-quality="good"]')
    assert "sensor" in page.inner_text(f"{tile} .eb-tile-foot")
    assert page.inner_text('[data-row="gsr_uS"] .eb-row-sure') == ""


def test_unplugging_sends_the_command_and_waits_for_the_devices_answer(page: Any, feed: FakeFeed) -> None:
    wait_for(page, "#btn-emg:not([data-disabled])")
    page.click("#btn-emg")
    wait_for(page, "#btn-emg.eb-pending")
    until(page, "document.querySelector('#btn-emg').innerText.trim() === 'Plug EMG in'", 10)
    assert feed.commands[-1] == ("sim-01", "sensor", {"signal": "emg", "connected": False})


def test_a_silent_sensor_is_an_alarm_in_stars_and_words(page: Any) -> None:
    wait_for(page, '#alarm-bar[data-priority="2"]')
    text = page.inner_text("#alarm-bar").lower()
    assert "**" in text and "medium priority" in text and "sensor silent" in text and "since" in text


def test_a_synthesised_value_says_so_and_its_confidence_falls(page: Any) -> None:
    wait_for(page, f'{EMG}[data-provenance="synthesised"]')
    assert page.inner_text(f"{EMG} .eb-badge") == "SYNTHESISED"
    assert "90 %" in page.inner_text(f"{EMG} .eb-range")
    assert "LSTM-VAE" in page.inner_text(f"{EMG} .eb-tile-foot") and "ago" in page.inner_text(f"{EMG} .eb-tile-foot")
    assert page.evaluate(f"getComputedStyle(document.querySelector('{EMG}')).borderTopStyle") == "dashed"
    first = float(attribute(page, EMG, "data-confidence"))
    time.sleep(3)
    assert float(attribute(page, EMG, "data-confidence")) < first - 0.05
    assert "SYNTHESISED" in page.inner_text('[data-row="emg_activity_mV.zyg"]')
    assert page.evaluate("window.everbeat.body().regions.cheek.provenance") == "synthesised"
    assert attribute(page, '[data-tile="gsr_uS"]', "data-provenance") == "measured"


def test_an_unsure_value_is_withheld_rather_than_wrong(page: Any) -> None:
    wait_for(page, f'{EMG}[data-provenance="withheld"]', 40)
    assert page.inner_text(f"{EMG} .eb-numeral") == "–"
    assert "no honest value" in page.inner_text(EMG)


def test_plugged_back_in_it_is_measured_again_and_the_gap_is_revised(page: Any, feed: FakeFeed) -> None:
    page.click("#btn-emg")
    wait_for(page, f'{EMG}[data-provenance="measured"]')
    assert feed.commands[-1][2] == {"signal": "emg", "connected": True}
    revised = page.evaluate(
        "[...window.everbeat.series.get('emg_activity_mV.zyg').provenance].filter((p) => p & 0x80).length"
    )
    assert revised > 1000
    until(page, "document.querySelector('#btn-emg').innerText.trim() === 'Unplug EMG'", 10)


def test_a_refused_message_is_told_in_the_alarm_bar_and_in_the_events(page: Any) -> None:
    page.click("#btn-tamper")
    until(page, "document.querySelector('#alarm-bar').innerText.includes('was refused')", 10)
    assert "nothing was stored" in page.inner_text("#events li[data-kind=refused]")
    page.keyboard.press("a")  # whatever else stands by now, all of it
    page.click(".eb-alarm-all button")
    page.keyboard.press("Escape")
    until(page, "document.querySelector('#alarm-bar').innerText.includes('acknowledged')", 5)


def test_when_the_engine_falls_silent_nothing_is_drawn_on(page: Any, feed: FakeFeed) -> None:
    feed.frozen = True
    wait_for(page, '.eb-waves[data-moving="false"]')
    until(page, "document.querySelector('#session-bar').dataset.state === 'silent'", 10)
    assert "Twin engine silent since" in page.inner_text(".eb-waves-stop")
    assert attribute(page, "#alarm-bar", "data-priority") == "3"
    assert page.evaluate("Object.keys(window.everbeat.body().regions).length") == 0
    first = page.evaluate("window.everbeat.view.t")
    time.sleep(1.0)
    assert page.evaluate("window.everbeat.view.t") == first
    assert page.inner_text(f"{EMG} .eb-badge") == "NOT CURRENT"


def test_when_the_engine_is_back_the_page_goes_on_and_marks_the_hole(page: Any, feed: FakeFeed) -> None:
    feed.thaw()
    wait_for(page, '#session-bar[data-connected="true"]')
    wait_for(page, '.eb-waves[data-moving="true"]')
    wait_for(page, '[data-tile="gsr_uS"][data-provenance="measured"][data-live="true"]')
    steps = page.evaluate(LONGEST_STEP)
    assert steps > 1.0


def test_through_all_of_this_no_error_no_violation_and_nothing_fetched_from_elsewhere(page: Any) -> None:
    assert page.trouble == []
