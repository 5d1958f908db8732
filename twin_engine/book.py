"""The shard's book of patients: cards, and which device spoke for whom and when. It carries acts out.

The rules are in :mod:`twin_engine.records`; here an act meets the present state, and what it comes to goes into the
round's commit. A device may speak for one patient only. Within the shard the book knows; over all shards the store's
route does, which an engine claims before it believes an assignment.
"""

from __future__ import annotations

from twin_engine.records import Act, ActRefused, Turn, carry_out
from twin_engine.registry import Assignments
from twin_engine.store.commit import Commit
from twin_engine.store.shard import ShardStore


class Book:
    """As the last commit left it, and then as this engine's acts changed it. Read anew after a round that failed."""

    def __init__(self, store: ShardStore) -> None:
        """Reads the shard's cards and assignments. Raises StoreDown."""
        self._store = store
        self.cards = store.cards()
        self._devices = {device: Assignments.from_json(text) for device, text in store.assignments().items()}

    def carry_out(self, act: Act, entry_ms: int, work: Commit) -> Turn:
        """The act, carried out in memory and put into `work`. Raises ActRefused; then nothing was changed."""
        if not self._store.owns(act.patient):
            raise ActRefused("wrong-shard", "expected a patient of this shard, got another one's; nothing changed")
        if self._store.is_erased(act.patient):
            raise ActRefused(
                "erased",
                "expected a patient who may be here, got one who was erased; an erased patient is never admitted "
                "again: a person who comes again gets a new id",
            )
        card = self.cards.get(act.patient)
        turn = carry_out(act, card, self.devices_of(act.patient), entry_ms)
        if turn.assigned:
            self._take(turn.assigned, act.patient, work)
        for device in turn.released:
            self._note(device, self.history(device).release(act.t_ms), work)
            work.routes[device] = None
        if turn.assigned:
            self._note(turn.assigned, self.history(turn.assigned).assign(act.patient, act.t_ms), work)
        if turn.card != card:
            if card is None:
                self._store.create_key(act.patient)
            self.cards[act.patient] = work.cards[act.patient] = turn.card
        return turn

    def history(self, device: str) -> Assignments:
        """Whose readings are whose."""
        return self._devices.get(device, Assignments())

    def current(self, device: str) -> str | None:
        """The patient for whom the device speaks now."""
        return self.history(device).current

    def devices_of(self, patient: str) -> tuple[str, ...]:
        """The devices that speak for her now, in the order in which they came."""
        hers = [(a.history[-1].from_ms, device) for device, a in self._devices.items() if a.current == patient]
        return tuple(device for _, device in sorted(hers))

    def measured(self) -> set[str]:
        """Patients for whom a device speaks now."""
        return {a.current for a in self._devices.values() if a.current is not None}

    def here(self) -> set[str]:
        """Patients who are admitted and not discharged."""
        return {patient for patient, card in self.cards.items() if card.present}

    def everybody(self) -> set[str]:
        """Everyone who has a card, or whose readings a device may still bring."""
        return self.cards.keys() | {a.patient for device in self._devices.values() for a in device.history}

    def keyholder(self, device: str) -> str:
        """The patient for whom the device was given its newest key; empty where she was erased."""
        history = self.history(device).history
        return history[-1].patient if history else ""

    def set_back(self, now_ms: int, step_ms: int, work: Commit) -> None:
        """The clock was ahead by `step_ms`: what was assigned under times to come was assigned that much earlier."""
        for device, before in list(self._devices.items()):
            after = before.set_back(now_ms, step_ms)
            if after != before:
                self._note(device, after, work)

    def _take(self, device: str, patient: str, work: Commit) -> None:
        """The device, for her alone. Raises ActRefused where it speaks for another."""
        freed = device in work.routes and work.routes[device] is None  # in this very round: still this shard's
        holder = patient if freed else self.current(device) or self._store.claim(device, patient)
        if holder != patient:
            text = f"expected a free device, got {device}, which speaks for another patient; nothing changed"
            raise ActRefused("device-taken", text)
        work.routes[device] = patient

    def _note(self, device: str, history: Assignments, work: Commit) -> None:
        self._devices[device] = history
        work.assignments[device] = history.to_json()
