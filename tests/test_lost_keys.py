"""A patient whose key file is missing: she stays on the ward, the page says so and what to do, operators are told, and
she comes back with her file. Real Redis, engine, notary and page.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from everbeat import notarial
from everbeat.cli import app
from security.identity import wall_clock_ms
from security.keyhome import name_of
from tests import web_kit
from tests.engine_kit import CARD, PATIENT, Ward
from tests.erase_kit import OTHER, OTHER_DEVICE, House, running_house, second_patient, wait_until
from tests.web_kit import app_over, serving, violations, watch
from twin_engine.store import keys
from twin_engine.store.audit import AuditReader
from twin_engine.store.connection import connect
from twin_engine.store.errors import StoreCorrupt
from twin_engine.store.reader import RedisFeed
from twin_engine.store.vault import Vault
from web.acts import Acts
from web.fields import Wrong
from web.settings import WebSettings

pytestmark = pytest.mark.redis
SETTINGS = WebSettings(host="127.0.1.86", port=8586, block_ms=100, silent_after_s=120.0)
URL = f"http://{SETTINGS.host}:{SETTINGS.port}"


def until(page: Any, holds: str) -> None:
    """With patience: engine, page and browser share a busy machine."""
    web_kit.until(page, holds, timeout_s=60)


@pytest.fixture
def house(generator: Any) -> Iterator[House]:
    with running_house(generator) as made:
        yield made


@pytest.fixture
def ward(house: House) -> Iterator[Ward]:
    """Two patients with devices, both measured."""
    made = house.ward()
    made.engine()
    made.connect_device()
    made.send(made.frame(8), made.frame(8))
    other = second_patient(made)
    made.send(made.frame(8, sealer=other), device=OTHER_DEVICE)
    made.wait_for("stored", 24)
    yield made
    made.close()


def key_file(ward: Ward, patient: str = PATIENT) -> Path:
    return ward.state / "patients" / f"{name_of(patient).hex()}.key"


def another_feed(ward: Ward) -> RedisFeed:
    """As a web process that was started just now."""
    web = connect(ward.files.login("web"))
    return RedisFeed(web, Vault(web, ward.master), 1, connect(ward.files.login("acts")))


def told(house: House, ward: Ward) -> list[tuple[str, str]]:
    reader = AuditReader(connect(ward.files.login("web")), ward.master)
    events = [line.event for line in reader.page(kind="key", count=100).lines if line.event]
    return [(event.kind, event.about) for event in events][::-1]


@pytest.mark.parametrize("how", ["gone", "open to others"])
def test_who_can_not_be_read_is_listed_as_locked_and_is_herself_again_with_her_key(
    ward: Ward, tmp_path: Path, how: str
) -> None:
    path = key_file(ward)
    if how == "gone":
        shutil.move(path, tmp_path / "kept")
    else:
        path.chmod(0o640)
    feed = another_feed(ward)
    cards = {card.id: card for card in feed.patients()}
    assert cards.keys() == {PATIENT, OTHER} and cards[PATIENT].locked and not cards[OTHER].locked
    assert cards[PATIENT].present and cards[PATIENT].pseudonym == PATIENT, "of her only the id can be read"
    assert "locked" not in cards[OTHER].to_json(), "it is no fact of a record"
    with pytest.raises(StoreCorrupt, match="nothing of p-1 can be read now"):
        feed.recent(PATIENT, 60)
    with pytest.raises(StoreCorrupt):
        feed.history(PATIENT, 0, 10)
    if how == "gone":
        shutil.move(tmp_path / "kept", path)
    else:
        path.chmod(0o600)
    wait_until(lambda: not any(card.locked for card in feed.patients()), "her to be readable again")
    assert {card.id: card.pseudonym for card in feed.patients()}[PATIENT] == CARD.pseudonym


def test_who_was_erased_is_not_locked_but_gone(house: House, ward: Ward) -> None:
    from everbeat import wiring

    wiring.eraser(house.settings).erase(PATIENT, "somebody", wall_clock_ms())
    assert [card.id for card in another_feed(ward).patients()] == [OTHER]


def test_nothing_can_be_asked_of_a_locked_patient_and_the_refusal_says_why(ward: Ward) -> None:
    key_file(ward).unlink()
    feed = another_feed(ward)
    with app_over(feed, SETTINGS) as page:
        relay = page.server.extensions["relay"]
        with pytest.raises(Wrong) as refused:
            Acts(feed, relay, lambda: "somebody").send(PATIENT, "transfer", {"bed": "Bed 7"})
        assert refused.value.key == "patients.act.locked"
        client = page.server.test_client()
        said = client.get(f"/data/{PATIENT}/history?from=1000&to=1010&points=100", base_url=URL)
        assert said.status_code == 503
    assert ward.keeper.xlen(keys.dead("s0")) == 0, "nothing reached the engine"


def test_operators_are_told_by_the_audit_log_and_by_fsck_when_a_key_goes_and_when_it_is_back(
    house: House, ward: Ward, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notary = notarial.notary(house.settings)
    notary.round(whole=True)
    env = {"EVERBEAT_STATE": str(house.state), "COLUMNS": "300"}
    before = CliRunner().invoke(app, ["fsck"], env=env)
    assert before.exit_code == 0 and PATIENT not in before.output, before.output
    shutil.move(key_file(ward), tmp_path / "kept")
    for _ in range(2):
        notary.round(whole=True)
    notary.round(whole=False)
    assert told(house, ward) == [("key.missing", PATIENT)], "once"
    assert f"keys/patients/{name_of(PATIENT).hex()}.key: it is missing" in caplog.text
    said = CliRunner().invoke(app, ["fsck"], env=env)
    assert said.exit_code == 1 and f"patient {PATIENT}: nothing of hers can be read" in said.output
    assert "bring the file back from the newest copy of keys/" in said.output and OTHER not in said.output
    shutil.move(tmp_path / "kept", key_file(ward))
    notary.round(whole=True)
    notary.round(whole=False)
    assert told(house, ward) == [("key.missing", PATIENT), ("key.returned", PATIENT)]
    assert CliRunner().invoke(app, ["fsck"], env=env).exit_code == 0


@pytest.mark.browser
def test_she_stays_on_the_ward_and_in_her_room_with_what_to_do_and_comes_back_without_a_restart(
    ward: Ward, browser: Any, tmp_path: Path
) -> None:
    row = f'[data-patient="{PATIENT}"]'
    context = browser.new_context(viewport={"width": 1600, "height": 900}, bypass_csp=True)  # axe is injected
    with serving(ward.feed, SETTINGS):
        page, room = context.new_page(), context.new_page()
        watch(page, URL), watch(room, URL)
        page.goto(URL), room.goto(f"{URL}/patient/{PATIENT}")
        page.wait_for_selector(f"{row}[data-locked=false]")
        room.wait_for_selector('.eb-session[data-connected="true"]')
        shutil.move(key_file(ward), tmp_path / "kept")
        page.wait_for_selector(f"{row}[data-locked=true]", timeout=60_000)
        text = page.inner_text(row)
        assert CARD.pseudonym in text and CARD.bed in text, "as long as this process knows it"
        assert "***" in text and "can't be opened" in text and "call the operator" in text
        assert page.evaluate("document.querySelector('.eb-wrow').dataset.patient") == PATIENT, "she comes first"
        until(room, "document.querySelector('.eb-bar').dataset.priority === '3'")
        assert "can't be opened: its key is missing" in room.inner_text(".eb-alarm")
        assert "Record locked" in room.inner_text(".eb-session") and "Engine silent" not in room.inner_text("body")
        until(room, "document.querySelector('.eb-downtime')?.dataset.failed === 'locked'")
        assert "brings the file back" in room.inner_text(".eb-downtime")
        assert "Twin engine silent" not in page.inner_text("body")
        until(page, f"document.querySelector('[data-patient=\"{OTHER}\"]').dataset.locked === 'false'")
        assert [v for v in violations(page, row) if v[0] != "list"] == []
        shots(page, room)
    with serving(another_feed(ward), SETTINGS):  # a process that never knew her
        page.goto(URL)
        page.wait_for_selector(f"{row}[data-locked=true]")
        until(page, f"document.querySelector('{row}').innerText.includes('{PATIENT}')")
        assert CARD.pseudonym not in page.inner_text(row)
        room.goto(f"{URL}/patient/{PATIENT}")
        until(room, "document.querySelector('.eb-bar')?.dataset.priority === '3'")
        shutil.move(tmp_path / "kept", key_file(ward))
        page.wait_for_selector(f"{row}[data-locked=false]", timeout=60_000)
        until(page, f"document.querySelector('{row}').innerText.includes('{CARD.pseudonym}')")

        def live() -> bool:
            ward.send(ward.frame(8))
            page.wait_for_timeout(500)
            return bool(page.evaluate(f"document.querySelector('{row}').dataset.live === 'true'"))

        wait_until(live, "her row to be live again")
        until(room, "document.querySelector('.eb-downtime')?.dataset.failed !== 'locked'")
        assert [said for page in (page, room) for said in page.trouble if "external" in said] == []
    context.close()


def shots(page: Any, room: Any) -> None:
    """Pictures for whoever wants to look: EVERBEAT_SHOTS=DIRECTORY."""
    import os

    if where := os.environ.get("EVERBEAT_SHOTS"):
        page.screenshot(path=f"{where}/locked_ward.png")
        room.screenshot(path=f"{where}/locked_room.png")
