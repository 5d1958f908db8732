"""Technical alarms: silence of a sensor or a device, distrust, a bad signal, refusals; and what a release ends."""

from __future__ import annotations

import numpy as np
import pytest

from tests.alarm_kit import GSR, HR, NURSE, SPO2, Bed, at, readings
from twin_engine import codec
from twin_engine.messages import Assigned, ChannelReadings, Readings, Recorded, Refused, Released, Tick
from twin_engine.model import Generator
from twin_engine.registry import DEFAULT_LIMITS, Limits
from twin_engine.twin import Twin


@pytest.fixture(scope="module")
def calm(generator: Generator) -> Bed:
    made = Bed(generator)
    made.tell(Assigned("dev", "p1", at(0) // 1000))
    made.live(20)
    return made


@pytest.fixture
def bed(calm: Bed) -> Bed:
    return calm.copy()


def test_a_silent_sensor_of_a_watched_signal_is_an_alarm_of_medium_priority_and_goes_when_it_speaks(bed: Bed) -> None:
    bed.live(8, hr_bpm=None)
    assert (bed.only["kind"], bed.only["channel"], bed.only["priority"]) == ("silent", HR, 2)
    assert bed.only["text"] == "Heart rate: sensor silent. The shown value is synthesised."
    assert len(bed.said("gap-opened")) == len(bed.said("alarm-raised")) == 1
    bed.live(2)
    assert bed.alarms == [], "a technical alarm does not latch"
    assert [e.text for e in bed.said("alarm-over")] == ["Heart rate: measured again"]


@pytest.mark.parametrize(
    ("limits", "priority"),
    [({}, 1), ({GSR: Limits(0.1, None)}, 2), ({GSR: Limits(0.1, None, on=False)}, 1)],
)
def test_silence_weighs_as_much_as_somebody_relies_on_the_signal(
    bed: Bed, limits: dict[str, Limits], priority: int
) -> None:
    bed.tell(Recorded(limits, 1))
    bed.live(8, gsr_uS=None)
    assert [(a["kind"], a["priority"]) for a in bed.alarms] == [("silent", priority)]


def test_when_nothing_honest_can_be_shown_the_same_alarm_says_so(bed: Bed) -> None:
    bed.live(8, gsr_uS=None)
    before = bed.only
    bed.act("ack", alarm=before["id"])
    bed.live(300, gsr_uS=None)
    assert bed.said("withheld", GSR)
    assert (bed.only["kind"], bed.only["id"], bed.only["acked_by"]) == ("withheld", before["id"], NURSE)
    assert bed.only["text"] == "Skin conductance: sensor silent. No honest value: withheld."
    bed.live(2)
    assert bed.alarms == []


def test_a_device_that_sends_no_more_is_one_alarm_and_not_one_a_sensor(bed: Bed) -> None:
    bed.wait(10)
    assert (bed.only["kind"], bed.only["channel"], bed.only["priority"]) == ("silent", "", 2)
    assert bed.only["text"] == "dev is silent: none of its sensors speaks. Shown values are synthesised."
    assert len(bed.said("alarm-raised")) == 1
    bed.live(2, hr_bpm=None)
    assert [(a["kind"], a["channel"]) for a in bed.alarms] == [("silent", HR)], "what is still silent has its own"
    assert [e.text for e in bed.said("alarm-over")] == ["dev speaks again"]


def test_a_device_whose_sensors_all_fall_silent_is_one_alarm_even_while_it_sends(bed: Bed) -> None:
    for _ in range(4):
        bed.tell(Readings("dev", (), at(bed.now_s + 2) // 1000))
        bed.wait(2)
    assert [(a["kind"], a["channel"], a["facts"].get("device")) for a in bed.alarms] == [("silent", "", "dev")]
    assert not bed.said("alarm-over"), "the sensors' own alarms were replaced, none of them was measured again"


def test_a_loose_contact_is_one_alarm_that_does_not_flutter(bed: Bed) -> None:
    for _ in range(10):
        bed.live(2, hr_bpm=0.0)
        bed.live(2)
    assert [a["kind"] for a in bed.alarms] == ["distrusted"]
    assert len(bed.said("alarm-raised")) == 1
    bed.live(8)
    assert bed.alarms == []
    assert [e.text for e in bed.said("alarm-over")] == ["Heart rate: readings trusted again"]


def test_a_distrusted_sensor_that_then_falls_silent_is_one_alarm_of_its_silence(bed: Bed) -> None:
    bed.live(4, hr_bpm=0.0)
    assert bed.only["kind"] == "distrusted"
    bed.live(20, hr_bpm=None)
    assert [a["kind"] for a in bed.alarms] == ["silent"]
    assert len(bed.said("alarm-raised")) == 1


def test_a_bad_signal_is_an_alarm_of_low_priority_after_ten_seconds(bed: Bed) -> None:
    first = None
    for second in range(20, 90, 2):
        off = second < 60
        values = 0.001 + 0.001 * np.arange(8) % 0.003 if off else np.full(8, 4.0) + 0.01 * np.arange(8)
        times = np.round(at(second) + np.arange(8) * 0.25e6).astype(np.int64)
        bed.tell(Readings("dev", (ChannelReadings(GSR, times, values),), at(second + 2) // 1000))
        bed.now_s = second
        bed.tell(readings(second, {HR: [72.0] * 2, SPO2: [97.0] * 2}))
        bed.wait(2)
        first = first or (bed.twin.channels[GSR].quality.verdict == "bad" and second)
        if bed.alarms:
            assert first
            assert second - first >= 10
            assert (bed.only["kind"], bed.only["priority"]) == ("bad-signal", 1)
    assert len(bed.said("alarm-raised", GSR)) == 1
    assert bed.alarms == [] or bed.twin.channels[GSR].quality.verdict == "bad"


def test_refused_messages_are_one_alarm_that_counts_and_stays_until_acknowledged(bed: Bed) -> None:
    for second in range(3):
        bed.tell(Refused("dev", "forged", "expected a true seal", at(20 + second) // 1000))
    assert (bed.only["kind"], bed.only["priority"], bed.only["facts"]["count"]) == ("refused", 2, "3")
    assert bed.only["text"].startswith("3 messages were refused, the last of dev (forged).")
    assert len(bed.said("alarm-raised")) == 1
    bed.live(60)
    bed.act("ack", alarm=bed.only["id"])
    assert bed.alarms == []
    bed.tell(Refused("dev", "malformed", "expected a frame", at(90) // 1000))
    assert bed.only["facts"]["count"] == "1"


def test_when_a_device_is_released_technical_alarms_go_and_those_of_limits_latch(bed: Bed) -> None:
    bed.live(8, hr_bpm=130.0, gsr_uS=None)
    assert {a["kind"] for a in bed.alarms} == {"limit-high", "silent"}
    bed.tell(Released("dev", at(28) // 1000))
    assert (bed.only["kind"], bed.only["over_s"] is not None) == ("limit-high", True)
    assert [e.text for e in bed.said("released")] == ["device dev no longer speaks for this patient"]
    bed.wait(30)
    assert len(bed.alarms) == 1, "nobody is monitored, so nobody is silent"
    bed.act("ack", alarm="all")
    assert bed.alarms == []


def test_a_clinicians_limits_make_a_signal_watched_that_is_not_by_default(bed: Bed) -> None:
    bed.tell(Recorded({**DEFAULT_LIMITS, GSR: Limits(None, 3.0, None, None, 0.0)}, 1))
    bed.live(2)
    assert [(a["kind"], a["channel"]) for a in bed.alarms] == [("limit-high", GSR)]


def test_what_the_line_holds_up_for_a_moment_is_no_silence(bed: Bed) -> None:
    for start in range(20, 60, 2):
        bed.tell(Tick(at(start + 3.5)))
        bed.tell(readings(start, {HR: [72.0] * 2, SPO2: [97.0] * 2, GSR: [4.0] * 8}))
    assert not bed.said("alarm-raised")


def test_a_sensor_that_wavers_a_thousand_times_in_a_frame_is_told_once_and_every_reading_is_kept(bed: Bed) -> None:
    times = at(20) + np.arange(4000, dtype=np.int64) * 1000
    values = np.where(np.arange(4000) % 2, 72.0, 0.0)
    made = bed.tell(Readings("dev", (ChannelReadings(HR, times, values),), int(times[-1]) // 1000))
    assert len([e for e in made.events if e.kind == "quarantined"]) == 1
    parts = [*made.samples, *made.revisions]
    assert len(parts) < 100, "what it costs does not grow with how often it wavers"
    marks = {int(t): int(p) & 0x7F for s in parts for t, p in zip(s.times_us, s.provenance, strict=True)}
    assert [marks[int(t)] for t in times] == [0 if v else 3 for v in values]


def test_a_device_that_never_speaks_after_it_was_assigned_is_an_alarm_until_it_does(generator: Generator) -> None:
    bed = Bed(generator)
    bed.tell(Assigned("dev", "p1", at(2) // 1000))
    bed.wait(29)
    assert bed.alarms == []
    bed.twin = codec.load(Twin, codec.dump(bed.twin))
    bed.wait(3)
    assert (bed.only["kind"], bed.only["priority"]) == ("silent", 2)
    assert bed.only["text"] == "dev has sent nothing since it was assigned. It measures nothing."
    bed.act("ack", alarm="all")
    bed.live(4)
    assert bed.alarms == []
    assert [e.text for e in bed.said("alarm-over")] == ["dev speaks now"]
    bed.tell(Assigned("other", "p1", at(40) // 1000))
    bed.live(40)
    assert [a["facts"]["device"] for a in bed.alarms] == ["other"], "though the first one measures"
    bed.tell(Released("other", at(76) // 1000))
    assert bed.alarms == []


def test_that_a_silent_device_speaks_again_is_said_only_if_it_does(bed: Bed) -> None:
    bed.wait(10)
    assert bed.only["facts"]["device"] == "dev"
    bed.live(4, device="other")
    assert bed.alarms == []
    (over,) = bed.said("alarm-over")
    assert over.facts["variant"] == "silent.replaced"
    assert over.text.endswith("dev itself has not measured again")


@pytest.mark.parametrize(("value", "limit"), [(0.0, "40"), (301.0, "150")])
def test_an_impossible_reading_that_would_be_a_crisis_is_of_high_priority_after_the_delay(
    bed: Bed, value: float, limit: str
) -> None:
    bed.live(4, hr_bpm=value)
    assert [(a["kind"], a["priority"]) for a in bed.alarms] == [("distrusted", 2)]
    bed.act("ack", alarm="all")
    bed.live(2, hr_bpm=value)
    assert (bed.only["kind"], bed.only["priority"], bed.only["acked_s"]) == ("distrusted", 3, None)
    assert f"beyond the crisis limit {limit} /min" in bed.only["text"]
    assert f"{value:g} /min, outside 20 to 300" in bed.only["text"]
    bed.live(10)
    assert bed.alarms == []


def test_an_impossible_reading_of_what_nobody_watches_or_of_a_moment_stays_of_medium_priority(bed: Bed) -> None:
    for _ in range(5):
        bed.live(2, hr_bpm=0.0)
        bed.live(2)
    bed.tell(Recorded({HR: Limits(50, 120, 40, 150, 4.0, False)}, 1))
    bed.live(10, hr_bpm=0.0)
    assert [(a["kind"], a["priority"]) for a in bed.alarms] == [("distrusted", 2)]


def test_a_distrusted_crisis_ends_no_alarm_of_a_limit(bed: Bed) -> None:
    bed.live(6, hr_bpm=160.0)
    bed.live(8, hr_bpm=0.0)
    assert {(a["kind"], a["priority"], a["over_s"]) for a in bed.alarms} == {
        ("limit-high", 3, None),
        ("distrusted", 3, None),
    }
