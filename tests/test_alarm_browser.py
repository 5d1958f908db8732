"""Alarms and their sound in a real browser, on a feed whose alarms the tests raise.

One page lives through the whole file, in the order of the tests. A state is never told by colour alone: each test
looks for the words, and axe at what is shown.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.alarm_feed import WHO, AlarmingFeed
from tests.alarm_page import BAR, GSR, PANEL, SOUND, bedside, room, says
from tests.web_kit import serving, until, violations, wait_for, wait_until
from twin_engine.registry import Limits
from web.settings import WebSettings

pytestmark = pytest.mark.browser

SETTINGS = WebSettings(host="127.0.1.77", port=8577, block_ms=100, silent_after_s=2.0, person=WHO)
URL = f"http://{SETTINGS.host}:{SETTINGS.port}"
ROOM = f"{URL}/patient/p-7f3a"
FLASHES = "(s, e) => getComputedStyle(document.querySelector(s)).animationDuration"


@pytest.fixture(scope="module")
def feed() -> Iterator[AlarmingFeed]:
    feed = AlarmingFeed()
    with serving(feed, SETTINGS):
        yield feed


@pytest.fixture(scope="module")
def context(browser: Any, feed: AlarmingFeed) -> Iterator[Any]:
    with bedside(browser) as context:
        yield context


@pytest.fixture(scope="module")
def page(context: Any) -> Iterator[Any]:
    with room(context, URL) as page:
        yield page


class Cold:
    """A page that no hand has touched. Playwright looks with a user's gesture, which arms the sound."""

    def __init__(self, context: Any) -> None:
        self.page = context.new_page()
        self.line = context.new_cdp_session(self.page)
        self.page.goto(ROOM)

    def look(self, expression: str) -> Any:
        return self.line.send("Runtime.evaluate", {"expression": expression, "returnByValue": True})["result"].get(
            "value"
        )

    def wait_until(self, expression: str, timeout_s: float = 30) -> None:
        wait_until(lambda: self.look(expression), timeout_s=timeout_s, what=expression)


def test_before_a_touch_the_sound_is_blocked_and_says_so_and_a_click_arms_it(context: Any, feed: AlarmingFeed) -> None:
    cold = Cold(context)
    cold.wait_until(f"document.querySelector('{BAR}')?.innerText.includes('No alarm')")
    assert cold.look(f"document.querySelector('{SOUND}').innerText") == "Sound blocked – click to arm"
    feed.alarm("limit-high", 3, "gsr_uS", value=21.3, limit=20.0)
    cold.wait_until(f"document.querySelector('{BAR}').dataset.priority === '3'")
    time.sleep(0.5)
    assert cold.look(f"document.querySelector('{SOUND}').dataset.sound") == "blocked"
    x, y = cold.look(f"(() => {{ const b = document.querySelector('{SOUND}').getBoundingClientRect(); "
                     "return [b.x + b.width / 2, b.y + b.height / 2]; })()")  # fmt: skip
    cold.page.mouse.click(x, y)
    cold.wait_until(f"document.querySelector('{SOUND}').dataset.sound === 'sounding'", 5)
    feed.clear()
    cold.wait_until(f"document.querySelector('{SOUND}').dataset.sound === 'armed'", 5)
    cold.page.close()


def test_without_an_alarm_the_bar_says_so(page: Any) -> None:
    says(page, BAR, "No alarm", "Sound armed")
    assert violations(page, BAR) == []


def test_a_limit_alarm_of_high_priority_is_told_in_stars_words_and_on_its_tile(page: Any, feed: AlarmingFeed) -> None:
    feed.alarm("limit-high", 3, "gsr_uS", value=21.3, limit=20.0, text="Skin conductance high: 21.3 uS, limit 20 uS")
    wait_for(page, f'{BAR}[data-priority="3"]')
    says(page, BAR, "***", "High priority", "Patient", "Skin conductance high: 21.3 µS", "Sounding", "since")
    says(page, GSR, "*** ALARM: above 20 µS")
    assert page.evaluate(FLASHES, ".eb-bar .eb-lamp") == "0.5s", "2 Hz, of 1.4 to 2.8"
    assert page.evaluate(FLASHES, GSR) == "0.5s"
    assert violations(page, f"{BAR}") == []
    assert violations(page, GSR) == []


