"""Changes of identity that somebody asks for, and their exact undoing (spec/mpi.md section 2).

A change never deletes: links are closed and opened, a merged person becomes a redirect, and the event
holds what its undoing needs. Undoing puts back exactly what the change moved and keeps what happened to
those records in between. Each runs in a transaction of its own or in the caller's. Persons are locked in
ascending order of id.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from patients import store
from patients.demographics import ResolvedIdentifier, from_json
from patients.errors import AlreadyUndone, InvalidMerge, UnknownIdentityEvent, UnknownPatient
from patients.identifiers import HUB
from patients.identifiers import survivor as survivor_of
from patients.models import IdentityEvent, Link, MatchDecision, Person, ReviewItem, SourceRecord
from patients.normalise import Features

Kind = IdentityEvent.Kind


def lock_persons(ids: Iterable[UUID]) -> dict[UUID, Person]:
    wanted = sorted(set(ids))
    found = {person.id: person for person in Person.objects.select_for_update().filter(pk__in=wanted).order_by("pk")}
    if len(found) != len(wanted):
        raise UnknownPatient
    return found


def _current_links(**where: Any) -> list[Link]:
    return list(
        Link.objects.filter(valid_to__isnull=True, **where)
        .exclude(kind=Link.Kind.REJECTED)
        .order_by("source_record_id")
    )


def _as_was(link: Link) -> dict[str, Any]:
    return {
        "record": link.source_record_id,
        "kind": link.kind,
        "model_version": link.model_version,
        "score": link.score,
        "weights": link.weights,
        "reason": link.reason,
    }


def _move(links: list[Link], person: Person, *, kind: str, reason: str) -> list[dict[str, Any]]:
    """Close these links and open new ones to the person; gives what they were."""
    now = timezone.now()
    was = [_as_was(link) for link in links]
    Link.objects.filter(pk__in=[link.pk for link in links]).update(valid_to=now)
    Link.objects.bulk_create(
        [Link(source_record_id=item["record"], person=person, kind=kind, reason=reason, valid_from=now) for item in was]
    )
    return was


def _restore(was: list[dict[str, Any]], person: Person) -> None:
    now = timezone.now()
    Link.objects.filter(source_record_id__in=[item["record"] for item in was], valid_to__isnull=True).exclude(
        kind=Link.Kind.REJECTED
    ).update(valid_to=now)
    Link.objects.bulk_create(
        [
            Link(
                source_record_id=item["record"],
                person=person,
                kind=item["kind"],
                model_version=item["model_version"],
                score=item["score"],
                weights=item["weights"],
                reason=item["reason"],
                valid_from=now,
            )
            for item in was
        ]
    )


def _redirect(person: Person, into: Person | None) -> None:
    person.merged_into = into
    Person.objects.filter(pk=person.pk).update(merged_into=into, updated_at=timezone.now())


def _between(first: Iterable[int], second: Iterable[int]) -> Q:
    one, other = list(first), list(second)
    return Q(record_a__in=one, record_b__in=other) | Q(record_a__in=other, record_b__in=one)


def _withdraw(first: Iterable[int], second: Iterable[int]) -> list[int]:
    """Withdraw the standing verdicts between two sets of records; gives their ids."""
    rows = MatchDecision.objects.filter(_between(first, second), withdrawn_at__isnull=True)
    ids = list(rows.order_by("pk").values_list("pk", flat=True))
    MatchDecision.objects.filter(pk__in=ids).update(withdrawn_at=timezone.now())
    return ids


def decide(record: int, others: Iterable[int], verdict: str, *, actor: str, reason: str) -> dict[str, list[int]]:
    others = [other for other in others if other != record]
    withdrawn = _withdraw([record], others)
    made = MatchDecision.objects.bulk_create(
        [
            MatchDecision(
                record_a_id=min(record, other),
                record_b_id=max(record, other),
                verdict=verdict,
                reviewer=actor,
                reason=reason,
            )
            for other in others
        ]
    )
    return {"decisions": [row.pk for row in made], "withdrawn": withdrawn}


def _undecide(detail: dict[str, Any]) -> None:
    MatchDecision.objects.filter(pk__in=detail.get("decisions", [])).update(withdrawn_at=timezone.now())
    for row in MatchDecision.objects.filter(pk__in=detail.get("withdrawn", [])):
        standing = MatchDecision.objects.filter(
            record_a=row.record_a_id, record_b=row.record_b_id, withdrawn_at__isnull=True
        )
        if not standing.exists():  # a newer verdict on the pair stands
            MatchDecision.objects.filter(pk=row.pk).update(withdrawn_at=None)


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


def merge(survivor: UUID, subsumed: UUID, *, actor: str, reason: str = "", automatic: bool = False) -> UUID:
    """Put two persons together: every record of `subsumed` is linked to `survivor`; `subsumed` becomes a redirect.

    Returns the id of the event, by which `unmerge` undoes it. What hangs on identifiers moves nowhere.

    Raises:
        UnknownPatient: one of them is not known.
        InvalidMerge: they are one already, or one was merged away.
    """
    with transaction.atomic():
        persons = lock_persons([survivor, subsumed])
        if len(persons) < 2 or any(person.merged_into_id is not None for person in persons.values()):
            raise InvalidMerge
        links = _current_links(person_id=subsumed)
        withdrawn = _withdraw(
            [link.source_record_id for link in links],
            [link.source_record_id for link in _current_links(person_id=survivor)],
        )
        kind = Link.Kind.AUTO if automatic else Link.Kind.MANUAL
        moved = _move(links, persons[survivor], kind=kind, reason=reason or "persons merged")
        _redirect(persons[subsumed], persons[survivor])
        event = IdentityEvent.objects.create(
            kind=Kind.MERGED,
            person=persons[survivor],
            other_person=persons[subsumed],
            actor=actor,
            reason=reason,
            detail={"moved": moved, "withdrawn": withdrawn},
        )
        store.refresh_golden([survivor, subsumed])
    return event.id


def _event(event_id: UUID | str, kinds: Iterable[str]) -> IdentityEvent:
    event = IdentityEvent.objects.filter(id=event_id, kind__in=list(kinds)).first()
    if event is None:
        raise UnknownIdentityEvent
    if IdentityEvent.objects.filter(undoes=event).exists():
        raise AlreadyUndone
    return event


def _decided_since(records: Iterable[int], event: IdentityEvent) -> set[int]:
    """Records that somebody moved on purpose after this event, and did not move back."""
    rows = IdentityEvent.objects.filter(
        source_record__in=list(records),
        seq__gt=event.seq,
        kind__in=[Kind.LINKED, Kind.UNLINKED, Kind.REPLACED],
        undone_by__isnull=True,
        undoes__isnull=True,
    )
    return {record for record in rows.values_list("source_record_id", flat=True) if record is not None}


def unmerge(event_id: UUID | str, *, actor: str, reason: str = "") -> UUID:
    """Undo a merge exactly: its records go back to the person they came from, with the links they had.

    Records that were linked or unlinked by somebody since stay where they were put, and records that came
    to the survivor since stay with it. Returns the id of the new event.

    Raises:
        UnknownIdentityEvent: no such merge.
        AlreadyUndone: it was undone before.
    """
    with transaction.atomic():
        event = _event(event_id, [Kind.MERGED])
        if event.other_person_id is None:
            raise UnknownIdentityEvent
        holder = survivor_of(event.person_id) or event.person_id
        persons = lock_persons([holder, event.other_person_id])
        _event(event_id, [Kind.MERGED])  # again under the lock: two may undo at once
        loser = persons[event.other_person_id]
        moved = event.detail["moved"]
        here = {link.source_record_id for link in _current_links(person_id=holder)}
        here -= _decided_since([item["record"] for item in moved], event)
        back = [item for item in moved if item["record"] in here]
        _restore(back, loser)
        _redirect(loser, None)
        _undecide(event.detail)
        undo = IdentityEvent.objects.create(
            kind=Kind.UNMERGED,
            person_id=event.person_id,
            other_person=loser,
            undoes=event,
            actor=actor,
            reason=reason,
            detail={"moved": [item["record"] for item in back]},
        )
        store.refresh_golden([holder, loser.id])
    return undo.id


def link(source_record_id: int, person_id: UUID, *, actor: str, reason: str = "") -> UUID:
    """Link a record to a person by hand: sticky. Returns the id of the event, by which `undo` undoes it.

    Where the record's former person is left without any record, it becomes a redirect.

    Raises:
        UnknownPatient: record or person is not known.
        InvalidMerge: the record belongs to this person already, or the person was merged away.
    """
    with transaction.atomic():
        current = link_of(source_record_id)
        persons = lock_persons([current.person_id, person_id])
        current = link_of(source_record_id)
        if current.person_id not in persons or len(persons) < 2 or persons[person_id].merged_into_id is not None:
            raise InvalidMerge
        former = persons[current.person_id]
        verdicts = decide(source_record_id, active_records(person_id), "same", actor=actor, reason=reason)
        was = _move([current], persons[person_id], kind=Link.Kind.MANUAL, reason=reason or "linked by hand")
        emptied = not _current_links(person_id=former.id)
        if emptied:
            _redirect(former, persons[person_id])
        event = IdentityEvent.objects.create(
            kind=Kind.LINKED,
            person_id=person_id,
            other_person=former,
            source_record_id=source_record_id,
            actor=actor,
            reason=reason,
            detail={"moved": was, "redirected": emptied, **verdicts},
        )
        store.refresh_golden([person_id, former.id])
    return event.id


def unlink(source_record_id: int, *, actor: str, reason: str = "") -> UUID:
    """Take a record away from its person: it becomes a person of its own, and stays apart. Sticky.

    Returns the id of the event, by which `undo` undoes it.

    Raises:
        UnknownPatient: no such record.
        InvalidMerge: it is the only record of its person.
    """
    with transaction.atomic():
        current = link_of(source_record_id)
        former = lock_persons([current.person_id])[current.person_id]
        current = link_of(source_record_id)
        if current.person_id != former.id or len(_current_links(person_id=former.id)) < 2:
            raise InvalidMerge
        person = Person.objects.create()
        verdicts = decide(source_record_id, active_records(former.id), "different", actor=actor, reason=reason)
        was = _move([current], person, kind=Link.Kind.MANUAL, reason=reason or "unlinked by hand")
        rejected = Link.objects.create(
            source_record_id=source_record_id, person=former, kind=Link.Kind.REJECTED, reason=reason
        )
        event = IdentityEvent.objects.create(
            kind=Kind.UNLINKED,
            person=former,
            other_person=person,
            source_record_id=source_record_id,
            actor=actor,
            reason=reason,
            detail={"moved": was, "rejected": rejected.pk, **verdicts},
        )
        store.refresh_golden([former.id, person.id])
    return event.id


def link_of(source_record_id: int) -> Link:
    links = _current_links(source_record_id=source_record_id)
    if not links:
        raise UnknownPatient
    return links[0]


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
        persons = lock_persons([surviving.person_id, subsumed.person_id])
        rows = {
            row.pk: row
            for row in SourceRecord.objects.select_for_update()
            .filter(pk__in=[surviving.source_record_id, subsumed.source_record_id])
            .order_by("pk")
        }
        if len(rows) < 2 or any(row.status != "active" for row in rows.values()):
            raise InvalidMerge
        current = link_of(subsumed.source_record_id)
        target = link_of(surviving.source_record_id).person_id
        persons = lock_persons([current.person_id, target])
        SourceRecord.objects.filter(pk=subsumed.source_record_id).update(
            status="replaced", replaced_by=surviving.source_record_id, updated_at=timezone.now()
        )
        store.drop_index(subsumed.source_record_id)
        detail: dict[str, Any] = {"moved": [], "redirected": False}
        former = persons[current.person_id]
        if former.id != target:
            links = _current_links(person_id=former.id)
            chain = _replaced_by(current.source_record_id, [item.source_record_id for item in links])
            left = [item for item in links if item.source_record_id not in chain]
            anchors_only = (
                not SourceRecord.objects.filter(pk__in=[item.source_record_id for item in left])
                .exclude(participant_id=HUB)
                .exists()
            )
            detail["moved"] = _move(
                links if anchors_only else [item for item in links if item.source_record_id in chain],
                persons[target],
                kind=Link.Kind.MANUAL,
                reason="replaced by its organization",
            )
            if anchors_only:
                _redirect(former, persons[target])
                detail["redirected"] = True
            else:
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
        )
        store.refresh_golden({target, former.id})
    return event.id


def _replaced_by(record_id: int, among: Iterable[int]) -> set[int]:
    """The record and those `among` that it replaced, directly or through others."""
    above = dict(SourceRecord.objects.filter(pk__in=list(among)).values_list("pk", "replaced_by"))
    chain, wave = {record_id}, {record_id}
    while wave:
        wave = {pk for pk, by in above.items() if by in wave and pk not in chain}
        chain |= wave
    return chain


def undo(event_id: UUID | str, *, actor: str, reason: str = "") -> UUID:
    """Undo a merge, link, unlink or resolved duplicate exactly. Returns the id of the new event.

    What has been moved on since by somebody stays where it was put.

    Raises:
        UnknownIdentityEvent: no such event, or not one that can be undone.
        AlreadyUndone: it was undone before.
    """
    with transaction.atomic():
        event = _event(event_id, [Kind.MERGED, Kind.LINKED, Kind.UNLINKED, Kind.REPLACED])
        if event.kind == Kind.MERGED:
            return unmerge(event_id, actor=actor, reason=reason)
        if event.source_record_id is None or "moved" not in event.detail:
            raise UnknownIdentityEvent  # a link that a feed made: unlink it instead
        record = event.source_record_id
        here = link_of(record).person_id
        # Where the event put it: the new person of an unlink, the target of a link.
        put = event.other_person_id if event.kind == Kind.UNLINKED else event.person_id
        origin = event.person_id if event.kind == Kind.UNLINKED else event.other_person_id
        concerned = {here} | {item for item in (put, origin) if item is not None}
        persons = lock_persons(concerned)
        _event(event_id, [event.kind])
        home = persons[origin] if origin is not None else None
        moved = False
        redirects_home = bool(event.detail.get("redirected"))
        since = _decided_since([item["record"] for item in event.detail["moved"]], event)
        if home is not None and event.detail["moved"] and record not in since:
            if redirects_home:
                _redirect(home, None)
            # The former person may have been merged on since: then its survivor takes the record back.
            back_to = home if home.merged_into_id is None else _locked(survivor_of(home.id))
            _restore([item for item in event.detail["moved"] if item["record"] not in since], back_to)
            moved = True
            if event.kind == Kind.UNLINKED and put is not None and not _current_links(person_id=put):
                _redirect(persons[put], back_to)
        if event.kind == Kind.REPLACED and _is_last_word(event):
            _reactivate(record)
        Link.objects.filter(pk=event.detail.get("rejected"), valid_to__isnull=True).update(valid_to=timezone.now())
        ReviewItem.objects.filter(pk=event.detail.get("review"), status="open").update(
            status="decided", decision="undone", decided_by=actor, decided_at=timezone.now()
        )
        _undecide(event.detail)
        undo_event = IdentityEvent.objects.create(
            kind={"linked": Kind.UNLINKED, "unlinked": Kind.LINKED, "replaced": Kind.SPLIT}[event.kind],
            person_id=origin or event.person_id,
            other_person_id=put,
            source_record_id=record,
            undoes=event,
            actor=actor,
            reason=reason,
            detail={"undone": [record] if moved else []},
        )
        store.refresh_golden(concerned)
    return undo_event.id


def _locked(person_id: UUID | None) -> Person:
    person = Person.objects.select_for_update().filter(pk=person_id).first() if person_id else None
    if person is None:
        raise UnknownPatient
    return person


def _is_last_word(event: IdentityEvent) -> bool:
    """Whether nobody has replaced or removed the event's record since: that would stand."""
    said = IdentityEvent.objects.filter(source_record=event.source_record_id, kind__in=[Kind.REPLACED, Kind.REMOVED])
    return not said.filter(seq__gt=event.seq, undone_by__isnull=True).exists()


