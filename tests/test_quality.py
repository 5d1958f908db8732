"""Signal quality: known artefacts are found, and people's real moments are not called faults."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from device.signals import SIGNALS
from twin_engine.features import CONTEXT_STEPS
from twin_engine.lab.normal import Normal, judge_channel, normal
from twin_engine.lab.recordings import Recording, read_people, split
from twin_engine.messages import Floats
from twin_engine.plans import PLANS
from twin_engine.quality import GOOD, judge
from twin_engine.quality.table import BAD, RULES

T = CONTEXT_STEPS
RNG = np.random.default_rng(11)
Shared = Callable[[str], Path]


def calm(signal: str) -> tuple[Floats, float]:
    """(T,) a healthy stretch of a signal on its grid, and the sensor's resolution."""
    t = np.arange(T) * PLANS[signal].grid_s
    noise = RNG.normal(size=T)
    match signal:
        case "gsr_uS":
            return np.round(4 + 0.3 * np.sin(t / 20) + 0.002 * noise, 3), 0.001
        case "emg_activity_mV":
            return np.round(2e-4 * np.exp(0.2 * noise), 6), 1e-6
        case "skin_temp_C":
            return np.round(33 + 0.2 * np.sin(t / 100), 2), 0.01
        case "hr_bpm":
            return np.round(75 + 8 * np.sin(t / 30)), 1.0
        case "spo2_pct":
            return np.round(96 + 0.6 * np.sin(t / 60)), 1.0
        case "room_temp_C":
            return np.round(22 + np.sin(t / 9000), 1), 0.1
        case "ppg":
            return np.round(np.sin(2 * np.pi * 1.2 * t) + 0.3 * np.sin(4 * np.pi * 1.2 * t) + 0.02 * noise, 4), 1e-4
    raise AssertionError(signal)


def verdict(signal: str, values: Floats, step: float) -> tuple[str, str]:
    quality = judge(signal, values, PLANS[signal].grid_s, step)
    return quality.verdict, quality.rule


CALM = ("gsr_uS", "emg_activity_mV", "skin_temp_C", "hr_bpm", "spo2_pct", "room_temp_C", "ppg")


@pytest.mark.parametrize("signal", CALM)
def test_a_calm_stretch_is_good(signal: str) -> None:
    values, step = calm(signal)
    assert judge(signal, values, PLANS[signal].grid_s, step) == GOOD


@pytest.mark.parametrize("signal", CALM)
def test_a_frozen_sensor_is_called_stuck_unless_its_resolution_explains_it(signal: str) -> None:
    values, step = calm(signal)
    frozen = np.where(np.arange(T) > 10, values[10], values)
    assert judge(signal, frozen, PLANS[signal].grid_s, step).rule == "stuck"


def test_a_whole_degree_sensor_in_an_even_room_is_not_stuck() -> None:
    assert judge("room_temp_C", np.full(T, 21.0), 60.0, 1.0) == GOOD


def test_long_constant_saturation_is_normal() -> None:
    values = np.full(T, 96.0)
    values[::240] = 97.0  # at most four minutes without a change
    assert judge("spo2_pct", values, 1.0, 1.0) == GOOD


def test_an_electrode_that_fell_off_is_bad_with_the_number_and_the_limit_and_recovers() -> None:
    values, step = calm("gsr_uS")
    values[-40:] = 0.02
    quality = judge("gsr_uS", values, 0.25, step)
    assert (quality.verdict, quality.rule) == ("bad", "electrode-off")
    assert quality.reason == "electrode off: 0.02 uS, below 0.05 uS"
    back, _ = calm("gsr_uS")
    assert verdict("gsr_uS", np.concatenate((values[19:], back[:19])), step)[1] == "electrode-off"  # not yet trusted
    assert judge("gsr_uS", np.concatenate((values[24:], back[:24])), 0.25, step) == GOOD  # 6 s of contact


def test_a_strong_stress_response_is_good() -> None:
    t = np.arange(T) * 0.25
    response = 3.0 * (1 - np.exp(-np.clip(t - 120, 0, None) / 1.5))  # 3 uS within seconds, on a dry wrist
    values = np.round(0.8 + response + 0.004 * RNG.normal(size=T), 3)
    assert judge("gsr_uS", values, 0.25, 0.001).verdict != "bad"


@pytest.mark.parametrize(("rise", "expected"), [(70.0, ("good", "")), (0.0, ("good", ""))])
def test_a_racing_heart_is_no_fault(rise: float, expected: tuple[str, str]) -> None:
    values = np.round(70 + rise * np.clip((np.arange(T) - 400) / 60, 0, 1) + RNG.normal(size=T))
    assert verdict("hr_bpm", values, 1.0) == expected


