"""Removing metadata [ITI-62] and documents [ITI-86]: only what one's own house answers for, all that was named or nothing.

Whatever belongs to another, seen or hidden, is answered as what is not there. Each removal is an event of each patient
whose it was.

Source: spec/xds.md 7; spec/consent.md 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction

from documents import removal
from documents.errors import UnknownDocumentUniqueId, UnknownRepositoryId
from documents.removal import Removed
from hie.audit import recorder
from hie.audit.recorder import EventType
from hie.directory import queries as directory
from hie.exchange import access, release
from hie.exchange.retrieve import DocumentRequest
from hie.standards.errors import HubError
from hie.standards.facts import Caller
from patients import identifiers


@release.point
def remove_metadata(ids: Sequence[str], *, caller: Caller, raw: str = "") -> None:
    """Remove registered objects by their UUIDs (``urn:uuid:…``).

    Raises:
        AccessRefused: the caller's participant is not active.
        SubmissionRefused: every problem of the stage that failed; nothing was removed.
    """
    with recorder.recording(EventType.REMOVE_METADATA, caller, query=raw) as event:
        access.may_submit(caller, caller.organization_id)
        with transaction.atomic():
            removed = removal.remove_metadata(ids, may_remove=lambda row: _is_own(caller, row))
            _record(event, removed, {"objects": list(ids)})
            event.commit()


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentsRemoved:
    """What became of each request, in their order: None where the document was removed, else why not."""

    results: tuple[tuple[DocumentRequest, HubError | None], ...]


@release.point
def remove_documents(wanted: Sequence[DocumentRequest], *, caller: Caller, raw: str = "") -> DocumentsRemoved:
    """Remove stored documents, each by itself.

    Raises:
        AccessRefused: the caller's participant is not active.
    """
    results: list[tuple[DocumentRequest, HubError | None]] = []
    for one in wanted:
        try:
            _remove_document(one, caller, raw)
        except HubError as error:
            if type(error) not in _OF_A_DOCUMENT:
                raise
            results.append((one, error))
        else:
            results.append((one, None))
    return DocumentsRemoved(results=tuple(results))


_OF_A_DOCUMENT = (UnknownRepositoryId, UnknownDocumentUniqueId)


def _remove_document(wanted: DocumentRequest, caller: Caller, raw: str) -> None:
    with recorder.recording(EventType.REMOVE_DOCUMENTS, caller, query=raw) as event:
        access.may_submit(caller, caller.organization_id)
        elsewhere = wanted.community != settings.HOME_COMMUNITY_ID
        if elsewhere or wanted.repository_unique_id != settings.REPOSITORY_UNIQUE_ID:
            where = f" in {wanted.home_community_id}" if elsewhere else ""
            raise UnknownRepositoryId(f"{wanted.repository_unique_id}{where} is no repository of this hub")
        with transaction.atomic():
            removed = removal.remove_document(
                wanted.unique_id, may_remove=lambda row: _is_own(caller, row), at=access.now()
            )
            _record(event, removed, {"unique_id": wanted.unique_id})
            event.commit()


def _is_own(caller: Caller, row: Any) -> bool:
    """Whether the caller's house answers for an object."""
    return directory.within(row.custodian, caller.participant_id)


def _record(event: recorder.Recording, removed: Removed, detail: dict[str, Any]) -> None:
    """An event for each patient, without the names of what was another's of them."""
    persons = identifiers.persons_of(removed.patients)
    documents = [{"id": entry, "unique_id": unique_id} for entry, unique_id in removed.entries]
    for person in sorted(set(persons.values())):
        event.about(person, detail=detail | {"documents": documents})
    if not persons:
        event.about(None, detail=detail)
