"""Removal: registered metadata [ITI-62] and stored documents [ITI-86], whole submissions of ids or nothing.

What stays must still hang together: no association may lead to what is gone, and everything that stays must still be a
member of a submission set. Both run in the caller's transaction. Removing metadata leaves the bytes, which
`KeptDocument` then names, until they are removed too; removing bytes leaves the metadata.

Source: spec/xds.md 7 (IHE ITI TF-2 3.62, 3.86).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Exists, F, OuterRef, Q

from documents.errors import (
    ReferencesExist,
    SubmissionRefused,
    UnknownDocumentUniqueId,
    UnreferencedObject,
    UnresolvedReference,
)
from documents.metadata import AssociationType
from documents.models import Association, Binary, DocumentEntry, Folder, KeptDocument, SubmissionSet
from hie.standards.errors import HubError

_HAS_MEMBER = AssociationType.HAS_MEMBER.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What was removed: the patient identifiers it hung on, by row id, and the entries as bare UUID and uniqueId."""

    patients: tuple[int, ...]
    entries: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Removal:
    """The objects named, locked."""

    sets: dict[UUID, SubmissionSet] = field(default_factory=dict)
    entries: dict[UUID, DocumentEntry] = field(default_factory=dict)
    folders: dict[UUID, Folder] = field(default_factory=dict)
    associations: dict[UUID, Association] = field(default_factory=dict)

    @property
    def keys(self) -> set[UUID]:
        return {*self.sets, *self.entries, *self.folders, *self.associations}

    @property
    def objects(self) -> Iterable[SubmissionSet | DocumentEntry | Folder]:
        return (*self.sets.values(), *self.entries.values(), *self.folders.values())


def remove_metadata(ids: Sequence[str], *, may_remove: Callable[[Any], bool]) -> Removed:
    """Remove these objects (``urn:uuid:…``) from the registry.

    `may_remove` is asked of each entry, folder and submission set, and for an association of the submission set that it
    came with; what it refuses is not there.

    Raises:
        SubmissionRefused: with every problem of the first stage that has one: what is not there, then what would be left
            hanging.
    """
    work = _locked(ids)
    problems = list(_unknown(ids, work, may_remove))
    if not problems:
        problems = [*_references(work), *_unreferenced(work)]
    if problems:
        raise SubmissionRefused(problems)
    removed = Removed(
        patients=tuple(sorted({row.patient_identifier_id for row in work.objects})),
        entries=tuple((str(row.entry_uuid), row.unique_id) for row in work.entries.values()),
    )
    _keep_bytes(work)
    _move(work)
    Association.objects.filter(pk__in=[row.pk for row in work.associations.values()]).delete()
    DocumentEntry.objects.filter(pk__in=[row.pk for row in work.entries.values()]).delete()
    Folder.objects.filter(pk__in=[row.pk for row in work.folders.values()]).delete()
    SubmissionSet.objects.filter(pk__in=[row.pk for row in work.sets.values()]).delete()
    return removed


def remove_document(unique_id: str, *, may_remove: Callable[[Any], bool], at: datetime) -> Removed:
    """Remove a stored document: its entries stay, and nothing is retrieved by them any more.

    Of several that stored the same document each removes its own copy.

    Raises:
        UnknownDocumentUniqueId: no document of this id is stored, or none that `may_remove` lets go.
    """
    entries = list(
        DocumentEntry.objects.select_for_update().filter(unique_id=unique_id, binary__isnull=False).order_by("pk")
    )
    kept = list(KeptDocument.objects.select_for_update().filter(unique_id=unique_id).order_by("pk"))
    entries = [row for row in entries if may_remove(row)]
    kept = [row for row in kept if may_remove(row)]
    if not entries and not kept:
        raise UnknownDocumentUniqueId(f"there is no document {unique_id}")
    named_by = [*(row.binary_id for row in entries), *(row.binary_id for row in kept)]
    binaries = {key for key in named_by if key is not None}
    DocumentEntry.objects.filter(pk__in=[row.pk for row in entries]).update(
        binary=None, updated_at=at, revision=F("revision") + 1
    )
    KeptDocument.objects.filter(pk__in=[row.pk for row in kept]).delete()
    # A binary that another's entry names too stays for that one.
    named = Exists(DocumentEntry.objects.filter(binary=OuterRef("pk")))
    Binary.objects.filter(~named, pk__in=binaries).delete()
    return Removed(
        patients=tuple(sorted({row.patient_identifier_id for row in entries})),
        entries=tuple((str(row.entry_uuid), row.unique_id) for row in entries),
    )


# -- what is named --------------------------------------------------------------------------------------------------


