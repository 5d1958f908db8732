"""The downtime sheet without a browser: it needs nothing but the web process, and tells nothing of a patient."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.alarm_feed import AlarmingFeed
from web import ui
from web.app import create_app
from web.pages.downtime import STEPS, page
from web.pages.downtime_look import PICTURES
from web.room import banner
from web.settings import WebSettings
from web.words import LANGUAGES, words

SETTINGS = WebSettings(host="127.0.1.78", port=8578, downtime_contact="IT <4242>")
BASE = f"http://{SETTINGS.host}:{SETTINGS.port}"


@pytest.fixture(scope="module")
def client() -> Any:
    feed = AlarmingFeed()
    feed.down = True  # nobody answers behind the web
    app, _ = create_app(feed, SETTINGS)
    return app.server.test_client()


def test_the_sheet_comes_while_the_store_is_down_and_names_whom_to_call(client: Any) -> None:
    answer = client.get("/downtime", base_url=BASE)
    text = answer.get_data(as_text=True)
    assert answer.status_code == 200 and "IT &lt;4242&gt;" in text and "<4242>" not in text
    for state in STEPS:
        assert words("en")(f"downtime.{state}.title") in text.replace("&#x27;", "'")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_sheet_is_whole_without_script_or_any_other_file(language: str) -> None:
    text = page(language, "")
    assert f'lang="{language}"' in text and "<script" not in text
    assert re.findall(r'(?:src|href)="([^"#]+)"', text) == ["/assets/favicon.svg", "/"]
    assert text.count("<svg") == len(STEPS) == len(PICTURES)
    assert not re.search(r"\{\w+\}", text.split("</style>")[1]), "a placeholder was left"


def test_the_keeper_of_the_sheet_may_keep_that_page_and_no_other(client: Any) -> None:
    answer = client.get("/downtime/worker.js", base_url=BASE)
    text = answer.get_data(as_text=True)
    assert answer.headers["Service-Worker-Allowed"] == "/downtime"
    assert answer.mimetype == "text/javascript"
    assert "url.pathname !== '/downtime') return" in text and "cache.put" not in text


def test_page_and_sheet_tell_the_same_steps() -> None:
    script = (Path(ui.__file__).parent / "src" / "downtime.js").read_text("utf-8")
    told = dict(re.findall(r"^  (\w+): \[([^\]]+)\],$", script, re.M))
    assert {name: tuple(re.findall(r"'(\w+)'", steps)) for name, steps in told.items()} == STEPS


def test_the_banner_carries_every_signals_limits_with_the_default_beside_them() -> None:
    limits: Any = banner(AlarmingFeed().card)["limits"]
    assert limits["hr_bpm"]["high"] == 120 and limits["hr_bpm"]["default"] is True
    assert limits["gsr_uS"] == {
        "low": 1.0, "high": 12.0, "crisis_low": None, "crisis_high": 20.0, "delay_s": 3.0, "on": True,
        "default": False, "usual": None,
    }  # fmt: skip
    assert limits["spo2_pct"]["usual"] == {
        "low": 90, "high": None, "crisis_low": 85, "crisis_high": None, "delay_s": 8.0, "on": True,
    }  # fmt: skip
