"""Changing what a document carries after registration: the labelling rules changed, or a doubtful one was reviewed.

Each change is a new version of the labels, with who made it, and an audit event shown to the patient. When the rules
change, every registered document is gone over with them, in batches that can be cut off anywhere: what is still to do
is read from the entries themselves. A run only ever raises; whatever was derived from a raised document is raised
with it.

Source: spec/consent.md 8.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog
from django.db import connection, transaction
from django.utils import timezone

from consent import epochs
from consent.labelling import LabelTables
from documents import codec, labels, on_demand, review
from documents.errors import InvalidAttribute
from documents.labels import Raised
from documents.metadata import EntryMetadata
from documents.models import DocumentEntry, LabelRun
from documents.review import Settled
from hie.audit import recorder
from hie.audit.recorder import HUB, EventDraft, EventType
from hie.exchange import access, content
from hie.exchange import labels as labelling
from hie.standards.facts import Caller, CodedContent, Labels
from patients import identifiers

log = structlog.get_logger(__name__)

BATCH = 50
AGAIN_AFTER = timedelta(hours=1)
"""How long after a run that could not read everything the rest is tried again."""

_WORKER = Caller(
    participant_id=HUB,
    organization_id=HUB,
    client_id="labelling",
    user_id="Device/labelling",
    user_name="Labelling service",
    role="system",
    face="worker",
)


def carry_on(*, until: float, batch: int = BATCH) -> int:
    """Go on labelling registered documents under the rules in force, until a moment of `time.monotonic`.

    How many were looked at. Safe to run twice at once: a batch is taken by one only.
    """
    tables = access.label_tables()
    total = 0
    while (done := _batch(tables, batch)) is not None:
        total += done
        if time.monotonic() >= until:
            break
    return total


def _batch(tables: LabelTables, size: int) -> int | None:
    """One batch of the open run; None when nothing waits, or another worker has taken it."""
    run = _open_run(tables)
    if run is None:
        return None
    place = (run.last_rules, run.last_entry)
    waiting = labels.to_label(tables.digest, behind=place, limit=size)
    # Bytes are read before any row is locked.
    found = {row.pk: _look(row, tables) for row in waiting}
    with transaction.atomic():
        held = LabelRun.objects.select_for_update().filter(pk=run.pk, finished_at=None).first() if _taken() else None
        if held is None or (held.last_rules, held.last_entry) != place:
            return None
        at = timezone.now()
        raised: list[Raised] = []
        for row in DocumentEntry.objects.select_for_update().filter(pk__in=found).order_by("pk"):
            raised += labels.raise_to(row, found[row.pk][0], assigned_by="labelling", at=at)
        # The rows raise them one by one when this commits, in the order of documents; a merge raises some at the same time.
        epochs.bump(*(one.identifier_pk for one in raised))
        _announce(raised, tables)
        held.looked_at += len(found)
        held.raised += len(raised)
        held.unread += sum(not read for _, read in found.values())
        held.updated_at = at
        if waiting:
            held.last_rules, held.last_entry = waiting[-1].labelled_under, waiting[-1].pk
        else:
            held.finished_at = at
        held.save()
    return len(found) or None


def _open_run(tables: LabelTables) -> LabelRun | None:
    """The run under way with these rules; a new one where documents wait for them."""
    run = LabelRun.objects.filter(finished_at=None).first()
    if run is not None and run.rules == tables.digest:
        return run
    at = timezone.now()
    with transaction.atomic():
        if not _taken():
            return None  # another worker is at it
        open_ones = LabelRun.objects.filter(finished_at=None)
        if (mine := open_ones.filter(rules=tables.digest).first()) is not None:
            return mine
        open_ones.update(finished_at=at, superseded=True, updated_at=at)
        lately = LabelRun.objects.filter(rules=tables.digest, superseded=False, finished_at__gt=at - AGAIN_AFTER)
        if lately.filter(unread__gt=0).exists() or not labels.to_label(tables.digest, limit=1):
            return None
        return LabelRun.objects.create(rules=tables.digest, rules_version=tables.version, started_at=at, updated_at=at)


def _taken() -> bool:
    """Whether this transaction is the one that may move a run on; another has it until it ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended('exchange.relabel', 0))")
        (mine,) = cursor.fetchone()
    return bool(mine)


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What labelling rules go by in an entry: its metadata and what its bytes hold, where they could be read."""

    entry: EntryMetadata
    content: CodedContent
    readable: bool = True


def look(row: DocumentEntry) -> Looked:
    """Read an entry for labelling; an entry whose bytes cannot be read is known by its metadata alone."""
    entry = codec.decode_entry(row.metadata)
    if row.binary_id is None:
        return Looked(entry=entry, content=CodedContent())
    try:
        chunks = access.open_for_labelling(str(row.binary_id)).chunks
        found = content.inspect(entry, chunks, where=f"DocumentEntry[{row.entry_uuid}]").content
    except Exception as error:
        # Whatever one document does to its readers, those behind it must not wait for it.
        log.warning("relabel.unread", document=str(row.entry_uuid), problem=type(error).__name__)
        return Looked(entry=entry, content=CodedContent(), readable=False)
    return Looked(entry=entry, content=found)


def _look(row: DocumentEntry, tables: LabelTables) -> tuple[Labels, bool]:
    """What the rules make of an entry, and whether its bytes could be read where there are any.

    One whose bytes cannot be read keeps waiting: only its metadata has been looked at.
    """
    seen = look(row)
    try:
        made = labelling.of_entry(seen.entry, seen.content, tables)
    except Exception as error:
        log.warning("relabel.unread", document=str(row.entry_uuid), problem=type(error).__name__)
        seen = replace(seen, content=CodedContent(), readable=False)
        made = labelling.of_entry(seen.entry, seen.content, tables)
    if row.binary_id is None:
        return replace(made, labelled=row.labelled or on_demand.is_made_here(seen.entry)), True
    return (made, True) if seen.readable else (replace(made, labelled=False, rules=""), False)


def _announce(raised: Sequence[Raised], tables: LabelTables) -> None:
    """An event in the log of each patient whose documents were raised; the rows themselves raise the patient's epoch."""
    persons = identifiers.persons_of({one.identifier_pk for one in raised})
    recorder.write(
        EventDraft(
            kind=EventType.RELABEL,
            caller=_WORKER,
            person_id=persons.get(one.identifier_pk),
            detail={
                "document": str(one.entry_uuid),
                "label_version": one.label_version,
                "rules_version": tables.version,
                "confidentiality": one.confidentiality,
            },
        )
        for one in raised
    )


