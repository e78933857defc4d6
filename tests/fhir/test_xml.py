"""XML on `/fhir`: every way in takes it, every way out gives it, and it says what JSON says."""

from __future__ import annotations

import base64
import json
from urllib.parse import urlencode

import pytest

from hie.standards import fhir, fhir_xml
from tests.exchange import world
from tests.fhir.conftest import bundle_of, document_reference, provide_bundle, submission_set
from tests.fhir.test_consents import consent

pytestmark = pytest.mark.django_db

XML = "application/fhir+xml"
HOSPITAL = f"urn:oid:{world.HOSPITAL_AUTHORITY}"


def read(answer):
    """The resource of an answer in XML."""
    assert answer["Content-Type"] == "application/fhir+xml; charset=utf-8"
    parsed = fhir_xml.loads(answer.content)
    assert parsed.problems == ()
    assert fhir.check(parsed.resource) == []
    return json.loads(fhir.dumps(parsed.resource))


def content(answer):
    return b"".join(answer) if answer.streaming else answer.content


def issue(answer):
    body = read(answer)
    assert body["resourceType"] == "OperationOutcome"
    return body["issue"][0]


def unnamed(bundle):
    """A Bundle without what is new in every answer."""
    held = json.loads(json.dumps(bundle))
    for passing in ("id", "meta", "link"):
        held.pop(passing, None)
    return held


def someone(value="P9", **changes):
    return {
        "resourceType": "Patient",
        "identifier": [{"system": HOSPITAL, "value": value}],
        "active": True,
        "name": [{"family": "Tamblyn", "given": ["Ottoline"]}],
        "gender": "female",
        "birthDate": "1987-02-03",
    } | changes


def put(client, patient, value="P9"):
    return client.call(
        "PUT", f"/Patient?identifier={HOSPITAL}|{value}", fhir_xml.dumps(patient), content_type=XML, Accept=XML
    )


def test_a_patient_fed_in_xml_is_stored_and_answered_as_one_fed_in_json(hub_world):
    made = put(hub_world.hospital, someone())
    assert made.status_code == 201
    assert read(made)["name"] == [{"family": "Tamblyn", "given": ["Ottoline"]}]
    path = made["Location"].partition("/_history")[0]
    in_json = hub_world.hospital.get(path).json()
    assert in_json["birthDate"] == "1987-02-03"
    assert read(hub_world.hospital.get(path, Accept=XML)) == in_json
    assert put(hub_world.hospital, someone(gender="other")).status_code == 200
    assert hub_world.hospital.get(path).json()["gender"] == "other"


@pytest.mark.parametrize(
    "path",
    [
        "/metadata",
        "/Patient/{person}",
        "/Patient?family=Quarrel",
        "/Patient/$ihe-pix?sourceIdentifier=urn:oid:2.999.10.2.1|P1",
        "/DocumentReference?patient={person}",
        "/List?patient={person}&code=submissionset&status=current",
        "/Consent?patient={person}",
        "/AuditEvent?date=ge2020-01-01&patient={person}",
    ],
)
def test_every_way_out_says_the_same_in_both(hub_world, path):
    assert hub_world.hospital.post("", provide_bundle()).status_code == 200
    path = path.format(person=hub_world.person)
    plain = hub_world.hospital.get(path)
    in_xml = hub_world.hospital.get(path, Accept=XML)
    assert (plain.status_code, in_xml.status_code) == (200, 200), plain.content
    if "AuditEvent" in path:  # the first question is in the answer to the second
        assert read(in_xml)["entry"][-1] == plain.json()["entry"][-1]
        return
    assert unnamed(read(in_xml)) == unnamed(plain.json())
    assert plain.json().get("total", 1) == ("Consent" not in path)


