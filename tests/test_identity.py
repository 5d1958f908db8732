"""Identities: each certificate proves one name in one role, and key files are nobody else's."""

from __future__ import annotations

import os
import ssl
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from security import files, identity
from security.errors import Rejected, SecurityError
from security.files import KeyFileError
from security.identity import (
    Authority,
    DeviceIdentity,
    Trust,
    create_ca,
    ensure_device,
    ensure_engine,
    ensure_server,
    is_device_id,
    issue_device,
    issue_engine,
    issue_server,
    load_ca,
    load_or_create_ca,
)

NOW_MS = 1_780_000_000_000
NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)
DAY_MS = 24 * 3600 * 1000
URI = "urn:everbeat:device:d1"


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return create_ca(tmp_path / "ca", now_ms=NOW_MS)


@pytest.fixture
def device(ca: Authority, tmp_path: Path) -> DeviceIdentity:
    return issue_device(ca, "d1", tmp_path / "devices", now_ms=NOW_MS)


def reason_of(action: Callable[[], object]) -> str:
    with pytest.raises(Rejected) as caught:
        action()
    return caught.value.reason


def certificate(  # type: ignore[no-untyped-def]
    ca: Authority, *, cn: str = "d1", uri: str | None = URI, usages=(ExtendedKeyUsageOID.CLIENT_AUTH,), key=None,
    issuer_key=None, issuer=None, start: timedelta = timedelta(0), is_ca: bool = False,
) -> bytes:  # fmt: skip
    """A leaf as a careless or hostile CA might make it."""
    key, signer = key or ec.generate_private_key(ec.SECP256R1()), issuer_key or ca.key
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)]))
        .issuer_name(issuer or ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(hours=1) + start)
        .not_valid_after(NOW + timedelta(days=30) + start)
        .add_extension(x509.BasicConstraints(is_ca, None), True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)
    )
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), False)
    if uri is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)


# ----------------------------------------------------------------------------------------------- who is believed


def test_a_device_is_believed_under_its_own_name_and_under_no_other(ca: Authority, device: DeviceIdentity) -> None:
    key = ca.trust.verify_device(device.chain_der, "d1", NOW_MS)
    assert key.public_numbers() == device.key.public_key().public_numbers()
    for name in ("d2", "D1", "d1 ", "", "d1\0", "d1/../d2"):
        assert reason_of(lambda n=name: ca.trust.verify_device(device.chain_der, n, NOW_MS)) == "wrong-identity"


def test_devices_engines_and_servers_never_stand_in_for_each_other(
    ca: Authority, device: DeviceIdentity, tmp_path: Path
) -> None:
    engine = issue_engine(ca, tmp_path / "e", name="d1", now_ms=NOW_MS)
    server = issue_server(ca, "d1", ["localhost"], tmp_path / "s", now_ms=NOW_MS)
    assert ca.trust.verify_engine(engine.chain_der, NOW_MS)
    for other in (engine, server):
        assert reason_of(lambda i=other: ca.trust.verify_device(i.chain_der, "d1", NOW_MS)) == "wrong-usage"
    for other in (device, server):
        assert reason_of(lambda i=other: ca.trust.verify_engine(i.chain_der, NOW_MS)) == "wrong-usage"


def test_expired_and_future_certificates_are_refused(ca: Authority, device: DeviceIdentity) -> None:
    def at(days: float) -> str:
        return reason_of(lambda: ca.trust.verify_device(device.chain_der, "d1", int(NOW_MS + days * DAY_MS)))

    assert (at(30.01), at(-1), at(300)) == ("expired", "not-yet-valid", "expired")
    assert ca.trust.verify_device(device.chain_der, "d1", NOW_MS + 29 * DAY_MS)


def test_a_revoked_certificate_is_refused_though_the_library_would_take_it(
    ca: Authority, device: DeviceIdentity
) -> None:
    for serial in (device.certificate.serial_number, ca.certificate.serial_number):
        trust = replace(ca.trust, revoked=frozenset({serial}))
        assert reason_of(lambda t=trust: t.verify_device(device.chain_der, "d1", NOW_MS)) == "revoked"


def test_a_certificate_of_another_ca_is_refused_even_under_our_cas_name(ca: Authority, tmp_path: Path) -> None:
    rogue = create_ca(tmp_path / "rogue", now_ms=NOW_MS)
    theirs = issue_device(rogue, "d1", tmp_path / "d", now_ms=NOW_MS)
    assert reason_of(lambda: ca.trust.verify_device(theirs.chain_der, "d1", NOW_MS)) == "untrusted"
    with_root = (theirs.chain_der[0], rogue.root.public_bytes(Encoding.DER))
    assert reason_of(lambda: ca.trust.verify_device(with_root, "d1", NOW_MS)) == "untrusted"
    named = certificate(ca, issuer_key=rogue.key)
    assert reason_of(lambda: ca.trust.verify_device((named,), "d1", NOW_MS)) == "untrusted"


