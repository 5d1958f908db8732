"""People in a real browser: signing in, one's own patients, a session that is ended, broken glass, the audit page."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fake_ward import FakeWard
from tests.people_kit import PASSWORD, House
from tests.web_kit import serving, violations, wait_until
from web.settings import WebSettings

pytestmark = [pytest.mark.browser, pytest.mark.redis]
SETTINGS = WebSettings(host="127.0.1.95", port=8595, block_ms=100)


@pytest.fixture
def house(redis_server) -> Iterator[House]:  # type: ignore[no-untyped-def]
    made = House(redis_server[0], SETTINGS)
    yield made
    made.close()


@pytest.fixture
def page(house: House, browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, bypass_csp=True)  # axe is injected
    yield context.new_page()
    context.close()


def sign_in(page: Any, house: House, name: str = "dr.wren", path: str = "/") -> None:
    page.goto(house.url + path)
    page.fill("input[name=name]", name)
    page.fill("input[name=password]", PASSWORD)
    page.click("button.eb-primary")


def test_a_clinician_signs_in_and_sees_only_her_patients(page: Any, house: House) -> None:
    faults = list[str]()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(house.url + "/patients")
    assert page.url.endswith("/sign-in?next=%2Fpatients") and page.title().startswith("Sign in")
    assert violations(page) == []
    page.fill("input[name=name]", "dr.wren")
    page.fill("input[name=password]", "not this one at all")
    page.click("button.eb-primary")
    assert page.inner_text("[role=alert]") == "Name or password is wrong."
    assert page.input_value("input[name=name]") == "dr.wren" and violations(page) == []
    page.fill("input[name=password]", PASSWORD)
    page.click("button.eb-primary")
    page.wait_for_selector("#eb-patients tbody tr")
    assert page.url.endswith("/patients")
    page.goto(house.url)
    page.wait_for_selector(".eb-wrow >> nth=1")
    rows = page.evaluate("[...document.querySelectorAll('.eb-wrow')].map((r) => r.dataset.patient).sort()")
    assert rows == ["p-0001", "p-0002"]
    assert "Signed in as Dr.Wren (dr.wren), clinician" in page.inner_text(".eb-who")
    assert violations(page) == []
    page.click('.eb-places a[href="/patients"]')  # callbacks with the token that Dash's renderer sends by itself
    page.wait_for_selector("#eb-patients tbody tr >> nth=1")
    page.click("#eb-patients tbody tr >> nth=0 >> button")
    page.wait_for_selector("#eb-form input")
    assert page.goto(house.url + "/patient/p-0003").status == 404
    assert "There is no page here" in page.inner_text("main")
    assert faults == []


def test_a_viewer_is_offered_nothing_that_she_may_not_do(page: Any, house: House) -> None:
    sign_in(page, house, "vera", "/patient/p-0001")
    page.wait_for_selector('.eb-session[data-state="live"]', timeout=30_000)
    page.wait_for_selector(".eb-events li")
    assert not page.is_visible("#btn-emg") and not page.is_visible(".eb-area-demo")
    wide = page.evaluate("document.querySelector('.eb-area-events').getBoundingClientRect().width / innerWidth")
    assert wide > 0.95, "an empty place beside the events"
    page.goto(house.url + "/patients")
    page.wait_for_selector("#eb-patients tbody tr")
    assert not page.is_visible("#eb-admit")


def test_who_sees_no_patient_comes_to_the_audit_page(page: Any, house: House) -> None:
    sign_in(page, house, "sec")
    page.wait_for_selector("form.eb-filter")
    assert page.url.endswith("/audit")


def test_the_room_works_with_sign_in_and_signing_out_leaves_nothing_behind(page: Any, house: House) -> None:
    sign_in(page, house, path="/patient/p-0001")
    page.wait_for_selector('.eb-session[data-state="live"]', timeout=30_000)
    assert page.evaluate("document.scrollingElement.scrollHeight <= innerHeight"), "the strip pushes the room out"
    assert violations(page) == []
    page.click(".eb-who button")
    page.wait_for_selector("input[name=password]")
    page.go_back()
    page.wait_for_selector("input[name=password]")
    assert house.feed.clinic.cards["p-0001"].pseudonym not in page.content()
    assert not [c for c in page.context.cookies() if c["name"] == "__Host-everbeat"]


def test_a_session_that_is_ended_is_cut_and_the_screen_is_cleared(page: Any, house: House) -> None:
    sign_in(page, house, path="/patient/p-0001")
    page.wait_for_selector('.eb-session[data-state="live"]', timeout=30_000)
    relay = house.flask.extensions["relay"]
    assert len(relay.viewers("p-0001")) == 1
    house.people.sessions.end_all("dr.wren")
    start = time.monotonic()
    wait_until(lambda: not relay.viewers("p-0001"), timeout_s=2)
    cut_s = time.monotonic() - start
    start = time.monotonic()
    page.wait_for_selector("#eb-ended", timeout=10_000)
    print(f"socket cut after {cut_s:.2f} s, screen cleared {time.monotonic() - start:.2f} s later")
    assert page.inner_text("[role=alert]") == "Signed out" and "No patient is shown here" in page.inner_text("main")
    assert house.feed.clinic.cards["p-0001"].pseudonym not in page.content() + page.title()
    assert violations(page) == []
    page.click("#eb-ended a")
    assert page.url.endswith("/sign-in?next=%2Fpatient%2Fp-0001")


def test_glass_is_broken_loudly_and_the_security_officer_sees_it(page: Any, house: House, browser: Any) -> None:
    sign_in(page, house, path="/break-glass")
    assert violations(page) == []
    card = house.feed.clinic.cards["p-0003"]
    page.fill("input[name=number]", card.number)
    page.fill("input[name=reason]", "collapsed in the corridor")
    page.click(".eb-danger")
    page.wait_for_selector('.eb-session[data-state="live"]', timeout=30_000)
    assert page.inner_text(".eb-session h1") == card.pseudonym
    assert "BREAK GLASS" in page.inner_text(".eb-glass") and page.is_visible(".eb-glass")
    assert page.evaluate("document.scrollingElement.scrollHeight <= innerHeight")
    assert violations(page) == []
    other = browser.new_context(viewport={"width": 1440, "height": 900}, bypass_csp=True, locale="de-DE").new_page()
    sign_in(other, house, "sec", "/audit")
    assert "collapsed in the corridor" in other.inner_text(".eb-glass")
    assert "Notzugriff" in other.inner_text("main") and violations(other) == []
    page.click(".eb-glass a")
    page.click("td button")
    page.wait_for_selector(".eb-danger")
    assert page.goto(house.url + "/patient/p-0003").status == 404
    other.context.close()


def test_the_account_page_changes_the_password_and_ends_other_sessions(page: Any, house: House) -> None:
    sign_in(page, house, path="/account")
    assert "this browser" in page.inner_text("tbody") and violations(page) == []
    page.fill("input[name=now]", PASSWORD)
    for name in ("new", "again"):
        page.fill(f"input[name={name}]", "passwordpassword")
    page.click("button.eb-primary")
    assert "common or easily guessed" in page.inner_text("[role=alert]")
    page.fill("input[name=now]", PASSWORD)
    for name in ("new", "again"):
        page.fill(f"input[name={name}]", "eleven plovers under the bridge")
    page.click("button.eb-primary")
    assert "The new password is set" in page.inner_text("[role=status]") and violations(page) == []


@pytest.mark.parametrize("path", ["/sign-in", "/account", "/break-glass"])
def test_the_pages_are_there_in_german_and_fit_a_narrow_screen(house: House, browser: Any, path: str) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, bypass_csp=True, locale="de-DE")
    page = context.new_page()
    if path != "/sign-in":
        sign_in(page, house)
        page.wait_for_selector(".eb-who")
    page.goto(house.url + path)
    assert page.url == house.url + path
    assert page.get_attribute("html", "lang") == "de"
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    assert violations(page) == []
    context.close()


def test_without_accounts_every_page_says_that_nobody_signed_in(browser: Any) -> None:
    settings = WebSettings(host="127.0.1.96", port=8596, block_ms=100)
    context = browser.new_context(viewport={"width": 1440, "height": 900}, bypass_csp=True)
    page = context.new_page()
    with serving(FakeWard(3), settings):
        for path in ("/", "/patients", "/patient/p-0001", "/patient/p-0001/replay"):
            page.goto(settings.origins[0] + path)
            page.wait_for_selector(".eb-who-demo")
            assert "signed in by itself as clinician (demo)" in page.inner_text(".eb-who")
        page.wait_for_timeout(500)
        assert violations(page) == []
        context.close()
