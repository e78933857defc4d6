"""What is at stake in a review item: which persons it is between today, and the documents that a verdict would move.

Documents hang on identifiers of records, so a verdict that links records otherwise lets documents be read under another
person. The queue is ordered by the chance that something is wrong, times the documents that hang on it.

Source: spec/mpi.md section 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db import connection

from documents.models import DocumentEntry
from hie.standards.errors import HubError
from patients import changes, identifiers
from patients.models import Link, ReviewItem
from patients.reviewing import Verdict

Kind = ReviewItem.Kind
_APART = (Verdict.SAME, Verdict.LINK, Verdict.DIFFERENT, Verdict.DEFER)
_ONE_PERSON = (Verdict.SAME, Verdict.DIFFERENT, Verdict.DEFER)


def verdicts(item: ReviewItem) -> tuple[Verdict, ...]:
    """What may be said of an item: of one that contests a change, whether that change is undone, and nothing between."""
    whole = item.kind in (Kind.OVERLAY, Kind.DOUBTFUL_LINK, Kind.PARTING) or item.contested_id is not None
    return _ONE_PERSON if whole else _APART


def sides(item: ReviewItem) -> tuple[UUID, UUID | None]:
    """The person of the item's record today, and the other person it may be, None where it is about one only.

    2 statements.
    """
    current = Link.objects.filter(source_record=item.source_record_id, valid_to__isnull=True)
    here: UUID = current.exclude(kind=Link.Kind.REJECTED).values_list("person_id", flat=True).get()
    there = identifiers.survivor(item.candidate_id) if item.candidate_id else None
    return here, there if there != here else None


def persons(item: ReviewItem) -> list[UUID]:
    """Everybody whose log says what becomes of the item. 2 statements."""
    return sorted({one for one in sides(item) if one is not None})


def documents_moved(item: ReviewItem, verdict: Verdict) -> int:
    """Documents that would be read under another person, or under another name, by this verdict. 4 statements at most.

    Where persons come together these are the documents of both: each is seen with the other's records then. Where this
    is not zero a second steward must agree: there is no other place that says so.
    """
    if item.kind in (Kind.OVERLAY, Kind.DOUBTFUL_LINK):
        moving = Verdict.SAME if item.kind == Kind.OVERLAY else Verdict.DIFFERENT
        return _documents([item.source_record_id]) if verdict is moving else 0
    if item.contested is not None:
        # The verdict undoes exactly what was contested, wherever the records of the case are by now.
        undoing = Verdict.DIFFERENT if item.kind == Kind.PARTING else Verdict.SAME
        if verdict is not undoing:
            return 0
        try:
            return documents_brought(changes.moved_by_undoing(item.contested.id))
        except HubError:  # it can be undone no more: settling says so
            return 0
    if item.kind == Kind.PARTING:
        if verdict is not Verdict.DIFFERENT:
            return 0
        _, to = sides(item)
        return _documents([*item.records, *(_records([to]) if to is not None else [])])
    if verdict in (Verdict.DEFER, Verdict.DIFFERENT):
        return 0
    here, there = sides(item)
    if there is None:
        return 0
    if verdict is Verdict.LINK:
        return _documents([item.source_record_id, *_records([there])])
    return _documents(_records([here, there]))


def documents_brought(moving: Mapping[int, tuple[UUID, UUID]]) -> int:
    """Documents that would be read under another person if these records moved, each from one person to another. 2 statements.

    Counted as for a verdict: where they come to somebody who has records, those documents are seen with them.
    """
    return _documents([*moving, *_records({to for _, to in moving.values()})])


def _records(of: Iterable[UUID]) -> list[int]:
    current = Link.objects.filter(person__in=list(of), valid_to__isnull=True).exclude(kind=Link.Kind.REJECTED)
    return list(current.order_by("source_record_id").values_list("source_record_id", flat=True))


def _documents(records: Iterable[int]) -> int:
    return DocumentEntry.objects.filter(patient_identifier__source_record__in=list(records)).count()


_CURRENT = "{0}.valid_to IS NULL AND {0}.kind <> 'rejected'"
SIDES = f"""
  JOIN patients_link h ON h.source_record_id = q.source_record_id AND {_CURRENT.format("h")}
  LEFT JOIN LATERAL (
    WITH RECURSIVE up AS (
      SELECT p.id, p.merged_into_id FROM patients_person p WHERE p.id = q.candidate_id
      UNION ALL SELECT p.id, p.merged_into_id FROM patients_person p JOIN up ON p.id = up.merged_into_id)
    SELECT up.id FROM up WHERE up.merged_into_id IS NULL) c ON true
"""  # noqa: S608  # constants only
"""Joins of a statement over review items `q`: `h.person_id` and `c.id` are what `sides` gives."""
_OF_PERSONS = f"""SELECT m.source_record_id FROM patients_link m
    WHERE {_CURRENT.format("m")} AND m.person_id IN (h.person_id, c.id)"""  # noqa: S608  # constants only
# Two branches, not one condition: each finds its rows by an index.
RECORDS = f"""
    {_OF_PERSONS} AND q.kind NOT IN ('overlay', 'doubtful-link', 'parting')
    UNION ALL SELECT q.source_record_id WHERE q.kind IN ('overlay', 'doubtful-link')
    UNION ALL SELECT unnest(q.records) WHERE q.kind = 'parting'
    UNION ALL SELECT m.source_record_id FROM patients_link m
      WHERE {_CURRENT.format("m")} AND m.person_id = c.id AND c.id <> h.person_id AND q.kind = 'parting'
"""  # noqa: S608  # constants only
MEMBERS = f"""
    {_OF_PERSONS} AND q.kind <> 'overlay' UNION ALL SELECT q.source_record_id WHERE q.kind = 'overlay'
"""
"""Sub-selects of the records that the item is about (`MEMBERS`), and of those whose documents a verdict may move."""
CHANCE = """
  CASE q.kind WHEN 'possible-match' THEN coalesce(q.probability, 0.5)
              WHEN 'doubtful-link' THEN 1 - coalesce(q.probability, 0.5) ELSE 1 END
"""
"""The chance that things are wrong as they stand. An overlay or a resolved duplicate is wrong one way or the other; where a
person says that records are somebody else's, something is."""


def reads(statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The rows of a statement of this package's own text."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())
