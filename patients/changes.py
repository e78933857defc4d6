"""Changes of identity that somebody asks for, and their exact undoing (spec/mpi.md section 2).

A change never deletes: links are closed and opened, a merged person becomes a redirect, verdicts are withdrawn. Its
event is what can be undone, and the undoing can be undone; `patients.standing` says what the index holds then.

What a human decided binds the machine; undoing a human's decision withdraws it. So whoever takes apart what the
machine had joined (unlink, split, or the undoing of an automatic merge) leaves a sticky ``different``, and whoever
undoes a human's change leaves the index as if it had not been asked for.

Each change runs in a transaction of its own or in the caller's, and holds the index (`store.lock_index`): changes wait for
one another and for the feeds under way. Then persons are locked in ascending order of id, then records, then
review items.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from patients import standing, store
from patients.demographics import ResolvedIdentifier
from patients.errors import AlreadyUndone, InvalidMerge, UnknownIdentityEvent, UnknownPatient
from patients.identifiers import HUB, survivors_of
from patients.models import IdentityEvent, Link, MatchDecision, Person, ReviewItem, SourceRecord
from patients.standing import Held, current_links

Kind = IdentityEvent.Kind
Verdict = MatchDecision.Verdict
WAITS = (ReviewItem.Status.OPEN, ReviewItem.Status.DEFERRED)

_UNDOING = {
    Kind.MERGED: Kind.UNMERGED,
    Kind.LINKED: Kind.UNLINKED,
    Kind.UNLINKED: Kind.LINKED,
    Kind.SPLIT: Kind.LINKED,
    Kind.REPLACED: Kind.SPLIT,
    Kind.REVISED: Kind.REVISED,
    Kind.DECIDED: Kind.DECIDED,
}
"""How the event is called that undoes one of a kind."""


def lock_persons(ids: Iterable[UUID]) -> dict[UUID, Person]:
    """These persons, locked in ascending order.

    Raises:
        UnknownPatient: one of them is not known.
    """
    wanted = sorted(set(ids))
    found = {person.id: person for person in Person.objects.select_for_update().filter(pk__in=wanted).order_by("pk")}
    if len(found) != len(wanted):
        raise UnknownPatient
    return found


def link_of(source_record_id: int) -> Link:
    """The link that holds now.

    Raises:
        UnknownPatient: no such record.
    """
    links = current_links(source_record=source_record_id)
    if not links:
        raise UnknownPatient
    return links[0]


def active_records(person_id: UUID) -> list[int]:
    """Records with demographics that are active: those a verdict speaks of."""
    return list(
        SourceRecord.objects.filter(
            links__person=person_id, links__valid_to__isnull=True, status="active", current_version__isnull=False
        )
        .exclude(links__kind=Link.Kind.REJECTED, links__person=person_id)
        .order_by("pk")
        .values_list("pk", flat=True)
        .distinct()
    )


def _pairs(some: Iterable[int], others: Iterable[int]) -> list[tuple[int, int]]:
    second = list(others)
    return sorted({(min(a, b), max(a, b)) for a in some for b in second if a != b})


def _decide(pairs: Collection[tuple[int, int]], verdict: str, event: IdentityEvent) -> None:
    """One verdict on each pair; what was said of it before is withdrawn while this stands."""
    if not pairs:
        return
    a, b = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
    said = MatchDecision.objects.filter(record_a__in=a, record_b__in=b, withdrawn_at__isnull=True)
    wanted = set(pairs)
    former = [row.pk for row in said if (row.record_a_id, row.record_b_id) in wanted]
    MatchDecision.objects.filter(pk__in=former).update(withdrawn_at=event.at)
    MatchDecision.objects.bulk_create(
        [
            MatchDecision(
                record_a_id=one,
                record_b_id=other,
                verdict=verdict,
                reviewer=event.actor,
                reason=event.reason,
                decided_at=event.at,
                event=event,
            )
            for one, other in sorted(wanted)
        ]
    )


def _said_different(some: Collection[int], others: Collection[int]) -> list[tuple[int, int]]:
    rows = MatchDecision.objects.filter(verdict=Verdict.DIFFERENT, withdrawn_at__isnull=True).filter(
        Q(record_a__in=some, record_b__in=others) | Q(record_a__in=others, record_b__in=some)
    )
    return list(rows.order_by("pk").values_list("record_a_id", "record_b_id"))


def _by_hand(record: Link, person_id: UUID, reason: str, event: IdentityEvent) -> dict[int, Held]:
    link = Held(
        person_id=person_id,
        kind=Link.Kind.MANUAL,
        model_version="",
        score=None,
        weights={},
        reason=reason,
        valid_from=event.at,
        event_id=event.seq,
    )
    return {record.source_record_id: link}


def _close_answered(person_id: UUID, event: IdentityEvent) -> None:
    """Close the items whose two sides are this one person now: nothing is left to decide."""
    waiting = list(
        ReviewItem.objects.select_for_update()
        .filter(status__in=WAITS, candidate__isnull=False, source_record__in=standing.records_of(person_id))
        # Whether records belong elsewhere is not answered by one of them being there.
        .exclude(kind=ReviewItem.Kind.PARTING)
        .order_by("pk")
    )
    if not waiting:
        return
    now = survivors_of({item.candidate_id for item in waiting if item.candidate_id})
    answered = [item for item in waiting if item.candidate_id and now.get(item.candidate_id) == person_id]
    standing.close(answered, "same", event)


def merge(survivor: UUID, subsumed: UUID, *, actor: str, reason: str = "", automatic: bool = False) -> UUID:
    """Put two persons together: every record of `subsumed` is linked to `survivor`; `subsumed` becomes a redirect.

    A standing ``different`` between their records is withdrawn, and review items that ask whether they are one are closed.
    Returns the id of the event, by which `unmerge` undoes it. What hangs on identifiers moves nowhere. `automatic`: the
    machine does it, in a feed that holds the locks it needs.

    Raises:
        UnknownPatient: one of them is not known.
        InvalidMerge: they are one already, or one was merged away.
    """
    with transaction.atomic():
        if not automatic:
            store.lock_index()
        persons = lock_persons([survivor, subsumed])
        if len(persons) < 2 or any(person.merged_into_id is not None for person in persons.values()):
            raise InvalidMerge
        moving = standing.records_of(subsumed)
        different = _said_different(moving, standing.records_of(survivor))
        event = IdentityEvent.objects.create(
            kind=Kind.MERGED,
            person=persons[survivor],
            other_person=persons[subsumed],
            actor=actor,
            reason=reason,
            detail={"moved": moving, "automatic": automatic},
        )
        standing.put(dict.fromkeys(moving, standing.merged(event)), event.at)
        standing.settle_persons(moving, [subsumed], event.at)
        _decide(different, Verdict.OPEN, event)
        _close_answered(survivor, event)
        store.refresh_golden([survivor, subsumed])
    return event.id


def merge_of(person_id: UUID) -> UUID | None:
    """The event of the merge that stands by which this person became part of another; None: it is nobody's part."""
    found = standing.merges_from([person_id]).get(person_id)
    return found.id if found is not None else None


