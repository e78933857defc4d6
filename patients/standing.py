"""What stands of the changes of identity: links, redirects, verdicts, review items, status (spec/mpi.md section 2).

A change leaves an `IdentityEvent`; undoing it leaves another that names it, and undoing that one brings the change
back. An event *stands* while nothing that stands undoes it. What the index holds is a function of what feeds said and
of the changes that stand, so the order in which changes are undone is free, and nothing is patched:

* a record's **seat** is where the last of its own moves that stands put it, else where its first feed put it;
* its **link** is the seat's, or that of the last merge on the way from the seat's person along merges that stand;
* a person without records is a redirect to where a merge sent them, else to the person of the record it was made for;
* of a pair's verdicts, an item's closures and a record's replacements the last that stands counts.

The functions here bring rows to that state. The caller holds the index (`store.lock_index`) and the persons.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Max, Q

from patients import store
from patients.demographics import from_json
from patients.errors import UnknownIdentityEvent
from patients.models import (
    IdentityEvent,
    Link,
    MatchDecision,
    Person,
    ReviewClosure,
    ReviewItem,
    SourceRecord,
    SourceRecordVersion,
    ValueByHand,
)
from patients.normalise import Features

Kind = IdentityEvent.Kind
_CHANGES = IdentityEvent.objects.filter(undoes__isnull=True)
_STRUCK = """
WITH RECURSIVE chain(start, seq, depth) AS (
  SELECT s, s, 0 FROM unnest(%s::bigint[]) AS s
  UNION ALL SELECT c.start, e.seq, c.depth + 1 FROM chain c JOIN patients_identityevent e ON e.undoes_id = c.seq)
