"""The queue of review items as stewards work on it: claim, second steward, defer, and what was done and why.

A steward **claims** an item before deciding it; the claim ends by itself after `CLAIM_LASTS`, and whoever comes then may
take the item over. A verdict that moves documents is a **proposal** first: another steward confirms it, and until then
nothing moves. What a verdict does is in `patients.reviewing`; the order of steps in `hie.exchange.stewardship`.

Source: spec/mpi.md section 5.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from patients import changes, standing, store
from patients.changes import WAITS
from patients.errors import (
    InvalidMerge,
    NotClaimed,
    OwnProposal,
    ReviewClaimed,
    ReviewClosed,
    UnknownPatient,
    UnknownReview,
)
from patients.identifiers import HUB, survivor
from patients.matching import probability
from patients.models import IdentityEvent, Link, ReviewAct, ReviewItem, SourceRecord
from patients.normalise import Features
from patients.reviewing import ASKED

CLAIM_LASTS = timedelta(minutes=30)
LONGEST_DEFERRAL = timedelta(days=180)
Act = ReviewAct.Kind


def claim(item_id: int, *, actor: str, now: datetime | None = None) -> datetime:
    """Take an item, or keep it for longer; until when. One statement decides between two who try at once.

    Raises:
        UnknownReview: no such item. ReviewClosed: it was decided before.
        ReviewClaimed: somebody else has it, and until when. OwnProposal: it waits for somebody other than this actor.
    """
    at = now or timezone.now()
    until = at + CLAIM_LASTS
    free = Q(claimed_by="") | Q(claimed_by=actor) | Q(claimed_until__isnull=True) | Q(claimed_until__lte=at)
    taken = (
        ReviewItem.objects.filter(free, pk=item_id, status__in=WAITS)
        .exclude(proposed_by=actor)
        .update(claimed_by=actor, claimed_until=until)
    )
    if taken:
        return until
    item = _waiting(ReviewItem.objects.filter(pk=item_id).first())
    if item.proposed_by == actor:
        raise OwnProposal
    raise ReviewClaimed(item.claimed_by, item.claimed_until or at)


def claim_first(item_ids: Iterable[int], *, actor: str) -> int | None:
    """Take the first of these that can be taken; None when none can."""
    for item_id in item_ids:
        try:
            claim(item_id, actor=actor)
        except (UnknownReview, ReviewClosed, ReviewClaimed, OwnProposal):
            continue
        return item_id
    return None


def release(item_id: int, *, actor: str) -> bool:
    """Give an item back; whether it was this actor's."""
    return bool(
        ReviewItem.objects.filter(pk=item_id, claimed_by=actor).update(claimed_by="", claimed_until=None),
    )


def held(item_id: int, *, actor: str, now: datetime | None = None) -> ReviewItem:
    """The item, locked until the transaction ends, for somebody who may decide it now.

    A claim that ended while nobody else took the item still holds: what was typed is not lost for a late minute.

    Raises:
        UnknownReview, ReviewClosed: as for `claim`. OwnProposal: it waits for somebody other than this actor.
        ReviewClaimed: somebody else has it. NotClaimed: nobody has.
    """
    at = now or timezone.now()
    # The index before the item, as every change of identity takes them: two must not wait for one another crosswise.
    store.lock_index()
    item = _waiting(ReviewItem.objects.select_for_update().filter(pk=item_id).first())
    if item.proposed_by == actor:
        raise OwnProposal
    if item.claimed_by == actor:
        return item
    if item.claimed_by and item.claimed_until is not None and item.claimed_until > at:
        raise ReviewClaimed(item.claimed_by, item.claimed_until)
    raise NotClaimed


def locked(item_id: int) -> ReviewItem:
    """The item in whatever state, locked until the transaction ends, with the index.

    Raises:
        UnknownReview: no such item.
    """
    store.lock_index()
    item = ReviewItem.objects.select_for_update().filter(pk=item_id).first()
    if item is None:
        raise UnknownReview
    return item


def propose(item: ReviewItem, verdict: str, *, actor: str, reason: str) -> None:
    """Keep a verdict for another steward; the item is free again, and nothing moves."""
    _set(item, proposed=verdict, proposed_by=actor, claimed_by="", claimed_until=None)
    note(item.pk, Act.PROPOSED, verdict, actor=actor, reason=reason)


def drop_proposal(item: ReviewItem, *, actor: str, reason: str) -> None:
    """Take a proposal off the item: withdrawn by whoever made it, rejected by anybody else. It waits as before."""
    kind = Act.WITHDRAWN if item.proposed_by == actor else Act.REJECTED
    verdict = item.proposed
    _set(item, proposed="", proposed_by="", claimed_by="", claimed_until=None)
    note(item.pk, kind, verdict, actor=actor, reason=reason)


