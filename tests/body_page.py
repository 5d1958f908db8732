"""A bare page with the 3D body and nothing else: the built bundle, the baked avatar and a view that a test sets.

It is served over HTTP from memory, so that what the viewer fetches is what a browser would fetch.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    "/body.js": (ROOT / "web/ui/everbeat_body.min.js", "text/javascript"),
    "/avatar.glb": (ROOT / "assets/avatar.glb", "model/gltf-binary"),
}
HTML = """<!doctype html><html lang="en"><meta charset="utf-8"><title>body</title>
<style>html, body, main { margin: 0; height: 100%; background: #000; }</style><main id="stage"></main>
<script type="module">
import * as body from '/body.js';
window.body = body;
window.view = {regions: {}};
window.picks = [];
window.mount = (options = {}) => {
  window.twin = body.mountTwin(document.getElementById('stage'), {
    glbUrl: '/avatar.glb', getView: () => window.view, onPick: (region) => window.picks.push(region), ...options,
  });
};
window.loaded = true;
</script></html>"""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        file, kind = FILES.get(path, (None, "text/html"))
        data = file.read_bytes() if file else HTML.encode()
        self.send_response(200 if file or path == "/" else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serve_body() -> Iterator[str]:
    """The page's address while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