def unmerge(event_id: UUID | str, *, actor: str, reason: str = "") -> UUID:
    """Undo a merge exactly: as `undo`, for merges only.

    Raises:
        UnknownIdentityEvent: no such merge.
        AlreadyUndone: it was undone before.
    """
    events, place = standing.chain(event_id)
    if place != 0 or events[0].kind != Kind.MERGED:
        raise UnknownIdentityEvent
    return undo(event_id, actor=actor, reason=reason)


def link(source_record_id: int, person_id: UUID, *, actor: str, reason: str = "") -> UUID:
    """Link a record to a person by hand: sticky. Returns the id of the event, by which `undo` undoes it.

    The records that it replaced come along: their identifiers, and what hangs on them, are its own. Where the record's former person is left without any record, it becomes a redirect.

    Raises:
        UnknownPatient: record or person is not known.
        InvalidMerge: the record belongs to this person already, or the person was merged away.
    """
    with transaction.atomic():
        store.lock_index()
        current = link_of(source_record_id)
        persons = lock_persons([current.person_id, person_id])
        if len(persons) < 2 or persons[person_id].merged_into_id is not None:
            raise InvalidMerge
        former = persons[current.person_id]
        others = active_records(person_id)
        links = current_links(person_id=former.id)
        moved = _with_replaced({source_record_id}, links)
        event = IdentityEvent.objects.create(
            kind=Kind.LINKED,
            person_id=person_id,
            other_person=former,
            source_record_id=source_record_id,
            actor=actor,
            reason=reason,
            detail={"moved": sorted(moved)},
        )
        for item in links:
            if item.source_record_id in moved:
                standing.put(_by_hand(item, person_id, reason or "linked by hand", event), event.at)
        standing.settle_persons(moved, [], event.at)
        _decide(_pairs([source_record_id], others), Verdict.SAME, event)
        _close_answered(person_id, event)
        store.refresh_golden([person_id, former.id])
    return event.id


