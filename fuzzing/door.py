"""Targets at the page's door: a connection's first bytes, and cookies that only we can have made."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any, cast

from fuzzing.targets import Run
from security.keys import MasterKey
from twin_engine.store.signin import begun_facts, begun_token, browser_of, browser_token, known_browser
from web.hall import Bounds, Hall
from web.listener import MAX_HEAD_BYTES, Handler

_BODY_MOST = 1024 * 1024


class _Server:
    """As much of the listener as one connection asks for; its app reads the body, as ours do."""

    ssl_context = None
    multithread, multiprocess, passthrough_errors = True, False, True
    server_address = ("127.0.0.1", 8050)
    _server_version = "everbeat"

    def __init__(self) -> None:
        self.hall = Hall(Bounds(10, 10, 10, 60.0, 60.0))
        self.read = 0

    def app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.read = len(environ["wsgi.input"].read(_BODY_MOST))
        assert self.read <= int(environ.get("CONTENT_LENGTH") or 0), "a body went beyond its length"
        start_response("200 OK", [("Content-Length", "0")])
        return []

    def log(self, *_: object) -> None:
        """Nobody reads it."""


def heads() -> tuple[Run, list[bytes]]:
    """Whatever a stranger sends first is answered or closed, and what is read ends where the head said."""
    server = _Server()

    def run(data: bytes) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(data[: 2 * MAX_HEAD_BYTES])
            theirs.shutdown(socket.SHUT_WR)
            server.hall.enter(ours, "10.0.0.1")
            Handler(ours, ("10.0.0.1", 4711), cast(Any, server))
            server.hall.leave(ours)
            theirs.settimeout(1.0)
            ours.close()
            assert theirs.recv(8192)[:9] in (b"HTTP/1.1 ", b"HTTP/1.0 ", b"")

    return run, [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8050\r\n\r\n",
        b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nCookie: a=b\r\n\r\nname=a and more",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.0\r\n\r\n",
    ]


def cookies() -> tuple[Run, list[bytes]]:
    """A cookie is one that we sealed, or says nothing."""
    master = MasterKey(bytes(range(32)))
    begun = begun_token(master, {"state": "s"}, lambda: 1_000)
    browser = browser_token(master, "dr.wren", lambda: 1_000)

    def run(data: bytes) -> None:
        token = data.decode("latin-1")
        facts = begun_facts(master, token, lambda: 2_000)
        assert facts is None or facts["state"] == "s"
        assert browser_of(master, token, lambda: 2_000) in ("", "dr.wren")
        assert not known_browser(master, token, "root", lambda: 2_000)

    return run, [begun.encode(), browser.encode()]
