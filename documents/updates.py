"""Updates of registered metadata [ITI-57, ITI-92]: new versions, further associations, changes of status; all or nothing.

A new version has the logical id and the bytes of the one before it, which is deprecated, and at least its labels.
Runs in the caller's transaction; what a submission asks for is in `documents.update_plan`.

An association that is added does what it does at registration: one that replaces deprecates its target and what hangs on
it and has its source join the target's folders; one that derives gives its source the target's labels. It would
otherwise say of a document that readers are still offered that another has taken its place.

Source: spec/xds.md 7, 3.5, 4 (IHE ITI TF-2 3.57.4.1.3.3, 3.92.4.1.3; TF-3 4.2.2.2).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F, Q

from documents import labels as entry_labels
from documents import registry, replacement, rows
from documents.errors import (
    MetadataIdentifierChanged,
    PatientIdReconciliation,
    SubmissionRefused,
    UnmodifiableMetadata,
    UpdateOperationWrong,
    UpdateRefused,
    VersionWrong,
)
from documents.labels import inherited, labels_of
from documents.metadata import CX, DERIVING, ON_DEMAND, REPLACING, STABLE, AssociationType, EntryMetadata, Status
from documents.models import Association, DocumentEntry, Folder, ReviewItem, SubmissionSet
from documents.update_plan import NewVersion, Plan, StatusChange
from hie.standards.errors import HubError
from hie.standards.facts import Labels

_HAS_MEMBER = AssociationType.HAS_MEMBER.value
_APPROVED, _DEPRECATED = Status.APPROVED.value, Status.DEPRECATED.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Updated:
    """What became of an update: the submission set, the new versions' UUIDs (``urn:uuid:…``), what was deprecated by it,
    what carries more labels than before, and whom all of it is about, by row id of the identifiers.

    Deprecated are the versions that are followed and what an added association replaces, but not what was asked to be.
    """

    submission_set_uuid: str
    versions: tuple[str, ...]
    deprecated: tuple[str, ...]
    raised: tuple[str, ...]
    patients: tuple[int, ...]


@dataclass(slots=True)
class _Work:
    """One update under way: rows locked, names resolved."""

    plan: Plan
    patients: Mapping[CX, int]
    same_person: Callable[[int, int], bool]
    may_update: Callable[[Any], bool]
    restricted: bool
    content_may_change: bool
    own_repository: str
    ids: dict[str, UUID]
    entries: dict[str, DocumentEntry] = field(default_factory=dict)  # the latest versions, by the id of the new one
    folders: dict[str, Folder] = field(default_factory=dict)
    ends: dict[UUID, DocumentEntry | Folder | SubmissionSet | Association] = field(default_factory=dict)
    superseded: set[UUID] = field(default_factory=set)  # what the added associations deprecate

    @property
    def latest(self) -> dict[str, DocumentEntry | Folder]:
        """The latest versions of entries and folders, by the id of the new one."""
        return {**self.entries, **self.folders}

    @property
    def followed(self) -> dict[UUID, UUID]:
        """The UUID of each version that is followed, to that of the new one."""
        return {row.entry_uuid: self.ids[own] for own, row in self.latest.items()}


def update(
    plan: Plan,
    *,
    patients: Mapping[CX, int],
    labels: Mapping[str, Labels],
    custodian: str,
    may_update: Callable[[Any], bool],
    same_person: Callable[[int, int], bool],
    restricted: bool,
    content_may_change: bool,
    own_repository: str,
    at: datetime,
) -> Updated:
    """Do what a plan asks for. `may_update` is asked of each registered object; what it refuses is not there.

    `own_repository` is the repository whose bytes this hub holds: an entry neither comes into it nor leaves it, and says
    of its bytes what they are. `content_may_change`: a restricted update may say of a document that another repository
    holds that its bytes, type, time of creation or URI are others.

    Raises:
        SubmissionRefused: every problem that there is; the caller rolls back.
    """
    work = _Work(
        plan=plan, patients=patients, same_person=same_person, may_update=may_update, restricted=restricted,
        content_may_change=content_may_change, own_repository=own_repository, ids=_ids(plan),
    )  # fmt: skip
    given = [work.ids[own] for own in _own_ids(plan) if own.startswith("urn:uuid:")]
    registry.hold_names([plan.submission_set.unique_id, *map(str, given)])
    _lock(work)
    problems = [*_versions(work), *_associations(work)]
    replaced_by = replacement.replacing(plan.associations, work.ids.__getitem__)
    if not problems:
        new = {work.ids[one.metadata.entry_uuid] for one in plan.versions}
        work.superseded = replacement.superseded(replaced_by) | (new & replaced_by.keys())
    problems += [*_statuses(work), *_patients(work)]
    problems += registry.check_set_is_new(plan.submission_set)
    problems += registry.check_new(given)
    if problems:
        raise SubmissionRefused(problems)
    own = rows.submission_set(plan.submission_set, work.ids, patients, custodian, at)
    own.save(force_insert=True)
    rows.write_set_authors(own, plan.submission_set.authors)
    _write_versions(work, own, labels, custodian, at)
    rows.write_associations(plan.associations, work.ids, own, at)
    _propagate(work, own, at)
    # Again: the versions that came with this submission hang on what is replaced as those did that they follow.
    work.superseded |= replacement.superseded(replaced_by)
    replacement.deprecate(work.superseded, at=at)
    replacement.join_folders(replaced_by, own, at)
    raised = _derive(work, at)
    _change_statuses(work, at)
    held = work.latest.values()
    return Updated(
        submission_set_uuid=f"urn:uuid:{own.entry_uuid}",
        versions=tuple(f"urn:uuid:{work.ids[one]}" for one in work.latest),
        deprecated=tuple(
            f"urn:uuid:{key}" for key in dict.fromkeys([*(row.entry_uuid for row in held), *sorted(work.superseded)])
        ),
        raised=raised,
        patients=tuple(
            {*patients.values(), *(row.patient_identifier_id for row in held), *map(_patient_of, _touched(work))} - {0}
        ),
    )


def _own_ids(plan: Plan) -> list[str]:
    """The ids of what the submission makes."""
    return [
        plan.submission_set.entry_uuid,
        *(one.metadata.entry_uuid for one in plan.versions),
        *(one.member.entry_uuid for one in plan.versions),
        *(one.entry_uuid for one in plan.associations),
    ]


def _ids(plan: Plan) -> dict[str, UUID]:
    """A UUID for every id; of what is new a symbolic one is symbolic, though it look like a UUID."""
    found = {own: UUID(own[9:]) if own.startswith("urn:uuid:") else uuid.uuid4() for own in _own_ids(plan)}
    ends = [end for one in plan.associations for end in (one.source, one.target)]
    for text in [*ends, *(one.target for one in plan.statuses)]:
        found.setdefault(text, _uuid(text) or uuid.uuid4())
    return found


def _lock(work: _Work) -> None:
    """The latest versions of what is updated, and whatever else is named: entries, folders, sets, associations.

    What the submitter may not update is not found: nothing that is told later hangs on it.
    """
    for one in work.plan.entries:
        row = _latest_entry(one.metadata, work.may_update)
        if row is not None:
            work.entries[one.metadata.entry_uuid] = row
    for other in work.plan.folders:
        held = Folder.objects.select_for_update().order_by("-version")
        logical_id = _uuid(other.metadata.logical_id)
        folder = held.filter(logical_id=logical_id).first() if logical_id is not None else None
        if folder is not None and work.may_update(folder):
            work.folders[other.metadata.entry_uuid] = held.filter(logical_id=folder.logical_id).first() or folder
    new = {work.ids[one.metadata.entry_uuid] for one in work.plan.versions}
    named = {work.ids[end] for one in work.plan.associations for end in (one.source, one.target)}
    named |= {work.ids[one.target] for one in work.plan.statuses}
    models: tuple[Any, ...] = (DocumentEntry, Folder, SubmissionSet, Association)
    for model in models:
        for found in model.objects.select_for_update().filter(entry_uuid__in=named - new).order_by("pk"):
            work.ends[found.entry_uuid] = found


def _latest_entry(entry: EntryMetadata, may_update: Callable[[Any], bool]) -> DocumentEntry | None:
    """The latest version under its logical id that may be updated; without one, of the document in its repository (ITI-92).

    Others may have registered the same document: theirs are not meant, and not in the way.
    """
    held = DocumentEntry.objects.select_for_update().order_by("-version", "-pk")
    if entry.logical_id is not None:
        logical_id = _uuid(entry.logical_id)
        named = held.filter(logical_id=logical_id)[:1] if logical_id is not None else held.none()
    else:
        named = held.filter(unique_id=entry.unique_id, repository_unique_id=entry.repository_unique_id)
    found = next(filter(may_update, named), None)
    # Again: while the first look waited for its lock another may have added a version.
    return held.filter(logical_id=found.logical_id).first() if found is not None else None


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID((text or "").removeprefix("urn:uuid:"))
    except ValueError:
        return None


# -- what has to hold -----------------------------------------------------------------------------------------------


def _versions(work: _Work) -> Iterable[HubError]:
    for one in work.plan.entries:
        where = f"DocumentEntry[{one.metadata.entry_uuid}]"
        row = work.entries.get(one.metadata.entry_uuid)
        if row is None or row.version != one.previous_version:
            named = one.metadata.logical_id or one.metadata.unique_id
            yield VersionWrong(f"{named} has no such latest version", element=where)
            continue
        yield from _unchanged(work, one, row, where)
        if row.availability_status != _APPROVED and not work.restricted:
            yield UpdateRefused("the latest version is not approved", element=where)
    for other in work.plan.folders:
        where = f"Folder[{other.metadata.entry_uuid}]"
        folder = work.folders.get(other.metadata.entry_uuid)
        if folder is None or folder.version != other.previous_version:
            yield VersionWrong(f"{other.metadata.logical_id} has no such latest version", element=where)
            continue
        if folder.unique_id != other.metadata.unique_id:
            yield UpdateRefused("uniqueId may not change", element=f"{where}.uniqueId")
        if folder.availability_status != _APPROVED:
            yield UpdateRefused("the latest version is not approved", element=where)


def _unchanged(work: _Work, one: NewVersion[EntryMetadata], row: DocumentEntry, where: str) -> Iterable[HubError]:
    entry = one.metadata
    if entry.unique_id != row.unique_id:
        changed = MetadataIdentifierChanged if work.restricted else UpdateRefused
        yield changed("uniqueId may not change", element=f"{where}.uniqueId")
    kept: list[tuple[str, object, object]] = [("objectType", entry.object_type, row.object_type)]
    content = [("hash", (entry.hash or "").lower(), row.hash or ""), ("size", entry.size, row.size)]
    if row.binary_id is not None or row.repository_unique_id == work.own_repository:
        # What is stated would be found wrong by whoever reads the document, and by the sweep of stored bytes.
        kept += content
    elif work.restricted and not work.content_may_change:
        kept += content
    if work.restricted and not work.content_may_change:
        kept += [
            ("mimeType", entry.mime_type, row.mime_type),
            ("creationTime", entry.creation_time, row.creation_time),
            ("URI", entry.uri, row.uri),
        ]
    if work.own_repository in (entry.repository_unique_id, row.repository_unique_id) and not work.restricted:
        kept.append(("repositoryUniqueId", entry.repository_unique_id, row.repository_unique_id))
    if work.restricted:
        source = entry.source_patient_id
        kept += [
            (
                "sourcePatientId",
                (source.value, source.authority) if source is not None else (None, None),
                (row.source_patient_id_value, row.source_patient_id_authority),
            ),
            ("repositoryUniqueId", entry.repository_unique_id, row.repository_unique_id),
            ("documentAvailability", entry.document_availability, row.document_availability),
        ]
    for name, now, before in kept:
        if now != before:
            refused = UnmodifiableMetadata if work.restricted else UpdateRefused
            yield refused(f"{name} may not change", element=f"{where}.{name}")


def _associations(work: _Work) -> Iterable[HubError]:
    yield from replacement.check_one_replacement(work.plan.associations, work.ids.__getitem__)
    latest = work.latest
    replaced = set(replacement.replacing(work.plan.associations, work.ids.__getitem__))
    propagated = {
        key
        for one in work.plan.versions
        if one.propagate and one.metadata.entry_uuid in latest
        for key in (work.ids[one.metadata.entry_uuid], latest[one.metadata.entry_uuid].entry_uuid)
    }
    kinds = {work.ids[one.metadata.entry_uuid]: "entry" for one in work.plan.entries}
    kinds |= {work.ids[one.metadata.entry_uuid]: "folder" for one in work.plan.folders}
    new_types = {work.ids[one.metadata.entry_uuid]: one.metadata.object_type for one in work.plan.entries}
    patients = {
        work.ids[one.metadata.entry_uuid]: work.patients.get(one.metadata.patient_id, 0)
        if one.metadata.patient_id
        else 0
        for one in work.plan.versions
    }
    added: set[tuple[AssociationType, UUID, UUID]] = set()
    for association in work.plan.associations:
        where = f"Association[{association.entry_uuid}]"
        ends = [work.ids[association.source], work.ids[association.target]]
        if propagated & set(ends):
            yield UpdateOperationWrong("an object is updated and joined in one submission", element=where)
            continue
        if ends[0] == ends[1]:
            yield UpdateRefused("an association joins an object to itself", element=where)
            continue
        key = (association.type, ends[0], ends[1])
        if key in added:
            yield UpdateRefused("the same association is given twice", element=where)
            continue
        added.add(key)
        found = [kinds.get(end) or _kind(work, end) for end in ends]
        allowed = ("folder", "entry") if association.type is AssociationType.HAS_MEMBER else ("entry", "entry")
        if tuple(found) != allowed:
            yield UpdateRefused("an end is not there, not approved, or of another kind", element=where)
            continue
        types = [new_types.get(end) or getattr(work.ends.get(end), "object_type", "") for end in ends]
        if not _may_join(association.type, *types):
            yield UpdateRefused("documents of these types are not joined so", element=where)
            continue
        if association.type in REPLACING and ends[0] in replaced:
            yield UpdateRefused("what replaces is itself replaced in this submission", element=where)
            continue
        of = [patients.get(end) or _patient_of(work.ends[end]) for end in ends]
        if not work.same_person(of[0], of[1]):
            yield PatientIdReconciliation("the ends are of different patients", element=where)
        exists = Association.objects.filter(
            source=ends[0], target=ends[1], type=association.type.value, availability_status=_APPROVED
        ).exists()
        if exists:
            yield UpdateRefused("this association is there already", element=where)


def _may_join(kind: AssociationType, source_type: str, target_type: str) -> bool:
    """Whether entries of these types are joined so: a snapshot is a stable one of one on demand, which only its like replaces."""
    if kind is AssociationType.IS_SNAPSHOT_OF:
        return (source_type, target_type) == (STABLE, ON_DEMAND)
    return not (kind in REPLACING and target_type == ON_DEMAND and source_type != ON_DEMAND)


def _kind(work: _Work, key: UUID) -> str:
    row = work.ends.get(key)
    if not isinstance(row, DocumentEntry | Folder) or not work.may_update(row):
        return ""
    if row.availability_status != _APPROVED:
        return ""
    return "entry" if isinstance(row, DocumentEntry) else "folder"


def _statuses(work: _Work) -> Iterable[HubError]:
    new = {one.metadata.entry_uuid for one in work.plan.versions}
    new |= {one.entry_uuid for one in work.plan.associations}
    for change in work.plan.statuses:
        where = f"Association[{change.id}]"
        if change.target in new:
            if change.original is not _new_status(work, change.target):
                yield UpdateRefused(f"{change.target} is not {change.original.name.lower()} by then", element=where)
            continue
        yield from _status(work, change, where)


def _new_status(work: _Work, own: str) -> Status:
    """The status of what this submission makes, when its statuses are changed: after all else."""
    version = next((one for one in work.plan.versions if one.metadata.entry_uuid == own), None)
    if version is None:
        return Status.APPROVED
    row = work.latest.get(own)
    gone = work.ids[own] in work.superseded or (
        version.propagate and row is not None and row.entry_uuid in work.superseded
    )
    return Status.DEPRECATED if gone else Status.APPROVED


def _status(work: _Work, change: StatusChange, where: str) -> Iterable[HubError]:
    row = work.ends.get(work.ids[change.target])
    holder = row.submission_set if isinstance(row, Association) else row
    if row is None or isinstance(row, SubmissionSet) or not work.may_update(holder):
        yield UpdateRefused(f"{change.target} has no status to be changed", element=where)
        return
    if isinstance(row, Association):
        is_member = row.type == _HAS_MEMBER and SubmissionSet.objects.filter(entry_uuid=row.source).exists()
        if is_member:
            yield UpdateRefused("a membership of a submission set keeps its status", element=where)
    elif type(row)._default_manager.filter(logical_id=row.logical_id, version__gt=row.version).exists():
        yield UpdateRefused(f"{change.target} is not the latest version", element=where)
    now = _DEPRECATED if row.entry_uuid in work.superseded else row.availability_status
    if now != change.original.value:
        yield UpdateRefused(f"{change.target} is not {change.original.name.lower()}", element=where)


def _patients(work: _Work) -> Iterable[HubError]:
    """No association may be left whose ends are of different patients."""
    moved: dict[UUID, int] = {}
    propagating: set[UUID] = set()
    for own, row in work.latest.items():
        version = next(one for one in work.plan.versions if one.metadata.entry_uuid == own)
        patient_id = version.metadata.patient_id
        assert patient_id is not None
        moved[row.entry_uuid] = work.patients[patient_id]
        if version.propagate:
            propagating.add(row.entry_uuid)
        if not work.same_person(work.patients[patient_id], row.patient_identifier_id) and work.restricted:
            yield PatientIdReconciliation("the patient may not change", element=f"DocumentEntry[{own}].patientId")
    if not propagating or work.restricted:
        return
    for association in _propagated(propagating):
        of = [moved.get(end) or _patient_at(end) for end in (association.source, association.target)]
        if of[0] and of[1] and not work.same_person(of[0], of[1]):
            yield PatientIdReconciliation(
                "an association would join two patients", element=f"urn:uuid:{association.entry_uuid}"
            )


def _patient_at(key: UUID) -> int:
    for model in (DocumentEntry, Folder):
        found: int | None = (
            model._default_manager.filter(entry_uuid=key).values_list("patient_identifier", flat=True).first()
        )
        if found is not None:
            return found
    return 0


def _patient_of(row: Any) -> int:
    holder = row.submission_set if isinstance(row, Association) else row
    return int(holder.patient_identifier_id)


def _touched(work: _Work) -> list[Any]:
    named = [one.target for one in work.plan.statuses]
    named += [end for one in work.plan.associations for end in (one.source, one.target)]
    return [work.ends[key] for name in named if (key := work.ids[name]) in work.ends]


# -- effects --------------------------------------------------------------------------------------------------------


def _write_versions(
    work: _Work, own: SubmissionSet, labels: Mapping[str, Labels], custodian: str, at: datetime
) -> None:
    plan = work.plan
    before = work.entries
    rows.write_entries(
        [one.metadata for one in plan.entries],
        rows.EntryContext(
            ids=work.ids,
            patients=work.patients,
            custodian=custodian,
            submission_set=own,
            contents={},
            labels={key: inherited(labels[key], labels_of(row)) for key, row in before.items()},
            restricted={},
            deprecated={work.ids[key] for key, row in before.items() if row.availability_status != _APPROVED},
            at=at,
            follows=before,
        ),
    )
    rows.write_folders(
        [one.metadata for one in plan.folders], work.ids, work.patients, custodian, own, at, follows=work.folders
    )
    rows.write_associations([one.member for one in plan.versions], work.ids, own, at)
    made = {row.entry_uuid: row for row in DocumentEntry.objects.filter(submission_set=own)}
    for key, row in before.items():
        # Whoever closes the review closes it of what readers are given now.
        ReviewItem.objects.filter(entry=row, closed_at__isnull=True).update(entry=made[work.ids[key]])
    for last in work.latest.values():
        type(last)._default_manager.filter(pk=last.pk, availability_status=_APPROVED).update(
            availability_status=_DEPRECATED, revision=F("revision") + 1,
            **({"updated_at": at} if isinstance(last, DocumentEntry) else {}),
        )  # fmt: skip


def _propagated(keys: Iterable[UUID]) -> list[Association]:
    """The approved associations of these objects, memberships of submission sets left out."""
    sets = SubmissionSet.objects.values("entry_uuid")
    held = list(keys)
    return list(
        Association.objects.filter(Q(source__in=held) | Q(target__in=held), availability_status=_APPROVED)
        .exclude(type=_HAS_MEMBER, source__in=sets)
        .order_by("pk")
    )


def _propagate(work: _Work, own: SubmissionSet, at: datetime) -> None:
    """Give the associations of the versions before to the new ones, and tell the folders that something came."""
    followed = work.followed
    latest = work.latest
    keys = {latest[one.metadata.entry_uuid].entry_uuid for one in work.plan.versions if one.propagate}
    made: list[Association] = []
    gained: set[UUID] = set()
    for association in _propagated(keys) if keys else []:
        copy = Association(
            entry_uuid=uuid.uuid4(),
            type=association.type,
            source=followed.get(association.source, association.source),
            target=followed.get(association.target, association.target),
            submission_set=own,
            documentation_code=association.documentation_code,
            documentation_scheme=association.documentation_scheme,
            documentation_display=association.documentation_display,
            extra=association.extra,
            registered_at=at,
        )
        made.append(copy)
        if association.type == _HAS_MEMBER:
            made.append(rows.membership(own.entry_uuid, copy.entry_uuid, own, at))
            gained.add(copy.source)
    Association.objects.bulk_create(made)
    gained |= {work.ids[one.source] for one in work.plan.associations if one.type is AssociationType.HAS_MEMBER}
    replacement.touch(sorted(gained), at)


def _derive(work: _Work, at: datetime) -> tuple[str, ...]:
    """Give what is now derived from another the labels of that; the UUIDs of all that carry more by it."""
    raised: set[UUID] = set()
    for association in work.plan.associations:
        if association.type in DERIVING:
            ends = [work.ids[association.source], work.ids[association.target]]
            held = {row.entry_uuid: row for row in _entries(ends)}
            changed = entry_labels.derive(held[ends[0]], held[ends[1]], assigned_by="labelling", at=at)
            raised |= {one.entry_uuid for one in changed}
    return tuple(f"urn:uuid:{key}" for key in sorted(raised))


def _entries(keys: Iterable[UUID]) -> Iterable[DocumentEntry]:
    return DocumentEntry.objects.select_for_update().filter(entry_uuid__in=keys).order_by("pk")


def _change_statuses(work: _Work, at: datetime) -> None:
    for change in work.plan.statuses:
        key = work.ids[change.target]
        DocumentEntry.objects.filter(entry_uuid=key).update(
            availability_status=change.new.value, updated_at=at, revision=F("revision") + 1
        )
        Folder.objects.filter(entry_uuid=key).update(availability_status=change.new.value, revision=F("revision") + 1)
        Association.objects.filter(entry_uuid=key).update(availability_status=change.new.value)