def test_a_heart_rate_of_zero_is_out_of_range() -> None:
    values, step = calm("hr_bpm")
    values[-3:] = 0
    assert verdict("hr_bpm", values, step) == ("bad", "out-of-range")


def test_a_watch_taken_off_is_bad_within_ten_seconds() -> None:
    values, step = calm("skin_temp_C")
    values[-8:] -= np.arange(8) * 0.6
    assert verdict("skin_temp_C", values, step) == ("bad", "sensor-off")


def test_a_burst_of_muscle_far_above_its_usual_is_bad_and_a_smile_is_not() -> None:
    values, step = calm("emg_activity_mV")
    smile, burst = values.copy(), values.copy()
    smile[-30:] *= 2.5
    burst[-15:] = 5e-3
    assert judge("emg_activity_mV", smile, 0.1, step) == GOOD
    assert verdict("emg_activity_mV", burst, step) == ("bad", "burst")
    spike = values.copy()
    spike[-3:] = 5e-3
    assert judge("emg_activity_mV", spike, 0.1, step) == GOOD  # 0.3 s say nothing


def test_a_wave_at_its_rails_or_wrapped_around_is_bad() -> None:
    wave, step = calm("ppg")
    assert verdict("ppg", np.clip(wave, -0.8, 0.9), step) == ("bad", "clipped")
    assert verdict("ppg", (wave + 0.8 + 1.25) % 2.5 - 1.25, step) == ("bad", "wrapped")


def test_a_wave_without_pulse_or_with_movement_is_doubtful() -> None:
    wave, step = calm("ppg")
    wander = np.cumsum(RNG.normal(size=T))
    assert verdict("ppg", np.round(wander, 3), step)[0] == "doubtful"
    wave[-60:] *= 9
    assert verdict("ppg", wave, step) == ("doubtful", "movement")


def test_heavy_loss_is_doubtful_and_silence_is_left_to_the_gaps() -> None:
    values, step = calm("hr_bpm")
    values[-60:][RNG.random(60) < 0.8] = np.nan
    assert verdict("hr_bpm", values, step) == ("doubtful", "few-readings")
    assert judge("hr_bpm", np.full(T, np.nan), 1.0, 1.0) == GOOD


@pytest.mark.parametrize("signal", sorted(SIGNALS))
def test_every_signal_has_rules_and_no_input_breaks_them(signal: str) -> None:
    assert {rule.id for rule in RULES[signal]} >= {"out-of-range", "few-readings"}
    assert all(rule.source and rule.verdict in ("bad", "doubtful") for rule in RULES[signal])
    row, grid_s = SIGNALS[signal], PLANS[signal].grid_s
    for known in (1, 2, 3, 7, 200, T):
        values = np.full(T, np.nan)
        values[T - known :] = RNG.uniform(row.low, row.high, known)
        assert judge(signal, values, grid_s, row.resolution).verdict in ("good", "doubtful", "bad")
        values[T - known :] = row.low
        judge(signal, values, grid_s, row.resolution)


def test_what_came_earlier_no_longer_spoils_a_channel() -> None:
    values, step = calm("gsr_uS")
    values[:100] = 0.01
    assert judge("gsr_uS", values, 0.25, step) == GOOD


