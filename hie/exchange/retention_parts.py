"""What belongs to each part that is kept for a time, and how a bounded portion of it is removed.

`consent.retention` says how long; `hie.exchange.retention` goes over the parts and keeps the record. The log goes by a way
of its own (`hie.audit.retirement`), and bytes by that of the repository.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Exists, F, Model, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce

from consent.retention import Part
from documents import tasks as documents
from hie.audit import retirement
from hie.exchange.held import Spared
from hie.exchange.models import InboundMessage, PatientNotice, Query
from hie.outbox.models import OutboxMessage
from hie.trust.models import SignedIn
from patients.models import ImportLine, ImportRun

PORTION = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """What became of one portion: how many went and how many a hold keeps, from when until when what went was.

    `more`: whether there may be another one, from `after` on.
    """

    removed: int = 0
    held: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    more: bool = False
    after: list[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """A part that is rows of one table: those whose time counts, with the instant from which it does as `over_at`.

    `stays` says whether a hold keeps a row.
    """

    rows: Callable[[], QuerySet[Any]]
    stays: Callable[[Any, Spared], bool]

    def ended(self, before: datetime) -> QuerySet[Any]:
        """The rows whose time is over."""
        return self.rows().filter(over_at__lt=before)

    def remove(self, before: datetime, spared: Spared, after: list[str] | None, limit: int) -> Portion:
        """Remove the oldest of them from a place on, in the caller's transaction."""
        rows = self.ended(before).order_by("over_at", "pk")
        if after is not None:
            at, pk = datetime.fromisoformat(after[0]), after[1]
            rows = rows.filter(Q(over_at__gt=at) | Q(over_at=at, pk__gt=pk))
        found = list(rows[:limit])
        going = [row for row in found if not self.stays(row, spared)]
        if going:
            model: type[Model] = type(going[0])
            model._default_manager.filter(pk__in=[row.pk for row in going]).delete()
        return Portion(
            removed=len(going),
            held=len(found) - len(going),
            first_at=going[0].over_at if going else None,
            last_at=going[-1].over_at if going else None,
            more=len(found) == limit,
            after=[found[-1].over_at.isoformat(), str(found[-1].pk)] if found else after,
        )


def _messages() -> QuerySet[InboundMessage]:
    rows = InboundMessage.objects.exclude(status=InboundMessage.Status.RECEIVED).defer("raw", "reply")
    return rows.annotate(over_at=F("received_at"))


def _questions() -> QuerySet[Query]:
    rows = Query.objects.exclude(status=Query.Status.RUNNING).prefetch_related("targets")
    return rows.annotate(over_at=F("created_at"))


def _sessions() -> QuerySet[SignedIn]:
    return SignedIn.objects.select_related("account").annotate(over_at=Coalesce("ended_at", "ends_at"))


def _message_stays(row: InboundMessage, spared: Spared) -> bool:
    return row.participant_id in spared.senders or (spared.anything and not row.participant_id)


def _question_stays(row: Query, spared: Spared) -> bool:
    asked = {row.participant_id, *(target.participant_id for target in row.targets.all())}
    return row.person_id in spared.persons or not asked.isdisjoint(spared.organizations)


def _delivery_stays(row: OutboxMessage, spared: Spared) -> bool:
    return row.receiver in spared.organizations or spared.names(f"{row.key} {json.dumps(row.payload)}")


SHELVES: Mapping[Part, Shelf] = {
    Part.MESSAGES: Shelf(rows=_messages, stays=_message_stays),
    Part.QUESTIONS: Shelf(rows=_questions, stays=_question_stays),
    Part.NOTICES: Shelf(
        rows=lambda: PatientNotice.objects.annotate(over_at=F("at")),
        stays=lambda row, spared: row.identifier_id in spared.identifiers,
    ),
    Part.DELIVERIES: Shelf(
        rows=lambda: OutboxMessage.objects.filter(delivered_at__isnull=False).annotate(over_at=F("delivered_at")),
        stays=_delivery_stays,
    ),
    Part.SESSIONS: Shelf(
        rows=_sessions,
        stays=lambda row, spared: row.account is not None and row.account.identifier_id in spared.identifiers,
    ),
}


def remove(part: Part, before: datetime, spared: Spared, after: list[str] | None) -> Portion:
    """Remove a portion of a part that is rows, in the caller's transaction."""
    if part is Part.IMPORTS:
        return _remove_lines(before, spared, after)
    return SHELVES[part].remove(before, spared, after, PORTION)


def sweep_bytes(before: datetime, spared: Spared) -> Portion:
    """Remove all bytes that are due, outside any transaction of the caller's: an object goes behind its row."""
    swept = documents.sweep_older(before, spare=spared.senders)
    return Portion(removed=swept.binaries, held=documents.count_older(before, owners=spared.senders))


def count(part: Part, before: datetime, *, at_most: int | None = None) -> int:
    """How many of a part are over, held ones with them; no further than `at_most`."""
    if part is Part.LOG:
        return retirement.counts(before, at_most=at_most)
    if part is Part.BYTES:
        return documents.count_older(before)
    rows: QuerySet[Any] = (
        ImportLine.objects.filter(run__finished_at__lt=before) if part is Part.IMPORTS else SHELVES[part].ended(before)
    )
    rows = rows.order_by()
    return rows.count() if at_most is None else len(rows.values_list("pk")[:at_most])


def _remove_lines(before: datetime, spared: Spared, after: list[str] | None) -> Portion:
    """Lines of the oldest import that still has some; an import of a held organization is passed over."""
    runs = ImportRun.objects.filter(Exists(ImportLine.objects.filter(run_id=OuterRef("pk"))), finished_at__lt=before)
    if after is not None:
        at, pk = datetime.fromisoformat(after[0]), after[1]
        runs = runs.filter(Q(finished_at__gt=at) | Q(finished_at=at, pk__gt=pk))
    run = runs.order_by("finished_at", "pk").first()
    if run is None or run.finished_at is None:
        return Portion()
    if run.participant_id in spared.senders:
        return Portion(held=run.lines.count(), more=True, after=[run.finished_at.isoformat(), str(run.pk)])
    numbers = list(run.lines.order_by("number").values_list("number", flat=True)[: PORTION * 10])
    removed, _ = run.lines.filter(number__lte=numbers[-1]).delete()
    return Portion(removed=removed, first_at=run.finished_at, last_at=run.finished_at, more=True, after=after)
