"""People at the portal: who signs in, as whom they ask, and for whom they may act.

A session is proven here and turned into a `Caller` of the hub's own portal participant:
the patient as ``Patient/<person>``, a helper as ``RelatedPerson/<account>`` on behalf of a patient.

Source: spec/consent.md 10, 15; issue 2, "People".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from consent import jurisdictions, proxies
from hie.audit import recorder
from hie.audit.recorder import EventDraft, EventType, Outcome
from hie.directory import queries as directory
from hie.exchange import helpers, identity
from hie.exchange.errors import AccessRefused, BadRequest, NotFound
from hie.standards.errors import HubError
from hie.standards.facts import Caller
from hie.trust import accounts, limits, passkeys, sign_ins, staff
from hie.trust import provider as providers
from hie.trust.provider import Known, Provider, Trip
from hie.trust.second_factor import Owner
from patients import identifiers
from patients import queries as index

PORTAL_TYPE = "patient-portal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Where a request to the portal comes from."""

    network_address: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Somebody signed in, or half way: `second_factor_due` (to be asked for) or `enrolment_due` (to be set up first).

    `person_id` is who they are now, after merges. `recovered`: by a recovery code. `has_password`: else a provider's.
    """

    id: str
    login: str
    name: str
    stamp: str
    person_id: str
    language: str = ""
    second_factor: bool = False
    second_factor_due: bool = False
    enrolment_due: bool = False
    recovered: bool = False
    has_password: bool = True
    signed_in_at: datetime | None = None

    @property
    def helper_id(self) -> str:
        """Who they are when they act for another."""
        return f"RelatedPerson/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActsFor:
    """A patient for whom somebody may act. `identifier_pk` follows merges; `until` is FHIR date text or ""."""

    identifier_pk: int
    person_id: str
    name: str
    kind: str
    until: str = ""


def sign_in(login: str, password: str, visit: Visit) -> Account:
    """The first step; complete unless `second_factor_due` or `enrolment_due`. Recorded, and so is each failure.

    Raises:
        NotAuthenticated: wrong. TooManyRequests: locked for a while. AccessRefused: no portal is open.
    """
    try:
        portal = _portal()
        facts = accounts.check_first(login, password, network_address=visit.network_address)
    except HubError as error:
        _failed(error, visit)
        raise
    return _after_first(facts, portal, visit)


def _after_first(facts: accounts.AccountFacts, portal: str, visit: Visit) -> Account:
    due = facts.second_factor or accounts.second_factor_required()
    return _signed_in(facts, portal, visit, complete=not due)


def sign_in_with_code(account_id: str, code: str, visit: Visit) -> Account:
    """The second step: six digits of the account's app, or one of its recovery codes.

    Raises:
        As `sign_in`.
    """
    try:
        portal = _portal()
        facts = accounts.check_second(account_id, code, network_address=visit.network_address)
    except HubError as error:
        _failed(error, visit, account_id)
        raise
    return _signed_in(facts, portal, visit, complete=True)


def sign_in_with_passkey(answer: str, challenge: str, visit: Visit) -> Account:
    """A sign-in by a passkey, whose holder the device has verified: complete by itself.

    Raises:
        As `sign_in`.
    """
    try:
        portal = _portal()
        facts = passkeys.verify(answer, challenge, network_address=visit.network_address)
    except HubError as error:
        _failed(error, visit)
        raise
    return _signed_in(facts, portal, visit, complete=True)


def back_from_provider(provider: Provider, trip: Trip, answer: Mapping[str, str], *, back: str, visit: Visit) -> Known:
    """Who came back from the OpenID Connect provider; a failure is recorded.

    Raises:
        NotAuthenticated: it does not hold. ProviderUnavailable. TooManyRequests.
    """
    try:
        limits.failed_attempts(f"portal:{visit.network_address}")
        return providers.finish(provider, trip, answer, back=back)
    except HubError as error:
        _failed(error, visit)
        raise


def sign_in_through_provider(known: Known, visit: Visit) -> Account | None:
    """The first step, taken at the provider; the second too where it says so. None: no account is linked to them.

    Raises:
        AccessRefused: no portal is open.
    """
    portal = _portal()
    facts = providers.account_of(known)
    if facts is None:
        return None
    return _signed_in(facts, portal, visit, complete=True) if known.strong else _after_first(facts, portal, visit)


def sign_out(account: Account, visit: Visit, *, session: str) -> None:
    """End the session; recorded."""
    sign_ins.end(Owner(account=account.id), only=session)
    recorder.write([EventDraft(kind=EventType.LOGOUT, caller=_caller(_portal_id(), account, visit))])


def account(session_id: str, stamp: str) -> Account | None:
    """The account of a running session; None: it has ended."""
    facts = accounts.account(session_id, stamp)
    return _account(facts) if facts else None


def caller(account: Account, visit: Visit, *, acting_for: int | None = None) -> Caller:
    """As whom the account asks; `acting_for` is the identifier row of the patient it acts for.

    Only says who asks: whether a helper may is decided by the door, at every request.

    Raises:
        AccessRefused: the hub has no active portal. UnknownPatient: no such row.
    """
    return _caller(_portal(), account, visit, acting_for=acting_for)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Somebody who can sign in, and as whom they would ask for a patient whose identifier is `identifier_pk`."""

    account: Account
    caller: Caller
    identifier_pk: int


