"""An organization lets its patient into the portal: by a code on a letter, with the patient's date of birth beside it.

An organization gives codes for identifiers of its own authority, over the interface with the scope ``hie:activation``;
the exchange's privacy officer does at the desk, for an organization that asked. Who types the code opens an account of
the person whose identifier it is by then, after merges; has she one already, the code lets her into it again, and every
other way into it is gone. Wrong, ended, used up, of somebody who died, who may not read her own record or whose account
was closed: one answer for all.

Source: issue 5, "Getting in"; spec/consent.md 10, 15.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.audit.recorder import EventDraft
from hie.directory import queries as directory
from hie.exchange import access, helpers, release
from hie.exchange import accounts as people
from hie.exchange.access import Staff, Subject
from hie.exchange.accounts import Account, Visit
from hie.exchange.errors import BadRequest, NotFound
from hie.standards.demographics import Identifier, authority_of
from hie.standards.errors import HubError
from hie.standards.facts import Caller, Operation
from hie.trust import activation, limits, provider
from hie.trust.accounts import AccountFacts
from hie.trust.errors import NotAuthenticated, NotEntitled
from hie.trust.provider import Known
from patients import identifiers, queries
from patients.normalise import storable

SCOPE = "hie:activation"
_NOT_THERE = "no such patient"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A code as it is told once: to whom it was given, the identifier says."""

    code: str
    ends_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A code that was typed with the right date of birth. `login` is of the account it leads back into, "" for a new one."""

    code_id: int
    name: str
    login: str


# --- giving a code ------------------------------------------------------------------------------------------------------


@release.point
def issue(identifier: Identifier, *, caller: Caller, raw: str | bytes = "") -> Given:
    """A code for a patient of the caller's own, by an identifier of its own authority; it stands in the patient's log.

    Raises:
        AccessRefused, NotEntitled: of the caller. BadRequest: another's authority, or a record without a full date of
            birth; `element` names it. NotFound: no such patient, or not to be known. TooManyRequests: numbers are guessed.
    """
    with recorder.recording(EventType.ACCOUNT_CODE, caller, action="C", query=raw or None) as event:
        access.gate(caller, Operation.QUERY)
        if SCOPE not in caller.scopes:
            raise NotEntitled(f"the token's scopes do not cover {SCOPE}", scope=SCOPE)
        authority = authority_of(identifier.system)
        owner = directory.authority_owner(authority) if authority else None
        if owner is None or not directory.within(owner, caller.participant_id):
            raise BadRequest("a code is given for an identifier of one's own authority", element="identifier.system")
        found = identifiers.resolve(authority, identifier.value)
        person = access.demographics(caller, [found.person_id], Operation.QUERY).get(found.person_id) if found else None
        seen = {record.source_record_id for record in person.records} if person else set()
        if found is None or person is None or found.source_record_id not in seen:
            limits.guessing(caller, "source-identifier")
            raise NotFound(_NOT_THERE)
        _check_birth_date(authority, identifier.value)
        event.about(person.person_id, detail={"what": "account code"})
        with transaction.atomic():
            made = activation.issue(
                found.pk, organization=owner, issued_by=caller.user_id or caller.client_id, now=access.now()
            )
            event.commit()
    return Given(code=made[0], ends_at=made[1])


def issue_at_desk(typed: str, staff: Staff, *, reason: str) -> Given:
    """As `issue`, by the exchange's privacy officer for an organization: `typed` is its number as ``system|value``.

    Raises:
        AccessRefused: not a privacy officer. BadRequest: no reason, no such number, or no full date of birth.
    """
    system, bar, value = typed.strip().partition("|")
    authority = authority_of(system.strip()) if bar else ""
    found = identifiers.resolve(authority, value.strip()) if authority and storable(typed) else None
    caller = helpers.officer(staff, [found.person_id] if found else [], reason)
    owner = directory.authority_owner(authority) if authority else None
    if found is None or owner is None:
        raise BadRequest("write the number as system|value, as its organization has it", element="identifier")
    _check_birth_date(authority, value.strip())
    with transaction.atomic():
        made = activation.issue(found.pk, organization=owner, issued_by=f"Staff/{staff.user_id}", now=access.now())
        recorder.write(
            [
                EventDraft(
                    kind=EventType.ACCOUNT_CODE,
                    caller=caller,
                    person_id=found.person_id,
                    detail={"what": "account code", "organization": owner},
                    personal={"text": reason.strip()},
                )
            ]
        )
    return Given(code=made[0], ends_at=made[1])


def _check_birth_date(authority: str, value: str) -> None:
    record = queries.source_record(authority, value)
    if record is None or len(record.demographics.birth_date or "") < 10:
        raise BadRequest("the record has no full date of birth, which is asked beside the code", element="identifier")


# --- using it ---------------------------------------------------------------------------------------------------------


def check(code: str, birth_date: str, visit: Visit) -> Opening:
    """What a code opens, when the date of birth (``YYYY-MM-DD``) beside it is the patient's. Failures are recorded.

    Raises:
        NotAuthenticated: one answer, whatever is wrong. TooManyRequests: the address tries too often.
        AccessRefused: no portal is open.
    """
    try:
        limits.failed_attempts(f"portal:{visit.network_address}")
        portal = people._portal()
        found = activation.find(code, now=access.now())
        if found is None:
            raise NotAuthenticated("no such code")
        about = _whose(found, portal, visit)
        known = {record.demographics.birth_date for record in about.records}
        if birth_date not in known | {queries.golden(about.records, about=about.records).birth_date}:
            activation.mistyped(found.id)
            raise NotAuthenticated("no such code")
        return _opening(found, about)
    except HubError as error:
        people._failed(error, visit)
        raise


def opening(code_id: int, visit: Visit) -> Opening:
    """As `check`, for a code that was checked before in the same session.

    Raises:
        NotAuthenticated: it does not open anything any more.
    """
    found = activation.by_id(code_id, now=access.now())
    if found is None:
        raise NotAuthenticated("no such code")
    return _opening(found, _whose(found, people._portal(), visit))


def open_with_password(code_id: int, *, login: str, password: str, visit: Visit) -> Account:
    """Open the account, or come back into it (`login` is then not asked), by a password; complete as after `sign_in`.

    Raises:
        NotAuthenticated: the code does not open anything any more. LoginTaken, WeakPassword: nothing was done.
    """
    return _open(code_id, visit, password=password, login=login)


def open_with_provider(code_id: int, known: Known, *, visit: Visit) -> Account:
    """As `open_with_password`, for who signs in at a provider, and is `known` there.

    Raises:
        As `open_with_password`. ProviderLinked: another account is linked to them; nothing was done.
    """
    return _open(code_id, visit, password=None, login=activation.login_of_its_own(), known=known)


def _open(code_id: int, visit: Visit, *, password: str | None, login: str, known: Known | None = None) -> Account:
    try:
        portal = people._portal()
        found = activation.by_id(code_id, now=access.now())
        if found is None or not storable(login):
            raise NotAuthenticated("no such code")
        about = _whose(found, portal, visit)
        with transaction.atomic():
            held, _ = activation.accounts_of(about.identifier_pks)
            facts: AccountFacts
            if held:
                facts = activation.come_back(held[0].id, password=password, identifier_pk=found.identifier_pk)
            else:
                facts = activation.open_account(
                    login=login, password=password, name=_name(about), identifier_pk=found.identifier_pk
                )
            activation.use_up(found.id, facts.id, now=access.now())
            if known is not None:
                provider.link(facts.id, known)
            act = {"act": "come back" if held else "opened", "account": facts.id, "what": "account opened"}
            caller = people._caller(portal, people._account(facts), visit)
            recorder.write(
                [EventDraft(kind=EventType.ACCOUNT_CHANGED, caller=caller, person_id=about.person_id, detail=act)]
            )
            if known is not None and known.strong:
                return people._signed_in(facts, portal, visit, complete=True)
            return people._after_first(facts, portal, visit)
    except NotAuthenticated as error:
        people._failed(error, visit)
        raise


def _whose(found: activation.CodeFacts, portal: str, visit: Visit) -> Subject:
    """The person of a code, if she may read her own record: the door says so, as it will at her first page.

    Raises:
        NotAuthenticated: she may not, has died, or her account was closed.
    """
    person_id = identifiers.person_of_pk(found.identifier_pk)
    facts = directory.participant(portal)
    asking = Caller(
        participant_id=portal, organization_id=portal, client_id="portal", user_id=f"Patient/{person_id}",
        role="patient", purpose="PATRQT", organization_name=facts.name if facts else "",
        network_address=visit.network_address, request_id=visit.request_id, face="portal",
    )  # fmt: skip
    known = access.demographics(asking, [person_id], Operation.QUERY).get(UUID(str(person_id)))
    if known is None or known.subject.facts.deceased or activation.accounts_of(known.subject.identifier_pks)[1]:
        raise NotAuthenticated("no such code")
    return known.subject


def _opening(found: activation.CodeFacts, about: Subject) -> Opening:
    held, _ = activation.accounts_of(about.identifier_pks)
    return Opening(code_id=found.id, name=_name(about), login=held[0].login if held else "")


def _name(about: Subject) -> str:
    names = queries.golden(about.records, about=about.records).names
    return " ".join((*names[0].given, names[0].family)).strip() if names else ""
