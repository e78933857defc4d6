"""Consent: Access Consent [ITI-108], create, read, vread, history, update, search, $validate; it is ended, never deleted.

FHIR R4 has no place for why a consent was ended: a PUT may say it in the extension `REVOCATION`, with ``reason``
(valueString) and ``evidence`` (valueString or valueReference).

Source: spec/fhir.md 1.3, 5; HL7 FHIR R4 http.html "history".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from hie.exchange import consents
from hie.exchange.consents import ShownConsent, StoredConsent
from hie.exchange.errors import NotFound
from hie.exchange.named_patients import PatientNamed
from hie.faces.fhir import bundle, consent_decision, search
from hie.faces.fhir.documents import patients
from hie.faces.fhir.errors import FhirSyntax, InvalidResource, InvalidSearch, ProfileViolation
from hie.faces.fhir.http import Answer, FhirRequest, stored
from hie.faces.fhir.outcome import Issue, outcome
from hie.faces.fhir.references import local_id
from hie.faces.fhir.resources import (
    ID_PARAM,
    LAST_UPDATED_PARAM,
    Interaction,
    OperationDefinition,
    Param,
    ParamType,
    Resource,
)
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
REVOCATION = "urn:hie:fhir:revocation"
_LONGEST_REASON = 1000
_MAX_HISTORY = 500
_LARGEST_EXPONENT = 100
_NUMBER = re.compile(r"[1-9]\d{0,8}\Z", re.ASCII)
"""A versionId as this hub writes it: versions count from 1, and those that a reader may not see are left out."""
_ETAG = re.compile(r'(?:W/)?"([1-9]\d{0,8})"\Z', re.ASCII)

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
    named = _patient(resource, request.base)
    return _stored(request, consents.file(_bare(resource), named, caller=request.caller, raw=_raw(request)), 201)


def update(request: FhirRequest) -> Answer:
    """A new version; any status but active ends it."""
    resource = request.resource_body
    if resource.get("id") != request.id:
        raise FhirSyntax("the id of the resource is that of its address", element="Consent.id")
    _check_profile(resource)
    reason, evidence = _revocation(resource)
    done = consents.change(
        request.id,
        _bare(resource),
        _patient(resource, request.base),
        caller=request.caller,
        if_version=_if_match(request),
        reason=reason,
        evidence=evidence,
        raw=_raw(request),
    )
    return _stored(request, done, 200)


def validate(request: FhirRequest) -> Answer:
    """What filing this consent would say, before it is filed: an OperationOutcome; nothing is stored."""
    resource = _to_validate(request)
    _check_profile(resource)
    named = _patient(resource, request.base)
    checked = consents.check(_bare(resource), named, caller=request.caller, raw=_raw(request))
    issues = [_warning(told.element, told.message) for told in checked.warnings]
    fine = Issue(severity="information", code="informational", diagnostics="can be filed")
    return Answer(resource=outcome([*issues, fine]))


def _to_validate(request: FhirRequest) -> JsonObject:
    """The Consent of a ``$validate``: the body itself, or the parameter ``resource``, held against FHIR's base."""
    body = request.resource_body
    if body.get("resourceType") == "Parameters":
        given = body.get("parameter")
        found = [
            one.get("resource")
            for one in (given if isinstance(given, list) else ())
            if isinstance(one, dict) and one.get("name") == "resource"
        ]
        body = found[0] if len(found) == 1 and isinstance(found[0], dict) else {}
    if body.get("resourceType") != "Consent":
        raise FhirSyntax("a Consent is expected here, or Parameters with one as resource", element="resourceType")
    try:
        raw = fhir.dumps(body)
    except TypeError as error:  # half of a surrogate pair is JSON, and no text
        raise FhirSyntax("a text in the Consent is not Unicode", element="Consent") from error
    problems = fhir.check(raw, body)
    if problems:
        raise InvalidResource(problems)
    return body


