"""Makes docs/screenshots: every page in its states, at three sizes, from a running demo on real recordings.

Start the demo on a state of its own, which can be thrown away (accounts are added, and its log is tampered with at the
end), then run this beside it with the same EVERBEAT_STATE:

    export EVERBEAT_STATE=/tmp/eb-shots
    everbeat demo --port 8060 --patients 8 --replay ../shared/data/emg_gsr/subj09.csv.gz \
        --replay ../shared/data/vitals_1hz
    python -m scripts.screenshots http://127.0.0.1:8060

Its engines are stopped for a moment (found by command line and state), to show what a clinician sees then.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import sync_playwright

from scripts import people_shots

OUT = Path(__file__).resolve().parents[1] / "docs" / "screenshots"
SIZES = {"1600x900": (1600, 900), "1280x720": (1280, 720), "tablet": (820, 1180)}
PATIENCE_MS = 240_000  # a busy machine draws slowly
ARGS = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]


def main() -> None:
    """Walk through the pages as a clinician would."""
    base = sys.argv[1]
    OUT.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGS)
        page = chromium.new_context(viewport={"width": 1600, "height": 900}).new_page()
        page.goto(base + "/")
        page.wait_for_selector(".eb-wrow")
        time.sleep(5)
        shots(page, "ward")
        emg = page.locator('a[href*="subj09"]').first.get_attribute("href")
        page.goto(f"{base}{emg}")
        page.wait_for_selector('[data-tile][data-live="true"]', timeout=PATIENCE_MS)
        page.click(".eb-sound")  # arms it
        time.sleep(8)
        shots(page, "room")
        people_shots.shield(page, shots)
        room_states(page)
        page.goto(f"{base}{emg}/replay")
        page.wait_for_selector(".u-wrap", timeout=PATIENCE_MS)
        time.sleep(4)
        page.keyboard.press("Shift+G")
        time.sleep(3)
        shots(page, "replay")
        page.goto(base + "/patients")
        time.sleep(3)
        shots(page, "patients")
        page.goto(base + "/downtime")
        shots(page, "downtime")
        page.goto(base + "/nowhere")
        shots(page, "wrong-address")
        page.goto(f"{base}/language/de?next={emg}")
        page.wait_for_selector('[data-tile][data-live="true"]', timeout=PATIENCE_MS)
        time.sleep(6)
        shots(page, "room-german")
        engines = own_engines()
        page.goto(f"{base}/language/en?next={emg}")
        page.wait_for_selector('[data-tile][data-live="true"]', timeout=PATIENCE_MS)
        for process in engines:
            process.suspend()
        time.sleep(8)
        shots(page, "room-engine-silent")
        page.goto(base + "/")
        time.sleep(6)
        shots(page, "ward-engine-silent")
        for process in engines:
            process.resume()
        own = str(emg).removeprefix("/patient/")
        people_shots.people(page, base, own, another(page, own), shots)
        chromium.close()


def own_engines() -> list[psutil.Process]:
    """The engines of the demo on this state, and nobody else's."""
    state = os.environ["EVERBEAT_STATE"]
    found = [p for p in psutil.process_iter(["cmdline"]) if "engine" in (p.info["cmdline"] or [])]
    return [p for p in found if p.environ().get("EVERBEAT_STATE") == state]


def another(page: Any, own: str) -> tuple[str, str]:
    """(id, record number) of a patient who is not `own`, as the ward shows them."""
    page.wait_for_selector(".eb-wrow >> nth=1")
    found = page.evaluate("[...document.querySelectorAll('.eb-wrow')].map((r) => [r.dataset.patient, r.innerText])")
    patient, text = next((patient, text) for patient, text in found if patient != own)
    return patient, re.search(r"No\. (\S+)", text)[1]


def room_states(page: Any) -> None:
    """What happens to a sensor that is unplugged, and what one can do with the traces and the body."""
    page.click("#btn-emg")
    page.wait_for_selector('[data-tile="emg_activity_mV.zyg"][data-provenance="synthesised"]', timeout=PATIENCE_MS)
    time.sleep(2)
    shots(page, "room-synthesised")
    page.keyboard.press("a")
    time.sleep(1)
    shots(page, "room-alarms")
    page.keyboard.press("a")
    page.click(".eb-wave-freeze")
    page.click(".eb-wave-calipers")
    time.sleep(1)
    shots(page, "room-frozen")
    page.click(".eb-wave-freeze")
    page.click(".eb-wave-calipers")
    page.locator(".eb-note").first.click()
    time.sleep(2)
    shots(page, "room-picked")
    page.keyboard.press("Escape")
    page.click("#btn-emg")
    page.wait_for_selector('[data-tile="emg_activity_mV.zyg"][data-provenance="measured"]', timeout=PATIENCE_MS)
    time.sleep(6)
    shots(page, "room-revised")


def shots(page: Any, name: str) -> None:
    """One state at all sizes."""
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        time.sleep(1.2)
        page.screenshot(path=OUT / f"{name}-{size}.png")
    page.set_viewport_size({"width": 1600, "height": 900})


if __name__ == "__main__":
    main()
