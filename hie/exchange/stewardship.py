"""Stewardship of identities: deciding what waits for review, opening a case, values by hand, and undoing any of it.

By the hub's own staff, with a reason; each act is one event in the log of every person concerned, shown there
as the exchange's own staff. The queue is the staff's only way to put persons together or take them apart, whoever asks
for it: where a verdict moves documents, the first steward's is a proposal, and nothing moves until another has confirmed
it. What a steward looks at is in `review_cases`, the queue in `review_list`, a person's identity in `identity_pages`.

Source: spec/mpi.md 5; spec/consent.md 13.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.exchange import access, review_stakes
from hie.exchange.access import Held, Staff
from hie.exchange.errors import BadRequest
from hie.standards.demographics import Demographics
from hie.standards.facts import Caller
from hie.trust import second_person
from hie.trust.errors import FourEyes
from patients import by_hand, changes, linking, review_queue, reviewing, standing, store
from patients.errors import AlreadyUndone, OwnProposal, ReviewClaimed
from patients.models import IdentityEvent, ReviewAct, ReviewItem, ValueByHand
from patients.reviewing import Verdict

_EVENTS = {
    IdentityEvent.Kind.MERGED: EventType.IDENTITY_MERGE,
    IdentityEvent.Kind.UNMERGED: EventType.IDENTITY_UNMERGE,
    IdentityEvent.Kind.UNLINKED: EventType.IDENTITY_UNLINK,
    IdentityEvent.Kind.SPLIT: EventType.IDENTITY_UNLINK,
    IdentityEvent.Kind.LINKED: EventType.IDENTITY_LINK,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a steward's act came to: `act` as in `ReviewAct`, and the identity event that undoes it, if one was made.

    `item_id` is the case where it goes on, of an act that opened one.
    """

    act: str
    verdict: str
    event_id: UUID | None = None
    item_id: int | None = None


def claim_review(item_id: int, staff: Staff) -> datetime:
    """Take an item to decide it, or keep it for longer; until when.

    Raises:
        AccessRefused: no role of theirs may.
        UnknownReview, ReviewClosed, ReviewClaimed, OwnProposal: of the item.
    """
    return review_queue.claim(item_id, actor=_steward(staff).user_id)


def release_review(item_id: int, staff: Staff) -> bool:
    """Give an item back to the queue; whether it was theirs.

    Raises:
        AccessRefused: no role of theirs may.
    """
    return review_queue.release(item_id, actor=_steward(staff).user_id)


def claim_first(item_ids: Iterable[int], staff: Staff) -> int | None:
    """Take the first of these that is free; None when none is.

    Raises:
        AccessRefused: no role of theirs may.
    """
    actor = _steward(staff).user_id
    return review_queue.claim_first(item_ids, actor=actor)


SAMPLE = 20
"""Links that are drawn at once."""
MOST_WAITING = 200
"""Drawn links that may wait at a time: a sample that nobody reviews says nothing."""


def draw_sample(staff: Staff, waiting: int) -> int:
    """Put links drawn at random before stewards, to learn how many are wrong; how many were drawn.

    Raises:
        AccessRefused: no role of theirs may. BadRequest: too many of them wait already.
    """
    _steward(staff)
    if waiting + SAMPLE > MOST_WAITING:
        raise BadRequest("too many drawn links wait already", element="sample")
    return len(review_queue.draw(SAMPLE))


def decide_review(
    item_id: int, verdict: Verdict | str, staff: Staff, reason: str, *, until: datetime | None = None
) -> Done:
    """Decide one review item that this steward has taken: *same*, *link*, *different*, or *defer* (`until` when).

    Where the verdict moves documents it is kept as a proposal for another steward.

    Raises:
        AccessRefused: no role of theirs may. BadRequest: no reason, no such verdict here, or no day to defer to.
        UnknownReview, ReviewClosed, ReviewClaimed, NotClaimed, OwnProposal, InvalidMerge: of the item.
    """
    try:
        said = Verdict(verdict)
    except ValueError as error:
        raise BadRequest("choose what you decide", element="verdict") from error
    caller, reason = _caller(staff, reason)
    now = timezone.now()
    if said is Verdict.DEFER:
        until = _day_to_defer_to(until, now)
    with transaction.atomic():
        item = review_queue.held(item_id, actor=caller.user_id)
        if item.proposed:
            raise BadRequest("another steward's verdict waits: confirm or reject it", element="verdict")
        if said not in review_stakes.verdicts(item):
            raise BadRequest("this verdict does not fit this case", element="verdict")
        concerned = review_stakes.persons(item)
        if until is not None and said is Verdict.DEFER:
            review_queue.defer(item, until, actor=caller.user_id, reason=reason)
            return _noted(caller, item, ReviewAct.Kind.DEFERRED, said, concerned, reason)
        if review_stakes.documents_moved(item, said):
            review_queue.propose(item, said.value, actor=caller.user_id, reason=reason)
            return _noted(caller, item, ReviewAct.Kind.PROPOSED, said, concerned, reason)
        return _settle(item, said, ReviewAct.Kind.DECIDED, caller, reason)


