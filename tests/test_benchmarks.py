"""Benchmarks that `make bench` starts without arguments."""

from __future__ import annotations

import pytest

from benchmarks import alarms


def test_alarms_of_no_recording_are_one_clear_line_and_no_division_by_nothing() -> None:
    with pytest.raises(SystemExit, match="expected recordings"):
        alarms.main([])
