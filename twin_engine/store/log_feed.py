"""The logs for the web, by patient: which devices were hers, and their records (``store/feed.py: Logs``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twin_engine.registry import Assignments
from twin_engine.store import keys
from twin_engine.store.connection import Client, translated
from twin_engine.store.log import read_state
from twin_engine.store.log_proofs import proof_bundle
from twin_engine.store.log_records import MAX_RECORDS, LogRecord, newest_records, records


@dataclass(frozen=True, slots=True)
class Held:
    """A device was one patient's from `t0_ms` to `t1_ms`, both inclusive."""

    device: str
    t0_ms: int
    t1_ms: int


class LogFeed:
    """The logs for the web, by patient. The caller checks who asks, and asks for a device only while it was hers."""

    def __init__(self, client: Client, shards: int) -> None:
        self._client, self._shards = client, shards

    def state(self, patient: str) -> dict[str, Any]:
        """What the notary last said of the patient's log (docs/operations.md); empty where it never did."""
        return read_state(self._client).get(self._shard(patient), {})

    def records(self, patient: str, device: str, t0_ms: int, t1_ms: int, limit: int = MAX_RECORDS) -> list[LogRecord]:
        """The log's records of a device of hers that arrived from t0 to t1."""
        return records(self._client, self._shard(patient), device, t0_ms, t1_ms, limit)

    def held(self, patient: str, t0_ms: int, t1_ms: int) -> list[Held]:
        """Which devices were hers from t0 to t1, each from when to when within it."""
        with translated():
            stored = self._client.hgetall(keys.assignments(self._shard(patient)))
        return [
            Held(device.decode(), max(t0_ms, a.from_ms), min(t1_ms, t1_ms if a.to_ms is None else a.to_ms - 1))
            for device, text in stored.items()
            for a in Assignments.from_json(text.decode()).history
            if a.patient == patient and a.from_ms <= t1_ms and (a.to_ms is None or a.to_ms > max(t0_ms, a.from_ms))
        ]

    def newest(self, patient: str, device: str, t0_ms: int, t1_ms: int, limit: int) -> list[LogRecord]:
        """The last `limit` that :meth:`records` would give, newest first; looks at no more than 20,000 lines."""
        return newest_records(self._client, self._shard(patient), device, t0_ms, t1_ms, limit)

    def bundle(self, patient: str, wanted: Sequence[LogRecord], since_ms: int | None = None) -> dict[str, Any]:
        """:func:`proof_bundle` for records that :meth:`records` gave."""
        return proof_bundle(self._client, self._shard(patient), wanted, since_ms=since_ms)

    def _shard(self, patient: str) -> str:
        return keys.shard_of(patient, self._shards)
