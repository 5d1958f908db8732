"""The stored past over HTTP: what is asked must be clear and of the right patient; what is given out must be true."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from werkzeug.test import Client

from tests.past_feed import PastFeed, eventful, truth
from tests.web_kit import app_over
from twin_engine.messages import FrameKind, Packed, Provenance, read_wire
from twin_engine.store.errors import StoreDown
from twin_engine.store.history import joined
from twin_engine.store.thin import HOLE
from web.asked import MAX_WHOLE_S
from web.channels import tolerance_of
from web.compare import score
from web.settings import WebSettings

SETTINGS = WebSettings(host="127.0.1.76", port=8476, block_ms=50)
BASE = f"http://{SETTINGS.host}:{SETTINGS.port}"
EMG, GSR = "emg_activity_mV.zyg", "gsr_uS"


@pytest.fixture(scope="module")
def feed() -> PastFeed:
    return eventful()


@pytest.fixture(scope="module")
def client(feed: PastFeed) -> Iterator[Client]:
    with app_over(feed, SETTINGS) as app:
        yield app.server.test_client()


def get(client: Client, name: str, t0: float | str, t1: float | str, patient: str = "p-7f3a", **facts: Any) -> Any:
    query = {"from": t0, "to": t1, **facts}
    language = {"Accept-Language": str(query.pop("language", "en"))}
    return client.get(f"/data/{patient}/{name}", base_url=BASE, query_string=query, headers=language)


def samples(answer: Any) -> dict[str, Packed]:
    kind, _, blocks = read_wire(answer.data)
    assert kind == FrameKind.SNAPSHOT
    return {c: joined([b for b in blocks if b.channel == c]) for c in {b.channel for b in blocks}}


def rows_of(answer: Any) -> list[dict[str, str]]:
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    return list(csv.DictReader(io.StringIO("\n".join(lines))))


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"t0": "soon"}, "from="), ({"t1": "nan"}, "to="), ({"t0": "inf"}, "from="), ({"t0": "-5"}, "from="),
        ({"swap": True}, "from < to"), ({"t0": 1000.0, "t1": 1000.0 + 6 * 3600 + 1}, "at most 21600 s"),
        ({"points": "4001"}, "points="), ({"points": "-1"}, "points="), ({"points": "1e3"}, "points="),
        ({"view": "fancy"}, "view="), ({"zone": "../../etc/passwd"}, "time zone"), ({"zone": "Mars/X"}, "time zone"),
        ({"t0": 1000.0, "t1": 2000.0, "points": "0"}, "points="), ({"channels": ",".join("abcdefghij" * 10)}, ""),
    ],
)  # fmt: skip
def test_what_is_not_clear_is_refused_with_what_was_expected(
    client: Client, feed: PastFeed, facts: dict[str, Any], expected: str
) -> None:
    t0, t1 = facts.pop("t0", feed.start_s), facts.pop("t1", feed.start_s + 60)
    if facts.pop("swap", False):
        t0, t1 = t1, t0
    if "channels" in facts:
        facts["channels"] = ",".join(f"c{i}" for i in range(65))
    answer = get(client, "history", t0, t1, **facts)
    assert answer.status_code == 400
    assert expected in answer.text
    assert "nothing was read" in answer.text


def test_a_patient_nobody_knows_is_not_found_and_paths_lead_nowhere(client: Client, feed: PastFeed) -> None:
    for patient in ("p-other", "..", "%2e%2e%2fetc"):
        assert get(client, "history", feed.start_s, feed.start_s + 9, patient).status_code == 404
    assert client.get("/data/p-7f3a/../../etc/passwd", base_url=BASE).status_code == 404


@pytest.mark.parametrize("name", ["history", "events", "compare", "export.csv", "report"])
def test_another_patients_record_number_gets_nothing(client: Client, feed: PastFeed, name: str) -> None:
    answer = get(client, name, feed.start_s, feed.start_s + 60, number="4712")
    assert answer.status_code == 409
    assert "record number" in answer.text
    assert get(client, name, feed.start_s, feed.start_s + 60, number="4711").status_code == 200


@pytest.mark.parametrize("name", ["export.csv", "report"])
def test_what_can_be_taken_away_must_be_asked_for_with_the_number(client: Client, feed: PastFeed, name: str) -> None:
    assert get(client, name, feed.start_s, feed.start_s + 60).status_code == 400


def test_nothing_of_it_is_kept_by_the_browser(client: Client, feed: PastFeed) -> None:
    assert get(client, "history", feed.start_s, feed.start_s + 9).headers["Cache-Control"] == "no-store"


def test_whole_samples_are_what_was_shown(client: Client, feed: PastFeed) -> None:
    found = samples(get(client, "history", feed.start_s + 60, feed.start_s + 120, view="live"))
    times = found[EMG].times_us
    assert len(times) == pytest.approx(3000, abs=2)
    exact = np.round(times / 20_000).astype(np.int64) * 20_000  # a block's times are first + i x period in float32
    assert np.abs(exact - times).max() < 10
    assert np.array_equal(found[EMG].data["value"], truth(EMG, exact).astype(np.float32))


def test_thinned_samples_fit_the_points_hold_the_extremes_and_never_mix_what_was_made_with_what_was_measured(
    client: Client, feed: PastFeed
) -> None:
    t0, t1 = feed.start_s + 200, feed.start_s + 400
    whole = samples(get(client, "history", t0, t1, view="live"))[EMG]
    thin = samples(get(client, "history", t0, t1, view="live", points=400))[EMG]
    assert len(thin) < 500
    for kind in (Provenance.MEASURED, Provenance.SYNTHESISED):
        a, b = (s.data["value"][s.data["provenance"] == kind] for s in (whole, thin))
        assert (a.min(), a.max()) == (b.min(), b.max())
        spans = [s.times_us[s.data["provenance"] == Provenance.SYNTHESISED][[0, -1]] for s in (whole, thin)]
        assert np.abs(spans[0] - spans[1]).max() < 10


def test_a_stretch_without_samples_is_marked_at_every_zoom(client: Client, feed: PastFeed) -> None:
    for span, points in ((300, 4000), (300, 40), (1400, 100)):
        found = samples(
            get(client, "history", feed.start_s + 700, feed.start_s + 700 + span, points=points, view="live")
        )
        room = found["room_temp_C"]
        assert (room.data["provenance"] == HOLE).sum() == 1, (span, points)
    assert HOLE not in found["gsr_uS"].data["provenance"]


def test_channels_can_be_chosen(client: Client, feed: PastFeed) -> None:
    found = samples(get(client, "history", feed.start_s, feed.start_s + 60, channels=f"{GSR},nothing"))
    assert set(found) == {GSR}


def test_the_story_has_events_coverage_and_gaps(client: Client, feed: PastFeed) -> None:
    s = feed.start_s
    story = get(client, "events", s, feed.end_s).json
    assert story["events"][0]["kind"] == "command"
    assert story["devices"] == {"sim-01": "simulated"}
    assert story["channels"][GSR]["unit"] == "uS"
    gaps = {c: [(round(a - s), round(b - s)) for a, b in found] for c, found in story["gaps"].items()}
    assert gaps[EMG] == [(300, 318), (1000, 1012)]
    assert gaps[GSR] == [(600, 700)]
    assert gaps["room_temp_C"] == [(pytest.approx(799, abs=2), pytest.approx(900, abs=2))]
    kinds = [(round(a - s), round(b - s), kind) for a, b, kind in story["shown"][GSR]]
    assert kinds == [(0, 600, 0), (600, 640, 1), (640, 700, 4), (700, 1500, 0)]
    assert [k for *_, k in story["known"][GSR]][1] == Provenance.MEASURED | 0x80


def test_then_and_later_is_what_the_arithmetic_says(client: Client, feed: PastFeed) -> None:
    t0, t1 = feed.start_s + 300, feed.start_s + 318
    live, best = (samples(get(client, "history", t0, t1, view=v))[EMG] for v in ("live", "best"))
    made = live.data["provenance"] == Provenance.SYNTHESISED
    shown, true = live.data[made], best.data[: made.sum()]
    assert (best.times_us[: made.sum()] == live.times_us[made]).all()
    found = get(client, "compare", t0, t1).json["channels"][EMG]
    error = np.abs(shown["value"].astype(float) - true["value"])
    assert found["pairs"] == found["made"] == made.sum() == 900
    assert found["error"] == pytest.approx(error.mean())
    assert found["worst"] == pytest.approx(error.max())
    assert found["inside"] == pytest.approx(
        ((shown["lower"] <= true["value"]) & (true["value"] <= shown["upper"])).mean()
    )
    assert found["confidence"] == pytest.approx((shown["confidence"] / 255).mean())


def test_a_long_comparison_is_made_in_parts_and_says_what_the_whole_would(
    client: Client, feed: PastFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans: list[float] = []
    whole = feed.history

    def watched(patient: str, t0: float, t1: float, view: Any = "live", coarse: bool = False) -> Any:
        spans.append(t1 - t0)
        return whole(patient, t0, t1, view, coarse)

    pasts = [whole("p-7f3a", feed.start_s, feed.end_s, view).samples for view in ("live", "best")]
    monkeypatch.setattr(feed, "history", watched)
    found = get(client, "compare", feed.start_s, feed.end_s).json["channels"]
    assert max(spans) <= MAX_WHOLE_S and len(spans) == 6
    for channel in pasts[0]:
        want = score(pasts[0][channel], pasts[1].get(channel), tolerance_of(channel)).to_json()
        assert found[channel] == {name: pytest.approx(value) for name, value in want.items()}, channel


def test_where_nothing_was_measured_later_there_is_no_error(client: Client, feed: PastFeed) -> None:
    found = get(client, "compare", feed.start_s + 1190, feed.start_s + 1240).json["channels"]["emg_activity_mV.corr"]
    assert found["made"] == 1500
    assert (found["pairs"], found["late"], found["error"], found["inside"]) == (0, 0, None, None)
    assert found["mended"] == 1500


def test_the_csv_names_its_patient_and_has_what_was_shown_beside_what_is_known(client: Client, feed: PastFeed) -> None:
    t0, t1 = feed.start_s + 290, feed.start_s + 330
    answer = get(client, "export.csv", t0, t1, number="4711", zone="Europe/Madrid")
    head = [line for line in answer.text.splitlines() if line.startswith("#")]
    for words in (
        "KESTREL-17",
        "record number 4711",
        "view best",
        "Europe/Madrid",
        "clinician (demo)",
        "secondary display",
    ):
        assert any(words in line for line in head), words
    rows = [r for r in rows_of(answer) if r["channel"] == EMG]
    gap = [r for r in rows if 300.1 < float(r["time_s"]) - feed.start_s < 317.9]
    assert len(gap) > 880
    assert {(r["provenance"], r["revised"], r["shown_provenance"]) for r in gap} == {("measured", "1", "synthesised")}
    assert all(r["value"] == r["lower"] == r["upper"] != r["shown_value"] for r in gap[:50])
    times = [float(r["time_s"]) for r in rows]
    assert times == sorted(times)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", rows[0]["time_utc"])


def test_csv_values_are_the_float32_of_the_wire(client: Client, feed: PastFeed) -> None:
    t0, t1 = feed.start_s + 250, feed.start_s + 350  # pieces of a minute meet in it
    wire = samples(get(client, "history", t0, t1, view="live"))[EMG]
    rows = [r for r in rows_of(get(client, "export.csv", t0, t1, number="4711", view="live")) if r["channel"] == EMG]
    assert len(rows) == len(wire)
    assert [np.float32(r["value"]) for r in rows] == wire.data["value"].tolist()
    assert np.abs(np.array([round(float(r["time_s"]) * 1e6) for r in rows]) - wire.times_us).max() < 10
    assert all(r["value"] == r["shown_value"] for r in rows)


def test_withheld_rows_have_no_value_and_missing_ones_no_row(client: Client, feed: PastFeed) -> None:
    rows = rows_of(get(client, "export.csv", feed.start_s + 650, feed.start_s + 890, number="4711", view="live"))
    hidden = [r for r in rows if r["channel"] == GSR and r["provenance"] == "withheld"]
    assert len(hidden) == 200
    assert {(r["value"], r["lower"], r["upper"]) for r in hidden} == {("", "", "")}
    assert max(float(r["time_s"]) for r in rows if r["channel"] == "room_temp_C") < feed.start_s + 801


def test_file_names_hold_nothing_but_letters_digits_and_dashes(client: Client, feed: PastFeed) -> None:
    said = get(client, "export.csv", feed.start_s, feed.start_s + 9, number="4711").headers["Content-Disposition"]
    assert re.fullmatch(r'attachment; filename="everbeat-KESTREL-17-\d{8}T\d{6}Z-\d{8}T\d{6}Z\.csv"', said)


def test_the_report_says_whose_what_and_who_in_the_visitors_language(client: Client, feed: PastFeed) -> None:
    span = (feed.start_s, feed.end_s)
    english = get(client, "report", *span, number="4711").text
    said = (
        "KESTREL-17",
        "4711",
        "1968",
        "sim-01",
        "not a primary alarm system",
        "nurse &lt;b&gt;A&lt;/b&gt;",
        "forged",
    )
    for words in (*said, "emg unplugged", "inside the 90 % bounds", "nothing was measured later", "4.0 %"):
        assert words in english, words
    assert "<b>A</b>" not in english
    assert "<script" not in english
    assert not re.search(r"(src|href)=", english)
    assert english.count("<figure>") == 4
    german = get(client, "report", *span, number="4711", language="de").text
    assert 'lang="de"' in german
    assert "Schichtbericht" in german
    assert "Hautleitwert" in german
    assert "not a primary" not in german


def test_a_report_of_one_channel_holds_no_other(client: Client, feed: PastFeed) -> None:
    text = get(client, "report", feed.start_s, feed.end_s, number="4711", channels=GSR).text
    assert text.count("<figure>") == 1 and "Skin conductance" in text


def test_a_report_of_nothing_says_so(client: Client, feed: PastFeed) -> None:
    answer = get(client, "report", feed.start_s - 5000, feed.start_s - 4000, number="4711")
    assert "Nothing was recorded" in answer.text


@pytest.mark.parametrize("name", ["history", "events", "compare", "export.csv", "report"])
def test_a_store_that_is_down_is_said_in_one_sentence(
    client: Client, feed: PastFeed, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> Any:
        raise StoreDown("expected Redis to answer, got nothing")

    monkeypatch.setattr(feed, "history", down)
    answer = get(client, name, feed.start_s, feed.start_s + 60, number="4711")
    assert answer.status_code == 503
    assert "can't be reached" in answer.text
