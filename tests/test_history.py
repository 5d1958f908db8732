"""The stored past: what was shown and what is best known, merged, thinned without lies, and read from a real Redis."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from security.keys import MasterKey
from twin_engine.messages import REVISED, FrameKind, Packed, Provenance, Samples, encode_wire, read_wire
from twin_engine.store import history, keys
from twin_engine.store.archive import Archive
from twin_engine.store.commit import Commit, TwinWrite
from twin_engine.store.connection import connect
from twin_engine.store.feed import Entry
from twin_engine.store.reader import RedisFeed
from twin_engine.store.shard import ShardStore
from twin_engine.store.thin import HOLE, thin
from twin_engine.store.vault import Vault

NOW_S = 1_800_000_000.0
MEASURED, MADE, HIDDEN = int(Provenance.MEASURED), int(Provenance.SYNTHESISED), int(Provenance.WITHHELD)


def made(t0_s: float, values: list[float], kind: int, step_s: float = 0.25, channel: str = "gsr_uS") -> Samples:
    n, v = len(values), np.array(values, np.float64)
    times = (round(t0_s * 1e6) + np.arange(n) * round(step_s * 1e6)).astype(np.int64)
    return Samples(channel, times, v, v, v, np.ones(n), np.full(n, kind, np.uint8))


def packed(*parts: Samples) -> Packed:
    _, _, blocks = read_wire(encode_wire(FrameKind.LIVE, 0.0, parts))
    return history.joined(blocks)


def entry(t_s: float, live: list[Samples] = [], revision: list[Samples] = [], events: list[Any] = []) -> Entry:  # noqa: B006
    frame = encode_wire(FrameKind.LIVE, t_s, live) if live else b""
    revised = encode_wire(FrameKind.REVISION, t_s, revision) if revision else b""
    return Entry(f"{round(t_s * 1000)}-0", frame, revised, {"devices": {"d": {"source": "sensor"}}}, events)


def archive_of(entries: list[Entry], room_bytes: int = 2**28) -> Archive:
    def read(patient: str, after: str, to_ms: int) -> list[Entry]:
        return [e for e in entries if int(after.split("-")[0]) < int(e.id.split("-")[0]) <= to_ms]

    return Archive(read, room_bytes)


def values(s: Packed) -> list[float]:
    return [float(v) for v in s.data["value"]]


def test_what_was_shown_is_the_first_word_and_what_is_known_the_last() -> None:
    first, again = packed(made(1000, [1, 2], MADE)), packed(made(1000.25, [5, 6], MADE))
    assert values(history.live([first, again])) == [1, 2, 6]
    assert values(history.best([first, again], [])) == [1, 5, 6]


def test_a_revision_replaces_all_between_its_ends_and_a_later_one_replaces_the_earlier() -> None:
    shown = packed(made(1000, [1, 2, 3, 4, 5, 6], MADE))
    mended = packed(made(1000.25, [20, 30, 40], MADE | REVISED))
    true = packed(made(1000.5, [300], MEASURED | REVISED))
    assert values(history.best([shown], [mended, true])) == [1, 20, 300, 40, 5, 6]
    assert values(history.best([shown], [true, mended])) == [1, 20, 30, 40, 5, 6]
    assert values(history.live([shown])) == [1, 2, 3, 4, 5, 6]


def test_true_readings_that_came_an_hour_later_are_in_the_best_view_and_never_in_the_live_one() -> None:
    past = NOW_S - 4000
    archive = archive_of([
        entry(past, [made(past - 2, [1, 1, 1, 1], MADE)]),
        entry(past + 3600, [], [made(past - 2, [7, 7, 7, 7], MEASURED | REVISED)]),
    ])  # fmt: skip
    live = archive.history("p", past - 10, past + 10, "live", NOW_S).samples["gsr_uS"]
    best = archive.history("p", past - 10, past + 10, "best", NOW_S).samples["gsr_uS"]
    assert values(live) == [1, 1, 1, 1]
    assert set(live.data["provenance"]) == {MADE}
    assert values(best) == [7, 7, 7, 7]
    assert set(best.data["provenance"]) == {MEASURED | REVISED}


def test_a_sample_belongs_to_its_own_time_though_it_was_written_a_minute_later() -> None:
    past = NOW_S - 1000
    archive = archive_of([entry(past + 61, [made(past, [1, 2], MEASURED)])])
    found = archive.history("p", past - 1, past + 1, "live", NOW_S)
    assert values(found.samples["gsr_uS"]) == [1, 2]
    assert archive.history("p", past + 30, past + 90, "live", NOW_S).samples == {}


def test_events_are_those_of_the_range_and_devices_those_that_spoke() -> None:
    told = [{"t": NOW_S - 100, "kind": "command"}, {"t": NOW_S - 50, "kind": "refused"}]
    archive = archive_of([entry(NOW_S - 100, events=told[:1]), entry(NOW_S - 50, events=told[1:])])
    past = archive.history("p", NOW_S - 60, NOW_S, "live", NOW_S)
    assert past.events == told[1:]
    assert past.devices == {"d": "sensor"}


def test_minutes_that_lie_in_the_future_since_the_clock_was_set_back_are_read_anew_when_they_come() -> None:
    entries = [entry(NOW_S + 86_400, [made(NOW_S + 86_399, [1], MEASURED)])]
    archive = archive_of(entries)
    span = ("p", NOW_S + 86_390, NOW_S + 86_410)
    assert values(archive.history(*span, "live", NOW_S + 86_600).samples["gsr_uS"]) == [1]
    assert archive.history("p", NOW_S - 10, NOW_S, "live", NOW_S).samples == {}
    entries[:] = [entry(NOW_S + 86_400, [made(NOW_S + 86_399, [2], MEASURED)])]
    assert values(archive.history(*span, "live", NOW_S + 86_600).samples["gsr_uS"]) == [2]


def test_a_minute_that_still_runs_is_read_on_and_what_was_read_is_not_read_again() -> None:
    entries = [entry(NOW_S - 3, [made(NOW_S - 4, [1], MEASURED)])]
    archive = archive_of(entries)
    assert values(archive.history("p", NOW_S - 9, NOW_S, "live", NOW_S).samples["gsr_uS"]) == [1]
    entries[:] = [entry(NOW_S - 1, [made(NOW_S - 2, [2], MEASURED)])]
    assert values(archive.history("p", NOW_S - 9, NOW_S, "live", NOW_S).samples["gsr_uS"]) == [1, 2]


def test_memory_is_bounded_and_what_was_forgotten_is_read_again() -> None:
    entries = [entry(NOW_S - k, [made(NOW_S - k - 1, [k, k], MEASURED)]) for k in range(900, 0, -1)]
    archive, roomy = archive_of(entries, room_bytes=4000), archive_of(entries)
    for start in (900, 600, 900, 300):
        span = ("p", NOW_S - start, NOW_S - start + 200)
        for view in ("live", "best"):
            found, want = (a.history(*span, view, NOW_S).samples["gsr_uS"] for a in (archive, roomy))  # type: ignore[arg-type]
            assert values(found) == values(want)
    assert sum(archive._heavy.values()) < 3 * 60 * 2 * 22 * 4


def test_a_minute_that_runs_beside_its_neighbour_tells_no_event_twice() -> None:
    """Two minutes that are not over are read on in one go, from the first one's last entry."""
    start = np.floor(NOW_S / 60) * 60
    now = start + 1.0  # the minute before is not settled, this one has begun
    early = [{"t": start - 0.5, "kind": "command"}, {"t": start + 0.2, "kind": "refused"}]
    entries = [entry(e["t"], [made(e["t"], [1.0], MEASURED)], [], [e]) for e in early]
    archive = archive_of(entries)
    for _ in range(4):
        past = archive.history("p", start - 5, now, "best", now)
        assert [e["kind"] for e in past.events] == ["command", "refused"]
    assert values(archive.history("p", start - 5, now, "live", now).samples["gsr_uS"]) == [1, 1]


