"""What one round of an engine writes, and how each part of it lies in Redis: sealed, under which key, for how long.

:func:`put` queues all of it in one transaction; that nobody else owns the shard meanwhile is the caller's to check
(:meth:`twin_engine.store.shard.ShardStore.commit`). Viewers open what was made with :func:`read_entry`; the next owner
of the shard opens snapshots and sessions.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from typing import Any

import cbor2

from twin_engine.registry import PatientCard
from twin_engine.store import keys
from twin_engine.store.connection import Client
from twin_engine.store.feed import Entry
from twin_engine.store.ledger import Line
from twin_engine.store.patients import seal_card
from twin_engine.store.vault import Vault

_MOST_BODY = 65536  # bytes of a dead letter's record that are kept


@dataclass(frozen=True, slots=True)
class TwinWrite:
    """What a commit makes for one patient. `snapshot` is None where the twin's state did not change."""

    patient: str
    frame: bytes
    revision: bytes
    status: dict[str, Any] | None
    events: list[dict[str, Any]]
    frame_ms: int
    snapshot: bytes | None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not be used, and why."""

    record_id: str
    device: str
    reason: str
    detail: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Order:
    """Something to be sent down to a device (see :mod:`device.downlink`)."""

    device: str
    kind: str  # method, desired, receipt
    name: str
    payload: dict[str, Any]


@dataclass(slots=True)
class Commit:
    """All that one round of the engine writes. `acts` is the last act carried out; None where no act was read."""

    cursor: str
    tick_us: int
    acts: str | None = None
    twins: list[TwinWrite] = field(default_factory=list)
    ledger: list[Line] = field(default_factory=list)  # what became of each raw record: the caller of put queues it
    dead: list[DeadLetter] = field(default_factory=list)
    sessions: dict[bytes, tuple[str, bytes]] = field(default_factory=dict)  # device|sid -> (patient, session)
    recipients: dict[bytes, bytes] = field(default_factory=dict)
    assignments: dict[str, str] = field(default_factory=dict)
    cards: dict[str, PatientCard] = field(default_factory=dict)
    routes: dict[str, str | None] = field(default_factory=dict)  # device -> patient; None: free again
    orders: list[Order] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    oldest_ms: int | None = None  # nothing later is forgotten; None: nothing of the last six hours


def put(batch: Client, commit: Commit, vault: Vault, shard: str) -> None:
    """Queue everything in a transaction that has begun. Raises StoreCorrupt where a patient has no key any more."""
    oldest_ms = commit.tick_us // 1000 - keys.HISTORY_MS
    oldest = f"{max(0, oldest_ms if commit.oldest_ms is None else min(oldest_ms, commit.oldest_ms))}-0"
    for write in commit.twins:
        _put_twin(batch, write, oldest, vault, shard)
    _put_records(batch, commit, oldest, vault, shard)
    _put_people(batch, commit, vault, shard)
    facts: dict[str, str | int] = {"id": commit.cursor, "tick_us": commit.tick_us}
    if commit.acts is not None:
        facts["acts"] = commit.acts
    batch.hset(keys.cursor(shard), mapping=facts | {f"n:{k}": n for k, n in commit.counts.items()})


def order_fields(order: Order) -> dict[str, str]:
    """An order as an entry of the orders stream."""
    return {"device": order.device, "kind": order.kind, "name": order.name, "payload": json.dumps(order.payload)}


def read_entry(entry_id: bytes, fields: dict[bytes, bytes], vault: Vault, patient: str) -> Entry:
    """A sealed entry of a twin stream, opened."""
    body = vault.cipher(patient).unseal(fields[b"b"], b"twin|" + patient.encode())
    frame, revision, status, events, frame_ms = cbor2.loads(zlib.decompress(body))
    return Entry(entry_id.decode(), frame, revision, status, events, frame_ms)


def _put_twin(batch: Client, write: TwinWrite, oldest: str, vault: Vault, shard: str) -> None:
    cipher = vault.cipher(write.patient)
    key = keys.twin(shard, write.patient)
    if write.frame or write.revision or write.status or write.events:
        body = cbor2.dumps([write.frame, write.revision, write.status, write.events, write.frame_ms])
        batch.xadd(key, {"b": cipher.seal(zlib.compress(body, 1), b"twin|" + write.patient.encode())}, minid=oldest)
    if write.snapshot is not None:
        sealed = cipher.seal(zlib.compress(write.snapshot, 1), b"state|" + write.patient.encode())
        batch.set(keys.state(shard, write.patient), sealed)


def _put_records(batch: Client, commit: Commit, oldest: str, vault: Vault, shard: str) -> None:
    for letter in commit.dead:
        fields = {
            "id": letter.record_id,
            "device": letter.device,
            "reason": letter.reason,
            "detail": letter.detail,
            "body": letter.body[:_MOST_BODY],
        }
        batch.xadd(keys.dead(shard), fields, minid=oldest)
    for name, (patient, session) in commit.sessions.items():
        sealed = vault.cipher(patient).seal(session, b"session|" + name)
        batch.hset(keys.sessions(shard), name, cbor2.dumps([patient, sealed]))
        batch.hsetnx(keys.HOMES, name, shard)
    for kid, key in commit.recipients.items():
        batch.hset(keys.recipients(shard), kid, key)
        batch.hset(keys.HOMES, kid, shard)
    for device, text in commit.assignments.items():
        batch.hset(keys.assignments(shard), device, text)
    for order in commit.orders:
        batch.xadd(keys.ORDERS, order_fields(order))


def _put_people(batch: Client, commit: Commit, vault: Vault, shard: str) -> None:
    """Cards, and for whom devices speak."""
    for patient, card in commit.cards.items():
        batch.set(keys.patient(patient), seal_card(vault, card))
        batch.sadd(keys.PATIENTS, patient)
    for device, speaks_for in commit.routes.items():
        if speaks_for is None:
            batch.hdel(keys.ROUTE, device)
        else:
            batch.hset(keys.ROUTE, device, keys.route(shard, speaks_for))
