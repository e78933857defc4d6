"""DocumentReference: Find Document References [ITI-67], read, Simplified Publish [ITI-105].

Source: spec/fhir.md 3.2, 3.5.
"""

from __future__ import annotations

from collections.abc import Callable

from hie.exchange import document_filter, find
from hie.exchange.found_pages import DocumentSearch, Found, FoundPage
from hie.exchange.named_patients import PatientNamed
from hie.faces.fhir import bundle, document_reference, search, simplified
from hie.faces.fhir.errors import InvalidSearch, NotFound
from hie.faces.fhir.http import Answer, FhirRequest, holds
from hie.faces.fhir.mapping import MHD, MHD_STRUCTURE
from hie.faces.fhir.resources import ID_PARAM, LAST_UPDATED_PARAM, Interaction, Param, ParamType, Resource
from hie.faces.fhir.search import Criterion, ReferenceValue
from hie.standards import fhir
from hie.standards.fhir import JsonObject

_FHIR = "http://hl7.org/fhir/SearchParameter"
_PATIENT = ("patient", "patient.identifier", "subject", "subject.identifier")
SORTS = ("_id", "_lastUpdated", "date", "creation", "period")

PARAMS = (
    ID_PARAM,
    LAST_UPDATED_PARAM,
    Param(name="author.given", type=ParamType.STRING),
    Param(name="author.family", type=ParamType.STRING),
    Param(name="category", type=ParamType.TOKEN, definition=f"{_FHIR}/DocumentReference-category"),
    Param(
        name="creation",
        type=ParamType.DATE,
        definition=f"{MHD}/SearchParameter/DocumentReference-Creation",
        documentation="content.attachment.creation",
    ),
    Param(name="contenttype", type=ParamType.TOKEN, definition=f"{_FHIR}/DocumentReference-contenttype"),
    Param(name="date", type=ParamType.DATE, definition=f"{_FHIR}/DocumentReference-date"),
    Param(name="event", type=ParamType.TOKEN, definition=f"{_FHIR}/DocumentReference-event"),
    Param(name="facility", type=ParamType.TOKEN, definition=f"{_FHIR}/DocumentReference-facility"),
    Param(name="format", type=ParamType.TOKEN, definition=f"{_FHIR}/DocumentReference-format"),
    Param(name="identifier", type=ParamType.TOKEN, definition=f"{_FHIR}/clinical-identifier"),
    Param(
        name="patient",
        type=ParamType.REFERENCE,
        definition=f"{_FHIR}/clinical-patient",
        targets=("Patient",),
        modifiers=frozenset({"identifier"}),
    ),
    Param(name="patient.identifier", type=ParamType.TOKEN, modifiers=frozenset()),
    Param(
        name="subject",
        type=ParamType.REFERENCE,
        definition=f"{_FHIR}/DocumentReference-subject",
        targets=("Patient",),
        modifiers=frozenset({"identifier"}),
    ),
    Param(name="subject.identifier", type=ParamType.TOKEN, modifiers=frozenset()),
    Param(name="period", type=ParamType.DATE, definition=f"{_FHIR}/DocumentReference-period"),
    Param(name="related", type=ParamType.REFERENCE, definition=f"{_FHIR}/DocumentReference-related"),
    Param(name="security-label", type=ParamType.TOKEN, definition=f"{_FHIR}/DocumentReference-security-label"),
    Param(name="setting", type=ParamType.TOKEN, definition=f"{_FHIR}/DocumentReference-setting"),
    Param(name="status", type=ParamType.TOKEN, definition=f"{_FHIR}/DocumentReference-status"),
    Param(name="type", type=ParamType.TOKEN, definition=f"{_FHIR}/clinical-type"),
)


def patients(query: search.Query) -> tuple[tuple[PatientNamed, ...], ...]:
    """The groups of alternatives by which the patient is named."""
    return tuple(
        tuple(_named(value, criterion) for value in criterion.values)
        for criterion in query.criteria
        if criterion.name in _PATIENT
    )


