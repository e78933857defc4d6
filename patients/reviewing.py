"""Settling what waits for a steward: one review item, one verdict, undone like any other change of identity.

What *same* and *different* mean depends on the item:

| kind | same | different |
|---|---|---|
| possible-match, duplicate-resolved | the two persons are merged | their records stay apart for good |
| doubtful-link | the record stays with its person for good | it becomes a person of its own |
| overlay | the revision kept aside becomes the current version | the former version stays |

*Link*, for the first kind, moves the item's record alone to the other person; its person keeps the others.

Source: spec/mpi.md sections 3 (Overlay, Race) and 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from patients import changes, store
from patients.demographics import Demographics, from_json
from patients.errors import ReviewClosed, UnknownReview
from patients.identifiers import survivor as survivor_of
from patients.models import IdentityEvent, Link, Person, ReviewItem, SourceRecord, SourceRecordVersion
from patients.normalise import Features

_WAITS = (ReviewItem.Status.OPEN, ReviewItem.Status.DEFERRED)


class Verdict(StrEnum):
    """What a steward says of a review item."""

    SAME = "same"
    LINK = "link"
    DIFFERENT = "different"
    DEFER = "defer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of an item: the persons concerned, and the event by which `linking.undo` undoes it, if one was made."""

    kind: str
    verdict: Verdict
    persons: tuple[UUID, ...]
    event_id: UUID | None = None
    event_kind: str = ""


def settle(item_id: int, verdict: Verdict, *, actor: str, reason: str) -> Settled:
    """Decide one item that waits, once; in a transaction of its own or the caller's.

    A verdict of *same* or *different* also closes every other item it answers: those between persons that are one now.

    Raises:
        UnknownReview: no such item. ReviewClosed: it was decided before.
        InvalidMerge: the persons were changed meanwhile so that the verdict cannot be carried out.
    """
    with transaction.atomic():
        item = ReviewItem.objects.select_for_update().filter(pk=item_id).first()
        if item is None:
            raise UnknownReview
        if item.status not in _WAITS:
            raise ReviewClosed
        # The record may have moved since the item opened: it is its person of today that is meant.
        person = changes.link_of(item.source_record_id).person_id
        candidate = survivor_of(item.candidate_id) if item.candidate_id else None
        event_id = None
        if verdict is not Verdict.DEFER:
            event_id = _carry_out(item, verdict, person, candidate, actor=actor, reason=reason)
        _close(item, verdict, actor)
        event = IdentityEvent.objects.filter(id=event_id).first() if event_id else None
        if event is not None and event.kind == IdentityEvent.Kind.MERGED:
            _close_answered(event.person_id, item, actor)
    concerned = {person, *([candidate] if candidate else []), *([event.person_id] if event else [])}
    return Settled(
        kind=item.kind,
        verdict=verdict,
        persons=tuple(sorted(concerned)),
        event_id=event_id,
        event_kind=event.kind if event else "",
    )


def revision_of(item: ReviewItem) -> Demographics | None:
    """What the revision kept aside says, for an overlay; None for other items. 1 query."""
    version = SourceRecordVersion.objects.filter(pk=item.version_id).first() if item.version_id else None
    return from_json(version.raw) if version is not None else None


def _carry_out(
    item: ReviewItem, verdict: Verdict, person: UUID, candidate: UUID | None, *, actor: str, reason: str
) -> UUID | None:
    same = verdict is Verdict.SAME
    record: int = item.source_record_id
    match item.kind:
        case ReviewItem.Kind.OVERLAY:
            return _adopt(item, person, actor=actor, reason=reason) if same else None
        case ReviewItem.Kind.DOUBTFUL_LINK:
            if not same:
                return changes.unlink(record, actor=actor, reason=reason)
            changes.lock_persons([person])
            changes.decide(record, changes.active_records(person), "same", actor=actor, reason=reason)
            Link.objects.filter(source_record=record, valid_to__isnull=True).exclude(kind=Link.Kind.REJECTED).update(
                kind=Link.Kind.MANUAL
            )
            return None
        case _:
            if candidate is None or candidate == person:
                return None
            if verdict is Verdict.LINK:
                return changes.link(record, candidate, actor=actor, reason=reason)
            if same:
                older, newer = Person.objects.filter(pk__in=[person, candidate]).order_by("created_at", "pk")
                return changes.merge(older.pk, newer.pk, actor=actor, reason=reason)
            changes.lock_persons([person, candidate])
            changes.decide(record, changes.active_records(candidate), "different", actor=actor, reason=reason)
            return None


def _adopt(item: ReviewItem, person: UUID, *, actor: str, reason: str) -> UUID:
    """Make the revision kept aside the record's current version, unless a later one has become so meanwhile."""
    changes.lock_persons([person])
    record = SourceRecord.objects.select_for_update().get(pk=item.source_record_id)
    kept, current = item.version, record.current_version
    if kept is None:
        raise UnknownReview
    number = current.version if current is not None else 0
    if number < kept.version:
        # Versions are written once: what was kept aside comes in as a new one.
        last = SourceRecordVersion.objects.filter(source_record=record).aggregate(n=Max("version"))["n"]
        number = last + 1
        version = SourceRecordVersion.objects.create(
            source_record=record,
            version=number,
            raw=kept.raw,
            normalised=kept.normalised,
            digest=bytes(kept.digest),
            source=kept.source,
            actor=actor,
        )
        SourceRecord.objects.filter(pk=record.pk).update(current_version=version, updated_at=timezone.now())
        if record.status == "active":
            store.write_keys(record.pk, Features.from_json(kept.normalised))
            store.write_terms(record.pk, from_json(kept.raw))
    event = IdentityEvent.objects.create(
        kind=IdentityEvent.Kind.REVISED,
        person_id=person,
        source_record=record,
        actor=actor,
        reason=reason,
        detail={"version": number, "review": item.pk},
    )
    store.refresh_golden([person])
    return event.id


def _close(item: ReviewItem, verdict: Verdict, actor: str) -> None:
    if verdict is Verdict.DEFER:
        item.status, item.claimed_by = ReviewItem.Status.DEFERRED, actor
    else:
        item.status, item.decision = ReviewItem.Status.DECIDED, verdict.value
        item.decided_by, item.decided_at = actor, timezone.now()
    item.save(update_fields=["status", "claimed_by", "decision", "decided_by", "decided_at"])


def _close_answered(person: UUID, item: ReviewItem, actor: str) -> None:
    """Close the other items whose two sides are one person now: nothing is left to decide."""
    waiting = ReviewItem.objects.filter(status__in=_WAITS, candidate__isnull=False).exclude(pk=item.pk)
    mine = Link.objects.filter(person=person, valid_to__isnull=True).exclude(kind=Link.Kind.REJECTED)
    for other in waiting.filter(source_record__in=mine.values("source_record")):
        if other.candidate_id and survivor_of(other.candidate_id) == person:
            _close(other, Verdict.SAME, actor)
