"""Signed notes and checkpoints: the specification's own examples, and nothing else passes for one."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from security import note
from security.checkpoint import Checkpoint, read
from security.errors import Rejected
from security.note import LOG, WITNESS, VerifierKey

KEY, OTHER = Ed25519PrivateKey.from_private_bytes(b"k" * 32), Ed25519PrivateKey.from_private_bytes(b"o" * 32)
ORIGIN = "everbeat.example/4f2a/s0"
POINT = Checkpoint(ORIGIN, 7, bytes(range(32)))
# The note, its key and its signature as Go's sumdb/note package publishes them in its documentation.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def log_note(point: Checkpoint = POINT) -> str:
    return note.assemble(point.text, [note.sign_line(point.text, ORIGIN, KEY)])


def test_a_note_of_another_implementation_is_believed_and_a_changed_one_is_not() -> None:
    key = VerifierKey.parse(PETER)
    assert str(key) == PETER
    text, signed = note.check(GO_NOTE, [key])
    assert [s.key.name for s in signed] == ["PeterNeumann"] and text.startswith("If you think")
    with pytest.raises(Rejected, match="does not fit"):
        note.check(GO_NOTE.replace("answer", "Answer"), [key])


def test_a_checkpoint_signed_by_the_log_and_two_witnesses_says_who_and_when() -> None:
    lines = [note.cosign_line(POINT.text, f"w.example/{n}", OTHER, 1_700_000_000 + n) for n in (1, 2)]
    whole = note.assemble(POINT.text, [note.sign_line(POINT.text, ORIGIN, KEY), *lines])
    keys = [note.verifier_of(ORIGIN, LOG, KEY), note.verifier_of("w.example/2", WITNESS, OTHER)]
    text, signed = note.check(whole, keys)
    assert read(whole) == Checkpoint.parse(text) == POINT
    assert [(s.key.name, s.t_s) for s in signed] == [(ORIGIN, None), ("w.example/2", 1_700_000_002)]


def test_a_line_by_an_unknown_key_or_under_another_name_counts_for_nothing() -> None:
    for stranger in (note.verifier_of(ORIGIN, LOG, OTHER), note.verifier_of("other", LOG, KEY),
                     note.verifier_of(ORIGIN, WITNESS, KEY)):  # fmt: skip
        assert note.check(log_note(), [stranger])[1] == []


def test_a_cosignature_covers_its_time() -> None:
    line = note.cosign_line(POINT.text, "w", OTHER, 1_700_000_000)
    blob = bytearray(base64.b64decode(line.split()[-1]))
    blob[11] ^= 1
    forged = f"— w {base64.b64encode(bytes(blob)).decode()}\n"
    with pytest.raises(Rejected, match="does not fit"):
        note.check(note.assemble(POINT.text, [forged]), [note.verifier_of("w", WITNESS, OTHER)])


@pytest.mark.parametrize("spoilt", [
    "", "\n\n", "text\n", log_note()[:-1], log_note().replace("— ", "- "), log_note() + "— x !\n",
    log_note().replace(ORIGIN + "\n", ORIGIN + "\t\n"), "x\n" * 20_000 + log_note(), log_note() * 70,
])  # fmt: skip
def test_what_is_no_note_is_refused(spoilt: str) -> None:
    with pytest.raises(Rejected):
        read(spoilt)


@pytest.mark.parametrize("text", [
    POINT.text.replace("\n7\n", "\n07\n"), POINT.text.replace("\n7\n", "\n-7\n"), POINT.text + "extension\n",
    POINT.text.replace("AAEC", "AAE"), POINT.text[:-1], POINT.text.replace("\n7\n", "\n٧\n"),
    "\n".join(["", "7", "x", ""]),
    POINT.text.replace("\n7\n", f"\n{2**64}\n"), POINT.text.replace(ORIGIN, "a b"),
])  # fmt: skip
def test_a_checkpoint_has_one_form_only(text: str) -> None:
    with pytest.raises(Rejected):
        Checkpoint.parse(text)


@pytest.mark.parametrize("text", ["", "a+b+c", PETER[:-4], PETER.replace("c74f", "c74e"), "a b" + PETER, PETER + "+"])
def test_a_verifier_key_has_one_form_only(text: str) -> None:
    with pytest.raises(Rejected):
        VerifierKey.parse(text)


@given(st.integers(0, len(log_note().encode()) - 1), st.integers(1, 255))
def test_no_byte_of_a_signed_checkpoint_can_change(at: int, flip: int) -> None:
    spoilt = bytearray(log_note().encode())
    spoilt[at] ^= flip
    try:
        _, signed = note.check(spoilt.decode(), [note.verifier_of(ORIGIN, LOG, KEY)])
    except (Rejected, UnicodeDecodeError):
        return
    assert signed == [], "nobody known signed it any more"
