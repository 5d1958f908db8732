"""What an auditor is handed is proven on her machine, and nothing that was changed is."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from everbeat.cli import app
from security import proofs
from security.errors import Rejected
from security.note import LOG, VerifierKey, verifier_of
from security.witness import Witness
from tests.log_kit import DEVICE, House
from twin_engine.store.connection import connect
from twin_engine.store.errors import StoreCorrupt
from twin_engine.store.log import LogReader
from twin_engine.store.log_proofs import proof_bundle, to_file
from twin_engine.store.log_records import MAX_RECORDS, record_by_index, records
from twin_engine.store.reader import RedisFeed
from twin_engine.store.server import RedisFiles
from twin_engine.store.vault import Vault
from twin_engine.witnessing import WitnessAddress

pytestmark = pytest.mark.redis


class Proved(House):
    """A house with a witness, 400 records, and a bundle that the web's user made."""

    def __post_init__(self) -> None:
        super().__post_init__()
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        told = [keeper.verifier for keeper in self.notary.keepers.values()]
        key = Ed25519PrivateKey.generate()
        self.witness = Witness("witness.example/w1", key, told, self.state / "w", lambda: 1_700_000_000)
        self.witnesses = [WitnessAddress("http://w", self.witness.verifier)]
        self.push = self._push
        self.notary = self.new_notary()
        self.shards["s0"].fold(200)
        self.look()
        self.kept = str(self.web_reader().note())
        self.first_size = self.notary.keepers["s0"].memory.size
        self.shards["s0"].fold(200)
        self.look()
        self.log_key: VerifierKey = self.notary.keepers["s0"].verifier
        self.web = connect(self.files.login("web"))
        self.records = records(self.web, "s0", DEVICE, 0, 2**50)

    def web_reader(self) -> LogReader:
        return LogReader(connect(self.files.login("web")), "s0")

    def _push(self, url: str, body: bytes) -> tuple[int, str]:
        answer = self.witness.add_checkpoint(body)
        return answer.status, answer.body

    def bundle(self, **asked: Any) -> dict[str, Any]:
        reader = connect(self.files.login("notary"))  # the web may not read raw records
        return proof_bundle(reader, "s0", self.records, envelopes=True, **asked)


@pytest.fixture
def house(redis_server: tuple[RedisFiles, object], tmp_path: Path) -> Iterator[Proved]:
    yield Proved(redis_server[0], tmp_path)


def test_every_record_of_a_device_is_proven_with_its_envelope_by_a_witnessed_checkpoint(house: Proved) -> None:
    text = to_file(house.bundle(since_ms=2**50))
    found = proofs.prove(text, [house.log_key], [house.witness.verifier])
    assert [r.index for r in found.records] == list(range(found.now.point.size))
    assert all(record.envelope for record in found.records)
    assert [(s.key.name, s.t_s) for s in found.now.witnesses] == [("witness.example/w1", 1_700_000_000)]
    assert found.earlier is not None and found.earlier.point.size == house.first_size
    assert found.own_key is None and found.now.log


def test_a_checkpoint_that_the_auditor_kept_is_proven_to_be_the_beginning(house: Proved) -> None:
    text = to_file(house.bundle(since_size=house.first_size))
    found = proofs.prove(text, [house.log_key], [house.witness.verifier], house.kept)
    assert found.earlier is not None and found.earlier.witnesses
    with pytest.raises(Rejected):
        proofs.prove(to_file(house.bundle()), [house.log_key], (), house.kept)


def test_a_log_that_was_rewritten_by_who_holds_everything_of_the_house_is_no_continuation(house: Proved) -> None:
    """Redis, the notary's key and its memory in one hand: alone the new log looks true, but not with what was kept."""
    leaves = "eb:{s0}:leaves"
    house.keeper.lset(leaves, 5, bytes(32))
    for key in ("eb:{s0}:nodes:8", "eb:{s0}:note", "eb:{s0}:notes"):
        house.keeper.delete(key)
    house.shards["s0"].store._ledger.forget()
    house.shards["s0"].fold(20)
    (house.state / "s0.json").unlink()
    house.witnesses = []
    house.notary = house.new_notary()
    keeper = house.notary.keepers["s0"]
    keeper._sign(keeper._reader.extent(), 2**50)  # the forger's notary has no scruples
    keeper._publish(2**50)
    house.records = house.records[:3]
    text = to_file(house.bundle(since_size=house.first_size))
    assert len(proofs.prove(text.replace('"earlier"', '"later"'), [house.log_key]).records) == 3
    with pytest.raises(Rejected, match="only grew"):
        proofs.prove(text, [house.log_key], (), house.kept)


def test_nothing_in_a_bundle_can_be_changed(house: Proved) -> None:
    """Each text and number of the bundle in turn: what is still proven after a change is what was proven before."""
    keys, dice = [house.log_key], random.Random(3)
    house.records = house.records[:6]
    bundle = house.bundle(since_ms=2**50)
    true, tried = proofs.prove(to_file(bundle), keys, [house.witness.verifier]), 0
    for path in list(_leaves(bundle)):
        for _ in range(4):
            spoilt = json.loads(json.dumps(bundle))
            _spoil(spoilt, path, dice)
            if spoilt == bundle or path[0] == "key":
                continue
            tried += 1
            try:
                found = proofs.prove(to_file(spoilt), keys, [house.witness.verifier])
            except Rejected:
                continue
            assert found.records == true.records and found.now.point == true.now.point, path
    assert tried > 300


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not isinstance(value, dict | list):
        yield path
    for name, part in items:
        yield from _leaves(part, (*path, name))


