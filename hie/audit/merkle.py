"""Merkle trees over the leaves of the log: roots and proofs of RFC 6962 (section 2.1). Pure.

Leaves come already hashed (``SHA-256(0x00 || entry)``, see `leaf_hash`); inner nodes
are ``SHA-256(0x01 || left || right)``; a tree of n splits at the largest power of two
below n. Hashes are 32 bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The roots of the complete subtrees of a growing log, largest first: enough for its root at any moment."""

    def __init__(self, size: int = 0, nodes: Iterable[bytes] = ()) -> None:
        self.size = size
        self._nodes = list(nodes)
        if len(self._nodes) != size.bit_count():
            raise ValueError(f"a log of {size} has {size.bit_count()} complete subtrees, not {len(self._nodes)}")

    def add(self, leaf: bytes) -> None:
        """Append one leaf hash."""
        self._nodes.append(leaf)
        filled = self.size
        while filled & 1:
            right = self._nodes.pop()
            self._nodes.append(node_hash(self._nodes.pop(), right))
            filled >>= 1
        self.size += 1

    def root(self) -> bytes:
        """The root of the log as it is now (that of an empty log: SHA-256 of nothing)."""
        if not self._nodes:
            return EMPTY_ROOT
        root = self._nodes[-1]
        for node in reversed(self._nodes[:-1]):
            root = node_hash(node, root)
        return root

    @property
    def nodes(self) -> tuple[bytes, ...]:
        """The subtree roots, largest first."""
        return tuple(self._nodes)


def root(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.add(leaf)
    return frontier.root()


def split(size: int) -> int:
    """The largest power of two below `size` (of at least 2)."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """Over which leaves, as (first, how many), the nodes of an audit path are, nearest sibling first.

    Raises IndexError outside the tree.
    """
    if not 0 <= index < size:
        raise IndexError(f"no leaf {index} in a log of {size}")
    ranges: list[tuple[int, int]] = []
    start = 0
    while size > 1:
        k = split(size)
        if index - start < k:
            ranges.append((start + k, size - k))
            size = k
        else:
            ranges.append((start, k))
            start, size = start + k, size - k
    return ranges[::-1]


def inclusion_proof(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """The audit path of leaf `index` (from 0), nearest sibling first. Raises IndexError outside the tree."""
    return [root(leaves[start : start + count]) for start, count in inclusion_ranges(index, len(leaves))]


def verify_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes], expected_root: bytes) -> bool:
    """Whether `path` proves that `leaf` stands at `index` (from 0) of the log of `size` with that root."""
    if not 0 <= index < size:
        return False
    node, last, current = leaf, size - 1, index
    for sibling in path:
        if last == 0:
            return False
        if current & 1 or current == last:
            node = node_hash(sibling, node)
            while not current & 1 and current:
                current, last = current >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        current, last = current >> 1, last >> 1
    return last == 0 and node == expected_root


def consistency_ranges(old_size: int, size: int) -> list[tuple[int, int]]:
    """Over which leaves, as (first, how many), the nodes of a consistency proof are. Raises ValueError when there is none."""
    if not 0 < old_size <= size:
        raise ValueError(f"no consistency proof from {old_size} to {size}")
    return _subranges(old_size, 0, size, complete=True)


def consistency_proof(old_size: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Nodes that show the log of `old_size` to be the beginning of this one. Raises ValueError when it cannot be."""
    return [root(leaves[start : start + count]) for start, count in consistency_ranges(old_size, len(leaves))]


def _subranges(m: int, start: int, size: int, *, complete: bool) -> list[tuple[int, int]]:
    if m == size:
        return [] if complete else [(start, size)]
    k = split(size)
    if m <= k:
        return [*_subranges(m, start, k, complete=complete), (start + k, size - k)]
    return [*_subranges(m - k, start + k, size - k, complete=False), (start, k)]


def verify_consistency(old_size: int, old_root: bytes, size: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows the log of `old_size` and `old_root` to be the beginning of that of `size`."""
    if old_size == size:
        return old_root == new_root and not proof
    if not 0 < old_size < size or not proof:
        return False
    nodes = list(proof)
    if old_size & (old_size - 1) == 0:
        nodes.insert(0, old_root)
    current, last = old_size - 1, size - 1
    while current & 1:
        current, last = current >> 1, last >> 1
    old = new = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return False
        if current & 1 or current == last:
            old, new = node_hash(node, old), node_hash(node, new)
            while not current & 1 and current:
                current, last = current >> 1, last >> 1
        else:
            new = node_hash(new, node)
        current, last = current >> 1, last >> 1
    return last == 0 and old == old_root and new == new_root
