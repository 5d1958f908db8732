"""Our HTTP server: werkzeug's, with bounds on connections (:mod:`web.hall`), on a request's head and body, and on time.

A request is read line by line until its head is whole; then its body, as the page asks for it; then it is answered and
the connection closed, unless it has become a WebSocket. What is refused before it reaches the page is told why.
"""

from __future__ import annotations

import http.client
import io
import logging
import resource
import socket
import ssl
import threading
from http import HTTPStatus
from typing import Any, BinaryIO, cast

from werkzeug.exceptions import RequestTimeout
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from web.hall import PLACE, RETRY_S, Bounds, Hall, Place, Refusal

log = logging.getLogger(__name__)

MAX_HEAD_BYTES = 32 * 1024  # of a request; cookies and a long address are a tenth of it
STALL_S = 30.0  # one read, or one write of a piece of an answer
_REFUSING_MOST, _REFUSING_S = 32, 2.0  # connections that are being told why; beyond, they are closed without a word
_REST_BYTES = 64 * 1024
_SPARE_FILES = 256


class Handler(WSGIRequestHandler):
    """One connection. Names neither the server's software nor each request; shakes hands in its own thread."""

    timeout = STALL_S
    server: Listener

    def setup(self) -> None:
        """Before anything is read."""
        super().setup()
        self.place = self.server.hall.place(self.connection)
        self._whole = cast(BinaryIO, self.rfile)
        self.rfile = cast(Any, _Head(self._whole))

    def handle(self) -> None:
        """One request."""
        if self.place is None:
            return  # it lost its place before its thread began
        try:
            if isinstance(self.connection, ssl.SSLSocket):
                self.connection.do_handshake()
            super().handle()
        except http.client.LineTooLong:
            self.send_error(414, "expected a shorter address")
        except OSError as error:  # no TLS, too old a one, or gone
            log.debug("no request of %s: %s", self.client_address, error)

    def parse_request(self) -> bool:
        """The head, whole and in time, of a request that says how long it is."""
        place = self._place
        if place.late:
            return self._refuse(
                408, f"expected a request's head within {self.server.hall.bounds.head_s:g} s, got a part"
            )
        if not super().parse_request():
            return False
        if place.late:  # the line's end may be where it was cut
            return self._refuse(
                408, f"expected a request's head within {self.server.hall.bounds.head_s:g} s, got a part"
            )
        lengths = self.headers.get_all("Content-Length", ["0"])
        if "Transfer-Encoding" in self.headers:
            return self._refuse(411, "expected a body of a length that is said first, got one in chunks")
        if len(lengths) != 1 or not (lengths[0].isascii() and lengths[0].isdecimal() and len(lengths[0]) < 16):
            return self._refuse(400, "expected one length of the body, got another header")
        self._length = int(lengths[0])
        place.head_is_here(body=self._length > 0)
        return True

    def make_environ(self) -> Any:
        """As werkzeug makes it, with the place, a body that has an end, and nothing to wait for after the answer."""
        environ = super().make_environ()
        environ[PLACE] = self._place
        environ["wsgi.input"] = io.BufferedReader(_Body(self._whole, self._length, self._place))
        self.rfile = cast(Any, _Rest(self.connection))
        return environ

    @property
    def _place(self) -> Place:
        if self.place is None:
            raise ConnectionAbortedError("expected a place in the hall, got none; nothing was read")
        return self.place

    def _refuse(self, status: int, why: str) -> bool:
        self.send_error(status, why)
        return False

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """In a line of text."""
        self.close_connection = True
        self.wfile.write(refusal(code, message or HTTPStatus(code).phrase))

    def version_string(self) -> str:
        """Not which software this is."""
        return "everbeat"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Only where somebody looks for it."""
        log.debug("%s %s", code, self.requestline)

    def log_error(self, format: str, *args: Any) -> None:
        """The same: strangers must not fill the log."""
        log.debug(format, *args)


class Listener(ThreadedWSGIServer):
    """A thread for each connection that has a place in the hall."""

    def __init__(self, host: str, port: int, app: Any, bounds: Bounds, fd: int) -> None:
        super().__init__(host, port, app, Handler, fd=fd)
        self.hall = Hall(bounds)
        self._refusing = threading.BoundedSemaphore(_REFUSING_MOST)
        _allow_files(bounds.connections + _SPARE_FILES)

    def process_request(self, request: Any, client_address: Any) -> None:
        """In the thread that accepts: nothing here may wait."""
        entered = self.hall.enter(request, client_address[0])
        try:
            if isinstance(entered, Place):
                super().process_request(request, client_address)
            elif self._refusing.acquire(blocking=False):
                threading.Thread(target=self._turn_away, args=(request, entered), daemon=True).start()
            else:
                request.close()
        except RuntimeError as error:  # no thread could be started
            log.error("a connection was refused: %s", error)
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """The connection is over."""
        self.hall.leave(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Listen no longer."""
        super().server_close()
        if hasattr(self, "hall"):  # werkzeug closes an unused socket of its own first
            self.hall.stop()

    def _turn_away(self, request: socket.socket, why: Refusal) -> None:
        """Say why, and read what was sent: a connection that is closed over unread bytes loses the answer."""
        try:
            request.settimeout(_REFUSING_S)
            if isinstance(request, ssl.SSLSocket):
                request.do_handshake()
            request.recv(_REST_BYTES)
            request.sendall(refusal(why.status, why.why))
            socket.socket.shutdown(request, socket.SHUT_WR)
            request.recv(_REST_BYTES)
        except OSError:
            pass  # it has heard enough
        finally:
            request.close()
            self._refusing.release()


