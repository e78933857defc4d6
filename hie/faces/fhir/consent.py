"""Consent: Access Consent [ITI-108], create, read, vread, update and search; it is ended, never deleted.

Source: spec/fhir.md 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hie.exchange import consents
from hie.exchange.consents import ShownConsent, StoredConsent
from hie.exchange.errors import NotFound
from hie.exchange.find import PatientNamed
from hie.faces.fhir import bundle, search
from hie.faces.fhir.documents import patients
from hie.faces.fhir.errors import FhirSyntax, InvalidSearch, ProfileViolation
from hie.faces.fhir.http import Answer, FhirRequest, stored
from hie.faces.fhir.references import local_id
from hie.faces.fhir.resources import ID_PARAM, LAST_UPDATED_PARAM, Interaction, Param, ParamType, Resource
from hie.faces.fhir.search import DateValue, ReferenceValue
from hie.standards import fhir
from hie.standards.fhir import JsonObject, Problem, instant_text

_FHIR = "http://hl7.org/fhir/SearchParameter"
_PCF = "https://profiles.ihe.net/ITI/PCF/StructureDefinition"
PCF_PROFILES: Mapping[str, str] = {
    f"{_PCF}/IHE.PCF.consentBasic": "basic",
    f"{_PCF}/IHE.PCF.consentIntermediate": "intermediate",
    f"{_PCF}/IHE.PCF.consentAdvanced": "advanced",
}
_PRIVACY = ("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy")
_ETAG = re.compile(r'^(?:W/)?"(\d{1,9})"$', re.ASCII)

PARAMS = (
    ID_PARAM,
    LAST_UPDATED_PARAM,
    Param(name="actor", type=ParamType.REFERENCE, definition=f"{_FHIR}/Consent-actor", modifiers=frozenset()),
    Param(
        name="patient",
        type=ParamType.REFERENCE,
        definition=f"{_FHIR}/clinical-patient",
        targets=("Patient",),
        modifiers=frozenset({"identifier"}),
    ),
    Param(name="patient.identifier", type=ParamType.TOKEN, modifiers=frozenset()),
    Param(name="status", type=ParamType.TOKEN, definition=f"{_FHIR}/Consent-status", modifiers=frozenset({"not"})),
    Param(name="category", type=ParamType.TOKEN, definition=f"{_FHIR}/Consent-category", modifiers=frozenset({"not"})),
    Param(name="scope", type=ParamType.TOKEN, definition=f"{_FHIR}/Consent-scope", modifiers=frozenset({"not"})),
    Param(name="date", type=ParamType.DATE, definition=f"{_FHIR}/clinical-date", modifiers=frozenset()),
)


def create(request: FhirRequest) -> Answer:
    """File a consent: 201; every problem at once: 422."""
    resource = request.resource_body
    _check_profile(resource)
    done = consents.file(_bare(resource), _patient(resource, request.base), caller=request.caller, raw=_raw(request))
    return _stored(request, done, 201)


def update(request: FhirRequest) -> Answer:
    """A new version; status inactive revokes."""
    resource = request.resource_body
    if resource.get("id") != request.id:
        raise FhirSyntax("the id of the resource is that of its address", element="Consent.id")
    _check_profile(resource)
    done = consents.change(
        request.id,
        _bare(resource),
        _patient(resource, request.base),
        caller=request.caller,
        if_version=_if_match(request),
        raw=_raw(request),
    )
    return _stored(request, done, 200)


def read(request: FhirRequest) -> Answer:
    """A consent as it is now."""
    return _shown(consents.read(request.id, caller=request.caller, raw=request.http.get_full_path()))


def vread(request: FhirRequest) -> Answer:
    """A consent as it was."""
    if not (request.version.isascii() and request.version.isdigit()) or len(request.version) > 9:
        raise NotFound("no such consent")
    return _shown(
        consents.read(request.id, caller=request.caller, version=int(request.version), raw=request.http.get_full_path())
    )


def find(request: FhirRequest) -> Answer:
    """Access Consent search: a patient or _id is needed."""
    query = request.query
    named = patients(query)
    ids = [value.code for c in query.all("_id") for value in c.values if isinstance(value, fhir.Token)]
    if not named and not ids:
        raise InvalidSearch("patient, patient.identifier or _id is needed", element="patient")
    page = bundle.page_of(query, request.caller, now=request.now)
    found = consents.search(named, ids, lambda item: _matches(item, query), caller=request.caller, raw=query.raw)
    found = [item for item in found if item.stored.recorded_at <= page.snapshot]
    keyed = sorted(((instant_text(item.stored.recorded_at), str(item.stored.id)), n) for n, item in enumerate(found))
    keyed.reverse()
    rest = [(key, n) for key, n in keyed if page.after is None or key < page.after]
    shown = rest[: 0 if query.summary == "count" else query.count]
    more = len(rest) > len(shown) > 0
    token = bundle.page_token(query, request.caller, page, shown[-1][0]) if more else ""
    entries = [
        bundle.Entry(full_url=f"{request.url}/{found[n].stored.id}", resource=found[n].stored.resource)
        for _, n in shown
    ]
    return Answer(resource=bundle.searchset(request.url, query, entries, total=len(found), next_token=token))


def _matches(item: StoredConsent, query: search.Query) -> bool:
    return all(_holds(item, criterion) for criterion in query.criteria)


def _holds(item: StoredConsent, criterion: search.Criterion) -> bool:
    resource = item.resource
    match criterion.name:
        case "_id":
            return search.token_matches(criterion, [("", str(item.id))])
        case "status":
            return search.token_matches(criterion, [("http://hl7.org/fhir/consent-state-codes", item.status)])
        case "scope":
            return search.token_matches(criterion, _codes([resource.get("scope")]))
        case "category":
            return search.token_matches(criterion, _codes(resource.get("category", ())))
        case "date" | "_lastUpdated":
            text = resource.get("dateTime") if criterion.name == "date" else instant_text(item.recorded_at)
            stretch = fhir.interval(text) if text else None
            return any(search.date_matches(v, stretch) for v in criterion.values if isinstance(v, DateValue))
        case "actor":
            held = set(_actors(resource.get("provision")))
            return any(
                value.url in held or f"{value.type}/{value.id}" in held or any(h.endswith(f"/{value.id}") for h in held)
                for value in criterion.values
                if isinstance(value, ReferenceValue)
            )
        case _:
            return True


def _codes(concepts: Any) -> list[tuple[str, str]]:
    return [
        (coding.get("system", ""), coding.get("code", ""))
        for concept in concepts
        if isinstance(concept, dict)
        for coding in concept.get("coding", ())
    ]


def _actors(provision: Any) -> list[str]:
    if not isinstance(provision, dict):
        return []
    found = [str((actor.get("reference") or {}).get("reference", "")) for actor in provision.get("actor", ())]
    for child in provision.get("provision", ()):
        found += _actors(child)
    return [text for text in found if text]


def _patient(resource: JsonObject, base: str) -> PatientNamed:
    reference = resource.get("patient") or {}
    logical = local_id(str(reference.get("reference", "")), "Patient", base)
    if logical:
        return PatientNamed(id=logical)
    identifier = reference.get("identifier") or {}
    if identifier.get("system") and identifier.get("value"):
        return PatientNamed(system=identifier["system"], value=identifier["value"])
    raise ProfileViolation(
        [Problem(expression="Consent.patient", message="names a patient of this hub", code="required")]
    )


def _bare(resource: JsonObject) -> JsonObject:
    """The resource without what the hub sets itself."""
    meta = {k: v for k, v in (resource.get("meta") or {}).items() if k not in ("versionId", "lastUpdated")}
    rest = {k: v for k, v in resource.items() if k not in ("id", "meta")}
    kept: JsonObject = fhir.loads(fhir.dumps({**rest, "meta": meta} if meta else rest))
    return kept


def _if_match(request: FhirRequest) -> int | None:
    value = request.http.headers.get("If-Match")
    if value is None:
        return None
    found = _ETAG.match(value.strip())
    # A tag that is none of ours names no version there is.
    return int(found[1]) if found else 0


def _raw(request: FhirRequest) -> str:
    return f"{request.http.method} {request.http.get_full_path()}"


def _stored(request: FhirRequest, done: ShownConsent, status: int) -> Answer:
    return stored(
        request,
        done.stored.resource,
        status=status,
        location=f"Consent/{done.stored.id}",
        version=str(done.stored.version),
        last_updated=done.stored.recorded_at,
    )


def _shown(found: ShownConsent) -> Answer:
    return Answer(resource=found.stored.resource, headers={"ETag": f'W/"{found.stored.version}"'})


# --- PCF --------------------------------------------------------------------------------------------------------------


def _check_profile(resource: JsonObject) -> None:
    """A consent that names a PCF profile keeps it."""
    named = (resource.get("meta") or {}).get("profile", ())
    levels = [PCF_PROFILES[url.partition("|")[0]] for url in named if url.partition("|")[0] in PCF_PROFILES]
    if not levels:
        return
    problems: list[Problem] = []

    def need(element: str, present: Any) -> None:
        if present in (None, "", [], {}):
            problems.append(Problem(expression=f"Consent.{element}", message=f"{element} is required", code="required"))

    def forbid(element: str, present: Any) -> None:
        if present not in (None, "", [], {}):
            problems.append(
                Problem(expression=f"Consent.{element}", message=f"{element} is not allowed", code="business-rule")
            )

    if _PRIVACY not in _codes([resource.get("scope")]):
        problems.append(Problem(expression="Consent.scope", message="scope is patient-privacy", code="value"))
    provision = resource.get("provision") or {}
    for element in ("patient", "dateTime", "performer", "organization"):
        need(element, resource.get(element))
    need("source", resource.get("sourceAttachment") or resource.get("sourceReference"))
    need("provision", provision)
    need("provision.type", provision.get("type"))
    if len([p for p in resource.get("policy", ()) if p.get("uri")]) != 1 or len(resource.get("policy", ())) != 1:
        problems.append(Problem(expression="Consent.policy", message="exactly one policy with a uri", code="value"))
    forbid("verification", resource.get("verification"))
    basic = "basic" in levels
    for path, node in [("provision", provision)] + [
        (f"provision.provision[{n}]", child) for n, child in enumerate(provision.get("provision", ()))
    ]:
        for element in ("action", "class", "code"):
            forbid(f"{path}.{element}", node.get(element))
        if "advanced" not in levels:
            forbid(f"{path}.securityLabel", node.get("securityLabel"))
        if basic:
            forbid(f"{path}.dataPeriod", node.get("dataPeriod"))
            forbid(f"{path}.data", node.get("data"))
        if path != "provision":
            forbid(f"{path}.provision", node.get("provision"))
            if basic:
                forbid(path, node)
    if problems:
        raise ProfileViolation(problems)


RESOURCE = Resource(
    type="Consent",
    profile="http://hl7.org/fhir/StructureDefinition/Consent",
    supported_profiles=tuple(PCF_PROFILES),
    read=Interaction(handler=read, verb="r", transactions=("ITI-108",)),
    vread=Interaction(handler=vread, verb="r", transactions=("ITI-108",)),
    search=Interaction(handler=find, verb="s", transactions=("ITI-108",)),
    create=Interaction(handler=create, verb="c", transactions=("ITI-108",), body="json"),
    update=Interaction(handler=update, verb="u", transactions=("ITI-108",), body="json"),
    params=PARAMS,
    documentation="Access Consent [ITI-108]; a consent is ended by status inactive, not deleted",
)