def confirm(source_record_id: int, *, actor: str, reason: str, detail: dict[str, Any]) -> UUID:
    """Say that a record belongs where it is linked: sticky. Returns the event, by which `undo` undoes it.

    Raises:
        UnknownPatient: no such record.
    """
    with transaction.atomic():
        store.lock_index()
        current = link_of(source_record_id)
        lock_persons([current.person_id])
        others = active_records(current.person_id)
        event = IdentityEvent.objects.create(
            kind=Kind.DECIDED,
            person_id=current.person_id,
            source_record_id=source_record_id,
            actor=actor,
            reason=reason,
            detail={**detail, "moved": [source_record_id]},
        )
        kept = replace(standing.held(current), kind=Link.Kind.MANUAL, valid_from=event.at, event_id=event.seq)
        standing.put({source_record_id: kept}, event.at)
        _decide(_pairs([source_record_id], others), Verdict.SAME, event)
    return event.id


def apart(
    source_record_id: int,
    candidate: UUID | None,
    *,
    actor: str,
    reason: str,
    detail: dict[str, Any],
    whole: bool = False,
) -> UUID:
    """Say that a record is none of a person's it is not linked to: sticky. Returns the event, by which `undo` undoes it.

    With `whole` it is said of every record of its person. Without a candidate the event only says that a steward looked,
    and what he said.

    Raises:
        UnknownPatient: no such record or person.
    """
    with transaction.atomic():
        store.lock_index()
        current = link_of(source_record_id)
        lock_persons([current.person_id, *([candidate] if candidate else [])])
        event = IdentityEvent.objects.create(
            kind=Kind.DECIDED,
            person_id=current.person_id,
            other_person_id=candidate,
            source_record_id=source_record_id,
            actor=actor,
            reason=reason,
            detail={**detail, "moved": []},
        )
        if candidate is not None and candidate != current.person_id:
            mine = {source_record_id, *(active_records(current.person_id) if whole else ())}
            _decide(_pairs(mine, active_records(candidate)), Verdict.DIFFERENT, event)
    return event.id


def unlink(source_record_id: int, *, actor: str, reason: str = "") -> UUID:
    """Take a record away from its person, with those it replaced: it becomes a person of its own, and stays apart. Sticky.

    Returns the id of the event, by which `undo` undoes it.

    Raises:
        UnknownPatient: no such record.
        InvalidMerge: it is the only record of its person.
    """
    with transaction.atomic():
        store.lock_index()
        current = link_of(source_record_id)
        return _part(Kind.UNLINKED, current.person_id, {source_record_id}, actor=actor, reason=reason)


def split(
    person_id: UUID, source_record_ids: Collection[int], *, actor: str, reason: str = "", into: UUID | None = None
) -> UUID:
    """Take records away from their person, with those they replaced: a new person, or `into`'s, and they stay apart. Sticky.

    Returns the id of the event, by which `undo` undoes it; whose they are then is the event's `other_person`.

    Raises:
        UnknownPatient: no such person.
        InvalidMerge: not all of them are records of this person, nothing would remain, or `into` is this person or was
            merged away.
    """
    with transaction.atomic():
        store.lock_index()
        return _part(Kind.SPLIT, person_id, set(source_record_ids), actor=actor, reason=reason, into=into)


