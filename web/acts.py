"""What a person does to a twin on its way to the engine: checked, guarded against the wrong patient, handed on.

:class:`Acts` serves the sockets' event ``act`` and the forms of the page *Patients and devices*. In order, cheapest
first: rate, shape, patient, number (the record number that stood on that person's screen), fields, conflicts with
other patients; then the store. The answer to the person is the engine's: an event, or a record that has changed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twin_engine.registry import PatientCard, shown_number
from twin_engine.store.errors import Erased, StoreError
from twin_engine.store.feed import Feed
from web.fields import KINDS, Wrong, check
from web.relay import Relay
from web.words import Translate

log = logging.getLogger(__name__)

RATE, PER_S = 12, 10.0  # acts one socket may send in that time
MAX_FIELDS, MAX_ID = 24, 64
CONSEQUENTIAL = frozenset({"discharge", "exchange", "transfer"})  # confirmed with the record number's end
CONFIRM_LENGTH = 4
_CLAIMING = frozenset({"admit", "edit", "transfer", "assign", "exchange"})
_TAKEN = {"pseudonym": "pseudonym", "bed": "bed", "number": "number", "device": "device", "new": "device"}
# field of such an act -> the fact of a card that nobody else's may equal


class Acts:
    """The way from a person to the engine."""

    def __init__(
        self, feed: Feed, relay: Relay, who: str | Callable[[], str], clock: Callable[[], float] = time.monotonic,
        others: Callable[[], Iterable[PatientCard]] = tuple,
    ) -> None:  # fmt: skip
        """`others`: patients whom the person may not see; what they have is taken all the same."""
        self._feed = feed
        self._relay = relay
        self._who = who
        self._others = others
        self._clock = clock
        self._lock = threading.Lock()
        self._sent: dict[str, list[float]] = {}

    @property
    def who(self) -> str:
        """Whoever acts now."""
        return self._who if isinstance(self._who, str) else self._who()

    # ------------------------------------------------------------------------------------------- sockets

    def hear(self, sid: str, data: object, t: Translate) -> dict[str, object]:
        """One message ``act`` of the socket `sid`; the answer for it: {ok: true} or {ok: false, error}."""
        try:
            patient, kind, body = self._admissible(sid, data)
            wrong = self.send(patient, kind, body)
        except Wrong as error:
            return {"ok": False, "error": t(error.key, **error.facts)}
        if not wrong:
            return {"ok": True}
        return {"ok": False, "error": " ".join(f"{name}: {t(w.key, **w.facts)}" for name, w in wrong.items())}

    def forget(self, sid: str) -> None:
        """A socket is gone."""
        with self._lock:
            self._sent.pop(sid, None)

    def _admissible(self, sid: str, data: object) -> tuple[str, str, dict[str, Any]]:
        self._slow_down(sid)
        if not isinstance(data, dict):
            raise Wrong("patients.act.shape")
        patient, number, kind, body = (data.get(name) for name in ("patient", "number", "kind", "body"))
        if not isinstance(patient, str) or len(patient) > MAX_ID or not isinstance(kind, str) or kind not in KINDS:
            raise Wrong("patients.act.shape")
        if not isinstance(body, dict) or len(body) > MAX_FIELDS:
            raise Wrong("patients.act.shape")
        card = self._relay.card(patient) if patient else None
        if card is None or kind == "admit":
            raise Wrong("patients.act.unknown")
        if number != shown_number(card):
            log.warning("%s for %s was refused: the screen showed another record number", kind, card.id)
            raise Wrong("patients.act.other")
        return patient, kind, body

    def _slow_down(self, sid: str) -> None:
        now_s = self._clock()
        with self._lock:
            recent = [t_s for t_s in self._sent.get(sid, ()) if now_s - t_s < PER_S]
            if len(recent) >= RATE:
                raise Wrong("patients.act.often")
            self._sent[sid] = [*recent, now_s]

    # ------------------------------------------------------------------------------------------- both ways

    def send(self, patient: str, kind: str, body: Mapping[str, Any]) -> dict[str, Wrong]:
        """Hand an act to the engine. Gives the fields that are wrong ({} = it was sent).

        What can't be undone must say in ``confirm`` how this patient's number ends, whichever way it came.
        Raises :class:`Wrong` where it can't be sent at all: a patient who has left, a store that is down.
        """
        card = self._relay.card(patient)
        if kind != "admit" and (card is None or not card.present):
            raise Wrong("patients.act.left")
        if card is not None and card.locked:
            raise Wrong("patients.act.locked")
        checked = check(kind, body, time.gmtime().tm_year)
        unconfirmed = kind in CONSEQUENTIAL and (card is None or not confirms(card, body.get("confirm")))
        wrong = {"confirm": Wrong("patients.wrong.confirm")} if unconfirmed else {}
        unseen = conflicts(kind, patient, checked.body, self._others())
        wrong |= dict.fromkeys(unseen, Wrong("people.taken"))
        wrong |= conflicts(kind, patient, checked.body, self._relay.cards()) | checked.wrong
        if wrong:
            return wrong
        try:
            self._feed.act(patient, kind, checked.body, self.who)
        except Erased as error:
            log.warning("%s was refused: %s", kind, error)
            raise Wrong("patients.act.unknown") from error
        except StoreError as error:
            log.warning("%s for %s did not leave: %s", kind, patient, error)
            raise Wrong("patients.act.store") from error
        except Wrong:
            raise  # not allowed to this person
        except ValueError as error:
            log.warning("%s for %s can't be written down: %s", kind, patient, error)
            raise Wrong("patients.act.shape") from error
        return {}


def confirms(card: PatientCard, typed: object) -> bool:
    """Whether a person typed the end of this patient's number, and so looked at it."""
    end = shown_number(card)[-CONFIRM_LENGTH:]
    return isinstance(typed, str) and typed.strip().casefold() == end.casefold()


def conflicts(kind: str, patient: str, body: Mapping[str, Any], cards: Iterable[PatientCard]) -> dict[str, Wrong]:
    """Fields of an act that another patient of the ward already has: name, bed, number, device."""
    if kind not in _CLAIMING:
        return {}
    others = [card for card in cards if card.present and card.id != patient]
    wrong = dict[str, Wrong]()
    for field, fact in _TAKEN.items():
        wanted = str(body.get(field) or "").casefold()
        taken = next((card for card in others if wanted and getattr(card, fact).casefold() == wanted), None)
        if taken is not None:
            wrong[field] = Wrong(f"patients.wrong.taken_{fact}", pseudonym=taken.pseudonym, bed=taken.bed)
    return wrong
