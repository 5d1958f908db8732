"""The relay and the feed as the person of the request at hand may use them. Pages and sockets are given nothing else.

:class:`Sight` is what she sees, :class:`Reach` what she can do. Both ask :mod:`web.access` at every call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from security.people import Right
from twin_engine.registry import PatientCard
from twin_engine.store.feed import Entry, Feed, Held, LogRecord, Logs, Past, View
from twin_engine.store.log_records import MAX_RECORDS
from web.access import Access
from web.fields import Wrong
from web.relay import Relay


class Sight:
    """The patients whom she may see. An unknown one, and one whom she may not see, are the same: None, nothing, {}."""

    def __init__(self, relay: Relay, access: Access) -> None:
        self._relay, self._access = relay, access

    @property
    def ready(self) -> bool:
        """Whether the patients are known yet."""
        return self._relay.ready

    def card(self, patient: str) -> PatientCard | None:
        """Her card."""
        return self._relay.card(patient) if self._access.may(Right.VIEW, patient) else None

    def cards(self) -> list[PatientCard]:
        """The cards of all whom she may see."""
        return [card for card in self._relay.cards() if self._access.sees(card.id)]

    def taken(self) -> list[PatientCard]:
        """Of all others: what keeps a bed, a name, a number or a device from being given twice. Never to be shown."""
        return [card for card in self._relay.cards() if not self._access.sees(card.id)]

    def status(self, patient: str) -> dict[str, Any]:
        """Her newest status."""
        return self._relay.status(patient) if self._access.sees(patient) else {}

    def events(self, patient: str) -> list[dict[str, Any]]:
        """Her newest events."""
        return self._relay.events(patient) if self._access.sees(patient) else []

    def look_again(self) -> None:
        """Read the cards in the next round."""
        self._relay.look_again()


class _LogSight:
    """The logs (:class:`twin_engine.store.feed.Logs`), asked for at every call."""

    def __init__(self, logs: Logs, need: Callable[[Right, str], None]) -> None:
        self._logs, self._need = logs, need

    def state(self, patient: str) -> dict[str, Any]:
        self._need(Right.VIEW, patient)
        return self._logs.state(patient)

    def held(self, patient: str, t0_ms: int, t1_ms: int) -> list[Held]:
        self._need(Right.VIEW, patient)
        return self._logs.held(patient, t0_ms, t1_ms)

    def records(self, patient: str, device: str, t0_ms: int, t1_ms: int, limit: int = MAX_RECORDS) -> list[LogRecord]:
        self._need(Right.VIEW, patient)
        return self._logs.records(patient, device, t0_ms, t1_ms, limit)

    def newest(self, patient: str, device: str, t0_ms: int, t1_ms: int, limit: int) -> list[LogRecord]:
        self._need(Right.VIEW, patient)
        return self._logs.newest(patient, device, t0_ms, t1_ms, limit)

    def bundle(self, patient: str, wanted: Sequence[LogRecord], since_ms: int | None = None) -> dict[str, Any]:
        self._need(Right.EXPORT, patient)
        return self._logs.bundle(patient, wanted, since_ms)


class Reach:
    """The feed, for what a page asks of it: history, and wishes. Refusals are :class:`Wrong` with their sentence."""

    def __init__(self, feed: Feed, relay: Relay, access: Access) -> None:
        self._feed, self._relay, self._access = feed, relay, access

    def history(self, patient: str, t0_s: float, t1_s: float, view: View = "live", coarse: bool = False) -> Past:
        """Her stored past."""
        self._need(Right.VIEW, patient)
        return self._feed.history(patient, t0_s, t1_s, view, coarse)

    def act(self, patient: str, kind: str, body: dict[str, Any], who: str) -> None:
        """Leave what the person wants done; a stay that she begins is hers to see."""
        if kind != "admit":
            self._need(Right.COMMAND if kind == "command" else Right.ACT, patient)
        elif not self._access.may(Right.ADMIT) or (self._relay.card(patient) and not self._access.sees(patient)):
            raise Wrong("people.refused")
        self._feed.act(patient, kind, body, who)
        if kind == "admit":
            self._grant(patient)

    def offers(self, right: Right) -> bool:
        """Whether a page shows her what needs this right; whether she may, for whom, is asked when she does it."""
        return self._access.has(right)

    def command(self, patient: str, device: str, name: str, payload: dict[str, Any]) -> None:
        """Leave what a patient's device is to be told: an act like others, in the name of whoever asks."""
        self.act(patient, "command", {"device": device, "name": name, "payload": payload}, self._access.who())

    @property
    def logs(self) -> Logs:
        """The logs, of patients whom she may see; proofs, of those whose data she may take away."""
        return _LogSight(self._feed.logs, self._need)

    def _need(self, right: Right, patient: str) -> None:
        if not self._access.may(right, patient):
            raise Wrong("people.refused")

    def _grant(self, patient: str) -> None:
        person, people = self._access.person(), self._access.people
        if person is not None and person.session is not None and people is not None and not self._access.sees(patient):
            self._access.tell("person.granted", person.name, person.name, {"patient": patient, "why": "admitted"})
            people.accounts.change(person.name, lambda account: account.granted(patient))

    # --- what only the relay asks, which serves no single person ---

    def recent(self, patient: str, seconds: float) -> list[Entry]:
        """Of a patient whom she may see."""
        self._need(Right.VIEW, patient)
        return self._feed.recent(patient, seconds)

    def follow(self, last: dict[str, str], block_ms: int) -> list[tuple[str, Entry]]:
        """Nobody's page follows the stream."""
        raise Wrong("people.refused")

    def patients(self) -> list[PatientCard]:
        """Those whom she may see."""
        return [card for card in self._feed.patients() if self._access.sees(card.id)]
