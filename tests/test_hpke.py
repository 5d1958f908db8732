"""HPKE, its KEMs and AES-CCM by the vectors of their specifications, and against the library's own HPKE both ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, Suite

from security import suite
from security.errors import Rejected
from security.hpke import EXPORT_ONLY, DhKem, XWing, XWingKey, schedule
from security.suite import Context

VECTORS = Path(__file__).with_name("vectors")
HPKE: dict[str, Any] = json.loads((VECTORS / "hpke.json").read_text())
SIZES = {1: (16, 12), 2: (32, 12), 3: (32, 12), EXPORT_ONLY: (0, 0)}  # AEAD id -> key and nonce bytes


def raw(vector: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(vector[name])


@pytest.mark.parametrize("name", [name for name in HPKE if "X-Wing" not in name])
def test_the_x25519_kem_makes_and_opens_what_rfc_9180_says(name: str) -> None:
    vector = HPKE[name]
    key = X25519PrivateKey.from_private_bytes(raw(vector, "skRm"))
    shared, enc = DhKem().encap(raw(vector, "pkRm"), lambda _: raw(vector, "skEm"))
    assert (shared, enc) == (raw(vector, "shared_secret"), raw(vector, "enc"))
    assert DhKem().decap(enc, key) == shared


@pytest.mark.parametrize("name", HPKE)
def test_the_key_schedule_and_the_exporter_give_the_published_bytes(name: str) -> None:
    vector = HPKE[name]
    ids = (vector["kem_id"], vector["aead_id"], *SIZES[vector["aead_id"]])
    made = schedule(raw(vector, "shared_secret"), raw(vector, "info"), *ids)
    assert (made.key, made.nonce) == (raw(vector, "key"), raw(vector, "base_nonce"))
    assert made.exporter == raw(vector, "exporter_secret")
    for export in vector["exports"]:
        assert made.export(raw(export, "exporter_context"), export["L"]) == raw(export, "exported_value")
    for message in vector.get("encryptions", []):  # sequence number 0
        assert AESGCM(made.key).encrypt(made.nonce, raw(message, "pt"), raw(message, "aad")) == raw(message, "ct")


def test_x_wing_gives_the_secret_of_its_draft() -> None:
    vector = json.loads((VECTORS / "xwing.json").read_text())
    key = XWingKey(raw(vector, "seed"))
    assert key.public.hex().startswith(vector["pk_begins"]) and key.public.hex().endswith(vector["pk_ends"])
    assert XWing().decap(raw(vector, "ct"), key) == raw(vector, "ss")


def test_x_wing_gives_the_key_and_the_secret_of_the_vectors_of_hpke() -> None:
    vector = HPKE["HPKE with MLKEM768-X25519 (X-Wing)"]
    key = XWingKey(raw(vector, "skRm"))
    assert key.public == raw(vector, "pkRm")
    assert XWing().decap(raw(vector, "enc"), key) == raw(vector, "shared_secret")


def test_what_x_wing_encapsulates_it_opens_and_no_other_key_does() -> None:
    key, other = XWingKey(bytes(range(32))), XWingKey(bytes(32))
    shared, enc = XWing().encap(key.public, lambda n: b"\7" * n)
    assert len(enc) == XWing.enc_bytes == 1120 and len(key.public) == XWing.public_bytes == 1216
    assert XWing().decap(enc, key) == shared != XWing().decap(enc, other)


@pytest.mark.parametrize("name, aead", [("A", AEAD.AES_128_GCM), ("C", AEAD.AES_256_GCM)])
def test_the_library_opens_what_we_seal_and_we_open_what_it_seals(name: str, aead: AEAD) -> None:
    context = Context(name, "d", 0, bytes(8))
    point, xwing = X25519PrivateKey.generate(), XWingKey(bytes(range(32)))
    theirs: Any = point if name == "A" else MLKEM768X25519PrivateKey(*xwing.halves)
    ours, public = (point, point.public_key().public_bytes_raw()) if name == "A" else (xwing, xwing.public)
    library = Suite(KEM.X25519 if name == "A" else KEM.MLKEM768_X25519, KDF.HKDF_SHA256, aead)
    secret, enc = suite.send_secret(public, context)
    assert library.decrypt(enc, theirs, info=context.info("open")) == secret
    sealed = library.encrypt(b"s" * 32, theirs.public_key(), info=context.info("open"))
    assert suite.receive_secret(sealed, ours, context) == b"s" * 32


@pytest.mark.parametrize("name", suite.SUITES)
def test_a_secret_opens_for_its_own_key_session_and_suite_alone(name: str) -> None:
    def private(row: suite.Row, seed: bytes) -> Any:
        return XWingKey(seed) if row.kem.id == XWing.id else X25519PrivateKey.from_private_bytes(seed)

    row, context = suite.SUITES[name], Context(name, "d", 1, bytes(8))
    key, other = private(row, b"\1" * 32), private(row, b"\2" * 32)
    public = key.public if isinstance(key, XWingKey) else key.public_key().public_bytes_raw()
    secret, enc = suite.send_secret(public, context)
    assert suite.receive_secret(enc, key, context) == secret and len(enc) == row.enc_bytes
    wrong = [(enc, other, context), (bytes(len(enc)), key, context), (enc[:-1], key, context), (b"", key, context)]
    for change in ({"device": "e"}, {"epoch": 2}, {"sid": b"\1" * 8}):
        fields = {"suite": name, "device": "d", "epoch": 1, "sid": bytes(8)} | change
        wrong.append((enc, key, Context(**fields)))  # type: ignore[arg-type]
    for bit in range(0, 8 * len(enc), 7):
        altered = bytearray(enc)
        altered[bit // 8] ^= 1 << bit % 8
        wrong.append((bytes(altered), key, context))
    for sealed, holder, session in wrong:
        with pytest.raises(Rejected) as caught:
            suite.receive_secret(sealed, holder, session)
        assert caught.value.reason == "forged"


def test_aes_ccm_gives_the_packet_vectors_of_rfc_3610() -> None:
    key = "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf"
    random_key = "d7828d13b2b0bdc325a76236df93cc6b"
    for tag, secret, nonce, data, frame, sealed in (  # section 8: packets 1, 2, 3, 7 and 13
        (8, key, "00000003020100a0a1a2a3a4a5", "0001020304050607", bytes(range(8, 31)).hex(),
         "588c979a61c663d2f066d0c2c0f989806d5f6b61dac38417e8d12cfdf926e0"),
        (8, key, "00000004030201a0a1a2a3a4a5", "0001020304050607", bytes(range(8, 32)).hex(),
         "72c91a36e135f8cf291ca894085c87e3cc15c439c9e43a3ba091d56e10400916"),
        (8, key, "00000005040302a0a1a2a3a4a5", "0001020304050607", bytes(range(8, 33)).hex(),
         "51b1e5f44a197d1da46b0f8e2d282ae871e838bb64da8596574adaa76fbd9fb0c5"),
        (10, key, "00000009080706a0a1a2a3a4a5", "0001020304050607", bytes(range(8, 31)).hex(),
         "0135d1b2c95f41d5d1d4fec185d166b8094e999dfed96c048c56602c97acbb7490"),
        (8, random_key, "00412b4ea9cdbe3c9696766cfa", "0be1a88bace018b1",
         "08e8cf97d820ea258460e96ad9cf5289054d895ceac47c",
         "4cb97f86a2a4689a877947ab8091ef5386a6ffbdd080f8e78cf7cb0cddd7b3"),
    ):  # fmt: skip
        cipher = AESCCM(bytes.fromhex(secret), tag_length=tag)
        assert cipher.encrypt(bytes.fromhex(nonce), bytes.fromhex(frame), bytes.fromhex(data)).hex() == sealed


def test_the_cipher_of_suite_b_gives_nists_vector_with_a_16_byte_tag() -> None:
    # CAVS 11.0 "CCM-VTT", AES-128, nonce of 13 bytes, tag of 16, count 60
    cipher = suite.SUITES["B"].cipher
    aead, nonce = cipher.make(bytes.fromhex("4189351b5caea375a0299e81c621bf43")), "48c0906930561e0ab0ef4cd972"
    assert (cipher.key_bytes, cipher.nonce_bytes) == (16, len(nonce) // 2)
    data = bytes.fromhex("40a27c1d1e23ea3dbe8056b2774861a4a201cce49f19997d19206d8c8a343951")
    frame = bytes.fromhex("4535d12b4377928a7c0a61c9f825a48671ea05910748c8ef")
    sealed = "26c56961c035a7e452cce61bc6ee220d77b3f94d18fd10b6d80e8bf80f4a46cab06d4313f0db9be9"
    assert aead.encrypt(bytes.fromhex(nonce), frame, data).hex() == sealed
    assert aead.decrypt(bytes.fromhex(nonce), bytes.fromhex(sealed), data) == frame


def test_x25519_gives_the_iterated_vectors_of_rfc_7748() -> None:
    k = u = (9).to_bytes(32, "little")  # section 5.2
    after = {
        1: "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079",
        1000: "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51",
    }
    for count in range(1, 1001):
        k, u = X25519PrivateKey.from_private_bytes(k).exchange(X25519PublicKey.from_public_bytes(u)), k
        assert k.hex() == after.get(count, k.hex())
