"""Media types, what bytes prove, and object identifiers."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hie.standards import mime, oids

MEDIA = Path(os.environ.get("HIE_SHARED", "../shared")) / "data" / "media"


@pytest.mark.parametrize(
    ("text", "essence", "parameters"),
    [
        ("text/xml", "text/xml", {}),
        (' Text/Plain; Charset="utf-8"', "text/plain", {"charset": "utf-8"}),
        ("application/fhir+json; fhirVersion=4.0; x=y", "application/fhir+json", {"fhirversion": "4.0", "x": "y"}),
        ("text", None, {}),
        ("text/", None, {}),
        ("a b/c", None, {}),
        ("", None, {}),
    ],
)
def test_media_types_are_read(text: str, essence: str | None, parameters: dict[str, str]) -> None:
    found = mime.parse(text)
    assert (found.essence if found else None) == essence
    assert not found or found.parameters == parameters


@pytest.mark.parametrize(
    ("declared", "head", "refused"),
    [
        ("application/pdf", b"%PDF-1.7\n", False),
        ("application/pdf", b"<a/>", True),
        ("application/pdf", b"hello", True),
        ("image/jpeg", b"\xff\xd8\xff\xe0", False),
        ("image/jpeg", b"\x89PNG\r\n\x1a\n", True),
        ("text/xml", b"<a/>", False),
        ("text/xml", b"<?xml-stylesheet type='text/xsl'?><a/>", False),
        ("text/xml", b"<!-- c --><a/>", False),
        ("text/xml", b"\x1f\x8b\x08", True),
        ("text/xml", b"%PDF-1.7", True),
        ("text/plain", b"hello", False),
        ("text/plain", "gr\u00fc\u00df".encode("latin-1"), False),
        ("text/plain", b"a\x00b", True),
        ("text/plain", b"%PDF-1.7", True),
        ("application/json", b' {"a": 1}', False),
        ("application/json", b"<a/>", True),
        ("application/dicom", b"\x00" * 128 + b"DICM", False),
        ("application/dicom", b"\x08\x00\x05\x00", False),
        ("application/dicom", b"%PDF-1.7", True),
        ("audio/x-wav", b"RIFF\x00\x00\x00\x00WAVE", False),
        ("application/octet-stream", b"anything", False),
        ("application/hl7-v2", b"MSH|", False),
    ],
)
def test_only_provable_contradictions_are_found(declared: str, head: bytes, refused: bool) -> None:
    media_type = mime.parse(declared)
    assert media_type is not None
    assert (mime.contradicts(media_type, head) is not None) is refused


@pytest.mark.shared
def test_the_samples_are_what_their_names_say() -> None:
    kinds = {
        ".dcm": "application/dicom", ".wav": "audio/wav", ".jpg": "image/jpeg", ".pdf": "application/pdf",
        ".ZIP": "application/zip", ".txt": "text/plain",
    }  # fmt: skip
    files = [path for path in MEDIA.iterdir() if path.suffix in kinds]
    assert len(files) == 14
    for path in files:
        assert mime.sniff(path.read_bytes()[: mime.SNIFF_BYTES]) == kinds[path.suffix], path.name


@given(st.binary(max_size=200))
def test_sniffing_never_fails(head: bytes) -> None:
    mime.sniff(head)
    mime.is_cda(head)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("1.2.3", True), ("2.999.1", True), ("0.0", True), ("1", False), ("3.1", False), ("1.02", False),
        ("1.2.", False), ("1..2", False), ("urn:oid:1.2", False), ("1.2\n", False), ("1." + "1" * 63, False),
        ("1." + "1" * 62, True), ("1.\u0661", False),
    ],
)  # fmt: skip
def test_oid_syntax(text: str, valid: bool) -> None:
    assert oids.is_oid(text) is valid


@pytest.mark.parametrize(
    ("system", "uri"),
    [
        ("2.16.840.1.113883.6.1", "http://loinc.org"),
        ("urn:oid:2.16.840.1.113883.6.96", "http://snomed.info/sct"),
        ("http://hl7.org/fhir/v3/ActReason", "http://terminology.hl7.org/CodeSystem/v3-ActReason"),
        ("2.999.7", "urn:oid:2.999.7"),
        ("http://example.org/x", "http://example.org/x"),
    ],
)
def test_schemes_have_one_uri(system: str, uri: str) -> None:
    assert oids.scheme_uri(system) == uri


def test_every_oid_of_a_scheme_goes_to_its_uri_and_the_uri_back_to_an_oid() -> None:
    for uri in oids.URI_OF_OID.values():
        assert oids.scheme_uri(oids.scheme_oid(uri)) == uri


@given(st.uuids())
def test_a_uuid_gives_a_valid_oid_of_its_own(value: uuid.UUID) -> None:
    assert oids.from_uuid(value) == f"2.25.{value.int}"
    assert oids.is_oid(oids.from_uuid(f"urn:uuid:{value}"))


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ("https://snomed.info/sct", "http://snomed.info/sct"),
        ("http://snomed.info/sct/", "http://snomed.info/sct"),
        ("http://snomed.info/sct/731000124108/version/20260301", "http://snomed.info/sct"),
        ("http://snomed.info/sct|http://snomed.info/sct/731000124108", "http://snomed.info/sct"),
        ("SNOMED CT", "http://snomed.info/sct"),
        ("HTTP://LOINC.ORG/", "http://loinc.org"),
        ("urn:hie:scheme:LOINC", "http://loinc.org"),
        ("2.16.840.1.113883.6.1", "http://loinc.org"),
        ("URN:OID:2.16.840.1.113883.6.1", "http://loinc.org"),
        ("I10C", "http://hl7.org/fhir/sid/icd-10-cm"),
        ("http://hl7.org/fhir/v3/ActCode", "http://terminology.hl7.org/CodeSystem/v3-ActCode"),
        ("urn:oid:2.999.1", "urn:oid:2.999.1"),
        ("local codes", "local codes"),
        ("", ""),
    ],
)
def test_a_scheme_is_compared_as_one_however_it_is_spelled(written: str, compared: str) -> None:
    assert oids.compared_scheme(written) == compared
    assert oids.kin_scheme(written) == compared


@pytest.mark.parametrize(
    ("written", "kin"),
    [
        ("http://fhir.de/CodeSystem/bfarm/icd-10-gm", "http://hl7.org/fhir/sid/icd-10"),
        ("http://hl7.org/fhir/sid/icd-9-cm/diagnosis", "http://hl7.org/fhir/sid/icd-9-cm"),
        ("urn:oid:2.16.840.1.113883.6.3.2", "http://hl7.org/fhir/sid/icd-10"),
        ("http://www.cms.gov/Medicare/Coding/ICD10", "http://www.cms.gov/Medicare/Coding/ICD10"),
        ("icd-10-pcs", "icd-10-pcs"),
        ("http://id.who.int/icd/release/11/mms", "http://id.who.int/icd/release/11/mms"),
    ],
)
def test_a_national_icd_is_kin_and_not_the_same(written: str, kin: str) -> None:
    assert oids.kin_scheme(written) == kin
    assert oids.compared_scheme(written) == written
