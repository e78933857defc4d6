"""The Merkle tree of the log, kept in tiles, so that a proof reads a few hundred hashes however long the log is.

The sealer stores the root of each complete subtree of 2^8, 2^16 and 2^24 leaves (`AuditNode`): one row for 256 leaves.
What lies between is computed from at most 256 of these. The nodes are a convenience and trusted by nobody: a proof is
checked against the signed root before it leaves (`hie.audit.export`), and where they do not fit, the leaves are read.

Source: RFC 6962 2.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db import connection

from hie.audit import merkle

HEIGHT = 8
LEVELS = (8, 16, 24)
_AT_ONCE = 64  # tiles computed at once when many are missing: 64 x 256 hashes in memory


class Incomplete(Exception):
    """A seal or a node that should be there is not."""


def extend(size: int) -> int:
    """Store the nodes that a log of `size` completes and that are not there yet; how many.

    One statement where nothing is missing, three more for each level and 64 nodes. Caller holds the sealer's lock.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT level, max(index) FROM audit_node GROUP BY level")
        held = {level: last + 1 for level, last in cursor.fetchall()}
    made = 0
    for level in LEVELS:
        first, wanted = held.get(level, 0), size >> level
        while first < wanted:
            count = min(_AT_ONCE, wanted - first)
            children = _stored(level - HEIGHT, first << HEIGHT, count << HEIGHT)
            rows = [(level, first + n, _fold(children[n << HEIGHT : (n + 1) << HEIGHT])) for n in range(count)]
            with connection.cursor() as cursor:
                places = ", ".join(["(%s, %s, %s)"] * count)
                cursor.execute(
                    f"INSERT INTO audit_node (level, index, hash) VALUES {places}",  # noqa: S608  only placeholders
                    [value for row in rows for value in row],
                )
            first, made = first + count, made + count
    return made


@dataclass(frozen=True, slots=True)
class Paths:
    """Paths of proofs that are made together: what they have in common is read once.

    `stored` False computes from the leaves alone.
    """

    stored: bool = True
    _seen: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """The audit path of leaf `index` (from 0) in the log of `size`, nearest sibling first.

        At most 2 log2(size) statements. Raises Incomplete, IndexError.
        """
        return [self._root(start, count) for start, count in merkle.inclusion_ranges(index, size)]

    def consistency(self, old_size: int, size: int) -> list[bytes]:
        """What shows the log of `old_size` to be the beginning of that of `size`. Raises Incomplete, ValueError."""
        return [self._root(start, count) for start, count in merkle.consistency_ranges(old_size, size)]

    def _root(self, start: int, count: int) -> bytes:
        """The root over `count` leaves from `start` on."""
        if (start, count) not in self._seen:
            level = count.bit_length() - 1
            if count == 1 << level and start % count == 0:
                root = _complete(level, start >> level, self.stored)
            else:
                half = merkle.split(count)
                root = merkle.node_hash(self._root(start, half), self._root(start + half, count - half))
            self._seen[start, count] = root
        return self._seen[start, count]


def _complete(level: int, index: int, stored: bool) -> bytes:
    base = level // HEIGHT * HEIGHT
    if stored or not base:
        return _fold(_stored(base, index << (level - base), 1 << (level - base)))
    frontier = merkle.Frontier()
    for first in range(index << level, (index + 1) << level, 1 << 14):
        for leaf in _stored(0, first, min(1 << 14, ((index + 1) << level) - first)):
            frontier.add(leaf)
    return frontier.root()


def _stored(level: int, first: int, count: int) -> Sequence[bytes]:
    """Leaves (level 0) or stored nodes, in order; one statement."""
    with connection.cursor() as cursor:
        if level:
            cursor.execute(
                "SELECT hash FROM audit_node WHERE level = %s AND index >= %s AND index < %s ORDER BY index",
                [level, first, first + count],
            )
        else:
            cursor.execute(
                "SELECT leaf FROM audit_seal WHERE seq > %s AND seq <= %s ORDER BY seq", [first, first + count]
            )
        found = [bytes(row[0]) for row in cursor.fetchall()]
    if len(found) != count:
        raise Incomplete(f"{count - len(found)} of {count} hashes at level {level} from {first} are missing")
    return found


def _fold(hashes: Sequence[bytes]) -> bytes:
    """The root over a power of two of nodes."""
    while len(hashes) > 1:
        hashes = [merkle.node_hash(hashes[n], hashes[n + 1]) for n in range(0, len(hashes), 2)]
    return hashes[0]
