"""Proofs from tiles are those that the RFC's recursion gives, whatever the size."""

from __future__ import annotations

import random

import pytest

from security.merkle import consistency_proof, inclusion_proof, leaf_hash, root, verify_consistency, verify_inclusion
from security.tiles import Grower, MissingHash, Tree, tile_root

LEAVES = [leaf_hash(n.to_bytes(4, "big")) for n in range(66_200)]


class Lists:
    """Stored levels, as lists; counts its reads."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.levels: dict[int, list[bytes]] = {0: leaves, 8: [], 16: []}
        self.grower, self.reads = Grower(), 0
        for leaf in leaves:
            self.grower.append(leaf)
        for level, node in self.grower.take_completed():
            self.levels[level].append(node)

    def read(self, level: int, start: int, count: int) -> list[bytes]:
        self.reads += 1
        return self.levels.get(level, [])[start : start + count]


STORED = Lists(LEAVES)


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 511, 512, 513, 1000, 65_535, 65_536, 65_537, 66_200])
def test_roots_frontiers_and_proofs_equal_the_recursion(size: int) -> None:
    tree, leaves, dice = Tree(STORED), LEAVES[:size], random.Random(size)
    head = root(leaves)
    assert tree.root(size) == head == tree.frontier(size).root()
    for index in {0, size - 1, *(dice.randrange(size) for _ in range(3))}:
        proof = tree.inclusion(index, size)
        assert proof == inclusion_proof(leaves, index)
        assert verify_inclusion(leaves[index], index, size, proof, head)
    for first in {1, size, *(dice.randrange(1, size + 1) for _ in range(3))}:
        proof = tree.consistency(first, size)
        assert proof == consistency_proof(leaves, first)
        assert verify_consistency(first, size, proof, tree.root(first), head)


def test_a_proof_needs_five_reads_at_most() -> None:
    for index in (0, 40_000, 66_199):
        STORED.reads = 0
        Tree(STORED).inclusion(index, 66_200)
        assert STORED.reads <= 5


def test_a_frontier_that_was_read_back_grows_as_the_old_one() -> None:
    for size in (1, 255, 256, 300, 65_536, 66_000):
        grower = Tree(STORED).frontier(size)
        for leaf in LEAVES[size : size + 150]:
            grower.append(leaf)
        assert grower.root() == root(LEAVES[: size + 150])


def test_whole_tiles_grow_a_tree_as_their_leaves_do() -> None:
    grower = Grower()
    for start in range(0, 65_536, 256):
        grower.append_tile(tile_root(LEAVES[start : start + 256]))
    assert grower.root() == root(LEAVES[:65_536])
    assert grower.take_completed()[-1] == (16, root(LEAVES[:65_536]))
    grower.append(LEAVES[0])
    with pytest.raises(ValueError, match="multiple of 256"):
        grower.append_tile(LEAVES[0])


def test_what_is_not_stored_gives_no_proof() -> None:
    short = Lists(LEAVES[:300])
    with pytest.raises(MissingHash):
        Tree(short).root(301)
    short.levels[8] = []
    with pytest.raises(MissingHash):
        Tree(short).inclusion(299, 300)
    short.levels[0][7] = b"short"
    with pytest.raises(MissingHash):
        Tree(short).inclusion(7, 200)
    with pytest.raises(IndexError):
        Tree(STORED).inclusion(5, 5)
    with pytest.raises(IndexError):
        Tree(STORED).consistency(0, 5)
