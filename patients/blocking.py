"""Blocking: which records are worth comparing. Pure.

Sixteen keys, each missing where a part is missing; former values and aliases make keys of
their own. A key is stored as a signed 64-bit hash, beside a number that holds the record's refining
fields (`refinement`). A block that is too large is split by the next refining field, in the end by a
window in name order; it is never dropped.

Source: spec/mpi.md section 3, Block.
"""

from __future__ import annotations

import hashlib
import sys
from array import array
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import jellyfish

from patients.normalise import Features

BLOCK_LIMIT = 20
SPARE = 10
"""So many records more than its limit are read of a block whose answer is cut to what may be seen: fewer than eleven
hidden people (the smallest group that is ever told of) cannot split it."""
WINDOW = 10
WIDEST = 60
"""Records of the finest part of a block that one record in real time is compared with."""
_MAX_VARIANTS = 4  # of one field in combined keys: a record of many aliases must not flood the index


@lru_cache(maxsize=200_000)
def sound(name: str) -> str:
    """How a name sounds (Metaphone of its first word, at most 6 sounds)."""
    first = name.split(" ")[0]
    return str(jellyfish.metaphone(first))[:6] if first else ""


_BLANK = hashlib.blake2b(digest_size=8)


def digest(text: str) -> int:
    """The signed 64-bit hash under which a key is stored."""
    return digests([text])[0]


def digests(texts: Iterable[str]) -> array[int]:
    """`digest` of several."""
    # The hash of a text is less work than what surrounds it: a copy is quicker than a new one, and numbers are
    # made of all of them together.
    found: list[bytes] = []
    for text in texts:
        hashing = _BLANK.copy()
        hashing.update(text.encode())
        found.append(hashing.digest())
    numbers = array("q", b"".join(found))
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers


def keys(record: Features) -> list[str]:
    """The record's blocking keys as text, each beginning with its kind; without repeats."""
    given = [name.split(" ")[0] for name in record.given[:_MAX_VARIANTS]]
    surname = list(record.surname[:_MAX_VARIANTS])
    birth = record.birth[0] if record.birth else ""
    year, day = birth[:4], birth[4:]
    places = [place.split("|") for place in record.places[:_MAX_VARIANTS]]
    towns = [town for _, town in places if town]
    out = [f"id:{value}" for value in (*record.idents, *record.own)]
    out += [f"ph:{value}" for value in record.phones]
    out += [f"em:{value}" for value in record.emails]
    out += [f"st:{street}|{code}" for street in record.streets[:_MAX_VARIANTS] for code, _ in places if code]
    out += [f"pc:{code}" for code, _ in places if code]
    # Given names and surnames share one namespace here, and pairs of them are sorted: they come swapped.
    out += [f"nt:{name}|{town}" for name in (*given, *surname) for town in towns]
    out += ["so:" + "|".join(sorted((sound(first), sound(last)))) for first in given for last in surname]
    # Aliases and surnames share one namespace: an alias here may be the surname there.
    for first in given:
        for other in _words(surname):
            out.append(f"ga:{first[:3]}|{other[:5]}")
    if birth:
        out += [f"ty:{town}|{year}" for town in towns]
        out += [f"ly:{last}|{year}" for last in surname]
        out += ["gl:" + "|".join(sorted((first[:3], last[:3]))) + year for first in given for last in surname]
        names = sorted({*_words(given), *_words(surname)})
        if names:
            out.append(f"ny:{' '.join(names)}|{year}")
        if day not in ("0000", "0101"):
            out.append(f"bd:{birth}")
            out += [f"ld:{last}|{day}" for last in surname]
            out += [f"gd:{first}|{day}" for first in given]
        elif given or surname:
            # 1 January alone is no evidence; with a name it still finds the record.
            out.append(f"bd:{birth}|{(given or surname)[0][:1]}")
    return list(dict.fromkeys(out))


def _words(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(word for name in names for word in name.split(" ")))


def _initials(record: Features) -> str:
    # Sorted, so that swapped names stay in one part.
    first = (record.given[0][:1] if record.given else "") + (record.surname[0][:1] if record.surname else "")
    return "".join(sorted(first))


