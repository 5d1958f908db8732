"""The spool loses nothing that was put, frees nothing untold, and survives kills, torn writes and damage."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.spool import Spool, SpoolError, StoredSession

SID, OTHER = b"session1", b"session2"


def body(seq: int, size: int = 100) -> bytes:
    return seq.to_bytes(4, "big") * (size // 4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "device" / "spool.sqlite"


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    spool = Spool(path)
    yield spool
    spool.close()


def held(spool: Spool, lane: int = 0) -> list[tuple[int, bytes]]:
    """(seq, body) of all that waits, in the order in which it would be sent."""
    out, after = [], 0
    while (envelope := spool.next(lane, after)) is not None:
        out.append((envelope.seq, envelope.body))
        after = envelope.id
    return out


def test_what_was_put_comes_back_byte_for_byte_after_a_restart(path: Path) -> None:
    spool = Spool(path)
    spool.add_session(StoredSession(SID, 0, b"open", b"keys"))
    for seq in range(5):
        spool.put(0, SID, seq, body(seq), 7)
    spool.close()
    again = Spool(path)
    assert held(again) == [(seq, body(seq)) for seq in range(5)]
    assert (again.count, again.size) == (5, 500)
    assert again.sessions() == [StoredSession(SID, 0, b"open", b"keys")]
    again.close()


def test_only_receipted_numbers_of_that_session_are_freed(spool: Spool) -> None:
    for sid in (SID, OTHER):
        for seq in range(10):
            spool.put(0, sid, seq, body(seq), 1)
    assert len(spool.free(SID, 3, ((6, 7),))) == 6
    assert [seq for seq, _ in held(spool)] == [4, 5, 8, 9, *range(10)]
    assert spool.free(SID, -1, ()) == [] and spool.count == 14
    assert spool.free(SID, 3, ((6, 7),)) == []


def test_lanes_are_read_apart(spool: Spool) -> None:
    spool.put(0, SID, 0, body(0), 1)
    spool.put(1, OTHER, 0, body(9), 1)
    assert held(spool, lane=0) == [(0, body(0))] and held(spool, lane=1) == [(0, body(9))]


def test_a_full_spool_drops_the_oldest_and_counts_them_for_good(path: Path) -> None:
    spool = Spool(path, max_bytes=1000)
    for seq in range(15):
        spool.put(0, SID, seq, body(seq), 3)
    assert [seq for seq, _ in held(spool)] == list(range(5, 15))
    assert spool.dropped == (5, 15) and spool.size == 1000
    spool.close()
    again = Spool(path, max_bytes=1000)
    assert again.dropped == (5, 15)
    again.close()


def test_a_session_is_forgotten_with_its_last_envelope_but_not_while_it_is_sealed_in(spool: Spool) -> None:
    for sid in (SID, OTHER):
        spool.add_session(StoredSession(sid, 0, b"o", b"k"))
    spool.put(0, SID, 0, body(0), 1)
    assert spool.forget_empty_sessions([OTHER]) == []
    spool.free(SID, 0, ())
    assert spool.forget_empty_sessions([OTHER]) == [SID]
    assert [s.sid for s in spool.sessions()] == [OTHER]


def test_the_boot_epoch_only_grows_even_when_the_clock_is_set_back_or_the_disk_is_lost(path: Path) -> None:
    spool = Spool(path)
    assert spool.next_epoch(1_700_000_000_000) == 1_700_000_000
    assert spool.next_epoch(1_600_000_000_000) == 1_700_000_001
    spool.close()
    again = Spool(path)
    assert again.next_epoch(0) == 1_700_000_002
    again.close()
    shutil.rmtree(path.parent)
    new = Spool(path)
    assert new.next_epoch(1_700_000_060_000) > 1_700_000_002
    new.close()


def test_the_file_is_nobody_else_s_to_read(path: Path, spool: Spool) -> None:
    spool.put(0, SID, 0, body(0), 1)
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_a_second_process_is_refused(path: Path, spool: Spool) -> None:
    with pytest.raises(SpoolError, match="that nobody else uses"):
        Spool(path)


def test_a_damaged_file_is_set_aside_and_a_new_spool_begins(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this is no database" * 500)
    spool = Spool(path)
    assert spool.damaged is not None and spool.damaged.read_bytes().startswith(b"this is no")
    spool.put(0, SID, 0, body(0), 1)
    assert held(spool) == [(0, body(0))]
    spool.close()


def test_a_torn_last_write_costs_only_that_write(path: Path, tmp_path: Path) -> None:
    spool = Spool(path)
    for seq in range(20):
        spool.put(0, SID, seq, body(seq, 3000), 1)
    wal = path.with_name(path.name + "-wal")
    before = wal.stat().st_size
    spool.put(0, SID, 20, body(20, 3000), 1)
    after = wal.stat().st_size
    for torn_at in (before, before + 1, (before + after) // 2, after - 1):
        copy = tmp_path / f"torn-{torn_at}" / path.name
        copy.parent.mkdir()
        shutil.copy(path, copy)
        copy.with_name(wal.name).write_bytes(wal.read_bytes()[:torn_at])
        recovered = Spool(copy)
        assert recovered.damaged is None
        assert held(recovered) == [(seq, body(seq, 3000)) for seq in range(20)]
        recovered.close()
    spool.close()


_PUTTER = """
import sys
from pathlib import Path
from device.spool import Spool
spool = Spool(Path(sys.argv[1]))
start = int(sys.argv[2])
for seq in range(start, start + 100_000):
    spool.put(0, b"session1", seq, seq.to_bytes(4, "big") * 250, 1)
    print(seq, flush=True)
    if seq % 10 == 9:
        spool.free(b"session1", seq - 40, ())
"""


def test_kill_9_at_any_moment_loses_nothing_that_was_put(path: Path) -> None:
    expected = 0
    for round_number in range(6):
        putter = subprocess.Popen(
            [sys.executable, "-c", _PUTTER, str(path), str(expected)], stdout=subprocess.PIPE, text=True
        )
        assert putter.stdout is not None
        putter.stdout.readline()
        time.sleep(0.05 + 0.037 * round_number)
        os.kill(putter.pid, signal.SIGKILL)
        said = [int(line) for line in putter.stdout.read().split()]
        putter.wait()
        spool = Spool(path)
        assert spool.damaged is None
        envelopes = held(spool)
        spool.close()
        numbers = [seq for seq, _ in envelopes]
        assert all(text == body(seq, 1000) for seq, text in envelopes)
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert numbers[-1] >= (said[-1] if said else 0)
        expected = numbers[-1] + 1
