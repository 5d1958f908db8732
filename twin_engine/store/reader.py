"""The web's side of the store: follow the twins, leave acts (:class:`twin_engine.store.feed.Feed`)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from twin_engine.records import Act
from twin_engine.store import keys
from twin_engine.store.acts import write_act
from twin_engine.store.archive import Archive
from twin_engine.store.aside import stretches
from twin_engine.store.commit import read_entry
from twin_engine.store.connection import Client, translated
from twin_engine.store.feed import Entry, PatientCard
from twin_engine.store.history import Past, View
from twin_engine.store.log_feed import LogFeed
from twin_engine.store.patients import read_cards
from twin_engine.store.vault import Vault

_QUIET_S = 1.5  # without a word; an engine speaks every second
_CHUNK = 500  # entries a read: a reader of hours must not hold up the others


class RedisFeed:
    """A :class:`Feed` over Redis. One instance may serve several threads."""

    def __init__(self, client: Client, vault: Vault, shards: int, writer: Client | None = None) -> None:
        """`writer`: a connection as the user ``acts``; without one, acts go out over `client`."""
        self._client = client
        self._writer = writer or client
        self._vault = vault
        self._shards = shards
        self._archive = Archive(self._between)
        self._quiet_s: dict[str, float] = {}  # patient -> since when (monotonic s) nothing came of her
        self.logs = LogFeed(client, shards)

    def recent(self, patient: str, seconds: float) -> list[Entry]:
        """Entries of the last `seconds`, oldest first."""
        since = f"{int((time.time() - seconds) * 1000)}-0"
        with translated():
            found = self._client.xrange(self._key(patient), min=since)
        return [read_entry(entry_id, fields, self._vault, patient) for entry_id, fields in found]

    def history(self, patient: str, t0_s: float, t1_s: float, view: View = "live", coarse: bool = False) -> Past:
        """Samples and events of [t0, t1]; how they are found is told in :mod:`twin_engine.store.archive`."""
        return self._archive.history(patient, t0_s, t1_s, view, time.time(), coarse)

    def _between(self, patient: str, after_id: str, to_ms: int) -> Iterator[Entry]:
        """Entries after `after_id` up to a time, oldest first, read in chunks."""
        shard = keys.shard_of(patient, self._shards)
        for key, until_ms in [*stretches(self._client, shard, patient), (self._key(patient), to_ms)]:
            yield from self._of(key, patient, after_id, min(to_ms, until_ms))

    def _of(self, key: str, patient: str, after_id: str, to_ms: int) -> Iterator[Entry]:
        """The same, of one stream."""
        found = [None] * _CHUNK
        while len(found) == _CHUNK:
            with translated():
                found = self._client.xrange(key, min=f"({after_id}", max=f"{to_ms}", count=_CHUNK)
            for entry_id, fields in found:
                after_id = entry_id.decode()
                yield read_entry(entry_id, fields, self._vault, patient)

    def follow(self, last: dict[str, str], block_ms: int) -> list[tuple[str, Entry]]:
        """(patient, entry) newer than the given ids, oldest first of each patient."""
        streams = {self._key(patient): (patient, entry_id) for patient, entry_id in last.items()}
        with translated():
            reply = self._client.xread({k: i for k, (_, i) in streams.items()}, count=200, block=max(1, block_ms))
        found = {
            streams[key.decode()][0]: [e for batch in batches for e in batch] for key, batches in (reply or {}).items()
        }
        found |= self._begun_anew({patient: last_id for patient, last_id in last.items() if patient not in found})
        out = list[tuple[str, Entry]]()
        for patient, entries in found.items():
            if self._vault.is_readable(patient):  # else erased a moment ago: the others go on
                out += [(patient, read_entry(i, f, self._vault, patient)) for i, f in entries]
        return out

    def _begun_anew(self, quiet: dict[str, str]) -> dict[str, list[tuple[bytes, dict[bytes, bytes]]]]:
        """Of those who gave nothing for a while, the entries of a stream that lies before the given id.

        The engine set the one of before aside, since its ids lay in the future.
        """
        now_s, out = time.monotonic(), {}
        self._quiet_s = {patient: self._quiet_s.get(patient, now_s) for patient in quiet}
        for patient in [patient for patient, since_s in self._quiet_s.items() if now_s - since_s >= _QUIET_S]:
            del self._quiet_s[patient]  # asked again after as long
            if self._lies_before(patient, quiet[patient]):
                with translated():
                    out[patient] = self._client.xrange(self._key(patient), count=_CHUNK)
        return out

    def _lies_before(self, patient: str, entry_id: str) -> bool:
        """Whether her stream ends before that entry, since the one that had it was set aside."""
        with translated():
            newest = self._client.xrevrange(self._key(patient), count=1)
        if not newest or keys.written(newest[0][0].decode()) >= keys.written(entry_id):
            return False
        return bool(stretches(self._client, keys.shard_of(patient, self._shards), patient))

    def act(self, patient: str, kind: str, body: dict[str, Any], who: str) -> None:
        """Leave what `who` wants done in the stream of the patient's shard. Raises StoreDown, ValueError."""
        act = Act(patient, kind, body, who, time.time_ns() // 10**6)
        write_act(self._writer, self._vault.master, keys.shard_of(patient, self._shards), act)

    def patients(self) -> list[PatientCard]:
        """All patients, by bed. Who is not among them any more is forgotten here too."""
        cards = read_cards(self._client, self._vault)
        self._archive.keep({card.id for card in cards})
        return cards

    def _key(self, patient: str) -> str:
        return keys.twin(keys.shard_of(patient, self._shards), patient)
