"""An erased patient can't be read any more: not from Redis, not from a backup of it, not with the master key."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from everbeat import erasing, wiring
from everbeat.settings import Settings
from security import signing
from security.errors import Rejected, SecurityError
from security.files import KeyFileError
from security.identity import wall_clock_ms
from security.keyhome import KeyHome, fingerprint, name_of
from security.keys import MasterKey, PatientCipher
from security.merkle import inclusion_proof, root, verify_inclusion
from security.tombstones import Tombstone
from tests.demo_kit import Demo, running_demo
from tests.engine_kit import CARD, DEVICE, PATIENT, Ward
from tests.erase_kit import OTHER, OTHER_DEVICE, House, bytes_under, running_house, second_patient, wait_until
from twin_engine.recipients import open_stored, stored_wrap
from twin_engine.registry import PatientCard
from twin_engine.store import erasing as store_erasing
from twin_engine.store import keys
from twin_engine.store.audit import open_event
from twin_engine.store.connection import connect
from twin_engine.store.errors import Erased, StoreCorrupt, StoreDown
from twin_engine.store.vault import Vault

pytestmark = pytest.mark.redis
HER = PatientCard(PATIENT, "WREN-3", 1970, "Bed 1", DEVICE, number="4711-0815")


@pytest.fixture
def house(generator):  # type: ignore[no-untyped-def]
    with running_house(generator) as made:
        yield made


@pytest.fixture
def ward(house: House):  # type: ignore[no-untyped-def]
    made = house.ward()
    yield made
    made.close()


def measured(ward: Ward) -> None:
    """The ward's patient has sent readings, which were stored and shown."""
    ward.connect_device()
    ward.send(ward.frame(8, value=7.125), ward.frame(8, value=7.25))
    ward.wait_for("stored", 16)


def secret_of(ward: Ward, patient: str = PATIENT) -> bytes:
    return (ward.state / "patients" / f"{name_of(patient).hex()}.key").read_bytes()


def left_in_redis(ward: Ward) -> list[str]:
    """Everything in Redis in which the erased patient can still be found."""
    client, name = ward.keeper, name_of(PATIENT)
    found = [key.decode() for key in client.scan_iter("eb:*") if key.endswith(PATIENT.encode())]
    found += ["patients"] if client.sismember(keys.PATIENTS, PATIENT) else []
    for key in (keys.sessions("s0"), keys.recipients("s0"), keys.assignments("s0"), keys.ROUTE):
        found += [key for value in client.hvals(key) if PATIENT.encode() in value]
    for key in (keys.acts("s0"), keys.raw("s0"), keys.dead("s0")):
        found += [key for _, f in client.xrange(key) if name in f.get(b"b", b"") or f.get(b"device") == DEVICE.encode()]
    return found


def test_while_the_house_runs_she_is_gone_within_seconds_and_the_others_go_on(house: House, ward: Ward) -> None:
    ward.engine()
    measured(ward)
    other = second_patient(ward)
    ward.send(ward.frame(8, sealer=other), device=OTHER_DEVICE)
    ward.wait_for("stored", 24)
    leaves = ward.store().leaf_hashes()
    assert ward.feed.history(PATIENT, time.time() - 60, time.time()).samples, "she could be seen, and is in the archive"
    began_s = time.monotonic()
    made = erasing.erase(house.settings, PATIENT, "tester")
    took_s = time.monotonic() - began_s
    assert left_in_redis(ward) == []
    wait_until(lambda: ward.card().pseudonym == "", "the page's list without her")
    with pytest.raises((StoreCorrupt, Rejected)):
        ward.feed._vault.cipher(PATIENT)
    assert ward.feed.history(PATIENT, time.time() - 60, time.time()).samples == {}, "not in the web's memory either"
    ward.send(ward.frame(8, sealer=other), device=OTHER_DEVICE)
    ward.wait_for("stored", 32)
    ward.send(ward.frame(8))  # her device does not know yet
    ward.wait_for("refused", 1)
    assert [k for k in left_in_redis(ward) if k not in (keys.raw("s0"), keys.dead("s0"))] == []
    assert ward.keeper.get(keys.data_key(PATIENT)) is None and took_s < 20
    now = ward.store().leaf_hashes()
    assert now[: len(leaves)] == leaves and len(now) == len(leaves) + 1, "the log only grew"
    assert made["log"] == {"shard": "s0", "size": len(leaves), "root": root(leaves).hex()}
    for index, leaf in enumerate(leaves):
        assert verify_inclusion(
            leaf, index, len(leaves), inclusion_proof(leaves, index), bytes.fromhex(made["log"]["root"])
        )


