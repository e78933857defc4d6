"""Emergency cases as their reviewers see them: the queue by deadline, and one case with its evidence. Words only.

Nobody's name stands in the queue. What a case shows of a patient is what was looked at under the grant; titles of
documents above N the privacy officer alone reads. A look at the patient is in the log before the page is shown.

Source: spec/consent.md 9.5.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from django.db.models import Count, F, Q, QuerySet

from consent import break_glass, emergency_reviews
from consent.models import BreakGlassGrant, EmergencyAct, EmergencyCase, EmergencyReview, SupervisorLeave
from documents import queries as registry
from hie.audit import queries as audit
from hie.audit.kinds import EventType
from hie.audit.values import AuditQuery, EventRecord
from hie.directory import queries as directory
from hie.directory import working_days
from hie.exchange import access, emergency, emergency_answers, emergency_review, review_list
from hie.exchange.access import Staff, StaffView
from hie.exchange.access_log_lines import ROLE_WORDS
from hie.standards.facts import Caller, Operation, ParticipantFacts
from patients import identifiers

PAGE = 20
STATES = ("waiting", "mine", "escalated", "objected", "unanswered", "decided")
SOON = timedelta(hours=24)
TOLD_WITHIN = timedelta(minutes=5)
CODE_WORDS: Mapping[str, str] = {
    BreakGlassGrant.Reason.UNCONSCIOUS: "unconscious",
    BreakGlassGrant.Reason.UNABLE_TO_CONSENT: "unable to consent",
    BreakGlassGrant.Reason.LIFE_THREAT: "threat to life",
    BreakGlassGrant.Reason.PUBLIC_SAFETY: "public safety",
    BreakGlassGrant.Reason.OTHER: "other",
}
Act = EmergencyAct.Kind
_MOST_EVENTS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One case of the queue."""

    number: int
    organization: str
    user: str
    code: str
    opened_at: datetime
    due_at: datetime
    objected: bool
    escalated: bool
    overdue: bool
    claimed_by: str
    claimed_until: datetime | None
    outcome: str
    objected_since: bool = False
    not_mine: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A page of the queue; `counts` by state of all there are, `names` of the staff on it."""

    cases: tuple[Waiting, ...]
    state: str
    page: int
    pages: int
    total: int
    counts: Mapping[str, int]
    names: Mapping[str, str]


def listed(state: str, page: int, staff: Staff, *, now: datetime) -> Listed:
    """One page: what is due first comes first, decided ones the newest first. 5 statements."""
    me = f"Staff/{staff.user_id}"
    state = state if state in STATES else "waiting"
    conditions = _conditions(me, now)
    counts = EmergencyReview.objects.aggregate(**{name: Count("pk", filter=q) for name, q in conditions.items()})
    order = ("-decided_at", "-pk") if state in ("objected", "unanswered", "decided") else ("due_at", "pk")
    rows: QuerySet[EmergencyReview] = EmergencyReview.objects.select_related("grant").filter(conditions[state])
    pages = max(1, -(-counts[state] // PAGE))
    page = min(max(1, page), pages)
    found = list(rows.order_by(*order)[(page - 1) * PAGE : page * PAGE])
    members = directory.participants()
    houses = emergency_review.houses_of(staff)
    registered: dict[str, set[str]] = {}
    for user in directory.users_named(row.grant.user for row in found):
        registered.setdefault(user.id, set()).add(user.name)
    cases = tuple(
        _waiting(row, _not_mine(row, staff, houses, registered.get(row.grant.user, ())), members, now) for row in found
    )
    return Listed(
        cases=cases, state=state, page=page, pages=pages, total=counts[state], counts=counts,
        names=review_list.names_of({row.claimed_by for row in found} | {row.decided_by for row in found}),
    )  # fmt: skip


def _conditions(me: str, now: datetime) -> dict[str, Q]:
    waits = Q(status=EmergencyReview.Status.OPEN)
    return {
        "waiting": waits,
        "mine": waits & Q(claimed_by=me, claimed_until__gt=now),
        "escalated": waits & Q(escalated_at__isnull=False),
        # What the patient says after the decision is for somebody to read, and perhaps to open the case again.
        "objected": Q(status=EmergencyReview.Status.DECIDED, objected_at__gt=F("decided_at")),
        # The organization has not said yet what it has to say about it.
        "unanswered": Q(case__isnull=False, case__withdrawn_at__isnull=True, case__answered_at__isnull=True),
        "decided": Q(status=EmergencyReview.Status.DECIDED),
    }


def _waiting(row: EmergencyReview, not_mine: str, members: Mapping[str, ParticipantFacts], now: datetime) -> Waiting:
    grant = row.grant
    place = members.get(grant.organization)
    live = row.claimed_until is not None and row.claimed_until > now
    return Waiting(
        number=row.pk, organization=place.name if place else grant.organization, user=grant.user,
        code=CODE_WORDS.get(grant.reason, grant.reason), opened_at=row.opened_at, due_at=row.due_at,
        objected=row.objected_at is not None, escalated=row.escalated_at is not None,
        overdue=row.status == EmergencyReview.Status.OPEN and row.due_at <= now,
        claimed_by=row.claimed_by if live else "", claimed_until=row.claimed_until if live else None,
        outcome=row.outcome, not_mine=not_mine,
        objected_since=bool(row.decided_at and row.objected_at and row.objected_at > row.decided_at),
    )  # fmt: skip


def next_for(staff: Staff, *, after: int | None, now: datetime) -> list[int]:
    """Cases this reviewer could take, the first due first, without `after`. 1 statement, and one for the employers."""
    me = f"Staff/{staff.user_id}"
    taken = Q(claimed_until__gt=now) & ~Q(claimed_by="") & ~Q(claimed_by=me)
    rows = (
        EmergencyReview.objects.filter(status=EmergencyReview.Status.OPEN)
        .exclude(taken)
        .exclude(pk__in=emergency_reviews.left_by(me))
        .exclude(grant__organization__in=sorted(emergency_review.houses_of(staff)))
        .exclude(pk=after or 0)
        .order_by("due_at", "pk")
    )
    return list(rows.values_list("pk", flat=True)[:_TRIED]) if staff.roles & emergency_review.REVIEWERS else []


_TRIED = 50
"""How many cases are tried in turn by who takes the next: each that fails was taken that moment by somebody else."""


# --- one case ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happened: when, what, from where it is known, and whether it fits ("good", "doubt" or "")."""

    at: datetime
    words: str
    source: str
    sign: str = ""
    says: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One act about the case."""

    at: datetime
    words: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A case for its page. `person_id` is whom it shows: the look must be recorded before.

    `claim` is free, mine, other, passed-on (by this reader, who passed it on or judged it before), not-mine (he works there, or may only look) or closed.
    """

    review: EmergencyReview
    person_id: UUID
    name: str
    role: str
    organization: str
    department: str
    code: str
    steps: tuple[Step, ...]
    more: bool
    facts: tuple[tuple[str, str], ...]
    acts: tuple[Done, ...]
    claim: str
    why_not: str
    claimed_by: str
    banned: bool
    answer_due: bool
    answer_due_on: date | None
    raised: bool
    can_reopen: bool
    can_hold: bool
    seen: str


