"""Event time: the device's own clock where it is one, and never a present that is past."""

from __future__ import annotations

import numpy as np

from twin_engine.align import EARLIEST_MS, DeviceClock, split_by_patient
from twin_engine.messages import ChannelReadings, Readings
from twin_engine.registry import Assignments

HUB = EARLIEST_MS + 200_000_000_000


def test_a_healthy_clock_is_left_alone_even_when_its_first_frame_comes_a_minute_late() -> None:
    clock = DeviceClock().learn(1, HUB - 60_000, HUB)
    assert clock.corrected_ms(HUB - 60_000, HUB) == HUB - 60_000


def test_a_board_that_woke_in_1970_gets_the_hubs_time_for_the_whole_boot() -> None:
    clock = DeviceClock().learn(1, 5_000, HUB)
    assert clock.corrected_ms(5_000, HUB) == HUB
    assert clock.learn(1, 7_000, HUB + 2_100).corrected_ms(7_000, HUB + 2_100) == HUB + 2_000


def test_one_frame_from_the_future_moves_no_other() -> None:
    clock = DeviceClock().learn(1, HUB, HUB + 50).learn(1, HUB + 86_400_000, HUB + 2_050)
    assert clock.corrected_ms(HUB + 86_400_000, HUB + 2_050) <= HUB + 2_050
    assert clock.corrected_ms(HUB + 4_000, HUB + 4_050) == HUB + 4_000


def test_a_frame_much_later_than_the_others_is_not_the_present() -> None:
    clock = DeviceClock()
    for i in range(5):
        clock = clock.learn(1, HUB + 2000 * i, HUB + 2000 * i + 80)
    assert clock.is_live(HUB + 10_000, HUB + 10_080)
    assert not clock.is_live(HUB + 10_000, HUB + 50_000)


def test_each_reading_belongs_to_whom_the_device_was_assigned_at_its_own_time() -> None:
    history = Assignments().assign("p-1", 0).assign("p-2", 5_000)
    block = ChannelReadings("gsr_uS", np.array([3, 4, 5, 6], np.int64) * 10**6, np.arange(4.0))
    parts = split_by_patient(Readings("dev", (block,), 7_000), history)
    assert parts["p-1"].channels[0].values.tolist() == [0.0, 1.0]
    assert parts["p-2"].channels[0].values.tolist() == [2.0, 3.0]


def test_readings_after_a_release_belong_to_nobody() -> None:
    history = Assignments().assign("p-1", 0).release(5_000)
    block = ChannelReadings("gsr_uS", np.array([6], np.int64) * 10**6, np.zeros(1))
    assert list(split_by_patient(Readings("dev", (block,), 7_000), history)) == [None]
    assert list(split_by_patient(Readings("dev", (), 4_000), history)) == ["p-1"]
