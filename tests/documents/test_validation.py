"""One thing broken in a good submission gives exactly one refusal that names it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from documents import codec, dtm, validation
from documents.errors import (
    DuplicateUniqueIdInMessage,
    InvalidAttribute,
    InvalidStructure,
    MissingDocument,
    MissingDocumentMetadata,
    PatientIdDoesNotMatch,
    RequiredAttributeMissing,
    UnknownCode,
)
from documents.metadata import (
    CX,
    ON_DEMAND,
    XCN,
    XON,
    AssociationType,
    Author,
    CodedValue,
    MetadataLevel,
    ReferenceId,
    Submission,
)
from tests.documents.samples import ALICE, ALICE_ELSEWHERE, BOB, code, entry, folder, member, relation, submission

ELSEWHERE = "urn:uuid:11111111-1111-4111-8111-111111111111"


def only(wanted: Submission) -> Any:
    problems = validation.check(wanted)
    assert len(problems) == 1, problems
    return problems[0]


def test_a_complete_submission_has_no_problem() -> None:
    one, shelf = entry(), folder()
    wanted = submission(one, folders=(shelf,), associations=(member(shelf.entry_uuid, one.entry_uuid, None),))
    assert validation.check(wanted) == []


REQUIRED = {
    "class_code": ("classCode", None), "type_code": ("typeCode", None), "format_code": ("formatCode", None),
    "healthcare_facility_type_code": ("healthcareFacilityTypeCode", None),
    "practice_setting_code": ("practiceSettingCode", None), "confidentiality_codes": ("confidentialityCode", ()),
    "language_code": ("languageCode", None), "creation_time": ("creationTime", None),
    "source_patient_id": ("sourcePatientId", None),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUIRED)
def test_what_a_comprehensive_entry_needs_a_minimal_one_may_lack(name: str) -> None:
    attribute, nothing = REQUIRED[name]
    one = entry(**{name: nothing})
    refused = only(submission(one))
    assert isinstance(refused, RequiredAttributeMissing)
    assert refused.element == f"DocumentEntry[{one.entry_uuid}].{attribute}"
    assert validation.check(submission(one, level=MetadataLevel.MINIMAL)) == []


@pytest.mark.parametrize("level", MetadataLevel)
@pytest.mark.parametrize(("name", "nothing"), [("unique_id", ""), ("mime_type", ""), ("patient_id", None)])
def test_some_attributes_are_required_on_every_level(level: MetadataLevel, name: str, nothing: object) -> None:
    assert isinstance(only(submission(entry(**{name: nothing}), level=level)), RequiredAttributeMissing)


@pytest.mark.parametrize(
    ("changes", "attribute"),
    [
        ({"unique_id": "x" * 129}, "uniqueId"),
        ({"unique_id": "a\nb"}, "uniqueId"),
        ({"mime_type": "text"}, "mimeType"),
        ({"object_type": "urn:uuid:0"}, "objectType"),
        ({"creation_time": "2024-01-31"}, "creationTime"),
        ({"creation_time": "20240231"}, "creationTime"),
        ({"creation_time": "20240131120000+0100"}, "creationTime"),
        ({"service_start_time": "20240201", "service_stop_time": "20240131"}, "serviceStartTime"),
        ({"hash": "abc"}, "hash"),
        ({"size": -1}, "size"),
        ({"language_code": "english please"}, "languageCode"),
        ({"repository_unique_id": "1.02"}, "repositoryUniqueId"),
        ({"home_community_id": "1.2.3"}, "homeCommunityId"),
        ({"title": "x" * 5000}, "title"),
        ({"comments": "a\x00b"}, "comments"),
        ({"type_code": CodedValue(code="", scheme="http://loinc.org")}, "typeCode"),
        ({"type_code": CodedValue(code="1", scheme="")}, "typeCode"),
        ({"patient_id": CX(value="", authority="2.999.1")}, "patientId"),
        ({"source_patient_id": CX(value="1", authority="")}, "sourcePatientId"),
        ({"source_patient_info": ("PID-19|1",)}, "sourcePatientInfo"),
        ({"source_patient_info": ("name",)}, "sourcePatientInfo"),
        ({"authors": (Author(roles=("physician",)),)}, "author"),
        ({"authors": (Author(person=XCN(prefix="Dr"),),)}, "author"),
        ({"authors": (Author(institutions=(XON(name=""),)),)}, "author"),
        ({"reference_ids": (ReferenceId(value="1", type_code=""),)}, "referenceIdList"),
        ({"document_availability": "gone"}, "documentAvailability"),
        ({"limited_metadata": True}, "limitedMetadata"),
    ],
)  # fmt: skip
def test_a_malformed_attribute_is_named(changes: dict[str, Any], attribute: str) -> None:
    one = entry(**changes)
    refused = only(
        submission(one, **({"patient_id": one.patient_id} if "patient_id" in changes else {}))
        if "patient_id" not in changes
        else submission(one)
    )
    assert isinstance(refused, InvalidAttribute)
    assert refused.element == f"DocumentEntry[{one.entry_uuid}].{attribute}"


@pytest.mark.parametrize(
    "changes",
    [
        {"unique_id": "2.999.1^ext"},
        {"unique_id": "https://example.org/doc/1"},
        {"unique_id": "1.1.1.1^Test CCDA"},
        {"service_start_time": "2024", "service_stop_time": "20240131"},
        {"creation_time": "2024"},
        {"hash": "A" * 40},
        {"language_code": "zh-Hant-TW"},
        {"mime_type": 'text/plain; charset="utf-8"'},
    ],
)
def test_unusual_but_legal_attributes_pass(changes: dict[str, Any]) -> None:
    assert validation.check(submission(entry(**changes))) == []


@pytest.mark.parametrize("name", ["hash", "size", "creation_time"])
def test_an_on_demand_entry_has_nothing_of_fixed_content(name: str) -> None:
    live = entry(object_type=ON_DEMAND, creation_time=None)
    assert validation.check(submission(live)) == []
    value: object = {"hash": "0" * 40, "size": 1, "creation_time": "2024"}[name]
    assert isinstance(only(submission(replace(live, **{name: value}))), InvalidAttribute)


@pytest.mark.parametrize(
    ("changes", "attribute", "kind"),
    [
        ({"unique_id": "x"}, "uniqueId", InvalidAttribute),
        ({"source_id": "clinic"}, "sourceId", InvalidAttribute),
        ({"source_id": ""}, "sourceId", RequiredAttributeMissing),
        ({"submission_time": "today"}, "submissionTime", InvalidAttribute),
        ({"content_type_code": None}, "contentTypeCode", RequiredAttributeMissing),
    ],
)
def test_the_submission_sets_attributes_are_named(changes: dict[str, Any], attribute: str, kind: type) -> None:
    wanted = submission(entry(), **changes)
    refused = only(wanted)
    assert type(refused) is kind
    assert refused.element == f"SubmissionSet[{wanted.submission_set.entry_uuid}].{attribute}"  # type: ignore[attr-defined]  # every refusal of ours has one


def broken(change: str) -> Submission:
    one, two, shelf = entry(entry_uuid="d1"), entry(entry_uuid="d2"), folder(entry_uuid="f1")
    good = submission(one, two, folders=(shelf,), entry_uuid="s1")
    extra = {
        "same-id": lambda: replace(good, entries=(one, two, replace(two, unique_id="2.999.7.99"))),
        "not-a-member": lambda: replace(good, associations=good.associations[1:]),
        "folder-not-a-member": lambda: replace(good, associations=good.associations[:2]),
        "membership-not-linked": lambda: replace(
            good, associations=(*good.associations, member("f1", "d1", None))
        ),
        "dangling-end": lambda: submission(one, associations=(relation(AssociationType.RPLC, "d1", "nowhere"),)),
        "source-not-new": lambda: submission(one, associations=(relation(AssociationType.RPLC, ELSEWHERE, ELSEWHERE[:-1] + "2"),)),
        "target-in-message": lambda: submission(one, two, associations=(relation(AssociationType.RPLC, "d1", "d2"),)),
        "entry-with-members": lambda: submission(one, two, associations=(member("d1", "d2", None),)),
        "folder-of-folders": lambda: submission(
            folders=(shelf, folder(entry_uuid="f2")), associations=(member("f1", "f2", None),)
        ),
        "upper-case-uuid": lambda: submission(replace(one, entry_uuid=ELSEWHERE.upper().replace("URN:UUID", "urn:uuid").replace("1111-4", "AAAA-4"))),
    }  # fmt: skip
    return extra[change]()


@pytest.mark.parametrize(
    "change",
    [
        "same-id", "not-a-member", "folder-not-a-member", "membership-not-linked", "dangling-end", "source-not-new",
        "target-in-message", "entry-with-members", "folder-of-folders", "upper-case-uuid",
    ],
)  # fmt: skip
def test_objects_that_do_not_hang_together_are_refused(change: str) -> None:
    problems = validation.check(broken(change))
    assert problems
    assert all(isinstance(p, InvalidStructure) and p.element for p in problems), problems


def test_membership_says_original_for_new_and_reference_for_old_entries() -> None:
    one = entry(entry_uuid="d1")
    good = submission(one, entry_uuid="s1", associations=())
    reference = member("s1", ELSEWHERE, "Reference")
    assert validation.check(replace(good, associations=(*good.associations, reference))) == []
    for wrong in (replace(reference, submission_set_status="Original"), replace(reference, submission_set_status="X")):
        problems = validation.check(replace(good, associations=(*good.associations, wrong)))
        assert {type(p) for p in problems} == {InvalidAttribute}


def test_documents_and_entries_come_in_pairs() -> None:
    one, two = entry(entry_uuid="d1"), entry(entry_uuid="d2")
    assert validation.check(submission(one, contents={"d1": "x"})) == []
    assert isinstance(only(submission(one, two, contents={"d1": "x"})), MissingDocument)
    assert isinstance(only(submission(one, contents={"d1": "x", "d9": "y"})), MissingDocumentMetadata)


def test_a_unique_id_is_used_once_in_a_message() -> None:
    one = entry()
    refused = only(submission(one, entry(unique_id=one.unique_id)))
    assert isinstance(refused, DuplicateUniqueIdInMessage)
    assert isinstance(only(submission(entry(unique_id="2.999.5.5"), unique_id="2.999.5.5")), DuplicateUniqueIdInMessage)


@pytest.mark.parametrize(("level", "same"), [(MetadataLevel.XDS, False), (MetadataLevel.MINIMAL, True)])
def test_other_identifiers_of_one_patient_are_one_patient_only_outside_xds(level: MetadataLevel, same: bool) -> None:
    def one_person(one: CX, other: CX) -> bool:
        return {one, other} == {ALICE, ALICE_ELSEWHERE}

    mixed = submission(entry(patient_id=ALICE_ELSEWHERE), level=level)
    assert (not list(validation.check_patients(mixed, one_person))) is same
    foreign = submission(entry(patient_id=BOB), level=level)
    assert [type(p) for p in validation.check_patients(foreign, one_person)] == [PatientIdDoesNotMatch]


def test_codes_outside_the_affinity_domain_are_named() -> None:
    one = entry(event_codes=(code("E", "urn:oid:2.999.9"),))
    refused = list(validation.check_codes(submission(one), lambda attribute, value: attribute != "eventCodeList"))
    assert [(type(p), p.element) for p in refused] == [(UnknownCode, f"DocumentEntry[{one.entry_uuid}].eventCodeList")]


# -- codec and DTM ------------------------------------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)
CODED = st.builds(CodedValue, code=TEXT, scheme=TEXT, display=TEXT)
AUTHOR = st.builds(
    Author,
    person=st.none() | st.builds(XCN, id=TEXT, family=TEXT, given=TEXT, authority=TEXT),
    institutions=st.lists(st.builds(XON, name=TEXT, id=TEXT), max_size=2).map(tuple),
    roles=st.lists(TEXT, max_size=2).map(tuple),
    telecommunications=st.lists(TEXT, max_size=2).map(tuple),
)


@given(
    st.builds(
        entry,
        title=st.none() | TEXT,
        size=st.none() | st.integers(0, 2**62),
        authors=st.lists(AUTHOR, max_size=2).map(tuple),
        event_codes=st.lists(CODED, max_size=3).map(tuple),
        type_code=st.none() | CODED,
        legal_authenticator=st.none() | st.builds(XCN, id=TEXT),
        reference_ids=st.lists(st.builds(ReferenceId, value=TEXT, type_code=TEXT), max_size=2).map(tuple),
        extra=st.dictionaries(TEXT, st.lists(TEXT, max_size=2), max_size=2),
    )
)
def test_metadata_survives_its_stored_form(one: Any) -> None:
    import json

    assert codec.decode_entry(json.loads(json.dumps(codec.encode(one)))) == one


@pytest.mark.parametrize("text", ["2024", "202402", "20240229", "2024022923", "202402292359", "20240229235959"])
def test_a_time_covers_its_precision(text: str) -> None:
    covered = dtm.interval(text)
    assert covered is not None
    start, end = covered
    assert start < end
    assert dtm.from_datetime(start).startswith(text)
    assert not dtm.from_datetime(end).startswith(text)


@pytest.mark.parametrize(
    "text", ["", "202", "20241", "20230229", "20241301", "2024010124", "20240101000060", "２０２４"]
)
def test_what_is_no_time_is_told(text: str) -> None:
    assert not dtm.is_dtm(text)


@pytest.mark.parametrize(
    ("text", "fhir"),
    [("2024", "2024"), ("202402", "2024-02"), ("20240229", "2024-02-29"), ("2024022923", "2024-02-29T23:00:00Z")],
)
def test_a_time_in_fhir_keeps_its_precision(text: str, fhir: str) -> None:
    assert dtm.to_fhir(text) == fhir
