"""The handshake of a socket, before there is one: from a page of ours, by somebody with a session, or not at all.

Flask-SocketIO's handshake passes by the gate of the page's requests. Without this, anybody could open sockets that
never say for which patient, and each would be two threads. Those that have a session and say nothing, or whose rights
are gone and that stay open all the same, :class:`Silent` closes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Response, request
from flask_socketio import SocketIO

from twin_engine.store.errors import StoreError
from web.access import Access
from web.hall import PLACE, RETRY_S, Place
from web.settings import WebSettings

PATH = "/socket.io"
SILENT_MOST_S = 10  # how long a socket may be open without a room or the ward


class Upgrade:
    """WSGI around the app."""

    def __init__(self, server: Flask, settings: WebSettings, access: Access) -> None:
        self._server, self._settings, self._access = server, settings, access
        self._inner = server.wsgi_app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer, or hand on."""
        if not str(environ.get("PATH_INFO", "")).startswith(PATH):
            return self._inner(environ, start_response)
        refused = self._refusal(environ)
        if refused is not None:
            status, why = refused
            again = {"Retry-After": str(RETRY_S)} if status in (429, 503) else {}
            answer = Response(f"{why}; no socket was opened\n", status, again, mimetype="text/plain")
            return answer(environ, start_response)
        if (place := environ.get(PLACE)) and environ.get("HTTP_UPGRADE", "").lower() == "websocket":
            place.stays()
            environ["werkzeug.socket"].settimeout(None)  # a piece of a frame sent in time is worse than a late one
        return self._inner(environ, start_response)

    def _refusal(self, environ: dict[str, Any]) -> tuple[int, str] | None:
        with self._server.request_context(environ):
            if request.host not in self._settings.hosts or request.headers.get("Origin") not in self._settings.origins:
                return 403, "expected a socket of this server's own page, got one of another"
            try:
                person = self._access.person()
            except StoreError:
                return 503, "the record store can't be reached"
            if person is None:
                return 401, "expected somebody who is signed in"
            place: Place | None = environ.get(PLACE)
            if place is not None and not place.known(person.session.id if person.session else ""):
                return 429, "expected fewer connections of one session"
        return None


class Silent:
    """Finds sockets that are nobody's line, and closes them."""

    def __init__(self, sockets: SocketIO, namespaces: Iterable[str]) -> None:
        self._server, self._namespaces = sockets.server, tuple(namespaces)
        self._since: dict[str, float] = {}

    def close(self) -> None:
        """Call it often."""
        manager = self._server.manager
        spoken = {eio for name in self._namespaces for _, eio in list(manager.get_participants(name, None))}
        environs = dict(self._server.environ)
        now_s = time.monotonic()
        self._since = {eio: self._since.get(eio, now_s) for eio in environs if eio not in spoken}
        for eio, since_s in self._since.items():
            place: Place | None = environs[eio].get(PLACE)
            if place is not None and now_s - since_s > SILENT_MOST_S:
                place.cut()
