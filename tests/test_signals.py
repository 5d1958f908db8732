"""The table of signals: every row is complete, and recordings' columns find their channel."""

from __future__ import annotations

import pytest

from device.signals import SIGNALS, channel, channel_of_column


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("scl_uS", "gsr_uS"),
        ("eda_uS", "gsr_uS"),
        ("emg_zyg_avg_mV", "emg_activity_mV.zyg"),
        ("emg_corr_avg_mV", "emg_activity_mV.corr"),
        ("emg_zyg_mV", "emg_raw_mV.zyg"),
        ("emg_mV", "emg_raw_mV"),
        ("dht11_a_temp_C", "room_temp_C.dht11_a"),
        ("dht22_rh_pct", "room_rh_pct.dht22"),
        ("temp_C", "room_temp_C"),
        ("skin_temp_C", "skin_temp_C"),
        ("acc_x_g", "acc_g.x"),
        ("pulse_bpm", "hr_bpm.pulse"),
        ("acc_sd_g", None),
        ("stim", None),
        ("stage", None),
        ("co2_ppm", None),
        ("emg_avg_avg_avg", None),
    ],
)
def test_a_column_finds_its_channel_or_none(column: str, expected: str | None) -> None:
    found = channel_of_column(column)
    assert (found.id if found else None) == expected


def test_a_channel_of_an_unknown_signal_or_a_strange_name_is_none() -> None:
    assert channel("blood_gas") is None
    assert channel("hr_bpm.<script>") is None
    assert channel("hr_bpm." + "x" * 40) is None


@pytest.mark.parametrize("row", SIGNALS.values(), ids=lambda row: row.id)
def test_every_row_is_complete(row) -> None:  # type: ignore[no-untyped-def]
    assert row.low < row.high
    assert row.period_s > 0 < row.resolution
    assert row.tolerance.absolute > 0 or row.tolerance.relative > 0
    assert row.tolerance.source
    assert row.region
    assert row.tolerance.at(row.high) >= row.tolerance.absolute
    found = channel(row.id)
    assert found is not None
    assert found.label == row.label