def _named(value: search.Value, criterion: Criterion) -> PatientNamed:
    if isinstance(value, ReferenceValue):
        # A reference to another server names nobody here.
        return PatientNamed(id=value.id)
    if isinstance(value, fhir.Token) and value.system and value.code:
        return PatientNamed(system=value.system, value=value.code)
    raise InvalidSearch(f"{criterion.name} is system|value", element=criterion.name)


def others(query: search.Query) -> list[document_filter.Parameter]:
    """The other parameters as the exchange reads them."""
    return [(c.name, c.modifier, c.raw) for c in query.criteria if c.name not in _PATIENT]


def search_of(request: FhirRequest, asked: document_filter.Asked, page: bundle.Page) -> DocumentSearch:
    """The search as the exchange takes it."""
    query = request.query
    return DocumentSearch(
        patients=patients(query),
        asked=asked,
        sort=tuple((key.name, key.descending) for key in query.sort) or (("", True),),
        after=page.after,
        count=0 if query.summary == "count" else query.count,
        raw=query.raw,
    )


def answer(request: FhirRequest, found: FoundPage, page: bundle.Page, encode: Callable[[Found], JsonObject]) -> Answer:
    """The searchset of a page."""
    entries = [
        bundle.Entry(full_url=f"{request.url}/{resource['id']}", resource=resource)
        for resource in map(encode, found.rows)
    ]
    token = bundle.page_token(request.query, request.caller, page, found.rows[-1].key) if found.more else ""
    return Answer(resource=bundle.searchset(request.url, request.query, entries, total=found.total, next_token=token))


def find_documents(request: FhirRequest) -> Answer:
    """Find Document References [ITI-67]."""
    page = bundle.page_of(request.query, request.caller, now=request.now)
    asked = document_filter.entry_filter(others(request.query), snapshot=page.snapshot)
    found = find.find_documents(search_of(request, asked, page), caller=request.caller)
    return answer(request, found, page, _encode)


def read(request: FhirRequest) -> Answer:
    """One DocumentReference, superseded ones too."""
    found = find.read_document(request.id, caller=request.caller, raw=request.http.get_full_path())
    return current(request, _encode(found))


def current(request: FhirRequest, resource: JsonObject) -> Answer:
    """A resource read, or read by version: only its current version is kept.

    Raises:
        NotFound: another version was asked for.
    """
    version = resource["meta"]["versionId"]
    if request.version and request.version != version:
        raise NotFound("only the current version is kept")
    headers = {"ETag": f'W/"{version}"'}
    if holds(request.http, headers["ETag"]):
        return Answer(status=304, headers=headers)
    return Answer(resource=resource, headers=headers)


def _encode(found: Found) -> JsonObject:
    return document_reference.render(found.row, found.person_id)


RESOURCE = Resource(
    type="DocumentReference",
    profile="http://hl7.org/fhir/StructureDefinition/DocumentReference",
    supported_profiles=(
        f"{MHD_STRUCTURE}/IHE.MHD.Minimal.DocumentReference",
        f"{MHD_STRUCTURE}/IHE.MHD.UnContained.Comprehensive.DocumentReference",
        f"{MHD_STRUCTURE}/IHE.MHD.Comprehensive.DocumentReference",
        f"{MHD_STRUCTURE}/IHE.MHD.SimplifiedPublish.DocumentReference",
    ),
    instantiates=(f"{MHD}/CapabilityStatement/IHE.MHD.DocumentResponder",),
    read=Interaction(handler=read, verb="r", transactions=("ITI-67",)),
    vread=Interaction(handler=read, verb="r", transactions=("ITI-67",), documentation="the current version only"),
    search=Interaction(
        handler=find_documents,
        verb="s",
        transactions=("ITI-67",),
        documentation="Find Document References [ITI-67]; a patient, _id or identifier is needed",
    ),
    create=Interaction(
        handler=simplified.publish,
        verb="c",
        transactions=("ITI-105",),
        body="json",
        documentation="Simplified Publish [ITI-105]",
    ),
    params=PARAMS,
    sorts=SORTS,
)
