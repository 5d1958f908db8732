"""An engine's clock that was ahead, believed, and is set right: the twins begin anew at the true time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from everbeat import erasing
from security.identity import ensure_engine, wall_clock_ms
from tests.alarm_kit import GSR, HR, Bed, at, steady
from tests.engine_kit import PATIENT, Ward
from tests.erase_kit import House, running_house, wait_until
from twin_engine import codec
from twin_engine.messages import Provenance, SetBack, set_back_ms
from twin_engine.model import Generator
from twin_engine.pipeline import Engine
from twin_engine.registry import Assignments
from twin_engine.retention import Mark, Retention
from twin_engine.status import status as status_of
from twin_engine.store import keys
from twin_engine.store.keys import HISTORY_MS
from twin_engine.twin import Twin

T_MS, HOUR_MS, DAY_MS = 1_790_000_000_000, 3_600_000, 86_400_000


class Clock:
    """The engine's: the true one and what it is wrong by."""

    def __init__(self) -> None:
        self.wrong_ms = 0

    def __call__(self) -> int:
        return wall_clock_ms() + self.wrong_ms


class Running:
    """One engine with a clock of its own, in a thread."""

    def __init__(self, house: House, ward: Ward, generator: Generator, clock: Clock) -> None:
        self.ward, self._stop = ward, threading.Event()
        engine = Engine(
            ward.store(), generator, trust=ward.ca.trust, identity=ensure_engine(ward.ca, ward.state / "engine"),
            master=ward.master, clock_ms=clock,
        )  # fmt: skip
        self._thread = threading.Thread(target=engine.run, args=(self._stop,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def house(generator: Generator) -> Iterator[House]:
    with running_house(generator) as house:
        yield house


def status(ward: Ward) -> dict[str, object]:
    return next((e.status for e in reversed(ward.feed.recent(PATIENT, 60)) if e.status), {})


def provenance(ward: Ward) -> str:
    channels = status(ward).get("channels", {})
    return str(channels.get("gsr_uS", {}).get("provenance", ""))  # type: ignore[attr-defined]


def reached_ms(ward: Ward) -> int:
    return ward.store().cursor().tick_us // 1000


class Device:
    """Sends as a device does: every 2 s, the readings of 2 s. Closer, and their rhythm would be none."""

    def __init__(self, ward: Ward) -> None:
        self.ward, self._sent_s = ward, float("-inf")

    def speak(self) -> None:
        if time.monotonic() - self._sent_s >= 2:
            self._sent_s = time.monotonic()
            self.ward.send(self.ward.frame(8))


def measures(device: Device) -> None:
    """Frames until the tile says measured again, at the true time."""
    ward = device.ward

    def ready() -> bool:
        device.speak()
        return provenance(ward) == "measured" and abs(float(status(ward)["t"]) * 1000 - wall_clock_ms()) < 5000  # type: ignore[arg-type]

    wait_until(ready, "the patient to be seen again")


def back(bed: Bed, seconds: float) -> None:
    """The engine's clock, which is at the bed's time, was ahead by so much."""
    bed.now_s -= seconds
    bed.tell(SetBack(at(bed.now_s) // 1000, round(seconds * 1000)))


def test_sensors_whose_clocks_were_right_go_on_and_what_was_learnt_stays(generator: Generator) -> None:
    bed = Bed(generator)
    bed.live(60)
    learnt = bed.twin.channels[GSR].learnt
    assert learnt.calibration.scored > 0
    bed.now_s += 3600
    bed.wait(2)
    assert status_of(bed.twin)["channels"][GSR]["provenance"] == "withheld"
    back(bed, 3602)
    assert bed.twin.channels[GSR].learnt is learnt
    assert [e.facts["seconds"] for e in bed.said("clock-back")] == ["3602"]
    bed.samples.clear()
    bed.live(12)
    assert all(info["provenance"] == "measured" for info in status_of(bed.twin)["channels"].values())
    assert {int(p) for s in bed.samples if s.channel == GSR for p in s.provenance} == {Provenance.MEASURED}
    assert not bed.alarms, "that they were silent is over"


def test_sensors_whose_clocks_went_wrong_with_the_engines_go_on_with_their_past(generator: Generator) -> None:
    bed = Bed(generator)
    bed.live(20)
    bed.now_s += 3600
    bed.live(60)
    window = bed.twin.channels[GSR].window
    back(bed, 3600)
    channel = bed.twin.channels[GSR]
    assert channel.last_us is not None and channel.last_us <= bed.twin.now_us
    assert np.array_equal(channel.window.cells[-64:], window.cells[-64:], equal_nan=True)
    assert channel.window.end * channel.window.cell_us <= bed.twin.now_us
    bed.live(12)
    assert all(info["provenance"] == "measured" for info in status_of(bed.twin)["channels"].values())
    assert channel.learnt.calibration.scored <= bed.twin.channels[GSR].learnt.calibration.scored


def test_a_sensor_that_is_silent_stays_silent_and_is_told_so_only_once(generator: Generator) -> None:
    bed = Bed(generator)
    bed.live(20)
    bed.live(300, hr_bpm=None)
    (alarm,) = (a for a in bed.alarms if a["channel"] == HR)
    bed.act("pause", seconds=100)
    bed.now_s += 3600
    bed.live(8, hr_bpm=None)
    told = len(bed.said("gap-opened", HR)), len(bed.said("alarm-over", HR))
    back(bed, 3600)
    bed.live(8, hr_bpm=None)
    assert [a["id"] for a in bed.alarms if a["channel"] == HR] == [alarm["id"]]
    assert (len(bed.said("gap-opened", HR)), len(bed.said("alarm-over", HR))) == told
    assert status_of(bed.twin)["channels"][HR]["provenance"] == "withheld"
    assert status_of(bed.twin)["audio"]["paused_until_s"] is None or (
        status_of(bed.twin)["audio"]["paused_until_s"] - bed.twin.now_us / 1e6 <= 100
    )


def test_a_sensor_that_died_while_the_clock_was_ahead_is_an_alarm(generator: Generator) -> None:
    bed = Bed(generator)
    bed.live(20)
    bed.now_s += 3600
    bed.live(20)
    back(bed, 3600)
    bed.live(12, hr_bpm=None)
    assert [a["channel"] for a in bed.alarms] == [HR]


def test_an_alarm_that_stood_stands_and_nothing_of_it_lies_in_the_future(generator: Generator) -> None:
    bed = Bed(generator)
    bed.live(20)
    bed.now_s += 3600
    bed.live(20, hr_bpm=130.0)
    before = bed.only
    bed.act("ack", alarm=before["id"])
    back(bed, 3600)
    assert bed.only["id"] == before["id"]
    assert max(bed.only["since_s"], bed.only["acked_s"]) <= bed.twin.now_us / 1e6
    bed.live(20)
    assert not bed.alarms, "within its limits again"


def test_a_second_of_slewing_is_no_step_and_a_twin_put_to_rest_meanwhile_wakes_the_same(generator: Generator) -> None:
    assert set_back_ms(1_000_000, 1_009_999) == 0
    assert set_back_ms(1_000_000, 1_030_000) == 30_000
    assert set_back_ms(2_000_000, 1_000_000) == 0
    bed = Bed(generator)
    bed.live(20)
    bed.now_s += 3600
    bed.live(20)
    back(bed, 3600)
    assert codec.dump(codec.load(Twin, codec.dump(bed.twin))) == codec.dump(bed.twin)


@pytest.mark.parametrize(("late_s", "variant"), [(100.0, ""), (-100.0, "behind")])
def test_clocks_of_engine_and_device_that_disagree_are_told_of(
    generator: Generator, late_s: float, variant: str
) -> None:
    bed = Bed(generator)
    bed.live(20)
    for _ in range(16):
        bed.tell(steady(bed.now_s - late_s))
        bed.wait(2)
    (alarm,) = (a for a in bed.alarms if a["kind"] == "clock")
    assert alarm["facts"].get("variant", "") == variant
    assert abs(float(alarm["facts"]["seconds"]) - 100) < 5
    bed.now_s += 100
    bed.live(40)
    assert not [a for a in bed.alarms if a["kind"] == "clock"]
    assert "clock.device" in [e.facts.get("variant") for e in bed.said("alarm-over")]


def test_nothing_younger_than_six_hours_goes_though_the_clock_stepped_ahead() -> None:
    kept, minute = Retention(), 60_000
    for n in range(61):
        oldest = kept.note(Mark(n * minute, T_MS + n * minute, f"{T_MS + n * minute}-0", "0-0"))
    assert oldest.made_ms == T_MS + HOUR_MS - HISTORY_MS
    for n in range(61, 121):
        wall_ms = T_MS + n * minute + DAY_MS
        oldest = kept.note(Mark(n * minute, wall_ms, f"{wall_ms}-0", "0-0"))
    assert oldest.made_ms == T_MS + 2 * HOUR_MS - HISTORY_MS, "six hours as they passed"
    for n in range(121, 600):
        wall_ms = T_MS + n * minute + DAY_MS
        oldest = kept.note(Mark(n * minute, wall_ms, f"{wall_ms}-0", "0-0"))
    assert oldest.made_ms == wall_ms - HISTORY_MS, "and no longer than that"


def test_what_is_read_grows_old_although_its_ids_lie_in_the_future() -> None:
    kept, minute, ahead_ms = Retention(), 60_000, T_MS + 365 * DAY_MS
    for n in range(601):
        oldest = kept.note(Mark(n * minute, T_MS + n * minute, f"{ahead_ms}-{n}", f"{ahead_ms}-{n}"))
        assert int(oldest.record.split("-")[1]) <= n, "never what was not folded"
    assert oldest.record == oldest.act == f"{ahead_ms}-240"


@pytest.mark.redis
def test_a_clock_that_was_a_day_ahead_and_is_set_back_blanks_nobody(house: House, generator: Generator) -> None:
    ward, clock = house.ward(), Clock()
    device = Device(ward)
    engine = Running(house, ward, generator, clock)
    try:
        ward.connect_device()
        measures(device)
        clock.wrong_ms = DAY_MS
        wait_until(lambda: reached_ms(ward) > wall_clock_ms() + HOUR_MS, "a believed step")

        def says_why() -> bool:
            device.speak()
            return any(a["kind"] == "clock" and "8640" in a["text"] for a in status(ward).get("alarms", ()))  # type: ignore[attr-defined]

        wait_until(says_why, "an alarm that says why nothing is the present")
        clock.wrong_ms = 0
        measures(device)
        told = [e for e in ward.events() if e["kind"] == "clock-back"]
        assert [e["severity"] for e in told] == ["warning"]
        assert "86400 s" in str(told[0]["text"])
        assert len(ward.feed.history(PATIENT, wall_clock_ms() / 1e3 - 60, wall_clock_ms() / 1e3).samples) == 1
    finally:
        engine.stop()


@pytest.mark.redis
def test_an_engine_that_starts_behind_its_own_snapshot_begins_anew(house: House, generator: Generator) -> None:
    ward, clock = house.ward(), Clock()
    device = Device(ward)
    engine = Running(house, ward, generator, clock)
    try:
        ward.connect_device()
        measures(device)
        clock.wrong_ms = DAY_MS
        wait_until(lambda: reached_ms(ward) > wall_clock_ms() + HOUR_MS, "a believed step")
    finally:
        engine.stop()
    engine = Running(house, ward, generator, Clock())
    try:
        measures(device)
        assert [e["kind"] for e in ward.events()].count("clock-back") == 1
    finally:
        engine.stop()


@pytest.mark.redis
def test_a_patient_who_was_left_out_when_the_others_began_anew_begins_anew_when_she_is_back(
    house: House, generator: Generator
) -> None:
    ward, clock = house.ward(), Clock()
    device, engine = Device(ward), Running(house, ward, generator, clock)
    try:
        ward.connect_device()
        measures(device)
        clock.wrong_ms = DAY_MS
        wait_until(lambda: reached_ms(ward) > wall_clock_ms() + HOUR_MS, "a believed step")
    finally:
        engine.stop()
    ward.keeper.hset(keys.cursor("s0"), "tick_us", wall_clock_ms() * 1000)  # as the others' engine left it
    engine = Running(house, ward, generator, Clock())
    try:
        measures(device)
        assert [e["kind"] for e in ward.events()].count("clock-back") == 1
    finally:
        engine.stop()


@pytest.mark.redis
def test_what_the_store_dated_into_the_future_makes_way_and_the_past_before_it_is_still_found(
    house: House, generator: Generator
) -> None:
    """Redis' clock can't be set here: ids that it would have given are given by hand."""
    ward = house.ward()
    device = Device(ward)
    engine = Running(house, ward, generator, Clock())
    try:
        ward.connect_device()
        measures(device)
    finally:
        engine.stop()
    key, ahead_ms = keys.twin("s0", PATIENT), wall_clock_ms() + DAY_MS
    newest = ward.keeper.xrevrange(key, count=1)[0][1]
    ward.keeper.xadd(key, newest, id=f"{ahead_ms}-0")
    ward.keeper.hset(keys.cursor("s0"), "tick_us", ahead_ms * 1000)
    ((patient, entry),) = ward.feed.follow({PATIENT: f"{ahead_ms - 1}-0"}, 10)
    last, before = {patient: entry.id}, ward.feed.recent(PATIENT, 60)[0].id
    engine = Running(house, ward, generator, Clock())
    try:
        heard = list[str]()

        def follows() -> bool:
            for who, found in ward.feed.follow(last, 100):
                last[who] = found.id
                heard.extend(str(event["kind"]) for event in found.events)
            return "clock-back" in heard

        wait_until(follows, "who follows the twin to be given its new stream")
        measures(device)
        now_s = wall_clock_ms() / 1e3
        kinds = [e["kind"] for e in ward.feed.history(PATIENT, now_s - 120, now_s).events]
        assert "assigned" in kinds, "of before the step"
        assert "clock-back" in kinds
        assert int(before.split("-")[0]) < min(int(e.id.split("-")[0]) for e in ward.feed.recent(PATIENT, 60))
        aside = ward.keeper.hgetall(keys.aside("s0", PATIENT))
        assert len(aside) == 1
        (name,) = aside
        assert 0 < ward.keeper.pttl(name) <= keys.HISTORY_MS
        assert ward.keeper.xrevrange(name, count=1)[0][0] == f"{ahead_ms}-0".encode(), "kept, and not the present"
    finally:
        engine.stop()
    erasing.erase(house.settings, PATIENT, "tester")
    assert not [key for key in ward.keeper.scan_iter("*twin*") if PATIENT.encode() in key]


def test_what_was_assigned_in_the_future_was_assigned_by_the_step_earlier() -> None:
    made = Assignments().assign("p-1", 1000).release(100_500).assign("p-2", 101_000)
    back = made.set_back(20_000, 90_000)
    assert [(a.patient, a.from_ms, a.to_ms) for a in back.history] == [("p-1", 1000, 10_500), ("p-2", 11_000, None)]
    assert made.set_back(200_000, 90_000) == made, "what lies in the past stays"
    early = Assignments().assign("p-1", 15_000).assign("p-2", 101_000).set_back(20_000, 90_000)
    assert [(a.patient, a.from_ms, a.to_ms) for a in early.history] == [("p-1", 15_000, 15_000), ("p-2", 15_000, None)]
