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
from patients.packing import Codes, Ints, Records, Values

Levels = NDArray[np.int8]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_CHUNK = 500_000
"""Pairs compared together: what bounds the memory."""
_MISSING_FREQUENCY = np.nan


@dataclass(slots=True)
class _Distinct:
    """The distinct pairs of values of a field: the level of each, the values behind it, and which pair of records is which.

    `which` is -1 where a value is missing. `one` and `other` are places in `held`.
    """

    levels: Levels
    held: list[Any]
    one: Ints
    other: Ints
    which: Ints

    def column(self) -> Levels:
        """The level of each pair of records."""
        # The last one, which -1 finds, is a missing value.
        return np.append(self.levels, np.int8(lv.MISSING))[self.which]


def _distinct(values: Values, one: Codes, other: Codes) -> _Distinct:
    # Levels are symmetric in their values: one order is enough.
    size = len(values)
    there = np.flatnonzero((one != 0) & (other != 0))
    low, high = np.minimum(one[there], other[there]).astype(np.int64), np.maximum(one[there], other[there])
    keys, inverse = np.unique(low * size + high, return_inverse=True)
    which = np.full(len(one), -1, dtype=np.int64)
    which[there] = inverse
    low, high = keys // size, keys % size
    used = np.zeros(size, dtype=bool)
    used[low] = used[high] = True
    place = np.cumsum(used) - 1
    return _Distinct(np.empty(0, dtype=np.int8), values.some(np.flatnonzero(used)), place[low], place[high], which)


def _compared(values: Values, one: Codes, other: Codes, level: Callable[[str, str], int]) -> _Distinct:
    """The levels of two columns: `matching.best_of` for each distinct pair of values."""
    plain = getattr(level, "__wrapped__", level)  # each pair comes once here: a cache would only be filled
    item = _distinct(values, one, other)
    single = np.fromiter((len(value) == 1 for value in item.held), dtype=bool, count=len(item.held))
    firsts = [value[0] for value in item.held]
    item.levels = np.empty(len(item.one), dtype=np.int8)
    alone = single[item.one] & single[item.other]
    # Hardly anybody has two values: of one each there is nothing to choose.
    item.levels[alone] = list(map(plain, _picked(firsts, item.one[alone]), _picked(firsts, item.other[alone])))
    for n in np.flatnonzero(~alone).tolist():
        item.levels[n] = mt.best_of(plain, item.held[item.one[n]], item.held[item.other[n]])[0]
    return item


def _picked(values: Sequence[Any], places: Ints) -> list[Any]:
    return [values[place] for place in places.tolist()]


def _idents(records: Records, first: Ints, second: Ints) -> Levels:
    """`matching.ident_of` of many pairs: called for each distinct pair of shared identifiers, and where a local one matters."""
    codes, own, named = records.codes("idents"), records.own, records.named
    one, other = codes[first], codes[second]
    item = _distinct(records.values["idents"], one, other)
    item.levels = np.fromiter(
        (
            mt.ident_of(a, (), b, ())
            for a, b in zip(_picked(item.held, item.one), _picked(item.held, item.other), strict=True)
        ),
        dtype=np.int8,
        count=len(item.one),
    )
    out = item.column()
    # A local identifier is evidence only where the other record names it, among its own or among the shared ones.
    here, there = own[first], own[second]
    shared = named[first] & (other != 0) | named[second] & (one != 0)
    for row in np.flatnonzero(((here == there) & (here != 0)) | shared).tolist():
        a, b = records[int(first[row])], records[int(second[row])]
        out[row] = mt.ident_of(a.idents, a.own, b.idents, b.own)
    return out


@dataclass(slots=True)
class Compared:
    """Levels of many pairs (row by pair, column by `lv.FIELDS`), and what the frequency of values makes of u.

    `frequent` gives for a field the distinct (level, value, value) and for each pair which of them it is (-1: none).
    """

    levels: Levels
    frequent: dict[int, tuple[list[tuple[int, str, str]], Ints]]


_LEVEL_OF = {
    mt.GIVEN: lv.name_level, mt.SURNAME: lv.name_level, mt.BIRTH: lv.birth_level, mt.PLACE: lv.place_level,
    mt.PHONE: lv.phone_level, mt.EMAIL: lv.email_level,
}  # fmt: skip
_TERM_LEVELS = {
    mt.GIVEN: (lv.NAME_NEAR, lv.NAME_EQUAL), mt.SURNAME: (lv.NAME_NEAR, lv.NAME_EQUAL),
    mt.BIRTH: (lv.BIRTH_EQUAL, lv.BIRTH_EQUAL), mt.PLACE: (2, 5), mt.PHONE: (2, 2), mt.EMAIL: (3, 3),
}  # fmt: skip


