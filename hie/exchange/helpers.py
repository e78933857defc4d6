"""Helpers (proxies): who gives, suspends and ends their permission, and who is told that it ends.

The exchange's privacy officer gives and suspends with evidence, as of a court. A patient who is of age names helpers
himself, by a code that the helper made and told him: so both agree, and nobody finds out by a name who has an account. He
sees all helpers and ends those whom he named. Each change counts from its commit, in running transfers too, and stands in
the patient's log. What a permission reaches, the engine says (P4 to P9).

Source: spec/consent.md 10.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from uuid import UUID

from django.db import transaction

from consent import owners, policies, proxies
from consent.models import ProxyGrant
from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.audit.recorder import EventDraft
from hie.exchange import access, release
from hie.exchange.access import PRIVACY_OFFICER, Held, Staff, Subject
from hie.exchange.errors import AccessRefused, BadRequest, NotFound
from hie.exchange.named_patients import PatientNamed, identifier_of, persons_named
from hie.standards.facts import Caller, Operation
from hie.trust import accounts, limits
from patients import identifiers
from patients import queries as index
from patients.errors import UnknownPatient
from patients.normalise import storable

OFFICERS = frozenset({PRIVACY_OFFICER, "administrator"})
TOLD_BEFORE = timedelta(days=90)
MAX_TEXT = 500
Kind, Status = ProxyGrant.Kind, ProxyGrant.Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A permission to be given: `patient` and `login` as somebody types them, dates as FHIR writes them, "" for none."""

    patient: str
    login: str
    kind: str
    max_confidentiality: str = "N"
    start: str = ""
    end: str = ""
    may_consent: bool = False
    evidence: str = ""

    @classmethod
    def of(cls, form: Mapping[str, str]) -> Asked:
        """From a form."""
        said = {name: form.get(name, "").strip()[:MAX_TEXT] for name in cls.__slots__ if name != "may_consent"}
        return cls(**said, may_consent=form.get("may_consent", "") == "yes")


def give(asked: Asked, staff: Staff, *, reason: str) -> ProxyGrant:
    """Give somebody who has an account the permission to act for a patient; shown to the patient.

    Raises:
        AccessRefused: not a privacy officer. BadRequest: something is missing or does not fit; `element` names it.
        ProxyGrantRefused: of kind, letter or dates.
    """
    caller = officer(staff, [], reason)
    for name in ("login", "kind", "max_confidentiality", "start", "end", "evidence"):
        _check_storable(getattr(asked, name), name)
    named = _named(asked.patient)
    person_id = _patient(named)
    about = access.subject(person_id)
    helper = accounts.of_login(asked.login)
    if helper is None:
        raise BadRequest("nobody signs in to the portal by this name", element="login")
    if helper.identifier_pk in about.identifier_pks:
        raise BadRequest("nobody is the helper of himself", element="login")
    if not asked.evidence:
        raise BadRequest("say what shows it: a form, a deed, an order", element="evidence")
    law = policies.current().jurisdiction_of(about.facts.jurisdiction)
    of_age = owners.comes_of_age(about.facts, law)
    if asked.kind in owners.OF_MINORS and (of_age is None or of_age <= access.now()):
        raise BadRequest("the patient is of age: a parent\u2019s permission has ended", element="kind")
    if about.facts.deceased and asked.kind != Kind.ATTORNEY:
        raise BadRequest("the patient has died: only an executor acts, as attorney", element="kind")
    person = f"RelatedPerson/{helper.id}"
    with transaction.atomic():
        held = [row for row in proxies.grants_of(about.identifier_pks) if row.person == person]
        if any(row.kind == asked.kind and row.status != Status.ENDED for row in held):
            raise BadRequest("this helper has such a permission already: end it first", element="login")
        row = proxies.grant(
            identifier_pk=identifier_of(named, person_id),
            person=person,
            kind=asked.kind,
            max_confidentiality=asked.max_confidentiality or None,
            start=asked.start or None,
            end=asked.end or None,
            may_consent=asked.may_consent,
            evidence=asked.evidence,
            verified_by=f"Staff/{staff.user_id}",
            executor=about.facts.deceased,
        )
        said = {"text": reason.strip(), "evidence": asked.evidence}
        recorder.write([_event(caller, person_id, row, "given", said)])
    return row


