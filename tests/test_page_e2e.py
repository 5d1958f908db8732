"""The page as a person sees it, on the real demo: unplug, synthesised and ever less sure, plug in, revised, tamper."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from everbeat.patients import card_of
from tests.demo_kit import PROJECT, Demo, running_demo
from tests.web_kit import wait_until, watch

pytestmark = [pytest.mark.e2e, pytest.mark.browser]

EMG, GSR = "emg_activity_mV.zyg", "gsr_uS"
RECORDING = PROJECT.parent / "shared" / "data" / "emg_gsr" / "subj09.csv.gz"
CARD = card_of(RECORDING if RECORDING.exists() else None)
ROOM = f"patient/{CARD.id}"


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    source = ("--replay", str(RECORDING)) if RECORDING.exists() else ()
    with running_demo("127.0.4.1", *source) as running:
        running.wait_until_up()
        yield running


@pytest.fixture(scope="module")
def page(demo: Demo, browser: Any) -> Iterator[Any]:
    made = browser.new_page(viewport={"width": 1600, "height": 900})
    watch(made, demo.url)
    made.goto(demo.url + ROOM)
    yield made
    made.close()


def tile(page: Any, channel: str) -> dict[str, str]:
    """What a tile says of its channel."""
    found: dict[str, str] = page.locator(f'[data-tile="{channel}"]').evaluate(
        "e => ({...e.dataset, text: e.innerText})"
    )
    return found


def wait_for_provenance(page: Any, channel: str, provenance: str, timeout_s: float = 30) -> None:
    page.wait_for_selector(f'[data-tile="{channel}"][data-provenance="{provenance}"]', timeout=timeout_s * 1000)


def wait_for_text(page: Any, selector: str, pattern: str, there: bool = True, timeout_s: float = 40) -> str:
    """Until an element's text does (or does not) match; by polling, for the page's policy forbids eval."""
    matches = re.compile(pattern, re.IGNORECASE).search
    what = f"{'' if there else 'no '}{pattern!r} in {selector}"
    said = wait_until(page.locator(selector).inner_text, lambda text: bool(matches(text)) == there, timeout_s, what)
    return str(said)


def test_the_body_stands_there_and_measured_data_arrives(page: Any, demo: Demo) -> None:
    wait_for_provenance(page, EMG, "measured", 60)
    wait_for_provenance(page, GSR, "measured")
    assert page.locator("#twin canvas").count() >= 1
    assert not page.locator("#twin .eb-fallback").count()
    first = tile(page, GSR)
    assert "MEASURED" in first["text"]
    bar = page.locator("#session-bar")
    assert bar.get_attribute("data-connected") == "true"
    said = bar.inner_text()
    assert CARD.pseudonym in said and CARD.number in said
    assert ("REPLAYED RECORDING" if RECORDING.exists() else "SIMULATED PATIENT") in said
    assert "not a primary alarm system" in said


def test_unplugging_emg_makes_it_synthesised_and_ever_less_sure(page: Any) -> None:
    page.click("#btn-emg")
    wait_for_provenance(page, EMG, "synthesised")
    assert "SYNTHESISED" in tile(page, EMG)["text"]
    sure = [float(tile(page, EMG)["confidence"])]
    for _ in range(3):
        time.sleep(4)
        sure.append(float(tile(page, EMG)["confidence"]))
    assert sure[-1] < sure[0] < 1.0
    assert sure == sorted(sure, reverse=True)
    assert tile(page, GSR)["provenance"] == "measured", "the other sensors go on"
    assert "silent" in page.locator("#alarm-bar").inner_text().lower()


def test_plugging_it_in_brings_measured_values_back_and_revises_the_gap(page: Any) -> None:
    page.click("#btn-emg")
    wait_for_provenance(page, EMG, "measured")
    wait_for_text(page, "#events", "revised")


def test_a_forged_message_is_refused_and_the_page_says_why(page: Any) -> None:
    page.click("#btn-tamper")
    wait_for_text(page, "#events", "forged")
    assert "seal does not match" in page.locator("#events").inner_text()
    assert tile(page, GSR)["provenance"] == "measured", "the true message still counts"


def test_no_page_asks_anybody_else_for_anything_or_logs_an_error_of_its_own(page: Any, demo: Demo) -> None:
    for path, ready in (
        ("", ".eb-wrow"),
        (f"{ROOM}/replay", ".u-wrap"),
        ("patients", "table"),
        ("downtime", "h1"),
        (ROOM, f'[data-tile="{GSR}"][data-live="true"]'),
    ):
        page.goto(demo.url + path)
        page.wait_for_selector(ready, timeout=60_000)
        time.sleep(2)
    assert page.trouble == []


@pytest.mark.parametrize("victim", ["web", "engine"])
def test_when_a_process_is_killed_the_page_comes_back_by_itself(page: Any, demo: Demo, victim: str) -> None:
    demo.kill(victim)
    wait_for_text(page, "#session-bar", r"\blive\b", there=False)
    wait_for_text(page, "#session-bar", r"\blive\b")
    wait_for_provenance(page, GSR, "measured")


def test_pictures_of_it_can_be_kept(page: Any, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    page.screenshot(path=picture)
    assert picture.stat().st_size > 100_000, "a page with a body, traces and tiles is not a small picture"
