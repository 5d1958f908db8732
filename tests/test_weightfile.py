"""Weights on disk: proven before they are parsed, all of them, by a key that is believed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from everbeat import weights
from everbeat.settings import Settings
from security.errors import SecurityError
from security.signing import public_of, read_signers, sign, signer_line
from twin_engine.weightfile import (
    FORMAT,
    METADATA,
    SIGNATURE,
    SIGNERS,
    ModelError,
    check,
    files_of,
    packaged_signers,
    read_draft,
    read_metadata,
    read_tensors,
    sign_draft,
    write_draft,
    write_tensors,
)

KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
TRUSTED = {public_of(KEY): "somebody"}
FILE = "hr_bpm.safetensors"
ARRAYS = {"net.w": np.arange(6, dtype=np.float32).reshape(2, 3), "steps": np.array([1, 2, 4]), "scale": np.float32(2.5)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Signed weights of one signal."""
    out = tmp_path / "weights"
    entry = {"file": FILE, "sha256": write_tensors(out, FILE, ARRAYS)}
    mend = {"file": "hr_bpm.mend.safetensors", "sha256": write_tensors(out, "hr_bpm.mend.safetensors", ARRAYS)}
    write_draft(out, {"seed": 7, "signals": {"hr_bpm": entry | {"mend": mend}}})
    sign_draft(out, KEY)
    return out


def flipped(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def test_signed_weights_are_read_as_they_were_written(folder: Path) -> None:
    metadata = read_metadata(folder, TRUSTED)
    assert metadata["format"] == FORMAT and metadata["seed"] == 7
    for file, sha256 in files_of(metadata).items():
        tensors = read_tensors(folder, file, sha256)
        assert tensors.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            assert tensors[name].dtype == array.dtype and np.array_equal(tensors[name], array)


def test_every_file_of_a_signal_is_named_by_its_hash(folder: Path) -> None:
    assert files_of(read_metadata(folder, TRUSTED)).keys() == {FILE, "hr_bpm.mend.safetensors"}


def test_the_same_arrays_make_the_same_file(tmp_path: Path) -> None:
    backwards = dict(reversed(ARRAYS.items()))
    assert write_tensors(tmp_path, FILE, ARRAYS) == write_tensors(tmp_path, "gsr_uS.safetensors", backwards)


def test_every_flipped_bit_of_the_metadata_or_its_signature_is_refused(folder: Path) -> None:
    metadata, signature = (folder / METADATA).read_bytes(), (folder / SIGNATURE).read_bytes()
    assert check(metadata, signature, TRUSTED) == "somebody"
    for bit in range(8 * (len(metadata) + len(signature))):
        whole = bytearray(metadata + signature)
        whole[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ModelError, match="expected"):
            check(bytes(whole[: len(metadata)]), bytes(whole[len(metadata) :]), TRUSTED)


@pytest.mark.parametrize("name", [METADATA, SIGNATURE])
def test_a_folder_with_a_flipped_bit_is_not_read(name: str, folder: Path) -> None:
    path = folder / name
    for bit in range(0, 8 * path.stat().st_size, 97):
        flipped(path, bit)
        with pytest.raises(ModelError):
            read_metadata(folder, TRUSTED)
        flipped(path, bit)
    assert read_metadata(folder, TRUSTED)["seed"] == 7


def test_a_flipped_bit_anywhere_in_a_file_of_weights_is_refused(folder: Path) -> None:
    path, sha256 = folder / FILE, files_of(read_metadata(folder, TRUSTED))[FILE]
    for at in range(0, path.stat().st_size, 3):
        flipped(path, 8 * at + at % 8)
        with pytest.raises(ModelError, match="SHA-256"):
            read_tensors(folder, FILE, sha256)
        flipped(path, 8 * at + at % 8)


def test_a_changed_hash_in_the_metadata_is_refused(folder: Path) -> None:
    text = (folder / METADATA).read_text()
    sha256 = files_of(json.loads(text))[FILE]
    (folder / METADATA).write_text(text.replace(sha256, "0" * 64))
    with pytest.raises(ModelError, match="somebody signed"):
        read_metadata(folder, TRUSTED)


def test_weights_by_an_unknown_signer_are_refused(folder: Path) -> None:
    sign_draft(folder, OTHER)
    with pytest.raises(ModelError, match="unknown key"):
        read_metadata(folder, TRUSTED)


def test_unsigned_weights_are_refused_and_read_by_the_laboratory_alone(folder: Path) -> None:
    (folder / SIGNATURE).unlink()
    with pytest.raises(ModelError, match=SIGNATURE):
        read_metadata(folder, TRUSTED)
    assert read_draft(folder)["seed"] == 7


def test_a_new_draft_takes_the_old_signature_away(folder: Path) -> None:
    write_draft(folder, read_draft(folder) | {"seed": 8})
    assert not (folder / SIGNATURE).exists()
    with pytest.raises(ModelError):
        read_metadata(folder, TRUSTED)


def test_weights_that_are_not_those_named_are_never_signed(folder: Path) -> None:
    (folder / SIGNATURE).unlink()
    flipped(folder / FILE, 0)
    with pytest.raises(ModelError, match="SHA-256"):
        sign_draft(folder, KEY)
    (folder / FILE).unlink()
    with pytest.raises(ModelError, match=FILE):
        sign_draft(folder, KEY)
    assert not (folder / SIGNATURE).exists()


def test_other_files_beside_the_weights_do_not_matter(folder: Path) -> None:
    (folder / "model-card.md").write_text("anything")
    assert read_metadata(folder, TRUSTED)["seed"] == 7


@pytest.mark.parametrize("name", ["../hr_bpm.safetensors", "/etc/passwd", "sub/hr_bpm.safetensors", "passwd", ""])
def test_a_name_that_leaves_the_folder_is_not_touched(name: str, folder: Path) -> None:
    with pytest.raises(ModelError, match="not touched"):
        read_tensors(folder, name, "0" * 64)
    with pytest.raises(ModelError, match="not touched"):
        write_tensors(folder, name, ARRAYS)


def test_a_proven_file_that_is_no_safetensors_is_refused(folder: Path) -> None:
    (folder / FILE).write_bytes(b"weights, honestly")
    with pytest.raises(ModelError, match="expected safetensors"):
        read_tensors(folder, FILE, hashlib.sha256(b"weights, honestly").hexdigest())


@pytest.mark.parametrize("text", ["weights, honestly", "[]", '{"format": 1}', '{"signals": {}}'])
def test_metadata_of_another_format_is_refused_however_well_it_is_signed(text: str, folder: Path) -> None:
    (folder / METADATA).write_text(text)
    (folder / SIGNATURE).write_bytes(sign(text.encode(), KEY))
    with pytest.raises(ModelError, match="run `everbeat train`"):
        read_metadata(folder, TRUSTED)


def test_missing_weights_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="run `everbeat train`"):
        read_metadata(tmp_path)


