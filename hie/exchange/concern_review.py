"""Concerns as the hub's office works on them: the queue by deadline, one with its evidence, and each act in the log.

A privacy officer or an administrator asks the organization, writes to the patient, and says what came of it, with a reason
that the patient reads; within thirty days that is taken back. Who works at the organization, or whose own look it is,
does not judge it. A look at the patient is in the log before the page is shown.

Source: spec/consent.md 15; 7, item 5.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone

from consent import explain
from hie.audit import queries as audit
from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.audit.values import AuditQuery, EventRecord
from hie.directory import queries as directory
from hie.directory import working_days
from hie.exchange import access, accounts, patient_notices, review_list
from hie.exchange import concern_rows as rows
from hie.exchange.access import PRIVACY_OFFICER, Held, Staff, StaffView
from hie.exchange.access_log_lines import ROLE_WORDS
from hie.exchange.concern_rows import Act, ConcernRefused, Outcome, Said, Status
from hie.exchange.emergency_pages import looked
from hie.exchange.emergency_review import houses_of
from hie.exchange.errors import BadRequest, NotFound
from hie.exchange.models import Concern
from patients import identifiers
from patients.normalise import storable

REVIEWERS = frozenset({PRIVACY_OFFICER, "administrator"})
MAX_REASON = 1000
PAGE = 20
STATES = ("waiting", "office", "asked", "overdue", "closed")
A_MONTH = timedelta(days=30)
REASON_WORDS: Mapping[str, str] = {
    Concern.Reason.PERSON: "does not know the person or place",
    Concern.Reason.VISIT: "was not there on that day",
    Concern.Reason.PURPOSE: "says that the reason is not right",
    Concern.Reason.OTHER: "doubts it for another reason",
}
ACT_WORDS: Mapping[str, str] = {
    Act.RAISED: "Concern raised",
    Act.SAID: "The patient wrote more",
    Act.READ: "Organization read it",
    Act.ASKED: "Organization asked",
    Act.WROTE: "Written to the patient",
    Act.ANSWERED: "Organization answered",
    Act.OVERDUE: "No answer in time: for the office",
    Act.DISPUTED: "The patient asks to look further",
    Act.EXPLAINED: "The look was right",
    Act.UPHELD: "The look was wrong",
    Act.REOPENED: "Opened again",
    Act.ACCEPTED: "The patient took the answer",
    Act.WITHDRAWN: "The patient took it back",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One concern of the queue; nobody's name stands there."""

    pk: int
    number: str
    organization: str
    reason: str
    status: str
    outcome: str
    raised_at: datetime
    due_at: datetime
    late: bool
    owner: str
    not_mine: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A page of the queue; `counts` by state of all there are."""

    concerns: tuple[Waiting, ...]
    state: str
    page: int
    pages: int
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One act in words."""

    kind: str
    at: datetime
    words: str
    by: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A concern for its page: the look it is about as facts, what was said, and what this reader may do."""

    concern: Concern
    organization: str
    looked: str
    facts: tuple[tuple[str, str], ...]
    acts: tuple[Done, ...]
    seen: str
    why_not: str
    may_ask: bool
    can_reopen: bool
    event_is_there: bool


def listed(state: str, page: int, staff: Staff, *, now: datetime) -> Listed:
    """One page: what is due first comes first, closed ones the newest first. 5 statements."""
    state = state if state in STATES else "waiting"
    conditions = _conditions(now)
    counts = Concern.objects.aggregate(**{name: Count("pk", filter=q) for name, q in conditions.items()})
    order = ("-closed_at", "-pk") if state == "closed" else ("due_at", "pk")
    pages = max(1, -(-counts[state] // PAGE))
    page = min(max(1, page), pages)
    found = list(Concern.objects.filter(conditions[state]).order_by(*order)[(page - 1) * PAGE : page * PAGE])
    names = review_list.names_of({one.owner for one in found})
    houses, members = houses_of(staff), directory.participants()
    shown = tuple(
        Waiting(
            pk=one.pk,
            number=one.number,
            organization=members[one.participant].name if one.participant in members else "",
            reason=REASON_WORDS[one.reason],
            status=one.status,
            outcome=one.outcome,
            raised_at=one.raised_at,
            due_at=one.due_at,
            late=one.is_open and one.due_at <= now,
            owner=names.get(one.owner, ""),
            not_mine=_not_mine(one, staff, houses),
        )
        for one in found
    )
    return Listed(concerns=shown, state=state, page=page, pages=pages, counts=counts)


def _conditions(now: datetime) -> dict[str, Q]:
    waits = Q(status__in=rows.OPEN)
    return {
        "waiting": waits,
        "office": Q(status__in=[Status.OFFICE, Status.ANSWERED]),
        "asked": Q(status=Status.ASKED),
        "overdue": waits & Q(due_at__lte=now),
        "closed": ~waits,
    }


def next_for(staff: Staff, *, after: int | None, now: datetime) -> int | None:
    """The concern due first that waits for the office and that this reviewer may judge, without `after`. 2 statements."""
    if not staff.roles & REVIEWERS:
        return None
    found = (
        Concern.objects.filter(_conditions(now)["office"])
        .exclude(participant__in=sorted(houses_of(staff)))
        .exclude(looker=f"Staff/{staff.user_id}")
        .exclude(pk=after or 0)
        .order_by("due_at", "pk")
    )
    return found.values_list("pk", flat=True).first()


def case(concern: Concern, staff: Staff, view: StaffView, *, now: datetime) -> Case:
    """The page of a concern; some 12 statements."""
    events = audit.search(AuditQuery(ids=(str(concern.event_id),), limit=1)).events
    look = events[0] if events else None
    said = rows.said(concern)
    names = review_list.names_of({one.actor for one in said})
    why_not = _not_mine(concern, staff, houses_of(staff))
    place = _name(concern.participant)
    return Case(
        concern=concern,
        organization=place,
        looked=_looked(look, view),
        facts=tuple(_facts(concern, look, view, why_not, now)),
        acts=tuple(_done(one, names, place) for one in said),
        seen=seen(said),
        why_not=why_not,
        may_ask=bool(concern.participant) and concern.is_open and not rows.may_be_answered(concern),
        can_reopen=concern.closed_at is not None
        and concern.outcome in {Outcome.EXPLAINED, Outcome.UPHELD}
        and concern.closed_at + rows.REOPENED_WITHIN > now,
        event_is_there=look is not None,
    )


def _looked(look: EventRecord | None, view: StaffView) -> str:
    if look is None:
        return "The event of this line is no longer kept"
    return looked(look, view) if look.outcome or look.disclosures else "Asked, and nothing was shown"


def seen(said: Collection[Said]) -> str:
    """What changes with every act about a concern."""
    return str(len(said))


def _done(one: Said, names: Mapping[str, str], place: str) -> Done:
    by = {rows.PATIENT: "the patient", rows.HUB: "the hub"}.get(one.actor) or names.get(one.actor)
    if by is None:
        helper = one.actor.startswith("RelatedPerson/")
        by = f"{one.name}, a helper of the patient" if helper else f"{one.actor} at {place}"
    return Done(kind=one.kind, at=one.at, words=ACT_WORDS[one.kind], by=by, said=one.words)


def _facts(
    concern: Concern, look: EventRecord | None, view: StaffView, why_not: str, now: datetime
) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    if look is not None:
        known = directory.user(look.organization, look.user)
        name = look.user_name or (known.name if known is not None else "") or look.user or "an automatic service"
        role = ROLE_WORDS.get(look.role, look.role)
        facts += [
            ("Who", f"{name}, {role}" if role else name),
            ("User", f"{look.user}, {'registered by the organization' if known else 'named by its system alone'}"),
            ("Where", look.organization_name or _name(look.organization)),
        ]
        if look.intermediary:
            facts.append(("Passed on by", f"{_name(look.intermediary)}, which read nothing"))
        facts += [
            ("When", f"{look.at:%-d %B %Y, %H:%M} UTC"),
            ("Why", explain.purpose_words(look.purpose) if look.purpose else "No reason was needed"),
            ("Kind of request", look.kind),
            ("Result", "Refused" if look.outcome else "Shown" if look.disclosures else "Nothing to show"),
            ("Decided by", _decided(look, view)),
        ]
        if look.relationship:
            facts.append(("Said relationship", look.relationship))
    facts += [
        (
            "Same user, 30 days",
            _others(Q(looker=concern.looker), concern, now) if concern.looker else "No user is named.",
        ),
        (
            "Same organization, 30 days",
            _others(Q(participant=concern.participant), concern, now)
            if concern.participant
            else "The hub’s own matter.",
        ),
        ("You as reviewer", why_not or "You do not work at this organization, and it was not your look."),
    ]
    return facts


def _decided(look: EventRecord, view: StaffView) -> str:
    if not view.consent_outcomes:
        return "Not for your role"
    rules = sorted({item.rule for item in look.disclosures if item.rule} | {rule for _, rule in look.denied})
    return f"Rule {', '.join(rules) or look.rule}" if rules or look.rule else "No rule is named"


def _others(same: Q, concern: Concern, now: datetime) -> str:
    counted = Concern.objects.filter(same, raised_at__gt=now - A_MONTH).exclude(pk=concern.pk).aggregate(
        n=Count("pk"),
        right=Count("pk", filter=Q(outcome=Outcome.EXPLAINED)),
        wrong=Count("pk", filter=Q(outcome=Outcome.UPHELD)),
    )  # fmt: skip
    if not counted["n"]:
        return "No other concern."
    return f"{counted['n']} other: {counted['right']} right, {counted['wrong']} wrong, {counted['n'] - counted['right'] - counted['wrong']} without a decision."  # fmt: skip


def _not_mine(concern: Concern, staff: Staff, houses: Collection[str]) -> str:
    if not staff.roles & REVIEWERS:
        return "Privacy officers decide this."
    if concern.participant and concern.participant in houses:
        return "You work at this organization: somebody else decides it."
    if concern.looker == f"Staff/{staff.user_id}":
        return "It is about your own look: somebody else decides it."
    return ""


def _name(participant: str) -> str:
    facts = directory.participants().get(participant)
    return (facts.name or participant) if facts is not None else participant


# --- acts --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A concern held for one act: locked, by whom, when, about whom."""

    concern: Concern
    actor: str
    name: str
    at: datetime
    person_id: UUID
    due_at: datetime


