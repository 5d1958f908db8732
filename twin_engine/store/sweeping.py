"""What of a patient lies in Redis, and its end: the second half of an erasure, and of every start of an engine.

Everything may be repeated. Recipient keys of before there were patients' secrets are put under them here, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import cbor2
import redis

from security.errors import Rejected
from security.keyhome import name_of
from security.keys import MasterKey, belongs_to
from security.recipient import RECIPIENT_LIFE_MS
from twin_engine.recipients import open_stored, seal_stored, stored_wrap, unwrap_stored
from twin_engine.records import Act, ActRefused
from twin_engine.registry import Assignments
from twin_engine.store import keys
from twin_engine.store.acts import context as act_context
from twin_engine.store.aside import names
from twin_engine.store.connection import Client, translated
from twin_engine.store.errors import NotOwner
from twin_engine.store.fsck import erasure_mark, letter_of
from twin_engine.store.vault import Vault

_CHUNK = 1000
Counts = Counter[str]
Fields = dict[bytes, bytes]  # of an entry of a stream
Mark = Callable[[str, Fields, Fields | None], bytes]


def purge(client: Client, shard: str, patient: str, mark: Mark | None = None) -> Counts:
    """Delete her raw envelopes and answers, and the dead letters about her. Needs her assignments.

    `mark`: what is left in ``eb:{s0}:erased`` for a raw record, from its id, its fields and its dead letter's, in the
    transaction that deletes them: whoever checks the log against the raw stream then knows why it is gone.
    """
    spans, name = _spans(client, shard, patient), name_of(patient)

    def hers(entry_id: bytes, fields: Fields) -> bool:
        written_ms = int(fields.get(b"id", entry_id).split(b"-")[0])
        device = fields.get(b"device", b"").decode(errors="replace")
        within = any(start <= written_ms <= end for start, end in spans.get(device, ()))
        return within or belongs_to(fields.get(b"body", b"")) == name

    letters = [(entry_id, fields) for entry_id, fields in _entries(client, keys.dead(shard)) if hers(entry_id, fields)]
    of_record = {fields[b"id"]: (entry_id, fields) for entry_id, fields in letters if fields.get(b"device")}
    gone = 0
    for chunk in _chunks(client, keys.raw(shard)):
        wanted = {entry_id: fields for entry_id, fields in chunk if hers(entry_id, fields)}
        if not wanted:
            continue
        with translated(), client.pipeline(transaction=True) as batch:
            if mark is not None:
                marks = {i: mark(i.decode(), f, of_record[i][1] if i in of_record else None) for i, f in wanted.items()}
                batch.hset(keys.erased(shard), mapping=marks)
            batch.xdel(keys.raw(shard), *wanted)
            if about := [of_record[record][0] for record in wanted if record in of_record]:
                batch.xdel(keys.dead(shard), *about)
            batch.execute()
        gone += len(wanted)
    if letters:
        with translated():
            client.xdel(keys.dead(shard), *(entry_id for entry_id, _ in letters))
    return Counts({"raw records": gone, "dead letters": len(letters)})


def marker(master: MasterKey, shard: str) -> Mark:
    """What an erasure leaves for who checks the log: digests, sealed under the master key."""
    return lambda record, raw, letter: erasure_mark(master, shard, record, raw, letter_of(letter) if letter else None)


def sweep(client: Client, vault: Vault, shard: str, patient: str, token: int) -> Counts:
    """Everything else of hers, in one transaction. Raises NotOwner where `token` is not the newest of the shard."""
    name = name_of(patient)

    def is_her_act(_: bytes, fields: Fields) -> bool:
        sealed = fields.get(b"b", b"")
        return belongs_to(sealed) == name or (not belongs_to(sealed) and _wants(vault, shard, sealed) == patient)

    counts = Counts({"acts": _delete_entries(client, keys.acts(shard), is_her_act)})
    with translated(), client.pipeline(transaction=True) as batch:
        batch.watch(keys.fence(shard))
        if int(batch.get(keys.fence(shard)) or 0) != token:
            raise NotOwner(f"expected to own shard {shard}, but a newer owner has taken it; erase again")
        sessions = [n for n, b in batch.hgetall(keys.sessions(shard)).items() if cbor2.loads(b)[0] == patient]
        recipients = [k for k, b in batch.hgetall(keys.recipients(shard)).items() if stored_wrap(b)[0] == patient]
        assigned = {d: Assignments.from_json(t.decode()) for d, t in batch.hgetall(keys.assignments(shard)).items()}
        routes = [d for d, entry in batch.hgetall(keys.ROUTE).items() if keys.read_route(entry)[1] == patient]
        aside = names(client, shard, patient)
        owned = (keys.data_key(patient), keys.patient(patient), keys.state(shard, patient))
        counts["entries of the twin stream"] = batch.xlen(keys.twin(shard, patient))
        counts["keys, card and state"] = batch.exists(*owned)
        batch.multi()
        batch.delete(*owned, keys.twin(shard, patient), *aside)
        batch.srem(keys.PATIENTS, patient)
        for key, fields in ((keys.sessions(shard), sessions), (keys.recipients(shard), recipients),
                            (keys.HOMES, [*sessions, *recipients]), (keys.ROUTE, routes)):  # fmt: skip
            if fields:
                batch.hdel(key, *fields)
        counts["assignments"] = _put_assignments(batch, shard, patient, assigned)
        try:
            batch.execute()
        except redis.WatchError as error:
            raise NotOwner(f"shard {shard} changed hands while a patient was erased; erase again") from error
    return counts + Counts({"sessions": len(sessions), "recipient keys": len(recipients), "devices": len(routes)})


def adopt_recipients(client: Client, vault: Vault, shard: str) -> None:
    """Put recipient keys of before there were patients' secrets under the secret of whom they were made for."""
    with translated():
        stored = client.hgetall(keys.recipients(shard))
        assigned = client.hgetall(keys.assignments(shard))
    for kid, blob in stored.items():
        if vault.master.home is None or stored_wrap(blob)[0]:
            continue
        try:
            _, _, device, end_ms = open_stored(vault.master, kid, blob)
        except Rejected:
            continue  # of a master key that is not here any more: nobody can open it
        history = Assignments.from_json(assigned.get(device.encode(), b"[]").decode())
        patient = history.patient_at(end_ms - RECIPIENT_LIFE_MS) or (
            history.history[-1].patient if history.history else ""
        )
        with translated():
            if not patient or not vault.is_readable(patient):
                client.hdel(keys.recipients(shard), kid)  # what it opens, nobody may or can read
            else:
                vault.master.home.create_secret(patient)
                body = unwrap_stored(vault.master, kid, blob)[1]
                client.hset(keys.recipients(shard), kid, seal_stored(vault.master, kid, patient, body))