def set_status(grant_id: UUID, status: str, staff: Staff, *, reason: str, evidence: str) -> ProxyGrant:
    """Suspend (by order, with evidence), end, or take up again a permission; shown to the patient with the reason.

    Raises:
        AccessRefused: not a privacy officer. BadRequest: reason or evidence is missing. NotFound: no such permission.
        ProxyGrantRefused: it has ended, or no such status.
    """
    row = ProxyGrant.objects.filter(pk=grant_id).first()
    if row is None:
        raise NotFound("no such permission")
    person_id = identifiers.person_of_pk(row.identifier_id)
    caller = officer(staff, [person_id], reason)
    _check_storable(evidence, "evidence")
    if status in (Status.SUSPENDED, Status.ACTIVE) and not evidence.strip():
        raise BadRequest("say what shows it: an order, a form", element="evidence")
    with transaction.atomic():
        shown = evidence.strip()[:MAX_TEXT]
        row = proxies.set_status(grant_id, status, evidence=shown)
        said = {"text": reason.strip()} | ({"evidence": shown} if shown else {})
        recorder.write([_event(caller, person_id, row, str(status), said)])
    return row


def officer(staff: Staff, person_ids: list[UUID], reason: str) -> Caller:
    """Who acts; the door refuses by role, in the log of these persons, and for want of a reason.

    Raises:
        AccessRefused: not a privacy officer. BadRequest: no reason, or one too long.
    """
    officer = replace(staff, roles=staff.roles & OFFICERS)
    if len(reason.strip()) > MAX_TEXT:
        raise BadRequest(f"write at most {MAX_TEXT} characters", element="reason")
    _check_storable(reason, "reason")
    # Of an act that is let in the event written with it is the trace: no look of its own.
    view = access.administrative(officer, Held.CONSENTS, [] if officer.roles else person_ids, reason=reason, act=True)
    return staff.caller(view.role)


def _check_storable(text: str, element: str) -> None:
    if not storable(text):
        raise BadRequest("holds a character that cannot be kept", element=element)


def _event(caller: Caller, person_id: UUID, row: ProxyGrant, act: str, personal: Mapping[str, str]) -> EventDraft:
    detail = {"grant": str(row.pk), "helper": row.person, "kind": row.kind, "act": act}
    if act == "ends-at-majority":
        detail["what"] = "helper ends soon"
    return EventDraft(
        kind=EventType.PROXY_CHANGED, caller=caller, person_id=person_id, detail=detail, personal=dict(personal)
    )


def _named(typed: str) -> PatientNamed:
    system, bar, value = typed.partition("|")
    return PatientNamed(system=system, value=value) if bar else PatientNamed(id=typed.removeprefix("Patient/"))


def _patient(named: PatientNamed) -> UUID:
    for person_id in persons_named([[named]]):
        return person_id
    raise BadRequest("write the person\u2019s id, or the number as system|value", element="patient")


# --- the patient --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Helper:
    """A helper as the patient sees him; `ends_on` is the day he comes of age or the last of the period, "" for none.

    `mine`: the patient named him, and may end it.
    """

    grant_id: UUID
    name: str
    kind: str
    status: str
    letter: str
    may_consent: bool
    since: str
    ends_on: str
    mine: bool


@release.point
def of_patient(person_id: UUID | str, *, caller: Caller) -> list[Helper]:
    """Everybody who may act for a patient, and could before, for the patient alone; recorded.

    Raises:
        AccessRefused, NotFound: not the patient, or too young for access of his own.
    """
    with recorder.recording(EventType.ACCESS_LOG_READ, caller, query="helpers") as event:
        about = _self(person_id, caller, event)
        names = accounts.names_of(
            row.person.removeprefix("RelatedPerson/") for row in proxies.grants_of(about.identifier_pks)
        )
        found = [_helper(row, about, names) for row in proxies.grants_of(about.identifier_pks)]
        event.commit()
    return found