SELECT start FROM chain GROUP BY start HAVING max(depth) %% 2 = 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A link as the changes that stand make it; `event_id` is the sequence number of the change, None: a first feed."""

    person_id: UUID
    kind: str
    model_version: str
    score: float | None
    weights: Mapping[str, float]
    reason: str
    valid_from: datetime
    event_id: int | None


def held(link: Link) -> Held:
    return Held(
        person_id=link.person_id,
        kind=link.kind,
        model_version=link.model_version,
        score=link.score,
        weights=link.weights,
        reason=link.reason,
        valid_from=link.valid_from,
        event_id=link.event_id,
    )


def current_links(**where: Any) -> list[Link]:
    """Links that hold now, by record. 1 query."""
    rows = Link.objects.filter(valid_to__isnull=True, **where).exclude(kind=Link.Kind.REJECTED)
    return list(rows.order_by("source_record_id"))


def records_of(person_id: UUID) -> list[int]:
    """Every record of a person now, in order. 1 query."""
    rows = Link.objects.filter(person=person_id, valid_to__isnull=True).exclude(kind=Link.Kind.REJECTED)
    return list(rows.order_by("source_record_id").values_list("source_record_id", flat=True))


def chain(event_id: UUID | str) -> tuple[list[IdentityEvent], int]:
    """The change an event belongs to, with all that undid it and brought it back, in order; and the event's place.

    Raises:
        UnknownIdentityEvent: no such event.
    """
    try:
        wanted = event_id if isinstance(event_id, UUID) else UUID(event_id)
    except ValueError as error:
        raise UnknownIdentityEvent from error
    asked = IdentityEvent.objects.filter(id=wanted).first()
    if asked is None:
        raise UnknownIdentityEvent
    events = [asked]
    while (former := events[0].undoes) is not None:
        events.insert(0, former)
    place = len(events) - 1
    while (later := IdentityEvent.objects.filter(undoes=events[-1]).first()) is not None:
        events.append(later)
    return events, place


def struck(seqs: Iterable[int | None], *, flipped: Collection[int] = ()) -> set[int]:
    """Of these events, those that do not stand; `flipped`: as if these were undone, or brought back. 1 query."""
    wanted = sorted({seq for seq in seqs if seq is not None})
    if not wanted:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(_STRUCK, [wanted])
        found = {row[0] for row in cursor.fetchall()}
    return found ^ (set(wanted) & set(flipped))


# --- links -----------------------------------------------------------------------------------------------------------


def merges_from(persons: Iterable[UUID], *, flipped: Collection[int] = ()) -> dict[UUID, IdentityEvent]:
    """The merges that stand, by the person merged away, on the way from these persons. 2 queries a step."""
    found: dict[UUID, IdentityEvent] = {}
    wave, seen = set(persons), set[UUID]()
    while wave:
        seen |= wave
        rows = list(_CHANGES.filter(kind=Kind.MERGED, other_person__in=wave).order_by("seq"))
        gone = struck((row.seq for row in rows), flipped=flipped)
        standing = {row.other_person_id: row for row in rows if row.seq not in gone and row.other_person_id}
        found |= standing
        wave = {row.person_id for row in standing.values()} - seen
    return found


def ever_in(person_id: UUID) -> set[int]:
    """Records that ever were linked to this person, or to one that was ever merged into it."""
    wave, persons = {person_id}, {person_id}
    while wave:
        rows = _CHANGES.filter(kind=Kind.MERGED, person__in=wave).values_list("other_person_id", flat=True)
        wave = {one for one in rows if one is not None} - persons
        persons |= wave
    links = Link.objects.filter(person__in=persons).exclude(kind=Link.Kind.REJECTED)
    return set(links.values_list("source_record_id", flat=True))


def links_of(records: Collection[int], *, flipped: Collection[int] = ()) -> dict[int, Held]:
    """The link of each record as the changes that stand make it, whatever the rows say now."""
    rows = list(
        Link.objects.filter(source_record__in=records, restored_at__isnull=True)
        .exclude(kind=Link.Kind.REJECTED)
        .exclude(event__kind=Kind.MERGED)
        .order_by("pk")
    )
    gone = struck((row.event_id for row in rows), flipped=flipped)
    seats = {row.source_record_id: held(row) for row in rows if row.event_id not in gone}
    merges = merges_from({seat.person_id for seat in seats.values()}, flipped=flipped)
    return {record: _followed(seat, merges) for record, seat in sorted(seats.items())}


def _followed(seat: Held, merges: Mapping[UUID, IdentityEvent]) -> Held:
    passed: set[UUID] = set()
    while seat.person_id in merges and seat.person_id not in passed:
        passed.add(seat.person_id)
        seat = merged(merges[seat.person_id], at_least=seat.valid_from)
    return seat


def merged(event: IdentityEvent, *, at_least: datetime | None = None) -> Held:
    """The link that a merge gives to every record of the person it merged away."""
    return Held(
        person_id=event.person_id,
        kind=Link.Kind.AUTO if event.detail.get("automatic") else Link.Kind.MANUAL,
        model_version="",
        score=None,
        weights={},
        reason=event.reason or "persons merged",
        valid_from=max(event.at, at_least) if at_least else event.at,
        event_id=event.seq,
    )


def put(links: Mapping[int, Held], now: datetime, *, restored: bool = False) -> None:
    """Close the links these records have and open the given ones. 2 statements."""
    rows = Link.objects.filter(source_record__in=list(links), valid_to__isnull=True).exclude(kind=Link.Kind.REJECTED)
    rows.update(valid_to=now)
    Link.objects.bulk_create(
        [
            Link(
                source_record_id=record,
                person_id=link.person_id,
                kind=link.kind,
                model_version=link.model_version,
                score=link.score,
                weights=dict(link.weights),
                reason=link.reason,
                valid_from=link.valid_from,
                restored_at=now if restored else None,
                event_id=link.event_id,
            )
            for record, link in sorted(links.items())
        ]
    )


def settle_rejected(root: IdentityEvent, now: datetime) -> None:
    """The rejected links of an unlink or split: open while it stands."""
    rows = Link.objects.filter(source_record__in=root.detail["moved"], event=root, kind=Link.Kind.REJECTED)
    if struck([root.seq]):
        rows.filter(valid_to__isnull=True).update(valid_to=now)
        return
    last = {row.source_record_id: row for row in rows.order_by("pk")}
    Link.objects.bulk_create(
        [
            Link(
                source_record_id=record,
                person_id=row.person_id,
                kind=row.kind,
                reason=row.reason,
                valid_from=row.valid_from,
                restored_at=now,
                event=root,
            )
            for record, row in sorted(last.items())
            if row.valid_to is not None
        ]
    )


_FOUNDERS = """
SELECT f.person_id, l.person_id
  FROM (SELECT DISTINCT ON (person_id) person_id, source_record_id FROM patients_link
         WHERE person_id = ANY(%s) AND kind <> 'rejected' ORDER BY person_id, id) f
  JOIN patients_link l ON l.source_record_id = f.source_record_id AND l.valid_to IS NULL AND l.kind <> 'rejected'
