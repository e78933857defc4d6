"""Who an identity was on a given day: which person an identifier belonged to, with which others, and why.

From the links as the hub held them then (`Link`): what was changed or undone later changes nothing of the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from patients.models import IdentityEvent

_THEN = "coalesce(l.restored_at, l.valid_from) <= %(at)s AND (l.valid_to IS NULL OR l.valid_to > %(at)s) AND l.kind <> 'rejected'"
_SAYS = """SELECT i.authority, i.value, r.participant_id, r.status, l.source_record_id, l.person_id, now.person_id, l.kind, l.reason,
       coalesce(l.restored_at, l.valid_from), l.valid_to, l.event_id"""
_MEMBERS = f"""
WITH asked AS (
  SELECT l.person_id, i.source_record_id FROM patients_patientidentifier i
    JOIN patients_link l ON l.source_record_id = i.source_record_id AND {_THEN}
   WHERE i.authority = %(authority)s AND i.value = %(value)s)
{_SAYS}
  FROM asked
  JOIN patients_link l ON l.person_id = asked.person_id AND {_THEN}
  JOIN patients_sourcerecord r ON r.id = l.source_record_id
  JOIN patients_patientidentifier i ON i.source_record_id = r.id
  JOIN patients_link now ON now.source_record_id = r.id AND now.valid_to IS NULL AND now.kind <> 'rejected'
 ORDER BY l.source_record_id = asked.source_record_id DESC, i.authority, i.value, i.id
"""  # noqa: S608  # constants only
# Two branches, not one condition: each finds its rows by an index.
_ON = f"""
WITH records AS (
  SELECT l.source_record_id FROM patients_link l WHERE l.person_id = %(person)s AND {_THEN}
  UNION SELECT l.source_record_id FROM patients_link l
   WHERE l.person_id = %(person)s AND l.valid_to IS NULL AND l.kind <> 'rejected')
{_SAYS}
  FROM records
  JOIN patients_link l ON l.source_record_id = records.source_record_id AND {_THEN}
  JOIN patients_sourcerecord r ON r.id = l.source_record_id
  JOIN patients_patientidentifier i ON i.source_record_id = r.id
  JOIN patients_link now ON now.source_record_id = r.id AND now.valid_to IS NULL AND now.kind <> 'rejected'
 ORDER BY l.person_id <> %(person)s, i.authority, i.value, i.id
"""  # noqa: S608  # constants only


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An identifier that belonged to the person then; `status` is its record's today: active, replaced, removed.

    `since` and `until` (None: still) bound the link that held then; `event` is the change that made it, None where the
    record's first feed did; `now` is the person the record belongs to today.
    """

    authority: str
    value: str
    participant_id: str
    status: str
    source_record_id: int
    person_id: UUID
    now: UUID
    kind: str
    reason: str
    since: datetime
    until: datetime | None
    event: IdentityEvent | None


def members(authority: str, value: str, at: datetime) -> list[Member]:
    """The identifiers of the person that this one belonged to at that instant, itself first; none: not known then.

    2 queries whatever the number.
    """
    return _read(_MEMBERS, {"authority": authority, "value": value, "at": at})


def on(person_id: UUID, at: datetime) -> list[Member]:
    """The identifiers that this person had at that instant, then those it has today and somebody else had then.

    What was not known then is absent. 2 queries whatever the number.
    """
    return _read(_ON, {"person": person_id, "at": at})


def _read(statement: str, values: dict[str, Any]) -> list[Member]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        rows = cursor.fetchall()
    events = IdentityEvent.objects.in_bulk({row[11] for row in rows if row[11] is not None})
    return [
        Member(
            authority=row[0],
            value=row[1],
            participant_id=row[2],
            status=row[3],
            source_record_id=row[4],
            person_id=row[5],
            now=row[6],
            kind=row[7],
            reason=row[8],
            since=row[9],
            until=row[10],
            event=events.get(row[11]),
        )
        for row in rows
    ]
