"""Several devices on one patient: each keeps its own beat, and a channel is one device's at a time."""

from __future__ import annotations

import numpy as np
import pytest

from tests.alarm_kit import GSR, HR, SPO2, Bed, at, readings
from twin_engine.messages import Assigned, CommandResult, Message, Readings, Released, Tick
from twin_engine.model import Generator
from twin_engine.status import status


@pytest.fixture
def bed(generator: Generator) -> Bed:
    """A wristband that sends conductance every two seconds, and a monitor that sends rates every ten."""
    made = Bed(generator)
    for device in ("band", "monitor"):
        made.tell(Assigned(device, "p1", 1))
    return made


def run(bed: Bed, start: int, end: int, band: bool = True, monitor: bool = True) -> None:
    """Two devices with different beats."""
    for second in range(start, end, 2):
        messages: list[Message] = []
        if band:
            messages.append(readings(second, {GSR: [4.0] * 8}, "band"))
        if monitor and second % 10 == 8:
            messages.append(readings(second - 8, {HR: [72.0] * 10, SPO2: [97.0] * 10}, "monitor", lasts_s=10))
        for message in messages:
            bed.tell(message)
        for quarter in range(8):
            bed.tell(Tick(at(second + 2 + quarter / 4)))


def test_each_device_has_its_own_beat_and_the_view_waits_for_the_slower(bed: Bed) -> None:
    run(bed, 0, 20)
    before = len(bed.events)  # until then its beat was not known
    run(bed, 20, 60)
    facts = status(bed.twin)
    assert facts["devices"].keys() == {"band", "monitor"}
    assert facts["view_lag_s"] == 2 * 10 + 0.5
    assert facts["frame_interval_s"] == 10.0
    # ten seconds are no silence of a device that speaks every ten
    assert not [e for e in bed.events[before:] if e.kind == "gap-opened"], (
        "ten seconds are no silence of a device that speaks every ten"
    )


def test_one_device_falls_silent_and_the_others_channels_go_on(bed: Bed) -> None:
    run(bed, 0, 60)
    before = len(bed.events)
    run(bed, 60, 80, band=False)
    assert [(a["kind"], a["facts"]["device"]) for a in bed.alarms] == [("silent", "band")]
    assert {e.channel for e in bed.events[before:] if e.kind == "gap-opened"} == {GSR}


def test_two_devices_that_claim_one_channel_never_interleave_and_people_are_told_once(bed: Bed) -> None:
    run(bed, 0, 20)
    for second in range(20, 40, 2):
        bed.tell(readings(second, {GSR: [9.0] * 8}, "monitor"))
        run(bed, second, second + 2, monitor=False)
    shown = np.concatenate([s.values for s in bed.samples if s.channel == GSR])
    assert not (shown == 9.0).any()
    (event,) = bed.said("device")
    assert event.text == "device monitor sends Skin conductance, which band measures already; left out"


def test_a_silent_channel_goes_to_the_device_that_speaks_and_not_back_while_it_does(bed: Bed) -> None:
    run(bed, 0, 20)
    run(bed, 20, 30, band=False, monitor=False)
    bed.tell(readings(30, {GSR: [9.0] * 8}, "monitor"))
    assert bed.twin.owners[GSR].device == "monitor"
    bed.tell(readings(30, {GSR: [4.0] * 8}, "band"))
    assert bed.twin.channels[GSR].last_value == 9.0


def test_what_the_former_device_kept_in_its_spool_still_revises_but_only_its_own_time(bed: Bed) -> None:
    run(bed, 0, 20)
    run(bed, 20, 30, band=False, monitor=False)
    bed.tell(Released("band", at(30) // 1000))
    bed.tell(readings(30, {GSR: [9.0] * 8}, "monitor"))
    made = bed.tell(readings(26, {GSR: [4.0] * 24}, "band", live=False, lasts_s=6))
    late = np.concatenate([s.times_us for s in made.revisions])
    assert (late.min(), late.max()) == (at(26), at(29.75))
    assert "band" not in bed.twin.devices
    assert bed.twin.owners[GSR].device == "monitor"


def test_a_released_device_speaks_no_more_and_its_channels_wait_without_invention(bed: Bed) -> None:
    run(bed, 0, 40)
    bed.tell(Released("band", at(40) // 1000))
    before = len(bed.samples)
    run(bed, 40, 60, band=False)
    bed.tell(readings(38, {GSR: [5.0] * 8}, "band"))  # a frame that was on its way
    assert not [s for s in bed.samples[before:] if s.channel == GSR]
    assert status(bed.twin)["channels"].keys() == {HR, SPO2}
    assert status(bed.twin)["devices"].keys() == {"monitor"}
    bed.tell(Assigned("band", "p1", at(60) // 1000))
    bed.tell(readings(60, {GSR: [4.0] * 8}, "band"))
    assert GSR in status(bed.twin)["channels"], "with all that was learnt of it"


def test_what_one_device_confirms_is_not_said_of_the_other(bed: Bed) -> None:
    bed.tell(CommandResult("band", "sensor", {"connected": False, "channels": [GSR]}, 200, 2))
    bed.tell(CommandResult("stranger", "sensor", {"connected": False, "channels": [HR]}, 200, 2))
    devices = status(bed.twin)["devices"]
    assert (devices["band"]["unplugged"], devices["monitor"]["unplugged"]) == ([GSR], [])


def test_a_device_that_was_never_assigned_is_known_by_its_first_frame(generator: Generator) -> None:
    bed = Bed(generator)
    bed.tell(Readings("new", (), at(1) // 1000, source="simulated"))
    assert status(bed.twin)["devices"]["new"]["source"] == "simulated"
