"""Patient Demographics Match [ITI-119], ``POST Patient/$match``.

Source: IHE PDQm 3.2.0, 2:3.119; spec/fhir.md 2.2.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from hie.exchange import identity
from hie.faces.fhir.errors import FhirSyntax, InvalidResource, ProfileViolation
from hie.faces.fhir.http import Answer, FhirRequest
from hie.faces.fhir.people_codec import demographics_from, patient_json
from hie.standards import fhir
from hie.standards.fhir import JsonObject, Problem

GRADE = "http://hl7.org/fhir/StructureDefinition/match-grade"
_PARTS = ("resource", "onlyCertainMatches", "count")


def match(request: FhirRequest) -> Answer:
    """Who may be meant by this Patient, best first, each with grade and score."""
    patient, only_certain, count = _input(request.resource_body)
    _check(request, patient)
    demographics = demographics_from(patient)
    if not (
        demographics.names
        or demographics.identifiers
        or demographics.birth_date
        or demographics.telecoms
        or demographics.addresses
    ):
        message = "nothing to match on: a name, birth date, identifier, address or telecom is needed"
        raise ProfileViolation([Problem(expression="Patient", message=message, code="required")])
    found = identity.match(demographics, request.caller, only_certain=only_certain, count=count, raw_query=request.raw)
    entries: list[JsonObject] = [
        {
            "fullUrl": f"{request.url}/{hit.patient.person_id}",
            "resource": patient_json(hit.patient),
            "search": {
                "extension": [{"url": GRADE, "valueCode": hit.grade}],
                "mode": "match",
                "score": round(min(1.0, max(0.0, hit.score)), 6),
            },
        }
        for hit in found
    ]
    result: JsonObject = {
        "resourceType": "Bundle",
        "id": str(uuid4()),
        "meta": {"lastUpdated": fhir.instant_text(request.now)},
        "type": "searchset",
        "total": len(entries),
        "link": [{"relation": "self", "url": f"{request.url}/$match"}],
    }
    if entries:
        result["entry"] = entries
    return Answer(resource=result)


def _input(body: JsonObject) -> tuple[JsonObject, bool, int | None]:
    """The Patient, onlyCertainMatches and count of the body: Parameters, or a bare Patient.

    Raises:
        FhirSyntax, ProfileViolation: naming the part.
    """
    if body.get("resourceType") == "Patient":
        return body, False, None
    if body.get("resourceType") != "Parameters":
        raise FhirSyntax("Parameters or a Patient is expected here", element="resourceType")
    given = body.get("parameter", [])
    if not isinstance(given, list) or not all(isinstance(part, dict) for part in given):
        raise FhirSyntax("parameter is a list of parts", element="Parameters.parameter")
    parts: dict[str, JsonObject] = {}
    for index, part in enumerate(given):
        name = part.get("name")
        if name not in _PARTS:
            raise FhirSyntax("no such parameter of $match", element=f"Parameters.parameter[{index}].name")
        if name in parts:
            raise FhirSyntax(f"{name} is given twice", element=f"Parameters.parameter[{index}]")
        parts[name] = part
    patient = parts.get("resource", {}).get("resource")
    if not isinstance(patient, dict):
        problem = Problem(expression="Parameters.parameter", message="resource is needed", code="required")
        raise ProfileViolation([problem])
    if patient.get("resourceType") != "Patient":
        raise FhirSyntax("a Patient is expected here", element="Parameters.parameter.resource")
    only_certain = _value(parts, "onlyCertainMatches", "valueBoolean", bool, default=False)
    count = _value(parts, "count", "valueInteger", int, default=None)
    if count is not None and count < 0:
        raise FhirSyntax("count is not negative", element="Parameters.parameter.valueInteger")
    return patient, only_certain, count


def _value(parts: dict[str, JsonObject], name: str, key: str, kind: type, *, default: Any) -> Any:
    if name not in parts:
        return default
    value = parts[name].get(key)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise FhirSyntax(f"{name} has a {key}", element=f"Parameters.parameter.{key}")
    return value


def _check(request: FhirRequest, patient: JsonObject) -> None:
    """The whole body against the base specification, and nothing that changes the meaning of the Patient.

    Raises:
        InvalidResource, ProfileViolation: with every problem.
    """
    if problems := request.problems():
        raise InvalidResource(problems)
    unknown = [
        Problem(expression=f"Patient.{name}", message="not understood here, and may not be ignored", code="invariant")
        for name in ("modifierExtension", "implicitRules")
        if name in patient
    ]
    if unknown:
        raise ProfileViolation(unknown)
