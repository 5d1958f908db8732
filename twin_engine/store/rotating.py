"""A new version of the master key while everybody writes on.

The new version is written into the key's file beside the old one, by an atomic exchange; who wraps reads the file each
time, so it wraps everything from then on. Redis is told (``eb:master``), so that a process that was asleep can't put a
key under the old version afterwards. Then everything that lies under an old version is wrapped anew, until nothing is
left; only then are old versions destroyed. An interrupted rotation goes on where it was. Two at once: one waits.

Every place in Redis where something lies under the master key is a row of :data:`PLACES`. What is found under an old
version anywhere else keeps that version alive, and is told.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import redis

from security.errors import Rejected
from security.keyhome import KeyHome, MasterVersions, fingerprint
from security.keys import MasterKey, belongs_to, version_of
from twin_engine.recipients import seal_stored, stored_wrap, unwrap_stored
from twin_engine.store import keys
from twin_engine.store.acts import context as act_context
from twin_engine.store.audit import CONTEXT as AUDIT
from twin_engine.store.audit import KEY_CONTEXT as AUDIT_KEY_CONTEXT
from twin_engine.store.connection import Client, translated
from twin_engine.store.errors import StoreCorrupt, StoreDown
from twin_engine.store.heads import context as heads_context
from twin_engine.store.sweeping import adopt_recipients
from twin_engine.store.vault import Vault
from twin_engine.store.vault import context as data_key_context

log = logging.getLogger(__name__)

SETTLED_S = 2.0  # an act or an audit event that was wrapped before is in its stream after so long
_ROUNDS, _ATTEMPTS = 50, 200


@dataclass(frozen=True, slots=True)
class Place:
    """Where wraps lie: keys of a pattern, of one type, and the context of a wrap by its key (and field)."""

    pattern: str
    kind: str  # string, hash, stream (field b), recipients
    context: Callable[[str, bytes], bytes] = lambda _key, _field: b""


def _shard(key: str) -> str:
    return key[key.index("{") + 1 : key.index("}")]


PLACES = (
    Place(keys.data_key("*"), "string", lambda key, _: data_key_context(key.removeprefix(keys.data_key("")))),
    Place(keys.recipients("*"), "recipients"),
    Place(keys.acts("*"), "stream", lambda key, _: act_context(_shard(key))),
    Place(keys.heads("*"), "string", lambda key, _: heads_context(_shard(key))),
    Place(keys.AUDIT_IN, "stream", lambda _key, _field: AUDIT),
    Place(keys.AUDIT_KEY, "string", lambda _key, _field: AUDIT_KEY_CONTEXT),
    Place(keys.erased("*"), "hash", lambda key, record: b"erased|" + _shard(key).encode() + b"|" + record),
)
_PASSING = (keys.dead("*"),)  # copies of acts that were refused: nobody reads them back


@dataclass(frozen=True, slots=True)
class Rotation:
    """What came of it. `held`: places that keep old versions alive."""

    version: int
    rewrapped: int
    destroyed: tuple[int, ...]
    held: tuple[str, ...]


def rotate_master(client: Client, vault: Vault, shards: int, wait: Callable[[float], None] = time.sleep) -> Rotation:
    """All of it, or on from where one was interrupted. Raises StoreDown, StoreCorrupt."""
    home = vault.master.home
    if home is None:
        raise StoreCorrupt("expected a master key with its directory, got one without; nothing was rotated")
    with home.rotating():
        version = _begin(home)
        with translated():
            client.set(keys.MASTER, version)
        for i in range(shards):
            adopt_recipients(client, vault, f"s{i}")
        rewrapped = _rewrap_everything(client, vault, wait)
        held = tuple(sorted(set(_left(client, vault.master, version))))
        if held:
            return Rotation(version, rewrapped, (), held)
        with home.changing():
            home.look()
            old = tuple(sorted(home.versions.keys.keys() - {version}))
            home.write_versions(MasterVersions(version, {version: home.versions.keys[version]}))
        return Rotation(version, rewrapped, old, ())


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


def _begin(home: KeyHome) -> int:
    """The version that wraps from now on: a new one, or that of a rotation that was interrupted."""
    with home.changing():
        home.look()
        had = home.versions
        if len(had.keys) == 1:
            had = MasterVersions(had.current + 1, {**had.keys, had.current + 1: home.new_secret()})
            home.write_versions(had)
    return had.current


def _rewrap_everything(client: Client, vault: Vault, wait: Callable[[float], None]) -> int:
    """Round after round, until one that began when every older writer was done finds nothing."""
    done, waited = 0, False
    for _ in range(_ROUNDS):
        changed = sum(_rewrap(client, vault, place, key) for place, key in _found(client))
        done += changed
        if changed == 0 and waited:
            return done
        wait(SETTLED_S)
        waited = True
    raise StoreDown(f"expected to wrap everything anew in {_ROUNDS} rounds, but there was always more; rotate again")


def _found(client: Client) -> Iterator[tuple[Place, str]]:
    """Every key of every place."""
    for place in PLACES:
        with translated():
            names = list(client.scan_iter(_escaped(place.pattern), count=1000))
        yield from ((place, name.decode()) for name in names)


def _escaped(pattern: str) -> str:
    return pattern.replace("{*}", "[{]*[}]")


def _rewrap(client: Client, vault: Vault, place: Place, key: str) -> int:
    """How many wraps of one key were made anew; tried again while others write there."""
    turn = {"string": _string, "stream": _stream, "hash": _hash, "recipients": _hash}[place.kind]
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
    blob = batch.get(key) or b""
    patient = key.removeprefix(keys.data_key("")) if key.startswith(keys.data_key("")) else None
    new = _anew(vault, blob, place.context(key, b""), patient)
    if new is None:
        return 0
    batch.multi()
    batch.set(key, new)
    batch.execute()
    return 1


def _hash(batch: Client, vault: Vault, place: Place, key: str) -> int:
    changed = dict[bytes, bytes]()
    for field, blob in batch.hgetall(key).items():
        if place.kind == "recipients":
            new = _recipient_anew(vault, field, blob)
        else:
            new = _anew(vault, blob, place.context(key, field))
        if new is not None:
            changed[field] = new
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
        new = _anew(vault, fields.get(b"b", b""), place.context(key, entry_id))
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


def _recipient_anew(vault: Vault, kid: bytes, blob: bytes) -> bytes | None:
    patient, wrapped = stored_wrap(blob)
    if not patient or not _is_old(vault.master, wrapped):
        return None  # of before there were patients' secrets: the engine adopts it when it starts
    try:
        return seal_stored(vault.master, kid, patient, unwrap_stored(vault.master, kid, blob)[1])
    except Rejected as error:
        log.warning("recipient key %s can't be opened (%s); it is left as it is", kid.hex(), error.reason)
        return None


def _anew(vault: Vault, blob: bytes, context: bytes, patient: str | None = None) -> bytes | None:
    """The same under the newest version; None where it lies there already, or can't be opened by anybody."""
    master = vault.master
    if not _is_old(master, blob):
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


