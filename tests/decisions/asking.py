"""One question in the form of each decision service, and what its answer says."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.test import Client

from hie.exchange import access, release
from tests.consent import fixture as fx

CDS = "/consent/cds-services/patient-consent-consult"
XACML = "/consent/xacml"
FHIR = "/fhir/Consent/$consent-decision"
TYPES = {CDS: "application/json", XACML: "application/xacml+json", FHIR: "application/fhir+json"}


def post(path: str, body: Any, token: str | None, **headers: str) -> Any:
    data = body if isinstance(body, (bytes, str)) else json.dumps(body)
    named = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()}
    if token is not None:
        named["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return Client().post(path, data, content_type=TYPES.get(path, "application/json"), **named)


def parameters(
    person: str,
    request: dict[str, Any] | None,
    documents: Sequence[Any] = (),
    now: str | None = None,
) -> dict[str, Any]:
    """A question to `$consent-decision`; documents are ids or DocumentReferences, or (resource, labelled)."""
    given: list[dict[str, Any]] = [{"name": "patient", "valueReference": {"reference": f"Patient/{person}"}}]
    if request is not None:
        parts = [
            {"name": "organization", "valueReference": {"reference": f"Organization/{request['org']}"}},
            {"name": "user", "valueReference": {"reference": request["user"]}},
            {"name": "role", "valueCode": request["role"]},
        ]
        if request.get("relationship"):
            parts.append({"name": "relationship", "valueCode": request["relationship"]})
        given += [
            {"name": "requester", "part": parts},
            {"name": "purpose", "valueCode": request["purpose"]},
            {"name": "operation", "valueCode": request["operation"]},
        ]
    for one in documents:
        if isinstance(one, str):
            given.append({"name": "document", "valueReference": {"reference": f"DocumentReference/{one}"}})
        elif isinstance(one, tuple):
            parts = [{"name": "metadata", "resource": one[0]}, {"name": "labelled", "valueBoolean": one[1]}]
            given.append({"name": "document", "part": parts})
        else:
            given.append({"name": "document", "resource": one})
    if now is not None:
        given.append({"name": "now", "valueInstant": now})
    return {"resourceType": "Parameters", "parameter": given}


def told(answer: Any) -> list[dict[str, Any]]:
    """The documents of an answer of `$consent-decision`, each as decision, rule, reason and obligations."""
    assert answer.status_code == 200, answer.content
    found = []
    for one in answer.json()["parameter"]:
        if one["name"] == "document":
            parts: dict[str, Any] = {"obligations": []}
            for part in one["part"]:
                value = next((v for k, v in part.items() if k.startswith("value")), None)
                if part["name"] == "obligations":
                    parts["obligations"].append(value)
                elif part["name"] not in ("basis", "reference", "id"):
                    parts[part["name"]] = value
            found.append(parts)
    return found


def reference_of(document: dict[str, Any]) -> dict[str, Any]:
    """A document of a case as a DocumentReference."""

    def concept(coding: str) -> dict[str, Any]:
        system, _, code = coding.rpartition("|")
        return {"coding": [{"system": system, "code": code}]}

    labels = [document["confidentiality"]] if document.get("confidentiality") else []
    made: dict[str, Any] = {
        "resourceType": "DocumentReference",
        "id": document["id"],
        "status": "current",
        "category": [concept(one) for one in document.get("class", ())],
        "custodian": {"reference": f"Organization/{document['custodian']}"},
        "securityLabel": [{"coding": [one]} for one in fx.labels(*labels, *document.get("labels", ()))],
        "content": [{"attachment": {"contentType": "text/plain"}}],
    }
    context: dict[str, Any] = {}
    if document.get("codes"):
        context["event"] = [concept(one) for one in document["codes"]]
    if document.get("serviceStart"):
        context["period"] = {"start": document["serviceStart"], "end": document.get("serviceStop")}
    if context:
        made["context"] = context
    if document.get("created"):
        made["content"][0]["attachment"]["creation"] = document["created"]
    if document.get("derivedFrom"):
        made["contained"] = [reference_of(one) for one in document["derivedFrom"]]
        made["relatesTo"] = [
            {"code": "transforms", "target": {"reference": f"#{one['id']}"}} for one in document["derivedFrom"]
        ]
    return {key: value for key, value in made.items() if value not in ([], {})}


def consult(identifier: tuple[str, str], request: dict[str, Any] | None, **context: Any) -> dict[str, Any]:
    """A question to the CDS Hooks service."""
    asked: dict[str, Any] = {
        "patientId": [{"system": identifier[0], "value": identifier[1]}],
        "scope": "patient-privacy",
    }
    if request is not None:
        asked |= {
            "purposeOfUse": request["purpose"],
            "actor": [
                {"system": "urn:ietf:rfc:3986", "value": request["org"]},
                {"system": "urn:hie:user", "value": request["user"]},
                {"system": "urn:hie:role", "value": request["role"]},
            ],
        }
    return {"hook": "patient-consent-consult", "hookInstance": str(uuid.uuid4()), "context": asked | context}


def attribute(name: str, *values: Any) -> dict[str, Any]:
    return {"AttributeId": name, "Value": list(values) if len(values) > 1 else values[0]}


def xacml(person: str, request: dict[str, Any] | None, document: str | None, now: str | None = None) -> dict[str, Any]:
    """A question to the XACML service."""
    resource = [attribute("patient-id", f"Patient/{person}")]
    if document is not None:
        resource.append(attribute("urn:oasis:names:tc:xacml:1.0:resource:resource-id", document))
    made: dict[str, Any] = {"Resource": {"Attribute": resource}}
    if request is not None:
        subject = [
            attribute("urn:oasis:names:tc:xspa:1.0:subject:organization-id", f"Organization/{request['org']}"),
            attribute("urn:oasis:names:tc:xacml:1.0:subject:subject-id", request["user"]),
            attribute("urn:oasis:names:tc:xacml:2.0:subject:role", request["role"]),
            attribute("urn:oasis:names:tc:xspa:1.0:subject:purposeofuse", request["purpose"]),
        ]
        if request.get("relationship"):
            subject.append(attribute("relationship", request["relationship"]))
        made |= {
            "AccessSubject": {"Attribute": subject},
            "Action": {"Attribute": [attribute("action-id", request["operation"])]},
        }
    if now is not None:
        made["Environment"] = {"Attribute": [attribute("current-dateTime", now)]}
    return {"Request": made}


def at(monkeypatch: Any, instant: str) -> None:
    """Let the door decide at an instant."""
    monkeypatch.setattr(access, "now", lambda: datetime.fromisoformat(instant))
    # Where time stands still nothing comes to its end, though the test goes on.
    monkeypatch.setattr(release, "ends_in", lambda left: None)
