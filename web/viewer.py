"""One viewer's line: how much is on its way, and what to do with a viewer that reads too slowly.

A viewer confirms each message. At most `window` unconfirmed messages are out; while that many are, frames are
dropped and counted rather than queued, and once the viewer has caught up it is told how many it missed and given a
fresh snapshot: the newest, never a backlog.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

Send = Callable[[str, str, Any, Callable[..., None]], None]  # sid, event, data, called when the viewer confirms


class Viewer:
    """The line to one socket. Safe to use from the follower and from socket threads."""

    def __init__(self, sid: str, send: Send, window: int, caught_up: Callable[[Viewer, int], None]) -> None:
        """`caught_up(viewer, dropped)` is called, without locks held, when a viewer that missed messages is back."""
        self.sid = sid
        self._send = send
        self._window = window
        self._caught_up = caught_up
        self._lock = threading.Lock()
        self._out = 0
        self._dropped = 0
        self.dropped_total = 0

    @property
    def unconfirmed(self) -> int:
        """Messages sent and not yet confirmed; never more than the window and a snapshot's few."""
        return self._out

    def offer(self, event: str, data: Any) -> bool:
        """Send unless the viewer is behind; False where the message was dropped and counted."""
        with self._lock:
            if self._out >= self._window or self._dropped:
                self._dropped += 1
                self.dropped_total += 1
                return False
        self.push(event, data)
        return True

    def push(self, event: str, data: Any) -> None:
        """Send whatever the window says: for the few messages without which the rest means nothing."""
        with self._lock:
            self._out += 1
        self._send(self.sid, event, data, self._confirmed)

    def _confirmed(self, *_: object) -> None:
        with self._lock:
            self._out = max(0, self._out - 1)
            missed = self._dropped if self._out == 0 else 0
            if missed:
                self._dropped = 0
        if missed:
            self._caught_up(self, missed)
