"""Recordings are read as their files say, and what is none of ours is refused with the reason."""

from __future__ import annotations

import gzip
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from device.recording import RecordingError, read_chunks, read_recording

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "recording.csv"
        path.write_text(text)
        return path

    return write


def test_columns_become_channels_and_unknown_ones_are_listed(write: Write) -> None:
    recording = read_recording(write("time_s,scl_uS,emg_zyg_avg_mV,stim,hr_bpm\n0.00,4.90,0.001,0,\n0.01,4.91,,1,71\n"))
    assert [c.channel.id for c in recording.columns.values()] == ["gsr_uS", "emg_activity_mV.zyg", "hr_bpm"]
    assert recording.skipped == ("stim",)
    assert recording.times_s.tolist() == [0.0, 0.01]
    assert np.isnan(recording.columns["hr_bpm"].values[0]) and recording.columns["hr_bpm"].values[1] == 71


def test_a_value_can_be_echoed_as_the_file_wrote_it(write: Write) -> None:
    column = read_recording(write("time_s,scl_uS\n0,4.90\n1,\n2,5e-1\n3, 7 \n")).columns["scl_uS"]
    assert [column.text(i) for i in range(4)] == ["4.90", "", "5e-1", "7"]
    assert np.array_equal(column.values, [4.9, np.nan, 0.5, 7], equal_nan=True)


def test_gzip_is_known_by_its_bytes_and_not_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(gzip.compress(b"time_s,scl_uS\n0,1\n"))
    assert read_recording(tmp_path / "a.csv").columns["scl_uS"].values.tolist() == [1.0]


def test_nan_and_infinite_cells_are_missing_and_counted_from_the_first_row(write: Write) -> None:
    recording = read_recording(write("time_s,scl_uS,hr_bpm\n0,1,70\n1,nan,71\n2,-inf,72\n3,2,73\n"))
    column = recording.columns["scl_uS"]
    assert np.isnan(column.values[1:3]).all() and column.text(1) == ""
    assert len(recording.warnings) == 1
    assert "2 NaN or infinite cells in scl_uS, first in row 3" in recording.warnings[0]


def test_chunks_join_to_the_whole_and_the_warnings_add_up(write: Write) -> None:
    path = write("time_s,scl_uS\n" + "".join(f"{i},{'nan' if i % 7 == 3 else i * 0.5}\n" for i in range(50)))
    chunks, whole = list(read_chunks(path, rows=8)), read_recording(path)
    assert [len(c) for c in chunks] == [8] * 6 + [2]
    assert np.array_equal(np.concatenate([c.times_s for c in chunks]), whole.times_s)
    assert sum(c.odd["scl_uS"][0] for c in chunks if c.odd) == 7
    assert "7 NaN or infinite cells in scl_uS, first in row 5" in whole.warnings[0]


def test_a_second_column_of_a_channel_is_skipped(write: Write) -> None:
    recording = read_recording(write("time_s,scl_uS,eda_uS\n0,1,2\n"))
    assert list(recording.columns) == ["scl_uS"] and recording.skipped == ("eda_uS",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "an empty file"),
        ("scl_uS,time_s\n1,0\n", "whose first column is time_s, got scl_uS"),
        ("time_s;scl_uS\n0;1\n", "whose first column is time_s"),
        ("time_s,stim,mood\n0,1,2\n", "expected a column of a known signal, got stim, mood; nothing to play. Known"),
        ("time_s,scl_uS,scl_uS\n0,1,2\n", "every column name once, got scl_uS twice"),
        ("time_s,scl_uS\n", "expected rows of readings"),
        ("time_s,scl_uS\n0,1\n1,2,3\n", "expected 2 fields in row 3, got 3"),
        ("time_s,scl_uS\n0,1\n1\n", "expected 2 fields in row 3, got 1"),
        ("time_s,scl_uS\n0,1\n1,high\n", "expected a number in scl_uS, row 3, got 'high'"),
        ("time_s,scl_uS\n0,1\n1,1_0\n", "expected a number in scl_uS, row 3"),
        ("time_s,scl_uS\n0,1\n,2\n", "expected a finite time_s in every row, got '' in row 3"),
        ("time_s,scl_uS\n0,1\nnan,2\n", "expected a finite time_s in every row, got 'nan' in row 3"),
        ("time_s,scl_uS\n0,1\n1,2\n1,3\n", "to increase from row to row, got 1 after 1 in row 4"),
        ("time_s,scl_uS\n5,1\n6,2\n0,3\n", "got 0 after 6 in row 4; a file with several runs must be split"),
        ("time_s,scl_uS\n0," + "9" * 100_000, "lines below"),
    ],
)
def test_what_is_no_recording_is_refused_with_what_was_expected(write: Write, text: str, said: str) -> None:
    with pytest.raises(RecordingError) as refusal:
        read_recording(write(text))
    assert said in str(refusal.value)


def test_the_order_of_time_is_checked_across_chunks(write: Write) -> None:
    with pytest.raises(RecordingError, match="got 3 after 7 in row 10"):
        list(read_chunks(write("time_s,scl_uS\n" + "".join(f"{i},1\n" for i in range(8)) + "3,1\n"), rows=4))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\xff\xfe", "bytes that are no text"),
        (gzip.compress(b"time_s,scl_uS\n" + b"0,1\n" * 99, mtime=0)[:-12], "damaged one"),
        (b"\x1f\x8bnot really", "damaged one"),
        (b"time_s,scl_uS\n0,1\n\xff\xfe,2\n", "bytes that are no text"),
    ],
)
def test_bytes_that_are_no_csv_are_refused(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "x.csv.gz").write_bytes(data)
    with pytest.raises(RecordingError, match=said):
        read_recording(tmp_path / "x.csv.gz")


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="expected a readable file, got No such file"):
        read_recording(tmp_path / "none.csv")


def test_recordings_beside_the_project_are_read_or_refused_for_a_reason(shared: Callable[[str], Path]) -> None:
    files = sorted(shared("data").glob("*/*.csv.gz"))[::4]
    read = []
    for file in files:
        try:
            read.append(read_recording(file))
        except RecordingError as refusal:
            assert "a known signal" in str(refusal) or "several runs" in str(refusal)
    assert len(files) > 20 and len(read) > 15


def test_streaming_a_long_file_needs_little_memory(tmp_path: Path) -> None:
    names = "time_s,scl_uS,hr_bpm,spo2_pct,resp_rpm,skin_temp_C,acc_x_g,acc_y_g,acc_z_g"
    with gzip.open(tmp_path / "long.csv.gz", "wt") as file:
        file.write(names + "\n")
        file.writelines(f"{i / 100:.2f}" + ",0.123456" * 8 + "\n" for i in range(300_000))
    script = (
        "import resource, sys; from device.recording import read_chunks\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "rows = sum(len(c) for c in read_chunks(sys.argv[1]))\n"
        "print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "long.csv.gz")]
    rows, kib = map(int, subprocess.run(command, capture_output=True, check=True, text=True).stdout.split())
    assert rows == 300_000
    assert kib < 40 * 1024, f"{kib} KiB; page size {resource.getpagesize()}"