def _part(kind: Kind, person_id: UUID, records: set[int], *, actor: str, reason: str, into: UUID | None = None) -> UUID:
    persons = lock_persons([person_id, *([into] if into else [])])
    former = persons[person_id]
    if into is not None and (into == person_id or persons[into].merged_into_id is not None):
        raise InvalidMerge
    links = current_links(person_id=former.id)
    named, records = records, _with_replaced(records, links)
    leaving = [link for link in links if link.source_record_id in records]
    if not leaving or len(leaving) != len(records) or len(links) == len(leaving):
        raise InvalidMerge
    active = active_records(former.id)
    theirs = active_records(into) if into else []
    person = persons[into] if into else Person.objects.create()
    event = IdentityEvent.objects.create(
        kind=kind,
        person=former,
        other_person=person,
        source_record_id=min(named) if kind == Kind.UNLINKED else None,
        actor=actor,
        reason=reason,
        detail={"moved": sorted(records), **({"into": str(into)} if into else {})},
    )
    why = reason or ("unlinked by hand" if kind == Kind.UNLINKED else "split by hand")
    for current in leaving:
        standing.put(_by_hand(current, person.id, why, event), event.at)
    Link.objects.bulk_create(
        [
            Link(
                source_record_id=current.source_record_id,
                person=former,
                kind=Link.Kind.REJECTED,
                reason=reason,
                valid_from=event.at,
                event=event,
            )
            for current in leaving
        ]
    )
    standing.settle_persons(records, [], event.at)
    spoken = set(active)
    _decide(_pairs(records & spoken, spoken - records), Verdict.DIFFERENT, event)
    if into is not None:
        _decide(_pairs(records & spoken, theirs), Verdict.SAME, event)
        _close_answered(into, event)
    store.refresh_golden([former.id, person.id])
    return event.id


def resolve_duplicate(
    surviving: ResolvedIdentifier, subsumed: ResolvedIdentifier, *, actor: str, reason: str = ""
) -> UUID:
    """An organization says that two of its records are one patient (ITI-104 resolve duplicate, ADT A40).

    The subsumed record is marked replaced, leaves the search, and is linked to the survivor's person, with the
    records that it replaced itself; their identifiers still resolve there. Where other records remain with its
    former person, both persons stay and a review item opens; where none does but the hub's own anchors, those
    come along and the former person becomes a redirect.
    Returns the id of the event, by which `undo` undoes it.

    Raises:
        InvalidMerge: the two are one record, or one is not active.
    """
    with transaction.atomic():
        store.lock_index()
        current = link_of(subsumed.source_record_id)
        target = link_of(surviving.source_record_id).person_id
        persons = lock_persons([current.person_id, target])
        rows = {
            row.pk: row
            for row in SourceRecord.objects.select_for_update()
            .filter(pk__in=[surviving.source_record_id, subsumed.source_record_id])
            .order_by("pk")
        }
        if len(rows) < 2 or any(row.status != "active" for row in rows.values()):
            raise InvalidMerge
        former = persons[current.person_id]
        links: list[Link] = []
        asks = False
        if former.id != target:
            links = current_links(person_id=former.id)
            chain = _replaced_by(current.source_record_id, [item.source_record_id for item in links])
            left = [item.source_record_id for item in links if item.source_record_id not in chain]
            asks = SourceRecord.objects.filter(pk__in=left).exclude(participant_id=HUB).exists()
            links = [item for item in links if item.source_record_id in chain] if asks else links
        now = timezone.now()
        detail: dict[str, Any] = {
            "by": surviving.source_record_id,
            "moved": [item.source_record_id for item in links],
        }
        review = None
        if asks:
            review = ReviewItem.objects.create(
                kind=ReviewItem.Kind.DUPLICATE_RESOLVED,
                source_record_id=surviving.source_record_id,
                person_id=target,
                candidate=former,
                reason="an organization merged two of its records that belonged to different persons",
            )
            detail["review"] = review.pk
        event = IdentityEvent.objects.create(
            kind=Kind.REPLACED,
            person_id=target,
            other_person=former if former.id != target else None,
            source_record_id=subsumed.source_record_id,
            actor=actor,
            reason=reason,
            detail=detail,
            at=now,
        )
        if review is not None:
            ReviewItem.objects.filter(pk=review.pk).update(event=event)
        for item in links:
            standing.put(_by_hand(item, target, "replaced by its organization", event), now)
        standing.settle_persons(detail["moved"], [], now)
        SourceRecord.objects.filter(pk=subsumed.source_record_id).update(
            status="replaced", replaced_by=surviving.source_record_id, updated_at=now
        )
        store.drop_index(subsumed.source_record_id)
        _close_answered(target, event)
        store.refresh_golden({target, former.id})
    return event.id


