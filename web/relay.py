"""From the twin stream to the sockets: one thread a process follows all patients and hands what is new to viewers.

In order: read what is new; remember the last minute (:mod:`web.history`); hand frame, revision, status and events to
the patient's viewers (:mod:`web.viewer`); notice an engine that has gone silent and say since when. A store that is
down is asked again with growing patience; viewers see silence, never an error page. Nothing here knows Redis.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from twin_engine.store.errors import StoreError
from twin_engine.store.feed import Entry, Feed, PatientCard
from web.history import History
from web.room import Room, give_all, greet, remember, renew, send_entry
from web.settings import WebSettings
from web.viewer import Send, Viewer

log = logging.getLogger(__name__)

OnSent = Callable[[Entry, int], None]
CARDS_EVERY_S = 5.0
FIRST_PATIENCE_S = 0.25
STORE_DOWN = "the record store can't be reached"


class Relay:
    """Joins viewers to rooms and keeps them fed. `on_sent(entry, now_ms)`: an entry has been handed to its viewers."""

    def __init__(
        self,
        feed: Feed,
        send: Send,
        settings: WebSettings,
        on_sent: OnSent | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._feed = feed
        self._send = send
        self._settings = settings
        self._on_sent = on_sent
        self._clock = clock
        self._lock = threading.RLock()
        self._rooms: dict[str, Room] = {}
        self._cards_at = float("-inf")
        self._why = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # ------------------------------------------------------------------------------------------- the thread

    def start(self) -> None:
        """Start following; a second call does nothing."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Stop following and wait for the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=self._settings.block_ms / 1000 + 5)

    def _run(self) -> None:
        patience_s = FIRST_PATIENCE_S
        while not self._stop.is_set():
            try:
                self._round()
                patience_s = FIRST_PATIENCE_S
                self._why = ""
            except StoreError as error:
                log.warning("the twin stream can't be read, next attempt in %.2g s: %s", patience_s, error)
                patience_s = self._wait(patience_s, STORE_DOWN)
            except Exception:  # the thread's edge: whatever it was, viewers must learn that nothing comes
                log.exception("the relay stumbled, next attempt in %.2g s", patience_s)
                patience_s = self._wait(patience_s, "the relay stumbled")
            self._notice_silence()

    def _wait(self, patience_s: float, why: str) -> float:
        self._why = why
        self._stop.wait(patience_s)
        return min(2 * patience_s, self._settings.patience_s)

    def _round(self) -> None:
        self._meet_patients()
        with self._lock:
            last = {patient: room.last_id for patient, room in self._rooms.items()}
        if not last:
            self._stop.wait(self._settings.block_ms / 1000)
            return
        for patient, entry in self._feed.follow(last, self._settings.block_ms):
            self._hand_on(patient, entry)

    def _meet_patients(self) -> None:
        """Open a room for every patient that has none, with the last minute already in it."""
        now_s = self._clock()
        if now_s - self._cards_at < CARDS_EVERY_S and self._rooms:
            return
        for card in self._feed.patients():
            with self._lock:
                if card.id in self._rooms:
                    renew(self._rooms[card.id], card)
                    continue
            self._open_room(card, now_s)
        self._cards_at = now_s

    def _open_room(self, card: PatientCard, now_s: float) -> None:
        history = History(self._settings.snapshot_s)
        past = self._feed.recent(card.id, self._settings.snapshot_s)
        for entry in past:
            remember(history, entry)
        start_id = past[-1].id if past else f"{int((now_s - self._settings.snapshot_s) * 1000)}-0"
        heard_s = history.clock_s or now_s
        with self._lock:
            self._rooms[card.id] = Room(card, history, start_id, heard_s)

    def _hand_on(self, patient: str, entry: Entry) -> None:
        with self._lock:
            room = self._rooms[patient]
            room.last_id = entry.id
            room.heard_s = self._clock()
            remember(room.history, entry)
            was_silent, room.silent = room.silent, None
            for viewer in room.viewers.values():
                if was_silent:
                    viewer.offer("silent", {"since": None, "why": ""})
                send_entry(viewer, entry)
        if self._on_sent is not None:
            self._on_sent(entry, int(self._clock() * 1000))

    def _notice_silence(self) -> None:
        now_s = self._clock()
        with self._lock:
            for room in self._rooms.values():
                if room.silent is None and now_s - room.heard_s > self._settings.silent_after_s:
                    room.silent = {"since": room.heard_s, "why": self._why}
                    log.warning("no word from the engine for %s since %.1f", room.card.id, room.heard_s)
                    for viewer in room.viewers.values():
                        viewer.offer("silent", room.silent)

    # ------------------------------------------------------------------------------------------- the viewers

    def join(self, sid: str, patient: str) -> bool:
        """Give the socket `sid` the whole picture of `patient` ("" = the first) and keep it fed; False: no such one."""
        with self._lock:
            room = self._rooms.get(patient) if patient else next(iter(self._rooms.values()), None)
            if room is None:
                return False
            viewer = Viewer(sid, self._send, self._settings.window, self._resync)
            room.viewers[sid] = viewer
            greet(room, viewer)
        return True

    def leave(self, sid: str) -> None:
        """Forget a socket; unknown ones are no error (a disconnect may come twice)."""
        with self._lock:
            for room in self._rooms.values():
                room.viewers.pop(sid, None)

    def _resync(self, viewer: Viewer, dropped: int) -> None:
        with self._lock:
            room = next((r for r in self._rooms.values() if viewer.sid in r.viewers), None)
            if room is not None:
                viewer.push("dropped", {"count": dropped})
                give_all(room, viewer)

    # ------------------------------------------------------------------------------------------- for the page

    @property
    def ready(self) -> bool:
        """Whether the patients are known yet."""
        return bool(self._rooms)

    def card(self, patient: str) -> PatientCard | None:
        """The card of `patient` ("" = the first), None where there is none."""
        with self._lock:
            room = self._rooms.get(patient) if patient else next(iter(self._rooms.values()), None)
            return room.card if room else None

    def cards(self) -> list[PatientCard]:
        """All patients, as the store orders them."""
        with self._lock:
            return [room.card for room in self._rooms.values()]

    def viewers(self, patient: str) -> list[Viewer]:
        """Who watches `patient` now."""
        with self._lock:
            return list(self._rooms[patient].viewers.values()) if patient in self._rooms else []
