"""Proofs over HTTP: of the right patient, to who may take them away, and true on the machine of whoever gets them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from everbeat import notarial, wiring
from everbeat.cli import app as commands
from everbeat.settings import Settings
from security import proofs
from security.note import VerifierKey
from tests.fake_log import FakeLog, witness_key
from tests.fake_ward import FakeWard
from tests.log_kit import DEVICE, Shard
from tests.people_kit import House, Visitor
from tests.web_kit import app_over, wait_until
from twin_engine.registry import Assignment, Assignments, shown_number
from twin_engine.store import keys
from twin_engine.store.connection import connect
from twin_engine.store.feed import Held
from twin_engine.store.log_feed import LogFeed
from twin_engine.store.log_proofs import to_file
from twin_engine.store.server import RedisFiles
from web.settings import WebSettings

SETTINGS = WebSettings(host="127.0.1.94", port=8594, block_ms=50)
BASE = f"http://{SETTINGS.host}:{SETTINGS.port}"
HER, OTHER = "p-0001", "p-0002"


@pytest.fixture
def ward() -> FakeWard:
    return FakeWard(4)


@pytest.fixture
def client(ward: FakeWard) -> Iterator[Any]:
    with app_over(ward, SETTINGS) as app:
        yield app.server.test_client()


def get(client: Any, name: str, patient: str = HER, **query: Any) -> Any:
    return client.get(f"/data/{patient}/{name}", base_url=BASE, query_string=query)


def proof(client: Any, ward: FakeWard, seconds: float = 40, patient: str = HER, **query: Any) -> Any:
    now_s = time.time()
    number = shown_number(ward.clinic.cards[patient])
    return get(client, "proof", patient, **{"from": now_s - seconds, "to": now_s, "number": number, **query})


def test_the_state_says_up_to_when_the_log_was_verified_and_by_whom(client: Any, ward: FakeWard) -> None:
    answer = get(client, "proof/state")
    state = answer.json
    assert state["now_ms"] - 30_000 < state["upto_ms"] <= state["now_ms"]
    assert state["size"] > 0 and state["origin"] and state["witnesses"][0]["name"] and state["alarm"] is None
    assert answer.headers["Cache-Control"] == "no-store"
    ward.logs.never = True
    assert list(get(client, "proof/state").json) == ["now_ms"]


def test_the_records_are_the_newest_of_her_device_with_their_hashes(client: Any, ward: FakeWard) -> None:
    rows = get(client, "records", limit=5).json["records"]
    assert len(rows) == 5 and {row["device"] for row in rows} == {ward.clinic.cards[HER].device}
    assert [row["index"] for row in rows] == sorted((row["index"] for row in rows), reverse=True)
    for row in rows:
        entry = ward.logs.entries[row["index"]]
        assert (row["hash"], row["seq"]) == (entry.ciphertext_hash.hex(), entry.seq)
    assert not rows[0]["covered"] or rows[0]["index"] < ward.logs.state(HER)["size"]


def test_a_proof_is_of_her_records_alone_and_holds_with_the_logs_key(client: Any, ward: FakeWard) -> None:
    answer = proof(client, ward)
    assert answer.status_code == 200
    assert (
        "attachment" in answer.headers["Content-Disposition"] and ".proof.json" in answer.headers["Content-Disposition"]
    )
    key, witness = VerifierKey.parse(ward.logs.verifier), VerifierKey.parse(witness_key(ward.logs))
    found = proofs.prove(answer.text, [key], [witness])
    assert found.now.log and len(found.now.witnesses) == 1
    assert len(found.records) > 5
    assert {record.entry.device for record in found.records if record.entry} == {ward.clinic.cards[HER].device}


def test_the_command_of_an_auditor_accepts_the_download_and_refuses_a_changed_one(
    client: Any, ward: FakeWard, tmp_path: Path
) -> None:
    file, text = tmp_path / "p.json", proof(client, ward).text
    verify = lambda: CliRunner().invoke(  # noqa: E731
        commands, ["verify", "--proof", str(file), "--log-key", ward.logs.verifier], env={"COLUMNS": "300"}
    )
    file.write_text(text)
    done = verify()
    assert done.exit_code == 0 and "PROVEN" in done.output, done.output
    changed = json.loads(text)
    changed["records"][0]["record"]["seq"] += 1
    file.write_text(json.dumps(changed))
    assert verify().exit_code == 1


def test_what_a_device_sent_while_it_was_another_patients_is_not_in_her_proof(client: Any, ward: FakeWard) -> None:
    now_ms = time.time_ns() // 10**6
    until = now_ms - 20_000
    ward.logs.former[HER] = Held("old-1", 0, until)
    ward.logs.state(HER)
    sent = [int(e.stream_id.partition("-")[0]) for e in ward.logs.entries if e.device == "old-1"]
    assert min(sent) <= until < max(sent)
    records = [record["record"] for record in json.loads(proof(client, ward).text)["records"]]
    old = [int(record["stream_id"].partition("-")[0]) for record in records if record["device"] == "old-1"]
    assert old and max(old) <= until
    assert {record["device"] for record in records} == {"old-1", ward.clinic.cards[HER].device}
    rows = [row for row in get(client, "records", limit=50).json["records"] if row["device"] == "old-1"]
    assert all(row["t_ms"] <= until for row in rows)


@pytest.mark.parametrize(
    ("query", "status", "expected"),
    [
        ({"from": "soon"}, 400, "from="), ({"to": "nan"}, 400, "to="), ({"from": 5.0, "to": 4.0}, 400, "from < to"),
        ({"from": 1000.0, "to": 1000.0 + 3601}, 400, "at most 3600 s"), ({"number": "4"}, 409, "record number"),
        ({"from": 1000.0, "to": 1100.0}, 409, "checkpoint"),
    ],
)  # fmt: skip
def test_a_range_that_is_not_clear_gets_no_proof(
    client: Any, ward: FakeWard, query: dict[str, Any], status: int, expected: str
) -> None:
    answer = proof(client, ward, **query)
    assert answer.status_code == status and expected in answer.text
    assert "nothing was" in answer.text


@pytest.mark.parametrize("limit", ["0", "51", "-1", "x", "9" * 30])
def test_a_list_has_an_end(client: Any, limit: str) -> None:
    assert get(client, "records", limit=limit).status_code == 400


def test_a_proof_without_the_records_number_is_not_given_and_nobody_may_ask_without_end(
    client: Any, ward: FakeWard
) -> None:
    now_s = time.time()
    assert get(client, "proof", **{"from": now_s - 9, "to": now_s}).status_code == 400
    answers = [proof(client, ward).status_code for _ in range(14)]
    assert answers[0] == 200 and answers[-1] == 429


def test_a_patient_whom_nobody_knows_has_no_log(client: Any) -> None:
    for name in ("proof/state", "records", "proof"):
        assert get(client, name, "p-9999").status_code == 404


# ------------------------------------------------------------------------------------------- with accounts


@pytest.fixture
def house(redis_server) -> Iterator[House]:  # type: ignore[no-untyped-def]
    made = House(redis_server[0], SETTINGS)
    yield made
    made.close()


@pytest.mark.redis
def test_who_may_not_export_sees_the_shield_and_gets_no_proof_and_both_are_audited(house: House) -> None:
    """ASVS 5.0 8.2.1, 16.2.1."""
    now_s, number = time.time(), shown_number(house.feed.clinic.cards[HER])
    ask = f"/data/{HER}/proof?from={now_s - 40}&to={now_s}&number={number}"
    vera, wren = Visitor(house), Visitor(house)
    vera.sign_in("vera")
    wren.sign_in("dr.wren")
    assert vera.get(f"/data/{HER}/proof/state").status_code == 200
    assert vera.get(ask).status_code == 403
    assert house.told("access.refused", "vera")[0].facts["right"] == "export"
    assert not house.told("access.export")
    assert wren.get(ask).status_code == 200
    event = house.told("access.export", "dr.wren")[0]
    assert (event.about, event.facts["what"]) == (HER, "proof")
    for name in ("proof/state", "records"):
        assert wren.get(f"/data/p-0003/{name}").status_code == 404


# ------------------------------------------------------------------------------------------- over the real log


@pytest.mark.redis
def test_the_real_log_gives_the_web_what_it_asks_and_no_record_of_another_time(
    redis_server: tuple[RedisFiles, object], tmp_path: Path
) -> None:
    files, _ = redis_server
    (tmp_path / "redis").symlink_to(files.directory)
    settings = Settings(tmp_path)
    shard = Shard(files, wiring.vault(settings, "keeper").master, "s0")
    shard.fold(40)
    border_ms = time.time_ns() // 10**6 + 1
    time.sleep(0.01)
    shard.fold(30)
    history = Assignments((Assignment("p-old", 0, border_ms), Assignment("p-new", border_ms)))
    shard.client.hset(keys.assignments("s0"), DEVICE, history.to_json())
    notary = notarial.notary(settings)
    notary.round(whole=True)
    logs, now_ms = LogFeed(connect(files.login("web")), 1), time.time_ns() // 10**6
    assert logs.held("p-old", 0, now_ms) == [Held(DEVICE, 0, border_ms - 1)]
    assert logs.held("p-new", 0, now_ms) == [Held(DEVICE, border_ms, now_ms)]
    assert logs.held("p-else", 0, now_ms) == [] and logs.held("p-old", border_ms, now_ms) == []
    old, new = (logs.held(patient, 0, now_ms)[0] for patient in ("p-old", "p-new"))
    hers = logs.records("p-new", DEVICE, new.t0_ms, new.t1_ms)
    others = logs.records("p-old", DEVICE, old.t0_ms, old.t1_ms)
    assert hers and others and others[-1].index < hers[0].index
    assert logs.newest("p-new", DEVICE, new.t0_ms, new.t1_ms, 1000) == hers[::-1]
    assert logs.newest("p-new", DEVICE, new.t0_ms, new.t1_ms, 3) == hers[:-4:-1]
    key = VerifierKey.parse(logs.state("p-new")["key"])
    assert len(proofs.prove(to_file(logs.bundle("p-new", hers)), [key]).records) == len(hers)


def test_the_fake_log_is_signed_by_its_key_alone(ward: FakeWard) -> None:
    other = FakeLog(ward.clinic.cards)
    wait_until(lambda: ward.logs.state(HER)["size"])
    covered = [r for r in ward.logs.records(HER, ward.clinic.cards[HER].device, 0, 2**50) if r.covered]
    text = to_file(ward.logs.bundle(HER, covered))
    with pytest.raises(Exception, match="signed by"):
        proofs.prove(text, [VerifierKey.parse(other.verifier)])
