"""ebRIM loses nothing: metadata on its way to it and back, and every statement of every sample on its way to metadata."""

from __future__ import annotations

import datetime
import string
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from documents.metadata import (
    CX,
    ON_DEMAND,
    STABLE,
    XCN,
    XON,
    AssociationMetadata,
    AssociationType,
    Author,
    CodedValue,
    EntryMetadata,
    FolderMetadata,
    ReferenceId,
    Status,
    Submission,
    SubmissionSetMetadata,
)
from hie.faces.soap.ebxml import decode, encode, hl7, names
from tests.soap import rim

# -- generated metadata ---------------------------------------------------------------------------------------------

words = st.text(string.ascii_letters + "éü€漢 '-.^&|~\\", min_size=1, max_size=12).map(str.strip).filter(bool)
oids = st.integers(1, 9999).map(lambda n: f"1.2.3.{n}")
schemes = st.sampled_from(["http://loinc.org", "http://snomed.info/sct", "Connect-a-thon classCodes"]) | oids.map(
    lambda o: f"urn:oid:{o}"
)
codes = st.builds(CodedValue, code=st.from_regex(r"[A-Z0-9]{1,6}", fullmatch=True), scheme=schemes, display=words)
patient_ids = st.builds(CX, value=words, authority=oids)
people = st.builds(
    XCN, id=oids, authority=oids, family=words, given=words, second=words, suffix=words, prefix=words, degree=words
) | st.builds(XCN, family=words, given=words)
organizations = st.builds(XON, name=words, id=words, authority=oids) | st.builds(XON, name=words, id=oids)
texts = st.lists(words, max_size=2).map(tuple)
authors = st.builds(
    Author,
    person=people,
    institutions=st.lists(organizations, max_size=2).map(tuple),
    roles=texts,
    specialties=texts,
    telecommunications=st.just(()) | st.just(("^^Internet^a@b.example", "^PRN^PH^^1^206^5551212")),
)
times = st.datetimes(min_value=datetime.datetime(1900, 1, 1)).flatmap(
    lambda t: st.sampled_from([4, 6, 8, 10, 12, 14]).map(lambda n: f"{t:%Y%m%d%H%M%S}"[:n])
)
uuids = st.uuids().map(lambda one: f"urn:uuid:{one}")
homes = st.none() | oids.map(lambda oid: f"urn:oid:{oid}")
extras = st.just({}) | st.dictionaries(
    st.from_regex(r"urn:x:[a-z]{1,8}", fullmatch=True), st.lists(words, min_size=1, max_size=2), min_size=1, max_size=2
).map(lambda slots: {"slots": slots})


def some(strategy: Any) -> Any:
    return st.none() | strategy


def several(strategy: Any) -> Any:
    return st.lists(strategy, max_size=3).map(tuple)


entries = st.builds(
    EntryMetadata,
    entry_uuid=uuids | st.just("Document01"),
    unique_id=oids,
    patient_id=some(patient_ids),
    mime_type=st.sampled_from(["text/xml", "application/pdf"]),
    object_type=st.sampled_from([STABLE, ON_DEMAND]),
    availability_status=st.sampled_from(Status),
    logical_id=some(uuids),
    version=st.integers(1, 99),
    home_community_id=homes,
    repository_unique_id=some(oids),
    document_availability=some(st.just("urn:ihe:iti:2010:DocumentAvailability:Online")),
    authors=several(authors),
    legal_authenticator=some(people),
    class_code=some(codes),
    type_code=some(codes),
    format_code=some(codes),
    healthcare_facility_type_code=some(codes),
    practice_setting_code=some(codes),
    confidentiality_codes=several(codes),
    event_codes=several(codes),
    creation_time=some(times),
    service_start_time=some(times),
    service_stop_time=some(times),
    language_code=some(st.just("de-CH")),
    hash=some(st.binary(min_size=20, max_size=20).map(bytes.hex)),
    size=some(st.integers(0, 10**9)),
    source_patient_id=some(patient_ids),
    source_patient_info=st.just(()) | st.just(("PID-5|Doe^Jane^Q", "PID-7|19700131", "PID-8|F")),
    reference_ids=several(
        st.builds(ReferenceId, value=words, authority=oids, type_code=words, home_community_id=st.just("") | oids)
    ),
    title=some(words),
    comments=some(words),
    uri=some(st.just("DOC0001.XML")),
    limited_metadata=st.booleans(),
    extra=extras,
)
sets = st.builds(
    SubmissionSetMetadata,
    entry_uuid=uuids,
    unique_id=oids,
    source_id=oids,
    patient_id=some(patient_ids),
    submission_time=times,
    authors=several(authors),
    content_type_code=some(codes),
    intended_recipients=st.just(()) | st.just(("Some Hospital^^^^^^^^^1.2.3.9|^Welby^Marcus|^^Internet^a@b.example",)),
    title=some(words),
    comments=some(words),
    home_community_id=homes,
    limited_metadata=st.booleans(),
    extra=extras,
)
folders = st.builds(
    FolderMetadata,
    entry_uuid=uuids,
    unique_id=oids,
    patient_id=some(patient_ids),
    codes=several(codes),
    title=some(words),
    comments=some(words),
    logical_id=some(uuids),
    version=st.integers(1, 99),
    home_community_id=homes,
    limited_metadata=st.booleans(),
    extra=extras,
)
associations = st.builds(
    AssociationMetadata,
    entry_uuid=uuids,
    type=st.sampled_from(AssociationType),
    source=uuids,
    target=uuids,
    submission_set_status=st.sampled_from([None, "Original", "Reference"]),
    documentation=some(codes),
    extra=extras,
)
submissions = st.builds(
    Submission,
    submission_set=sets,
    entries=st.lists(entries, max_size=2, unique_by=lambda e: e.entry_uuid).map(tuple),
    folders=several(folders),
    associations=several(associations),
)


