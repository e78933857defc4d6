"""What the owner of a portal account does to it: second factor, recovery codes, password, sessions.

Nothing of a health record is read here. Each change is recorded, without any secret, and ends the sessions on other
devices: who had got in there is out.

Source: issue 5, "Getting in"; NIST SP 800-63B 5.1.1, 6.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import transaction

from hie.audit import recorder
from hie.audit.recorder import EventDraft, EventType
from hie.exchange import accounts as people
from hie.exchange.accounts import Account, Visit
from hie.exchange.errors import AccessRefused
from hie.standards.errors import HubError
from hie.trust import accounts, provider, second_factor, sign_ins
from hie.trust import passkeys as keys
from hie.trust.errors import NotAuthenticated
from hie.trust.passkeys import Ceremony, PasskeyFacts
from hie.trust.provider import Known
from hie.trust.second_factor import Owner
from hie.trust.sign_ins import SessionFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How somebody gets into an account."""

    second_factor: bool
    required: bool
    recovery_codes: int
    has_password: bool
    linked: bool
    sessions: tuple[SessionFacts, ...]


def ways(account: Account) -> Ways:
    """What there is; three statements at most."""
    known_here = provider.configured()
    return Ways(
        second_factor=account.second_factor,
        required=accounts.second_factor_required(),
        recovery_codes=second_factor.recovery_codes_left(_owner(account)),
        has_password=account.has_password,
        linked=known_here is not None and provider.is_linked(account.id, known_here),
        sessions=tuple(sign_ins.of(_owner(account))),
    )


# --- the second factor --------------------------------------------------------------------------------------------------


def begin_app(account_id: str) -> str:
    """A secret for a code app that is being set up, sealed for the session that carries it until it is."""
    return second_factor.seal(second_factor.new_secret(), Owner(account=account_id))


def secret_of(sealed: str, account_id: str) -> str:
    """The secret that is being set up; "" when it is another account's, or cannot be read any more."""
    try:
        return second_factor.opened(sealed, Owner(account=account_id)) if sealed else ""
    except second_factor.UnreadableSecret:
        return ""


def picture(secret: str, login: str) -> bytes:
    """The secret for a camera, as SVG."""
    return second_factor.picture(secret, login=login)


def login_of(account_id: str) -> str:
    """What the owner signs in by; "" when there is no open account of this id."""
    facts = accounts.by_id(account_id)
    return facts.login if facts else ""


def finish_app(account: Account, secret: str, code: str, visit: Visit, *, session: str) -> tuple[Account, list[str]]:
    """The app that shows this code is the second factor from now on; with new recovery codes, to be shown once.

    Raises:
        NotAuthenticated: another code. TooManyRequests: too many of them.
    """
    with transaction.atomic():
        facts = accounts.set_up_app(account.id, secret, code, network_address=visit.network_address)
        made = second_factor.make_recovery_codes(_owner(account))
        sign_ins.end(_owner(account), but=session)
        changed = people._account(facts)
        _record(changed, visit, "app set up")
    return changed, made


def sign_in_with_new_app(account_id: str, secret: str, code: str, visit: Visit) -> tuple[Account, list[str]]:
    """The last step of a sign-in to an account that has no second factor yet: it is set up, with recovery codes.

    Raises:
        NotAuthenticated: another code, or the account has one by now. TooManyRequests. AccessRefused: no portal is open.
    """
    try:
        portal = people._portal()
        with transaction.atomic():
            if not accounts.without_app(account_id):
                raise NotAuthenticated("the account has a second factor")
            facts = accounts.set_up_app(account_id, secret, code, network_address=visit.network_address)
            made = second_factor.make_recovery_codes(Owner(account=account_id))
            sign_ins.end(Owner(account=account_id))
            account = people._signed_in(facts, portal, visit, complete=True)
            _record(account, visit, "app set up")
    except HubError as error:
        people._failed(error, visit, account_id)
        raise
    return account, made


def take_off_app(account: Account, visit: Visit, *, session: str) -> Account:
    """No second factor any more, where the hub leaves that to the patient.

    Raises:
        AccessRefused: it does not.
    """
    if accounts.second_factor_required():
        raise AccessRefused("G1", "second-factor-required")
    with transaction.atomic():
        changed = people._account(accounts.take_off_app(account.id))
        sign_ins.end(_owner(account), but=session)
        _record(changed, visit, "app taken off")
    return changed


