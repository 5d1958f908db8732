"""The shield by each trace in a real browser: what it says, what it opens, and what a person takes away.

One page lives through the whole file, in the order of the tests; axe needs a context without the page's policy.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from everbeat.cli import app as commands
from tests.fake_feed import CARD, FakeFeed
from tests.web_kit import serving, until, violations, watch
from web.settings import WebSettings

pytestmark = pytest.mark.browser

SETTINGS = WebSettings(host="127.0.1.85", port=8585, block_ms=100, silent_after_s=5.0)
URL = f"http://{SETTINGS.host}:{SETTINGS.port}"
SHIELD, PROOF = '[data-row="gsr_uS"] .eb-shield', ".eb-proof"
ALL = "[...document.querySelectorAll('.eb-shield')]"
ALARM = {
    "since_ms": 1_700_000_000_000, "broken": True,
    "findings": [{"kind": "leaf-changed", "where": "leaf 7", "detail": "another hash than the one that was signed"}],
}  # fmt: skip


@pytest.fixture(scope="module")
def feed() -> Iterator[FakeFeed]:
    feed = FakeFeed(past_s=60.0)
    with serving(feed, SETTINGS):
        yield feed


@pytest.fixture(scope="module")
def page(feed: FakeFeed, browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1600, "height": 900}, bypass_csp=True, accept_downloads=True)
    page = context.new_page()
    watch(page, URL)
    page.goto(f"{URL}/patient/{CARD.id}")
    page.wait_for_selector('.eb-waves[data-moving="true"]', timeout=60_000)
    yield page
    context.close()


def text(page: Any, selector: str) -> str:
    return str(page.evaluate("(s) => document.querySelector(s).innerText", selector))


def test_every_trace_has_a_shield_that_says_up_to_when_the_record_is_verified(page: Any) -> None:
    until(page, f"{ALL}.length > 5 && {ALL}.every((one) => one.dataset.shield === 'verified')", 20)
    assert page.evaluate(f"{ALL}.length === document.querySelectorAll('.eb-row').length")
    assert page.evaluate(f"{ALL}.every((one) => /\\d\\d:\\d\\d:\\d\\d/.test(one.innerText))")
    sizes = page.evaluate(
        f"{ALL}.map((one) => one.getBoundingClientRect()).map((box) => Math.min(box.width, box.height))"
    )
    assert min(sizes) >= 24
    label = page.get_attribute(SHIELD, "aria-label")
    assert "verified up to" in label and text(page, SHIELD) in label


def test_it_opens_by_keyboard_and_shows_the_hashes_and_escape_gives_the_focus_back(page: Any, feed: FakeFeed) -> None:
    page.focus(SHIELD)
    page.keyboard.press("Enter")
    until(page, f"document.querySelectorAll('{PROOF} tbody tr').length === 8")
    said = text(page, PROOF)
    for words in (
        "verified up to",
        "everbeat.test/4f2a/s0",
        "witness.test/w1",
        "Last complete comparison",
        "Estimates",
    ):
        assert words in said
    index = int(text(page, f"{PROOF} tbody tr td:nth-child(4)"))
    assert text(page, f"{PROOF} .eb-hash span")[:10] == feed.logs.entries[index].ciphertext_hash.hex()[:10]
    page.focus(f"{PROOF} .eb-hash")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    full = page.evaluate("getComputedStyle(document.querySelector('.eb-hash i')).display")
    assert full == "block" and len(text(page, ".eb-hash i")) == 64
    assert violations(page, PROOF) == []
    page.keyboard.press("Escape")
    until(page, f"!document.querySelector('{PROOF}')")
    assert page.evaluate(f"document.activeElement === document.querySelector('{SHIELD}')")


def test_the_proof_of_what_is_on_the_screen_is_downloaded_and_an_auditor_verifies_it(
    page: Any, feed: FakeFeed, tmp_path: Path
) -> None:
    page.click(SHIELD)
    page.wait_for_selector(f"{PROOF} .eb-proof-take")
    time.sleep(0.5)
    with page.expect_download() as waiting:
        page.click(f"{PROOF} .eb-proof-take")
    file = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(file)
    assert file.name.startswith(f"everbeat-{CARD.pseudonym}-") and file.name.endswith(".proof.json")
    done = CliRunner().invoke(
        commands, ["verify", "--proof", str(file), "--log-key", feed.logs.verifier], env={"COLUMNS": "300"}
    )
    assert done.exit_code == 0 and "PROVEN" in done.output, done.output
    until(page, f"document.querySelector('{PROOF}').innerText.includes({file.name!r})")
    page.click(f"{PROOF} .eb-close")


def test_without_a_fresh_look_of_a_notary_nothing_is_called_verified(page: Any, feed: FakeFeed) -> None:
    feed.logs.stopped_ms = int(time.time() * 1000) - 120_000
    until(page, f"{ALL}.every((one) => one.dataset.shield === 'waiting' && one.innerText === 'not verified')")
    assert "more than a minute" in page.get_attribute(SHIELD, "aria-label")
    feed.logs.stopped_ms = None
    feed.logs.never = True
    until(page, f"document.querySelector('{SHIELD}').ariaLabel.includes('no notary')")
    feed.logs.never = False
    until(page, f"{ALL}.every((one) => one.dataset.shield === 'verified')")


def test_a_log_that_was_changed_is_said_over_the_traces_with_what_to_do(page: Any, feed: FakeFeed) -> None:
    feed.logs.alarm = ALARM
    until(page, "!!document.querySelector('.eb-shield-alarm [role=alert]')")
    assert page.evaluate(f"{ALL}.every((one) => one.dataset.shield === 'alarm' && one.innerText === 'LOG ALARM')")
    banner = text(page, ".eb-shield-alarm")
    assert "altered in storage" in banner and "Call the security officer" in banner
    page.click(".eb-shield-alarm button")
    until(page, f"document.querySelector('{PROOF}')?.innerText.includes('leaf 7')")
    assert violations(page, "#waves") == []
    page.keyboard.press("Escape")
    feed.logs.alarm = None
    until(page, "!document.querySelector('.eb-shield-alarm')")


def test_nothing_went_wrong_on_the_way(page: Any) -> None:
    assert violations(page, "#waves") == []
    assert page.trouble == []
