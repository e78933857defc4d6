"""Reviewing emergency access: who may, what a decision brings, and each act in the log.

A privacy officer or an administrator of the exchange takes a case and says whether the emergency was one. Who works at the
user's organization, in whatever department, does not judge it, and nobody his own: an account of the desk that is called
like the user, by its id or by its holder's name, is taken for his. A decision that it was not takes the user's emergency access
away in the same transaction: from its commit no request of his with the purpose BTG is let in, running transfers included.

Source: spec/consent.md 9.5.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from consent import break_glass, emergency_reviews
from consent.errors import EmergencyReviewRefused
from consent.models import BreakGlassGrant, EmergencyCase, EmergencyReview
from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.audit.recorder import EventDraft
from hie.directory import queries as directory
from hie.exchange import access, emergency
from hie.exchange.access import PRIVACY_OFFICER, Held, Staff
from hie.exchange.errors import BadRequest
from hie.standards.facts import Caller
from hie.trust import staff as staff_roles
from patients import identifiers
from patients.normalise import storable

REVIEWERS = frozenset({PRIVACY_OFFICER, "administrator"})
MAX_REASON = 500
_WHAT = {
    EmergencyReview.Outcome.JUSTIFIED: "emergency justified",
    EmergencyReview.Outcome.NOT_JUSTIFIED: "emergency not justified",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """A case held for one act: locked, by whom, when."""

    review: EmergencyReview
    actor: str
    at: datetime
    event: recorder.Recording
    person_id: UUID


def houses_of(staff: Staff) -> frozenset[str]:
    """The organizations whose cases a member of staff does not judge: where he works, with all parts of it; one statement."""
    named = staff_roles.employers(staff.user_id)
    return frozenset(part for employer in named for part in directory.same_organization(employer))


def is_own(staff: Staff, grant: BreakGlassGrant, names: Iterable[str]) -> bool:
    """Whether a member of staff is to be taken for the user of a grant, who is known by these names."""
    by_id = break_glass.is_same_user(staff.user_id, grant.user)
    return by_id or any(break_glass.is_same_name(staff.name, name) for name in names)


def seen(review: EmergencyReview) -> str:
    """What changes with every act about the case: the patient's objection among them."""
    return f"{review.pk}/{review.acts.count()}"


def claim(review_id: int, staff: Staff) -> None:
    """Take a case for half an hour, or keep it.

    Raises:
        AccessRefused, EmergencyReviewRefused: not a reviewer of this case.
        UnknownEmergency, EmergencyClosed, EmergencyClaimed: of the case.
    """
    with _acting(review_id, staff, "a task of the emergency queue", "claimed", told=False) as case:
        emergency_reviews.claim(case.review.pk, actor=case.actor, now=case.at)


def give_back(review_id: int, staff: Staff) -> None:
    """Give a case back that one has; nothing where one has not.

    Raises:
        As `claim`.
    """
    with _acting(review_id, staff, "a task of the emergency queue", "released", told=False) as case:
        emergency_reviews.release(case.review.pk, actor=case.actor)


def decide(
    review_id: int, outcome: str, staff: Staff, reason: str, *, as_seen: str | None = None
) -> EmergencyCase | None:
    """Say whether it was justified; the patient reads the reason. The case with the participant where it was not.

    `as_seen` is what `seen` gave as the page was made: what was added since is read first.

    Raises:
        AccessRefused, EmergencyReviewRefused: not a reviewer of this case. BadRequest: no reason, or no such outcome.
        UnknownEmergency, EmergencyClosed, EmergencyClaimed, EmergencyNotClaimed: of the case.
        EmergencyReviewRefused: something was added to it.
    """
    if outcome not in EmergencyReview.Outcome.values:
        raise BadRequest("choose what you decide", element="outcome")
    what = _WHAT[EmergencyReview.Outcome(outcome)]
    with _acting(review_id, staff, reason, outcome, what=what) as case:
        _check_seen(case, as_seen)
        review = emergency_reviews.held(case.review.pk, actor=case.actor, now=case.at)
        emergency_reviews.decide(review, outcome, actor=case.actor, reason=reason.strip(), now=case.at)
        if outcome == EmergencyReview.Outcome.JUSTIFIED:
            return None
        grant = review.grant
        break_glass.hold_user(grant.user)
        emergency_reviews.ban(review, now=case.at)
        break_glass.revoke_all(grant.user, directory.same_organization(grant.organization), now=case.at)
        return emergency_reviews.open_case(review, participant=grant.organization, now=case.at)


def pass_on(review_id: int, staff: Staff, reason: str, *, as_seen: str | None = None) -> None:
    """Leave a case to a second reviewer; its deadline stays.

    Raises:
        As `decide`.
    """
    with _acting(review_id, staff, reason, "passed-on") as case:
        _check_seen(case, as_seen)
        review = emergency_reviews.held(case.review.pk, actor=case.actor, now=case.at)
        emergency_reviews.pass_on(review, actor=case.actor, reason=reason.strip(), now=case.at)


