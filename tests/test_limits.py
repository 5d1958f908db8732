"""Limits on what comes in: each number that operations.md promises is the code's; the page refuses longer bodies."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from dash import Dash
from werkzeug.exceptions import RequestEntityTooLarge

from tests.fake_feed import FakeFeed
from tests.web_kit import app_over
from web.guard import MAX_BODY_BYTES
from web.settings import WebSettings

DOCS = Path(__file__).parent.parent / "docs" / "operations.md"
ROW = re.compile(r"^\| [^|]+ \| (\d+)[^|]* \| `([\w.]+)\.(\w+)` \| [^|]+ \|$", re.M)
SETTINGS = WebSettings(host="127.0.1.88", port=8588)


def promised() -> list[tuple[int, str, str]]:
    section = DOCS.read_text().split("## Limits\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    found = ROW.findall(section)
    assert len(found) == len(rows) > 30, "a row of the table is not of its form"
    return [(int(number), module, name) for number, module, name in found]


@pytest.mark.parametrize(("number", "module", "name"), promised())
def test_a_limit_in_the_handbook_is_the_one_in_the_code(number: int, module: str, name: str) -> None:
    assert number == getattr(importlib.import_module(module), name)


@pytest.fixture(scope="module")
def app() -> Iterator[Dash]:
    with app_over(FakeFeed(), SETTINGS) as app:
        yield app


def test_a_request_with_too_long_a_body_is_refused_before_it_is_read(app: Dash) -> None:
    data = b"x" * (MAX_BODY_BYTES + 1)
    asked = app.server.test_request_context("/", method="POST", data=data)
    with asked as context, pytest.raises(RequestEntityTooLarge):
        context.request.get_data()


@pytest.mark.parametrize("size", [10, MAX_BODY_BYTES - 10])
def test_the_limit_is_no_shorter_than_it_says(app: Dash, size: int) -> None:
    with app.server.test_request_context("/", method="POST", data=b"x" * size) as context:
        assert len(context.request.get_data()) == size
