"""Patients whose half of the key outside Redis is missing: nothing of theirs can be read until it is brought back.

Only the key directory is looked at: that a tombstone says so is an erasure, everything else is a loss.
"""

from __future__ import annotations

from security import files
from security.keyhome import name_of
from security.keys import MasterKey
from twin_engine.store.connection import Client
from twin_engine.store.patients import patient_ids


def lost_keys(client: Client, master: MasterKey) -> dict[str, str]:
    """patient -> what is wrong with her key file, in words for an operator. Raises StoreDown."""
    home, lost = master.home, dict[str, str]()
    if home is None:
        return lost
    home.look()
    for patient in patient_ids(client):
        name = name_of(patient)
        try:
            is_lost = name not in home.tombstones and home.secret(name) is None
            why = "it is missing" if is_lost else ""
        except (files.KeyFileError, OSError) as error:
            why = str(error)[:200]
        if why:
            lost[patient] = f"keys/patients/{name.hex()}.key: {why}"
    return lost


def said(patient: str, why: str) -> str:
    """The line for logs and ``everbeat fsck``."""
    return (
        f"patient {patient}: nothing of hers can be read ({why}); bring the file back from the newest copy of keys/: "
        "she comes back by herself"
    )
