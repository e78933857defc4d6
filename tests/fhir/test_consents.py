"""Consent over FHIR: filed by a participant for its own patient, in force at once, never deleted."""

from __future__ import annotations

import json
import uuid
from decimal import Decimal

import pytest

from tests.fhir.conftest import JSON, provide_bundle

pytestmark = pytest.mark.django_db

AUDIT_REFUSED = (
    "outcome=bad",
    "_sort=date",
    "agent=a&agent=b",
    "agent=a&agent.identifier=b",
    "address=1.2.3.4&address=::1",
)


def consent(person: str, *, decision: str = "deny", **changes):
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{person}"},
        "dateTime": "2026-01-01",
        "policyRule": {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
                    "code": "OPTOUT" if decision == "deny" else "OPTIN",
                }
            ]
        },
        "provision": {"type": decision},
    } | changes


def test_a_filed_deny_hides_what_was_listed_and_its_end_shows_it_again(hub_world):
    published = hub_world.hospital.post("", provide_bundle()).json()
    document, binary = (published["entry"][n]["response"]["location"].split("/_history")[0] for n in (1, 2))
    search = f"/DocumentReference?patient={hub_world.person}&status=current"
    assert hub_world.clinic.get(search).json()["total"] == 1
    filed = hub_world.hospital.post("/Consent", consent(hub_world.person))
    assert filed.status_code == 201, filed.content
    location = filed["Location"].removesuffix("/_history/1")
    assert hub_world.clinic.get(search).json()["total"] == 0
    assert hub_world.clinic.get(f"/{document}").status_code == 404
    assert hub_world.clinic.get(f"/{binary}").status_code == 404
    assert hub_world.clinic.get(f"/List?patient={hub_world.person}&code=submissionset").json()["total"] == 0
    assert hub_world.hospital.get(search).json()["total"] == 1
    ended = {**filed.json(), "status": "inactive"}
    stale = hub_world.hospital.call("PUT", location, ended, content_type=JSON, **{"If-Match": 'W/"7"'})
    assert stale.status_code == 412
    changed = hub_world.hospital.call("PUT", location, ended, **{"If-Match": 'W/"1"'})
    assert (changed.status_code, changed["ETag"]) == (200, 'W/"2"'), changed.content
    assert hub_world.clinic.get(search).json()["total"] == 1
    old = hub_world.hospital.get(f"{location}/_history/1")
    assert old.json()["status"] == "active"
    assert hub_world.hospital.call("DELETE", location).status_code == 405


def test_consents_are_found_by_those_who_may_see_them(hub_world):
    hub_world.hospital.post("/Consent", consent(hub_world.person, decision="permit"))
    search = f"/Consent?patient={hub_world.person}&status=active"
    found = hub_world.hospital.get(search)
    assert (found.status_code, found.json()["total"]) == (200, 1), found.content
    assert hub_world.hospital.get(f"{search}&status=inactive").json()["total"] == 0
    assert hub_world.hospital.get("/Consent?status=active").status_code == 400


def test_a_consent_for_somebody_elses_patient_or_without_sense_is_refused(hub_world):
    nobody = consent("00000000-0000-4000-8000-000000000000")
    assert hub_world.hospital.post("/Consent", nobody).status_code == 404
    vague = consent(hub_world.person)
    del vague["policyRule"], vague["provision"]
    answer = hub_world.hospital.post("/Consent", vague)
    assert answer.status_code == 422, answer.content
    assert answer.json()["issue"][0]["expression"]
    basic = consent(
        hub_world.person,
        meta={"profile": ["https://profiles.ihe.net/ITI/PCF/StructureDefinition/IHE.PCF.consentBasic"]},
    )
    told = {issue["expression"][0] for issue in hub_world.hospital.post("/Consent", basic).json()["issue"]}
    assert {"Consent.performer", "Consent.organization", "Consent.policy", "Consent.source"} <= told


def test_changing_a_consent_of_a_stranger_tells_nothing_of_its_being_there(hub_world):
    filed = hub_world.hospital.post("/Consent", consent(hub_world.person)).json()["id"]
    unknown = str(uuid.uuid4())
    told = []
    for one in (filed, unknown):
        body = consent(str(uuid.uuid4()), id=one)
        answer = hub_world.clinic.call("PUT", f"/Consent/{one}", body)
        told.append((answer.status_code, answer.content.decode().replace(one, "<asked>")))
    assert told[0] == told[1]
    assert told[0][0] == 404


@pytest.mark.parametrize(
    ("number", "read"),
    [("1.10", "1.10"), ("-0.0", "-0.0"), ("12345678901234567890123", "12345678901234567890123"), ("1e-7", "1E-7")],
)
def test_a_number_in_a_consent_keeps_its_value_and_digits(hub_world, number, read):
    body = json.dumps(consent(hub_world.person, extension=[{"url": "urn:x", "valueDecimal": "<n>"}]))
    filed = hub_world.hospital.post("/Consent", body.replace('"<n>"', number))
    assert filed.status_code == 201, filed.content
    held = hub_world.hospital.get(f"/Consent/{filed.json()['id']}")
    found = json.loads(held.content, parse_float=Decimal, parse_int=Decimal)["extension"][0]["valueDecimal"]
    assert (found, len(found.as_tuple().digits)) == (Decimal(read), len(Decimal(read).as_tuple().digits))


