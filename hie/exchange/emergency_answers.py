"""What a participant answers for: the emergency accesses of its users that were found not justified, and its answer.

Whoever asks at the participant's for its operations (quality, compliance) reads its cases and answers them; the user
concerned does not. A case names the grant, the user and his own words, and nothing of the patient: what was looked at the
participant has in its own log. Staff of the exchange can write an answer down that came otherwise
(`emergency_review.answer`).

Source: spec/consent.md 9.5.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from consent import break_glass, emergency_reviews, policies
from consent.errors import EmergencyReviewRefused
from consent.models import EmergencyCase
from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.directory import queries as directory
from hie.directory import working_days
from hie.exchange import access, release
from hie.exchange.errors import AccessRefused, BadRequest, NotFound
from hie.standards.facts import Caller, Operation
from patients.normalise import storable

MAX_ANSWER = 2000
MOST = 200
MAX_RAW = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Answerable:
    """A case as its participant sees it. `status` is open, answered or withdrawn; `raised`: three stand in a month.

    `user`, `reason` (the code), `text`, `start` and `end` are those of the grant, whose id the client got as it was opened.
    """

    grant_id: UUID
    user: str
    reason: str
    text: str
    start: datetime
    end: datetime
    opened_at: datetime
    due_at: datetime
    status: str
    raised: bool
    answered_at: datetime | None
    answer: str


@release.point
def cases(*, caller: Caller) -> list[Answerable]:
    """The cases of the caller's house, newest first, at most 200; recorded.

    Raises:
        AccessRefused: as at every door, or the purpose is not that of the house's own operations (G4), or it
            is a patient or a helper who asks (G5).
    """
    with recorder.recording(
        EventType.BREAK_GLASS_REVIEWED, caller, action="R", query="cases of the participant"
    ) as event:
        found = _of_house(caller)[:MOST]
        raised = raised_roots(access.now())
        event.commit()
    calendar = working_days.calendar()
    return [_shown(case, raised, calendar) for case in found]


@release.point
def answer(grant_id: UUID, text: str, *, caller: Caller, raw: str | bytes = "") -> Answerable:
    """Answer a case, once; its reviewers read it.

    Raises:
        AccessRefused: as `cases`, or it is no person who answers (G5). NotFound: no such case of this house. BadRequest: no words, or too many.
        EmergencyReviewRefused: it is answered or withdrawn, or the caller is the user concerned.
    """
    said = text.strip()
    with recorder.recording(EventType.BREAK_GLASS_REVIEWED, caller, action="U", query=raw[:MAX_RAW]) as event:
        event.note(detail={"act": "answered", "grant": str(grant_id)}, personal={"text": said[:MAX_ANSWER]})
        held = _of_house(caller)
        if not access.is_at_work(caller):
            raise AccessRefused("G5", "role-not-permitted")
        case = next((one for one in held if one.review.grant_id == grant_id), None)
        if case is None:
            raise NotFound("no such case")
        if not said or len(said) > MAX_ANSWER or not storable(said):
            raise BadRequest(f"write 1 to {MAX_ANSWER} characters", element="text")
        if break_glass.is_same_user(caller.user_id, case.review.grant.user):
            raise EmergencyReviewRefused("who is concerned does not answer for the organization", element="user")
        at = access.now()
        with transaction.atomic():
            release.basis_of(event).hold()
            emergency_reviews.answer_case(emergency_reviews.locked(case.review_id), said, actor=caller.user_id, now=at)
            case.refresh_from_db()
            event.commit()
    return _shown(case, raised_roots(at), working_days.calendar())


def raised_roots(now: datetime) -> dict[str, datetime]:
    """The houses with three cases that stand in the last month, each with since when; by their roots as they are now."""
    standing = [
        (directory.root_of(case.participant), case.opened_at) for case in emergency_reviews.standing_cases(now=now)
    ]
    many = {root for root, n in Counter(root for root, _ in standing).items() if n >= emergency_reviews.RAISED_AT}
    return {root: [at for one, at in standing if one == root][emergency_reviews.RAISED_AT - 1] for root in sorted(many)}


def answering_house(caller: Caller) -> tuple[str, ...]:
    """The organizations that the caller answers for: its own whole house, asked for a purpose of its operations.

    Raises:
        AccessRefused: as at every door, or the purpose is another (G4).
    """
    access.gate(caller, Operation.QUERY)
    if caller.role in ("patient", "proxy") or caller.user_id.casefold().startswith(("patient/", "relatedperson/")):
        raise AccessRefused("G5", "role-not-permitted")
    if "HOPERAT" not in policies.current().tables.families.get(caller.purpose or "", frozenset()):
        raise AccessRefused("G4", "purpose-not-permitted")
    return tuple(directory.same_organization(caller.organization_id))


def _of_house(caller: Caller) -> Sequence[EmergencyCase]:
    return emergency_reviews.cases_of(answering_house(caller))


def _shown(case: EmergencyCase, raised: dict[str, datetime], calendar: working_days.Calendar) -> Answerable:
    grant = case.review.grant
    status = "withdrawn" if case.withdrawn_at is not None else "answered" if case.answered_at is not None else "open"
    return Answerable(
        grant_id=grant.pk,
        user=grant.user,
        reason=grant.reason,
        text=grant.text,
        start=grant.start,
        end=grant.end,
        opened_at=case.opened_at,
        due_at=emergency_reviews.answer_due(case, calendar),
        status=status,
        raised=status != "withdrawn" and directory.root_of(case.participant) in raised,
        answered_at=case.answered_at,
        answer=case.answer,
    )
