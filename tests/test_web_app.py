"""The page itself: its headers, what it refuses, and that a press of a button reaches the feed."""

from __future__ import annotations

import gzip
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from dash import Dash
from werkzeug.test import Client

from tests.fake_feed import FakeFeed
from tests.web_kit import app_over
from web import ui
from web.app import serve
from web.pages.commands import BUTTONS, expectation, face
from web.settings import BindRefused, WebSettings
from web.words import words

HOST = "127.0.1.71"
SETTINGS = WebSettings(host=HOST, port=8471, block_ms=50, demo=True)
BASE = f"http://{HOST}:{SETTINGS.port}"
T = words("en")
BUDGET_BYTES = 750_000
LIVE = {"signals": ["emg_activity_mV.zyg", "gsr_uS"], "unplugged": [], "pending": [], "failed": [], "connected": True}
DRAWN = {
    "patient": "p-7f3a",
    "number": "p-7f3a",
}  # whose values stood on the screen; a card without a number shows its id


@pytest.fixture(scope="module")
def feed() -> FakeFeed:
    return FakeFeed()


@pytest.fixture(scope="module")
def app(feed: FakeFeed) -> Iterator[Dash]:
    with app_over(feed, SETTINGS) as app:
        yield app


@pytest.fixture
def client(app: Dash) -> Client:
    return app.server.test_client()


def get(client: Client, path: str, **headers: str) -> Any:
    return client.get(path, base_url=BASE, headers=headers)


def test_the_page_carries_the_policy_of_the_design_with_dashs_own_hashes(client: Client, app: Dash) -> None:
    policy = get(client, "/").headers["Content-Security-Policy"]
    parts = dict(part.split(" ", 1) for part in policy.split("; "))
    assert parts["default-src"] == "'self'"
    assert parts["style-src"] == "'self' 'unsafe-inline'"
    assert parts["img-src"] == "'self' data: blob:"
    assert parts["script-src"].split() == ["'self'", *app.csp_hashes()]
    assert parts["object-src"] == parts["base-uri"] == parts["frame-ancestors"] == "'none'"
    assert parts["form-action"] == "'self'"
    assert set(parts) == {
        "default-src", "script-src", "style-src", "img-src", "object-src", "base-uri", "frame-ancestors", "form-action",
    }  # fmt: skip


def test_every_answer_carries_the_other_security_headers(client: Client) -> None:
    for path in ("/", "/nowhere", "/assets/everbeat.css", "/_dash-layout"):
        headers = get(client, path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_patients_data_is_never_kept_by_a_cache(client: Client) -> None:
    assert get(client, "/").headers["Cache-Control"] == "no-store"
    assert get(client, "/_dash-layout").headers["Cache-Control"] == "no-store"


def test_the_page_fetches_nothing_from_elsewhere(client: Client) -> None:
    page = get(client, "/").get_data(as_text=True)
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", page)
    style = get(client, "/assets/everbeat.css").get_data(as_text=True)
    assert not re.findall(r"url\([\"']?(?:https?:)?//|@import", style)


def test_everything_the_page_names_is_served_and_fits_the_budget(client: Client) -> None:
    page = get(client, "/").get_data(as_text=True)
    scripts = re.findall(r"<script[^>]* src=\"([^\"]+)\"", page)
    assert any("everbeat_ui" in script for script in scripts)
    total = 0
    for path in scripts:
        answer = get(client, path)
        assert answer.status_code == 200, path
        total += len(gzip.compress(answer.get_data()))
    assert total < BUDGET_BYTES, f"{total} bytes gzipped"
    for path in re.findall(r"<link[^>]* href=\"([^\"]+)\"", page):
        assert get(client, path).status_code == 200, path


def test_a_wrong_address_gets_a_page_that_helps(client: Client) -> None:
    answer = get(client, "/<b>nowhere</b>")
    text = answer.get_data(as_text=True)
    assert answer.status_code == 404
    assert "There is no page here" in text and 'href="/"' in text and "<b>nowhere" not in text


def test_a_known_patient_has_a_page_and_an_unknown_one_has_not(client: Client, feed: FakeFeed) -> None:
    assert get(client, f"/patient/{feed.card.id}").status_code == 200
    assert get(client, "/patient/somebody-else").status_code == 404


@pytest.mark.parametrize(
    "wanted",
    ["/\t/evil.com", "//evil.com", "/\\evil.com", "https://evil.com", "/\n/evil.com", "javascript:alert(1)", "/nowhere",
     "", "/patient/", "/patient/a/b/c", "/patient//evil.com", "/language/de?next=//evil.com", "evil.com",
     "/patient/\tx"],
)  # fmt: skip
def test_a_change_of_language_leads_back_to_no_page_but_ours(client: Client, wanted: str) -> None:
    answer = client.get("/language/de", base_url=BASE, query_string={"next": wanted})
    assert answer.status_code == 303 and answer.headers["Location"] in ("/", BASE + "/")
    assert answer.headers["Set-Cookie"].startswith("eb-language=de")


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        ("/patients", "/patients"),
        ("/patient/p-1/replay?from=1.5&to=2", "/patient/p-1/replay?from=1.5&to=2"),
        ("/patient/a%2Fb", "/patient/a%2Fb"),
        ("/patients?x=\r\nSet-Cookie: a=b", "/patients?x=%0D%0ASet-Cookie%3A+a%3Db"),
    ],
)
def test_a_change_of_language_keeps_the_page_and_what_it_shows(client: Client, wanted: str, got: str) -> None:
    answer = client.get("/language/en", base_url=BASE, query_string={"next": wanted})
    assert answer.headers["Location"].removeprefix(BASE) == got


