"""Keys get new versions while everybody writes on, and nothing readable is lost."""

from __future__ import annotations

import multiprocessing
import threading
import time
from pathlib import Path

import pytest

from everbeat import rotation, wiring
from security.audit import AuditEvent
from security.errors import Rejected, SecurityError
from security.identity import wall_clock_ms
from security.keyhome import KeyHome, MasterVersions
from security.keys import DataKeys, MasterKey, PatientCipher, belongs_to, version_of
from security.people import Account
from tests.engine_kit import DEVICE, PATIENT, Ward
from tests.erase_kit import House, bytes_under, running_house, wait_until
from tests.people_kit import people_of
from twin_engine.recipients import open_stored, stored_wrap
from twin_engine.registry import PatientCard
from twin_engine.store import keys, renewing, rewrapping
from twin_engine.store.audit import AuditWriter, open_event
from twin_engine.store.errors import StoreDown
from twin_engine.store.renewing import drop_retired, renew_data_key
from twin_engine.store.rotating import rotate_master
from twin_engine.store.sessions import SESSION, hash_of
from twin_engine.store.vault import Vault

pytestmark = pytest.mark.redis


@pytest.fixture
def house(generator):  # type: ignore[no-untyped-def]
    with running_house(generator) as made:
        yield made


@pytest.fixture
def ward(house: House):  # type: ignore[no-untyped-def]
    made = house.ward()
    yield made
    made.close()


class Writer(threading.Thread):
    """A device that sends without pause, a person who acts and a web that reads, until told to stop."""

    def __init__(self, ward: Ward) -> None:
        super().__init__(daemon=True)
        self.ward, self.ended = ward, threading.Event()
        self.sent, self.edits = 0, 0
        self.trouble: list[str] = []

    def run(self) -> None:
        while not self.ended.is_set():
            try:
                self.ward.send(self.ward.frame(8))
                self.sent += 8
                if self.sent % 80 == 0:
                    self.edits += 1
                    self.ward.patients.act(PATIENT, "edit", {"bed": f"Bed {self.edits}"}, wall_clock_ms())
                found = self.ward.feed.recent(PATIENT, 60)
                if not found or not self.ward.feed.patients():
                    self.trouble.append("nothing to read")
            except Exception as error:  # noqa: BLE001 - the test asks afterwards
                self.trouble.append(repr(error))
            time.sleep(0.03)

    def end(self) -> None:
        self.ended.set()
        self.join(20)


def writing(ward: Ward) -> Writer:
    ward.engine()
    ward.connect_device()
    ward.send(ward.frame(8))
    ward.wait_for("stored", 8)
    writer = Writer(ward)
    writer.sent = 8
    writer.start()
    return writer


def under_version(ward: Ward, version: int) -> list[str]:
    """Keys of Redis that hold a wrap by that version of the master key."""
    client = ward.keeper
    found = [key.decode() for key in client.scan_iter("eb:key:*") if version_of(client.get(key)) == version]
    found += ["recipients" for b in client.hvals(keys.recipients("s0")) if version_of(stored_wrap(b)[1]) == version]
    for stream in (keys.acts("s0"), keys.AUDIT_IN):
        found += [stream for _, fields in client.xrange(stream) if version_of(fields[b"b"]) == version]
    return found


