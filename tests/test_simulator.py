"""The simulated patient: believable, endless, coherent, the same for the same seed, and marked as simulated."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import pytest

from device.frame import Frame, Source, decode, encode
from device.signals import channel
from device.simulator import Simulator
from device.source import frame_time_ms, pack

START_MS = 1_700_000_000_000
Played = dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]


def play(simulator: Simulator, seconds: int, *only: str) -> Played:
    """{channel: (seconds since the start, values)} as an engine decodes them; of all channels, or only of these."""
    simulator.start(START_MS)
    wanted = only or tuple(simulator.channels)
    times: dict[str, list[float]] = {c: [] for c in wanted}
    values: dict[str, list[float]] = {c: [] for c in wanted}
    for now_ms in range(START_MS, START_MS + seconds * 1000 + 1, 2000):
        for blocks in pack([block for block in simulator.due(now_ms) if block.channel in wanted]):
            frame = Frame(frame_time_ms(blocks, now_ms), 0, 1, 0, simulator.source, tuple(blocks))
            for block in decode(encode(frame)).blocks:
                times[block.channel] += [t / 1e6 - START_MS / 1000 for t in block.times_us()]
                values[block.channel] += [np.nan if v is None else v for v in block.values()]
    return {c: (np.array(times[c]), np.array(values[c])) for c in times}


@pytest.fixture(scope="module")
def played() -> Played:
    return play(Simulator(seed=7), 900)


def test_it_says_that_it_is_simulated() -> None:
    assert Simulator.source is Source.SIMULATED and Simulator.label == "simulated patient"


def test_every_channel_has_a_signal_and_stays_in_its_plausible_range(played: Played) -> None:
    for name, (_, values) in played.items():
        row = channel(name)
        assert row is not None
        assert row.signal.low <= np.nanmin(values) and np.nanmax(values) <= row.signal.high


def test_times_are_even_over_the_seams_of_chunks(played: Played) -> None:
    rates = {"ppg": 64, "emg_raw_mV.zyg": 200, "gsr_uS": 4, "hr_bpm": 1, "room_temp_C": 0.5}
    for name, rate_hz in rates.items():
        times, _ = played[name]
        assert np.allclose(times, np.arange(len(times)) / rate_hz, atol=0.001)


def test_no_click_shows_where_chunks_join(played: Played) -> None:
    for name, rate_hz in (("ppg", 64), ("gsr_uS", 4), ("skin_temp_C", 4)):
        _, values = played[name]
        steps = np.abs(np.diff(values))
        at_seam = np.arange(1, len(values)) % (10 * rate_hz) == 0
        assert at_seam.sum() > 50
        assert steps[at_seam].max() <= np.quantile(steps[~at_seam], 0.999)


def test_the_pulse_beats_at_the_heart_rate_that_is_shown(played: Played) -> None:
    _, ppg = played["ppg"]
    _, shown = played["hr_bpm"]
    for start_s in range(60, 840, 120):
        part = ppg[start_s * 64 : (start_s + 20) * 64]
        spectrum = np.abs(np.fft.rfft((part - part.mean()) * np.hanning(len(part)), 2**15))
        hz = np.fft.rfftfreq(2**15, 1 / 64)
        band = (hz > 0.8) & (hz < 2.5)
        found_bpm = 60 * hz[band][spectrum[band].argmax()]
        part_bpm = shown[start_s : start_s + 20]
        assert part_bpm.min() - 5 < found_bpm < part_bpm.max() + 5


def test_stress_raises_heart_rate_sweat_and_muscles_together(played: Played) -> None:
    hr = played["hr_bpm"][1][:900]
    stressed = hr > np.quantile(hr, 0.8)
    calm = hr < np.quantile(hr, 0.4)
    assert hr[stressed].mean() - hr[calm].mean() > 10
    gsr, brow = played["gsr_uS"][1][:3600].reshape(-1, 4), played["emg_activity_mV.corr"][1][:9000].reshape(-1, 10)
    assert gsr[stressed].mean() > gsr[calm].mean()
    assert brow[stressed].mean() > 1.2 * brow[calm].mean()


def test_the_room_sensor_reads_whole_steps_and_fails_now_and_then() -> None:
    played = play(Simulator(seed=3), 3600, "room_temp_C", "room_rh_pct")
    temp, rh = played["room_temp_C"][1], played["room_rh_pct"][1]
    failed = np.isnan(temp)
    assert np.array_equal(failed, np.isnan(rh))  # one wire, one failure
    assert 0.003 < failed.mean() < 0.03
    assert np.array_equal(temp[~failed], np.round(temp[~failed]))


def test_the_same_seed_gives_the_same_patient_and_another_seed_another() -> None:
    first, again, other = (play(Simulator(seed), 30) for seed in (1, 1, 2))
    assert all(np.array_equal(first[c][1], again[c][1], equal_nan=True) for c in first)
    assert not np.array_equal(first["ppg"][1], other["ppg"][1])


def test_making_it_never_stalls_the_sending() -> None:
    simulator = Simulator(seed=1)
    simulator.start(START_MS)
    worst_s = 0.0
    for now_ms in range(START_MS, START_MS + 120_000, 2000):
        began_s = time.thread_time()
        simulator.due(now_ms)
        worst_s = max(worst_s, time.thread_time() - began_s)
    assert worst_s < 0.05
