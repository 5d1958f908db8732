"""The store on a real Redis: what was acknowledged survives a crash, and only its own user may read it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import redis

from device.ingest import HubEvent
from security.keys import MasterKey
from twin_engine.registry import PatientCard, bed_order
from twin_engine.store import keys
from twin_engine.store.commit import Commit, TwinWrite
from twin_engine.store.connection import connect, translated
from twin_engine.store.errors import NotPermitted, StoreCorrupt, StoreDown
from twin_engine.store.feed import Entry
from twin_engine.store.ledger import Line
from twin_engine.store.patients import read_cards
from twin_engine.store.raw import RawSink
from twin_engine.store.server import RedisFiles, prepare, start
from twin_engine.store.shard import ShardStore
from twin_engine.store.vault import Vault

pytestmark = pytest.mark.redis


def wait_until_up(files: RedisFiles) -> None:
    for _ in range(200):
        try:
            connect(files.login("keeper")).close()
            return
        except StoreDown:
            time.sleep(0.02)
    raise AssertionError("Redis did not come up")


def test_every_acknowledged_transaction_survives_a_kill_of_redis(redis_server, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    files, process = redis_server
    master = MasterKey.load_or_create(tmp_path / "master.key")
    sink = RawSink(connect(files.login("ingest")), 1)
    client = connect(files.login("engine"))
    vault = Vault(client, master)
    vault.create("p-1")
    shard = ShardStore(client, vault, "s0")
    assert shard.acquire()
    for i in range(50):
        sink.put([HubEvent("0", str(i), i, "dev", i, bytes([i]))])
        write = TwinWrite("p-1", b"frame", b"", {"n": i}, [], i, b"snapshot")
        shard.commit(Commit(f"{i}-1", i, twins=[write], ledger=[Line(f"{i}-1", b"entry")], counts={"stored": i}))
    process.kill()
    process.wait()
    again = start(files)
    try:
        wait_until_up(files)
        client = connect(files.login("engine"))
        shard = ShardStore(client, Vault(client, master), "s0")
        assert len(shard.read("0", "0", 1)) == 50
        assert shard.cursor().id == "49-1"
        assert shard.cursor().counts == {"stored": 49}
        assert len(shard.leaf_hashes()) == 50
        assert shard.snapshot("p-1") == b"snapshot"
        assert RawSink(connect(files.login("ingest")), 1).checkpoint("0") == "49"
        log = (files.directory / "redis.log").read_text()
        assert "CRITICAL" not in log
    finally:
        again.kill()
        again.wait()


def test_nobody_can_log_in_as_the_default_user(redis_server) -> None:  # type: ignore[no-untyped-def]
    import redis

    files, _ = redis_server
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(unix_socket_path=str(files.socket)).ping()


def test_passwords_stay_the_same_from_start_to_start_and_are_private(tmp_path: Path) -> None:
    first = prepare(tmp_path / "r").login("web").password
    assert prepare(tmp_path / "r").login("web").password == first
    assert first not in repr(prepare(tmp_path / "r").login("web"))
    assert {p.stat().st_mode & 0o077 for p in (tmp_path / "r").iterdir()} == {0}


def test_a_state_directory_with_too_long_a_path_is_refused_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(StoreDown, match="set EVERBEAT_STATE"):
        prepare(tmp_path / ("x" * 120))


def test_shards_are_stable_and_spread() -> None:
    found = {keys.shard_of(f"p-{i}", 4) for i in range(100)}
    assert found == {"s0", "s1", "s2", "s3"}
    assert keys.shard_of("p-1", 4) == keys.shard_of("p-1", 4)


def test_an_entry_of_one_patient_does_not_open_with_another_ones_key(redis_server, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from security.errors import Rejected
    from twin_engine.store.commit import read_entry

    files, _ = redis_server
    master = MasterKey.load_or_create(tmp_path / "master.key")
    client = connect(files.login("engine"))
    vault = Vault(client, master)
    vault.create("p-1")
    vault.create("p-2")
    shard = ShardStore(client, vault, "s0")
    assert shard.acquire()
    shard.commit(Commit("1-0", 1, twins=[TwinWrite("p-1", b"f", b"r", {"a": 1}, [{"b": 2}], 7, None)]))
    ((entry_id, fields),) = client.xrange(keys.twin("s0", "p-1"))
    assert read_entry(entry_id, fields, vault, "p-1") == Entry(entry_id.decode(), b"f", b"r", {"a": 1}, [{"b": 2}], 7)
    with pytest.raises(Rejected):
        read_entry(entry_id, fields, vault, "p-2")


def test_what_was_made_of_who_left_long_ago_is_forgotten_and_nobody_elses(redis_server, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    files, _ = redis_server
    client = connect(files.login("engine"))
    shard = ShardStore(client, Vault(client, MasterKey.load_or_create(tmp_path / "master.key")), "s0")
    shard.create_key("p-1")
    assert shard.acquire()
    card = PatientCard("p-1", "X", 0, "B", discharged_ms=9)
    shard.commit(Commit("1-0", 1, twins=[TwinWrite("p-1", b"f", b"", None, [], 7, b"s")], cards={"p-1": card}))
    client.xadd(keys.twin("s0", "p-2"), {"b": b"another shard's"})
    now_ms = int(time.time() * 1000)
    shard.trim(now_ms, "1-0", "0-0")
    assert client.xlen(keys.twin("s0", "p-1")) == 1, "six hours are kept"
    shard.trim(now_ms + keys.HISTORY_MS + 5000, "1-0", "0-0")
    assert client.xlen(keys.twin("s0", "p-1")) == 0
    assert shard.snapshot("p-1") == b"s", "what was learnt of her stays"
    assert client.xlen(keys.twin("s0", "p-2")) == 1


def test_no_act_overtakes_a_record_that_was_written_before_it(redis_server, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    files, _ = redis_server
    client = connect(files.login("engine"))
    shard = ShardStore(client, Vault(client, MasterKey.load_or_create(tmp_path / "master.key")), "s0")
    for i in range(1, 1203):
        client.xadd(keys.acts("s0") if i in (2, 1202) else keys.raw("s0"), {"b": b"x"}, id=f"{i}-0")
    raw, acts, order = "0-0", "0-0", list[int]()
    while found := shard.read(raw, acts, 1):
        order += [read.order[0] for read in found]
        raw = next((read.id for read in reversed(found) if not read.is_act), raw)
        acts = next((read.id for read in reversed(found) if read.is_act), acts)
    assert order == list(range(1, 1203))


def test_one_card_that_nobody_can_read_hides_no_other(redis_server, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    files, _ = redis_server
    client = connect(files.login("engine"))
    vault = Vault(client, MasterKey.load_or_create(tmp_path / "master.key"))
    shard = ShardStore(client, vault, "s0")
    assert shard.acquire()
    everyone = ("p-1", "p-2", "p-3", "p-4")
    for patient in everyone:
        shard.create_key(patient)
    shard.commit(Commit("1-0", 1, cards={patient: PatientCard(patient, "X", 0, "B") for patient in everyone}))
    client.set(keys.patient("p-2"), b"spoilt in the store, or sealed by another version" * 3)
    client.set(keys.data_key("p-3"), b"spoilt" * 12)
    client.set(keys.patient("p-4"), vault.cipher("p-4").seal(b'{"id": "p-4", "shoe": 43}', b"card|p-4"))
    fresh = Vault(client, vault.master)
    assert list(ShardStore(client, fresh, "s0").cards()) == ["p-1"]
    assert [card.id for card in read_cards(client, fresh)] == ["p-1"]


def test_beds_are_in_the_order_in_which_people_count() -> None:
    cards = [PatientCard(name, name, 0, name) for name in ("Bed 10", "Bed 4", "ICU 2", "Bed 4b")]
    assert [card.bed for card in sorted(cards, key=bed_order)] == ["Bed 4", "Bed 4b", "Bed 10", "ICU 2"]


def test_an_engine_can_write_neither_accounts_nor_audit_events_nor_checkpoints(redis_server) -> None:  # type: ignore[no-untyped-def]
    files, _ = redis_server
    engine, keeper = connect(files.login("engine")), connect(files.login("keeper"))
    keeper.xadd("eb:audit:in", {"b": b"waits"})
    keeper.hset("eb:people", "dr.wren", b"sealed")
    for call in (("HSET", "eb:people", "root", "x"), ("HGETALL", "eb:people"), ("DEL", "eb:people"),
                 ("SET", "eb:people:session:x", "x"), ("SET", "eb:signin:count:x", "1"),
                 ("XTRIM", "eb:audit:in", "MAXLEN", "0"), ("XADD", "eb:audit:in", "*", "b", "x"),
                 ("RPUSH", "eb:{audit}:leaves", "x"), ("SET", "eb:{audit}:key", "x"),
                 ("HSET", "eb:log:state", "s0", "x"), ("SET", keys.note("s0"), "x"),
                 ("SET", keys.checkpoint("0"), "9")):  # fmt: skip
        with pytest.raises(redis.exceptions.NoPermissionError):
            engine.execute_command(*call)
    assert keeper.xlen("eb:audit:in") == 1 and keeper.hget("eb:people", "dr.wren") == b"sealed"


def test_what_an_acl_forbids_is_said_to_be_forbidden_and_not_spoilt_data(redis_server) -> None:  # type: ignore[no-untyped-def]
    files, _ = redis_server
    client = connect(files.login("web"))
    said = "expected the Redis user of this process to be allowed .* an operator must"
    with pytest.raises(NotPermitted, match=said) as told, translated():
        client.set("eb:key:p-1", b"x")
    assert not isinstance(told.value, StoreCorrupt) and "spoilt" not in str(told.value)
    with pytest.raises(NotPermitted), translated(), client.pipeline(transaction=True) as batch:
        batch.set("eb:key:p-1", b"x").execute()
    with pytest.raises(StoreCorrupt), translated():
        client.lrange(keys.leaves("s0"), "a", "b")
