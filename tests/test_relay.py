"""From the twin stream to real sockets: what a viewer gets, and a slow one, and all when nothing comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pytest
import websocket

from tests.fake_feed import FakeFeed
from tests.fake_ward import FakeWard
from tests.socket_viewer import Viewer
from tests.web_kit import serving, wait_until
from twin_engine.messages import REVISED, FrameKind, Provenance, Samples, decode_wire, encode_wire
from twin_engine.store.feed import Entry
from web.board import Board
from web.history import History
from web.relay import Relay
from web.settings import WebSettings

HOST = "127.0.1.72"
PORTS = iter(range(8501, 8600))


class Web(NamedTuple):
    """A running web process on a fake feed."""

    feed: FakeFeed
    relay: Relay
    sent: list[tuple[Entry, int]]
    url: str


@contextmanager
def running(feed: FakeFeed | None = None, **changes: Any) -> Iterator[Web]:
    feed = feed or FakeFeed()
    settings = WebSettings(host=HOST, port=next(PORTS), **{"block_ms": 100, "silent_after_s": 1.5, **changes})
    sent = list[tuple[Entry, int]]()
    with serving(feed, settings, lambda entry, now_ms: sent.append((entry, now_ms))) as relay:
        wait_until(lambda: relay.ready)
        yield Web(feed, relay, sent, f"http://{HOST}:{settings.port}")


# ---------------------------------------------------------------------------------------------------- viewers


def test_a_new_viewer_is_given_the_whole_picture_and_then_live_frames() -> None:
    with running() as web, Viewer(web.url) as viewer:
        card = viewer.until("hello")["card"]
        assert (card["pseudonym"], card["id"]) == (web.feed.card.pseudonym, web.feed.card.id)
        kind, _, blocks = decode_wire(viewer.until("snapshot"))
        past = {s.channel for s in blocks}
        assert kind is FrameKind.SNAPSHOT and {"gsr_uS", "emg_activity_mV.zyg", "room_temp_C"} <= past
        gsr = np.concatenate([s.times_us for s in blocks if s.channel == "gsr_uS"])
        assert np.diff(gsr).max() < 11_000 and (gsr[-1] - gsr[0]) / 1e6 > 20
        assert viewer.until("status")["channels"]["gsr_uS"]["provenance"] == "measured"
        assert isinstance(viewer.until("events"), list)
        kind, clock_s, live = decode_wire(viewer.until("frame"))
        assert kind is FrameKind.LIVE and abs(clock_s - time.time()) < 2 and live[0].times_us[-1] > gsr[-1]


def test_the_banner_says_nothing_that_would_name_the_patient() -> None:
    with running() as web, Viewer(web.url) as viewer:
        card = viewer.until("hello")["card"]
        assert set(card) == {
            "id", "pseudonym", "number", "birth_year", "bed", "sex", "height_cm", "weight_kg", "discharged_ms",
            "limits",
        }  # fmt: skip


def test_a_viewer_learns_at_once_where_the_patient_was_moved_to() -> None:
    with running() as web, Viewer(web.url) as viewer:
        viewer.until("hello")
        web.feed.act(web.feed.card.id, "transfer", {"bed": "Bed 31"}, "somebody")
        assert viewer.until("card", timeout_s=5)["card"]["bed"] == "Bed 31"


def test_a_patient_who_comes_gets_a_room_and_one_who_leaves_is_never_called_silent() -> None:
    with running(FakeWard(3), silent_after_s=2.0) as web:
        web.feed.act("p-new", "admit", {"pseudonym": "STORK-11", "bed": "Bed 99"}, "somebody")
        web.feed.act("p-0001", "discharge", {}, "somebody")
        wait_until(lambda: web.relay.card("p-new") is not None)
        wait_until(lambda: web.relay.card("p-0001").present is False)
        with Viewer(web.url, patient="p-0001") as viewer, Viewer(web.url, patient="p-new") as other:
            other.until("status")
            viewer.until("events")
            time.sleep(3)
            assert "silent" not in viewer.names


def test_events_and_revisions_reach_a_viewer_as_they_happen() -> None:
    with running() as web, Viewer(web.url) as viewer:
        told = {"device": "sim-01", "name": "sensor", "payload": {"signal": "gsr", "connected": False}}
        web.feed.act(web.feed.card.id, "command", told, "somebody")
        assert viewer.until("event", lambda e: e["kind"] == "command")["severity"] == "info"
        assert viewer.until("event", lambda e: e["kind"] == "gap-opened")["channel"] == "gsr_uS"
        web.feed.unplugged.clear()
        kind, _, (revised, *_) = decode_wire(viewer.until("revision"))
        assert kind is FrameKind.REVISION and revised.channel == "gsr_uS" and (revised.provenance & REVISED).all()


@pytest.mark.parametrize("patient", ["somebody-else", ""])
def test_a_patient_that_is_not_there_or_not_named_is_refused(patient: str) -> None:
    with running() as web, Viewer(web.url, patient=patient) as viewer:
        assert viewer.closed.wait(5)
        assert viewer.heard.empty()


def test_a_socket_from_another_page_is_refused() -> None:
    with running() as web:
        address = f"{web.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket"
        for origin in ("http://evil.example", "null", web.url.replace("http", "https")):
            with pytest.raises(websocket.WebSocketBadStatusException):
                websocket.create_connection(address, origin=origin)
        websocket.create_connection(address, origin=web.url).close()


def test_every_entry_is_reported_once_with_the_time_at_which_it_was_handed_on() -> None:
    with running() as web, Viewer(web.url) as viewer:
        viewer.until("frame")
        viewer.until("frame")
        ids = [entry.id for entry, _ in web.sent]
        assert len(ids) == len(set(ids)) > 4
        late_ms = [now_ms - entry.frame_ms for entry, now_ms in web.sent if entry.frame_ms]
        assert late_ms and max(late_ms) < 1500


def test_a_viewer_that_leaves_is_forgotten() -> None:
    with running() as web:
        with Viewer(web.url) as viewer:
            viewer.until("hello")
            assert len(web.relay.viewers(web.feed.card.id)) == 1
        wait_until(lambda: not web.relay.viewers(web.feed.card.id))


# --------------------------------------------------------------------------------------------- a slow viewer


def test_a_viewer_that_confirms_nothing_is_sent_a_bounded_amount_and_then_the_newest() -> None:
    with running(window=6) as web:
        slow = Viewer(web.url, confirms=False)
        time.sleep(4.0)
        (line,) = web.relay.viewers(web.feed.card.id)
        assert line.unconfirmed <= 6 and len(slow.names) <= 6
        assert line.dropped_total > 5
        before = len(slow.names)
        slow.confirm()
        assert slow.until("dropped")["count"] == line.dropped_total
        slow.until("snapshot")
        assert slow.names[before : before + 2] == ["dropped", "snapshot"]
        slow.close()


def test_a_slow_viewer_learns_that_a_silence_is_over() -> None:
    with running(window=4) as web:
        slow = Viewer(web.url)
        slow.until("status")
        web.feed.frozen = True
        while slow.until("silent")["since"] is None:
            pass  # of the beginning: a busy machine was slow to speak
        slow._confirms = False
        (line,) = web.relay.viewers(web.feed.card.id)
        with line._lock:
            line._dropped += 1  # it was behind at the moment at which the word came that all is well
            line._out += 1
        web.feed.thaw()
        wait_until(lambda: line.dropped_total > 3)
        line._confirmed()
        slow.confirm()
        slow.until("dropped")
        assert slow.until("silent")["since"] is None
        slow.close()


@pytest.mark.alone
def test_a_slow_viewer_does_not_hold_up_a_quick_one() -> None:
    with running(window=4) as web, Viewer(web.url) as quick:
        slow = Viewer(web.url, confirms=False)
        stamps = [quick.until("status")["t"] for _ in range(8)]
        assert max(np.diff(stamps)) < 0.6 and time.time() - stamps[-1] < 1.0
        slow.close()


# ------------------------------------------------------------------------------------------ when nothing comes


def test_viewers_are_told_since_when_the_engine_is_silent_and_when_it_is_back() -> None:
    with running() as web, Viewer(web.url) as viewer:
        viewer.until("status")
        web.feed.frozen = True
        silent = viewer.until("silent")
        assert abs(silent["since"] - time.time()) < 3
        with Viewer(web.url) as late:
            assert late.until("silent")["since"] == silent["since"]
        web.feed.thaw()
        assert viewer.until("silent")["since"] is None
        viewer.until("frame")


def test_a_store_that_is_down_is_asked_again_and_nothing_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    with running(patience_s=0.5) as web, Viewer(web.url) as viewer:
        stamps = [viewer.until("status")["t"]]
        web.feed.down = True
        while (heard := viewer.heard.get(timeout=10))[0] != "silent":
            stamps += [heard[1]["t"]] if heard[0] == "status" else []
        assert heard[1]["why"] == "the record store can't be reached"
        web.feed.down = False
        while stamps[-1] < time.time() - 0.5:
            stamps.append(viewer.until("status")["t"])
        assert np.allclose(np.diff(stamps), 0.25)
    assert any("can't be read, next attempt" in record.message for record in caplog.records)


def test_the_ward_is_told_every_second_however_long_the_store_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.relay.FIRST_PATIENCE_S", 5.0)
    feed = FakeFeed()
    feed.down = True
    told = list[float]()
    board = Board(lambda sid, event, data, done: told.append(time.monotonic()) if event == "ward" else None, 99)
    board.join("viewer", lambda _: True)
    relay = Relay(feed, lambda *_: None, WebSettings(), board=board)
    relay.start()
    try:
        wait_until(lambda: len(told) >= 4, timeout_s=4.5)
    finally:
        relay.stop()
    assert max(np.diff(told[1:])) < 2.0, "a ward's page says that it is cut off after four seconds"


def test_a_web_that_starts_before_its_store_serves_once_the_store_is_there() -> None:
    feed = FakeFeed()
    feed.down = True
    threading.Timer(1.0, lambda: setattr(feed, "down", False)).start()
    with running(feed, patience_s=0.5) as web, Viewer(web.url) as viewer:
        viewer.until("hello")
        viewer.until("frame")


def test_entries_that_are_no_wire_messages_do_not_stop_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    class Spoilt(FakeFeed):
        def follow(self, last: dict[str, str], block_ms: int) -> list[tuple[str, Entry]]:
            good = super().follow(last, block_ms)
            return [(p, Entry(e.id, b"\x00rubbish" if e.frame else b"", b"", e.status, e.events)) for p, e in good]

    with running(Spoilt()) as web, Viewer(web.url) as viewer:
        viewer.until("frame")
        viewer.until("status")
    assert any("no wire message" in record.message for record in caplog.records)


# ------------------------------------------------------------------------------------------------- the snapshot


def made(t0_s: float, values: list[float], kind: int, channel: str = "gsr_uS") -> Samples:
    v = np.array(values)
    times = (t0_s * 1e6 + np.arange(len(v)) * 250_000).astype(np.int64)
    return Samples(channel, times, v, v - 1, v + 1, np.full(len(v), 0.8), np.full(len(v), kind, np.uint8))


def test_a_snapshot_has_revisions_in_place_of_what_was_shown() -> None:
    history = History(60)
    live = encode_wire(FrameKind.LIVE, 1002.0, [made(1000, [1, 2, 3, 4], Provenance.SYNTHESISED)])
    revision = encode_wire(FrameKind.REVISION, 1003.0, [made(1000.25, [20, 30], Provenance.MEASURED | REVISED)])
    history.add(Entry("1-0", live))
    history.add(Entry("2-0", b"", revision))
    _, _, (joined,) = decode_wire(history.snapshot())
    assert joined.values.tolist() == [1, 20, 30, 4]
    assert (joined.provenance & REVISED).astype(bool).tolist() == [False, True, True, False]


def test_a_snapshot_reaches_back_no_further_than_it_promises() -> None:
    history = History(10)
    for k in range(100):
        history.add(Entry(f"{k}-0", encode_wire(FrameKind.LIVE, 1000.0 + k, [made(1000 + k, [k], 0)])))
    _, clock_s, blocks = decode_wire(history.snapshot())
    assert clock_s == 1099.0
    assert min(s.times_us[0] for s in blocks) >= 1089e6


def test_a_snapshot_after_the_engines_clock_was_set_back_holds_nothing_of_the_future() -> None:
    history = History(60)
    for k in range(100):
        wire = encode_wire(FrameKind.LIVE, 90_000.0 + k, [made(90_000 + k, [k], 0)])
        history.add(Entry(f"{90_000_000 + k}-0", wire, b"", {"t": 90_000.0 + k}, [{"t": 90_000.0 + k, "kind": "x"}]))
    told = {"t": 1000.0, "kind": "clock-back"}
    history.add(Entry("1000000-0", encode_wire(FrameKind.LIVE, 1000.0, []), b"", {"t": 1000.0}, [told]))
    history.add(Entry("1001000-0", encode_wire(FrameKind.LIVE, 1001.0, [made(1000, [7], 0)]), b"", {"t": 1001.0}))
    _, clock_s, (samples,) = decode_wire(history.snapshot())
    assert (clock_s, samples.values.tolist(), list(history.events)) == (1001.0, [7], [told])


def test_a_web_clock_that_is_set_back_leaves_the_ward_told_and_silence_noticed() -> None:
    feed, clock = FakeFeed(), [time.time()]
    board = Board(lambda *_: None, 8)
    relay = Relay(feed, lambda *_: None, WebSettings(silent_after_s=3.0), clock=lambda: clock[0], board=board)
    relay._round()
    relay._asked = True  # as its thread notes after a round
    relay._tell_board()
    clock[0] -= 86_400
    relay._tell_board()
    assert board._now_s == clock[0]
    feed.frozen = True
    relay._notice_silence()
    assert relay._rooms[feed.card.id].silent is None
    clock[0] += 4
    relay._notice_silence()
    assert relay._rooms[feed.card.id].silent is not None


def test_a_time_that_was_sent_twice_is_in_the_snapshot_once_with_the_later_word() -> None:
    history = History(60)
    history.add(Entry("1-0", encode_wire(FrameKind.LIVE, 1001.0, [made(1000, [1, 2], 0)])))
    history.add(Entry("2-0", encode_wire(FrameKind.LIVE, 1002.0, [made(1000.25, [5, 6], 0)])))
    _, _, (joined,) = decode_wire(history.snapshot())
    assert joined.values.tolist() == [1, 5, 6]


def test_who_watches_a_patient_who_is_erased_sees_nothing_more_of_her() -> None:
    feed = FakeFeed()
    with running(feed, silent_after_s=60.0) as web, Viewer(web.url) as viewer:
        viewer.until("snapshot")
        name = feed.card.pseudonym
        feed.patients = list  # type: ignore[method-assign,assignment]  # the store knows her no more
        feed.frozen = True
        while True:
            card = viewer.until("card")["card"]
            if card["pseudonym"] != name:
                break
        assert card["pseudonym"] == "" and card["birth_year"] == 0
        assert decode_wire(viewer.until("snapshot"))[2] == [], "nothing of the last minute"
        assert viewer.until("events") == []
        assert "erased" in viewer.until("silent")["why"]
        assert viewer.until("over") == {"why": "erased"}
        assert web.relay.card(feed.card.id) is None and web.relay.viewers(feed.card.id) == []
