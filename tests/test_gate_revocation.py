"""The engine's gate: a session lives no longer than the certificates that it rests on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from device.frame import Block, Frame, Source, encode, quantise
from security.authority import Authority
from security.envelope import Lane, Sealer, open_session, sign_recipient
from security.errors import Rejected
from security.founding import renew_issuer
from security.identity import DeviceIdentity, create_ca, issue_device, issue_engine
from security.keys import create_recipient_key
from security.trust import Trust
from twin_engine.prove import Gate

NOW_MS = 1_780_000_000_000


@dataclass
class House:
    ca: Authority
    devices: dict[str, DeviceIdentity]
    keys: dict[bytes, X25519PrivateKey]
    folder: Path

    def __post_init__(self) -> None:
        self.engine = issue_engine(self.ca, self.folder / "e", now_ms=NOW_MS)

    def session(self, name: str) -> tuple[bytes, Sealer]:
        kid, key = create_recipient_key()
        self.keys[kid] = key
        raw = key.public_key().public_bytes_raw()
        recipient = sign_recipient(self.engine, raw, device_id=name, now_ms=NOW_MS)
        return open_session(self.devices[name], recipient, epoch=1, lane=Lane.LIVE, now_ms=NOW_MS)

    def pass_through(self, gate: Gate, device: str, body: bytes) -> object:
        return gate.check("1-0", device, body, NOW_MS, self.keys.get)


@pytest.fixture
def house(tmp_path: Path) -> House:
    ca = create_ca(tmp_path / "ca", now_ms=NOW_MS)
    devices = {name: issue_device(ca, name, tmp_path / "d", now_ms=NOW_MS) for name in ("d1", "d2")}
    return House(ca, devices, {}, tmp_path)


def frame(sealer: Sealer) -> bytes:
    block = Block("gsr_uS", NOW_MS, 250_000, -4, quantise([4.0], -4))
    return sealer.seal(encode(Frame(NOW_MS, NOW_MS, 1, sealer.next_seq, Source.SENSOR, (block,))))


def serial(identity: DeviceIdentity) -> int:
    return identity.certificate.serial_number


def revoking(trust: Trust, *serials: int) -> Trust:
    return replace(trust, revoked=trust.revoked | frozenset(serials))


def refused(reason: str, house: House, gate: Gate, device: str, body: bytes) -> None:
    with pytest.raises(Rejected) as caught:
        house.pass_through(gate, device, body)
    assert caught.value.reason == reason


def test_an_open_session_ends_with_its_certificate_and_no_new_one_begins(house: House) -> None:
    gate = Gate(house.ca.trust, {})
    (first, sealer), (second, other) = house.session("d1"), house.session("d2")
    house.pass_through(gate, "d1", first)
    house.pass_through(gate, "d2", second)
    before = frame(sealer)
    assert house.pass_through(gate, "d1", before)
    assert gate.believe(revoking(house.ca.trust, serial(house.devices["d1"]))) == {"d1"}
    refused("revoked", house, gate, "d1", frame(sealer))
    refused("revoked", house, gate, "d1", before)  # not even to be called a duplicate
    refused("revoked", house, gate, "d1", house.session("d1")[0])
    assert house.pass_through(gate, "d2", frame(other))
    assert gate.believe(revoking(house.ca.trust, serial(house.devices["d1"]))) == set()  # told once


def test_a_stored_session_knows_its_certificate_after_a_restart(house: House) -> None:
    gate = Gate(house.ca.trust, {})
    record, sealer = house.session("d1")
    house.pass_through(gate, "d1", record)
    house.pass_through(gate, "d1", frame(sealer))
    stored, _ = gate.take_changed()
    again = Gate(revoking(house.ca.trust, serial(house.devices["d1"])), stored)
    refused("revoked", house, again, "d1", frame(sealer))
    assert house.pass_through(Gate(house.ca.trust, stored), "d1", frame(sealer))


def test_a_session_that_was_stored_without_its_certificate_still_loads(house: House) -> None:
    gate = Gate(house.ca.trust, {})
    record, sealer = house.session("d1")
    house.pass_through(gate, "d1", record)
    stored, _ = gate.take_changed()
    old = {name: cbor2.dumps(cbor2.loads(blob)[:2]) for name, blob in stored.items()}
    assert house.pass_through(Gate(house.ca.trust, old), "d1", frame(sealer))


def test_a_revoked_intermediate_ends_the_sessions_of_all_its_devices(house: House) -> None:
    gate = Gate(house.ca.trust, {})
    sealers = {}
    for name in ("d1", "d2"):
        record, sealers[name] = house.session(name)
        house.pass_through(gate, name, record)
    assert gate.believe(revoking(house.ca.trust, house.ca.certificate.serial_number)) == {"d1", "d2"}
    for name, sealer in sealers.items():
        refused("revoked", house, gate, name, frame(sealer))


def test_a_device_cannot_hide_the_intermediate_that_its_session_rests_on(house: House) -> None:
    bare = replace(house.devices["d1"], chain_der=house.devices["d1"].chain_der[:1])
    house.devices["d1"] = bare
    gate = Gate(house.ca.trust, {})
    record, sealer = house.session("d1")
    house.pass_through(gate, "d1", record)
    assert gate.believe(revoking(house.ca.trust, house.ca.certificate.serial_number)) == {"d1"}
    refused("revoked", house, gate, "d1", frame(sealer))


def test_a_doubt_about_the_lists_opens_no_session_and_ends_none(house: House) -> None:
    gate = Gate(house.ca.trust, {})
    record, sealer = house.session("d1")
    house.pass_through(gate, "d1", record)
    assert gate.believe(replace(house.ca.trust, doubt="expected a list, got none")) == set()
    assert house.pass_through(gate, "d1", frame(sealer))
    refused("revocation-unknown", house, gate, "d2", house.session("d2")[0])
    gate.believe(house.ca.trust)
    assert house.pass_through(gate, "d2", house.session("d2")[0]) is None


def test_sessions_go_on_when_the_intermediate_is_renewed(house: House) -> None:
    renewed = renew_issuer(house.ca, house.ca.directory / "root.key", now_ms=NOW_MS)
    assert renewed.certificate != house.ca.certificate and renewed.key.public_key() == house.ca.key.public_key()
    gate = Gate(Trust.load(renewed.trust_path), {})
    record, sealer = house.session("d1")  # with the old intermediate in its chain
    house.pass_through(gate, "d1", record)
    assert house.pass_through(gate, "d1", frame(sealer))
    issue_engine(renewed, house.folder / "e", now_ms=NOW_MS)
    house.engine = issue_engine(renewed, house.folder / "e2", now_ms=NOW_MS)
    assert house.session("d1")  # the device, which knows the old one, believes an engine of the new one