def test_medium_flashes_slower_low_stands_still_and_technical_is_a_word(page: Any, feed: AlarmingFeed) -> None:
    feed.clear()
    feed.alarm("silent", 2, "emg_activity_mV.zyg", text="EMG cheek: sensor silent")
    feed.alarm("silent", 2, "emg_activity_mV.corr", text="EMG brow: sensor silent")
    wait_for(page, f'{BAR}[data-priority="2"][data-count="1"]')
    says(page, BAR, "**", "Medium priority", "Technical", "EMG brow and EMG cheek: sensor silent")
    assert page.evaluate(FLASHES, ".eb-bar .eb-lamp") == "1.667s", "0.6 Hz, of 0.4 to 0.8"
    feed.clear()
    feed.alarm("bad-signal", 1, "gsr_uS", text="Skin conductance: bad signal")
    wait_for(page, f'{BAR}[data-priority="1"]')
    says(page, BAR, "*", "Low priority")
    assert page.evaluate("getComputedStyle(document.querySelector('.eb-bar .eb-lamp')).animationName") == "none"


def test_who_wants_no_motion_sees_no_flashing(page: Any, feed: AlarmingFeed) -> None:
    feed.alarm("limit-high", 3, "gsr_uS", value=21.3, limit=20.0)
    wait_for(page, f'{BAR}[data-priority="3"]')
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.querySelector('.eb-bar .eb-lamp')).animationName") == "none"
    page.emulate_media(reduced_motion="no-preference")


def test_an_alarm_that_is_over_stays_and_says_that_nobody_acknowledged_it(page: Any, feed: AlarmingFeed) -> None:
    feed.clear()
    name = feed.alarm("limit-low", 2, "gsr_uS", value=0.4, limit=1.0, text="Skin conductance low")
    feed.raised[name]["over_s"] = time.time()
    says(page, BAR, "over since", "not acknowledged", "Sounding")
    until(page, f"document.querySelector('{GSR}').dataset.alarm === '0'", 5)


def test_key_a_opens_the_panel_and_each_alarm_is_acknowledged_by_keyboard(page: Any, feed: AlarmingFeed) -> None:
    feed.alarm("silent", 2, "emg_activity_mV.zyg", text="EMG cheek: sensor silent")
    until(page, f"document.querySelector('{BAR}').dataset.count === '2'", 5)
    page.keyboard.press("a")
    wait_for(page, PANEL)
    says(page, PANEL, "No. 4711", "born 1968", "Skin conductance low", "EMG cheek: sensor silent", "Acknowledge all")
    assert violations(page, PANEL) == []
    page.keyboard.press("Tab")  # Close
    page.keyboard.press("Tab")  # the first alarm's own button
    page.keyboard.press("Enter")
    says(page, PANEL, f"by {WHO}", "✓ acknowledged")
    assert [kind for kind, _ in feed.acts] == ["ack"]
    assert page.evaluate("document.querySelector('#alarm-bar-panel').contains(document.activeElement)")


def test_acknowledge_all_makes_it_quiet_and_the_bar_says_by_whom(page: Any, feed: AlarmingFeed) -> None:
    page.click(".eb-alarm-all button")
    wait_for(page, f'{BAR}[data-quiet="true"]')
    assert feed.acts[-1] == ("ack", {"alarm": next(n for n in feed.raised if n.startswith("limit-low"))}), "as shown"
    says(page, BAR, "acknowledged", WHO, "Quiet: all acknowledged")
    says(page, ".eb-alarm-log", "raised", "acknowledged", WHO)
    assert violations(page, BAR) == []


