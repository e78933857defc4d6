"""Emergency access: a clinician declares an emergency, and the patient is told of it within minutes.

The grant that is opened lets requests with the purpose BTG be decided by D1 and D2 until it ends; nothing else follows from
it. In the transaction that opens it stand its audit row, the case of its review (`hie.exchange.emergency_review`) and a row
of the outbox: the patient is told by the portal, at once, and by nothing that says anything of health.

Source: spec/consent.md 9; design.md, "Break-glass".
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import transaction

from consent import break_glass, emergency_reviews, owners, policies
from consent.errors import EmergencyGrantRefused
from consent.models import BreakGlassGrant as Grant
from consent.models import EmergencyReview, SupervisorLeave
from hie.audit import queries as audit
from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.audit.recorder import Outdated
from hie.audit.values import AuditQuery, EventRecord, NameWithheld
from hie.directory import queries as directory
from hie.exchange import access, accounts, patient_notices, release, withheld_names
from hie.exchange.errors import AccessRefused, BadRequest, NotFound
from hie.exchange.named_patients import PatientNamed, identifier_of, persons_named
from hie.outbox import outbox
from hie.outbox.outbox import Notice, Topic
from hie.standards.facts import BreakGlassGrant, Caller, DocumentFacts, Operation
from hie.trust import assertions, limits
from patients import identifiers
from patients.errors import UnknownPatient
from patients.normalise import storable

log = structlog.get_logger(__name__)

TELL_AFTER = timedelta(minutes=4)
"""What is left to hold a notice for a reason of safety; the patient is told within 5 minutes."""
MAX_RAW = 8192
"""Bytes of a request that are kept with its event."""
SHOWN_FOR = timedelta(days=180)
"""How long an emergency is shown to the patient on a page of its own; in the log it stands for good."""
STATEMENT = (
    "The patient needs care now and cannot be asked. I look only at what this emergency needs. "
    "The patient is told, and my access is reviewed."
)
"""What the clinician's system shows before the grant is asked for; `statement_accepted` says that it was accepted."""
HINT = "More may be available in an emergency."
"""What somebody entitled to emergency access may be told, of every patient alike, so that it says nothing of any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What whoever may declare emergencies is shown before: equal for all patients, whom nobody names for it."""

    statement: str
    hint: str
    reasons: tuple[str, ...]
    min_text: int
    hours: float
    a_day: int


