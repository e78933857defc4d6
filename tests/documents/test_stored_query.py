"""How the parameters of stored queries are read: quoting, lists, AND and OR, codes, times; and how wrong ones are told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from documents import stored_query
from documents.errors import (
    QueryRefused,
    StoredQueryMissingParam,
    StoredQueryParamInvalid,
    StoredQueryParamNumber,
    UnknownStoredQuery,
)
from documents.filters import CodeAttribute, CodeToken, ReferenceToken
from documents.metadata import CX, ON_DEMAND, STABLE, AssociationType, Status
from documents.query_parameters import NOTHING, Parameters
from documents.stored_query import MULTI_PATIENT, Kind, StoredQuery, parse

APPROVED = "('urn:oasis:names:tc:ebxml-regrep:StatusType:Approved')"
PATIENT = "'P1^^^&1.2.3&ISO'"
UUID = "urn:uuid:5f1f0c54-9c3c-4b6d-bf0f-6d0b6c6f6a11"
Slot = tuple[str, list[str]]


def slots(**values: str | list[str]) -> list[Slot]:
    """Slots by the name behind the dollar; ``_2`` at the end of a name gives a second slot of it."""
    return [
        (f"${name.removesuffix('_2')}", [value] if isinstance(value, str) else value) for name, value in values.items()
    ]


def find(**more: str | list[str]) -> StoredQuery:
    """FindDocuments of one patient."""
    required = {"XDSDocumentEntryPatientId": PATIENT, "XDSDocumentEntryStatus": APPROVED}
    return parse(Kind.FIND_DOCUMENTS, slots(**required | more))


def problems(ask: Callable[[], Any]) -> list[tuple[type, str | None]]:
    """What is told of a query that is refused."""
    with pytest.raises(QueryRefused) as caught:
        ask()
    return [(type(problem), problem.element) for problem in caught.value.problems]


# -- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "read"),
    [
        pytest.param(["'a'"], ("a",), id="text"),
        pytest.param(["('a')"], ("a",), id="list-of-one"),
        pytest.param(["('a','b')"], ("a", "b"), id="list"),
        pytest.param(["( 'a' ,\n 'b' )"], ("a", "b"), id="blanks"),
        pytest.param(["('a','b')", "('c')"], ("a", "b", "c"), id="several-values"),
        pytest.param(["'it''s'"], ("it's",), id="quote-doubled"),
        pytest.param(["('a,b','(c)')"], ("a,b", "(c)"), id="comma-and-brackets-within"),
        pytest.param(["2004"], ("2004",), id="number"),
        pytest.param(["('2004')"], ("2004",), id="quoted-number"),
        pytest.param(["()"], (), id="empty-list"),
        pytest.param([" "], (), id="nothing"),
    ],
)
def test_values_are_read_as_they_are_written(values: list[str], read: tuple[str, ...]) -> None:
    parameters = Parameters([("$x", values)])
    assert parameters.many("$x") == read
    assert not parameters.problems


@pytest.mark.parametrize("text", ["('a'", "'a')", "'a", "('a' 'b')", "('a',)", "it's", "a'b'", "('a''b)"])
def test_values_that_are_not_closed_or_parted_are_refused(text: str) -> None:
    parameters = Parameters([("$x", [text])])
    parameters.many("$x")
    assert [type(problem) for problem in parameters.problems] == [StoredQueryParamInvalid]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs"]), min_size=1), min_size=1, max_size=5))
def test_any_texts_survive_quoting(texts: list[str]) -> None:
    quoted = ",".join("'" + text.replace("'", "''") + "'" for text in texts)
    parameters = Parameters([("$x", [f"({quoted})"])])
    assert parameters.many("$x") == tuple(text.strip() for text in texts)
    assert not parameters.problems


# -- meaning --------------------------------------------------------------------------------------------------------


def test_find_documents_asks_for_stable_entries_of_one_patient() -> None:
    query = find()
    assert query.patients == (CX(value="P1", authority="1.2.3"),)
    assert query.entries.statuses == (Status.APPROVED,)
    assert query.entries.object_types == (STABLE,)
    assert query.level == 1


def test_codes_of_a_slot_are_alternatives_and_slots_are_all_to_be_met() -> None:
    query = find(
        XDSDocumentEntryEventCodeList="('a^^1.2','b^^2.16.840.1.113883.6.1')",
        XDSDocumentEntryEventCodeList_2="('c^^1.2')",
    )
    first, second = query.entries.codes
    assert first.attribute is CodeAttribute.EVENT
    assert first.any_of == (CodeToken(code="a", scheme="urn:oid:1.2"), CodeToken(code="b", scheme="http://loinc.org"))
    assert second.any_of == (CodeToken(code="c", scheme="urn:oid:1.2"),)


@pytest.mark.parametrize("name", ["EventCodeList", "ConfidentialityCode"])
def test_only_some_parameters_may_stand_twice(name: str) -> None:
    given = {f"XDSDocumentEntry{name}": "('a^^1.2')", f"XDSDocumentEntry{name}_2": "('b^^1.2')"}
    assert len(find(**given).entries.codes) == 2


@pytest.mark.parametrize(
    "name", ["ClassCode", "TypeCode", "FormatCode", "PracticeSettingCode", "HealthcareFacilityTypeCode"]
)
def test_any_other_parameter_twice_is_refused(name: str) -> None:
    given = {f"XDSDocumentEntry{name}": "('a^^1.2')", f"XDSDocumentEntry{name}_2": "('b^^1.2')"}
    assert problems(lambda: find(**given)) == [(StoredQueryParamNumber, f"$XDSDocumentEntry{name}")]


@pytest.mark.parametrize("code", ["a", "a^^", "^^1.2", "a^1.2", "a^x^1.2"])
def test_a_code_has_its_scheme(code: str) -> None:
    found = problems(lambda: find(XDSDocumentEntryClassCode=f"('{code}')"))
    assert found == [(StoredQueryParamNumber, "$XDSDocumentEntryClassCode")]


def test_times_are_bounds_filled_up_to_the_second() -> None:
    query = find(XDSDocumentEntryCreationTimeFrom="2004", XDSDocumentEntryCreationTimeTo="'200502'")
    assert query.entries.creation.since == datetime(2004, 1, 1, tzinfo=UTC)
    assert query.entries.creation.until == datetime(2005, 2, 1, tzinfo=UTC)
    assert query.entries.creation.has(datetime(2005, 1, 31, 23, 59, 59, tzinfo=UTC))
    assert not query.entries.creation.has(datetime(2005, 2, 1, tzinfo=UTC))


def test_reference_ids_are_read_with_type_and_community() -> None:
    query = parse(
        Kind.FIND_DOCUMENTS_BY_REFERENCE_ID,
        slots(
            XDSDocumentEntryPatientId=PATIENT,
            XDSDocumentEntryStatus=APPROVED,
            XDSDocumentEntryReferenceIdList="('7^^^&1.2.4&ISO^urn:ihe:iti:xds:2013:order','8^^^NS')",
        ),
    )
    (asked,) = query.entries.references
    assert asked.any_of == (
        ReferenceToken(value="7", authority="1.2.4", type_code="urn:ihe:iti:xds:2013:order"),
        ReferenceToken(value="8", authority="NS"),
    )


def test_an_excluding_parameter_is_read_and_excludes_its_counterpart() -> None:
    given = {"XDSDocumentEntryPatientId": PATIENT, "XDSDocumentEntryStatus": APPROVED}
    query = parse(
        Kind.FIND_DOCUMENTS_EXCLUDE, slots(**given, XDSDocumentEntryClassCodeExclude="('a^^1.2')",
                                           XDSDocumentEntryTypeExclude=f"('{STABLE}')")
    )  # fmt: skip
    assert [one.exclude for one in query.entries.codes] == [True]
    assert query.entries.object_types == (ON_DEMAND,)
    both = slots(**given, XDSDocumentEntryClassCode="('b^^1.2')", XDSDocumentEntryClassCodeExclude="('a^^1.2')")
    assert problems(lambda: parse(Kind.FIND_DOCUMENTS_EXCLUDE, both)) == [
        (StoredQueryParamNumber, "$XDSDocumentEntryClassCode")
    ]


def test_unknown_parameters_and_obsolete_schemes_are_ignored() -> None:
    assert find(nonsense="('x'", XDSDocumentEntryClassCodeScheme="('1.2')") == find()


def test_an_id_that_is_no_uuid_names_nothing() -> None:
    assert parse(Kind.GET_ASSOCIATIONS, slots(uuid="('Document01')")).named.uuids == (NOTHING,)


def test_related_documents_are_asked_for_by_type_of_relationship() -> None:
    query = parse(
        Kind.GET_RELATED_DOCUMENTS,
        slots(XDSDocumentEntryEntryUUID=f"'{UUID}'", AssociationTypes="('urn:ihe:iti:2007:AssociationType:RPLC')"),
    )
    assert query.association_types == (AssociationType.RPLC,)


# -- refusals -------------------------------------------------------------------------------------------------------


def test_an_unknown_query_is_named() -> None:
    assert problems(lambda: parse("urn:uuid:0", [])) == [(UnknownStoredQuery, "AdhocQuery.id")]
    multi = next(iter(MULTI_PATIENT))
    assert problems(lambda: parse(multi, [])) == [(UnknownStoredQuery, "AdhocQuery.id")]


def test_every_missing_parameter_is_told() -> None:
    assert problems(lambda: parse(Kind.GET_ALL, [])) == [
        (StoredQueryMissingParam, "$patientId"),
        (StoredQueryMissingParam, "$XDSDocumentEntryStatus"),
        (StoredQueryMissingParam, "$XDSSubmissionSetStatus"),
        (StoredQueryMissingParam, "$XDSFolderStatus"),
    ]


@pytest.mark.parametrize("kind", list(Kind))
def test_no_query_is_answered_without_its_parameters(kind: Kind) -> None:
    assert StoredQueryMissingParam in {found for found, _ in problems(lambda: parse(kind, []))}


@pytest.mark.parametrize(
    ("given", "kind", "element"),
    [
        pytest.param({"XDSDocumentEntryStatus": "('Approved')"}, StoredQueryParamInvalid, "$XDSDocumentEntryStatus", id="short-status"),
        pytest.param({"XDSDocumentEntryPatientId": "'P1'"}, StoredQueryParamInvalid, "$XDSDocumentEntryPatientId", id="no-cx"),
        pytest.param({"XDSDocumentEntryPatientId": f"({PATIENT},{PATIENT})"}, StoredQueryParamNumber, "$XDSDocumentEntryPatientId", id="two-patients"),
        pytest.param({"XDSDocumentEntryCreationTimeFrom": "yesterday"}, StoredQueryParamInvalid, "$XDSDocumentEntryCreationTimeFrom", id="no-time"),
        pytest.param({"XDSDocumentEntryCreationTimeFrom": "20041301"}, StoredQueryParamInvalid, "$XDSDocumentEntryCreationTimeFrom", id="month-13"),
        pytest.param({"XDSDocumentEntryType": "('stable')"}, StoredQueryParamInvalid, "$XDSDocumentEntryType", id="no-type"),
        pytest.param({"MetadataLevel": "3"}, StoredQueryParamInvalid, "$MetadataLevel", id="level-3"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(given: dict[str, str], kind: type, element: str) -> None:
    assert problems(lambda: find(**given)) == [(kind, element)]


def test_an_object_is_named_in_one_way() -> None:
    both = slots(XDSDocumentEntryEntryUUID=f"('{UUID}')", XDSDocumentEntryUniqueId="('1.2')")
    assert problems(lambda: parse(Kind.GET_DOCUMENTS, both)) == [(StoredQueryParamNumber, "$XDSDocumentEntryEntryUUID")]
    two = slots(XDSFolderUniqueId="('1.2','1.3')")
    assert problems(lambda: parse(Kind.GET_FOLDER_AND_CONTENTS, two)) == [
        (StoredQueryParamNumber, "$XDSFolderUniqueId")
    ]


def test_logical_ids_need_level_two() -> None:
    named = slots(XDSDocumentEntryLogicalID=f"('{UUID}')")
    assert problems(lambda: parse(Kind.GET_DOCUMENTS, named)) == [
        (StoredQueryParamInvalid, "$XDSDocumentEntryLogicalID")
    ]
    assert parse(Kind.GET_DOCUMENTS, [*named, ("$MetadataLevel", ["2"])]).named.logical_ids


def test_a_query_about_everybody_needs_something_that_narrows_it() -> None:
    multi = "urn:uuid:3d1bdb10-39a2-11de-89c2-2f44d94eaa9f"
    status = slots(XDSDocumentEntryStatus=APPROVED)
    assert problems(lambda: parse(multi, status, multi_patient=True)) == [
        (StoredQueryMissingParam, "$XDSDocumentEntryClassCode")
    ]
    codes = [*status, ("$XDSDocumentEntryEventCodeList", ["('a^^1.2')"])]
    assert parse(multi, codes, multi_patient=True).patients == ()
    patients = [*status, ("$XDSDocumentEntryPatientId", [f"({PATIENT},'P2^^^&1.2.3&ISO')"])]
    assert len(parse(multi, patients, multi_patient=True).patients) == 2


def test_the_queries_of_one_patient_and_of_several_are_apart() -> None:
    assert not {kind.value for kind in Kind} & set(MULTI_PATIENT)
    assert set(MULTI_PATIENT.values()) <= set(stored_query.Kind)