def ask(pk: int, staff: Staff, words: str, *, as_seen: str | None = None) -> None:
    """Ask the organization something more; it has ten working days again. The patient reads the question.

    Raises:
        AccessRefused, ConcernRefused: not a reviewer of this concern; it is closed, waits for an answer, or is the hub's own
            matter; something was added to it. BadRequest: no words. NotFound: no such concern.
    """
    with _acting(pk, staff, words, Act.ASKED, as_seen) as held:
        rows.check_open(held.concern)
        if not held.concern.participant or rows.may_be_answered(held.concern):
            raise ConcernRefused("there is nobody to be asked, or it was asked already", element="outcome")
        rows.changed(
            held.concern, status=Status.ASKED, asked_at=held.at, answer_due_at=held.due_at, due_at=held.due_at,
            overdue_at=None, read_at=None,
        )  # fmt: skip


def write(pk: int, staff: Staff, words: str, *, as_seen: str | None = None) -> None:
    """Write to the patient; whoever it waits for stays the same.

    Raises:
        As `ask`.
    """
    with _acting(pk, staff, words, Act.WROTE, as_seen) as held:
        rows.check_open(held.concern)


def decide(pk: int, outcome: str, staff: Staff, reason: str, *, as_seen: str | None = None) -> None:
    """Close it: the look was right, or it was wrong; the patient reads the reason.

    Raises:
        As `ask`. BadRequest: no such outcome.
    """
    if outcome not in {Outcome.EXPLAINED, Outcome.UPHELD}:
        raise BadRequest("choose what you decide", element="outcome")
    with _acting(pk, staff, reason, outcome, as_seen) as held:
        rows.check_open(held.concern)
        rows.closed(held.concern, status=Status.SETTLED, outcome=outcome, by=held.actor, now=held.at)


