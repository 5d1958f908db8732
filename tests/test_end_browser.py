"""The end of a session and of a right, on the screen: warned of before, cleared at once, and told why."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from security.people import PATIENCE, Patience
from tests.people_kit import House
from tests.test_people_browser import sign_in
from tests.web_kit import violations, wait_until
from twin_engine.store.people import clock_ms
from web.settings import WebSettings

pytestmark = [pytest.mark.browser, pytest.mark.redis]
SETTINGS = WebSettings(host="127.0.1.99", port=8599, block_ms=100)
LIVE = '.eb-session[data-state="live"]'
DRAWN = "canvas, .eb-row, [data-tile], .eb-body, .eb-events li, .eb-wrow"


@pytest.fixture
def house(redis_server) -> Iterator[House]:  # type: ignore[no-untyped-def]
    made = House(redis_server[0], SETTINGS)
    yield made
    made.close()


@pytest.fixture
def page(house: House, browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, bypass_csp=True)  # axe is injected
    page = context.new_page()
    page.faults = []
    # a callback that is answered 401 makes Dash's renderer read the answer twice: its own fault, and nobody sees it
    page.on("pageerror", lambda e: None if "body stream already read" in str(e) else page.faults.append(str(e)))
    yield page
    context.close()


def patience(monkeypatch: pytest.MonkeyPatch, role: str, idle_s: int, most_s: int) -> None:
    """From now on sessions of a role last so long."""
    shorter = {**PATIENCE, role: Patience(idle_s, most_s)}
    for module in ("twin_engine.store.sessions", "web.signin"):
        monkeypatch.setattr(f"{module}.PATIENCE", shorter)


def look(page: Any, name: str) -> None:
    """Keep a picture for people, where one is wanted."""
    if folder := os.environ.get("EVERBEAT_PICTURES"):
        page.screenshot(path=f"{folder}/{name}.png")


def test_who_is_idle_is_warned_stays_by_a_press_and_else_is_signed_out_in_place(
    page: Any, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ASVS 7.3.1, 7.4.4."""
    patience(monkeypatch, "clinician", 280, 3600)
    monkeypatch.setattr("twin_engine.store.sessions.TOUCH_EVERY_MS", 0)
    sign_in(page, house, path="/patient/p-0001")
    page.wait_for_selector(LIVE, timeout=60_000)
    page.wait_for_selector('.eb-leaving[data-kind="idle"]')
    assert "You will be signed out in " in page.inner_text(".eb-leaving [role=status]")
    assert violations(page) == []
    look(page, "idle")
    before = house.people.sessions.of("dr.wren")[0].touched_ms
    with page.expect_request(lambda r: r.url.endswith("/session") and r.method == "POST"):
        page.click(".eb-leaving button")
    wait_until(lambda: house.people.sessions.of("dr.wren")[0].touched_ms, lambda t: t > before)
    patience(monkeypatch, "clinician", 1, 3600)  # and now nobody touches it
    page.wait_for_selector("#eb-ended", timeout=40_000)
    text = page.inner_text("body")
    assert "Signed out" in text and "No patient is shown here" in text
    assert house.feed.clinic.cards["p-0001"].pseudonym not in page.content() + page.title()
    assert page.url.endswith("/patient/p-0001") and page.query_selector_all(DRAWN) == []
    wait_until(lambda: house.flask.extensions["relay"].viewers("p-0001"), lambda found: found == [])
    assert page.evaluate("window.everbeat.series.size + window.everbeat.events.length") == 0
    assert violations(page) == [] and page.faults == []
    look(page, "ended")


def test_the_end_of_the_longest_session_is_told_some_minutes_before(
    page: Any, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience(monkeypatch, "clinician", 1800, 840)
    sign_in(page, house)
    page.wait_for_selector('.eb-leaving[data-kind="most"]')
    assert " min. Sign in again to go on" in page.inner_text(".eb-leaving")
    assert violations(page) == []
    look(page, "most")
    page.click(".eb-leaving a")
    page.wait_for_selector("input[name=password]")


def test_nobody_is_warned_of_an_end_that_is_far(page: Any, house: House) -> None:
    sign_in(page, house)
    page.wait_for_selector(".eb-wrow")
    with page.expect_response(lambda r: r.url.endswith("/session")):
        pass
    assert page.query_selector(".eb-leaving") is None


def test_a_screen_on_a_wall_says_days_before_when_somebody_must_come(
    page: Any, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience(monkeypatch, "kiosk", 0, 2 * 86_400)
    house.add("wall", "kiosk", "p-0001", "p-0002")
    sign_in(page, house, "wall")
    page.wait_for_selector('.eb-leaving[data-kind="days"]')
    assert "This screen is signed out on " in page.inner_text(".eb-leaving")
    look(page, "kiosk")
    assert violations(page) == []


def test_a_page_that_can_ask_nobody_any_more_ends_by_itself(
    page: Any, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(page, house)
    page.wait_for_selector(".eb-wrow")
    session = house.people.sessions.of("dr.wren")[0]
    patience(monkeypatch, "clinician", (clock_ms() - session.touched_ms) // 1000 + 12, 3600)
    page.wait_for_selector(".eb-leaving")
    page.route("**/session", lambda route: route.abort())
    page.wait_for_selector("#eb-ended", timeout=25_000)
    assert page.query_selector_all(DRAWN) == []


@pytest.mark.parametrize("why", ["rights", "erased", "glass"])
@pytest.mark.parametrize("path", ["", "/replay"])
def test_a_room_whose_patient_may_not_be_seen_any_more_is_cleared_at_once_and_says_why(
    page: Any, house: House, why: str, path: str
) -> None:
    patient = "p-0003" if why == "glass" else "p-0001"
    if why == "glass":
        house.people.accounts.break_glass("dr.wren", patient, "collapsed in the corridor")
    sign_in(page, house, path=f"/patient/{patient}{path}")
    page.wait_for_selector(LIVE, timeout=60_000)
    card = house.feed.clinic.cards[patient]
    wait_until(lambda: page.inner_text("h1"), lambda text: text == card.pseudonym)
    start = time.monotonic()
    if why == "rights":
        house.people.accounts.change("dr.wren", lambda a: a.ungranted(patient))
    elif why == "glass":
        house.people.accounts.mend("dr.wren", patient)
    else:
        del house.feed.clinic.cards[patient]
    page.wait_for_selector(".eb-gone", timeout=15_000)  # a second or two, where the machine is not overloaded
    print(f"{why}: cleared after {time.monotonic() - start:.2f} s")
    said = {"erased": "The record of this patient was erased"}.get(why, "You may not see this patient any more")
    assert said in page.inner_text(".eb-gone") and page.query_selector_all(DRAWN) == []
    assert page.evaluate("window.everbeat.series.size + window.everbeat.events.length") == 0
    wait_until(lambda: page.title(), lambda title: card.pseudonym not in title)
    assert card.pseudonym not in page.content() and card.number not in page.content().replace("p-000", "")
    time.sleep(3)  # it does not come back
    assert page.is_visible(".eb-gone") and page.evaluate("window.everbeat.card") is None
    look(page, f"{why}{path.replace('/', '-')}")
    assert violations(page) == [] and page.faults == []