@settings(max_examples=200, deadline=None)
@given(submissions)
def test_a_submission_survives_ebrim_which_is_valid(wanted: Submission) -> None:
    listed = encode.submission(wanted)
    request = etree.Element(names.tag(names.LCM, "SubmitObjectsRequest"))
    request.append(listed)
    rim.check_schema(request)
    back = decode.submission(etree.fromstring(etree.tostring(request)))
    assert back.submission == wanted
    assert back.structure == back.attributes == ()


# -- samples --------------------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_every_statement_of_every_sample_is_said_again() -> None:
    seen = 0
    for name, listed in rim.samples():
        said = rim.statements(listed)
        if not any(etree.QName(one).localname == "RegistryPackage" for one in listed):
            package = etree.SubElement(listed, names.tag(names.RIM, "RegistryPackage"), {"id": "set"})
            etree.SubElement(
                package, names.tag(names.RIM, "Classification"), {"classificationNode": names.SUBMISSION_SET_NODE}
            )
        back = decode.from_objects(listed)
        again = rim.statements(encode.submission(back.submission))
        for object_id, wanted in said.items():
            if object_id in again:
                lost = {one for one in wanted - again[object_id] if one[:2] != ("attribute", "status")}
                assert not lost, (name, object_id, lost)
                seen += 1
            else:
                assert back.structure or back.attributes, (name, object_id)
    assert seen > 480


# -- what is tolerated, what is kept, what is named -----------------------------------------------------------------


def an_object(inner: str, attributes: str = 'id="d" mimeType="text/plain"') -> etree._Element:
    return etree.fromstring(
        f'<rim:RegistryObjectList xmlns:rim="{names.RIM}"><rim:ExtrinsicObject {attributes}'
        f' objectType="{STABLE}">{inner}</rim:ExtrinsicObject></rim:RegistryObjectList>'
    )


def slot(name: str, *values: str) -> str:
    listed = "".join(f"<rim:Value>{value}</rim:Value>" for value in values)
    return f'<rim:Slot name="{name}"><rim:ValueList>{listed}</rim:ValueList></rim:Slot>'


def entry_of(inner: str) -> EntryMetadata:
    return decode.from_objects(an_object(inner)).submission.entries[0]


def again(entry: EntryMetadata) -> str:
    listed = encode.Objects()
    listed.document_entry(entry)
    return etree.tostring(listed.element(), encoding="unicode")


def test_titles_in_several_languages_come_back_until_the_title_is_another() -> None:
    entry = entry_of(
        '<rim:Name><rim:LocalizedString xml:lang="de" value="Befund"/>'
        '<rim:LocalizedString xml:lang="en" charset="UTF-8" value="Report"/></rim:Name>'
    )
    assert entry.title == "Befund"
    assert 'xml:lang="en" charset="UTF-8" value="Report"' in again(entry)
    assert "Report" not in again(replace(entry, title="Brief"))


def test_a_person_comes_back_as_written_until_it_is_another() -> None:
    entry = entry_of(slot("legalAuthenticator", "^Welby^Marcus^^^^^^"))
    assert entry.legal_authenticator == XCN(family="Welby", given="Marcus")
    assert "<rim:Value>^Welby^Marcus^^^^^^</rim:Value>" in again(entry)
    changed = replace(entry, legal_authenticator=XCN(family="Kiley"))
    assert "<rim:Value>^Kiley</rim:Value>" in again(changed)


def test_classifications_and_identifiers_from_outside_belong_to_what_they_name() -> None:
    listed = an_object("")
    listed.append(
        etree.fromstring(
            f'<rim:Classification xmlns:rim="{names.RIM}" classifiedObject="d" nodeRepresentation="X"'
            f' classificationScheme="{names.ENTRY_CODES["typeCode"]}">{slot("codingScheme", "1.2.3")}</rim:Classification>'
        )
    )
    listed.append(
        etree.fromstring(
            f'<rim:ExternalIdentifier xmlns:rim="{names.RIM}" registryObject="d" value="1.2.9"'
            f' identificationScheme="{names.ENTRY_UNIQUE_ID}"/>'
        )
    )
    (entry,) = decode.from_objects(listed).submission.entries
    assert entry.type_code == CodedValue(code="X", scheme="urn:oid:1.2.3")
    assert entry.unique_id == "1.2.9"