def reopen(pk: int, staff: Staff, reason: str) -> None:
    """Take a decision back, within 30 days: it waits for the office again.

    Raises:
        As `ask`. ConcernRefused: nothing was decided by the office, or longer ago.
    """
    with _acting(pk, staff, reason, Act.REOPENED, None) as held:
        concern = held.concern
        mine = concern.outcome in {Outcome.EXPLAINED, Outcome.UPHELD}
        if not mine or concern.closed_at is None or concern.closed_at + rows.REOPENED_WITHIN <= held.at:
            raise ConcernRefused("there is no decision to take back", element="act")
        rows.changed(
            concern, status=Status.OFFICE, outcome="", closed_at=None, closed_by="", due_at=held.due_at, overdue_at=None
        )


@contextmanager
def _acting(pk: int, staff: Staff, words: str, act: str, as_seen: str | None) -> Iterator[_Held]:
    """One act about a concern: by role, not by whom it concerns, recorded with it or as refused; then the patient is told."""
    if len(words.strip()) > MAX_REASON:
        raise BadRequest(f"write at most {MAX_REASON} characters", element="reason")
    if not storable(words):
        raise BadRequest("holds a character that cannot be kept", element="reason")
    officer = replace(staff, roles=staff.roles & REVIEWERS)
    view = access.administrative(officer, Held.AUDIT, [], reason=words, act=True)
    at, actor = timezone.now(), f"Staff/{staff.user_id}"
    caller = staff.caller(view.role)
    with recorder.recording(EventType.CONCERN, caller, action="U") as event, transaction.atomic():
        concern = Concern.objects.select_for_update(of=("self",)).filter(pk=pk).first()
        if concern is None:
            raise NotFound("no such concern")
        person_id = identifiers.person_of_pk(concern.identifier_id)
        event.about(person_id, detail=rows.detail(concern, act))
        why_not = _not_mine(concern, officer, houses_of(staff))
        if why_not:
            raise ConcernRefused(why_not.rstrip("."), element="reviewer")
        if as_seen is not None and as_seen != seen(rows.said(concern)):
            raise ConcernRefused("something was added to it: read it again", element="act")
        asked = concern.participant if act == Act.ASKED else ""
        due = working_days.answer_due(at, participant=asked, zone=accounts.zone_of(str(person_id)))
        yield _Held(concern=concern, actor=actor, name=staff.name, at=at, person_id=person_id, due_at=due)
        rows.changed(concern, owner=actor)
        rows.note(concern, act, actor=actor, now=at, person_id=person_id, words=words.strip())
        patient_notices.of_concern(concern, now=at)
        event.commit()
