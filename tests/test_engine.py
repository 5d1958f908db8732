"""The engine on a real Redis: sealed envelopes in, proven samples out, nothing counted twice, nothing lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from device.frame import Block, Frame, Source, encode, quantise
from security.identity import wall_clock_ms
from security.keys import MasterKey
from tests.engine_kit import DEVICE, PATIENT, Ward
from twin_engine.messages import Provenance, decode_wire
from twin_engine.model import Generator
from twin_engine.registry import PatientCard
from twin_engine.store import keys
from twin_engine.store.commit import Commit
from twin_engine.store.connection import connect
from twin_engine.store.errors import NotOwner
from twin_engine.store.reader import RedisFeed
from twin_engine.store.server import RedisFiles
from twin_engine.store.vault import Vault

pytestmark = pytest.mark.redis


@pytest.fixture
def ward(redis_server: tuple[RedisFiles, object], tmp_path: Path, generator: Generator) -> Iterator[Ward]:
    made = Ward(redis_server[0], tmp_path, generator)
    yield made
    made.close()


def test_a_sealed_frame_becomes_measured_samples_in_the_twin_stream_and_a_receipt(ward: Ward) -> None:
    stop = ward.engine()
    ward.connect_device()
    ward.send(ward.frame(8))
    ward.wait_for("stored", 8)
    entries = [e for e in ward.feed.recent(PATIENT, 60) if e.frame]
    _, _, (samples,) = decode_wire(entries[-1].frame)
    assert samples.channel == "gsr_uS"
    assert np.allclose(samples.values, 4.0 + np.arange(8) / 1000)
    assert (samples.provenance == Provenance.MEASURED).all()
    receipt = ward.sealer.check_receipt(ward.take("receipt"))
    while receipt.upto < 0:
        receipt = ward.sealer.check_receipt(ward.take("receipt"))
    assert receipt.upto == 0
    stop.set()


def test_what_lies_in_redis_shows_no_reading_to_who_lacks_the_master_key(ward: Ward) -> None:
    stop = ward.engine()
    ward.connect_device()
    ward.send(ward.frame(8, value=7.7777))
    ward.wait_for("stored", 8)
    stop.set()
    raw = b"".join(repr(ward.keeper.xrange(keys.twin("s0", PATIENT))).encode() for _ in range(1))
    raw += ward.keeper.get(keys.state("s0", PATIENT)) + ward.keeper.get(keys.patient(PATIENT))
    assert b"gsr" not in raw
    assert b"WREN" not in raw
    strange = Vault(connect(ward.files.login("web")), MasterKey(bytes(32)))
    with pytest.raises(Exception, match="altered, moved, or sealed by another key"):
        RedisFeed(strange.client, strange, 1).recent(PATIENT, 60)


def test_a_forged_message_with_a_true_number_is_refused_and_the_true_one_still_counts(ward: Ward) -> None:
    stop = ward.engine()
    ward.connect_device()
    true = ward.frame(8)
    forged = true[:20] + bytes([true[20] ^ 1]) + true[21:]
    ward.send(forged, true)
    counts = ward.wait_for("stored", 8)
    assert counts["refused"] == 1
    assert any(e["kind"] == "refused" and "forged" in str(e["text"]) for e in ward.events())
    letters = ward.keeper.xrange(keys.dead("s0"))
    assert letters[0][1][b"reason"] == b"forged"
    assert letters[0][1][b"body"] == forged
    stop.set()


def test_a_replayed_message_and_a_replayed_open_record_count_once(ward: Ward) -> None:
    stop = ward.engine()
    ward.connect_device()
    one, two = ward.frame(8), ward.frame(8)
    ward.send(one, two, one, ward.record, one, two)
    counts = ward.wait_for("duplicates", 3)
    assert counts["stored"] == 16
    stop.set()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda w: b"", "malformed"),
        (lambda w: b"\x07" * 40, "malformed"),
        (lambda w: w.frame(1)[:-1], "forged"),
        (lambda w: b"\x01" * 300_000, "malformed"),
        (lambda w: w.sealer.seal(b"not a frame"), "malformed"),
    ],
    ids=["empty", "garbage", "cut short", "oversized", "sealed garbage"],
)
def test_a_message_that_is_no_frame_goes_to_the_dead_letters_with_its_reason(ward: Ward, spoil, reason) -> None:  # type: ignore[no-untyped-def]
    stop = ward.engine()
    ward.connect_device()
    ward.send(spoil(ward))
    counts = ward.wait_for("refused", 1)
    assert counts.get("stored", 0) == 0
    letter = ward.keeper.xrange(keys.dead("s0"))[0][1]
    assert letter[b"reason"].decode() == reason
    assert letter[b"detail"].decode().startswith("expected ")
    ward.send(ward.frame(8))
    ward.wait_for("stored", 8)
    stop.set()


def test_another_device_cannot_speak_in_this_ones_session(ward: Ward) -> None:
    stop = ward.engine()
    ward.connect_device()
    ward.send(ward.frame(8), device="dev-2")
    ward.wait_for("refused", 1)
    assert ward.counts().get("stored", 0) == 0
    stop.set()


def test_readings_of_a_device_without_a_patient_are_shown_to_nobody(ward: Ward) -> None:
    stop = ward.engine()
    ward.connect_device()
    ward.patients.release(DEVICE, PATIENT, wall_clock_ms() - 20_000)
    ward.patients.admit(PatientCard("p-2", "X", 0, "B"), wall_clock_ms())
    ward.wait_for("acts", 4)
    ward.send(ward.frame(8))
    counts = ward.wait_for("stored", 8)
    assert counts["unassigned"] == 8
    assert not [e for patient in (PATIENT, "p-2") for e in ward.feed.recent(patient, 60) if e.frame]
    stop.set()


def test_an_engine_that_was_killed_is_followed_by_one_that_repeats_and_doubles_nothing(ward: Ward) -> None:
    first = ward.store()
    assert first.acquire()
    stop = ward.engine()
    assert ward.counts() == {}, "a shard has one owner"
    first.release()
    ward.connect_device()
    ward.send(*[ward.frame(8) for _ in range(5)])
    ward.wait_for("stored", 40)
    stop.set()
    ward.threads[-1].join(5)
    bodies = [ward.frame(8) for _ in range(5)]
    ward.send(*bodies)
    ward.send(*bodies)  # the hub delivers again after a restart
    ward.engine()
    counts = ward.wait_for("stored", 80)
    assert counts["stored"] == 80
    leaves = ward.store().leaf_hashes()
    assert len(leaves) == counts["frames"] == 10
    assert len(set(leaves)) == 10


def test_a_backlog_that_takes_too_long_for_one_round_is_committed_in_parts_and_counts_once(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    from twin_engine import pipeline
    from twin_engine.store.shard import ShardStore

    monkeypatch.setattr(pipeline, "ROUND_S", 0.0)
    commits = list[str]()
    commit = ShardStore.commit
    monkeypatch.setattr(ShardStore, "commit", lambda store, work: (commits.append(work.cursor), commit(store, work)))
    first = ward.engine()
    ward.connect_device()
    first.set()
    ward.threads[-1].join(10)
    ward.send(*[ward.frame(8) for _ in range(6)])
    ward.engine()
    assert ward.wait_for("stored", 48)["stored"] == 48
    assert len(set(commits)) >= 6
    assert any(entry.status and entry.status["t"] for entry in ward.feed.recent(PATIENT, 60))


def test_an_owner_whose_token_is_old_writes_nothing(ward: Ward) -> None:
    old = ward.store()
    assert old.acquire()
    ward.keeper.delete(keys.owner("s0"))  # its lease ran out while it hung
    new = ward.store()
    assert new.acquire()
    with pytest.raises(NotOwner, match="nothing written"):
        old.commit(Commit("99-0", 1))
    with pytest.raises(NotOwner):
        old.renew()
    assert not old.acquire(), "another's lease runs"
    assert new.acquire(), "after a lost connection one's own lease is no obstacle"
    assert new.cursor().id == "0-0"
    new.commit(Commit("1-0", 1))
    assert new.cursor().id == "1-0"


def test_a_record_that_trips_the_fold_stops_neither_the_shard_nor_the_clock(ward: Ward, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from twin_engine import stories

    true_fold = stories.fold

    def fold(twin, message, forecaster):  # type: ignore[no-untyped-def]
        if getattr(message, "frame_ms", 0) and message.channels[0].values[0] == 6.66:
            raise MemoryError("as a hostile frame might")
        return true_fold(twin, message, forecaster)

    monkeypatch.setattr(stories, "fold", fold)
    stop = ward.engine()
    ward.connect_device()
    ward.send(ward.frame(8, value=6.66), ward.frame(8))
    assert ward.wait_for("refused", 1)["stored"] == 16
    letter = ward.keeper.xrange(keys.dead("s0"))[0][1]
    assert letter[b"reason"] == b"fault"
    stop.set()


def test_what_cannot_be_written_for_one_patient_is_told_left_out_and_stops_nobody(ward: Ward, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from twin_engine import stories

    true_wires = stories.encode_wires

    def wires(kind, clock_s, samples):  # type: ignore[no-untyped-def]
        if any(6.66 in s.values for s in samples):
            raise ArithmeticError("as a hostile frame might")
        return true_wires(kind, clock_s, samples)

    monkeypatch.setattr(stories, "encode_wires", wires)
    ward.engine()
    ward.connect_device()
    ward.patients.admit(PatientCard("p-2", "X", 0, "B"), wall_clock_ms())
    ward.send(ward.frame(8, value=6.66))
    assert ward.wait_for("faults", 1)["stored"] == 8
    cursor = ward.store().cursor().id
    ward.send(ward.frame(8))
    ward.wait_for("stored", 16)
    assert ward.store().cursor().id > cursor
    assert [e["severity"] for e in ward.events() if e["kind"] == "fault"] == ["alarm"]
    assert ward.counts()["faults"] == 1
    shown = [s for e in ward.feed.recent(PATIENT, 60) if e.frame for s in decode_wire(e.frame)[2]]
    assert shown and not any(6.66 in s.values for s in shown)
    assert any(e.status for e in ward.feed.recent("p-2", 60))


def test_a_round_with_more_uneven_samples_than_a_message_holds_is_written_whole(ward: Ward, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from twin_engine import messages

    monkeypatch.setattr(messages, "MAX_BLOCKS", 16)
    ward.engine()
    ward.connect_device()
    now = wall_clock_ms()
    steps = tuple((1, 20)[i % 2] for i in range(99))
    block = Block("gsr_uS", now - sum(steps), 0, -4, quantise([4.0] * 100, -4), steps)
    ward.send(ward.sealer.seal(encode(Frame(now, now, 1, ward.sealer.next_seq, Source.SENSOR, (block,)))))
    ward.wait_for("stored", 100)
    entries = [e for e in ward.feed.recent(PATIENT, 60) if e.frame or e.revision]
    assert len(entries) > 1
    blocks = [b for e in entries for wire in (e.frame, e.revision) if wire for b in decode_wire(wire)[2]]
    measured = [t for b in blocks for t, p in zip(b.times_us, b.provenance, strict=True) if not p & 0x7F]
    assert len({round(t / 1000) for t in measured}) == 100
    assert not ward.counts().get("faults")


def test_a_device_assigned_to_an_unknown_patient_is_refused_and_the_shard_goes_on(ward: Ward) -> None:
    stop = ward.engine()
    ward.connect_device()
    ward.patients.assign("dev-9", "p-nobody", wall_clock_ms())
    ward.wait_for("acts_refused", 1)
    assert ward.keeper.xrange(keys.dead("s0"))[-1][1][b"reason"] == b"unknown-patient"
    ward.send(ward.frame(8))
    ward.wait_for("stored", 8)
    stop.set()


def test_once_a_patients_key_is_destroyed_nothing_of_her_opens_and_the_others_go_on(ward: Ward) -> None:
    stop = ward.engine()
    ward.connect_device()
    ward.send(ward.frame(8))
    ward.wait_for("stored", 8)
    ward.patients.admit(PatientCard("p-2", "X", 0, "B"), wall_clock_ms())
    ward.wait_for("acts", 3)
    stop.set()
    ward.threads[-1].join(5)
    ward.keeper.delete(keys.data_key(PATIENT))
    assert ward.store().sessions() == {}, "session secrets are sealed under her key too"
    web = connect(ward.files.login("web"))
    assert [card.id for card in RedisFeed(web, Vault(web, ward.master), 1).patients()] == ["p-2"]
    ward.engine()
    ward.send(ward.frame(8))
    ward.wait_for("refused", 1)


def test_a_command_that_nobody_took_in_time_is_not_carried_out_later(ward: Ward, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from twin_engine.store import orders

    ward.engine()
    ward.connect_device()
    ward.send(ward.frame(8))
    ward.wait_for("stored", 8)
    ward.told("sensor", {"signal": "gsr", "connected": False})
    ward.wait_for("acts", 3)
    monkeypatch.setattr(orders, "COMMAND_LIFE_S", -1)
    assert not [o for o in ward.orders.take(200) if o.kind == "method"]
    assert ward.story("command")["facts"]["variant"] == "unanswered"  # type: ignore[index]


def test_without_redis_the_error_says_what_to_do(tmp_path: Path) -> None:
    from twin_engine.store.errors import StoreDown
    from twin_engine.store.server import prepare

    files = prepare(tmp_path / "r")
    with pytest.raises(StoreDown, match="start it, or set EVERBEAT_REDIS_URL"):
        connect(files.login("engine"))


def test_each_process_may_touch_only_what_is_its_own(redis_server: tuple[RedisFiles, object]) -> None:
    files = redis_server[0]
    for user, command in [
        ("web", ("SET", keys.fence("s0"), "9")),
        ("web", ("XRANGE", keys.raw("s0"), "-", "+")),
        ("web", ("XADD", keys.twin("s0", "p-1"), "*", "b", "x")),
        ("acts", ("XADD", keys.raw("s0"), "*", "b", "x")),
        ("acts", ("XADD", keys.patient("p-1"), "*", "b", "x")),
        ("acts", ("XADD", keys.data_key("p-1"), "*", "b", "x")),
        ("acts", ("XRANGE", keys.acts("s0"), "-", "+")),
        ("acts", ("XADD", keys.ORDERS, "*", "b", "x")),
        ("web", ("XADD", keys.ORDERS, "*", "b", "x")),
        ("ingest", ("XADD", keys.acts("s0"), "*", "b", "x")),
        ("downlink", ("XADD", keys.acts("s0"), "*", "b", "x")),
        ("ingest", ("GET", keys.data_key("p-1"))),
        ("downlink", ("GET", keys.state("s0", "p-1"))),
        ("engine", ("FLUSHALL",)),
        ("engine", ("CONFIG", "GET", "*")),
    ]:
        with pytest.raises(Exception, match=r"no permissions|can't run|can't access"):
            connect(files.login(user)).execute_command(*command)
