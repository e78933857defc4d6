"""What a submission of metadata updates asks for [ITI-57, ITI-92], or everything that is wrong with how it asks. Pure.

A submission set says what is to be done by what it has as members: new versions of entries and folders, associations
to be added, changes of status. What has to hold of what is registered is in `documents.updates`.

Source: spec/xds.md 7 (IHE ITI TF-2 3.57.4.1.3, 3.92.4.1.3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from documents.errors import (
    InvalidStructure,
    MetadataAnnotationWrong,
    NotAnUpdate,
    ObjectTypeWrong,
    UpdateOperationWrong,
    UpdateRefused,
)
from documents.metadata import (
    AssociationMetadata,
    Bytes,
    EntryMetadata,
    FolderMetadata,
    Status,
    Submission,
    SubmissionSetMetadata,
    UpdateAssociation,
    UpdateType,
)
from documents.validation import UPDATE_SLOTS
from hie.standards.errors import HubError

T = TypeVar("T", EntryMetadata, FolderMetadata)
_STATUS = {status.value: status for status in Status}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion(Generic[T]):
    """A further version of an object; `propagate`: the associations of the one before are given to it."""

    metadata: T
    member: AssociationMetadata
    previous_version: int | None
    propagate: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChange:
    """An object's status is another from now on; `id` names the operation."""

    id: str
    target: str
    original: Status
    new: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The operations of a submission, in the order in which they are done."""

    submission_set: SubmissionSetMetadata
    entries: tuple[NewVersion[EntryMetadata], ...] = ()
    folders: tuple[NewVersion[FolderMetadata], ...] = ()
    associations: tuple[AssociationMetadata, ...] = ()
    statuses: tuple[StatusChange, ...] = ()

    @property
    def versions(self) -> tuple[NewVersion[EntryMetadata] | NewVersion[FolderMetadata], ...]:
        """The new versions, entries first."""
        return (*self.entries, *self.folders)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.versions or self.associations or self.statuses)


def registrable(submission: Submission) -> Submission:
    """The part of the submission that every registration has, to be held against the same rules.

    Without what only updates say: their slots, and the associations that are to be added between what is registered.
    """
    own = submission.submission_set.entry_uuid
    members = tuple(
        replace(one, extra={**one.extra, "slots": _without_update_slots(one)})
        for one in submission.associations
        if one.source == own
    )
    return replace(submission, associations=members, bytes=Bytes.UPDATED)


def _without_update_slots(association: AssociationMetadata) -> dict[str, object]:
    slots = association.extra.get("slots", {})
    return {name: values for name, values in slots.items() if name not in UPDATE_SLOTS}


def plan(
    submission: Submission, updates: Sequence[UpdateAssociation], *, restricted: bool
) -> tuple[Plan, list[HubError]]:
    """The operations, and what is wrong with them; `restricted`: those of ITI-92, which only has new versions of entries."""
    own = submission.submission_set.entry_uuid
    members = {one.target: one for one in submission.associations if one.source == own}
    problems: list[HubError] = []
    entries = tuple(
        _version(one, "DocumentEntry", members[one.entry_uuid], restricted, problems) for one in submission.entries
    )
    folders = tuple(
        _version(one, "Folder", members[one.entry_uuid], restricted, problems) for one in submission.folders
    )
    problems += _id_twice(submission, updates)
    problems += _members_that_stay(submission, restricted)
    problems += _updated_twice([*(one.metadata for one in entries), *(one.metadata for one in folders)])
    associations = _to_be_added(submission, updates, problems)
    statuses = tuple(_status_changes(own, updates, problems))
    found = Plan(
        submission_set=submission.submission_set,
        entries=entries,
        folders=folders,
        associations=associations,
        statuses=statuses,
    )
    if restricted:
        problems += [
            ObjectTypeWrong("only document entries are updated here", element=f"Folder[{one.metadata.entry_uuid}]")
            for one in folders
        ]
        problems += [
            ObjectTypeWrong("only document entries are updated here", element=f"Association[{one.entry_uuid}]")
            for one in updates
        ]
    if found.is_empty and not problems:
        nothing = NotAnUpdate if restricted else UpdateRefused
        problems.append(nothing("there is nothing to be updated", element="SubmissionSet"))
    return found, problems


def _version(
    metadata: T, kind: str, member: AssociationMetadata, restricted: bool, problems: list[HubError]
) -> NewVersion[T]:
    where = f"{kind}[{metadata.entry_uuid}]"
    wrong = MetadataAnnotationWrong if restricted else UpdateRefused
    slots: Mapping[str, Sequence[str]] = member.extra.get("slots", {})
    if metadata.logical_id == metadata.entry_uuid or (metadata.logical_id is None and not restricted):
        initial = NotAnUpdate if restricted else UpdateRefused
        problems.append(initial("this is an initial version: its lid names no other", element=f"{where}.logicalID"))
    previous = list(slots.get("PreviousVersion", ()))
    number = int(previous[0]) if len(previous) == 1 and previous[0].isascii() and previous[0].isdigit() else None
    if number is None:
        problems.append(wrong("PreviousVersion is one number", element=f"{where}.PreviousVersion"))
    if member.submission_set_status != "Original":
        problems.append(wrong("SubmissionSetStatus is Original", element=f"{where}.SubmissionSetStatus"))
    propagation = list(slots.get("AssociationPropagation", ["yes"]))
    if propagation not in (["yes"], ["no"]):
        problems.append(wrong("AssociationPropagation is yes or no", element=f"{where}.AssociationPropagation"))
    elif restricted and propagation == ["no"]:
        problems.append(wrong("AssociationPropagation is not to be no", element=f"{where}.AssociationPropagation"))
    for name in ("OriginalStatus", "NewStatus"):
        if name in slots:
            problems.append(wrong(f"{name} belongs to a change of status", element=f"{where}.{name}"))
    return NewVersion(metadata=metadata, member=member, previous_version=number, propagate=propagation != ["no"])


def _new_ids(submission: Submission) -> set[str]:
    """The ids of what hangs on the submission set."""
    return {
        *(one.entry_uuid for one in submission.entries),
        *(one.entry_uuid for one in submission.folders),
        *(one.entry_uuid for one in submission.associations),
    }


def _id_twice(submission: Submission, updates: Sequence[UpdateAssociation]) -> Iterable[HubError]:
    """Operations are objects of the submission too: none has the id of another."""
    seen = {submission.submission_set.entry_uuid, *_new_ids(submission)}
    for one in updates:
        if one.entry_uuid in seen:
            yield InvalidStructure(f"several objects have the id {one.entry_uuid}", element=one.entry_uuid)
        seen.add(one.entry_uuid)


def _members_that_stay(submission: Submission, restricted: bool) -> Iterable[HubError]:
    """What is registered becomes no member by an update: that would be a registration (ITI-42), and be lost here."""
    own = submission.submission_set.entry_uuid
    new = _new_ids(submission)
    wrong = NotAnUpdate if restricted else UpdateRefused
    for one in submission.associations:
        if one.source == own and one.target not in new:
            where = f"Association[{one.entry_uuid}].targetObject"
            yield wrong(f"{one.target} is not in the submission, and no update makes it a member", element=where)


def _updated_twice(versions: Iterable[EntryMetadata | FolderMetadata]) -> Iterable[HubError]:
    seen: set[str] = set()
    for one in versions:
        if one.logical_id is not None and one.logical_id in seen:
            yield UpdateOperationWrong(f"{one.logical_id} is updated twice", element=one.entry_uuid)
        seen.add(one.logical_id or "")


def _to_be_added(
    submission: Submission, updates: Sequence[UpdateAssociation], problems: list[HubError]
) -> tuple[AssociationMetadata, ...]:
    own = submission.submission_set.entry_uuid
    given = {one.entry_uuid: one for one in submission.associations if one.source != own}
    wanted: list[AssociationMetadata] = []
    for one in updates:
        if one.type is not UpdateType.SUBMIT_ASSOCIATION:
            continue
        where = f"Association[{one.entry_uuid}]"
        if one.source != own or one.target not in given:
            problems.append(
                UpdateRefused("SubmitAssociation joins the submission set and an association of it", element=where)
            )
            continue
        wanted.append(given.pop(one.target))
    for left in given:
        problems.append(
            InvalidStructure("an association is added by SubmitAssociation", element=f"Association[{left}]")
        )
    return tuple(wanted)


def _status_changes(own: str, updates: Sequence[UpdateAssociation], problems: list[HubError]) -> Iterable[StatusChange]:
    changed: set[str] = set()
    for one in updates:
        if one.type is not UpdateType.UPDATE_AVAILABILITY_STATUS:
            continue
        where = f"Association[{one.entry_uuid}]"
        original, new = (list(one.slots.get(name, ())) for name in ("OriginalStatus", "NewStatus"))
        if one.source != own:
            problems.append(UpdateRefused("a change of status starts at the submission set", element=where))
        elif "PreviousVersion" in one.slots:
            problems.append(UpdateOperationWrong("a change of status has no PreviousVersion", element=where))
        elif len(original) != 1 or len(new) != 1 or not {*original, *new} <= _STATUS.keys():
            problems.append(UpdateOperationWrong("OriginalStatus and NewStatus are one status each", element=where))
        elif one.target in changed:
            problems.append(UpdateOperationWrong(f"the status of {one.target} is changed twice", element=where))
        elif original == new:
            problems.append(UpdateOperationWrong("the status is to be the same as before", element=where))
        else:
            changed.add(one.target)
            yield StatusChange(id=one.entry_uuid, target=one.target, original=_STATUS[original[0]], new=_STATUS[new[0]])