def defer(item: ReviewItem, until: datetime, *, actor: str, reason: str) -> None:
    """Put the item off; it waits again from `until` on."""
    _set(item, status=ReviewItem.Status.DEFERRED, deferred_until=until, claimed_by="", claimed_until=None)
    note(item.pk, Act.DEFERRED, "defer", actor=actor, reason=reason)


def resume(item: ReviewItem, *, actor: str, reason: str) -> None:
    """Undo a deferral: the item waits again."""
    _set(item, status=ReviewItem.Status.OPEN, deferred_until=None)
    note(item.pk, Act.RESUMED, "defer", actor=actor, reason=reason)


def settled(
    item_id: int, kind: str, verdict: str, *, actor: str, reason: str, event_id: UUID | None, other: int | None
) -> None:
    """Note that the item was decided (`Act.DECIDED`) or a proposal confirmed, and let go of it.

    `other` is the record that the item's was most like, where they are one person now.
    """
    ReviewItem.objects.filter(pk=item_id).update(
        claimed_by="", claimed_until=None, deferred_until=None, proposed="", proposed_by=""
    )
    note(item_id, kind, verdict, actor=actor, reason=reason, event_id=event_id, other=other)


def proposed_at(item_id: int) -> datetime:
    """When the verdict that waits was proposed; one statement."""
    acts = ReviewAct.objects.filter(item=item_id, kind=Act.PROPOSED).order_by("-at", "-pk")
    return acts.values_list("at", flat=True)[0]


def last_decision(item_id: int) -> ReviewAct | None:
    """The act by which the item was decided, unless that was undone since."""
    acts = ReviewAct.objects.filter(item=item_id, kind__in=[Act.DECIDED, Act.CONFIRMED, Act.UNDONE])
    last = acts.order_by("-at", "-pk").first()
    return None if last is None or last.kind == Act.UNDONE else last


def note(
    item_id: int,
    kind: str,
    verdict: str,
    *,
    actor: str,
    reason: str,
    event_id: UUID | None = None,
    other: int | None = None,
) -> None:
    """Write down what somebody did with an item."""
    ReviewAct.objects.create(
        item_id=item_id,
        kind=kind,
        verdict=verdict,
        actor=actor,
        reason=reason,
        event_id=event_id,
        other_record_id=other,
    )


def open_between(
    one: UUID, other: UUID, *, actor: str, reason: str, contested: IdentityEvent | None = None
) -> tuple[int, bool]:
    """An item that asks whether two persons are one, because somebody says so; and whether it is new.

    The one that waits between them already is given where there is one: one question is enough, and it takes what is
    `contested` with it. Without a probability: nothing but what somebody says is behind it.

    Raises:
        UnknownPatient: one of them is not known, or has no record in use.
        InvalidMerge: they are one, or one was merged away.
    """
    with transaction.atomic():
        store.lock_index()
        persons = changes.lock_persons([one, other])
        if len(persons) < 2 or any(person.merged_into_id is not None for person in persons.values()):
            raise InvalidMerge
        mine, theirs = changes.active_records(one), changes.active_records(other)
        if not mine or not theirs:
            raise UnknownPatient
        for item in ReviewItem.objects.filter(
            kind=ReviewItem.Kind.POSSIBLE_MATCH, status__in=WAITS, source_record__in=[*mine, *theirs]
        ).order_by("pk"):
            asks = other if item.source_record_id in mine else one
            if item.candidate_id is not None and survivor(item.candidate_id) == asks:
                if contested is not None:
                    _contested_too(item, contested, actor=actor, reason=reason)
                return item.pk, False
        made = ReviewItem.objects.create(
            kind=ReviewItem.Kind.POSSIBLE_MATCH,
            source_record_id=_likest(mine, theirs),
            person_id=one,
            candidate_id=other,
            contested=contested,
            reason=ASKED,
        )
        note(made.pk, Act.OPENED, "", actor=actor, reason=reason)
    return made.pk, True


def _contested_too(item: ReviewItem, contested: IdentityEvent, *, actor: str, reason: str) -> None:
    """Put what somebody contests, and why, to the case that waits already: its verdict then undoes exactly that.

    Not where a second steward has a proposal before him, who would confirm another thing than was proposed; nor where
    another change is contested there. The reason is with the case all the same.
    """
    if not item.proposed and item.contested_id is None:
        item.contested = contested
        item.save(update_fields=["contested"])
    note(item.pk, Act.OPENED, "", actor=actor, reason=reason)


def _likest(mine: Collection[int], theirs: Collection[int]) -> int:
    """Of one person's records the one that is most like one of the other's: it says most, side by side."""
    rows = SourceRecord.objects.select_related("current_version").filter(pk__in=[*mine, *theirs]).order_by("pk")
    known = {row.pk: Features.from_json(row.current_version.normalised) for row in rows if row.current_version}
    scorer = store.scorer()
    ranked = [(scorer.score(known[a], known[b]).score, -a) for a in mine for b in theirs]
    return -max(ranked)[1]