def compare(records: Records, first: Ints, second: Ints) -> Compared:
    """`matching.compare` for many pairs of positions."""
    out = np.full((len(first), len(lv.FIELDS)), lv.MISSING, dtype=np.int8)
    found: dict[int, _Distinct] = {}
    codes, values = records.codes, records.values
    for index, column, level in (
        (mt.GIVEN, "given", lv.name_level),
        (mt.SURNAME, "surname", lv.name_level),
        (mt.BIRTH, "birth", lv.birth_level),
        (mt.STREET, "streets", lv.street_level),
        (mt.PLACE, "places", lv.place_level),
        (mt.PHONE, "phones", lv.phone_level),
        (mt.EMAIL, "emails", lv.email_level),
    ):
        behind = records.names if level is lv.name_level else values[column]
        here = codes(column)
        found[index] = _compared(behind, here[first], here[second], level)
        out[:, index] = found[index].column()
    out[:, mt.IDENT] = _idents(records, first, second)
    for index, column in ((mt.SEX, "sex"), (mt.OCCUPATION, "occupation")):
        one, other = codes(column)[first], codes(column)[second]
        out[:, index] = np.where((one == 0) | (other == 0), lv.MISSING, one == other)
    _swaps(records, first, second, out)
    return Compared(
        out, {index: _frequent(index, item, out[:, index]) for index, item in found.items() if index in _TERM_LEVELS}
    )


def _swaps(records: Records, first: Ints, second: Ints, out: Levels) -> None:
    given, surname = out[:, mt.GIVEN], out[:, mt.SURNAME]
    rows = np.flatnonzero((given <= 1) & (surname <= 1) & ((given >= 0) | (surname >= 0)))
    if not len(rows):
        return
    givens, surnames = records.codes("given"), records.codes("surname")
    across = _compared(records.names, givens[first[rows]], surnames[second[rows]], lv.name_level).column()
    # One way round says no for most of them.
    open_ = (across >= lv.NAME_NEAR) | (across < 0)
    rows, across = rows[open_], across[open_]
    back = _compared(records.names, surnames[first[rows]], givens[second[rows]], lv.name_level).column()
    swapped = rows[mt.is_swap(across, back)]
    out[swapped, mt.GIVEN], out[swapped, mt.SURNAME] = lv.GIVEN_SWAPPED, lv.MISSING


def _frequent(index: int, item: _Distinct, column: Levels) -> tuple[list[tuple[int, str, str]], Ints]:
    low, high = _TERM_LEVELS[index]
    chosen = np.flatnonzero((item.levels >= low) & (item.levels <= high))
    number = np.full(len(item.levels), -1, dtype=np.int64)
    number[chosen] = np.arange(len(chosen))
    one, other = _picked(item.held, item.one[chosen]), _picked(item.held, item.other[chosen])
    terms = [
        (reached, *((a[0], b[0]) if len(a) == len(b) == 1 else mt.best_of(_LEVEL_OF[index], a, b)[1:]))
        for reached, a, b in zip(item.levels[chosen].tolist(), one, other, strict=True)
    ]
    # A level that the swap took away counts no more.
    return terms, np.where((column >= low) & (column <= high), np.append(number, -1)[item.which], -1)


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
        born = records.codes("birth")
        item = _distinct(records.values["birth"], born[first[apart]], born[second[apart]])
        # Hardly anybody has two dates: of one each the years are subtracted.
        year = np.array([int(dates[0][:4]) for dates in item.held], dtype=np.int64)
        between = np.abs(year[item.one] - year[item.other])
        several = np.array([len(dates) > 1 for dates in item.held], dtype=bool)
        for n in np.flatnonzero(several[item.one] | several[item.other]).tolist():
            between[n] = mt.years_apart(item.held[item.one[n]], item.held[item.other[n]])
        years[apart] = between[item.which]
    flagged = records.multiple[first] | records.multiple[second]
    orders = records.codes("order")
    positive = np.array([order > 0 for order in records.values["order"].all()])
    one, other = orders[first], orders[second]
    twins = mt.is_twin(found.T, flagged, positive[one] & positive[other] & (one != other))
    juniors = mt.is_junior(found.T, years)
    return twins | juniors, mt.has_evidence(found.T) & (person >= mt.PERSON_BITS)
