"""docs/asvs.md and the tests name the same items of OWASP ASVS 5.0.0; and items that no other test has."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.people_kit import House, Visitor
from web.settings import WebSettings
from web.signin import CSRF_HEADER

ROOT = Path(__file__).parents[1]
TABLE = (ROOT / "docs" / "asvs.md").read_text()
ITEM = re.compile(r"\b(\d{1,2}\.\d\.\d{1,2})\b")
RANGE = re.compile(r"\b(\d{1,2}\.\d)\.(\d{1,2}) to \1\.(\d{1,2})\b")
SETTINGS = WebSettings(host="127.0.1.98", port=8598, block_ms=50)


def items(text: str) -> set[str]:
    """Every item named, ranges spelt out."""
    spelt = {f"{section}.{n}" for section, a, b in RANGE.findall(text) for n in range(int(a), int(b) + 1)}
    return spelt | set(ITEM.findall(text))


def named_by_tests() -> dict[str, set[str]]:
    """File -> the items its docstrings name."""
    found = dict[str, set[str]]()
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        for said in re.findall(r'"""ASVS (.*?)"""', path.read_text(), re.DOTALL):
            found.setdefault(f"tests/{path.name}", set()).update(items(said.removeprefix("5.0 ")))
    return found


def test_each_item_that_a_test_names_is_a_row_that_names_the_test() -> None:
    rows = [(items(row.split("|")[1]), row) for row in TABLE.splitlines() if row.startswith("| ") and ITEM.search(row)]
    partly = items(TABLE.split("## Browser")[0])
    found = named_by_tests()
    assert sum(len(named) for named in found.values()) > 50
    for file, named in found.items():
        for item in named:
            said = [row for numbers, row in rows if item in numbers]
            assert said, f"{item} of {file} is not in docs/asvs.md"
            assert item in partly or any(file in row for row in said), f"{item}: docs/asvs.md does not name {file}"


def test_each_file_that_the_table_names_is_there() -> None:
    for path in re.findall(r"`((?:tests|web|security|twin_engine)/[\w/.]+?\.py)", TABLE):
        assert (ROOT / path).is_file(), path


@pytest.fixture
def house(redis_server) -> Iterator[House]:  # type: ignore[no-untyped-def]
    made = House(redis_server[0], SETTINGS)
    yield made
    made.close()


@pytest.mark.redis
def test_every_answer_tells_the_browser_what_it_may_do_with_it(house: House) -> None:
    """ASVS 3.4.3 to 3.4.6, 3.4.8, 4.1.1, 14.3.2."""
    wren = Visitor(house)
    wren.sign_in("dr.wren")
    past = f"/data/p-0001/history?from={time.time() - 20}&to={time.time()}"
    for path in ("/", "/account", "/audit", "/nowhere", "/session", past, "/sign-in"):
        for visitor in (wren, Visitor(house)):
            headers = visitor.get(path).headers
            policy = headers["Content-Security-Policy"]
            assert all(f"{name} 'none'" in policy for name in ("object-src", "base-uri", "frame-ancestors"))
            assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"
            assert headers["Referrer-Policy"] == headers["Cross-Origin-Opener-Policy"] == "same-origin"
            kind = headers.get("Content-Type", "")
            assert "charset=utf-8" in kind or not kind.startswith("text/"), (path, kind)
            assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.redis
@pytest.mark.parametrize("path", ["/sign-out", "/account/password", "/account/end-others", "/break-glass/end"])
def test_nothing_is_done_by_asking_and_nothing_is_echoed(house: House, path: str) -> None:
    """ASVS 3.5.3, 13.4.4."""
    wren = Visitor(house)
    wren.sign_in("dr.wren")
    before = len(house.told())
    wren.get(path)  # at most a page
    assert wren.get("/session").status_code == 204
    own = {"Cookie": wren.cookie_header, "Origin": house.url, CSRF_HEADER: wren.csrf, "X-Secret": "echo"}
    answer = requests.request("TRACE", house.url + path, headers=own, timeout=10)
    assert answer.status_code in (403, 405) and "echo" not in answer.text
    assert len(house.told()) == before
