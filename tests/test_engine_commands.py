"""The engine tells devices what people ask, with a proof, and believes of the answers what the device proved."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from device.downlink import Order, Outcome
from device.orders import NotBelieved, Orders
from security.identity import wall_clock_ms
from tests.engine_kit import DEVICE, PATIENT, Ward
from twin_engine.model import Generator
from twin_engine.registry import PatientCard
from twin_engine.store import keys
from twin_engine.store.raw import answer_fields
from twin_engine.store.server import RedisFiles

UNPLUG = {"signal": "gsr", "connected": False}


@pytest.fixture
def ward(redis_server: tuple[RedisFiles, object], tmp_path: Path, generator: Generator) -> Iterator[Ward]:
    ward = Ward(redis_server[0], tmp_path, generator)
    yield ward
    ward.close()


@pytest.fixture
def measuring(ward: Ward) -> Ward:
    """An engine that has proven the device's first frame."""
    ward.engine()
    ward.connect_device()
    ward.send(ward.frame(8))
    ward.wait_for("stored", 8)
    return ward


def answer(ward: Ward, order: Order, said: object, status: int = 200) -> None:
    """What downlink tells of an order, true or not."""
    ward.orders.done(order, Outcome(status, said, ""))  # type: ignore[arg-type]


def carried_out(ward: Ward, orders: Orders, order: Order, status: int = 200, payload: Any = None) -> dict[str, object]:
    """As the device does; its answer."""
    heard = orders.hear("method", order.name, json.loads(json.dumps(order.payload)), 0)
    return heard.answer(status, {"connected": False, "channels": ["gsr_uS"]} if payload is None else payload)


def unplugged(ward: Ward) -> list[str]:
    status = [entry.status for entry in ward.feed.recent(PATIENT, 60) if entry.status][-1]
    return list(status["devices"][DEVICE]["unplugged"])


def test_a_command_goes_down_proven_and_its_proven_answer_becomes_part_of_the_story(measuring: Ward) -> None:
    ward = measuring
    began_s = time.monotonic()
    ward.told("sensor", UNPLUG, who="nurse Ada")
    order = ward.take_order("method")
    took_s = time.monotonic() - began_s
    assert (order.device, order.name) == (DEVICE, "sensor") and took_s < 2
    answer(ward, order, carried_out(ward, ward.listen(), order))
    event = ward.story("command")
    assert (event["severity"], event["facts"]["variant"], event["who"]) == ("info", "unplugged", "nurse Ada")  # type: ignore[index]
    assert unplugged(ward) == ["gsr_uS"]


@pytest.mark.parametrize("invented", [{"connected": False, "channels": ["gsr_uS"]}, "altered", "swapped"])
def test_an_answer_that_downlink_made_up_counts_nothing_and_is_told_once(measuring: Ward, invented: object) -> None:
    ward, device = measuring, measuring.listen()
    ward.told("sensor", UNPLUG)
    ward.told("identify")
    one, two = ward.take_order("method"), ward.take_order("method")
    true, other = carried_out(ward, device, one), carried_out(ward, device, two, payload={"channels": ["gsr_uS"]})
    said = {"altered": true | {"body": '{"connected": false, "channels": ["hr_bpm"]}'}, "swapped": other}
    fake = said[invented] if isinstance(invented, str) else invented
    for _ in range(2):
        answer(ward, one, fake)
    event = ward.story("command")
    assert (event["severity"], event["facts"]["variant"]) == ("warning", "unproven")  # type: ignore[index]
    ward.wait_for("answers_refused", 2)
    assert unplugged(ward) == []
    answer(ward, one, true)
    assert ward.story("command", 1)["facts"]["variant"] == "unplugged", "the true answer still counts"  # type: ignore[index]
    assert unplugged(ward) == ["gsr_uS"]
    answer(ward, one, true)
    ward.wait_for("answers_refused", 3)
    assert len([e for e in ward.events() if e["kind"] == "command"]) == 2, "and counts once"