def test_the_log_can_be_narrowed_to_one_kind_and_searched(page: Any) -> None:
    page.select_option(".eb-alarm-log select", "acknowledged")
    parts = page.eval_on_selector_all(".eb-alarm-log li[data-part]", "e => e.map((x) => x.dataset.part)")
    assert parts and set(parts) == {"acknowledged"}
    page.fill(".eb-alarm-log input", "no such alarm")
    says(page, ".eb-alarm-log", "No alarm in this log yet")
    page.fill(".eb-alarm-log input", "")
    page.keyboard.press("Escape")
    until(page, f"!document.querySelector('{PANEL}')", 3)
    assert page.evaluate("document.activeElement.className") == "eb-bar-open"


def test_the_key_can_be_turned_off(page: Any) -> None:
    page.keyboard.press("a")
    page.uncheck(".eb-shortcut input")
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    time.sleep(0.3)
    assert page.query_selector(PANEL) is None
    page.click(".eb-bar-open")
    page.check(".eb-shortcut input")
    page.keyboard.press("Escape")


def test_the_sound_is_paused_with_a_countdown_and_resumed(page: Any, feed: AlarmingFeed) -> None:
    feed.clear()
    feed.alarm("limit-high", 3, "gsr_uS", value=21.3, limit=20.0)
    wait_for(page, f'{SOUND}[data-sound="sounding"]')
    page.click(".eb-pause")
    wait_for(page, f'{SOUND}[data-sound="paused"]')
    says(page, BAR, "Resume sound 1:5", "Sound paused 1:5")
    first = page.inner_text(".eb-left")
    until(page, f"document.querySelector('.eb-left').innerText < {first!r}", 5)
    assert feed.acts[-1] == ("pause", {"seconds": 120})
    assert violations(page, BAR) == []
    page.click(".eb-pause")
    wait_for(page, f'{SOUND}[data-sound="sounding"]')
    assert feed.acts[-1] == ("resume", {})


def test_a_refusal_is_told_in_words_and_nothing_looks_acknowledged(page: Any, feed: AlarmingFeed) -> None:
    feed.refusing = "this alarm is not there any more"
    page.click(f"{BAR} .eb-ack")
    says(page, ".eb-bar-refusal", "Refused: This can’t be understood; nothing was done")
    assert page.get_attribute(BAR, "data-quiet") == "false"
    feed.refusing = ""


def test_an_act_names_the_patient_whose_number_is_on_the_screen(page: Any, feed: AlarmingFeed) -> None:
    before = len(feed.acts)
    page.evaluate("window.everbeat.card.number = '9999'")
    wait_for(page, f'{BAR}[data-number="9999"]')
    page.click(f"{BAR} .eb-ack")
    says(page, ".eb-bar-refusal", "another patient’s record number")
    assert len(feed.acts) == before
    page.evaluate("window.everbeat.card.number = '4711'")
    wait_for(page, f'{BAR}[data-number="4711"]')
    page.click(f"{BAR} .eb-ack")
    wait_for(page, f'{BAR}[data-quiet="true"]')


def test_an_address_that_names_another_patient_does_not_change_whose_alarms_are_acknowledged(
    page: Any, feed: AlarmingFeed
) -> None:
    feed.clear()
    first, second = (feed.alarm("bad-signal", 2, c, text=f"{c}: bad") for c in ("gsr_uS", "emg_activity_mV.zyg"))
    until(page, f"document.querySelector('{BAR}').dataset.count === '2'", 5)
    page.evaluate("history.pushState({}, '', '/patient/p-other')")  # the next room is on its way, this one still drawn
    time.sleep(0.6)
    assert page.evaluate("window.everbeat.patient") == "p-7f3a"
    page.click(".eb-bar-open")
    page.click(".eb-alarm-all button")
    wait_for(page, f'{BAR}[data-quiet="true"]')
    kind, body = feed.acts[-1]
    assert (kind, set(body["alarm"])) == ("ack", {first, second})
    page.keyboard.press("Escape")
    page.evaluate("history.pushState({}, '', '/patient/p-7f3a')")