def test_an_empty_value_list_is_an_absent_slot() -> None:
    assert entry_of(slot("creationTime")).creation_time is None
    assert entry_of(slot("creationTime")).extra == {}


def test_a_classification_of_nothing_is_named() -> None:
    listed = an_object("")
    listed.append(
        etree.fromstring(
            f'<rim:Classification xmlns:rim="{names.RIM}" classifiedObject="q" classificationNode="urn:x"/>'
        )
    )
    assert any("q" in str(problem) for problem in decode.from_objects(listed).structure)


PATIENT = f'<rim:ExternalIdentifier value="{{}}" identificationScheme="{names.ENTRY_PATIENT_ID}"/>'
CLASS = f'<rim:Classification classificationScheme="{names.ENTRY_CODES["classCode"]}" nodeRepresentation="A">{{}}</rim:Classification>'
AUTHOR = (
    f'<rim:Classification classificationScheme="{names.ENTRY_AUTHOR}" nodeRepresentation="">{{}}</rim:Classification>'
)


@pytest.mark.parametrize(
    ("inner", "attribute"),
    [
        pytest.param(slot("creationTime", "2020", "2021"), "creationTime", id="two-values"),
        pytest.param(slot("hash", "a") + slot("hash", "a"), "hash", id="slot-twice"),
        pytest.param(slot("size", "many"), "size", id="size-in-words"),
        pytest.param(PATIENT.format("P1^^^1.2.3"), "patientId", id="authority-in-namespace"),
        pytest.param(PATIENT.format("P1^^^&amp;1.2.3&amp;DNS"), "patientId", id="authority-no-oid"),
        pytest.param(PATIENT.format("P1^^^&amp;1.2.3&amp;ISO^MR"), "patientId", id="component-5"),
        pytest.param(PATIENT.format("a^^^&amp;1.2&amp;ISO") * 2, "patientId", id="two-patients"),
        pytest.param(slot("sourcePatientId", "P1"), "sourcePatientId", id="source-without-authority"),
        pytest.param(CLASS.format(slot("codingScheme", "1.2", "1.3")), "classCode", id="two-schemes"),
        pytest.param(CLASS.format(slot("codingScheme", "1.2")) * 2, "classCode", id="two-codes"),
        pytest.param(AUTHOR.format(slot("authorPerson", "^^Marcus")), "authorPerson", id="given-name-only"),
        pytest.param(AUTHOR.format(slot("authorPerson", "^W^^^^^^^&amp;1.2&amp;ISO")), "authorPerson", id="no-id"),
        pytest.param(AUTHOR.format(slot("authorInstitution", "A^^^^^^^^^7")), "authorInstitution", id="id-of-nobody"),
        pytest.param(AUTHOR.format(slot("authorTelecommunication", "555")), "authorTelecommunication", id="no-xtn"),
        pytest.param(slot(names.REFERENCE_ID_LIST, "7^^^&amp;1.2&amp;ISO"), "referenceIdList", id="no-type"),
        pytest.param(slot("URI", "a", "b"), "URI", id="pieces-without-number"),
        pytest.param(f'<rim:Name><rim:LocalizedString value="{"x" * 129}"/></rim:Name>', "title", id="long-title"),
    ],
)  # fmt: skip
def test_what_is_not_well_said_is_named_with_object_and_attribute(inner: str, attribute: str) -> None:
    assert not decode.from_objects(an_object(slot("languageCode", "de"))).attributes
    problems = decode.from_objects(an_object(inner)).attributes
    assert {problem.element for problem in problems} == {f"DocumentEntry[d].{attribute}"}


def test_every_problem_of_an_object_is_told_at_once() -> None:
    problems = decode.from_objects(an_object(slot("size", "x") + slot("sourcePatientId", "P"))).attributes
    assert len({problem.element for problem in problems}) == 2


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("^^Internet^a@b.example", True),
        ("^NET^Internet^a@b.example", True),
        ("^PRN^PH^^1^206^5551212", True),
        ("^PRN^CP^^^^^^^^^+12065551212", True),
        ("^PRN^PH^^1^206^5551212^^^^^12065551212", False),
        ("^PRN^PH", False),
        ("^WPN^Internet^a@b.example", False),
        ("^^Internet", False),
        ("206 5551212", False),
    ],
)
def test_telecommunications_are_of_one_of_three_forms(text: str, good: bool) -> None:
    assert (not list(hl7.check_xtn(text))) is good