def case(review: EmergencyReview, staff: Staff, view: StaffView, *, now: datetime) -> Case:
    """The page of a case; some 20 statements, whatever was looked at."""
    grant = review.grant
    about = access.subject(identifiers.person_of_pk(grant.identifier_id))
    events, more = _events(about, grant, now)
    opened = emergency.declared(about, since=review.opened_at).get(str(grant.pk))
    members = directory.participants()
    known = directory.user(opened.organization if opened is not None else grant.organization, grant.user)
    house = members.get(grant.organization)
    department = members.get(opened.organization) if opened is not None else None
    acts = list(review.acts.order_by("at", "pk"))
    names = review_list.names_of({act.actor for act in acts} | {review.claimed_by})
    role = (opened.role if opened is not None else "") or (known.role if known is not None else "")
    why_not = _not_mine(review, staff, emergency_review.houses_of(staff), emergency.names_of(grant, opened))
    me = f"Staff/{staff.user_id}"
    answered = getattr(review, "case", None)
    return Case(
        review=review,
        person_id=UUID(about.person_id),
        name=(opened.user_name if opened is not None else "") or (known.name if known is not None else grant.user),
        role=ROLE_WORDS.get(role, role),
        organization=house.name if house is not None else grant.organization,
        department=department.name if department is not None and department.id != grant.organization else "",
        code=CODE_WORDS.get(grant.reason, grant.reason),
        steps=tuple(sorted(_steps(review, events, acts, view), key=lambda step: step.at)),
        more=more,
        facts=tuple(_facts(review, about, events, opened, why_not, now)),
        acts=tuple(
            Done(
                at=act.at,
                words=ACT_WORDS[act.kind],
                by=names.get(act.actor, _BY.get(act.actor.partition("/")[0], act.actor)),
                reason=act.reason,
            )
            for act in reversed(acts)
        ),
        claim=_claim(review, me, why_not, now),
        why_not=why_not,
        claimed_by=names.get(review.claimed_by, review.claimed_by),
        banned=emergency_reviews.has_ban(review),
        answer_due=answered is not None and answered.withdrawn_at is None and answered.answered_at is None,
        answer_due_on=_answer_due_on(answered) if answered is not None else None,
        raised=answered is not None
        and answered.withdrawn_at is None
        and directory.root_of(answered.participant) in emergency_answers.raised_roots(now),
        can_reopen=review.decided_at is not None and review.decided_at + emergency_reviews.REOPENED_WITHIN > now,
        can_hold=review.told_at is None and review.opened_at + emergency_reviews.LONGEST_HOLD > now,
        seen=emergency_review.seen(review),
    )


