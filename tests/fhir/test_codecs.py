"""DocumentReference and List lose nothing on the way to metadata and back, nor metadata on the way to FHIR."""

from __future__ import annotations

import string
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from documents.metadata import (
    CX,
    XCN,
    XON,
    Author,
    CodedValue,
    EntryMetadata,
    FolderMetadata,
    ReferenceId,
    SubmissionSetMetadata,
)
from hie.faces.fhir import document_reference, list_resource
from hie.standards import fhir
from tests.fhir.conftest import concept, submission_set
from tests.fhir.conftest import document_reference as smallest

UUID = "urn:uuid:11111111-2222-4333-8444-555555555555"
words = st.text(string.ascii_letters + "éü '-.", min_size=1, max_size=12).map(str.strip).filter(bool)
oids = st.integers(1, 9999).map(lambda n: f"1.2.3.{n}")
schemes = st.sampled_from(["http://loinc.org", "http://snomed.info/sct"]) | oids.map(lambda o: f"urn:oid:{o}")
codes = st.builds(CodedValue, code=st.from_regex(r"[A-Z0-9]{1,6}", fullmatch=True), scheme=schemes, display=words)
people = st.builds(XCN, id=oids, authority=oids, family=words, given=words)
organizations = st.builds(XON, name=words, id=st.from_regex(r"[a-z]{3,8}", fullmatch=True), authority=oids)
authors = st.builds(
    Author,
    person=people,
    institutions=st.lists(organizations, max_size=2, unique=True).map(tuple),
    roles=st.lists(words, max_size=1).map(tuple),
    telecommunications=st.just(()) | st.just(("^NET^Internet^a@b.example",)),
)
times = st.datetimes(min_value=__import__("datetime").datetime(1900, 1, 1)).flatmap(
    lambda t: st.sampled_from([4, 6, 8, 10, 12, 14]).map(lambda n: f"{t:%Y%m%d%H%M%S}"[:n])
)
maybe = st.none()
entries = st.builds(
    EntryMetadata,
    entry_uuid=st.just(UUID),
    unique_id=oids,
    patient_id=st.none(),
    mime_type=st.sampled_from(["text/xml", "application/pdf"]),
    authors=st.lists(authors, max_size=2, unique=True).map(tuple),
    legal_authenticator=maybe | people,
    class_code=maybe | codes,
    type_code=maybe | codes,
    format_code=maybe | codes,
    healthcare_facility_type_code=maybe | codes,
    practice_setting_code=maybe | codes,
    confidentiality_codes=st.lists(codes, max_size=2).map(tuple),
    event_codes=st.lists(codes, max_size=2).map(tuple),
    creation_time=maybe | times,
    service_start_time=maybe | times,
    service_stop_time=maybe | times,
    language_code=maybe | st.just("de-CH"),
    hash=maybe | st.binary(min_size=20, max_size=20).map(bytes.hex),
    size=maybe | st.integers(0, 10**9),
    source_patient_id=maybe | st.builds(CX, value=oids, authority=oids),
    source_patient_info=st.just(()) | st.just(("PID-5|Doe^Jane^Q", "PID-7|19700131", "PID-8|F")),
    reference_ids=st.lists(
        st.builds(ReferenceId, value=oids, authority=oids, type_code=st.just("urn:ihe:iti:xds:2013:order")), max_size=2
    ).map(tuple),
    title=maybe | words,
    comments=maybe | words,
)
sets = st.builds(
    SubmissionSetMetadata,
    entry_uuid=st.just(UUID),
    unique_id=oids,
    source_id=oids,
    patient_id=st.none(),
    submission_time=times.filter(lambda t: len(t) == 14),
    authors=st.lists(authors.map(lambda a: replace(a, roles=())), max_size=2, unique=True).map(tuple),
    content_type_code=maybe | codes,
    title=maybe | words,
    comments=maybe | words,
)
folders = st.builds(
    FolderMetadata,
    entry_uuid=st.just(UUID),
    unique_id=oids,
    patient_id=st.none(),
    codes=st.lists(codes, max_size=3).map(tuple),
    title=maybe | words,
    comments=maybe | words,
)