def test_her_device_is_free_for_another_patient_who_is_then_measured(house: House, ward: Ward) -> None:
    ward.engine()
    measured(ward)
    ward.take_order("receipt")
    erasing.erase(house.settings, PATIENT, "tester")
    ward.patients.admit(PatientCard("p-3", "SISKIN-4", 1960, "Bed 1"), wall_clock_ms())
    ward.patients.assign(DEVICE, "p-3", wall_clock_ms() - 10_000)
    ward.connect_device(epoch=2)
    ward.send(ward.frame(8))
    ward.wait_for("stored", 24)
    assert ward.card("p-3").device == DEVICE
    assert any(entry.frame for entry in ward.feed.recent("p-3", 60))


def test_who_was_erased_is_never_admitted_again_and_is_told_so(house: House, ward: Ward) -> None:
    ward.engine()
    measured(ward)
    sealed = ward.keeper.xrange(keys.acts("s0"))[0][1][b"b"]
    erasing.erase(house.settings, PATIENT, "tester")
    with pytest.raises(Erased, match=r"was erased on .* UTC; an erased patient stays erased"):
        ward.patients.admit(CARD, wall_clock_ms())
    ward.keeper.xadd(keys.acts("s0"), {"b": sealed})  # her admission, out of a backup
    ward.wait_for("acts_refused", 1)
    assert ward.keeper.xrange(keys.dead("s0"))[-1][1][b"reason"] == b"erased"
    assert ward.card().pseudonym == ""


def test_after_an_erasure_no_file_of_the_state_holds_a_marker_or_a_destroyed_key(house: House, ward: Ward) -> None:
    ward.patients.act(PATIENT, "admit", {"pseudonym": "x", "bed": "x"}, wall_clock_ms())
    ward.engine()
    ward.patients.act(PATIENT, "edit", {"pseudonym": "MARKER-77", "number": "4711-0815"}, wall_clock_ms())
    measured(ward)
    wait_until(lambda: ward.card().number == "4711-0815", "the card")
    vault = wiring.vault(house.settings, "keeper")
    wrapped = ward.keeper.get(keys.data_key(PATIENT))
    (kid, recipient), *_ = ward.keeper.hgetall(keys.recipients("s0")).items()
    private = open_stored(ward.master, kid, recipient)[1]
    sessions = list(ward.keeper.hvals(keys.sessions("s0")))
    destroyed = [secret_of(ward), wrapped, stored_wrap(recipient)[1], private, *vault.data_keys(PATIENT).keys.values(),
                 *sessions]  # fmt: skip
    before = bytes_under(house.state)
    for needle in (secret_of(ward), wrapped, stored_wrap(recipient)[1], sessions[0]):
        assert any(needle in data for data in before.values()), "the search finds what is there"
    made = erasing.erase(house.settings, PATIENT, "tester")
    erasing.keep(house.settings, made, None)
    after = bytes_under(house.state)
    for needle in (*destroyed, b"MARKER-77", b"4711-0815", b"WREN-3"):
        assert [path for path, data in after.items() if needle in data] == []
    assert f"patient secret {fingerprint(destroyed[0])}" in made["keys_destroyed"]
    assert any("redis" in str(path) and path.name.startswith("appendonly") for path in after), "the file was searched"


