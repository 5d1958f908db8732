"""Those who look at the ward: once a second each is told what changed in the patients' rows.

Messages of the namespace ``/ward``: ``hello`` ({looks}) and ``ward`` ({t, all, rows, gone}): `rows` maps a patient to
what is new of her row (web/ward.py), all of it where `all` is true; `gone` are those who left the ward. A viewer that
is behind is skipped and given the whole picture when it has caught up, never a backlog. Who comes before anything was
published waits for it: a ward of which nothing is known yet is not called empty.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from web.look import looks
from web.viewer import Send, Viewer
from web.ward import Row, changes, need, packed

Sees = Callable[[str], bool]  # whether a viewer may see a patient


class Board:
    """The rows as last published, and their viewers. Safe to use from the relay and from socket threads."""

    def __init__(self, send: Send, window: int) -> None:
        self._send = send
        self._window = window
        self._lock = threading.RLock()
        self._rows: dict[str, Row] = {}
        self._now_s = 0.0  # when rows were published last; 0 until they were
        self._waiting: set[str] = set()  # who came before that
        self._viewers: dict[str, Viewer] = {}
        self._sees: dict[str, Sees] = {}

    def publish(self, rows: Mapping[str, Row], now_s: float) -> None:
        """Remember `rows` and tell each viewer what of them is new. Also where nothing is: silence is a lost line."""
        with self._lock:
            news, gone = dict[str, Row](), [patient for patient in self._rows if patient not in rows]
            for patient, row in rows.items():
                old = self._rows.get(patient)
                row["need"] = need(row, old["need"] if old else None)
                if said := changes(old, row):
                    news[patient] = packed(said, now_s)
            self._rows, self._now_s = dict(rows), now_s
            for viewer in list(self._viewers.values()):  # a socket that is found closed leaves while it is sent to
                if viewer.sid in self._waiting:
                    self._give_whole(viewer)
                    continue
                sees = self._sees.get(viewer.sid, _nobody)
                seen = {patient: said for patient, said in news.items() if sees(patient)}
                left = [patient for patient in gone if sees(patient)]
                viewer.offer("ward", {"t": round(now_s, 2), "all": False, "rows": seen, "gone": left})

    def join(self, sid: str, sees: Sees) -> None:
        """Give the socket `sid` the whole ward, as far as it may be seen from there, and keep it told."""
        viewer = Viewer(sid, self._send, self._window, self._resync)
        with self._lock:
            self._viewers[sid], self._sees[sid] = viewer, sees
            viewer.push("hello", {"looks": looks()})
            self._give_whole(viewer)

    def renew(self, sid: str) -> None:
        """What may be seen from the socket has changed: give it the whole ward again."""
        with self._lock:
            if sid in self._viewers:
                self._give_whole(self._viewers[sid])

    def leave(self, sid: str) -> None:
        """Forget a socket; unknown ones are no error (a disconnect may come twice)."""
        with self._lock:
            self._viewers.pop(sid, None)
            self._sees.pop(sid, None)
            self._waiting.discard(sid)

    @property
    def viewers(self) -> list[Viewer]:
        """Who looks at the ward now."""
        with self._lock:
            return list(self._viewers.values())

    def _resync(self, viewer: Viewer, _dropped: int) -> None:
        with self._lock:
            if viewer.sid in self._viewers:
                self._give_whole(viewer)

    def _give_whole(self, viewer: Viewer) -> None:
        """The whole ward, or, while it is not known yet, a place among those who wait for it; the lock is held."""
        if self._now_s == 0.0:
            self._waiting.add(viewer.sid)
            return
        self._waiting.discard(viewer.sid)
        sees = self._sees.get(viewer.sid, _nobody)
        rows = {patient: packed(row, self._now_s) for patient, row in self._rows.items() if sees(patient)}
        viewer.push("ward", {"t": round(self._now_s, 2), "all": True, "rows": rows, "gone": []})


def _nobody(_: str) -> bool:
    return False
