"""One session of each suite, byte for byte: what another implementation must make and read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from security import hpke
from security.envelope import Lane, Recipient, accept_open_record, open_session, parse_header, verify_recipient
from security.identity import DeviceIdentity, Trust
from security.keys import recipient_from_bytes
from security.session import OVERHEAD_BYTES
from tests.vector_kit import NOW_MS, PATH, draws, key_of

VECTORS: dict[str, Any] = json.loads(PATH.read_text())
TRUST = Trust((x509.load_der_x509_certificate(bytes.fromhex(VECTORS["root"])),))
KEY = recipient_from_bytes(bytes.fromhex(VECTORS["recipient_secret"]))
RECIPIENT = Recipient.from_json(VECTORS["recipient"])
CHAIN = tuple(bytes.fromhex(der) for der in VECTORS["chain"])
NOWHERE = Path("nowhere")
IDENTITY = DeviceIdentity(VECTORS["device"], key_of(VECTORS), CHAIN, NOWHERE, NOWHERE, NOWHERE, TRUST)

each_suite = pytest.mark.parametrize("vector", VECTORS["sessions"], ids=lambda v: v["suite"])


def test_the_recipient_of_the_vectors_offers_every_suite_and_is_signed() -> None:
    assert verify_recipient(RECIPIENT, TRUST, NOW_MS, VECTORS["device"]).offered == ("C", "A", "B")
    assert RECIPIENT.xwing_key == KEY.xwing_public and RECIPIENT.kid == KEY.kid


@each_suite
def test_an_engine_opens_the_session_and_reads_every_message(vector: dict[str, Any]) -> None:
    opener = accept_open_record(
        bytes.fromhex(vector["open_record"]), trust=TRUST, recipient_key={KEY.kid: KEY}.get,
        hub_device_id=VECTORS["device"], now_ms=NOW_MS,
    )  # fmt: skip
    assert (opener.suite, opener.epoch, opener.lane) == (vector["suite"], VECTORS["epoch"], vector["lane"])
    for seq, message in enumerate(vector["messages"]):
        envelope, frame = bytes.fromhex(message["envelope"]), bytes.fromhex(message["frame"])
        assert opener.open(envelope) == (seq, frame)
        assert len(envelope) == len(frame) + OVERHEAD_BYTES == len(frame) + 30


@each_suite
def test_a_device_with_the_same_randomness_makes_the_same_bytes(
    vector: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = bytes.fromhex(vector["open_record"])
    _give_mlkems_part(record, monkeypatch)
    random = draws(bytes.fromhex(vector["random"]))
    made, sealer = open_session(
        IDENTITY, RECIPIENT, epoch=VECTORS["epoch"], lane=Lane(vector["lane"]), now_ms=NOW_MS, random=random,
        suites=(vector["suite"],),
    )  # fmt: skip
    assert made == record and parse_header(made).sid == bytes.fromhex(vector["random"])[:8]
    keys = sealer._keys
    assert keys.base_nonce.to_bytes(keys.nonce_bytes, "big").hex() == vector["base_nonce"]
    assert keys.receipt_key.hex() == vector["receipt_key"]
    sealed = [sealer.seal(bytes.fromhex(message["frame"])).hex() for message in vector["messages"]]
    assert sealed == [message["envelope"] for message in vector["messages"]]


def _give_mlkems_part(record: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """ML-KEM's randomness can't be given to the library, so its ciphertext is taken from the vector."""
    assert KEY.xwing is not None
    lattice, _ = KEY.xwing.halves
    at = record.find(b"\x63enc\x59") + 7  # the field's name, then a string with two length bytes
    enc = record[at : at + 1088]

    class Fixed:
        @staticmethod
        def from_public_bytes(_public: bytes) -> type[Fixed]:
            return Fixed

        @staticmethod
        def encapsulate() -> tuple[bytes, bytes]:
            return lattice.decapsulate(enc), enc

    monkeypatch.setattr(hpke, "MLKEM768PublicKey", Fixed)
