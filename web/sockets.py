"""The two kinds of socket, a patient's room and the ward: who may open one, what it may say, and how it is closed.

A handshake must come from a page of ours and with a session (:mod:`web.lines` holds the socket to it from then on). A
socket may say ``act`` and nothing else; each act asks again who may do it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial

from flask import request
from flask_socketio import ConnectionRefusedError, SocketIO

from twin_engine.store.errors import StoreError
from web.access import Access
from web.acts import Acts
from web.board import Board
from web.lines import Lines
from web.pages.frame import translate
from web.relay import Relay
from web.room import OVER
from web.settings import WebSettings
from web.upgrade import Silent

log = logging.getLogger(__name__)

SOCKET_NAMESPACE, WARD_NAMESPACE = "/twin", "/ward"
_MAX_ID = 64
GONE = "gone"  # what a refused page is told: what it drew before is cleared


@dataclass(frozen=True)
class Sockets:
    """Joins sockets to rooms and to the ward. `relay` is the whole one: lines and access have asked before."""

    sockets: SocketIO
    settings: WebSettings
    relay: Relay
    board: Board
    acts: Acts
    access: Access

    def register(self) -> Lines:
        """Answer both namespaces; gives the watch over what is open."""
        silent = Silent(self.sockets, (SOCKET_NAMESPACE, WARD_NAMESPACE))
        lines = Lines(self.access, self._cut, self.board.renew, silent.close)
        self._rooms(lines)
        self._ward(lines)
        for namespace in (SOCKET_NAMESPACE, WARD_NAMESPACE):
            self._hear(namespace, lines)
        return lines

    def _rooms(self, lines: Lines) -> None:
        @self.sockets.on("connect", namespace=SOCKET_NAMESPACE)  # type: ignore[untyped-decorator]  # untyped library
        def connect(auth: object = None) -> bool:
            wanted = auth.get("patient", "") if isinstance(auth, dict) else ""
            patient = str(wanted)[:_MAX_ID]
            self.relay.start()
            known = bool(patient) and self._allowed(lines, SOCKET_NAMESPACE, patient)
            if known and self.relay.join(_sid(), patient):
                return True
            lines.close(_sid())
            if self.relay.ready:
                raise ConnectionRefusedError(GONE)  # not hers and not there are one answer
            return False

    def _ward(self, lines: Lines) -> None:
        @self.sockets.on("connect", namespace=WARD_NAMESPACE)  # type: ignore[untyped-decorator]  # untyped library
        def connect(_: object = None) -> bool:
            self.relay.start()
            if not self._allowed(lines, WARD_NAMESPACE, ""):
                lines.close(_sid())
                return False
            self.board.join(_sid(), partial(lines.sees, _sid()))
            return True

    def _allowed(self, lines: Lines, namespace: str, patient: str) -> bool:
        """Whether the handshake at hand is from a page of ours, and from who may have the socket; told first."""
        if request.host not in self.settings.hosts or request.headers.get("Origin") not in self.settings.origins:
            return False
        try:
            if not lines.open(_sid(), namespace, patient) or (patient and self.relay.card(patient) is None):
                return False
            self.access.saw(patient or "ward", "room" if patient else "ward")
            return True
        except StoreError as error:
            log.warning("a socket was refused: %s", error)
            return False

    def _hear(self, namespace: str, lines: Lines) -> None:
        @self.sockets.on("act", namespace=namespace)  # type: ignore[untyped-decorator]  # untyped library
        def act(data: object = None, *_: object) -> dict[str, object]:
            try:
                return self.acts.hear(_sid(), data, translate())
            except StoreError as error:
                log.warning("an act was refused: %s", error)
                return {"ok": False, "error": translate()("patients.act.store")}

        @self.sockets.on("disconnect", namespace=namespace)  # type: ignore[untyped-decorator]  # untyped library
        def disconnect(*_: object) -> None:
            self._leave(_sid())
            lines.close(_sid())
            self.acts.forget(_sid())

    def _leave(self, sid: str) -> None:
        self.relay.leave(sid)
        self.board.leave(sid)

    def _cut(self, sid: str, namespace: str, why: str) -> None:
        self._leave(sid)  # at once: whatever the socket's own way out takes
        self.sockets.server.emit(OVER, {"why": why}, to=sid, namespace=namespace)  # the page clears what it shows
        self.sockets.server.disconnect(sid, namespace=namespace)


def _sid() -> str:
    return str(request.sid)  # type: ignore[attr-defined]  # Flask-SocketIO adds it
