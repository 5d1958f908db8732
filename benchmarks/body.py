"""JavaScript per frame of the 3D body, beside three.js's own plain render of the same file in the same run.

`performance.now` around each animation frame's callback, in headless chromium, for frames that draw; draw calls are
counted but not carried out, so that a GPU that is a CPU (SwiftShader) is not counted as JavaScript. The body shows two
regions, heart and lungs, all synthesised, with labels, lens and live text. The peer is three.js with GLTFLoader, its
own materials, one light and an orbiting camera: no regions, labels, lens or motion. Needs `npm ci` in web/ui for it.

    python -m benchmarks.body
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.body_kit import open_body, until, view
from tests.body_page import ROOT, serve_body
from tests.conftest import CHROMIUM_ARGS

BUDGET_MS = 4.0
FRAMES = 300
SIZE = {"width": 700, "height": 800}
CLOCK = """(() => {
  window.spent = [];
  let [draws, reads] = [0, 0];
  const gl = WebGL2RenderingContext.prototype;
  gl.drawElements = gl.drawArrays = function () { draws += 1; };
  const read = gl.readPixels;
  gl.readPixels = function (...args) { reads += 1; return read.apply(this, args); };
  const ask = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (callback) => ask((now) => {
    const before = [draws, reads];
    const start = performance.now();
    callback(now);
    const took = performance.now() - start;
    if (draws > before[0] && reads === before[1]) window.spent.push(took);
  });
})()"""
PEER = """
import * as THREE from 'three';
import {GLTFLoader} from 'three/examples/jsm/loaders/GLTFLoader.js';
import {OrbitControls} from 'three/examples/jsm/controls/OrbitControls.js';
const renderer = new THREE.WebGLRenderer();
renderer.setSize(innerWidth, innerHeight);
document.body.append(renderer.domElement);
const scene = new THREE.Scene();
scene.add(new THREE.HemisphereLight());
const camera = new THREE.PerspectiveCamera(24, innerWidth / innerHeight, 0.1, 30);
const controls = new OrbitControls(camera, renderer.domElement);
camera.position.set(0, 0.9, 4.6);
controls.target.set(0, 0.9, 0);
new GLTFLoader().load('/avatar.glb', (gltf) => {
  scene.add(gltf.scene);
  renderer.setAnimationLoop(() => { controls.update(); renderer.render(scene, camera); });
});
"""


def main() -> None:
    """Print both, and their ratio."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, serve_body() as url:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_ARGS)
        ours = _body(browser, url)
        peer = _peer(browser, url)
        browser.close()
    verdict = "within" if np.median(ours) < BUDGET_MS else "OVER"
    _tell("body, everything on", ours)
    print(f"  {verdict} the budget of {BUDGET_MS:.0f} ms")
    if peer is None:
        print("peer: not measured, web/ui/node_modules is missing (npm ci)")
        return
    _tell("three.js, plain render of the same file", peer)
    print(f"  ratio of medians {np.median(ours) / np.median(peer):.1f}")


def _body(browser: Any, url: str) -> Any:
    page = browser.new_page(viewport=SIZE)
    page.add_init_script(CLOCK)
    open_body(page, url, view("synthesised", 0.6))
    return _measure(page)


def _peer(browser: Any, url: str) -> Any:
    script = _bundle()
    if script is None:
        return None
    page = browser.new_page(viewport=SIZE)
    page.add_init_script(CLOCK)
    page.route("**/peer*", lambda route: route.fulfill(body=script, content_type="text/javascript"))
    page.route(
        "**/plain",
        lambda r: r.fulfill(body='<body><script type="module" src="/peer.js"></script>', content_type="text/html"),
    )
    page.goto(f"{url}plain")
    return _measure(page)


def _bundle() -> str | None:
    """The peer's script with three.js in it, made by the project's own esbuild; None where that is not installed."""
    esbuild = ROOT / "web/ui/node_modules/.bin/esbuild"
    if not esbuild.exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "peer.js"
        command = [str(esbuild), "--bundle", "--minify", "--format=esm", f"--outfile={out}"]
        subprocess.run(command, input=PEER.encode(), cwd=ROOT / "web/ui", check=True, capture_output=True)
        return out.read_text()


def _measure(page: Any) -> Any:
    """(FRAMES,) ms, after the first 60 frames, which compile shaders."""
    until(page, "window.spent.length > 60", 60)
    page.evaluate("window.spent = []")
    until(page, f"window.spent.length >= {FRAMES}", 120)
    spent = np.array(page.evaluate("window.spent")[:FRAMES])
    page.close()
    return spent


def _tell(name: str, ms: Any) -> None:
    print(f"{name}: median {np.median(ms):.2f} ms, p95 {np.percentile(ms, 95):.2f} ms of JavaScript a frame")


if __name__ == "__main__":
    main()
