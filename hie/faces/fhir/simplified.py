"""Simplified Publish [ITI-105]: one DocumentReference with its document inside.

The submission set is derived: author, subject, now, the client's source id, contentType from type.

Source: spec/fhir.md 3.5.
"""

from __future__ import annotations

import uuid
from dataclasses import replace

from documents.metadata import (
    AssociationMetadata,
    AssociationType,
    MetadataLevel,
    Submission,
    SubmissionSetMetadata,
)
from hie.audit.kinds import EventType
from hie.directory import queries as directory
from hie.exchange import named_patients, submit
from hie.faces.fhir import document_reference, mhd
from hie.faces.fhir.binary import decode_data
from hie.faces.fhir.errors import ProfileViolation
from hie.faces.fhir.http import Answer, FhirRequest, stored
from hie.faces.fhir.paths import element_path, told_with
from hie.faces.fhir.references import entry_uuid_of
from hie.faces.fhir.subjects import Subjects
from hie.standards import oids
from hie.standards.facts import Caller
from hie.standards.fhir import Problem, fhir_to_dtm, instant_text

_ENTRY = "document"
_SET = "submission-set"


def publish(request: FhirRequest) -> Answer:
    """Store the document, derive its submission set, register both: 201 with the DocumentReference as stored."""
    resource = request.resource_body
    problems = mhd.check_simplified("DocumentReference", resource)
    subjects = Subjects(request.caller, request.base)
    subjects.see("DocumentReference.subject", resource.get("subject"))
    problems += subjects.problems
    attachment = resource.get("content", [{}])[0].get("attachment", {})
    data = b""
    try:
        data = decode_data(attachment.get("data", ""))
    except ValueError:
        problems.append(Problem(expression="DocumentReference.content[0].attachment.data", message="not base64"))
    associations: list[AssociationMetadata] = []
    for index, relation in enumerate(resource.get("relatesTo", ())):
        target = entry_uuid_of(relation["target"].get("reference", ""), request.base)
        if target is None:
            problems.append(
                Problem(
                    expression=f"DocumentReference.relatesTo[{index}].target",
                    message="no DocumentReference of this server",
                    code="not-found",
                    details="UnresolvedReferenceException",
                )
            )
            continue
        kind = document_reference.ASSOCIATION[relation["code"]]
        associations.append(
            AssociationMetadata(entry_uuid=f"relation-{index}", type=kind, source=_ENTRY, target=target)
        )
    if problems:
        raise ProfileViolation(problems)
    bare = {**resource, "content": [_without_data(resource["content"][0])]}
    entry = document_reference.decode(bare, entry_uuid=_ENTRY, patient_id=subjects.cx, limited_metadata=True)
    submission_set = SubmissionSetMetadata(
        entry_uuid=_SET,
        unique_id=oids.new(),
        source_id=_source_id(request.caller),
        patient_id=subjects.cx,
        submission_time=fhir_to_dtm(instant_text(request.now)),
        authors=entry.authors,
        content_type_code=entry.type_code,
        limited_metadata=True,
    )
    member = AssociationMetadata(
        entry_uuid=f"urn:uuid:{uuid.uuid4()}",
        type=AssociationType.HAS_MEMBER,
        source=_SET,
        target=_ENTRY,
        submission_set_status="Original",
    )
    staged = submit.stage(data, entry.mime_type, caller=request.caller)
    submission = Submission(
        submission_set=submission_set,
        entries=(entry,),
        associations=(member, *associations),
        contents={_ENTRY: staged.id},
        level=MetadataLevel.MINIMAL,
    )
    with told_with(element_path({_ENTRY: "DocumentReference"})):
        receipt = submit.submit(submission, request.caller, kind=EventType.SIMPLIFIED_PUBLISH)
    uuid_ = receipt.ids.get(_ENTRY, _ENTRY)
    shown = document_reference.encode(
        replace(entry, entry_uuid=uuid_, hash=staged.sha1, size=staged.size),
        document_reference.Surroundings(
            subject={"reference": f"Patient/{named_patients.person_id_of(subjects.cx)}"} if subjects.cx else None,
            attachment_url=f"{request.base}/Binary/{staged.id}",
            date=submission_set.submission_time,
            associations=tuple(replace(item, source=uuid_) for item in associations),
            last_updated=request.now,
        ),
    )
    location = f"DocumentReference/{uuid_.removeprefix('urn:uuid:')}"
    return stored(request, shown, status=201, location=location, last_updated=request.now)


def _source_id(caller: Caller) -> str:
    """The OID of the organization acting, or of the nearest one above it that has one."""
    participant_id: str | None = caller.organization_id
    while participant_id is not None:
        facts = directory.participant(participant_id)
        if facts is None:
            break
        if facts.organization_oid:
            return oids.bare(facts.organization_oid)
        participant_id = facts.part_of
    return oids.bare(caller.organization_oid)


def _without_data(content: dict[str, object]) -> dict[str, object]:
    attachment = content["attachment"]
    held = dict(attachment) if isinstance(attachment, dict) else {}
    held.pop("data", None)
    return {**content, "attachment": held}
