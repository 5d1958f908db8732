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
from typing import Any

from twin_engine.store.errors import StoreError
from twin_engine.store.feed import Entry, Feed, PatientCard
from web.board import Board
from web.history import History
from web.room import NOT_SILENT, Room, close, give_all, greet, send_entry
from web.settings import WebSettings
from web.viewer import Send, Viewer
from web.ward import Row, summary

log = logging.getLogger(__name__)

OnSent = Callable[[Entry, int], None]
CARDS_EVERY_S = 2.0
BOARD_EVERY_S = 1.0
PACE_EACH_S, PACE_MOST_S = 0.0005, 0.04  # many patients are read in batches: a little later, much cheaper
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
        board: Board | None = None,
    ) -> None:
        self._feed = feed
        self._send = send
        self._settings = settings
        self._on_sent = on_sent
        self._clock = clock
        self._board = board
        self._board_at = float("-inf")
        self._asked = False  # whether the store was asked for the patients yet, whatever it said
        self._lock = threading.RLock()
        self._rooms: dict[str, Room] = {}
        self._cards_at = float("-inf")
        self._why = ""
        self._rest_until = float("-inf")
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
                self._tell_board()
                if self._rested():
                    self._round()
                    patience_s, self._why = FIRST_PATIENCE_S, ""
            except StoreError as error:
                log.warning("the twin stream can't be read, next attempt in %.2g s: %s", patience_s, error)
                patience_s = self._rest(patience_s, STORE_DOWN)
            except Exception:  # the thread's edge: whatever it was, viewers must learn that nothing comes
                log.exception("the relay stumbled, next attempt in %.2g s", patience_s)
                patience_s = self._rest(patience_s, "the relay stumbled")
            self._asked = True
            self._notice_silence()

    def _rest(self, patience_s: float, why: str) -> float:
        """Leave the store alone for so long; gives how long the next time."""
        self._why = why
        self._rest_until = time.monotonic() + patience_s
        return min(2 * patience_s, self._settings.patience_s)

    def _rested(self) -> bool:
        """Whether the store may be asked; else a part of the rest is over, and the ward is to be told that we live."""
        left_s = self._rest_until - time.monotonic()
        if left_s > 0:
            self._stop.wait(min(left_s, BOARD_EVERY_S))
        return left_s <= 0

    def _round(self) -> None:
        self._meet_patients()
        with self._lock:
            last = {patient: room.last_id for patient, room in self._rooms.items()}
        if not last:
            self._stop.wait(self._settings.block_ms / 1000)
            return
        for patient, entry in self._feed.follow(last, self._settings.block_ms):
            self._hand_on(patient, entry)
        self._stop.wait(min(PACE_MOST_S, len(last) * PACE_EACH_S))

    def _meet_patients(self) -> None:
        """Open a room for every patient that has none, with the last minute already in it."""
        now_s = self._clock()
        if 0 <= now_s - self._cards_at < CARDS_EVERY_S and self._rooms:
            return
        cards = {card.id: card for card in self._feed.patients()}
        with self._lock:
            for patient in [known for known in self._rooms if known not in cards]:
                close(self._rooms.pop(patient), now_s)  # erased: whoever watches sees nothing more of her
            for patient, room in self._rooms.items():
                room.meet(cards[patient])
        for card in cards.values():
            if card.id not in self._rooms:
                self._open_room(card, now_s)
        self._cards_at = now_s

    def _open_room(self, card: PatientCard, now_s: float) -> None:
        past = self._feed.recent(card.id, self._settings.snapshot_s)
        start_id = f"{int((now_s - self._settings.snapshot_s) * 1000)}-0"
        room = Room(card, History(self._settings.snapshot_s), start_id, now_s)
        for entry in past:
            room.take(entry)
        room.heard_s = min(room.history.clock_s or now_s, now_s)
        with self._lock:
            self._rooms[card.id] = room

    def _hand_on(self, patient: str, entry: Entry) -> None:
        with self._lock:
            room = self._rooms[patient]
            room.heard_s = self._clock()
            room.take(entry)
            was_silent, room.silent = room.silent, None
            for viewer in list(room.viewers.values()):
                if was_silent:
                    viewer.offer("silent", NOT_SILENT)
                send_entry(viewer, entry)
        if self._on_sent is not None:
            self._on_sent(entry, int(self._clock() * 1000))

    def _notice_silence(self) -> None:
        now_s = self._clock()
        with self._lock:
            for room in self._rooms.values():
                room.heard_s = min(room.heard_s, now_s)  # silence is counted anew where the clock was set back
                late = room.card.present and now_s - room.heard_s > self._settings.silent_after_s
                if room.silent is None and late:
                    room.silent = {"since": room.heard_s, "why": self._why}
                    log.warning("no word from the engine for %s since %.1f", room.card.id, room.heard_s)
                    for viewer in list(room.viewers.values()):
                        viewer.offer("silent", room.silent)

    def _tell_board(self) -> None:
        now_s = self._clock()
        if self._board is None or not self._asked or 0 <= now_s - self._board_at < BOARD_EVERY_S:
            return
        self._board_at = now_s
        self._board.publish(self._rows(), now_s)

    def _rows(self) -> dict[str, Row]:
        """Of every patient who is on the ward."""
        with self._lock:
            rooms = [room for room in self._rooms.values() if room.card.present]
            return {r.card.id: summary(r.card, r.history.status, r.silent, r.spark) for r in rooms}

    # ------------------------------------------------------------------------------------------- the viewers

    def join(self, sid: str, patient: str) -> bool:
        """Give the socket `sid` the whole picture of `patient` and keep it fed; False: there is no such one."""
        with self._lock:
            room = self._rooms.get(patient)
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
        """The card of `patient`, None where there is none."""
        with self._lock:
            room = self._rooms.get(patient)
            return room.card if room else None

    def cards(self) -> list[PatientCard]:
        """All patients, as the store orders them."""
        with self._lock:
            return [room.card for room in self._rooms.values()]

    def look_again(self) -> None:
        """Read the patients' cards in the next round: somebody waits for one to change."""
        self._cards_at = float("-inf")

    def status(self, patient: str) -> dict[str, Any]:
        """The newest status of `patient`; {} where there is none."""
        with self._lock:
            room = self._rooms.get(patient)
            return (room.history.status if room else None) or {}

    def events(self, patient: str) -> list[dict[str, Any]]:
        """The newest events of `patient`, oldest first."""
        with self._lock:
            return list(self._rooms[patient].history.events) if patient in self._rooms else []

    def viewers(self, patient: str) -> list[Viewer]:
        """Who watches `patient` now."""
        with self._lock:
            return list(self._rooms[patient].viewers.values()) if patient in self._rooms else []
