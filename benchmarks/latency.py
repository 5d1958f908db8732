"""From sensor to pixel: how old a reading is when the page draws it, at 20 frames a second. The whole house runs.

`everbeat demo` with a simulated patient whose device closes a frame every 50 ms, and the room in headless chromium with
the body drawn flat.
In each animation frame the page is asked which samples it has newly drawn; their age is the browser's clock less the
reading's own time (one machine, one clock). Beside it, in the same run, the age at which the same readings reached the
page's socket: what is left is the view's even pace.

    python -m benchmarks.latency [SECONDS] [INTERVAL_S]
"""

from __future__ import annotations

import shutil
import sys
import time
from typing import Any

from benchmarks._demo import ROOM, demo

PORT = 8977
FLAT = ["--no-sandbox", "--disable-gpu", "--disable-3d-apis"]  # without a graphics card the body would take both cores
WATCH = """async (seconds) => {
  const s = window.everbeat, drawn = [], came = [], at = new Map(), known = new Map();
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    await new Promise(requestAnimationFrame);
    const {t} = s.frame(), now = Date.now();
    for (const [name, series] of s.series) {
      const i = series.indexAt(t), from = at.get(name) ?? series.t[i], last = known.get(name) ?? series.last;
      for (let k = i; k >= 0 && series.t[k] > from; k -= 1) if ((series.provenance[k] & 15) === 0) drawn.push(now - series.t[k] * 1000);
      for (let k = series.n - 1; k >= 0 && series.t[k] > last; k -= 1) if ((series.provenance[k] & 15) === 0) came.push(now - series.t[k] * 1000);
      if (i >= 0) at.set(name, series.t[i]);
      known.set(name, series.last);
    }
  }
  return {drawn, came, lag: s.lag};
}"""  # noqa: E501


def main() -> None:
    """Print what was measured."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    interval_s = sys.argv[2] if len(sys.argv) > 2 else "0.05"
    with demo(PORT, "--interval", interval_s) as base:
        got = _watch(base, seconds)
    print(f"frames every {interval_s} s; the view runs {got['lag'] * 1000:.0f} ms behind; {len(got['drawn'])} readings")
    for name, ages in (("reached the page", got["came"]), ("drawn as a pixel", got["drawn"])):
        print(f"{name}: p50 {_at(ages, 0.5):4.0f} ms  p95 {_at(ages, 0.95):4.0f} ms  p99 {_at(ages, 0.99):4.0f} ms")


def _watch(base: str, seconds: float) -> dict[str, Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAT)
        page = chromium.new_page(viewport={"width": 1280, "height": 720})
        page.goto(base + ROOM)
        page.wait_for_selector('.eb-waves[data-moving="true"]', timeout=60_000)
        time.sleep(10)  # the beat of the frames is learnt, and the view has settled
        got: dict[str, Any] = page.evaluate(WATCH, seconds)
        chromium.close()
        return got


def _at(ages: list[float], share: float) -> float:
    ordered = sorted(ages)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


if __name__ == "__main__":
    main()