def readers_of(identifier_pks: Sequence[int]) -> list[Reading]:
    """Everybody who can sign in and is this patient, or holds a grant for her; what each may, the door says."""
    portal = _portal_id()
    if not portal or not identifier_pks:
        return []
    grants = [grant for grant in proxies.grants_of(identifier_pks) if grant.status == grant.Status.ACTIVE]
    helpers_ = accounts.of_ids(sorted({grant.person.removeprefix("RelatedPerson/") for grant in grants}))
    own = [_account(one) for one in accounts.of_patient(identifier_pks)]
    others = [_account(one) for one in helpers_]
    pk = identifier_pks[0]
    return [
        *(Reading(account=one, caller=_caller(portal, one, Visit()), identifier_pk=pk) for one in own),
        *(
            Reading(account=one, caller=_caller(portal, one, Visit(), acting_for=pk), identifier_pk=pk)
            for one in others
        ),
    ]


def read_by(account_ids: Sequence[str]) -> list[Reading]:
    """For each of these accounts that is open: as whom it asks for its own record, and for each patient it holds a grant for."""
    portal = _portal_id()
    if not portal:
        return []
    found: list[Reading] = []
    for facts in accounts.of_ids(account_ids):
        one = _account(facts)
        found.append(Reading(account=one, caller=_caller(portal, one, Visit()), identifier_pk=facts.identifier_pk))
        found += [
            Reading(account=one, caller=_caller(portal, one, Visit(), acting_for=pk), identifier_pk=pk)
            for pk in people_pks(one)
        ]
    return found


def people_pks(account: Account) -> tuple[int, ...]:
    """The identifier rows of the patients this account holds grants for that count, in order.

    Of a patient who has died an executor's alone, and nobody acts for another who has died himself. One statement where
    there are no grants; a constant number else.
    """
    held = proxies.active_of(account.helper_id)
    if not held:
        return ()
    persons = identifiers.persons_of({row.identifier_id for row in held})
    own = UUID(account.person_id)
    known = index.known_persons({own, *persons.values()})
    dead = {person_id for person_id, person in known.items() if person.facts.deceased}
    if own in dead:
        return ()
    counting = {
        row.identifier_id for row in held if persons.get(row.identifier_id) not in dead or proxies.outlives(row)
    }
    return tuple(sorted(counting))


def people(account: Account, visit: Visit) -> list[ActsFor]:
    """The patients this account may act for now, by name. Reading each name is a look, recorded as such."""
    found: list[ActsFor] = []
    for pk in people_pks(account):
        asking = caller(account, visit, acting_for=pk)
        person_id = str(identifiers.person_of_pk(pk))
        try:
            known = identity.read_patient(person_id, asking)
        except (NotFound, AccessRefused):
            continue
        mine = [g for g in proxies.grants_of([pk]) if g.person == account.helper_id and g.status == g.Status.ACTIVE]
        names = known.demographics.names
        name = " ".join((*names[0].given, names[0].family)).strip() if names else ""
        found.append(
            ActsFor(
                identifier_pk=pk,
                person_id=person_id,
                name=name or str(known.person_id),
                kind=mine[0].kind if mine else "",
                until=helpers.until(person_id, mine[0]) if mine else "",
            )
        )
    return sorted(found, key=lambda item: (item.name.casefold(), item.person_id))


