"""Taking events out of the log at the end of their time: said in the log first, signed for, and only then done.

Three steps, each safe to run again. `oldest` finds what is due; `announce` writes which numbers will go, as an event of
the log; once that event lies under a checkpoint `remove` deletes rows, and nothing that the announcement does not name.
Seals, checkpoints and announcements stay for ever: they hold hashes, numbers and times, and nothing of a patient. The
database refuses to delete what is younger than six years or was not announced, whoever asks (`0006_end_of_retention`).

Source: spec/consent.md 17; docs/adr/0012.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.audit.models import AuditRetired, Checkpoint
from hie.audit.retired import FLOOR, ranges_of
from hie.standards.facts import Caller

__all__ = ["FLOOR", "Old", "announce", "announced", "counts", "oldest", "remove", "sealed_until"]

_COLUMNS = 'e.id, e."at", s.seq, e.person_id, e.patient_identifier, e.participant, e.organization, e.root_organization, e.denied'
_FIRST = UUID(int=0)
_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Old:
    """An event whose time is over: its number, and whom and what it is about, to be held against what must stay."""

    event_id: UUID
    at: datetime
    seq: int
    person_id: UUID | None
    patient_identifier: str
    organizations: frozenset[str]
    documents: frozenset[str]


def sealed_until(before: datetime) -> int:
    """How many events of the log were signed for before an instant: the last number that can be of that age; 0 none."""
    newest = Checkpoint.objects.filter(at__lt=before).order_by("-size").values_list("size", flat=True).first()
    return newest or 0


def counts(before: datetime, *, at_most: int | None = None) -> int:
    """How many events are older than an instant and can go; counted no further than `at_most`. One statement or two."""
    until = sealed_until(before)
    if not until:
        return 0
    limit = "" if at_most is None else f" LIMIT {int(at_most)}"
    with connection.cursor() as cursor:
        cursor.execute(
            'SELECT count(*) FROM (SELECT 1 FROM audit_event e JOIN audit_seal s ON s.event_id = e.id WHERE e."at" < %s '  # noqa: S608  a number
            f"AND s.seq <= %s AND e.kind <> %s{limit}) old",
            [before, until, EventType.LOG_RETIRED.value],
        )
        return int(cursor.fetchone()[0])


def oldest(before: datetime, *, after: tuple[datetime, UUID] | None, limit: int) -> list[Old]:
    """The oldest events before an instant, from a place on, that were signed for before it too. Three statements."""
    until = sealed_until(before)
    if not until:
        return []
    start, start_id = after or (datetime.min.replace(year=1970, tzinfo=before.tzinfo), _FIRST)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_COLUMNS} FROM audit_event e JOIN audit_seal s ON s.event_id = e.id "  # noqa: S608  constants
            'WHERE e."at" < %s AND (e."at", e.id) > (%s, %s) AND s.seq <= %s AND e.kind <> %s '
            'ORDER BY e."at", e.id LIMIT %s',
            [before, start, start_id, until, EventType.LOG_RETIRED.value, limit],
        )
        rows = cursor.fetchall()
    return _read(rows)


def announce(events: Sequence[Old], caller: Caller, detail: Mapping[str, Any]) -> UUID:
    """Say in the log that these events will be removed, with `detail`; the id of the event that says so."""
    ranges = ranges_of(one.seq for one in events)
    said = {**detail, "ranges": ranges, "count": len(events)}
    with transaction.atomic():
        (event_id,) = recorder.write(
            [recorder.EventDraft(kind=EventType.LOG_RETIRED, caller=caller, detail=said, reason="retention")]
        )
        AuditRetired.objects.bulk_create(
            [AuditRetired(event_id=event_id, first=first, last=last) for first, last in ranges], batch_size=500
        )
    return event_id


def announced(event_id: UUID) -> bool:
    """Whether an announcement lies under a checkpoint: what it names may go."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM audit_seal s JOIN audit_checkpoint c ON c.size >= s.seq WHERE s.event_id = %s)",
            [event_id],
        )
        return bool(cursor.fetchone()[0])


def remove(event_id: UUID, before: Callable[[], None], stays: Callable[[Old], bool]) -> tuple[int, int]:
    """Delete the events that an announcement names, but those that must stay; how many went, and how many stayed.

    `before` runs at the beginning of each portion's transaction: what it locks is locked until that has ended. May be
    broken off and run again.
    """
    removed = stayed = 0
    for first, last in AuditRetired.objects.filter(event_id=event_id).order_by("first").values_list("first", "last"):
        after = first - 1
        while after < last:
            with transaction.atomic():
                before()
                rows = _numbered(after, last)
                if not rows:
                    break
                going = [one for one in rows if not stays(one)]
                _delete(going)
            removed, stayed, after = removed + len(going), stayed + len(rows) - len(going), rows[-1].seq
    return removed, stayed


def _numbered(after: int, last: int) -> list[Old]:
    """The next events of these numbers that are still there, in order."""
    with connection.cursor() as cursor:
        cursor.execute(
            f'SELECT {_COLUMNS} FROM audit_seal s JOIN audit_event e ON e.id = s.event_id AND e."at" = s."at" '  # noqa: S608  constants
            "WHERE s.seq > %s AND s.seq <= %s AND e.kind <> %s ORDER BY s.seq LIMIT %s",
            [after, last, EventType.LOG_RETIRED.value, _BATCH],
        )
        return _read(cursor.fetchall())


def _read(rows: Collection[tuple[Any, ...]]) -> list[Old]:
    """Rows by `_COLUMNS`, with the documents they showed or refused; one statement."""
    shown: dict[UUID, set[str]] = {}
    among: dict[UUID, set[str]] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT event_id, document_id, unique_id, custodian, recipient FROM audit_disclosure WHERE event_id = ANY(%s)",
            [[row[0] for row in rows]],
        )
        for event_id, document_id, unique_id, custodian, recipient in cursor.fetchall():
            shown.setdefault(event_id, set()).update((document_id, unique_id))
            among.setdefault(event_id, set()).update((custodian, recipient))
    found = []
    for event_id, at, seq, person_id, identifier, *organizations, denied in rows:
        refused = json.loads(denied) if isinstance(denied, str) else denied
        documents = {str(one[0]) for one in refused or () if one} | shown.get(event_id, set())
        found.append(
            Old(
                event_id=event_id,
                at=at,
                seq=seq,
                person_id=person_id,
                patient_identifier=identifier,
                organizations=frozenset({*organizations, *among.get(event_id, ())} - {""}),
                documents=frozenset(documents - {""}),
            )
        )
    return found


def _delete(events: Sequence[Old]) -> None:
    if not events:
        return
    ids, times = [one.event_id for one in events], [one.at for one in events]
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM audit_disclosure WHERE event_id = ANY(%s)", [ids])
        # The times keep other months from being looked at.
        cursor.execute(
            'DELETE FROM audit_event WHERE id = ANY(%s) AND "at" BETWEEN %s AND %s', [ids, min(times), max(times)]
        )
