"""Patients and assignments in Redis, for who starts a house (what they mean is in :mod:`twin_engine.registry`).

Nothing is changed here: what is wanted goes into the acts stream of the patient's shard, as the page's wishes do, and
the engine carries it out. Cards lie sealed under the patients' keys and are read back.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from security.errors import Rejected
from twin_engine.records import FACTS, Act
from twin_engine.registry import PatientCard, bed_order
from twin_engine.store import keys
from twin_engine.store.acts import write_act
from twin_engine.store.connection import Client, translated
from twin_engine.store.errors import StoreCorrupt
from twin_engine.store.vault import Vault

log = logging.getLogger(__name__)

KEEPER = "keeper"  # who acts, where no person does


class PatientStore:
    """Admits patients and assigns devices. Raises StoreDown."""

    def __init__(self, client: Client, vault: Vault, shards: int) -> None:
        self._client = client
        self._vault = vault
        self._shards = shards

    def fix_shards(self) -> int:
        """Over how many shards the patients here are spread: what was said first, for good."""
        with translated():
            self._client.set(keys.SHARDS, self._shards, nx=True)
            return int(self._client.get(keys.SHARDS))

    def admit(self, card: PatientCard, t_ms: int) -> None:
        """Begin a patient's stay. Her device is assigned by an act of its own."""
        self.act(card.id, "admit", {name: getattr(card, name) for name in FACTS}, t_ms)

    def discharge(self, patient: str, t_ms: int) -> None:
        """End a patient's stay; her devices are released."""
        self.act(patient, "discharge", {}, t_ms)

    def assign(self, device: str, patient: str, t_ms: int) -> None:
        """From `t_ms` on, the device speaks for the patient. Events of the device go to her shard."""
        self.act(patient, "assign", {"device": device}, t_ms)

    def release(self, device: str, patient: str, t_ms: int) -> None:
        """From `t_ms` on, the device speaks for nobody. Goes to the shard of the patient for whom it spoke."""
        self.act(patient, "release", {"device": device}, t_ms)

    def act(self, patient: str, kind: str, body: dict[str, Any], t_ms: int) -> None:
        """Any act (:mod:`twin_engine.records` has the kinds), in the keeper's name."""
        act = Act(patient, kind, body, KEEPER, t_ms)
        write_act(self._client, self._vault.master, keys.shard_of(patient, self._shards), act)

    def cards(self) -> list[PatientCard]:
        """All patients, by bed."""
        return read_cards(self._client, self._vault)


def read_cards(client: Client, vault: Vault) -> list[PatientCard]:
    """All patients' cards, by bed; without those that can't be read."""
    return sorted(cards_of(client, vault, patient_ids(client)).values(), key=bed_order)


def patient_ids(client: Client) -> list[str]:
    """Who was ever admitted, whether the card can be read or not; sorted."""
    with translated():
        return sorted(member.decode() for member in client.smembers(keys.PATIENTS))


def cards_of(client: Client, vault: Vault, ids: Sequence[str]) -> dict[str, PatientCard]:
    """The cards of these patients, by id; without those who were erased, or whose cards nobody can read."""
    found, locked = find_cards(client, vault, ids)
    for patient, why in locked.items():
        log.error("the card of %s can't be read (%s); the patient is left out", patient, why)
    return found


def find_cards(client: Client, vault: Vault, ids: Sequence[str]) -> tuple[dict[str, PatientCard], dict[str, str]]:
    """The cards that can be read, by id, and why the others can't. Who was erased is in neither."""
    with translated():
        batch = client.pipeline(transaction=False)  # one round trip, however many patients
        for patient in ids:
            batch.get(keys.patient(patient)).exists(keys.data_key(patient))
        found = batch.execute()
    rows = zip(ids, found[::2], found[1::2], strict=True)
    cards, locked = dict[str, PatientCard](), dict[str, str]()
    for patient, blob, has_key in rows:
        try:
            if blob is None or not has_key:
                raise StoreCorrupt(f"expected {'a card' if has_key else 'a data key'} in the store, got none")
            cards[patient] = open_card(vault, patient, blob)
        except (StoreCorrupt, Rejected, ValueError, TypeError, AttributeError) as error:  # it must not hide the others
            locked[patient] = str(error)
    return cards, {patient: why for patient, why in locked.items() if not vault.is_erased(patient)}


def seal_card(vault: Vault, card: PatientCard) -> bytes:
    """A card for the store, under its patient's key."""
    return vault.cipher(card.id).seal(card.to_json().encode(), _context(card.id))


def open_card(vault: Vault, patient: str, blob: bytes) -> PatientCard:
    """The inverse of :func:`seal_card`. Raises StoreCorrupt, Rejected."""
    return PatientCard.from_json(vault.cipher(patient).unseal(blob, _context(patient)).decode())


def _context(patient: str) -> bytes:
    return b"card|" + patient.encode()
