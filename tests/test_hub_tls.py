"""Which TLS the hub speaks: 1.3 to services, to devices also 1.2, but only with ephemeral keys and GCM.

Each refusal is shown beside a permissive server with the same certificate that takes the same client.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from device.hub.listener import server_context
from device.hub.settings import HubSettings
from everbeat import wiring
from everbeat.settings import Settings
from tests.hub_kit import Kit, running_hub

HOST = "hub.test"
EVERY = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"


def certificate(folder: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> tuple[Path, Path]:
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)]), datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 7)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), False)
        .sign(key, hashes.SHA256())
    )
    kind = type(key).__name__
    paths = folder / f"{kind}.pem", folder / f"{kind}.key"
    paths[0].write_bytes(made.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    folder = tmp_path_factory.mktemp("tls")
    return {
        "RSA": certificate(folder, rsa.generate_private_key(65537, 2048)),
        "EC": certificate(folder, ec.generate_private_key(ec.SECP256R1())),
    }


def ours(pair: tuple[Path, Path], *, device: bool) -> ssl.SSLContext:
    settings = HubSettings("127.0.0.1", pair[0], pair[1], pair[0], pair[0].parent, ())
    context = server_context(settings, demand_certificate=device)
    context.verify_mode = ssl.CERT_NONE  # who the client is comes later; here it is how they talk
    return context


def permissive(pair: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers(EVERY)
    context.load_cert_chain(*pair)
    return context


def client(ciphers: str, newest: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version, context.maximum_version = min(newest, ssl.TLSVersion.TLSv1_2), newest
    context.set_ciphers(ciphers)
    return context


def talk(server: ssl.SSLContext, with_: ssl.SSLContext, host: str = HOST) -> tuple[str, str]:
    """(protocol, cipher) on which both ends agree, in memory. Raises ssl.SSLError where they don't."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    a = with_.wrap_bio(to_client, to_server, server_hostname=host)
    b = server.wrap_bio(to_server, to_client, server_side=True)
    done = {a: False, b: False}
    for _ in range(10):
        for end in done:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
                done[end] = True
    cipher = a.cipher()
    assert all(done.values()) and cipher is not None
    return str(a.version()), cipher[0]


@pytest.mark.parametrize(
    ("key", "cipher"),
    [
        ("RSA", "AES128-SHA"),  # RSA key exchange, CBC
        ("RSA", "AES128-GCM-SHA256"),  # RSA key exchange
        ("RSA", "AES256-GCM-SHA384"),
        ("RSA", "ECDHE-RSA-AES128-SHA256"),  # CBC
        ("RSA", "ECDHE-RSA-AES256-SHA"),
        ("EC", "ECDHE-ECDSA-AES128-SHA256"),
        ("EC", "ECDHE-ECDSA-AES256-SHA"),
        ("EC", "ECDHE-ECDSA-AES128-CCM8"),  # a tag of 8 bytes
        ("EC", "AECDH-AES128-SHA"),  # nobody proves anything
    ],
)
def test_a_weak_cipher_of_tls_1_2_is_refused(pairs: dict[str, tuple[Path, Path]], key: str, cipher: str) -> None:
    weak = client(f"{cipher}:@SECLEVEL=0", ssl.TLSVersion.TLSv1_2)
    assert talk(permissive(pairs[key]), weak) == ("TLSv1.2", cipher)
    for device in (True, False):
        with pytest.raises(ssl.SSLError):
            talk(ours(pairs[key], device=device), weak)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_tls_1_0_and_1_1_are_refused(pairs: dict[str, tuple[Path, Path]], version: ssl.TLSVersion) -> None:
    old = client(EVERY, version)
    old.minimum_version = version
    assert talk(permissive(pairs["RSA"]), old)[0] == {769: "TLSv1", 770: "TLSv1.1"}[version]
    for device in (True, False):
        with pytest.raises(ssl.SSLError):
            talk(ours(pairs["RSA"], device=device), old)


@pytest.mark.parametrize("key", ["RSA", "EC"])
def test_devices_talk_tls_1_2_with_ephemeral_keys_and_gcm_and_services_only_1_3(
    pairs: dict[str, tuple[Path, Path]], key: str
) -> None:
    anything = client(EVERY, ssl.TLSVersion.TLSv1_2)
    version, cipher = talk(ours(pairs[key], device=True), anything)
    assert version == "TLSv1.2" and cipher.startswith("ECDHE-") and "GCM" in cipher
    with pytest.raises(ssl.SSLError):
        talk(ours(pairs[key], device=False), anything)
    for device in (True, False):
        assert talk(ours(pairs[key], device=device), client(EVERY, ssl.TLSVersion.TLSv1_3))[0] == "TLSv1.3"


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    with running_hub("127.0.1.33", tmp_path_factory.mktemp("hub")) as kit:
        yield kit


@pytest.mark.hub
@pytest.mark.parametrize("port", ["mqtt_port", "amqp_port", "rest_port"])
def test_each_port_of_the_running_hub_speaks_what_it_should(kit: Kit, port: str) -> None:
    def version(newest: ssl.TLSVersion) -> str | None:
        context = ssl.create_default_context(cafile=str(kit.ca.file))
        context.maximum_version = newest
        if port == "mqtt_port":
            pair = kit.enrol("tls-1")
            context.load_cert_chain(pair.certificate, pair.key)
        with (
            socket.create_connection((kit.host, getattr(kit.hub.settings, port)), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=kit.host) as tls,
        ):
            return tls.version()

    assert version(ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    if port == "mqtt_port":
        assert version(ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    else:
        with pytest.raises(ssl.SSLError):
            version(ssl.TLSVersion.TLSv1_2)


def test_the_page_has_a_certificate_for_the_names_that_browsers_call_it_by(tmp_path: Path) -> None:
    settings = replace(Settings.from_env({"HOME": str(tmp_path)}), state=tmp_path / "state")
    identity = wiring.web_identity(settings, ["ward.clinic.example", "10.0.0.7"])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    server.load_cert_chain(identity.chain_path, identity.key_path)
    for name, is_known in (("ward.clinic.example", True), ("10.0.0.7", True), ("elsewhere.example", False)):
        context = ssl.create_default_context(cafile=str(wiring.root_certificate(settings)))
        if is_known:
            assert talk(server, context, name)[0] == "TLSv1.3"
        else:
            with pytest.raises(ssl.SSLCertVerificationError):
                talk(server, context, name)
