"""What a report tells of a shift: the sentence of just that event, in the reader's words, and who did it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.past_feed import PastFeed
from twin_engine.records import Act, carry_out
from twin_engine.registry import PatientCard
from web.asked import asked
from web.report import datetime, report
from web.report_story import CHAPTERS, Teller
from web.words import LANGUAGES, catalogue

CARD = PatientCard("p-1", "WREN-3", 1970, "Bed 1", "dev-1", admitted_ms=1)


def told(language: str, kind: str, text: str = "as the engine said it", who: str = "Dr Wren", **facts: str) -> str:
    name = {"hr_bpm": "HR"}
    event = {"kind": kind, "text": text, "facts": facts, "who": who, "channel": facts.pop("channel", "")}
    return Teller(language, lambda channel: name.get(channel, channel)).sentence(event)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_command_that_failed_is_never_told_as_confirmed(language: str) -> None:
    said = told(language, "command", variant="failed", device="sim-01", command="unplug", status="504")
    assert "504" in said and "confirms" not in said and "bestätigt" not in said


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_variant_without_words_is_told_in_the_engines_and_not_as_another(language: str) -> None:
    assert told(language, "command", variant="new-one", device="d", command="c") == "as the engine said it"
    assert told(language, "limits-nobody-knows", signal="hr_bpm") == "as the engine said it"
    assert told(language, "transferred", to="Bed 2") == "as the engine said it", "a fact is missing"


def test_an_alarm_says_who_acknowledged_it_and_names_the_signal_in_the_readers_language() -> None:
    facts = {"variant": "limit-high", "label": "Heart rate", "channel": "hr_bpm"}
    assert told("de", "alarm-acknowledged", **facts) == "Dr Wren hat quittiert: HR hoch"


def test_a_refused_act_is_told_as_what_was_asked_for_and_why() -> None:
    said = told("de", "act-refused", variant="record", act="transfer", reason="malformed", detail="expected a bed")
    assert said == "Dr Wren wollte „Verlegen“; das wurde nicht ausgeführt: expected a bed"
    assert "Alarm" in told("de", "act-refused", act="dance"), "an act on an alarm has its own sentence"


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("transfer", {"bed": "Bed 9"}, "verlegt von Bed 1 nach Bed 9"),
        ("edit", {"birth_year": 1971, "number": "77"}, "Akte berichtigt: Geboren, Aktennr."),
        ("discharge", {}, "entlassen aus Bed 1"),
        ("limits", {"signal": "hr_bpm", "high": 130}, "Alarmgrenzen für HR geändert: "),
        ("limits", {"signal": "hr_bpm", "on": False}, "Alarmgrenzen für HR geändert: aus"),
        ("release", {"device": "dev-1"}, "Gerät dev-1 misst nicht mehr für diesen Patienten"),
    ],
)
def test_what_the_engine_tells_of_people_has_a_german_sentence(kind: str, body: dict[str, Any], words: str) -> None:
    turn = carry_out(Act("p-1", kind, body, "Dr Wren", 10**12), CARD, ("dev-1",), 10**12)
    line = turn.told[-1]
    said = told("de", line.kind, **line.facts)
    assert said.startswith(words) and line.kind in CHAPTERS["people"]
    assert ("130" in said) == ("high" in body)


def test_the_report_has_a_chapter_of_what_people_did_with_who() -> None:
    rows = [
        (5.0, {"kind": "admitted", "facts": {"bed": "Bed 4"}, "who": "nurse Ada"}),
        (9.0, {"kind": "command", "facts": {"variant": "failed", "device": "d", "command": "plug", "status": "500"}}),
    ]
    feed = PastFeed(30, [], rows)
    a = asked(feed.card, feed.card.id, {"from": str(feed.start_s), "to": str(feed.end_s)})
    page = report(feed, a, "somebody", datetime.now(), "de")
    chapter = page.split("Was an der Akte getan wurde")[1].split("<h2>")[0]
    assert "aufgenommen in Bed 4" in chapter and "nurse Ada" in chapter
    assert "nicht ausgeführt" in page and "bestätigt" not in page


def test_every_kind_of_the_chapters_has_words_or_only_variants() -> None:
    keys = catalogue("en")
    for kind in (kind for kinds in CHAPTERS.values() for kind in kinds):
        assert any(f"{key}.".startswith(f"event.{kind}.") for key in keys), kind
