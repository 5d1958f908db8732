"""The Merkle tree of RFC 9162 (section 2.1), pure: hashes, roots, proofs and their verification.

Leaves are given as leaf hashes (:func:`leaf_hash`), 32 bytes each. A log that only appends keeps a :class:`Frontier`,
which is O(log n); proofs are made from the stored leaf hashes. The verifiers follow 2.1.3.2 and 2.1.4.2 and are
stricter in two points that the RFC leaves open: hashes that are not 32 bytes prove nothing, and an empty tree is
consistent with nothing, since anybody can show one.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256
from typing import Self

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
_LEAF, _NODE = b"\x00", b"\x01"  # so that no node can pass for a leaf
_SIZE_BYTES = 8


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry."""
    return sha256(_LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(_NODE + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The tree head of `leaves`; :data:`EMPTY_ROOT` where there are none. O(n)."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """PATH(index, leaves) of RFC 9162 2.1.3.1. Raises IndexError where there is no such leaf."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"expected a leaf below {len(leaves)}, got {index}; no proof was made")
    if len(leaves) == 1:
        return []
    k = _split(len(leaves))
    if index < k:
        return [*inclusion_proof(leaves[:k], index), root(leaves[k:])]
    return [*inclusion_proof(leaves[k:], index - k), root(leaves[:k])]


def consistency_proof(leaves: Sequence[bytes], first_size: int) -> list[bytes]:
    """PROOF(first_size, leaves) of RFC 9162 2.1.4.1. Raises IndexError unless 0 < first_size <= n."""
    if not 0 < first_size <= len(leaves):
        raise IndexError(f"expected a size of 1 to {len(leaves)}, got {first_size}; no proof was made")
    return _subproof(leaves, first_size, whole=True)


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], tree_root: bytes) -> bool:
    """True where `proof` shows that `leaf` is number `index` of the tree of `size` leaves with `tree_root`."""
    if not 0 <= index < size or len(leaf) != HASH_BYTES or len(tree_root) != HASH_BYTES:
        return False
    fn, sn, found = index, size - 1, leaf
    for step in proof:  # node_hash is written out: this loop is what an auditor runs a million times
        if sn == 0 or len(step) != HASH_BYTES:
            return False
        if fn & 1:
            found = sha256(_NODE + step + found).digest()
        elif fn == sn:
            found = sha256(_NODE + step + found).digest()
            fn, sn = _climb(fn, sn)
        else:
            found = sha256(_NODE + found + step).digest()
        fn >>= 1
        sn >>= 1
    return sn == 0 and hmac.compare_digest(found, tree_root)


def verify_consistency(
    first_size: int, second_size: int, proof: Sequence[bytes], first_root: bytes, second_root: bytes
) -> bool:
    """True where `proof` shows that the second tree only appended to the first. Never for an empty first tree."""
    if not 0 < first_size <= second_size:
        return False
    if first_size == second_size:
        return not proof and hmac.compare_digest(first_root, second_root)
    if not proof or not _are_hashes([first_root, second_root, *proof]):
        return False
    steps = [first_root, *proof] if first_size & (first_size - 1) == 0 else list(proof)
    fn, sn = first_size - 1, second_size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old = new = steps[0]
    for step in steps[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            old, new = node_hash(step, old), node_hash(step, new)
            fn, sn = _climb(fn, sn)
        else:
            new = node_hash(new, step)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and hmac.compare_digest(old, first_root) and hmac.compare_digest(new, second_root)


class Frontier:
    """A growing tree, as the roots of its complete subtrees: one hash for each 1 bit of its size.

    >>> frontier = Frontier()
    >>> frontier.append(leaf_hash(b""))
    >>> frontier.size, frontier.root() == leaf_hash(b"")
    (1, True)
    """

    __slots__ = ("_peaks", "_size")

    def __init__(self) -> None:
        self._size = 0
        self._peaks: list[bytes] = []  # largest subtree first

    @property
    def size(self) -> int:
        """Number of leaves."""
        return self._size

    def append(self, leaf: bytes) -> None:
        """Adds a leaf hash (32 bytes, else ValueError). O(1) on average."""
        if len(leaf) != HASH_BYTES:
            raise ValueError(f"expected a leaf hash of {HASH_BYTES} bytes, got {len(leaf)}; nothing was appended")
        size, node = self._size, leaf
        while size & 1:  # an equal subtree is waiting at its left
            node = node_hash(self._peaks.pop(), node)
            size >>= 1
        self._peaks.append(node)
        self._size += 1

    def root(self) -> bytes:
        """The tree head. O(log n)."""
        if not self._peaks:
            return EMPTY_ROOT
        found = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            found = node_hash(peak, found)
        return found

    def to_bytes(self) -> bytes:
        """``size(8, big-endian) | peaks``."""
        return self._size.to_bytes(_SIZE_BYTES, "big") + b"".join(self._peaks)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of :meth:`to_bytes`. Raises ValueError where the hashes don't fit the size."""
        found = cls()
        found._size = int.from_bytes(data[:_SIZE_BYTES], "big")
        if len(data) != _SIZE_BYTES + HASH_BYTES * found._size.bit_count():
            raise ValueError(f"expected one hash for each 1 bit of the size, got {len(data)} bytes; the log must stop")
        found._peaks = [data[at : at + HASH_BYTES] for at in range(_SIZE_BYTES, len(data), HASH_BYTES)]
        return found


def _split(n: int) -> int:
    """The largest power of two below `n` (n > 1)."""
    return 1 << ((n - 1).bit_length() - 1)


def _subproof(leaves: Sequence[bytes], m: int, *, whole: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if whole else [root(leaves)]
    k = _split(len(leaves))
    if m <= k:
        return [*_subproof(leaves[:k], m, whole=whole), root(leaves[k:])]
    return [*_subproof(leaves[k:], m - k, whole=False), root(leaves[:k])]


def _climb(fn: int, sn: int) -> tuple[int, int]:
    """Skips the levels at which an even `fn` has no sibling (2.1.3.2, step 4.b.ii)."""
    while not fn & 1 and fn:
        fn, sn = fn >> 1, sn >> 1
    return fn, sn


def _are_hashes(hashes: Sequence[bytes]) -> bool:
    return all(len(h) == HASH_BYTES for h in hashes)
