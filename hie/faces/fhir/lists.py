"""List: Find Document Lists [ITI-66] and read, for submission sets and folders.

Source: spec/fhir.md 3.3.
"""

from __future__ import annotations

from documents.metadata import SubmissionSetMetadata
from hie.exchange import document_filter, document_lists
from hie.exchange.found_pages import Found
from hie.faces.fhir import bundle, list_resource
from hie.faces.fhir.documents import answer, current, others, search_of
from hie.faces.fhir.http import Answer, FhirRequest
from hie.faces.fhir.mapping import MHD, MHD_STRUCTURE
from hie.faces.fhir.resources import ID_PARAM, LAST_UPDATED_PARAM, Interaction, Param, ParamType, Resource
from hie.standards.fhir import JsonObject, instant_text

_FHIR = "http://hl7.org/fhir/SearchParameter"

PARAMS = (
    ID_PARAM,
    LAST_UPDATED_PARAM,
    Param(name="code", type=ParamType.TOKEN, definition=f"{_FHIR}/clinical-code"),
    Param(name="date", type=ParamType.DATE, definition=f"{_FHIR}/clinical-date"),
    Param(
        name="designationType",
        type=ParamType.TOKEN,
        definition=f"{MHD}/SearchParameter/List-DesignationType",
    ),
    Param(name="identifier", type=ParamType.TOKEN, definition=f"{_FHIR}/clinical-identifier"),
    Param(
        name="patient",
        type=ParamType.REFERENCE,
        definition=f"{_FHIR}/clinical-patient",
        targets=("Patient",),
        modifiers=frozenset({"identifier"}),
    ),
    Param(name="patient.identifier", type=ParamType.TOKEN, modifiers=frozenset()),
    Param(name="source.given", type=ParamType.STRING),
    Param(name="source.family", type=ParamType.STRING),
    Param(name="sourceId", type=ParamType.TOKEN, definition=f"{MHD}/SearchParameter/List-SourceId"),
    Param(name="status", type=ParamType.TOKEN, definition=f"{_FHIR}/List-status"),
    Param(
        name="subject",
        type=ParamType.REFERENCE,
        definition=f"{_FHIR}/List-subject",
        targets=("Patient",),
        modifiers=frozenset({"identifier"}),
    ),
    Param(name="subject.identifier", type=ParamType.TOKEN, modifiers=frozenset()),
)


def find_lists(request: FhirRequest) -> Answer:
    """Find Document Lists [ITI-66]."""
    page = bundle.page_of(request.query, request.caller, now=request.now)
    asked = document_filter.list_filter(others(request.query), snapshot=page.snapshot)
    found = document_lists.find_lists(search_of(request, asked, page), caller=request.caller)
    return answer(request, found, page, encode)


def read(request: FhirRequest) -> Answer:
    """One List, with those of its documents that may be seen."""
    found = document_lists.read_list(request.id, caller=request.caller, raw=request.http.get_full_path())
    return current(request, encode(found))


def encode(found: Found) -> JsonObject:
    """The List of a submission set or folder, with what of it may be shown."""
    row = found.row
    subject = {"reference": f"Patient/{found.person_id}"}
    if isinstance(row.metadata, SubmissionSetMetadata):
        around = list_resource.Surroundings(
            subject=subject, items=found.members, last_updated=row.registered_at, status=row.status
        )
        return list_resource.encode_submission_set(row.metadata, around)
    around = list_resource.Surroundings(
        subject=subject,
        items=found.members,
        last_updated=row.last_update_time,
        status=row.status,
        revision=row.revision,
    )
    return list_resource.encode_folder(row.metadata, around, instant_text(row.last_update_time))


RESOURCE = Resource(
    type="List",
    profile="http://hl7.org/fhir/StructureDefinition/List",
    supported_profiles=(
        f"{MHD_STRUCTURE}/IHE.MHD.Minimal.SubmissionSet",
        f"{MHD_STRUCTURE}/IHE.MHD.UnContained.Comprehensive.SubmissionSet",
        f"{MHD_STRUCTURE}/IHE.MHD.Comprehensive.SubmissionSet",
        f"{MHD_STRUCTURE}/IHE.MHD.Minimal.Folder",
        f"{MHD_STRUCTURE}/IHE.MHD.Comprehensive.Folder",
    ),
    read=Interaction(handler=read, verb="r", transactions=("ITI-66",)),
    vread=Interaction(handler=read, verb="r", transactions=("ITI-66",), documentation="the current version only"),
    search=Interaction(
        handler=find_lists,
        verb="s",
        transactions=("ITI-66",),
        documentation="Find Document Lists [ITI-66]; a patient, _id or identifier is needed",
    ),
    params=PARAMS,
    sorts=("_id", "_lastUpdated", "date"),
)