class _Head:
    """A request's lines until its body, no longer than they may be. Raises LineTooLong, which http.server answers."""

    def __init__(self, whole: BinaryIO) -> None:
        self._whole, self._left = whole, MAX_HEAD_BYTES

    def readline(self, limit: int = -1) -> bytes:
        line = self._whole.readline(min(limit, self._left + 1) if limit >= 0 else self._left + 1)
        self._left -= len(line)
        if self._left < 0:
            raise http.client.LineTooLong("request's head")
        return line

    def close(self) -> None:
        self._whole.close()


class _Body(io.RawIOBase):
    """As many bytes as the head said, in time. Raises RequestTimeout, which the page answers."""

    def __init__(self, whole: BinaryIO, length: int, place: Place) -> None:
        self._whole, self._left, self._of = whole, length, place

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._left)
        if not wanted:
            return 0
        try:
            n = cast(Any, self._whole).readinto1(memoryview(buffer)[:wanted])
        except TimeoutError as error:
            raise RequestTimeout("expected the rest of a body, got none") from error
        self._left -= n
        if not n and self._of.late:
            raise RequestTimeout(f"expected a body within {self._of.hall.bounds.body_s:g} s, got a part")
        if not self._left:
            self._of.body_is_here()
        return int(n)


class _Rest:
    """What a client sends beyond its request: thrown away after the answer, so that it hears it, but not for ever."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._reads = sock, 16

    def read(self, _: int = -1) -> bytes:
        self._reads -= 1
        try:
            self._sock.settimeout(0.5)
            return self._sock.recv(_REST_BYTES) if self._reads > 0 else b""
        except OSError:
            return b""

    def readline(self, _: int = -1) -> bytes:
        return b""  # a connection is for one request

    def close(self) -> None:
        """The handler closes the connection."""


def refusal(status: int, why: str) -> bytes:
    """An answer from before the page: a line that says why, and when to come again where that helps."""
    text = f"{why}; it was refused\n".encode()
    again = f"Retry-After: {RETRY_S}\r\n" if status in (408, 429, 503) else ""
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n{again}"
        f"X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nContent-Length: {len(text)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + text


def _allow_files(wanted: int) -> None:
    """A connection is a file: ask for as many as the bounds need, as far as the machine lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        if most < wanted:
            log.warning("expected %d open files to be allowed, got %d; fewer connections will fit", wanted, most)
