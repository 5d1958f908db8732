"""The witness over HTTP: ``POST /add-checkpoint``, and ``GET /`` with its key. Bounded in bytes, time and threads."""

from __future__ import annotations

import logging
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from security import files, signing
from security.note import VerifierKey
from security.witness import MAX_REQUEST_BYTES, Answer, Witness

log = logging.getLogger(__name__)

_PATIENCE_S = 5.0
_AT_ONCE = 16


def load(home: Path, name: str) -> Witness:
    """The witness that lives in `home`; it believes the logs in ``logs.txt`` there."""
    key = signing.load_or_create(files.private_dir(home) / "witness.key")
    told = home / "logs.txt"
    lines = files.read_private(told).decode().splitlines() if told.exists() else []
    believed = [VerifierKey.parse(line) for line in lines if line.strip()]
    return Witness(name, key, believed, home / "state", time.time)


def serve(witness: Witness, host: str, port: int, stop: threading.Event) -> None:
    """Answer until `stop`. Raises OSError where the port is taken."""
    server = _Server((host, port), _handler(witness))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    log.info("witness %s on %s:%d", witness.verifier, host, server.server_port)
    stop.wait()
    server.shutdown()
    server.server_close()


class _Server(ThreadingHTTPServer):
    """At most so many requests at once; who comes later waits in the socket's queue."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._room = threading.BoundedSemaphore(_AT_ONCE)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._room.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()


def _handler(witness: Witness) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "everbeat-witness", ""
        protocol_version, timeout = "HTTP/1.1", _PATIENCE_S

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if self.path != "/add-checkpoint":
                self._say(Answer(404, "expected /add-checkpoint\n"))
            elif not (length.isascii() and length.isdigit() and int(length) <= MAX_REQUEST_BYTES):
                self.close_connection = True
                self._say(Answer(413, f"expected a body of known length, at most {MAX_REQUEST_BYTES} bytes\n"))
            else:
                self._say(witness.add_checkpoint(self.rfile.read(int(length))))

        def do_GET(self) -> None:
            self._say(Answer(200, f"{witness.verifier}\n") if self.path == "/" else Answer(404, "expected /\n"))

        def _say(self, answer: Answer) -> None:
            body = answer.body.encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            log.debug(format, *args)

    return Handler