@pytest.mark.parametrize(
    ("query", "accept", "xml"),
    [
        ("_format=xml", "application/fhir+json", True),
        ("_format=application/fhir%2Bxml", "*/*", True),
        ("_format=application/fhir+xml", "*/*", True),
        ("_format=json", XML, False),
        ("", "application/xml", True),
        ("", "text/xml;q=0.4, application/json;q=0.3", True),
        ("", "application/fhir+xml;q=0.4, application/json;q=0.5", False),
        ("", "application/fhir+xml, application/fhir+json", True),
        ("", "application/fhir+json, application/fhir+xml", False),
        ("", "application/fhir+xml;q=0.1, */*;q=0.5", False),
        ("", "application/fhir+json;q=0, */*", True),
        ("", "application/fhir+xml; fhirVersion=5.0, application/fhir+json", False),
        ("", "*/*", False),
    ],
)
def test_format_decides_before_accept_and_accept_by_its_qualities(hub_world, query, accept, xml):
    answer = hub_world.clinic.get(f"/Patient/{hub_world.person}?{query}", Accept=accept)
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith(XML if xml else "application/fhir+json")
    assert "Accept" in answer["Vary"]


def test_a_posted_search_is_answered_in_the_format_of_its_form(hub_world):
    form = {"content_type": "application/x-www-form-urlencoded", "Accept": "text/html"}
    answer = hub_world.clinic.post("/Patient/_search", urlencode({"family": "Quarrel", "_format": "xml"}), **form)
    assert read(answer)["total"] == 1
    refused = hub_world.clinic.post("/Patient/_search", urlencode({"family": "Quarrel"}), **form)
    assert (refused.status_code, refused.json()["issue"][0]["code"]) == (406, "not-supported")


def test_refusals_are_in_the_format_that_was_asked_for(hub_world):
    assert issue(hub_world.nobody.get("/Patient/1", Accept=XML))["code"] == "login"
    assert issue(hub_world.clinic.get("/Patient/1?_format=xml"))["code"] == "not-found"
    assert issue(hub_world.clinic.get("/Spaceship", Accept=XML))["code"] == "not-found"
    assert issue(hub_world.clinic.call("DELETE", "/Consent/x", Accept=XML))["code"] == "not-supported"
    assert issue(put(hub_world.clinic, someone()))["code"] == "forbidden"


@pytest.mark.parametrize(
    ("body", "status", "where"),
    [
        pytest.param(b'{"resourceType": "Patient"}', 400, None, id="json"),
        pytest.param(b'<Patient xmlns="http://hl7.org/fhir">', 400, None, id="cut"),
        pytest.param(b'<!DOCTYPE Patient [<!ENTITY x SYSTEM "file:///etc/passwd">]><Patient xmlns="http://hl7.org/fhir"/>', 400, None, id="doctype"),
        pytest.param(b"<Patient><active value='true'/></Patient>", 400, ["Patient"], id="no-namespace"),
        pytest.param(b'<Observation xmlns="http://hl7.org/fhir"/>', 400, ["resourceType"], id="another-resource"),
        pytest.param(b'<Patient xmlns="http://hl7.org/fhir"><active value="yes"/><colour/></Patient>', 400, ["Patient.active"], id="two-problems"),
        pytest.param(b'<Patient xmlns="http://hl7.org/fhir"><birthDate value="03.02.1987"/></Patient>', 400, ["Patient.birthDate"], id="no-date"),
        pytest.param(b'<Patient xmlns="http://hl7.org/fhir"><active value="true"/></Patient>', 422, ["Patient.identifier"], id="profile"),
    ],
)  # fmt: skip
def test_a_hostile_body_in_xml_is_refused_with_an_outcome(hub_world, body, status, where):
    path = f"/Patient?identifier={HOSPITAL}|P9"
    answer = hub_world.hospital.call("PUT", path, body, content_type=XML, Accept=XML)
    assert answer.status_code == status, answer.content
    assert issue(answer).get("expression") == where
    assert b"passwd" not in answer.content


def test_a_match_is_asked_and_answered_in_xml(hub_world):
    asked = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "count", "valueInteger": 3},
            {
                "name": "resource",
                "resource": {
                    "resourceType": "Patient",
                    "name": [{"family": "Quarrel", "given": ["Rosamund"]}],
                    "birthDate": "1971-04-09",
                },
            },
        ],
    }
    answer = hub_world.clinic.post("/Patient/$match", fhir_xml.dumps(asked), content_type=XML, Accept=XML)
    found = read(answer)
    assert answer.status_code == 200
    assert found["total"] == 1
    assert unnamed(found) == unnamed(hub_world.clinic.post("/Patient/$match", asked).json())
    wrong = hub_world.clinic.post(
        "/Patient/$match", b'<Parameters xmlns="http://hl7.org/fhir"><x/></Parameters>', content_type=XML, Accept=XML
    )
    assert (wrong.status_code, issue(wrong)["expression"]) == (400, ["Parameters.x"])