def _spans(client: Client, shard: str, patient: str) -> dict[str, list[tuple[int, float]]]:
    """When each device spoke for her, in ms."""
    with translated():
        stored = client.hgetall(keys.assignments(shard))
    out = dict[str, list[tuple[int, float]]]()
    for device, text in stored.items():
        for a in Assignments.from_json(text.decode()).history:
            if a.patient == patient:
                out.setdefault(device.decode(), []).append((a.from_ms, a.to_ms or float("inf")))
    return out


def _put_assignments(batch: Client, shard: str, patient: str, assigned: dict[bytes, Assignments]) -> int:
    """The devices' histories without her; how many of hers there were."""
    gone = 0
    for device, had in assigned.items():
        kept = tuple(a for a in had.history if a.patient != patient)
        gone += len(had.history) - len(kept)
        if not kept:
            batch.hdel(keys.assignments(shard), device)
        elif len(kept) < len(had.history):
            batch.hset(keys.assignments(shard), device, replace(had, history=kept).to_json())
    return gone


def _wants(vault: Vault, shard: str, sealed: bytes) -> str:
    """Of whom an act was that the master key alone sealed; empty where nobody can tell."""
    try:
        return Act.from_bytes(vault.master.unwrap(sealed, act_context(shard))).patient
    except (Rejected, ActRefused):
        return ""


def _delete_entries(client: Client, key: str, hers: Callable[[bytes, Fields], bool]) -> int:
    """How many entries of a stream were deleted."""
    gone = 0
    for chunk in _chunks(client, key):
        wanted = [entry_id for entry_id, fields in chunk if hers(entry_id, fields)]
        if wanted:
            with translated():
                gone += int(client.xdel(key, *wanted))
    return gone


def _entries(client: Client, key: str) -> Iterator[tuple[bytes, Fields]]:
    return (entry for chunk in _chunks(client, key) for entry in chunk)


def _chunks(client: Client, key: str) -> Iterator[list[tuple[bytes, Fields]]]:
    """A whole stream, in pieces so that nobody waits long."""
    after, found = "-", list[tuple[bytes, Fields]]()
    while True:
        with translated():
            found = client.xrange(key, min=after, count=_CHUNK)
        if found:
            yield found
        if len(found) < _CHUNK:
            return
        after = f"({found[-1][0].decode()}"