def confirm_review(item_id: int, staff: Staff, reason: str) -> Done:
    """Carry out the verdict that another steward proposed.

    Raises:
        AccessRefused, BadRequest: as for `decide_review`; BadRequest as well where nothing is proposed.
        UnknownReview, ReviewClosed, ReviewClaimed, NotClaimed, OwnProposal, InvalidMerge: of the item.
        FourEyes: whoever proposed it may be the same person.
    """
    caller, reason = _caller(staff, reason)
    try:
        return _confirmed(item_id, staff, caller, reason)
    except FourEyes:
        draft = recorder.EventDraft(
            kind=EventType.IDENTITY_REVIEW,
            caller=caller,
            outcome=recorder.Outcome.REFUSED,
            reason="four-eyes",
            detail={"review": item_id, "act": ReviewAct.Kind.CONFIRMED.value},
        )
        recorder.write_apart([draft])
        raise


def _confirmed(item_id: int, staff: Staff, caller: Caller, reason: str) -> Done:
    with transaction.atomic():
        item = review_queue.held(item_id, actor=caller.user_id)
        said = Verdict(_proposed(item))
        _check_second(item, staff)
        return _settle(item, said, ReviewAct.Kind.CONFIRMED, caller, reason)


def reject_review(item_id: int, staff: Staff, reason: str) -> Done:
    """Turn down the verdict that another steward proposed: the item waits as before, nothing has moved.

    Raises:
        As `confirm_review`.
    """
    caller, reason = _caller(staff, reason)
    with transaction.atomic():
        item = review_queue.held(item_id, actor=caller.user_id)
        return _drop(item, ReviewAct.Kind.REJECTED, caller, reason)


def undo_review(item_id: int, staff: Staff, reason: str) -> Done:
    """Undo the last thing decided about an item: a decision, a deferral, or the steward's own proposal.

    A decision is undone exactly, as any change of identity, and the item waits again. It takes one steward: what is
    restored was there before.

    Raises:
        AccessRefused: no role of theirs may. BadRequest: no reason, or nothing of this item is there to undo.
        UnknownReview: no such item. AlreadyUndone: the change was undone before.
    """
    caller, reason = _caller(staff, reason)
    with transaction.atomic():
        item = review_queue.locked(item_id)
        if item.proposed:
            if item.proposed_by != caller.user_id:
                raise BadRequest("another steward's proposal is rejected, not undone", element="act")
            return _drop(item, ReviewAct.Kind.WITHDRAWN, caller, reason)
        if item.status == ReviewItem.Status.DEFERRED:
            review_queue.resume(item, actor=caller.user_id, reason=reason)
            concerned = review_stakes.persons(item)
            return _noted(caller, item, ReviewAct.Kind.RESUMED, Verdict.DEFER, concerned, reason)
        decided = review_queue.last_decision(item.pk)
        if item.status != ReviewItem.Status.DECIDED or decided is None or decided.event_id is None:
            raise BadRequest("nothing decided here is there to undo", element="act")
        undone_by = linking.undo(decided.event_id, actor=caller.user_id, reason=reason)
        review_queue.note(
            item.pk, ReviewAct.Kind.UNDONE, decided.verdict, actor=caller.user_id, reason=reason, event_id=undone_by
        )
        concerned = [*_persons_of(undone_by), *review_stakes.persons(item)]
        detail = {"review": item.pk, "event": undone_by, "undoes": str(decided.event_id)}
        _record(EventType.IDENTITY_UNMERGE, caller, concerned, reason, detail)
    return Done(act=ReviewAct.Kind.UNDONE, verdict=decided.verdict, event_id=undone_by)


def open_case(one: UUID, other: UUID, staff: Staff, reason: str) -> Done:
    """Open a case that asks whether two persons are one, and take it; the one that waits for them already, if there is one.

    Raises:
        AccessRefused, BadRequest: as for `decide_review`. UnknownPatient: no such person, or one without a record in use.
        InvalidMerge: they are one, or one was merged away.
    """
    caller, reason = _caller(staff, reason)
    with transaction.atomic():
        item_id, new = review_queue.open_between(one, other, actor=caller.user_id, reason=reason)
        return _opened(caller, item_id, reason, new=new)