def test_an_alarm_below_the_top_one_is_announced_politely(page: Any, feed: AlarmingFeed) -> None:
    feed.clear()
    until(page, f"document.querySelector('{BAR}').dataset.count === '0'", 5)
    feed.alarm("limit-high", 3, "gsr_uS", value=21.3, limit=20.0)
    wait_for(page, f'{BAR}[data-priority="3"]')
    feed.alarm("bad-signal", 1, "emg_activity_mV.zyg", text="EMG cheek: bad signal")
    until(page, "document.querySelector('.eb-bar-said').textContent.includes('EMG cheek: bad signal')", 5)


def test_what_is_no_number_and_what_somebody_else_changed_is_not_sent(page: Any, feed: AlarmingFeed) -> None:
    before = len(feed.acts)
    page.click(f"{GSR} .eb-tile-limits")
    page.fill('.eb-limits [name="high"]', "12e")
    page.click(".eb-limits .eb-primary")
    says(page, ".eb-limits-note", "expected a number", "12e")
    page.fill('.eb-limits [name="high"]', "12,5")
    feed.write(limits={"gsr_uS": Limits(2.0, 11.0, None, 20.0, 3.0)})
    says(page, ".eb-limits-note", "changed by somebody else")
    page.click(".eb-limits .eb-primary")
    time.sleep(0.3)
    assert len(feed.acts) == before
    page.click(".eb-limits-again")
    assert page.input_value('.eb-limits [name="high"]') == "11"
    page.fill('.eb-limits [name="high"]', "12,5")
    page.click(".eb-limits .eb-primary")
    says(page, ".eb-limits-note", "Accepted")
    assert (feed.acts[-1][1]["low"], feed.acts[-1][1]["high"]) == (2.0, 12.5)
    time.sleep(3)  # the record comes back with what was sent from here
    says(page, ".eb-limits-note", "Accepted")
    page.keyboard.press("Escape")


def test_the_tab_names_the_patient_and_a_new_page_takes_the_focus(page: Any) -> None:
    until(page, "document.title === 'KESTREL-17 · Bed 4 · Twin'", 5)
    page.click('.eb-places a[href$="/replay"]')
    until(page, "document.title === 'KESTREL-17 · Bed 4 · Replay'", 20)
    until(page, "document.activeElement.id === 'content'", 5)
    wait_for(page, f'{BAR}[data-priority="3"]')
    until(page, "document.querySelector('#downtime') !== null", 5)
    page.wait_for_selector("#timeline .eb-values", state="attached", timeout=20_000)
    size = page.viewport_size
    page.set_viewport_size({"width": 1280, "height": 720})
    assert page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]") == [1280, 720]
    page.set_viewport_size(size)
    page.go_back()
    wait_for(page, GSR, 30)


def test_after_a_discharge_nothing_alarms_and_the_page_says_when_it_was(page: Any, feed: AlarmingFeed) -> None:
    wait_for(page, f'{SOUND}[data-sound="sounding"]')
    feed.write(discharged_ms=int(time.time() * 1000))
    says(page, BAR, "Discharged at")
    says(page, "#session-bar", "Discharged at")
    time.sleep(4)
    assert page.get_attribute(BAR, "data-priority") == "0"
    assert page.get_attribute(SOUND, "data-sound") == "armed"
    assert page.query_selector(".eb-downtime") is None
    assert page.get_attribute(GSR, "data-alarm") == "0"
    assert page.get_attribute("#waves", "data-moving") == "false"


def test_a_body_that_cannot_be_loaded_says_so_and_is_loaded_when_asked_again(context: Any, page: Any) -> None:
    page.close()
    other = context.new_page()
    asked: list[str] = []
    other.route("**/everbeat_body*", lambda route: (asked.append(route.request.url), route.abort()))
    other.goto(ROOM)
    wait_for(other, ".eb-body-missing", 30)
    says(other, ".eb-body-missing", "can't be loaded", "Try again")
    assert len(asked) == 2 and "retry=" in asked[1]
    other.unroute("**/everbeat_body*")
    other.click(".eb-body-missing button")
    wait_for(other, ".eb-twin", 30)
    assert other.query_selector(".eb-body-missing") is None
    other.close()
