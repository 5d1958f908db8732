"""The trace monitor in a real browser, on a feed without engine: what its pixels, cursors, gains and snapshots say.

One page lives through the whole file, in the order of the tests.
"""

from __future__ import annotations

import json
import re
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fake_feed import CARD, FakeFeed
from tests.web_kit import serving, until, wait_until, watch
from web.settings import WebSettings

pytestmark = pytest.mark.browser

SETTINGS = WebSettings(host="127.0.1.80", port=8641, block_ms=100, silent_after_s=2.0)
URL = f"http://{SETTINGS.host}:{SETTINGS.port}"
EMG, RAW, GSR = "emg_activity_mV.zyg", "emg_raw_mV.zyg", "gsr_uS"
STAGE = ".eb-wave-stage"
PX_PER_S = 25 * 96 / 25.4
MS_PER_PX = 1000 / PX_PER_S
# The share of columns of a row, from x0 to x1 (css px), that hold its line: pixels near the channel's full colour.
LINE_SHARE = """([id, x0, x1]) => {
  const canvas = document.querySelector('.eb-sweep');
  const ratio = canvas.width / canvas.clientWidth;
  const row = document.querySelector(`[data-row="${id}"]`);
  const [box, stage] = [row.getBoundingClientRect(), canvas.getBoundingClientRect()];
  const hex = getComputedStyle(row).getPropertyValue('--data').trim();
  const want = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const [left, width] = [Math.round(x0 * ratio), Math.round((x1 - x0) * ratio)];
  const [top, height] = [Math.round((box.top - stage.top + 1) * ratio), Math.round((box.height - 1) * ratio)];
  const d = canvas.getContext('2d').getImageData(left, top, width, height).data;
  let columns = 0;
  for (let x = 0; x < width; x += 1) {
    for (let y = 0; y < height; y += 1) {
      const at = 4 * (y * width + x);
      if (want.every((c, k) => Math.abs(d[at + k] - c) < 70)) { columns += 1; break; }
    }
  }
  return columns / width;
}"""
# [from, to] (Unix s) of the newest run of samples of one provenance, of at least 20 samples; null where there is none.
RUN_OF = """([id, kind]) => {
  const s = window.everbeat.series.get(id);
  let to = s.n - 1;
  while (to >= 0 && (s.provenance[to] & 15) !== kind) to -= 1;
  let from = to;
  while (from > 0 && (s.provenance[from - 1] & 15) === kind && s.t[from] - s.t[from - 1] < 0.05) from -= 1;
  return to - from < 20 ? null : [s.t[from], s.t[to]];
}"""
HOLE = """(id) => {
  const s = window.everbeat.series.get(id);
  for (let i = s.n - 1; i > 0; i -= 1) if (s.t[i] - s.t[i - 1] > 1) return [s.t[i - 1], s.t[i]];
  return null;
}"""
# [view time (Unix s), css px of the cursor of the waves (-1: not seen), css px across]
CURSOR = """(() => {
  const c = document.querySelector('.eb-sweep');
  const d = c.getContext('2d').getImageData(0, 30, c.width, 1).data;
  const width = c.clientWidth;
  let at = -1;
  for (let x = 0; x < c.width && at < 0; x += 1) {
    if (d[4 * x] === 0x4a && d[4 * x + 1] === 0x6a) at = x * width / c.width;
  }
  return [window.everbeat.frame().t, at, width];
})()"""
HATCHED = LINE_SHARE.replace("Math.abs(d[at + k] - c) < 70", "d[at + k] > [25, 40, 50][k]")
# React's work comes by a message; late, as on a busy machine.
LATE_WORDS = """(() => {
  const post = MessagePort.prototype.postMessage;
  MessagePort.prototype.postMessage = function (...rest) { setTimeout(() => post.apply(this, rest), 400); };
})()"""
PICTURE = "document.querySelector('.eb-sweep').toDataURL()"


@pytest.fixture(scope="module")
def feed() -> Iterator[FakeFeed]:
    feed = FakeFeed(decay_s=90.0, past_s=60.0)
    with serving(feed, SETTINGS):
        yield feed


@pytest.fixture(scope="module")
def page(feed: FakeFeed, browser: Any) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1600, "height": 900}, accept_downloads=True)
    watch(page, URL)
    page.goto(f"{URL}/patient/{CARD.id}")
    page.wait_for_selector('.eb-waves[data-moving="true"]', timeout=60_000)
    yield page
    page.close()