@settings(max_examples=150, deadline=None)
@given(entries)
def test_an_entry_survives_fhir(entry):
    resource = document_reference.encode(entry, document_reference.Surroundings(attachment_url="Binary/1"))
    assert fhir.check(resource) == []
    back = document_reference.decode(resource, entry_uuid=UUID, patient_id=None)
    assert replace(back, extra={}) == entry


@settings(max_examples=100, deadline=None)
@given(sets)
def test_a_submission_set_survives_fhir(value):
    resource = list_resource.encode_submission_set(value, list_resource.Surroundings())
    assert fhir.check(resource) == []
    back = list_resource.decode_submission_set(resource, entry_uuid=UUID, unique_id="x", patient_id=None)
    assert replace(back, extra={}) == value


@settings(max_examples=60, deadline=None)
@given(folders)
def test_a_folder_survives_fhir(value):
    resource = list_resource.encode_folder(value, list_resource.Surroundings(), "")
    assert fhir.check(resource) == []
    back = list_resource.decode_folder(resource, entry_uuid=UUID, unique_id="x", patient_id=None)
    assert replace(back, extra={}) == value


RICH = {
    "two-codings": {"type": {"coding": [{"system": "http://loinc.org", "code": "1"}, {"system": "urn:x", "code": "2"}], "text": "t"}},
    "oid-system": {"type": concept("urn:oid:2.16.840.1.113883.6.1", "34133-9")},
    "zone-and-fraction": {"context": {"period": {"start": "2026-03-01T10:00:00.123+02:00"}}},
    "extension": {"extension": [{"url": "urn:x", "valueString": "y"}]},
    "more-identifiers": {"identifier": [{"system": "urn:y", "value": "1"}]},
    "photo-of-author": {
        "contained": [
            {"resourceType": "Practitioner", "id": "p", "name": [{"family": "A"}, {"family": "B"}], "gender": "female"}
        ],
        "author": [{"reference": "#p", "display": "Dr A"}],
    },
    "outside-author": {"author": [{"reference": "Practitioner/1"}]},
    "custodian": {"custodian": {"reference": "Organization/1"}},
    "related-reference": {"context": {"related": [{"reference": "Observation/1"}]}},
    "narrative": {"text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'}},
}  # fmt: skip


@pytest.mark.parametrize("elements", RICH.values(), ids=RICH.keys())
def test_what_has_no_attribute_comes_back_as_it_was(elements):
    resource = smallest(b"x", "Binary/1", **elements)
    entry = document_reference.decode(resource, entry_uuid=UUID, patient_id=None)
    back = document_reference.encode(entry, document_reference.Surroundings(attachment_url="Binary/1"))
    for name, value in elements.items():
        if name == "identifier":
            assert back["identifier"][1:] == value
        else:
            assert back[name] == value


def test_a_changed_attribute_is_shown_instead_of_what_was_kept():
    resource = smallest(b"x", "Binary/1", **RICH["two-codings"])
    entry = document_reference.decode(resource, entry_uuid=UUID, patient_id=None)
    changed = replace(entry, type_code=CodedValue(code="3", scheme="http://loinc.org"))
    shown = document_reference.encode(changed, document_reference.Surroundings())
    assert shown["type"] == {"coding": [{"system": "http://loinc.org", "code": "3"}]}


def test_a_rich_list_comes_back_as_it_was():
    resource = submission_set([], note=[{"text": "one"}, {"text": "two"}], title="T")
    value = list_resource.decode_submission_set(resource, entry_uuid="s", unique_id="1.2.3", patient_id=None)
    back = list_resource.encode_submission_set(value, list_resource.Surroundings())
    assert back["note"] == resource["note"]
    assert sorted(e["url"] for e in back["extension"]) == sorted(e["url"] for e in resource["extension"])
