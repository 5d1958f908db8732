"""Limits and downtime in a real browser: changed by keyboard, and what a person is told when something has failed.

One page lives through the whole file, in the order of the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.alarm_feed import AlarmingFeed
from tests.alarm_page import BAR, GSR, bedside, room, says
from tests.web_kit import serving, until, violations, wait_for
from web.settings import WebSettings

pytestmark = pytest.mark.browser

BUTTONS_OUTSIDE = """[...document.querySelectorAll('#alarm-bar button')]
  .filter((b) => b.getBoundingClientRect().right > innerWidth).length"""
SETTINGS = WebSettings(host="127.0.1.79", port=8579, block_ms=100, silent_after_s=2.0, downtime_contact="IT, ext. 4242")
URL = f"http://{SETTINGS.host}:{SETTINGS.port}"


@pytest.fixture(scope="module")
def feed() -> Iterator[AlarmingFeed]:
    feed = AlarmingFeed()
    with serving(feed, SETTINGS):
        yield feed


@pytest.fixture(scope="module")
def page(browser: Any, feed: AlarmingFeed) -> Iterator[Any]:
    with bedside(browser) as context, room(context, URL) as page:
        yield page


def test_limits_stand_on_the_tile_and_are_changed_by_keyboard(page: Any, feed: AlarmingFeed) -> None:
    feed.clear()
    assert page.inner_text(f"{GSR} .eb-tile-limits").split() == ["▲12", "▼1"]
    page.focus(f"{GSR} .eb-tile-limits")
    page.keyboard.press("Enter")
    wait_for(page, "dialog.eb-limits[open]")
    says(page, "dialog.eb-limits", "Alarm limits: Skin conductance", "KESTREL-17", "set for this patient")
    says(page, "dialog.eb-limits", "*** High priority when above 20 for 3 s", "below 1 or above 12", "Only measured")
    assert violations(page, "dialog.eb-limits") == []
    page.focus("dialog input[name=high]")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("25")
    page.keyboard.press("Enter")
    says(page, ".eb-limits-note", "Nothing was sent")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("15")
    says(page, ".eb-limits-means", "above 15")
    page.keyboard.press("Enter")
    says(page, ".eb-limits-note", "Accepted")
    kind, body = feed.acts[-1]
    assert (kind, body["signal"], body["high"], body["crisis_low"]) == ("limits", "gsr_uS", 15, None)
    page.keyboard.press("Escape")
    until(page, "!document.querySelector('dialog.eb-limits')", 3)
    assert page.evaluate("document.activeElement.className") == "eb-tile-limits"
    until(page, f"document.querySelector('{GSR} .eb-tile-limits').innerText.includes('▲15')", 15)


def test_limits_that_are_off_are_a_crossed_bell_with_a_word(page: Any, feed: AlarmingFeed) -> None:
    page.click(f"{GSR} .eb-tile-limits")
    page.uncheck("dialog input[name=on]")
    says(page, ".eb-limits-means", "OFF: no value raises one")
    page.click("dialog .eb-primary")
    says(page, ".eb-limits-note", "Accepted")
    page.keyboard.press("Escape")
    wait_for(page, f'{GSR} .eb-tile-limits[data-limits="off"]', 15)
    assert page.inner_text(f"{GSR} .eb-tile-limits").strip() == "OFF"
    assert "Limit alarms off" in str(page.get_attribute(f"{GSR} .eb-tile-limits", "aria-label"))


def test_all_devices_silent_is_told_apart_from_a_silent_engine(page: Any, feed: AlarmingFeed) -> None:
    feed.deaf = True
    wait_for(page, '#downtime[data-failed="devices"]')
    says(page, "#downtime", "No device of this patient is heard", "Look at the patient", "Check the device")
    assert page.get_attribute("#session-bar", "data-connected") == "true"
    assert violations(page, "#downtime") == []
    feed.deaf = False
    wait_for(page, "#downtime[hidden]")


def test_a_silent_engine_is_told_with_cause_time_and_steps_and_the_last_values_stay(
    page: Any, feed: AlarmingFeed
) -> None:
    name = feed.alarm("limit-high", 3, "gsr_uS", value=21.3, limit=20.0, text="Skin conductance high")
    until(page, f"document.querySelector('{GSR}').dataset.alarm === '3'", 8)
    feed.frozen = True
    wait_for(page, '#downtime[data-failed="engine"]', 15)
    until(page, f"document.querySelector('{GSR} .eb-tile-alarm').textContent.includes('last known at')", 5)
    assert page.evaluate(f"getComputedStyle(document.querySelector('{GSR}')).animationName") == "none"
    until(page, f"document.querySelector('{BAR}').dataset.count === '2'", 5)
    page.keyboard.press("a")
    says(page, ".eb-alarm-list", "Skin conductance high", "last known at")
    page.keyboard.press("Escape")
    says(page, "#downtime", "not current", "The twin engine is silent", "Since", "s ago", "Cause", "bedside monitor")
    says(page, "#downtime", "Call IT, ext. 4242")
    assert page.eval_on_selector_all("#downtime ol li", "e => e.length") == 5
    assert float(page.inner_text(f"{GSR} .eb-numeral")) > 0
    assert page.inner_text(f"{GSR} .eb-badge") == "NOT CURRENT"
    says(page, BAR, "***", "High priority", "Technical", "Twin engine silent since", "Sounding")
    assert violations(page, "#downtime") == []
    page.click("#downtime button")
    wait_for(page, '#downtime[data-small="true"]')
    page.click(f"{BAR} .eb-ack")
    says(page, BAR, "acknowledged on this screen only")
    until(page, "document.querySelector('#alarm-bar-sound').dataset.sound === 'acknowledged'", 5)
    del feed.raised[name]
    feed.thaw()
    wait_for(page, "#downtime[hidden]", 15)


def test_a_store_that_is_down_is_named_as_the_cause(page: Any, feed: AlarmingFeed) -> None:
    feed.down = True
    wait_for(page, '#downtime[data-failed="store"]', 15)
    says(page, BAR, "record store can't be reached")
    feed.down = False
    feed.thaw()
    wait_for(page, "#downtime[hidden]", 20)


def test_a_network_that_is_gone_is_told_and_the_kept_sheet_still_opens(page: Any) -> None:
    until(page, "navigator.serviceWorker.getRegistration('/downtime').then((r) => Boolean(r?.active))", 15)
    page.context.set_offline(True)
    page.evaluate("window.everbeat.socket.io.engine.close()")
    wait_for(page, '#downtime[data-failed="network"]', 15)
    says(page, "#downtime", "No connection to the server", "Look at the patient")
    page.click(".eb-pause")
    says(page, ".eb-bar-refusal", "nothing was sent")
    sheet = page.context.new_page()
    sheet.goto(f"{URL}/downtime")
    text = sheet.inner_text("main")
    sheet.close()
    page.context.set_offline(False)
    assert "When the twin is down" in text and "IT, ext. 4242" in text
    wait_for(page, "#downtime[hidden]", 20)


def test_the_browser_keeps_the_sheet_and_nothing_of_a_patient(page: Any) -> None:
    kept = page.evaluate(
        """async () => {
          const found = [];
          for (const name of await caches.keys())
            for (const request of await (await caches.open(name)).keys())
              found.push([new URL(request.url).pathname, await (await caches.match(request)).text()]);
          return found;
        }"""
    )
    assert [path for path, _ in kept] == ["/downtime"]
    assert not any(word in kept[0][1] for word in ("KESTREL", "4711", "p-7f3a"))
    scopes = page.evaluate("navigator.serviceWorker.getRegistrations().then((all) => all.map((r) => r.scope))")
    assert scopes == [f"{URL}/downtime"]


def test_bar_panel_and_downtime_fit_every_size_and_speak_german(page: Any, feed: AlarmingFeed) -> None:
    page.goto(f"{URL}/language/de?next=/patient/p-7f3a")
    wait_for(page, f'{GSR}[data-provenance="measured"]', 30)
    feed.alarm("limit-high", 3, "gsr_uS", value=21.3, limit=20.0)
    says(page, BAR, "Hohe Priorität", "Quittieren", "Ton 2 min pausieren")
    for width, height in ((1600, 900), (1280, 720), (820, 1180), (390, 800)):
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width
        assert page.evaluate(BUTTONS_OUTSIDE) == 0, width
    page.goto(f"{URL}/language/en?next=/downtime")
    assert violations(page, "main") == []
    assert page.trouble == []
