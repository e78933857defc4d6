"""A feed finds its person; repeats, races and overlays do no harm (spec/mpi.md 3)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, connections

from hie.standards.demographics import Demographics, HumanName, Identifier
from patients import identifiers, linking, queries, reviewing
from patients.demographics import FeedResult, IdentifierMatch, PatientQuery, RecordFeed, StringMatch
from patients.errors import IdentifierNotOwned, MissingIdentifier, UnusableDemographics
from patients.models import BlockingKey, IdentityEvent, Link, Person, ReviewItem, SourceRecord, SourceRecordVersion
from patients.reviewing import Verdict
from patients.search import search
from tests.patients.people import demographics, record

pytestmark = pytest.mark.django_db


def test_the_first_record_makes_a_person() -> None:
    result = linking.feed(record("A1"))
    assert (result.outcome, result.created, result.version, result.score) == ("new", True, 1, None)
    found = identifiers.resolve("urn:oid:2.999.1", "A1")
    assert found is not None
    assert (found.person_id, found.pk, found.participant_id, found.active) == (
        result.person_id,
        result.identifier_pk,
        "clinic",
        True,
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"family": "Okafor"}, "surname: different", id="married-name"),
        pytest.param({"birth_date": "1980-03-15"}, "birth: one digit differs", id="one-digit"),
        pytest.param({"given": "Smithson", "family": "Maria"}, "given: given name and surname swapped", id="swapped"),
    ],
)
def test_a_changed_record_of_one_person_is_linked_and_says_why(changes: dict[str, str], reason: str) -> None:
    first = linking.feed(record("A1"))
    second = linking.feed(record("B1", demographics(**changes), org="hospital"))
    assert (second.outcome, second.person_id) == ("linked", first.person_id)
    assert reason in second.reason
    link = Link.objects.get(source_record=second.source_record_id)
    assert (link.kind, link.model_version) == ("auto", "default-1")
    assert link.score is not None
    assert link.score == pytest.approx(sum(link.weights.values()))
    assert reason in link.reason


@pytest.mark.parametrize(
    ("first", "second", "rule"),
    [
        pytest.param({}, {"given": "Helen"}, "twin", id="twins"),
        pytest.param(
            {"given": "John", "gender": "male", "birth_date": "1950-03-14"},
            {"given": "John", "gender": "male", "birth_date": "1980-06-21"},
            "junior",
            id="father-and-son",
        ),
    ],
)
def test_twins_and_juniors_are_kept_apart_and_reviewed(
    first: dict[str, str], second: dict[str, str], rule: str
) -> None:
    one = linking.feed(record("A1", demographics(**first)))
    two = linking.feed(record("B1", demographics(**second), org="hospital"))
    assert two.person_id != one.person_id
    assert two.outcome == "review"
    assert f"rule: {rule}" in two.reason
    item = ReviewItem.objects.get()
    assert (item.kind, item.person_id, item.candidate_id) == ("possible-match", two.person_id, one.person_id)
    assert f"rule: {rule}" in item.reason


def test_a_stranger_of_the_same_name_is_a_new_person() -> None:
    one = linking.feed(record("A1"))
    stranger = demographics(
        birth_date="1961-11-02", phone="555-888-1111", line="9 Oak Av", postal_code="10001", city="York"
    )
    two = linking.feed(record("B1", stranger, org="hospital"))
    assert (two.outcome, two.person_id == one.person_id) == ("new", False)


def test_the_same_message_again_changes_nothing() -> None:
    first = linking.feed(record("A1"))
    before = _counts()
    again = linking.feed(record("A1"))
    assert (again.outcome, again.created, again.version, again.person_id) == ("unchanged", False, 1, first.person_id)
    assert _counts() == before


def test_a_revision_makes_a_version_and_replaces_the_keys() -> None:
    linking.feed(record("A1"))
    revised = linking.feed(record("A1", demographics(family="Okafor")))
    assert (revised.outcome, revised.version, revised.created) == ("updated", 2, False)
    assert SourceRecordVersion.objects.count() == 2
    view = queries.source_record("2.999.1", "A1")
    assert view is not None
    assert view.demographics.names[0].family == "Okafor"
    assert queries.candidates(demographics(family="Okafor"))[0].person_id == revised.person_id


def test_a_revision_that_fits_another_person_joins_it() -> None:
    known = linking.feed(record("A1"))
    vague = demographics("Baby Girl", birth_date="", phone="", line="", city="", postal_code="")
    alone = linking.feed(record("B1", vague, org="hospital"))
    assert alone.person_id != known.person_id
    anchor = identifiers.anchor(alone.person_id)
    named = linking.feed(record("B1", demographics(), org="hospital"))
    assert (named.outcome, named.person_id) == ("linked", known.person_id)
    assert identifiers.survivor(alone.person_id) == known.person_id
    assert identifiers.person_of_pk(anchor.pk) == known.person_id


@pytest.mark.parametrize("national_id", ["", "987-65-4320"])
def test_an_overlay_is_kept_aside(national_id: str) -> None:
    first = linking.feed(record("A1"))
    other = demographics(
        "Robert", "Okafor", "1955-07-30", "male", phone="555-111-7777", line="9 Oak Av", national_id=national_id
    )
    result = linking.feed(record("A1", other))
    assert (result.outcome, result.version, result.person_id) == ("quarantined", 1, first.person_id)
    view = queries.source_record("2.999.1", "A1")
    assert view is not None
    assert view.demographics == demographics()
    item = ReviewItem.objects.get()
    assert item.kind == "overlay"
    assert item.weights.get("ident", 0.0) <= 0, "the number under which both came is no evidence"
    assert IdentityEvent.objects.filter(kind="overlay-suspected").count() == 1
    before = _counts()
    assert linking.feed(record("A1", other)).outcome == "quarantined"
    assert _counts() == before
    assert linking.feed(record("A1")).outcome == "unchanged"


def test_a_change_of_the_golden_record_is_an_event_that_names_fields_only() -> None:
    linking.feed(record("A1"))
    assert not IdentityEvent.objects.filter(kind="survivorship-changed").exists()
    linking.feed(record("B1", demographics(phone="555-201-9999", birth_date="1980-03-15"), org="hospital"))
    event = IdentityEvent.objects.get(kind="survivorship-changed")
    assert event.detail == {"fields": ["birth_date", "identifiers", "telecoms"]}


def test_a_removed_record_leaves_the_search_and_comes_back_when_fed_again() -> None:
    first = linking.feed(record("A1"))
    found = identifiers.resolve("2.999.1", "A1")
    assert found is not None
    event = linking.remove(found, actor="x")
    assert linking.remove(found, actor="x") == event
    assert queries.candidates(demographics()) == []
    gone = identifiers.resolve("2.999.1", "A1")
    assert gone is not None
    assert (gone.active, gone.person_id) == (False, first.person_id)
    back = linking.feed(record("A1"))
    assert (back.outcome, back.person_id, back.version) == ("updated", first.person_id, 2)
    assert queries.candidates(demographics())[0].person_id == first.person_id


def test_an_identifier_of_another_organization_is_refused() -> None:
    linking.feed(record("A1"))
    with pytest.raises(IdentifierNotOwned):
        linking.feed(record("A1", org="hospital", authority="2.999.1"))
    with pytest.raises(MissingIdentifier):
        linking.feed(record(" "))


@pytest.mark.parametrize(
    "feed",
    [
        record("A\x001"),
        record("A" * 3000),
        record("A1", demographics("Ma\x00ria")),
        record("A1", demographics("Ma\ud800ria")),
        record("A1", demographics(extra={"x": float("nan")})),
    ],
    ids=["nul", "long", "nul-in-a-name", "half-a-character", "not-a-number"],
)
def test_what_cannot_be_stored_is_refused(feed: RecordFeed) -> None:
    with pytest.raises(UnusableDemographics):
        linking.feed(feed)
    assert identifiers.resolve("2.999.1", feed.value) is None
    nul = (StringMatch(values=("\x00",)),)
    asked = (IdentifierMatch(value="\x00"),)
    assert search(PatientQuery(telecom=nul, family=nul, identifiers=(asked,), genders=("\x00",))) == []
    assert queries.candidates(demographics("Ma\x00ria", "\ud800")) == []


def test_a_manual_verdict_outlasts_a_revision() -> None:
    one = linking.feed(record("A1"))
    two = linking.feed(record("B1", org="hospital"))
    linking.unlink(two.source_record_id, actor="steward", reason="two people")
    apart = linking.feed(record("B1", demographics(phone="555-201-9999"), org="hospital"))
    assert apart.person_id not in (one.person_id, None)


def test_a_feed_and_a_search_cost_a_constant_number_of_statements(
    django_assert_num_queries: Callable[..., Any],
) -> None:
    linking.feed(record("A0"))
    for n in range(1, 25):
        linking.feed(record(f"A{n}", demographics(f"Name{n}", birth_date=f"19{n + 50}-02-03")))
    with django_assert_num_queries(7):
        linking.feed(record("B1", org="hospital"))
    for n in range(25, 60):
        linking.feed(record(f"A{n}", org=f"org{n}"))
    with django_assert_num_queries(7):
        linking.feed(record("B2", org="hospital"))
    with django_assert_num_queries(2):
        linking.feed(record("B2", org="hospital"))
    with django_assert_num_queries(1):
        assert len(queries.candidates(demographics())) >= 1


@pytest.mark.django_db(transaction=True)
def test_twenty_registrations_of_one_new_person_at_once_make_one_person() -> None:
    results: list[FeedResult] = []
    failures: list[BaseException] = []
    barrier = threading.Barrier(20)

    def register(number: int) -> None:
        try:
            barrier.wait(timeout=20)
            results.append(linking.feed(record("X1", org=f"org{number}")))
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=register, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not failures
    assert len({result.person_id for result in results}) == 1
    assert sorted(result.outcome for result in results) == ["linked"] * 19 + ["new"]
    assert Person.objects.count() == 1


@pytest.mark.parametrize("table", ["patients_identityevent", "patients_sourcerecordversion"])
def test_events_and_versions_cannot_be_changed(table: str) -> None:
    linking.feed(record("A1"))
    with pytest.raises(Exception, match="append-only"), connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table}")


def _counts() -> tuple[int, ...]:
    models = (Person, SourceRecord, SourceRecordVersion, IdentityEvent, Link, ReviewItem, BlockingKey)
    return tuple(model.objects.count() for model in models)


def test_more_names_or_identifiers_than_a_patient_has_are_refused() -> None:
    for element, held in (
        ("name", {"names": tuple(HumanName(family=f"F{n}") for n in range(201))}),
        ("identifier", {"identifiers": tuple(Identifier(system="http://x", value=str(n)) for n in range(201))}),
    ):
        with pytest.raises(UnusableDemographics, match="more than 200") as refused:
            linking.feed(record("A1", Demographics(**held)))
        assert refused.value.element == f"Patient.{element}"
    assert not SourceRecord.objects.exists()


MARIA = demographics()
ROBERT = demographics("Robert", "Okafor", "1955-07-30", "male", "555-111-7777", "9 Oak Av", "10001", "York")
LING = demographics("Ling", "Zhao", "1999-12-25", "female", "555-444-2222", "77 Hill Rd", "94110", "Oakland")


def three() -> tuple[UUID, UUID, UUID]:
    """Three persons whom only a steward would ever put together."""
    maria, robert, ling = (
        linking.feed(record(f"A{n}", who)).person_id for n, who in enumerate((MARIA, ROBERT, LING), 1)
    )
    return maria, robert, ling


def joins(value: str, who: Demographics) -> UUID:
    """The person that a further message, of another organization, is linked to."""
    again = linking.feed(record(value, who, org="hospital"))
    assert again.outcome == "linked", again.reason
    return again.person_id


def test_what_each_of_two_merges_by_hand_joined_speaks_for_itself() -> None:
    maria, robert, ling = three()
    linking.merge(robert, maria, actor="Staff/ada")
    linking.merge(robert, ling, actor="Staff/ada")
    assert [joins("X1", MARIA), joins("X2", ROBERT), joins("X3", LING)] == [robert] * 3


def test_what_a_chain_of_merges_by_hand_joined_speaks_for_itself_while_each_of_them_stands() -> None:
    maria, robert, ling = three()
    inner = linking.merge(robert, maria, actor="Staff/ada")
    outer = linking.merge(ling, robert, actor="Staff/ada")
    assert [joins("X1", MARIA), joins("X2", ROBERT), joins("X3", LING)] == [ling] * 3
    undone = linking.undo(inner, actor="Staff/ada")
    # What came in between stays with the person that it was linked to, until a steward says otherwise.
    assert [joins("Y2", ROBERT), joins("Y3", LING)] == [ling] * 2
    assert identifiers.survivor(maria) == maria
    linking.undo(undone, actor="Staff/ada")
    assert [joins("Z1", MARIA), joins("Z2", ROBERT), joins("Z3", LING)] == [ling] * 3
    linking.undo(outer, actor="Staff/ada")
    assert joins("W2", ROBERT) == robert
    assert Person.objects.count() == 3


def test_a_further_message_of_each_finds_the_person_after_the_inner_merge_was_undone() -> None:
    maria, robert, ling = three()
    inner = linking.merge(robert, maria, actor="Staff/ada")
    linking.merge(ling, robert, actor="Staff/ada")
    linking.undo(inner, actor="Staff/ada")
    assert [joins("X1", MARIA), joins("X2", ROBERT), joins("X3", LING)] == [maria, ling, ling]


def test_messages_of_both_go_on_to_be_linked_after_a_merge_by_hand() -> None:
    maria, robert, _ = three()
    linking.merge(robert, maria, actor="Staff/ada")
    said = [joins(f"X{n}", who) for n, who in enumerate((MARIA, MARIA, ROBERT, MARIA, ROBERT))]
    assert said == [robert] * 5


def test_records_that_the_machine_put_together_still_speak_with_one_voice_after_a_chain_of_merges() -> None:
    numbered = linking.feed(record("B1", demographics(national_id="111-22-3333"))).person_id
    assert joins("B2", MARIA) == numbered
    # Her number, but nothing else of where she lives: certain beside the one record, not beside both.
    moved = demographics(
        "Maria", "Okafor", phone="555-888-0000", line="9 Oak Av", postal_code="10001", city="York",
        national_id="111-22-3333",
    )  # fmt: skip
    assert [(found.person_id, found.grade) for found in queries.candidates(moved)] == [(numbered, "probable")]
    robert, ling = (linking.feed(record(f"A{n}", who)).person_id for n, who in enumerate((ROBERT, LING)))
    linking.merge(robert, numbered, actor="Staff/ada")
    linking.merge(ling, robert, actor="Staff/ada")
    assert [(found.person_id, found.grade) for found in queries.candidates(moved)] == [(ling, "probable")]
    asked = linking.feed(record("B3", moved, org="lab"))
    assert (asked.outcome, asked.person_id == ling) == ("review", False)


FATHER = demographics("John", gender="male", birth_date="1950-03-14")
SON_AWAY = demographics(
    "John", gender="male", birth_date="1980-06-21", phone="555-777-1234", line="9 Oak Av", postal_code="10001",
    city="York",
)  # fmt: skip
SON_AT_HOME = demographics("John", gender="male", birth_date="1980-06-21", phone="555-777-1234")


def test_a_record_that_is_linked_asks_about_another_person_it_may_belong_to_and_once() -> None:
    father = linking.feed(record("F1", FATHER)).person_id
    away = linking.feed(record("S1", SON_AWAY))
    assert (away.outcome, ReviewItem.objects.count()) == ("new", 0)
    assert joins("S2", SON_AT_HOME) == away.person_id
    item = ReviewItem.objects.get()
    assert (item.person_id, item.candidate_id) == (away.person_id, father)
    assert "rule: junior" in item.reason
    assert joins("S3", SON_AT_HOME) == away.person_id
    assert ReviewItem.objects.count() == 1


def test_what_a_steward_kept_apart_is_not_asked_again_by_a_further_record_of_either() -> None:
    linking.feed(record("F1", FATHER))
    linking.feed(record("S1", SON_AT_HOME))
    reviewing.settle(ReviewItem.objects.get().pk, Verdict.DIFFERENT, actor="Staff/ada", reason="father and son")
    for value, who in (("S2", SON_AT_HOME), ("F2", FATHER)):
        joins(value, who)
    linking.feed(record("S2", replace(SON_AT_HOME, occupation="clerk"), org="hospital"))
    assert not ReviewItem.objects.exclude(status="decided").exists()


def test_a_junior_is_asked_about_though_another_record_of_the_father_names_no_home() -> None:
    father = linking.feed(record("F1", FATHER)).person_id
    assert joins("F2", demographics("John", gender="male", birth_date="1950-03-14", line="", postal_code="", city="")) == father  # fmt: skip
    son = linking.feed(record("S1", SON_AT_HOME))
    assert (son.outcome, "rule: junior" in son.reason) == ("review", True)
