"""The one scorer over many pairs at once: every pair of distinct values of a field is compared once. Pure; needs numpy.

The levels, weights and rules are those of `matching`, called for each distinct pair of values instead of for each
pair of records; a test holds both to one verdict.

Source: spec/mpi.md sections 1 and 3, Compare, Score, Rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patients import levels as lv
from patients import matching as mt
from patients.normalise import Features

Ints = NDArray[np.int64]
Codes = NDArray[np.int32]
Levels = NDArray[np.int8]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_CHUNK = 500_000
"""Pairs compared together: what bounds the memory."""
_MISSING_FREQUENCY = np.nan


class Column:
    """One field of many records: a code for each record and what the codes stand for; code 0 is a missing value."""

    def __init__(self, values: Sequence[Any], missing: Any = ()) -> None:
        known: dict[Any, int] = {missing: 0}
        self.codes = np.fromiter(
            (known.setdefault(value, len(known)) for value in values), dtype=np.int32, count=len(values)
        )
        self.values = list(known)


class Records:
    """The features of many records, by column."""

    def __init__(self, records: Sequence[Features]) -> None:
        names = Column([name for record in records for name in (record.given, record.surname)])
        # Given names and surnames share their codes: they are compared crosswise too.
        self.names = names.values
        self.given, self.surname = names.codes[0::2].copy(), names.codes[1::2].copy()
        self.birth = Column([record.birth for record in records])
        self.streets = Column([record.streets for record in records])
        self.places = Column([record.places for record in records])
        self.phones = Column([record.phones for record in records])
        self.emails = Column([record.emails for record in records])
        self.idents = Column([(record.idents, record.own) for record in records], missing=((), ()))
        self.sex = Column([record.sex for record in records], missing="").codes
        self.occupation = Column([record.occupation for record in records], missing="").codes
        self.multiple = np.array([record.multiple for record in records], dtype=bool)
        self.order = np.array([record.order for record in records], dtype=np.int64)


@dataclass(slots=True)
class _Distinct:
    """The distinct pairs of values of a field: the level of each, the values behind it, and which pair of records is which."""

    levels: Levels
    behind: list[tuple[str, str]]
    which: Ints


def _distinct(values: Sequence[Any], one: Codes, other: Codes, level: Callable[[Any, Any], Any]) -> _Distinct:
    # Levels are symmetric in their values: one order is enough.
    size = len(values)
    low, high = np.minimum(one, other).astype(np.int64), np.maximum(one, other).astype(np.int64)
    keys, which = np.unique(low * size + high, return_inverse=True)
    found = [level(values[key // size], values[key % size]) for key in keys.tolist()]
    return _Distinct(
        np.array([item[0] for item in found], dtype=np.int8), [(item[1], item[2]) for item in found], which
    )


def _best(level: Callable[[str, str], int]) -> Callable[[Any, Any], tuple[int, str, str]]:
    plain = getattr(level, "__wrapped__", level)  # each pair comes once here: a cache would only be filled
    return lambda one, other: mt.best_of(plain, one, other)


def _idents(one: Any, other: Any) -> tuple[int, str, str]:
    return mt.ident_of(one[0], one[1], other[0], other[1]), "", ""


@dataclass(slots=True)
class Compared:
    """Levels of many pairs (row by pair, column by `lv.FIELDS`), and what the frequency of values makes of u.

    `frequent` gives for a field the distinct (level, value, value) and for each pair which of them it is (-1: none).
    """

    levels: Levels
    frequent: dict[int, tuple[list[tuple[int, str, str]], Ints]]


_TERM_LEVELS = {
    mt.GIVEN: (lv.NAME_NEAR, lv.NAME_EQUAL), mt.SURNAME: (lv.NAME_NEAR, lv.NAME_EQUAL),
    mt.BIRTH: (lv.BIRTH_EQUAL, lv.BIRTH_EQUAL), mt.PLACE: (2, 5), mt.PHONE: (2, 2), mt.EMAIL: (3, 3),
}  # fmt: skip


def compare(records: Records, first: Ints, second: Ints) -> Compared:
    """`matching.compare` for many pairs of positions."""
    out = np.full((len(first), len(lv.FIELDS)), lv.MISSING, dtype=np.int8)
    found: dict[int, _Distinct] = {}
    columns: dict[int, tuple[Sequence[Any], Codes, Codes, Callable[[Any, Any], Any]]] = {
        mt.GIVEN: (records.names, records.given, records.given, _best(lv.name_level)),
        mt.SURNAME: (records.names, records.surname, records.surname, _best(lv.name_level)),
        mt.BIRTH: (records.birth.values, records.birth.codes, records.birth.codes, _best(lv.birth_level)),
        mt.STREET: (records.streets.values, records.streets.codes, records.streets.codes, _best(lv.street_level)),
        mt.PLACE: (records.places.values, records.places.codes, records.places.codes, _best(lv.place_level)),
        mt.PHONE: (records.phones.values, records.phones.codes, records.phones.codes, _best(lv.phone_level)),
        mt.EMAIL: (records.emails.values, records.emails.codes, records.emails.codes, _best(lv.email_level)),
        mt.IDENT: (records.idents.values, records.idents.codes, records.idents.codes, _idents),
    }
    for index, (values, one, other, level) in columns.items():
        if len(values) == 1:
            continue
        found[index] = _distinct(values, one[first], other[second], level)
        out[:, index] = found[index].levels[found[index].which]
    for index, codes in ((mt.SEX, records.sex), (mt.OCCUPATION, records.occupation)):
        here, there = codes[first], codes[second]
        out[:, index] = np.where((here == 0) | (there == 0), lv.MISSING, here == there)
    _swaps(records, first, second, out)
    return Compared(
        out, {index: _frequent(index, item, out[:, index]) for index, item in found.items() if index in _TERM_LEVELS}
    )


def _swaps(records: Records, first: Ints, second: Ints, out: Levels) -> None:
    given, surname = out[:, mt.GIVEN], out[:, mt.SURNAME]
    rows = np.flatnonzero((given <= 1) & (surname <= 1) & ((given >= 0) | (surname >= 0)))
    if not len(rows):
        return
    here, there = first[rows], second[rows]
    level = _best(lv.name_level)
    crosswise = _distinct(records.names, records.given[here], records.surname[there], level)
    back = _distinct(records.names, records.surname[here], records.given[there], level)
    across, home = crosswise.levels[crosswise.which], back.levels[back.which]
    swapped = rows[mt.is_swap(across, home)]
    out[swapped, mt.GIVEN], out[swapped, mt.SURNAME] = lv.GIVEN_SWAPPED, lv.MISSING


def _frequent(index: int, item: _Distinct, column: Levels) -> tuple[list[tuple[int, str, str]], Ints]:
    low, high = _TERM_LEVELS[index]
    chosen = np.flatnonzero((item.levels >= low) & (item.levels <= high))
    number = np.full(len(item.levels), -1, dtype=np.int64)
    number[chosen] = np.arange(len(chosen))
    terms = [(int(item.levels[n]), *item.behind[n]) for n in chosen.tolist()]
    # A level that the swap took away counts no more.
    return terms, np.where((column >= low) & (column <= high), number[item.which], -1)


def frequency_bits(scorer: mt.Scorer, compared: Compared) -> Floats:
    """log2 of u by the frequency of the value where that counts, NaN elsewhere."""
    out = np.full(compared.levels.shape, _MISSING_FREQUENCY)
    for index, (terms, which) in compared.frequent.items():
        bits = [scorer.frequency_bits(index, level, one, other) for level, one, other in terms]
        table = np.array([np.nan if item is None else item for item in [*bits, None]], dtype=float)
        out[:, index] = table[which]
    return out


@dataclass(slots=True)
class Scored:
    """The verdicts on many pairs, as `matching.PairScore` has them."""

    score: Floats
    automatic: Bools
    vetoed: Bools
    levels: Levels

    @property
    def clustering(self) -> Floats:
        """The scores that count when persons are put together."""
        found: Floats = np.where(self.vetoed, mt.RULE_SCORE, self.score)
        return found


def score(scorer: mt.Scorer, records: Records, first: Ints, second: Ints) -> Scored:
    """`Scorer.score` for many pairs of positions."""
    parts = [
        _score_some(scorer, records, first[start : start + _CHUNK], second[start : start + _CHUNK])
        for start in range(0, len(first), _CHUNK)
    ]
    if not parts:
        empty = np.empty(0)
        return Scored(empty, empty.astype(bool), empty.astype(bool), np.empty((0, len(lv.FIELDS)), dtype=np.int8))
    return Scored(
        np.concatenate([part.score for part in parts]),
        np.concatenate([part.automatic for part in parts]),
        np.concatenate([part.vetoed for part in parts]),
        np.concatenate([part.levels for part in parts]),
    )


def _score_some(scorer: mt.Scorer, records: Records, first: Ints, second: Ints) -> Scored:
    compared = compare(records, first, second)
    found = compared.levels
    by_frequency = frequency_bits(scorer, compared)
    matched, strangers, household = np.zeros(len(first)), np.zeros(len(first)), np.zeros(len(first))
    person = np.zeros(len(first))
    # In the order of the fields, so that sums are those of `Scorer.score` to the last bit.
    for index in range(len(lv.FIELDS)):
        column = found[:, index]
        m_bits = np.array(scorer.m_table(index))[column]
        plain = np.array(scorer.u_table(index))[column]
        u_bits = np.where(np.isnan(by_frequency[:, index]), plain, by_frequency[:, index])
        matched += m_bits
        strangers += u_bits
        household += u_bits if index in mt.PERSON_FIELDS else np.array(scorer.h_table(index))[column]
        if index in mt.EVIDENCE_FIELDS:
            person += m_bits - u_bits
    against = strangers + scorer.prior_u
    home = household + scorer.prior_h
    high, low = np.maximum(against, home), np.minimum(against, home)
    with_home = high + np.log2(1.0 + np.exp2(np.maximum(low - high, -1000.0)))
    household_on = (found[:, mt.PHONE] >= 0) | (found[:, mt.STREET] >= 0)
    against = np.where(household_on, with_home, against)
    total = matched + scorer.prior_m - against
    vetoed, enough = _rules(records, first, second, found, person)
    return Scored(total, (total >= mt.AUTOMATIC_BITS) & ~vetoed & enough, vetoed, found)


def _rules(records: Records, first: Ints, second: Ints, found: Levels, person: Floats) -> tuple[Bools, Bools]:
    """Who is under the twin or junior rule, and who has the evidence for an automatic link."""
    years = np.full(len(first), 0, dtype=np.int64)
    apart = np.flatnonzero((found[:, mt.BIRTH] >= 0) & (found[:, mt.BIRTH] < lv.BIRTH_YEAR_JANUARY))
    if len(apart):
        born = records.birth
        here, there = born.codes[first[apart]], born.codes[second[apart]]
        item = _distinct(born.values, here, there, lambda a, b: (0, mt.years_apart(a, b), 0))
        years[apart] = np.array([pair[0] for pair in item.behind], dtype=np.int64)[item.which]
    flagged = records.multiple[first] | records.multiple[second]
    one, other = records.order[first], records.order[second]
    twins = mt.is_twin(found.T, flagged, (one > 0) & (other > 0) & (one != other))
    juniors = mt.is_junior(found.T, years)
    return twins | juniors, mt.has_evidence(found.T) & (person >= mt.PERSON_BITS)
