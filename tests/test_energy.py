"""Energy: counters where the machine has them, a labelled estimate where it has none."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from twin_engine.lab.energy import WATTS_A_CORE, Energy, Meter, from_json


def counters(rapl: Path, *microjoules: float, turn: float = 1e9) -> None:
    """Package counters as Linux lays them out, and a part of the first, which must not be counted twice."""
    for number, value in enumerate(microjoules):
        for zone in (f"intel-rapl:{number}", f"intel-rapl:{number}:0"):
            (rapl / zone).mkdir(parents=True, exist_ok=True)
            (rapl / zone / "energy_uj").write_text(f"{value:.0f}\n")
            (rapl / zone / "max_energy_range_uj").write_text(f"{turn:.0f}\n")


def burn(cpu_s: float) -> None:
    end = time.process_time() + cpu_s
    while time.process_time() < end:
        pass


def test_without_counters_processor_time_is_charged_and_called_an_estimate(tmp_path: Path) -> None:
    with Meter(rapl=tmp_path) as meter:
        burn(0.2)
    assert 0.2 <= meter.used.cpu_s < 1.0
    assert meter.used.joules == pytest.approx(meter.used.cpu_s * WATTS_A_CORE)
    assert not meter.used.measured and "an estimate, not a measurement" in meter.used.text()


def test_counters_of_all_packages_are_added_and_parts_are_not(tmp_path: Path) -> None:
    counters(tmp_path, 1e6, 5e6)
    with Meter(rapl=tmp_path) as meter:
        counters(tmp_path, 4e6, 7.5e6)
    assert meter.used.joules == pytest.approx(5.5)
    assert meter.used.measured and "RAPL" in meter.used.text()


def test_a_counter_that_begins_again_loses_nothing(tmp_path: Path) -> None:
    counters(tmp_path, 9e6, turn=10e6)
    with Meter(rapl=tmp_path) as meter:
        counters(tmp_path, 2e6, turn=10e6)
    assert meter.used.joules == pytest.approx(3.0)


def test_meters_that_run_at_once_share_the_counters(tmp_path: Path) -> None:
    counters(tmp_path, 1e6)
    with Meter(shared_by=2, rapl=tmp_path) as one, Meter(shared_by=2, rapl=tmp_path) as other:
        counters(tmp_path, 9e6)
    assert (one.used + other.used).joules == pytest.approx(8.0)


def test_unreadable_counters_mean_an_estimate(tmp_path: Path) -> None:
    counters(tmp_path, 1e6)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("\n")
    with Meter(rapl=tmp_path) as meter:
        burn(0.01)
    assert not meter.used.measured


def test_a_graphics_card_that_cannot_be_read_is_named_as_left_out(tmp_path: Path) -> None:
    counters(tmp_path, 1e6)
    with Meter("cuda", rapl=tmp_path) as meter:
        counters(tmp_path, 2e6)
    assert "graphics card" in meter.used.how
    if "left out" in meter.used.how:
        assert not meter.used.measured and meter.used.joules == pytest.approx(1.0)


def test_what_a_resumed_training_used_before_is_added(tmp_path: Path) -> None:
    before = Energy(100.0, 10.0, 12.0, False, f"processor seconds × {WATTS_A_CORE:g} W a core")
    with Meter(before=before, rapl=tmp_path) as meter:
        burn(0.01)
    assert 100.0 < meter.used.joules < 110.0 and meter.used.cpu_s > 10.0
    assert meter.used.how == before.how


def test_a_sum_is_measured_only_where_all_of_it_was() -> None:
    measured, guessed = Energy(1.0, 1.0, 1.0, True, "RAPL"), Energy(2.0, 1.0, 1.0, False, "guess")
    assert (measured + measured).measured and not (measured + guessed).measured
    assert (measured + guessed).joules == 3.0 and "RAPL" in (measured + guessed).how


def test_energy_survives_json() -> None:
    used = Energy(9e4, 7.0, 8.0, False, "guess")
    assert from_json(used.as_json()) == used
    assert used.text().startswith("25 Wh")