def refinements(record: Features) -> tuple[str, ...]:
    """The refining fields of a record, in order: "" where one is missing."""
    given = record.given[0] if record.given else ""
    surname = record.surname[0] if record.surname else ""
    place = record.places[0].split("|") if record.places else ["", ""]
    year = record.birth[0][:4] if record.birth else ""
    return (_initials(record), given[:3], surname[:3], year, place[0], place[1])


# How many bits of `refinement` each refining field has, the first one highest; place is the last that counts.
_BITS = (12, 14, 14, 12, 11)
MASKS = tuple((1 << 63) - (1 << (63 - sum(_BITS[:depth]))) for depth in range(len(_BITS) + 1))
"""Which bits of a refinement two records of one block share at each depth, the whole block first."""


def refinement(record: Features) -> int:
    """The refining fields as one number of 63 bits: each its share of bits, so that a part of a block is a range."""
    out = 0
    for bits, text in zip(_BITS, refinements(record), strict=False):
        out = (out << bits) | (_hashed(text) & ((1 << bits) - 1))
    return out


@lru_cache(maxsize=200_000)
def _hashed(text: str) -> int:
    return digest(text) if text else 0


def hashes(record: Features) -> list[int]:
    """The record's keys as they are stored and asked for, without repeats."""
    return list(dict.fromkeys(digests(keys(record))))


def strong_hashes(record: Features) -> list[int]:
    """Keys that two registrations of one new person share: what a feed locks, in order."""
    strong = ("id:", "ph:", "em:", "bd:", "so:", "ny:")
    return sorted(digest("lock/" + key) for key in keys(record) if key.startswith(strong))


def pairs(records: Sequence[Features]) -> Iterator[tuple[int, int]]:
    """Every distinct pair (i < j) of positions that share a block, each once, grouped by i."""
    blocks: dict[str, list[int]] = defaultdict(list)
    for position, record in enumerate(records):
        for key in keys(record):
            blocks[key].append(position)
    partners: dict[int, set[int]] = defaultdict(set)
    refine = lru_cache(maxsize=None)(lambda position: refinements(records[position]))
    for members in blocks.values():
        if len(members) > 1:
            _within(members, 0, refine, partners)
    for first in sorted(partners):
        for second in sorted(partners[first]):
            yield first, second


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """The blocks that one record shares: of each record in them its keys that are shared, and its refinement.

    They may hold more of a block than a record is compared with (`SPARE`): `among` makes that cut.
    """

    finer: int
    shared: Mapping[int, tuple[Sequence[int], int]]

    def among(self, records: Collection[int]) -> set[int]:
        """Those of these records that would be compared with the one if there were no others.

        So what is hidden neither fills a block nor splits it. 0 queries.
        """
        members: dict[int, list[int]] = defaultdict(list)
        for record in sorted(self.shared.keys() & set(records)):
            for key in self.shared[record][0]:
                members[key].append(record)
        return {record for block in members.values() for record in self._finest(block)}

    def _finest(self, block: list[int]) -> list[int]:
        for mask in MASKS:
            if len(block) <= BLOCK_LIMIT:
                return block
            block = [record for record in block if not (self.shared[record][1] ^ self.finer) & mask]
        return block[:WIDEST]


def _within(
    members: list[int], depth: int, refine: Callable[[int], tuple[str, ...]], partners: dict[int, set[int]]
) -> None:
    if len(members) <= BLOCK_LIMIT:
        for n, first in enumerate(members):
            partners[first].update(members[n + 1 :])
        return
    if depth == len(refine(members[0])):
        ordered = sorted(members, key=lambda position: (refine(position)[1:3], position))
        for n, first in enumerate(ordered):
            for second in ordered[n + 1 : n + WINDOW]:
                partners[min(first, second)].add(max(first, second))
        return
    parts: dict[str, list[int]] = defaultdict(list)
    for position in members:
        parts[refine(position)[depth]].append(position)
    for part in parts.values():
        if len(part) > 1:
            _within(part, depth + 1, refine, partners)