def test_a_backup_of_redis_and_the_master_key_do_not_bring_her_back(house: House, ward: Ward, tmp_path: Path) -> None:
    stop = ward.engine()
    measured(ward)
    stop.set()
    ward.threads[-1].join(10)
    backup, master = house.copy("redis", tmp_path), (ward.state / "master.key").read_bytes()
    erasing.erase(house.settings, PATIENT, "tester")
    assert (ward.state / "master.key").read_bytes() == master, "the backup has the master key that is still in use"
    house.stop_redis()
    house.put_back(backup, "redis")
    house.start_redis()
    again = connect(house.settings.redis_files.login("keeper"))
    assert again.get(keys.data_key(PATIENT)) is not None and again.sismember(keys.PATIENTS, PATIENT), "it is a backup"
    thief = Vault(again, MasterKey.load_or_create(stolen(tmp_path, master)))
    with pytest.raises(Rejected, match="nothing of her can be read"):
        thief.data_keys(PATIENT)
    kid, recipient = next(iter(again.hgetall(keys.recipients("s0")).items()))
    with pytest.raises(Rejected):
        open_stored(thief.master, kid, recipient)
    for _, fields in again.xrange(keys.acts("s0")):
        with pytest.raises(Rejected):
            thief.master.unwrap(fields[b"b"], b"act|s0")
    ward.keeper = again
    started = Ward.store(ward)
    assert started.acquire(), "an engine starts on the old copy"
    assert left_in_redis(ward) == [] and again.hexists(keys.ERASED, name_of(PATIENT).hex())
    with pytest.raises(Erased):
        wiring.vault(house.settings, "web").cipher(PATIENT)


def stolen(tmp_path: Path, master: bytes) -> Path:
    """A key directory with nothing but the master key."""
    path = tmp_path / "stolen" / "master.key"
    path.parent.mkdir(mode=0o700)
    path.write_bytes(master)
    path.chmod(0o600)
    return path


def test_a_backup_of_the_key_directory_does_not_bring_her_back_while_redis_remembers(
    house: House, ward: Ward, tmp_path: Path
) -> None:
    stop = ward.engine()
    measured(ward)
    stop.set()
    ward.threads[-1].join(10)
    erasing.home_of(house.settings).house_key()
    backup = house.copy("keys", tmp_path)
    made = erasing.erase(house.settings, PATIENT, "tester")
    house.put_back(backup, "keys")
    assert secret_of(ward), "her secret is back"
    with pytest.raises(Erased):
        wiring.vault(house.settings, "web").cipher(PATIENT)  # a start of the web
    with pytest.raises(FileNotFoundError):
        secret_of(ward)
    house.put_back(backup, "keys")
    ward.keeper.delete(keys.ERASED)  # and now everything is from before: only the certificate remembers
    assert wiring.vault(house.settings, "web").master.home.secret(name_of(PATIENT))  # type: ignore[union-attr]
    assert erasing.apply_certificate(house.settings, json.dumps(made)) == PATIENT
    with pytest.raises(Erased):
        wiring.vault(house.settings, "web").cipher(PATIENT)


def test_an_emptied_list_of_tombstones_is_filled_again_and_a_strangers_line_stops_the_house(
    house: House, ward: Ward
) -> None:
    erasing.erase(house.settings, PATIENT, "tester")
    path = ward.state / "erased"
    line = path.read_bytes()
    path.write_bytes(b"")
    wiring.vault(house.settings, "web")
    assert path.read_bytes() == line
    path.unlink()
    wiring.vault(house.settings, "web")
    assert path.read_bytes() == line
    stranger = Tombstone(name_of(OTHER), 1, "mallory").sign(signing.Ed25519PrivateKey.generate())
    ward.keeper.hset(keys.ERASED, name_of(OTHER).hex(), stranger)
    with pytest.raises(StoreCorrupt, match="tombstones of this house"):
        wiring.vault(house.settings, "web")
    ward.keeper.hdel(keys.ERASED, name_of(OTHER).hex())
    path.write_bytes(line + stranger + b"\n")
    with pytest.raises(SecurityError, match="nothing was read or written"):
        KeyHome(house.settings.master_key)


@pytest.mark.parametrize("step", ["purge", "sweep", "root"])
def test_an_erasure_that_was_cut_off_is_finished_by_the_next_one(
    house: House, ward: Ward, monkeypatch, step: str
) -> None:  # type: ignore[no-untyped-def]
    stop = ward.engine()
    measured(ward)
    stop.set()
    ward.threads[-1].join(10)

    def cut(*_: object) -> None:
        raise StoreDown("the machine lost its power here")

    with monkeypatch.context() as patch:
        patch.setattr(store_erasing, step, cut)
        with pytest.raises(StoreDown):
            erasing.erase(house.settings, PATIENT, "tester")
    with pytest.raises(Erased):  # whatever step it was, nothing is readable any more
        wiring.vault(house.settings, "web").cipher(PATIENT)
    made = erasing.erase(house.settings, PATIENT, "tester")
    assert left_in_redis(ward) == []
    first = KeyHome(house.settings.master_key).tombstone(PATIENT)
    assert first is not None and made["erased_ms"] == first.t_ms, "erased when it was erased first"


