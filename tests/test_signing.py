"""Signatures: only what a believed key signed, unchanged to the bit, passes; lists of signers hide nothing."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from security.errors import Reason, Rejected, SecurityError
from security.files import KeyFileError
from security.signing import (
    SIGNATURE_BYTES,
    add_signer,
    check,
    fingerprint,
    load_or_create,
    public_of,
    read_signers,
    sign,
    signer_line,
    signers_from_text,
)

KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
SIGNERS = {public_of(KEY): "somebody"}


@given(data=st.binary(max_size=300))
def test_what_a_believed_key_signed_names_its_signer(data: bytes) -> None:
    assert check(data, sign(data, KEY), SIGNERS) == "somebody"


def test_the_same_bytes_have_the_same_signature() -> None:
    assert sign(b"weights", KEY) == sign(b"weights", KEY)


def test_every_flipped_bit_of_data_or_signature_is_refused() -> None:
    data = b'{"signals": {}}'
    whole = data + sign(data, KEY)
    for bit in range(8 * len(whole)):
        altered = bytearray(whole)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Rejected) as refusal:
            check(bytes(altered[: len(data)]), bytes(altered[len(data) :]), SIGNERS)
        assert refusal.value.reason in {Reason.FORGED, Reason.UNTRUSTED}


def test_a_good_signature_by_an_unknown_key_is_refused_and_its_fingerprint_named() -> None:
    with pytest.raises(Rejected, match=fingerprint(public_of(OTHER))) as refusal:
        check(b"weights", sign(b"weights", OTHER), SIGNERS)
    assert refusal.value.reason == Reason.UNTRUSTED


def test_a_believed_name_over_a_strangers_signature_is_refused() -> None:
    stolen = public_of(KEY) + sign(b"weights", OTHER)[32:]
    with pytest.raises(Rejected) as refusal:
        check(b"weights", stolen, SIGNERS)
    assert refusal.value.reason == Reason.FORGED


@pytest.mark.parametrize("length", [0, 64, SIGNATURE_BYTES - 1, SIGNATURE_BYTES + 1])
def test_a_signature_of_another_length_is_malformed(length: int) -> None:
    with pytest.raises(Rejected) as refusal:
        check(b"weights", bytes(length), SIGNERS)
    assert refusal.value.reason == Reason.MALFORMED


def test_nobody_is_believed_by_an_empty_list() -> None:
    with pytest.raises(Rejected, match="nobody"):
        check(b"weights", sign(b"weights", KEY), {})


def test_a_list_of_signers_is_read_as_it_is_written() -> None:
    text = "# who may sign\n\n" + signer_line("a clinic in Bern", public_of(KEY)) + signer_line("me", public_of(OTHER))
    assert signers_from_text(text, "list") == {public_of(KEY): "a clinic in Bern", public_of(OTHER): "me"}


@pytest.mark.parametrize(
    "line", ["name", "name abc=", "name " + "A" * 43 + "=x", "name " + "A" * 64, "name " + "A" * 42]
)
def test_one_bad_line_makes_the_whole_list_unusable(line: str) -> None:
    with pytest.raises(SecurityError, match="nobody is believed"):
        signers_from_text(signer_line("good", public_of(KEY)) + line, "list")


def test_base64_with_stray_bits_is_refused() -> None:
    line = signer_line("me", public_of(KEY)).strip()
    last = line[-2]
    for stray in "BCD":  # the last letter before "=" carries four bits of the key and two that must be 0
        if stray != last:
            with pytest.raises(SecurityError):
                signers_from_text(f"me {'A' * 42}{stray}=", "list")


def test_the_signing_key_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "weights.key"
    first, again = load_or_create(path), load_or_create(path)
    assert public_of(first) == public_of(again)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_signing_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "weights.key"
    tmp_path.chmod(0o700)
    load_or_create(path)
    path.chmod(0o640)
    with pytest.raises(KeyFileError):
        load_or_create(path)


def test_a_signing_key_of_another_length_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "weights.key"
    path.write_bytes(b"short")
    path.chmod(0o600)
    with pytest.raises(SecurityError, match="32 bytes"):
        load_or_create(path)


def test_a_signer_is_added_once_behind_those_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "signers.txt"
    assert read_signers(path) == {}
    for name, key in (("me", KEY), ("me", KEY), ("you", OTHER)):
        add_signer(path, name, public_of(key))
    assert read_signers(path) == {public_of(KEY): "me", public_of(OTHER): "you"}
    assert len(path.read_text().splitlines()) == 2


def test_a_list_of_signers_that_others_can_write_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "signers.txt"
    add_signer(path, "me", public_of(KEY))
    path.chmod(0o666)
    with pytest.raises(KeyFileError):
        read_signers(path)
