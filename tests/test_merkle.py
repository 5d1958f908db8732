"""The Merkle tree of RFC 9162: published vectors, known roots, and every proof of every small tree."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security import merkle
from security.errors import SecurityError
from security.log import ciphertext_hash, record_entry, record_leaf
from security.merkle import Frontier, consistency_proof, inclusion_proof, verify_consistency, verify_inclusion

# The inputs and roots of Certificate Transparency's reference implementation.
ENTRIES = [
    bytes.fromhex(h)
    for h in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
LEAVES = [merkle.leaf_hash(entry) for entry in ENTRIES]
NODE = st.binary(min_size=32, max_size=32)


def _bytes(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def _load(path: Path) -> tuple[dict[str, object], list[bytes], bool]:
    vector = json.loads(path.read_text())
    return vector, [_bytes(step) for step in vector["proof"] or []], not vector["wantErr"]


def test_published_inclusion_vectors_are_judged_as_published(shared: Callable[[str], Path]) -> None:
    paths = sorted(shared("vectors/merkle/inclusion").rglob("*.json"))
    wrong = []
    for path in paths:
        v, proof, accept = _load(path)
        leaf, root = _bytes(v["leafHash"]), _bytes(v["root"])  # type: ignore[arg-type]
        if verify_inclusion(leaf, v["leafIdx"], v["treeSize"], proof, root) != accept:  # type: ignore[arg-type]
            wrong.append(path.name)
    assert wrong == [] and len(paths) > 80


def test_published_consistency_vectors_are_judged_as_published(shared: Callable[[str], Path]) -> None:
    paths = sorted(shared("vectors/merkle/consistency").rglob("*.json"))
    wrong = []
    for path in paths:
        v, proof, accept = _load(path)
        roots = _bytes(v["root1"]), _bytes(v["root2"])  # type: ignore[arg-type]
        if verify_consistency(v["size1"], v["size2"], proof, *roots) != accept:  # type: ignore[arg-type]
            wrong.append(path.name)
    assert wrong == [] and len(paths) > 80


def test_known_roots() -> None:
    assert merkle.root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert merkle.root(LEAVES[:1]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert merkle.root(LEAVES[:3]).hex() == "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
    assert merkle.root(LEAVES).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def test_every_proof_of_every_tree_up_to_33_leaves_holds_and_for_nothing_else() -> None:
    leaves = [merkle.leaf_hash(bytes([n])) for n in range(33)]
    roots = [merkle.root(leaves[:n]) for n in range(34)]
    for size in range(1, 34):
        for index in range(size):
            proof = inclusion_proof(leaves[:size], index)
            held = [j for j in range(size) if verify_inclusion(leaves[index], j, size, proof, roots[size])]
            assert held == [index]
            assert not verify_inclusion(leaves[index], index, size, [*proof, roots[size]], roots[size])
            assert not (proof and verify_inclusion(leaves[index], index, size, proof[:-1], roots[size]))
        for first in range(1, size + 1):
            proof = consistency_proof(leaves[:size], first)
            held = [n for n in range(34) if verify_consistency(first, size, proof, roots[n], roots[size])]
            assert held == [first]
            assert not verify_consistency(first, size, [*proof, roots[1]], roots[first], roots[size])


@given(entries=st.lists(st.binary(max_size=8), max_size=70))
def test_a_frontier_grows_the_same_tree_and_survives_storage(entries: list[bytes]) -> None:
    leaves = [merkle.leaf_hash(e) for e in entries]
    frontier = Frontier()
    for leaf in leaves:
        frontier = Frontier.from_bytes(frontier.to_bytes())
        frontier.append(leaf)
    assert frontier.size == len(leaves)
    assert frontier.root() == _root_by_definition(leaves)
    assert len(frontier.to_bytes()) == 8 + 32 * len(leaves).bit_count()


def _root_by_definition(leaves: list[bytes]) -> bytes:
    """RFC 9162 2.1.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return merkle.node_hash(_root_by_definition(leaves[:k]), _root_by_definition(leaves[k:]))


@given(
    size=st.integers(-2, 2**70), index=st.integers(-2, 2**70), proof=st.lists(NODE, max_size=70), leaf=NODE, root=NODE
)
def test_random_proofs_of_any_size_are_refused(
    size: int, index: int, proof: list[bytes], leaf: bytes, root: bytes
) -> None:
    assert not verify_inclusion(leaf, index, size, proof, root) or (leaf, proof, size) == (root, [], 1)
    assert not verify_consistency(index, size, proof, leaf, root) or (leaf == root and index == size)


def test_proofs_of_what_is_not_there_are_not_made() -> None:
    for index in (-1, 8):
        with pytest.raises(IndexError):
            inclusion_proof(LEAVES, index)
    for size in (-1, 0, 9):
        with pytest.raises(IndexError):
            consistency_proof(LEAVES, size)


@pytest.mark.parametrize("data", [b"", b"\0" * 7, bytes(8) + b"x" * 32, (3).to_bytes(8, "big") + b"x" * 32])
def test_a_stored_frontier_of_another_form_stops_the_log(data: bytes) -> None:
    with pytest.raises(ValueError, match="the log must stop"):
        Frontier.from_bytes(data)


def test_only_whole_hashes_are_appended() -> None:
    with pytest.raises(ValueError, match="nothing was appended"):
        Frontier().append(b"entry")


# ------------------------------------------------------------------------------------------ leaves of our own log


def test_the_leaf_of_a_record_is_fixed_for_auditors() -> None:
    entry = record_entry("1700000000000-0", "esp32-01", 1, 0, 7, sha256(b"").digest())
    expected = b"\x87\x71everbeat/1 record\x6f1700000000000-0\x68esp32-01\x01\x00\x07\x58\x20" + sha256(b"").digest()
    assert entry == expected
    leaf = record_leaf("1700000000000-0", "esp32-01", 1, 0, 7, sha256(b"").digest())
    assert leaf == sha256(b"\0" + expected).digest()
    assert leaf.hex() == "0101a42c7d266dec85d440a68a0609e91a807bc7a900f2478155137363e638a3"


def test_each_field_of_a_record_changes_its_leaf() -> None:
    base = ("1-0", "d", 1, 0, 7, bytes(32))
    others = enumerate(("1-1", "e", 2, 1, 8, b"x" * 32))
    changed = [(*base[:at], value, *base[at + 1 :]) for at, value in others]
    assert len({record_leaf(*fields) for fields in [base, *changed]}) == 7


@pytest.mark.parametrize(
    "fields",
    [("", "d", 0, 0, 0, bytes(32)), ("1-0", "a|b", 0, 0, 0, bytes(32)), ("1-0", "d", -1, 0, 0, bytes(32)),
     ("1-0", "d", 0, 2, 0, bytes(32)), ("1-0", "d", 0, 0, 0, bytes(31)), ("x" * 65, "d", 0, 0, 0, bytes(32))],
)  # fmt: skip
def test_a_record_of_another_form_is_not_logged(fields: tuple[str, str, int, int, int, bytes]) -> None:
    with pytest.raises(SecurityError, match="nothing was logged"):
        record_leaf(*fields)


def test_the_logged_hash_is_of_ciphertext_and_tag_alone() -> None:
    assert ciphertext_hash(bytes(14) + b"sealed") == sha256(b"sealed").digest()
