"""Every way in which somebody who can write to Redis might change the record, for tests and benchmarks/tamper.py."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from security import note
from security.log import ciphertext_hash, record_entry
from security.merkle import leaf_hash
from tests.log_kit import DEVICE, House, Shard, envelope
from twin_engine.store import keys

Way = Callable[[House, Shard, random.Random], None]
Fields = dict[bytes, bytes]


def a_byte_of_a_raw_record(house: House, shard: Shard, dice: random.Random) -> None:
    record, fields = dice.choice(shard.records())
    name = dice.choice([n for n in fields if fields[n]])
    _rewrite(house, keys.raw(shard.name), record, fields | {name: _flip(fields[name], dice)})


def a_raw_record_deleted(house: House, shard: Shard, dice: random.Random) -> None:
    record, _ = dice.choice(shard.records())
    house.keeper.xdel(keys.raw(shard.name), record)


def a_raw_record_and_its_line_deleted(house: House, shard: Shard, dice: random.Random) -> None:
    record, _ = dice.choice(shard.records())
    house.keeper.xdel(keys.raw(shard.name), record)
    house.keeper.xdel(keys.entries(shard.name), record)


def the_oldest_records_and_lines_deleted(house: House, shard: Shard, dice: random.Random) -> None:
    for record, _ in shard.records()[: dice.randrange(1, 10)]:
        house.keeper.xdel(keys.raw(shard.name), record)
        house.keeper.xdel(keys.entries(shard.name), record)


def the_newest_records_and_lines_deleted(house: House, shard: Shard, dice: random.Random) -> None:
    for record, _ in shard.records()[-dice.randrange(1, 10) :]:
        house.keeper.xdel(keys.raw(shard.name), record)
        house.keeper.xdel(keys.entries(shard.name), record)


def a_raw_record_put_in_between(house: House, shard: Shard, dice: random.Random) -> None:
    ids = [order_of(i) for i, _ in shard.records()]
    free = [(after[0] - 1, 7) for before, after in pairwise([(0, 0), *ids]) if after[0] - 1 > before[0]]
    ms, number = dice.choice(free)
    body = envelope(dice.randrange(10**6), is_open=dice.random() < 0.5)
    fields = {b"k": b"event", b"device": DEVICE.encode(), b"body": body, b"ms": b"1"}
    _insert(house, keys.raw(shard.name), f"{ms}-{number}".encode(), fields)
    if dice.random() < 0.5:
        _insert(house, keys.entries(shard.name), f"{ms}-{number}".encode(), {b"v": b"open"})


def a_leaf_changed(house: House, shard: Shard, dice: random.Random) -> None:
    index = dice.randrange(house.keeper.llen(keys.leaves(shard.name)))
    leaf = house.keeper.lindex(keys.leaves(shard.name), index)
    house.keeper.lset(keys.leaves(shard.name), index, _flip(leaf, dice))


def a_leaf_deleted(house: House, shard: Shard, dice: random.Random) -> None:
    key = keys.leaves(shard.name)
    house.keeper.lrem(key, 1, house.keeper.lindex(key, dice.randrange(house.keeper.llen(key))))


def two_leaves_swapped(house: House, shard: Shard, dice: random.Random) -> None:
    key = keys.leaves(shard.name)
    one, two = dice.sample(range(house.keeper.llen(key)), 2)
    first, second = house.keeper.lindex(key, one), house.keeper.lindex(key, two)
    house.keeper.lset(key, one, second)
    house.keeper.lset(key, two, first)


def the_leaves_truncated(house: House, shard: Shard, dice: random.Random) -> None:
    key = keys.leaves(shard.name)
    house.keeper.ltrim(key, 0, house.keeper.llen(key) - 1 - dice.randrange(1, 20))


def an_entry_edited(house: House, shard: Shard, dice: random.Random) -> None:
    lines = [(i, f) for i, f in house.keeper.xrange(keys.entries(shard.name)) if b"e" in f]
    record, fields = dice.choice(lines)
    name = dice.choice([b"e", b"i"])
    changed = _flip(fields[name], dice) if name == b"e" else str(int(fields[b"i"]) + 1).encode()
    _rewrite(house, keys.entries(shard.name), record, fields | {name: changed})


def a_verdict_edited(house: House, shard: Shard, dice: random.Random) -> None:
    lines = [(i, f) for i, f in house.keeper.xrange(keys.entries(shard.name)) if b"v" in f]
    record, fields = dice.choice(lines)
    others = [v for v in (b"open", b"duplicate", b"answer", b"dead", b"fine") if v != fields[b"v"]]
    _rewrite(house, keys.entries(shard.name), record, {b"v": dice.choice(others)})


def a_record_its_entry_and_its_leaf_replaced(house: House, shard: Shard, dice: random.Random) -> None:
    """Everything of one record rewritten so that it agrees with itself."""
    lines = [(i, f) for i, f in house.keeper.xrange(keys.entries(shard.name)) if b"e" in f]
    record, line = dice.choice(lines)
    body = envelope(dice.randrange(10**6))
    raw = dict(shard.records())[record]
    entry = record_entry(record.decode(), DEVICE, 1, 0, shard.seq_of(body), ciphertext_hash(body))
    _rewrite(house, keys.raw(shard.name), record, raw | {b"body": body})
    _rewrite(house, keys.entries(shard.name), record, line | {b"e": entry})
    house.keeper.lset(keys.leaves(shard.name), int(line[b"i"]), leaf_hash(entry))


def an_inner_node_edited(house: House, shard: Shard, dice: random.Random) -> None:
    key = keys.nodes(shard.name, 8)
    while not house.keeper.llen(key):
        shard.fold(200)
    index = dice.randrange(house.keeper.llen(key))
    house.keeper.lset(key, index, _flip(house.keeper.lindex(key, index), dice))


def the_inner_nodes_deleted(house: House, shard: Shard, dice: random.Random) -> None:
    while not house.keeper.delete(keys.nodes(shard.name, 8)):
        shard.fold(200)


def the_checkpoint_replaced(house: House, shard: Shard, dice: random.Random) -> None:
    old = house.keeper.get(keys.note(shard.name)).decode()
    at = dice.randrange(len(old))
    house.keeper.set(keys.note(shard.name), old[:at] + chr((ord(old[at]) + 1) % 128) + old[at + 1 :])


def a_checkpoint_by_somebody_else(house: House, shard: Shard, dice: random.Random) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    text, _ = note.split(house.keeper.get(keys.note(shard.name)).decode())
    line = note.sign_line(text, text.split("\n")[0], Ed25519PrivateKey.generate())
    house.keeper.set(keys.note(shard.name), note.assemble(text, [line]))


def the_kept_checkpoints_deleted(house: House, shard: Shard, dice: random.Random) -> None:
    house.keeper.delete(keys.notes(shard.name))


def a_dead_letter_edited(house: House, shard: Shard, dice: random.Random) -> None:
    key = keys.dead(shard.name)
    while not (letters := house.keeper.xrange(key)):
        shard.fold(30)
        house.look()
    record, fields = dice.choice(letters)
    name = dice.choice([b"reason", b"body", b"detail"])
    _rewrite(house, key, record, fields | {name: fields[name] + b"x"})


def rolled_back_and_grown_anew(house: House, shard: Shard, dice: random.Random) -> None:
    """A fork: the last records are taken away, everything put back in order, and others come in their place."""
    lines = [(i, f) for i, f in house.keeper.xrange(keys.entries(shard.name)) if b"e" in f]
    cut = dice.choice(lines[len(lines) // 2 :])
    size = int(cut[1][b"i"])
    for key in (keys.raw(shard.name), keys.entries(shard.name)):
        for record, _ in house.keeper.xrange(key, min=cut[0]):
            house.keeper.xdel(key, record)
    house.keeper.ltrim(keys.leaves(shard.name), 0, size - 1)
    kept = size // 256
    house.keeper.ltrim(keys.nodes(shard.name, 8), 0, kept - 1) if kept else house.keeper.delete(
        keys.nodes(shard.name, 8)
    )
    shard.store._ledger.forget()
    shard.fold(int(dice.choice([3, 40, 400])))


def every_list_deleted(house: House, shard: Shard, dice: random.Random) -> None:
    names = [keys.leaves(shard.name), keys.entries(shard.name), keys.raw(shard.name), keys.nodes(shard.name, 8)]
    house.keeper.delete(*names)
    if dice.random() < 0.5:
        house.keeper.delete(keys.cursor(shard.name))


def a_leaf_that_is_no_hash(house: House, shard: Shard, dice: random.Random) -> None:
    house.keeper.lset(keys.leaves(shard.name), dice.randrange(house.keeper.llen(keys.leaves(shard.name))), b"short")


def another_type_in_its_place(house: House, shard: Shard, dice: random.Random) -> None:
    key = dice.choice([keys.leaves(shard.name), keys.entries(shard.name), keys.raw(shard.name)])
    house.keeper.set(key, b"x")


WAYS: list[Way] = [
    a_byte_of_a_raw_record, a_raw_record_deleted, a_raw_record_and_its_line_deleted,
    the_oldest_records_and_lines_deleted, the_newest_records_and_lines_deleted, a_raw_record_put_in_between,
    a_leaf_changed, a_leaf_deleted, two_leaves_swapped, the_leaves_truncated, an_entry_edited, a_verdict_edited,
    a_record_its_entry_and_its_leaf_replaced, an_inner_node_edited, the_inner_nodes_deleted,
    the_checkpoint_replaced, a_checkpoint_by_somebody_else, the_kept_checkpoints_deleted, a_dead_letter_edited,
    rolled_back_and_grown_anew, every_list_deleted, a_leaf_that_is_no_hash, another_type_in_its_place,
]  # fmt: skip


def order_of(record: bytes) -> tuple[int, ...]:
    return tuple(int(part) for part in record.split(b"-"))


def _flip(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << dice.randrange(8))]) + data[at + 1 :]


def _rewrite(house: House, key: str, record: bytes, fields: Fields) -> None:
    """One entry of a stream changed, all ids kept: a stream is only ever appended to, so it is written anew."""
    _replace(house, key, [(i, fields if i == record else f) for i, f in house.keeper.xrange(key)])


def _insert(house: House, key: str, record: bytes, fields: Fields) -> None:
    whole = [*house.keeper.xrange(key), (record, fields)]
    _replace(house, key, sorted(whole, key=lambda entry: order_of(entry[0])))


def _replace(house: House, key: str, whole: list[tuple[bytes, Any]]) -> None:
    with house.keeper.pipeline(transaction=True) as batch:
        batch.delete(key)
        for record, fields in whole:
            batch.xadd(key, fields, id=record)
        batch.execute()
