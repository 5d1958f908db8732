"""What lies in Redis under the master key, wrapped anew in place: one row a place, one key at a time.

Others write there meanwhile: each key is exchanged by one transaction that begins again where it was touched.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import redis

from security.errors import Rejected
from security.keys import MasterKey, belongs_to, version_of
from twin_engine.recipients import seal_stored, stored_wrap, unwrap_stored
from twin_engine.store import keys
from twin_engine.store.acts import context as act_context
from twin_engine.store.audit import CONTEXT as AUDIT
from twin_engine.store.audit import KEY_CONTEXT as AUDIT_KEY_CONTEXT
from twin_engine.store.connection import Client, translated
from twin_engine.store.errors import StoreDown
from twin_engine.store.heads import context as heads_context
from twin_engine.store.people import GLASS, PEOPLE, account_context, glass_context
from twin_engine.store.sessions import SESSION, session_context
from twin_engine.store.vault import Vault
from twin_engine.store.vault import context as data_key_context

log = logging.getLogger(__name__)

_ATTEMPTS = 200
Anew = Callable[[Vault, str, bytes, bytes], bytes | None]  # key, field or entry, wrap -> the new wrap, or None


@dataclass(frozen=True, slots=True)
class Place:
    """Where wraps lie: keys of a pattern, of one type, and how a wrap by its key and field (or entry) is made anew."""

    pattern: str
    kind: str  # string, hash, stream (in its field b)
    anew: Anew


def found(client: Client) -> Iterator[tuple[Place, str]]:
    """Every key of every place."""
    for place in PLACES:
        with translated():
            names = list(client.scan_iter(escaped(place.pattern), count=1000))
        yield from ((place, name.decode()) for name in names)


def escaped(pattern: str) -> str:
    """A pattern of keys with hash tags, as Redis reads it."""
    return pattern.replace("{*}", "[{]*[}]")


def rewrap(client: Client, vault: Vault, place: Place, key: str) -> int:
    """How many wraps of one key were made anew; tried again while others write there. Raises StoreDown."""
    turn = {"string": _string, "stream": _stream, "hash": _hash}[place.kind]
    for _ in range(_ATTEMPTS):
        with translated(), client.pipeline(transaction=True) as batch:
            try:
                batch.watch(key)
                return turn(batch, vault, place, key)
            except redis.WatchError:
                pass
        time.sleep(0.005)
    raise StoreDown(f"expected a moment without other writers of {key}, got none in {_ATTEMPTS} attempts; rotate again")


def _string(batch: Client, vault: Vault, place: Place, key: str) -> int:
    new = place.anew(vault, key, b"", batch.get(key) or b"")
    if new is None:
        return 0
    batch.multi()
    batch.set(key, new, keepttl=True)  # a session's time goes on
    batch.execute()
    return 1


def _hash(batch: Client, vault: Vault, place: Place, key: str) -> int:
    turned = {field: place.anew(vault, key, field, blob) for field, blob in batch.hgetall(key).items()}
    changed = {field: new for field, new in turned.items() if new is not None}
    if changed:
        batch.multi()
        batch.hset(key, mapping=changed)
        batch.execute()
    return len(changed)


def _stream(batch: Client, vault: Vault, place: Place, key: str) -> int:
    """Entries keep their ids and their order: whoever reads the stream goes on where he was."""
    entries, changed = batch.xrange(key), 0
    last_id = batch.xinfo_stream(key)["last-generated-id"] if entries else b""
    rows = []
    for entry_id, fields in entries:
        new = place.anew(vault, key, entry_id, fields.get(b"b", b""))
        changed += new is not None
        rows.append((entry_id, fields if new is None else {**fields, b"b": new}))
    if not changed:
        return 0
    batch.multi()
    batch.delete(key)
    for entry_id, fields in rows:
        batch.xadd(key, fields, id=entry_id)
    batch.execute_command("XSETID", key, last_id)
    batch.execute()
    return changed


# --------------------------------------------------------------------------------------------------- one wrap


def is_old(master: MasterKey, blob: bytes) -> bool:
    """Whether it is a wrap under an older version than the one that wraps."""
    return 0 < version_of(blob) < master.version


def _anew(vault: Vault, blob: bytes, context: bytes, patient: str | None = None) -> bytes | None:
    """The same under the newest version; None where it lies there already, or can't be opened by anybody."""
    master = vault.master
    if not is_old(master, blob):
        return None
    try:
        body = master.unwrap(blob, context)
        if belongs_to(blob):
            return master.wrap_for(belongs_to(blob), body, context)
        if patient is not None and master.home is not None:
            master.home.create_secret(patient)
        return master.wrap(body, context, patient)
    except Rejected as error:
        log.warning("something under an old version of the master key can't be opened (%s); it is left", error.reason)
        return None


def _under(context: Callable[[str, bytes], bytes]) -> Anew:
    return lambda vault, key, field, blob: _anew(vault, blob, context(key, field))


def _data_key(vault: Vault, key: str, _field: bytes, blob: bytes) -> bytes | None:
    patient = key.removeprefix(keys.data_key(""))
    return _anew(vault, blob, data_key_context(patient), patient)


def _recipient(vault: Vault, _key: str, kid: bytes, blob: bytes) -> bytes | None:
    patient, wrapped = stored_wrap(blob)
    if not patient or not is_old(vault.master, wrapped):
        return None  # of before there were patients' secrets: the engine adopts it when it starts
    try:
        return seal_stored(vault.master, kid, patient, unwrap_stored(vault.master, kid, blob)[1])
    except Rejected as error:
        log.warning("recipient key %s can't be opened (%s); it is left as it is", kid.hex(), error.reason)
        return None


def _shard(key: str) -> str:
    return key[key.index("{") + 1 : key.index("}")]


PLACES = (
    Place(keys.data_key("*"), "string", _data_key),
    Place(keys.recipients("*"), "hash", _recipient),
    Place(keys.acts("*"), "stream", _under(lambda key, _: act_context(_shard(key)))),
    Place(keys.heads("*"), "string", _under(lambda key, _: heads_context(_shard(key)))),
    Place(keys.AUDIT_IN, "stream", _under(lambda _key, _entry: AUDIT)),
    Place(keys.AUDIT_KEY, "string", _under(lambda _key, _field: AUDIT_KEY_CONTEXT)),
    Place(PEOPLE, "hash", _under(lambda _key, name: account_context(name))),
    Place(GLASS, "hash", _under(lambda _key, field: glass_context(field))),
    Place(SESSION + "*", "string", _under(lambda key, _: session_context(key.removeprefix(SESSION)))),
    Place(keys.erased("*"), "hash", _under(lambda key, record: b"erased|" + _shard(key).encode() + b"|" + record)),
)
