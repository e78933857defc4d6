"""The registry: one submission becomes rows, or nothing does.

`register` runs inside the caller's atomic block and holds the rules that need to see what is
registered already; those that look only at the submission are in `documents.validation`.

Source: spec/xds.md 4 (IHE ITI TF-2 3.42.4.1.3), which fixes the order of the checks.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.utils import timezone

from documents import replacement, rows
from documents.errors import (
    DeprecatedTarget,
    DuplicateUniqueId,
    InvalidAttribute,
    InvalidStructure,
    MissingDocument,
    NonIdenticalHash,
    NonIdenticalSize,
    PatientIdDoesNotMatch,
    SubmissionRefused,
    UnknownPatientId,
    UnresolvedReference,
)
from documents.labels import inherited, labels_of
from documents.metadata import (
    CX,
    DERIVING,
    ON_DEMAND,
    REPLACING,
    STABLE,
    AssociationMetadata,
    AssociationType,
    EntryMetadata,
    Status,
    Submission,
    SubmissionSetMetadata,
)
from documents.models import Association, DocumentEntry, Folder, SubmissionSet
from documents.repository import Staged
from hie.database import insert, prepared
from hie.standards.errors import HubError
from hie.standards.facts import Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a submission.

    `ids` maps every id of the submission to its ``urn:uuid:…``; `deprecated` are the entries this
    submission superseded, the appended and transformed ones included.
    """

    ids: Mapping[str, str]
    submission_set_uuid: str
    entry_uuids: tuple[str, ...] = ()
    deprecated: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class _Registration:
    """One submission under way: names resolved, referenced rows locked."""

    submission: Submission
    contents: Mapping[str, Staged]
    patients: Mapping[CX, int]
    ids: dict[str, UUID]
    entries: dict[UUID, DocumentEntry] = field(default_factory=dict)  # referenced, registered before
    folders: dict[UUID, Folder] = field(default_factory=dict)

    new_ids: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        submission = self.submission
        self.new_ids = frozenset(
            {
                submission.submission_set.entry_uuid,
                *(e.entry_uuid for e in submission.entries),
                *(f.entry_uuid for f in submission.folders),
                *(a.entry_uuid for a in submission.associations),
            }
        )

    def uuid_of(self, reference: str) -> UUID:
        return self.ids[reference]


