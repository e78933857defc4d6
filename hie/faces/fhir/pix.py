"""Mobile Patient Identifier Cross-reference Query [ITI-83], ``Patient/$ihe-pix``.

IHE asks by GET. The operation changes nothing, so FHIR has it by POST with Parameters as well, which keeps the
identifier out of addresses and their logs.

Source: IHE PIXm 3.1.0, 2:3.83; FHIR R4 operations.html; spec/fhir.md 2.3 (texts and statuses are fixed).
"""

from __future__ import annotations

from hie.exchange import identity
from hie.exchange.errors import UnknownSourceDomain, UnknownSourceIdentifier, UnknownTargetDomain
from hie.faces.fhir import search
from hie.faces.fhir.errors import FhirSyntax, InvalidResource, InvalidSearch, ParameterMalformed, ParameterMissing
from hie.faces.fhir.http import Answer, FhirRequest
from hie.faces.fhir.outcome import Issue, outcome
from hie.standards import fhir, fhir_patient
from hie.standards.errors import HubError
from hie.standards.fhir import JsonObject

_FAILURES: dict[type[HubError], tuple[int, str]] = {
    UnknownSourceIdentifier: (404, "not-found"),
    UnknownSourceDomain: (400, "code-invalid"),
    UnknownTargetDomain: (403, "code-invalid"),
}


def pix(request: FhirRequest) -> Answer:
    """The other identifiers of the patient behind one."""
    given = _given(request)
    system, value = _source([text for name, text in given if name == "sourceIdentifier"])
    targets = [text.removesuffix("|") for name, text in given if name == "targetSystem" and text]
    if request.prefer.strict:
        unknown = [name for name, _ in given if name not in ("sourceIdentifier", "targetSystem", "_format", "_pretty")]
        if unknown:
            raise InvalidSearch("unknown parameter", element=unknown[0][:64])
    raw = request.raw or f"Patient/$ihe-pix?{request.http.META.get('QUERY_STRING', '')}"
    try:
        found = identity.cross_reference(system, value, request.caller, targets=targets, raw_query=raw)
    except (UnknownSourceIdentifier, UnknownSourceDomain, UnknownTargetDomain) as error:
        status, code = _FAILURES[type(error)]
        return Answer(status=status, resource=outcome([Issue(code=code, diagnostics=str(error))]))
    parts: list[JsonObject] = [
        {"name": "targetIdentifier", "valueIdentifier": fhir_patient.identifier_to_fhir(item)}
        for item in found.identifiers
    ]
    if found.person_id is not None:
        parts.append({"name": "targetId", "valueReference": {"reference": f"{request.url}/{found.person_id}"}})
    body: JsonObject = {"resourceType": "Parameters"}
    if parts:
        body["parameter"] = parts
    return Answer(resource=body)


_TYPES = {"sourceIdentifier": ("valueString",), "targetSystem": ("valueUri", "valueString")}


def _given(request: FhirRequest) -> list[tuple[str, str]]:
    """Names and values as asked: of the query string, or of the posted Parameters.

    Raises:
        FhirSyntax: another resource. InvalidResource: Parameters that are none. ParameterMalformed: a part of another
            type than the operation has.
    """
    if request.body is None:
        return search.pairs(request.http.META.get("QUERY_STRING", ""))
    if request.body.get("resourceType") != "Parameters":
        raise FhirSyntax("Parameters are expected here", element="resourceType")
    if problems := request.problems():
        raise InvalidResource(problems)
    given: list[tuple[str, str]] = []
    for index, part in enumerate(request.body.get("parameter", ())):
        name = str(part["name"])
        value = next((part[kind] for kind in _TYPES.get(name, ()) if kind in part), None)
        if value is None and name in _TYPES:
            where = f"Parameters.parameter[{index}]"
            raise ParameterMalformed(f"{name} has a {' or '.join(_TYPES[name])}", element=where)
        given.append((name, str(value or "")))
    return given


def _source(given: list[str]) -> tuple[str, str]:
    """System and value of the one sourceIdentifier.

    Raises:
        ParameterMissing: there is none. ParameterMalformed: repeated, or without domain or value.
    """
    if not any(given):
        raise ParameterMissing("sourceIdentifier is needed", element="sourceIdentifier")
    if len(given) != 1:
        raise ParameterMalformed("sourceIdentifier is needed exactly once", element="sourceIdentifier")
    if len(fhir.split_escaped(given[0], ",")) > 1:
        raise ParameterMalformed("sourceIdentifier is one identifier", element="sourceIdentifier")
    try:
        token = fhir.token(given[0])
    except ValueError as error:
        raise ParameterMalformed("sourceIdentifier is written system|value", element="sourceIdentifier") from error
    if not token.system or not token.code:
        raise ParameterMalformed("sourceIdentifier needs a domain and a value", element="sourceIdentifier")
    return token.system, token.code
