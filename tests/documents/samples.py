"""The smallest valid submission, its parts, and how tests register one."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from django.db import transaction

from documents import registry, repository
from documents.metadata import (
    CX,
    STABLE,
    AssociationMetadata,
    AssociationType,
    CodedValue,
    EntryMetadata,
    FolderMetadata,
    MetadataLevel,
    Submission,
    SubmissionSetMetadata,
)
from hie.standards.facts import Labels

ALICE = CX(value="A1", authority="2.999.10.1.1")
ALICE_ELSEWHERE = CX(value="A2", authority="2.999.10.2.1")
BOB = CX(value="B1", authority="2.999.10.1.1")
LOINC = "http://loinc.org"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
_numbers = itertools.count(1)


def code(value: str = "34133-9", scheme: str = LOINC, display: str = "Summary") -> CodedValue:
    return CodedValue(code=value, scheme=scheme, display=display)


def entry(**changes: Any) -> EntryMetadata:
    """A complete entry of Alice with a uniqueId of its own."""
    number = next(_numbers)
    values: dict[str, Any] = {
        "entry_uuid": f"doc{number}",
        "unique_id": f"2.999.7.{number}",
        "patient_id": ALICE,
        "mime_type": "text/plain",
        "class_code": code("REPORTS", "urn:oid:1.3.6.1.4.1.19376.1.2.6.1", "Reports"),
        "type_code": code(),
        "format_code": code("urn:ihe:iti:xds:2017:mimeTypeSufficient", "urn:oid:1.3.6.1.4.1.19376.1.2.3"),
        "healthcare_facility_type_code": code("22232009", "http://snomed.info/sct", "Hospital"),
        "practice_setting_code": code("394802001", "http://snomed.info/sct", "General medicine"),
        "confidentiality_codes": (code("N", CONFIDENTIALITY, "normal"),),
        "creation_time": "20240131120000",
        "language_code": "en-US",
        "source_patient_id": ALICE,
    }
    return EntryMetadata(**values | changes)


def folder(**changes: Any) -> FolderMetadata:
    number = next(_numbers)
    values: dict[str, Any] = {
        "entry_uuid": f"folder{number}",
        "unique_id": f"2.999.8.{number}",
        "patient_id": ALICE,
        "codes": (code("FOL", "urn:oid:2.999.9"),),
        "title": "Folder",
    }
    return FolderMetadata(**values | changes)


def member(source: str, target: str, status: str | None = "Original") -> AssociationMetadata:
    return AssociationMetadata(
        entry_uuid=f"a{next(_numbers)}",
        type=AssociationType.HAS_MEMBER,
        source=source,
        target=target,
        submission_set_status=status,
    )


def relation(kind: AssociationType, source: str, target: str) -> AssociationMetadata:
    return AssociationMetadata(entry_uuid=f"a{next(_numbers)}", type=kind, source=source, target=target)


def submission(
    *entries: EntryMetadata,
    folders: tuple[FolderMetadata, ...] = (),
    associations: tuple[AssociationMetadata, ...] = (),
    contents: dict[str, str] | None = None,
    level: MetadataLevel = MetadataLevel.XDS,
    **changes: Any,
) -> Submission:
    """A submission set of these objects, all of them its members."""
    number = next(_numbers)
    values: dict[str, Any] = {
        "entry_uuid": f"set{number}",
        "unique_id": f"2.999.6.{number}",
        "source_id": "2.999.10.1",
        "patient_id": ALICE,
        "submission_time": "20240131120100",
        "content_type_code": code(),
    }
    own = SubmissionSetMetadata(**values | changes)
    members = [member(own.entry_uuid, e.entry_uuid) for e in entries]
    members += [member(own.entry_uuid, f.entry_uuid, None) for f in folders]
    linked = [member(own.entry_uuid, a.entry_uuid, None) for a in associations if a.type is AssociationType.HAS_MEMBER]
    return Submission(
        submission_set=own,
        entries=tuple(entries),
        folders=folders,
        associations=(*members, *associations, *linked),
        contents=contents or {},
        level=level,
    )


def register(
    wanted: Submission,
    patients: dict[CX, int],
    *,
    bytes_of: dict[str, bytes] | None = None,
    labels: dict[str, Labels] | None = None,
    **more: Any,
) -> registry.Receipt:
    """Put the bytes and register, as the exchange does it; content is the entry's own id unless given."""
    contents = put_all(wanted, bytes_of or {})
    alice = {patients[ALICE], patients[ALICE_ELSEWHERE]}
    with transaction.atomic():
        return registry.register(
            wanted,
            contents=contents,
            labels=labels or {},
            patients=patients,
            custodian="org-clinic",
            same_person=lambda one, other: one == other or {one, other} <= alice,
            **more,
        )


def put_all(wanted: Submission, bytes_of: dict[str, bytes]) -> dict[str, repository.Staged]:
    """Staged bytes for every stable entry."""
    return {
        e.entry_uuid: repository.put(
            bytes_of.get(e.entry_uuid, e.unique_id.encode()), content_type=e.mime_type, owner="org-clinic"
        )
        for e in wanted.entries
        if e.object_type == STABLE
    }


__all__ = [
    "ALICE",
    "ALICE_ELSEWHERE",
    "BOB",
    "code",
    "entry",
    "folder",
    "member",
    "put_all",
    "register",
    "relation",
    "replace",
    "submission",
]
