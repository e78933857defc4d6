"""Patient: Patient Demographics Query [ITI-78] and Patient Identity Feed FHIR [ITI-104].

Source: IHE PDQm 3.2.0, PIXm 3.1.0; spec/fhir.md 2.1 and 2.4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from django.utils.http import http_date

from hie.exchange import feed, identity
from hie.exchange.errors import NotFound, UnknownTargetDomain
from hie.faces.fhir import bundle, match, outcome, pix
from hie.faces.fhir.errors import (
    FhirSyntax,
    InvalidSearch,
    MultipleMatches,
    ProfileViolation,
    VersionConflict,
)
from hie.faces.fhir.http import Answer, FhirRequest, stored
from hie.faces.fhir.outcome import Issue
from hie.faces.fhir.people_codec import demographics_from, patient_json, record_json
from hie.faces.fhir.resources import (
    ID_PARAM,
    LAST_UPDATED_PARAM,
    Interaction,
    OperationDefinition,
    Param,
    ParamType,
    Resource,
)
from hie.faces.fhir.search import Criterion, DateValue, Query, date_matches
from hie.standards import fhir
from hie.standards.demographics import (
    DateMatch,
    Demographics,
    IdentifierMatch,
    PatientQuery,
    StringMatch,
    authority_of,
    system_of,
)
from hie.standards.fhir import Problem

_SP = "http://hl7.org/fhir/SearchParameter/"
_GENDERS = "http://hl7.org/fhir/administrative-gender"
_ETAG = re.compile(r'(?:W/)?"([^"]+)"\Z')


def search(request: FhirRequest) -> Answer:
    """Patient Demographics Query [ITI-78]."""
    query = request.query
    asked, domains = patient_query(query)
    sort = [(key.name, key.descending) for key in query.sort]
    page = bundle.page_of(query, request.caller, now=request.now)
    try:
        found = identity.find_patients(
            asked,
            request.caller,
            domains=domains,
            sort=sort,
            after=page.after or (),
            count=query.count if query.summary != "count" else 0,
            keep=_kept(query),
            raw_query=f"Patient?{query.raw}",
        )
    except UnknownTargetDomain as error:
        issue = Issue(severity="warning", code="not-found", diagnostics=str(error))
        return Answer(status=404, resource=outcome.outcome([issue]))
    entries = [
        bundle.Entry(full_url=f"{request.url}/{patient.person_id}", resource=patient_json(patient))
        for patient in found.patients
    ]
    following = ""
    if found.more and found.patients:
        following = bundle.page_token(query, request.caller, page, identity.standing(found.patients[-1], sort))
    return Answer(resource=bundle.searchset(request.url, query, entries, total=found.total, next_token=following))


def read(request: FhirRequest) -> Answer:
    """One patient as the caller may see it; a merged one with its link to the survivor.

    By version: the current one, under its own number or the one that the caller's feed was told.
    """
    patient = identity.read_patient(request.id, request.caller)
    version = str(patient.version)
    own = {str(number) for source, number in patient.sources if source == request.caller.participant_id}
    if request.version and request.version != version and request.version not in own:
        raise NotFound("only the current version is kept")
    headers = {"ETag": f'W/"{version}"', "Last-Modified": http_date(patient.updated_at.timestamp())}
    if _version_named(request.http.headers.get("If-None-Match", "")) == version:
        return Answer(status=304, headers=headers)
    return Answer(resource=patient_json(patient), headers=headers)


def put(request: FhirRequest) -> Answer:
    """Patient Identity Feed FHIR [ITI-104]: add, revise, resolve a duplicate."""
    system, value = _criterion(request)
    resource = request.resource_body
    demographics = demographics_from(resource)
    check_profile(resource, demographics, system, value)
    raw = request.raw
    subsumed_by = _survivor(resource)
    if subsumed_by is not None:
        change = feed.Duplicate(
            survivor=subsumed_by, subsumed=(authority_of(system), value), element="Patient.link[0].other.identifier"
        )
        fed = feed.resolve_duplicate(change, request.caller, raw=raw)
        if fed.record is None:
            raise FhirSyntax("the survivor cannot be resolved", element="Patient.link[0].other.identifier")
        survivor = identity.own_person(*subsumed_by)
        body = {**resource, "id": str(survivor), "link": resource["link"]}
        return stored(
            request,
            body,
            status=200,
            location=f"Patient/{survivor}",
            version=str(fed.record.version),
            last_updated=fed.record.updated_at,
        )
    revision = feed.Revision(
        authority=authority_of(system),
        value=value,
        demographics=demographics,
        expected_version=_expected(request),
    )
    fed = feed.feed(revision, request.caller, raw=raw)
    assert fed.result is not None
    assert fed.record is not None
    answer = stored(
        request,
        record_json(fed.record, fed.result.person_id),
        status=201 if fed.result.created else 200,
        location=f"Patient/{fed.result.person_id}",
        version=str(fed.result.version),
        last_updated=fed.record.updated_at,
    )
    if fed.outcome == "quarantined":
        note = "the revision describes another person than before; it is kept aside until somebody has looked"
        issue = Issue(severity="warning", code="business-rule", diagnostics=note, expression="Patient")
        answer.resource = outcome.outcome([issue])
    return answer


def delete(request: FhirRequest) -> Answer:
    """Patient Identity Feed FHIR [ITI-104]: remove. The same answer when there was nothing to remove."""
    try:
        system, value = _criterion(request)
    except NotFound:  # a logical id that leads to no record of the caller's
        return Answer(status=204)
    feed.remove(authority_of(system), value, request.caller, raw=f"DELETE Patient?{request.query.raw}")
    return Answer(status=204)


def patient_query(query: Query) -> tuple[PatientQuery, tuple[str, ...]]:
    """The search as values, and the domains whose identifiers alone are asked for.

    Raises:
        InvalidSearch: nothing that narrows the search.
    """
    if not query.criteria:
        raise InvalidSearch("name at least one parameter that says who is looked for")
    plain = replace(query, criteria=tuple(c for c in query.criteria if c.modifier not in _TURNING))
    domains: list[str] = []
    for criterion in plain.all("identifier"):
        tokens = _tokens(criterion)
        if all(t.system and t.code == "" for t in tokens):
            domains += [str(t.system) for t in tokens]
    states = _states(query)
    asked = PatientQuery(
        ids=_ids(plain) if states else _NOBODY,
        family=_strings(plain, "family"),
        given=_strings(plain, "given"),
        name=_strings(plain, "name"),
        identifiers=tuple(_identifiers(c) for c in plain.all("identifier")),
        birth_dates=tuple(
            tuple(DateMatch(value=_bare(part), prefix=_prefix(part)) for part in fhir.split_escaped(c.raw, ",") if part)
            for c in plain.all("birthdate")
        ),
        genders=_genders(plain),
        telecom=_contacts(plain, "telecom"),
        phone=_contacts(plain, "phone"),
        email=_contacts(plain, "email"),
        address=_strings(plain, "address"),
        address_city=_strings(plain, "address-city"),
        address_state=_strings(plain, "address-state"),
        address_country=_strings(plain, "address-country"),
        address_postal_code=_strings(plain, "address-postalcode"),
        mothers_maiden_name=_strings(plain, "mothersMaidenName"),
        active="true" in states if len(states) == 1 else None,
        unlike=tuple(_unlike(c) for c in query.criteria if c.modifier == "not" and c.name in _ATTRIBUTES),
        missing=tuple(
            (_ATTRIBUTES[c.name], c.values[0] is True)
            for c in query.criteria
            if c.modifier == "missing" and c.name in _ATTRIBUTES
        ),
        anybody=all(c.name in ("_lastUpdated", "active") for c in plain.criteria),
    )
    return asked, tuple(dict.fromkeys(domains))


_NOBODY = ("-",)
"""An id that nobody has: what is asked for excludes itself."""
_TURNING = frozenset({"not", "missing"})
"""Modifiers under which a criterion finds nobody by itself, but narrows what is shown."""
_ATTRIBUTES = {
    "family": "family",
    "given": "given",
    "name": "name",
    "identifier": "identifiers",
    "birthdate": "birth_dates",
    "gender": "genders",
    "telecom": "telecom",
    "phone": "phone",
    "email": "email",
    "address": "address",
    "address-city": "address_city",
    "address-state": "address_state",
    "address-country": "address_country",
    "address-postalcode": "address_postal_code",
    "mothersMaidenName": "mothers_maiden_name",
}


def _unlike(criterion: Criterion) -> PatientQuery:
    """What nobody may be who fits a criterion with ``:not``."""
    one = Query(criteria=(criterion,))
    match criterion.name:
        case "identifier":
            return PatientQuery(identifiers=(_identifiers(criterion),))
        case "gender":
            return PatientQuery(genders=_genders(one))
        case "telecom":
            return PatientQuery(telecom=_contacts(one, "telecom"))
        case "phone":
            return PatientQuery(phone=_contacts(one, "phone"))
        case _:
            return PatientQuery(email=_contacts(one, "email"))


def _tokens(criterion: Criterion) -> list[fhir.Token]:
    return [value for value in criterion.values if isinstance(value, fhir.Token)]


def _identifiers(criterion: Criterion) -> tuple[IdentifierMatch, ...]:
    return tuple(IdentifierMatch(system=t.system, value=t.code) for t in _tokens(criterion))


def _ids(query: Query) -> tuple[str, ...]:
    found: set[str] | None = None
    for criterion in query.all("_id"):
        codes = {t.code for t in _tokens(criterion)}
        found = codes if found is None else found & codes
    if found is None:
        return ()
    return tuple(sorted(found)) or _NOBODY


def _strings(query: Query, name: str) -> tuple[StringMatch, ...]:
    return tuple(StringMatch(values=tuple(str(v) for v in c.values), modifier=c.modifier) for c in query.all(name))


def _contacts(query: Query, name: str) -> tuple[StringMatch, ...]:
    return tuple(StringMatch(values=tuple(t.code for t in _tokens(c))) for c in query.all(name))


def _genders(query: Query) -> tuple[str, ...]:
    found: list[str] | None = None
    for criterion in query.all("gender"):
        tokens = _tokens(criterion)
        if any(token.code not in ("male", "female", "other", "unknown") for token in tokens):
            raise InvalidSearch("gender is one of male, female, other, unknown", element="gender")
        codes = [t.code for t in tokens if t.system in (None, "", _GENDERS)]
        found = codes if found is None else [code for code in found if code in codes]
    return tuple(found) if found else (() if found is None else ("-",))


def _states(query: Query) -> set[str]:
    """The values of `active` that fit."""
    states = {"true", "false"}
    for criterion in query.all("active"):
        if criterion.modifier == "missing":  # each patient shown says it
            continue
        codes = {t.code for t in _tokens(criterion)}
        if codes - {"true", "false"}:
            raise InvalidSearch("active is true or false", element="active")
        states &= {"true", "false"} - codes if criterion.modifier == "not" else codes
    return states


def _prefix(part: str) -> str:
    return part[:2] if part[:2] in fhir.PREFIXES else "eq"


def _bare(part: str) -> str:
    text = part[2:] if part[:2] in fhir.PREFIXES else part
    return text.split("T")[0]


def _kept(query: Query) -> Callable[[identity.KnownPatient], bool] | None:
    """What is asked of the patient as shown: `_lastUpdated`, other ids than these, and what everybody has."""
    asked = [
        c for c in query.criteria if c.name == "_lastUpdated" or (c.name in _EVERYBODY_HAS and c.modifier in _TURNING)
    ]
    if not asked:
        return None
    return lambda patient: all(_is_kept(criterion, patient) for criterion in asked)


_EVERYBODY_HAS = ("_id", "_lastUpdated", "active")


def _is_kept(criterion: Criterion, patient: identity.KnownPatient) -> bool:
    if criterion.modifier == "missing":
        return criterion.values[0] is False
    if criterion.name == "_lastUpdated":
        instant = fhir.interval(fhir.instant_text(patient.updated_at))
        return any(isinstance(value, DateValue) and date_matches(value, instant) for value in criterion.values)
    return criterion.name != "_id" or all(token.code != str(patient.person_id) for token in _tokens(criterion))


def _criterion(request: FhirRequest) -> tuple[str, str]:
    """System and value of the one ``identifier=system|value`` that names the record.

    ``identifier=[this server's base]|Patient/{id}`` is a logical id: the caller's own record of that person.

    Raises:
        InvalidSearch: there is none, or it is not of this form. MultipleMatches: it names several.
        NotFound: a logical id of which the caller feeds no record, or several.
    """
    query = request.query
    tokens = [t for c in query.all("identifier") for t in c.values if isinstance(t, fhir.Token)]
    if not tokens or any(c.name != "identifier" for c in query.criteria) or query.ignored:
        raise InvalidSearch("the feed names the record as identifier=system|value", element="identifier")
    if len(tokens) > 1:
        raise MultipleMatches("the feed names one record", element="identifier")
    token = tokens[0]
    if not token.system or not token.code:
        raise InvalidSearch("identifier needs system and value", element="identifier")
    if token.system.rstrip("/") == request.base and token.code.startswith("Patient/"):
        own = feed.own_record(token.code.removeprefix("Patient/"), request.caller)
        if own is None:
            raise NotFound("no such patient among the records of the caller")
        return system_of(own[0]), own[1]
    return token.system, token.code


def check_profile(resource: dict[str, Any], demographics: Demographics, system: str, value: str) -> None:
    """IHE.PDQm.Patient as fed: identifier and name, nothing that modifies the meaning, the identifier of the query.

    Raises:
        ProfileViolation: with every problem. FhirSyntax: the identifiers of query and body differ.
    """
    problems: list[Problem] = []
    if not demographics.identifiers:
        problems.append(Problem(expression="Patient.identifier", message="at least one is needed", code="required"))
    for index, item in enumerate(demographics.identifiers):
        if not item.system or not item.value:
            where = f"Patient.identifier[{index}]"
            problems.append(Problem(expression=where, message="system and value are needed", code="required"))
    if not demographics.names and not _has_absent_reason(resource):
        problems.append(Problem(expression="Patient.name", message="at least one is needed", code="required"))
    for index, name in enumerate(demographics.names):
        if not (name.family or any(name.given) or name.text or _reason(name.extra)):
            where = f"Patient.name[{index}]"
            problems.append(Problem(expression=where, message="family, given or text is needed", code="required"))
    for element in ("modifierExtension", "implicitRules"):
        if element in resource:
            message = "not understood here, and may not be ignored"
            problems.append(Problem(expression=f"Patient.{element}", message=message, code="invariant"))
    if "link" in resource and "active" not in resource:
        problems.append(Problem(expression="Patient.active", message="needed beside link", code="required"))
    if problems:
        raise ProfileViolation(problems)
    if not any(item.authority == authority_of(system) and item.value == value for item in demographics.identifiers):
        raise FhirSyntax("the body does not carry the identifier of the query", element="Patient.identifier")


def _has_absent_reason(resource: dict[str, Any]) -> bool:
    return any(_reason({"extension": item.get("extension", [])}) for item in resource.get("_name", []) if item)


def _reason(extra: Any) -> bool:
    return any(
        str(extension.get("url", "")).endswith("/data-absent-reason") for extension in extra.get("extension", ())
    )


def _survivor(resource: dict[str, Any]) -> tuple[str, str] | None:
    """The survivor's identifier when the body says that this record is replaced by another.

    Raises:
        ProfileViolation: a link that is not exactly one ``replaced-by`` with an identifier, or on an active record.
    """
    replaced = [item for item in resource.get("link", ()) if item.get("type") == "replaced-by"]
    if not replaced:
        return None
    identifier = (replaced[0].get("other") or {}).get("identifier") or {}
    where = "Patient.link"
    problems: list[Problem] = []
    if len(replaced) > 1:
        problems.append(Problem(expression=where, message="one survivor only", code="invariant"))
    if resource.get("active") is not False:
        message = "a replaced record has active=false"
        problems.append(Problem(expression="Patient.active", message=message, code="invariant"))
    if not identifier.get("system") or not identifier.get("value"):
        message = "the survivor is named by an identifier with system and value"
        problems.append(Problem(expression=f"{where}[0].other.identifier", message=message, code="required"))
    if problems:
        raise ProfileViolation(problems)
    return authority_of(identifier["system"]), identifier["value"]


def _expected(request: FhirRequest) -> int | None:
    header = request.http.headers.get("If-Match", "")
    if not header:
        return None
    named = _version_named(header)
    if not (named.isascii() and named.isdigit()):
        raise VersionConflict("If-Match names no version of this record", element="If-Match")
    return int(named)


def _version_named(header: str) -> str:
    found = _ETAG.match(header.strip())
    return found[1] if found else ""


def _strings_of(names: Iterable[str]) -> tuple[Param, ...]:
    return tuple(Param(name=name, type=ParamType.STRING, definition=f"{_SP}individual-{name}") for name in names)


PARAMS = (
    ID_PARAM,
    LAST_UPDATED_PARAM,
    Param(name="identifier", type=ParamType.TOKEN, definition=f"{_SP}Patient-identifier"),
    Param(name="active", type=ParamType.TOKEN, definition=f"{_SP}Patient-active"),
    Param(name="name", type=ParamType.STRING, definition=f"{_SP}Patient-name"),
    Param(name="birthdate", type=ParamType.DATE, definition=f"{_SP}individual-birthdate"),
    Param(name="gender", type=ParamType.TOKEN, definition=f"{_SP}individual-gender"),
    Param(name="telecom", type=ParamType.TOKEN, definition=f"{_SP}individual-telecom"),
    Param(name="phone", type=ParamType.TOKEN, definition=f"{_SP}individual-phone"),
    Param(name="email", type=ParamType.TOKEN, definition=f"{_SP}individual-email"),
    *_strings_of(
        ("family", "given", "address", "address-city", "address-country", "address-postalcode", "address-state")
    ),
    Param(
        name="mothersMaidenName",
        type=ParamType.STRING,
        definition="http://hl7.org/fhir/SearchParameter/patient-extensions-Patient-mothersMaidenName",
    ),
)

RESOURCE = Resource(
    type="Patient",
    profile="https://profiles.ihe.net/ITI/PDQm/StructureDefinition/IHE.PDQm.Patient",
    instantiates=(
        "https://profiles.ihe.net/ITI/PDQm/CapabilityStatement/IHE.PDQm.Supplier",
        "https://profiles.ihe.net/ITI/PIXm/CapabilityStatement/IHE.PIXm.Manager",
    ),
    read=Interaction(handler=read, verb="r", transactions=("ITI-78",)),
    vread=Interaction(handler=read, verb="r", transactions=("ITI-78",), documentation="only the current version"),
    search=Interaction(handler=search, verb="s", transactions=("ITI-78",)),
    conditional_update=Interaction(handler=put, verb="u", transactions=("ITI-104",), body="json"),
    conditional_delete=Interaction(handler=delete, verb="d", transactions=("ITI-104",)),
    params=PARAMS,
    sorts=tuple(identity.SORTS),
    operations=(
        OperationDefinition(
            name="match",
            definition="https://profiles.ihe.net/ITI/PDQm/OperationDefinition/PDQmMatch",
            interaction=Interaction(
                handler=match.match, verb="s", transactions=("ITI-119",), body="json", lenient=True
            ),
        ),
        OperationDefinition(
            name="ihe-pix",
            definition="https://profiles.ihe.net/ITI/PIXm/OperationDefinition/IHE.PIXm.pix",
            methods=("GET", "POST"),
            interaction=Interaction(handler=pix.pix, verb="s", transactions=("ITI-83",), body="json", lenient=True),
        ),
    ),
)