def test_a_bundle_in_xml_is_registered_and_its_document_is_given_back(hub_world):
    asked = fhir_xml.dumps(provide_bundle(b"Well met"))
    answer = hub_world.hospital.post("", asked, content_type=XML, Accept=XML)
    assert answer.status_code == 200, answer.content
    body = read(answer)
    assert [entry["response"]["status"] for entry in body["entry"]] == ["201 Created"] * 3
    document = body["entry"][1]["response"]["location"]
    reference = read(hub_world.hospital.get(f"/{document.partition('/_history')[0]}", Accept=XML))
    url = reference["content"][0]["attachment"]["url"]
    assert content(hub_world.hospital.get(url)) == b"Well met"
    binary = read(hub_world.hospital.get(url, Accept=XML))
    assert base64.b64decode(binary["data"]) == b"Well met"
    assert read(hub_world.hospital.get(f"{url}?_format=xml")) == binary


def test_a_fhir_document_in_a_bundle_in_xml_is_kept_as_xml(hub_world):
    inner = {
        "resourceType": "Bundle",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"},
        "type": "document",
        "timestamp": "2026-03-01T10:00:00Z",
        "entry": [
            {
                "fullUrl": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e1",
                "resource": {
                    "resourceType": "Composition",
                    "status": "final",
                    "type": {"text": "Note"},
                    "date": "2026-03-01",
                    "author": [{"display": "Bo North"}],
                    "title": "A note",
                },
            }
        ],
    }
    reference = document_reference(b"", "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e2")
    attachment = reference["content"][0]["attachment"]
    attachment["contentType"] = XML
    del attachment["hash"], attachment["size"]
    name = "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e3"
    bundle = bundle_of(
        ("List", "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e4", submission_set([name])),
        ("DocumentReference", name, reference),
        ("Bundle", attachment["url"], inner),
    )
    answer = hub_world.hospital.post("", fhir_xml.dumps(bundle), content_type=XML)
    assert answer.status_code == 200, answer.content
    path = answer.json()["entry"][1]["response"]["location"].partition("/_history")[0]
    url = hub_world.hospital.get(f"/{path}").json()["content"][0]["attachment"]["url"]
    kept = hub_world.hospital.get(url, Accept=XML)
    assert kept["Content-Type"].startswith(XML)
    assert fhir_xml.loads(content(kept)).resource == inner
    wrong = hub_world.hospital.post("", bundle)  # sent in JSON, said to be XML
    assert wrong.status_code == 422


def test_a_binary_resource_in_xml_is_unpacked_and_another_resource_is_the_document(hub_world):
    data = base64.b64encode(b"A picture").decode()
    packed = fhir_xml.dumps({"resourceType": "Binary", "contentType": "image/png", "data": data})
    made = hub_world.hospital.post("/Binary", packed, content_type=XML)
    assert made.status_code == 201, made.content
    own = hub_world.hospital.get(made["Location"].partition("/_history")[0])
    assert (content(own), own["Content-Type"]) == (b"A picture", "image/png")
    composed = fhir_xml.dumps({"resourceType": "Basic", "code": {"text": "x"}})
    made = hub_world.hospital.post("/Binary", composed, content_type=XML)
    own = hub_world.hospital.get(made["Location"].partition("/_history")[0])
    assert content(own) == composed
    assert hub_world.hospital.post("/Binary", b"<Binary", content_type=XML).status_code == 400


def test_a_consent_filed_in_xml_is_the_consent_that_json_shows(hub_world):
    filed = hub_world.hospital.post("/Consent", fhir_xml.dumps(consent(hub_world.person)), content_type=XML, Accept=XML)
    assert filed.status_code == 201, filed.content
    shown = hub_world.hospital.get(f"/Consent/{read(filed)['id']}").json()
    assert read(filed) == shown