def test_an_erasure_that_was_cut_off_is_also_finished_by_the_engine_at_its_start(
    house: House, ward: Ward, monkeypatch
) -> None:  # type: ignore[no-untyped-def]
    stop = ward.engine()
    measured(ward)
    stop.set()
    ward.threads[-1].join(10)

    def cut(*_: object) -> None:
        raise StoreDown("the machine lost its power here")

    with monkeypatch.context() as patch:
        patch.setattr(store_erasing, "purge", cut)
        with pytest.raises(StoreDown):
            erasing.erase(house.settings, PATIENT, "tester")
    assert left_in_redis(ward)
    ward.engine()
    wait_until(lambda: left_in_redis(ward) == [], "the engine's sweep")


def test_the_certificate_is_signed_says_what_was_destroyed_and_can_not_be_changed(house: House, ward: Ward) -> None:
    ward.engine()
    measured(ward)
    made = erasing.erase(house.settings, PATIENT, "tester")
    where = erasing.keep(house.settings, made, None)
    assert where.stat().st_mode & 0o777 == 0o600
    key = erasing.home_of(house.settings).house_key()
    signers = {signing.public_of(key): "this house"}
    facts = erasing.check_certificate(where.read_text(), signers)
    assert facts["patient"] == PATIENT and facts["who"] == "tester" and facts["destroyed"]["raw records"] >= 3
    assert {row.split()[0] for row in facts["keys_destroyed"]} == {"patient", "data", "recipient"}
    assert facts["destroyed"]["keys, card and state"] == 3 and facts["destroyed"]["sessions"] == 1
    changed = where.read_text().replace('"tester"', '"nobody"')
    with pytest.raises(Rejected, match="signed"):
        erasing.check_certificate(changed, signers)
    with pytest.raises(Rejected):
        erasing.check_certificate(where.read_text(), {})
    vault = wiring.vault(house.settings, "keeper")
    event = open_event(vault.master, vault.client.xrange(keys.AUDIT_IN)[-1][1]).event
    assert (event.kind, event.about, event.who) == ("patient.erased", PATIENT, "tester")


def test_data_that_the_master_key_alone_protected_is_adopted_when_an_engine_starts(house: House, ward: Ward) -> None:
    stop = ward.engine()
    measured(ward)
    stop.set()
    ward.threads[-1].join(10)
    make_old(ward)
    with pytest.raises(FileNotFoundError):
        secret_of(ward)
    ward.engine()
    ward.send(ward.frame(8))
    ward.wait_for("stored", 24)
    assert secret_of(ward) and ward.card().pseudonym == CARD.pseudonym
    assert ward.keeper.get(keys.data_key(PATIENT))[:1] == b"P"
    assert {stored_wrap(b)[0] for b in ward.keeper.hvals(keys.recipients("s0"))} == {PATIENT}
    assert sum(entry.frame != b"" for entry in ward.feed.recent(PATIENT, 60)) >= 2, "what was written before is read"


def make_old(ward: Ward) -> None:
    """As a state was before patients had secrets: everything wrapped by the master key alone."""
    key32 = (ward.state / "master.key").read_bytes()

    def wrap(body: bytes, context: bytes) -> bytes:
        nonce = os.urandom(12)
        return b"\x01" + nonce + AESGCM(key32).encrypt(nonce, body, b"everbeat/1 wrap|" + context)

    vault = Vault(ward.keeper, ward.master)
    data_key = vault.data_keys(PATIENT).keys[1]
    ward.keeper.set(keys.data_key(PATIENT), wrap(data_key, b"patient|" + PATIENT.encode()))
    for kid, blob in ward.keeper.hgetall(keys.recipients("s0")).items():
        body = ward.master.unwrap(stored_wrap(blob)[1], b"recipient|" + kid)
        ward.keeper.hset(keys.recipients("s0"), kid, wrap(body, b"recipient|" + kid))
    shutil.rmtree(ward.state / "patients")