@release.point
def end(grant_id: UUID, person_id: UUID | str, *, caller: Caller) -> None:
    """End a permission that the patient gave himself: from now on this helper sees and does nothing.

    Raises:
        As `of_patient`. NotFound: no such permission, or one that he did not give.
    """
    with recorder.recording(EventType.PROXY_CHANGED, caller, action="U") as event:
        about = _self(person_id, caller, event)
        row = next((one for one in proxies.grants_of(about.identifier_pks) if one.pk == grant_id), None)
        if row is None or not _is_mine(row):
            raise NotFound("no such helper")
        event.about(UUID(about.person_id), detail=_event(caller, UUID(about.person_id), row, "ended", {}).detail)
        with transaction.atomic():
            release.basis_of(event).hold_alone()
            proxies.set_status(grant_id, Status.ENDED)
            event.commit()


# --- a helper whom the patient names -------------------------------------------------------------------------------------

CODE_LASTS = proxies.CODE_LASTS
LETTERS = ("N", "R")
"""How far a patient may let a helper of his own naming see: ordinary documents, or private ones too."""


@release.point
def make_code(helper: str, *, caller: Caller) -> str:
    """A code of one's own to tell a patient whom one is willing to help; good for a week, once. `helper` is the account's.

    Raises:
        AccessRefused, NotFound: not somebody who asks for himself.
    """
    with recorder.recording(EventType.PROXY_CHANGED, caller, action="C") as event:
        _self(caller.user_id.partition("/")[2], caller, event)
        event.note(detail={"helper": helper, "act": "code-made"})
        with transaction.atomic():
            code = proxies.make_code(helper, now=access.now())
            event.commit()
    return code


@release.point
def named_by(code: str, person_id: UUID | str, *, caller: Caller) -> str:
    """The name of the helper who made a code, for the patient to look at before anything is given.

    Raises:
        As `nominate`.
    """
    with recorder.recording(EventType.ACCESS_LOG_READ, caller, query="helper code") as event:
        about = _of_age(person_id, caller, event)
        helper = _helper_of(code, about, caller)
        event.commit()
    return accounts.name_of(helper.removeprefix("RelatedPerson/"))


@release.point
def nominate(
    code: str, person_id: UUID | str, *, letter: str, end: str, may_consent: bool, caller: Caller
) -> ProxyGrant:
    """Name the helper who made a code, from now on, until the end of a day (FHIR date text, "" for no end).

    Raises:
        AccessRefused, NotFound: not the patient. BadRequest: under age, a code that is nobody's, one's own or too old, a
            letter that a patient does not give, a day that is none; `element` names it. TooManyRequests: codes were guessed.
        ProxyGrantRefused: of the day.
    """
    with recorder.recording(EventType.PROXY_CHANGED, caller, action="C") as event:
        about = _of_age(person_id, caller, event)
        if letter not in LETTERS:
            raise BadRequest("choose how much the helper may see", element="letter")
        if end and not _is_day_to_come(end, about):
            raise BadRequest("write a day that is to come, as 2030-03-14", element="end")
        helper = _helper_of(code, about, caller)
        held = [row for row in proxies.grants_of(about.identifier_pks) if row.person == helper]
        if any(row.status == Status.SUSPENDED for row in held):
            # By an order, which a code must not get around.
            raise BadRequest("this helper's permission is suspended: ask the office", element="helper")
        if any(row.kind == Kind.NOMINATED and row.status == Status.ACTIVE and not _is_over(row) for row in held):
            raise BadRequest("this helper has such a permission already: end it first", element="helper")
        identifier_pk = identifiers.own_anchor(about.person_id).pk
        at = access.now()
        with transaction.atomic():
            release.basis_of(event).hold_alone()
            row = proxies.grant(
                identifier_pk=identifier_pk,
                person=helper,
                kind=Kind.NOMINATED,
                max_confidentiality=letter,
                end=end or None,
                may_consent=may_consent,
                evidence="named by the patient in the portal, by a code of the helper's",
                verified_by=caller.user_id,
            )
            if not proxies.use_code(code, row, now=at):
                raise _no_code()
            event.about(UUID(about.person_id), detail=_event(caller, UUID(about.person_id), row, "given", {}).detail)
            event.commit()
    return row


def _of_age(person_id: UUID | str, caller: Caller, event: recorder.Recording) -> Subject:
    about = _self(person_id, caller, event)
    law = policies.current().jurisdiction_of(about.facts.jurisdiction)
    if owners.only_confidential_care(about.facts, law, now=access.now()) is not None:
        raise BadRequest("who is not of age asks the office to name a helper", element="patient")
    return about