def test_room_is_made_while_a_long_range_is_read_and_not_only_afterwards() -> None:
    entries = [entry(NOW_S - k, [made(NOW_S - k - 1, [k] * 4, MEASURED)]) for k in range(7200, 0, -1)]
    most = 0

    def read(patient: str, after: str, to_ms: int) -> Iterator[Entry]:
        nonlocal most
        for e in archive_entries(after, to_ms):
            yield e
            held = [len(s) for m in archive._minutes["p"].values() for parts in m.shown.values() for s in parts]
            most = max(most, sum(held))

    def archive_entries(after: str, to_ms: int) -> list[Entry]:
        return [e for e in entries if int(after.split("-")[0]) < int(e.id.split("-")[0]) <= to_ms]

    archive = Archive(read, room_bytes=22 * 4 * 60)
    found = archive.history("p", NOW_S - 7200, NOW_S - 300, "live", NOW_S, coarse=True)
    assert len(found.samples["gsr_uS"]) > 6000
    assert most < 10 * 60 * 4, "samples held at once; two hours are 28 800"
    whole = archive.history("p", NOW_S - 3600, NOW_S - 300, "live", NOW_S).samples["gsr_uS"]
    assert values(whole) == values(
        archive_of(entries).history("p", NOW_S - 3600, NOW_S - 300, "live", NOW_S).samples["gsr_uS"]
    )


