"""Signing requests and renewals: a device gets a certificate for its own key, under its own name, once, and in time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from security import canonical, certificates, issuing, listing
from security.authority import Authority
from security.crl import Why
from security.errors import Rejected
from security.identity import DeviceIdentity, Role, create_ca, issue_device, issue_engine, store
from security.issuing import enrol, take_in
from security.renewal import FRESH_MS, MAX_LATE, grant, make_renewal, prove_renewal
from security.requests import make_csr, read_csr

NOW_MS = 1_780_000_000_000
DAY_MS = 24 * 3600 * 1000


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return create_ca(tmp_path_factory.mktemp("renewal") / "ca", now_ms=NOW_MS)


@pytest.fixture
def device(ca: Authority, tmp_path: Path) -> DeviceIdentity:
    return issue_device(ca, "d1", tmp_path / "devices", now_ms=NOW_MS)


def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def refused(reason: str, action: Callable[[], object]) -> None:
    with pytest.raises(Rejected) as caught:
        action()
    assert caught.value.reason == reason, str(caught.value)
    assert str(caught.value).startswith("expected ") and ", got " in str(caught.value)


def csr(name: str = "d1", signer: object = None, *names: x509.GeneralName) -> bytes:
    builder = x509.CertificateSigningRequestBuilder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signer = signer or key()
    hash_ = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(signer, hash_).public_bytes(Encoding.DER)  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------------- signing requests


def test_a_device_that_made_its_own_key_gets_a_certificate_for_it(ca: Authority) -> None:
    own = key()
    as_pem = x509.load_der_x509_csr(make_csr(own, "board-1")).public_bytes(Encoding.PEM)
    for request in (make_csr(own, "board-1"), as_pem):
        chain = enrol(ca, "board-1", request, now_ms=NOW_MS, who="officer")
        ders = [c.public_bytes(Encoding.DER) for c in chain]
        assert len(chain) == 2 and chain[0].public_key() == own.public_key()
        assert ca.trust.verify_device(ders, "board-1", NOW_MS) == own.public_key()
        usage = chain[0].extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [Role.DEVICE.value]
        assert chain[0].not_valid_after_utc - chain[0].not_valid_before_utc < timedelta(days=31)


def test_what_a_request_asks_for_beyond_its_name_is_refused(ca: Authority) -> None:
    own_uri = x509.UniformResourceIdentifier("urn:everbeat:device:d1")
    assert read_csr(csr("d1", None, own_uri), "d1")
    refused("wrong-identity", lambda: read_csr(csr("d2"), "d1"))
    refused("wrong-identity", lambda: read_csr(csr("d1"), "d1 "))
    refused("wrong-identity", lambda: read_csr(csr("d1", None, own_uri, x509.DNSName("hub")), "d1"))
    other = x509.UniformResourceIdentifier("urn:everbeat:engine:d1")
    refused("wrong-identity", lambda: read_csr(csr("d1", None, other), "d1"))
    refused("wrong-key", lambda: read_csr(csr("d1", ec.generate_private_key(ec.SECP384R1())), "d1"))
    refused("wrong-key", lambda: read_csr(csr("d1", ed25519.Ed25519PrivateKey.generate()), "d1"))
    refused("wrong-key", lambda: read_csr(csr("d1", rsa.generate_private_key(65537, 2048)), "d1"))


def test_a_request_that_somebody_else_signed_or_changed_is_refused() -> None:
    good = make_csr(key(), "d1")
    passed = 0
    for at in range(len(good)):
        bad = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        try:
            read_csr(bad, "d1")
            passed += 1
        except Rejected as error:
            assert error.reason in ("malformed", "forged", "wrong-identity", "wrong-key")
    assert passed <= 1  # the count of unused bits of the signature itself is not signed
    for junk in (b"", b"-----BEGIN", bytes(5000), good + b"\0"):
        refused("malformed", lambda j=junk: read_csr(j, "d1"))


# --------------------------------------------------------------------------------------------------- renewals


def test_a_device_renews_by_its_present_key_and_the_next_request_by_the_new_one(
    ca: Authority, device: DeviceIdentity
) -> None:
    new, now_ms = key(), NOW_MS + 20 * DAY_MS
    found, chain = grant(ca, make_renewal(device, new, now_ms), now_ms=now_ms)
    assert (found.device, found.late, found.old) == ("d1", False, device.certificate)
    again = store(DeviceIdentity, "d1", device.key_path.parent, new, chain, ca.root)
    later_ms = NOW_MS + 45 * DAY_MS
    assert ca.trust.verify_device(again.chain_der, "d1", later_ms)
    _, third = grant(ca, make_renewal(again, again.key, later_ms), now_ms=later_ms)  # the same key will do
    assert third[0].public_key() == again.key.public_key()


def test_a_renewal_counts_once_and_only_for_ten_minutes(ca: Authority, device: DeviceIdentity) -> None:
    request = make_renewal(device, key(), NOW_MS)
    for late_ms in (FRESH_MS + 1, -FRESH_MS - 1, DAY_MS):
        refused("stale", lambda ms=late_ms: grant(ca, request, now_ms=NOW_MS + ms))
    assert grant(ca, request, now_ms=NOW_MS + FRESH_MS)
    refused("replayed", lambda: grant(ca, request, now_ms=NOW_MS + FRESH_MS))
    refused("stale", lambda: grant(ca, request, now_ms=NOW_MS + FRESH_MS + 1))  # also when the note of it is gone
    assert grant(ca, make_renewal(device, key(), NOW_MS), now_ms=NOW_MS)


def test_a_renewal_in_another_encoding_of_its_signature_is_the_same_renewal(
    ca: Authority, device: DeviceIdentity
) -> None:
    request = make_renewal(device, key(), NOW_MS)
    body, signature = canonical.decode(request, "a renewal")
    r, s = decode_dss_signature(signature)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    mirrored = canonical.encode([body, encode_dss_signature(r, order - s)])
    grant(ca, request, now_ms=NOW_MS)
    refused("replayed", lambda: grant(ca, mirrored, now_ms=NOW_MS))


def test_nobody_renews_for_somebody_else(ca: Authority, device: DeviceIdentity, tmp_path: Path) -> None:
    other = issue_device(ca, "d2", tmp_path / "devices", now_ms=NOW_MS)
    rogue = issue_device(create_ca(tmp_path / "rogue", now_ms=NOW_MS), "d1", tmp_path / "r", now_ms=NOW_MS)
    engine = issue_engine(ca, tmp_path / "e", name="d1", now_ms=NOW_MS)

    def as_device(name: str, chain: DeviceIdentity, signer: object) -> bytes:
        request = DeviceIdentity(
            name, signer.key, chain.chain_der, chain.key_path, chain.chain_path, chain.root_path, chain.trust,  # type: ignore[attr-defined]
        )  # fmt: skip
        return make_renewal(request, key(), NOW_MS)

    refused("forged", lambda: grant(ca, as_device("d1", device, other), now_ms=NOW_MS))
    refused("wrong-identity", lambda: grant(ca, as_device("d1", other, other), now_ms=NOW_MS))
    refused("untrusted", lambda: grant(ca, as_device("d1", rogue, rogue), now_ms=NOW_MS))
    refused("wrong-usage", lambda: grant(ca, as_device("d1", engine, engine), now_ms=NOW_MS))  # type: ignore[arg-type]
    body, signature = canonical.decode(make_renewal(device, key(), NOW_MS), "a renewal")
    fields = canonical.decode(body, "a renewal")
    swapped = canonical.encode([*fields[:5], make_csr(key(), "d1")])
    refused("forged", lambda: grant(ca, canonical.encode([swapped, signature]), now_ms=NOW_MS))
    theirs = canonical.encode([*fields[:5], make_csr(key(), "d2")])
    signed = device.key.sign(b"everbeat/1 renewal|" + theirs, ec.ECDSA(hashes.SHA256()))
    refused("wrong-identity", lambda: grant(ca, canonical.encode([theirs, signed]), now_ms=NOW_MS))


def test_a_revoked_or_unknown_device_renews_nothing(ca: Authority, tmp_path: Path) -> None:
    device = issue_device(ca, "stolen", tmp_path / "devices", now_ms=NOW_MS)
    with ca.index() as index:
        issuing.revoke(ca, index.of("device", "stolen"), Why.KEY_COMPROMISE, now_ms=NOW_MS, who="officer")
    refused("revoked", lambda: grant(ca, make_renewal(device, key(), NOW_MS), now_ms=NOW_MS))
    late_ms = NOW_MS + 40 * DAY_MS
    refused("revoked", lambda: grant(ca, make_renewal(device, key(), late_ms), now_ms=late_ms, grace=MAX_LATE))
    late_ms = NOW_MS + 119 * DAY_MS
    refused("revoked", lambda: grant(ca, make_renewal(device, key(), late_ms), now_ms=late_ms, grace=MAX_LATE))


def test_a_certificate_that_is_not_in_the_index_is_renewed_only_once_it_was_taken_in(
    ca: Authority, tmp_path: Path
) -> None:
    own = key()
    leaf = certificates.create_leaf(
        ca.certificate, ca.key, Role.DEVICE, "elsewhere", (), listing.time_of(NOW_MS), own.public_key()
    )
    device = store(DeviceIdentity, "elsewhere", tmp_path / "x", own, [leaf, *ca.chain], ca.root)
    refused("untrusted", lambda: grant(ca, make_renewal(device, own, NOW_MS), now_ms=NOW_MS))
    take_in(ca, leaf, now_ms=NOW_MS)
    assert grant(ca, make_renewal(device, own, NOW_MS), now_ms=NOW_MS)


def test_a_board_that_was_off_for_too_long_is_renewed_once_where_an_officer_says_so(
    ca: Authority, device: DeviceIdentity
) -> None:
    late_ms = NOW_MS + 50 * DAY_MS  # expired 20 days ago
    refused("expired", lambda: grant(ca, make_renewal(device, key(), late_ms), now_ms=late_ms))
    short = timedelta(days=19)
    refused("expired", lambda: grant(ca, make_renewal(device, key(), late_ms), now_ms=late_ms, grace=short))
    new = key()
    found, chain = grant(ca, make_renewal(device, new, late_ms), now_ms=late_ms, grace=timedelta(days=21))
    assert found.late and chain[0].not_valid_after_utc > listing.time_of(late_ms)
    refused("expired", lambda: grant(ca, make_renewal(device, key(), late_ms), now_ms=late_ms, grace=MAX_LATE))
    far_ms = NOW_MS + 121 * DAY_MS
    other = issue_device(ca, "d5", device.key_path.parent, now_ms=NOW_MS)
    refused(
        "expired", lambda: grant(ca, make_renewal(other, key(), far_ms), now_ms=far_ms, grace=timedelta(days=10_000))
    )


@given(data=st.binary(max_size=400))
def test_whatever_comes_as_a_renewal_only_a_refusal_comes_out(ca: Authority, data: bytes) -> None:
    with pytest.raises(Rejected):
        prove_renewal(data, ca.trust, NOW_MS)


def test_whatever_byte_of_a_renewal_is_changed_only_a_refusal_comes_out(ca: Authority, device: DeviceIdentity) -> None:
    good = make_renewal(device, key(), NOW_MS)
    assert prove_renewal(good, ca.trust, NOW_MS).device == "d1"
    for at in range(0, len(good), 3):
        bad = good[:at] + bytes([good[at] ^ 0x81]) + good[at + 1 :]
        with pytest.raises(Rejected):
            prove_renewal(bad, ca.trust, NOW_MS)
