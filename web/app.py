"""The web process: a Dash page and the sockets behind it.

:func:`create_app` builds it, :func:`serve` listens. Patients' data goes from the feed through the relay to sockets;
commands go from the page's callbacks to the feed. Pages and sockets get both only as the person who asks may use them
(:mod:`web.sight`). This file knows neither Redis nor the engine.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from dash import Dash
from flask import Flask, Response, request
from flask_socketio import SocketIO
from werkzeug.serving import BaseWSGIServer

from twin_engine.store.audit_reader import AuditReader
from twin_engine.store.feed import Feed
from web import account, data, oidc, proofs, signin, ui
from web.access import Access, People
from web.acts import Acts
from web.board import Board
from web.guard import MAX_BODY_BYTES, content_security_policy, guard
from web.hall import Bounds
from web.listener import Listener
from web.pages import audit, downtime, patients, replay, room, shell, ward
from web.pages.frame import OWN, back_to, frame, is_page, language, patient_of, register_missing, translate
from web.relay import OnSent, Relay
from web.settings import BindRefused, WebSettings
from web.sight import Reach, Sight
from web.sockets import SOCKET_NAMESPACE, WARD_NAMESPACE, Sockets
from web.upgrade import Upgrade
from web.words import COOKIE, LANGUAGES

log = logging.getLogger(__name__)

_SERVED = (
    "/assets/", "/data/", "/language/", "/downtime/", "/_dash", "/_favicon.ico", "/_reload-hash", "/socket.io/",
    "/sign-in", "/sign-out", "/session", "/oidc/", *OWN,
)  # fmt: skip
_YEAR_S = 365 * 86_400
_PING_EVERY_S, _PING_PATIENCE_S = 5, 10


def create_app(
    feed: Feed, settings: WebSettings, on_sent: OnSent | None = None, people: People | None = None,
    reader: AuditReader | None = None, provider: oidc.OidcSettings | None = None,
) -> tuple[Dash, SocketIO]:  # fmt: skip
    """The page and its sockets over `feed`. The relay is ``app.server.extensions["relay"]``; `serve` starts it.

    `on_sent(entry, now_ms)` is called by the relay's thread once an entry has been handed to its viewers. `people`:
    who may sign in; without it, and while it has no account, a demo clinician is signed in by itself.
    """
    if settings.sign_in and people is None:
        raise BindRefused("expected a store of accounts where sign-in is required, got none; the web did not start")
    server = Flask("web")
    server.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    access = server.extensions["access"] = Access(people, settings)
    guard(server, settings, lambda: content_security_policy(app.csp_hashes()))
    door = signin.register(server, access, settings)
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
    app = _dash(server, settings, partial(account.who_strip, access))
    sight = cast(Relay, Sight(relay, access))  # what pages may know of the relay: the same questions, asked for one
    reach = Reach(feed, relay, access)
    acts = Acts(reach, sight, access.who, others=Sight(relay, access).taken)
    with server.app_context():
        for page in (ward, room, replay, downtime):
            page.register(app, reach, sight, settings)
        patients.register(app, reach, sight, acts)
        register_missing(sight, partial(account.glass_banner, access), partial(access.saw, page="room"))
    server.extensions["lines"] = Sockets(sockets, settings, relay, board, acts, access).register()
    server.wsgi_app = Upgrade(server, settings, access)  # type: ignore[method-assign]  # as Flask's handbook says
    data.register(server, reach, sight, access)
    proofs.register(server, reach, sight, access)
    account.register(server, access, relay, door)
    audit.register(server, access, reader)
    oidc.register(server, access, door, provider)
    _switch_language(server)
    _answer_wrong_addresses(server, sight)
    return app, sockets


def _dash(server: Flask, settings: WebSettings, strip: Callable[[], Any]) -> Dash:
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
        csrf_token_name=signin.CSRF_COOKIE,
        csrf_header_name=signin.CSRF_HEADER,
        suppress_callback_exceptions=True,  # a callback's page may not be the one on screen
    )
    for resource in ui.RESOURCES:
        app.scripts.append_script(resource)
    app.layout = partial(frame, strip)
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
    with listening:  # the server takes a descriptor of its own
        bounds = Bounds(
            settings.connections, settings.strangers, settings.strangers_each, settings.head_s, settings.body_s
        )
        server = Listener(settings.host, settings.port, app.server, bounds, listening.fileno())
    if settings.https:
        server.ssl_context = tls = tls_of(settings)
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    app.server.extensions["relay"].start()
    app.server.extensions["lines"].start()
    return server


def tls_of(settings: WebSettings) -> ssl.SSLContext:
    """TLS 1.3 and nothing older, with the certificate of `settings`. Raises BindRefused where that can't be read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(str(settings.certificate), str(settings.key))
    except OSError as error:
        raise BindRefused(
            f"expected a certificate and its key in {settings.certificate} and {settings.key}, got '{error}'; "
            "the web did not start"
        ) from error
    return context