def read(request: FhirRequest) -> Answer:
    """A consent as it is now."""
    return _shown(consents.read(request.id, caller=request.caller, raw=request.http.get_full_path()))


def vread(request: FhirRequest) -> Answer:
    """A consent as it was."""
    if not _NUMBER.match(request.version):
        raise NotFound("no such consent")
    return _shown(
        consents.read(request.id, caller=request.caller, version=int(request.version), raw=request.http.get_full_path())
    )


def history(request: FhirRequest) -> Answer:
    """Every version that may be seen, newest first; `_since` and `_count` narrow it, `_page` goes on below a version."""
    asked = dict(search.pairs(request.http.META.get("QUERY_STRING", "")))
    count = min(_number(asked, "_count", _MAX_HISTORY), _MAX_HISTORY)
    below = _number(asked, "_page", 0)
    since = _stretch(asked.get("_since"))
    if asked.get("_since") and since is None:
        raise InvalidSearch("_since is an instant", element="_since")
    found = consents.history(request.id, caller=request.caller, raw=_raw(request))
    found = [one for one in found if since is None or one.stored.recorded_at >= since.start]
    rest = [one for one in found if not below or one.stored.version < below]
    shown = rest[:count]
    url = f"{request.url}/{request.id}/_history"
    narrowed = urlencode({name: asked[name] for name in ("_since", "_count") if asked.get(name)})
    links = [{"relation": "self", "url": f"{url}?{narrowed}" if narrowed else url}]
    if len(rest) > len(shown) > 0:
        links.append({"relation": "next", "url": f"{url}?{narrowed}&_page={shown[-1].stored.version}"})
    bundle_: JsonObject = {"resourceType": "Bundle", "type": "history", "total": len(found), "link": links}
    if shown:
        bundle_["entry"] = [_history_entry(request, one) for one in shown]
    return Answer(resource=bundle_)


def _history_entry(request: FhirRequest, found: ShownConsent) -> JsonObject:
    first, address = found.stored.version == 1, f"Consent/{found.stored.id}"
    return {
        "fullUrl": f"{request.base}/{address}",
        "resource": _resource(found),
        "request": {"method": "POST" if first else "PUT", "url": "Consent" if first else address},
        "response": {
            "status": "201" if first else "200",
            "etag": f'W/"{found.stored.version}"',
            "lastModified": instant_text(found.stored.recorded_at),
        },
    }


def _number(asked: Mapping[str, str], name: str, absent: int) -> int:
    text = asked.get(name, "")
    if not text:
        return absent
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise InvalidSearch(f"{name} is a whole number", element=name)
    return int(text)


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
        bundle.Entry(full_url=f"{request.url}/{found[n].stored.id}", resource=_resource(found[n])) for _, n in shown
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
            stretch = _stretch(text)
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


def _stretch(text: Any) -> fhir.Interval | None:
    """The time a text names; None where it is none: what was taken over from elsewhere may say anything."""
    try:
        return fhir.interval(text) if isinstance(text, str) and text else None
    except ValueError:
        return None


def _codes(concepts: Any) -> list[tuple[str, str]]:
    return [
        (str(coding.get("system", "")), str(coding.get("code", "")))
        for concept in _objects(concepts)
        for coding in _objects(concept.get("coding"))
    ]


def _actors(provision: Any) -> list[str]:
    if not isinstance(provision, dict):
        return []
    references = [actor.get("reference") for actor in _objects(provision.get("actor"))]
    found = [str(one.get("reference", "")) for one in _objects(references)]
    for child in _objects(provision.get("provision")):
        found += _actors(child)
    return [text for text in found if text]


