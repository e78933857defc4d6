"""What each stored query gives, to whom; and documents by repository and uniqueId."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from lxml import etree

from consent import directives
from documents.metadata import XCN, AssociationType, Author, CodedValue, ReferenceId
from documents.models import DocumentEntry
from documents.query_parameters import MOST_VALUES
from documents.storage import store
from documents.stored_query import Kind
from hie.audit.models import AuditEvent, Disclosure
from hie.exchange import feed, retrieve
from hie.faces.soap.ebxml import names
from hie.faces.soap.message import Answer
from patients import identifiers
from tests.documents import samples
from tests.exchange.releasing import PATIENT, choice
from tests.exchange.world import CLINIC_AUTHORITY, caller, exchange, hospital_caller
from tests.grounds import ground
from tests.soap import handlers, world
from tests.soap.world import ADA, APPROVED, EVERY_STATUS, cx, entry, folder, ids, query, registered

pytestmark = pytest.mark.django_db
RPLC = AssociationType.RPLC
PATIENT_IDS = (names.ENTRY_PATIENT_ID, names.SUBMISSION_SET_PATIENT_ID)


@ground
def ada_of_the_clinic() -> None:
    """Clinic and hospital, and the patient whom the clinic feeds."""
    exchange()
    world.feed_patient("P1")


@pytest.fixture(autouse=True)
def _world(ada_of_the_clinic: None, settings: Any, tmp_path: Path) -> None:
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"


def find(who: Any = None, **more: Any) -> Any:
    """FindDocuments of Ada."""
    given = {"XDSDocumentEntryPatientId": cx(), "XDSDocumentEntryStatus": APPROVED} | more
    return query(Kind.FIND_DOCUMENTS, who, **given)


def hide(*entry_uuids: str) -> None:
    """Ada permits everything but these documents."""
    found = identifiers.resolve(ADA.authority, ADA.value)
    assert found is not None
    wanted = choice("permit")
    wanted["provision"]["provision"] = [
        {
            "type": "deny",
            "data": [{"meaning": "instance", "reference": {"reference": f"DocumentReference/{one[9:]}"}}],
        }
        for one in entry_uuids
    ]
    directives.file(wanted, identifier_pk=found.pk, filer=PATIENT)


# -- by patient -----------------------------------------------------------------------------------------------------


def test_documents_are_found_by_every_parameter() -> None:
    one = entry(
        event_codes=(CodedValue(code="E1", scheme="urn:oid:1.2"), CodedValue(code="E2", scheme="urn:oid:1.2")),
        creation_time="20240131",
        service_start_time="2023",
        authors=(samples_author("Welby", "Marcus"),),
        reference_ids=(ReferenceId(value="7", authority="1.2.4", type_code="urn:ihe:iti:xds:2013:order"),),
    )
    own = registered(one, entry(creation_time="2020")).entries[0].entry_uuid
    for given in (
        {"EventCodeList": "('E1^^1.2')"},
        {"AuthorPerson": "('%welby%')"},
        {"AuthorPerson": "('^Welby^Marcus^^^')"},
        {"AuthorPerson": "('^W_lby%')"},
        {"CreationTimeFrom": "20240131"},
        {"CreationTimeFrom": "20240101", "CreationTimeTo": "20240201"},
        {"ServiceStartTimeFrom": "2022"},
    ):
        found = find(**{f"XDSDocumentEntry{name}": value for name, value in given.items()})
        assert ids(found) == {own}, given
    for given in (
        {"EventCodeList": "('E1^^1.3')"},
        {"AuthorPerson": "('Welby')"},
        {"CreationTimeTo": "2020"},
        {"CreationTimeFrom": "20240201"},
        {"ServiceStopTimeFrom": "1900"},
        {"FormatCode": "('nothing^^1.2')"},
    ):
        assert not ids(find(**{f"XDSDocumentEntry{name}": value for name, value in given.items()})), given
    by_reference = query(
        Kind.FIND_DOCUMENTS_BY_REFERENCE_ID, XDSDocumentEntryPatientId=cx(), XDSDocumentEntryStatus=APPROVED,
        XDSDocumentEntryReferenceIdList="('7^^^&1.2.4&ISO^urn:ihe:iti:xds:2013:order')",
    )  # fmt: skip
    assert ids(by_reference) == {own}
    excluding = query(
        Kind.FIND_DOCUMENTS_EXCLUDE, XDSDocumentEntryPatientId=cx(), XDSDocumentEntryStatus=APPROVED,
        XDSDocumentEntryEventCodeListExclude="('E1^^1.2')",
    )  # fmt: skip
    assert ids(excluding)
    assert own not in ids(excluding)


def test_an_author_without_an_authority_has_none_to_be_found_by() -> None:
    bare, full = registered(
        entry(authors=(samples_author("Welby", "Marcus"),)),
        entry(authors=(Author(person=XCN(id="7", family="Kiley", authority="1.2.4")),)),
    ).entries
    for pattern, whose in (
        ("%&ISO%", full), ("%&1.2.4&ISO", full), ("%^Marcus", bare), ("%^Marcus^^^^^^", bare), ("7^Kiley%", full),
    ):  # fmt: skip
        assert ids(find(XDSDocumentEntryAuthorPerson=f"('{pattern}')")) == {whose.entry_uuid}, pattern


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("%" * 9000, True), ("%_" * 4000, False), ("_" * 4, False), ("w%", False), ("^w[e]lby%", False), ("^W.lby%", False),
        ("^welby^%", True), ("^O''Welby%", False), ("^Wel\\by%", False), ("^Welby^\\M%", True), ("^Welby^\\\\M%", False),
        ("^%^\\Marcus^^^^^^^^^", True), ("^Welby^\\Marcus", True), ("^Welby^\\Marcu", False),
    ],
)  # fmt: skip
def test_a_pattern_of_an_author_means_what_like_means_and_nothing_more(pattern: str, found: bool) -> None:
    registered(entry(authors=(samples_author("Welby", "\\Marcus"),)))
    assert bool(ids(find(XDSDocumentEntryAuthorPerson=f"('{pattern}')"))) is found


def test_what_is_escaped_in_an_object_is_found_as_it_is_written_there() -> None:
    patient = world.feed_patient("A&B", "Eve")
    author, reference = (
        samples_author("Fish & Sons", "M"),
        ReferenceId(value="7^8", authority="1.2.4", type_code="urn:x"),
    )
    one = entry(patient, authors=(author,), reference_ids=(reference,))
    (own,) = registered(one, patient=patient, authors=(author,)).entries
    of = rf"'A\T\B^^^&{CLINIC_AUTHORITY}&ISO'"
    answer = query(
        Kind.FIND_DOCUMENTS_BY_REFERENCE_ID, XDSDocumentEntryPatientId=of, XDSDocumentEntryStatus=APPROVED,
        XDSDocumentEntryAuthorPerson=r"('^Fish \T\ Sons^M%')",
        XDSDocumentEntryReferenceIdList=r"('7\S\8^^^&1.2.4&ISO^urn:x')",
    )  # fmt: skip
    assert ids(answer) == {own.entry_uuid}
    written = [one.get("value") for one in answer.body.iter("{*}ExternalIdentifier")]
    assert of.strip("'") in written
    sets = query(
        Kind.FIND_SUBMISSION_SETS, XDSSubmissionSetPatientId=of, XDSSubmissionSetStatus=APPROVED,
        XDSSubmissionSetAuthorPerson=r"'^Fish \T\ Sons%'",
    )  # fmt: skip
    assert len(ids(sets, "RegistryPackage")) == 1


def test_a_query_has_as_many_values_as_one_statement_can_carry_and_more_are_refused() -> None:
    (own,) = registered(entry(authors=(samples_author("Welby", "Marcus"),))).entries

    def asked(count: int) -> Any:
        # Of patterns and reference ids, which have the longest conditions, half each.
        patterns = ",".join(["'%welby%'", *(f"'%{n}%'" for n in range(count // 2 - 1))])
        references = ",".join(f"'{n}^^^&1.2.4&ISO^urn:x^&1.2&ISO'" for n in range(count // 2 - 3))
        return query(
            Kind.FIND_DOCUMENTS_EXCLUDE, XDSDocumentEntryPatientId=cx(), XDSDocumentEntryStatus=APPROVED,
            XDSDocumentEntryAuthorPerson=f"({patterns})", XDSDocumentEntryReferenceIdListExclude=f"({references})",
        )  # fmt: skip

    assert ids(asked(MOST_VALUES)) == {own.entry_uuid}
    (problem,) = handlers.errors(asked(MOST_VALUES + 100))
    assert problem[0] == "XDSRegistryError"
    assert problem[1].endswith(f"is one value too many: a query has at most {MOST_VALUES}")


@pytest.mark.parametrize("value", ["()", "( )", " ", ""])
def test_an_empty_list_of_names_is_a_missing_parameter(value: str) -> None:
    answer = query(Kind.GET_DOCUMENTS, XDSDocumentEntryEntryUUID=value)
    assert handlers.errors(answer) == [("XDSStoredQueryMissingParam", "$XDSDocumentEntryEntryUUID is missing")]


def test_what_is_wrong_with_a_name_is_told_once() -> None:
    answer = query(Kind.GET_FOLDERS_FOR_DOCUMENT, XDSDocumentEntryUniqueId=["('1)", "('2')"])
    assert [code for code, _ in handlers.errors(answer)] == ["XDSRegistryError"]


def samples_author(family: str, given: str) -> Any:
    return Author(person=XCN(family=family, given=given))


def test_slots_of_event_codes_are_all_to_be_met() -> None:
    both = CodedValue(code="E1", scheme="urn:oid:1.2"), CodedValue(code="E2", scheme="urn:oid:1.2")
    wanted = registered(entry(event_codes=both), entry(event_codes=both[:1]))
    body = "('E1^^1.2')", "('E2^^1.2')"
    request = world_query(Kind.FIND_DOCUMENTS)
    for value in body:
        slot = etree.SubElement(request[1], names.tag(names.RIM, "Slot"), {"name": "$XDSDocumentEntryEventCodeList"})
        listed = etree.SubElement(slot, names.tag(names.RIM, "ValueList"))
        etree.SubElement(listed, names.tag(names.RIM, "Value")).text = value
    assert ids(handlers.call(world.QUERY, request, caller())) == {wanted.entries[0].entry_uuid}


def world_query(kind: Kind) -> Any:
    body = etree.Element(names.tag(names.QUERY, "AdhocQueryRequest"))
    etree.SubElement(body, names.tag(names.QUERY, "ResponseOption"), {"returnType": "LeafClass"})
    adhoc = etree.SubElement(body, names.tag(names.RIM, "AdhocQuery"), {"id": kind})
    for name, value in (("$XDSDocumentEntryPatientId", cx()), ("$XDSDocumentEntryStatus", APPROVED)):
        slot = etree.SubElement(adhoc, names.tag(names.RIM, "Slot"), {"name": name})
        listed = etree.SubElement(slot, names.tag(names.RIM, "ValueList"))
        etree.SubElement(listed, names.tag(names.RIM, "Value")).text = value
    return body


def test_an_unknown_patient_is_an_empty_success() -> None:
    unknown = replace(ADA, value="P9")
    assert not ids(find(XDSDocumentEntryPatientId=cx(unknown)))


def test_references_name_the_same_objects() -> None:
    wanted = registered(entry(), entry())
    answer = query(Kind.FIND_DOCUMENTS, refs=True, XDSDocumentEntryPatientId=cx(), XDSDocumentEntryStatus=APPROVED)
    assert ids(answer, "ObjectRef") == {one.entry_uuid for one in wanted.entries}
    assert not ids(answer)
    assert Disclosure.objects.filter(event__kind="ITI-18").count() == 2


def test_a_return_type_that_is_none_is_refused() -> None:
    body = world_query(Kind.FIND_DOCUMENTS)
    body[0].set("returnType", "RepositoryItem")
    answer = handlers.call(world.QUERY, body, caller())
    assert [code for code, _ in handlers.errors(answer)] == ["XDSRegistryError"]
    assert answer.body[-1].tag.endswith("RegistryObjectList")


def test_submission_sets_and_folders_are_found() -> None:
    wanted = registered(entry(), folders=(folder(),), authors=(samples_author("Kiley", "Ann"),))
    sets = query(
        Kind.FIND_SUBMISSION_SETS, XDSSubmissionSetPatientId=cx(), XDSSubmissionSetStatus=APPROVED,
        XDSSubmissionSetAuthorPerson="'%Kiley%'", XDSSubmissionSetSourceId="('2.999.10.1')",
        XDSSubmissionSetSubmissionTimeFrom="2024", XDSSubmissionSetContentType="('34133-9^^2.16.840.1.113883.6.1')",
    )  # fmt: skip
    assert ids(sets, "RegistryPackage") == {wanted.submission_set.entry_uuid}
    folders = query(
        Kind.FIND_FOLDERS, XDSFolderPatientId=cx(), XDSFolderStatus=APPROVED, XDSFolderCodeList="('FOL^^2.999.9')",
        XDSFolderLastUpdateTimeFrom="2020",
    )  # fmt: skip
    assert ids(folders, "RegistryPackage") == {wanted.folders[0].entry_uuid}
    later = query(
        Kind.FIND_FOLDERS, XDSFolderPatientId=cx(), XDSFolderStatus=APPROVED, XDSFolderLastUpdateTimeTo="2020"
    )
    assert not ids(later, "RegistryPackage")


def test_all_of_a_patient_is_told_with_what_joins_it() -> None:
    held = entry(entry_uuid="d")
    wanted = registered(held, folders=(folder(entry_uuid="f"),), associations=(samples.member("f", "d", None),))
    answer = query(
        Kind.GET_ALL, patientId=cx(), XDSDocumentEntryStatus=APPROVED, XDSSubmissionSetStatus=APPROVED,
        XDSFolderStatus=APPROVED,
    )  # fmt: skip
    assert ids(answer) == {wanted.entries[0].entry_uuid}
    assert len(ids(answer, "RegistryPackage")) == 2
    assert ids(answer, "Association") == {one.entry_uuid for one in wanted.associations}


# -- by name --------------------------------------------------------------------------------------------------------


def everything() -> tuple[Any, Any]:
    """A submission with a folder that holds the first of two documents, and one that replaces that document."""
    wanted = registered(
        entry(entry_uuid="d"), entry(entry_uuid="e", confidentiality_codes=(samples.code("R", samples.CONFIDENTIALITY),)),
        folders=(folder(entry_uuid="f"),), associations=(samples.member("f", "d", None),),
    )  # fmt: skip
    new = entry()
    replacing = registered(new, associations=(samples.relation(RPLC, new.entry_uuid, wanted.entries[0].entry_uuid),))
    return wanted, replacing


def test_the_contents_of_a_submission_set_and_of_a_folder() -> None:
    wanted, replacing = everything()
    own = wanted.submission_set
    for name, value in (("EntryUUID", own.entry_uuid), ("UniqueId", own.unique_id)):
        answer = query(Kind.GET_SUBMISSION_SET_AND_CONTENTS, **{f"XDSSubmissionSet{name}": f"'{value}'"})
        assert ids(answer) == {one.entry_uuid for one in wanted.entries}
        assert len(ids(answer, "RegistryPackage")) == 2
        assert ids(answer, "Association") == {one.entry_uuid for one in wanted.associations}
    narrowed = query(
        Kind.GET_SUBMISSION_SET_AND_CONTENTS, XDSSubmissionSetUniqueId=f"'{own.unique_id}'",
        XDSDocumentEntryConfidentialityCode="('R^^2.16.840.1.113883.5.25')",
    )  # fmt: skip
    assert ids(narrowed) == {wanted.entries[1].entry_uuid}
    assert len(ids(narrowed, "Association")) == 2  # to the second document and to the folder
    held = query(Kind.GET_FOLDER_AND_CONTENTS, XDSFolderUniqueId=f"'{wanted.folders[0].unique_id}'")
    assert ids(held) == {wanted.entries[0].entry_uuid, replacing.entries[0].entry_uuid}
    assert ids(held, "RegistryPackage") == {wanted.folders[0].entry_uuid}
    assert len(ids(held, "Association")) == 2
    nothing = query(Kind.GET_SUBMISSION_SET_AND_CONTENTS, XDSSubmissionSetUniqueId="'1.2.3'")
    assert not ids(nothing) | ids(nothing, "RegistryPackage")


def test_what_stands_around_a_document() -> None:
    wanted, replacing = everything()
    old, new = wanted.entries[0].entry_uuid, replacing.entries[0].entry_uuid
    (relation,) = (one.entry_uuid for one in replacing.associations if one.type is RPLC)
    related = query(
        Kind.GET_RELATED_DOCUMENTS, XDSDocumentEntryEntryUUID=f"'{old}'",
        AssociationTypes="('urn:ihe:iti:2007:AssociationType:RPLC')",
    )  # fmt: skip
    assert ids(related) == {old, new}
    assert ids(related, "Association") == {relation}
    unrelated = query(
        Kind.GET_RELATED_DOCUMENTS, XDSDocumentEntryEntryUUID=f"'{old}'",
        AssociationTypes="('urn:ihe:iti:2007:AssociationType:APND')",
    )  # fmt: skip
    assert not ids(unrelated)
    folders = query(Kind.GET_FOLDERS_FOR_DOCUMENT, XDSDocumentEntryUniqueId=f"'{replacing.entries[0].unique_id}'")
    assert ids(folders, "RegistryPackage") == {wanted.folders[0].entry_uuid}
    sets = query(Kind.GET_SUBMISSION_SETS, uuid=f"('{old}','{new}')")
    assert ids(sets, "RegistryPackage") == {wanted.submission_set.entry_uuid, replacing.submission_set.entry_uuid}
    assert len(ids(sets, "Association")) == 2
    around = query(Kind.GET_DOCUMENTS_AND_ASSOCIATIONS, XDSDocumentEntryEntryUUID=f"('{old}')")
    assert ids(around) == {old}
    assert relation in ids(around, "Association")
    alone = query(Kind.GET_ASSOCIATIONS, uuid=f"('{old}')")
    assert not ids(alone)
    assert ids(alone, "Association") == ids(around, "Association")


def test_statuses_are_those_asked_for() -> None:
    wanted, replacing = everything()
    old = wanted.entries[0].entry_uuid
    assert old not in ids(find())
    assert old in ids(find(XDSDocumentEntryStatus=EVERY_STATUS))
    assert replacing.entries[0].entry_uuid in ids(find())


def test_whole_objects_of_two_patients_do_not_leave_in_one_answer() -> None:
    eve = world.feed_patient("P2", "Eve")
    one = registered(entry()).entries[0].entry_uuid
    other = registered(entry(eve), patient=eve).entries[0].entry_uuid
    named = f"('{one}','{other}')"
    answer = query(Kind.GET_DOCUMENTS, XDSDocumentEntryEntryUUID=named)
    assert [code for code, _ in handlers.errors(answer)] == ["XDSResultNotSinglePatient"]
    assert not list(answer.body.iter("{*}ExtrinsicObject"))
    refs = query(Kind.GET_DOCUMENTS, refs=True, XDSDocumentEntryEntryUUID=named)
    assert ids(refs, "ObjectRef") == {one, other}


def test_too_many_whole_objects_do_not_leave(settings: Any) -> None:
    registered(entry(), entry())
    settings.XDS_MAX_RESULTS = 1
    assert [code for code, _ in handlers.errors(find())] == ["XDSTooManyResults"]
    refs = query(Kind.FIND_DOCUMENTS, refs=True, XDSDocumentEntryPatientId=cx(), XDSDocumentEntryStatus=APPROVED)
    assert len(ids(refs, "ObjectRef")) == 2


def test_several_patients_are_asked_about_at_once() -> None:
    eve = world.feed_patient("P2", "Eve")
    event = (CodedValue(code="E1", scheme="urn:oid:1.2"),)
    one = registered(entry(event_codes=event)).entries[0].entry_uuid
    other = registered(entry(eve, event_codes=event), patient=eve).entries[0].entry_uuid
    registered(entry())
    multi = "urn:uuid:3d1bdb10-39a2-11de-89c2-2f44d94eaa9f"
    codes = {"XDSDocumentEntryStatus": APPROVED, "XDSDocumentEntryEventCodeList": "('E1^^1.2')"}
    assert ids(query(multi, multi=True, **codes)) == {one, other}
    assert ids(query(multi, multi=True, XDSDocumentEntryPatientId=f"({cx(eve)})", **codes)) == {other}


# -- what is hidden -------------------------------------------------------------------------------------------------


def test_what_a_reader_may_not_see_is_not_there_in_any_query() -> None:
    wanted, replacing = everything()
    old, second = (one.entry_uuid for one in wanted.entries)
    new = replacing.entries[0].entry_uuid
    doctor = hospital_caller()
    DocumentEntry.objects.update(labelled=True)  # as their source's agreement would say
    assert new in ids(find(doctor))
    hide(new)
    # What only the hidden document replaced is current, and nothing tells of the replacement.
    assert ids(find(doctor)) == {old, second}
    hidden_ids = {new, replacing.submission_set.entry_uuid, *(one.entry_uuid for one in replacing.associations)}
    for kind, slots in (
        (Kind.GET_DOCUMENTS, {"XDSDocumentEntryEntryUUID": f"('{new}','{old}')"}),
        (Kind.GET_ASSOCIATIONS, {"uuid": f"('{new}','{old}')"}),
        (Kind.GET_DOCUMENTS_AND_ASSOCIATIONS, {"XDSDocumentEntryEntryUUID": f"('{new}','{old}')"}),
        (Kind.GET_SUBMISSION_SETS, {"uuid": f"('{new}','{old}')"}),
        (Kind.GET_SUBMISSION_SET_AND_CONTENTS, {"XDSSubmissionSetEntryUUID": f"'{replacing.submission_set.entry_uuid}'"}),
        (Kind.GET_FOLDER_AND_CONTENTS, {"XDSFolderEntryUUID": f"'{wanted.folders[0].entry_uuid}'"}),
        (Kind.GET_FOLDERS_FOR_DOCUMENT, {"XDSDocumentEntryEntryUUID": f"'{new}'"}),
        (Kind.GET_RELATED_DOCUMENTS, {"XDSDocumentEntryEntryUUID": f"'{old}'",
                                      "AssociationTypes": "('urn:ihe:iti:2007:AssociationType:RPLC')"}),
        (Kind.FIND_SUBMISSION_SETS, {"XDSSubmissionSetPatientId": cx(), "XDSSubmissionSetStatus": APPROVED}),
        (Kind.GET_ALL, {"patientId": cx(), "XDSDocumentEntryStatus": EVERY_STATUS,
                        "XDSSubmissionSetStatus": APPROVED, "XDSFolderStatus": APPROVED}),
    ):  # fmt: skip
        answer = query(kind, doctor, **slots)
        assert handlers.status(answer) == "Success"
        told = {one.get("id") for one in answer.body.iter() if one.get("id")}
        said = answer_text(answer)
        assert not told & hidden_ids, kind
        assert not any(one[9:] in said for one in hidden_ids), kind
    assert not ids(
        query(Kind.GET_FOLDERS_FOR_DOCUMENT, doctor, XDSDocumentEntryEntryUUID=f"'{new}'"), "RegistryPackage"
    )


def answer_text(answer: Any) -> str:
    return etree.tostring(answer.body, encoding="unicode")


def test_of_a_patient_who_denies_everything_it_is_answered_as_of_nobody() -> None:
    wanted = registered(entry())
    found = identifiers.resolve(ADA.authority, ADA.value)
    assert found is not None
    directives.file(choice("deny"), identifier_pk=found.pk, filer=PATIENT)
    doctor = hospital_caller()
    unknown = replace(ADA, value="P9")
    hidden, absent = find(doctor), find(doctor, XDSDocumentEntryPatientId=cx(unknown))
    assert answer_text(hidden) == answer_text(absent)
    by_name = query(Kind.GET_DOCUMENTS, doctor, XDSDocumentEntryEntryUUID=f"('{wanted.entries[0].entry_uuid}')")
    nothing = query(
        Kind.GET_DOCUMENTS, doctor, XDSDocumentEntryEntryUUID="('urn:uuid:11111111-2222-4333-8444-555555555555')"
    )
    assert answer_text(by_name) == answer_text(nothing)
    assert AuditEvent.objects.filter(kind="ITI-18", person_id=found.person_id).exists()


def test_after_a_merge_everything_is_told_under_the_survivor() -> None:
    subsumed = world.feed_patient("P2", "Boris")
    wanted = registered(entry(subsumed), patient=subsumed)
    uuid = wanted.entries[0].entry_uuid
    pair = ((CLINIC_AUTHORITY, "P1"), (CLINIC_AUTHORITY, "P2"))
    feed.resolve_duplicate(feed.Duplicate(survivor=pair[0], subsumed=pair[1]), caller())

    def told(answer: Any) -> set[str]:
        assert handlers.status(answer) == "Success", handlers.errors(answer)
        found = answer.body.iter("{*}ExternalIdentifier")
        return {one.get("value", "") for one in found if one.get("identificationScheme") in PATIENT_IDS}

    survivor = {f"P1^^^&{CLINIC_AUTHORITY}&ISO"}
    assert told(find()) == survivor
    assert told(query(Kind.GET_DOCUMENTS, XDSDocumentEntryEntryUUID=f"('{uuid}')")) == survivor
    by_set = f"'{wanted.submission_set.unique_id}'"
    assert told(query(Kind.GET_SUBMISSION_SET_AND_CONTENTS, XDSSubmissionSetUniqueId=by_set)) == survivor
    assert ids(find(XDSDocumentEntryPatientId=cx(subsumed))) == set()
    refused = world.register(world.submission(entry(subsumed), patient=subsumed))
    assert {code for code, _ in handlers.errors(refused)} == {"XDSUnknownPatientId"}


def test_a_query_costs_the_same_however_much_it_finds() -> None:
    def statements(ask: Any) -> int:
        with CaptureQueriesContext(connection) as caught:
            ask()
        return len(caught)

    def asks() -> list[Any]:
        wanted = DocumentEntry.objects.values_list("entry_uuid", flat=True)
        named = "(" + ",".join(f"'urn:uuid:{one}'" for one in wanted) + ")"
        return [
            lambda: find(XDSDocumentEntryStatus=EVERY_STATUS),
            lambda: query(Kind.GET_DOCUMENTS_AND_ASSOCIATIONS, XDSDocumentEntryEntryUUID=named),
            lambda: query(Kind.GET_SUBMISSION_SETS, uuid=named),
            lambda: query(Kind.GET_ALL, patientId=cx(), XDSDocumentEntryStatus=EVERY_STATUS,
                          XDSSubmissionSetStatus=APPROVED, XDSFolderStatus=APPROVED),
        ]  # fmt: skip

    everything()
    for ask in asks():
        ask()
    few = [statements(ask) for ask in asks()]
    everything()
    everything()
    assert [statements(ask) for ask in asks()] == few
    assert few[0] <= 11


# -- ITI-43 ---------------------------------------------------------------------------------------------------------


def provided(data: bytes, **changes: Any) -> Any:
    one = entry(repository_unique_id=None, hash=None, size=None, **changes)
    answer = world.provide(world.submission(one), {one.entry_uuid: data})
    assert handlers.errors(answer) == []
    return one


def received(answer: Any) -> list[bytes]:
    return [b"".join(one.chunks) for one in answer.attachments]


def test_documents_come_byte_for_byte_with_what_is_not_there_named(settings: Any) -> None:
    own = settings.REPOSITORY_UNIQUE_ID
    one, two = provided(b"one"), provided(b"two", mime_type="text/goofy")
    answer = world.retrieve((own, one.unique_id), (own, two.unique_id), (own, one.unique_id))
    assert handlers.status(answer) == "Success"
    assert received(answer) == [b"one", b"two", b"one"]
    assert [e.text for e in answer.body.iter("{*}mimeType")] == ["text/plain", "text/goofy", "text/plain"]
    some = world.retrieve((own, one.unique_id), (own, "9.9.9"), ("1.2.3", one.unique_id))
    assert handlers.status(some) == "PartialSuccess"
    assert [code for code, _ in handlers.errors(some)] == ["XDSDocumentUniqueIdError", "XDSUnknownRepositoryId"]
    assert "9.9.9" in handlers.errors(some)[0][1]
    assert received(some) == [b"one"]
    none = world.retrieve((own, "9.9.9"))
    assert handlers.status(none) == "Failure"
    assert Disclosure.objects.filter(what="bytes").count() == 3


def test_what_is_asked_of_another_community_is_not_given_from_here_and_all_else_is(settings: Any) -> None:
    own, home = settings.REPOSITORY_UNIQUE_ID, settings.HOME_COMMUNITY_ID
    one, two = provided(b"one"), provided(b"two", home_community_id="urn:oid:2.999.78")
    some = world.retrieve(
        (own, one.unique_id, home), (own, one.unique_id, "urn:oid:2.999.78"), (own, two.unique_id, "urn:oid:2.999.78"),
        ("1.2.3", "9.9.9", "urn:oid:2.999.79"),
    )  # fmt: skip
    assert handlers.status(some) == "PartialSuccess"
    assert received(some) == [b"one", b"two"]
    assert [e.text for e in some.body.iter("{*}HomeCommunityId")] == [home, "urn:oid:2.999.78"]
    assert [code for code, _ in handlers.errors(some)] == ["XDSUnknownCommunity"] * 2
    assert [said.split()[0] for _, said in handlers.errors(some)] == ["urn:oid:2.999.78", "urn:oid:2.999.79"]
    assert Disclosure.objects.filter(what="bytes").count() == 2
    # There or not: what is asked of another community is one answer, and nothing has left.
    for unique_id in (one.unique_id, "9.9.9"):
        none = world.retrieve((own, unique_id, "urn:oid:2.999.79"))
        assert handlers.status(none) == "Failure"
        assert [code for code, _ in handlers.errors(none)] == ["XDSUnknownCommunity"]
    assert Disclosure.objects.filter(what="bytes").count() == 2


def test_many_documents_are_given_at_once_and_too_many_are_refused(settings: Any, monkeypatch: Any) -> None:
    own, one = settings.REPOSITORY_UNIQUE_ID, provided(b"one" * 1000)
    wanted = [(own, one.unique_id)] * 20
    assert received(world.retrieve(*wanted)) == [b"one" * 1000] * 20
    monkeypatch.setattr(retrieve, "MOST_AT_ONCE", 19)
    refused = world.retrieve(*wanted)
    assert [code for code, _ in handlers.errors(refused)] == ["XDSRepositoryError"]
    assert not refused.attachments


def test_bytes_that_are_damaged_keep_no_other_document_back(settings: Any) -> None:
    good, bad = (entry(repository_unique_id=None, hash=None, size=None) for _ in range(2))
    answer = world.provide(world.submission(good, bad), {good.entry_uuid: b"good", bad.entry_uuid: b"bad"})
    assert handlers.errors(answer) == []
    row = DocumentEntry.objects.get(unique_id=bad.unique_id)
    store().delete(row.binary.blob.storage_key)
    own = settings.REPOSITORY_UNIQUE_ID
    answer = world.retrieve((own, good.unique_id), (own, bad.unique_id), (own, "2.999.404"))
    assert handlers.errors(answer) == [
        ("XDSRepositoryError", f"{bad.unique_id} cannot be read: stored bytes are missing"),
        ("XDSDocumentUniqueIdError", "there is no document 2.999.404"),
    ]
    assert answer.body[0].get("status", "").endswith("PartialSuccess")
    assert [b"".join(one.chunks) for one in answer.attachments] == [b"good"]
    left = Disclosure.objects.filter(event__kind="ITI-43").values_list("document_id", flat=True)
    assert [str(one) for one in left] == [str(DocumentEntry.objects.get(unique_id=good.unique_id).entry_uuid)]
    answer = world.retrieve((own, bad.unique_id), (own, "2.999.404"))
    assert [code for code, _ in handlers.errors(answer)] == ["XDSRepositoryError", "XDSDocumentUniqueIdError"]
    assert handlers.status(answer) == "Failure"


def test_a_replaced_document_can_still_be_retrieved(settings: Any) -> None:
    one = provided(b"one")
    row = DocumentEntry.objects.get()
    new = entry()
    registered(new, associations=(samples.relation(RPLC, new.entry_uuid, f"urn:uuid:{row.entry_uuid}"),))
    assert received(world.retrieve((settings.REPOSITORY_UNIQUE_ID, one.unique_id))) == [b"one"]


def test_a_document_that_is_offline_is_not_there(settings: Any) -> None:
    one = provided(b"one")
    DocumentEntry.objects.update(document_availability="urn:ihe:iti:2010:DocumentAvailability:Offline")
    answer = world.retrieve((settings.REPOSITORY_UNIQUE_ID, one.unique_id))
    assert [code for code, _ in handlers.errors(answer)] == ["XDSDocumentUniqueIdError"]
    assert not ids(find())
    assert ids(find(MetadataLevel="2"))


def test_a_document_registered_from_elsewhere_is_not_of_this_repository(settings: Any) -> None:
    one = entry()
    registered(one)
    answer = world.retrieve((settings.REPOSITORY_UNIQUE_ID, one.unique_id))
    assert [code for code, _ in handlers.errors(answer)] == ["XDSDocumentUniqueIdError"]


def test_a_hidden_document_is_answered_as_one_that_is_not_there(settings: Any) -> None:
    own = settings.REPOSITORY_UNIQUE_ID
    one = provided(b"one")
    doctor = hospital_caller()
    assert received(world.retrieve((own, one.unique_id), who=doctor)) == [b"one"]
    hide(f"urn:uuid:{DocumentEntry.objects.get().entry_uuid}")
    hidden, absent = world.retrieve((own, one.unique_id), who=doctor), world.retrieve((own, "9.9.9"), who=doctor)
    assert answer_text(hidden).replace(one.unique_id, "9.9.9") == answer_text(absent)
    assert AuditEvent.objects.filter(kind="ITI-43", outcome=4).count() == 2


# -- communities ----------------------------------------------------------------------------------------------------


def for_home(home: str, **more: Any) -> Answer:
    body = world.asking(
        Kind.FIND_DOCUMENTS, {"XDSDocumentEntryPatientId": cx(), "XDSDocumentEntryStatus": APPROVED}, **more
    )
    body.find("{*}AdhocQuery").set("home", home)
    return handlers.call(world.QUERY, body, caller())


def test_the_community_that_a_query_names_is_a_gateway_s_to_look_at(settings: Any) -> None:
    one = registered(entry()).entries[0].entry_uuid
    for home in (settings.HOME_COMMUNITY_ID, "urn:oid:1.1.1", "nowhere", ""):
        assert ids(for_home(home)) == {one}


def test_every_object_of_an_answer_says_which_community_holds_it(settings: Any) -> None:
    held = entry(home_community_id="urn:oid:2.999.78")
    wanted = registered(entry(), held, folders=(folder(),))
    own = wanted.submission_set.entry_uuid
    for refs in (False, True):
        answer = query(Kind.GET_SUBMISSION_SET_AND_CONTENTS, XDSSubmissionSetEntryUUID=f"'{own}'", refs=refs)
        (listed,) = answer.body.iter("{*}RegistryObjectList")
        said = {one.get("id"): one.get("home") for one in listed}
        assert len(said) == 7
        assert said.pop(wanted.entries[1].entry_uuid) == "urn:oid:2.999.78"
        assert set(said.values()) == {settings.HOME_COMMUNITY_ID}
