"""Settling what waits for a steward: one review item, one verdict, undone like any other change of identity.

What *same* and *different* mean depends on the item:

| kind | same | different |
|---|---|---|
| possible-match, duplicate-resolved | the two persons are merged | their records stay apart for good |
| doubtful-link | the record stays with its person for good | it becomes a person of its own |
| overlay | the revision kept aside becomes the current version | the former version stays |
| parting | nothing moves | the records become a person of their own, or those of the person named, and stay apart |

Of an item that contests a change, the verdict that would move something undoes this change exactly instead.

*Link*, for the first kind, moves the item's record alone to the other person; its person keeps the others.

Source: spec/mpi.md sections 3 (Overlay, Race) and 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import transaction

from patients import changes, standing, store
from patients.changes import WAITS
from patients.demographics import Demographics, from_json
from patients.errors import ReviewClosed, UnknownReview
from patients.identifiers import survivor as survivor_of
from patients.models import IdentityEvent, Person, ReviewItem, SourceRecord, SourceRecordVersion

ASKED = "asked by a steward"
"""Why an item waits that a steward opened: it asks about the persons, not about one record that a feed brought."""


class Verdict(StrEnum):
    """What a steward says of a review item."""

    SAME = "same"
    LINK = "link"
    DIFFERENT = "different"
    DEFER = "defer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of an item: the persons concerned, and the event by which `linking.undo` undoes it; None: deferred."""

    kind: str
    verdict: Verdict
    persons: tuple[UUID, ...]
    event_id: UUID | None = None
    event_kind: str = ""


def settle(item_id: int, verdict: Verdict, *, actor: str, reason: str) -> Settled:
    """Decide one item that waits, once; in a transaction of its own or the caller's.

    A verdict of *same* also closes every other item it answers: those between persons that are one now. Undoing the
    event opens again what it closed. The index is held first, then persons, then the item: who holds an item only
    (a claim) must not ask for the index.

    Raises:
        UnknownReview: no such item. ReviewClosed: it was decided before.
        InvalidMerge: the persons were changed meanwhile so that the verdict cannot be carried out.
    """
    with transaction.atomic():
        if verdict is not Verdict.DEFER:
            store.lock_index()
        item = _waiting(item_id)
        # The record may have moved since the item opened: it is its person of today that is meant.
        person = changes.link_of(item.source_record_id).person_id
        candidate = survivor_of(item.candidate_id) if item.candidate_id else None
        event: IdentityEvent | None = None
        if verdict is Verdict.DEFER:
            _waiting(item_id, lock=True)
            ReviewItem.objects.filter(pk=item_id).update(status=ReviewItem.Status.DEFERRED, claimed_by=actor)
        else:
            event_id = _carry_out(item, verdict, person, candidate, actor=actor, reason=reason)
            event = IdentityEvent.objects.get(id=event_id)
            item = ReviewItem.objects.select_for_update().get(pk=item_id)
            if item.status in WAITS:  # a merge has closed it already, as one of those it answers
                standing.close([item], verdict.value, event)
    concerned = {person, *([candidate] if candidate else []), *([event.person_id] if event else [])}
    concerned |= {event.other_person_id} if event and event.other_person_id else set()
    return Settled(
        kind=item.kind,
        verdict=verdict,
        persons=tuple(sorted(concerned)),
        event_id=event.id if event else None,
        event_kind=event.kind if event else "",
    )


def _waiting(item_id: int, *, lock: bool = False) -> ReviewItem:
    rows = ReviewItem.objects.select_for_update() if lock else ReviewItem.objects.all()
    item = rows.filter(pk=item_id).first()
    if item is None:
        raise UnknownReview
    if item.status not in WAITS:
        raise ReviewClosed
    return item


def revision_of(item: ReviewItem) -> Demographics | None:
    """What the revision kept aside says, for an overlay; None for other items. 1 query."""
    version = SourceRecordVersion.objects.filter(pk=item.version_id).first() if item.version_id else None
    return from_json(version.raw) if version is not None else None


def _carry_out(
    item: ReviewItem, verdict: Verdict, person: UUID, candidate: UUID | None, *, actor: str, reason: str
) -> UUID:
    same = verdict is Verdict.SAME
    record: int = item.source_record_id
    said = {"settled": item.pk, "verdict": verdict.value, "item": item.kind}
    match item.kind:
        case ReviewItem.Kind.OVERLAY:
            if same:
                return _adopt(item, person, actor=actor, reason=reason, detail=said)
            return changes.apart(record, None, actor=actor, reason=reason, detail=said)
        case ReviewItem.Kind.DOUBTFUL_LINK:
            if same:
                return changes.confirm(record, actor=actor, reason=reason, detail=said)
            return changes.unlink(record, actor=actor, reason=reason)
        case ReviewItem.Kind.PARTING:
            if same:
                return changes.apart(record, None, actor=actor, reason=reason, detail=said)
            if item.contested is not None:
                return changes.undo(item.contested.id, actor=actor, reason=reason)
            return changes.split(person, item.records, into=candidate, actor=actor, reason=reason)
        case _:
            if same and item.contested is not None and candidate not in (None, person):
                return changes.undo(item.contested.id, actor=actor, reason=reason)
            if verdict is Verdict.LINK and candidate is not None and candidate != person:
                return changes.link(record, candidate, actor=actor, reason=reason)
            if same and candidate is not None and candidate != person:
                older, newer = Person.objects.filter(pk__in=[person, candidate]).order_by("created_at", "pk")
                return changes.merge(older.pk, newer.pk, actor=actor, reason=reason)
            # Where the two are one already there is nothing to do, but the item is closed by somebody all the same.
            apart = candidate if verdict is Verdict.DIFFERENT else None
            whole = item.reason == ASKED
            return changes.apart(record, apart, actor=actor, reason=reason, detail=said, whole=whole)


def _adopt(item: ReviewItem, person: UUID, *, actor: str, reason: str, detail: dict[str, Any]) -> UUID:
    """Make the revision kept aside the record's current version, unless a later one has become so meanwhile."""
    changes.lock_persons([person])
    kept = item.version
    if kept is None:
        raise UnknownReview
    record = SourceRecord.objects.select_for_update().get(pk=item.source_record_id)
    event = IdentityEvent.objects.create(
        kind=IdentityEvent.Kind.REVISED,
        person_id=person,
        source_record=record,
        actor=actor,
        reason=reason,
        detail={**detail, "version": kept.version, "adopted": kept.pk},
    )
    standing.settle_record(record.pk, event.at)
    store.refresh_golden([person])
    return event.id