def test_who_has_no_javascript_reads_so_in_the_visitors_language(client: Client) -> None:
    answer = client.get("/", base_url=BASE, headers={"Accept-Language": "de"}).get_data(as_text=True)
    assert "<noscript>" in answer and "braucht JavaScript" in answer


def test_a_request_for_another_host_name_is_refused(client: Client) -> None:
    answer = client.get("/", base_url="http://evil.example:8471")
    assert answer.status_code == 421


def test_a_command_from_another_page_is_refused_and_never_reaches_the_feed(client: Client, feed: FakeFeed) -> None:
    before = len(feed.commands)
    answer = press(client, "btn-identify", Origin="http://evil.example")
    assert answer.status_code == 403
    assert len(feed.commands) == before


@pytest.mark.parametrize(
    ("pressed", "unplugged", "expected"),
    [
        ("btn-emg", [], ("sim-01", "sensor", {"signal": "emg", "connected": False})),
        ("btn-emg", ["emg_activity_mV.zyg"], ("sim-01", "sensor", {"signal": "emg", "connected": True})),
        ("btn-gsr", [], ("sim-01", "sensor", {"signal": "gsr", "connected": False})),
        ("btn-tamper", [], ("sim-01", "tamper", {})),
        ("btn-identify", [], ("sim-01", "identify", {})),
    ],
)
def test_a_press_becomes_a_command_for_the_patients_device(
    client: Client, feed: FakeFeed, pressed: str, unplugged: list[str], expected: tuple[Any, ...]
) -> None:
    answer = press(client, pressed, unplugged=unplugged, Origin=BASE)
    assert answer.status_code == 200
    assert feed.commands[-1] == expected
    assert pressed in answer.get_json()["response"]["link"]["asked"]


def test_what_only_a_demo_wants_is_neither_offered_nor_taken_at_a_bed() -> None:
    """ASVS 15.2.3: no test or demonstration features in production."""
    feed = FakeFeed()
    with app_over(feed, replace(SETTINGS, host="127.0.1.87", port=8487, demo=False)) as app:
        client, base = app.server.test_client(), "http://127.0.1.87:8487"
        for pressed in ("btn-emg", "btn-gsr", "btn-tamper"):
            answer = press(client, pressed, base=base, Origin=base).get_json()["response"]
            assert "link" not in answer and feed.commands == []
        press(client, "btn-identify", base=base, Origin=base)
        assert feed.commands == [("sim-01", "identify", {})]