@pytest.mark.parametrize("number", ["1e101", "1e999999999", "-1e-300"])
def test_a_number_that_would_grow_when_written_out_is_refused(hub_world, number):
    body = json.dumps(consent(hub_world.person, extension=[{"url": "urn:x", "valueDecimal": "<n>"}]))
    assert hub_world.hospital.post("/Consent", body.replace('"<n>"', number)).status_code == 400


def test_each_look_is_in_the_log(hub_world):
    hub_world.hospital.post("", provide_bundle())
    found = hub_world.clinic.get(f"/DocumentReference?patient={hub_world.person}&status=current").json()
    hub_world.clinic.get(found["entry"][0]["resource"]["content"][0]["attachment"]["url"]).getvalue()
    log = hub_world.clinic.get("/AuditEvent?date=ge2020-01-01&_count=100")
    assert log.status_code == 200, log.content
    subtypes = {coding["code"] for entry in log.json()["entry"] for coding in entry["resource"].get("subtype", ())}
    assert {"ITI-67", "ITI-68"} <= subtypes
    assert hub_world.clinic.get("/AuditEvent").status_code == 400
    ours = "/AuditEvent?date=ge2020-01-01"
    assert [hub_world.clinic.get(f"{ours}&{more}").status_code for more in AUDIT_REFUSED] == [400] * len(AUDIT_REFUSED)
    both = hub_world.clinic.get(f"{ours}&action=R&action=C").json()
    assert "entry" not in both
    assert len(hub_world.clinic.get(f"{ours}&action=R,C&_sort=-date").json()["entry"]) > 0


@pytest.mark.django_db(transaction=True)
def test_a_transfer_stops_when_consent_ends_under_it(hub_world):
    data = b"\x01\x02" * 3_000_000
    location = hub_world.hospital.post("/Binary", data, content_type="application/dicom")["Location"]
    bundle = provide_bundle(data, "application/dicom")
    bundle["entry"][1]["resource"]["content"][0]["attachment"]["url"] = location.split("/_history")[0]
    del bundle["entry"][2]
    assert hub_world.hospital.post("", bundle).status_code == 200
    stream = hub_world.clinic.get(location.split("/_history")[0]).streaming_content
    received = len(next(stream))
    assert hub_world.hospital.post("/Consent", consent(hub_world.person)).status_code == 201
    received += sum(len(chunk) for chunk in stream)
    assert received <= 2 << 20 < len(data)


def _to(role: str = "IRCP", **reference):
    participation = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
    return [{"role": {"coding": [{"system": participation, "code": role}]}, "reference": reference}]


@pytest.mark.parametrize(
    "clinic",
    [
        pytest.param({"identifier": {"system": "urn:ietf:rfc:3986", "value": "urn:oid:2.999.10.1"}}, id="oid-as-urn"),
        pytest.param({"identifier": {"system": "urn:ietf:rfc:3986", "value": "2.999.10.1"}}, id="oid-bare"),
        pytest.param({"reference": "Organization/org-clinic"}, id="relative"),
        pytest.param(
            {"reference": "https://hub.example/fhir/Organization/org-clinic"}, id="with-the-address-of-the-hub"
        ),
    ],
)
def test_an_organization_is_meant_by_its_number_and_its_address_however_they_are_written(hub_world, clinic):
    hub_world.hospital.post("", provide_bundle())
    search = f"/DocumentReference?patient={hub_world.person}&status=current"
    deny = consent(hub_world.person, decision="permit")
    deny["provision"]["provision"] = [{"type": "deny", "actor": _to(**clinic)}]
    filed = hub_world.hospital.post("/Consent", deny)
    assert (filed.status_code, filed.get("Warning")) == (201, None), filed.content
    assert hub_world.clinic.get(search).json()["total"] == 0
    only = consent(hub_world.person, decision="deny", id=filed.json()["id"])
    only["provision"]["provision"] = [{"type": "permit", "actor": _to(**clinic)}]
    assert hub_world.hospital.call("PUT", f"/Consent/{filed.json()['id']}", only).status_code == 200
    assert hub_world.clinic.get(search).json()["total"] == 1


@pytest.mark.parametrize(
    ("somebody", "warned"),
    [
        pytest.param(
            {"identifier": {"system": "http://hl7.org/fhir/sid/us-npi", "value": "1111111111"}}, True, id="number"
        ),
        pytest.param({"reference": "Organization/Org-Clinic"}, True, id="organization"),
        pytest.param({"identifier": {"system": "urn:hie:role", "value": "doctor"}}, True, id="role"),
        pytest.param({"identifier": {"system": "urn:hie:org-type", "value": "insurer"}}, True, id="type"),
        pytest.param({"identifier": {"system": "urn:hie:role", "value": "physician"}}, False, id="known-role"),
        pytest.param({"identifier": {"system": "urn:hie:org-type", "value": "pharmacy"}}, False, id="known-type"),
        pytest.param({"reference": "Practitioner/whoever"}, False, id="person"),
        pytest.param({"display": "Dr Eve"}, False, id="nobody-in-particular"),
    ],
)
def test_a_choice_about_somebody_who_is_not_known_here_is_warned_of(hub_world, somebody, warned):
    choice = consent(hub_world.person, decision="permit")
    choice["provision"]["provision"] = [{"type": "deny", "actor": _to(**somebody)}]
    filed = hub_world.hospital.post("/Consent", choice)
    assert filed.status_code == 201, filed.content
    assert ("does not know" in filed.get("Warning", "")) is warned