def _objects(items: Any) -> list[JsonObject]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _patient(resource: JsonObject, base: str) -> list[PatientNamed]:
    """Every name the consent gives its patient; the exchange holds them to be one person's."""
    reference = resource.get("patient") or {}
    names: list[PatientNamed] = []
    logical = local_id(str(reference.get("reference", "")), "Patient", base)
    if logical:
        names.append(PatientNamed(id=logical))
    identifier = reference.get("identifier") or {}
    if identifier.get("system") and identifier.get("value"):
        names.append(PatientNamed(system=identifier["system"], value=identifier["value"]))
    if not names:
        raise ProfileViolation(
            [Problem(expression="Consent.patient", message="names a patient of this hub", code="required")]
        )
    return names


def _revocation(resource: JsonObject) -> tuple[str, str]:
    """Reason and evidence that a consent is ended with; "" where nothing is said.

    Raises:
        ProfileViolation: the extension cannot be read.
    """
    said = {"reason": "", "evidence": ""}
    for n, extension in enumerate(resource.get("extension", ())):
        if extension.get("url") != REVOCATION:
            continue
        for part in extension.get("extension", ()):
            text = part.get("valueString") or (part.get("valueReference") or {}).get("reference")
            name = part.get("url")
            if name not in said or not isinstance(text, str) or said[name] or len(text) > _LONGEST_REASON:
                words = f"has a reason and an evidence of at most {_LONGEST_REASON} characters"
                raise ProfileViolation([Problem(expression=f"Consent.extension[{n}]", message=words, code="value")])
            said[name] = text.strip()
    return said["reason"], said["evidence"]


def _bare(resource: JsonObject) -> JsonObject:
    """The resource without what the hub sets itself.

    Raises:
        FhirSyntax: a number that the database would write out into many times the characters it came in.
    """
    if _has_vast_number(resource):
        raise FhirSyntax(f"a number has an exponent beyond {_LARGEST_EXPONENT}", element="Consent")
    meta = {k: v for k, v in (resource.get("meta") or {}).items() if k not in ("versionId", "lastUpdated")}
    rest = {k: v for k, v in resource.items() if k not in ("id", "meta")}
    kept: JsonObject = fhir.loads(fhir.dumps({**rest, "meta": meta} if meta else rest))
    return kept


def _has_vast_number(value: Any) -> bool:
    if isinstance(value, Decimal):
        return abs(value.adjusted()) > _LARGEST_EXPONENT
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_has_vast_number(item) for item in held)


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
        _resource(done),
        status=status,
        location=f"Consent/{done.stored.id}",
        version=str(done.stored.version),
        last_updated=done.stored.recorded_at,
        issues=[_warning(told.element, told.message) for told in done.stored.warnings],
    )


def _warning(element: str, message: str) -> Issue:
    return Issue(severity="warning", code="business-rule", diagnostics=message, expression=element)


def _shown(found: ShownConsent) -> Answer:
    return Answer(resource=_resource(found), headers={"ETag": f'W/"{found.stored.version}"'})


def _resource(found: ShownConsent) -> JsonObject:
    """The consent as it was filed, about the person that its patient is now."""
    held = found.stored.resource.get("patient")
    patient = dict(held) if isinstance(held, dict) else {}
    return {**found.stored.resource, "patient": patient | {"reference": f"Patient/{found.person_id}"}}


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
    history=Interaction(handler=history, verb="r", transactions=("ITI-108",)),
    search=Interaction(handler=find, verb="s", transactions=("ITI-108",)),
    create=Interaction(handler=create, verb="c", transactions=("ITI-108",), body="json"),
    update=Interaction(handler=update, verb="u", transactions=("ITI-108",), body="json"),
    params=PARAMS,
    operations=(
        consent_decision.OPERATION,
        OperationDefinition(
            name="validate",
            interaction=Interaction(
                handler=validate,
                verb="c",
                transactions=("ITI-108",),
                body="json",
                lenient=True,
                documentation="the warnings that filing would give; nothing is stored",
            ),
            definition="http://hl7.org/fhir/OperationDefinition/Resource-validate",
        ),
    ),
    documentation="Access Consent [ITI-108]; a consent is ended by status inactive, not deleted",
)