@pytest.fixture(autouse=True)
def running(page: Any) -> Iterator[None]:
    """Every test begins and ends with a picture that runs, without cursors."""
    yield
    freeze(page, False)
    page.focus(STAGE)
    page.keyboard.press("Escape")


def freeze(page: Any, on: bool) -> float:
    """Freeze or run by the keyboard; returns the time of the frozen picture's right edge, Unix s."""
    page.focus(STAGE)
    if page.get_attribute("#waves", "data-frozen") != str(on).lower():
        page.keyboard.press("Space")
    page.wait_for_selector(f'#waves[data-frozen="{str(on).lower()}"]')
    time.sleep(0.3)
    return float(page.get_attribute("#waves", "data-at") or "nan")


def line_share(page: Any, channel: str, at: float, from_s: float, to_s: float) -> float:
    """The share of a frozen picture's columns between two times of the fast band that hold the channel's line."""
    width = page.evaluate("document.querySelector('.eb-sweep').clientWidth")
    x0, x1 = (width - (at - t) * PX_PER_S for t in (from_s, to_s))
    x0, x1 = max(0.0, x0 + 3), min(width, x1 - 3)
    assert x1 - x0 > 20, "the stretch is not in the picture"
    return float(page.evaluate(LINE_SHARE, [channel, x0, x1]))


