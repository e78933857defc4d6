"""Comparison levels: how nearly two values of a field agree. Pure; one set for bulk and real time.

Each function gives a level, 0 = disagree, higher = nearer; the caller treats a missing value
as no comparison. `LEVEL_NAMES` says each level in words, for the reasons shown to people.

Source: spec/mpi.md section 3, Compare.
"""

from __future__ import annotations

from functools import lru_cache

from nicknames import NickNamer
from rapidfuzz.distance import DamerauLevenshtein, JaroWinkler

from patients.blocking import sound

FIELDS = ("given", "surname", "birth", "sex", "street", "place", "phone", "email", "ident", "occupation")
"""Compared fields, in the order of a level vector."""

LEVEL_NAMES: dict[str, tuple[str, ...]] = {
    "given": (
        "different", "same initial", "similar", "nearly equal", "a name in common", "first name equal", "equal",
        "given name and surname swapped",
    ),
    "surname": (
        "different", "same initial", "similar", "nearly equal", "a name in common", "first part equal", "equal",
    ),
    "birth": (
        "different", "a year apart", "same year", "same year, 1 January", "two of three parts", "one digit differs",
        "day and month swapped", "equal",
    ),
    "sex": ("different", "equal"),
    "street": ("different", "same number", "same street", "same street, number nearly equal", "equal"),
    "place": (
        "different", "same post code area", "same town", "same town, post code nearly equal", "same post code", "equal",
    ),
    "phone": ("different", "one digit differs", "equal"),
    "email": ("different", "similar", "nearly equal", "equal"),
    "ident": ("different", "one character differs", "equal"),
    "occupation": ("different", "equal"),
}  # fmt: skip

GIVEN_SWAPPED = 7
NAME_SIMILAR, NAME_NEAR, NAME_EQUAL = 2, 3, 6
BIRTH_YEAR_JANUARY, BIRTH_EQUAL = 3, 7
STREET_SAME, PLACE_CODE = 3, 4
MISSING = -1

_nicknamer = NickNamer()


@lru_cache(maxsize=50_000)
def _nicknames(name: str) -> frozenset[str]:
    """The known short forms of a given name."""
    return frozenset(_nicknamer.nicknames_of(name)) if name else frozenset()


def _umlauts(name: str) -> str:
    return name.replace("ae", "a").replace("oe", "o").replace("ue", "u")


@lru_cache(maxsize=500_000)
def name_level(one: str, other: str) -> int:
    """Two names of cleaned words, 0 to 6 (see `LEVEL_NAMES`)."""
    if one == other:
        return 6
    head, tail = one, other
    if " " in one or " " in other:
        first, second = one.split(" "), other.split(" ")
        head, tail = first[0], second[0]
        if head == tail and not _contradict(first[1:], second[1:]):
            return 5
        if not set(first).isdisjoint(second) or one.replace(" ", "") == other.replace(" ", ""):
            return 4
    if tail in _nicknames(head) or head in _nicknames(tail):
        return 4
    # Millions of pairs pass here, and most begin differently: no prefix, no umlaut written out makes up for that.
    begins = head[0] == tail[0]
    short = min(len(head), len(tail))
    if begins:
        if short >= 3 and (head.startswith(tail) or tail.startswith(head)):
            return 4
        if one.replace("e", "") == other.replace("e", "") and _umlauts(one) == _umlauts(other):
            return 4
    likeness = JaroWinkler.similarity(one, other)
    if likeness >= 0.92:
        return 3
    # One edit changes the beginning or the end, not both.
    if short > 2 and (begins or one[-1] == other[-1]) and DamerauLevenshtein.distance(one, other, score_cutoff=1) <= 1:
        return 3
    if begins:
        return 2 if short == 1 or likeness >= 0.84 or sound(one) == sound(other) else 1
    return 2 if likeness >= 0.84 else 0


def _contradict(first: list[str], second: list[str]) -> bool:
    """Whether further names differ other than by one being the other's initial, or absent."""
    return any(not (a.startswith(b) or b.startswith(a)) for a, b in zip(first, second, strict=False))


@lru_cache(maxsize=500_000)
def birth_level(one: str, other: str) -> int:
    """Two dates of 8 digits, 0 to 7."""
    if one == other:
        return 7
    same_year = one[:4] == other[:4]
    month, day, month2, day2 = one[4:6], one[6:], other[4:6], other[6:]
    if not (same_year or month == month2 or day == day2):
        # Most pairs pass here: where all three parts differ, so do two digits.
        return 1 if abs(int(one[:4]) - int(other[:4])) == 1 else 0
    if same_year and month == day2 and day == month2:
        return 6
    unknown = "00" in (month, month2, day, day2)
    if not unknown and DamerauLevenshtein.distance(one, other, score_cutoff=1) <= 1:
        # 1 January of the same year is what people type who know the year only, though it may be one edit away.
        return 3 if same_year and "0101" in (one[4:], other[4:]) else 5
    if (same_year, month == month2, day == day2).count(True) == 2:
        return 3 if same_year and "0101" in (one[4:], other[4:]) else 4
    if same_year:
        return 3 if unknown or "0101" in (one[4:], other[4:]) else 2
    return 1 if abs(int(one[:4]) - int(other[:4])) == 1 else 0


@lru_cache(maxsize=500_000)
def street_level(one: str, other: str) -> int:
    """Two ``number|street``, 0 to 4."""
    if one == other:
        return 4 if one[0] != "|" else 2
    number, street = one.split("|")
    number2, street2 = other.split("|")
    same = street == street2 or JaroWinkler.similarity(street, street2) >= 0.82
    if not number or not number2:
        return 2 if same else 0
    if number == number2:
        return 4 if same else 1
    if not same:
        return 0
    return 3 if DamerauLevenshtein.distance(number, number2, score_cutoff=1) <= 1 else 2


@lru_cache(maxsize=500_000)
def place_level(one: str, other: str) -> int:
    """Two ``post code|town``, 0 to 5."""
    code, town = one.split("|")
    code2, town2 = other.split("|")
    same_town = bool(town) and bool(town2) and (town == town2 or JaroWinkler.similarity(town, town2) >= 0.9)
    if code and code == code2:
        return 5 if same_town else 4
    if same_town:
        near = code and code2 and DamerauLevenshtein.distance(code, code2, score_cutoff=1) <= 1
        return 3 if near else 2
    return 1 if code and code2 and code[:3] == code2[:3] else 0


@lru_cache(maxsize=500_000)
def phone_level(one: str, other: str) -> int:
    """Two phone numbers, 0 to 2; a number without its area code is equal to one with it."""
    if one == other or (min(len(one), len(other)) >= 7 and (one.endswith(other) or other.endswith(one))):
        return 2
    return 1 if DamerauLevenshtein.distance(one, other, score_cutoff=1) <= 1 else 0


@lru_cache(maxsize=500_000)
def email_level(one: str, other: str) -> int:
    """Two e-mail addresses, 0 to 3."""
    if one == other:
        return 3
    local, local2 = one.split("@")[0], other.split("@")[0]
    if local == local2 or DamerauLevenshtein.distance(one, other, score_cutoff=2) <= 2:
        return 2
    return 1 if JaroWinkler.similarity(one, other) >= 0.85 else 0


@lru_cache(maxsize=500_000)
def ident_level(one: str, other: str) -> int:
    """Two ``system|VALUE`` of one system, 0 to 2."""
    if one == other:
        return 2
    return 1 if DamerauLevenshtein.distance(one, other, score_cutoff=1) <= 1 else 0
