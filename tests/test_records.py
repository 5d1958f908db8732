"""What people do to a record: what it comes to, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from twin_engine.limits import limits_by_signal
from twin_engine.records import Act, ActRefused, carry_out
from twin_engine.registry import DEFAULT_LIMITS, Assignments, Limits, PatientCard

NOW = 1_800_000_000_000
CARD = PatientCard("p-1", "WREN-3", 1970, "Bed 1", "dev-1", admitted_ms=1)


def act(kind: str, **body: Any) -> Act:
    return Act("p-1", kind, body, "Dr Wren", NOW)


def done(kind: str, card: PatientCard | None = CARD, devices: tuple[str, ...] = ("dev-1",), **body: Any):  # type: ignore[no-untyped-def]
    return carry_out(act(kind, **body), card, devices, NOW)


def refusal(kind: str, card: PatientCard | None = CARD, devices: tuple[str, ...] = ("dev-1",), **body: Any) -> str:
    with pytest.raises(ActRefused, match=r"^expected ") as caught:
        done(kind, card, devices, **body)
    return caught.value.reason


def test_an_act_survives_the_way_through_the_store() -> None:
    made = act("limits", signal="hr_bpm", low=40, high=None, on=True)
    assert Act.from_bytes(made.to_bytes()) == made


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"patient": "p"}', b"[" * 100_000, b'"' * 9])
def test_other_bytes_are_no_act(data: bytes) -> None:
    with pytest.raises(ActRefused):
        Act.from_bytes(data)


def test_who_is_admitted_has_a_card_a_bed_and_a_line_in_her_story() -> None:
    turn = done("admit", None, (), pseudonym="WREN-3", bed=" Bed 7 ", birth_year=1980, sex="female", height_cm=171)
    assert (turn.card.pseudonym, turn.card.bed, turn.card.admitted_ms) == ("WREN-3", "Bed 7", NOW)
    assert [(t.kind, dict(t.facts)) for t in turn.told] == [("admitted", {"bed": "Bed 7"})]


def test_who_is_admitted_with_a_device_has_it_at_once() -> None:
    turn = done("admit", None, (), pseudonym="X", bed="B", device="dev-7")
    assert (turn.assigned, turn.card.device) == ("dev-7", "dev-7")
    assert [t.kind for t in turn.told] == ["admitted", "assigned"]


def test_a_discharged_patient_comes_back_with_her_facts_and_the_usual_limits() -> None:
    limits = {"hr_bpm": Limits(30, 200)}
    gone = done("discharge", PatientCard("p-1", "WREN-3", 1970, "Bed 1", "dev-1", limits=limits)).card
    assert gone.discharged_ms == NOW and not gone.present
    back = done("admit", gone, (), bed="Bed 9").card
    assert (back.pseudonym, back.birth_year, back.bed, back.present) == ("WREN-3", 1970, "Bed 9", True)
    assert limits_by_signal(back) == DEFAULT_LIMITS


def test_to_admit_again_who_is_here_changes_nothing_and_other_facts_are_refused() -> None:
    same = done("admit", pseudonym="WREN-3", bed="Bed 1")
    assert same.card == CARD and not same.told
    assert refusal("admit", pseudonym="HERON-4", bed="Bed 1") == "already-here"


def test_a_discharge_releases_every_device_and_says_so() -> None:
    turn = done("discharge", devices=("dev-1", "dev-2"))
    assert (turn.released, turn.card.device) == (("dev-1", "dev-2"), "")
    assert [t.kind for t in turn.told] == ["released", "released", "discharged"]


def test_to_assign_again_what_speaks_for_her_already_changes_nothing() -> None:
    again = done("assign", device="dev-1")
    assert (again.card, again.assigned, again.told) == (CARD, "", ())
    second = done("assign", devices=("dev-1", "dev-2"), device="dev-2")
    assert (second.card, second.assigned) == (CARD, "")


def test_an_exchange_is_both_at_once() -> None:
    turn = done("exchange", old="dev-1", new="dev-2")
    assert (turn.released, turn.assigned, turn.card.device) == (("dev-1",), "dev-2", "dev-2")


def test_the_card_names_the_device_that_is_left() -> None:
    assert done("release", devices=("dev-0", "dev-1"), device="dev-1").card.device == "dev-0"
    assert done("release", devices=("dev-1",), device="dev-1").card.device == ""
    assert done("release", devices=("dev-0", "dev-1"), device="dev-0").card.device == "dev-1"


def test_a_transfer_tells_from_where_to_where_and_an_edit_only_which_facts() -> None:
    moved = done("transfer", bed="Bed 2")
    assert moved.card.bed == "Bed 2" and dict(moved.told[0].facts) == {"from": "Bed 1", "to": "Bed 2"}
    edited = done("edit", weight_kg=81.5, sex="male")
    assert edited.card.weight_kg == 81.5
    assert dict(edited.told[0].facts) == {"fields": "sex, weight_kg"}, "what was changed, not to what"
    assert not done("edit", weight_kg=CARD.weight_kg).told


def test_limits_change_what_the_body_says_and_keep_the_rest() -> None:
    card = done("limits", signal="hr_bpm", high=130).card
    assert card.limits_of("hr_bpm") == Limits(50, 130, 40, 150, 4.0)
    assert done("limits", card, signal="hr_bpm", on=False).card.limits_of("hr_bpm") == Limits(
        50, 130, 40, 150, 4.0, False
    )
    assert done("limits", card, signal="hr_bpm", reset=True).card.limits_of("hr_bpm") == DEFAULT_LIMITS["hr_bpm"]
    assert done("limits", signal="gsr_uS", high=20).card.limits_of("gsr_uS") == Limits(None, 20)


@pytest.mark.parametrize(
    "body",
    [
        {"signal": "shoe_size", "low": 1},
        {"signal": ["hr_bpm"]},
        {"signal": "hr_bpm", "low": 130},
        {"signal": "hr_bpm", "low": 120},
        {"signal": "hr_bpm", "crisis_low": 60},
        {"signal": "hr_bpm", "crisis_high": 110},
        {"signal": "hr_bpm", "high": float("nan")},
        {"signal": "hr_bpm", "high": float("inf")},
        {"signal": "hr_bpm", "high": "100"},
        {"signal": "hr_bpm", "high": True},
        {"signal": "hr_bpm", "delay_s": -1},
        {"signal": "hr_bpm", "on": 1},
        {"signal": "hr_bpm", "reset": False},
        {"signal": "hr_bpm", "reset": True, "low": 1},
        {"signal": "hr_bpm", "lowest": 1},
        {"signal": "gsr_uS", "low": 5, "crisis_high": 5},
    ],
)
def test_limits_that_could_not_work_are_refused(body: dict[str, Any]) -> None:
    assert refusal("limits", **body) == "bad-limits"


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        ("fly", {}, "unknown-act"),
        ("edit", {"id": "p-2"}, "malformed"),
        ("edit", {"device": "dev-2"}, "malformed"),
        ("edit", {"limits": {}}, "malformed"),
        ("edit", {"height_cm": 0}, "malformed"),
        ("edit", {"weight_kg": float("nan")}, "malformed"),
        ("edit", {"sex": "robot"}, "malformed"),
        ("edit", {"sex": []}, "malformed"),
        ("edit", {"birth_year": 1492}, "malformed"),
        ("edit", {"birth_year": 1970.5}, "malformed"),
        ("edit", {"birth_year": False}, "malformed"),
        ("edit", {"pseudonym": ""}, "malformed"),
        ("edit", {"pseudonym": "a\nb"}, "malformed"),
        ("edit", {"pseudonym": "x" * 41}, "malformed"),
        ("edit", {"number": None}, "malformed"),
        ("transfer", {}, "malformed"),
        ("discharge", {"now": True}, "malformed"),
        ("assign", {"device": "no such/id"}, "malformed"),
        ("assign", {}, "malformed"),
        ("release", {"device": "dev-2"}, "not-hers"),
        ("exchange", {"old": "dev-2", "new": "dev-3"}, "not-hers"),
        ("exchange", {"old": "dev-1", "new": "dev-1"}, "malformed"),
        ("ack", {}, "malformed"),
        ("ack", {"alarm": 7}, "malformed"),
        ("ack", {"alarm": []}, "malformed"),
        ("ack", {"alarm": ["a1", 7]}, "malformed"),
        ("ack", {"alarm": ["a1", ""]}, "malformed"),
        ("ack", {"alarm": [f"a{i}" for i in range(65)]}, "malformed"),
        ("pause", {"seconds": 121}, "malformed"),
        ("pause", {"seconds": 0}, "malformed"),
        ("resume", {"all": 1}, "malformed"),
    ],
)
def test_a_body_that_says_something_else_is_refused(kind: str, body: dict[str, Any], reason: str) -> None:
    assert refusal(kind, **body) == reason


def test_nothing_is_done_to_who_is_unknown_or_gone() -> None:
    gone = done("discharge").card
    for kind, body in [
        ("transfer", {"bed": "B"}),
        ("ack", {"alarm": "all"}),
        ("assign", {"device": "d"}),
        ("discharge", {}),
    ]:
        assert refusal(kind, None, (), **body) == "unknown-patient"
        assert refusal(kind, gone, (), **body) == "discharged"


@pytest.mark.parametrize("missing", ["pseudonym", "bed"])
def test_nobody_is_admitted_without_pseudonym_and_bed_or_under_a_strange_id(missing: str) -> None:
    facts = {"pseudonym": "X", "bed": "B"}
    assert refusal("admit", None, (), **{k: v for k, v in facts.items() if k != missing}) == "malformed"
    with pytest.raises(ActRefused, match="opaque id"):
        carry_out(Act("p 1/../x", "admit", facts, "", NOW), None, (), NOW)


@pytest.mark.parametrize("off_ms", [-60_001, 5_001])
def test_nobody_acts_long_ago_or_in_the_future(off_ms: int) -> None:
    with pytest.raises(ActRefused) as caught:
        carry_out(Act("p-1", "discharge", {}, "", NOW + off_ms), CARD, (), NOW)
    assert caught.value.reason == "bad-time"


def test_an_assignment_from_the_past_takes_no_reading_from_the_patient_before() -> None:
    history = Assignments().assign("p-1", 0).release(10_000).assign("p-2", 4_000)
    assert [history.patient_at(t) for t in (3_999, 9_999, 10_000)] == ["p-1", "p-1", "p-2"]
    backwards = Assignments().assign("p-1", 5_000).release(2_000)
    assert backwards.patient_at(5_000) is None and backwards.history[0].to_ms == 5_000
