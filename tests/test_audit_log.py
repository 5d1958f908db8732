"""The audit log: every event gets its place once, lies sealed, can't be guessed from its leaf, and is found again."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from security import canonical, proofs
from security.audit import AuditEvent
from security.errors import Rejected, SecurityError
from security.keys import MasterKey
from security.log import audit_entry, read_audit_entry
from security.merkle import leaf_hash
from security.tiles import Tree
from tests.log_kit import House
from twin_engine.store import keys
from twin_engine.store.audit import AuditReader, AuditWriter
from twin_engine.store.audit_numbers import FORGET_MS, Expected, Numbered
from twin_engine.store.auditlog import AuditKeeper
from twin_engine.store.connection import connect
from twin_engine.store.errors import StoreCorrupt, StoreDown
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


def _alarms(house: Told) -> list[dict[str, str]]:
    lines = house.reader().page(kind="log.alarm").lines
    return [dict(line.event.facts) for line in lines if line.event][::-1]


def _seen_by_state(house: Told) -> list[str]:
    alarm = read_state(house.keeper)[AUDIT]["alarm"]
    return [] if alarm is None else [finding["kind"] for finding in alarm["findings"]]


def test_events_that_the_webs_writing_user_trims_away_are_counted_as_soon_as_their_writer_speaks(house: Told) -> None:
    acts = connect(house.files.login("acts"))
    writer = AuditWriter(acts, house.master)
    for n in range(7):
        writer.write(event(n))
    acts.execute_command("XADD", keys.AUDIT_IN, "MAXLEN", "3", "*", "b", "mine")  # two of the seven are left
    writer.write(event(7))
    assert [finding.kind for _, finding in house.look(whole=False)] == ["events-missing"]
    (first, stranger), lines = _alarms(house), house.reader().page().lines[::-1]
    assert first["what"].startswith("5 audit events were removed") and "not sealed by this house" in stranger["what"]
    left = [line.event for line in lines if line.event and line.event.kind != "log.alarm"]
    assert left == [event(5), event(6), event(7)]
    assert lines[0].event and lines[0].event.kind == "log.alarm", "the hole is told where it is"
    assert _seen_by_state(house) == ["events-missing"] and house.look() == [], "told once, and it stands"


def test_a_queue_that_is_emptied_is_noticed_though_no_writer_speaks_again(house: Told) -> None:
    house.tell(event(0))
    house.look()
    house.tell(*[event(n) for n in range(3)])
    acts = connect(house.files.login("acts"))
    acts.execute_command("XADD", keys.AUDIT_IN, "MAXLEN", "0", "*", "b", "gone too")
    assert house.keeper.xlen(keys.AUDIT_IN) == 0
    assert [f.kind for _, f in house.look(whole=False)] == ["events-missing"]
    assert _alarms(house)[0]["what"].startswith("3 audit events were removed")
    assert house.look() == [] and house.new_notary().round(whole=True) == [], "not again, nor by the next notary"


def test_the_only_event_of_a_process_that_has_ended_is_missed_though_others_speak_after_it(house: Told) -> None:
    house.tell(event(1))
    house.look()
    house.tell(event(2))  # an operator's command: nobody writes under that name again
    acts = connect(house.files.login("acts"))
    acts.execute_command("XADD", keys.AUDIT_IN, "MAXLEN", "0", "*", "b", "gone too")
    house.tell(event(3))
    assert [f.kind for _, f in house.look(whole=False)] == ["events-missing"]
    assert _alarms(house)[0]["what"].startswith("1 audit event was removed")
    for call in (("DECR", keys.AUDIT_COUNT), ("INCRBY", keys.AUDIT_COUNT, "-1"), ("SET", keys.AUDIT_COUNT, "0"),
                 ("DEL", keys.AUDIT_COUNT), ("SET", keys.AUDIT_TAKEN, "0"),
                 ("XTRIM", keys.AUDIT_IN, "MAXLEN", "0")):  # fmt: skip
        with pytest.raises(redis.exceptions.NoPermissionError):
            acts.execute_command(*call)


def test_more_events_than_one_batch_hide_no_hole(house: Told) -> None:
    house.look()
    house.tell(*[event(n) for n in range(300)])
    connect(house.files.login("acts")).execute_command("XADD", keys.AUDIT_IN, "MAXLEN", "251", "*", "b", "x")
    house.tell(*[event(n) for n in range(300)])
    assert [f.kind for _, f in house.look(whole=False)] == ["events-missing"]
    assert [alarm["what"][:15] for alarm in _alarms(house)] == ["50 audit events", "an event in the"]
    assert house.look() == []


def test_writers_count_in_order_from_many_threads_and_begin_anew_after_a_failure(
    house: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(house.files.login("acts"))
    writer = AuditWriter(client, house.master)

    def speak(first: int) -> None:
        for n in range(20):
            writer.write(event(first + n))

    threads = [threading.Thread(target=speak, args=(20 * k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pipeline = client.pipeline

    def stored_and_cut_off(**asked: object) -> object:
        batch = pipeline(**asked)
        execute = batch.execute

        def cut_off() -> None:
            execute()
            raise redis.ConnectionError("cut off")

        batch.execute = cut_off
        return batch

    monkeypatch.setattr(client, "pipeline", stored_and_cut_off)
    with pytest.raises(StoreDown):
        writer.write(event(200))
    monkeypatch.undo()
    writer.write(event(201))
    assert house.look() == [] and _alarms(house) == []
    assert len(house.reader().page(count=500).lines) == 162


def test_an_event_of_before_there_were_numbers_is_taken_as_it_is(house: Told) -> None:
    house.keeper.xadd(keys.AUDIT_IN, {"b": house.master.wrap(event(1).to_bytes(), b"audit")})
    house.tell(event(2))
    assert house.look() == []
    assert [line.event for line in house.reader().page().lines] == [event(2), event(1)]


def test_a_writer_that_was_quiet_for_long_is_forgotten_and_one_that_speaks_is_not() -> None:
    name = bytes(8)
    expected = Expected({name: b"4|1000", b"w" * 8: b"9|1000"})
    assert expected.take(Numbered(name, 3, event(0)), 2000) == 0, "what comes twice misses nothing"
    assert expected.take(Numbered(name, 6, event(0)), 2000 + FORGET_MS) == 2
    assert expected.changed() == {name: b"7|%d" % (2000 + FORGET_MS)}
    assert expected.forgotten(2000 + FORGET_MS) == [b"w" * 8]
    for other in (b"", canonical.encode(["everbeat/1 numbered audit event", b"short", 0, event(0).to_bytes()])):
        with pytest.raises(Rejected):
            Numbered.from_bytes(other)
