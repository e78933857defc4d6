"""Searches of entries, submission sets and folders: each criterion finds its own, newest first, few statements."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from documents import queries
from documents.filters import (
    CodeAttribute,
    CodeCriterion,
    CodeToken,
    DateAttribute,
    DateCriterion,
    DateRange,
    EntryFilter,
    ListFilter,
    NameMatch,
    ReferenceToken,
)
from documents.metadata import CX, XCN, Author, ReferenceId, Status
from documents.models import DocumentEntry
from tests.documents.samples import (
    ALICE,
    ALICE_ELSEWHERE,
    BOB,
    LOINC,
    code,
    entry,
    folder,
    member,
    register,
    submission,
)

pytestmark = pytest.mark.django_db


def day(text: str, prefix: str = "eq", days: int = 1) -> DateRange:
    start = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return DateRange(prefix=prefix, start=start, end=start + timedelta(days=days))


def codes(attribute: CodeAttribute, *tokens: CodeToken, negate: bool = False) -> EntryFilter:
    return EntryFilter(codes=(CodeCriterion(attribute=attribute, any_of=tokens, negate=negate),))


def dates(attribute: DateAttribute, *ranges: DateRange) -> EntryFilter:
    return EntryFilter(dates=(DateCriterion(attribute=attribute, any_of=ranges),))


@pytest.fixture
def world(patients: dict[CX, int]) -> dict[CX, int]:
    """Three documents of Alice, one of them elsewhere, one of Bob."""
    first = entry(
        unique_id="one",
        creation_time="20240131",
        service_start_time="20240101",
        service_stop_time="20240110",
        authors=(Author(person=XCN(family="Müller", given="Zoë", second="Ann")),),
        event_codes=(code("E1", "urn:oid:2.999.9"), code("E2", "urn:oid:2.999.9")),
        reference_ids=(ReferenceId(value="R1", type_code="urn:ihe:iti:xds:2013:accession", authority="2.999.3"),),
    )
    second = entry(unique_id="two", creation_time="2024", type_code=code("11502-2"), service_start_time="20240105")
    third = entry(unique_id="three", creation_time="20230101120000", patient_id=ALICE_ELSEWHERE)
    register(submission(first, second, submission_time="20240201"), patients)
    register(submission(third, patient_id=ALICE_ELSEWHERE, submission_time="20230201"), patients)
    register(submission(entry(unique_id="bob", patient_id=BOB), patient_id=BOB), patients)
    return patients


def found(world: dict[CX, int], asked: EntryFilter, **more: Any) -> list[str]:
    return [row.metadata.unique_id for row in queries.entries([world[ALICE], world[ALICE_ELSEWHERE]], asked, **more)]


C, D = CodeAttribute, DateAttribute
SEARCHES = [
    (EntryFilter(), ["one", "two", "three"]),
    (EntryFilter(statuses=(Status.DEPRECATED,)), []),
    (codes(C.TYPE, CodeToken(code="11502-2")), ["two"]),
    (codes(C.TYPE, CodeToken(code="11502-2", scheme="urn:x")), []),
    (codes(C.TYPE, CodeToken(scheme=LOINC)), ["one", "two", "three"]),
    (codes(C.TYPE, CodeToken(code="11502-2"), negate=True), ["one", "three"]),
    (codes(C.TYPE, CodeToken(code="11502-2"), CodeToken(code="34133-9", scheme=LOINC)), ["one", "two", "three"]),
    (codes(C.EVENT, CodeToken(code="E2")), ["one"]),
    (codes(C.CLASS, CodeToken(code="E2")), []),
    (dates(D.CREATION, day("2024-01-31")), ["one"]),
    (dates(D.CREATION, day("2024-01-01", "eq", 366)), ["one", "two"]),
    (dates(D.CREATION, day("2024-01-31", "ge")), ["one", "two"]),
    (dates(D.CREATION, day("2024-01-31", "gt")), ["two"]),
    (dates(D.CREATION, day("2024-01-01", "lt")), ["three"]),
    (dates(D.CREATION, day("2024-01-31", "ne")), ["two", "three"]),
    (dates(D.CREATION, day("2023-01-01", "sa")), ["one", "two"]),
    (dates(D.CREATION, day("2024-01-01", "eb")), ["three"]),
    (dates(D.CREATION, day("2024-01-31", "ap")), ["one", "two"]),
    (dates(D.DATE, day("2023-02-01")), ["three"]),
    (dates(D.PERIOD, day("2024-01-08")), ["one", "two"]),
    (dates(D.PERIOD, day("2024-02-01")), ["two"]),
    (dates(D.PERIOD, day("2024-01-02", "lt")), ["one"]),
    (dates(D.PERIOD, day("2024-01-11", "eb")), ["one"]),
    (dates(D.PERIOD, day("2024-01-03", "sa")), ["two"]),
    (EntryFilter(author_family=((NameMatch(text="mul"),),)), ["one"]),
    (EntryFilter(author_family=((NameMatch(text="Mul", mode="exact"),),)), []),
    (EntryFilter(author_family=((NameMatch(text="Müller", mode="exact"),),)), ["one"]),
    (EntryFilter(author_given=((NameMatch(text="oe", mode="contains"),),)), ["one"]),
    (EntryFilter(author_given=((NameMatch(text="nobody"), NameMatch(text="ZOE")),)), ["one"]),
    (EntryFilter(author_family=((NameMatch(text="m"),), (NameMatch(text="x"),))), []),
    (EntryFilter(identifiers=(("two", "nothing"),)), ["two"]),
    (EntryFilter(identifiers=(("two",), ("one",))), []),
    (EntryFilter(related=((ReferenceToken(value="R1", authority="2.999.3"),),)), ["one"]),
    (EntryFilter(related=((ReferenceToken(value="R1", authority="2.999.4"),),)), []),
    (EntryFilter(custodians=("org-other",)), []),
    (EntryFilter(mime_types=("text/plain",)), ["one", "two", "three"]),
]


@pytest.mark.parametrize("number", range(len(SEARCHES)))
def test_a_criterion_finds_its_own(world: dict[CX, int], number: int) -> None:
    asked, expected = SEARCHES[number]
    assert found(world, asked) == expected


def test_an_entry_is_found_by_its_uuid_in_any_form(world: dict[CX, int]) -> None:
    row = queries.entries([world[ALICE]], EntryFilter(identifiers=(("one",),)))[0]
    assert found(world, EntryFilter(identifiers=((row.entry_uuid,),))) == ["one"]
    assert queries.entry(row.entry_uuid.upper().replace("URN:UUID:", "urn:uuid:")) == queries.entry(
        row.entry_uuid.removeprefix("urn:uuid:")
    )
    assert queries.entry("nonsense") is None
    assert row.binary_id is not None
    assert [r.metadata.unique_id for r in queries.entries_of_binary(row.binary_id)] == ["one"]
    assert queries.entries_of_binary("nonsense") == []


def test_pages_join_without_gap_or_repeat_while_rows_come_in(world: dict[CX, int]) -> None:
    instant = datetime.now(UTC)
    pks = [world[ALICE], world[ALICE_ELSEWHERE]]
    asked = EntryFilter(registered_until=instant)
    page = queries.entries(pks, asked, limit=2)
    register(submission(entry(creation_time="20230601")), world)
    rest = queries.entries(pks, asked, limit=2, after=page[-1].position)
    assert [r.metadata.unique_id for r in (*page, *rest)] == ["one", "two", "three"]


def test_a_list_costs_the_same_statements_whatever_its_length(
    world: dict[CX, int], django_assert_num_queries: Callable[[int], Any]
) -> None:
    for _ in range(3):
        register(submission(*(entry() for _ in range(5))), world)
    with django_assert_num_queries(2):
        assert len(queries.entries([world[ALICE]])) == 17
    with django_assert_num_queries(2):
        assert len(queries.submission_sets([world[ALICE]])) == 4


def test_facts_carry_what_policy_asks_for(world: dict[CX, int]) -> None:
    row = queries.entries([world[ALICE]], EntryFilter(identifiers=(("one",),)))[0]
    facts = row.facts("p-1")
    assert (facts.patient, facts.custodian, facts.confidentiality) == ("p-1", "org-clinic", "N")
    assert "urn:ietf:bcp:13|text/plain" in facts.classes
    assert "http://hl7.org/fhir/resource-types|DocumentReference" in facts.classes
    assert "urn:oid:1.3.6.1.4.1.19376.1.2.6.1|REPORTS" in facts.classes
    assert {"http://loinc.org|34133-9", "urn:oid:2.999.9|E1"} <= facts.codes
    assert "http://loinc.org|34133-9" not in facts.classes, "a permit by class must not match the type"
    assert (facts.service_start, facts.service_stop, facts.created) == ("2024-01-01", "2024-01-10", "2024-01-31")
    assert f"urn:uuid:{facts.id}" == row.entry_uuid


def test_a_document_without_a_letter_has_none(world: dict[CX, int]) -> None:
    DocumentEntry.objects.filter(unique_id="one").update(confidentiality=None)
    row = queries.entries([world[ALICE]], EntryFilter(identifiers=(("one",),)))[0]
    assert row.facts("p").confidentiality is None


def test_submission_sets_and_folders_are_found_by_their_own(patients: dict[CX, int]) -> None:
    one, shelf = entry(), folder(codes=(code("FOL", "urn:oid:2.999.9"),))
    receipt = register(
        submission(
            one,
            folders=(shelf,),
            associations=(member(shelf.entry_uuid, one.entry_uuid, None),),
            authors=(Author(person=XCN(family="Doctor", given="Eve")),),
            content_type_code=code("CT", "urn:oid:2.999.9"),
        ),
        patients,
    )
    register(submission(entry()), patients)
    pks = [patients[ALICE]]
    mine = receipt.submission_set_uuid
    token = CodeToken(code="CT")
    for asked in (
        ListFilter(codes=((token,),)),
        ListFilter(source_family=((NameMatch(text="doc"),),)),
        ListFilter(source_given=((NameMatch(text="eve"),),)),
        ListFilter(identifiers=((mine,),)),
        ListFilter(members=(queries.as_uuid(receipt.ids[one.entry_uuid]),), source_ids=("2.999.10.1",)),  # type: ignore[arg-type]  # a UUID
    ):
        assert [row.metadata.entry_uuid for row in queries.submission_sets(pks, asked)] == [mine]
    assert queries.submission_sets(pks, ListFilter(source_ids=("2.999.1",))) == []
    assert len(queries.submission_sets(pks)) == 2
    found_folders = queries.folders(pks, ListFilter(codes=((CodeToken(code="FOL"),),)))
    assert [row.members for row in found_folders] == [(receipt.ids[one.entry_uuid],)]
    assert queries.folders(pks, ListFilter(codes=((token,),))) == []
    assert queries.folder("nonsense") is None
    assert queries.submission_set("nonsense") is None