def _answer_due_on(case: EmergencyCase) -> date:
    """The day by whose end the organization answers, as its own calendar has it."""
    zone = directory.zone_of(directory.snapshot().jurisdiction_of(case.participant))
    return emergency_reviews.answer_due(case, working_days.calendar()).astimezone(zone).date()


_BY = {emergency_reviews.HUB: "the hub", "Patient": "the patient", "RelatedPerson": "a helper of the patient"}


ACT_WORDS: Mapping[str, str] = {
    Act.OPENED: "Grant opened",
    Act.HELD: "Notice to the patient put off",
    Act.TOLD: "Patient told",
    Act.NOT_TOLD: "Patient not told: nobody who may know can sign in",
    Act.OBJECTED: "Patient objected",
    Act.PASSED_ON: "Passed on to a second reviewer",
    Act.OVERDUE: "Deadline went by: the hub’s own matter now",
    Act.JUSTIFIED: "Justified",
    Act.NOT_JUSTIFIED: "Not justified",
    Act.REOPENED: "Opened again",
    Act.GIVEN_BACK: "Emergency access given back",
    Act.ANSWERED: "Organization answered",
}


def _claim(review: EmergencyReview, me: str, why_not: str, now: datetime) -> str:
    if review.status != EmergencyReview.Status.OPEN:
        return "closed"
    if why_not:
        return "not-mine"
    if emergency_reviews.has_left(review, me):
        return "passed-on"
    if review.claimed_by == me:
        return "mine"
    taken = review.claimed_by and review.claimed_until is not None and review.claimed_until > now
    return "other" if taken else "free"