def test_trusting_nobody_is_a_mistake_and_not_a_setting(ca: Authority, tmp_path: Path) -> None:
    with pytest.raises(SecurityError, match="nobody could be believed"):
        Trust(())
    (tmp_path / "empty.pem").write_bytes(b"")
    with pytest.raises(SecurityError, match="nobody could be believed"):
        Trust.load(tmp_path / "empty.pem")
    assert Trust.load(ca.root_path).roots == ca.trust.roots
    assert Trust.load(ca.trust_path) == ca.trust


def test_a_root_that_others_could_have_written_is_not_believed(device: DeviceIdentity, tmp_path: Path) -> None:
    for mode in (0o664, 0o646):
        device.root_path.chmod(mode)
        with pytest.raises(KeyFileError):
            DeviceIdentity.load(tmp_path / "devices", "d1")


def test_a_self_signed_certificate_is_refused(ca: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    own_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "d1")])
    own = certificate(ca, key=key, issuer_key=key, issuer=own_name)
    assert reason_of(lambda: ca.trust.verify_device((own,), "d1", NOW_MS)) == "self-signed"
    root = ca.root.public_bytes(Encoding.DER)
    assert reason_of(lambda: ca.trust.verify_device((root,), "d1", NOW_MS)) == "self-signed"


def test_a_device_cannot_issue_certificates(ca: Authority, device: DeviceIdentity) -> None:
    child = certificate(
        ca, cn="d2", uri="urn:everbeat:device:d2", issuer_key=device.key, issuer=device.certificate.subject
    )
    assert reason_of(lambda: ca.trust.verify_device((child, device.chain_der[0]), "d2", NOW_MS)) == "untrusted"


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"uri": None}, "wrong-identity"),
        ({"uri": "urn:everbeat:device:d2"}, "wrong-identity"),
        ({"uri": "urn:everbeat:engine:d1"}, "wrong-identity"),
        ({"cn": "d2"}, "wrong-identity"),
        ({"usages": ()}, "wrong-usage"),
        ({"usages": (ExtendedKeyUsageOID.SERVER_AUTH,)}, "wrong-usage"),
        ({"usages": (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)}, "wrong-usage"),
        ({"usages": (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)}, "wrong-usage"),
        ({"key": ec.generate_private_key(ec.SECP384R1())}, "wrong-key"),
        ({"key": ed25519.Ed25519PrivateKey.generate()}, "wrong-key"),
        ({"key": rsa.generate_private_key(65537, 2048)}, "wrong-key"),
        ({"start": timedelta(days=-60)}, "expired"),
        ({"start": timedelta(days=5)}, "not-yet-valid"),
        ({"is_ca": True}, "untrusted"),
    ],
)
def test_our_ca_signed_it_but_it_proves_no_device(ca: Authority, changes: dict[str, object], reason: str) -> None:
    assert ca.trust.verify_device((certificate(ca),), "d1", NOW_MS)  # unchanged, it would pass
    bad = certificate(ca, **changes)
    assert reason_of(lambda: ca.trust.verify_device((bad,), "d1", NOW_MS)) == reason


def test_chains_of_another_form_are_refused(ca: Authority, device: DeviceIdentity) -> None:
    good = device.chain_der[0]
    for chain in ((), (b"",), (b"\x30\x00",), (good + b"\0",), (bytes(3000),), (good,) * 3, (good[:-1],)):
        assert reason_of(lambda c=chain: ca.trust.verify_device(c, "d1", NOW_MS)) == "malformed"


def test_whatever_byte_of_a_certificate_is_changed_only_a_refusal_comes_out(
    ca: Authority, device: DeviceIdentity
) -> None:
    good, passed = device.chain_der[0], 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about serial numbers below zero
        for at in range(len(good)):
            for flip in (0x01, 0x80, 0x1F):
                bad = good[:at] + bytes([good[at] ^ flip]) + good[at + 1 :]
                try:
                    ca.trust.verify_device((bad,), "d1", NOW_MS)
                    passed += 1
                except Rejected as refusal:
                    assert refusal.reason
    assert passed <= 1  # the count of unused bits of the signature itself is not signed


@given(text=st.text(max_size=80))
def test_a_device_id_is_safe_in_topics_urls_file_names_and_key_derivation(text: str) -> None:
    if is_device_id(text):
        assert 1 <= len(text) <= 64 and text.isascii() and text[0].isalnum()
        assert not set(text) & set("|/\\+#$ \n\0%?&=:'\"")


