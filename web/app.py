"""The web process: a Dash page and the sockets behind it, on a loopback address.

:func:`create_app` builds it, :func:`serve` listens. Patients' data goes from the feed through the relay to sockets;
commands go from the page's callbacks to the feed. This file knows neither Redis nor the engine.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any

from dash import Dash
from flask import Flask, Response, request
from flask_socketio import SocketIO
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from twin_engine.store.feed import Feed
from web import data, ui
from web.acts import Acts
from web.board import Board
from web.guard import content_security_policy, guard
from web.pages import downtime, patients, replay, room, shell, ward
from web.pages.frame import back_to, frame, is_page, language, patient_of, register_missing, translate
from web.relay import OnSent, Relay
from web.settings import BindRefused, WebSettings
from web.words import COOKIE, LANGUAGES

log = logging.getLogger(__name__)

SOCKET_NAMESPACE, WARD_NAMESPACE = "/twin", "/ward"
_SERVED = ("/assets/", "/data/", "/language/", "/downtime/", "/_dash", "/_favicon.ico", "/_reload-hash", "/socket.io/")
_YEAR_S = 365 * 86_400
_PING_EVERY_S, _PING_PATIENCE_S = 5, 10


def create_app(feed: Feed, settings: WebSettings, on_sent: OnSent | None = None) -> tuple[Dash, SocketIO]:
    """The page and its sockets over `feed`. The relay is ``app.server.extensions["relay"]``; `serve` starts it.

    `on_sent(entry, now_ms)` is called by the relay's thread once an entry has been handed to its viewers.
    """
    server = Flask("web")
    sockets = SocketIO(
        server,
        async_mode="threading",
        cors_allowed_origins=settings.origins,
        transports=["websocket"],
        always_connect=True,  # so that the connect handler may send
        ping_interval=_PING_EVERY_S,
        ping_timeout=_PING_PATIENCE_S,
        max_http_buffer_size=64 * 1024,  # a viewer has nothing long to say
    )
    board = Board(_sender(sockets, WARD_NAMESPACE), settings.window)
    relay = Relay(feed, _sender(sockets, SOCKET_NAMESPACE), settings, on_sent, board=board)
    server.extensions["relay"] = relay
    app = _dash(server, settings)
    acts = Acts(feed, relay, settings.person)
    with server.app_context():
        for page in (ward, room, replay, downtime):
            page.register(app, feed, relay, settings)
        patients.register(app, relay, acts)
        register_missing(relay)
    _join_sockets(sockets, relay, acts)
    _join_board(sockets, relay, board, acts)
    data.register(server, feed, relay, settings)
    _switch_language(server)
    _answer_wrong_addresses(server, relay)
    guard(server, settings, lambda: content_security_policy(app.csp_hashes()))
    return app, sockets


def _dash(server: Flask, settings: WebSettings) -> Dash:
    app = _Page(
        "web",
        server=server,
        assets_folder=str(settings.assets),
        serve_locally=True,
        title=shell.TITLE,
        update_title=None,
        index_string=shell.INDEX,
        use_pages=True,
        pages_folder="",  # pages register themselves, with what they need
        suppress_callback_exceptions=True,  # a callback's page may not be the one on screen
    )
    for resource in ui.RESOURCES:
        app.scripts.append_script(resource)
    app.layout = frame
    return app


class _Page(Dash):  # type: ignore[misc]  # dash is untyped
    """Dash, with the visitor's language in the page's head."""

    def interpolate_index(self, **parts: Any) -> str:
        page = str(super().interpolate_index(**parts)).replace('lang="en"', f'lang="{language()}"', 1)
        return page.replace("{%noscript%}", translate()("ward.noscript"), 1)


def _sender(sockets: SocketIO, namespace: str) -> Callable[[str, str, Any, Callable[..., None]], None]:
    def send(sid: str, event: str, data: Any, confirmed: Callable[..., None]) -> None:
        sockets.server.emit(event, data, to=sid, namespace=namespace, callback=confirmed)

    return send


def _join_sockets(sockets: SocketIO, relay: Relay, acts: Acts) -> None:
    @sockets.on("connect", namespace=SOCKET_NAMESPACE)  # type: ignore[untyped-decorator]  # untyped library
    def connect(auth: object = None) -> bool:
        wanted = auth.get("patient", "") if isinstance(auth, dict) else ""
        relay.start()
        return relay.join(_sid(), str(wanted)[:64])

    _hear_acts(sockets, SOCKET_NAMESPACE, relay.leave, acts)


def _join_board(sockets: SocketIO, relay: Relay, board: Board, acts: Acts) -> None:
    @sockets.on("connect", namespace=WARD_NAMESPACE)  # type: ignore[untyped-decorator]  # untyped library
    def connect(_: object = None) -> bool:
        relay.start()
        board.join(_sid())
        return True

    _hear_acts(sockets, WARD_NAMESPACE, board.leave, acts)


def _hear_acts(sockets: SocketIO, namespace: str, leave: Callable[[str], None], acts: Acts) -> None:
    """What a socket may say, on either namespace, and what is left behind when it goes."""

    @sockets.on("act", namespace=namespace)  # type: ignore[untyped-decorator]  # untyped library
    def act(data: object = None, *_: object) -> dict[str, object]:
        return acts.hear(_sid(), data, translate())

    @sockets.on("disconnect", namespace=namespace)  # type: ignore[untyped-decorator]  # untyped library
    def disconnect(*_: object) -> None:
        leave(_sid())
        acts.forget(_sid())


def _sid() -> str:
    return str(request.sid)  # type: ignore[attr-defined]  # Flask-SocketIO adds it


def _switch_language(server: Flask) -> None:
    @server.get("/language/<name>")
    def switch(name: str) -> Response:
        if name not in LANGUAGES:
            return Response(shell.not_found(request.path, language()), 404, mimetype="text/html")
        answer = Response(status=303, headers={"Location": back_to(request.args.get("next", ""))})
        answer.set_cookie(COOKIE, name, max_age=_YEAR_S, samesite="Strict", httponly=True)
        return answer


def _answer_wrong_addresses(server: Flask, relay: Relay) -> None:
    @server.before_request
    def check() -> Response | None:
        path = request.path
        if path.startswith(_SERVED):
            return None
        patient = patient_of(path)
        if is_page(path) and (not patient or relay.card(patient) or not relay.ready):
            return None
        return Response(shell.not_found(path, language()), 404, mimetype="text/html")


class _QuietHandler(WSGIRequestHandler):
    """Names neither the server's software nor each request."""

    def version_string(self) -> str:
        return "everbeat"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        log.debug("%s %s", code, self.requestline)


def serve(app: Dash, settings: WebSettings) -> BaseWSGIServer:
    """Listen, start the relay and return the server: call `serve_forever()`, and `shutdown()` to end it.

    Raises :class:`BindRefused` where the port can't be had.
    """
    try:
        listening = socket.create_server((settings.host, settings.port))
    except OSError as error:
        raise BindRefused(
            f"expected port {settings.port} on {settings.host} to be free, got {error.strerror or error}; "
            "the web did not start"
        ) from error
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # an event and its bytes are two small writes
    server = make_server(
        settings.host,
        settings.port,
        app.server,
        threaded=True,
        request_handler=_QuietHandler,
        fd=listening.detach(),
    )
    app.server.extensions["relay"].start()
    return server
