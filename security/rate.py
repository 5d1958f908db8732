"""How often each device may cost us something: a token bucket a device, in bounded memory.

A bucket holds `burst` tokens and gains `per_s` each second. Full buckets are forgotten, since a new one is full too;
where all are in use and there is no room, the device drawn on longest ago loses its memory, and starts full again:
with the hub authenticating devices, an attacker needs as many certificates as there are buckets to gain by that.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from security.errors import Reason, Rejected, SecurityError


class TooMany(Rejected):
    """A device asks more often than any honest one. `first`: the first refusal of this spell, worth telling."""

    def __init__(self, device: str, per_s: float, first: bool) -> None:
        super().__init__(
            Reason.TOO_MANY,
            f"at most {3600 * per_s:.0f} new sessions an hour of {device}",
            "more",
            "they are not looked at until it slows down",
        )
        self.first = first


class Buckets:
    """Tokens of every device. `steady_s`: a monotonic clock."""

    def __init__(self, per_s: float, burst: int, steady_s: Callable[[], float], most: int = 10_000) -> None:
        if per_s <= 0 or burst < 1 or most < 1:
            raise SecurityError(f"expected a rate, a burst and room above 0, got {per_s}, {burst}, {most}")
        self._per_s, self._burst, self._most, self._steady_s = per_s, burst, most, steady_s
        self._buckets = OrderedDict[str, tuple[float, float, bool]]()  # device -> tokens, at, refused since

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, device: str) -> None:
        """One token. Raises TooMany where there is none."""
        now_s = self._steady_s()
        tokens, at_s, refused = self._buckets.get(device, (float(self._burst), now_s, False))
        tokens = min(self._burst, tokens + max(0.0, now_s - at_s) * self._per_s)
        if tokens < 1:
            self._put(device, tokens, now_s, True)
            raise TooMany(device, self._per_s, first=not refused)
        self._put(device, tokens - 1, now_s, refused and tokens < self._burst / 2)  # a spell ends with half a bucket

    def _put(self, device: str, tokens: float, now_s: float, refused: bool) -> None:
        self._buckets[device] = (tokens, now_s, refused)
        self._buckets.move_to_end(device)
        while self._buckets:  # the ones that are full by now stand at the front, since they were drawn on longest ago
            _, (left, at_s, _) = next(iter(self._buckets.items()))
            full = left + (now_s - at_s) * self._per_s >= self._burst
            if not full and len(self._buckets) <= self._most:
                break
            self._buckets.popitem(last=False)