def _locked(ids: Sequence[str]) -> _Removal:
    keys = [key for key in map(_key, ids) if key is not None]
    work = _Removal()
    # Entries first, as `registry` locks them.
    for row in DocumentEntry.objects.select_for_update().filter(entry_uuid__in=keys).order_by("pk"):
        work.entries[row.entry_uuid] = row
    for folder in Folder.objects.select_for_update().filter(entry_uuid__in=keys).order_by("pk"):
        work.folders[folder.entry_uuid] = folder
    for own in SubmissionSet.objects.select_for_update().filter(entry_uuid__in=keys).order_by("pk"):
        work.sets[own.entry_uuid] = own
    associations = Association.objects.select_for_update(of=("self",)).select_related("submission_set")
    for association in associations.filter(entry_uuid__in=keys).order_by("pk"):
        work.associations[association.entry_uuid] = association
    return work


def _key(text: str) -> UUID | None:
    try:
        return UUID(text.strip().removeprefix("urn:uuid:"))
    except ValueError:
        return None


def _unknown(ids: Sequence[str], work: _Removal, may_remove: Callable[[Any], bool]) -> Iterable[HubError]:
    for text in dict.fromkeys(ids):
        key = _key(text)
        row: Any = None
        if key is not None:
            row = work.entries.get(key) or work.folders.get(key) or work.sets.get(key)
            association = work.associations.get(key)
            row = association.submission_set if association is not None else row
        if row is None or not may_remove(row):
            yield UnresolvedReference(f"{text} is not registered", element=text)


# -- what would be left hanging -------------------------------------------------------------------------------------


def _references(work: _Removal) -> Iterable[HubError]:
    """An association that stays leads to something that goes."""
    gone = work.keys
    staying = Association.objects.filter(Q(source__in=gone) | Q(target__in=gone)).exclude(
        pk__in=[row.pk for row in work.associations.values()]
    )
    for row in staying.order_by("pk"):
        end = row.source if row.source in gone else row.target
        yield ReferencesExist(f"urn:uuid:{row.entry_uuid} refers to urn:uuid:{end}", element=f"urn:uuid:{end}")


def _unreferenced(work: _Removal) -> Iterable[HubError]:
    """Something that stays is no member of a submission set any more, or a submission set that stays has no member."""
    going = [row.pk for row in work.associations.values()]
    memberships = [row for row in work.associations.values() if row.type == _HAS_MEMBER]
    sets = set(
        SubmissionSet.objects.filter(entry_uuid__in=[row.source for row in memberships]).values_list(
            "entry_uuid", flat=True
        )
    )
    of_sets = [row for row in memberships if row.source in sets]
    gone = work.keys
    members = {row.target for row in of_sets} - gone
    emptied = {row.source for row in of_sets} - gone
    staying = Association.objects.filter(type=_HAS_MEMBER).exclude(pk__in=going)
    every_set = SubmissionSet.objects.values("entry_uuid")
    held = set(staying.filter(target__in=members, source__in=every_set).values_list("target", flat=True))
    holding = set(staying.filter(source__in=emptied).values_list("source", flat=True))
    for key in sorted((members - held) | (emptied - holding)):
        yield UnreferencedObject(f"urn:uuid:{key} would be left alone", element=f"urn:uuid:{key}")


# -- what stays -----------------------------------------------------------------------------------------------------


def _keep_bytes(work: _Removal) -> None:
    """Remember the documents whose last entry goes, so that they can still be removed by their uniqueId."""
    going = [row.pk for row in work.entries.values()]
    held = {row.binary_id: row for row in work.entries.values() if row.binary_id is not None}
    others = set(
        DocumentEntry.objects.filter(binary__in=held).exclude(pk__in=going).values_list("binary_id", flat=True)
    )
    KeptDocument.objects.bulk_create(
        KeptDocument(
            unique_id=row.unique_id,
            custodian=row.custodian,
            patient_identifier_id=row.patient_identifier_id,
            binary_id=binary_id,
        )
        for binary_id, row in held.items()
        if binary_id not in others
    )


def _move(work: _Removal) -> None:
    """What came with a submission set that goes, and stays, belongs to another that holds it."""
    going = {row.pk for row in work.sets.values()}
    if not going:
        return
    for model in (DocumentEntry, Folder, Association):
        rows: Any = model._default_manager.filter(submission_set__in=going).exclude(entry_uuid__in=work.keys)
        for row in rows:
            holder = _holder(row.entry_uuid, work.keys) or _holder(getattr(row, "source", None), work.keys)
            if holder is None:
                continue  # the database refuses to let the submission set go
            row.submission_set = holder
            row.save(update_fields=["submission_set"])


def _holder(key: UUID | None, gone: Collection[UUID]) -> SubmissionSet | None:
    if key is None:
        return None
    sources = Association.objects.filter(target=key, type=_HAS_MEMBER).exclude(source__in=gone).values("source")
    return SubmissionSet.objects.filter(entry_uuid__in=sources).order_by("pk").first()
