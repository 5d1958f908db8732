"""The notary on a real Redis: it signs what only grew, and finds everything that was tampered with."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from security import checkpoint, note
from security.errors import SecurityError
from security.identity import wall_clock_ms
from security.log import ciphertext_hash, read_record_entry
from security.merkle import verify_consistency
from security.tiles import Tree
from tests.engine_kit import DEVICE, Ward
from tests.log_kit import HOUSE, House
from tests.tampering import WAYS, Way
from twin_engine import admission, notary_memory
from twin_engine.log_keeper import Notarised
from twin_engine.model import Generator
from twin_engine.notary import examine
from twin_engine.store import keys
from twin_engine.store.connection import connect
from twin_engine.store.errors import StoreDown
from twin_engine.store.fsck import BUCKET_MS, erasure_mark
from twin_engine.store.ledger import VERDICTS
from twin_engine.store.log import LogReader, read_state
from twin_engine.store.raw import answer_fields
from twin_engine.store.server import RedisFiles, start

pytestmark = pytest.mark.redis


@pytest.fixture
def house(redis_server: tuple[RedisFiles, object], tmp_path: Path) -> Iterator[House]:
    yield House(redis_server[0], tmp_path)


def test_a_log_that_only_grows_is_signed_again_and_again_and_never_alarmed(house: House) -> None:
    shard, seen = house.shards["s0"], list[checkpoint.Checkpoint]()
    for _ in range(6):
        shard.fold(80)
        assert house.look() == []
        signed = LogReader(house.keeper, "s0").note()
        assert signed is not None
        assert note.check(signed, [house.notary.keepers["s0"].verifier])[1]
        seen.append(checkpoint.read(signed))
    tree = Tree(LogReader(house.keeper, "s0"))
    for old, new in pairwise(seen):
        steps = tree.consistency(old.size, new.size)
        assert verify_consistency(old.size, new.size, steps, old.root, new.root)
    assert seen[-1].size == len(shard.store.leaf_hashes()) > 256
    state = read_state(house.keeper)["s0"]
    assert state["alarm"] is None and state["size"] == seen[-1].size and state["origin"].endswith("/s0")


def test_between_two_looks_at_everything_what_is_new_is_looked_at(house: House) -> None:
    house.shards["s0"].fold(40)
    assert house.look() == []
    for _ in range(4):
        house.shards["s0"].fold(5)
        assert house.look(whole=False) == []


@pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
def test_whatever_is_tampered_with_is_found_at_the_next_look_at_everything(
    redis_server: tuple[RedisFiles, object], tmp_path: Path, way: Way
) -> None:
    """Each way in five seeded trials, a shard each; the sixth is left alone, and nothing may be said of it."""
    house = House(redis_server[0], tmp_path, [f"s{i}" for i in range(6)])
    for seed, shard in enumerate(house.shards.values()):
        shard.fold(random.Random(seed).randrange(30, 320))
    assert house.look() == []
    assert house.look(whole=False) == []
    for seed, shard in list(enumerate(house.shards.values()))[:5]:
        way(house, shard, random.Random(seed))
    found = {name for name, _ in house.look()}
    assert found == {"s0", "s1", "s2", "s3", "s4"}, f"{way.__name__}: not in all trials"
    states = read_state(house.keeper)
    assert [bool(states[name]["alarm"]) for name in house.shards] == [True] * 5 + [False]
    told = {event.about for event in _audit_events(house) if event.kind == "log.alarm"}
    assert told == found, "who looks into the audit log later must find it"


def _audit_events(house: House):  # type: ignore[no-untyped-def]
    from twin_engine.store.audit import AuditReader

    house.notary._sequence()
    return [line.event for line in AuditReader(house.keeper, house.master).page(count=500).lines if line.event]


def test_an_older_append_only_file_that_is_put_back_is_a_rollback(
    redis_server: tuple[RedisFiles, object], tmp_path: Path
) -> None:
    files, process = redis_server
    house = House(files, tmp_path)
    house.shards["s0"].fold(50)
    house.look()
    older = files.directory / "appendonly.aof"
    shutil.copy(older, tmp_path / "old.aof")
    house.shards["s0"].fold(50)
    house.look()
    process.kill()  # type: ignore[attr-defined]
    process.wait()  # type: ignore[attr-defined]
    shutil.copy(tmp_path / "old.aof", older)
    again = start(files)
    try:
        _wait(files)
        assert {"tree-shorter"} <= house.kinds(whole=False)
    finally:
        again.kill()
        again.wait()


def _wait(files: RedisFiles) -> None:
    from twin_engine.store.errors import StoreDown

    for _ in range(200):
        try:
            return connect(files.login("keeper")).close()
        except StoreDown:
            time.sleep(0.02)
    raise AssertionError("Redis did not come up")


def test_a_broken_tree_is_never_signed_again_until_a_person_accepts_and_then_under_a_new_name(house: House) -> None:
    shard = house.shards["s0"]
    shard.fold(50)
    house.look()
    signed = LogReader(house.keeper, "s0").note()
    house.keeper.ltrim(keys.leaves("s0"), 0, 9)
    assert "tree-shorter" in house.kinds(whole=False)
    shard.store._ledger.forget()
    shard.fold(60)
    house.look()
    assert LogReader(house.keeper, "s0").note() == signed, "nothing else was signed"
    house.notary = house.new_notary()
    assert house.look() == [], "the alarm is remembered, and not told anew"
    assert read_state(house.keeper)["s0"]["alarm"]["broken"]
    house.keeper.delete(keys.entries("s0"), keys.raw("s0"), keys.nodes("s0", 8))
    shard.client.hdel(keys.cursor("s0"), "id")
    (house.state / "accepted" / "s0").write_text("maria\nrestored from a backup")
    house.look()
    state = read_state(house.keeper)["s0"]
    assert state["origin"].endswith("/s0/2")
    told = [e for e in _audit_events(house) if e.facts.get("accepted")]
    assert told[0].who == "maria" and told[0].facts["accepted"] == "restored from a backup"


def test_an_alarm_ends_only_after_the_audit_log_was_told_who_ended_it(house: House) -> None:
    shard = house.shards["s0"]
    shard.fold(50)
    house.look()
    house.keeper.ltrim(keys.leaves("s0"), 0, 9)
    house.look()
    inbox, write = house.state / "accepted" / "s0", house.notary._audit.write
    inbox.write_bytes(b"maria\nlooked into \xff")
    house.notary._audit.write = _is_down  # type: ignore[method-assign]
    with pytest.raises(StoreDown):
        house.look()
    assert house.notary.keepers["s0"].memory.alarm and inbox.exists()
    house.notary._audit.write = write  # type: ignore[method-assign]
    house.look()
    told = [event for event in _audit_events(house) if event.facts.get("accepted")]
    assert [event.who for event in told] == ["maria"] and told[0].facts["goes_on_as"].endswith("/s0/2")
    assert house.notary.keepers["s0"].memory.origin.endswith("/s0/2") and not inbox.exists()


def test_what_was_found_while_redis_went_away_is_in_the_audit_log_once_it_is_back(house: House) -> None:
    shard = house.shards["s0"]
    shard.fold(50)
    house.look()
    house.keeper.ltrim(keys.leaves("s0"), 0, 9)
    keeper = house.notary.keepers["s0"]
    publish = keeper._publish
    keeper._publish = _is_down  # type: ignore[method-assign]
    with pytest.raises(StoreDown):
        house.look()
    keeper._publish = publish  # type: ignore[method-assign]
    assert house.look() == [], "it was found already"
    assert "tree-shorter" in {event.facts["kind"] for event in _audit_events(house) if event.kind == "log.alarm"}


def _is_down(*_: object) -> None:
    raise StoreDown("Redis does not answer")


def test_what_an_erasure_destroyed_is_no_alarm_and_what_only_looks_so_is_one(house: House) -> None:
    shard = house.shards["s0"]
    shard.fold(40)
    house.look()
    logged = [(i, f) for i, f in shard.records() if f.get(b"body") and not f[b"body"][1] & 2]
    letters = {f[b"id"]: f for _, f in house.keeper.xrange(keys.dead("s0"))}
    gone, fields = next((i, f) for i, f in logged if i not in letters)
    mark = erasure_mark(house.master, "s0", gone.decode(), fields, None)
    with house.keeper.pipeline(transaction=True) as batch:
        batch.hset(keys.erased("s0"), gone, mark)
        batch.xdel(keys.raw("s0"), gone)
        batch.execute()
    assert house.look() == []
    other = next(i for i, _ in logged if i != gone)
    house.keeper.hset(keys.erased("s0"), other, mark)
    house.keeper.xdel(keys.raw("s0"), other)
    assert "record-missing" in house.kinds()


def test_records_that_an_older_version_folded_need_no_lines(house: House) -> None:
    shard = house.shards["s0"]
    shard.fold(600)
    house.keeper.delete(keys.entries("s0"), keys.nodes("s0", 8))
    house.keeper.hdel(keys.cursor("s0"), "ledger_from")
    assert house.look() == [], "the notary may come before the engine"
    shard.store._ledger.forget()
    shard.fold(30)
    assert house.look() == []
    assert house.keeper.llen(keys.nodes("s0", 8)) == len(shard.store.leaf_hashes()) // 256
    keeper = house.notary.keepers["s0"]
    keeper.memory.seen.seal(f"{wall_clock_ms() + BUCKET_MS}-0")  # the bucket in which the lines begin is over
    assert house.look() == []
    house.keeper.delete(keys.entries("s0"))
    house.keeper.hdel(keys.cursor("s0"), "ledger_from")
    shard.store._ledger.forget()
    shard.fold(5)
    assert "since-changed" in house.kinds(), "but only once"


def test_a_restart_between_signing_and_publishing_is_no_alarm_and_signs_no_second_tree(house: House) -> None:
    shard = house.shards["s0"]
    shard.fold(30)
    house.look()
    shard.fold(30)
    keeper = house.notary.keepers["s0"]
    keeper._publish = lambda now_ms: None  # type: ignore[method-assign]  # it dies here
    house.look()
    size = keeper.memory.size
    house.notary = house.new_notary()
    assert house.look(whole=False) == []
    signed = LogReader(house.keeper, "s0").note()
    assert signed is not None and checkpoint.read(signed).size == size


def test_what_the_notary_remembers_is_private_and_a_spoilt_memory_signs_nothing(house: House) -> None:
    house.shards["s0"].fold(30)
    house.look()
    path = house.state / "s0.json"
    assert path.stat().st_mode & 0o777 == 0o600
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts | {"frontier": "AAAA"}))
    with pytest.raises(SecurityError, match="signs nothing"):
        notary_memory.load(path, "x")


def test_entries_name_the_envelope_whose_hash_they_hold(house: House) -> None:
    shard = house.shards["s0"]
    shard.fold(30)
    raw = dict(shard.records())
    lines = [(i, f) for i, f in LogReader(house.keeper, "s0").lines("0-0") if b"e" in f]
    assert lines
    for record, fields in lines:
        entry = read_record_entry(fields[b"e"])
        assert entry.stream_id == record.decode()
        assert entry.ciphertext_hash == ciphertext_hash(raw[record][b"body"])


def test_each_hand_of_the_notary_may_do_its_own_work_only(redis_server: tuple[RedisFiles, object]) -> None:
    import redis

    files = redis_server[0]
    reader, scribe, web = (connect(files.login(user)) for user in ("notary", "scribe", "web"))
    forbidden: list[Callable[[], object]] = [
        lambda: reader.rpush(keys.leaves("s0"), b"x"),
        lambda: reader.set(keys.note("s0"), b"x"),
        lambda: reader.get("eb:key:p-1"),
        lambda: scribe.rpush(keys.leaves("s0"), b"x"),
        lambda: scribe.xadd(keys.raw("s0"), {"k": "x"}),
        lambda: scribe.delete(keys.leaves(keys.AUDIT_LOG)),
        lambda: web.set(keys.note("s0"), b"x"),
        lambda: web.hset(keys.LOG_STATE, "s0", "x"),
    ]
    for act in forbidden:
        with pytest.raises(redis.exceptions.NoPermissionError):
            act()
    assert web.lrange(keys.leaves("s0"), 0, 1) == [] and web.hgetall(keys.LOG_STATE) == {}


def _settle(ward: Ward) -> None:
    """Until everything that was sent is folded."""
    last = ward.keeper.xrevrange(keys.raw("s0"), count=1)[0][0].decode()
    end_s = time.monotonic() + 30
    while ward.store().cursor().id != last:
        assert time.monotonic() < end_s
        time.sleep(0.05)


def test_what_a_real_engine_folds_agrees_with_every_rule(
    redis_server: tuple[RedisFiles, object], tmp_path: Path, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "OPENS_BURST", 8)
    ward = Ward(redis_server[0], tmp_path, generator)
    stop = ward.engine()
    try:
        ward.connect_device()
        one, two = ward.frame(8), ward.frame(8)
        forged = two[:20] + bytes([two[20] ^ 1]) + two[21:]
        ward.send(
            one, forged, two, one, ward.record, b"", b"\x07" * 40, b"\x01" * 300_000, ward.sealer.seal(b"no frame")
        )
        connect(ward.files.login("downlink")).xadd(keys.raw("s0"), answer_fields(DEVICE, "reboot", {}, 200, 1))
        ward.send(*[ward.frame(8) for _ in range(20)])
        flood = [ward.record[:2] + n.to_bytes(8, "big") + ward.record[10:-1] + b"x" for n in range(60)]
        ward.send(*flood)
        ward.keeper.xadd(keys.acts("s0"), {"b": b"an act that nobody can open"})
        ward.wait_for("stored", 22 * 8)
        ward.wait_for("acts_refused", 1)
        ward.wait_for("throttled", 30)
        _settle(ward)
        which = Notarised("s0", f"{HOUSE}/s0", tmp_path / "s0.json")
        hands = connect(redis_server[0].login("notary")), Ed25519PrivateKey.generate(), ward.master
        assert examine(which, *hands) == (22, [])
        lines = [fields for _, fields in LogReader(ward.keeper, "s0").lines("0-0")]
        verdicts = {fields[b"v"].decode() for fields in lines if b"v" in fields}
        assert verdicts == VERDICTS
    finally:
        stop.set()
        ward.close()


def test_records_that_grow_old_and_are_trimmed_are_no_alarm_whoever_is_restarted(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six hours in six seconds: what is trimmed, sealed and forgotten while it is looked at stays consistent."""
    from security.identity import wall_clock_ms
    from twin_engine.store import fsck

    monkeypatch.setattr(keys, "HISTORY_MS", 1500)
    monkeypatch.setattr(fsck, "MARGIN_MS", 500)
    monkeypatch.setattr(fsck, "BUCKET_MS", 150)
    shard, begin_s = house.shards["s0"], time.monotonic()
    while time.monotonic() - begin_s < 6 or house.keeper.xlen(keys.raw("s0")) > shard.seq * 0.7:
        assert time.monotonic() - begin_s < 60, "nothing is trimmed"
        shard.fold(25)
        cursor = shard.store.cursor()
        shard.store.trim(wall_clock_ms(), cursor.id, cursor.acts)
        assert house.notary.round(whole=shard.dice.random() < 0.3) == []
        if shard.dice.random() < 0.2:
            house.notary = house.new_notary()
    shard.fold(25)
    now_ms = wall_clock_ms()
    house.notary._clock_ms = lambda: now_ms  # on a busy machine the window would be over before the next look
    assert house.notary.round(whole=True) == []
    assert len(house.notary.keepers["s0"].memory.seen.sealed) < 12, "what is old is forgotten"
    middle = shard.records()[-20][0]
    house.keeper.xdel(keys.raw("s0"), middle)
    house.keeper.xdel(keys.entries("s0"), middle)
    assert house.notary.round(whole=True)