def test_the_command_erases_while_the_house_is_stopped_and_asks_who_is_meant(house: House, ward: Ward) -> None:
    stop = ward.engine()
    measured(ward)
    stop.set()
    ward.threads[-1].join(10)
    house.stop_redis()
    wrong = run(house, "erase", PATIENT, typed="HERON-8\n")
    assert wrong.returncode == 2 and "nobody was erased" in wrong.stderr
    unknown = run(house, "erase", "p-nobody", "--yes")
    assert unknown.returncode == 2 and "expected a patient of this house, got p-nobody" in unknown.stderr
    right = run(house, "erase", PATIENT, typed="wren-3\n")
    assert right.returncode == 0, right.stderr
    assert "CERTIFICATE OF ERASURE" in right.stdout
    (certificate,) = (house.state / "erasures").iterdir()
    checked = run(house, "keys", "certificate", str(certificate))
    assert checked.returncode == 0 and PATIENT in checked.stderr
    listed = run(house, "keys", "list")
    assert listed.returncode == 0 and f"erased {name_of(PATIENT).hex()}" in listed.stderr
    assert "master key 1" in listed.stderr
    house.start_redis()
    ward.keeper = connect(house.settings.redis_files.login("keeper"))
    assert left_in_redis(ward) == []


def run(house: House, *args: str, typed: str = "", hub_host: str = "127.0.0.2") -> subprocess.CompletedProcess[str]:
    env = os.environ | {"EVERBEAT_STATE": str(house.state), "EVERBEAT_HUB_HOST": hub_host, "COLUMNS": "400"}
    command = [sys.executable, "-m", "everbeat.cli", *args]
    root_of_project = Path(__file__).resolve().parents[1]
    return subprocess.run(
        command, cwd=root_of_project, env=env, input=typed, capture_output=True, text=True, timeout=120
    )


def test_a_secret_file_that_others_could_read_is_refused_and_a_destroyed_one_was_overwritten(tmp_path: Path) -> None:
    home = KeyHome(tmp_path / "keys" / "master.key")
    home.create_secret("p-1")
    path = tmp_path / "keys" / "patients" / f"{name_of('p-1').hex()}.key"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="0644"):
        home.secret(name_of("p-1"))
    path.chmod(0o600)
    secret, open_file = path.read_bytes(), path.open("rb")
    home.bury([Tombstone(name_of("p-1"), 5, "me").sign(home.house_key())])
    assert not path.exists() and open_file.read() not in (secret, b"")
    with pytest.raises(Rejected, match="stays erased"):
        home.create_secret("p-1")


def test_neither_the_master_key_nor_the_secret_alone_opens_what_both_wrapped(tmp_path: Path) -> None:
    master = MasterKey.load_or_create(tmp_path / "a" / "master.key")
    assert master.home is not None
    master.home.create_secret("p-1")
    blob = master.wrap(b"k" * 32, b"c", "p-1")
    assert master.unwrap(blob, b"c", "p-1") == b"k" * 32
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "master.key").write_bytes(os.urandom(32))
    with pytest.raises(Rejected, match="altered, moved"):
        MasterKey.load_or_create(tmp_path / "b" / "master.key").unwrap(blob, b"c")
    with pytest.raises(Rejected, match="altered, moved"):
        PatientCipher((tmp_path / "a" / "master.key").read_bytes()).unseal(b"\x01" + blob[21:], b"everbeat/1 wrap|c")
    shutil.rmtree(tmp_path / "a" / "patients")
    with pytest.raises(Rejected, match="nothing of her"):
        master.unwrap(blob, b"c")
    for other in ("p-2", "p-1x"):
        with pytest.raises(Rejected):
            master.unwrap(blob, b"c", other)


def test_a_running_engine_that_sees_a_tombstone_sweeps_by_itself_and_goes_on(house: House, ward: Ward) -> None:
    ward.engine()
    measured(ward)
    other = second_patient(ward)
    home = erasing.home_of(house.settings)
    home.bury([Tombstone(name_of(PATIENT), wall_clock_ms(), "tester").sign(home.house_key())])  # and nothing else
    wait_until(lambda: left_in_redis(ward) == [], "the engine to sweep")
    ward.send(ward.frame(8, sealer=other), device=OTHER_DEVICE)
    ward.wait_for("stored", 24)
    assert ward.threads[0].is_alive()


def test_an_old_state_that_no_engine_has_adopted_yet_can_be_erased_too(house: House, ward: Ward) -> None:
    stop = ward.engine()
    measured(ward)
    stop.set()
    ward.threads[-1].join(10)
    make_old(ward)
    made = erasing.erase(house.settings, PATIENT, "tester")
    assert left_in_redis(ward) == []
    assert made["destroyed"]["recipient keys"] == 1 and made["destroyed"]["sessions"] == 1


