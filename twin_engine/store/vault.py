"""Keys at rest: a patient's data key lies in Redis wrapped by what never does, the master key and her own secret.

Destroying the secret (:mod:`twin_engine.store.erasing`) makes all that is stored of a patient unreadable, in every copy
of Redis. Ciphers are kept until something changes in the key directory, which is looked at once a second: a process
that runs stops reading and writing for who was erased, and takes up new versions of keys, without being told.
"""

from __future__ import annotations

import logging

import redis

from security.errors import Rejected
from security.keyhome import fingerprint
from security.keys import DataKeys, MasterKey, PatientCipher, belongs_to, version_of
from twin_engine.store import keys
from twin_engine.store.connection import Client, translated
from twin_engine.store.errors import Erased, StoreCorrupt

log = logging.getLogger(__name__)


class Vault:
    """Ciphers by patient. May be used by several threads."""

    def __init__(self, client: Client, master: MasterKey) -> None:
        self.client = client
        self.master = master
        self._ciphers: dict[str, PatientCipher] = {}
        self._older = set[str]()  # patients whose data keys have versions that only open
        self._generation = 0

    def create(self, patient: str) -> PatientCipher:
        """The patient's cipher, made on first use; two processes that race agree on one key. Raises Erased."""
        self.look()
        self.refuse_erased(patient)
        with translated():
            there = bool(self.client.exists(keys.data_key(patient)))
        if not there:
            self._create(patient)
        return self.cipher(patient)

    def cipher(self, patient: str) -> PatientCipher:
        """The patient's cipher. Raises Erased, StoreCorrupt where there is no key, Rejected where it won't open."""
        if self.generation() != self._generation:
            self._ciphers, self._generation = {}, self.generation()
        found = self._ciphers.get(patient)
        if found is None:
            known = self.data_keys(patient)
            found = self._ciphers[patient] = known.cipher()
            (self._older.add if known.retired_ms else self._older.discard)(patient)
        return found

    def has_older(self, patient: str) -> bool:
        """Whether her data key has versions that only open. Known without asking, once her cipher was used."""
        return patient in self._older

    def data_keys(self, patient: str) -> DataKeys:
        """All versions of her data key, as they are in Redis now. Raises like :meth:`cipher`."""
        with translated():
            return self.open_data_keys(patient, self.client.get(keys.data_key(patient)))

    def open_data_keys(self, patient: str, wrapped: bytes | None) -> DataKeys:
        """The same, of what lies in Redis."""
        self.refuse_erased(patient)
        if wrapped is None:
            raise StoreCorrupt(f"expected a data key for patient {patient}, got none; nothing of it can be read")
        try:
            return DataKeys.from_bytes(self.master.unwrap(wrapped, context(patient), patient))
        except Rejected:
            self.refuse_erased(patient)  # a moment ago
            raise

    def is_readable(self, patient: str) -> bool:
        """Whether the patient was admitted and not erased: there is a key to her data."""
        try:
            self.cipher(patient)
        except (StoreCorrupt, Rejected):
            return False
        return True

    def generation(self) -> int:
        """Changes when keys were changed by any process (see :meth:`security.keyhome.KeyHome.generation`)."""
        return self.master.home.generation() if self.master.home else 0

    def look(self) -> None:
        """See changes of keys now, and not within a second."""
        if self.master.home is not None:
            self.master.home.look()

    def is_erased(self, patient: str) -> bool:
        """Whether there is a tombstone."""
        return self.master.home is not None and self.master.home.tombstone(patient) is not None

    def refuse_erased(self, patient: str) -> None:
        """Raises Erased where there is a tombstone."""
        if self.is_erased(patient):
            raise Erased(
                f"expected a patient who may be here, got {patient}, who was erased; nothing of her is read or "
                "written, and she is not admitted again: a person who comes again gets a new id"
            )

    def change(self, patient: str, wanted: DataKeys, seen: bytes | None) -> bool:
        """Write her data keys where Redis still holds what was `seen`. False where another process was faster.

        What an older version of the master key wrapped is not written: `eb:master` says which one counts.
        """
        with translated(), self.client.pipeline(transaction=True) as batch:
            try:
                batch.watch(keys.data_key(patient), keys.MASTER)
                wrapped = self.master.wrap(wanted.to_bytes(), context(patient), self._owner(patient))
                newest = int(batch.get(keys.MASTER) or 0)
                if batch.get(keys.data_key(patient)) != seen or version_of(wrapped) < newest:
                    return False
                batch.multi()
                batch.set(keys.data_key(patient), wrapped)
                batch.execute()
                return True
            except redis.WatchError:
                return False

    def adopt(self, patient: str) -> bool:
        """Give her a secret, where her data key was wrapped by the master key alone. True where that was so."""
        with translated():
            wrapped = self.client.get(keys.data_key(patient))
        if wrapped is None or belongs_to(wrapped) or self.master.home is None or self.is_erased(patient):
            return False
        try:
            found = DataKeys.from_bytes(self.master.unwrap(wrapped, context(patient)))
        except Rejected as error:  # her data can't be read with the keys here; a person must look
            log.error("the data key of %s can't be opened (%s)", patient, error)
            return False
        self.master.home.create_secret(patient)
        return self.change(patient, found, wrapped)

    def sync_tombstones(self, write: bool) -> None:
        """Tombstones of the key directory and of Redis, each to the other; secrets that came back are destroyed.

        `write`: whether this process may write to Redis. Raises StoreCorrupt on a tombstone that is not this house's.
        """
        home = self.master.home
        if home is None:
            return
        home.house_key()  # made at the first start, so that every backup of the key directory has it
        with translated():
            stored = self.client.hgetall(keys.ERASED)
        try:
            for stone in home.bury(list(stored.values())):
                log.warning("a patient who was erased on %s came back with the key directory: erased again", stone.when)
        except Rejected as error:
            raise StoreCorrupt(
                f"expected tombstones of this house in {keys.ERASED}, got others ({error.reason}); nothing was read or "
                "written: bring keys/house.key back from the newest backup"
            ) from error
        missing = {name: line for name, line in home.tombstone_lines().items() if name not in stored}
        if missing and write:
            with translated():
                self.client.hset(keys.ERASED, mapping=missing)

    def _create(self, patient: str) -> None:
        try:
            if self.master.home is not None:
                self.master.home.create_secret(patient)
            wanted = DataKeys.create()
            while not self.change(patient, wanted, None):
                with translated():
                    if self.client.exists(keys.data_key(patient)):
                        return
        except Rejected as error:
            raise Erased(str(error)) from error

    def _owner(self, patient: str) -> str | None:
        return patient if self.master.home is not None else None


def context(patient: str) -> bytes:
    """Of a wrapped data key."""
    return b"patient|" + patient.encode()


def key_rows(vault: Vault) -> list[str]:
    """A line for each data key in Redis: its patient, versions and fingerprints, or why it can't be opened."""
    with translated():
        names = sorted(name.decode() for name in vault.client.scan_iter(keys.data_key("*"), count=1000))
    rows = []
    for patient in (name.removeprefix(keys.data_key("")) for name in names):
        try:
            known = vault.data_keys(patient)
        except (StoreCorrupt, Rejected) as error:
            rows.append(f"data key of {patient}: {error}")
            continue
        listed = (f"{n} {fingerprint(key)}{'' if n == known.current else ' opens only'}"
                  for n, key in sorted(known.keys.items()))  # fmt: skip
        rows.append(f"data key of {patient}: {', '.join(listed)}")
    return rows