def run_in_sight(page: Any, channel: str, kind: int, within_s: float) -> tuple[float, float]:
    """Wait until the newest run of a provenance lies well inside the picture; (from, to) Unix s."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = page.evaluate(RUN_OF, [channel, kind])
        if found and page.evaluate("window.everbeat.view.t") > found[0] + within_s:
            return found[0], min(found[1], page.evaluate("window.everbeat.view.t"))
        time.sleep(0.1)
    raise AssertionError(f"no run of provenance {kind} on {channel}")


def test_both_bands_say_how_fast_they_are_and_that_it_is_nominal(page: Any) -> None:
    paces = page.eval_on_selector_all(".eb-row-pace", "(nodes) => nodes.map((n) => n.textContent)")
    assert paces == ["25 mm/s · 1 s a line", "2.5 mm/s · 10 s a line"]
    assert "96 dpi" in page.inner_text(".eb-wave-nominal")
    assert page.get_attribute(f'[data-row="{GSR}"]', "data-band") == "slow"


def test_the_cursor_of_the_waves_runs_at_the_speed_it_names(page: Any) -> None:
    page.select_option(".eb-wave-speed", "50")
    assert page.inner_text(".eb-row-pace").startswith("50 mm/s")
    page.select_option(".eb-wave-speed", "25")
    near = 0
    for _ in range(8):
        view, cursor, width = page.evaluate(CURSOR)
        due = view * PX_PER_S % width
        near += (
            cursor >= 0 and min(abs(due - cursor), width - abs(due - cursor)) < 40
        )  # a late frame is behind by as much
        time.sleep(0.7)
    assert near >= 4, f"{near} of 8 looks found the cursor where its speed says"


def test_a_measured_line_is_solid(page: Any) -> None:
    at = freeze(page, True)
    assert line_share(page, EMG, at, at - 4, at) > 0.99


def test_a_frozen_picture_stands_and_says_so_while_the_numbers_go_on(page: Any) -> None:
    at = freeze(page, True)
    assert re.fullmatch(r"FROZEN \d\d:\d\d:\d\d", page.inner_text(".eb-frozen"))
    picture, number = page.evaluate(PICTURE), page.inner_text(f'[data-row="{RAW}"] .eb-row-value')
    time.sleep(2)
    assert page.evaluate(PICTURE) == picture
    assert page.inner_text(f'[data-row="{RAW}"] .eb-row-value') != number
    assert page.evaluate("window.everbeat.view.t") > at + 1.5
    assert freeze(page, False) != at
    until(page, f"document.querySelector('.eb-frozen').textContent === '' && {PICTURE} !== ''", 20)


def test_a_synthesised_line_is_dashed_within_its_ribbons(page: Any, feed: FakeFeed) -> None:
    feed.unplugged.add(EMG)
    start, _ = run_in_sight(page, EMG, 1, 3.0)
    at = freeze(page, True)
    share = line_share(page, EMG, at, start, at)
    assert 0.5 < share < 0.8, share  # 9 of 14 px
    assert line_share(page, "emg_activity_mV.corr", at, at - 3, at) > 0.99
    colours = page.evaluate(LINE_SHARE.replace("< 70", "< 200"), [EMG, 300, 480])
    assert colours == 1.0, "no ribbon between the dashes"


def test_calipers_on_made_values_say_that_they_are_made_and_how_sure(page: Any) -> None:
    page.keyboard.press("c")
    line = page.inner_text(".eb-calipers")
    assert re.search(r"B \S+ µV SYNTHESISED \d+\s%", line), line
    assert re.search(r"Δ [+−]?\S+ µV \(SYNTHESISED \d+\s%\)", line), line


def test_calipers_move_by_keyboard_one_pixel_and_measure_its_time(page: Any) -> None:
    freeze(page, True)
    page.keyboard.press("c")

    def shown() -> float:
        return float(re.search(r"Δt ([\d\u202f]+) ms", page.inner_text(".eb-calipers"))[1].replace("\u202f", ""))  # type: ignore[index]

    first = shown()
    page.keyboard.press("Shift+ArrowLeft")
    assert abs(shown() - first - 10 * MS_PER_PX) <= 1
    page.keyboard.press("x")
    page.keyboard.press("ArrowLeft")
    assert abs(shown() - first - 9 * MS_PER_PX) <= 1
    rate = float(re.search(r"([\d.]+) /min", page.inner_text(".eb-calipers"))[1])  # type: ignore[index]
    assert abs(rate - 60_000 / shown()) < 0.1
    assert "Δt" in page.inner_text(".eb-waves .eb-said")


def test_a_pointer_drags_the_nearest_caliper(page: Any) -> None:
    freeze(page, True)
    page.keyboard.press("c")
    box = page.locator(".eb-sweep").bounding_box()
    b = page.locator('[data-cursor="b"][data-band="fast"]').bounding_box()
    page.mouse.move(b["x"] + 2, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(b["x"] + 52, box["y"] + 60)
    page.mouse.up()
    assert abs(page.locator('[data-cursor="b"][data-band="fast"]').bounding_box()["x"] - b["x"] - 52) < 3


def test_the_tooltip_says_time_value_range_and_provenance_as_the_tile_does(page: Any) -> None:
    page.wait_for_selector(f'[data-row="{EMG}"][data-provenance="synthesised"]', timeout=30_000)
    freeze(page, True)
    page.keyboard.press("ArrowLeft")
    texts = page.eval_on_selector_all(".eb-tip > *", "(nodes) => nodes.map((n) => n.textContent)")
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}", texts[0])
    assert re.fullmatch(r"\S+ µV SYNTHESISED", texts[1]) and texts[2].startswith("90 %: ") and "confidence" in texts[3]
    assert texts[1] in page.inner_text(".eb-waves .eb-said")


def test_a_withheld_stretch_is_hatched_and_has_no_line(page: Any, feed: FakeFeed) -> None:
    feed.unplugged.add(EMG)
    feed.decay_s = 4.0
    page.wait_for_selector(f'[data-row="{EMG}"][data-provenance="withheld"]', timeout=60_000)
    run_in_sight(page, EMG, 4, 5.0)
    at = freeze(page, True)
    assert line_share(page, EMG, at, at - 2.5, at) < 0.02  # past its words
    hatched = page.evaluate(HATCHED, [EMG, 250, 480])
    assert hatched > 0.95


def test_a_distrusted_reading_is_a_ghost_behind_the_estimate(page: Any, feed: FakeFeed) -> None:
    feed.unplugged.clear()
    feed.distrusted.add("emg_activity_mV.corr")
    start, _ = run_in_sight(page, "emg_activity_mV.corr", 3, 3.0)
    at = freeze(page, True)
    assert 0.4 < line_share(page, "emg_activity_mV.corr", at, start, at) < 0.85  # the estimate, dashed, in its colour
    amber = LINE_SHARE.replace("parseInt(hex.slice(i, i + 2), 16)", "({1: 255, 3: 176, 5: 0})[i]")
    assert page.evaluate(amber, ["emg_activity_mV.corr", 250, 480]) > 0.15
    feed.distrusted.clear()


def test_a_hole_is_never_bridged(page: Any, feed: FakeFeed) -> None:
    feed.frozen = True
    time.sleep(3.5)
    feed.thaw()
    until(page, f"({HOLE})('{RAW}') && window.everbeat.view.t > ({HOLE})('{RAW}')[1] + 0.6", 40)
    start, end = page.evaluate(HOLE, RAW)
    at = freeze(page, True)
    left = max(start, at - page.evaluate("document.querySelector('.eb-sweep').clientWidth") / PX_PER_S)
    assert line_share(page, RAW, at, left, end) == 0.0
    assert line_share(page, RAW, at, end, at) > 0.9


def test_traces_are_drawn_also_where_the_words_beside_them_come_after_the_next_frame(
    feed: FakeFeed, browser: Any
) -> None:
    slow = browser.new_page(viewport={"width": 1600, "height": 900})
    slow.add_init_script(LATE_WORDS)
    slow.goto(f"{URL}/patient/{CARD.id}")
    slow.wait_for_selector(f'[data-row="{EMG}"][data-provenance]', timeout=60_000, state="attached")
    wait_until(slow.locator(f'[data-row="{EMG}"] .eb-tick-high').text_content, timeout_s=20, what="a scale")
    slow.close()


def test_a_gain_is_kept_for_the_session_and_a_new_patient_has_her_own(page: Any) -> None:
    tick, gain = page.locator(f'[data-row="{EMG}"] .eb-tick-high'), page.locator(f'[data-row="{EMG}"] .eb-row-gain')
    wait_until(tick.text_content, timeout_s=20, what="a range to hold")  # a page that has just begun has none
    gain.select_option("2")
    high = tick.inner_text().split()[-1]
    page.reload()
    page.wait_for_selector('.eb-waves[data-moving="true"]', timeout=60_000)
    wait_until(gain.input_value, lambda value: value == "2", 20)
    wait_until(tick.inner_text, lambda text: text.split()[-1:] == [high], 40, f"{high} at the top")
    assert page.evaluate("Object.keys(sessionStorage)") == [f"everbeat.gains.{CARD.id}"]
    gain.select_option("auto")


def test_a_snapshot_is_a_png_that_says_whose_it_is_and_what_was_measured(page: Any, tmp_path: Path) -> None:
    at = freeze(page, True)
    with page.expect_download() as download:
        page.click(".eb-wave-snapshot")
    name = download.value.suggested_filename
    assert re.fullmatch(r"KESTREL-17_\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ\.png", name)
    download.value.save_as(tmp_path / name)
    raw = (tmp_path / name).read_bytes()
    width, height = struct.unpack(">II", raw[16:24])
    size = page.evaluate(
        "(() => { const c = document.querySelector('.eb-sweep'); return [c.clientWidth, c.clientHeight]; })()"
    )
    assert width == 2 * (size[0] + 256) and height == 2 * (size[1] + 130)
    length = struct.unpack(">I", raw[33:37])[0]
    assert raw[37:41] == b"iTXt"
    stamp = json.loads(raw[41 : 41 + length].split(b"\0\0\0\0\0", 1)[1])
    assert stamp["patient"] == {"pseudonym": "KESTREL-17", "number": CARD.id, "birth_year": 1968, "bed": "Bed 4"}
    assert stamp["frozen"] is True and "not a primary alarm system" in stamp["notice"]
    assert abs(time.mktime(time.strptime(stamp["to_utc"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone - at) < 2
    assert len(stamp["rows"]) == 7 and all(abs(sum(row["parts"].values()) - 1) < 1e-6 for row in stamp["rows"])
    assert name in page.inner_text(".eb-waves .eb-said")


def test_the_read_out_names_every_channel_with_value_and_provenance(page: Any) -> None:
    page.click(".eb-wave-read")
    lines = page.inner_text(".eb-waves .eb-said").splitlines()
    rows = [line for line in lines if ": " in line and not line.startswith("At ")]
    assert len(rows) == 7 and all(re.search(r"[A-Z]{6,}|NO DATA", row) for row in rows), lines


def test_every_control_of_the_traces_is_at_least_24_px_and_has_a_name(page: Any) -> None:
    for node in page.query_selector_all(".eb-waves button, .eb-waves select"):
        box = node.bounding_box()
        assert box["width"] >= 24 and box["height"] >= 24, node.inner_text()
        assert node.get_attribute("aria-label") or node.inner_text()


def test_through_all_of_this_the_page_made_no_error(page: Any) -> None:
    assert page.trouble == []
