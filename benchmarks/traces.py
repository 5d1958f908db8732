"""What a frame of traces costs in JavaScript: the sweep beside Plotly's `extendTraces`, and whether memory grows.

Eight channels at 250 Hz, 1600 x 900, in headless chromium, both in the same page and run. A frame is 1/60 s: the
samples that came since the last one are appended, and the picture is brought up to date. Measured with
performance.now around that call alone (the painting that the browser does afterwards is neither's JavaScript).
Then half an hour of the sweep, fast-forwarded: the heap after the first five minutes beside the heap at the end.

    python -m benchmarks.traces
"""

from __future__ import annotations

import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.conftest import CHROMIUM_ARGS

UI = Path("web/ui")
FRAMES, WHOLE, PLOTLY_FRAMES = 1500, 20, 60
MINUTES = 30
PAGE = Path(__file__).with_name("traces_page.js")


def main() -> None:
    """Print what was measured."""
    with sync_playwright() as playwright:
        own = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=own, args=CHROMIUM_ARGS)
        page = browser.new_page(viewport={"width": 1600, "height": 900})
        page.goto("about:blank")
        page.add_script_tag(content=bundle())
        page.add_script_tag(path=str(resources.files("plotly") / "package_data" / "plotly.min.js"))
        page.add_script_tag(path=str(PAGE))
        speed(page)
        memory(page)
        browser.close()


def speed(page: Any) -> None:
    """A frame of the sweep, measured and made, beside a frame of Plotly; and a whole picture."""
    print("8 channels at 250 Hz, 1600 x 900, JavaScript a frame, ms:")
    means = {}
    for name, call in (
        ("sweep, all measured", f"sweepFrames({FRAMES}, 0)"),
        ("sweep, all synthesised", f"sweepFrames({FRAMES}, 1)"),
        ("whole picture, measured", f"wholePictures({WHOLE}, 0)"),
        ("whole picture, synthesised", f"wholePictures({WHOLE}, 1)"),
        ("Plotly extendTraces", f"plotlyFrames({PLOTLY_FRAMES})"),
    ):
        times = page.evaluate(call)
        means[name] = times["mean"]
        print(f"  {name:28}" + "  ".join(f"{k} {v:8.3f}" for k, v in times.items()), flush=True)
    print(
        f"  Plotly / sweep, of the means: {means['Plotly extendTraces'] / means['sweep, all measured']:.0f}", flush=True
    )


def memory(page: Any) -> None:
    """The heap over half an hour of sweeping."""
    client = page.context.new_cdp_session(page)
    page.evaluate("document.body.innerHTML = ''")
    kept = page.evaluate("minutes(0, 5)")
    first = heap(client)
    page.evaluate(f"minutes(5, {MINUTES})")
    last = heap(client)
    print(f"heap after 5 min {first / 1e6:.2f} MB, after {MINUTES} min {last / 1e6:.2f} MB ({last / first - 1:+.1%});")
    print(f"samples kept of a channel: {kept:,} after 5 min, {page.evaluate('kept.rows[0].series.n'):,} at the end")


def heap(client: Any) -> float:
    """Bytes in use after a collection, typed arrays included where the browser says."""
    client.send("HeapProfiler.collectGarbage")
    usage = client.send("Runtime.getHeapUsage")
    return float(usage["usedSize"]) + float(usage.get("backingStorageSize", 0))


def bundle() -> str:
    """Series and Sweep from the sources, as one script."""
    entry = "export {Series} from './src/series.js'; export {Sweep} from './src/sweep.js';"
    command = ["node_modules/.bin/esbuild", "--bundle", "--minify", "--format=iife", "--global-name=everbeat"]
    done = subprocess.run(command, input=entry, capture_output=True, text=True, check=True, cwd=UI)
    return done.stdout


if __name__ == "__main__":
    main()
