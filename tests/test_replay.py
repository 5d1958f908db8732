"""The set of seen numbers: like a set of integers, but small."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.errors import SecurityError
from security.replay import MAX_NUMBER, Fragmented, IntervalSet


@given(numbers=st.lists(st.integers(0, 60), max_size=120))
def test_it_behaves_as_a_set_of_integers(numbers: list[int]) -> None:
    seen, model = IntervalSet(), set[int]()
    for number in numbers:
        assert seen.add(number) == (number not in model)
        model.add(number)
        assert len(seen) == len(model)
    assert [n in seen for n in range(-2, 70)] == [n in model for n in range(-2, 70)]
    upto = next(n for n in range(100) if n not in model) - 1
    assert seen.upto == upto
    assert {n for first, last in seen.extra for n in range(first, last + 1)} == {n for n in model if n > upto}
    edges = [upto] + [edge for pair in seen.extra for edge in pair]
    assert all(b - a > 1 for a, b in zip(edges[::2], edges[1::2], strict=False))  # holes between ranges


@given(numbers=st.sets(st.integers(0, MAX_NUMBER - 1), max_size=40))
def test_it_survives_json(numbers: set[int]) -> None:
    seen = IntervalSet()
    for number in numbers:
        seen.add(number)
    again = IntervalSet.from_json(json.loads(json.dumps(seen.to_json())))
    assert again == seen and (again.upto, again.extra) == (seen.upto, seen.extra)


def test_a_million_messages_in_order_are_one_range() -> None:
    seen = IntervalSet()
    for number in range(20_000):
        seen.add(number)
    assert seen.to_json() == [[0, 19_999]] and seen.upto == 19_999 and seen.extra == ()


def test_too_many_holes_are_refused_and_filling_one_makes_room() -> None:
    seen = IntervalSet(max_ranges=3)
    for number in (0, 2, 4):
        seen.add(number)
    with pytest.raises(Fragmented, match="not counted"):
        seen.add(6)
    assert 6 not in seen and seen.add(5) and seen.add(1) and seen.add(7)
    assert seen.to_json() == [[0, 2], [4, 5], [7, 7]]


@pytest.mark.parametrize("number", [-1, MAX_NUMBER])
def test_what_is_no_sequence_number_is_refused(number: int) -> None:
    with pytest.raises(SecurityError):
        IntervalSet().add(number)


@pytest.mark.parametrize(
    "data",
    [
        None, {}, "[]", [1], [[1]], [[1, 2, 3]], [[2, 1]], [[-1, 3]], [[0, 1], [2, 3]], [[5, 6], [1, 2]], [[0, 2**32]],
        [[0, 1.0]], [[False, True]], [["0", "1"]],
    ],
)  # fmt: skip
def test_stored_sets_of_another_form_are_refused(data: object) -> None:
    with pytest.raises(SecurityError):
        IntervalSet.from_json(data)


def test_a_stored_set_with_too_many_ranges_is_refused() -> None:
    with pytest.raises(SecurityError):
        IntervalSet.from_json([[2 * n, 2 * n] for n in range(5)], max_ranges=4)
