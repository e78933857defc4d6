"""Metadata values to rows, written a table at a time."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from documents import codec, dtm
from documents.filters import CodeAttribute
from documents.metadata import (
    CX,
    AssociationMetadata,
    AssociationType,
    Author,
    CodedValue,
    EntryMetadata,
    FolderMetadata,
    Status,
    SubmissionSetMetadata,
)
from documents.models import (
    Association,
    AuthorRow,
    DocumentEntry,
    EntryCode,
    Folder,
    FolderCode,
    LabelAssignment,
    ReferenceIdRow,
    ReviewItem,
    SubmissionSet,
)
from documents.repository import Staged
from hie.database import insert
from hie.standards.facts import Labels

CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
_LEVELS = "ULMNRV"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryContext:
    """What the entries of one submission have in common."""

    ids: Mapping[str, UUID]
    patients: Mapping[CX, int]
    custodian: str
    submission_set: SubmissionSet
    contents: Mapping[str, Staged]
    labels: Mapping[str, Labels]
    restricted: Mapping[str, Sequence[str]]
    deprecated: set[UUID]
    at: datetime
    follows: Mapping[str, DocumentEntry] = field(default_factory=dict)  # by id: the version before a further one


def submission_set(
    metadata: SubmissionSetMetadata, ids: Mapping[str, UUID], patients: Mapping[CX, int], custodian: str, at: datetime
) -> SubmissionSet:
    """The unsaved row of a submission set."""
    key = ids[metadata.entry_uuid]
    patient_id = _present(metadata.patient_id)
    start, end = _interval(metadata.submission_time)
    content_type = metadata.content_type_code
    return SubmissionSet(
        entry_uuid=key,
        unique_id=metadata.unique_id,
        identifier_keys=codec.identifier_keys(metadata.unique_id, metadata.extra),
        source_id=metadata.source_id,
        patient_identifier_id=patients[patient_id],
        patient_id_value=patient_id.value,
        patient_id_authority=patient_id.authority,
        custodian=custodian,
        submission_time=metadata.submission_time,
        submission_time_from=start,
        submission_time_until=end,
        content_type_code=content_type.code if content_type else "",
        content_type_scheme=content_type.scheme if content_type else "",
        content_type_display=content_type.display if content_type else "",
        intended_recipients=list(metadata.intended_recipients),
        title=metadata.title,
        comments=metadata.comments,
        home_community_id=metadata.home_community_id,
        limited_metadata=metadata.limited_metadata,
        extra=dict(metadata.extra),
        metadata=codec.encode(replace(metadata, entry_uuid=f"urn:uuid:{key}")),
        registered_at=at,
    )


def write_set_authors(own: SubmissionSet, authors: Sequence[Author]) -> None:
    """The authors of a submission set."""
    insert(_author(a, n, submission_set=own) for n, a in enumerate(authors))


def write_entries(entries: Sequence[EntryMetadata], context: EntryContext) -> None:
    """The entries with their codes, authors, reference ids, labels and reviews."""
    if not entries:
        return
    made = {entry.entry_uuid: _entry(entry, context) for entry in entries}
    insert(made.values())
    insert(
        EntryCode(
            entry=made[entry.entry_uuid],
            attribute=attribute.value,
            position=position,
            code=code.code,
            scheme=code.scheme,
            display=code.display,
        )
        for entry in entries
        for attribute, position, code in codes_of(entry)
    )
    authors = [_author(a, n, entry=made[e.entry_uuid]) for e in entries for n, a in enumerate(e.authors)]
    insert(authors)
    references = [
        ReferenceIdRow(
            entry=made[entry.entry_uuid],
            position=position,
            value=reference.value,
            type_code=reference.type_code,
            authority=reference.authority,
            home_community_id=reference.home_community_id,
        )
        for entry in entries
        for position, reference in enumerate(entry.reference_ids)
    ]
    insert(references)
    assignments = [
        assignment
        for entry in entries
        if entry.entry_uuid in context.labels
        for assignment in label_assignments(made[entry.entry_uuid], context.labels[entry.entry_uuid], 1, context.at)
    ]
    insert(assignments)
    reviews = [
        ReviewItem(entry=made[object_id], reasons=list(reasons), opened_at=context.at)
        for object_id, reasons in context.restricted.items()
        if object_id in made
    ]
    insert(reviews)


def _entry(entry: EntryMetadata, context: EntryContext) -> DocumentEntry:
    key = context.ids[entry.entry_uuid]
    patient_id = _present(entry.patient_id)
    staged = context.contents.get(entry.entry_uuid)
    if staged is not None:
        entry = replace(entry, hash=staged.sha1, size=staged.size)
    elif entry.hash is not None:
        entry = replace(entry, hash=entry.hash.lower())
    before = context.follows.get(entry.entry_uuid)
    labels = context.labels.get(entry.entry_uuid) or Labels(labelled=False)
    restricted = entry.entry_uuid in context.restricted or (before is not None and before.restricted)
    confidentiality = highest([labels.confidentiality, *_letters(entry)])
    if restricted:
        confidentiality = highest([confidentiality or "R", "R"])
    creation, start, stop = (
        dtm.interval(time) if time else None
        for time in (entry.creation_time, entry.service_start_time, entry.service_stop_time)
    )
    status = Status.DEPRECATED if key in context.deprecated else Status.APPROVED
    logical_id, version = (before.logical_id, before.version + 1) if before is not None else (key, 1)
    stored = replace(
        entry,
        entry_uuid=f"urn:uuid:{key}",
        logical_id=f"urn:uuid:{logical_id}",
        version=version,
        availability_status=status,
    )
    return DocumentEntry(
        entry_uuid=key,
        logical_id=logical_id,
        version=version,
        object_type=entry.object_type,
        availability_status=status.value,
        unique_id=entry.unique_id,
        identifier_keys=codec.identifier_keys(entry.unique_id, entry.extra),
        patient_identifier_id=context.patients[patient_id],
        patient_id_value=patient_id.value,
        patient_id_authority=patient_id.authority,
        custodian=context.custodian,
        submission_set=context.submission_set,
        binary_id=UUID(staged.id) if staged is not None else before.binary_id if before else None,
        mime_type=entry.mime_type,
        hash=entry.hash,
        size=entry.size,
        title=entry.title,
        comments=entry.comments,
        language_code=entry.language_code,
        uri=entry.uri,
        home_community_id=entry.home_community_id,
        repository_unique_id=entry.repository_unique_id,
        document_availability=entry.document_availability,
        limited_metadata=entry.limited_metadata,
        creation_time=entry.creation_time,
        creation_time_from=creation[0] if creation else None,
        creation_time_until=creation[1] if creation else None,
        service_start_time=entry.service_start_time,
        service_start_time_from=start[0] if start else None,
        service_start_time_until=start[1] if start else None,
        service_stop_time=entry.service_stop_time,
        service_stop_time_from=stop[0] if stop else None,
        service_stop_time_until=stop[1] if stop else None,
        source_patient_id_value=entry.source_patient_id.value if entry.source_patient_id else None,
        source_patient_id_authority=entry.source_patient_id.authority if entry.source_patient_id else None,
        source_patient_info=list(entry.source_patient_info),
        legal_authenticator=codec.encode(entry.legal_authenticator),
        extra=dict(entry.extra),
        metadata=codec.encode(stored),
        labels=sorted(labels.labels),
        confidentiality=confidentiality,
        labelled=labels.labelled,
        labelled_under=labels.rules,
        restricted=restricted,
        sorted_at=creation[0] if creation else context.at,
        registered_at=context.at,
        updated_at=context.at,
    )


def codes_of(entry: EntryMetadata) -> Iterable[tuple[CodeAttribute, int, CodedValue]]:
    """Every coded value of an entry with its attribute and position."""
    for attribute, code in (
        (CodeAttribute.CLASS, entry.class_code),
        (CodeAttribute.TYPE, entry.type_code),
        (CodeAttribute.FORMAT, entry.format_code),
        (CodeAttribute.FACILITY, entry.healthcare_facility_type_code),
        (CodeAttribute.SETTING, entry.practice_setting_code),
    ):
        if code is not None:
            yield attribute, 0, code
    for position, code in enumerate(entry.confidentiality_codes):
        yield CodeAttribute.CONFIDENTIALITY, position, code
    for position, code in enumerate(entry.event_codes):
        yield CodeAttribute.EVENT, position, code


def label_assignments(
    entry: DocumentEntry, labels: Labels, version: int, at: datetime, assigned_by: str = "labelling"
) -> list[LabelAssignment]:
    """The rows that say which rule set each label, and the confidentiality as ``confidentiality:R``."""
    names = [*sorted(labels.labels)]
    if labels.confidentiality:
        names.append(f"confidentiality:{labels.confidentiality}")
    made = []
    for name in names:
        origin = labels.provenance.get(name) or labels.provenance.get(name.removeprefix("confidentiality:")) or {}
        if not isinstance(origin, Mapping):
            origin = {"rule": str(origin)}
        made.append(
            LabelAssignment(
                entry=entry,
                label_version=version,
                label=name,
                rule=str(origin.get("rule", "")),
                rule_version=str(origin.get("version", "")),
                assigned_by=assigned_by,
                assigned_at=at,
            )
        )
    return made


def write_folders(
    folders: Sequence[FolderMetadata],
    ids: Mapping[str, UUID],
    patients: Mapping[CX, int],
    custodian: str,
    own: SubmissionSet,
    at: datetime,
    follows: Mapping[str, Folder] | None = None,
) -> None:
    """New folders, or further versions of those that they follow, with their codes; lastUpdateTime is now, whatever was sent."""
    if not folders:
        return
    made: dict[str, Folder] = {}
    for folder in folders:
        key, patient_id = ids[folder.entry_uuid], _present(folder.patient_id)
        before = (follows or {}).get(folder.entry_uuid)
        logical_id, version = (before.logical_id, before.version + 1) if before is not None else (key, 1)
        made[folder.entry_uuid] = Folder(
            entry_uuid=key,
            logical_id=logical_id,
            version=version,
            unique_id=folder.unique_id,
            identifier_keys=codec.identifier_keys(folder.unique_id, folder.extra),
            patient_identifier_id=patients[patient_id],
            patient_id_value=patient_id.value,
            patient_id_authority=patient_id.authority,
            custodian=custodian,
            submission_set=own,
            title=folder.title,
            comments=folder.comments,
            home_community_id=folder.home_community_id,
            limited_metadata=folder.limited_metadata,
            last_update_time=at,
            extra=dict(folder.extra),
            metadata=codec.encode(
                replace(folder, entry_uuid=f"urn:uuid:{key}", logical_id=f"urn:uuid:{logical_id}", version=version)
            ),
            registered_at=at,
        )
    insert(made.values())
    insert(
        FolderCode(folder=made[folder.entry_uuid], position=n, code=code.code, scheme=code.scheme, display=code.display)
        for folder in folders
        for n, code in enumerate(folder.codes)
    )


def write_associations(
    associations: Sequence[AssociationMetadata], ids: Mapping[str, UUID], own: SubmissionSet, at: datetime
) -> None:
    """The associations with both ends by UUID."""
    insert(
        Association(
            entry_uuid=ids[a.entry_uuid],
            type=a.type.value,
            source=ids[a.source],
            target=ids[a.target],
            submission_set=own,
            submission_set_status=a.submission_set_status,
            documentation_code=a.documentation.code if a.documentation else None,
            documentation_scheme=a.documentation.scheme if a.documentation else None,
            documentation_display=a.documentation.display if a.documentation else None,
            extra=dict(a.extra),
            registered_at=at,
        )
        for a in associations
    )


def membership(source: UUID, target: UUID, own: SubmissionSet, at: datetime) -> Association:
    """An unsaved HasMember that the registry itself adds."""
    return Association(
        entry_uuid=uuid.uuid4(),
        type=AssociationType.HAS_MEMBER.value,
        source=source,
        target=target,
        submission_set=own,
        registered_at=at,
    )


def highest(letters: Iterable[str | None]) -> str | None:
    """The most confidential of the letters U L M N R V; None when there is none."""
    known = [letter for letter in letters if letter and letter in _LEVELS]
    return max(known, key=_LEVELS.index) if known else None


def _letters(entry: EntryMetadata) -> list[str]:
    return [code.code for code in entry.confidentiality_codes if code.scheme == CONFIDENTIALITY]


def _author(
    author: Author, position: int, *, entry: DocumentEntry | None = None, submission_set: SubmissionSet | None = None
) -> AuthorRow:
    row = AuthorRow(
        entry=entry,
        submission_set=submission_set,
        position=position,
        institutions=codec.encode(author.institutions),
        roles=list(author.roles),
        specialties=list(author.specialties),
        telecommunications=list(author.telecommunications),
    )
    person = author.person
    if person is not None:
        row.person_id, row.person_authority = person.id, person.authority
        row.family, row.given, row.second = person.family, person.given, person.second
        row.suffix, row.prefix, row.degree = person.suffix, person.prefix, person.degree
        row.family_key, row.given_key = codec.folded(person.family), codec.folded(f"{person.given} {person.second}")
    return row


def _present(patient_id: CX | None) -> CX:
    if patient_id is None:  # pragma: no cover - the registry has refused it before
        raise ValueError("an object without a patient")
    return patient_id


def _interval(time: str) -> tuple[datetime, datetime]:
    found = dtm.interval(time)
    if found is None:  # pragma: no cover - validation has refused it before
        raise ValueError("not a DTM")
    return found
