"""Subscription to changes of identities [ITI-94]: create, read, update, delete, and a client's own by search.

With criteria ``Consent`` it asks to be told when a consent ends by which copies were taken (`hie.exchange.copies`).

Source: IHE PMIR 1.5.1, 2:3.94; spec/fhir.md 2.5.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from django.utils.http import http_date

from hie.exchange import copies, subscriptions
from hie.exchange.errors import BadRequest
from hie.exchange.models import Subscription
from hie.exchange.subscriptions import Wanted
from hie.faces.fhir import bundle
from hie.faces.fhir.errors import FhirSyntax, ProfileViolation, VersionConflict
from hie.faces.fhir.http import Answer, FhirRequest, stored
from hie.faces.fhir.resources import ID_PARAM, Interaction, Param, ParamType, Resource
from hie.faces.fhir.search import token_matches
from hie.standards import fhir
from hie.standards.fhir import JsonObject, Problem, instant_text

_SP = "http://hl7.org/fhir/SearchParameter/Subscription-"
_ETAG = re.compile(r'(?:W/)?"(\d{1,9})"\Z', re.ASCII)
_CRITERIA = frozenset({"_id", "organization", "identifier"})
_PAYLOADS = frozenset({"application/fhir+json", "application/json"})
_FORMAT = "only application/fhir+json is sent"


def create(request: FhirRequest) -> Answer:
    """Subscribe: 201, active at once."""
    wanted = _wanted(request.resource_body, new=True)
    return _stored(
        request, _refused_by_profile(lambda: subscriptions.subscribe(wanted, request.caller, raw=request.raw)), 201
    )


def update(request: FhirRequest) -> Answer:
    """Replace: ``off`` ends it, ``requested`` revives it."""
    resource = request.resource_body
    if resource.get("id") != request.id:
        raise FhirSyntax("the id of the resource is that of its address", element="Subscription.id")
    wanted = _wanted(resource, new=False)
    row = _refused_by_profile(
        lambda: subscriptions.change(request.id, wanted, request.caller, if_version=_if_match(request), raw=request.raw)
    )
    return _stored(request, row, 200)


def read(request: FhirRequest) -> Answer:
    """A subscription of the caller's client, with its standing."""
    row = subscriptions.read(request.id, request.caller)
    headers = {"ETag": f'W/"{row.version}"', "Last-Modified": http_date(row.updated_at.timestamp())}
    return Answer(resource=_json(row), headers=headers)


def delete(request: FhirRequest) -> Answer:
    """End it: 204."""
    subscriptions.end(request.id, request.caller)
    return Answer(status=204)


def search(request: FhirRequest) -> Answer:
    """The caller's own subscriptions."""
    query = request.query
    page = bundle.page_of(query, request.caller, now=request.now)
    rows = [row for row in subscriptions.owned(request.caller) if _fits(row, query) and row.created_at <= page.snapshot]
    keyed = sorted((instant_text(row.created_at), str(row.pk), row) for row in rows)
    rest = [item for item in keyed if page.after is None or item[:2] > tuple(page.after)]
    shown = rest[: 0 if query.summary == "count" else query.count]
    token = ""
    if len(rest) > len(shown) > 0:
        token = bundle.page_token(query, request.caller, page, list(shown[-1][:2]))
    entries = [bundle.Entry(full_url=f"{request.url}/{row.pk}", resource=_json(row)) for _, _, row in shown]
    return Answer(resource=bundle.searchset(request.url, query, entries, total=len(rows), next_token=token))


def _fits(row: Subscription, query: Any) -> bool:
    return all(
        token_matches(criterion, [("", str(row.pk) if criterion.name == "_id" else row.status)])
        for criterion in query.criteria
    )


def _refused_by_profile(work: Any) -> Subscription:
    try:
        row: Subscription = work()
    except BadRequest as problem:
        expression = problem.element or "Subscription"
        raise ProfileViolation([Problem(expression=expression, message=str(problem), code="value")]) from problem
    return row


