"""A recording is played as it was: values, times and gaps; faster where asked; over and over where asked."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from device.frame import MAX_FRAME_BYTES, Block, Frame, Source, decode, encode
from device.recording import Recording, RecordingError, read_recording
from device.replay import Replay
from device.source import frame_time_ms, pack

START_MS = 1_700_000_000_000


def recording(tmp_path: Path, text: str) -> Recording:
    (tmp_path / "r.csv").write_text(text)
    return read_recording(tmp_path / "r.csv")


def play(replay: Replay, until_s: float, every_ms: int = 2000) -> dict[str, list[tuple[float, float | None]]]:
    """{channel: [(seconds since the start, value)]} as an engine decodes it."""
    replay.start(START_MS)
    out: dict[str, list[tuple[float, float | None]]] = {}
    for now_ms in range(START_MS, START_MS + int(until_s * 1000) + 1, every_ms):
        for blocks in pack(replay.due(now_ms)):
            frame = Frame(frame_time_ms(blocks, now_ms), 0, 1, 0, replay.source, tuple(blocks))
            for block in decode(encode(frame)).blocks:
                times = [t / 1e6 - START_MS / 1000 for t in block.times_us()]
                out.setdefault(block.channel, []).extend(zip(times, block.values(), strict=True))
    return out


def test_missing_cells_stay_missing(tmp_path: Path) -> None:
    played = play(Replay(recording(tmp_path, "time_s,scl_uS\n0,1.0\n1,\n2,\n3,4.0\n4,5.0\n"), "r"), 10)
    assert played["gsr_uS"] == [(0, 1.0), (1, None), (2, None), (3, 4.0), (4, 5.0)]


def test_blanks_of_a_slower_channel_are_no_missing_readings_but_a_long_blank_is(tmp_path: Path) -> None:
    rows = [f"{i * 0.25},{i},{70 + i // 4 if i % 4 == 0 and not 12 <= i <= 20 else ''}" for i in range(40)]
    played = play(Replay(recording(tmp_path, "time_s,scl_uS,hr_bpm\n" + "\n".join(rows)), "r"), 20)
    assert len(played["gsr_uS"]) == 40
    assert [t for t, v in played["hr_bpm"] if v is None] == [3, 4, 5]
    assert [t for t, _ in played["hr_bpm"]] == list(range(10))


def test_readings_come_when_they_are_due_and_not_before(tmp_path: Path) -> None:
    replay = Replay(recording(tmp_path, "time_s,scl_uS\n" + "".join(f"{i},{i}\n" for i in range(10))), "r")
    replay.start(START_MS)
    assert [b.values() for b in replay.due(START_MS)] == [[0.0]]
    assert replay.due(START_MS + 999) == []
    assert [b.values() for b in replay.due(START_MS + 3500)] == [[1.0, 2.0, 3.0]]
    assert not replay.finished
    replay.due(START_MS + 60_000)
    assert replay.finished and replay.due(START_MS + 120_000) == []


def test_values_keep_the_digits_of_the_file(tmp_path: Path) -> None:
    values = [0.1, 0.123456, 4.9115, 99.999999, 1e-6, 0.0]
    text = "time_s,scl_uS\n" + "".join(f"{i},{v:.6f}\n" for i, v in enumerate(values))
    assert [v for _, v in play(Replay(recording(tmp_path, text), "r"), 10)["gsr_uS"]] == values


def test_an_uneven_channel_keeps_its_times(tmp_path: Path) -> None:
    times = [0.0, 0.031, 0.071, 0.098, 0.320, 0.355]
    text = "time_s,scl_uS\n" + "".join(f"{t},{i}\n" for i, t in enumerate(times))
    played = play(Replay(recording(tmp_path, text), "r"), 2)["gsr_uS"]
    assert np.allclose([t for t, _ in played], times, atol=0.001)


def test_twice_the_speed_takes_half_the_time(tmp_path: Path) -> None:
    text = "time_s,scl_uS\n" + "".join(f"{i / 10},{i}\n" for i in range(100))
    played = play(Replay(recording(tmp_path, text), "r", speed=2), 10)["gsr_uS"]
    assert [t for t, _ in played] == pytest.approx([i / 20 for i in range(100)])


def test_a_loop_goes_on_without_a_hole_and_never_ends(tmp_path: Path) -> None:
    text = "time_s,scl_uS\n" + "".join(f"{i / 10},{i}\n" for i in range(20))
    replay = Replay(recording(tmp_path, text), "r", loop=True)
    played = play(replay, 7, every_ms=700)["gsr_uS"]
    assert [v for _, v in played] == [float(i % 20) for i in range(71)]
    assert [t for t, _ in played] == pytest.approx([i / 10 for i in range(71)])
    assert not replay.finished


@pytest.mark.parametrize(("rate_hz", "speed"), [(1000, 1), (1000, 3), (4000, 1), (100, 30), (100, 100)])
def test_fast_readings_never_overlap_nor_get_lost(tmp_path: Path, rate_hz: int, speed: float) -> None:
    n = 6 * rate_hz + 7
    text = "time_s,emg_mV\n" + "".join(f"{i / rate_hz:.6f},{i % 1000 / 1000}\n" for i in range(n))
    played = play(Replay(recording(tmp_path, text), "r", speed=speed), 10, every_ms=333)["emg_raw_mV"]
    assert len(played) == n
    assert all(later > earlier for (earlier, _), (later, _) in pairwise(played))
    assert played[-1][0] == pytest.approx((n - 1) / rate_hz / speed, rel=0.002)


def test_too_high_a_speed_is_refused_with_the_highest_possible(tmp_path: Path) -> None:
    text = "time_s,emg_mV\n" + "".join(f"{i / 4000:.6f},0\n" for i in range(10))
    with pytest.raises(RecordingError, match=r"at a speed of at most 12\.5"):
        Replay(recording(tmp_path, text), "r", speed=100)
    for speed in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(RecordingError, match="expected a speed above 0"):
            Replay(recording(tmp_path, text), "r", speed=speed)


def test_a_long_stretch_is_packed_into_frames_within_the_codec_s_limits() -> None:
    blocks = [Block(f"emg_raw_mV.a{i}", START_MS, 250, -5, tuple(range(30_000))) for i in range(3)]
    frames = pack(blocks)
    seen: dict[str, list[float | None]] = {}
    for held in frames:
        data = encode(Frame(frame_time_ms(held, START_MS), 0, 1, 0, Source.RECORDING, tuple(held)))
        assert len(data) <= MAX_FRAME_BYTES
        assert len({b.channel for b in held}) == len(held)
        for block in decode(data).blocks:
            seen.setdefault(block.channel, []).extend(block.values())
    assert all(values == [i / 1e5 for i in range(30_000)] for values in seen.values())


def test_a_real_recording_arrives_exactly_as_its_file_has_it(shared: Callable[[str], Path]) -> None:
    whole = read_recording(shared("data/emg_gsr/subj09.csv.gz"))
    replay = Replay(whole, "subj09")
    played = play(replay, 270)
    assert replay.finished and replay.source is Source.RECORDING
    for column in whole.columns.values():
        times, values = zip(*played[column.channel.id], strict=True)
        assert np.array_equal(np.array(values, float), column.values)
        assert np.allclose(times, whole.times_s - whole.times_s[0], atol=1e-4)