def _is_old(master: MasterKey, blob: bytes) -> bool:
    return 0 < version_of(blob) < master.version


def _left(client: Client, master: MasterKey, version: int) -> Iterator[str]:
    """Keys that still hold something under an older version that can be opened."""
    with translated():
        passing = {name for pattern in _PASSING for name in client.scan_iter(_escaped(pattern), count=1000)}
        everything = [name for name in client.scan_iter("eb:*", count=1000) if name not in passing]
    for name in everything:
        for value in _values(client, name):
            blob = stored_wrap(value)[1] if name.endswith(b":recipients") else value
            if 0 < version_of(blob) < version and _opens_for_somebody(master, name, blob):
                yield name.decode()
                break


def _opens_for_somebody(master: MasterKey, name: bytes, blob: bytes) -> bool:
    """Of a wrap under an older version. Seals by patients' keys begin like the oldest wraps, and are none."""
    if blob[:1] == b"\x01":
        return name.endswith((b":recipients", b":acts")) or name.startswith((b"eb:key:", keys.AUDIT_IN.encode()))
    if version_of(blob) not in master.versions or len(blob) < 33:
        return False
    owner = belongs_to(blob)
    return not owner or master.home is None or master.home.secret(owner) is not None


def _values(client: Client, name: bytes) -> list[bytes]:
    """What a key holds that may be a wrap."""
    with translated():
        match client.type(name):
            case b"string":
                return [client.get(name) or b""]
            case b"hash":
                return list(client.hvals(name))
            case b"stream":
                if name.endswith((b":raw", b":orders", b":entries", b":notes")) or b":twin:" in name:
                    return []
                return [value for _, fields in client.xrange(name) for value in fields.values()]
            case _:
                return []