def open_parting(
    person_id: UUID,
    records: Collection[int],
    *,
    into: UUID | None,
    actor: str,
    reason: str,
    contested: IdentityEvent | None = None,
) -> tuple[int, bool]:
    """An item that asks whether these records are somebody else's: a new person's, or `into`'s; and whether it is new.

    The one that waits and asks the same is given where there is one. With `contested` the records are those that the
    undoing of that change would take away.

    Raises:
        UnknownPatient: a person is not known.
        InvalidMerge: not all of them are records of this person, none of any organization would remain, or `into` is this
            person or was merged away.
    """
    wanted = sorted(set(records))
    with transaction.atomic():
        store.lock_index()
        persons = changes.lock_persons([person_id, *([into] if into else [])])
        if into is not None and (into == person_id or persons[into].merged_into_id is not None):
            raise InvalidMerge
        held = SourceRecord.objects.filter(pk__in=standing.records_of(person_id)).exclude(participant_id=HUB)
        own = set(held.values_list("pk", flat=True))
        if contested is None and (not wanted or not own.issuperset(wanted) or own == set(wanted)):
            raise InvalidMerge
        first = min(own & set(wanted), default=None)
        if first is None:
            raise InvalidMerge
        for item in ReviewItem.objects.filter(
            kind=ReviewItem.Kind.PARTING, status__in=WAITS, source_record=first, contested=contested
        ).order_by("pk"):
            if item.records == wanted and (survivor(item.candidate_id) if item.candidate_id else None) == into:
                return item.pk, False
        made = ReviewItem.objects.create(
            kind=ReviewItem.Kind.PARTING,
            source_record_id=first,
            person_id=person_id,
            candidate_id=into,
            records=wanted,
            contested=contested,
            reason=ASKED,
        )
        note(made.pk, Act.OPENED, "", actor=actor, reason=reason)
    return made.pk, True


def draw(number: int) -> list[int]:
    """Put this many automatic links, drawn at random, before stewards; the items made, fewer where there are fewer.

    Of records whose person has others, and of which no item waits. That share of them which is taken apart is what
    share of all such links is wrong.
    """
    with connection.cursor() as cursor:
        cursor.execute(_DRAW, [number])
        rows = cursor.fetchall()
    items = [
        ReviewItem(
            kind=ReviewItem.Kind.DOUBTFUL_LINK,
            source_record_id=record,
            person_id=person,
            score=score,
            probability=probability(score),
            weights=store.as_json(weights),
            reason="drawn at random",
            sampled=True,
        )
        for record, person, score, weights in rows
    ]
    return [item.pk for item in ReviewItem.objects.bulk_create(items)]


_DRAW = """
SELECT l.source_record_id, l.person_id, l.score, l.weights
  FROM patients_link l JOIN patients_sourcerecord r ON r.id = l.source_record_id AND r.status = 'active'
 WHERE l.kind = 'auto' AND l.score IS NOT NULL AND l.valid_to IS NULL
   AND EXISTS (SELECT 1 FROM patients_link o WHERE o.person_id = l.person_id AND o.id <> l.id AND o.valid_to IS NULL
                  AND o.kind <> 'rejected')
   AND NOT EXISTS (SELECT 1 FROM patients_reviewitem q WHERE q.source_record_id = l.source_record_id
                      AND q.kind = 'doubtful-link' AND q.status IN ('open', 'deferred'))
 ORDER BY random() LIMIT %s
"""


def nearest(item: ReviewItem) -> int | None:
    """The record of the item's other person that its own record is most like; None where there is no such person.

    3 statements.
    """
    there = survivor(item.candidate_id) if item.candidate_id else None
    records = SourceRecord.objects.select_related("current_version").filter(current_version__isnull=False)
    own = records.filter(pk=item.source_record_id).first()
    if there is None or own is None or own.current_version is None:
        return None
    current = Link.objects.filter(person=there, valid_to__isnull=True).exclude(kind=Link.Kind.REJECTED)
    others = records.filter(pk__in=current.values("source_record")).exclude(pk=own.pk).order_by("pk")
    scorer, mine = store.scorer(), Features.from_json(own.current_version.normalised)
    scored = [
        (scorer.score(mine, Features.from_json(other.current_version.normalised)).score, -other.pk)
        for other in others
        if other.current_version is not None
    ]
    return -max(scored)[1] if scored else None


def waits(at: datetime) -> Q:
    """What waits for somebody now: open, or put off until a moment that has passed."""
    put_off = Q(status=ReviewItem.Status.DEFERRED, deferred_until__gt=at)
    return Q(status__in=WAITS) & ~put_off


def _waiting(item: ReviewItem | None) -> ReviewItem:
    if item is None:
        raise UnknownReview
    if item.status not in WAITS:
        raise ReviewClosed
    return item


def _set(item: ReviewItem, **values: object) -> None:
    for name, value in values.items():
        setattr(item, name, value)
    item.save(update_fields=list(values))
