"""Proofs from few reads: a tree that is stored as its leaves and the roots of its complete subtrees of 256 (RFC 9162).

Level 0 are the leaf hashes; level 8 holds one hash for each 256 leaves that are complete, level 16 one for each 65,536,
and so on: what C2SP tlog-tiles serves as tiles. A :class:`Tree` reads such tiles through a protocol and computes the
levels between them. A proof at a million leaves needs at most five tiles. Pure apart from what `read` does.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from security.merkle import EMPTY_ROOT, HASH_BYTES, Frontier, node_hash

TILE_LEVELS = 8
TILE = 1 << TILE_LEVELS
_KEPT_TILES = 1024


class Hashes(Protocol):
    """Where stored hashes are read from."""

    def read(self, level: int, start: int, count: int) -> Sequence[bytes]:
        """Hashes `start` to `start` + `count` - 1 of a level that is a multiple of 8; fewer where there are fewer."""
        ...


class MissingHash(ValueError):
    """A hash that must be stored is not there, or is no hash: the store does not hold this tree."""


class Grower(Frontier):
    """A frontier that says which stored nodes an append completed.

    >>> grower = Grower()
    >>> for n in range(256):
    ...     grower.append(bytes([n]) * 32)
    >>> [(level, len(node)) for level, node in grower.take_completed()]
    [(8, 32)]
    """

    __slots__ = ("_completed",)

    def __init__(self) -> None:
        super().__init__()
        self._completed: list[tuple[int, bytes]] = []

    def append(self, leaf: bytes) -> None:
        """Adds a leaf hash (32 bytes, else ValueError). O(1) on average."""
        if len(leaf) != HASH_BYTES:
            raise ValueError(f"expected a leaf hash of {HASH_BYTES} bytes, got {len(leaf)}; nothing was appended")
        self._grow(leaf, 0)

    def append_tile(self, node: bytes) -> None:
        """Adds 256 leaves at once by the root of their subtree. The size must be a multiple of 256, else ValueError."""
        if len(node) != HASH_BYTES or self._size % TILE:
            raise ValueError(f"expected the root of a tile at a multiple of {TILE}, got it at {self._size}")
        self._completed.append((TILE_LEVELS, node))
        self._grow(node, TILE_LEVELS)

    def _grow(self, node: bytes, level: int) -> None:
        added, left = 1 << level, self._size >> level
        while left & 1:  # an equal subtree is waiting at its left
            node = node_hash(self._peaks.pop(), node)
            left >>= 1
            level += 1
            if not level & 7:
                self._completed.append((level, node))
        self._peaks.append(node)
        self._size += added

    def take_completed(self) -> list[tuple[int, bytes]]:
        """(level, hash) of nodes at levels 8, 16, … since the last call, in the order in which they are stored."""
        out, self._completed = self._completed, []
        return out


class Tree:
    """Roots and proofs of any size up to what is stored. Full tiles are kept, partial ones are read anew by a new Tree.

    Methods raise MissingHash where the store holds less than was asked for.
    """

    def __init__(self, hashes: Hashes) -> None:
        self._hashes = hashes
        self._tiles: OrderedDict[tuple[int, int], list[list[bytes]]] = OrderedDict()

    def node(self, level: int, index: int) -> bytes:
        """The root of the complete subtree of 2^level leaves that begins at leaf index * 2^level."""
        inner = level % TILE_LEVELS
        tile, at = divmod(index << inner, TILE)
        rows = self._tile(level - inner, tile)
        if (at >> inner) >= len(rows[inner]):
            raise MissingHash(f"expected node {index} of level {level} to be stored, got a shorter list; no proof")
        return rows[inner][at >> inner]

    def root(self, size: int) -> bytes:
        """The tree head of the first `size` leaves."""
        return self._range(0, size) if size else EMPTY_ROOT

    def frontier(self, size: int) -> Grower:
        """The growing end of the tree of `size` leaves."""
        peaks, start = [], 0
        for level in range(size.bit_length() - 1, -1, -1):
            if size >> level & 1:
                peaks.append(self.node(level, start >> level))
                start += 1 << level
        return Grower.from_bytes(size.to_bytes(8, "big") + b"".join(peaks))

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """PATH(index) of RFC 9162 2.1.3.1 of `size` leaves. Raises IndexError where there is no such leaf."""
        if not 0 <= index < size:
            raise IndexError(f"expected a leaf below {size}, got {index}; no proof was made")
        path, start, end = [], 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                path.append(self._range(middle, end))
                end = middle
            else:
                path.append(self._range(start, middle))
                start = middle
        return path[::-1]

    def consistency(self, first: int, second: int) -> list[bytes]:
        """PROOF(first) of RFC 9162 2.1.4.1 of `second` leaves. Raises IndexError unless 0 < first <= second."""
        if not 0 < first <= second:
            raise IndexError(f"expected a size of 1 to {second}, got {first}; no proof was made")
        path, start, end, whole = [], 0, second, True
        while first != end:
            middle = start + _split(end - start)
            if first <= middle:
                path.append(self._range(middle, end))
                end = middle
            else:
                path.append(self._range(start, middle))
                start, whole = middle, False
        return ([] if whole else [self._range(start, end)]) + path[::-1]

    def _range(self, start: int, end: int) -> bytes:
        """The root of leaves [start, end): a subtree of the RFC's, so it begins where its largest part may begin."""
        level = (end - start).bit_length() - 1
        if end - start == 1 << level:
            return self.node(level, start >> level)
        middle = start + _split(end - start)
        return node_hash(self._range(start, middle), self._range(middle, end))

    def _tile(self, level: int, number: int) -> list[list[bytes]]:
        """A tile's hashes and the complete rows above them."""
        rows = self._tiles.get((level, number))
        if rows is None:
            rows = tile_rows(list(self._hashes.read(level, number * TILE, TILE)))
            self._tiles[level, number] = rows
            if len(self._tiles) > _KEPT_TILES:
                self._tiles.popitem(last=False)
        return rows


def tile_rows(hashes: list[bytes]) -> list[list[bytes]]:
    """The hashes of a tile and, above them, the rows of its complete inner nodes: eight, fewer entries in each."""
    if not all(len(h) == HASH_BYTES for h in hashes):
        raise MissingHash(f"expected hashes of {HASH_BYTES} bytes, got others; the stored tree was changed")
    rows = [hashes]
    for _ in range(TILE_LEVELS - 1):
        below = rows[-1]
        rows.append([node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)])
    return rows


def tile_root(hashes: list[bytes]) -> bytes:
    """The root of a full tile."""
    top = tile_rows(hashes)[-1]
    if len(top) != 2:
        raise MissingHash(f"expected {TILE} hashes, got {len(hashes)}; a full tile has a root, others none")
    return node_hash(top[0], top[1])


def _split(n: int) -> int:
    """The largest power of two below `n` (n > 1)."""
    return 1 << ((n - 1).bit_length() - 1)
