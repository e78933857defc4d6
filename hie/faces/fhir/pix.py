"""Mobile Patient Identifier Cross-reference Query [ITI-83], ``GET Patient/$ihe-pix``.

Source: IHE PIXm 3.1.0, 2:3.83; spec/fhir.md 2.3 (texts and statuses are fixed).
"""

from __future__ import annotations

from hie.exchange import identity
from hie.exchange.errors import UnknownSourceDomain, UnknownSourceIdentifier, UnknownTargetDomain
from hie.faces.fhir import search
from hie.faces.fhir.errors import InvalidSearch, ParameterMalformed, ParameterMissing
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
    query_string = request.http.META.get("QUERY_STRING", "")
    given = search.pairs(query_string)
    system, value = _source([text for name, text in given if name == "sourceIdentifier"])
    targets = [text.removesuffix("|") for name, text in given if name == "targetSystem" and text]
    if request.prefer.strict:
        unknown = [name for name, _ in given if name not in ("sourceIdentifier", "targetSystem", "_format", "_pretty")]
        if unknown:
            raise InvalidSearch("unknown parameter", element=unknown[0][:64])
    try:
        found = identity.cross_reference(
            system, value, request.caller, targets=targets, raw_query=f"Patient/$ihe-pix?{query_string}"
        )
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