def test_the_master_key_is_exchanged_under_a_running_writer_and_nothing_is_lost(house: House, ward: Ward) -> None:
    writer = writing(ward)
    AuditWriter(ward.keeper, ward.master).write(AuditEvent(1, "me", "config.changed", "before"))
    before = (ward.state / "master.key").read_bytes()
    acts = [entry_id for entry_id, _ in ward.keeper.xrange(keys.acts("s0"))]
    for version in (2, 3):
        done = rotation.rotate_master(house.settings)
        assert (done.version, done.destroyed, done.held) == (version, (version - 1,), ())
        assert under_version(ward, version - 1) == [] and under_version(ward, version)
    ward.patients.admit(PatientCard("p-9", "SISKIN-1", 0, "Bed 9"), wall_clock_ms())
    wait_until(lambda: ward.card("p-9").bed == "Bed 9", "a patient admitted after it")
    time.sleep(1)
    writer.end()
    assert writer.trouble == [] and writer.edits > 2
    counts = ward.wait_for("stored", writer.sent)
    assert counts.get("refused", 0) == counts.get("acts_refused", 0) == counts.get("faults", 0) == 0
    wait_until(lambda: ward.card().bed == f"Bed {writer.edits}", "the last edit")
    assert [entry_id for entry_id, _ in ward.keeper.xrange(keys.acts("s0"))][: len(acts)] == acts, "in their places"
    fresh = MasterKey.load_or_create(house.settings.master_key)
    for entry_id, _ in ward.keeper.xrange(keys.twin("s0", PATIENT)):
        assert entry_id
    frames = [e for e in wiring.feed(house.settings).recent(PATIENT, 120) if e.frame]
    assert len(frames) >= 3, "a web that starts now reads what was written before, during and after"
    for kid, blob in ward.keeper.hgetall(keys.recipients("s0")).items():
        assert open_stored(fresh, kid, blob)[2] == DEVICE
    events = [open_event(fresh, fields) for _, fields in ward.keeper.xrange(keys.AUDIT_IN)]
    assert [event.event.kind for event in events] == ["config.changed", "key.rotated", "key.rotated"]
    assert all(before not in data for data in bytes_under(house.state / "keys").values()), (
        "the old key's bytes are gone"
    )
    stopped = ward.stops[0]
    stopped.set()
    ward.threads[0].join(10)
    ward.engine()
    ward.send(ward.frame(8))
    ward.wait_for("stored", writer.sent + 8)