def settle_review(
    review_id: int, *, release: bool, reason: str, staff_user: str, role: str, staff_name: str = ""
) -> Settled:
    """Release a document that was accepted with doubts, or keep it restricted; recorded in the same transaction.

    Raises:
        InvalidAttribute: no reason was given.
        ReviewClosed: no such review, or settled before.
    """
    with _reviewing(reason, staff_user, role, staff_name) as record:
        settled = review.settle(review_id, release=release, settled_by=staff_user)
        record(settled, "released" if release else "kept-restricted")
    return settled


def reopen_review(review_id: int, *, reason: str, staff_user: str, role: str, staff_name: str = "") -> Settled:
    """Take back what settled a review; the document is restricted again from the commit on. Recorded with it.

    Raises:
        InvalidAttribute: no reason was given. ReviewOpen: no such review, or it waits.
    """
    with _reviewing(reason, staff_user, role, staff_name) as record:
        reopened = review.reopen(review_id)
        record(reopened, "reopened")
    return reopened


@contextmanager
def _reviewing(reason: str, staff_user: str, role: str, staff_name: str) -> Iterator[Callable[[Settled, str], None]]:
    """One act of a reviewer, in a transaction with the event that the given function writes."""
    if not reason.strip():
        raise InvalidAttribute("a reason is required", element="reason")

    def record(settled: Settled, outcome: str) -> None:
        recorder.staff_look(
            staff_user=staff_user,
            staff_name=staff_name,
            role=role,
            person_id=identifiers.person_of_pk(settled.identifier_pk),
            what="documents",
            reason=reason,
            act=True,
            detail={"document": settled.entry_uuid, "outcome": outcome, "confidentiality": settled.confidentiality},
        )

    with transaction.atomic():
        yield record
