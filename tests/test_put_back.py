"""An older snapshot of one patient that is put back in Redis is noticed when an engine reads it, told, and not used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from security.keys import MasterKey
from tests.engine_kit import PATIENT, Ward
from tests.erase_kit import OTHER, OTHER_DEVICE, second_patient, wait_until
from twin_engine.model import Generator
from twin_engine.registry import PatientCard
from twin_engine.store import keys
from twin_engine.store.commit import Commit, TwinWrite
from twin_engine.store.connection import connect
from twin_engine.store.heads import OLDER, UNSURE
from twin_engine.store.server import RedisFiles
from twin_engine.store.shard import ShardStore
from twin_engine.store.vault import Vault

pytestmark = pytest.mark.redis
STATE = keys.state("s0", "p-1")


@pytest.fixture
def shard(redis_server: tuple[RedisFiles, object], tmp_path: Path) -> Iterator[ShardStore]:
    """Two patients whose snapshots were each written twice."""
    client = connect(redis_server[0].login("engine"))
    made = ShardStore(client, Vault(client, MasterKey.load_or_create(tmp_path / "master.key")), "s0")
    assert made.acquire()
    cards = {p: PatientCard(p, "X", 0, "B") for p in ("p-1", "p-2")}
    for patient in cards:
        made.create_key(patient)
    made.commit(Commit("1-0", 1, cards=cards))
    for n in (2, 3):
        made.commit(commit(n))
        made.old = client.get(STATE) if n == 2 else made.old  # type: ignore[attr-defined]
    yield made


def commit(n: int, *patients: str) -> Commit:
    writes = [TwinWrite(p, b"", b"", None, [], n, b"state %d" % n) for p in patients or ("p-1", "p-2")]
    return Commit(f"{n}-0", n, twins=writes)


def found(shard: ShardStore) -> list[str | None]:
    """As the next owner finds them."""
    fresh = ShardStore(shard._client, shard._vault, "s0")
    shard._client.delete(keys.owner("s0"))
    assert fresh.acquire()
    return [fresh.put_back(patient) for patient in ("p-1", "p-2")]


def test_what_was_written_last_is_what_is_expected_whoever_reads(shard: ShardStore) -> None:
    assert found(shard) == [None, None]
    shard._client.delete(keys.owner("s0"))
    other = ShardStore(shard._client, shard._vault, "s0")
    assert other.acquire()
    other.commit(commit(4, "p-2"))
    assert found(other) == [None, None], "of a patient who was not written the last one stands"


@pytest.mark.parametrize("how", ["older", "gone", "another patient's"])
def test_one_patients_snapshot_that_is_not_the_newest_is_noticed_and_only_hers(shard: ShardStore, how: str) -> None:
    client = shard._client
    if how == "older":
        client.set(STATE, shard.old)  # type: ignore[attr-defined]
    elif how == "gone":
        client.delete(STATE)
    else:
        shard.commit(commit(4, "p-2"))
        client.set(STATE, shard.old)  # type: ignore[attr-defined]
    assert found(shard) == [OLDER, None]


@pytest.mark.parametrize("how", ["older with its snapshot", "spoilt", "of another shard"])
def test_a_list_that_is_not_the_last_one_makes_everybody_unsure(shard: ShardStore, how: str) -> None:
    client = shard._client
    list_then = client.get(keys.heads("s0"))
    then = client.get(STATE)
    shard.commit(commit(4))
    if how == "older with its snapshot":
        client.set(keys.heads("s0"), list_then)
        client.set(STATE, then)
    elif how == "spoilt":
        client.set(keys.heads("s0"), list_then[:-1] + b"x")
    else:
        client.set(keys.heads("s0"), shard._vault.master.wrap(b"", b"heads|s1"))
    assert found(shard) == [UNSURE, UNSURE]


def test_a_commit_that_fails_changes_nothing_of_the_list(shard: ShardStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = shard._heads
    monkeypatch.setattr(shard._vault, "cipher", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        shard.commit(commit(4))
    monkeypatch.undo()
    assert shard._heads == before and found(shard) == [None, None]


def test_a_store_of_before_there_were_lists_is_taken_as_it_is(shard: ShardStore) -> None:
    shard._client.delete(keys.heads("s0"))
    assert found(shard) == [None, None]


def test_an_engine_tells_it_in_her_story_starts_her_twin_anew_and_leaves_the_others_alone(
    redis_server: tuple[RedisFiles, object], tmp_path: Path, generator: Generator
) -> None:
    ward = Ward(redis_server[0], tmp_path, generator)
    stop = ward.engine()
    ward.connect_device()
    other = second_patient(ward)
    ward.send(ward.frame(8), ward.frame(8, sealer=other))
    ward.send(ward.frame(8, sealer=other), device=OTHER_DEVICE)
    ward.wait_for("stored", 16)
    old = ward.keeper.get(keys.state("s0", PATIENT))
    ward.send(ward.frame(8), ward.frame(8))
    ward.wait_for("stored", 32)
    stop.set()
    ward.threads[0].join(10)
    ward.keeper.set(keys.state("s0", PATIENT), old)
    again = ward.engine()
    wait_until(lambda: "put-back" in {event["kind"] for event in ward.events()}, "her story to tell it")
    assert "put-back" not in {event["kind"] for event in ward.events(OTHER)}
    ward.send(ward.frame(8))
    ward.wait_for("stored", 40)
    again.set()
    ward.threads[1].join(10)
    ward.engine()
    ward.send(ward.frame(8))
    ward.wait_for("stored", 48)
    kinds = [event["kind"] for event in ward.events()]
    assert kinds.count("put-back") == 1, "the state that was written since is the newest"
    ward.close()