def test_answers_to_what_nobody_asked_are_counted_and_not_told(measuring: Ward) -> None:
    ward = measuring
    downlink = ward.keeper
    for payload in ({}, {"sid": "zz", "n": 0}, {"sid": ward.sealer.sid.hex(), "n": 7, "answer": {}}, [1], "x"):
        downlink.xadd(keys.raw("s0"), answer_fields(DEVICE, "sensor", payload, 200, wall_clock_ms()))  # type: ignore[arg-type]
    ward.wait_for("answers_refused", 5)
    assert not [e for e in ward.events() if e["kind"] == "command"]


def test_a_refusal_that_the_device_proves_is_told_as_its_own(measuring: Ward) -> None:
    ward = measuring
    ward.told("explode")
    order = ward.take_order("method")
    answer(ward, order, carried_out(ward, ward.listen(), order, 404, {"error": "no such method"}), 404)
    assert ward.story("command")["facts"]["variant"] == "failed"  # type: ignore[index]


def test_the_hub_s_own_word_that_a_device_is_away_is_told_as_not_proven(measuring: Ward) -> None:
    ward = measuring
    ward.told("sensor", UNPLUG)
    answer(ward, ward.take_order("method"), {}, 404)
    assert ward.story("command")["facts"]["variant"] == "unanswered"  # type: ignore[index]
    assert unplugged(ward) == []


def test_a_command_whose_answer_was_lost_is_told_by_the_answer_that_the_device_kept(measuring: Ward) -> None:
    ward, device = measuring, measuring.listen()
    ward.told("sensor", UNPLUG)
    order = ward.take_order("method")
    carried_out(ward, device, order)  # downlink dies before it tells it, and invokes the method again
    with pytest.raises(NotBelieved) as again:
        carried_out(ward, device, order)
    answer(ward, order, again.value.said, again.value.status)
    assert ward.story("command")["facts"]["variant"] == "unplugged"  # type: ignore[index]


def test_a_refusal_as_seen_before_is_not_told_as_if_nothing_had_been_done(measuring: Ward) -> None:
    ward, device = measuring, measuring.listen()
    ward.told("sensor", UNPLUG)
    ward.told("identify")
    one, two = ward.take_order("method"), ward.take_order("method")
    for order in (one, two):  # both answers are lost, and only the first command comes again
        carried_out(ward, device, order)
    with pytest.raises(NotBelieved) as again:
        carried_out(ward, device, one)
    answer(ward, one, again.value.said, again.value.status)
    event = ward.story("command")
    assert event["facts"]["variant"] == "unanswered" and "not proven" in str(event["text"])  # type: ignore[index]


def test_what_no_device_answers_is_told_after_a_while(measuring: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    from twin_engine import commanding

    monkeypatch.setattr(commanding, "PATIENCE_MS", 100)
    measuring.told("identify")
    assert measuring.story("command")["facts"]["variant"] == "unanswered"  # type: ignore[index]


def test_an_engine_that_takes_over_goes_on_counting_and_believes_answers_to_what_the_one_before_asked(
    measuring: Ward,
) -> None:
    ward, device = measuring, measuring.listen()
    ward.told("sensor", UNPLUG)
    first = ward.take_order("method")
    ward.stops[-1].set()
    ward.threads[-1].join(5)
    ward.engine()
    answer(ward, first, carried_out(ward, device, first))
    assert ward.story("command")["facts"]["variant"] == "unplugged"  # type: ignore[index]
    ward.told("identify")
    second = ward.take_order("method")
    assert second.payload["n"] == int(str(first.payload["n"])) + 1
    answer(ward, second, carried_out(ward, device, second, payload={"identified": 1}))
    ward.story("command", 1)


def test_a_round_that_could_not_be_written_uses_no_number_twice(
    measuring: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    from twin_engine.store.errors import StoreDown
    from twin_engine.store.shard import ShardStore

    ward, true, failed = measuring, ShardStore.commit, threading.Event()

    def once(self: ShardStore, work: Any) -> None:
        if not failed.is_set() and any(order.kind == "method" for order in work.orders):
            failed.set()
            raise StoreDown("expected a Redis that answers, got none")
        true(self, work)

    monkeypatch.setattr(ShardStore, "commit", once)
    ward.told("sensor", UNPLUG)
    ward.told("identify")
    numbers = [ward.take_order("method").payload["n"] for _ in range(2)]
    assert failed.is_set() and numbers == [0, 1]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"device": "dev-9", "name": "sensor", "payload": {}}, "not-hers"),
        ({"device": DEVICE, "name": "", "payload": {}}, "malformed"),
        ({"device": DEVICE, "name": "x" * 65, "payload": {}}, "malformed"),
        ({"device": DEVICE, "name": "sensor", "payload": []}, "malformed"),
        ({"device": DEVICE, "name": "sensor", "payload": {"x": "y" * 2000}}, "malformed"),
        ({"device": DEVICE, "name": "sensor", "payload": {}, "lasting": 1}, "malformed"),
        ({"device": DEVICE, "name": "sensor", "payload": {}, "sid": "00"}, "malformed"),
    ],
)
def test_a_command_that_is_none_or_of_another_s_device_is_refused(
    measuring: Ward, body: dict[str, object], reason: str
) -> None:
    measuring.feed.act(PATIENT, "command", body, "nurse")
    assert measuring.story("act-refused")["facts"]["reason"] == reason  # type: ignore[index]
    assert not [order for order in measuring.taken + list(measuring.orders.take(300)) if order.kind == "method"]


