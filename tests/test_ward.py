"""The ward's rows: what one patient's row says, who comes first, and that only what changed travels."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fake_ward import FakeWard
from twin_engine.registry import PatientCard
from web.board import Board
from web.viewer import Viewer
from web.ward import Row, Spark, changes, device_state, need, summary, top_alarm, vitals_of, worst

CARD = PatientCard("p-1", "HERON-82", 1939, "Bed 5", "esp32-001", number="619501")


def channel(word: str = "measured", confidence: float = 1.0, **more: Any) -> dict[str, Any]:
    return {"kind": "level", "region": "chest", "provenance": word, "confidence": confidence, "value": 1.23456} | more


def alarm(priority: int, since_s: float = 1.0, acked_by: str = "") -> dict[str, Any]:
    return {"id": f"a{priority}-{since_s}", "priority": priority, "since_s": since_s, "acked_by": acked_by, "text": ""}


def status(channels: dict[str, Any], **more: Any) -> dict[str, Any]:
    devices = {"esp32-001": {"source": "sensor", "last_frame_s": 99.0, "unplugged": []}}
    return {"t": 100.0, "devices": devices, "channels": channels, "alarms": [], "audio": {}} | more


def row(alarms: list[dict[str, Any]] | None = None, silent: Any = None, **channels: Any) -> Row:
    said = status(channels or {"hr_bpm": channel()}, alarms=alarms or [])
    return summary(CARD, said, silent, Spark())


def test_heart_oxygen_and_breath_come_first_then_one_of_each_other_signal_and_never_a_wave() -> None:
    channels = {
        "room_temp_C": channel(region="room"), "gsr_uS": channel(), "emg_activity_mV.corr": channel(),
        "emg_activity_mV.zyg": channel(), "resp_rpm": channel(), "hr_bpm": channel(), "ecg_mV.ii": channel(kind="wave"),
    }  # fmt: skip
    assert vitals_of(channels) == ["hr_bpm", "resp_rpm", "emg_activity_mV.corr", "gsr_uS"]
    few = {"room_temp_C": channel(region="room"), "emg_raw_mV.zyg": channel(kind="wave"), "gsr_uS": channel()}
    assert vitals_of(few) == ["gsr_uS", "room_temp_C"]


def test_the_worst_confidence_is_that_of_the_bodys_channels_and_never_the_rooms() -> None:
    channels = {"hr_bpm": channel(), "spo2_pct": channel("synthesised", 0.44), "gsr_uS": channel("synthesised", 0.86)}
    assert worst(channels | {"room_temp_C": channel("withheld", 0.0, region="room")}) == [
        "synthesised",
        0.44,
        "spo2_pct",
    ]
    assert worst(channels | {"resp_rpm": channel("withheld", 0.9)}) == ["withheld", 0.0, "resp_rpm"]
    assert worst({"hr_bpm": channel("none")}) == ["none", 0, ""]


def test_a_withheld_value_never_leaves_the_server() -> None:
    assert row(hr_bpm=channel("withheld", 0.1, value=72.0))["v"] == [[None, 4, 0]]
    assert row(hr_bpm=channel("synthesised", 0.713))["v"] == [[1.235, 1, 71]]


def test_an_acknowledged_alarm_of_high_priority_stands_behind_one_that_nobody_has_seen() -> None:
    top = top_alarm([alarm(3, 5.0, "clinician"), alarm(1, 1.0), alarm(2, 2.0)])
    assert top is not None
    assert (top["priority"], top["fresh"], top["all"]) == (2, 2, 3)
    assert top_alarm([]) is None


def test_need_follows_alarms_then_silence_then_confidence() -> None:
    silent = {"since": 5.0, "why": ""}
    ordered = [
        row([alarm(3)]),
        row([alarm(2)]),
        row([alarm(1)], silent),
        row(silent=silent),
        row([alarm(3, acked_by="clinician")]),
        row(hr_bpm=channel("withheld", 0.0)),
        row(hr_bpm=channel("synthesised", 0.4)),
        row(hr_bpm=channel("synthesised", 0.8)),
        row(),
    ]
    needs = [need(r) for r in ordered]
    assert needs == sorted(needs, reverse=True) and len(set(needs)) == len(needs)


def test_who_is_not_measured_is_never_called_calm() -> None:
    quiet = {"esp32-001": {"source": "sensor", "last_frame_s": 20.0, "unplugged": []}}
    never = {"esp32-001": {"source": "", "last_frame_s": 0.0, "unplugged": []}}
    silence = need(row(silent={"since": 5.0, "why": ""}))
    acked = [alarm(3, acked_by="clinician")]
    for said in (
        status({}, devices=never),
        status({}, devices={}),
        status({"hr_bpm": channel()}, devices=quiet),
        status({"hr_bpm": channel("none")}),
        status({"room_temp_C": channel(region="room")}),
        status({}, devices=never, alarms=acked),
    ):
        assert need(summary(CARD, said, None, Spark())) == silence, said
    bare = PatientCard("p-2", "X", 0, "Bed 6")
    assert need(summary(bare, status({}, devices={}), None, Spark())) == silence
    assert need(row()) < silence


def test_a_row_does_not_jump_while_its_confidence_wavers_at_a_categorys_edge() -> None:
    before = need(row(hr_bpm=channel("synthesised", 0.52)))
    wavering = [need(row(hr_bpm=channel("synthesised", c)), before) for c in (0.49, 0.51, 0.46, 0.53)]
    assert set(wavering) == {before}
    assert need(row(hr_bpm=channel("synthesised", 0.40)), before) > before


def test_a_device_is_quiet_after_three_frames_that_did_not_come() -> None:
    device = {"d": {"last_frame_s": 70.0, "unplugged": ["hr_bpm"]}}
    assert device_state(CARD, status({}, devices=device, frame_interval_s=2.0)) == ["quiet", 1]
    assert device_state(CARD, status({}, devices=device, frame_interval_s=20.0)) == ["unplugged", 1]
    assert device_state(PatientCard("p", "X", 0, "b"), status({}, devices={})) == ["none", 0]
    assert device_state(CARD, {}) == ["unknown", 0]


def test_only_what_changed_travels_and_points_once() -> None:
    spark, first = Spark(), status({"hr_bpm": channel(value=70.0)})
    spark.add(first)
    old = summary(CARD, first, None, spark)
    later = status({"hr_bpm": channel(value=71.0)}, t=101.0)
    spark.add(later)
    spark.add(later | {"t": 101.25})  # too early for another point
    new = summary(CARD, later, None, spark)
    assert changes(old, new) == {"v": [[71.0, 0]], "points": [(101.0, 71.0, 0)]}
    assert changes(new, new) == {} and changes(None, new) == new


def test_a_trace_goes_on_when_the_engines_clock_was_set_back() -> None:
    spark, first = Spark(), status({"hr_bpm": channel(value=70.0)}, t=90_000.0)
    spark.add(first)
    old = summary(CARD, first, None, spark)
    spark.add(later := status({"hr_bpm": channel(value=71.0)}, t=101.0))
    new = summary(CARD, later, None, spark)
    assert changes(old, new)["points"] == new["points"] == [(101.0, 71.0, 0)]


def test_a_trace_that_changes_its_channel_begins_anew() -> None:
    spark = Spark()
    spark.add(status({"gsr_uS": channel()}))
    spark.add(status({"gsr_uS": channel(), "hr_bpm": channel(value=60.0)}, t=101.0))
    assert (spark.channel, list(spark.points)) == ("hr_bpm", [(101.0, 60.0, 0)])


class Line:
    """A socket that keeps what it is sent; `confirm` reads the oldest message that is on its way."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.out: list[Any] = []

    def send(self, _sid: str, event: str, data: Any, confirmed: Any) -> None:
        self.heard.append((event, data))
        self.out.append(confirmed)

    def confirm_all(self) -> None:
        while self.out:
            self.out.pop(0)()


