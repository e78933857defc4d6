"""Emergency grants as cases to be judged: claim, decision, deadline, ban, and what was done and why.

Each grant opened is a case, due in 72 hours. A reviewer **claims** it before deciding; the claim ends by itself. One that
is passed on is decided by somebody else; one that is overdue becomes the hub's own matter, and stays open. "Not justified"
suspends the user's emergency access at all of that organization at once, and opens a case with the participant, which has
ten working days to answer; three that stand in a month raise it. The order of steps is in `hie.exchange.emergency_review`.

Source: spec/consent.md 9.5.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q, QuerySet

from consent.errors import (
    EmergencyClaimed,
    EmergencyClosed,
    EmergencyNotClaimed,
    EmergencyReviewRefused,
    UnknownEmergency,
)
from consent.models import (
    BreakGlassGrant,
    EmergencyAct,
    EmergencyBan,
    EmergencyCase,
    EmergencyReview,
)
from hie.directory.working_days import Calendar

DUE_IN = timedelta(hours=72)
CLAIM_LASTS = timedelta(minutes=30)
REOPENED_WITHIN = timedelta(days=30)
A_MONTH = timedelta(days=30)
RAISED_AT = 3
LONGEST_HOLD = timedelta(hours=72)
HUB = "hub"
Act = EmergencyAct.Kind
_OPEN = EmergencyReview.Status.OPEN


def open_for(grant: BreakGlassGrant, *, now: datetime) -> EmergencyReview:
    """The case of a grant just opened, in its transaction."""
    review = EmergencyReview.objects.create(grant=grant, opened_at=now, due_at=now + DUE_IN)
    note(review, Act.OPENED, actor=grant.user, now=now)
    return review


def note(review: EmergencyReview, kind: str, *, actor: str, now: datetime, reason: str = "") -> None:
    """Keep what was done."""
    EmergencyAct.objects.create(review=review, kind=kind, actor=actor, reason=reason, at=now)


def claim(review_id: int, *, actor: str, now: datetime) -> datetime:
    """Take a case, or keep it for longer; until when. One statement decides between two who try at once.

    Raises:
        UnknownEmergency, EmergencyClosed: no such case, or it is decided. EmergencyClaimed: somebody else has it.
        EmergencyReviewRefused: this actor passed it on, or judged it before.
    """
    until = now + CLAIM_LASTS
    free = Q(claimed_by="") | Q(claimed_by=actor) | Q(claimed_until__isnull=True) | Q(claimed_until__lte=now)
    taken = (
        EmergencyReview.objects.filter(free, pk=review_id, status=_OPEN)
        .exclude(pk__in=left_by(actor))
        .update(claimed_by=actor, claimed_until=until)
    )
    if taken:
        return until
    review = _open(EmergencyReview.objects.filter(pk=review_id).first())
    if has_left(review, actor):
        raise EmergencyReviewRefused(
            "you passed this case on, or judged it: somebody else decides it", element="reviewer"
        )
    raise EmergencyClaimed(review.claimed_until or now)


def left_by(actor: str) -> QuerySet[EmergencyAct, int]:
    """The cases that are for somebody else: this actor passed them on or judged them, even if they wait again."""
    judged = (Act.PASSED_ON, Act.JUSTIFIED, Act.NOT_JUSTIFIED)
    return EmergencyAct.objects.filter(actor=actor, kind__in=judged).values_list("review_id", flat=True)


def has_left(review: EmergencyReview, actor: str) -> bool:
    """Whether a case is for somebody else than this actor; see `left_by`."""
    return left_by(actor).filter(review=review).exists()


def release(review_id: int, *, actor: str) -> bool:
    """Give a case back; whether it was this actor's."""
    mine = EmergencyReview.objects.filter(pk=review_id, claimed_by=actor)
    return bool(mine.update(claimed_by="", claimed_until=None))


def locked(review_id: int) -> EmergencyReview:
    """The case with its grant, locked until the transaction ends.

    Raises:
        UnknownEmergency: no such case.
    """
    row = EmergencyReview.objects.select_for_update(of=("self",)).select_related("grant").filter(pk=review_id).first()
    if row is None:
        raise UnknownEmergency
    return row


def of_grant(grant_id: UUID) -> EmergencyReview | None:
    """The case of a grant, locked until the transaction ends; None when there is none."""
    pk = EmergencyReview.objects.filter(grant=grant_id).values_list("pk", flat=True).first()
    return locked(pk) if pk is not None else None


