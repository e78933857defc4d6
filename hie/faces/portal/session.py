"""What a browser's session holds of a patient: the account, whom it acts for, when it was here last."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from hie.exchange import accounts
from hie.exchange.accounts import Account, ActsFor, Visit
from hie.exchange.helpers import TOLD_BEFORE
from hie.faces.portal import dates
from hie.standards.facts import Caller
from hie.trust.requests import network_address, request_id

_KEY = "my"
_PENDING = "my-pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Who reads a page, whose record it is about, and for whom else it could be."""

    account: Account
    visit: Visit
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
    request.session[_KEY] = {"account": account.id, "stamp": account.stamp, "new_since": since}


def start_second_step(request: HttpRequest, account: Account) -> None:
    """Remember who gave the right password until the code comes, in a session of its own, for five minutes."""
    request.session.flush()
    request.session[_PENDING] = account.id
    request.session.set_expiry(300)


def pending(request: HttpRequest) -> str:
    """The account that gave its password and not yet its code, or ""."""
    return str(request.session.get(_PENDING, ""))


def end(request: HttpRequest) -> None:
    """Forget everything; the key is not used again."""
    request.session.flush()


def reader(request: HttpRequest) -> Reader | None:
    """Who is signed in; None when nobody is, or not any more."""
    held: dict[str, Any] | None = request.session.get(_KEY)
    if not held:
        return None
    account = accounts.account(str(held.get("account", "")), str(held.get("stamp", "")))
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