@pytest.mark.parametrize("drawn", [{}, {"patient": "p-other", "number": "p-7f3a"}, {**DRAWN, "number": "4712"}])
def test_a_press_on_a_screen_that_showed_another_patient_is_refused(
    client: Client, feed: FakeFeed, drawn: dict[str, str]
) -> None:
    before = len(feed.commands)
    answer = press(client, "btn-identify", drawn=drawn).get_json()["response"]
    assert "another patient" in answer["command-note"]["children"]
    assert "link" not in answer
    assert len(feed.commands) == before


def test_a_press_while_the_store_is_down_says_that_nothing_was_sent(client: Client, feed: FakeFeed) -> None:
    feed.down = True
    try:
        answer = press(client, "btn-identify").get_json()["response"]
    finally:
        feed.down = False
    assert "was not sent" in answer["command-note"]["children"]
    assert "link" not in answer


def test_a_button_waits_until_the_device_has_answered_and_then_shows_its_new_state() -> None:
    row = BUTTONS[0]
    asked = {row.id: expectation(row, LIVE, 100.0)}
    assert face(row, {**LIVE, "seen": 99.0}, asked, T).pending
    assert face(row, {**LIVE, "seen": 100.0, "pending": [row.id]}, asked, T).disabled
    answered = face(row, {**LIVE, "seen": 100.0, "unplugged": ["emg_activity_mV.zyg"]}, asked, T)
    assert (answered.label, answered.disabled) == ("Plug EMG in", False)


def test_a_button_for_a_sensor_that_the_device_has_not_is_disabled() -> None:
    assert face(BUTTONS[0], {**LIVE, "signals": ["gsr_uS"]}, {}, T).disabled


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "hospital.example"])
def test_an_address_that_others_can_reach_is_refused(host: str) -> None:
    with pytest.raises(BindRefused, match="expected a loopback address"):
        WebSettings(host=host)


def test_a_port_in_use_is_one_clear_error(app: Dash) -> None:
    with socket.create_server((HOST, 0)) as taken:
        settings = WebSettings(host=HOST, port=taken.getsockname()[1])
        with pytest.raises(BindRefused, match=r"expected port \d+ on .* to be free"):
            serve(app, settings)


def test_component_classes_name_the_props_that_the_bundle_knows() -> None:
    source = ui.BUNDLE.read_text("utf-8")
    for component in (ui.PatientTwin, ui.WaveMonitor, ui.VitalTile, ui.VitalBoard, ui.AlarmBar, ui.SessionBar):
        assert component._type in source
    assert ui.WaveMonitor(id="w").to_plotly_json()["props"] == {"id": "w"}


def press(
    client: Client, button: str, unplugged: list[str] | None = None, drawn: dict[str, str] = DRAWN, base: str = BASE,
    **headers: str,
) -> Any:  # fmt: skip
    """Call the demo bar's callback the way the page does."""
    dependencies = client.get("/_dash-dependencies", base_url=base).get_json()
    spec = next(d for d in dependencies if d["output"].startswith("..link.asked"))
    values = {"link.live": {**LIVE, **drawn, "unplugged": unplugged or []}, "link.asked": {}}
    values["url.pathname"] = "/patient/p-7f3a"
    entry = lambda d: {**d, "value": values.get(f"{d['id']}.{d['property']}", 1 if d["id"] == button else None)}  # noqa: E731
    outputs = [dict(zip(("id", "property"), o.split("."), strict=True)) for o in spec["output"].strip(".").split("...")]
    body = {
        "output": spec["output"],
        "outputs": outputs,
        "inputs": [entry(d) for d in spec["inputs"]],
        "state": [entry(d) for d in spec["state"]],
        "changedPropIds": [f"{button}.n_clicks"],
    }
    return client.post(
        "/_dash-update-component",
        base_url=base,
        data=json.dumps(body),
        content_type="application/json",
        headers=headers,
    )