def held(review_id: int, *, actor: str, now: datetime) -> EmergencyReview:
    """The case, locked, for somebody who may decide it now; a claim that ran out while nobody took it still holds.

    Raises:
        UnknownEmergency, EmergencyClosed, EmergencyClaimed: as for `claim`. EmergencyNotClaimed: nobody has it.
    """
    review = _open(locked(review_id))
    if review.claimed_by == actor:
        return review
    if review.claimed_by and review.claimed_until is not None and review.claimed_until > now:
        raise EmergencyClaimed(review.claimed_until)
    raise EmergencyNotClaimed


def decide(review: EmergencyReview, outcome: str, *, actor: str, reason: str, now: datetime) -> None:
    """Close the case; the caller suspends or gives back what follows from it."""
    _set(
        review, status=EmergencyReview.Status.DECIDED, outcome=outcome, decided_by=actor, decided_at=now,
        reason=reason, claimed_by="", claimed_until=None,
    )  # fmt: skip
    note(review, outcome, actor=actor, reason=reason, now=now)


def pass_on(review: EmergencyReview, *, actor: str, reason: str, now: datetime) -> None:
    """Leave the case to a second reviewer; its deadline stays."""
    _set(review, passed_on_by=actor, escalated_at=review.escalated_at or now, claimed_by="", claimed_until=None)
    note(review, Act.PASSED_ON, actor=actor, reason=reason, now=now)


def overdue(now: datetime) -> list[EmergencyReview]:
    """Make the cases whose deadline went by the hub's own matter, each once; gives those new. In a transaction."""
    rows = (
        EmergencyReview.objects.select_for_update(of=("self",), skip_locked=True)
        .select_related("grant")
        .filter(status=_OPEN, due_at__lte=now, overdue_at__isnull=True)
        .order_by("due_at", "pk")
    )
    late = list(rows[:100])
    for review in late:
        _set(review, overdue_at=now, escalated_at=review.escalated_at or now)
        note(review, Act.OVERDUE, actor=HUB, now=now)
    return late


def reopen(review: EmergencyReview, *, actor: str, reason: str, now: datetime) -> None:
    """Make a decided case wait again, with a deadline of its own; what followed from the decision the caller takes back.

    Raises:
        EmergencyReviewRefused: it waits, or was decided more than 30 days ago.
    """
    if review.status != EmergencyReview.Status.DECIDED or review.decided_at is None:
        raise EmergencyReviewRefused("it is not decided", element="act")
    if review.decided_at + REOPENED_WITHIN <= now:
        raise EmergencyReviewRefused("a decision can be taken back for 30 days", element="act")
    _wait_again(review, actor=actor, reason=reason, now=now)


def _wait_again(review: EmergencyReview, *, actor: str, reason: str, now: datetime) -> None:
    _set(
        review, status=_OPEN, outcome="", decided_by="", decided_at=None, reason="", due_at=now + DUE_IN,
        overdue_at=None, escalated_at=None, passed_on_by="", claimed_by="", claimed_until=None,
    )  # fmt: skip
    note(review, Act.REOPENED, actor=actor, reason=reason, now=now)


def open_case(review: EmergencyReview, *, participant: str, now: datetime) -> EmergencyCase:
    """What the participant must answer for."""
    case, _ = EmergencyCase.objects.update_or_create(
        review=review,
        defaults={
            "participant": participant, "opened_at": now, "withdrawn_at": None, "answered_at": None, "answer": "",
        },
    )  # fmt: skip
    return case


def standing_cases(*, now: datetime) -> list[EmergencyCase]:
    """The cases of the last month that were not taken back, oldest first; three of one house raise it. One statement."""
    rows = EmergencyCase.objects.filter(withdrawn_at__isnull=True, opened_at__gt=now - A_MONTH)
    return list(rows.order_by("opened_at", "pk"))


def cases_of(participants: Iterable[str]) -> list[EmergencyCase]:
    """Every case that these participants answer, or answered, for, newest first; one statement."""
    rows = EmergencyCase.objects.select_related("review__grant").filter(participant__in=list(participants))
    return list(rows.order_by("-opened_at", "-pk"))


def answer_due(case: EmergencyCase, calendar: Calendar) -> datetime:
    """By when the participant answers: as for any question of a patient's (spec/consent.md 15), by its own clock."""
    return calendar.answer_due(case.opened_at, participant=case.participant)


