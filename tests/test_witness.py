"""The witness: it cosigns what only grew, says no as the specification says it, and forgets nothing over a kill."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everbeat.notarial import push
from everbeat.witness import _handler, _Server
from security import note
from security.checkpoint import Checkpoint
from security.merkle import consistency_proof, leaf_hash, root
from security.note import LOG
from security.tiles import Tree
from security.witness import MAX_REQUEST_BYTES, SIZE_TYPE, Request, Witness
from tests.log_kit import House
from tests.tampering import rolled_back_and_grown_anew
from tests.test_tiles import Lists
from twin_engine.store.log import read_state
from twin_engine.store.server import RedisFiles
from twin_engine.witnessing import WitnessAddress, ask

ORIGIN, NAME = "everbeat.example/4f2a/s0", "witness.example/w1"
LOG_KEY, OWN = Ed25519PrivateKey.from_private_bytes(b"l" * 32), Ed25519PrivateKey.from_private_bytes(b"w" * 32)
TRUE = [leaf_hash(bytes([n])) for n in range(40)]
FORK = [*TRUE[:10], *(leaf_hash(b"fork" + bytes([n])) for n in range(30))]


def signed(leaves: list[bytes], size: int, key: Ed25519PrivateKey = LOG_KEY, origin: str = ORIGIN) -> str:
    text = Checkpoint(origin, size, root(leaves[:size])).text
    return note.assemble(text, [note.sign_line(text, origin, key)])


def request(leaves: list[bytes], old: int, size: int) -> bytes:
    steps = tuple(consistency_proof(leaves[:size], old)) if 0 < old <= size else ()
    return Request(old, steps, signed(leaves, size)).to_text().encode()


def new_witness(home: Path) -> Witness:
    return Witness(NAME, OWN, [note.verifier_of(ORIGIN, LOG, LOG_KEY)], home, lambda: 1_700_000_000.5)


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return new_witness(tmp_path / "w")


def test_a_log_that_grows_is_cosigned_at_each_size_and_again_at_the_same(witness: Witness) -> None:
    old = 0
    for size in (1, 2, 7, 8, 8, 33, 40):
        answer = witness.add_checkpoint(request(TRUE, old, size))
        assert answer.status == 200
        whole = note.assemble(note.split(signed(TRUE, size))[0], [answer.body])
        assert [(s.key.name, s.t_s) for s in note.check(whole, [witness.verifier])[1]] == [(NAME, 1_700_000_000)]
        old = size


def test_a_fork_a_rollback_and_a_wrong_proof_are_refused_and_the_evidence_is_kept(
    witness: Witness, tmp_path: Path
) -> None:
    assert witness.add_checkpoint(request(TRUE, 0, 20)).status == 200
    held = witness.latest(ORIGIN)
    assert witness.add_checkpoint(request(FORK, 20, 30)).status == 422
    same = witness.add_checkpoint(request(FORK, 20, 20))
    assert (same.status, same.body, same.content_type) == (409, "20\n", SIZE_TYPE)
    back = witness.add_checkpoint(request(TRUE, 5, 15))
    assert (back.status, back.body) == (409, "20\n")
    assert witness.add_checkpoint(Request(20, (), signed(TRUE, 30)).to_text().encode()).status == 422
    assert witness.latest(ORIGIN) == held
    assert len(list((tmp_path / "w" / "evidence").iterdir())) == 3


def test_who_is_not_the_log_is_refused_with_the_status_of_the_specification(witness: Witness) -> None:
    stranger = Ed25519PrivateKey.generate()
    other = Request(0, (), signed(TRUE, 5, origin="other.example/log")).to_text().encode()
    assert witness.add_checkpoint(other).status == 404
    assert witness.add_checkpoint(Request(0, (), signed(TRUE, 5, stranger)).to_text().encode()).status == 403
    spoilt = request(TRUE, 0, 5).replace(b"\n5\n", b"\n6\n")
    assert witness.add_checkpoint(spoilt).status == 403
    assert witness.add_checkpoint(request(TRUE, 9, 5)).status == 400
    assert witness.add_checkpoint(request(TRUE, 3, 5)).body == "0\n"
    whole = request(TRUE, 0, 5)
    short, many = (whole.replace(b"old 0\n", b"old 0\n" + steps) for steps in (b"QUJD\n", (b"A" * 43 + b"=\n") * 64))
    padded = b"old 00\n\n" + signed(TRUE, 5).encode()
    for body in (b"", b"old 0\n", padded, short, many, b"\xff" * 9, b"x" * (MAX_REQUEST_BYTES + 1)):
        assert witness.add_checkpoint(body).status == 400
    assert witness.latest(ORIGIN) is None


def test_what_was_cosigned_is_remembered_by_the_next_process(witness: Witness, tmp_path: Path) -> None:
    assert witness.add_checkpoint(request(TRUE, 0, 20)).status == 200
    assert new_witness(tmp_path / "w").add_checkpoint(request(FORK, 0, 20)).status == 409


def test_of_two_forks_that_come_at_once_one_is_cosigned(tmp_path: Path) -> None:
    for n in range(10):
        pair = [new_witness(tmp_path / str(n)) for _ in range(2)]  # two processes on one memory
        bodies = [request(TRUE, 0, 20), request(FORK, 0, 20)] * 2
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(Witness.add_checkpoint, pair * 2, bodies))
        assert sorted(answer.status for answer in answers) == [200, 409, 409, 409]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_make_it_cosign(witness: Witness, body: bytes) -> None:
    assert witness.add_checkpoint(body).status == 400
    assert witness.add_checkpoint(request(TRUE, 0, 5)[: len(body)] + body).status in (400, 403, 404)


@pytest.fixture
def served(witness: Witness) -> Iterator[str]:
    server = _Server(("127.0.0.1", 0), _handler(witness))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_over_http_it_answers_as_the_specification_says_and_bounds_what_it_reads(served: str, witness: Witness) -> None:
    assert push(f"{served}/add-checkpoint", request(TRUE, 0, 20))[0] == 200
    assert push(f"{served}/add-checkpoint", request(TRUE, 0, 20)) == (409, "20\n")
    assert push(f"{served}/other", b"")[0] == 404
    assert push(f"{served}/add-checkpoint", b"x" * (MAX_REQUEST_BYTES + 1))[0] in (413, 0)
    link = http.client.HTTPConnection(served.removeprefix("http://"), timeout=5)
    link.request("GET", "/")
    assert link.getresponse().read().decode().strip() == str(witness.verifier)
    link.putrequest("POST", "/add-checkpoint")
    link.putheader("Content-Length", "-5")
    link.endheaders()
    assert link.getresponse().status == 413


def test_the_notary_finds_the_size_that_the_witness_has_and_hears_where_it_disagrees(
    served: str, witness: Witness
) -> None:
    address = WitnessAddress(served, witness.verifier)
    assert WitnessAddress.parse(f"{served}/+{witness.verifier}") == address
    tree = Tree(Lists(TRUE))
    assert ask(address, signed(TRUE, 20), 0, tree, push).line
    assert ask(address, signed(TRUE, 30), 0, tree, push).line, "it had forgotten what the witness has"
    assert "more than" in ask(address, signed(TRUE, 25), 0, tree, push).disagrees
    assert "another tree" in ask(address, signed(FORK, 30), 30, Tree(Lists(FORK)), push).disagrees
    assert "no beginning" in ask(address, signed(FORK, 35), 30, Tree(Lists(FORK)), push).disagrees
    assert not ask(WitnessAddress("http://127.0.0.1:9", witness.verifier), signed(TRUE, 30), 0, tree, push).answered


@pytest.mark.redis
def test_a_fork_by_who_also_holds_the_notarys_memory_is_found_by_the_witness(
    redis_server: tuple[RedisFiles, object], tmp_path: Path
) -> None:
    import random
    import shutil

    key = Ed25519PrivateKey.generate()
    first = House(redis_server[0], tmp_path)
    keys = [keeper.verifier for keeper in first.notary.keepers.values()]
    witness = Witness(NAME, key, keys, tmp_path / "w", lambda: 1_700_000_000)

    def told(url: str, body: bytes) -> tuple[int, str]:
        answer = witness.add_checkpoint(body)
        return answer.status, answer.body

    first.witnesses, first.push = [WitnessAddress("http://w", witness.verifier)], told
    first.notary = first.new_notary()
    shard = first.shards["s0"]
    shard.fold(40)
    assert first.look() == []
    shutil.copy(tmp_path / "s0.json", tmp_path / "older")
    shard.fold(100)
    assert first.look() == []
    assert read_state(first.keeper)["s0"]["witnesses"] == [{"name": NAME, "t_s": 1_700_000_000}]
    rolled_back_and_grown_anew(first, shard, random.Random(5))
    shutil.copy(tmp_path / "older", tmp_path / "s0.json")
    first.notary = first.new_notary()
    assert "witness-disagrees" in first.kinds()
