"""A viewer without a browser: Socket.IO 5 over one plain websocket, read in order by one thread.

The python-socketio client handles each packet in a thread of its own, so that under load an attachment may overtake
its event; a test must not depend on luck. This one speaks the same protocol and confirms each event as a page does.
"""

from __future__ import annotations

import json
import queue
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import websocket

NAMESPACE = "/twin"
_EVENT = re.compile(r"4(?P<kind>[25])(?:(?P<count>\d+)-)?/(?:twin|ward),(?P<ack>\d*)(?P<body>\[.*)", re.S)
_ANSWER = re.compile(r"43/(?:twin|ward),(?P<ack>\d+)(?P<body>\[.*)", re.S)


class Viewer:
    """Everything that one socket is sent, in order. `confirms=False` reads and never confirms."""

    def __init__(
        self, url: str, patient: str = "p-7f3a", confirms: bool = True, namespace: str = NAMESPACE, cookie: str = "",
        origin: str | None = "", may_refuse: bool = False,
    ) -> None:  # fmt: skip
        """`origin`: "" = the server's own, None = none is sent. With `may_refuse` a refused handshake is told by
        `refused` rather than raised."""
        self.heard: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.names: list[str] = []
        self.unconfirmed: list[str] = []
        self.closed = threading.Event()
        self.answers: queue.Queue[Any] = queue.Queue()
        self._confirms = confirms
        self._namespace = namespace
        address = f"{url.replace('http', 'ws', 1)}/socket.io/?EIO=4&transport=websocket"
        self.refused = False
        more: dict[str, Any] = {"suppress_origin": True} if origin is None else {"origin": origin or url}
        try:
            self._socket = websocket.create_connection(address, timeout=20, cookie=cookie or None, **more)
        except websocket.WebSocketBadStatusException:
            if not may_refuse:
                raise
            self.refused = True
            return
        self._socket.recv()
        self._socket.send(f"40{namespace},{json.dumps({'patient': patient})}")
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def until(self, name: str, accept: Callable[[Any], bool] = lambda _: True, timeout_s: float = 10.0) -> Any:
        """The next message of that name that is acceptable."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                got, data = self.heard.get(timeout=left)
            except queue.Empty:
                break
            if got == name and accept(data):
                return data
        raise AssertionError(f"expected {name!r} within {timeout_s} s, it did not come")

    def ask(self, event: str, data: Any, timeout_s: float = 5.0) -> Any:
        """Send an event and give the server's answer to it."""
        self._socket.send(f"42{self._namespace},7{json.dumps([event, data])}")
        return self.answers.get(timeout=timeout_s)

    def confirm(self) -> None:
        """Confirm everything that came, and from now on at once."""
        self._confirms = True
        waiting, self.unconfirmed = self.unconfirmed, []
        for ack in waiting:
            self._socket.send(f"43{self._namespace},{ack}[]")

    def close(self) -> None:
        self._socket.close(timeout=1)
        self._thread.join(timeout=5)

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> None:
        try:
            while packet := self._socket.recv():
                self._take(packet)
        except (websocket.WebSocketException, OSError):
            pass
        self.closed.set()

    def _take(self, packet: str | bytes) -> None:
        if packet == "2":
            self._socket.send("3")
        elif isinstance(packet, str) and packet.startswith(f"41{self._namespace}"):
            self.closed.set()
        elif isinstance(packet, str) and (answer := _ANSWER.fullmatch(packet)):
            self.answers.put(json.loads(answer["body"])[0])
        elif isinstance(packet, str) and (event := _EVENT.fullmatch(packet)):
            attachments = [self._socket.recv() for _ in range(int(event["count"] or 0))]
            name, data = json.loads(event["body"])
            self.names.append(name)
            self.heard.put((name, attachments[0] if attachments else data))
            self.unconfirmed.append(event["ack"])
            if self._confirms:
                self.confirm()