def _not_mine(review: EmergencyReview, staff: Staff, houses: Collection[str], names: Iterable[str]) -> str:
    if not staff.roles & emergency_review.REVIEWERS:
        return "Privacy officers decide this."
    if review.grant.organization in houses:
        return "You work at this organization: somebody else decides it."
    if emergency_review.is_own(staff, review.grant, names):
        return "You are called like the user: somebody else decides it."
    return ""


def _events(about: access.Subject, grant: BreakGlassGrant, now: datetime) -> tuple[list[EventRecord], bool]:
    """What the user did under the grant, oldest first."""
    until = min(now, grant.end) + timedelta(minutes=1)
    asked = AuditQuery(purposes=("BTG",), users=(grant.user,), since=grant.start, until=until)
    page = audit.events_for_person(about.facts.ids, filters=asked, limit=_MOST_EVENTS)
    mine = [
        event
        for event in reversed(page.events)
        if event.root_organization == grant.organization and event.type is not EventType.BREAK_GLASS
    ]
    return mine, page.next is not None


def _steps(
    review: EmergencyReview, events: Sequence[EventRecord], acts: Sequence[EmergencyAct], view: StaffView
) -> list[Step]:
    grant = review.grant
    lasts = grant.end - grant.start <= timedelta(hours=4)
    steps = [
        Step(
            at=grant.start,
            words=f"Grant opened, to end at {grant.end:%H:%M} UTC on {grant.end:%-d %B}",
            source="The hub",
            sign="good" if lasts else "doubt",
            says="Within 4 hours" if lasts else "Longer than 4 hours",
        )
    ]
    steps += [
        Step(at=event.at, words=looked(event, view), source="Audit log", sign=sign, says=says)
        for event in events
        for sign, says in [_fits(event)]
    ]
    for act in acts:
        if act.kind == Act.TOLD:
            soon = act.at - review.opened_at <= TOLD_WITHIN
            steps.append(
                Step(
                    at=act.at,
                    words="Patient told in the portal and in the log",
                    source="The hub",
                    sign="good" if soon or review.held_until is not None else "doubt",
                    says="Within 5 minutes" if soon else "Put off for safety" if review.held_until else "Late",
                )
            )
        elif act.kind == Act.NOT_TOLD:
            steps.append(Step(at=act.at, words="Nobody who may know can sign in: write a letter", source="The hub", sign="doubt", says="Not told"))  # fmt: skip
        elif act.kind == Act.OBJECTED:
            steps.append(Step(at=act.at, words=f"Patient objected: {act.reason}", source="Portal", sign="doubt", says="Objection"))  # fmt: skip
    return steps


def looked(event: EventRecord, view: StaffView) -> str:
    """What was done, for a member of staff: titles of what is above N for who may read them alone."""
    if event.outcome:
        return f"Refused: {event.kind.replace('-', ' ')}"
    verb = "Opened" if any(item.what == "bytes" for item in event.disclosures) else "Looked at"
    named, secret = [], 0
    for item in event.disclosures:
        if item.what == "demographics":
            named.append("name and contact data")
        elif view.words_of(item.confidentiality or None):
            named.append(item.title or item.type_display or "a document")
        else:
            secret += 1
    if secret:
        named.append(f"{secret} document{'' if secret == 1 else 's'} above normal secrecy")
    if not named:
        return "Looked for documents; there were none to show"
    return f"{verb} {', '.join(dict.fromkeys(named))}"


def _fits(event: EventRecord) -> tuple[str, str]:
    if event.outcome:
        return "", "Nothing shown"
    rules = {item.rule for item in event.disclosures}
    if "D2" in rules:
        return "doubt", "Opened by the emergency"
    return "good", "Own record, or open anyway"