def test_the_serving_side_needs_numpy_alone() -> None:
    code = (
        "import sys, twin_engine.quality;"
        "print([m for m in ('scipy', 'pandas', 'neurokit2', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ------------------------------------------------------------------------------------------ whole recordings


def person(shared: Shared, name: str) -> Recording:
    data = shared("data")
    return next(iter(read_people(data, [name.partition("/")[0]], only={name})))


def verdicts(shared: Shared, name: str) -> tuple[Recording, dict[str, Normal]]:
    recording = person(shared, name)
    return recording, normal(recording)


def test_the_unconnected_electrode_of_subject_25_is_bad_throughout(shared: Shared) -> None:
    table = pd.read_csv(shared("data/emg_gsr/subj25.csv.gz"))
    known = table.scl_uS.to_numpy() >= 0  # negative readings are distrusted by the table of signals already
    found = judge_channel("gsr_uS", table.time_s.to_numpy()[known], table.scl_uS.to_numpy()[known])
    assert found.reasons["electrode-off"].mean() > 0.99


def test_the_stuck_room_sensor_is_left_out_and_hardly_anything_else(shared: Shared) -> None:
    recording, found = verdicts(shared, "room/switchbot_3y")
    times_s, _ = recording.channels["room_temp_C"]
    stuck = (times_s > 27_846_000) & (times_s < 28_140_000)
    assert found["room_temp_C"].bad[stuck].all()
    assert found["room_temp_C"].bad[~stuck].mean() < 0.003


def test_contact_losses_of_a_dry_wrist_are_left_out(shared: Shared) -> None:
    recording, found = verdicts(shared, "wrist_e4/s22")
    _, values = recording.channels["gsr_uS"]
    assert found["gsr_uS"].bad[values < 0.05].all()
    assert found["gsr_uS"].learn.mean() > 0.8


def test_watches_taken_off_at_the_end_are_left_out(shared: Shared) -> None:
    for name in ("s02", "s03", "s04"):
        _, found = verdicts(shared, f"wrist_e4/{name}")
        assert found["skin_temp_C"].bad[-4:].all()
        assert found["skin_temp_C"].bad.mean() < 0.02


def test_spikes_of_a_single_millisecond_are_left_out(shared: Shared) -> None:
    recording, found = verdicts(shared, "gsr/eda_hot_surface_1khz")
    _, values = recording.channels["gsr_uS"]
    assert found["gsr_uS"].bad[values > 19].all() and found["gsr_uS"].bad[values < 8].all()
    assert verdicts(shared, "gsr/eda_rest_1khz")[1]["gsr_uS"].learn.all()


def test_waves_that_wrapped_around_at_the_converter_are_left_out(shared: Shared) -> None:
    _, found = verdicts(shared, "icu/icu_p3_wave")
    assert found["ppg"].share("wrapped") > 0.9
    assert 0.1 < found["resp_wave"].share("wrapped") < 0.5
    clean = verdicts(shared, "multi/ecg_ppg_rsp_rest_100hz")[1]
    assert all(channel.learn.all() for channel in clean.values())


def test_end_of_session_bursts_are_left_out_of_muscle_and_skin_conductance(shared: Shared) -> None:
    recording, found = verdicts(shared, "emg_gsr/subj12")
    stim_s, stim = recording.labels["stim"]
    over_s = stim_s[stim > 0].max() + 3
    for name, signal in (("emg_activity_mV.zyg", "burst"), ("emg_raw_mV.zyg", "burst"), ("gsr_uS", "movement")):
        blamed, times_s = found[name].reasons[signal], recording.channels[name][0]
        assert blamed[times_s > over_s].mean() > 0.15
        assert blamed[times_s <= over_s].mean() < 0.01


def test_movement_in_a_pulse_wave_is_found_and_rest_is_clean(shared: Shared) -> None:
    for name, clean in (("bvp_rest_1khz", True), ("bvp_motion_artifact_1khz", False)):
        table = pd.read_csv(shared(f"data/ppg/{name}.csv.gz"))
        found = judge_channel("ppg", table.time_s.to_numpy(np.float64), table.bvp_raw.to_numpy(np.float64))
        assert found.learn.all() if clean else ("movement" in found.reasons and found.learn.mean() < 0.6)


def test_people_never_seen_lose_less_than_a_percent_to_false_alarms(shared: Shared) -> None:
    """Live verdicts every 10 s; skin conductance under 0.05 uS and bursts after the session are true faults."""
    data = shared("data")
    parts = split([recording.person for recording in read_people(data)])
    bad, seen = dict[str, int](), dict[str, int]()
    for recording in read_people(data, only={*parts["validation"], *parts["test"]}):
        end_s = {"emg_gsr": _last_stimulus(recording)}.get(recording.folder, np.inf)
        for name in recording.channels:
            signal = name.partition(".")[0]
            if signal in ("emg_raw_mV", "acc_g"):
                continue
            for quality, window in _live(recording, name, end_s):
                true_fault = signal == "gsr_uS" and (window[-30:] < 0.05).any()
                seen[signal] = seen.get(signal, 0) + 1
                bad[signal] = bad.get(signal, 0) + (quality == BAD and not true_fault)
    assert seen and all(bad[signal] / seen[signal] < 0.01 for signal in seen), (bad, seen)


def _live(recording: Recording, name: str, end_s: float):  # type: ignore[no-untyped-def]
    signal = name.partition(".")[0]
    grid_s = PLANS[signal].grid_s
    grid = np.concatenate((np.full(T - 1, np.nan), recording.on_grid(grid_s, [name])[name]))
    for end in range(0, len(grid) - T + 1, max(1, round(10 / grid_s))):
        if end * grid_s < end_s:
            window = grid[end : end + T]
            yield judge(signal, window, grid_s, SIGNALS[signal].resolution).verdict, window


def _last_stimulus(recording: Recording) -> float:
    if "stim" not in recording.labels:
        return np.inf
    times_s, stim = recording.labels["stim"]
    return float(times_s[stim > 0].max()) + 3