def _helper_of(code: str, about: Subject, caller: Caller) -> str:
    helper = proxies.helper_of_code(code, now=access.now())
    known = accounts.of_ids([helper.removeprefix("RelatedPerson/")]) if helper is not None else []
    if helper is None or not known:
        limits.guessing(caller, "helper code")
        raise _no_code()
    if known[0].identifier_pk in about.identifier_pks:
        raise BadRequest("nobody is the helper of himself", element="helper")
    facts = index.subject_facts(identifiers.person_of_pk(known[0].identifier_pk))
    if facts is None or facts.deceased:
        raise _no_code()
    return helper


def _no_code() -> BadRequest:
    return BadRequest("this is not a code that counts: ask for a new one", element="code")


def _is_day_to_come(text: str, about: Subject) -> bool:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return False
    law = policies.current().jurisdiction_of(about.facts.jurisdiction)
    return day.isoformat() == text and text >= owners.day_of(access.now(), law)


def _self(person_id: UUID | str, caller: Caller, event: recorder.Recording) -> Subject:
    access.gate(caller, Operation.QUERY)
    if caller.role != "patient":
        raise AccessRefused("G5", "role-not-permitted")
    about = access.subject(person_id)
    event.about(UUID(about.person_id))
    seen = access.permitted(caller, about, access.demographics_rows(about.records), Operation.QUERY)
    own = caller.user_id.partition("/")[2] in about.facts.ids
    if not own or about.facts.deceased or any(decision.rule == "P2" for _, decision in seen.denied):
        raise NotFound("no such patient")
    return about


def _is_over(row: ProxyGrant) -> bool:
    """Whether the last day of a permission is over everywhere."""
    return row.end is not None and row.end[:10] < (access.now() - timedelta(days=1)).date().isoformat()


def _is_mine(row: ProxyGrant) -> bool:
    return row.kind == Kind.NOMINATED and row.status == Status.ACTIVE


def _helper(row: ProxyGrant, about: Subject, names: Mapping[str, str]) -> Helper:
    law = policies.current().jurisdiction_of(about.facts.jurisdiction)
    of_age = owners.comes_of_age(about.facts, law) if row.kind in owners.OF_MINORS else None
    ends_on = owners.day_of(of_age, law) if of_age is not None else ""
    ends_on = min(filter(None, (ends_on, row.end or "")), default="")
    return Helper(
        grant_id=row.pk,
        name=names.get(row.person.removeprefix("RelatedPerson/"), ""),
        kind=row.kind,
        status=row.status if not (of_age is not None and of_age <= access.now()) else Status.ENDED,
        letter=row.max_confidentiality or "N",
        may_consent=row.may_consent,
        since=row.start or row.created_at.date().isoformat(),
        ends_on=ends_on,
        mine=_is_mine(row),
    )


def until(person_id: UUID | str, grant: ProxyGrant) -> str:
    """The last day of a permission as FHIR writes it: of its period, or the day the patient comes of age; "" for none."""
    about = access.subject(person_id)
    return _helper(grant, about, {}).ends_on


# --- coming of age ------------------------------------------------------------------------------------------------------

_HUB = Caller(participant_id=recorder.HUB, organization_id=recorder.HUB, client_id="hub", user_id="", face="hub")


def tell_of_majority(*, now: datetime | None = None) -> int:
    """Tell patient and parent, 90 days before, that the parent's permission ends; once. Gives how many were told.

    It is told in the log of both; the portal says it to the parent at each page while he acts for the patient.
    """
    at = now or access.now()
    told = 0
    for row in proxies.of_minors():
        try:
            person_id = identifiers.person_of_pk(row.identifier_id)
        except UnknownPatient:
            continue
        about = access.subject(person_id)
        if about.facts.deceased:
            continue
        of_age = owners.comes_of_age(about.facts, policies.current().jurisdiction_of(about.facts.jurisdiction))
        if of_age is None or not of_age - TOLD_BEFORE <= at < of_age:
            continue
        with transaction.atomic():
            if proxies.end_told(row.pk, now=at):
                recorder.write([_event(_HUB, person_id, row, "ends-at-majority", {})])
                told += 1
    return told
