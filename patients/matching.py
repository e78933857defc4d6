"""The one scorer: how likely two records are one person, and why. Pure: no Django, no database.

Three latent classes explain a pair: M (one person), U (unrelated), H (one household: surname,
street, place, phone and near identifiers agree, but given name, birth date and sex are those
of strangers). The score is in bits: log2 of how much better M explains the pair than U and H
together, priors included; 0 = as likely as not. Rules for twins and juniors and the rule of
evidence stand above the score.

Source: spec/mpi.md section 3, Compare, Score, Rules, Decide.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib import resources
from math import log2
from typing import Any

from hie.standards.values import quick
from patients import levels as lv
from patients.normalise import Features

AUTOMATIC_BITS = 11.0
PROBABLE_BITS = 0.0
POSSIBLE_BITS = -7.0
PERSON_BITS = 4.0
JUNIOR_YEARS = 15
RULE_SCORE = -20.0
_ROUNDING = 1e-6  # sums of the same weights in another order differ by less

GIVEN, SURNAME, BIRTH, SEX, STREET, PLACE, PHONE, EMAIL, IDENT, OCCUPATION = range(10)
PERSON_FIELDS = (GIVEN, BIRTH, SEX)  # in a household these are as among strangers
EVIDENCE_FIELDS = (GIVEN, BIRTH, SEX, IDENT)


class Grade(StrEnum):
    """FHIR match-grade."""

    CERTAIN = "certain"
    PROBABLE = "probable"
    POSSIBLE = "possible"
    CERTAINLY_NOT = "certainly-not"


class Rule(StrEnum):
    """Rules above the score."""

    TWIN = "twin"
    JUNIOR = "junior"
    EVIDENCE = "evidence"
    PERSON_WEIGHT = "person-weight"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Weights: for each field the probability of each level among matches (m), strangers (u), households (h).

    `frequency` holds how often the more frequent values occur, `floor` what any other value counts as;
    a field absent from it uses u alone. Priors are over all pairs of the population. `correction` are bits that
    reviewers' verdicts add to every score (`calibration`).
    """

    version: str
    m: Mapping[str, Sequence[float]]
    u: Mapping[str, Sequence[float]]
    h: Mapping[str, Sequence[float]]  # only fields whose household distribution is their own
    prior_m: float
    prior_h: float
    frequency: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    floor: Mapping[str, float] = field(default_factory=dict)
    correction: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """As JSON data for storage."""
        return {
            "version": self.version, "m": dict(self.m), "u": dict(self.u), "h": dict(self.h), "prior_m": self.prior_m,
            "prior_h": self.prior_h, "frequency": {k: dict(v) for k, v in self.frequency.items()},
            "floor": dict(self.floor), "correction": self.correction,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Model:
        """A model from what `to_json` gave, or from the built-in file."""
        return cls(**data)


@cache
def default_model() -> Model:
    """The built-in model, used until one has been trained on the hub's own records."""
    return Model.from_json(json.loads(resources.files("patients").joinpath("model_default.json").read_text()))


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class PairScore:
    """The verdict on two records. `score` in bits; `levels` by `FIELDS`, -1 where one side is missing.

    `weights` are bits per field for M against U, with ``household`` (what the household class takes
    back) and ``prior``: they add up to `score`. `rules` are the rules that stand against an automatic link.
    """

    score: float
    levels: tuple[int, ...]
    weights: Mapping[str, float]
    rules: tuple[Rule, ...]

    @property
    def probability(self) -> float:
        """The score as a probability."""
        return probability(self.score)

    @property
    def vetoed(self) -> bool:
        """Whether a rule says that these are two people of one family."""
        return Rule.TWIN in self.rules or Rule.JUNIOR in self.rules

    @property
    def automatic(self) -> bool:
        """Whether the pair may be linked without a person looking."""
        return self.score >= AUTOMATIC_BITS and not self.rules

    @property
    def clustering(self) -> float:
        """`clustering_bits` of this pair."""
        return clustering_bits(self.score, vetoed=self.vetoed)

    @property
    def grade(self) -> Grade:
        """FHIR match-grade: certain = automatic; a pair under the twin or junior rule is at most possible."""
        if self.automatic:
            return Grade.CERTAIN
        if self.score >= PROBABLE_BITS and not self.vetoed:
            return Grade.PROBABLE
        return Grade.POSSIBLE if self.score >= POSSIBLE_BITS else Grade.CERTAINLY_NOT

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why, in words: each compared field with its level and weight, then the rules. No values."""
        out = [
            f"{name}: {lv.LEVEL_NAMES[name][level]} ({self.weights[name]:+.1f})"
            for name, level in zip(lv.FIELDS, self.levels, strict=True)
            if level >= 0
        ]
        if self.weights.get("household", 0.0) < -0.05:
            out.append(f"household ({self.weights['household']:+.1f})")
        out.append(f"prior ({self.weights['prior']:+.1f})")
        return (*out, *(f"rule: {rule}" for rule in self.rules))


def clustering_bits(score: float, *, vetoed: bool) -> float:
    """The score that counts when persons are put together, and the one that is shown of a pair: under the twin or junior
    rule it counts against, however near the two are."""
    return RULE_SCORE if vetoed else score


def probability(bits: float) -> float:
    """A score in bits as a probability."""
    if bits > 60:
        return 1.0
    odds = 2.0 ** max(bits, -1000.0)
    return float(odds / (1.0 + odds))


def best_of(level: Callable[[str, str], int], one: Sequence[str], other: Sequence[str]) -> tuple[int, str, str]:
    """The best level of two sets of values, and the two values that reach it; -1 where one set is empty."""
    if len(one) == 1 and len(other) == 1:
        return level(one[0], other[0]), one[0], other[0]
    if not one or not other:
        return lv.MISSING, "", ""
    best: tuple[int, int, str, str] | None = None
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            # Ties go to the current values, then to the alphabet: the same whichever record is named first.
            found = (-level(a, b), i + j, *((a, b) if a <= b else (b, a)))
            if best is None or found < best:
                best = found
    return (lv.MISSING, "", "") if best is None else (-best[0], best[2], best[3])


def ident_of(idents: Sequence[str], own: Sequence[str], others: Sequence[str], others_own: Sequence[str]) -> int:
    """The level of two records' identifiers; local ones (`own`) are evidence only where the other record names them."""
    if not idents and not others:
        return 2 if own and own == others_own else lv.MISSING
    if not {*idents, *own}.isdisjoint((*others, *others_own)):
        return 2
    best = lv.MISSING
    for a in idents:
        system = a.split("|")[0]
        for b in others:
            if b.split("|")[0] == system:
                best = max(best, lv.ident_level(a, b))
    return best


def is_swap(crosswise: Any, back: Any) -> Any:
    """Whether names compared crosswise say that given name and surname were swapped; for one pair or arrays of levels.

    One of the two comparisons may be missing; what is there must agree well.
    """
    near = lv.NAME_NEAR
    return ((crosswise >= near) & ((back >= near) | (back < 0))) | ((back >= near) & (crosswise < 0))


# The values behind equal or near levels, for term frequency: (value of one, value of other) by field.
Values = dict[int, tuple[str, str]]


def compare(one: Features, other: Features) -> tuple[tuple[int, ...], Values]:
    """The level of every field, and the values behind the levels whose frequency matters."""
    given, g1, g2 = best_of(lv.name_level, one.given, other.given)
    surname, s1, s2 = best_of(lv.name_level, one.surname, other.surname)
    values: Values = {}
    if given <= 1 and surname <= 1 and (given >= 0 or surname >= 0):
        crosswise, _, _ = best_of(lv.name_level, one.given, other.surname)
        back, _, _ = best_of(lv.name_level, one.surname, other.given)
        if is_swap(crosswise, back):
            given, surname = lv.GIVEN_SWAPPED, lv.MISSING
    if lv.NAME_NEAR <= given <= lv.NAME_EQUAL:
        values[GIVEN] = (g1, g2)
    if surname >= lv.NAME_NEAR:
        values[SURNAME] = (s1, s2)
    birth, b1, b2 = best_of(lv.birth_level, one.birth, other.birth)
    if birth == lv.BIRTH_EQUAL:
        values[BIRTH] = (b1, b2)
    street, _, _ = best_of(lv.street_level, one.streets, other.streets)
    place, p1, p2 = best_of(lv.place_level, one.places, other.places)
    if place >= 2:
        values[PLACE] = (p1, p2)
    phone, t1, t2 = best_of(lv.phone_level, one.phones, other.phones)
    if phone == 2:
        values[PHONE] = (t1, t2)
    email, e1, e2 = best_of(lv.email_level, one.emails, other.emails)
    if email == 3:
        values[EMAIL] = (e1, e2)
    sex = lv.MISSING if not one.sex or not other.sex else int(one.sex == other.sex)
    occupation = lv.MISSING if not one.occupation or not other.occupation else int(one.occupation == other.occupation)
    return (
        given,
        surname,
        birth,
        sex,
        street,
        place,
        phone,
        email,
        ident_of(one.idents, one.own, other.idents, other.own),
        occupation,
    ), values


def frequency_terms(record: Features) -> Iterable[tuple[str, str]]:
    """(table, value) of everything of a record whose frequency counts."""
    for name in record.given[:1]:
        yield "given", name.split(" ")[0]
    for name in record.surname[:1]:
        yield "surname", name
    for birth in record.birth[:1]:
        yield "birth", birth
    for place in record.places[:1]:
        code, town = place.split("|")
        if code:
            yield "code", code
        if town:
            yield "town", town
    for phone in record.phones[:1]:
        yield "phone", phone
    for email in record.emails[:1]:
        yield "email", email


class Scorer:
    """A model made ready: scores pairs, and persons of several records."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._m = [[log2(p) for p in model.m[name]] for name in lv.FIELDS]
        self._u = [[log2(p) for p in model.u[name]] for name in lv.FIELDS]
        self._h = [[log2(p) for p in model.h.get(name, model.u[name])] for name in lv.FIELDS]
        self.prior_m = log2(model.prior_m) + model.correction
        self.prior_h = log2(model.prior_h)
        self.prior_u = log2(max(1.0 - model.prior_m - model.prior_h, 0.5))
        self._weights = [[m - u for m, u in zip(*both, strict=True)] for both in zip(self._m, self._u, strict=True)]
        self._frequency = {
            table: {value: log2(share) for value, share in shares.items()} for table, shares in model.frequency.items()
        }
        self._floor = {table: log2(share) for table, share in model.floor.items()}
        # What an average equal value weighs: a near value of a rarer name weighs more than that.
        self._average = {
            table: self._u[index][lv.NAME_EQUAL] for table, index in (("given", GIVEN), ("surname", SURNAME))
        }

    def m_table(self, index: int) -> list[float]:
        """log2 m of a field by level; the last one, which -1 finds, is 0 for a missing value."""
        return [*self._m[index], 0.0]

    def u_table(self, index: int) -> list[float]:
        """log2 u of a field, as `m_table`."""
        return [*self._u[index], 0.0]

    def h_table(self, index: int) -> list[float]:
        """log2 of the household's distribution, as `m_table`."""
        return [*self._h[index], 0.0]

    def frequency_bits(self, index: int, level: int, one: str, other: str) -> float | None:
        """log2 of the chance that a stranger shows this level here, by how frequent the value is; None = use u."""
        if index == BIRTH:
            return self._share("birth", one)
        if index in (PHONE, EMAIL):
            return self._larger("phone" if index == PHONE else "email", one, other)
        if index == PLACE:
            (code, town), (code2, town2) = one.split("|"), other.split("|")
            return self._larger("code", code, code2) if level >= lv.PLACE_CODE else self._larger("town", town, town2)
        table = "given" if index == GIVEN else "surname"
        if index == GIVEN:
            one, other = one.split(" ")[0], other.split(" ")[0]
        share = self._larger(table, one, other)
        if share is None or level == lv.NAME_EQUAL:
            return share
        shift = (share - self._average[table]) / 2
        return self._u[index][level] + min(2.0, max(-2.0, shift))

    def _larger(self, table: str, one: str, other: str) -> float | None:
        """Of two values that are taken for one, what the more frequent counts."""
        share = self._share(table, one)
        if share is None or one == other:
            return share
        return max(share, self._share(table, other) or share)

    def _share(self, table: str, value: str) -> float | None:
        shares = self._frequency.get(table)
        if shares is None:
            return None
        return shares.get(value, self._floor[table])

    def bits(self, levels: Sequence[int], values: Values) -> tuple[list[float], list[float], float, bool]:
        """Per field log2 of m and u, the household's total, and whether the household class is on."""
        m_bits, u_bits = [0.0] * 10, [0.0] * 10
        household = 0.0
        for index, level in enumerate(levels):
            if level < 0:
                continue
            m_bits[index] = self._m[index][level]
            u = self._u[index][level]
            pair = values.get(index)
            if pair is not None:
                by_frequency = self.frequency_bits(index, level, *pair)
                if by_frequency is not None:
                    u = by_frequency
            u_bits[index] = u
            household += u if index in PERSON_FIELDS else self._h[index][level]
        return m_bits, u_bits, household, levels[PHONE] >= 0 or levels[STREET] >= 0

    def at_most(self, levels: Sequence[int], values: Values) -> float:
        """What the score of a pair so compared cannot exceed, in bits: its score were there no households."""
        total = self.prior_m - self.prior_u + _ROUNDING
        for index, level in enumerate(levels):
            if level >= 0:
                total += self._weights[index][level]
        for index, pair in values.items():
            by_frequency = self.frequency_bits(index, levels[index], *pair)
            if by_frequency is not None:
                total += self._u[index][levels[index]] - by_frequency
        return total

    def score(self, one: Features, other: Features) -> PairScore:
        """The verdict on two records. Symmetric."""
        return self.verdict(one, other, *compare(one, other))

    def verdict(self, one: Features, other: Features, levels: tuple[int, ...], values: Values) -> PairScore:
        """`score` of two records whose comparison (`compare`) is at hand."""
        m_bits, u_bits, household, household_on = self.bits(levels, values)
        weights = {name: m_bits[index] - u_bits[index] for index, name in enumerate(lv.FIELDS) if levels[index] >= 0}
        unrelated = sum(u_bits) + self.prior_u
        against = unrelated
        if household_on:
            against = _log2_sum(unrelated, household + self.prior_h)
        weights["household"] = unrelated - against
        weights["prior"] = self.prior_m - self.prior_u
        person = sum(m_bits[index] - u_bits[index] for index in EVIDENCE_FIELDS if levels[index] >= 0)
        return PairScore(
            score=sum(m_bits) + self.prior_m - against,
            levels=levels,
            weights=weights,
            rules=rules(levels, one, other, person),
        )


def _log2_sum(one: float, other: float) -> float:
    high, low = (one, other) if one >= other else (other, one)
    return high if high - low > 60 else high + log2(1.0 + 2.0 ** (low - high))


def rules(levels: Sequence[int], one: Features, other: Features, person_bits: float) -> tuple[Rule, ...]:
    """The rules that stand against an automatic link of this pair."""
    found: list[Rule] = []
    if is_twin(levels, one.multiple or other.multiple, one.order > 0 < other.order != one.order):
        found.append(Rule.TWIN)
    if is_junior(levels, years_apart(one.birth, other.birth)):
        found.append(Rule.JUNIOR)
    if not has_evidence(levels):
        found.append(Rule.EVIDENCE)
    if person_bits < PERSON_BITS:
        found.append(Rule.PERSON_WEIGHT)
    return tuple(found)


# The rules are written once for one pair (levels as integers, the answer a truth value) and for many (levels as
# arrays, the answer an array): hence & and | instead of `and` and `or`.


def is_twin(levels: Any, flagged: Any, orders_differ: Any) -> Any:
    """Whether this looks like two children of one birth: `flagged` a multiple birth, of different birth orders."""
    given, surname, birth, street, phone = (levels[index] for index in (GIVEN, SURNAME, BIRTH, STREET, PHONE))
    # A twin flag makes even near names two people (Anna and Anne), but not a nickname or a further name.
    differs = ((given >= 0) & (given <= 1)) | (flagged & (given >= 2) & (given <= lv.NAME_NEAR))
    # The first and the second born are two people, however near their names; an equal name is rather one person.
    differs = differs | (orders_differ & (given >= 0) & (given < lv.NAME_EQUAL))
    together = (street >= lv.STREET_SAME) | (phone == 2) | flagged
    near_birth = birth >= lv.BIRTH_YEAR_JANUARY
    return (levels[IDENT] != 2) & near_birth & (surname >= lv.NAME_SIMILAR) & differs & together


def is_junior(levels: Any, years: Any) -> Any:
    """Whether this looks like parent and child of one name: near names, one home, born `JUNIOR_YEARS` or more apart."""
    given, surname, birth, street, place, phone = (
        levels[index] for index in (GIVEN, SURNAME, BIRTH, STREET, PLACE, PHONE)
    )
    named = (given >= lv.NAME_SIMILAR) & (surname >= lv.NAME_SIMILAR)
    together = (street >= lv.STREET_SAME) | (phone == 2) | (place >= lv.PLACE_CODE)
    # However near the dates are otherwise: sons are born on their fathers' birthdays, and ten or thirty years are one digit.
    apart = (birth >= 0) & (years >= JUNIOR_YEARS)
    return (levels[IDENT] != 2) & named & apart & together


def has_evidence(levels: Any) -> Any:
    """Whether given name and birth date agree, or an identifier and one of the two."""
    given = levels[GIVEN] >= lv.NAME_NEAR
    birth = levels[BIRTH] >= lv.BIRTH_YEAR_JANUARY
    return (given & birth) | ((levels[IDENT] == 2) & (given | birth))


def years_apart(one: Sequence[str], other: Sequence[str]) -> int:
    """The fewest years between two sets of birth dates; 0 where one is missing."""
    return min((abs(int(a[:4]) - int(b[:4])) for a in one for b in other), default=0)


def mean_score(scores: Sequence[float], *, low: float, high: float = 12.0) -> float:
    """The mean of pair scores, each clipped: what a whole person of several records says."""
    return sum(min(high, max(low, score)) for score in scores) / len(scores)
