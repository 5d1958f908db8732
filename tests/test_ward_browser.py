"""The ward and the page of patients and devices in a real browser: what a person sees, reaches and changes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fake_ward import FakeWard
from tests.web_kit import serving, until, violations, watch
from web.settings import WebSettings

pytestmark = pytest.mark.browser

SETTINGS = WebSettings(host="127.0.1.81", port=8581, block_ms=100, silent_after_s=2.0)
URL = f"http://{SETTINGS.host}:{SETTINGS.port}"
FRAMES = """() => new Promise((done) => {
  const list = document.querySelector('.eb-ward-list');
  const took = [];
  let last = performance.now();
  const step = (now) => {
    took.push(now - last);
    last = now;
    list.scrollTop += 40;
    if (took.length < 120) requestAnimationFrame(step);
    else done(took.slice(5).sort((a, b) => a - b));
  };
  requestAnimationFrame(step);
})"""

# What the first row says whenever it is this patient's: asked as soon as the page is changed, before it is painted.
WATCH_TOP = """(patient) => {
  window.top90 = [];
  new MutationObserver(() => {
    const first = document.querySelector('.eb-wrow');
    if (first?.dataset.patient === patient) window.top90.push(first.textContent);
  }).observe(document.querySelector('.eb-ward-list'), {childList: true});
}"""


@pytest.fixture(scope="module")
def feed() -> Iterator[FakeWard]:
    feed = FakeWard(100)
    with serving(feed, SETTINGS):
        yield feed


@pytest.fixture(scope="module")
def page(feed: FakeWard, browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1600, "height": 900}, bypass_csp=True)  # axe is injected
    page = context.new_page()
    watch(page, URL)
    page.goto(URL)
    page.wait_for_selector(".eb-wrow >> nth=99", state="attached", timeout=60_000)
    yield page
    context.close()


def order(page: Any) -> list[str]:
    return [str(p) for p in page.evaluate("[...document.querySelectorAll('.eb-wrow')].map((r) => r.dataset.patient)")]


def test_all_patients_are_there_with_two_identifiers_and_their_bed(page: Any, feed: FakeWard) -> None:
    assert len(order(page)) == 100
    card = feed.clinic.cards["p-0001"]
    row = page.text_content('[data-patient="p-0001"]')
    for words in (card.pseudonym, card.number, str(card.birth_year), card.bed, "MEASURED", "Heart rate", "REPLAYED"):
        assert words in row
    assert "not a primary alarm system" in page.inner_text("#session-bar")


def test_who_needs_somebody_comes_to_the_top_and_says_why_in_stars_and_words(page: Any, feed: FakeWard) -> None:
    feed.clinic.raise_alarm("p-0050", "limit-low", "spo2_pct", 2, "SpO₂ 88 %, below 90 %")
    feed.clinic.raise_alarm("p-0070", "limit-high", "hr_bpm", 3, "Heart rate 156, above 150")
    feed.made["p-0030"] = {"hr_bpm": ("synthesised", 0.4)}
    until(page, "document.querySelectorAll('.eb-wrow')[2].dataset.patient === 'p-0030'")
    assert order(page)[:2] == ["p-0070", "p-0050"]
    text = page.text_content('[data-patient="p-0070"]')
    assert "***" in text and "HIGH" in text.upper() and "156" in text
    assert "SYNTH. 40" in page.text_content('[data-patient="p-0030"] .eb-wrow-vitals')
    feed.act("p-0070", "ack", {"alarm": "all"}, "somebody")
    until(page, "document.querySelector('.eb-wrow').dataset.patient === 'p-0050'")
    assert "acknowledged" in page.text_content('[data-patient="p-0070"]')


def test_a_row_from_out_of_sight_never_stands_at_the_top_without_its_alarm(page: Any, feed: FakeWard) -> None:
    page.evaluate(WATCH_TOP, "p-0090")
    feed.clinic.raise_alarm("p-0090", "limit-high", "hr_bpm", 3, "Heart rate 156, above 150")
    until(page, "document.querySelector('.eb-wrow').dataset.patient === 'p-0090'")
    seen = page.evaluate("window.top90")
    feed.act("p-0090", "ack", {"alarm": "all"}, "somebody")
    assert seen and all("***" in text for text in seen), seen


def test_an_engine_that_falls_silent_is_said_so_in_its_patients_row(page: Any, feed: FakeWard) -> None:
    feed.still.add("p-0020")
    until(page, "document.querySelector('[data-patient=\"p-0020\"]').dataset.live === 'false'")
    assert "Twin engine silent since" in page.text_content('[data-patient="p-0020"]')
    assert "NOT CURRENT" in page.text_content('[data-patient="p-0020"]')
    feed.still.clear()
    until(page, "document.querySelector('[data-patient=\"p-0020\"]').dataset.live === 'true'")


def test_a_hundred_patients_scroll_without_lag(page: Any) -> None:
    """The page's own work for a frame, in CPU time of its main thread: what a screen shows depends on the machine."""
    cdp = page.context.new_cdp_session(page)
    cdp.send("Performance.enable", {"timeDomain": "threadTicks"})

    def work_s() -> float:
        found = {m["name"]: m["value"] for m in cdp.send("Performance.getMetrics")["metrics"]}
        return float(found["TaskDuration"])

    before = work_s()
    took = page.evaluate(FRAMES)
    each_ms = 1000 * (work_s() - before) / 120
    middle, late = took[len(took) // 2], took[int(len(took) * 0.95)]
    print(f"scrolling 100 patients: {each_ms:.1f} ms of work a frame; frames median {middle:.1f} ms, p95 {late:.1f} ms")
    cdp.detach()
    assert each_ms < 16
    page.evaluate("document.querySelector('.eb-ward-list').scrollTop = 0")


def test_the_search_finds_and_the_order_by_bed_is_that_of_people(page: Any, feed: FakeWard) -> None:
    card = feed.clinic.cards["p-0033"]
    page.fill(".eb-search input", f"{card.number} {card.bed.lower()}")
    until(page, "document.querySelectorAll('.eb-wrow').length === 1")
    page.fill(".eb-search input", "nobody at all")
    until(page, "document.querySelector('.eb-ward-empty') !== null")
    page.click(".eb-ward-empty button")
    page.click(".eb-order button >> nth=1")
    until(page, "document.querySelector('.eb-wrow-bed').textContent === 'Bed 4'")
    beds = page.evaluate("[...document.querySelectorAll('.eb-wrow-bed')].map((b) => b.textContent)")
    assert beds == sorted(beds, key=lambda bed: int(bed.split()[1]))
    page.click(".eb-order button >> nth=0")


def test_the_keyboard_alone_reaches_a_room_and_comes_back_and_no_socket_is_left_behind(page: Any) -> None:
    sockets: list[Any] = []
    page.on("websocket", lambda ws: sockets.append(ws))
    page.evaluate("window.here = true")  # gone after a full load
    page.focus(".eb-search input")
    first = order(page)
    for _ in range(6):  # past the sound's button, where there is one, and the two of the order
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('.eb-wrow')?.dataset.patient") == first[0]:
            break
    page.keyboard.press("ArrowDown")
    until(page, f"document.activeElement.closest('.eb-wrow')?.dataset.patient === '{first[1]}'")
    page.keyboard.press("Enter")
    until(page, f"location.pathname === '/patient/{first[1]}' && document.querySelector('.eb-room') !== null")
    until(page, "document.querySelector('#session-bar').dataset.connected === 'true'", 30)
    until(page, "window.everbeatWard === null")
    page.go_back()
    until(page, "document.querySelectorAll('.eb-wrow').length === 100")
    page.go_forward()
    until(page, "document.querySelector('.eb-room') !== null")
    page.go_back()
    until(page, "document.querySelectorAll('.eb-wrow').length === 100")
    assert page.evaluate("window.here") is True
    deadline = time.monotonic() + 20  # a line that was closed before it stood is let go once it stands
    while len([ws for ws in sockets if not ws.is_closed()]) > 1 and time.monotonic() < deadline:
        page.wait_for_timeout(200)  # is_closed() is told by events, which only Playwright's own waits deliver
    assert [ws.url for ws in sockets if not ws.is_closed()] == [sockets[-1].url], "only the ward's"
    assert page.evaluate("window.everbeat ?? null") is None


def test_a_wrong_address_reached_inside_the_app_gets_the_helpful_page(page: Any) -> None:
    for path in ("/patient/nobody-here", "/nowhere"):
        page.evaluate(
            f"history.pushState({{}}, '', '{path}'); window.dispatchEvent(new CustomEvent('_dashprivate_pushstate'))"
        )
        until(page, "document.querySelector('.eb-notfound h1')?.innerText === 'There is no page here'")
    page.goto(URL)
    page.wait_for_selector(".eb-wrow >> nth=99", state="attached")


def test_axe_finds_nothing_on_the_ward(page: Any) -> None:
    assert violations(page) == []


def test_nothing_is_cut_at_the_side_at_any_width(page: Any) -> None:
    for path in ("/", "/patients"):
        page.goto(URL + path)
        page.wait_for_selector("#session-bar")
        for width in (1600, 1280, 820, 390):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
    page.set_viewport_size({"width": 1280, "height": 800})


# ---------------------------------------------------------------------------------------- patients and devices


def field(name: str, form: str = "") -> str:
    return f'[id*=\'"form":"{form}\'][id*=\'"name":"{name}"\']'


def open_panel(page: Any, patient: str, tab: str) -> None:
    page.goto(f"{URL}/patients")
    page.click(f'tr[data-patient="{patient}"] .eb-open')
    page.click(f'[role=tab]:has-text("{tab}")')


def test_axe_finds_nothing_on_the_tables_nor_in_any_form(page: Any) -> None:
    page.goto(f"{URL}/patients")
    page.wait_for_selector('tr[data-patient="p-0001"]')
    assert violations(page) == []
    page.click("#eb-admit")
    page.wait_for_selector(field("pseudonym", "admit"))
    page.click(".eb-send-admit")
    page.wait_for_selector(".mantine-InputWrapper-error")
    assert violations(page) == []
    for tab in ("Record", "Bed", "Devices", "Alarm limits", "Discharge"):
        open_panel(page, "p-0001", tab)
        page.wait_for_selector(".eb-send")
        time.sleep(0.5)
        assert violations(page) == [], tab


def test_a_patient_is_admitted_by_keyboard_and_is_on_the_ward_within_seconds(page: Any, feed: FakeWard) -> None:
    page.goto(f"{URL}/patients")
    page.wait_for_selector('tr[data-patient="p-0001"]')
    time.sleep(1)
    page.focus("#eb-admit")
    page.keyboard.press("Enter")
    page.wait_for_selector(field("pseudonym", "admit"))
    for name, value in (("number", "880123"), ("birth_year", "1951"), ("bed", "Bed 400")):
        page.focus(field(name, "admit"))
        page.keyboard.type(value)
    page.keyboard.press("Enter")
    page.wait_for_selector("#eb-note [data-outcome=done]", timeout=20_000)
    (card,) = [card for card in feed.clinic.cards.values() if card.number == "880123"]
    assert (card.birth_year, card.bed) == (1951, "Bed 400")
    page.goto(URL)
    until(page, f"document.querySelector('[data-patient=\"{card.id}\"]') !== null", 5)
    assert "NO DEVICE" in page.text_content(f'[data-patient="{card.id}"]')


def test_the_end_of_another_patients_number_stops_a_discharge(page: Any, feed: FakeWard) -> None:
    card, other = feed.clinic.cards["p-0010"], feed.clinic.cards["p-0011"]
    open_panel(page, card.id, "Discharge")
    header = page.inner_text(".mantine-Drawer-title")
    assert card.pseudonym in header and card.number in header and str(card.birth_year) in header
    page.fill(field("confirm", "discharge"), other.number[-4:])
    page.click(".eb-send-discharge")
    page.wait_for_selector(".mantine-InputWrapper-error")
    assert "Nothing was sent" in page.inner_text(".mantine-InputWrapper-error")
    assert feed.clinic.cards[card.id].present
    page.fill(field("confirm", "discharge"), card.number[-4:])
    page.click(".eb-send-discharge")
    page.wait_for_selector("#eb-note [data-outcome=done]", timeout=20_000)
    assert not feed.clinic.cards[card.id].present
    page.goto(URL)
    page.wait_for_selector(".eb-wrow >> nth=50", state="attached")
    assert card.id not in order(page)


def test_a_transfer_that_the_engine_refuses_says_why_and_the_next_one_is_done(page: Any, feed: FakeWard) -> None:
    card = feed.clinic.cards["p-0012"]
    open_panel(page, card.id, "Bed")
    page.fill(field("bed", "transfer"), feed.clinic.cards["p-0013"].bed)
    page.fill(field("confirm", "transfer"), card.number[-4:])
    page.click(".eb-send-transfer")
    page.wait_for_selector('.mantine-InputWrapper-error:has-text("is taken by")')
    feed.clinic.refuse = "expected a free bed, got one that is being cleaned; nothing changed"
    page.fill(field("bed", "transfer"), "Bed 300")
    page.click(".eb-send-transfer")
    page.wait_for_selector("#eb-panel-note [data-outcome=refused]", timeout=20_000)
    assert "being cleaned" in page.inner_text("#eb-panel-note")
    time.sleep(1.2)  # a refusal counts for acts of its own moment
    page.click(".eb-send-transfer")
    page.wait_for_selector("#eb-panel-note [data-outcome=done]", timeout=20_000)
    assert feed.clinic.cards[card.id].bed == "Bed 300"
    assert "Bed 300" in page.inner_text(".mantine-Drawer-title")


def test_what_is_typed_into_limits_at_once_is_not_drawn_over(page: Any) -> None:
    asked = '"inputs":[{"id":"eb-signal"'  # Dash asks for a select that was just drawn, too
    with page.expect_response(lambda answer: asked in (answer.request.post_data or "")) as answer:
        open_panel(page, "p-0016", "Alarm limits")
        page.fill(field("high", "limits"), "30")
    assert "children" not in answer.value.text(), "nothing to draw: the form is there"
    assert page.input_value(field("high", "limits")) == "30"


def test_limits_are_set_for_one_patient_and_set_back(page: Any, feed: FakeWard) -> None:
    open_panel(page, "p-0014", "Alarm limits")
    page.fill(field("high", "limits"), "30")
    page.click(".eb-send-limits")
    page.wait_for_selector('.mantine-InputWrapper-error:has-text("rise")')
    page.fill(field("high", "limits"), "110,5")
    page.click(".eb-send-limits")
    page.wait_for_selector("#eb-panel-note [data-outcome=done]", timeout=20_000)
    assert feed.clinic.cards["p-0014"].limits["hr_bpm"].high == 110.5
    page.click(".eb-send-reset")
    until(page, "document.querySelector('.eb-send-reset')?.disabled === true")
    assert dict(feed.clinic.cards["p-0014"].limits) == {}


def test_a_device_is_exchanged_only_for_the_patient_whose_number_was_typed(page: Any, feed: FakeWard) -> None:
    card = feed.clinic.cards["p-0015"]
    open_panel(page, card.id, "Devices")
    page.fill(field("new", "exchange"), "esp32-777")
    page.click(".eb-send-exchange")
    page.wait_for_selector(".mantine-InputWrapper-error")
    assert feed.clinic.cards[card.id].device == "esp32-015"
    page.fill(field("confirm", "exchange"), card.number[-4:])
    page.click(".eb-send-exchange")
    page.wait_for_selector("#eb-panel-note [data-outcome=done]", timeout=20_000)
    assert feed.clinic.cards[card.id].device == "esp32-777"


def test_when_the_line_is_down_the_whole_board_says_so_and_every_row_what_was_last_known(
    page: Any, feed: FakeWard
) -> None:
    page.goto(URL)
    page.wait_for_selector(".eb-wrow >> nth=50", state="attached")
    feed.clinic.raise_alarm("p-0002", "limit-high", "hr_bpm", 3, "Heart rate 156, above 150")
    until(page, 'document.querySelector(\'[data-patient="p-0002"] [data-fresh="true"]\') !== null')
    page.context.set_offline(True)
    page.evaluate("window.everbeatWard.socket.io.engine.close()")
    until(page, "document.querySelector('#ward').dataset.line === 'down'")
    assert "Nothing on this page is current" in page.inner_text(".eb-ward-stop")
    assert page.text_content('[data-patient="p-0001"] .eb-wrow-sure').strip() == "NOT CURRENT"
    assert page.text_content('[data-patient="p-0001"] .eb-wrow-state').strip() == "Not current; last known: no alarm"
    assert "not current, last known" in page.text_content('[data-patient="p-0002"] .eb-wrow-state')
    assert page.query_selector('.eb-wrow [data-fresh="true"]') is None, "nothing flashes"
    assert page.evaluate("getComputedStyle(document.querySelector('.eb-ward-stop')).position") == "sticky"
    page.context.set_offline(False)
    until(page, "document.querySelector('#ward').dataset.line === 'live'", 20)


def test_through_all_of_this_no_error_and_nothing_fetched_from_elsewhere(page: Any) -> None:
    lost = ("ERR_INTERNET_DISCONNECTED", "WebSocket connection", "Failed to fetch")  # the line that was cut on purpose
    assert [line for line in page.trouble if not any(word in line for word in lost)] == []
