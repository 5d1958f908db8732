"""Which sequence numbers were seen: a set of integers kept as intervals, small while few are missing.

Pure state for duplicates and receipts; its owner decides when a number counts as seen (after the durable write).
"""

from __future__ import annotations

from bisect import bisect_right

from security.errors import SecurityError

MAX_RANGES = 4096  # about 100 KiB of JSON; a device that loses every other message reaches it after 8192
MAX_NUMBER = 2**32  # a sequence number has 4 bytes


class Fragmented(SecurityError):
    """Too many holes. Store nothing, send no receipt, and wait until resent messages fill some."""


class IntervalSet:
    """A set of sequence numbers.

    >>> seen = IntervalSet()
    >>> [seen.add(n) for n in (0, 1, 3, 3)]
    [True, True, True, False]
    >>> seen.upto, seen.extra
    (1, ((3, 3),))
    """

    __slots__ = ("_firsts", "_lasts", "_max_ranges")

    def __init__(self, max_ranges: int = MAX_RANGES) -> None:
        self._firsts: list[int] = []  # of each interval, increasing; intervals never touch
        self._lasts: list[int] = []
        self._max_ranges = max_ranges

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self._pairs())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IntervalSet) and self._pairs() == other._pairs()

    __hash__ = None  # type: ignore[assignment]  # mutable

    def add(self, number: int) -> bool:
        """True where `number` is new. Raises Fragmented (and adds nothing) where it would need one range too many."""
        if not 0 <= number < MAX_NUMBER:
            raise SecurityError(f"expected a sequence number of 4 bytes, got {number}; it was not counted")
        at = bisect_right(self._firsts, number) - 1  # the interval that begins at or before it
        if at >= 0 and number <= self._lasts[at]:
            return False
        joins_before = at >= 0 and self._lasts[at] == number - 1
        joins_after = at + 1 < len(self._firsts) and self._firsts[at + 1] == number + 1
        if joins_before and joins_after:
            self._lasts[at] = self._lasts.pop(at + 1)
            del self._firsts[at + 1]
        elif joins_before:
            self._lasts[at] = number
        elif joins_after:
            self._firsts[at + 1] = number
        else:
            self._insert(at + 1, number)
        return True

    @property
    def upto(self) -> int:
        """The highest n with all of 0..n seen; -1 where 0 is missing."""
        return self._lasts[0] if self._firsts and self._firsts[0] == 0 else -1

    @property
    def extra(self) -> tuple[tuple[int, int], ...]:
        """Inclusive ranges beyond :attr:`upto`, increasing, with holes between them."""
        return self._pairs()[1:] if self.upto >= 0 else self._pairs()

    def to_json(self) -> list[list[int]]:
        """``[[first, last], ...]``."""
        return [list(pair) for pair in self._pairs()]

    @classmethod
    def from_json(cls, data: object, max_ranges: int = MAX_RANGES) -> IntervalSet:
        """The inverse of :meth:`to_json`. Raises SecurityError on anything else."""
        found = cls(max_ranges)
        before = -2
        for first, last in _integer_pairs(data, max_ranges):
            if not before + 1 < first <= last < MAX_NUMBER:
                raise _unusable(f"{first} to {last} after {before}")
            found._firsts.append(first)
            found._lasts.append(last)
            before = last
        return found

    def _pairs(self) -> tuple[tuple[int, int], ...]:
        return tuple(zip(self._firsts, self._lasts, strict=True))

    def _insert(self, at: int, number: int) -> None:
        if len(self._firsts) >= self._max_ranges:
            raise Fragmented(
                f"expected at most {self._max_ranges} ranges, got one more by {number}; it was not counted"
            )
        self._firsts.insert(at, number)
        self._lasts.insert(at, number)


def _integer_pairs(data: object, most: int) -> list[tuple[int, int]]:
    if not isinstance(data, list) or len(data) > most:
        raise _unusable(f"no list of at most {most}")
    for pair in data:
        if not (isinstance(pair, (list, tuple)) and len(pair) == 2 and all(type(n) is int for n in pair)):
            raise _unusable(f"{pair!r:.60}")
    return [(first, last) for first, last in data]


def _unusable(got: str) -> SecurityError:
    return SecurityError(f"expected increasing, separate ranges of numbers, got {got}; the set of seen is unusable")