def _spoil(bundle: Any, path: tuple[Any, ...], dice: random.Random) -> None:
    *way, last = path
    for name in way:
        bundle = bundle[name]
    old = bundle[last]
    if isinstance(old, int):
        bundle[last] = old + dice.choice([-1, 1, 256])
    else:
        at = dice.randrange(max(1, len(old)))
        bundle[last] = old[:at] + dice.choice("AZaz09+/=\n ") + old[at + 1 :]


@pytest.mark.parametrize("text", ["", "[]", "{", "{}", '{"format": "everbeat/1 proof"}', "[" * 100_000, "null"])
def test_what_is_no_bundle_proves_nothing(text: str) -> None:
    with pytest.raises(Rejected):
        proofs.prove(text, [VerifierKey("x", LOG, bytes(32))])


def test_a_strangers_key_and_a_missing_witness_prove_nothing(house: Proved) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    text = to_file(house.bundle())
    other = verifier_of(house.log_key.name, LOG, Ed25519PrivateKey.generate())
    with pytest.raises(Rejected, match="signed by"):
        proofs.prove(text, [other])
    assert proofs.prove(text, [house.log_key]).now.witnesses == ()
    alone = proofs.prove(text, [])
    assert alone.own_key == house.log_key and not alone.now.log


def test_verify_says_in_plain_words_what_is_proven_and_what_is_not(house: Proved, tmp_path: Path) -> None:
    file, kept = tmp_path / "proof.json", tmp_path / "kept.note"
    file.write_text(to_file(house.bundle(since_size=house.first_size)))
    kept.write_text(house.kept)
    run, key = CliRunner(), str(house.log_key)
    whole = run.invoke(app, ["verify", "--proof", str(file), "--log-key", key, "--since", str(kept),
                             "--witness-key", str(house.witness.verifier)])  # fmt: skip
    assert whole.exit_code == 0, whole.output
    assert f"PROVEN: record 3: device {DEVICE}" in whole.output and "NOT PROVEN by this file" in whole.output
    assert "witnessed by witness.example/w1, 2023-11-14 22:13:20 UTC" in whole.output
    assert f"nothing of the first {house.first_size} leaves was changed" in whole.output
    alone = run.invoke(app, ["verify", "--proof", str(file), "--since", str(kept)])
    assert alone.exit_code == 3 and "NOT PROVEN: whose log this is" in alone.output
    file.write_text(file.read_text().replace(DEVICE, "dev-2", 1))
    wrong = run.invoke(app, ["verify", "--proof", str(file), "--log-key", key, "--since", str(kept)])
    assert wrong.exit_code == 1


def test_verifying_a_proof_needs_neither_redis_nor_state_nor_the_engine(house: Proved, tmp_path: Path) -> None:
    file = tmp_path / "proof.json"
    file.write_text(to_file(house.bundle()))
    code = (
        "import sys, everbeat.cli; from typer.testing import CliRunner; "
        f"asked = ['verify', '--proof', {str(file)!r}, '--log-key', {str(house.log_key)!r}]; "
        "r = CliRunner().invoke(everbeat.cli.app, asked); "
        "print(r.exit_code, [m for m in ('torch', 'flask', 'twin_engine.store.log') if m in sys.modules])"
    )
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "EVERBEAT_STATE": "/nonexistent"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "0 []"


def test_without_a_checkpoint_there_is_no_proof_and_too_many_records_are_refused(house: Proved) -> None:
    house.keeper.delete("eb:{s0}:note")
    with pytest.raises(StoreCorrupt, match="got none"):
        house.bundle()
    with pytest.raises(ValueError, match="at most"):
        proof_bundle(house.web, "s0", [house.records[0]] * (MAX_RECORDS + 1))


def test_a_record_is_found_by_its_index_and_its_time(house: Proved) -> None:
    record = house.records[7]
    assert record_by_index(house.web, "s0", record.index) == record
    assert record_by_index(house.web, "s0", 10**6) is None
    assert records(house.web, "s0", "dev-2", 0, 2**50) == []
    ms = int(record.entry.stream_id.split("-")[0])
    assert record in records(house.web, "s0", DEVICE, ms, ms)
    assert record not in records(house.web, "s0", DEVICE, ms + 1, 2**50)


def test_the_web_asks_by_patient_with_its_reading_user(house: Proved) -> None:
    feed = RedisFeed(house.web, Vault(house.web, house.master), 1)
    state = feed.logs.state("p-1")
    assert state["size"] == len(house.records) and state["alarm"] is None
    last = int(house.shards["s0"].records()[-1][0].split(b"-")[0])
    assert state["upto_ms"] == last
    found = feed.logs.records("p-1", DEVICE, 0, 2**50)
    assert found == house.records
    text = to_file(feed.logs.bundle("p-1", found[:2], since_ms=2**50))
    assert len(proofs.prove(text, [house.log_key]).records) == 2
