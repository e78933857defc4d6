"""Survivorship: manual > verified > trust > newest > most frequent > longest (spec/mpi.md section 3, Survive)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hie.directory import registration
from hie.directory.models import Participant
from hie.exchange.feed import merged
from hie.standards.demographics import Address, Demographics, HumanName, Identifier, Telecom, to_json
from patients import by_hand, changes, golden, identifiers, linking, queries, store, trust
from patients.demographics import ByHand, SourceRecordView
from patients.errors import UnknownPatient, UnknownValue, UnusableDemographics
from patients.golden import golden_json, survive
from patients.models import IdentityEvent, Person, ValueByHand
from tests.patients import state
from tests.patients.conftest import participant
from tests.patients.people import demographics, record

DAYS = tuple(datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 10))
STEWARD = "Staff/ida"


def view(number: int, person: Demographics, *, day: int = 1, rank: int = 0, active: bool = True) -> SourceRecordView:
    return SourceRecordView(
        source_record_id=number, identifier_pk=number, participant_id=f"org{number}", authority=f"2.999.{number}",
        value="v", active=active, version=1, demographics=person, created_at=DAYS[0], updated_at=DAYS[day], trust=rank,
    )  # fmt: skip


def anchor(number: int, *values: ByHand) -> SourceRecordView:
    return SourceRecordView(
        source_record_id=number, identifier_pk=number, participant_id="hub", authority="2.999", value=str(number),
        active=True, version=1, demographics=Demographics(), created_at=DAYS[0], updated_at=DAYS[0], by_hand=values,
    )  # fmt: skip


def hand(field: str, person: Demographics, *, pk: int = 1, day: int = 1, seen: tuple[int, ...] = ()) -> ByHand:
    return ByHand(pk=pk, field=field, demographics=person, set_at=DAYS[day], rests_on=frozenset(seen))


def born(date: str, *reliability: str) -> Demographics:
    return demographics(birth_date=date, reliability=reliability)


texts = st.sampled_from(["", "Anna", "anna", "Änna", "-", "Berg"])
alone = st.builds(
    Demographics,
    names=st.lists(st.builds(HumanName, family=texts, given=st.lists(texts, max_size=2).map(tuple), text=texts), max_size=3).map(tuple),
    birth_date=st.sampled_from(["", "1980-01-01"]),
    gender=st.sampled_from(["", "unknown", "female"]),
    addresses=st.lists(st.builds(Address, lines=st.lists(texts, max_size=2).map(tuple), city=texts), max_size=3).map(tuple),
    telecoms=st.lists(st.builds(Telecom, value=st.sampled_from(["", "5", "+5", "a@b"]), use=texts), max_size=3).map(tuple),
    identifiers=st.lists(
        st.builds(Identifier, system=st.sampled_from(["", "urn:oid:2.999.1", "URN:OID:2.999.1", "http://x"]), value=st.sampled_from(["", "v", "w"]), type=texts),
        max_size=4,
    ).map(tuple),
    multiple_birth=st.sampled_from([None, False, True, 2, 10**30]),
    deceased=st.sampled_from([None, False, True, "2020-01-01"]),
    languages=st.sampled_from([(), ("en", "de")]),
    marital_status=st.sampled_from(["", "M"]),
    birth_place=st.sampled_from([None, Address(), Address(city="Berg")]),
    active=st.sampled_from([None, True, False]),
    reliability=st.sampled_from([(), (), (), ("VALI",)]),
    protected=st.sampled_from([(), ("VIP",)]),
    extra=st.dictionaries(st.sampled_from(["communication", "maritalStatus", "link"]), st.sampled_from([[], {"text": "Anna"}])),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(alone)
def test_a_record_alone_survives_as_among_others(person: Demographics) -> None:
    survived = golden_json(survive([view(1, person)]))
    short = golden.alone(person, to_json(person), authority="2.999.1", value="v")
    if person.reliability or person == Demographics():
        assert short is None, "what is verified, and who is nobody, is worked out"
    else:
        assert short is not None
        shown, said = short
        source = [1, DAYS[1].isoformat()]
        assert {"demographics": shown, "sources": dict.fromkeys(said, source)} == survived


LOSES = "1980-01-01"
WINS = "1980-02-02"


@pytest.mark.parametrize(
    "records",
    [
        pytest.param(
            [view(1, born(LOSES, "VALI"), day=9 - 1, rank=9), anchor(2, hand("birth_date", Demographics(birth_date=WINS)))],
            id="by-hand-outranks-verified-trusted-and-newer",
        ),
        pytest.param([view(1, born(LOSES), day=8, rank=9), view(2, born(WINS, "VALI"))], id="verified-outranks-trust"),
        pytest.param([view(1, born(LOSES), day=8), view(2, born(WINS), rank=1)], id="trust-outranks-newer"),
        pytest.param([view(1, born(LOSES)), view(2, born(WINS), day=2)], id="newer-outranks-older"),
        pytest.param([view(1, born(LOSES, "UD"), day=8, rank=9), view(2, born(WINS))], id="a-default-counts-below-all"),
        pytest.param([view(1, born(LOSES, "unknown"), day=8), view(2, born(WINS))], id="nobody-known-counts-below-all"),
        pytest.param([view(1, born(LOSES, "VALI", "DOUT"), day=8), view(2, born(WINS))], id="doubt-outweighs-validated"),
        pytest.param([view(1, born(WINS, "UD"))], id="a-default-is-better-than-nothing"),
        pytest.param([view(1, born(LOSES, "UA")), view(2, born(WINS, "UA"), day=3)], id="a-default-address-says-no-date"),
        pytest.param(
            [view(1, born(LOSES)), view(2, born(WINS)), view(3, born(WINS))], id="of-one-instant-the-most-frequent"
        ),
        pytest.param([view(1, born("1980")), view(2, born(WINS))], id="of-one-instant-the-longest"),
        pytest.param([view(1, born(LOSES), day=8, active=False), view(2, born(WINS))], id="removed-counts-below-all"),
    ],
)  # fmt: skip
def test_a_field_is_the_value_of_the_highest_grade(records: list[SourceRecordView]) -> None:
    golden = survive(records)
    assert golden.demographics.birth_date == WINS
    assert survive(records[::-1]) == golden


def test_each_value_carries_its_record_date_and_grade() -> None:
    records = [
        view(1, born(LOSES, "VALI"), day=3),
        view(2, demographics(gender="", mothers_maiden_name="Okafor"), day=5),
        anchor(3, hand("gender", Demographics(gender="other"), day=7)),
    ]
    sources = golden_json(survive(records))["sources"]
    assert sources["birth_date"] == [1, DAYS[3].isoformat(), "verified"]
    assert sources["mothers_maiden_name"] == [2, DAYS[5].isoformat()]
    assert sources["gender"] == [3, DAYS[7].isoformat(), "manual"]
    assert sources["telecoms"] == [2, DAYS[5].isoformat()]


def test_a_name_set_by_hand_comes_first_and_the_others_stay() -> None:
    set_name = hand("names", Demographics(names=(HumanName(family="Okafor", given=("Maria",)),)))
    golden = survive([view(1, demographics(), rank=9, day=8), anchor(2, set_name)]).demographics
    assert [name.family for name in golden.names] == ["Okafor", "Smithson"]


def test_of_records_of_one_instant_the_most_frequent_name_comes_first() -> None:
    records = [view(1, demographics("Marja")), view(2, demographics("Maria")), view(3, demographics("Maria"))]
    assert survive(records).demographics.names[0].given == ("Maria",)


def test_verified_speaks_of_the_person_and_not_of_the_address() -> None:
    records = [
        view(1, demographics("Marja", line="1 Old St", reliability=("VALI",))),
        view(2, demographics("Maria", line="2 New St"), day=2),
    ]
    golden = survive(records).demographics
    assert golden.names[0].given == ("Marja",)
    assert golden.addresses[0].lines == ("2 New St",)


def test_unknown_sex_set_by_hand_stays_and_said_by_a_record_gives_way() -> None:
    records = [view(1, demographics()), view(2, demographics(gender="unknown"), day=4)]
    golden = survive(records)
    assert golden.demographics.gender == "female"
    assert golden.sources["gender"].source_record_id == 1
    set_sex = anchor(3, hand("gender", Demographics(gender="unknown")))
    assert survive([*records, set_sex]).demographics.gender == "unknown"


_codes = st.lists(st.sampled_from(["VALI", "UD", "AL", "UA", "unknown", "PROV"]), max_size=2, unique=True).map(tuple)
_values = st.sampled_from(["1980", "1980-01", "1980-02", "1981-03-04"])
_said = st.builds(
    demographics,
    given=st.sampled_from(["Maria", "Marja", ("Maria", "Ann")]),
    birth_date=st.one_of(st.just(""), _values),
    gender=st.sampled_from(["", "unknown", "female", "male"]),
    phone=st.sampled_from(["", "555-201-3344", "(555) 201 3344", "555-777-9999"]),
    deceased=st.sampled_from([None, False, True, "2025-01-01", "2025-02"]),
    languages=st.sampled_from([(), ("en",), ("fr", "en")]),
    marital_status=st.sampled_from(["", "M", "S"]),
    reliability=_codes,
)
_hands = st.one_of(
    _values.map(lambda date: hand("birth_date", Demographics(birth_date=date))),
    st.sampled_from(["555-1", "555-2"]).map(lambda n: hand("telecoms", Demographics(telecoms=(Telecom(value=n),)))),
    st.sampled_from([True, False, "2024-05-05"]).map(lambda said: hand("deceased", Demographics(deceased=said))),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    said=st.lists(st.tuples(_said, st.integers(0, 2), st.integers(-1, 1), st.booleans()), max_size=5),
    hands=st.lists(st.tuples(_hands, st.integers(0, 2)), max_size=3),
    seed=st.integers(0, 1000),
)
def test_the_same_inputs_in_any_order_give_the_same_golden_record(
    said: list[tuple[Demographics, int, int, bool]], hands: list[tuple[ByHand, int]], seed: int
) -> None:
    records = [view(n, one, day=day, rank=rank, active=on) for n, (one, day, rank, on) in enumerate(said, start=1)]
    records += [anchor(100 + n, replace(one, pk=n, set_at=DAYS[day])) for n, (one, day) in enumerate(hands)]
    first = survive(records)
    random.Random(seed).shuffle(records)
    assert golden_json(survive(records)) == golden_json(first)
    for one, _ in hands:
        # Set by hand it is, or, where by hand somebody is dead without a date, as a record dates the death.
        assert first.sources[one.field].grade == "manual" or isinstance(first.demographics.deceased, str)


def test_a_message_that_says_something_anew_takes_back_that_it_was_a_default() -> None:
    old = demographics(birth_date="1900-01-01", reliability=("UD", "UA", "unknown"))
    date = merged(old, Demographics(birth_date="1980-03-14"), frozenset())
    assert date.reliability == ("UA",)
    assert merged(old, Demographics(marital_status="M"), frozenset()).reliability == old.reliability
    assert merged(old, Demographics(reliability=("AL",)), frozenset()).reliability == ("AL",)
    assert merged(old, Demographics(), frozenset({"reliability"})).reliability == ()
    assert merged(old, Demographics(), frozenset({"addresses"})).reliability == ("UD", "unknown")


# --- values set by hand, in the index --------------------------------------------------------------------------------


def golden_of(person_id: UUID) -> dict[str, Any]:
    return dict(Person.objects.get(pk=person_id).golden)


def set_date(person_id: UUID, date: str) -> UUID:
    return by_hand.set_value(person_id, "birth_date", Demographics(birth_date=date), actor=STEWARD, reason="Passport")


@pytest.mark.django_db
def test_a_value_set_by_hand_holds_until_it_is_withdrawn_and_each_step_can_be_undone() -> None:
    person = linking.feed(record("A1")).person_id
    before = state.dump()
    first = set_date(person, "1980-03-15")
    assert golden_of(person)["demographics"]["birth_date"] == "1980-03-15"
    linking.feed(record("A1", demographics(birth_date="1980-03-16")))
    assert golden_of(person)["demographics"]["birth_date"] == "1980-03-15"
    linking.feed(record("A1"))
    second = set_date(person, "1980-03-17")
    assert [row.value for row in by_hand.holding(person)] == [{"birth_date": "1980-03-17"}]
    held = state.dump()
    withdrawn = by_hand.withdraw(by_hand.holding(person)[0].pk, actor=STEWARD, reason="Mistyped")
    assert golden_of(person)["demographics"]["birth_date"] == "1980-03-14"
    assert by_hand.holding(person) == []
    changes.undo(withdrawn, actor=STEWARD, reason="It was right")
    assert state.dump() == held
    undone = changes.undo(second, actor=STEWARD, reason="The first was right")
    assert golden_of(person)["demographics"]["birth_date"] == "1980-03-15"
    changes.undo(first, actor=STEWARD, reason="None was right")
    assert golden_of(person)["demographics"]["birth_date"] == "1980-03-14"
    changes.undo(undone, actor=STEWARD, reason="The second was right after all")
    assert golden_of(person)["demographics"]["birth_date"] == "1980-03-17"
    assert "manual" in golden_of(person)["sources"]["birth_date"]
    assert before != held


@pytest.mark.django_db
def test_merge_then_unmerge_restores_both_golden_records_with_their_values_by_hand() -> None:
    one = linking.feed(record("A1")).person_id
    two = linking.feed(
        record("B1", demographics("Nora", "Okafor", "1955-06-07", phone="", line=""), org="hospital")
    ).person_id
    set_date(one, "1980-03-15")
    by_hand.set_value(two, "gender", Demographics(gender="other"), actor=STEWARD, reason="Asked her")
    before = state.dump()
    for survivor, subsumed in ((one, two), (two, one)):
        merged = changes.merge(survivor, subsumed, actor=STEWARD, reason="Same passport")
        found = golden_of(survivor)["demographics"]
        assert (found["birth_date"], found["gender"]) == ("1980-03-15", "other")
        changes.unmerge(merged, actor=STEWARD, reason="Sisters")
        assert state.dump() == before


@pytest.mark.django_db
def test_what_is_set_while_two_are_merged_stays_with_the_person_it_was_said_of() -> None:
    one = linking.feed(record("A1")).person_id
    two = linking.feed(
        record("B1", demographics("Nora", "Okafor", "1955-06-07", phone="", line=""), org="hospital")
    ).person_id
    identifiers.anchor(two)
    merged = changes.merge(one, two, actor=STEWARD, reason="Same passport")
    set_date(one, "1980-03-15")
    changes.unmerge(merged, actor=STEWARD, reason="Sisters")
    assert golden_of(one)["demographics"]["birth_date"] == "1980-03-15"
    assert golden_of(two)["demographics"]["birth_date"] == "1955-06-07"


@pytest.mark.django_db
def test_what_cannot_be_set_by_hand_is_refused_and_leaves_nothing() -> None:
    person = linking.feed(record("A1")).person_id
    before = state.dump()
    with pytest.raises(UnusableDemographics):
        by_hand.set_value(person, "identifiers", demographics(national_id="1"), actor=STEWARD, reason="x")
    with pytest.raises(UnusableDemographics):
        by_hand.set_value(person, "birth_date", Demographics(gender="male"), actor=STEWARD, reason="x")
    with pytest.raises(UnusableDemographics):
        by_hand.set_value(person, "occupation", Demographics(occupation="a\x00b"), actor=STEWARD, reason="x")
    with pytest.raises(UnknownPatient):
        set_date(UUID(int=1), "1980-03-15")
    with pytest.raises(UnknownValue):
        by_hand.withdraw(1, actor=STEWARD, reason="x")
    assert state.dump() == before
    assert not ValueByHand.objects.exists()


@pytest.mark.django_db
def test_a_change_by_hand_is_no_record_to_match_and_names_the_field_only() -> None:
    person = linking.feed(record("A1")).person_id
    set_date(person, "1931-01-02")
    assert (
        queries.candidates(demographics(birth_date="1931-01-02", given="Zoe", family="Quill", phone="", line="")) == []
    )
    for event in IdentityEvent.objects.filter(person=person):
        assert "1931" not in str(event.detail)


def test_a_value_by_hand_is_shown_only_with_every_record_it_rests_on() -> None:
    records = [view(1, demographics()), view(2, demographics())]
    said = anchor(3, hand("birth_date", Demographics(birth_date=WINS), seen=(1, 2)))
    about = [*records, said]
    assert queries.golden(records, about=about).birth_date == WINS
    assert queries.golden(records[:1], about=about).birth_date == "1980-03-14"
    assert queries.golden(about).birth_date == "1980-03-14", "an anchor among the records themselves says nothing"
    later = view(4, demographics(birth_date="1999-09-09"), day=8)
    assert queries.golden(records, about=[*about, later]).birth_date == WINS, (
        "a hidden record that came later changes nothing"
    )


# --- trust in sources, in the index ----------------------------------------------------------------------------------


@pytest.fixture
def two_sources(db: None) -> UUID:
    """One person known to the clinic and, newer, to a ward of the hospital; their dates of birth differ by a day."""
    ward = participant("ward", "2.999.3", part_of="hospital")
    registration.apply({"participants": [participant("clinic", "2.999.1"), participant("hospital", "2.999.2"), ward]})
    person = linking.feed(record("A1", demographics(national_id="123-45-6789"))).person_id
    other = linking.feed(
        record("W1", demographics(birth_date="1980-03-15", national_id="123-45-6789"), org="ward", authority="2.999.3")
    )
    assert other.person_id == person
    return person


def date_of(person_id: UUID) -> str:
    return str(golden_of(person_id)["demographics"]["birth_date"])


def test_a_change_of_trust_reaches_stored_golden_records(two_sources: UUID) -> None:
    assert date_of(two_sources) == "1980-03-15"
    assert trust.settle() == 0
    registration.trust("clinic", 5, "ida")
    assert trust.settle() == 1
    assert date_of(two_sources) == "1980-03-14"
    registration.trust("hospital", 6, "ida")
    assert trust.settle() == 1
    assert date_of(two_sources) == "1980-03-15", "a ward is trusted as its hospital is"
    registration.trust("ward", -1, "ida")
    linking.feed(record("A1", demographics(national_id="123-45-6789", marital_status="M")))
    assert date_of(two_sources) == "1980-03-14", "a feed counts by today's trust before any sweep"
    assert trust.settle() == 1
    assert trust.settle() == 0


def test_a_sweep_goes_on_where_it_stopped_and_begins_anew_when_trust_changes_under_way(
    two_sources: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "PORTION", 1)
    linking.feed(record("A2", demographics("Nora", "Okafor", "1955-06-07", phone="", line="")))
    registration.trust("clinic", 5, "ida")
    assert trust.settle(portions=1) == 1
    assert trust.settle() == 1
    registration.trust("clinic", 6, "ida")
    assert trust.settle(portions=1) == 1
    registration.trust("hospital", 9, "ida")
    assert trust.settle() == 2
    assert date_of(two_sources) == "1980-03-15"


def test_trust_costs_a_feed_no_statement(two_sources: UUID, django_assert_num_queries: Callable[..., Any]) -> None:
    registration.trust("clinic", 5, "ida")
    store.views([two_sources])  # what a process learns once after a change
    with django_assert_num_queries(1):
        assert {r.trust for r in store.views([two_sources])[two_sources]} == {0, 5}


def test_a_repeated_registration_leaves_the_trust_that_an_administrator_set(two_sources: UUID) -> None:
    registration.trust("clinic", 5, "ida")
    registration.apply({"participants": [participant("clinic", "2.999.1")]})
    assert Participant.objects.get(pk="clinic").source_trust == 5
    registration.apply({"participants": [participant("clinic", "2.999.1", source_trust=-7)]})
    assert Participant.objects.get(pk="clinic").source_trust == -7
    for wrong in (101, -101, True, "5", 1.5):
        with pytest.raises(registration.RegistrationRefused, match="source_trust"):
            registration.apply({"participants": [participant("clinic", "2.999.1", source_trust=wrong)]})
