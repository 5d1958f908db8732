"""A new version of the master key while everybody writes on.

The new version is written into the key's file beside the old one, by an atomic exchange; who wraps reads the file each
time, so it wraps everything from then on. Redis is told (``eb:master``), so that a process that was asleep can't put a
key under the old version afterwards. Then everything that lies under an old version is wrapped anew, until nothing is
left; only then are old versions destroyed. An interrupted rotation goes on where it was. Two at once: one waits.

Every place in Redis where something lies under the master key is a row in :mod:`twin_engine.store.rewrapping`. What is
found under an old version anywhere else keeps that version alive, and is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from security.keyhome import KeyHome, MasterVersions
from security.keys import MasterKey, belongs_to, version_of
from twin_engine.recipients import stored_wrap
from twin_engine.store import keys
from twin_engine.store.connection import Client, translated
from twin_engine.store.errors import StoreCorrupt, StoreDown
from twin_engine.store.rewrapping import escaped, found, rewrap
from twin_engine.store.sweeping import adopt_recipients
from twin_engine.store.vault import Vault

SETTLED_S = 2.0  # an act or an audit event that was wrapped before is in its stream after so long
_ROUNDS = 50
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
        changed = sum(rewrap(client, vault, place, key) for place, key in found(client))
        done += changed
        if changed == 0 and waited:
            return done
        wait(SETTLED_S)
        waited = True
    raise StoreDown(f"expected to wrap everything anew in {_ROUNDS} rounds, but there was always more; rotate again")


def _left(client: Client, master: MasterKey, version: int) -> Iterator[str]:
    """Keys that still hold something under an older version that can be opened."""
    with translated():
        passing = {name for pattern in _PASSING for name in client.scan_iter(escaped(pattern), count=1000)}
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
