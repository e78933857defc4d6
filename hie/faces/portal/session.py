"""What a browser's session holds of a patient: the account, whom it acts for, when it was here last."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from hie.exchange import accounts, own_account
from hie.exchange.accounts import Account, ActsFor, Visit
from hie.exchange.helpers import TOLD_BEFORE
from hie.faces.portal import dates
from hie.standards.facts import Caller
from hie.trust.requests import network_address, request_id

_KEY = "my"
_PENDING = "my-pending"
_APP = "my-app"
_HALF_WAY_S = 300
_SETTING_UP_S = 900
CONFIRMED_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Who reads a page, whose record it is about, and for whom else it could be."""

    account: Account
    visit: Visit
    session_id: str = ""
    people: tuple[ActsFor, ...] = ()
    acting: ActsFor | None = None
    new_since: datetime | None = None

    @property
    def person_id(self) -> str:
        """Whose record is read."""
        return accounts.person_of(self.acting.identifier_pk) if self.acting else self.account.person_id

    @property
    def acting_until(self) -> str:
        """The last day on which the reader can act for this person, in words, from 90 days before; "" else."""
        if self.acting is None or not self.acting.until:
            return ""
        try:
            ends_on = date.fromisoformat(self.acting.until)
        except ValueError:
            return ""  # a month or a year alone
        return dates.day(ends_on) if ends_on - timezone.now().date() <= TOLD_BEFORE else ""

    @property
    def caller(self) -> Caller:
        """As whom the hub is asked."""
        return accounts.caller(self.account, self.visit, acting_for=self.acting.identifier_pk if self.acting else None)


def visit_of(request: HttpRequest) -> Visit:
    """Where the request comes from."""
    return Visit(network_address=network_address(request), request_id=request_id(request))


def start(request: HttpRequest, account: Account) -> None:
    """A new session under a new key; nothing of the one before is kept, a staff member's neither."""
    request.session.flush()
    since = account.signed_in_at.isoformat() if account.signed_in_at else ""
    request.session[_KEY] = {
        "session": own_account.start_session(account, request.headers.get("User-Agent", "")),
        "stamp": account.stamp,
        "new_since": since,
        "confirmed": time.time(),
    }


def go_on(request: HttpRequest, account: Account) -> None:
    """The same session under a new key, after the account's ways in changed: others have ended by that."""
    request.session[_KEY] = request.session[_KEY] | {"stamp": account.stamp}
    request.session.pop(_APP, None)
    request.session.cycle_key()


def is_confirmed(request: HttpRequest) -> bool:
    """Whether the reader has shown lately that the account is hers: at signing in, or by the page that asks again."""
    held = request.session.get(_KEY) or {}
    return time.time() - float(held.get("confirmed", 0)) < CONFIRMED_S


def confirm(request: HttpRequest) -> None:
    """She has just shown it."""
    request.session[_KEY] = request.session[_KEY] | {"confirmed": time.time()}
    request.session.cycle_key()


def start_second_step(request: HttpRequest, account: Account) -> None:
    """Remember who gave the right password until the code comes, or the app is set up, in a session of its own."""
    request.session.flush()
    kind = "code" if account.second_factor_due else "app"
    lasts = _HALF_WAY_S if kind == "code" else _SETTING_UP_S
    request.session[_PENDING] = {"account": account.id, "due": kind}
    request.session.set_expiry(lasts)


def pending(request: HttpRequest, due: str = "code") -> str:
    """The account that gave its password and still has to do what is `due` ("code" or "app"), or ""."""
    held = request.session.get(_PENDING)
    return str(held["account"]) if isinstance(held, dict) and held.get("due") == due else ""


def secret(request: HttpRequest, account_id: str, *, begin: bool = False) -> str:
    """The secret of the app that is being set up in this session; "" for none, or with `begin` a new one."""
    held = request.session.get(_APP) or {}
    known = own_account.secret_of(held["sealed"], account_id) if held.get("until", 0) > time.time() else ""
    if not known and begin:
        sealed = own_account.begin_app(account_id)
        request.session[_APP] = {"sealed": sealed, "until": time.time() + _SETTING_UP_S}
        known = own_account.secret_of(sealed, account_id)
    return known


def end(request: HttpRequest) -> None:
    """Forget everything; the key is not used again."""
    request.session.flush()


def reader(request: HttpRequest) -> Reader | None:
    """Who is signed in; None when nobody is, or not any more."""
    held: dict[str, Any] | None = request.session.get(_KEY)
    if not held:
        return None
    session_id = str(held.get("session", ""))
    account = accounts.account(session_id, str(held.get("stamp", "")))
    if account is None:
        end(request)
        return None
    visit = visit_of(request)
    people = _people(request, held, account, visit)
    acting = next((one for one in people if one.identifier_pk == held.get("acting")), None)
    since = held.get("new_since")
    return Reader(
        account=account,
        visit=visit,
        session_id=session_id,
        people=people,
        acting=acting,
        new_since=datetime.fromisoformat(since) if since else None,
    )


def act_for(request: HttpRequest, identifier_pk: int | None) -> None:
    """Read another's record from now on, or one's own again (None)."""
    held = dict(request.session[_KEY])
    held["acting"] = identifier_pk
    held.pop("people", None)  # names are read again: a grant may have ended
    request.session[_KEY] = held
    request.session.cycle_key()


def _people(request: HttpRequest, held: dict[str, Any], account: Account, visit: Visit) -> tuple[ActsFor, ...]:
    """Read once a session and again when grants come or go: each reading is a look that the patient sees."""
    pks = list(accounts.people_pks(account))
    if held.get("people_pks") != pks or "people" not in held:
        found = accounts.people(account, visit) if pks else []
        held = dict(held)
        held["people_pks"] = pks
        held["people"] = [[one.identifier_pk, one.person_id, one.name, one.kind, one.until] for one in found]
        request.session[_KEY] = held
    return tuple(
        ActsFor(identifier_pk=pk, person_id=person, name=name, kind=kind, until=until)
        for pk, person, name, kind, until in held["people"]
    )