def withdraw_case(review: EmergencyReview, *, now: datetime) -> None:
    """The participant has nothing to answer for: the decision was taken back."""
    EmergencyCase.objects.filter(review=review, withdrawn_at__isnull=True).update(withdrawn_at=now)


def answer_case(review: EmergencyReview, answer: str, *, actor: str, now: datetime) -> None:
    """Keep what the participant answered.

    Raises:
        EmergencyReviewRefused: there is no case that waits for an answer.
    """
    waiting = EmergencyCase.objects.filter(review=review, withdrawn_at__isnull=True, answered_at__isnull=True)
    if not waiting.update(answered_at=now, answer=answer):
        raise EmergencyReviewRefused("no answer of the organization is waited for", element="act")
    note(review, Act.ANSWERED, actor=actor, reason=answer, now=now)


def hold_notice(review: EmergencyReview, until: datetime, *, actor: str, reason: str, now: datetime) -> None:
    """Put the patient's notice off, for a reason of safety, to at most 72 hours after the grant was opened.

    Raises:
        EmergencyReviewRefused: the patient has been told, or the instant is past or later than that.
    """
    if review.told_at is not None:
        raise EmergencyReviewRefused("the patient has been told already", element="act")
    if not now < until <= review.opened_at + LONGEST_HOLD:
        raise EmergencyReviewRefused("the notice waits at most 72 hours from the start", element="until")
    _set(review, held_until=until, held_reason=reason)
    note(review, Act.HELD, actor=actor, reason=reason, now=now)


def told(review: EmergencyReview, *, actor: str, now: datetime) -> None:
    """The patient has been told; a second time changes nothing."""
    if review.told_at is None:
        _set(review, told_at=now)
        note(review, Act.TOLD, actor=actor, now=now)


def object_to(review: EmergencyReview, words: str, *, actor: str, now: datetime) -> None:
    """Keep the patient's objection, beside those before it. What was found justified waits again, for somebody else."""
    _set(review, objected_at=now, objection="\n\n".join(filter(None, (review.objection, words))))
    note(review, Act.OBJECTED, actor=actor, reason=words, now=now)
    if review.outcome == EmergencyReview.Outcome.JUSTIFIED:
        _wait_again(review, actor=HUB, reason="the patient objects", now=now)


def of_identifiers(identifier_pks: Iterable[int], *, since: datetime) -> list[EmergencyReview]:
    """The cases about a patient whose grants were opened since, newest first, with their grants; one statement."""
    return list(
        EmergencyReview.objects.select_related("grant")
        .filter(grant__identifier_id__in=list(identifier_pks), opened_at__gte=since)
        .order_by("-opened_at", "-pk")
    )


def held_back(identifier_pks: Iterable[int], *, now: datetime) -> list[BreakGlassGrant]:
    """The grants about a patient of which nobody on the patient's side is told yet, for a reason of safety; one statement."""
    held = BreakGlassGrant.objects.filter(identifier_id__in=list(identifier_pks), review__held_until__gt=now)
    return list(held.select_related("review").order_by("start", "pk"))


def ban(review: EmergencyReview, *, now: datetime) -> EmergencyBan:
    """Suspend the emergency access of the grant's user; with `break_glass.hold_user` held, and what is open revoked."""
    made, _ = EmergencyBan.objects.get_or_create(
        review=review,
        lifted_at=None,
        defaults={"user": review.grant.user, "organization": review.grant.organization, "since": now},
    )
    return made


def has_ban(review: EmergencyReview) -> bool:
    """Whether what this case brought still keeps its user from emergency access."""
    return review.bans.filter(lifted_at__isnull=True).exists()


def lift_ban(review: EmergencyReview, *, actor: str, reason: str, now: datetime) -> bool:
    """End the ban that this case brought; whether there was one."""
    rows = EmergencyBan.objects.filter(review=review, lifted_at__isnull=True)
    return bool(rows.update(lifted_at=now, lifted_by=actor, lifted_reason=reason))


def _open(review: EmergencyReview | None) -> EmergencyReview:
    if review is None:
        raise UnknownEmergency
    if review.status != _OPEN:
        raise EmergencyClosed
    return review


def _set(review: EmergencyReview, **values: object) -> None:
    for name, value in values.items():
        setattr(review, name, value)
    review.save(update_fields=list(values))
