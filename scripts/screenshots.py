"""Makes docs/screenshots: every page in its states, at three sizes, from a running demo on real recordings.

Start the demo on its own state first, then run this beside it:

    everbeat demo --port 8060 --patients 8 --replay ../shared/data/emg_gsr/subj09.csv.gz \
        --replay ../shared/data/vitals_1hz
    python scripts/screenshots.py http://127.0.0.1:8060

The engine is stopped at the end (its process is looked up by name under the demo), to show what a clinician sees then.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import sync_playwright

OUT = Path(__file__).resolve().parents[1] / "docs" / "screenshots"
SIZES = {"1600x900": (1600, 900), "1280x720": (1280, 720), "tablet": (820, 1180)}
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
        page.wait_for_selector('[data-tile][data-live="true"]', timeout=60_000)
        page.click(".eb-sound")  # arms it
        time.sleep(8)
        shots(page, "room")
        room_states(page)
        page.goto(f"{base}{emg}/replay")
        page.wait_for_selector(".u-wrap", timeout=60_000)
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
        page.wait_for_selector('[data-tile][data-live="true"]', timeout=60_000)
        time.sleep(6)
        shots(page, "room-german")
        engines = [p for p in psutil.process_iter(["cmdline"]) if "engine" in (p.info["cmdline"] or [])]
        page.goto(f"{base}/language/en?next={emg}")
        page.wait_for_selector('[data-tile][data-live="true"]', timeout=60_000)
        for process in engines:
            process.suspend()
        time.sleep(8)
        shots(page, "room-engine-silent")
        page.goto(base + "/")
        time.sleep(6)
        shots(page, "ward-engine-silent")
        for process in engines:
            process.resume()
        chromium.close()


def room_states(page: Any) -> None:
    """What happens to a sensor that is unplugged, and what one can do with the traces and the body."""
    page.click("#btn-emg")
    page.wait_for_selector('[data-tile="emg_activity_mV.zyg"][data-provenance="synthesised"]', timeout=60_000)
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
    page.wait_for_selector('[data-tile="emg_activity_mV.zyg"][data-provenance="measured"]', timeout=60_000)
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