def register(
    submission: Submission,
    *,
    contents: Mapping[str, Staged],
    labels: Mapping[str, Labels],
    patients: Mapping[CX, int],
    custodian: str,
    same_person: Callable[[int, int], bool],
    restricted: Mapping[str, Sequence[str]] | None = None,
    visible: Callable[[UUID], bool] | None = None,
    now: datetime | None = None,
) -> Receipt:
    """Make the submission visible as a whole: the objects, what they replace, the folders they join.

    `contents` and `labels` go by the id of an entry in the submission; `patients` gives the row of each patient
    identifier, `same_person` compares two of them. `restricted` names entries accepted with doubts and
    the reasons (a review is opened). `visible` says of a registered object whether the submitter may know of
    it; what it may not is not there. An entry without labels counts as not labelled; one that is derived from others
    gets their labels and their letter where that is higher (spec/consent.md 8).

    A replaced entry and all that was appended to it or transformed from it become Deprecated; the
    new entry joins the approved folders of the old one. Of several submissions replacing one entry at once
    exactly one succeeds, the others meet `DeprecatedTarget`; so does a submission in which two replace one.

    Raises:
        SubmissionRefused: with every problem of the first stage that has one; the caller rolls back.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("register() belongs into the transaction of its use case")
    at = now or timezone.now()
    work = _Registration(submission=submission, contents=contents, patients=patients, ids=_assign_ids(submission))
    given = [work.uuid_of(reference) for reference in work.new_ids if reference.startswith("urn:uuid:")]
    hold_names(
        [
            submission.submission_set.unique_id,
            *(entry.unique_id for entry in submission.entries),
            *(folder.unique_id for folder in submission.folders),
            *(str(key) for key in given),
        ]
    )
    _lock_referenced(work)
    _lock_binaries(contents)
    for stage in (
        _check_patients(work, same_person, visible),
        _check_unique_ids(work),
        check_new(given),
        _check_relationships(work),
    ):
        problems = list(stage)
        if problems:
            raise SubmissionRefused(problems)
    replaced_by = replacement.replacing(submission.associations, work.uuid_of)
    registered_before = {old: new for old, new in replaced_by.items() if old in work.entries}
    deprecated = replacement.superseded(registered_before)
    labels = _inheriting(work, labels)
    own = rows.submission_set(submission.submission_set, work.ids, patients, custodian, at)
    insert([own])
    rows.write_set_authors(own, submission.submission_set.authors)
    rows.write_entries(
        submission.entries,
        rows.EntryContext(
            ids=work.ids,
            patients=patients,
            custodian=custodian,
            submission_set=own,
            contents=contents,
            labels=labels,
            restricted=restricted or {},
            deprecated=set(replaced_by),
            at=at,
        ),
    )
    rows.write_folders(submission.folders, work.ids, patients, custodian, own, at)
    rows.write_associations(submission.associations, work.ids, own, at)
    replacement.deprecate(deprecated, at=at)
    replacement.join_folders(registered_before, own, at)
    _touch_folders(work, at)
    return Receipt(
        ids={reference: f"urn:uuid:{work.uuid_of(reference)}" for reference in work.new_ids},
        submission_set_uuid=f"urn:uuid:{own.entry_uuid}",
        entry_uuids=tuple(f"urn:uuid:{work.uuid_of(entry.entry_uuid)}" for entry in submission.entries),
        deprecated=tuple(f"urn:uuid:{key}" for key in sorted(deprecated)),
    )


# -- names and locks ----------------------------------------------------------------------------


# By one of a thousand places and not by the name itself: a submission of ten thousand documents would fill the table of
# locks, which all share. Two whose names fall on one place wait for one another for nothing, which harms nobody.
_HOLD_NAMES = """
SELECT pg_advisory_xact_lock(hashtext('documents.names'), k) FROM (
    SELECT DISTINCT hashtext(name) & 1023 AS k FROM unnest(%s::text[]) AS name ORDER BY k
) AS keys
"""
_HOLD_BINARIES = "SELECT id FROM documents_binary WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE"
# Of an entry with its row id, of a submission set or folder without.
_WITH_UNIQUE_IDS = """
SELECT NULL::bigint, unique_id, NULL, NULL, NULL::bigint FROM documents_submissionset WHERE unique_id = ANY(%(ids)s::text[])
UNION ALL
SELECT NULL, unique_id, NULL, NULL, NULL FROM documents_folder WHERE unique_id = ANY(%(ids)s::text[])
UNION ALL
SELECT id, unique_id, object_type, hash, size FROM documents_documententry WHERE unique_id = ANY(%(ids)s::text[])
"""


def _assign_ids(submission: Submission) -> dict[str, UUID]:
    """A UUID for every id and reference: symbolic names get a fresh one, everywhere the same."""
    references = [
        submission.submission_set.entry_uuid,
        *(entry.entry_uuid for entry in submission.entries),
        *(folder.entry_uuid for folder in submission.folders),
        *(end for a in submission.associations for end in (a.entry_uuid, a.source, a.target)),
    ]
    return {
        reference: UUID(reference[9:]) if reference.startswith("urn:uuid:") else uuid.uuid4()
        for reference in dict.fromkeys(references)
    }


def hold_names(names: Iterable[str]) -> None:
    """One submission at a time for each uniqueId, and each UUID that is given to a new object: two must not both find it free."""
    with prepared() as cursor:
        cursor.execute(_HOLD_NAMES, [sorted(set(names))])


def _with_unique_ids(unique_ids: Sequence[str]) -> list[tuple[Any, ...]]:
    """What has these uniqueIds: row id (of an entry), uniqueId, object type, hash, size. One statement."""
    with prepared() as cursor:
        cursor.execute(_WITH_UNIQUE_IDS, {"ids": list(unique_ids)})
        return cursor.fetchall()


def check_set_is_new(own: SubmissionSetMetadata) -> Iterable[HubError]:
    """Stage 6 of a submission set: no object of any kind has its uniqueId."""
    if _with_unique_ids([own.unique_id]):
        where = f"SubmissionSet[{own.entry_uuid}].uniqueId"
        yield DuplicateUniqueId(f"uniqueId {own.unique_id} is registered", element=where)


def _lock_referenced(work: _Registration) -> None:
    """Lock what the submission points at, entries before folders, each by primary key."""
    new = work.new_ids
    wanted = [work.uuid_of(end) for a in work.submission.associations for end in (a.source, a.target) if end not in new]
    if not wanted:
        return
    for entry in DocumentEntry.objects.select_for_update().filter(entry_uuid__in=wanted).order_by("pk"):
        work.entries[entry.entry_uuid] = entry
    for folder in Folder.objects.select_for_update().filter(entry_uuid__in=wanted).order_by("pk"):
        work.folders[folder.entry_uuid] = folder


def _lock_binaries(contents: Mapping[str, Staged]) -> None:
    """Lock the staged bytes, so that no sweep takes them."""
    if not contents:
        return
    with prepared() as cursor:
        cursor.execute(_HOLD_BINARIES, [[UUID(staged.id) for staged in contents.values()]])
        found = {str(key) for (key,) in cursor.fetchall()}
    gone = [
        MissingDocument(f"the document of entry {object_id} is not there", element=f"DocumentEntry[{object_id}]")
        for object_id, staged in contents.items()
        if staged.id not in found
    ]
    if gone:
        raise SubmissionRefused(gone)


# -- checks against what is registered ----------------------------------------------------------


def _check_patients(
    work: _Registration, same_person: Callable[[int, int], bool], visible: Callable[[UUID], bool] | None
) -> Iterable[HubError]:
    """Stage 5, and first of all that referenced objects are there for this submitter."""
    submission = work.submission
    own = submission.submission_set.patient_id
    for where, patient_id in (
        (f"SubmissionSet[{submission.submission_set.entry_uuid}]", own),
        *((f"DocumentEntry[{entry.entry_uuid}]", entry.patient_id) for entry in submission.entries),
        *((f"Folder[{folder.entry_uuid}]", folder.patient_id) for folder in submission.folders),
    ):
        if patient_id is None or patient_id not in work.patients:
            yield UnknownPatientId(element=f"{where}.patientId")
            return
    assert own is not None
    mine = work.patients[own]
    new = work.new_ids
    for association in submission.associations:
        where = f"Association[{association.entry_uuid}]"
        exempt = association.source == submission.submission_set.entry_uuid
        for name, end in (("sourceObject", association.source), ("targetObject", association.target)):
            if end in new:
                continue
            key = work.uuid_of(end)
            row = work.entries.get(key) or work.folders.get(key)
            if row is None or (visible is not None and not visible(key)):
                yield UnresolvedReference(f"{end} is not registered", element=f"{where}.{name}")
            elif not exempt and not same_person(mine, row.patient_identifier_id):
                yield PatientIdDoesNotMatch(f"{end} is of another patient", element=f"{where}.{name}")


def _check_unique_ids(work: _Registration) -> Iterable[HubError]:
    """Stage 6: a submission set or folder is new; a document registered before has the same bytes."""
    submission = work.submission
    single = {submission.submission_set.unique_id: f"SubmissionSet[{submission.submission_set.entry_uuid}]"}
    single |= {folder.unique_id: f"Folder[{folder.entry_uuid}]" for folder in submission.folders}
    by_entry = {entry.unique_id: entry for entry in submission.entries}
    found = _with_unique_ids([*single, *by_entry])
    taken = {unique_id for pk, unique_id, *_ in found if pk is None}
    registered = [tuple(row) for pk, *row in sorted(row for row in found if row[0] is not None)]
    for unique_id, where in single.items():
        if unique_id in taken or any(unique_id == other for other, *_ in registered):
            yield DuplicateUniqueId(f"uniqueId {unique_id} is registered", element=f"{where}.uniqueId")
    for unique_id, entry in by_entry.items():
        where = f"DocumentEntry[{entry.entry_uuid}].uniqueId"
        if unique_id in taken:
            yield InvalidAttribute(f"uniqueId {unique_id} is that of a submission set or folder", element=where)
            continue
        yield from _check_same_content(
            entry, work.contents.get(entry.entry_uuid), [other for other in registered if other[0] == unique_id], where
        )


def _check_same_content(
    entry: EntryMetadata,
    staged: Staged | None,
    registered: Sequence[tuple[str, str, str | None, int | None]],
    where: str,
) -> Iterable[HubError]:
    digest = staged.sha1 if staged is not None else (entry.hash or "").lower() or None
    size = staged.size if staged is not None else entry.size
    for unique_id, object_type, other_hash, other_size in registered:
        if object_type == ON_DEMAND or entry.object_type == ON_DEMAND:
            yield InvalidAttribute(f"uniqueId {unique_id} is that of an on-demand entry", element=where)
            return
        if digest is not None and other_hash is not None and digest != other_hash:
            yield NonIdenticalHash(f"document {unique_id} is registered with other content", element=where)
            return
        if size is not None and other_size is not None and size != other_size:
            yield NonIdenticalSize(f"document {unique_id} is registered with another size", element=where)
            return


def check_new(ids: Iterable[UUID]) -> Iterable[HubError]:
    """Stage 7: a UUID given for a new object is not in use."""
    new = list(ids)
    if not new:
        return
    for model in (SubmissionSet, DocumentEntry, Folder, Association):
        for key in model._default_manager.filter(entry_uuid__in=new).values_list("entry_uuid", flat=True):
            yield InvalidStructure(f"urn:uuid:{key} is registered already", element=f"urn:uuid:{key}")


def _check_relationships(work: _Registration) -> Iterable[HubError]:
    """Stage 8: targets are approved, of the kind the relationship is for, and replaced by one entry each."""
    yield from replacement.check_one_replacement(work.submission.associations, work.uuid_of)
    new_entries = {entry.entry_uuid: entry for entry in work.submission.entries}
    for association in work.submission.associations:
        where = f"Association[{association.entry_uuid}].targetObject"
        if association.type is AssociationType.HAS_MEMBER:
            yield from _check_membership(work, association)
            continue
        source = new_entries.get(association.source)
        registered = work.entries.get(work.uuid_of(association.target))
        in_message = new_entries.get(association.target)
        if registered is None and in_message is None:
            yield UnresolvedReference(f"{association.target} is not a document entry", element=where)
            continue
        target_type = registered.object_type if registered is not None else in_message.object_type if in_message else ""
        if registered is not None and registered.availability_status != Status.APPROVED.value:
            if association.type is AssociationType.IS_SNAPSHOT_OF:
                yield InvalidStructure(f"{association.target} is deprecated", element=where)
            else:
                yield DeprecatedTarget(f"{association.target} is deprecated", element=where)
        source_type = source.object_type if source is not None else STABLE
        if association.type is AssociationType.IS_SNAPSHOT_OF:
            if source_type != STABLE or target_type != ON_DEMAND:
                yield InvalidStructure("IsSnapshotOf joins a stable entry to an on-demand entry", element=where)
        elif association.type in REPLACING and target_type == ON_DEMAND and source_type != ON_DEMAND:
            yield InvalidStructure("an on-demand entry is replaced by an on-demand entry only", element=where)


def _check_membership(work: _Registration, association: AssociationMetadata) -> Iterable[HubError]:
    folder = work.folders.get(work.uuid_of(association.source))
    if folder is not None and folder.availability_status != Status.APPROVED.value:
        yield DeprecatedTarget(
            f"folder {association.source} is deprecated", element=f"Association[{association.entry_uuid}].sourceObject"
        )
    new = work.new_ids
    own = work.submission.submission_set.entry_uuid
    if association.source == own and association.target not in new and work.uuid_of(association.target) in work.folders:
        yield InvalidStructure(
            "a folder registered before is no member of another submission set",
            element=f"Association[{association.entry_uuid}].targetObject",
        )
    if association.source not in new and folder is None:
        yield InvalidStructure(
            "only a submission set or a folder has members",
            element=f"Association[{association.entry_uuid}].sourceObject",
        )
    if association.source != own and association.target not in new and work.uuid_of(association.target) in work.folders:
        yield InvalidStructure(
            "a folder holds document entries only", element=f"Association[{association.entry_uuid}].targetObject"
        )


# -- labels -------------------------------------------------------------------------------------


def _inheriting(work: _Registration, labels: Mapping[str, Labels]) -> dict[str, Labels]:
    """The labels with those of what each entry was derived from, registered before or in the same submission."""
    found = {entry.entry_uuid: labels.get(entry.entry_uuid, _UNLABELLED) for entry in work.submission.entries}
    steps = [a for a in work.submission.associations if a.type in DERIVING and a.source in found]
    # Once for each step that a chain can have: a ring of associations comes to rest too.
    for _ in steps:
        before = dict(found)
        for step in steps:
            registered = work.entries.get(work.uuid_of(step.target))
            source = found.get(step.target) or (labels_of(registered) if registered is not None else None)
            if source is not None:
                found[step.source] = inherited(found[step.source], source)
        if found == before:
            break
    return found


_UNLABELLED = Labels(labelled=False)


# -- effects ------------------------------------------------------------------------------------


def _touch_folders(work: _Registration, at: datetime) -> None:
    """A folder registered before that gains a member was updated now."""
    own = work.submission.submission_set.entry_uuid
    replacement.touch(
        [
            work.uuid_of(a.source)
            for a in work.submission.associations
            if a.type is AssociationType.HAS_MEMBER and a.source != own and work.uuid_of(a.source) in work.folders
        ],
        at,
    )