# ------------------------------------------------------------------------------------------- who is believed


def test_the_package_believes_only_keys_of_its_list() -> None:
    listed = SIGNERS.read_text() if SIGNERS.exists() else ""
    lines = [line for line in listed.splitlines() if line.strip() and not line.startswith("#")]
    assert len(packaged_signers()) == len(lines)
    assert public_of(KEY) not in packaged_signers()


def test_weights_trained_here_are_believed_here_and_nowhere_else(folder: Path, tmp_path: Path) -> None:
    here, elsewhere = Settings(tmp_path / "here"), Settings(tmp_path / "elsewhere")
    sign_draft(folder, weights.own_key(here))
    weights.own_key(elsewhere)
    assert read_metadata(folder, weights.signers(here))["seed"] == 7
    for signers in (weights.signers(elsewhere), None):
        with pytest.raises(ModelError, match="unknown key"):
            read_metadata(folder, signers)


def test_the_key_of_this_machine_is_made_once(tmp_path: Path) -> None:
    settings = Settings(tmp_path)
    assert public_of(weights.own_key(settings)) == public_of(weights.own_key(settings))
    assert list(read_signers(tmp_path / "keys" / "signers.txt").values()) == [weights.OWN]


def test_somebody_else_is_believed_once_a_person_adds_the_key(folder: Path, tmp_path: Path) -> None:
    settings = Settings(tmp_path / "state")
    weights.own_key(settings)
    with (tmp_path / "state" / "keys" / "signers.txt").open("a") as file:
        file.write(signer_line("the clinic next door", public_of(KEY)))
    assert read_metadata(folder, weights.signers(settings))["seed"] == 7


def test_a_release_puts_its_key_into_the_packages_list_once(tmp_path: Path) -> None:
    settings, listed = Settings(tmp_path / "state"), tmp_path / "signers.txt"
    first, again = (weights.release_key(settings, listed) for _ in range(2))
    assert public_of(first) == public_of(again) != public_of(weights.own_key(settings))
    assert read_signers(listed) == {public_of(first): weights.RELEASE}


def test_a_second_release_key_is_refused_until_a_person_takes_the_first_one_out(tmp_path: Path) -> None:
    listed = tmp_path / "signers.txt"
    weights.release_key(Settings(tmp_path / "one"), listed)
    before = listed.read_text()
    with pytest.raises(SecurityError, match="take that line out"):
        weights.release_key(Settings(tmp_path / "two"), listed)
    assert listed.read_text() == before