def _facts(
    review: EmergencyReview,
    about: access.Subject,
    events: Sequence[EventRecord],
    opened: EventRecord | None,
    why_not: str,
    now: datetime,
) -> list[tuple[str, str]]:
    grant = review.grant
    leave = getattr(grant, "leave", None)
    more = [("More than three a day", _allowed(leave, now))] if leave is not None else []
    return [
        ("Without the emergency", _otherwise(review, about, events, opened)),
        *more,
        ("The user", _known(grant, opened)),
        ("The patient", _patients_word(review)),
        ("Same person, 30 days", _before(grant, now)),
        ("Same organization, 30 days", _in_the_house(grant, now)),
        ("You as reviewer", why_not or "You do not work at this organization."),
    ]


def _allowed(leave: SupervisorLeave, now: datetime) -> str:
    """Who allowed it and why, and whether that is usual between the two."""
    house = directory.same_organization(leave.organization)
    given, back = break_glass.allowed_between(leave, house, since=now - emergency_reviews.A_MONTH)
    pattern = f"In 30 days {given} for this user by the same, {back} the other way round."
    return f"Allowed by {leave.given_by}: {leave.text} {pattern}"


def _known(grant: BreakGlassGrant, opened: EventRecord | None) -> str:
    """Whether the directory knows the user: else the organization's own system alone says who it is."""
    known = directory.user(opened.organization if opened is not None else grant.organization, grant.user)
    return (
        "Registered by the organization."
        if known is not None
        else "Named by the organization’s system; not registered."
    )


def _otherwise(
    review: EmergencyReview, about: access.Subject, events: Sequence[EventRecord], opened: EventRecord | None
) -> str:
    """How many of the documents shown he would have seen for treatment, decided now as the door decides."""
    shown = {
        item.document_id
        for event in events
        for item in event.disclosures
        if item.what in ("metadata", "bytes") and item.document_id
    }
    rows = list(registry.entries_by_uuid(shown).values())
    if not rows or opened is None:
        return "No document of this hub was shown."
    treating = Caller(
        participant_id=opened.participant, organization_id=opened.organization, client_id=opened.client,
        user_id=review.grant.user, role=opened.role or None, purpose="TREAT",
    )  # fmt: skip
    open_anyway = len(access.permitted(treating, about, rows, Operation.RETRIEVE).permitted)
    return f"{open_anyway} of {len(rows)} document{'' if len(rows) == 1 else 's'} would be shown for treatment today."


def _patients_word(review: EmergencyReview) -> str:
    if review.objected_at is not None:
        return f"Objects, since {review.objected_at:%-d %B}: {review.objection}"
    if review.told_at is None:
        held = f" Put off to {review.held_until:%-d %B, %H:%M} UTC: {review.held_reason}" if review.held_until else ""
        return f"Not told yet.{held}"
    return "Told. No objection so far."


def _before(grant: BreakGlassGrant, now: datetime) -> str:
    rows = EmergencyReview.objects.filter(
        grant__user_key=grant.user_key,
        grant__organization=grant.organization,
        opened_at__gt=now - emergency_reviews.A_MONTH,
    ).exclude(grant=grant)
    counted = rows.aggregate(
        n=Count("pk"),
        good=Count("pk", filter=Q(outcome=EmergencyReview.Outcome.JUSTIFIED)),
        bad=Count("pk", filter=Q(outcome=EmergencyReview.Outcome.NOT_JUSTIFIED)),
    )
    if not counted["n"]:
        return "No other emergency."
    return f"{counted['n']} other: {counted['good']} justified, {counted['bad']} not, {counted['n'] - counted['good'] - counted['bad']} waiting."  # fmt: skip


def _in_the_house(grant: BreakGlassGrant, now: datetime) -> str:
    since = now - emergency_reviews.A_MONTH
    rows = EmergencyReview.objects.filter(opened_at__gt=since)
    own = rows.filter(grant__organization=grant.organization)
    bad = own.filter(outcome=EmergencyReview.Outcome.NOT_JUSTIFIED).count()
    return f"{own.count()} of {rows.count()} emergencies of all organizations; {bad} not justified."