def replacement_of(source_record_id: int) -> UUID | None:
    """The event that stands by which its organization replaced this record by another; None: it is not replaced."""
    of_record = IdentityEvent.objects.filter(source_record_id=source_record_id)
    if not SourceRecord.objects.filter(pk=source_record_id, status="replaced").exists():
        return None
    last = of_record.filter(kind=Kind.REPLACED).order_by("seq").last()
    return last.id if last is not None else None


def _with_replaced(records: Collection[int], links: Iterable[Link]) -> set[int]:
    """These records and, of those that are linked, the ones they replaced."""
    among = [link.source_record_id for link in links]
    return {one for record in records for one in _replaced_by(record, among)}


def _replaced_by(record_id: int, among: Iterable[int]) -> set[int]:
    """The record and those `among` that it replaced, directly or through others."""
    above = dict(SourceRecord.objects.filter(pk__in=list(among)).values_list("pk", "replaced_by"))
    chain, wave = {record_id}, {record_id}
    while wave:
        wave = {pk for pk, by in above.items() if by in wave and pk not in chain}
        chain |= wave
    return chain


def undo(event_id: UUID | str, *, actor: str, reason: str = "") -> UUID:
    """Undo a change exactly, or bring back what an undo took away. Returns the id of the new event.

    Any merge, link, unlink, split, resolved duplicate and steward's verdict can be undone, in any order: the index
    then holds what the feeds said and the changes that still stand. What somebody moved on since stays where it was put.
    Undoing an automatic merge is a decision of its own: the records it had joined are ``different`` from then on.

    Raises:
        UnknownIdentityEvent: no such event, or not one that can be undone.
        AlreadyUndone: it does not stand.
        InvalidMerge: what is to be brought back contradicts what was done since.
    """
    with transaction.atomic():
        store.lock_index()
        events = _standing_change(event_id)
        root, last = events[0], events[-1]
        again = len(events) % 2 == 0
        records = _moved_by(root)
        flipped = {event.seq for event in events}
        lock_persons(_concerned(root, records))
        if again and root.kind == Kind.MERGED:
            records |= standing.ever_in(_other(root))  # under the lock: an anchor may have come meanwhile
        former = {link.source_record_id: standing.held(link) for link in current_links(source_record__in=records)}
        wanted = standing.links_of(records, flipped=flipped)
        changed = {record: link for record, link in wanted.items() if link != former[record]}
        event = IdentityEvent.objects.create(
            kind=root.kind if again else _UNDOING[Kind(root.kind)],
            person_id=root.person_id,
            other_person_id=root.other_person_id,
            source_record_id=root.source_record_id,
            undoes=last,
            actor=actor,
            reason=reason,
            detail={"moved": sorted(changed)},
        )
        standing.put(changed, event.at, restored=True)
        if root.kind in (Kind.UNLINKED, Kind.SPLIT):
            standing.settle_rejected(root, event.at)
        if root.kind in (Kind.REPLACED, Kind.REVISED) and root.source_record_id is not None:
            standing.settle_record(root.source_record_id, event.at)
        persons = {one for one in (root.person_id, root.other_person_id) if one is not None}
        # The record itself may have gone to somebody else since: what it says now is said of them.
        persons |= {link.person_id for link in current_links(source_record=root.source_record_id)}
        persons |= {former[record].person_id for record in changed} | {link.person_id for link in changed.values()}
        standing.settle_persons(changed, persons, event.at)
        standing.settle_verdicts(flipped, event.at)
        standing.settle_values(flipped)
        standing.settle_items([*events], actor, event.at)
        if root.detail.get("automatic") and len(events) == 1:
            _stay_apart(root, set(changed), event)
        if again:
            for person_id in sorted({link.person_id for link in changed.values()}):
                _close_answered(person_id, event)
        store.refresh_golden(persons)
    return event.id


