"""People's acts on real engines: carried out once, told with who did it, refused with a reason, over shards too."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.ingest import HubEvent
from security.identity import wall_clock_ms
from tests.engine_kit import DEVICE, PATIENCE_S, PATIENT, Ward
from twin_engine.messages import decode_wire
from twin_engine.model import Generator
from twin_engine.records import Act
from twin_engine.registry import DEFAULT_LIMITS, Assignments, Limits
from twin_engine.store import keys
from twin_engine.store.acts import write_act
from twin_engine.store.server import RedisFiles

pytestmark = pytest.mark.redis
WHO = "Dr Wren"


@pytest.fixture
def ward(redis_server: tuple[RedisFiles, object], tmp_path: Path, generator: Generator) -> Iterator[Ward]:
    made = Ward(redis_server[0], tmp_path, generator)
    yield made
    made.close()


@pytest.fixture
def two_shards(redis_server: tuple[RedisFiles, object], tmp_path: Path, generator: Generator) -> Iterator[Ward]:
    made = Ward(redis_server[0], tmp_path, generator, shards=2)
    yield made
    made.close()


def until(holds: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, f"expected {what} within {PATIENCE_S} s"
        time.sleep(0.03)


def told(ward: Ward, kind: str, patient: str = PATIENT) -> list[dict[str, Any]]:
    return [event for event in ward.events(patient) if event["kind"] == kind]


def act(ward: Ward, kind: str, patient: str = PATIENT, **body: Any) -> None:
    ward.feed.act(patient, kind, body, WHO)


def admit(ward: Ward, patient: str, **facts: Any) -> None:
    act(ward, "admit", patient, **{"pseudonym": patient.upper(), "bed": "Bed 9", **facts})


def test_every_act_changes_the_record_and_is_told_with_who_did_it(ward: Ward) -> None:
    ward.engine()
    act(ward, "edit", weight_kg=81.0)
    act(ward, "transfer", bed="Bed 2")
    act(ward, "limits", signal="hr_bpm", high=130)
    act(ward, "exchange", old=DEVICE, new="dev-2")
    act(ward, "release", device="dev-2")
    act(ward, "discharge")
    ward.wait_for("acts", 8)
    card = ward.card()
    assert (card.weight_kg, card.bed, card.device, card.present) == (81.0, "Bed 2", "", False)
    assert card.limits_of("hr_bpm") == Limits(50, 130, 40, 150, 4.0)
    kinds = [e["kind"] for e in ward.events() if e["who"] == WHO]
    assert kinds == ["edited", "transferred", "limits-changed", "released", "assigned", "released", "discharged"]
    assert {e["severity"] for e in ward.events()} == {"info"}
    assert [e["who"] for e in ward.events()][:2] == ["keeper", "keeper"], "admitted and assigned when the house began"
    assert len(told(ward, "assigned")) == 2, "told once each, though the fold tells it too"


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        ("limits", {"signal": "hr_bpm", "low": 130}, "bad-limits"),
        ("assign", {"device": "no such/id"}, "malformed"),
        ("fly", {}, "unknown-act"),
    ],
)
def test_an_act_that_cannot_be_carried_out_is_a_dead_letter_and_a_warning(
    ward: Ward, kind: str, body: dict[str, Any], reason: str
) -> None:
    ward.engine()
    ward.wait_for("acts", 2)
    before = ward.card()
    act(ward, kind, **body)
    ward.wait_for("acts_refused", 1)
    (event,) = told(ward, "act-refused")
    assert (event["severity"], event["who"]) == ("warning", WHO)
    assert (event["facts"]["act"], event["facts"]["reason"]) == (kind, reason)
    letter = ward.keeper.xrange(keys.dead("s0"))[0][1]
    assert letter[b"reason"].decode() == reason and letter[b"detail"].decode().startswith("expected ")
    assert ward.card() == before
    act(ward, "transfer", bed="Bed 3")
    until(lambda: ward.card().bed == "Bed 3", "the shard to go on")


def test_what_nobody_sealed_for_this_shard_is_refused_and_stops_nothing(ward: Ward) -> None:
    ward.engine()
    ward.keeper.xadd(keys.acts("s0"), {"b": b"\x01" * 60})
    ward.keeper.xadd(keys.acts("s0"), {"k": b"assigned", "device": b"dev-9", "patient": b"p-1", "ms": b"0"})
    write_act(ward.keeper, ward.master, "s1", Act(PATIENT, "discharge", {}, WHO, wall_clock_ms()))
    ((_, moved),) = ward.keeper.xrange(keys.acts("s1"))
    ward.keeper.xadd(keys.acts("s0"), moved)
    ward.wait_for("acts_refused", 3)
    assert ward.card().present
    reasons = [fields[b"reason"] for _, fields in ward.keeper.xrange(keys.dead("s0"))]
    assert reasons == [b"forged", b"malformed", b"forged"]


def test_ingest_can_no_longer_give_a_device_to_another_patient(ward: Ward) -> None:
    ward.engine()
    admit(ward, "p-2")
    ward.wait_for("acts", 3)
    ward.keeper.xadd(keys.raw("s0"), {"k": "assigned", "device": DEVICE, "patient": "p-2", "ms": 0})
    ward.wait_for("refused", 1)
    assert ward.card("p-2").device == "" and ward.card().device == DEVICE


def test_an_act_says_nothing_to_who_reads_redis(ward: Ward) -> None:
    act(ward, "edit", pseudonym="HERON-4")
    raw = repr(ward.keeper.xrange(keys.acts("s0"))).encode()
    assert b"HERON" not in raw and WHO.encode() not in raw and PATIENT.encode() not in raw


def test_a_device_speaks_for_one_patient_until_it_is_released(ward: Ward) -> None:
    ward.engine()
    admit(ward, "p-2")
    act(ward, "assign", "p-2", device=DEVICE)
    ward.wait_for("acts_refused", 1)
    assert "expected a free device" in str(told(ward, "act-refused", "p-2")[0]["text"])
    act(ward, "release", device=DEVICE)
    act(ward, "assign", "p-2", device=DEVICE)
    ward.wait_for("acts", 5)
    assert (ward.card().device, ward.card("p-2").device) == ("", DEVICE)


def test_to_assign_her_own_device_again_makes_no_new_key_and_forgets_nothing(ward: Ward) -> None:
    ward.engine()
    ward.connect_device()
    ward.send(ward.frame(8))
    ward.wait_for("stored", 8)
    act(ward, "assign", device=DEVICE)
    ward.wait_for("acts", 3)
    assert len(told(ward, "assigned")) == 1
    assert len(ward.store().recipients()) == 1
    until(lambda: [e for e in ward.feed.recent(PATIENT, 60) if e.status], "a status")
    status = [e.status for e in ward.feed.recent(PATIENT, 60) if e.status][-1]
    assert status["devices"][DEVICE]["last_frame_s"] > 0, "the twin knows it as before"


def test_an_engine_whose_store_holds_one_unreadable_card_and_snapshot_goes_on(ward: Ward) -> None:
    stop = ward.engine()
    admit(ward, "p-2")
    ward.connect_device()
    ward.wait_for("acts", 3)
    stop.set()
    ward.threads[-1].join(5)
    ward.keeper.set(keys.patient("p-2"), b"spoilt" * 20)
    ward.keeper.set(keys.state("s0", "p-2"), b"spoilt" * 20)
    ward.engine()
    ward.send(ward.frame(8))
    ward.wait_for("stored", 8)
    shown = {card.id: card.locked for card in ward.feed.patients()}
    assert shown == {PATIENT: False, "p-2": True}, "whose card can't be read is on the ward, and says so"


def test_after_a_discharge_no_time_passes_and_the_history_stays_readable(ward: Ward) -> None:
    ward.engine()
    ward.connect_device()
    ward.send(ward.frame(8))
    ward.wait_for("stored", 8)
    act(ward, "discharge")
    ward.wait_for("acts", 3)
    last = ward.feed.recent(PATIENT, 60)[-1].id
    time.sleep(2.2)
    assert ward.feed.recent(PATIENT, 60)[-1].id == last, "no word every second about who has gone"
    assert any(entry.frame for entry in ward.feed.recent(PATIENT, 60))
    act(ward, "transfer", bed="B")
    ward.wait_for("acts_refused", 1)
    assert told(ward, "act-refused")[0]["facts"]["reason"] == "discharged"  # type: ignore[index]
    act(ward, "admit", bed="Bed 5", device=DEVICE)
    until(lambda: ward.card().present, "her to be back")
    assert (ward.card().pseudonym, ward.card().bed, ward.card().device) == ("WREN-3", "Bed 5", DEVICE)


def test_who_is_here_without_a_device_is_told_of_every_second(ward: Ward) -> None:
    ward.engine()
    admit(ward, "p-2")
    until(lambda: len([e for e in ward.feed.recent("p-2", 60) if e.status]) >= 3, "a word every second")


def test_the_fold_hears_of_limits_releases_and_acknowledgements(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    from twin_engine import stories
    from twin_engine.messages import Acted, Recorded, Released

    heard = list[object]()
    true_fold = stories.fold

    def fold(twin, message, forecaster):  # type: ignore[no-untyped-def]
        heard.append(message)
        return true_fold(twin, message, forecaster)

    monkeypatch.setattr(stories, "fold", fold)
    ward.engine()
    act(ward, "limits", signal="hr_bpm", high=130)
    act(ward, "ack", alarm="all")
    act(ward, "release", device=DEVICE)
    ward.wait_for("acts", 5)
    first, second = [m for m in heard if isinstance(m, Recorded) and m.t_ms]
    assert dict(first.limits) == DEFAULT_LIMITS
    assert second.limits["hr_bpm"].high == 130
    assert [(m.kind, dict(m.body), m.who) for m in heard if isinstance(m, Acted)] == [("ack", {"alarm": "all"}, WHO)]
    assert [m.device for m in heard if isinstance(m, Released)] == [DEVICE]


def test_an_engine_that_dies_before_its_commit_finds_its_claim_again(ward: Ward) -> None:
    """A claim is written at once; the act comes again, and a successor carries it out once."""
    store = ward.store()
    assert store.acquire()
    assert store.claim(DEVICE, PATIENT) == PATIENT
    assert store.claim(DEVICE, "p-2") == PATIENT, "another patient can't have it"
    store.release()
    ward.engine()
    ward.wait_for("acts", 2)
    assert ward.card().device == DEVICE
    assert len(told(ward, "assigned")) == 1


def test_acts_survive_an_engine_that_was_not_there(ward: Ward) -> None:
    stop = ward.engine()
    ward.wait_for("acts", 2)
    stop.set()
    ward.threads[-1].join(5)
    act(ward, "transfer", bed="Bed 2")
    ward.engine()
    until(lambda: ward.card().bed == "Bed 2", "the act to be carried out")
    assert ward.counts()["acts"] == 3, "what was carried out before is not carried out again"
    assert len(told(ward, "transferred")) == 1


def on_shard(shard: str) -> str:
    return next(f"p-{i}" for i in range(2, 100) if keys.shard_of(f"p-{i}", 2) == shard)


def test_a_device_moves_to_a_patient_of_another_shard_and_loses_nothing(two_shards: Ward) -> None:
    ward = two_shards
    old, new = keys.shard_of(PATIENT, 2), "s1" if keys.shard_of(PATIENT, 2) == "s0" else "s0"
    other = on_shard(new)
    for shard in ("s0", "s1"):
        ward.engine(shard)
    ward.connect_device()
    ward.send(ward.frame(8))
    ward.wait_for("stored", 8, old)
    before = ward.sealer

    admit(ward, other, device=DEVICE)
    ward.wait_for("acts_refused", 1, new)  # not yet: it speaks for another, in a shard that this engine can't see
    act(ward, "release", device=DEVICE)
    until(lambda: ward.card().device == "", "the release")
    time.sleep(0.4)
    in_flight = ward.frame(1)  # its one reading was taken after the release
    admit(ward, other)
    act(ward, "assign", other, device=DEVICE)
    until(lambda: ward.card(other).device == DEVICE, "the assignment on the other shard")

    late_record, late = ward.open_late()  # a session that the device opened before it heard of its new key
    ward.send(in_flight, late_record, ward.frame(1, sealer=late))
    ward.wait_for("stored", 10, old)
    assert ward.counts(old)["unassigned"] == 2
    assert not ward.counts(new).get("stored")

    ward.connect_device(epoch=2)
    time.sleep(1)
    ward.send(ward.frame(1, value=7.5))
    ward.wait_for("stored", 1, new)
    ward.send(ward.frame(8, value=7.5))
    ward.wait_for("stored", 9, new)
    _, _, (samples,) = decode_wire([e for e in ward.feed.recent(other, 60) if e.frame][-1].frame)
    assert samples.values.min() >= 7.5
    seen = [s for e in ward.feed.recent(PATIENT, 60) if e.frame for s in decode_wire(e.frame)[2]]
    assert max(np.nanmax(s.values) for s in seen) < 7, "nothing of the new patient is shown with the old one"
    assert not ward.counts(new).get("refused") and not ward.counts(old).get("refused")

    for sealer, upto in ((before, 1), (late, 0), (ward.sealer, 1)):  # each from the engine that stored it
        ward.wait_for_receipt(sealer, upto)


def test_two_engines_that_want_one_device_at_once_do_not_both_get_it(two_shards: Ward) -> None:
    ward = two_shards
    a, b = on_shard("s0"), on_shard("s1")
    for i in range(8):
        admit(ward, a, device=f"free-{i}") if i == 0 else act(ward, "assign", a, device=f"free-{i}")
        admit(ward, b, device="own") if i == 0 else None
        act(ward, "assign", b, device=f"free-{i}")
    for shard in ("s0", "s1"):
        ward.engine(shard)
    for shard in ("s0", "s1"):
        until(lambda shard=shard: sum(ward.counts(shard).get(k, 0) for k in ("acts", "acts_refused")) >= 8, "all acts")
    holders: dict[str, list[str]] = {}
    for shard in ("s0", "s1"):
        for device, text in ward.store(shard).assignments().items():
            current = Assignments.from_json(text).current
            if current is not None:
                holders.setdefault(device, []).append(current)
    assert all(len(who) == 1 for who in holders.values())
    assert {f"free-{i}" for i in range(8)} <= holders.keys()
    assert {d: keys.read_route(ward.keeper.hget(keys.ROUTE, d))[1] for d in holders} == {
        d: w[0] for d, w in holders.items()
    }


def test_a_message_of_nobody_goes_to_some_shard_and_is_refused_there(two_shards: Ward) -> None:
    for shard in ("s0", "s1"):
        two_shards.engine(shard)
    two_shards.sink.put([HubEvent("0", "1", 1, "stranger", wall_clock_ms(), b"\x01" * 80)])
    until(lambda: sum(two_shards.counts(s).get("refused", 0) for s in ("s0", "s1")) == 1, "one refusal")
