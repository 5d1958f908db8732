"""One patient, the last minute, and those who watch; and which messages a viewer gets of it.

Messages: ``hello`` (banner and looks), ``card`` (the banner, when the record changed), ``snapshot``, ``frame`` and
``revision`` (binary, twin_engine/messages.py), ``status``, ``event``, ``events`` (the newest ones, oldest first),
``silent`` ({since, why}; since None = over), ``dropped`` ({count}) and ``over`` ({why}: erased, rights or session; the
page clears what it shows, and nothing follows). The relay holds the lock; nothing here starts a
thread.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from twin_engine.registry import DEFAULT_LIMITS, Limits
from twin_engine.store.feed import Entry, PatientCard
from web.history import History
from web.look import looks
from web.viewer import Viewer
from web.ward import Spark

log = logging.getLogger(__name__)

OVER = "over"
ERASED = "the record of this patient was erased"
LOCKED = "locked: the key to the record of this patient is missing"
NOT_SILENT: dict[str, Any] = {"since": None, "why": ""}


@dataclass(slots=True)
class Room:
    """One patient and those who watch."""

    card: PatientCard
    history: History
    last_id: str
    heard_s: float  # Unix s of the last entry, or of the start
    silent: dict[str, Any] | None = None
    viewers: dict[str, Viewer] = field(default_factory=dict)
    spark: Spark = field(default_factory=Spark)

    def take(self, entry: Entry) -> None:
        """Remember what one commit of the engine made."""
        self.last_id = entry.id
        remember(self.history, entry)
        if entry.status is not None:
            self.spark.add(entry.status)

    def meet(self, card: PatientCard, now_s: float) -> None:
        """The record as it is now; viewers are told where it changed. Of one that is locked the last card stays."""
        if card.locked:
            card = replace(self.card, locked=True)
        if card == self.card:
            return
        was_locked, self.card = self.card.locked, card
        if card.locked or was_locked:
            self.silent, self.heard_s = ({"since": now_s, "why": LOCKED} if card.locked else None), now_s
            for viewer in list(self.viewers.values()):
                viewer.push("silent", self.silent or NOT_SILENT)
        over = self.silent is not None and not card.present
        if over:
            self.silent = None  # nothing is expected of her any more
        for viewer in list(self.viewers.values()):
            if over:
                viewer.push("silent", NOT_SILENT)
            viewer.push("card", {"card": banner(card)})


def greet(room: Room, viewer: Viewer) -> None:
    """Whose room this is, how its signals look, and all that is known."""
    viewer.push("hello", {"card": banner(room.card), "looks": looks()})
    _show(room, viewer)
    if room.silent is not None:
        viewer.push("silent", room.silent)


def give_all(room: Room, viewer: Viewer) -> None:
    """The whole picture, whatever the viewer has seen and missed before: also that a silence is over."""
    _show(room, viewer)
    viewer.push("silent", room.silent or NOT_SILENT)


def close(room: Room, now_s: float) -> None:
    """The patient was erased: screens that show her are emptied and say so."""
    room.history, room.silent = History(0.0), {"since": now_s, "why": ERASED}
    room.history.clock_s = now_s
    room.card = PatientCard(room.card.id, "", 0, "")
    for viewer in list(room.viewers.values()):
        viewer.push("card", {"card": banner(room.card)})
        give_all(room, viewer)
        viewer.push(OVER, {"why": "erased"})


def _show(room: Room, viewer: Viewer) -> None:
    viewer.push("snapshot", room.history.snapshot())
    if room.history.status is not None:
        viewer.push("status", room.history.status)
    viewer.push("events", list(room.history.events))


def banner(card: PatientCard) -> dict[str, object]:
    """What the page may know of a patient: pseudonym, identifiers, the body's measures and her alarm limits."""
    return {
        "id": card.id, "pseudonym": card.pseudonym, "birth_year": card.birth_year, "bed": card.bed,
        "sex": card.sex, "number": card.number, "height_cm": card.height_cm, "weight_kg": card.weight_kg,
        "discharged_ms": card.discharged_ms,
        "limits": {signal: _limits(card, signal) for signal in sorted({*DEFAULT_LIMITS, *card.limits})},
    }  # fmt: skip


def _limits(card: PatientCard, signal: str) -> dict[str, object]:
    """Her limits of a signal in its unit; `usual` are the default ones, None where the signal has none."""
    usual = DEFAULT_LIMITS.get(signal)
    shown = asdict(card.limits_of(signal) or Limits())
    return shown | {"default": signal not in card.limits, "usual": asdict(usual) if usual else None}


def remember(history: History, entry: Entry) -> None:
    """Add to the history; an entry that is no wire message is left out and logged."""
    try:
        history.add(entry)
    except ValueError as error:
        log.error("entry %s is no wire message and was left out of the snapshot: %s", entry.id, error)


def send_entry(viewer: Viewer, entry: Entry) -> None:
    """Offer what one commit of the engine made."""
    if entry.frame:
        viewer.offer("frame", entry.frame)
    if entry.revision:
        viewer.offer("revision", entry.revision)
    if entry.status is not None:
        viewer.offer("status", entry.status)
    for event in entry.events:
        viewer.offer("event", event)