def open_parting(
    person_id: UUID, records: Collection[int], staff: Staff, reason: str, *, into: UUID | None = None
) -> Done:
    """Open a case that asks whether these records of a person are somebody else's, a new person's or `into`'s, and take it.

    Raises:
        AccessRefused, BadRequest: as for `decide_review`. UnknownPatient: no such person.
        InvalidMerge: not all are this person's any more, nothing would remain, or `into` is no other living person.
    """
    caller, reason = _caller(staff, reason)
    with transaction.atomic():
        item_id, new = review_queue.open_parting(person_id, records, into=into, actor=caller.user_id, reason=reason)
        return _opened(caller, item_id, reason, new=new)


def undo_change(event_id: UUID, staff: Staff, reason: str) -> Done:
    """Undo a change of identity, whoever made it, or bring back what an undo took away.

    One steward takes back what the staff did, since what comes back was there before, and anything that moves no
    document. What else moves documents is a decision of its own: the machine, an organization or a client had put them
    where they are. A case is opened for it, and the verdict there undoes the change exactly.

    Raises:
        AccessRefused, BadRequest: as for `decide_review`. UnknownIdentityEvent: no such change, or none that can be undone.
        AlreadyUndone: it does not stand. InvalidMerge: what is to be brought back contradicts what was done since.
        UnknownPatient: no record in use is left to decide about.
    """
    caller, reason = _caller(staff, reason)
    with transaction.atomic():
        store.lock_index()
        last = standing.chain(event_id)[0][-1]
        if last.id != event_id:
            raise AlreadyUndone
        decided = ReviewAct.objects.filter(event_id=event_id).order_by("-at", "-pk").first()
        ours = review_queue.last_decision(decided.item_id) if decided is not None else None
        if ours is not None and ours.event_id == event_id and ours.item.status == ReviewItem.Status.DECIDED:
            return undo_review(ours.item_id, staff, reason)
        value = ValueByHand.objects.filter(event=last).first()
        if value is not None:
            return Done(act=ReviewAct.Kind.UNDONE, verdict="", event_id=undo_value(value.pk, staff, reason))
        moving = changes.moved_by_undoing(event_id)
        # By what was done in the queue, not by the name that an event carries: another system may call its user anything.
        restores = last.undoes is None and decided is not None
        if not restores and review_stakes.documents_brought(moving):
            return _contest(last, moving, caller, reason)
        made = linking.undo(event_id, actor=caller.user_id, reason=reason)
        concerned = {*_persons_of(made), *(person for move in moving.values() for person in move)}
        _record(EventType.IDENTITY_UNMERGE, caller, concerned, reason, {"event": made, "undoes": str(event_id)})
    return Done(act=ReviewAct.Kind.UNDONE, verdict="", event_id=made)


def _contest(event: IdentityEvent, moving: Mapping[int, tuple[UUID, UUID]], caller: Caller, reason: str) -> Done:
    here, there = moving[min(moving)]
    if standing.records_of(there):
        item_id, new = review_queue.open_between(here, there, actor=caller.user_id, reason=reason, contested=event)
    else:
        item_id, new = review_queue.open_parting(
            here, moving, into=None, actor=caller.user_id, reason=reason, contested=event
        )
    return _opened(caller, item_id, reason, new=new)


def _opened(caller: Caller, item_id: int, reason: str, *, new: bool) -> Done:
    item = review_queue.locked(item_id)
    if new:
        _noted(caller, item, ReviewAct.Kind.OPENED, "", review_stakes.persons(item), reason)
    with suppress(
        ReviewClaimed, OwnProposal
    ):  # somebody works on it, or it waits for somebody else: it is shown all the same
        review_queue.claim(item_id, actor=caller.user_id)
    return Done(act=ReviewAct.Kind.OPENED, verdict="", item_id=item_id)


def set_value(person_id: UUID, field: str, demographics: Demographics, staff: Staff, reason: str) -> UUID:
    """Set one field of a person by hand, above what the records say; gives the event of it.

    It takes one steward: no document moves. Outside it is shown only to whoever may be shown every record that the
    person has now (`patients.queries.golden`).

    Raises:
        AccessRefused, BadRequest: as for `decide_review`. UnknownPatient, UnusableDemographics: of person and value.
    """
    caller, reason = _caller(staff, reason)
    with transaction.atomic():
        event_id = by_hand.set_value(person_id, field, demographics, actor=caller.user_id, reason=reason)
        _record(EventType.IDENTITY_BY_HAND, caller, [person_id], reason, {"event": event_id, "field": field})
    return event_id