def test_a_device_without_a_session_is_not_told_anything_and_the_person_is_told_why(ward: Ward) -> None:
    ward.engine()
    ward.take("desired")
    ward.told("sensor", UNPLUG)
    event = ward.story("act-refused")
    assert event["facts"]["reason"] == "no-session" and "ask again" in str(event["text"])  # type: ignore[index]


def test_a_device_that_was_given_to_another_patient_hears_nothing_by_the_session_of_before(measuring: Ward) -> None:
    ward = measuring
    before = ward.listen()
    ward.told("sensor", UNPLUG)
    held = ward.take_order("method")
    ward.patients.admit(PatientCard("p-2", "LARK-2", 1980, "Bed 2"), wall_clock_ms())
    ward.feed.act(PATIENT, "release", {"device": DEVICE}, "nurse")
    ward.feed.act("p-2", "assign", {"device": DEVICE}, "nurse")
    ward.wait_for("acts", 6)
    ward.feed.act("p-2", "command", {"device": DEVICE, "name": "identify", "payload": {}}, "nurse")
    end = time.monotonic() + 10
    while time.monotonic() < end and not any(e["kind"] == "act-refused" for e in ward.events("p-2")):
        time.sleep(0.03)
    assert [e["facts"]["reason"] for e in ward.events("p-2") if e["kind"] == "act-refused"] == ["no-session"]  # type: ignore[index]
    before.forget()  # as the device does when it takes the key for p-2
    with pytest.raises(NotBelieved, match="has open"):
        carried_out(ward, before, held)


def test_an_act_that_waited_too_long_for_an_engine_is_not_carried_out(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    from twin_engine import commanding

    stop = ward.engine()
    ward.connect_device()
    ward.send(ward.frame(8))
    ward.wait_for("stored", 8)
    stop.set()
    ward.threads[-1].join(5)
    ward.told("sensor", UNPLUG)
    monkeypatch.setattr(commanding, "LIFE_MS", 500)
    time.sleep(0.6)
    ward.engine()
    assert ward.story("act-refused")["facts"]["reason"] == "late"  # type: ignore[index]


def test_a_setting_goes_down_as_a_property_with_its_proof(measuring: Ward) -> None:
    ward = measuring
    body = {"device": DEVICE, "name": "frame_interval", "payload": {"seconds": 10}, "lasting": True}
    ward.feed.act(PATIENT, "command", body, "nurse")
    order = ward.take_order("desired")
    data = json.loads(json.dumps(order.payload))["settings"]["frame_interval"]
    assert ward.listen().hear("desired", "frame_interval", data, 0).payload == {"seconds": 10}
    assert ward.story("command")["facts"]["variant"] == "set"  # type: ignore[index]


def test_at_most_so_many_commands_wait_for_a_device_that_answers_nothing(measuring: Ward) -> None:
    for _ in range(17):
        measuring.told("identify")
    assert measuring.story("act-refused")["facts"]["reason"] == "too-many"  # type: ignore[index]
    measuring.wait_for("acts", 2 + 16)
