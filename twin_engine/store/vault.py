"""Keys at rest: each patient's data key lies in Redis wrapped by the master key, which never does.

Destroying ``eb:key:PATIENT`` makes all that is stored of a patient unreadable, in every copy that lacks that key.
"""

from __future__ import annotations

from security.keys import MasterKey, PatientCipher, create_data_key
from twin_engine.store import keys
from twin_engine.store.connection import Client, translated
from twin_engine.store.errors import StoreCorrupt


class Vault:
    """Ciphers by patient, cached for the process's life."""

    def __init__(self, client: Client, master: MasterKey) -> None:
        self.client = client
        self.master = master
        self._ciphers: dict[str, PatientCipher] = {}

    def create(self, patient: str) -> PatientCipher:
        """The patient's cipher, made on first use; two processes that race agree on one key."""
        wrapped = self.master.wrap(create_data_key(), _context(patient))
        with translated():
            self.client.set(keys.data_key(patient), wrapped, nx=True)
        return self.cipher(patient)

    def cipher(self, patient: str) -> PatientCipher:
        """The patient's cipher. Raises StoreCorrupt where there is none (an erased patient)."""
        if patient not in self._ciphers:
            with translated():
                wrapped = self.client.get(keys.data_key(patient))
            if wrapped is None:
                raise StoreCorrupt(f"expected a data key for patient {patient}, got none; nothing of it can be read")
            self._ciphers[patient] = PatientCipher(self.master.unwrap(wrapped, _context(patient)))
        return self._ciphers[patient]


def _context(patient: str) -> bytes:
    return b"patient|" + patient.encode()
