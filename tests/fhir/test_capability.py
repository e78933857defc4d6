"""What is declared works: the CapabilityStatement is walked and everything in it called."""

from __future__ import annotations

import pytest

from hie.standards import fhir
from tests.fhir.conftest import provide_bundle

pytestmark = pytest.mark.django_db

VALUES = {"token": "x", "string": "x", "date": "ge2020-01-01", "reference": "Patient/none", "uri": "urn:x"}
FIRST = {
    "DocumentReference": "patient={person}",
    "List": "patient={person}&code=folder",
    "Consent": "patient={person}",
    "AuditEvent": "date=ge2020-01-01",
    "Patient": "family=Quarrel",
    "Subscription": "",
}


def test_the_statement_is_a_valid_resource_and_needs_no_token(hub_world):
    answer = hub_world.nobody.get("/metadata")
    assert answer.status_code == 200
    statement = answer.json()
    assert fhir.check(answer.content, statement) == []
    assert (statement["kind"], statement["fhirVersion"]) == ("instance", "4.0.1")
    types = {resource["type"] for resource in statement["rest"][0]["resource"]}
    assert types == {"Patient", "DocumentReference", "List", "Binary", "Consent", "AuditEvent", "Subscription"}
    smart = hub_world.nobody.get("/.well-known/smart-configuration")
    assert smart["Content-Type"].startswith("application/json")
    assert "token_endpoint" in smart.json()


def test_every_declared_interaction_parameter_and_operation_is_there(hub_world):
    published = hub_world.hospital.post("", provide_bundle()).json()
    known = {
        path.split("/")[0]: path.split("/")[1]
        for path in (entry["response"]["location"] for entry in published["entry"])
    }
    rest = hub_world.nobody.get("/metadata").json()["rest"][0]
    for operation in rest["operation"]:
        answer = hub_world.hospital.post(f"/${operation['name']}", {"resourceType": "Bundle", "type": "message"})
        assert answer.status_code == 422, answer.content
    for resource in rest["resource"]:
        kind = resource["type"]
        codes = {item["code"] for item in resource["interaction"]}
        if "read" in codes:
            answer = hub_world.clinic.get(f"/{kind}/{known.get(kind, 'none')}")
            assert answer.status_code == (200 if kind in known else 404), (kind, answer.content)
        for code, method, path in (
            ("create", "POST", ""),
            ("update", "PUT", "/x"),
            ("delete", "DELETE", "/x"),
        ):
            offered = code in codes
            if code == "update" and resource.get("conditionalUpdate"):
                path = "?identifier=urn:oid:1.2|x"
            if code == "delete" and resource.get("conditionalDelete", "not-supported") != "not-supported":
                path = "?identifier=urn:oid:1.2|x"
            answer = hub_world.clinic.call(method, f"/{kind}{path}", {"resourceType": kind})
            assert (answer.status_code != 405) is offered, (kind, code, answer.content)
            assert answer.status_code < 500
        for param in resource.get("searchParam", ()):
            query = FIRST[kind].format(person=hub_world.person)
            answer = hub_world.clinic.get(
                f"/{kind}?{query}&{param['name']}={VALUES[param['type']]}", Prefer="handling=strict"
            )
            value = answer.json() if answer.status_code != 200 else None
            unknown = value and "unknown search parameter" in value["issue"][0].get("diagnostics", "")
            assert answer.status_code in (200, 400, 404), (kind, param, answer.content)
            assert not unknown, (kind, param)
        for operation in resource.get("operation", ()):
            assert hub_world.clinic.get(f"/{kind}/${operation['name']}").status_code in (200, 400, 404, 405, 422)
            assert b"no such operation" not in hub_world.clinic.get(f"/{kind}/${operation['name']}").content