@pytest.mark.parametrize(
    "text", ["", "-a", ".a", "_a", "a" * 65, "a|b", "a/b", "a\n", "ä", "a b", "a\0", None, 7, b"a"]
)
def test_these_are_no_device_ids(text: object, ca: Authority, tmp_path: Path) -> None:
    assert not is_device_id(text)
    if isinstance(text, str):
        with pytest.raises(SecurityError, match="no key was touched"):
            issue_device(ca, text, tmp_path / "x", now_ms=NOW_MS)


# ---------------------------------------------------------------------------------------------------- key files


@pytest.mark.parametrize("name", ["root", "ca", "Root", "CA", "issuer", "trust", "crl", "imported"])
def test_no_identity_can_take_the_place_of_the_root(name: str, ca: Authority, tmp_path: Path) -> None:
    with pytest.raises(SecurityError, match="other than ca, crl, imported, issuer, root, trust"):
        issue_device(ca, name, tmp_path / "ca", now_ms=NOW_MS)
    assert load_ca(tmp_path / "ca").root == ca.root == Trust.load(ca.root_path).roots[0]


def test_an_identity_of_another_role_or_name_is_neither_used_nor_overwritten(
    device: DeviceIdentity, ca: Authority, tmp_path: Path
) -> None:
    before = device.key_path.read_bytes()
    with pytest.raises(SecurityError, match="one directory for each role"):
        ensure_engine(ca, tmp_path / "devices", name="d1", now_ms=NOW_MS)
    files.write_private(tmp_path / "devices" / "d9.key", before)
    with pytest.raises(SecurityError, match="expected the device d9"):
        DeviceIdentity.load(tmp_path / "devices", "d9")
    assert device.key_path.read_bytes() == before


def test_private_keys_are_0600_in_directories_of_0700_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        ca = create_ca(tmp_path / "a" / "ca", now_ms=NOW_MS)
        device = issue_device(ca, "d1", tmp_path / "d", now_ms=NOW_MS)
    finally:
        os.umask(before)
    for key in (tmp_path / "a/ca/root.key", tmp_path / "a/ca/issuer.key", device.key_path):
        assert key.stat().st_mode & 0o777 == 0o600 and key.parent.stat().st_mode & 0o777 == 0o700
    assert b"PRIVATE" not in device.chain_path.read_bytes() + device.root_path.read_bytes()
    assert not list(tmp_path.rglob("*.new"))


def test_a_key_file_that_others_can_read_is_refused(device: DeviceIdentity, tmp_path: Path) -> None:
    for mode in (0o640, 0o604, 0o660):
        device.key_path.chmod(mode)
        with pytest.raises(KeyFileError, match="may be known to others"):
            DeviceIdentity.load(tmp_path / "devices", "d1")
    (tmp_path / "ca" / "issuer.key").chmod(0o644)
    with pytest.raises(KeyFileError):
        load_or_create_ca(tmp_path / "ca")


def test_a_link_a_directory_or_a_huge_file_is_no_key_file(device: DeviceIdentity, tmp_path: Path) -> None:
    link, huge, pipe = tmp_path / "link", tmp_path / "huge", tmp_path / "pipe"
    link.symlink_to(device.key_path)
    files.write_private(huge, bytes(files.MAX_FILE_BYTES + 1))
    os.mkfifo(pipe, 0o600)
    for path in (link, huge, pipe, tmp_path, tmp_path / "missing"):
        with pytest.raises(KeyFileError):
            files.read_private(path)