def moved_by_undoing(event_id: UUID | str) -> dict[int, tuple[UUID, UUID]]:
    """Of each record that undoing this event would move: whose it is now, and whose it would be.

    Raises:
        As `undo`; nothing is changed.
    """
    events = _standing_change(event_id)
    records = _moved_by(events[0])
    now = {one.source_record_id: one.person_id for one in current_links(source_record__in=records)}
    wanted = standing.links_of(records, flipped={event.seq for event in events})
    return {record: (now[record], one.person_id) for record, one in wanted.items() if one.person_id != now.get(record)}


def undoable(event: IdentityEvent) -> bool:
    """Whether events of this kind, made as this one was, can be undone at all. What a feed did is linked or parted anew."""
    known = all(isinstance(record, int) for record in event.detail.get("moved", ()))
    # Before links named their change nothing tells what they were.
    return event.kind in _UNDOING and known and ("moved" in event.detail or "adopted" in event.detail)


def _standing_change(event_id: UUID | str) -> list[IdentityEvent]:
    """The change an event belongs to, with all that undid it and brought it back: refused unless the event stands."""
    events, place = standing.chain(event_id)
    if not undoable(events[0]):
        raise UnknownIdentityEvent
    if (len(events) - 1 - place) % 2:
        raise AlreadyUndone
    if len(events) % 2 == 0:
        _check_again(events[0])
    return events


def _moved_by(root: IdentityEvent) -> set[int]:
    return standing.ever_in(_other(root)) if root.kind == Kind.MERGED else set(root.detail.get("moved", ()))


def _other(root: IdentityEvent) -> UUID:
    if root.other_person_id is None:
        raise UnknownIdentityEvent
    return root.other_person_id


def _concerned(root: IdentityEvent, records: Collection[int]) -> set[UUID]:
    """The persons whom these records ever belonged to, and those they have become."""
    links = Link.objects.filter(source_record__in={*records, root.source_record_id}).exclude(kind=Link.Kind.REJECTED)
    named = {root.person_id, *links.values_list("person_id", flat=True).distinct()}
    named |= {root.other_person_id} if root.other_person_id else set()
    return named | set(survivors_of(named).values())


def _stay_apart(root: IdentityEvent, parted: Collection[int], event: IdentityEvent) -> None:
    """Who undoes what the machine had joined has decided something: it is not to join them again."""
    holder = survivors_of([root.person_id]).get(root.person_id, root.person_id)
    others = set(active_records(holder)) - set(parted)
    spoken = SourceRecord.objects.filter(pk__in=parted, status="active", current_version__isnull=False)
    _decide(_pairs(spoken.values_list("pk", flat=True), others), Verdict.DIFFERENT, event)


def _check_again(root: IdentityEvent) -> None:
    """Refuse to bring back what would make a circle with what was done since."""
    if root.kind == Kind.MERGED:
        way = standing.merges_from([_other(root), root.person_id])
        if _other(root) in way or any(event.person_id == root.other_person_id for event in way.values()):
            raise InvalidMerge
    if root.kind == Kind.REPLACED and root.source_record_id is not None:
        by: int | None = root.detail["by"]
        rows = SourceRecord.objects.filter(status="replaced")
        while by is not None:
            if by == root.source_record_id:
                raise InvalidMerge
            by = rows.filter(pk=by).values_list("replaced_by", flat=True).first()


def remove(identifier: ResolvedIdentifier, *, actor: str, reason: str = "") -> UUID:
    """An organization withdraws its record: it leaves search and matching; what hangs on it stays with the person.

    A later feed of the same identifier brings it back. Removing twice changes nothing and gives the first event.
    """
    with transaction.atomic():
        store.lock_index()
        current = link_of(identifier.source_record_id)
        lock_persons([current.person_id])
        record = SourceRecord.objects.select_for_update().get(pk=identifier.source_record_id)
        if record.status == "removed":
            last = IdentityEvent.objects.filter(source_record=record, kind=Kind.REMOVED).last()
            if last is not None:
                return last.id
        SourceRecord.objects.filter(pk=record.pk).update(status="removed", replaced_by=None, updated_at=timezone.now())
        store.drop_index(record.pk)
        event = IdentityEvent.objects.create(
            kind=Kind.REMOVED, person_id=current.person_id, source_record=record, actor=actor, reason=reason
        )
        store.refresh_golden([current.person_id])
    return event.id
