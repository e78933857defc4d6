"""Two records are one person, or not, for a reason that is shown (spec/mpi.md 3)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hie.standards.demographics import Demographics
from patients import levels as lv
from patients.deciding import is_overlay
from patients.matching import Grade, Model, PairScore, Rule, Scorer, compare, default_model
from patients.normalise import Features, features
from tests.patients.people import demographics

SCORER = Scorer(default_model())
MARIA = demographics()
ELSEWHERE = {"phone": "555-777-8888", "line": "9 Oak Av", "city": "York", "postal_code": "10001"}
JOHN = demographics("John", gender="male", birth_date="1950-03-14")


def score(one: Demographics, other: Demographics) -> PairScore:
    return SCORER.score(features(one), features(other))


@pytest.mark.parametrize(
    ("one", "other", "reasons"),
    [
        pytest.param(MARIA, MARIA, ["given: equal", "birth: equal", "phone: equal"], id="same-in-everything"),
        pytest.param(MARIA, demographics(family="Okafor"), ["surname: different", "birth: equal"], id="married-name"),
        pytest.param(
            MARIA, demographics(birth_date="1980-03-15"), ["birth: one digit differs"], id="one-digit-of-the-birth-date"
        ),
        pytest.param(
            MARIA,
            demographics("Smithson", "Maria"),
            ["given: given name and surname swapped", "birth: equal"],
            id="names-swapped",
        ),
        pytest.param(
            MARIA,
            demographics(birth_date="1980-03-14", line="", city="", postal_code=""),
            ["phone: equal"],
            id="no-address",
        ),
        pytest.param(demographics("William", gender="male"), demographics("Bill", gender="male"),
                     ["given: a name in common"], id="nickname"),
        pytest.param(demographics(family="Müller"), demographics(family="Muller"),
                     ["surname: a name in common"], id="umlaut"),
        pytest.param(demographics("Елена"), demographics("Elena"), ["given: equal"], id="cyrillic"),
        pytest.param(MARIA, demographics(("Maria", "Helen")), ["given: first name equal"], id="further-given-name"),
        pytest.param(demographics(national_id="219-09-4471"),
                     demographics(phone="", line="", city="", postal_code="", national_id="219094471"),
                     ["ident: equal"], id="shared-identifier-alone"),
    ],
)  # fmt: skip
def test_one_person_is_linked_automatically(one: Demographics, other: Demographics, reasons: list[str]) -> None:
    verdict = score(one, other)
    assert verdict.automatic, verdict.reasons
    assert verdict.grade is Grade.CERTAIN
    for reason in reasons:
        assert any(found.startswith(reason) for found in verdict.reasons), verdict.reasons


@pytest.mark.parametrize(
    ("one", "other", "rule"),
    [
        pytest.param(MARIA, demographics("Helen"), Rule.TWIN, id="twin"),
        pytest.param(MARIA, demographics("Robert", gender="male"), Rule.TWIN, id="twin-brother"),
        pytest.param(
            demographics("Kayla", multiple_birth=True), demographics("Kayli", multiple_birth=True), Rule.TWIN,
            id="twin-by-flag-with-near-names",
        ),
        pytest.param(
            demographics("Anna", multiple_birth=1), demographics("Anne", multiple_birth=2), Rule.TWIN,
            id="first-and-second-born",
        ),
        pytest.param(
            demographics(multiple_birth=True, line="1 Oak Rd", phone=""), demographics("Helen", phone=""), Rule.TWIN,
            id="twin-by-flag-at-another-address",
        ),
        pytest.param(
            JOHN, demographics("John", gender="male", birth_date="1980-06-21"), Rule.JUNIOR, id="junior",
        ),
        pytest.param(
            JOHN, demographics("Jon", gender="male", birth_date="1980-06-21", phone=""), Rule.JUNIOR, id="junior-near-name",
        ),
        pytest.param(
            demographics("John", gender="male", birth_date="1950-02-11"),
            demographics("John", gender="male", birth_date="1979-02-11"), Rule.JUNIOR, id="junior-on-the-same-birthday",
        ),
        pytest.param(
            demographics("John", gender="male", birth_date="1950-02-11"),
            demographics("John", gender="male", birth_date="1980-02-11"), Rule.JUNIOR, id="junior-by-one-digit",
        ),
        pytest.param(MARIA, demographics(birth_date=""), Rule.EVIDENCE, id="no-birth-date"),
        pytest.param(MARIA, demographics(given="unknown"), Rule.EVIDENCE, id="no-given-name"),
    ],
)  # fmt: skip
def test_a_rule_keeps_two_people_apart(one: Demographics, other: Demographics, rule: Rule) -> None:
    verdict = score(one, other)
    assert rule in verdict.rules, verdict.reasons
    assert f"rule: {rule}" in verdict.reasons
    assert not verdict.automatic
    if rule in (Rule.TWIN, Rule.JUNIOR):
        assert verdict.vetoed
        assert verdict.clustering == -20


def test_an_equal_identifier_outranks_the_twin_rule() -> None:
    verdict = score(demographics(national_id="219094471"), demographics("Helen", national_id="219094471"))
    assert not verdict.vetoed


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(
            demographics(
                birth_date="1961-11-02", phone="555-888-1111", line="9 Oak Av", postal_code="10001", city="York"
            ),
            id="same-name-elsewhere",
        ),
        pytest.param(demographics("Maria", "Garcia", "1981-07-02", phone="", line=""), id="same-given-name-same-town"),
        pytest.param(demographics("Robert", birth_date="1977-01-20", gender="male"), id="husband"),
        pytest.param(demographics("Ella", birth_date="2010-05-05"), id="daughter"),
    ],
)
def test_strangers_and_family_are_not_probable(other: Demographics) -> None:
    verdict = score(MARIA, other)
    assert verdict.grade in (Grade.POSSIBLE, Grade.CERTAINLY_NOT), verdict.reasons
    assert verdict.score < 0


def test_weights_add_up_to_the_score() -> None:
    verdict = score(MARIA, demographics("Mariah", birth_date="1980-01-01"))
    assert sum(verdict.weights.values()) == pytest.approx(verdict.score)


def test_reasons_name_fields_and_levels_but_no_values() -> None:
    text = " ".join(score(MARIA, MARIA).reasons).lower()
    assert not any(word in text for word in ("maria", "smithson", "1980", "2013344", "main", "springfield"))


def test_a_rarer_name_weighs_more() -> None:
    common = default_model().to_json() | {
        "frequency": {"surname": {"smithson": 0.05}},
        "floor": {"surname": 0.0001},
    }
    scorer = Scorer(Model.from_json(common))
    frequent = scorer.score(features(MARIA), features(MARIA))
    rare = scorer.score(features(demographics(family="Okafor")), features(demographics(family="Okafor")))
    assert rare.weights["surname"] - frequent.weights["surname"] == pytest.approx(8.97, abs=0.01)


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        ("19800314", "19800314", 7), ("19800403", "19800304", 6), ("19800314", "19800315", 5),
        ("19800314", "19800331", 4), ("19800314", "19800101", 3), ("19800314", "19800000", 3),
        ("19800314", "19801127", 2), ("19800314", "19811127", 1), ("19800314", "19551127", 0),
        ("19800314", "19808314", 5), ("19800314", "19800341", 5),
    ],
)  # fmt: skip
def test_birth_date_levels(one: str, other: str, level: int) -> None:
    assert lv.birth_level(one, other) == lv.birth_level(other, one) == level


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        ("12|main street", "12|main street", 4), ("12|main street", "12|maine street", 4),
        ("12|main street", "13|main street", 3), ("12|main street", "470|main street", 2),
        ("12|main street", "12|oak road", 1), ("12|main street", "47|oak road", 0), ("|main street", "9|main street", 2),
    ],
)  # fmt: skip
def test_street_levels(one: str, other: str, level: int) -> None:
    assert lv.street_level(one, other) == lv.street_level(other, one) == level


def test_a_local_identifier_is_evidence_only_where_the_other_names_it() -> None:
    mine = features(MARIA, own=("2.999.1", "A-100"))
    assert compare(mine, features(MARIA, own=("2.999.1", "A-200")))[0][8] == lv.MISSING
    theirs = features(demographics(), own=("2.999.2", "B-1"))
    referring = Features.from_json(theirs.to_json() | {"idents": ["2.999.1|A100"]})
    assert compare(mine, referring)[0][8] == 2


@pytest.mark.parametrize(
    ("revised", "expected"),
    [
        pytest.param(demographics(family="Okafor"), False, id="marriage"),
        pytest.param(demographics(birth_date="1985-10-20"), False, id="corrected-birth-date"),
        pytest.param(demographics("Mary"), False, id="corrected-given-name"),
        pytest.param(demographics(gender="male"), False, id="corrected-sex"),
        pytest.param(
            demographics(line="9 Oak Av", city="York", postal_code="10001", phone="555-777-8888"), False, id="moved"
        ),
        pytest.param(demographics("Robert", "Okafor", "1955-07-30", "male"), True, id="another-person"),
        pytest.param(demographics("Robert", "Smithson", "1955-07-30", "male"), True, id="husband"),
        pytest.param(demographics("Robert", "Okafor", "1980-03-14", "male"), True, id="names-and-sex"),
        pytest.param(
            demographics("Maria", "Okafor", "1955-07-30"), False, id="marriage-and-a-corrected-birth-date-at-home"
        ),
        pytest.param(demographics("Maria", "Okafor", "1955-07-30", **ELSEWHERE), True, id="a-namesake-elsewhere"),
        pytest.param(demographics("Helen", "Okafor", "1961-03-14", **ELSEWHERE), True, id="another-of-one-birthday"),
        pytest.param(demographics("Maria", "Okafor", **ELSEWHERE), False, id="marriage-and-a-move"),
    ],
)
def test_an_overlay_differs_in_several_person_specific_fields(revised: Demographics, expected: bool) -> None:
    assert is_overlay(SCORER, features(MARIA), features(revised)) is expected


@pytest.mark.parametrize(
    ("former", "revised", "expected"),
    [("", "987-65-4320", True), ("123-45-6789", "", True), ("123-45-6788", "987-65-4320", True),
     ("987-65-4320", "987-65-4320", False)],
)  # fmt: skip
def test_the_number_under_which_a_revision_comes_is_no_evidence_that_it_is_of_the_same_person(
    former: str, revised: str, expected: bool
) -> None:
    own = ("2.999.1", "A-100")
    one = features(demographics(national_id=former), own=own)
    for other in (
        demographics("Robert", "Okafor", "1955-07-30", "male", national_id=revised),
        demographics("Maria", "Okafor", "1955-07-30", national_id=revised, **ELSEWHERE),
    ):
        assert is_overlay(SCORER, one, features(other, own=own)) is expected


names = st.sampled_from(["maria", "marie", "mary ann", "anna", "john", "jon smith", "li", ""])
records = st.builds(
    demographics,
    given=names,
    family=names,
    birth_date=st.sampled_from(["1980-03-14", "1980-01-01", "1955-12-30", "1980", ""]),
    gender=st.sampled_from(["male", "female", "unknown", ""]),
    phone=st.sampled_from(["555-201-3344", "555-201-3345", ""]),
    line=st.sampled_from(["12 Main St", "13 Main Street", "Oak Rd", ""]),
    national_id=st.sampled_from(["219094471", "219094472", ""]),
)


@settings(max_examples=150, deadline=None)
@given(records, records)
def test_the_score_is_the_same_both_ways(one: Demographics, other: Demographics) -> None:
    there, back = score(one, other), score(other, one)
    assert there.score == pytest.approx(back.score)
    assert there.levels == back.levels
    assert there.rules == back.rules


@settings(max_examples=150, deadline=None)
@given(records)
def test_features_survive_storage(one: Demographics) -> None:
    found = features(one, own=("2.999.1", "x-1"))
    assert Features.from_json(found.to_json()) == found


def test_swapped_names_are_evidence_but_less_than_equal_ones() -> None:
    plain = score(MARIA, demographics(**ELSEWHERE))
    swapped = score(MARIA, demographics("Smithson", "Maria", **ELSEWHERE))
    other = score(MARIA, demographics("Helen", "Okafor", **ELSEWHERE))
    assert other.weights["given"] + other.weights["surname"] < 0 < swapped.weights["given"]
    assert swapped.score < plain.score