def test_a_patient_who_is_being_read_loses_nothing_to_another_ones_reading() -> None:
    now = NOW_S + 40
    entries = [entry(now - k, [made(now - k - 0.9, [k], MEASURED)]) for k in range(30, 15, -1)]
    disturb = False

    def read(patient: str, after: str, to_ms: int) -> Iterator[Entry]:
        for e in [e for e in entries if int(after.split("-")[0]) < int(e.id.split("-")[0]) <= to_ms]:
            if disturb and patient == "a":
                other = threading.Thread(target=archive.history, args=("b", now - 20, now, "live", now))
                other.start()
                other.join(10)
                assert not other.is_alive()
            yield e

    archive = Archive(read, room_bytes=50)
    span = ("a", now - 29, now, "live", now)
    assert len(archive.history(*span).samples["gsr_uS"]) == 13  # type: ignore[arg-type]
    entries += [entry(now - k, [made(now - k - 0.9, [k], MEASURED)]) for k in range(15, 0, -1)]
    disturb = True
    assert values(archive.history(*span).samples["gsr_uS"]) == list(range(28, 0, -1))  # type: ignore[arg-type]


def test_history_older_than_the_store_keeps_is_empty_and_forgotten() -> None:
    old = NOW_S - keys.HISTORY_MS / 1000 - 600
    archive = archive_of([entry(old, [made(old, [1], MEASURED)])])
    assert archive.history("p", old, old + 10, "live", old + 20).samples["gsr_uS"]
    assert archive.history("p", old - 5, old + 10, "live", NOW_S).samples == {}
    assert not [m for m in archive._minutes["p"] if m * 60 < NOW_S - keys.HISTORY_MS / 1000 - 60]


def runs(s: Packed) -> list[tuple[int, int]]:
    """(kind, samples) of each run."""
    marks = s.data["provenance"].tolist()
    out: list[list[int]] = []
    for mark in marks:
        if out and out[-1][0] == mark:
            out[-1][1] += 1
        else:
            out.append([mark, 1])
    return [(kind, n) for kind, n in out]