def person_of(identifier_pk: int) -> str:
    """The person behind an identifier row, now."""
    return str(identifiers.person_of_pk(identifier_pk))


def name_of(helper: str) -> str:
    """The name of a helper's account by the reference a grant is made out to; "" when there is none."""
    return accounts.name_of(helper.removeprefix("RelatedPerson/"))


def zone_of(person_id: str) -> ZoneInfo:
    """The time zone a patient's log is told in: the one of her jurisdiction, else the hub's, else UTC."""
    facts = index.subject_facts(person_id)
    for code in (facts.jurisdiction if facts else "", getattr(settings, "HUB_JURISDICTION", "")):
        zone = jurisdictions.zone_of(code) if code else None
        if zone:
            return ZoneInfo(zone)
    return ZoneInfo("UTC")


# --- opening accounts -----------------------------------------------------------------


def load(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Create or update the accounts of a file; (created-or-updated|unchanged, login), all or none.

    ``{"patients": [{login, password, name, identifier, proxy_for: [identifier], totp_secret}], "staff":
    [{username, password, totp_secret, roles, works_at: [participant]}]}``; an identifier is ``value^^^&oid&ISO``.

    Raises:
        BadRequest: something in it cannot be used; `element` names it, nothing was stored.
    """
    if not isinstance(document, Mapping):
        raise BadRequest("the accounts file is not an object", element="accounts")
    done: list[tuple[str, str]] = []
    with transaction.atomic():
        for n, entry in enumerate(_entries(document, "patients")):
            done.append(_load_patient(entry, f"patients[{n}]"))
        staff_entries = _entries(document, "staff")
        if staff_entries:
            staff.ensure_roles()
        for n, entry in enumerate(staff_entries):
            place = f"staff[{n}]"
            roles = entry.get("roles")
            if not isinstance(roles, Sequence) or isinstance(roles, str):
                raise BadRequest("roles must be a list", element=f"{place}.roles")
            try:
                changed = accounts.open_staff(
                    username=_text(entry, "username", place),
                    password=_text(entry, "password", place),
                    roles=[str(role) for role in roles],
                    totp_secret=entry.get("totp_secret"),
                )
            except ValueError as error:
                raise BadRequest(str(error), element=place) from error
            changed = _load_employers(entry, place) or changed
            done.append(("updated" if changed else "unchanged", _text(entry, "username", place)))
    return done


def _load_patient(entry: Mapping[str, Any], place: str) -> tuple[str, str]:
    pk = _identifier(entry.get("identifier"), f"{place}.identifier")
    try:
        facts, changed = accounts.open_account(
            login=_text(entry, "login", place),
            password=_text(entry, "password", place),
            name=_text(entry, "name", place),
            identifier_pk=pk,
            totp_secret=entry.get("totp_secret"),
        )
    except ValueError as error:
        raise BadRequest(str(error), element=place) from error
    person = f"RelatedPerson/{facts.id}"
    for n, text in enumerate(entry.get("proxy_for") or ()):
        patient = _identifier(text, f"{place}.proxy_for[{n}]")
        held = [row for row in proxies.grants_of([patient]) if row.person == person]
        if not held:
            proxies.grant(
                identifier_pk=patient,
                person=person,
                kind="parent",
                max_confidentiality="R",
                evidence="accounts file",
                verified_by="operator",
            )
            changed = True
    return "updated" if changed else "unchanged", facts.login


def _load_employers(entry: Mapping[str, Any], place: str) -> bool:
    """Where else a member of staff works, where the file says it: such a place's emergencies they do not judge."""
    if "works_at" not in entry:
        return False
    named = entry["works_at"]
    if not isinstance(named, list) or not all(isinstance(one, str) and directory.participant(one) for one in named):
        raise BadRequest("works_at must be a list of ids of participants", element=f"{place}.works_at")
    return staff.set_employers(_text(entry, "username", place), named)


def _entries(document: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    entries = document.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise BadRequest(f"{name} must be a list of objects", element=name)
    return entries


def _text(entry: Mapping[str, Any], name: str, place: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str) or not value.strip():
        raise BadRequest(f"{name} is needed", element=f"{place}.{name}")
    return value


def _identifier(text: object, place: str) -> int:
    value, _, authority = str(text or "").partition("^^^")
    parts = authority.split("&")
    found = identifiers.resolve(parts[1], value) if value and len(parts) >= 2 and parts[1] else None
    if found is None:
        raise BadRequest("not an identifier the index knows (value^^^&oid&ISO)", element=place)
    return found.pk


# --- within ------------------------------------------------------------------------------


def _signed_in(facts: accounts.AccountFacts, portal: str, visit: Visit, *, complete: bool) -> Account:
    due = not complete
    known = _account(
        facts, second_factor_due=due and facts.second_factor, enrolment_due=due and not facts.second_factor
    )
    if complete:
        with transaction.atomic():
            accounts.signed_in(facts.id)
            recorder.write([EventDraft(kind=EventType.LOGIN, caller=_caller(portal, known, visit))])
    return known


def _account(facts: accounts.AccountFacts, *, second_factor_due: bool = False, enrolment_due: bool = False) -> Account:
    return Account(
        id=facts.id,
        login=facts.login,
        name=facts.name,
        stamp=facts.stamp,
        person_id=str(identifiers.person_of_pk(facts.identifier_pk)),
        language=facts.language,
        second_factor=facts.second_factor,
        second_factor_due=second_factor_due,
        enrolment_due=enrolment_due,
        recovered=facts.recovered,
        has_password=facts.has_password,
        signed_in_at=facts.signed_in_at,
    )


def _failed(error: HubError, visit: Visit, account_id: str = "") -> None:
    portal = _portal_id()
    nobody = Caller(
        participant_id=portal,
        organization_id=portal,
        client_id="portal",
        user_id=f"Account/{account_id}" if account_id else "",
        network_address=visit.network_address,
        request_id=visit.request_id,
        face="portal",
    )
    reason = str(getattr(error, "reason", "")) or type(error).__name__
    recorder.write_apart(
        [EventDraft(kind=EventType.LOGIN_FAILED, caller=nobody, outcome=Outcome.REFUSED, reason=reason)]
    )


def _caller(portal: str, account: Account, visit: Visit, *, acting_for: int | None = None) -> Caller:
    facts = directory.participant(portal)
    helper = acting_for is not None
    return Caller(
        participant_id=portal,
        organization_id=portal,
        client_id="portal",
        user_id=account.helper_id if helper else f"Patient/{account.person_id}",
        user_name=account.name,
        role="proxy" if helper else "patient",
        purpose="PATRQT",
        organization_name=facts.name if facts else "",
        organization_oid=facts.organization_oid if facts else "",
        on_behalf_of=f"Patient/{person_of(acting_for)}" if acting_for is not None else None,
        network_address=visit.network_address,
        request_id=visit.request_id,
        face="portal",
    )


def _portal_id() -> str:
    """The hub's own portal, active or not; "" when the directory has none."""
    found = sorted(facts.id for facts in directory.participants().values() if facts.type == PORTAL_TYPE)
    now = timezone.now()
    return next((one for one in found if directory.is_active(one, now)), found[0] if found else "")


def _portal() -> str:
    portal = _portal_id()
    if not portal or not directory.is_active(portal, timezone.now()):
        raise AccessRefused("G2", "participant-not-active")
    return portal


def reader_of(account: Account, acting_for: int | None) -> UUID:
    """The person whose record is being read."""
    return UUID(person_of(acting_for)) if acting_for is not None else UUID(account.person_id)


def set_language(account: Account, language: str) -> None:
    """Remember the language the account's owner reads."""
    accounts.set_language(account.id, language)
