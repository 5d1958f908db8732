"""Alarms of limits: raised and ended by what was measured, latched, acknowledged, and quiet for a while."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.alarm_kit import GSR, HR, NURSE, Bed, at, readings
from twin_engine import codec
from twin_engine.messages import ChannelReadings, Provenance, Readings, Recorded, Tick
from twin_engine.model import Generator
from twin_engine.registry import DEFAULT_LIMITS, Limits
from twin_engine.status import status
from twin_engine.twin import Twin

HIGH, CRISIS = 130.0, 160.0  # beyond 120 and 150 /min


@pytest.fixture(scope="module")
def calm(generator: Generator) -> Bed:
    made = Bed(generator)
    made.live(20)
    return made


@pytest.fixture
def bed(calm: Bed) -> Bed:
    return calm.copy()


def test_a_calm_patient_has_no_alarm(bed: Bed) -> None:
    assert bed.alarms == []
    assert not bed.said("alarm-raised")


def test_a_measured_value_beyond_its_limit_for_the_delay_is_an_alarm_of_medium_priority(bed: Bed) -> None:
    bed.live(4, hr_bpm=HIGH)
    assert bed.alarms == [], "four readings lie three seconds apart, and the delay is four"
    bed.live(2, hr_bpm=HIGH)
    alarm = bed.only
    assert (alarm["kind"], alarm["channel"], alarm["signal"], alarm["priority"]) == ("limit-high", HR, HR, 2)
    assert alarm["since_s"] == at(24) / 1e6, "in event time, four seconds after the first"
    assert (alarm["value"], alarm["limit"], alarm["over_s"], alarm["acked_s"]) == (HIGH, 120.0, None, None)
    assert alarm["text"] == "Heart rate high: 130 /min, limit 120 /min"
    (event,) = bed.said("alarm-raised")
    assert (event.severity, event.channel, event.facts["alarm"]) == ("alarm", HR, alarm["id"])


def test_a_reading_within_the_limit_begins_the_delay_anew(bed: Bed) -> None:
    for start in range(20, 40, 4):
        bed.tell(readings(start, {HR: [HIGH, HIGH, HIGH, 100.0]}, lasts_s=4))
    assert bed.alarms == []


@pytest.mark.parametrize("between", [None, 0.0])
def test_neither_an_alarm_nor_its_end_lasts_over_silence_or_distrust(bed: Bed, between: float | None) -> None:
    bed.live(4, hr_bpm=HIGH)
    bed.live(10, hr_bpm=between)
    bed.live(2, hr_bpm=HIGH)
    assert "limit-high" not in {a["kind"] for a in bed.alarms}
    bed.live(4, hr_bpm=HIGH)
    standing = next(a for a in bed.alarms if a["kind"] == "limit-high")
    assert standing["since_s"] == at(38) / 1e6, "four seconds after the first reading that followed"
    bed.tell(readings(bed.now_s, {HR: [HIGH, 100.0]}))
    bed.wait(2)
    bed.live(10, hr_bpm=between)
    bed.tell(readings(bed.now_s, {HR: [100.0, 100.0]}))
    standing = next(a for a in bed.alarms if a["kind"] == "limit-high")
    assert standing["over_s"] is None, "one second inside, and before that nobody knows"
    bed.wait(2)
    bed.live(2)
    assert next(a for a in bed.alarms if a["kind"] == "limit-high")["over_s"] is not None


def test_the_value_and_the_limit_that_an_alarm_shows_belong_together(bed: Bed) -> None:
    bed.live(6, hr_bpm=CRISIS)
    assert (bed.only["value"], bed.only["limit"]) == (CRISIS, 150.0)
    bed.live(2, hr_bpm=HIGH)
    assert (bed.only["priority"], bed.only["value"], bed.only["limit"]) == (3, HIGH, 120.0)
    bed.live(2, hr_bpm=CRISIS)
    assert (bed.only["priority"], bed.only["value"], bed.only["limit"]) == (3, CRISIS, 150.0)


def test_a_low_value_is_an_alarm_of_its_own_kind(bed: Bed) -> None:
    bed.live(12, spo2_pct=88.0)
    assert (bed.only["kind"], bed.only["text"]) == ("limit-low", "SpO₂ low: 88 %, limit 90 %")


def test_beyond_the_crisis_limit_the_priority_is_high_at_once(bed: Bed) -> None:
    bed.live(6, hr_bpm=CRISIS)
    assert (bed.only["priority"], bed.only["limit"]) == (3, 150.0)
    assert len(bed.said("alarm-raised")) == 1


def test_a_standing_alarm_that_becomes_a_crisis_is_a_new_one_that_nobody_has_acknowledged(bed: Bed) -> None:
    bed.live(6, hr_bpm=HIGH)
    medium = bed.only["id"]
    bed.act("ack", alarm=medium)
    bed.live(6, hr_bpm=CRISIS)
    assert bed.only["priority"] == 3
    assert bed.only["id"] != medium
    assert bed.only["acked_s"] is None
    bed.live(6, hr_bpm=HIGH)
    assert bed.only["priority"] == 3, "it does not calm down by itself"


def test_an_alarm_is_over_when_readings_lie_inside_for_two_seconds_and_then_it_latches(bed: Bed) -> None:
    bed.live(6, hr_bpm=HIGH)
    bed.tell(readings(26, {HR: [100.0, HIGH]}))
    assert bed.only["over_s"] is None, "one reading inside ends nothing"
    bed.tell(readings(28, {HR: [100.0, 100.0]}))
    assert bed.only["over_s"] is None
    bed.tell(readings(30, {HR: [100.0, 100.0]}))
    assert bed.only["over_s"] == at(30) / 1e6
    assert bed.only["text"] == "Heart rate was high: 130 /min, limit 120 /min"
    bed.live(10)
    assert len(bed.alarms) == 1, "until somebody acknowledges it"
    assert [e.facts["variant"] for e in bed.said("alarm-over")] == ["limit-high.latched"]
    bed.act("ack", alarm=bed.only["id"])
    assert bed.alarms == []


def test_an_acknowledged_alarm_stays_marked_until_it_is_over_and_then_goes(bed: Bed) -> None:
    bed.live(6, hr_bpm=HIGH)
    bed.act("ack", alarm=bed.only["id"])
    bed.live(2, hr_bpm=HIGH)
    assert bed.only["acked_by"] == NURSE
    assert bed.only["acked_s"] is not None
    (event,) = bed.said("alarm-acknowledged")
    assert (event.who, event.text) == (NURSE, f"{NURSE} acknowledged: Heart rate high")
    bed.act("ack", alarm="all")
    assert len(bed.said("alarm-acknowledged")) == 1, "once is enough"
    bed.live(6)
    assert bed.alarms == []


def test_after_an_acknowledged_alarm_a_new_onset_is_a_new_alarm(bed: Bed) -> None:
    bed.live(6, hr_bpm=HIGH)
    bed.act("ack", alarm="all")
    bed.live(6)
    bed.live(6, hr_bpm=HIGH)
    assert bed.only["acked_s"] is None
    assert len(bed.said("alarm-raised")) == 2


def test_a_new_onset_takes_the_place_of_a_latched_alarm_but_never_hides_a_worse_one(bed: Bed) -> None:
    bed.live(6, hr_bpm=CRISIS)
    bed.live(6)
    bed.live(6, hr_bpm=HIGH)
    assert [(a["priority"], a["over_s"] is None) for a in bed.alarms] == [(3, False), (2, True)]
    bed.live(6)
    bed.live(6, hr_bpm=CRISIS)
    assert [(a["priority"], a["over_s"] is None) for a in bed.alarms] == [(3, True)]


def test_made_values_neither_raise_nor_end_an_alarm(bed: Bed) -> None:
    bed.tell(Recorded({**DEFAULT_LIMITS, HR: Limits(None, 60.0, None, None, 4.0)}, 1))
    bed.live(2)
    bed.live(60, hr_bpm=None)
    made = np.concatenate([s.values[s.provenance == Provenance.SYNTHESISED] for s in bed.samples if s.channel == HR])
    assert (made > 60).sum() > 20, "the estimates were beyond the limit for a long time"
    assert not bed.said("alarm-raised", HR) or {a["kind"] for a in bed.alarms} <= {"silent", "withheld"}


def test_a_sensor_that_falls_silent_ends_no_alarm_of_a_limit(bed: Bed) -> None:
    bed.tell(Recorded({**DEFAULT_LIMITS, HR: Limits(None, 70.0, None, None, 4.0)}, 1))
    bed.live(6, hr_bpm=70.5)
    bed.live(20, hr_bpm=None)
    kinds = {a["kind"]: a for a in bed.alarms}
    assert kinds.keys() == {"limit-high", "silent"}
    assert kinds["limit-high"]["over_s"] is None
    assert kinds["limit-high"]["text"] == "Heart rate high when last measured: 70.5 /min, limit 70 /min"
    bed.live(6, hr_bpm=65.0)
    assert [a["over_s"] is not None for a in bed.alarms] == [True], "only what was measured ends it"


def test_backfilled_readings_neither_raise_nor_end_an_alarm(bed: Bed) -> None:
    bed.live(8, hr_bpm=None)
    bed.tell(readings(20, {HR: [CRISIS] * 8}, live=False, lasts_s=8))
    assert "limit-high" not in {a["kind"] for a in bed.alarms}
    bed.live(8, hr_bpm=HIGH)
    bed.live(10, hr_bpm=None)
    bed.tell(readings(36, {HR: [80.0] * 8}, live=False, lasts_s=8))
    assert [a["over_s"] for a in bed.alarms if a["kind"] == "limit-high"] == [None]


def test_the_newest_reading_counts_even_where_an_estimate_was_already_shown_for_its_time(bed: Bed) -> None:
    bed.wait(6)
    made = bed.tell(readings(20, {HR: [HIGH] * 6}, lasts_s=6))
    assert any((s.provenance & 0x80).any() for s in made.revisions)
    assert "limit-high" in {a["kind"] for a in bed.alarms}


def test_implausible_readings_are_distrusted_and_neither_raise_nor_end_an_alarm_of_a_limit(bed: Bed) -> None:
    bed.live(20, hr_bpm=0.0)
    assert [(a["kind"], a["priority"]) for a in bed.alarms] == [("distrusted", 3)]
    assert "beyond the crisis limit 40 /min if true: 0 /min, outside 20 to 300" in bed.only["text"]
    bed.live(6, hr_bpm=HIGH)
    bed.live(10, hr_bpm=400.0)
    assert {a["kind"]: a["over_s"] for a in bed.alarms} == {"limit-high": None, "distrusted": None}


def test_readings_of_a_bad_signal_still_raise_and_the_alarm_says_so(bed: Bed) -> None:
    bed.tell(Recorded({GSR: Limits(0.5, None, None, None, 4.0)}, 1))
    for second in range(20, 60, 2):
        times = np.round(at(second) + np.arange(8) * 0.25e6).astype(np.int64)
        block = ChannelReadings(GSR, times, 0.001 + 0.001 * np.arange(8) % 0.003)
        bed.tell(Readings("dev", (block,), at(second + 2) // 1000))
        bed.tell(Tick(at(second + 2.25)))
    low = next(a for a in bed.alarms if a["kind"] == "limit-low")
    assert "bad signal: electrode off" in low["text"]
    assert "electrode off" in low["facts"]["quality"]
    assert next(a for a in bed.alarms if a["kind"] == "bad-signal")["priority"] == 1


def test_limits_that_change_while_an_alarm_stands_are_judged_by_the_next_readings(bed: Bed) -> None:
    bed.live(6, hr_bpm=HIGH)
    bed.tell(Recorded({**DEFAULT_LIMITS, HR: Limits(50, 140, 40, 160, 4.0)}, 1))
    assert bed.only["over_s"] is None, "nothing was measured yet"
    bed.live(4, hr_bpm=HIGH)
    assert bed.only["over_s"] is not None
    bed.act("ack", alarm="all")
    bed.tell(Recorded({**DEFAULT_LIMITS, HR: Limits(50, 100, 40, 160, 4.0)}, 1))
    bed.live(6, hr_bpm=HIGH)
    assert (bed.only["limit"], bed.only["over_s"]) == (100.0, None)


@pytest.mark.parametrize("limits", [{}, {HR: Limits(50, 120, on=False)}, {HR: Limits(50, None)}])
def test_an_alarm_whose_limit_is_taken_away_ends_if_that_side_is_no_longer_watched(
    bed: Bed, limits: dict[str, Limits]
) -> None:
    bed.live(6, hr_bpm=HIGH)
    bed.tell(Recorded(limits, 1))
    assert bed.alarms == []
    assert [e.facts["variant"] for e in bed.said("alarm-over")] == ["unwatched"]
    bed.live(10, hr_bpm=CRISIS)
    assert bed.alarms == []


def test_a_channel_that_speaks_more_seldom_than_the_delay_needs_one_reading(generator: Generator) -> None:
    bed = Bed(generator)
    for minute in range(6):
        block = ChannelReadings(HR, np.array([at(60 * minute)], np.int64), np.array([72.0 if minute < 5 else HIGH]))
        bed.tell(Readings("dev", (block,), at(60 * minute) // 1000))
    assert bed.only["since_s"] == at(300) / 1e6


def test_nothing_is_an_alarm_offline(generator: Generator) -> None:
    bed = Bed(generator, at_ticks=True)
    bed.live(20)
    bed.live(20, hr_bpm=CRISIS)
    bed.live(60, hr_bpm=None)
    assert bed.twin.alarms == Twin("p1").alarms
    assert not [e for e in bed.events if e.kind.startswith(("alarm", "audio"))]


def test_frames_cut_otherwise_make_the_same_alarms(generator: Generator) -> None:
    rates = [72.0] * 20 + [HIGH] * 8 + [CRISIS] * 8 + [90.0] * 8 + [HIGH] * 4
    found = []
    for cut in (1, 2, 4, 12):
        bed = Bed(generator)
        for start in range(0, len(rates), cut):
            bed.tell(readings(start, {HR: rates[start : start + cut]}, lasts_s=cut))
        found.append([(e.t_ms, e.kind, e.text) for e in bed.events if e.kind.startswith("alarm")])
    assert len(found[0]) == 3
    assert all(other == found[0] for other in found[1:])


def test_a_twin_put_to_rest_and_woken_keeps_every_alarm_and_all_that_is_on_its_way(generator: Generator) -> None:
    straight, broken = Bed(generator), Bed(generator)
    for bed in (straight, broken):
        bed.live(20)
        bed.live(6, hr_bpm=CRISIS)
        bed.live(2, spo2_pct=88.0)
        bed.act("pause", seconds=60)
    broken.twin = codec.load(Twin, codec.dump(broken.twin))
    for bed in (straight, broken):
        assert status(bed.twin)["audio"]["by"] == NURSE
        bed.live(8, spo2_pct=88.0, gsr_uS=None)
    assert codec.dump(straight.twin) == codec.dump(broken.twin)
    assert {a["kind"] for a in broken.alarms} == {"limit-high", "limit-low", "silent"}


def test_a_pause_of_the_sound_ends_by_itself_and_is_counted_down_from_the_engines_clock(bed: Bed) -> None:
    bed.act("pause", seconds=30)
    audio = status(bed.twin)["audio"]
    assert audio == {"paused_until_s": bed.twin.now_us / 1e6 + 30, "by": NURSE}
    bed.live(28)
    assert status(bed.twin)["audio"]["by"] == NURSE
    bed.live(4)
    assert status(bed.twin)["audio"] == {"paused_until_s": None, "by": ""}
    assert [(e.kind, e.facts.get("variant")) for e in bed.events if e.kind.startswith("audio")] == [
        ("audio-paused", None),
        ("audio-resumed", "ended"),
    ]


def test_a_new_alarm_of_high_priority_breaks_through_a_pause_and_a_medium_one_does_not(bed: Bed) -> None:
    bed.act("pause", seconds=120)
    bed.live(6, hr_bpm=HIGH)
    assert status(bed.twin)["audio"]["by"] == NURSE
    bed.live(6, hr_bpm=CRISIS)
    assert status(bed.twin)["audio"]["by"] == ""
    assert bed.said("audio-resumed")[0].facts["variant"] == "broken"


def test_the_sound_is_switched_on_again_by_whoever_wants_it(bed: Bed) -> None:
    bed.act("resume")
    bed.act("pause", seconds=120)
    bed.act("resume", who="doctor")
    assert [e.who for e in bed.said("audio-resumed")] == ["doctor"]


@pytest.mark.parametrize("seconds", [0, 0.5, 121, -3, "60", None, True, float("nan"), float("inf")])
def test_a_pause_of_no_sensible_length_changes_nothing_and_is_told(bed: Bed, seconds: object) -> None:
    before = bed.twin.alarms
    bed.act("pause", seconds=seconds)
    assert bed.twin.alarms == before
    assert [e.severity for e in bed.said("act-refused")] == ["warning"]


@pytest.mark.parametrize(("kind", "body"), [("ack", {"alarm": "x"}), ("ack", {}), ("silence", {})])
def test_an_act_on_what_is_not_there_changes_nothing_and_is_told(bed: Bed, kind: str, body: dict[str, str]) -> None:
    bed.live(6, hr_bpm=HIGH)
    before = bed.twin.alarms
    bed.act(kind, **body)
    assert bed.twin.alarms == before
    assert len(bed.said("act-refused")) == 1


def test_a_list_of_ids_acknowledges_exactly_those_and_an_unknown_one_is_told_without_stopping_them(bed: Bed) -> None:
    bed.live(6, hr_bpm=HIGH, spo2_pct=88.0)
    bed.live(4, hr_bpm=HIGH, spo2_pct=88.0)
    rate, oxygen = sorted(bed.alarms, key=lambda a: str(a["channel"]))
    bed.act("ack", alarm=[rate["id"], "gone"])
    assert {a["id"]: a["acked_by"] for a in bed.alarms} == {rate["id"]: NURSE, oxygen["id"]: ""}
    (event,) = bed.said("act-refused")
    assert (event.facts["variant"], event.facts["count"]) == ("alarm.some", "1")
    bed.act("ack", alarm=[rate["id"], oxygen["id"]])
    assert all(a["acked_by"] == NURSE for a in bed.alarms)
    assert len(bed.said("alarm-acknowledged")) == 2, "each once"


@pytest.mark.parametrize("ids", [[], ["x", "y"], ["x"] * 65])
def test_a_list_without_a_standing_alarm_or_a_longer_one_changes_nothing_and_is_told(bed: Bed, ids: list[str]) -> None:
    bed.live(6, hr_bpm=HIGH)
    before = bed.twin.alarms
    bed.act("ack", alarm=[*ids, *([bed.only["id"]] if len(ids) == 65 else [])])
    assert bed.twin.alarms == before
    assert [e.facts["variant"] for e in bed.said("act-refused")] == ["alarm"]


_RATES = st.lists(st.sampled_from([0.0, 45.0, 72.0, 119.0, 121.0, 130.0, 155.0, None]), min_size=4, max_size=16)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rates=_RATES, pause=st.booleans())
def test_replaying_messages_makes_the_same_alarms_and_none_without_a_measured_reading_beyond_the_limit(
    generator: Generator, rates: list[float | None], pause: bool
) -> None:
    bed = Bed(generator)
    for rate in [72.0, 72.0, *rates]:
        bed.live(2, hr_bpm=rate, spo2_pct=None, gsr_uS=None)
    if pause:
        bed.act("pause", seconds=60)
        bed.act("ack", alarm="all")
    again = Bed(generator)
    for message in bed.told:
        again.tell(message)
    assert again.twin.alarms == bed.twin.alarms
    raised = {e.facts["variant"].split(".")[0] for e in bed.said("alarm-raised", HR)}
    beyond = (
        [rate is not None and rate > 120 for rate in rates],
        [rate is not None and 20 <= rate < 50 for rate in rates],
    )
    for kind, given_ in zip(("limit-high", "limit-low"), beyond, strict=True):
        assert kind not in raised or any(given_)
        runs = [all(given_[i : i + 3]) for i in range(len(given_) - 2)]  # six readings on end, five seconds
        assert kind in raised or not any(runs)


def test_the_states_bound_holds_whatever_a_device_sends(generator: Generator) -> None:
    bed = Bed(generator)
    limits = {HR: Limits(60, 70, 50, 90, 0.0)}
    bed.tell(Recorded(limits, 1))
    names = [f"hr_bpm.x{i}" for i in range(80)]
    for second, rate in enumerate([40.0, 65.0, 65.0, 65.0, 80.0, 65.0, 65.0, 65.0, 100.0] * 3):
        times = np.array([at(second)], np.int64)
        blocks = tuple(ChannelReadings(name, times, np.array([rate])) for name in names)
        bed.tell(Readings("dev", blocks, at(second) // 1000))
    assert 64 <= len(bed.alarms) <= 64 * 4, "of a kind and channel one that stands and one that latched"