def test_thinning_keeps_first_smallest_largest_and_last_of_each_slice() -> None:
    wild = np.sin(np.arange(4000) * 0.37) + np.arange(4000) % 7
    s = packed(made(NOW_S, wild.tolist(), MEASURED, 0.01))
    few = thin(s, 4_000_000)
    assert len(few) <= 11 * 4
    for start in np.unique(s.times_us // 4_000_000):
        whole, kept = (x.data["value"][x.times_us // 4_000_000 == start] for x in (s, few))
        assert (kept[0], kept[-1], kept.min(), kept.max()) == (whole[0], whole[-1], whole.min(), whole.max())


def test_thinning_never_mixes_what_was_measured_with_what_was_made_however_long_the_slice() -> None:
    s = packed(made(1000, [1.0] * 50, MEASURED), made(1012.5, [2.0] * 50, MADE), made(1025, [np.nan] * 50, HIDDEN),
               made(1037.5, [1.0] * 50, MEASURED))  # fmt: skip
    assert [kind for kind, _ in runs(thin(s, 3600_000_000))] == [MEASURED, MADE, HIDDEN, MEASURED]


def test_thinning_says_where_readings_are_missing_and_only_there() -> None:
    s = packed(made(1000, [1.0] * 40, MEASURED), made(1020, [1.0] * 40, MEASURED))
    for slice_us in (1, 1_000_000, 3600_000_000):
        few = thin(s, slice_us)
        holes = few.times_us[few.data["provenance"] == HOLE]
        assert len(holes) == 1
        assert 1009.75e6 < holes[0] < 1020e6
    assert not (thin(packed(made(1000, [1.0] * 400, MEASURED)), 1_000_000).data["provenance"] == HOLE).any()
    assert len(thin(s, 1)) == len(s) + 1


def test_a_channel_whose_estimate_has_another_rate_has_no_holes_between_the_two() -> None:
    s = packed(made(1000, [1.0] * 100, MEASURED, 0.01), made(1001.09, [2.0] * 20, MADE, 0.1))
    assert HOLE not in thin(s, 1).data["provenance"]


def coarse_holes(found: Packed) -> list[float]:
    return [float(t) / 1e6 for t in found.times_us[found.data["provenance"] == HOLE]]


def test_the_trace_for_long_ranges_marks_holes_within_and_between_minutes_until_they_are_filled() -> None:
    start = np.floor(NOW_S / 60) * 60 - 1200
    times = [t for t in np.arange(0, 600, 2.0) if not (100 <= t < 104 or 178 <= t < 183)]
    entries = [entry(start + t + 2, [made(start + t, [t] * 200, MEASURED, 0.01)]) for t in times]
    archive = archive_of(entries)
    span = ("p", start, start + 600, "live", NOW_S)
    found = archive.history(*span, coarse=True).samples["gsr_uS"]  # type: ignore[arg-type]
    assert [round(t - start) for t in coarse_holes(found)] == [100, 178]
    whole = archive.history(*span).samples["gsr_uS"]  # type: ignore[arg-type]
    assert len(found) < len(whole) / 20
    filled = [*entries, entry(start + 700, [], [made(start + 100, [9.0] * 400, MEASURED | REVISED, 0.01)])]
    best = archive_of(filled).history("p", start, start + 600, "best", NOW_S, coarse=True).samples["gsr_uS"]
    assert [round(t - start) for t in coarse_holes(best)] == [178]


# ------------------------------------------------------------------------------------------------- on a real Redis


@pytest.fixture
def store(redis_server: Any, tmp_path: Path) -> Iterator[tuple[ShardStore, RedisFeed]]:
    files, _ = redis_server
    master = MasterKey.load_or_create(tmp_path / "master.key")
    client = connect(files.login("engine"))
    vault = Vault(client, master)
    vault.create("p-1")
    shard = ShardStore(client, vault, keys.shard_of("p-1", 1))
    assert shard.acquire()
    web = connect(files.login("web"))
    yield shard, RedisFeed(web, Vault(web, master), 1)


def write(shard: ShardStore, n: int, live: list[Samples], revision: list[Samples], events: list[Any]) -> None:
    now = time.time()
    frame = encode_wire(FrameKind.LIVE, now, live) if live else b""
    revised = encode_wire(FrameKind.REVISION, now, revision) if revision else b""
    status = {"devices": {"dev": {"source": "recording"}}}
    shard.commit(Commit(f"{n}-0", n, twins=[TwinWrite("p-1", frame, revised, status, events, n, None)]))


@pytest.mark.redis
def test_the_web_reads_both_views_of_what_the_engine_committed(store: tuple[ShardStore, RedisFeed]) -> None:
    shard, feed = store
    t = time.time() - 5
    write(
        shard,
        1,
        [made(t, [1, 2, 3, 4], MADE), made(t, [9], MEASURED, channel="hr_bpm")],
        [],
        [{"t": t, "kind": "refused"}],
    )
    assert values(feed.history("p-1", t - 60, t + 60).samples["gsr_uS"]) == [1, 2, 3, 4]
    write(shard, 2, [made(t, [8, 8, 8, 8], MADE)], [made(t + 0.25, [20, 30], MEASURED | REVISED)], [])
    assert values(feed.history("p-1", t - 60, t + 60).samples["gsr_uS"]) == [1, 2, 3, 4]
    past = feed.history("p-1", t - 60, t + 60, "best")
    assert values(past.samples["gsr_uS"]) == [8, 20, 30, 8]
    assert values(past.samples["hr_bpm"]) == [9]
    assert [e["kind"] for e in past.events] == ["refused"]
    assert past.devices == {"dev": "recording"}


@pytest.mark.redis
def test_more_entries_than_one_read_brings_are_all_there_in_order(store: tuple[ShardStore, RedisFeed]) -> None:
    shard, feed = store
    t = time.time() - 30
    for n in range(1, 1203):
        write(shard, n, [made(t + n / 100, [n], MEASURED)], [], [])
    found = feed.history("p-1", t, t + 60).samples["gsr_uS"]
    assert values(found) == [float(n) for n in range(1, 1203)]
