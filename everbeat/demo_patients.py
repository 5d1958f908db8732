"""The demo's patients: over how many shards, whom not, and their admission with device and certificate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from device.cloud import enrol_local
from everbeat import house_ca, wiring
from everbeat.demo_plan import DemoFailed, DemoPlan
from everbeat.patients import DEMO_PREFIX
from everbeat.settings import Settings
from security.identity import wall_clock_ms
from twin_engine.registry import PatientCard
from twin_engine.store.errors import StoreDown
from twin_engine.store.patients import PatientStore


def with_shards(settings: Settings, plan: DemoPlan) -> Settings:
    """Patients stay where they are: over as many shards as this state began with."""
    there = wiring.patient_store(settings).fix_shards()
    if plan.shards not in (None, there):
        raise DemoFailed(
            f"expected {plan.shards} shards, but the patients in {settings.state} are spread over {there}; nothing was "
            f"started: leave the number out, or set EVERBEAT_STATE to another directory"
        )
    return replace(settings, shards=there)


def refuse_erased(settings: Settings, plan: DemoPlan) -> None:
    """Who was erased is not admitted again, not even by a demo."""
    keys = wiring.vault(settings, "keeper")
    gone = [card.id for card in plan.cards if keys.is_erased(card.id)]
    if gone:
        raise DemoFailed(
            f"expected patients who may be admitted, got {', '.join(gone)}, erased in {settings.state}; nothing was "
            "started: an erased patient stays erased. Play others, or set EVERBEAT_STATE to another directory"
        )


def admit(settings: Settings, cards: Sequence[PatientCard]) -> None:
    """The patients, their devices with certificates, and the local hub's knowledge of them. May be repeated.

    Who was in a demo before and is not in this one is discharged: a device that no longer sends is no reason for an
    alarm. Who is here keeps what was changed on her card.
    """
    wiring.engine_identity(settings)
    if settings.local_hub:
        wiring.hub_settings(settings)
    for card in cards:
        identity = wiring.device_identity(settings, card.device)
        if settings.local_hub:
            enrol_local(settings.hub, identity)
    store = wiring.patient_store(settings)
    store.fix_shards()
    here = {card.id: card for card in store.cards() if card.present}
    _discharge_others(store, here, cards)
    for card in cards:
        if card.id not in here:
            store.admit(card, wall_clock_ms())
        elif here[card.id].device not in ("", card.device):  # exchanged in the last demo: that one is not there now
            store.release(here[card.id].device, card.id, wall_clock_ms())
        store.assign(card.device, card.id, wall_clock_ms())
    house_ca.tell(settings)


def _discharge_others(store: PatientStore, here: Iterable[str], cards: Sequence[PatientCard]) -> None:
    for other in set(here) - {card.id for card in cards}:
        if other.startswith(DEMO_PREFIX):
            store.discharge(other, wall_clock_ms())


def all_here(settings: Settings, plan: DemoPlan) -> bool:
    """Whether the engines have admitted every patient."""
    try:
        here = {card.id for card in wiring.patient_store(settings).cards() if card.present}
    except StoreDown:
        return False
    return here >= {card.id for card in plan.cards}