def _check_seen(case: _Case, as_seen: str | None) -> None:
    if as_seen is not None and as_seen != seen(case.review):
        raise EmergencyReviewRefused("something was added to the case: read it again", element="act")


def reopen(review_id: int, staff: Staff, reason: str) -> None:
    """Take a decision back, within 30 days: the case waits again, and what it brought is ended; grants stay revoked.

    Raises:
        As `claim`. EmergencyReviewRefused: it waits, or the decision is older. BadRequest: no reason.
    """
    with _acting(review_id, staff, reason, "reopened") as case:
        review, grant = case.review, case.review.grant
        break_glass.hold_user(grant.user)
        emergency_reviews.reopen(review, actor=case.actor, reason=reason.strip(), now=case.at)
        emergency_reviews.lift_ban(review, actor=case.actor, reason=reason.strip(), now=case.at)
        emergency_reviews.withdraw_case(review, now=case.at)


def give_access_back(review_id: int, staff: Staff, reason: str) -> None:
    """End the suspension that a case brought; the decision stands. From now on the user may declare emergencies again.

    Raises:
        As `claim`. EmergencyReviewRefused: nothing of this case is suspended. BadRequest: no reason.
    """
    with _acting(review_id, staff, reason, "access-given-back", told=False) as case:
        grant = case.review.grant
        break_glass.hold_user(grant.user)
        if not emergency_reviews.lift_ban(case.review, actor=case.actor, reason=reason.strip(), now=case.at):
            raise EmergencyReviewRefused("no emergency access is suspended by this case", element="act")
        emergency_reviews.note(
            case.review, emergency_reviews.Act.GIVEN_BACK, actor=case.actor, reason=reason.strip(), now=case.at
        )


def answer(review_id: int, staff: Staff, said: str) -> None:
    """Keep what the participant answered about an access that was not justified.

    Raises:
        As `claim`. EmergencyReviewRefused: no answer is waited for. BadRequest: no words.
    """
    with _acting(review_id, staff, said, "answered", told=False) as case:
        emergency_reviews.answer_case(case.review, said.strip(), actor=case.actor, now=case.at)


def hold_notice(review_id: int, staff: Staff, reason: str, until: datetime | None) -> None:
    """Put off that the patient is told, for a reason of safety, to at most 72 hours after the start.

    Raises:
        As `claim`. EmergencyReviewRefused: the patient has been told, or `until` does not fit. BadRequest: no reason.
    """
    with _acting(review_id, staff, reason, "notice-held", told=False) as case:
        if until is None:
            raise BadRequest("say until when", element="until")
        emergency_reviews.hold_notice(case.review, until, actor=case.actor, reason=reason.strip(), now=case.at)


def escalate(*, now: datetime | None = None) -> int:
    """Make overdue cases the hub's own matter; gives how many are new."""
    at = now or timezone.now()
    with transaction.atomic():
        late = emergency_reviews.overdue(at)
        recorder.write(
            EventDraft(
                kind=EventType.BREAK_GLASS_REVIEWED,
                caller=_HUB,
                detail={"review": review.pk, "grant": str(review.grant_id), "act": "overdue"},
            )
            for review in late
        )
    return len(late)


_HUB = Caller(participant_id=recorder.HUB, organization_id=recorder.HUB, client_id="hub", user_id="", face="hub")


@contextmanager
def _acting(
    review_id: int, staff: Staff, reason: str, act: str, *, what: str = "break glass reviewed", told: bool = True
) -> Iterator[_Case]:
    """One act about a case: by role, not by somebody of the user's organization, recorded with it or as refused.

    `told`: it stands in the patient's log, with its reason.
    """
    if len(reason.strip()) > MAX_REASON:
        raise BadRequest(f"write at most {MAX_REASON} characters", element="reason")
    if not storable(reason):
        raise BadRequest("holds a character that cannot be kept", element="reason")
    officer = replace(staff, roles=staff.roles & REVIEWERS)
    view = access.administrative(officer, Held.CONSENTS, [], reason=reason, act=True)
    at, actor = timezone.now(), f"Staff/{staff.user_id}"
    with recorder.recording(EventType.BREAK_GLASS_REVIEWED, staff.caller(view.role), action="U") as event:
        event.note(detail={"review": review_id, "act": act})
        with transaction.atomic():
            review = emergency_reviews.locked(review_id)
            person_id = identifiers.person_of_pk(review.grant.identifier_id)
            detail = {"review": review_id, "act": act, "grant": str(review.grant_id), "what": what}
            event.about(person_id if told else None, detail=detail, personal={"text": reason.strip()})
            if review.grant.organization in houses_of(staff):
                raise EmergencyReviewRefused(
                    "who works at the user's organization does not judge it", element="reviewer"
                )
            opened = emergency.declared(access.subject(person_id), since=review.opened_at).get(str(review.grant_id))
            if is_own(staff, review.grant, emergency.names_of(review.grant, opened)):
                raise EmergencyReviewRefused("nobody judges an emergency of his own", element="reviewer")
            yield _Case(review=review, actor=actor, at=at, event=event, person_id=person_id)
            event.commit()
