"""Every sentence of the twin: in English and German, filled from facts that travel with it."""

from __future__ import annotations

import json
import re
import string
from pathlib import Path

import numpy as np
import pytest

from tests.alarm_kit import GSR, HR, SPO2, Bed, at, readings
from twin_engine.messages import (
    Assigned,
    ChannelReadings,
    CommandResult,
    Event,
    Readings,
    Recorded,
    Refused,
    Released,
    SetBack,
)
from twin_engine.model import Generator
from twin_engine.registry import DEFAULT_LIMITS, Limits
from twin_engine.told import SENTENCES, told

WORDS = Path(__file__).resolve().parents[1] / "web" / "words"
TEXTS = {language: json.loads((WORDS / language / "events.json").read_text("utf-8")) for language in ("en", "de")}


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def everything(generator: Generator) -> tuple[list[Event], list[dict[str, object]]]:
    """All events and all alarms of a patient's bad day."""
    bed, alarms = Bed(generator), list[dict[str, object]]()

    def look() -> None:
        alarms.extend(bed.alarms)

    bed.tell(Assigned("dev", "p1", 1))
    bed.tell(Readings("dev", (ChannelReadings("blood_gas", np.array([at(0)]), np.ones(1)),), at(0) // 1000))
    bed.live(120)
    bed.tell(readings(120, {GSR: [4.0] * 8}, "other"))
    bed.live(8, hr_bpm=130.0, spo2_pct=80.0)
    look()
    bed.act("ack", alarm=bed.alarms[0]["id"])
    bed.live(8, hr_bpm=0.0, spo2_pct=None)
    look()
    bed.act("ack", alarm="all")
    bed.live(8)
    bed.act("pause", seconds=60)
    bed.live(8, hr_bpm=160.0)
    look()
    bed.live(8, spo2_pct=88.0)
    look()
    bed.live(10, hr_bpm=40.0)
    bed.tell(Recorded({HR: DEFAULT_LIMITS[HR], SPO2: Limits(on=False)}, 1))
    bed.live(8)
    bed.tell(Refused("dev", "forged", "expected a true seal", 1))
    look()
    bed.tell(Refused("dev", "malformed", "expected a frame", 2))
    look()
    for act, body in (
        ("ack", {"alarm": "x"}),
        ("ack", {"alarm": [bed.alarms[0]["id"], "x"]}),
        ("pause", {"seconds": 0}),
        ("dance", {}),
        ("pause", {"seconds": 1}),
    ):
        bed.act(act, **body)
    bed.live(4)
    bed.act("pause", seconds=100)
    bed.act("resume")
    for connected, sensor, status in ((True, "sensor", 200), (False, "sensor", 200), (True, "led", 200), (1, "x", 404)):
        bed.tell(CommandResult("dev", sensor, {"connected": connected, "channels": [GSR]}, status, 3))
    bed.live(320, gsr_uS=None)
    look()
    bed.live(2)
    bed.wait(40)
    look()
    bed.act("ack", alarm="all")
    bed.wait(120)
    look()
    bed.live(20)
    bad_contact(bed)
    look()
    bed.act("ack", alarm="all")
    bed.live(100)
    bed.live(8, hr_bpm=130.0)
    bed.tell(Released("dev", 9))
    clocks(bed)
    look()
    bed.tell(SetBack(at(bed.now_s - 3600) // 1000, 3_600_000))
    return bed.events, alarms


def clocks(bed: Bed) -> None:
    """The engine's clock is ahead of the device's, somebody sees it, and it is right again."""
    bed.tell(Assigned("other", "p1", at(bed.now_s) // 1000))
    for late_s, frames in ((100, 12), (0, 10), (-100, 1)):
        for _ in range(frames):
            bed.tell(readings(bed.now_s - late_s, {HR: [72.0] * 2}, "other"))
            bed.wait(2)
        bed.wait(14 if late_s < 0 else 0)
        bed.act("ack", alarm="all")


def bad_contact(bed: Bed) -> None:
    """The electrodes fall off, and somebody wants to know."""
    bed.tell(Recorded({GSR: Limits(0.5, None, None, None, 1.0), HR: DEFAULT_LIMITS[HR]}, 1))
    for _ in range(20):
        times = np.round(at(bed.now_s) + np.arange(8) * 0.25e6).astype(np.int64)
        blocks = (ChannelReadings(GSR, times, 0.001 + 0.001 * np.arange(8) % 0.003),)
        steady = readings(bed.now_s, {HR: [72.0] * 2, SPO2: [97.0] * 2})
        bed.tell(Readings("dev", (*blocks, *steady.channels), at(bed.now_s + 2) // 1000))
        bed.wait(2)


@pytest.fixture(scope="module")
def day(generator: Generator) -> tuple[list[Event], list[dict[str, object]]]:
    return everything(generator)


def test_the_english_page_says_what_the_engine_says() -> None:
    assert TEXTS["en"] == SENTENCES


def test_both_languages_have_the_same_sentences_with_the_same_placeholders() -> None:
    assert TEXTS["de"].keys() == TEXTS["en"].keys()
    for key, text in TEXTS["en"].items():
        assert placeholders(TEXTS["de"][key]) == placeholders(text), key
        assert TEXTS["de"][key] != text, key


def test_every_event_has_its_template_and_all_the_facts_for_it(day: tuple[list[Event], list[object]]) -> None:
    for event in day[0]:
        variant = event.facts.get("variant")
        key = f"event.{event.kind}.{variant}" if variant else f"event.{event.kind}"
        for language in ("en", "de"):
            text = TEXTS[language][key]
            assert placeholders(text) <= event.facts.keys(), (key, event)
        assert TEXTS["en"][key].format(**event.facts) == event.text
        assert all(isinstance(fact, str) and fact for fact in event.facts.values()), event


def test_every_alarm_has_its_template_and_all_the_facts_for_it(day: tuple[object, list[dict[str, object]]]) -> None:
    for alarm in day[1]:
        facts = alarm["facts"]
        assert isinstance(facts, dict)
        variant = facts.get("variant")
        key = f"alarm.{alarm['kind']}.{variant}" if variant else f"alarm.{alarm['kind']}"
        assert placeholders(TEXTS["de"][key]) <= facts.keys(), key
        assert TEXTS["en"][key].format(**facts) == alarm["text"]


def test_a_bad_day_has_every_kind_of_event_and_of_alarm(day: tuple[list[Event], list[dict[str, object]]]) -> None:
    spoken = {event.kind for event in day[0]}
    wanted = {key.split(".")[1] for key in SENTENCES if key.startswith("event.")}
    records = {"admitted", "edited", "transferred", "discharged", "limits-changed"}  # told by the engine, test_acts.py
    assert wanted - spoken <= {"drift", "fault"} | records, (
        "drift is a matter of hours, a fault is the engine's to tell"
    )
    assert {alarm["kind"] for alarm in day[1]} == {k.split(".")[1] for k in SENTENCES if k.startswith("alarm.")}


def test_nobody_makes_an_event_beside_the_table_of_sentences() -> None:
    """An event whose text is no sentence of the table could not be said in another language."""
    house = WORDS.parents[1] / "twin_engine"
    for path in house.rglob("*.py"):
        if path.name in ("told.py", "messages.py"):
            continue
        assert not re.search(r"(?<!\w)Event\(", path.read_text()), path
    event = told(1, "drift", "warning", HR, "Heart rate", reason="errors are larger")
    assert event.text == "Heart rate: the model fits this person less well; errors are larger"
