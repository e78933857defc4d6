"""Reading a document of another community through this hub: decided, fetched, checked, decided again, recorded, sent.

The bytes are fetched whole before any of them is released, so that what does not match its stated hash or
size never leaves, and so that a decision taken after the wait is the one that counts. Only the participant that asked
the question may read an answer's documents; the patient sees that too.

Source: spec/consent.md 3 "Across communities", 12; spec/xds.md 6.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO
from uuid import UUID

from documents.errors import RangeNotSatisfiable
from hie.audit import recorder
from hie.audit.recorder import EventType
from hie.directory import queries as directory
from hie.exchange import access, query, release, remote_documents, remotes, retrieve
from hie.exchange.errors import NotFound, RemoteUnavailable
from hie.exchange.models import RemoteDocument
from hie.exchange.remote_documents import NamedDocument, RemoteRow
from hie.exchange.retrieve import Retrieved, Wanted
from hie.standards.facts import Caller, EndpointFacts, Operation

CHUNK = 1 << 20


def source(wanted: Wanted, caller: Caller) -> Retrieved | None:
    """The document, when it is one another community named to this caller's participant; None otherwise.

    Raises:
        NotFound: it may not be seen (any more).
        RemoteUnavailable: the community does not give it, or gives something else than it said.
        RangeNotSatisfiable: nothing of the range is in the document.
    """
    document = _named(wanted.binary_id, caller)
    if document is None:
        return None
    with recorder.recording(EventType.RETRIEVE_DOCUMENT, caller, query=wanted.raw) as event:
        if wanted.head:
            _release(event, caller, document, what="metadata")
            return _head(wanted, document)
        with directory.one_reading():
            _decide(event, caller, document, what="metadata")
        endpoint = _endpoint(document)
        content = remotes.client_for(endpoint.kind).open(endpoint, document.source_url, caller)
        try:
            _check(document, content)
            first, last = _range(wanted, content.size)
            # The wait may have been long: what is in force now decides, and is what the record says.
            subject = _release(event, caller, document, what="bytes")
        except BaseException:
            content.file.close()
            raise
    watch = retrieve.Watch(
        caller,
        subject,
        release.basis_of(event),
        lambda _: [row] if (row := _row(document)) is not None else [],
        shown=remote_documents.rendering().remote_shown(NamedDocument.of(document)),
    )
    return Retrieved(
        binary_id=wanted.binary_id,
        content_type=document.content_type or content.content_type,
        size=content.size,
        sha1=content.sha1,
        first=first,
        last=last,
        chunks=watch.stream(_read(content.file, first, last), last - first + 1),
    )


def _named(binary_id: str, caller: Caller) -> RemoteDocument | None:
    try:
        document = remote_documents.remote_document(UUID(binary_id))
    except ValueError:
        return None
    if document is None or document.target.query.participant_id != caller.participant_id:
        return None
    return document


@release.point
def _release(event: recorder.Recording, caller: Caller, document: RemoteDocument, *, what: str) -> access.Subject:
    """Decide and commit: the release point."""
    access.gate(caller, Operation.RETRIEVE)
    subject = _decide(event, caller, document, what=what)
    event.commit()
    return subject


def _decide(event: recorder.Recording, caller: Caller, document: RemoteDocument, *, what: str) -> access.Subject:
    # A refused one is called what a document that is not there is called: the asker reads his own events.
    event.note(kind=EventType.RETRIEVE_DOCUMENT, correlation="")
    row = _row(document)
    if row is None:
        raise NotFound("no such document")
    subject = access.subject(document.target.query.person_id)
    verdict = access.permitted(caller, subject, [row], Operation.RETRIEVE)
    access.record(
        event,
        caller,
        subject,
        verdict,
        what=what,
        shown=lambda shown: remote_documents.rendering().remote_shown(shown.document),
        operation=Operation.RETRIEVE,
    )
    if not verdict.permitted:
        raise NotFound("no such document")
    event.note(kind=EventType.REMOTE_RETRIEVE, correlation=str(document.target.query_id))
    return subject


def _row(document: RemoteDocument) -> RemoteRow | None:
    """The document as it is to be decided now; None when its query has been cancelled, or has expired."""
    still = remote_documents.remote_document(document.id)
    return remote_documents.remote_rows([NamedDocument.of(still)])[0] if still is not None else None


def _endpoint(document: RemoteDocument) -> EndpointFacts:
    endpoint = query.targets_available().get(document.target.target_id)
    if endpoint is None:
        raise RemoteUnavailable(document.target.participant_id, "the community no longer takes part")
    return endpoint


def _check(document: RemoteDocument, content: remotes.RemoteContent) -> None:
    """Refuse bytes that are not the ones the community's own metadata describes."""
    if document.sha1 and document.sha1.lower() != content.sha1:
        raise RemoteUnavailable(document.target.participant_id, "the document does not match its stated hash")
    if document.size is not None and document.size != content.size:
        raise RemoteUnavailable(document.target.participant_id, "the document does not match its stated size")


def _range(wanted: Wanted, size: int) -> tuple[int, int]:
    if wanted.first is None and wanted.last is None:
        return 0, size - 1
    if wanted.first is None:
        first, last = max(0, size - (wanted.last or 0)), size - 1
    else:
        first, last = wanted.first, min(wanted.last if wanted.last is not None else size - 1, size - 1)
    if first > last:
        raise RangeNotSatisfiable(size)
    return first, last


def _head(wanted: Wanted, document: RemoteDocument) -> Retrieved:
    size = document.size
    return Retrieved(
        binary_id=wanted.binary_id,
        content_type=document.content_type,
        size=size,
        sha1=document.sha1,
        first=0,
        last=(size or 0) - 1,
        chunks=iter(()),
    )


def _read(file: IO[bytes], first: int, last: int) -> Iterator[bytes]:
    with file:
        file.seek(first)
        left = last - first + 1
        while left > 0 and (chunk := file.read(min(CHUNK, left))):
            left -= len(chunk)
            yield chunk