def _reactivate(record_id: int) -> None:
    record = SourceRecord.objects.select_related("current_version").get(pk=record_id)
    SourceRecord.objects.filter(pk=record_id).update(status="active", replaced_by=None, updated_at=timezone.now())
    if record.current_version is not None:
        store.write_keys(record_id, Features.from_json(record.current_version.normalised))
        store.write_terms(record_id, from_json(record.current_version.raw))


def remove(identifier: ResolvedIdentifier, *, actor: str, reason: str = "") -> UUID:
    """An organization withdraws its record: it leaves search and matching; what hangs on it stays with the person.

    A later feed of the same identifier brings it back. Removing twice changes nothing and gives the first event.
    """
    with transaction.atomic():
        # The person before the record, as in every other change: two at once must not wait for one another crosswise.
        lock_persons([link_of(identifier.source_record_id).person_id])
        record = SourceRecord.objects.select_for_update().get(pk=identifier.source_record_id)
        if record.status == "removed":
            last = IdentityEvent.objects.filter(source_record=record, kind=Kind.REMOVED).last()
            if last is not None:
                return last.id
        SourceRecord.objects.filter(pk=record.pk).update(status="removed", replaced_by=None, updated_at=timezone.now())
        store.drop_index(record.pk)
        current = link_of(record.pk)
        event = IdentityEvent.objects.create(
            kind=Kind.REMOVED, person_id=current.person_id, source_record=record, actor=actor, reason=reason
        )
        store.refresh_golden([current.person_id])
    return event.id
