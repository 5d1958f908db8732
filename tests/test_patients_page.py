"""Patients and devices without a browser: what the tables and forms hold, and what the page's addresses answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from dash import Dash

from tests.fake_ward import FakeWard
from tests.web_kit import app_over
from twin_engine.registry import Limits
from web.acts import Acts
from web.pages import patient_forms as forms
from web.pages.patient_tables import devices, devices_table, patients_table
from web.pages.patients import _tables, layout, marks, send, typed_in
from web.settings import WebSettings
from web.sight import Reach
from web.words import LANGUAGES, words

HOST = "127.0.1.75"
SETTINGS = WebSettings(host=HOST, port=8541, block_ms=50)
BASE = f"http://{HOST}:{SETTINGS.port}"


@pytest.fixture(scope="module")
def feed() -> FakeWard:
    return FakeWard(3)


@pytest.fixture(scope="module")
def app(feed: FakeWard) -> Iterator[Dash]:
    with app_over(feed, SETTINGS) as app:
        yield app


def text(component: Any) -> str:
    return json.dumps(component, default=lambda c: c.to_plotly_json(), ensure_ascii=False)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_tab_of_a_patient_can_be_drawn_in_every_language(feed: FakeWard, language: str) -> None:
    card = feed.clinic.cards["p-0001"]
    for tab in forms.TABS:
        drawn = text(forms.of(tab, card, words(language), [card.device], ["esp32-900"], ""))
        assert '"eb-send"' in drawn
        assert ('"confirm"' in drawn) == (tab in ("bed", "devices", "discharge"))


def test_the_page_never_writes_out_what_a_person_must_read_from_the_wristband(feed: FakeWard) -> None:
    card = feed.clinic.cards["p-0001"]
    drawn = text(forms.of("discharge", card, words("en"), [], [], ""))
    assert card.number[-4:] not in drawn and card.pseudonym in drawn


def pressed(drawn: Any, form: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The id of a form's button, and those of all fields that were drawn with it."""
    ids = [json.loads(i) for i in set(re.findall(r'"id": (\{[^}]*\})', text(drawn)))]
    (button,) = [i for i in ids if (i["type"], i["form"]) == ("eb-send", form)]
    return button, [i for i in ids if i["type"] == "eb-field"]


def test_a_form_that_was_drawn_for_another_patient_changes_nobody(app: Dash, feed: FakeWard) -> None:
    """The panel shows one patient while the form below is still the one before's: the press says whose it is."""
    relay = app.server.extensions["relay"]
    acts = Acts(feed, relay, "somebody")
    heron, other = feed.clinic.cards["p-0001"], feed.clinic.cards["p-0002"]
    button, _ = pressed(forms.of("record", heron, words("en"), [], [], ""), "edit")
    record = {"pseudonym": "STORK-1", "number": "700123", "birth_year": 1950, "sex": "male", "height_cm": 180}
    typed = record | {"weight_kg": 80}
    for panel, card in ((other.id, heron), (heron.id, replace(heron, number="999999")), ("", heron), ("gone", heron)):
        button, _ = pressed(forms.of("record", card, words("en"), [], [], ""), "edit")
        wrong, sent, why = send(acts, relay, panel, button, dict(typed), words("en"))
        assert (wrong, sent) == ({}, None) and "another patient" in why, panel
    assert feed.clinic.acts == []
    button, _ = pressed(forms.of("record", heron, words("en"), [], [], ""), "edit")
    _, sent, why = send(acts, relay, heron.id, button, typed | {"number": heron.number}, words("en"))
    assert (sent or {})["patient"] == heron.id and why == "" and len(feed.clinic.acts) == 1


def test_limits_go_to_the_signal_that_their_form_was_drawn_for(feed: FakeWard) -> None:
    card = feed.clinic.cards["p-0002"]
    button, ids = pressed(forms.of("limits", card, words("en"), [], [], "spo2_pct"), "limits")
    _, older = pressed(forms.of("limits", card, words("en"), [], [], "hr_bpm"), "limits")
    typed = typed_in(button, "limits", [*older, *ids], ["7"] * len(older) + ["88"] * len(ids))
    assert typed["signal"] == "spo2_pct" and set(typed.values()) == {"spo2_pct", "88"}


def test_a_new_patient_can_be_admitted_only_by_the_form_for_new_ones(app: Dash, feed: FakeWard) -> None:
    relay = app.server.extensions["relay"]
    button, _ = pressed(forms.admit(words("en"), [], []), "admit")
    wrong, sent, why = send(Acts(feed, relay, "me"), relay, "p-0002", button, {"pseudonym": "X-1"}, words("en"))
    assert (wrong, sent) == ({}, None) and "another patient" in why
    wrong, _, why = send(Acts(feed, relay, "me"), relay, "", button, {"pseudonym": "X-1"}, words("en"))
    assert "bed" in wrong and why == ""


def test_limits_show_what_is_usual_and_offer_the_way_back_only_where_they_differ(feed: FakeWard) -> None:
    card = feed.clinic.cards["p-0001"]
    usual = text(forms.of("limits", card, words("en"), [], [], "spo2_pct"))
    assert "usual: 90" in usual and "usual: –" in usual and '"disabled": true' in usual
    own = replace(card, limits={"spo2_pct": Limits(88)})
    assert '"disabled": true' not in text(forms.of("limits", own, words("en"), [], [], "spo2_pct"))


def test_a_suggested_pseudonym_is_nobodys(feed: FakeWard) -> None:
    cards = list(feed.clinic.cards.values())
    for _ in range(40):
        name = forms.suggestion(cards)
        assert name and name not in {card.pseudonym for card in cards}
        cards.append(replace(cards[0], pseudonym=name))


def test_a_device_of_a_discharged_patient_speaks_for_nobody(feed: FakeWard) -> None:
    here, gone = feed.clinic.cards["p-0001"], replace(feed.clinic.cards["p-0002"], discharged_ms=5, device="")
    said = {gone.id: {"devices": {"esp32-002": {"source": "sensor", "last_frame_s": 9.0, "unplugged": []}}}}
    found = {device.id: device.patient for device in devices([here, gone], said)}
    assert found == {"esp32-001": here, "esp32-002": None}
    assert "nobody" in text(devices_table(words("en"), devices([here, gone], said), 10.0))


def test_those_who_left_stand_below_those_who_are_here(feed: FakeWard) -> None:
    here, gone = feed.clinic.cards["p-0001"], replace(feed.clinic.cards["p-0002"], discharged_ms=5)
    drawn = text(patients_table(words("en"), [gone, here]))
    assert drawn.index(here.number) < drawn.index(gone.number) and "Admit again" in drawn


def test_the_page_answers_and_a_wrong_address_is_told_in_the_visitors_language(app: Dash) -> None:
    client = app.server.test_client()
    assert client.get("/patients", base_url=BASE).status_code == 200
    answer = client.get("/patients/nowhere", base_url=BASE, headers={"Accept-Language": "de"})
    assert answer.status_code == 404 and "Hier ist keine Seite" in answer.get_data(as_text=True)
    assert 'lang="de"' in answer.get_data(as_text=True)


def test_tables_that_say_the_same_are_not_drawn_again_after_the_page_came(app: Dash, feed: FakeWard) -> None:
    relay = app.server.extensions["relay"]
    with app.server.test_request_context("/patients"):
        page = text(layout(relay, Reach(feed, relay, app.server.extensions["access"])))
        drawn = _tables(words("en"), relay)
    assert f'"data": "{" ".join(marks(drawn))}"' in page
