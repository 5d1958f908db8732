"""Patients and assignments in Redis (what they mean is in :mod:`twin_engine.registry`).

Changes are messages in the shard's stream, so that the fold sees them in order with the readings; the card itself
lies sealed under the patient's key.
"""

from __future__ import annotations

from twin_engine.registry import PatientCard
from twin_engine.store import keys, raw
from twin_engine.store.connection import Client, translated
from twin_engine.store.vault import Vault


class PatientStore:
    """Admits patients and assigns devices. Raises StoreDown."""

    def __init__(self, client: Client, vault: Vault, shards: int) -> None:
        self._client = client
        self._vault = vault
        self._shards = shards

    def admit(self, card: PatientCard) -> None:
        """Create or replace a patient's card, and her data key where she has none."""
        cipher = self._vault.create(card.id)
        sealed = cipher.seal(card.to_json().encode(), b"card|" + card.id.encode())
        with translated():
            batch = self._client.pipeline(transaction=True)
            batch.set(keys.patient(card.id), sealed)
            batch.sadd(keys.PATIENTS, card.id)
            batch.execute()

    def assign(self, device: str, patient: str, t_ms: int) -> None:
        """From `t_ms` on, the device speaks for the patient. Events of the device go to her shard."""
        shard = keys.shard_of(patient, self._shards)
        with translated():
            batch = self._client.pipeline(transaction=True)
            batch.hset(keys.ROUTE, device, shard)
            batch.xadd(keys.raw(shard), raw.assignment_fields(device, patient, t_ms))
            batch.execute()

    def release(self, device: str, patient: str, t_ms: int) -> None:
        """From `t_ms` on, the device speaks for nobody. Goes to the shard of the patient for whom it spoke."""
        with translated():
            self._client.xadd(keys.raw(keys.shard_of(patient, self._shards)), raw.assignment_fields(device, "", t_ms))

    def cards(self) -> list[PatientCard]:
        """All patients, by bed."""
        return read_cards(self._client, self._vault)


def read_cards(client: Client, vault: Vault) -> list[PatientCard]:
    """All patients' cards, by bed."""
    with translated():
        ids = sorted(member.decode() for member in client.smembers(keys.PATIENTS))
        sealed = [client.get(keys.patient(patient)) for patient in ids]
    cards = [
        PatientCard.from_json(vault.cipher(patient).unseal(blob, b"card|" + patient.encode()).decode())
        for patient, blob in zip(ids, sealed, strict=True)
        if blob is not None and vault.has(patient)
    ]
    return sorted(cards, key=lambda card: card.bed)