def recovery_codes(account: Account, visit: Visit) -> list[str]:
    """New recovery codes in place of the old ones, to be shown once.

    Raises:
        AccessRefused: there is no second factor that they could stand in for.
    """
    if not account.second_factor:
        raise AccessRefused("G1", "no-second-factor")
    with transaction.atomic():
        made = second_factor.make_recovery_codes(_owner(account))
        _record(account, visit, "recovery codes made")
    return made


# --- password, sessions -------------------------------------------------------------------------------------------------


def confirm(account: Account, visit: Visit, *, password: str = "", code: str = "") -> None:
    """That the owner sits here still; a failure is recorded.

    Raises:
        NotAuthenticated, TooManyRequests.
    """
    try:
        accounts.confirm(account.id, password=password, code=code, network_address=visit.network_address)
    except HubError as error:
        people._failed(error, visit, account.id)
        raise


def set_password(account: Account, password: str, visit: Visit, *, session: str) -> Account:
    """A new password.

    Raises:
        WeakPassword.
    """
    with transaction.atomic():
        changed = people._account(accounts.set_password(account.id, password))
        sign_ins.end(_owner(account), but=session)
        _record(changed, visit, "password set")
    return changed


def start_session(account: Account, agent: str) -> str:
    """A new session on a device that says of itself what `agent` is; its id."""
    return sign_ins.start(_owner(account), agent=agent)


def end_session(account: Account, visit: Visit, *, only: str = "", but: str = "") -> int:
    """End the account's sessions: one, or all but one; how many."""
    with transaction.atomic():
        ended = sign_ins.end(_owner(account), only=only, but=but)
        if ended:
            _record(account, visit, "sessions ended", sessions=ended)
    return ended


# --- passkeys -----------------------------------------------------------------------------------------------------------


def passkeys(account: Account) -> list[PasskeyFacts]:
    """The account's passkeys, oldest first."""
    return keys.of(_owner(account))


def begin_passkey(account: Account) -> Ceremony:
    """What the browser needs to make one on its device."""
    return keys.begin(_owner(account), login=account.login, name=account.name)


def finish_passkey(account: Account, answer: str, challenge: str, visit: Visit, *, name: str) -> None:
    """Keep the passkey that the browser made.

    Raises:
        NotAuthenticated: it does not hold. AccessRefused: there is no second factor for the day it is not at hand.
    """
    if not account.second_factor:
        raise AccessRefused("G1", "no-second-factor")
    with transaction.atomic():
        keys.finish(_owner(account), answer, challenge, name=name)
        _record(account, visit, "passkey made")


def take_off_passkey(account: Account, passkey_id: int, visit: Visit) -> bool:
    """Forget a passkey; whether there was one."""
    with transaction.atomic():
        gone = keys.take_off(_owner(account), passkey_id)
        if gone:
            _record(account, visit, "passkey taken off")
    return gone


def link(account: Account, known: Known, visit: Visit) -> None:
    """Link the account to who its owner is at the provider.

    Raises:
        ProviderLinked: another account is.
    """
    with transaction.atomic():
        provider.link(account.id, known)
        _record(account, visit, "provider linked", issuer=known.issuer)


def unlink(account: Account, visit: Visit) -> bool:
    """Take the link off; whether there was one.

    Raises:
        AccessRefused: it is the only way into the account.
    """
    if not account.has_password:
        raise AccessRefused("G1", "no-password")
    with transaction.atomic():
        gone = provider.unlink(account.id)
        if gone:
            _record(account, visit, "provider unlinked")
    return gone


def ask_passkey() -> Ceremony:
    """What the browser needs to sign somebody in by a passkey."""
    return keys.ask()


def _owner(account: Account) -> Owner:
    return Owner(account=account.id)


def _record(account: Account, visit: Visit, act: str, **more: Any) -> None:
    caller = people._caller(people._portal_id(), account, visit)
    recorder.write(
        [EventDraft(kind=EventType.ACCOUNT_CHANGED, caller=caller, detail={"act": act, "account": account.id, **more})]
    )
