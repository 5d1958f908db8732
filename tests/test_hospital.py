"""A hospital's CA is taken in whole, or refused with the one thing that does not fit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from security import authority, files, issuing
from security.certificates import create_leaf
from security.crl import Revoked, Why, sign_list
from security.errors import Rejected, SecurityError
from security.founding import load_ca
from security.hospital import import_issuer, import_lists, import_trust
from security.identity import Role, create_ca, issue_device, issue_engine, issue_server
from security.revocation import TrustWatch

NOW_MS = 1_780_000_000_000
NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)
YEAR = timedelta(days=365)


@dataclass
class Hospital:
    """A CA as one may find it: RSA or not, with what limits a test likes."""

    folder: Path
    rsa: bool = True
    changes: Any = None  # of the intermediate: path, ca, usage, life, eku, constraint, many

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o700)
        changes = self.changes or {}
        self.root_key, self.key = self._key(), self._key()
        self.root = self._ca("Clinic Root", "Clinic Root", self.root_key, self.root_key, {"path": None})
        self.issuer = self._ca("Clinic Devices", "Clinic Root", self.key, self.root_key, changes)
        self.write("root.pem", self.root.public_bytes(Encoding.PEM))
        self.write("issuer.pem", self.issuer.public_bytes(Encoding.PEM))
        plain = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.write("issuer.key", self.key.private_bytes(*plain))
        self.write("crl.pem", self.lists(1))

    def _key(self) -> Any:
        return rsa.generate_private_key(65537, 2048) if self.rsa else ec.generate_private_key(ec.SECP384R1())

    def write(self, name: str, data: bytes) -> Path:
        files.write_private(self.folder / name, data)
        return self.folder / name

    def lists(self, number: int, *revoked: int, life: timedelta = YEAR, now: datetime = NOW) -> bytes:
        entries = [Revoked(serial, now, Why.KEY_COMPROMISE) for serial in revoked]
        root = sign_list(self.root, self.root_key, number, [], now, now + life)
        return root + sign_list(self.issuer, self.key, number, entries, now, now + life)

    def _ca(self, name: str, issuer: str, key: Any, signer: Any, changes: dict[str, Any]) -> x509.Certificate:
        extra = [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, f"unit {i}" * 5) for i in range(changes.get("many", 0))
        ]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name), *extra])
        life = changes.get("life", 5 * YEAR)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - YEAR)
            .not_valid_after(NOW + life)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)
        )
        is_ca = changes.get("ca", True)
        builder = builder.add_extension(x509.BasicConstraints(is_ca, changes.get("path", 0) if is_ca else None), True)
        if changes.get("usage", True):
            usage = x509.KeyUsage(False, False, False, False, False, is_ca, changes.get("lists", is_ca), False, False)
            builder = builder.add_extension(usage, True)
        if changes.get("eku"):
            builder = builder.add_extension(x509.ExtendedKeyUsage([changes["eku"]]), False)
        if changes.get("constraint"):
            allowed = [x509.DNSName(changes["constraint"])]
            builder = builder.add_extension(x509.NameConstraints(allowed, None), True)
        return builder.sign(changes.get("signer", signer), hashes.SHA256())

    def sign_here(self, directory: Path, **changed: Path) -> authority.Authority:
        f = self.folder
        parts = {"root": f / "root.pem", "issuer": f / "issuer.pem", "key": f / "issuer.key", "lists": f / "crl.pem"}
        return import_issuer(directory, **(parts | changed), now_ms=NOW_MS)

    def device(self, name: str = "ward-7") -> list[bytes]:
        """A certificate as the hospital makes it, by our naming profile."""
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        leaf = create_leaf(self.issuer, self.key, Role.DEVICE, name, (), NOW, key)
        return [c.public_bytes(Encoding.DER) for c in (leaf, self.issuer)]


@pytest.mark.parametrize("is_rsa", [True, False])
def test_a_hospitals_intermediate_signs_devices_engines_and_servers_here(tmp_path: Path, is_rsa: bool) -> None:
    hospital = Hospital(tmp_path / "h", rsa=is_rsa)
    ca = hospital.sign_here(tmp_path / "ca")
    assert load_ca(tmp_path / "ca", now_ms=NOW_MS).certificate == ca.certificate == hospital.issuer
    assert ca.root == hospital.root
    watch = TrustWatch(ca.trust_path, ca.lists_path, lambda: NOW_MS)
    assert watch().doubt == ""
    device = issue_device(ca, "d1", tmp_path / "d", now_ms=NOW_MS)
    engine = issue_engine(ca, tmp_path / "e", now_ms=NOW_MS)
    assert issue_server(ca, "hub", ["127.0.0.2"], tmp_path / "s", now_ms=NOW_MS).chain_der
    assert watch().verify_device(device.chain_der, "d1", NOW_MS) and watch().verify_engine(engine.chain_der, NOW_MS)
    assert device.trust.verify_engine(engine.chain_der[:1], NOW_MS)  # as a device judges who signed its recipient
    with ca.index() as index:
        issuing.revoke(ca, index.of("device", "d1"), Why.SUPERSEDED, now_ms=NOW_MS, who="officer")
    with pytest.raises(Rejected, match="revoked"):
        watch().verify_device(device.chain_der, "d1", NOW_MS)


@pytest.mark.parametrize(
    "changes, complaint",
    [
        ({"ca": False}, "may sign certificates and lists"),
        ({"usage": False}, "a key usage"),
        ({"lists": False}, "may sign certificates and lists"),
        ({"life": -timedelta(days=1)}, "a CA in force"),
        ({"signer": rsa.generate_private_key(65537, 2048)}, "that the root signed"),
        ({"eku": ExtendedKeyUsageOID.SERVER_AUTH}, "certificates can be verified"),
        ({"constraint": "clinic.example"}, "server certificates can be verified"),
        ({"many": 40}, "at most 2048 bytes"),
    ],
)
def test_an_intermediate_that_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    hospital = Hospital(tmp_path / "h", changes=changes)
    with pytest.raises(SecurityError, match=complaint) as caught:
        hospital.sign_here(tmp_path / "ca")
    assert "nothing was imported" in str(caught.value)
    assert not list((tmp_path / "ca").iterdir())


def test_a_key_or_a_file_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    hospital, other = Hospital(tmp_path / "h", rsa=False), Hospital(tmp_path / "o", rsa=False)
    locked = hospital.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    for changed, complaint in (
        ({"key": other.folder / "issuer.key"}, "another key"),
        ({"key": hospital.write("locked.key", locked)}, "without a password"),
        ({"key": hospital.folder / "root.pem"}, "a private key in PEM"),
        ({"root": hospital.folder / "issuer.pem"}, "signed by itself"),
        ({"root": other.folder / "root.pem"}, "that the root signed"),
        ({"issuer": hospital.folder / "issuer.key"}, "certificate"),
        ({"lists": other.folder / "crl.pem"}, "not, so it was changed"),
        ({"lists": hospital.write("old.pem", hospital.lists(1, now=NOW - 2 * YEAR))}, "in force"),
    ):
        with pytest.raises(SecurityError, match=complaint):
            hospital.sign_here(tmp_path / "ca", **changed)
    hospital.sign_here(tmp_path / "ca")
    with pytest.raises(SecurityError, match="which was kept"):
        hospital.sign_here(tmp_path / "ca")


def test_devices_that_a_hospital_enrolled_are_believed_beside_ours_and_revoked_by_either(tmp_path: Path) -> None:
    hospital, ours = Hospital(tmp_path / "h"), create_ca(tmp_path / "ca", now_ms=NOW_MS)
    own = issue_device(ours, "d1", tmp_path / "d", now_ms=NOW_MS)
    f = hospital.folder
    ca = import_trust(ours, f / "root.pem", [f / "issuer.pem"], f / "crl.pem", now_ms=NOW_MS)
    first, second = hospital.device("ward-7"), hospital.device("ward-8")
    watch = TrustWatch(ca.trust_path, ca.lists_path, lambda: NOW_MS)
    assert watch().doubt == "" and watch().verify_device(own.chain_der, "d1", NOW_MS)
    assert watch().verify_device(first, "ward-7", NOW_MS) and watch().verify_device(second[:1], "ward-8", NOW_MS)

    theirs = hospital.write("crl.pem", hospital.lists(2, x509.load_der_x509_certificate(first[0]).serial_number))
    assert import_lists(ca, theirs, now_ms=NOW_MS)
    with pytest.raises(Rejected, match="revoked"):
        watch().verify_device(first, "ward-7", NOW_MS)
    leaf = x509.load_der_x509_certificate(second[0])
    issuing.take_in(ca, leaf, now_ms=NOW_MS)
    with ca.index() as index:
        issuing.revoke(ca, index.of("device", "ward-8"), Why.KEY_COMPROMISE, now_ms=NOW_MS, who="officer")
    with pytest.raises(Rejected, match="revoked"):
        watch().verify_device(second, "ward-8", NOW_MS)
    with pytest.raises(SecurityError, match="the older number 1"):
        import_lists(ca, hospital.write("crl.pem", hospital.lists(1)), now_ms=NOW_MS)


def test_a_hospitals_list_that_ended_keeps_newcomers_out_until_a_newer_one_is_brought(tmp_path: Path) -> None:
    hospital, ours = Hospital(tmp_path / "h"), create_ca(tmp_path / "ca", now_ms=NOW_MS)
    f = hospital.folder
    hospital.write("crl.pem", hospital.lists(1, life=timedelta(days=7)))
    ca = import_trust(ours, f / "root.pem", [f / "issuer.pem"], f / "crl.pem", now_ms=NOW_MS)
    later_ms = NOW_MS + 8 * 86_400_000
    watch = TrustWatch(ca.trust_path, ca.lists_path, lambda: later_ms)
    load_ca(ca.directory, now_ms=later_ms)  # which signs ours anew, and can't sign theirs
    with pytest.raises(Rejected, match="Clinic"):
        watch().verify_device(hospital.device(), "ward-7", later_ms)
    now = NOW + timedelta(days=8)
    import_lists(ca, hospital.write("crl.pem", hospital.lists(2, now=now)), now_ms=later_ms)
    assert watch().verify_device(hospital.device(), "ward-7", later_ms)


def test_lists_of_nobody_we_know_are_refused(tmp_path: Path) -> None:
    hospital, ours = Hospital(tmp_path / "h"), create_ca(tmp_path / "ca", now_ms=NOW_MS)
    with pytest.raises(SecurityError, match="believed here"):
        import_lists(ours, hospital.folder / "crl.pem", now_ms=NOW_MS)
    with pytest.raises(SecurityError, match="which writes its own"):
        import_lists(ours, ours.lists_path, now_ms=NOW_MS)
