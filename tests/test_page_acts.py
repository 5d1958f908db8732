"""What people do, on its way to the engine: what is refused, for whom, and that nothing wrong ever reaches the feed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fake_ward import FakeWard
from tests.socket_viewer import Viewer
from tests.web_kit import serving, wait_until
from twin_engine import registry
from twin_engine.alarms import PAUSE_S
from twin_engine.facts import fact
from twin_engine.records import Act, ActRefused, carry_out
from twin_engine.registry import PatientCard
from web.acts import RATE, Acts, confirms
from web.fields import KINDS, Wrong, check
from web.pages import pending
from web.relay import Relay
from web.settings import WebSettings
from web.words import LANGUAGES, words

SETTINGS = WebSettings(host="127.0.1.74", port=8531, block_ms=50)
URL = f"http://{SETTINGS.host}:{SETTINGS.port}"
RECORD = {"pseudonym": "STORK-11", "number": "700123", "birth_year": "1950", "sex": "male", "height_cm": "181,5",
          "weight_kg": 80, "bed": "Bed 99", "device": ""}  # fmt: skip


@pytest.fixture(scope="module")
def feed() -> FakeWard:
    return FakeWard(4)


@pytest.fixture(scope="module")
def relay(feed: FakeWard) -> Iterator[Relay]:
    with serving(feed, SETTINGS) as relay:
        wait_until(lambda: len(relay.cards()) == 4)
        yield relay


@pytest.fixture
def acts(feed: FakeWard, relay: Relay) -> Acts:
    feed.clinic.acts.clear()
    return Acts(feed, relay, "somebody")


def ask(relay: Relay, **changes: Any) -> dict[str, Any]:
    number = relay.card("p-0001").number  # type: ignore[union-attr]
    return {"patient": "p-0001", "number": number, "kind": "pause", "body": {"seconds": 60}} | changes


T = words("en")


def test_an_act_reaches_the_feed_with_who_did_it(acts: Acts, relay: Relay, feed: FakeWard) -> None:
    assert acts.hear("s1", ask(relay), T) == {"ok": True}
    assert feed.clinic.acts == [("p-0001", "pause", {"seconds": 60}, "somebody")]


def test_an_act_from_a_screen_that_shows_another_patients_number_is_refused(
    acts: Acts, relay: Relay, feed: FakeWard
) -> None:
    other = relay.card("p-0002").number  # type: ignore[union-attr]
    for number in (other, "", None, 619501, ["x"]):
        answer = acts.hear("s1", ask(relay, number=number), T)
        assert answer["ok"] is False and "another patient" in str(answer["error"])
    assert feed.clinic.acts == []


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "erase"},
        {"kind": 7},
        {"kind": "admit", "body": RECORD},
        {"patient": "somebody-else"},
        {"patient": ""},
        {"patient": "p" * 1000},
        {"body": "text"},
        {"body": {str(k): k for k in range(100)}},
        {"body": {"seconds": 121}},
        {"body": {"seconds": "nan"}},
        {"body": {"seconds": True}},
        {"kind": "ack", "body": {"alarm": "x" * 500}},
        {"kind": "ack", "body": {"alarm": []}},
        {"kind": "ack", "body": {"alarm": ["a1"] * 65}},
        {"kind": "ack", "body": {"alarm": ["a1", 7]}},
        {"kind": "transfer", "body": {"bed": "<b>"}},
        {"kind": "limits", "body": {"signal": "no_such"}},
    ],
)
def test_what_no_rule_allows_is_refused_in_words_and_reaches_nobody(
    acts: Acts, relay: Relay, feed: FakeWard, changes: dict[str, Any]
) -> None:
    answer = acts.hear("s1", ask(relay, **changes), T)
    assert answer["ok"] is False and len(str(answer["error"])) > 10
    assert feed.clinic.acts == []


@pytest.mark.parametrize("data", [None, 3, "act", [], {}])
def test_a_message_of_another_shape_is_refused(acts: Acts, feed: FakeWard, data: object) -> None:
    assert acts.hear("s1", data, T)["ok"] is False


def test_a_socket_that_sends_too_much_is_told_to_wait_and_others_are_not(acts: Acts, relay: Relay) -> None:
    answers = [acts.hear("s1", ask(relay), T)["ok"] for _ in range(RATE + 3)]
    assert answers == [True] * RATE + [False] * 3
    assert acts.hear("s2", ask(relay), T)["ok"] is True
    acts.forget("s1")
    assert acts.hear("s1", ask(relay), T)["ok"] is True


def test_a_store_that_is_down_is_said_to_be_and_nothing_is_pretended(acts: Acts, relay: Relay, feed: FakeWard) -> None:
    feed.down = True
    try:
        answer = acts.hear("s1", ask(relay), words("de"))
    finally:
        feed.down = False
    assert answer == {"ok": False, "error": "Der Datenspeicher ist nicht erreichbar; es wurde nichts getan."}


def test_both_namespaces_answer_an_act_through_the_acknowledgement(relay: Relay, feed: FakeWard) -> None:
    for namespace in ("/twin", "/ward"):
        with Viewer(URL, patient="p-0001", namespace=namespace) as viewer:
            viewer.until("hello")
            assert viewer.ask("act", ask(relay, kind="resume", body={})) == {"ok": True}
            assert viewer.ask("act", ask(relay, number="0000"))["ok"] is False


def test_the_ward_is_told_whole_first_and_then_what_is_new(relay: Relay) -> None:
    with Viewer(URL, namespace="/ward") as viewer:
        assert "hr_bpm" in viewer.until("hello")["looks"]
        first = viewer.until("ward")
        assert first["all"] and set(first["rows"]) >= {"p-0001", "p-0002", "p-0003"}
        assert len(first["rows"]["p-0001"]["points"]) > 30
        news = viewer.until("ward")
        assert not news["all"] and "card" not in news["rows"].get("p-0001", {})


def test_a_bed_a_number_or_a_device_of_another_patient_is_an_error_at_its_field(acts: Acts, feed: FakeWard) -> None:
    heron = feed.clinic.cards["p-0001"]
    wrong = acts.send(
        "p-new",
        "admit",
        RECORD
        | {"pseudonym": heron.pseudonym.lower(), "bed": heron.bed.upper(), "number": heron.number}
        | {"device": heron.device},
    )
    assert {name: w.key for name, w in wrong.items()} == {
        "pseudonym": "patients.wrong.taken_pseudonym",
        "bed": "patients.wrong.taken_bed",
        "number": "patients.wrong.taken_number",
        "device": "patients.wrong.taken_device",
    }
    assert acts.send("p-0001", "transfer", {"bed": heron.bed, "confirm": heron.number[-4:]}) == {}


def test_people_write_numbers_with_a_comma_too() -> None:
    checked = check("admit", RECORD, 2026)
    assert checked.wrong == {}
    assert (checked.body["height_cm"], checked.body["birth_year"]) == (181.5, 1950)
    assert check("admit", RECORD | {"birth_year": ""}, 2026).body["birth_year"] == 0


def test_limits_must_rise_and_lie_within_what_the_sensor_can_report() -> None:
    good = {
        "signal": "hr_bpm",
        "low": "45",
        "high": 130,
        "crisis_low": "",
        "crisis_high": None,
        "delay_s": 5,
        "on": True,
    }
    assert check("limits", good, 2026).body["low"] == 45.0
    assert set(check("limits", good | {"crisis_low": 50}, 2026).wrong) == {"low"}
    assert set(check("limits", good | {"high": 45}, 2026).wrong) == {"high"}
    assert set(check("limits", good | {"high": 900, "on": "yes"}, 2026).wrong) == {"high", "on"}
    assert check("limits", {"signal": "hr_bpm", "reset": True, "low": "x"}, 2026).body == {
        "signal": "hr_bpm",
        "reset": True,
    }


def test_every_refusal_has_words_in_every_language() -> None:
    wrongs = [w for kind in KINDS for w in check(kind, {}, 2026).wrong.values()]
    wrongs += check("admit", RECORD | {"height_cm": 3, "number": "2", "bed": "\n\x01", "sex": "?"}, 2026).wrong.values()
    wrongs += check(
        "limits", {"signal": "hr_bpm", "low": 60, "high": 50, "delay_s": 1, "on": True}, 2026
    ).wrong.values()
    assert len({w.key for w in wrongs}) >= 5
    for language in LANGUAGES:
        assert all(len(words(language)(w.key, **w.facts)) > 5 for w in wrongs)


def test_only_the_end_of_this_patients_number_confirms(relay: Relay) -> None:
    card = relay.card("p-0001")
    assert card is not None
    assert confirms(card, f" {card.number[-4:]} ")
    assert not any(confirms(card, typed) for typed in ("", None, card.number[:4], card.number, 7))


def test_a_patient_who_has_left_is_beyond_reach(acts: Acts, relay: Relay, feed: FakeWard) -> None:
    assert acts.send("p-0003", "discharge", {"confirm": feed.clinic.cards["p-0003"].number[-4:]}) == {}
    relay.look_again()
    wait_until(lambda: not relay.card("p-0003").present)  # type: ignore[union-attr]
    with pytest.raises(Wrong, match=r"patients\.act\.left"):
        acts.send("p-0003", "transfer", {"bed": "Bed 50"})


def test_an_act_is_done_when_the_record_shows_it_and_refused_when_the_engine_says_so(feed: FakeWard) -> None:
    card = feed.clinic.cards["p-0002"]
    sent = {"patient": card.id, "kind": "transfer", "body": {"bed": "Bed 70"}, "who": "me", "t": 100.0}
    refusal = {
        "kind": "act-refused",
        "t": 100.4,
        "text": "expected a free bed",
        "who": "me",
        "facts": {"act": "transfer"},
    }
    assert pending.outcome(sent, card, {}, [], 101.0)[0] == pending.WAITING
    assert pending.outcome(sent, card, {}, [refusal], 101.0) == (pending.REFUSED, "expected a free bed")
    assert pending.outcome(sent, card, {}, [refusal | {"t": 90.0}], 101.0)[0] == pending.WAITING
    assert pending.outcome(sent, card, {}, [], 120.0)[0] == pending.UNKNOWN
    assert pending.outcome(sent | {"body": {"bed": card.bed}}, card, {}, [], 101.0)[0] == pending.DONE


def test_the_refusal_of_another_act_or_of_another_person_is_no_answer_to_this_one(feed: FakeWard) -> None:
    card = feed.clinic.cards["p-0002"]
    sent = {"patient": card.id, "kind": "transfer", "body": {"bed": "Bed 70"}, "who": "me", "t": 100.0}
    refusal = {"kind": "act-refused", "t": 100.4, "text": "no", "who": "me", "facts": {"act": "transfer"}}
    for other in ({"facts": {"act": "pause"}}, {"facts": {}}, {"who": "somebody"}, {"t": 98.0}):
        assert pending.outcome(sent, card, {}, [refusal | other], 101.0)[0] == pending.WAITING, other


def test_a_second_device_is_released_only_when_it_speaks_no_more(feed: FakeWard) -> None:
    card = feed.clinic.cards["p-0002"]
    both, one = ({"devices": {name: {} for name in names}} for names in ((card.device, "esp32-2nd"), (card.device,)))
    sent = {"patient": card.id, "kind": "release", "body": {"device": "esp32-2nd"}, "who": "me", "t": 100.0}
    assert pending.outcome(sent, card, both, [], 101.0)[0] == pending.WAITING
    assert pending.outcome(sent, card, one, [], 101.0)[0] == pending.DONE
    exchange = sent | {"kind": "exchange", "body": {"old": "esp32-2nd", "new": card.device}}
    assert pending.outcome(exchange, card, both, [], 101.0)[0] == pending.WAITING
    assert pending.outcome(exchange, card, one, [], 101.0)[0] == pending.DONE


@pytest.mark.parametrize(
    ("kind", "body"),
    [("discharge", {}), ("transfer", {"bed": "Bed 90"}), ("exchange", {"old": "esp32-002", "new": "e-9"})],
)
def test_what_cannot_be_undone_needs_the_end_of_the_number_over_a_socket_too(
    acts: Acts, relay: Relay, feed: FakeWard, kind: str, body: dict[str, Any]
) -> None:
    number, other = (feed.clinic.cards[p].number for p in ("p-0002", "p-0001"))
    asked = {"patient": "p-0002", "number": number, "kind": kind}
    for typed in ({}, {"confirm": ""}, {"confirm": other[-4:]}, {"confirm": True}, {"confirm": number}):
        answer = acts.hear("s1", {**asked, "body": body | typed}, T)
        assert answer["ok"] is False and "record number" in str(answer["error"])
    assert feed.clinic.acts == []
    feed.clinic.refuse = "stays as she is, the next test needs her"
    assert acts.hear("s1", {**asked, "body": body | {"confirm": number[-4:]}}, T) == {"ok": True}
    assert feed.clinic.acts == [("p-0002", kind, body, "somebody")]


def test_forms_sockets_and_the_engine_hold_a_card_to_the_same_rules() -> None:
    assert PAUSE_S == registry.PAUSE_S
    for name, (low, high) in (("height_cm", registry.HEIGHT_CM), ("weight_kg", registry.WEIGHT_KG)):
        for value in (low, high, low * 0.99, high * 1.01):
            typed = name not in check("edit", RECORD | {name: value}, 2026).wrong
            assert typed == accepts(lambda name=name, value=value: fact(name, value)), (name, value)
    for year in (registry.OLDEST_YEAR, registry.OLDEST_YEAR - 1):
        typed = "birth_year" not in check("edit", RECORD | {"birth_year": year}, 2026).wrong
        assert typed == accepts(lambda year=year: fact("birth_year", year)), year
    pauses = [("pause", {"seconds": 120}), ("pause", {"seconds": 121})]
    for kind, body in (*pauses, ("limits", LATE), ("limits", TOO_LATE)):
        act = Act("p-1", kind, body, "me", 10**12)
        typed = not check(kind, body, 2026).wrong
        assert typed == accepts(lambda act=act: carry_out(act, WREN, (), 10**12)), body


WREN = PatientCard("p-1", "WREN-3", 1970, "Bed 1", "dev-1", admitted_ms=1)


LATE = {
    "signal": "hr_bpm",
    "low": 40.0,
    "high": 130.0,
    "crisis_low": 30.0,
    "crisis_high": 160.0,
    "delay_s": 120.0,
    "on": True,
}
TOO_LATE = LATE | {"delay_s": 121.0}


def accepts(act: Any) -> bool:
    try:
        act()
    except ActRefused:
        return False
    return True