def _wanted(resource: JsonObject, *, new: bool) -> Wanted:
    """What is subscribed to.

    Raises:
        ProfileViolation: every rule of the profile that is broken.
    """
    problems: list[Problem] = []

    def need(holds: bool, element: str, message: str, code: str = "value") -> None:
        if not holds:
            problems.append(Problem(expression=f"Subscription.{element}", message=message, code=code))

    channel = resource.get("channel") or {}
    allowed = ("requested",) if new else ("requested", "active", "off")
    need(resource.get("status") in allowed, "status", f"one of {', '.join(allowed)}")
    contacts = resource.get("contact", ())
    need(bool(contacts), "contact", "at least one is needed", "required")
    for index, contact in enumerate(contacts):
        sound = bool(contact.get("system")) and bool(contact.get("value"))
        need(sound, f"contact[{index}]", "system and value are needed", "required")
    need(channel.get("type") == "message", "channel.type", "only message is offered", "not-supported")
    endpoint = channel.get("endpoint", "")
    need(bool(endpoint), "channel.endpoint", "is needed", "required")
    payload = str(channel.get("payload", "")).partition(";")[0].strip()
    need(payload in _PAYLOADS, "channel.payload", _FORMAT, "not-supported" if payload else "required")
    need("header" not in channel, "channel.header", "not taken: each notice is signed", "not-supported")
    for element in ("modifierExtension", "implicitRules"):
        need(element not in resource, element, "not understood here, and may not be ignored", "invariant")
    criteria = str(resource.get("criteria", ""))
    offered = "Patient, or Patient? with one of _id, organization, identifier; or Consent"
    need(_usable(criteria), "criteria", offered, "not-supported")
    ends: datetime | None = None
    if resource.get("end"):
        ends = fhir.interval(str(resource["end"])).start
    if problems:
        raise ProfileViolation(problems)
    kept = {key: value for key, value in resource.items() if key not in ("id", "meta", "status", "error")}
    return Wanted(criteria=criteria, endpoint=endpoint, resource=kept, ends_at=ends, on=resource.get("status") != "off")


def _usable(criteria: str) -> bool:
    if criteria == copies.CRITERIA:
        return True
    kind, mark, query = criteria.partition("?")
    if kind != "Patient" or not mark:
        return kind == "Patient"
    given = parse_qsl(query, keep_blank_values=True)
    if len(given) != 1 or given[0][0] not in _CRITERIA or "," in given[0][1]:
        return False
    return bool(given[0][1].strip("|"))


def _stored(request: FhirRequest, row: Subscription, status: int) -> Answer:
    return stored(
        request,
        _json(row),
        status=status,
        location=f"Subscription/{row.pk}",
        version=str(row.version),
        last_updated=row.updated_at,
    )


def _json(row: Subscription) -> JsonObject:
    shown: JsonObject = {
        "resourceType": "Subscription",
        "id": str(row.pk),
        "meta": {"versionId": str(row.version), "lastUpdated": instant_text(row.updated_at)},
        **{key: value for key, value in row.resource.items() if key != "resourceType"},
        "status": row.status,
    }
    if row.error:
        shown["error"] = row.error
    return shown


def _if_match(request: FhirRequest) -> int | None:
    header = request.http.headers.get("If-Match", "").strip()
    if not header:
        return None
    found = _ETAG.match(header)
    if found is None:
        raise VersionConflict("If-Match names no version of this subscription", element="If-Match")
    return int(found[1])


RESOURCE = Resource(
    type="Subscription",
    profile="https://profiles.ihe.net/ITI/PMIR/StructureDefinition/IHE.PMIR.Subscription",
    instantiates=("https://profiles.ihe.net/ITI/PMIR/CapabilityStatement/IHE.PMIR.PatientIdentityRegistry",),
    read=Interaction(handler=read, verb="r", transactions=("ITI-94",)),
    search=Interaction(handler=search, verb="s", transactions=("ITI-94",)),
    create=Interaction(handler=create, verb="c", transactions=("ITI-94",), body="json"),
    update=Interaction(handler=update, verb="u", transactions=("ITI-94",), body="json"),
    delete=Interaction(handler=delete, verb="d", transactions=("ITI-94",)),
    params=(
        ID_PARAM,
        Param(name="status", type=ParamType.TOKEN, definition=f"{_SP}status", modifiers=frozenset({"not"})),
    ),
    sorts=("_id",),
)
