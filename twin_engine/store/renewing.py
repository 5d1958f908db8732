"""A patient's data key gets a new version while her engine writes on.

Three steps, each of which every process has seen before the next one: the new version is announced (it opens, and seals
nothing), it takes over, and what lies in one place for long (card, state, sessions) is sealed anew. Entries of the twin
stream keep the version they were sealed by; that is dropped once they have all left, after six hours, by the engine.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import cbor2
import redis

from security.errors import Rejected
from security.keyhome import LOOK_EVERY_S
from security.keys import DataKeys, PatientCipher
from twin_engine.store import keys
from twin_engine.store.connection import Client, translated
from twin_engine.store.errors import StoreCorrupt, StoreDown
from twin_engine.store.vault import Vault

SEEN_S = 2 * LOOK_EVERY_S + 0.5  # after so long every process that runs has looked
MARGIN_MS = 10 * 60 * 1000  # the shard's trim runs once a minute, and clocks differ a little
_ATTEMPTS = 200


def renew_data_key(
    client: Client, vault: Vault, shard: str, patient: str, now_ms: int, wait: Callable[[float], None] = time.sleep
) -> int:
    """The version that seals from now on. May be repeated after a crash: one that was announced is taken up."""
    _change(client, vault, patient, lambda known: known if max(known.keys) > known.current else known.announced())
    wait(SEEN_S)
    turned = _change(client, vault, patient, lambda known: known.turned(now_ms))
    wait(SEEN_S)
    reseal(client, vault, shard, patient)
    return int(turned.current)


def drop_retired(client: Client, vault: Vault, shard: str, patient: str, now_ms: int) -> None:
    """Forget versions by which nothing is sealed any more."""
    before_ms = now_ms - keys.HISTORY_MS - MARGIN_MS
    known = vault.data_keys(patient)
    if known.dropped(before_ms) != known:
        reseal(client, vault, shard, patient)
        _change(client, vault, patient, lambda again: again.dropped(before_ms))


def reseal(client: Client, vault: Vault, shard: str, patient: str) -> int:
    """Seal by the newest version what lies for long; returns how much. Whoever writes meanwhile has done it already."""
    vault.look()
    cipher, name, done = vault.cipher(patient), patient.encode(), 0
    for key, aad in ((keys.patient(patient), b"card|" + name), (keys.state(shard, patient), b"state|" + name)):
        done += _again(lambda key=key, aad=aad: _reseal_value(client, cipher, key, aad))  # type: ignore[misc]
    with translated():
        stored = client.hgetall(keys.sessions(shard))
    for field, entry in stored.items():
        if cbor2.loads(entry)[0] == patient:
            done += _again(lambda field=field: _reseal_session(client, cipher, shard, patient, field))  # type: ignore[misc]
    return done


def _reseal_value(client: Client, cipher: PatientCipher, key: str, aad: bytes) -> bool | None:
    """Whether it had to be; None where somebody wrote at that moment."""
    with translated(), client.pipeline(transaction=True) as batch:
        try:
            batch.watch(key)
            blob = batch.get(key)
            if blob is None or cipher.is_current(blob):
                return False
            batch.multi()
            batch.set(key, cipher.seal(cipher.unseal(blob, aad), aad))
            batch.execute()
            return True
        except redis.WatchError:
            return None


def _reseal_session(client: Client, cipher: PatientCipher, shard: str, patient: str, field: bytes) -> bool | None:
    key, aad = keys.sessions(shard), b"session|" + field
    with translated(), client.pipeline(transaction=True) as batch:
        try:
            batch.watch(key)
            entry = batch.hget(key, field)
            owner, blob = cbor2.loads(entry) if entry else ("", b"")
            if owner != patient or cipher.is_current(blob):
                return False
            batch.multi()
            batch.hset(key, field, cbor2.dumps([owner, cipher.seal(cipher.unseal(blob, aad), aad)]))
            batch.execute()
            return True
        except redis.WatchError:
            return None


def _again(attempt: Callable[[], bool | None]) -> bool:
    """Until nobody else wrote at that moment."""
    for _ in range(_ATTEMPTS):
        done = attempt()
        if done is not None:
            return done
        time.sleep(0.005)
    raise StoreDown(f"expected a moment without other writers, got none in {_ATTEMPTS} attempts; try again")


def _change(client: Client, vault: Vault, patient: str, step: Callable[[DataKeys], DataKeys]) -> DataKeys:
    """Her data keys after a step, seen by every process within a second. Raises StoreCorrupt where she has none."""
    for _ in range(_ATTEMPTS):
        with translated():
            seen = client.get(keys.data_key(patient))
        try:
            known = vault.open_data_keys(patient, seen)
        except Rejected as error:
            raise StoreCorrupt(f"expected a data key of {patient} that can be opened, got another: {error}") from error
        wanted = step(known)
        if wanted == known or vault.change(patient, wanted, seen):
            if vault.master.home is not None:
                vault.master.home.touch()
            return wanted
    raise StoreDown(f"expected to exchange the data key of {patient}, but others did too; try again")
