"""Rows that say what must be told: added with what happened, claimed one worker a row.

The broker is only nudged; what must happen is a row. Delivery is at least once: a
claim that is neither delivered nor failed comes back by itself when its lease ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db import connection
from django.db.models import F, QuerySet
from django.db.models.functions import Greatest
from django.utils import timezone

from hie.database import prepared
from hie.outbox.models import OutboxMessage

MAX_BACKOFF_S = 3600


class Topic(StrEnum):
    """What a notice is about."""

    DOCUMENTS = "documents"
    PATIENTS = "patients"
    CONSENT = "consent"
    EMERGENCY = "emergency"
    ACCESS = "access"
    QUERIES = "queries"
    IDENTITIES = "identities"
    MAIL = "mail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A claimed notice; `attempts` counts this one."""

    id: int
    topic: str
    key: str
    payload: dict[str, Any]
    attempts: int
    created_at: datetime
    receiver: str = ""


# By hand and kept ready, since a notice goes with most of what happens here: Django would make the statement anew each time.
_ADD = """
INSERT INTO outbox_outboxmessage (topic, key, receiver, payload, created_at, next_attempt_at, attempts, last_error)
VALUES (%s::text, %s::text, '', %s::jsonb, %s::timestamptz, %s::timestamptz, 0, '') RETURNING id
"""


def add(topic: Topic, key: str, payload: Mapping[str, Any] | None = None, *, not_before: datetime | None = None) -> int:
    """Write a notice in the caller's transaction: told if and only if that commits. Gives the row's id."""
    at = timezone.now()
    with prepared() as cursor:
        cursor.execute(_ADD, [topic.value, key, json.dumps(dict(payload or {})), at, not_before or at])
        return int(cursor.fetchone()[0])


def add_all(topic: Topic, items: Iterable[tuple[str, Mapping[str, Any]]]) -> int:
    """Write many notices in one statement; gives how many."""
    at = timezone.now()
    rows = [
        OutboxMessage(topic=topic.value, key=key, payload=dict(payload), created_at=at, next_attempt_at=at)
        for key, payload in items
    ]
    return len(OutboxMessage.objects.bulk_create(rows))


def add_for(topic: Topic, items: Iterable[tuple[str, str, Mapping[str, Any]]]) -> int:
    """Write notices for named receivers, each (receiver, key, payload), in one statement; gives how many."""
    at = timezone.now()
    rows = [
        OutboxMessage(
            topic=topic.value, key=key, receiver=receiver, payload=dict(payload), created_at=at, next_attempt_at=at
        )
        for receiver, key, payload in items
    ]
    return len(OutboxMessage.objects.bulk_create(rows))


def note(notice: Notice, more: Mapping[str, Any]) -> None:
    """Keep something with a notice that its next attempt goes by."""
    OutboxMessage.objects.filter(pk=notice.id).update(payload=notice.payload | dict(more))


# Materialized, so that it is read once: as a plain sub-select a plan may read it for each row, and then takes more than
# the limit, because the rows it has locked itself are not skipped.
_CLAIM = """
WITH due AS MATERIALIZED (
    SELECT o.id FROM outbox_outboxmessage o
    WHERE o.delivered_at IS NULL AND o.failed_at IS NULL AND o.topic = %s AND o.next_attempt_at <= %s
      AND (o.receiver = '' OR NOT EXISTS (
        SELECT 1 FROM outbox_outboxmessage e
        WHERE e.receiver = o.receiver AND e.key = o.key AND e.id < o.id AND e.receiver <> ''
          AND e.delivered_at IS NULL AND e.failed_at IS NULL))
    ORDER BY o.next_attempt_at, o.id LIMIT %s FOR UPDATE OF o SKIP LOCKED
)
UPDATE outbox_outboxmessage m SET attempts = m.attempts + 1, next_attempt_at = %s
FROM due WHERE m.id = due.id
RETURNING m.id, m.topic, m.key, m.payload::text, m.attempts, m.created_at, m.receiver
"""


def claim(topic: Topic, *, limit: int = 100, lease_s: int = 60, now: datetime | None = None) -> list[Notice]:
    """Take up to `limit` due notices, oldest first; nobody else gets them until the lease ends.

    Of one receiver's notices about one key only the first that is still open.
    """
    at = now or timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [topic.value, at, limit, at + timedelta(seconds=lease_s)])
        rows = cursor.fetchall()
    return [
        Notice(
            id=pk,
            topic=name,
            key=key,
            payload=json.loads(payload),
            attempts=attempts,
            created_at=created,
            receiver=receiver,
        )
        for pk, name, key, payload, attempts, created, receiver in sorted(rows)
    ]


def give_back(ids: Iterable[int], *, now: datetime | None = None) -> int:
    """Give up claims at once: due again, and as if they had not been tried. Gives how many."""
    open_rows = OutboxMessage.objects.filter(pk__in=list(ids), delivered_at__isnull=True, failed_at__isnull=True)
    return open_rows.update(next_attempt_at=now or timezone.now(), attempts=Greatest(F("attempts") - 1, 0))


def put_off(ids: Iterable[int], until: datetime) -> int:
    """Let notices wait until an instant, as if they had not been tried. Gives how many were open."""
    open_rows = OutboxMessage.objects.filter(pk__in=list(ids), delivered_at__isnull=True, failed_at__isnull=True)
    return open_rows.update(next_attempt_at=until, attempts=Greatest(F("attempts") - 1, 0))


def delivered(ids: Iterable[int], *, now: datetime | None = None) -> int:
    """Mark notices as told; a second time changes nothing. Gives how many were open."""
    open_rows = OutboxMessage.objects.filter(pk__in=list(ids), delivered_at__isnull=True)
    return open_rows.update(delivered_at=now or timezone.now(), last_error="")


def failed(notice: Notice, error: str, *, now: datetime | None = None) -> datetime:
    """Put a notice back, later each time (2 s doubling to an hour); gives when it is due again."""
    due = (now or timezone.now()) + timedelta(seconds=min(2 ** min(notice.attempts, 12), MAX_BACKOFF_S))
    OutboxMessage.objects.filter(pk=notice.id, delivered_at__isnull=True).update(
        next_attempt_at=due, last_error=error[:500]
    )
    return due


def give_up(notice: Notice, error: str, *, now: datetime | None = None) -> None:
    """End a notice that will not arrive: it is shown as given up, and what comes after it goes on."""
    OutboxMessage.objects.filter(pk=notice.id, delivered_at__isnull=True).update(
        failed_at=now or timezone.now(), last_error=error[:500]
    )


def try_again(ids: Iterable[int], *, now: datetime | None = None) -> int:
    """Put notices that were given up back among the open ones, due at once; gives how many were."""
    given_up = OutboxMessage.objects.filter(pk__in=list(ids), delivered_at__isnull=True, failed_at__isnull=False)
    return given_up.update(failed_at=None, aside_at=None, attempts=0, next_attempt_at=now or timezone.now())


def put_aside(ids: Iterable[int], *, now: datetime | None = None) -> int:
    """Let notices that were given up wait for nobody; gives how many did."""
    given_up = OutboxMessage.objects.filter(
        pk__in=list(ids), delivered_at__isnull=True, failed_at__isnull=False, aside_at__isnull=True
    )
    return given_up.update(aside_at=now or timezone.now())


def take_up(notices: QuerySet[OutboxMessage]) -> int:
    """Let notices that were put aside wait for somebody again; gives how many do."""
    return notices.filter(delivered_at__isnull=True).update(aside_at=None)