"""


def settle_persons(records: Collection[int], persons: Collection[UUID], now: datetime) -> None:
    """Redirects of these persons, and of those who once had one of these records, which have just moved.

    A person with records is none. One without leads where a merge that stands sends it, else to the person whom the
    record now belongs to that the person was made for. 5 statements, and one a redirect that changes.
    """
    links = Link.objects.filter(source_record__in=records).exclude(kind=Link.Kind.REJECTED)
    concerned = {*persons, *links.values_list("person_id", flat=True).distinct()}
    rows = list(_CHANGES.filter(other_person__in=concerned, kind=Kind.MERGED).order_by("seq"))
    gone = struck(row.seq for row in rows)
    into = {row.other_person_id: row.person_id for row in rows if row.seq not in gone}
    held = Link.objects.filter(person__in=concerned, valid_to__isnull=True).exclude(kind=Link.Kind.REJECTED)
    inhabited = set(held.values_list("person_id", flat=True))
    left = [person for person in concerned if person not in into and person not in inhabited]
    if left:
        with connection.cursor() as cursor:
            cursor.execute(_FOUNDERS, [left])
            into |= dict(cursor.fetchall())
    for person in Person.objects.filter(pk__in=concerned).order_by("pk"):
        if into.get(person.pk) != person.merged_into_id:
            Person.objects.filter(pk=person.pk).update(merged_into=into.get(person.pk), updated_at=now)


# --- verdicts and review items ---------------------------------------------------------------------------------------


def settle_verdicts(events: Collection[int], now: datetime) -> None:
    """Of each pair that these events gave a verdict on, the last verdict that stands holds, the others are withdrawn."""
    touched = list(MatchDecision.objects.filter(event__in=events).values_list("record_a_id", "record_b_id"))
    if not touched:
        return
    pairs = set(touched)
    rows = [
        row
        for row in MatchDecision.objects.filter(
            record_a__in={a for a, _ in pairs}, record_b__in={b for _, b in pairs}
        ).order_by("pk")
        if (row.record_a_id, row.record_b_id) in pairs
    ]
    gone = struck(row.event_id for row in rows)
    holds = {(row.record_a_id, row.record_b_id): row.pk for row in rows if row.event_id not in gone}
    kept = set(holds.values())
    ended = [row.pk for row in rows if row.pk not in kept and row.withdrawn_at is None]
    MatchDecision.objects.filter(pk__in=ended).update(withdrawn_at=now)
    MatchDecision.objects.filter(pk__in=kept, withdrawn_at__isnull=False).update(withdrawn_at=None)


def settle_items(events: Sequence[IdentityEvent], actor: str, now: datetime) -> None:
    """Review items that these events opened or closed: closed while a closure stands, gone while the opener does not."""
    closed = ReviewClosure.objects.filter(event__in=events).values_list("item_id", flat=True)
    opened = {event.detail["review"] for event in events if "review" in event.detail}
    for item in ReviewItem.objects.select_for_update().filter(pk__in={*closed, *opened}).order_by("pk"):
        closures = list(ReviewClosure.objects.filter(item=item).order_by("event_id"))
        gone = struck([item.event_id, *(one.event_id for one in closures)])
        standing = [one for one in closures if one.event_id not in gone]
        if item.event_id in gone:
            _said(item, ReviewItem.Status.DECIDED, "undone", actor, now)
        elif standing:
            last = standing[-1]
            if item.status != ReviewItem.Status.DECIDED:
                # Closed again: it may have been put off since it was first closed.
                ReviewClosure.objects.filter(item=item).update(was=item.status)
            _said(item, ReviewItem.Status.DECIDED, last.decision, last.decided_by, last.decided_at)
        elif item.status == ReviewItem.Status.DECIDED:
            was = closures[-1].was if closures else ReviewItem.Status.OPEN
            if _asked_again(item):
                _said(item, ReviewItem.Status.DECIDED, "undone", actor, now)
            else:
                _said(item, was, "", "", None)


def _asked_again(item: ReviewItem) -> bool:
    """Whether another item for the same question waits meanwhile: one is enough."""
    same = ReviewItem.objects.filter(kind=item.kind, source_record=item.source_record_id, candidate=item.candidate_id)
    asked = item.kind == ReviewItem.Kind.POSSIBLE_MATCH and item.candidate_id is not None
    waits = same.filter(status__in=[ReviewItem.Status.OPEN, ReviewItem.Status.DEFERRED])
    return asked and waits.exclude(pk=item.pk).exists()


def _said(item: ReviewItem, status: str, decision: str, by: str, at: datetime | None) -> None:
    item.status, item.decision, item.decided_by, item.decided_at = status, decision, by, at
    item.save(update_fields=["status", "decision", "decided_by", "decided_at"])


def close(items: Iterable[ReviewItem], decision: str, event: IdentityEvent) -> None:
    """Close review items as answered by this event; `settle_items` opens them again when it is undone.

    Where the machine merged, nobody is named as who decided.
    """
    by = "" if event.detail.get("automatic") else event.actor
    for item in items:
        ReviewClosure.objects.create(
            item=item, event=event, was=item.status, decision=decision, decided_by=by, decided_at=event.at
        )
        _said(item, ReviewItem.Status.DECIDED, decision, by, event.at)


# --- values set by hand ----------------------------------------------------------------------------------------------


def settle_values(events: Collection[int]) -> None:
    """Of each anchor and field that these events set by hand, the last that stands holds; a withdrawal holds nothing."""
    touched = set(ValueByHand.objects.filter(event__in=events).values_list("source_record_id", "field"))
    if not touched:
        return
    rows = [
        row
        for row in ValueByHand.objects.filter(source_record__in={anchor for anchor, _ in touched}).order_by("pk")
        if (row.source_record_id, row.field) in touched
    ]
    gone = struck(row.event_id for row in rows)
    last = {(row.source_record_id, row.field): row for row in rows if row.event_id not in gone}
    holds = {row.pk for row in last.values() if row.value is not None}
    ValueByHand.objects.filter(pk__in=[row.pk for row in rows if row.holds and row.pk not in holds]).update(holds=False)
    ValueByHand.objects.filter(pk__in=holds).update(holds=True)


# --- records ---------------------------------------------------------------------------------------------------------


def settle_record(record_id: int, now: datetime) -> None:
    """A record's status and current version, with its keys and terms, as the changes that stand make them."""
    record = SourceRecord.objects.select_for_update().get(pk=record_id)
    said = list(_CHANGES.filter(source_record=record_id, kind__in=[Kind.REPLACED, Kind.REMOVED, Kind.REVISED]))
    gone = struck(event.seq for event in said)
    status, by = SourceRecord.Status.ACTIVE, None
    adopted: set[int] = set()
    for event in said:
        if event.seq in gone:
            continue
        if event.kind == Kind.REPLACED:
            status, by = SourceRecord.Status.REPLACED, event.detail["by"]
        elif event.kind == Kind.REMOVED:
            status, by = SourceRecord.Status.REMOVED, None
        elif "adopted" not in event.detail and status == SourceRecord.Status.REMOVED:
            status = SourceRecord.Status.ACTIVE  # fed again; a steward's verdict takes no withdrawal back
        if "adopted" in event.detail:
            adopted.add(event.detail["adopted"])
    versions = SourceRecordVersion.objects.filter(source_record=record_id).filter(
        Q(quarantined=False) | Q(pk__in=adopted)
    )
    number = versions.aggregate(n=Max("version"))["n"]
    version = versions.filter(version=number).first() if number is not None else None
    was = (record.status, record.replaced_by_id, record.current_version_id)
    if was == (status, by, version.pk if version else None):
        return
    SourceRecord.objects.filter(pk=record_id).update(
        status=status, replaced_by=by, current_version=version, updated_at=now
    )
    if status != SourceRecord.Status.ACTIVE:
        store.drop_index(record_id)
    elif version is not None:
        store.write_keys(record_id, Features.from_json(version.normalised))
        store.write_terms(record_id, from_json(version.raw))