def test_a_viewer_who_is_behind_is_given_the_whole_ward_once_it_has_caught_up() -> None:
    line = Line()
    board = Board(line.send, window=4)
    board.publish({"p-1": row()}, 100.0)
    board.join("s1", lambda _: True)
    for k in range(6):
        board.publish({"p-1": row(hr_bpm=channel(value=float(k)))}, 101.0 + k)
    assert [event for event, _ in line.heard] == ["hello", "ward", "ward", "ward"]
    line.confirm_all()
    event, data = line.heard[-1]
    assert (event, data["all"], data["rows"]["p-1"]["v"]) == ("ward", True, [[5.0, 0]])
    assert isinstance(board.viewers[0], Viewer)


def test_who_left_the_ward_is_named_once() -> None:
    line = Line()
    board = Board(line.send, window=40)
    board.join("s1", lambda _: True)
    board.publish({"p-1": row(), "p-2": row()}, 100.0)
    board.publish({"p-2": row()}, 101.0)
    board.publish({"p-2": row()}, 102.0)
    assert [data["gone"] for event, data in line.heard if event == "ward"] == [[], ["p-1"], []]


def test_a_ward_of_which_nothing_is_known_yet_is_not_called_empty() -> None:
    line = Line()
    board = Board(line.send, window=40)
    board.join("s1", lambda _: True)
    board.renew("s1")
    assert [event for event, _ in line.heard] == ["hello"]
    board.publish({"p-1": row()}, 100.0)
    board.publish({"p-1": row()}, 101.0)
    told = [(data["all"], list(data["rows"])) for event, data in line.heard if event == "ward"]
    assert told == [(True, ["p-1"]), (False, [])]


def test_a_second_of_a_hundred_patients_costs_less_than_400_bytes_each() -> None:
    feed = FakeWard(100)
    sparks = {card.id: Spark() for card in feed.patients()}
    rows = {}
    sizes = []
    for _ in range(2):
        for card in feed.patients():
            newest = feed.recent(card.id, 90)[-1].status
            assert newest is not None
            sparks[card.id].add(newest)
            new = summary(card, newest, None, sparks[card.id])
            sizes.append(len(json.dumps(changes(rows.get(card.id), new), separators=(",", ":"))))
            rows[card.id] = new
        time.sleep(2.1)
    assert max(sizes[100:]) < 400, max(sizes[100:])


def test_the_pure_parts_of_the_wards_page_do_what_they_say() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node to run the ward's JavaScript")
    suite = Path(__file__).with_name("ward_logic.mjs")
    done = subprocess.run([node, "--test", str(suite)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