def test_no_key_is_written_where_others_could_replace_it(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(KeyFileError, match="chmod 700"):
        create_ca(tmp_path / "open", now_ms=NOW_MS)


def test_a_root_is_never_overwritten_and_two_processes_get_the_same(tmp_path: Path) -> None:
    found: list[Authority] = []
    threads = [
        threading.Thread(target=lambda: found.append(load_or_create_ca(tmp_path / "ca", now_ms=NOW_MS)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({ca.certificate for ca in found}) == 1 and len(found) == 6
    with pytest.raises(SecurityError, match="it was kept"):
        create_ca(tmp_path / "ca", now_ms=NOW_MS)


def test_a_key_with_somebody_elses_certificate_is_not_used(
    device: DeviceIdentity, ca: Authority, tmp_path: Path
) -> None:
    other = issue_device(ca, "d2", tmp_path / "devices", now_ms=NOW_MS)
    end = b"-----END PRIVATE KEY-----\n"
    mixed = device.key_path.read_bytes().split(end)[0] + end + other.chain_path.read_bytes()
    files.write_private(device.key_path, mixed)
    with pytest.raises(SecurityError, match="with its own certificate"):
        DeviceIdentity.load(tmp_path / "devices", "d1")
    files.write_private(device.key_path, b"no pem")
    with pytest.raises(SecurityError, match="got neither"):
        DeviceIdentity.load(tmp_path / "devices", "d1")


# ------------------------------------------------------------------------------------------------------ renewal


def test_an_identity_is_kept_until_ten_days_before_its_end_and_then_issued_again(ca: Authority, tmp_path: Path) -> None:
    def at(days: float) -> DeviceIdentity:
        return ensure_device(ca, "d1", tmp_path / "devices", now_ms=int(NOW_MS + days * DAY_MS))

    first = at(0)
    assert at(19.9).chain_der == first.chain_der
    second = at(20.1)
    assert second.chain_der != first.chain_der and second.key.private_numbers() != first.key.private_numbers()
    assert ca.trust.verify_device(second.chain_der, "d1", NOW_MS + 45 * DAY_MS)


def test_an_identity_of_a_ca_that_is_gone_is_issued_again(ca: Authority, tmp_path: Path) -> None:
    old = ensure_engine(ca, tmp_path / "e", now_ms=NOW_MS)
    new_ca = create_ca(tmp_path / "ca2", now_ms=NOW_MS)
    new = ensure_engine(new_ca, tmp_path / "e", now_ms=NOW_MS)
    assert new.chain_der != old.chain_der
    assert new.trust.roots == (new_ca.root,)


def test_a_server_is_issued_again_when_it_shall_answer_to_another_host(ca: Authority, tmp_path: Path) -> None:
    first = ensure_server(ca, "hub", ["127.0.0.2", "localhost"], tmp_path / "s", now_ms=NOW_MS)
    same = ensure_server(ca, "hub", ["localhost"], tmp_path / "s", now_ms=NOW_MS)
    more = ensure_server(ca, "hub", ["localhost", "::1"], tmp_path / "s", now_ms=NOW_MS)
    assert first.chain_der == same.chain_der != more.chain_der


def test_a_lost_public_copy_is_written_again(ca: Authority, tmp_path: Path) -> None:
    device = ensure_device(ca, "d1", tmp_path / "devices", now_ms=NOW_MS)
    device.chain_path.write_bytes(b"old")
    ensure_device(ca, "d1", tmp_path / "devices", now_ms=NOW_MS)
    assert x509.load_pem_x509_certificate(device.chain_path.read_bytes()) == device.certificate
    (tmp_path / "ca" / identity.ROOT_FILE).unlink()
    assert load_ca(tmp_path / "ca").root_path.exists()


# ---------------------------------------------------------------------------------------------------------- TLS


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> ssl.SSLObject:
    """Both ends in memory; returns the client's."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    a = client.wrap_bio(to_client, to_server, server_hostname=host)
    b = server.wrap_bio(to_server, to_client, server_side=True)
    done = {a: False, b: False}
    for _ in range(10):
        for end in done:
            try:
                end.do_handshake()
                done[end] = True
            except ssl.SSLWantReadError:
                pass
        if all(done.values()):
            return a
    raise AssertionError("no end to the handshake")


def test_hub_and_device_shake_hands_by_tls_1_2_and_strangers_do_not(tmp_path: Path) -> None:
    ca, rogue = create_ca(tmp_path / "ca"), create_ca(tmp_path / "rogue")
    hub = issue_server(ca, "hub", ["127.0.1.9", "hub.local"], tmp_path / "s")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=hub.root_path)
    server.load_cert_chain(hub.chain_path, hub.key_path)
    server.verify_mode, server.minimum_version = ssl.CERT_REQUIRED, ssl.TLSVersion.TLSv1_2

    def connect(authority: Authority, host: str, who: str = "d1") -> ssl.SSLObject:
        own = issue_device(authority, who, tmp_path / authority.certificate.serial_number.to_bytes(20, "big").hex())
        client = ssl.create_default_context(cafile=ca.root_path)
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        client.load_cert_chain(own.chain_path, own.key_path)
        return handshake(server, client, host)

    for host in ("127.0.1.9", "hub.local"):
        assert connect(ca, host).version() == "TLSv1.2"
    engine = issue_engine(ca, tmp_path / "e")

    def connect_as_engine() -> ssl.SSLObject:
        client = ssl.create_default_context(cafile=ca.root_path)
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        client.load_cert_chain(engine.chain_path, engine.key_path)
        return handshake(server, client, "hub.local")

    for bad in (lambda: connect(ca, "127.0.1.10"), lambda: connect(rogue, "hub.local"), connect_as_engine):
        with pytest.raises(ssl.SSLError):
            bad()
