"""A clock that steps for a moment carries nobody away; one that stays where it stepped to is believed."""

from __future__ import annotations

import threading
import time

import pytest

from security.identity import ensure_engine, wall_clock_ms
from tests.engine_kit import PATIENT
from tests.erase_kit import running_house, wait_until
from twin_engine.model import Generator
from twin_engine.pipeline import Engine
from twin_engine.steady import BELIEVED_AFTER_MS, Unshaken, since_boot_s

NOW_MS, DAY_MS = 1_790_000_000_000, 86_400_000


class Clocks:
    def __init__(self) -> None:
        self.ms, self.wrong_ms = 0, 0
        self.clock = Unshaken(lambda: NOW_MS + self.ms + self.wrong_ms, lambda: self.ms / 1000)

    def after(self, ms: int, wrong_ms: int) -> int:
        """What the clock says so much later, beside the true time."""
        self.ms, self.wrong_ms = self.ms + ms, wrong_ms
        return self.clock() - NOW_MS - self.ms


@pytest.mark.parametrize("step_ms", [DAY_MS, 15 * DAY_MS, 600_000, -DAY_MS])
def test_a_step_that_does_not_last_is_never_seen(step_ms: int) -> None:
    clocks = Clocks()
    assert clocks.after(1000, 0) == 0
    assert [clocks.after(250, step_ms) for _ in range(40)] == [0] * 40
    assert clocks.after(250, 0) == 0
    assert clocks.after(BELIEVED_AFTER_MS, step_ms) == 0, "a second one is new"
    assert clocks.after(250, 0) == 0


def test_a_step_that_lasts_is_believed_and_a_wandering_clock_is_not() -> None:
    clocks = Clocks()
    assert clocks.after(250, DAY_MS) == 0
    assert clocks.after(BELIEVED_AFTER_MS - 1, DAY_MS) == 0
    assert clocks.after(1, DAY_MS) == DAY_MS
    assert [clocks.after(60_000, DAY_MS * n) for n in range(2, 9)] == [DAY_MS] * 7


def test_a_clock_that_is_slewed_is_followed() -> None:
    clocks = Clocks()
    assert [clocks.after(1000, 400 * n) for n in range(50)] == [400 * n for n in range(50)]


@pytest.mark.redis
def test_a_machine_whose_clock_stands_a_day_ahead_for_a_moment_blanks_nobody(generator: Generator) -> None:
    wrong_ms = 0
    with running_house(generator) as house:
        ward = house.ward()
        clock = Unshaken(lambda: wall_clock_ms() + wrong_ms, since_boot_s)
        engine = Engine(
            ward.store(), generator, trust=ward.ca.trust, identity=ensure_engine(ward.ca, ward.state / "engine"),
            master=ward.master, clock_ms=clock,
        )  # fmt: skip
        stop = threading.Event()
        thread = threading.Thread(target=engine.run, args=(stop,), daemon=True)
        thread.start()
        try:
            ward.connect_device()
            ward.send(ward.frame(8))
            ward.wait_for("stored", 8)
            wrong_ms = DAY_MS
            time.sleep(1.5)  # several ticks
            wrong_ms = 0
            ward.send(ward.frame(8))
            ward.wait_for("stored", 16)
            wait_until(lambda: len(ward.feed.recent(PATIENT, 60)) >= 3, "what was shown before and after")
        finally:
            stop.set()
            thread.join(5)
            ward.close()
