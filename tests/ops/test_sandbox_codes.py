"""The sandbox's own affinity domain: its documents and those of usual clients are within it, others are warned of."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.management import call_command

from hie.ops.sandbox import load, world, xds
from hie.standards import oids
from hie.terminology import affinity_domain
from hie.terminology.affinity_domain import Asked, Verdict
from hie.terminology.models import CodeSet

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _loaded() -> None:
    call_command("affinity_domain", str(load.CODES), verbosity=0)


def documents() -> Iterator[world.Document]:
    for patient in (*world.PATIENTS, *world.DOUBTS):
        yield from patient.documents
    for community in world.COMMUNITIES:
        for found in community.documents.values():
            yield from found


def codes_of_the_sandbox() -> Iterator[Asked]:
    for document in documents():
        yield Asked(attribute="typeCode", code=document.type_code, scheme=world.LOINC)
        yield Asked(attribute="mimeType", code=load.MIME[document.kind], scheme="")
        yield Asked(attribute="confidentialityCode", code=document.confidentiality, scheme=load.CONFIDENTIALITY)
        for label in document.labels:
            yield Asked(attribute="confidentialityCode", code=label, scheme=load.ACT_CODE)
    for code, scheme in load.FORMAT.values():
        yield Asked(attribute="formatCode", code=code, scheme=scheme)
    for attribute, one in (
        ("classCode", xds.SUMMARY), ("contentTypeCode", xds.SUMMARY), ("confidentialityCode", xds.NORMAL),
        ("healthcareFacilityTypeCode", xds.HOSPITAL), ("practiceSettingCode", xds.GENERAL),
        *(("formatCode", one) for one in (*xds.FORMAT.values(), xds.SUFFICIENT)),
    ):  # fmt: skip
        yield Asked(attribute=attribute, code=one.code, scheme=oids.scheme_uri(one.scheme))


def test_what_the_sandbox_holds_is_within_its_affinity_domain() -> None:
    asked = set(codes_of_the_sandbox())
    assert {item.attribute for item in asked} >= {"typeCode", "classCode", "formatCode", "mimeType"}
    assert [item for item, said in affinity_domain.check(asked).items() if said is not Verdict.ACCEPTED] == []


@pytest.mark.parametrize(
    ("attribute", "code", "scheme", "verdict"),
    [
        ("typeCode", "11369-6", "http://loinc.org", Verdict.ACCEPTED),
        ("typeCode", "*", "http://loinc.org", Verdict.WARN),
        ("typeCode", "11369-6", "urn:oid:2.999.1", Verdict.WARN),
        ("confidentialityCode", "X", load.CONFIDENTIALITY, Verdict.REFUSED),
        ("classCode", "REPORTS", "urn:oid:1.3.6.1.4.1.19376.1.2.6.1", Verdict.ACCEPTED),
        ("practiceSettingCode", "Practice-C", "urn:oid:1.3.6.1.4.1.21367.2017.3", Verdict.ACCEPTED),
        ("mimeType", "image/webp", "", Verdict.ACCEPTED),
        ("mimeType", "application/x-own", "", Verdict.WARN),
        ("eventCodeList", "E1", "urn:oid:2.999.1", Verdict.WARN),
    ],
)
def test_whole_public_systems_are_in_and_a_system_of_ones_own_is_not(
    attribute: str, code: str, scheme: str, verdict: Verdict
) -> None:
    item = Asked(attribute=attribute, code=code, scheme=scheme)
    assert affinity_domain.check([item]) == {item: verdict}


def test_the_file_s_version_and_modes_are_the_sets_own() -> None:
    rows = {row.attribute: row for row in CodeSet.objects.all()}
    assert {row.source for row in rows.values()} == {"codes.xml 2026.1"}
    assert (rows["confidentialityCode"].mode, rows["typeCode"].mode) == (CodeSet.Mode.ENFORCE, CodeSet.Mode.WARN)