def test_whoever_checks_the_log_against_the_records_finds_nothing_wrong_after_an_erasure(
    house: House, ward: Ward
) -> None:
    ward.engine()
    measured(ward)
    other = second_patient(ward)
    ward.send(ward.frame(8, sealer=other), device=OTHER_DEVICE)
    ward.wait_for("stored", 24)
    assert run(house, "fsck").returncode == 0
    erasing.erase(house.settings, PATIENT, "tester")
    ward.send(ward.frame(8, sealer=other), device=OTHER_DEVICE)
    ward.wait_for("stored", 32)
    found = run(house, "fsck")
    assert found.returncode == 0, found.stdout + found.stderr
    marks = ward.keeper.hlen(keys.erased("s0"))
    assert marks >= 3
    ward.keeper.delete(keys.erased("s0"))
    assert run(house, "fsck").returncode == 1, "without the marks it would be an alarm"


@pytest.mark.e2e
def test_in_a_running_demo_a_patient_is_erased_and_keys_are_exchanged_and_no_process_stumbles() -> None:
    with running_demo("127.0.0.43", "--patients", "2") as demo:
        demo.wait_until_up()
        her, other = "demo-simulated", "demo-simulated-1"
        wait_until(lambda: page(demo, her) == page(demo, other) == 200, "both rooms")
        before = {name: child.pid for name, child in demo.children().items()}
        house = House.__new__(House)
        house.state = demo.state
        made = run(house, "erase", her, "--yes")
        assert made.returncode == 0, made.stderr
        began_s = time.monotonic()
        wait_until(lambda: page(demo, her) == 404, "her room closed")
        assert time.monotonic() - began_s < 10
        rotated = run(house, "keys", "rotate")
        assert rotated.returncode == 0 and "destroyed: version 1" in rotated.stderr, rotated.stderr
        rotated = run(house, "keys", "rotate", "--patient", other)
        assert rotated.returncode == 0, rotated.stderr
        settings = Settings(demo.state)
        frames = len([entry for entry in wiring.feed(settings).recent(other, 600) if entry.frame])
        wait_until(lambda: len([e for e in wiring.feed(settings).recent(other, 600) if e.frame]) > frames + 3, "frames")
        assert page(demo, other) == 200 and page(demo, her) == 404
        assert {name: child.pid for name, child in demo.children().items()} == before, demo.said()
        logs = "".join(log.read_text(errors="replace") for log in (demo.state / "logs").glob("*.log"))
        assert "Traceback" not in logs, demo.said()
        demo.interrupt()
        demo.wait(60)
        again = run(house, "demo", "--patients", "2", "--port", str(demo.port), hub_host=demo.hub_host)
        assert again.returncode != 0
        assert f"got {her}, erased in" in again.stderr + again.stdout


def page(demo: Demo, patient: str) -> int:
    try:
        with urllib.request.urlopen(f"{demo.url}patient/{patient}", timeout=5) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return int(error.code)


@pytest.mark.parametrize("how", ["open to others", "gone"])
def test_one_patients_spoilt_key_file_stops_her_and_nobody_else_until_it_is_mended(
    house: House, ward: Ward, tmp_path: Path, how: str
) -> None:
    stop = ward.engine()
    measured(ward)
    other = second_patient(ward)
    ward.send(ward.frame(8, sealer=other), device=OTHER_DEVICE)
    ward.wait_for("stored", 24)
    stop.set()
    ward.threads[0].join(10)
    path = ward.state / "patients" / f"{name_of(PATIENT).hex()}.key"
    if how == "gone":
        shutil.move(path, tmp_path / "kept")
    else:
        path.chmod(0o640)  # as a restore with another umask leaves it
    ward.engine()
    ward.send(ward.frame(8, sealer=other), device=OTHER_DEVICE)
    ward.wait_for("stored", 32)
    if how == "gone":
        shutil.move(tmp_path / "kept", path)
    else:
        path.chmod(0o600)

    def heard() -> bool:
        """She is measured again, without a restart: her device goes on in the session that it had."""
        ward.send(ward.frame(8))
        time.sleep(0.5)
        return ward.counts()["stored"] >= 40

    wait_until(heard, "her twin to come back with her key")