@release.point
def terms(*, caller: Caller) -> Terms:
    """The statement to be accepted, what an emergency asks for, and the hint that more may be available.

    Raises:
        AccessRefused: as `declare`.

    Source: spec/consent.md 9.1, 9.2, 9.6.
    """
    with recorder.recording(EventType.BREAK_GLASS, replace(caller, purpose="BTG"), query="terms") as event:
        access.gate_emergency(caller)
        event.dismiss()
    return Terms(
        statement=STATEMENT,
        hint=HINT,
        reasons=break_glass.REASONS,
        min_text=break_glass.MIN_TEXT,
        hours=policies.current().tables.break_glass_max_hours,
        a_day=break_glass.MAX_A_DAY,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What a clinician declares. `step_up` is the `jti` of the assertion by which he signed in again just now."""

    patient: PatientNamed
    reason: str
    text: str
    statement_accepted: bool
    step_up: str
    raw: str | bytes = ""


@contextmanager
def attempt(caller: Caller, raw: str | bytes) -> Iterator[None]:
    """Record that an emergency was declared in a form that nobody can read; what can be read `declare` records."""
    with recorder.recording(EventType.BREAK_GLASS, replace(caller, purpose="BTG"), query=raw[:MAX_RAW]) as event:
        yield
        event.dismiss()


@release.point
def declare(asked: Declaration, *, caller: Caller) -> BreakGlassGrant:
    """Open an emergency grant, from now for four hours; nothing of the patient is told in the answer.

    First what depends on the caller alone, then what was said, then the patient; so that a refusal before the last says
    nothing of anybody. A step-up is used up only by the grant that it opens.

    Raises:
        AccessRefused: agreement or role do not list BTG, or it is no clinician who asks.
        EmergencyGrantRefused: what was said is not enough, the step-up is stale, or the user may open none now.
        NotFound: no such patient, or none that the caller may know of: one answer, and counted as guessing.
    """
    declaring = replace(caller, purpose="BTG")
    with recorder.recording(EventType.BREAK_GLASS, declaring, action="E", query=asked.raw[:MAX_RAW]) as event:
        access.gate_emergency(caller)
        at = access.now()
        house = directory.root_of(caller.organization_id)
        code = {"code": asked.reason} if asked.reason in break_glass.REASONS else {}
        event.note(personal={"text": asked.text}, detail=code)
        _check_said(asked, caller, house, at)
        about = _patient(asked.patient)
        if not about.is_nobody:
            # A person who may not be known is told of the attempt, as of every refused look.
            event.about(UUID(about.person_id))
        # Of nobody too it is decided: what is hidden must not cost more than what is not there.
        if not access.known_in_emergency(caller, about):
            limits.guessing(caller, "patient")
            raise NotFound("no such patient")
        try:
            identifier_pk = identifier_of(asked.patient, about.person_id)
        except UnknownPatient as error:
            # Merged away since it was read: declared anew, for whom it has become.
            raise Outdated("merged since it was read") from error
        with transaction.atomic():
            # The user before the patient, as who takes access away holds them.
            break_glass.hold_user(caller.user_id)
            release.basis_of(event).hold_alone()
            grant = break_glass.open_grant(
                identifier_pk=identifier_pk,
                user_id=caller.user_id,
                organization=house,
                reason=asked.reason,
                text=asked.text.strip(),
                now=at,
                identifier_pks=about.identifier_pks,
                organizations=directory.same_organization(house),
            )
            if not assertions.step_up(caller, asked.step_up, now=at):
                raise _stale()
            outbox.add(Topic.EMERGENCY, grant.id, not_before=at + TELL_AFTER)
            event.about(
                UUID(about.person_id), detail={"code": asked.reason, "grant": grant.id, "until": grant.end.isoformat()}
            )
            event.commit()
    return grant


@release.point
def allow_one_more(user_id: str, text: str, *, step_up: str, caller: Caller, raw: str | bytes = "") -> SupervisorLeave:
    """As a second clinician of the same house, allow a colleague one emergency more than three a day, within four hours.

    What it opens is reviewed like any other, and who allowed it stands in the case, with how often the two have allowed each
    other. Who bears the name of him whom it is for is taken for him. It is about no patient.

    Raises:
        AccessRefused: as `declare`. EmergencyGrantRefused: too few words, the step-up is stale, or not for this user.

    Source: spec/consent.md 9.2.
    """
    supervising = replace(caller, purpose="BTG")
    with recorder.recording(EventType.BREAK_GLASS, supervising, action="U", query=raw[:MAX_RAW]) as event:
        access.gate_emergency(caller)
        at = access.now()
        house = directory.root_of(caller.organization_id)
        # Who is named stands in the clear only once it is somebody who opened grants.
        event.note(personal={"text": text, "for": user_id}, detail={"act": "supervisor-leave"})
        if not break_glass.names_a_person(user_id):
            raise EmergencyGrantRefused("is not the id of a user", element="user")
        if any(break_glass.is_same_name(one, other) for one in _names(caller) for other in _registered(user_id)):
            raise EmergencyGrantRefused("nobody is his own supervisor", element="user")
        with transaction.atomic():
            break_glass.hold_user(user_id, caller.user_id)
            release.basis_of(event).hold()
            leave = break_glass.give_leave(
                user_id=user_id,
                organization=house,
                given_by=caller.user_id,
                text=text.strip(),
                now=at,
                organizations=directory.same_organization(house),
            )
            if not assertions.step_up(caller, step_up, now=at):
                raise _stale()
            event.note(detail={"act": "supervisor-leave", "for": user_id})
            event.commit()
    return leave


# --- the patient -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyNotice:
    """An emergency access as the patient is told of it: who, where, why, and what became of it; nothing of health.

    `code` is the reason's code and `text` the clinician's words; `outcome` "" while it waits for its review;
    `suspended`: the user may declare no emergency now, because of it. `withheld`: a law holds back the name.
    """

    review_id: int
    at: datetime
    until: datetime
    name: str
    role: str
    organization: str
    code: str
    text: str
    outcome: str = ""
    outcome_reason: str = ""
    suspended: bool = False
    decided_at: datetime | None = None
    objected_at: datetime | None = None
    objection: str = ""
    withheld: NameWithheld | None = None


@dataclass(frozen=True, slots=True)
class _ToldRow:
    """A notice as policy sees it: what a minor may keep to himself is in it as long as nobody can tell that it is not."""

    review: EmergencyReview
    custodian: str
    labels: frozenset[str]

    def facts(self, person_id: str, identifier_pks: Collection[int] | None = None) -> DocumentFacts:
        mine = identifier_pks is None or self.review.grant.identifier_id in identifier_pks
        return DocumentFacts(
            id=f"EmergencyReview/{self.review.pk}",
            patient=person_id if mine else f"identifier:{self.review.grant.identifier_id}",
            custodian=self.custodian,
            classes=frozenset({"http://hl7.org/fhir/resource-types|AuditEvent"}),
            confidentiality="N",
            labels=self.labels,
            labelled=True,
        )


@release.point
def notices(person_id: UUID | str, *, caller: Caller) -> list[EmergencyNotice]:
    """What a patient, or for a minor a helper whom nothing excludes (P6), is told of emergencies; newest first.

    What is held back for a reason of safety is not among them.

    Raises:
        AccessRefused: the caller's role or purpose does not allow it. NotFound: not a patient of this caller.
    """
    with recorder.recording(EventType.ACCESS_LOG_READ, caller, query="emergencies") as event:
        about, told = _told(person_id, caller, event)
        shown = _in_words(about, told)
        with transaction.atomic():
            # Who could not be told in time has been told now.
            for review in [one for one in told if one.told_at is None]:
                emergency_reviews.told(emergency_reviews.locked(review.pk), actor=caller.user_id, now=access.now())
            event.commit()
    return shown


@release.point
def object_to(review_id: int, person_id: UUID | str, words: str, *, caller: Caller) -> None:
    """Keep what a patient says against an emergency access; whoever reviews it reads this first.

    Raises:
        As `notices`. NotFound: no such emergency of this patient. BadRequest: no words, or too many.
    """
    words = words.strip()
    with recorder.recording(EventType.CONCERN, caller, action="C") as event:
        about, told = _told(person_id, caller, event)
        found = next((review for review in told if review.pk == review_id), None)
        if found is None:
            raise NotFound("no such emergency")
        if not words or len(words) > MAX_OBJECTION or not storable(words):
            raise BadRequest(f"write 1 to {MAX_OBJECTION} characters", element="words")
        event.about(UUID(about.person_id), detail={"grant": str(found.grant_id)}, personal={"text": words})
        with transaction.atomic():
            emergency_reviews.object_to(
                emergency_reviews.locked(found.pk), words, actor=caller.user_id, now=access.now()
            )
            event.commit()


MAX_OBJECTION = 1000


def _told(
    person_id: UUID | str, caller: Caller, event: recorder.Recording
) -> tuple[access.Subject, list[EmergencyReview]]:
    access.gate(caller, Operation.QUERY)
    if caller.role not in ("patient", "proxy"):
        raise AccessRefused("G5", "role-not-permitted")
    about = access.subject(person_id)
    event.about(UUID(about.person_id))
    if not _may_be_told(caller, about, access.now()):
        raise NotFound("no such patient")
    return about, _told_to(about, caller, access.now())


def _told_to(about: access.Subject, caller: Caller, at: datetime) -> list[EmergencyReview]:
    """What this reader is told of, newest first."""
    if not _may_be_told(caller, about, at):
        return []
    law = policies.current().jurisdiction_of(about.facts.jurisdiction)
    confidential = owners.only_confidential_care(about.facts, law, now=at)
    young = owners.keeps_nothing_from_parents(about.facts, law, now=at)
    labels = frozenset() if young else confidential or frozenset()
    held = [
        review
        for review in emergency_reviews.of_identifiers(about.identifier_pks, since=at - SHOWN_FOR)
        if review.held_until is None or review.held_until <= at
    ]
    rows = [_ToldRow(review, caller.organization_id, labels) for review in held]
    verdict = access.permitted(caller, about, rows, Operation.QUERY)
    return [row.review for row in verdict.rows()]


def _may_be_told(caller: Caller, about: access.Subject, at: datetime) -> bool:
    """Whether this is the patient, of the age for access of his own, or a helper who may act for a minor."""
    seen = access.permitted(caller, about, access.demographics_rows(about.records), Operation.QUERY)
    if caller.role == "proxy":
        law = policies.current().jurisdiction_of(about.facts.jurisdiction)
        # An adult is told himself.
        return bool(seen.permitted) and owners.only_confidential_care(about.facts, law, now=at) is not None
    own = caller.user_id.partition("/")[2] in about.facts.ids and not about.facts.deceased
    return own and not any(decision.rule == "P2" for _, decision in seen.denied)


def _in_words(about: access.Subject, told: Sequence[EmergencyReview]) -> list[EmergencyNotice]:
    said = declared(about, since=min((review.opened_at for review in told), default=None))
    members = directory.participants()
    made = []
    for review in told:
        grant = review.grant
        event = said.get(str(grant.id))
        known = directory.user(grant.organization, grant.user)
        house = event.organization if event is not None else grant.organization
        place = members.get(house)
        name = (event.user_name if event is not None else "") or (known.name if known is not None else "")
        role = (event.role if event is not None else "") or (known.role if known is not None else "")
        withheld = withheld_names.of_look(house, role, event.purpose if event is not None else "BTG")
        made.append(
            EmergencyNotice(
                review_id=review.pk,
                at=grant.start,
                until=grant.end,
                name="" if withheld is not None else name,
                role=role,
                withheld=withheld,
                organization=place.name if place is not None else grant.organization,
                code=grant.reason,
                text=grant.text.replace(name, "…") if withheld is not None and name else grant.text,
                outcome=review.outcome,
                outcome_reason=review.reason if review.outcome else "",
                suspended=bool(review.outcome) and emergency_reviews.has_ban(review),
                decided_at=review.decided_at,
                objected_at=review.objected_at,
                objection=review.objection,
            )
        )
    return made


def declared(about: access.Subject, *, since: datetime | None) -> dict[str, EventRecord]:
    """The events by which grants of this person were opened, by grant id; three statements."""
    if since is None:
        return {}
    asked = AuditQuery(kinds=(EventType.BREAK_GLASS.value,), since=since - timedelta(minutes=1))
    page = audit.events_for_person(about.facts.ids, filters=asked, limit=audit.MAX_LIMIT)
    return {str(event.detail.get("grant")): event for event in page.events if event.detail.get("grant")}


# --- telling -----------------------------------------------------------------------------------------------------------

AT_ONCE = 100


def tell(*, now: datetime | None = None) -> int:
    """Tell patients of emergencies, as far as due: put the notice into the portal. Gives how many were told.

    A patient without an account is told in no other way than by letter: the case then says so, for its reviewer.
    """
    at = now or access.now()
    told = 0
    for notice in outbox.claim(Topic.EMERGENCY, limit=AT_ONCE, now=at):
        try:
            told += _tell(notice, at)
        except Exception as error:
            log.exception("emergency.not_told", notice=notice.id)
            outbox.failed(notice, type(error).__name__, now=at)
    return told


def _tell(notice: Notice, at: datetime) -> bool:
    with transaction.atomic():
        review = emergency_reviews.of_grant(UUID(notice.key))
        if review is None:
            outbox.give_up(notice, "there is no such grant", now=at)
            return False
        if review.held_until is not None and review.held_until > at:
            outbox.put_off([notice.id], review.held_until)
            return False
        readers = _readers(review, at)
        if readers:
            emergency_reviews.told(review, actor=emergency_reviews.HUB, now=at)
            patient_notices.of_emergency(readers, review.grant_id, now=at)
        else:
            emergency_reviews.note(review, emergency_reviews.Act.NOT_TOLD, actor=emergency_reviews.HUB, now=at)
        outbox.delivered([notice.id], now=at)
    return bool(readers)


def _readers(review: EmergencyReview, at: datetime) -> list[accounts.Reading]:
    """Who can sign in and is then told: decided for each as when she or he reads it."""
    about = access.subject(identifiers.person_of_pk(review.grant.identifier_id))
    return [
        reader
        for reader in accounts.readers_of(about.identifier_pks)
        if review.pk in {one.pk for one in _told_to(about, reader.caller, at)}
    ]


# --- within ------------------------------------------------------------------------------------------------------------


def _check_said(asked: Declaration, caller: Caller, house: str, at: datetime) -> None:
    break_glass.check_reason(asked.reason, asked.text)
    if asked.statement_accepted is not True:
        raise EmergencyGrantRefused("the statement must be accepted", element="statement_accepted")
    if not assertions.is_fresh(caller, asked.step_up, now=at):
        raise _stale()
    break_glass.check_user(caller.user_id, directory.same_organization(house), now=at)


def _names(caller: Caller) -> set[str]:
    return {caller.user_name or "", *_registered(caller.user_id)}


def _registered(user_id: str) -> set[str]:
    """The names that participants have registered a user by."""
    return {user.name for user in directory.users_named([user_id])}


def names_of(grant: Grant, opened: EventRecord | None) -> set[str]:
    """The names that the user of a grant is known by: registered, and as the event that opened it has him."""
    return _registered(grant.user) | ({opened.user_name} if opened is not None else set())


def _stale() -> EmergencyGrantRefused:
    return EmergencyGrantRefused("is not the jti of an assertion this user signed in with just now", element="step_up")


def _patient(named: PatientNamed) -> access.Subject:
    try:
        return access.somebody(next(iter(sorted(persons_named([[named]]))), None))
    except NotFound:
        return access.somebody(None)
