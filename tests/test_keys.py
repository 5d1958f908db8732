"""Keys at rest: what was sealed opens in its own place only, and the master key is a file of ours alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.errors import Rejected, SecurityError
from security.files import KeyFileError
from security.keys import (
    MasterKey,
    PatientCipher,
    create_data_key,
    create_recipient_key,
    recipient_from_bytes,
    recipient_kid,
    recipient_to_bytes,
)

KEY = bytes(range(32))


@given(plaintext=st.binary(max_size=2000), aad=st.binary(max_size=50))
def test_what_a_patients_key_seals_it_unseals_with_29_bytes_more(plaintext: bytes, aad: bytes) -> None:
    cipher = PatientCipher(KEY)
    blob = cipher.seal(plaintext, aad)
    assert cipher.unseal(blob, aad) == plaintext and len(blob) == len(plaintext) + 29


def test_every_flipped_bit_of_a_stored_record_is_refused() -> None:
    cipher = PatientCipher(KEY)
    blob = cipher.seal(b"72 bpm", b"twin/p1")
    for bit in range(8 * len(blob)):
        altered = bytearray(blob)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Rejected):
            cipher.unseal(bytes(altered), b"twin/p1")
    for short in range(len(blob)):
        with pytest.raises(Rejected):
            cipher.unseal(blob[:short], b"twin/p1")


def test_a_record_opens_in_no_other_place_and_under_no_other_key() -> None:
    blob = PatientCipher(KEY).seal(b"72 bpm", b"twin/p1")
    with pytest.raises(Rejected, match="altered, moved, or sealed by another key"):
        PatientCipher(KEY).unseal(blob, b"twin/p2")
    with pytest.raises(Rejected):
        PatientCipher(create_data_key()).unseal(blob, b"twin/p1")


def test_the_same_record_is_never_sealed_to_the_same_bytes() -> None:
    cipher = PatientCipher(KEY)
    assert len({cipher.seal(b"72 bpm", b"") for _ in range(200)}) == 200


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_seals_nothing(length: int) -> None:
    with pytest.raises(SecurityError, match=f"got {length}"):
        PatientCipher(bytes(length))


def test_a_wrapped_key_unwraps_in_its_own_context_only(tmp_path: Path) -> None:
    master, key = MasterKey.load_or_create(tmp_path / "state" / "master.key"), create_data_key()
    blob = master.wrap(key, b"patient/p1")
    assert key not in blob and master.unwrap(blob, b"patient/p1") == key
    with pytest.raises(Rejected):
        master.unwrap(blob, b"patient/p2")
    with pytest.raises(Rejected):
        PatientCipher((tmp_path / "state" / "master.key").read_bytes()).unseal(blob, b"patient/p1")  # another purpose


def test_the_master_key_is_made_once_and_is_0600(tmp_path: Path) -> None:
    path = tmp_path / "state" / "master.key"
    before = os.umask(0)
    try:
        blob = MasterKey.load_or_create(path).wrap(KEY, b"c")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert MasterKey.load_or_create(path).unwrap(blob, b"c") == KEY


def test_a_master_key_that_others_can_read_or_that_was_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state" / "master.key"
    MasterKey.load_or_create(path)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="0644"):
        MasterKey.load_or_create(path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(SecurityError, match="got 5"):
        MasterKey.load_or_create(path)


def test_a_dangling_link_does_not_make_a_master_key_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "master.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError):
        MasterKey.load_or_create(tmp_path / "master.key")
    assert not (tmp_path / "elsewhere").exists()


def test_a_recipient_key_has_a_name_and_survives_storage() -> None:
    kid, key = create_recipient_key()
    again = recipient_from_bytes(recipient_to_bytes(key))
    public = again.public_key().public_bytes_raw()
    assert public == key.public_key().public_bytes_raw() and recipient_kid(public) == kid and len(kid) == 8
    assert kid != create_recipient_key()[0]
    with pytest.raises(SecurityError):
        recipient_from_bytes(b"short")
