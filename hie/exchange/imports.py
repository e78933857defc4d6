"""Bulk imports of patients over HTTP: taken in, carried on by a worker, told to whoever asked.

Who issues the identifiers of a domain, and only he (or an organization above him), imports into it: the rule of the
single feed. The file is kept like any upload, encrypted, until its lines are settled; the run is a row, so that a
worker that is killed costs time only. What became of a line is told to the participant whose line it is.

Source: design.md, Formats, import_patients; spec/mpi.md 4.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any, cast
from uuid import UUID

import structlog
from django.db import transaction

from documents.errors import ContentUnavailable, NoSuchBinary
from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.directory import queries as directory
from hie.exchange import access, submit
from hie.exchange.errors import BadRequest, NotFound
from hie.standards.errors import HubError
from hie.standards.facts import Caller
from hie.trust import scopes
from hie.trust.errors import NotEntitled
from patients import import_runs, importing
from patients.errors import UnusableFile
from patients.models import ImportRun
from patients.reading import check_named, portions

log = structlog.get_logger(__name__)

ASK_S = 1.0
"""How long lines are told on the last look at who asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportView:
    """A run as its asker sees it: `status` one of running, done, failed; counts of lines so far."""

    id: UUID
    status: str
    read: int
    new: int
    linked: int
    review: int
    updated: int
    refused: int
    started_at: datetime
    finished_at: datetime | None


def begin(
    content: Iterable[bytes],
    *,
    content_type: str,
    participant_id: str | None,
    columns: Mapping[str, Any] | None,
    caller: Caller,
    raw_query: str = "",
) -> ImportView:
    """Take in a file of patients for a participant (the caller's own unless said) and note that it is to be imported.

    Streams in bounded memory. The first lines are looked at, so that what is no such file at all is refused now.

    Raises:
        NotEntitled: the token's scopes do not reach creating and revising patients.
        AccessRefused: not the caller's participant or one below it, or not active.
        UnusableFile: no file of patients, a wrong column map, or a participant that issues no identifiers.
        ContentTooLarge: more bytes than one upload may have.
    """
    with recorder.recording(EventType.PATIENT_IMPORT, caller, action="C", query=raw_query) as event:
        _scoped(caller)
        owner = participant_id or caller.organization_id
        access.may_submit(caller, owner)
        import_runs.authority_for(owner)
        staged = submit.stage(content, content_type, caller)
        if not staged.size:
            raise UnusableFile("the file is empty", element="body")
        check_named(next(portions(lambda: _opened(caller, staged.id), columns=columns, size=1), None))
        with transaction.atomic():
            run = import_runs.start(owner, columns=columns, upload=staged.id, caller=caller)
            event.about(None, detail={"run": str(run.pk), "participant": owner, "size": staged.size})
            event.commit()
    return _view(run)


def view(run_id: UUID, *, caller: Caller) -> ImportView:
    """How far a run is.

    Raises:
        NotFound: no such run, or another's. AccessRefused: the participant is no longer active.
    """
    return _view(_owned(run_id, caller))


def lines(run_id: UUID, *, caller: Caller, refused: bool = False, raw_query: str = "") -> Iterator[dict[str, Any]]:
    """What became of each line, in order, or of the refused lines alone; recorded as a look.

    Of a linked or doubtful line the reason is left out: it would say in which fields another organization's record
    agrees. Where the run failed, the refused lines end with why.

    Raises:
        NotFound: no such run, or another's. BadRequest: it is still running.
    """
    run = _owned(run_id, caller)
    if run.status == ImportRun.Status.RUNNING:
        raise BadRequest("the import has not settled yet", element="status")
    with recorder.recording(EventType.PATIENT_IMPORT, caller, action="R", query=raw_query) as event:
        event.about(None, detail={"run": str(run.pk), "told": "refused" if refused else "links"})
        event.commit()
    return _told(run, refused, caller)


def _told(run: ImportRun, refused: bool, caller: Caller) -> Iterator[dict[str, Any]]:
    asked_at = time.monotonic()
    for line in import_runs.lines_of(run.pk, refused=refused):
        if time.monotonic() - asked_at > ASK_S:
            # A participant that is suspended meanwhile is told no more.
            try:
                _owned(run.pk, caller)
            except HubError:
                return
            asked_at = time.monotonic()
        if not refused and line["outcome"] not in ("refused", "quarantined"):
            line.pop("reason", None)
        yield line
    if refused and run.status == ImportRun.Status.FAILED:
        yield {"line": None, "identifier": "", "reason": f"the import broke off: {run.message}"}


def waiting() -> bool:
    """Whether a run that came over HTTP waits to be carried on, and nobody does: a process for it is dear to start."""
    with import_runs.one_at_a_time(wait=False) as free:
        return free and ImportRun.objects.filter(status=ImportRun.Status.RUNNING).exclude(upload="").exists()


def carry_on() -> int:
    """Carry on every run that came over HTTP, oldest first; gives how many were settled. None where another does it."""
    settled = 0
    with import_runs.one_at_a_time(wait=False) as held:
        while held:
            runs = ImportRun.objects.filter(status=ImportRun.Status.RUNNING).exclude(upload="")
            run = runs.order_by("started_at", "pk").first()
            if run is None:
                break
            try:
                _carry_on(run)
                settled += 1
            except UnusableFile:
                log.warning("import.failed", run=str(run.pk))
    return settled


def _carry_on(run: ImportRun) -> None:
    caller = import_runs.caller_of(run)

    def opened() -> IO[bytes]:
        try:
            return _opened(caller, run.upload)
        except (NotFound, NoSuchBinary, ContentUnavailable) as error:
            raise UnusableFile("the uploaded file is no longer kept") from error

    importing.carry_on(run, opened)


def _opened(caller: Caller, upload: str) -> IO[bytes]:
    content = access.open_upload(caller, upload)
    if content is None:
        raise NotFound("no such upload")
    return cast(IO[bytes], _Bytes(iter(content.chunks)))


class _Bytes(io.RawIOBase):
    """Verified chunks as a stream that can be read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill what fits; 0 at the end."""
        while not self._rest:
            following = next(self._chunks, None)
            if following is None:
                return 0
            self._rest = memoryview(following)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def _scoped(caller: Caller) -> None:
    both = all(scopes.allows(caller.scopes, "Patient", verb) for verb in "cu")
    if not both and not scopes.allows_transaction(caller.scopes, "ITI-104"):
        raise NotEntitled("the token's scopes do not cover Patient.cu", scope="system/Patient.cu")


def _owned(run_id: UUID, caller: Caller) -> ImportRun:
    _scoped(caller)
    run = ImportRun.objects.filter(pk=run_id).first()
    if run is None or not directory.within(run.participant_id, caller.participant_id):
        raise NotFound("no such import")
    access.may_submit(caller, run.participant_id)
    return run


def _view(run: ImportRun) -> ImportView:
    return ImportView(
        id=run.pk,
        status=run.status,
        read=run.read,
        new=run.new,
        linked=run.linked,
        review=run.review,
        updated=run.updated,
        refused=run.refused,
        started_at=run.started_at,
        finished_at=run.finished_at,
    )
