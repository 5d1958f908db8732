"""The audit log: every event gets its place once, lies sealed, can't be guessed from its leaf, and is found again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from security import proofs
from security.audit import AuditEvent
from security.errors import SecurityError
from security.keys import MasterKey
from security.log import audit_entry, read_audit_entry
from security.merkle import leaf_hash
from security.tiles import Tree
from tests.log_kit import House
from twin_engine.store import keys
from twin_engine.store.audit import AuditReader, AuditWriter
from twin_engine.store.auditlog import AuditKeeper
from twin_engine.store.connection import connect
from twin_engine.store.errors import StoreCorrupt
from twin_engine.store.log import LogReader, read_state
from twin_engine.store.server import RedisFiles

pytestmark = pytest.mark.redis
AUDIT = keys.AUDIT_LOG


def event(n: int, kind: str = "access.view", who: str = "maria", about: str = "p-1") -> AuditEvent:
    return AuditEvent(1_700_000_000_000 + n, who, kind, about, {"n": str(n)})


class Told(House):
    """A house in which events are written as the web writes them."""

    def tell(self, *events: AuditEvent) -> None:
        writer = AuditWriter(connect(self.files.login("acts")), self.master)
        for one in events:
            writer.write(one)

    def reader(self, master: MasterKey | None = None) -> AuditReader:
        return AuditReader(connect(self.files.login("web")), master or self.master)


@pytest.fixture
def house(redis_server: tuple[RedisFiles, object], tmp_path: Path) -> Iterator[Told]:
    yield Told(redis_server[0], tmp_path)


def test_events_get_their_place_in_order_once_and_are_signed(house: Told) -> None:
    house.tell(*[event(n) for n in range(450)])
    assert house.look() == []
    assert house.keeper.xlen(keys.AUDIT_IN) == 0
    page = house.reader().page(count=1000)
    assert [line.event for line in page.lines] == [event(n) for n in range(450)][::-1]
    assert [line.index for line in page.lines] == list(range(450))[::-1] and page.older == ""
    assert house.look() == []
    assert read_state(house.keeper)[AUDIT]["size"] == 450
    assert house.keeper.llen(keys.nodes(AUDIT, 8)) == 1


def test_a_crash_in_the_middle_neither_loses_nor_doubles_an_event(house: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    import redis

    house.tell(*[event(n) for n in range(5)])
    scribe = connect(house.files.login("scribe"))
    keeper = AuditKeeper(connect(house.files.login("notary")), scribe, house.master)
    pipeline = scribe.pipeline

    def dies(**asked: object) -> object:
        batch = pipeline(**asked)
        batch.execute = lambda: (_ for _ in ()).throw(redis.ConnectionError("killed"))
        return batch

    monkeypatch.setattr(scribe, "pipeline", dies)
    with pytest.raises(Exception, match="killed"):
        keeper.take(0)
    monkeypatch.undo()
    assert keeper.take(0) == 5
    assert [line.event for line in house.reader().page().lines] == [event(n) for n in range(5)][::-1]


def test_two_keepers_never_give_one_place_twice(house: Told) -> None:
    pair = [
        AuditKeeper(connect(house.files.login("notary")), connect(house.files.login("scribe")), house.master)
        for _ in range(2)
    ]
    for n in range(6):
        house.tell(event(n))
        try:
            pair[n % 2].take(0)
        except StoreCorrupt:
            assert pair[n % 2].take(0) == 1, "it has read the log anew"
    assert house.look() == []
    assert [line.event for line in house.reader().page().lines] == [event(n) for n in range(6)][::-1]


def test_the_log_is_filtered_and_read_page_by_page(house: Told) -> None:
    kinds = ["access.view", "access.export", "device.revoked"]
    house.tell(*[event(n, kinds[n % 3], f"who-{n % 2}", f"p-{n % 5}") for n in range(300)])
    house.look()
    reader = house.reader()
    assert {line.event.kind for line in reader.page(kind="access", count=300).lines if line.event} == set(kinds[:2])
    assert len(reader.page(kind="device.revoked", count=300).lines) == 100
    both = reader.page(who="who-1", about="p-3", count=300).lines
    assert [line.event.facts["n"] for line in both if line.event] == [str(n) for n in range(293, -1, -10)]
    seen, before = list[int](), ""
    while True:
        page = reader.page(before=before, count=7, kind="access.export")
        seen += [line.index for line in page.lines]
        if not (before := page.older):
            break
    assert seen == [n for n in range(299, -1, -1) if n % 3 == 1]


def test_what_lies_in_redis_names_nobody_and_a_leaf_can_not_be_guessed(house: Told) -> None:
    house.tell(event(1, who="maria", about="p-secret"), event(1, who="maria", about="p-secret"))
    house.look()
    raw = repr(house.keeper.xrange(keys.entries(AUDIT))) + repr(house.keeper.lrange(keys.leaves(AUDIT), 0, -1))
    assert "maria" not in raw and "p-secret" not in raw
    one, two = house.keeper.lrange(keys.leaves(AUDIT), 0, -1)
    assert one != two, "the same event twice shows two leaves"
    assert leaf_hash(event(1, who="maria", about="p-secret").to_bytes()) not in (one, two)
    with pytest.raises(Exception, match="another key"):
        house.reader(MasterKey(bytes(32))).page()


def test_an_event_that_this_house_did_not_seal_is_told_and_holds_up_nobody(house: Told) -> None:
    acts = connect(house.files.login("acts"))
    acts.xadd(keys.AUDIT_IN, {"b": b"forged"})
    acts.xadd(keys.AUDIT_IN, {"x": b"forged"})
    AuditWriter(acts, MasterKey(bytes(32))).write(event(1))
    house.tell(event(2))
    assert house.look() == []
    events = [line.event for line in house.reader().page().lines]
    assert events[0] == event(2)
    assert [e.kind for e in events[1:] if e] == ["log.alarm"] * 3


def test_one_event_is_proven_with_its_salt_and_says_nothing_of_the_others(house: Told) -> None:
    house.tell(*[event(n) for n in range(20)])
    house.look(), house.look()
    reader, line = LogReader(house.keeper, AUDIT), house.reader().page(count=5).lines[-1]
    signed = reader.note()
    assert signed is not None
    key = house.notary.keepers[AUDIT].verifier
    bundle = proofs.new_bundle(signed, str(key))
    bundle["records"].append(proofs.audit_json(line.index, line.entry, Tree(reader).inclusion(line.index, 20)))
    import json

    found = proofs.prove(json.dumps(bundle), [key])
    assert found.records[0].event == event(15)


@pytest.mark.parametrize("seed", range(12))
def test_an_audit_log_that_was_tampered_with_raises_the_alarm(house: Told, seed: int) -> None:
    dice, redis = random.Random(seed), house.keeper
    house.tell(*[event(n) for n in range(dice.randrange(5, 300))])
    house.look()
    assert house.look() == []
    lines = redis.xrange(keys.entries(AUDIT))
    record, fields = dice.choice(lines)
    match seed % 6:
        case 0:
            redis.xdel(keys.entries(AUDIT), record)
        case 1:
            redis.lset(keys.leaves(AUDIT), int(fields[b"i"]), bytes(32))
        case 2:
            redis.delete(keys.entries(AUDIT))
        case 3:
            redis.xdel(keys.entries(AUDIT), lines[-1][0])
            redis.rpop(keys.leaves(AUDIT))
        case 4:
            redis.delete(keys.AUDIT_KEY)
        case 5:
            redis.delete(keys.entries(AUDIT))
            for i, f in lines:
                body = f[b"b"][:-1] + bytes([f[b"b"][-1] ^ 1]) if i == record else f[b"b"]
                redis.xadd(keys.entries(AUDIT), f | {b"b": body}, id=i)
    assert {name for name, _ in house.look()} == {AUDIT}


def test_an_audit_entry_has_one_form() -> None:
    entry = audit_entry(bytes(16), b"event")
    assert read_audit_entry(entry) == (bytes(16), b"event")
    with pytest.raises(SecurityError):
        audit_entry(bytes(15), b"event")
    for spoilt in (entry[:-1], entry + b"x", b"", b"x" * 9000):
        with pytest.raises(SecurityError):
            read_audit_entry(spoilt)