def withdraw_value(value_id: int, staff: Staff, reason: str) -> UUID:
    """Take a value set by hand back: the records say again what the field is. Gives the event of it.

    Raises:
        AccessRefused, BadRequest: as for `decide_review`. UnknownValue: it does not hold.
    """
    caller, reason = _caller(staff, reason)
    with transaction.atomic():
        event_id = by_hand.withdraw(value_id, actor=caller.user_id, reason=reason)
        detail = {"event": event_id, "withdrawn": value_id}
        _record(EventType.IDENTITY_BY_HAND, caller, _persons_of(event_id), reason, detail)
    return event_id


def undo_value(value_id: int, staff: Staff, reason: str) -> UUID:
    """Undo that a value was set by hand, or withdrawn: what held before holds again. Gives the new event.

    Raises:
        AccessRefused, BadRequest: as for `decide_review`. UnknownValue: no such value. AlreadyUndone: it does not stand.
    """
    caller, reason = _caller(staff, reason)
    with transaction.atomic():
        event_id = linking.undo(by_hand.event_of(value_id), actor=caller.user_id, reason=reason)
        concerned = {by_hand.person_of(value_id), *_persons_of(event_id)}
        _record(EventType.IDENTITY_BY_HAND, caller, concerned, reason, {"event": event_id, "undoes_value": value_id})
    return event_id


def _settle(item: ReviewItem, said: Verdict, act: str, caller: Caller, reason: str) -> Done:
    # Where a parting is turned down nothing is said of the person whom the records were thought to be.
    other = review_queue.nearest(item) if said is Verdict.SAME and item.kind != ReviewItem.Kind.PARTING else None
    settled = reviewing.settle(item.pk, said, actor=caller.user_id, reason=reason)
    review_queue.settled(
        item.pk, act, said.value, actor=caller.user_id, reason=reason, event_id=settled.event_id, other=other
    )
    kind = _EVENTS.get(IdentityEvent.Kind(settled.event_kind)) if settled.event_kind else None
    detail = {"review": item.pk, "verdict": said.value, "item": settled.kind, "event": settled.event_id, "act": act}
    _record(kind or EventType.IDENTITY_REVIEW, caller, settled.persons, reason, detail)
    return Done(act=act, verdict=said.value, event_id=settled.event_id)


def _check_second(item: ReviewItem, staff: Staff) -> None:
    first = second_person.named(item.proposed_by.removeprefix("Staff/"))
    second = second_person.named(staff.user_id)
    second_person.check(first, second, since=review_queue.proposed_at(item.pk))


def _drop(item: ReviewItem, act: str, caller: Caller, reason: str) -> Done:
    said = Verdict(_proposed(item))
    review_queue.drop_proposal(item, actor=caller.user_id, reason=reason)
    return _noted(caller, item, act, said, review_stakes.persons(item), reason)


def _proposed(item: ReviewItem) -> str:
    if not item.proposed:
        raise BadRequest("no verdict of another steward waits here", element="act")
    return item.proposed


def _noted(
    caller: Caller, item: ReviewItem, act: str, said: Verdict | str, persons: Iterable[UUID], reason: str
) -> Done:
    detail = {"review": item.pk, "verdict": str(said), "item": item.kind, "act": str(act)}
    _record(EventType.IDENTITY_REVIEW, caller, persons, reason, detail)
    return Done(act=act, verdict=str(said))


def _day_to_defer_to(until: datetime | None, now: datetime) -> datetime:
    latest = now + review_queue.LONGEST_DEFERRAL
    if until is None or not now < until <= latest + timedelta(days=1):
        days = review_queue.LONGEST_DEFERRAL.days
        raise BadRequest(f"choose a day after today, and within {days} days", element="until")
    return until


def _persons_of(event_id: UUID) -> list[UUID]:
    row = IdentityEvent.objects.get(id=event_id)
    return [one for one in (row.person_id, row.other_person_id) if one is not None]


def _steward(staff: Staff) -> Caller:
    # With nobody named the door refuses by role and records no look: taking a case shows nothing of anybody.
    view = access.administrative(staff, Held.IDENTITIES, [], reason="a task of the review queue", act=True)
    return staff.caller(view.role)


def _caller(staff: Staff, reason: str) -> tuple[Caller, str]:
    # The door refuses by role and for want of a reason; with nobody named it records no look of its own.
    view = access.administrative(staff, Held.IDENTITIES, [], reason=reason, act=True)
    return staff.caller(view.role), reason.strip()


def _record(kind: EventType, caller: Caller, persons: Iterable[UUID], reason: str, detail: Mapping[str, Any]) -> None:
    recorder.write(
        [
            recorder.EventDraft(
                kind=kind, caller=caller, person_id=person, detail=dict(detail), personal={"text": reason}
            )
            for person in sorted(set(persons))
        ]
    )
