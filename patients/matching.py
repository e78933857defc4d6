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

from patients import levels as lv
from patients.normalise import Features

AUTOMATIC_BITS = 11.0
PROBABLE_BITS = 0.0
POSSIBLE_BITS = -7.0
PERSON_BITS = 4.0
JUNIOR_YEARS = 15
RULE_SCORE = -20.0

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
    a field absent from it uses u alone. Priors are over all pairs of the population.
    """

    version: str
    m: Mapping[str, Sequence[float]]
    u: Mapping[str, Sequence[float]]
    h: Mapping[str, Sequence[float]]  # only fields whose household distribution is their own
    prior_m: float
    prior_h: float
    frequency: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    floor: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON data for storage."""
        return {
            "version": self.version, "m": dict(self.m), "u": dict(self.u), "h": dict(self.h), "prior_m": self.prior_m,
            "prior_h": self.prior_h, "frequency": {k: dict(v) for k, v in self.frequency.items()},
            "floor": dict(self.floor),
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Model:
        """A model from what `to_json` gave, or from the built-in file."""
        return cls(**data)


@cache
def default_model() -> Model:
    """The built-in model, used until one has been trained on the hub's own records."""
    return Model.from_json(json.loads(resources.files("patients").joinpath("model_default.json").read_text()))


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
        """The score that counts when persons are put together: a pair under a rule counts against."""
        return RULE_SCORE if self.vetoed else self.score

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


def probability(bits: float) -> float:
    """A score in bits as a probability."""
    if bits > 60:
        return 1.0
    odds = 2.0 ** max(bits, -1000.0)
    return float(odds / (1.0 + odds))


def _best(level: Callable[[str, str], int], one: Sequence[str], other: Sequence[str]) -> tuple[int, str, str]:
    if len(one) == 1 and len(other) == 1:
        return level(one[0], other[0]), one[0], other[0]
    if not one or not other:
        return lv.MISSING, "", ""
    best = (lv.MISSING, "", "")
    for a in one:
        for b in other:
            found = level(a, b)
            if found > best[0]:
                best = (found, a, b)
    return best


def _ident(one: Features, other: Features) -> int:
    if not one.idents and not other.idents:
        # Local identifiers are evidence only where the other record names them too.
        return 2 if one.own and one.own == other.own else lv.MISSING
    mine, theirs = {*one.idents, *one.own}, {*other.idents, *other.own}
    if not mine.isdisjoint(theirs):
        return 2
    best = lv.MISSING
    for a in one.idents:
        system = a.split("|")[0]
        for b in other.idents:
            if b.split("|")[0] == system:
                best = max(best, lv.ident_level(a, b))
    return best


# The values behind equal or near levels, for term frequency: (value of one, value of other) by field.
Values = dict[int, tuple[str, str]]


def compare(one: Features, other: Features) -> tuple[tuple[int, ...], Values]:
    """The level of every field, and the values behind the levels whose frequency matters."""
    given, g1, g2 = _best(lv.name_level, one.given, other.given)
    surname, s1, s2 = _best(lv.name_level, one.surname, other.surname)
    values: Values = {}
    if given <= 1 and surname <= 1 and (given >= 0 or surname >= 0):
        crosswise, _, _ = _best(lv.name_level, one.given, other.surname)
        back, _, _ = _best(lv.name_level, one.surname, other.given)
        # One of the two may be missing; what is there must agree well.
        if max(crosswise, back) >= lv.NAME_NEAR and min(crosswise, back) not in (0, 1, 2):
            given, surname = lv.GIVEN_SWAPPED, lv.MISSING
    if lv.NAME_NEAR <= given <= lv.NAME_EQUAL:
        values[GIVEN] = (g1, g2)
    if surname >= lv.NAME_NEAR:
        values[SURNAME] = (s1, s2)
    birth, b1, b2 = _best(lv.birth_level, one.birth, other.birth)
    if birth == lv.BIRTH_EQUAL:
        values[BIRTH] = (b1, b2)
    street, _, _ = _best(lv.street_level, one.streets, other.streets)
    place, p1, p2 = _best(lv.place_level, one.places, other.places)
    if place >= 2:
        values[PLACE] = (p1, p2)
    phone, t1, t2 = _best(lv.phone_level, one.phones, other.phones)
    if phone == 2:
        values[PHONE] = (t1, t2)
    email, e1, e2 = _best(lv.email_level, one.emails, other.emails)
    if email == 3:
        values[EMAIL] = (e1, e2)
    sex = lv.MISSING if not one.sex or not other.sex else int(one.sex == other.sex)
    occupation = lv.MISSING if not one.occupation or not other.occupation else int(one.occupation == other.occupation)
    return (given, surname, birth, sex, street, place, phone, email, _ident(one, other), occupation), values


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
        self._prior_m = log2(model.prior_m)
        self._prior_h = log2(model.prior_h)
        self._prior_u = log2(max(1.0 - model.prior_m - model.prior_h, 0.5))
        self._frequency = {
            table: {value: log2(share) for value, share in shares.items()} for table, shares in model.frequency.items()
        }
        self._floor = {table: log2(share) for table, share in model.floor.items()}
        # What an average equal value weighs: a near value of a rarer name weighs more than that.
        self._average = {
            table: self._u[index][lv.NAME_EQUAL] for table, index in (("given", GIVEN), ("surname", SURNAME))
        }

    def frequency_bits(self, index: int, level: int, one: str, other: str) -> float | None:
        """log2 of the chance that a stranger shows this level here, by how frequent the value is; None = use u."""
        if index == BIRTH:
            return self._share("birth", one)
        if index in (PHONE, EMAIL):
            return self._share("phone" if index == PHONE else "email", one)
        if index == PLACE:
            code, town = one.split("|")
            return self._share("code", code) if level >= lv.PLACE_CODE else self._share("town", town)
        table = "given" if index == GIVEN else "surname"
        if index == GIVEN:
            one, other = one.split(" ")[0], other.split(" ")[0]
        share = self._share(table, one)
        if share is None:
            return None
        if level == lv.NAME_EQUAL:
            return share
        shared = max(share, self._share(table, other) or share)
        shift = (shared - self._average[table]) / 2
        return self._u[index][level] + min(2.0, max(-2.0, shift))

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

    def bits_between(self, one: Features, other: Features) -> float:
        """The score alone, as `score` gives it: for the many pairs of bulk, most of which come to nothing."""
        levels, values = compare(one, other)
        m_bits, u_bits, household, household_on = self.bits(levels, values)
        against = sum(u_bits) + self._prior_u
        if household_on:
            against = _log2_sum(against, household + self._prior_h)
        return sum(m_bits) + self._prior_m - against

    def score(self, one: Features, other: Features) -> PairScore:
        """The verdict on two records. Symmetric."""
        levels, values = compare(one, other)
        m_bits, u_bits, household, household_on = self.bits(levels, values)
        weights = {name: m_bits[index] - u_bits[index] for index, name in enumerate(lv.FIELDS) if levels[index] >= 0}
        unrelated = sum(u_bits) + self._prior_u
        against = unrelated
        if household_on:
            against = _log2_sum(unrelated, household + self._prior_h)
        weights["household"] = unrelated - against
        weights["prior"] = self._prior_m - self._prior_u
        person = sum(m_bits[index] - u_bits[index] for index in EVIDENCE_FIELDS if levels[index] >= 0)
        return PairScore(
            score=sum(m_bits) + self._prior_m - against,
            levels=levels,
            weights=weights,
            rules=rules(levels, one, other, person),
        )


def _log2_sum(one: float, other: float) -> float:
    high, low = (one, other) if one >= other else (other, one)
    return high if high - low > 60 else high + log2(1.0 + 2.0 ** (low - high))


def rules(levels: Sequence[int], one: Features, other: Features, person_bits: float) -> tuple[Rule, ...]:
    """The rules that stand against an automatic link of this pair."""
    given, surname, birth, _, street, place, phone, _, ident, _ = levels
    found: list[Rule] = []
    if ident != 2:
        flagged = one.multiple or other.multiple
        near_birth = birth >= lv.BIRTH_YEAR_JANUARY
        # A twin flag makes even near names two people (Anna and Anne), but not a nickname or a further name.
        differs = 0 <= given <= 1 or (flagged and 2 <= given <= lv.NAME_NEAR)
        # The first and the second born are two people, however near their names; an equal name is rather one person.
        differs = differs or (one.order > 0 < other.order != one.order and 0 <= given < lv.NAME_EQUAL)
        together = street >= lv.STREET_SAME or phone == 2 or flagged
        if near_birth and surname >= lv.NAME_SIMILAR and differs and together:
            found.append(Rule.TWIN)
        if (
            given >= lv.NAME_SIMILAR
            and surname >= lv.NAME_SIMILAR
            and 0 <= birth < lv.BIRTH_YEAR_JANUARY
            and _years_apart(one, other) >= JUNIOR_YEARS
            and (street >= lv.STREET_SAME or phone == 2 or place >= lv.PLACE_CODE)
        ):
            found.append(Rule.JUNIOR)
    given_agrees = given >= lv.NAME_NEAR
    birth_agrees = birth >= lv.BIRTH_YEAR_JANUARY
    if not ((given_agrees and birth_agrees) or (ident == 2 and (given_agrees or birth_agrees))):
        found.append(Rule.EVIDENCE)
    if person_bits < PERSON_BITS:
        found.append(Rule.PERSON_WEIGHT)
    return tuple(found)


def _years_apart(one: Features, other: Features) -> int:
    return min(
        (abs(int(a[:4]) - int(b[:4])) for a in one.birth for b in other.birth),
        default=0,
    )


def mean_score(scores: Sequence[float], *, low: float, high: float = 12.0) -> float:
    """The mean of pair scores, each clipped: what a whole person of several records says."""
    return sum(min(high, max(low, score)) for score in scores) / len(scores)
