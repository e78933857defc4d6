"""AuditEvent: Retrieve ATNA Audit Event [ITI-81].

Source: spec/fhir.md 6.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from hie.audit.values import AuditQuery, Cursor
from hie.exchange import audit_search
from hie.exchange.errors import NotFound
from hie.exchange.named_patients import persons_known
from hie.faces.fhir import audit_event, bundle, search
from hie.faces.fhir.documents import patients
from hie.faces.fhir.errors import InvalidSearch
from hie.faces.fhir.http import Answer, FhirRequest
from hie.faces.fhir.resources import ID_PARAM, Interaction, Param, ParamType, Resource
from hie.faces.fhir.search import DateValue, ReferenceValue
from hie.standards import fhir
from hie.standards.demographics import authority_of

_FHIR = "http://hl7.org/fhir/SearchParameter"
_NONE: frozenset[str] = frozenset()


def _param(name: str, kind: ParamType, definition: str = "") -> Param:
    modifiers = frozenset({"identifier"}) if kind is ParamType.REFERENCE else _NONE
    targets = ("Patient",) if name == "patient" else ()
    return Param(name=name, type=kind, definition=definition, modifiers=modifiers, targets=targets)


PARAMS = (
    ID_PARAM,
    _param("_lastUpdated", ParamType.DATE, f"{_FHIR}/Resource-lastUpdated"),
    _param("date", ParamType.DATE, f"{_FHIR}/AuditEvent-date"),
    _param("action", ParamType.TOKEN, f"{_FHIR}/AuditEvent-action"),
    _param("address", ParamType.STRING, f"{_FHIR}/AuditEvent-address"),
    _param("agent", ParamType.REFERENCE, f"{_FHIR}/AuditEvent-agent"),
    _param("agent.identifier", ParamType.TOKEN),
    _param("entity", ParamType.REFERENCE, f"{_FHIR}/AuditEvent-entity"),
    _param("entity.identifier", ParamType.TOKEN),
    _param("entity-role", ParamType.TOKEN, f"{_FHIR}/AuditEvent-entity-role"),
    _param("entity-type", ParamType.TOKEN, f"{_FHIR}/AuditEvent-entity-type"),
    _param("outcome", ParamType.TOKEN, f"{_FHIR}/AuditEvent-outcome"),
    _param("patient", ParamType.REFERENCE, f"{_FHIR}/AuditEvent-patient"),
    _param("patient.identifier", ParamType.TOKEN),
    _param("policy", ParamType.URI, f"{_FHIR}/AuditEvent-policy"),
    _param("source.identifier", ParamType.TOKEN),
    _param("subtype", ParamType.TOKEN, f"{_FHIR}/AuditEvent-subtype"),
    _param("type", ParamType.TOKEN, f"{_FHIR}/AuditEvent-type"),
)


def find(request: FhirRequest) -> Answer:
    """Audit events the caller is entitled to, newest first; a date range or _id is needed."""
    query = request.query
    if any(not key.descending for key in query.sort):
        raise InvalidSearch("the log is read newest first: _sort=-date", element="_sort")
    page = bundle.page_of(query, request.caller, now=request.now)
    found = audit_search.search_events(_audit_query(request, page), request.caller, raw=query.raw)
    entries = []
    for event in found.events:
        resource = audit_event.encode(event, base_url=request.base)
        if _entities_match(resource, query):
            entries.append(bundle.Entry(full_url=f"{request.url}/{event.id}", resource=resource))
    token = ""
    if found.next is not None:
        after = (found.next.at.isoformat(), found.next.id)
        token = bundle.page_token(query, request.caller, page, after)
    answer = bundle.searchset(request.url, query, entries, total=0, next_token=token)
    # The log is too long to be counted for every page; total is optional for AuditEvent.
    del answer["total"]
    return Answer(resource=answer)


def read(request: FhirRequest) -> Answer:
    """One audit event."""
    found = audit_search.search_events(
        AuditQuery(ids=(request.id,), limit=1), request.caller, raw=request.http.get_full_path()
    )
    if not found.events:
        raise NotFound("no such audit event")
    return Answer(resource=audit_event.encode(found.events[0], base_url=request.base))


def _audit_query(request: FhirRequest, page: bundle.Page) -> AuditQuery:
    query = request.query
    since, until = _dates(query)
    until = min(until, page.snapshot) if until is not None else (page.snapshot if since is not None else None)
    named = patients(query)
    persons: tuple[str, ...] | None = None
    if named:
        persons = tuple(sorted(map(str, persons_known(named, caller=request.caller))))
    before = None
    if page.after is not None:
        before = Cursor(at=datetime.fromisoformat(page.after[0]), id=page.after[1])
    return AuditQuery(
        ids=_codes(query, "_id"),
        person_ids=persons,
        since=since,
        until=until,
        kinds=_kinds(query),
        actions=_codes(query, "action"),
        outcomes=tuple(map(_outcome, _codes(query, "outcome"))),
        agents=(*_references(query, "agent"), *_identifiers(query, "agent.identifier")),
        entities=(*_references(query, "entity"), *_identifiers(query, "entity.identifier")),
        policies=tuple(str(v) for c in _once(query, "policy") for v in c.values),
        addresses=tuple(str(v) for c in _once(query, "address") for v in c.values),
        before=before,
        limit=max(1, query.count),
    )


def _dates(query: search.Query) -> tuple[datetime | None, datetime | None]:
    """The stretch of time that all dates leave."""
    since: datetime | None = None
    until: datetime | None = None
    for criterion in (*query.all("date"), *query.all("_lastUpdated")):
        if len(criterion.values) != 1:
            raise InvalidSearch("one date at a time; repeat the parameter for a range", element=criterion.name)
        value = criterion.values[0]
        if not isinstance(value, DateValue):
            continue
        low, high = _bounds(value)
        since = max(since, low) if since and low else since or low
        until = min(until, high) if until and high else until or high
    return since, until


def _bounds(value: DateValue) -> tuple[datetime | None, datetime | None]:
    start, end = value.interval.start, value.interval.end
    match value.prefix:
        case "eq" | "ap":
            return start, end
        case "ge":
            return start, None
        case "gt" | "sa":
            return end, None
        case "le":
            return None, end
        case "lt" | "eb":
            return None, start
        case _:
            raise InvalidSearch("ne is not offered on date", element="date")


_NO_CODE = "-"


def _codes(query: search.Query, name: str) -> tuple[str, ...]:
    """The codes that all criteria of this name leave; none of them is a code no event has."""
    left: set[str] | None = None
    for criterion in query.all(name):
        codes = {value.code for value in criterion.values if isinstance(value, fhir.Token)}
        left = codes if left is None else left & codes
    return () if left is None else tuple(sorted(left)) or (_NO_CODE,)


def _outcome(code: str) -> int:
    if code == _NO_CODE:
        return -1
    if code not in ("0", "4", "8", "12"):
        raise InvalidSearch("outcome is one of 0, 4, 8, 12", element="outcome")
    return int(code)


def _once(query: search.Query, *names: str) -> list[search.Criterion]:
    """The one criterion of these names, if any: the log holds one list of alternatives for them.

    Raises:
        InvalidSearch: several, which would all have to hold.
    """
    found = [criterion for name in names for criterion in query.all(name)]
    if len(found) > 1:
        raise InvalidSearch(f"one {names[0]} at a time; separate alternatives by a comma", element=names[0])
    return found


def _kinds(query: search.Query) -> tuple[str, ...]:
    """The kinds of event that type and subtype leave; none of them is a kind no event has."""
    left: set[str] | None = None
    for name, kinds_of in (("type", audit_event.kinds_of_type), ("subtype", audit_event.kinds_of_subtype)):
        for criterion in query.all(name):
            tokens = [value for value in criterion.values if isinstance(value, fhir.Token)]
            kinds = {str(kind) for token in tokens for kind in _kinds_of(kinds_of, token)}
            left = kinds if left is None else left & kinds
    return () if left is None else tuple(sorted(left)) or ("-",)


def _kinds_of(kinds_of: object, token: fhir.Token) -> Iterable[object]:
    found: Iterable[object] = kinds_of(token.code, token.system or None)  # type: ignore[operator]  # one of two functions
    return found


def _references(query: search.Query, name: str) -> tuple[str, ...]:
    found: list[str] = []
    _once(query, name, f"{name}.identifier")
    for criterion in query.all(name):
        for value in criterion.values:
            if isinstance(value, ReferenceValue):
                found += (
                    [value.url] if value.url else [f"{value.type}/{value.id}" if value.type else value.id, value.id]
                )
            elif isinstance(value, fhir.Token):
                found.append(value.code)
    return tuple(dict.fromkeys(found))


def _identifiers(query: search.Query, name: str) -> tuple[str, ...]:
    return tuple(
        text
        for criterion in query.all(name)
        for value in criterion.values
        if isinstance(value, fhir.Token)
        for text in (value.code, f"{value.code}^^^&{authority_of(value.system)}&ISO" if value.system else "")
        if text
    )


def _entities_match(resource: dict[str, object], query: search.Query) -> bool:
    """entity-type and entity-role, which the log does not index."""
    entities = resource.get("entity")
    held = [item for item in entities if isinstance(item, dict)] if isinstance(entities, list) else []
    for name in ("type", "role"):
        for criterion in query.all(f"entity-{name}"):
            codings = [item[name] for item in held if isinstance(item.get(name), dict)]
            if not search.token_matches(criterion, [(c.get("system", ""), c.get("code", "")) for c in codings]):
                return False
    for criterion in query.all("source.identifier"):
        source = resource.get("source")
        observer = source.get("observer", {}) if isinstance(source, dict) else {}
        identifier = observer.get("identifier", {}) if isinstance(observer, dict) else {}
        if not search.token_matches(criterion, [(identifier.get("system", ""), identifier.get("value", ""))]):
            return False
    return True


RESOURCE = Resource(
    type="AuditEvent",
    profile="http://hl7.org/fhir/StructureDefinition/AuditEvent",
    read=Interaction(handler=read, verb="r", transactions=("ITI-81",)),
    search=Interaction(
        handler=find,
        verb="s",
        transactions=("ITI-81",),
        documentation="Retrieve ATNA Audit Event [ITI-81]; a date range or _id is needed",
    ),
    params=PARAMS,
    sorts=("date", "_lastUpdated"),
    documentation="the access log; no one can change it",
)
