"""The wall clock, of which one bad moment must carry no twin away. Pure: both clocks come from outside.

Time that has passed in a twin does not tick back, and what lies in the store is kept for six hours of it. So a clock
that stands a day ahead for a second would make every twin begin anew twice. A step is therefore believed only once it
has lasted; until then time goes on by the steady clock. One place decides that time went back:
:func:`twin_engine.messages.set_back_ms`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

STEP_MS = 5_000  # what a clock that is disciplined never does at once
BELIEVED_AFTER_MS = 120_000


def since_boot_s() -> float:
    """A steady clock that, where the system has one, goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Unshaken:
    """A clock in ms since 1970. For one thread."""

    def __init__(self, wall_ms: Callable[[], int], steady_s: Callable[[], float]) -> None:
        self._wall_ms, self._steady_s = wall_ms, steady_s
        self._offset_ms = wall_ms() - self._steady_ms()
        self._other_ms = self._since_ms = 0  # another offset, and since when the wall clock has it
        self._doubted = False

    def __call__(self) -> int:
        """The wall clock's time; while it has stepped a moment ago, what it would have been without."""
        steady_ms = self._steady_ms()
        offset_ms = self._wall_ms() - steady_ms
        if abs(offset_ms - self._offset_ms) <= STEP_MS:
            self._offset_ms, self._doubted = offset_ms, False
        elif not self._doubted or abs(offset_ms - self._other_ms) > STEP_MS:
            self._other_ms, self._since_ms, self._doubted = offset_ms, steady_ms, True
            log.error("the clock stepped by %.0f s; it is believed if that lasts", self._step_s(offset_ms))
        elif steady_ms - self._since_ms >= BELIEVED_AFTER_MS:
            log.error("the clock stepped by %.0f s, and that has lasted: believed", self._step_s(offset_ms))
            self._offset_ms, self._doubted = offset_ms, False
        return steady_ms + self._offset_ms

    def _step_s(self, offset_ms: int) -> float:
        return (offset_ms - self._offset_ms) / 1000

    def _steady_ms(self) -> int:
        return int(self._steady_s() * 1000)
