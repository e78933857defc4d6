"""A document's own header against what the index knows of the patient it was submitted for (pure).

A contradiction that only another person explains refuses the document; one that an error of typing or a changed
name explains makes it doubtful: stored restricted, for a person to look at.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import DamerauLevenshtein, JaroWinkler

from hie.standards import naming
from hie.standards.cda import CdaHeader
from hie.standards.demographics import Demographics, HumanName
from hie.standards.naming import Names

ALIKE = 0.85
"""Jaro-Winkler similarity from which two names may be one: ``Jon`` and ``John``, not ``Adam`` and ``Eve``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Whether the header can be about this person: `wrong` it cannot, `doubts` are reasons to look."""

    wrong: bool = False
    doubts: tuple[str, ...] = ()


def compare(header: CdaHeader, records: Iterable[Demographics]) -> Comparison:
    """The header against every record of the person; the record that agrees best decides.

    Without anything to compare nothing is said: a header without a name (or an index without
    demographics) is no contradiction.
    """
    found = [_compare_one(header, record) for record in records if record.names or record.birth_date]
    if not found:
        return Comparison()
    return min(found, key=lambda item: (item.wrong, len(item.doubts)))


def _compare_one(header: CdaHeader, record: Demographics) -> Comparison:
    family, given = _names_agree(header.names, record.names)
    birth = _dates_agree(header.birth_date, record.birth_date)
    gender = _genders_agree(header.gender, record.gender)
    doubts: list[str] = []
    if given is False and family is False:
        doubts.append("name-differs")
    elif given is False:
        doubts.append("given-name-differs")
    if birth == "differs":
        doubts.append("birth-date-differs")
    elif birth == "near":
        doubts.append("birth-date-nearly-equal")
    if gender is False:
        doubts.append("gender-differs")
    # A changed family name is common; another given name together with another day of birth is another person.
    wrong = given is False and birth == "differs"
    wrong = wrong or (given is False and family is False and gender is False and birth != "same")
    wrong = wrong or (given is False and family is False and birth == "unknown" and gender is not True)
    return Comparison(wrong=wrong, doubts=tuple(doubts))


def _names_agree(one: Sequence[HumanName], other: Sequence[HumanName]) -> tuple[bool | None, bool | None]:
    """(family, given): alike, not alike, or None when one side does not say; swapped fields count as alike."""
    family: bool | None = None
    given: bool | None = None
    for first in one:
        for second in other:
            families, givens = (_words(first.family), _words(second.family)), (_given(first), _given(second))
            if not any(families[0] + givens[0]) or not any(families[1] + givens[1]):
                continue
            swapped = _alike(families[0], givens[1]) and _alike(givens[0], families[1])
            if swapped:
                return True, True
            family = _either(family, _alike(*families))
            given = _either(given, _alike(*givens))
    return family, given


def _either(before: bool | None, now: bool | None) -> bool | None:
    return now if before is None else before or bool(now)


def _alike(one: Sequence[str], other: Sequence[str]) -> bool | None:
    if not one or not other:
        return None
    for a in one:
        for b in other:
            if a == b or (min(len(a), len(b)) == 1 and a[0] == b[0]) or JaroWinkler.similarity(a, b) >= ALIKE:
                return True
            if min(len(a), len(b)) >= 3 and (a.startswith(b) or b.startswith(a)):
                return True
    joined = "".join(one), "".join(other)
    return JaroWinkler.similarity(*joined) >= ALIKE


def _given(name: HumanName) -> list[str]:
    words = _words(" ".join(name.given))
    return words or (_words(name.text) if not name.family else [])


def _words(text: str) -> list[str]:
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).casefold()
    return "".join(c if c.isalnum() else " " for c in plain).split()


def _dates_agree(one: str, other: str) -> str:
    """``same`` at the precision both have, ``near`` (a digit, or day and month swapped), ``differs`` or ``unknown``."""
    if not one or not other:
        return "unknown"
    length = min(len(one), len(other), 10)
    a, b = one[:length], other[:length]
    if a == b:
        return "same"
    if length == 10 and (a[5:7], a[8:10]) == (b[8:10], b[5:7]) and a[:4] == b[:4]:
        return "near"
    return "near" if length == 10 and DamerauLevenshtein.distance(a, b) <= 1 else "differs"


def _genders_agree(one: str, other: str) -> bool | None:
    letters = {"m": "m", "male": "m", "f": "f", "female": "f"}
    a, b = letters.get(one.strip().lower()), letters.get(other.strip().lower())
    return None if a is None or b is None else a == b


def authors(header: CdaHeader) -> Names:
    """The authors as the document itself names them: persons and their organizations, by identifier."""
    found = [
        naming.person(one.extension, one.root) if one.extension else Names(sure=naming.identifier("", one.root))
        for author in header.authors
        for one in author.ids
    ]
    found += [
        naming.organization(one.extension, one.root) if one.extension else naming.organization(one.root)
        for author in header.authors
        for one in author.organization_ids
    ]
    return Names.union(found)
