"""A FHIR Patient to demographics and back, losing nothing."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from hie.standards.demographics import Demographics, from_json, to_json
from hie.standards.errors import MalformedContent
from hie.standards.fhir_patient import IDENTITY_RELIABILITY, MOTHERS_MAIDEN_NAME, UNKNOWN_IDENTITY, from_fhir, to_fhir

SHARED = Path(os.environ.get("HIE_SHARED", "../shared"))
FULL: dict[str, Any] = {
    "resourceType": "Patient",
    "extension": [{"url": MOTHERS_MAIDEN_NAME, "valueString": "Alvarez"}, {"url": "urn:other", "valueCode": "x"}],
    "identifier": [
        {
            "use": "official",
            "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}], "text": "MRN"},
            "system": "urn:oid:2.999.1",
            "value": "A1",
            "period": {"start": "2020"},
            "assigner": {"display": "Clinic"},
        }
    ],
    "active": True,
    "name": [
        {"use": "official", "family": "Smithson", "given": ["Maria", "J."], "prefix": ["Dr"], "suffix": ["PhD"],
         "_family": {"extension": []}},
        {"use": "maiden", "family": "Okafor"},
    ],
    "telecom": [{"system": "phone", "value": "555-201-3344", "use": "home", "rank": 1}],
    "gender": "female",
    "birthDate": "1980-03-14",
    "_birthDate": {"extension": [{"url": "urn:time", "valueDateTime": "1980-03-14T10:00:00Z"}]},
    "deceasedDateTime": "2020-05-01",
    "address": [{"line": ["12 Main St", "Apt 4"], "city": "Springfield", "state": "IL", "postalCode": "62701", "country": "US"}],
    "maritalStatus": {"text": "Married", "coding": [{"code": "M"}]},
    "multipleBirthInteger": 2,
    "contact": [{"name": {"text": "Mother"}}],
    "communication": [
        {"language": {"coding": [{"code": "es"}]}},
        {"language": {"coding": [{"code": "en"}]}, "preferred": True},
    ],
}  # fmt: skip


def test_a_patient_comes_back_as_it_was() -> None:
    found = from_fhir(FULL)
    assert to_fhir(found) == FULL
    assert from_json(json.loads(json.dumps(to_json(found)))) == found
    assert found.mothers_maiden_name == "Alvarez"
    assert found.languages == ("en", "es")
    assert (found.multiple_birth, found.deceased, found.marital_status) == (2, "2020-05-01", "M")
    assert (found.identifiers[0].type, found.identifiers[0].authority) == ("MR", "2.999.1")


@pytest.mark.parametrize(
    ("change", "element"),
    [
        ({"resourceType": "Person"}, "Patient.resourceType"),
        ({"birthDate": "14.3.1980"}, "Patient.birthDate"),
        ({"birthDate": "1980-13-01"}, "Patient.birthDate"),
        ({"gender": "F"}, "Patient.gender"),
        ({"name": {"family": "x"}}, "Patient.name"),
        ({"name": ["x"]}, "Patient.name[0]"),
        ({"name": [{"given": "Maria"}]}, "Patient.name[0].given"),
        ({"name": [{"family": "a\x00b"}]}, "Patient.name[0].family"),
        ({"name": [{"use": "best"}]}, "Patient.name[0].use"),
        ({"telecom": [{"rank": 0}]}, "Patient.telecom[0].rank"),
        ({"identifier": [{"value": 7}]}, "Patient.identifier[0].value"),
        ({"identifier": [{"value": "7", "period": {"start": "soon"}}]}, "Patient.identifier[0].period.start"),
        ({"deceasedBoolean": "yes"}, "Patient.deceasedBoolean"),
        ({"multipleBirthInteger": True}, "Patient.multipleBirthInteger"),
        ({"active": 1}, "Patient.active"),
        ({"maritalStatus": "M"}, "Patient.maritalStatus"),
        ({"extension": [{"url": MOTHERS_MAIDEN_NAME, "valueString": 1}]}, "Patient.extension[0].valueString"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_element(change: dict[str, Any], element: str) -> None:
    with pytest.raises(MalformedContent) as refused:
        from_fhir({**FULL, **change})
    assert refused.value.element == element
    assert "Smithson" not in str(refused.value)


@pytest.mark.parametrize("body", [None, [], "Patient", 3])
def test_what_is_no_object_is_refused(body: Any) -> None:
    with pytest.raises(MalformedContent):
        from_fhir(body)


@pytest.mark.shared
def test_every_shared_patient_comes_back_as_it_was() -> None:
    count = 0
    for path in sorted((SHARED / "data/fhir/synthea-r4").glob("*.gz")):
        for entry in json.loads(gzip.decompress(path.read_bytes()))["entry"]:
            if entry["resource"]["resourceType"] == "Patient":
                resource = entry["resource"]
                expected = {key: value for key, value in resource.items() if key not in ("id", "meta")}
                assert to_fhir(from_fhir(resource)) == expected
                count += 1
    assert count == 60


def test_a_mistyped_birth_date_is_evidence_in_bulk_and_never_sent_as_a_date() -> None:
    mistyped = {"resourceType": "Patient", "birthDate": "1980-31-04"}
    with pytest.raises(MalformedContent, match=r"Patient\.birthDate"):
        from_fhir(mistyped)
    found = from_fhir(mistyped, typing_errors=True)
    assert found.birth_date == "1980-31-04"
    sent = to_fhir(found)
    assert "birthDate" not in sent
    assert sent["_birthDate"]["extension"][0]["valueString"] == "1980-31-04"
    with pytest.raises(MalformedContent, match=r"Patient\.birthDate"):
        from_fhir({"resourceType": "Patient", "birthDate": "yesterday"}, typing_errors=True)


def test_an_occupation_is_read_from_its_extension() -> None:
    url = "http://example.org/fhir/StructureDefinition/patient-occupation"
    for value in ({"valueString": "baker"}, {"valueCodeableConcept": {"text": "baker"}}):
        found = from_fhir({"resourceType": "Patient", "extension": [{"url": url, **value}]})
        assert found.occupation == "baker"
        assert to_fhir(found)["extension"] == [{"url": url, **value}]


STATUS = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0445"


def reliability(*codes: str, url: str = IDENTITY_RELIABILITY) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [
        {"url": "identityStatus", "valueCoding": {"system": STATUS, "code": code}} for code in codes
    ]
    parts.append({"url": "validationMode", "valueCoding": {"code": "CN"}})
    return {"url": url, "extension": parts}


def test_how_far_the_sender_vouches_is_read_from_its_extensions_which_come_back_as_they_were() -> None:
    unknown = {"url": UNKNOWN_IDENTITY, "valueCodeableConcept": {"coding": [{"code": "known"}], "text": "Known"}}
    resource = {"resourceType": "Patient", "extension": [unknown, reliability("VALI", "DOUT")]}
    found = from_fhir(resource)
    assert found.reliability == ("known", "VALI", "DOUT")
    assert to_fhir(found) == resource
    assert from_fhir(
        {**resource, "extension": [reliability("PROV", url=IDENTITY_RELIABILITY.replace("https", "http"))]}
    ).reliability == ("PROV",)
    from_pid = Demographics(reliability=("unknown", "UD"))
    assert from_fhir(to_fhir(from_pid)).reliability == ("unknown", "UD")
    assert from_json(json.loads(json.dumps(to_json(from_pid)))) == from_pid


@pytest.mark.parametrize(
    ("extension", "element"),
    [
        ({"url": UNKNOWN_IDENTITY, "valueCodeableConcept": "known"}, "Patient.extension[0].valueCodeableConcept"),
        ({"url": UNKNOWN_IDENTITY, "valueCodeableConcept": {"coding": {}}}, "Patient.extension[0].valueCodeableConcept.coding"),
        ({"url": IDENTITY_RELIABILITY, "extension": [{"url": "comment", "valueCoding": 1}]}, "Patient.extension[0].extension[0].valueCoding"),
        ({"url": IDENTITY_RELIABILITY, "extension": [{"url": "identityStatus", "valueCoding": {"code": 5}}]}, "Patient.extension[0].extension[0].valueCoding.code"),
    ],
)  # fmt: skip
def test_an_extension_that_is_none_is_refused_by_its_element(extension: dict[str, Any], element: str) -> None:
    with pytest.raises(MalformedContent) as refused:
        from_fhir({"resourceType": "Patient", "extension": [extension]})
    assert refused.value.element == element