def test_a_rotation_that_was_cut_off_goes_on_and_both_versions_open_meanwhile(
    house: House, ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = writing(ward)

    def cut(*_: object) -> int:
        raise StoreDown("the machine lost its power here")

    with monkeypatch.context() as patch:
        patch.setattr(rewrapping, "_stream", cut)
        with pytest.raises(StoreDown):
            rotation.rotate_master(house.settings)
    assert KeyHome(house.settings.master_key).versions.keys.keys() == {1, 2}
    assert wiring.feed(house.settings).recent(PATIENT, 60)
    done = rotation.rotate_master(house.settings)
    assert (done.version, done.destroyed) == (2, (1,)), "not a third one"
    writer.end()
    assert writer.trouble == []
    assert ward.wait_for("stored", writer.sent).get("refused", 0) == 0


def test_two_rotations_at_once_are_two_one_after_the_other(house: House, ward: Ward) -> None:
    writer = writing(ward)
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=rotation.rotate_master, args=(house.settings,)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    assert KeyHome(house.settings.master_key).versions.keys.keys() == {3}
    writer.end()
    assert writer.trouble == []
    assert ward.wait_for("stored", writer.sent).get("refused", 0) == 0


def test_what_lies_under_an_old_version_where_nobody_looks_keeps_that_version_and_is_told(house: House) -> None:
    vault = wiring.vault(house.settings, "keeper")
    vault.create("p-1")
    vault.client.hset("eb:{s0}:of-somebody", "field", vault.master.wrap(b"secret", b"unknown"))
    done = rotation.rotate_master(house.settings)
    assert done.held == ("eb:{s0}:of-somebody",) and done.destroyed == ()
    assert vault.master.unwrap(vault.client.hget("eb:{s0}:of-somebody", "field"), b"unknown") == b"secret"
    vault.client.delete("eb:{s0}:of-somebody")
    assert rotation.rotate_master(house.settings).destroyed == (1,)


def test_a_process_that_slept_through_a_rotation_writes_nothing_under_the_old_version(house: House) -> None:
    vault = wiring.vault(house.settings, "keeper")
    vault.create("p-1")
    seen, known = vault.client.get(keys.data_key("p-1")), vault.data_keys("p-1")
    late = vault.master.wrap(known.to_bytes(), b"patient|p-1", "p-1")

    class Sleeper(MasterKey):
        def wrap(self, *_: object) -> bytes:  # type: ignore[override]
            return late  # made before, put down after

    assert rotate_master(vault.client, vault, 1, lambda _: None).destroyed == (1,)
    sleeper = Vault(vault.client, vault.master)
    sleeper.master = Sleeper(bytes(32))
    sleeper.master.home = vault.master.home
    now = vault.client.get(keys.data_key("p-1"))
    assert not sleeper.change("p-1", known, seen) and not sleeper.change("p-1", known, now)
    assert vault.client.get(keys.data_key("p-1")) == now and vault.data_keys("p-1") == known


def test_a_patients_key_is_exchanged_under_a_running_writer_and_old_entries_are_read_until_they_leave(
    house: House, ward: Ward
) -> None:
    writer = writing(ward)
    vault = wiring.vault(house.settings, "keeper")
    first = vault.client.xrange(keys.twin("s0", PATIENT), count=1)[0][1][b"b"]
    assert rotation.rotate_patient(house.settings, PATIENT) == 2
    time.sleep(1)
    writer.end()
    assert writer.trouble == []
    ward.wait_for("stored", writer.sent)
    last = vault.client.xrevrange(keys.twin("s0", PATIENT), count=1)[0][1][b"b"]
    assert first[:1] == b"\x01" and last[:5] == b"\x02\x00\x00\x00\x02"
    for key in (keys.state("s0", PATIENT), keys.patient(PATIENT)):
        assert vault.client.get(key)[:5] == b"\x02\x00\x00\x00\x02"
    assert len([e for e in wiring.feed(house.settings).recent(PATIENT, 120) if e.frame]) >= 3
    ward.stops[0].set()
    ward.threads[0].join(10)
    store, now_ms = ward.store(), wall_clock_ms()
    assert store.acquire()
    assert len(store.sessions()) == 1 and store.snapshot(PATIENT)
    store.trim(now_ms + keys.HISTORY_MS - 60_000, "0-0", "0-0")
    assert vault.data_keys(PATIENT).keys.keys() == {1, 2}, "its entries may still be here"
    store.trim(now_ms + keys.HISTORY_MS + renewing.MARGIN_MS + 60_000, "0-0", "0-0")
    assert vault.data_keys(PATIENT).keys.keys() == {2}
    store.release()
    again = ward.store()
    assert again.acquire() and len(again.sessions()) == 1 and again.snapshot(PATIENT) and again.cards()[PATIENT]


def test_a_rotation_of_a_patients_key_that_was_cut_off_leaves_everything_readable_and_goes_on(house: House) -> None:
    vault = wiring.vault(house.settings, "keeper")
    vault.create("p-1")
    sealed = vault.cipher("p-1").seal(b"72", b"card|p-1")
    vault.client.set(keys.patient("p-1"), sealed)

    class Cut(Exception):
        pass

    def lose_power(_: float) -> None:
        raise Cut

    with pytest.raises(Cut):
        renew_data_key(vault.client, vault, "s0", "p-1", 1000, lose_power)
    known = vault.data_keys("p-1")
    assert known.current == 1 and known.keys.keys() == {1, 2}, "announced, and seals nothing"
    assert vault.cipher("p-1").unseal(sealed, b"card|p-1") == b"72"
    assert renew_data_key(vault.client, vault, "s0", "p-1", 2000, lambda _: None) == 2
    vault.look()
    assert vault.cipher("p-1").unseal(vault.client.get(keys.patient("p-1")), b"card|p-1") == b"72"
    drop_retired(vault.client, vault, "s0", "p-1", 2000 + keys.HISTORY_MS)
    assert vault.data_keys("p-1").keys.keys() == {1, 2}


def test_versions_of_a_master_key_survive_their_file_and_a_spoilt_file_is_refused(tmp_path: Path) -> None:
    one, two = bytes(32), bytes([1]) * 32
    assert MasterVersions(1, {1: one}).to_bytes() == one, "a first version is written as it always was"
    both = MasterVersions(2, {1: one, 2: two})
    assert MasterVersions.from_bytes(both.to_bytes()) == both
    for spoilt in (
        both.to_bytes()[:-1],
        both.to_bytes() + b"\x00",
        MasterVersions(3, {2: two}).to_bytes(),
        b"",
        one + one,
    ):
        with pytest.raises(SecurityError):
            MasterVersions.from_bytes(spoilt)


def test_a_wrap_names_its_version_and_its_patient_and_neither_can_be_changed(tmp_path: Path) -> None:
    master = MasterKey.load_or_create(tmp_path / "keys" / "master.key")
    assert master.home is not None
    master.home.create_secret("p-1")
    blob = master.wrap(b"key", b"c", "p-1")
    assert version_of(blob) == 1 and len(belongs_to(blob)) == 16
    for place in range(len(blob)):
        altered = bytearray(blob)
        altered[place] ^= 1
        with pytest.raises(Rejected):
            master.unwrap(bytes(altered), b"c")


def test_data_keys_keep_their_versions_in_order() -> None:
    known = DataKeys.create()
    assert DataKeys.from_bytes(known.keys[1]) == known, "a bare key is the first version"
    announced = known.announced()
    assert announced.current == 1 and DataKeys.from_bytes(announced.to_bytes()) == announced
    turned = announced.turned(500)
    assert turned.current == 2 and turned.retired_ms == {1: 500}
    assert turned.dropped(500) == turned and turned.dropped(501).keys.keys() == {2}
    old, new = known.cipher().seal(b"x", b""), turned.cipher().seal(b"x", b"")
    assert turned.cipher().unseal(old, b"") == turned.cipher().unseal(new, b"") == b"x"
    assert announced.cipher().unseal(new, b"") == b"x", "who knows the announced version reads it at once"
    with pytest.raises(Rejected):
        known.cipher().unseal(new, b"")
    with pytest.raises(Rejected):
        turned.dropped(501).cipher().unseal(old, b"")
    assert isinstance(turned.cipher(), PatientCipher)


@pytest.mark.alone
def test_ciphers_are_looked_up_without_touching_files_or_redis(house: House) -> None:
    vault = wiring.vault(house.settings, "keeper")
    vault.create("p-1")
    vault.client = None  # type: ignore[assignment]
    began_s = time.perf_counter()
    for _ in range(20_000):
        vault.cipher("p-1")
    assert (time.perf_counter() - began_s) / 20_000 < 20e-6, "the fold's price: under 20 µs each, on a busy machine"


def test_every_place_where_the_master_key_wraps_something_is_wrapped_anew(house: House) -> None:
    vault = wiring.vault(house.settings, "keeper")
    client, master = vault.client, vault.master
    vault.create("p-1")
    client.set("eb:{audit}:key", master.wrap(b"a" * 32, b"audit|key"))
    client.hset(keys.erased("s0"), "7-0", master.wrap(b"digest", b"erased|s0|7-0"))
    AuditWriter(client, master).write(AuditEvent(1, "me", "config.changed"))
    assert rotation.rotate_master(house.settings).held == ()
    assert master.unwrap(client.get("eb:{audit}:key"), b"audit|key") == b"a" * 32
    assert master.unwrap(client.hget(keys.erased("s0"), "7-0"), b"erased|s0|7-0") == b"digest"
    assert vault.data_keys("p-1").keys and master.versions == {2}


def test_people_stay_signed_in_with_all_their_rights_when_the_master_key_is_exchanged(house: House) -> None:
    people = people_of(house.settings.redis_files, wiring.vault(house.settings, "people").master)
    account = Account("dr.wren", "clinician", "Dr. Wren", grants=frozenset({"p-1"}))
    people.accounts.add(account)
    secret, _ = people.sessions.begin(account, "10.0.0.7")
    people.accounts.break_glass("dr.wren", "p-2", "found on the stairs")
    assert people.begun.first("state")
    time_left_ms = people.accounts.client.pttl(SESSION + hash_of(secret))
    done = rotation.rotate_master(house.settings)
    assert done.held == () and done.destroyed == (1,), "else no house with accounts gets rid of a leaked key"
    assert people.accounts.find("dr.wren") == account
    assert people.sessions.find(secret) is not None
    assert 0 < people.accounts.client.pttl(SESSION + hash_of(secret)) <= time_left_ms, "and no session lives longer"
    assert people.accounts.seen_through_glass()["dr.wren"].keys() == {"p-2"}
    assert not people.begun.first("state"), "what led to a session leads to none again"
