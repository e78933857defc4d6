"""Whether two members of staff are two people: the one rule for everything that takes two.

One person proposes and another decides: changes of policy, verdicts that move documents, the end of a suspension. Who
they are goes by the account's primary key, by the person behind it where that is known, and by who can use it: an
account that one of the two made, or whose password or second factor one of them set, may be both of them. What was done
to an account after something was proposed might have been done for it, whoever did it.

Two people who act together, or one who has borrowed another's password and code, look like two people here.

Source: spec/consent.md 11; issue 5, item 12.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth import get_user_model

from hie.trust.errors import FourEyes
from hie.trust.models import StaffAccountAct, StaffPerson

Kind = StaffAccountAct.Kind
_WAYS_IN = (Kind.PASSWORD, Kind.SECOND_FACTOR)

SAME = "another person than who proposed it decides"
ONE_PERSON = "another person decides: these two accounts belong to the same one"
THIRD = "another person decides: the passwords or second factors of these two accounts were set by one and the same"
MADE = "another person decides: one of these two accounts was made by the other"
OPENED = "another person decides: the password or second factor of one of these two accounts was set by the other"
SINCE = "another person decides: somebody else has made this account, or set its password, second factor or roles, since this was proposed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of staff who proposes or decides; `account` is the account's primary key.

    None of an account that is gone: only the name is compared then.
    """

    name: str
    account: int | None


def why_not(first: Member, second: Member, *, since: datetime) -> str:
    """Why these two are not two people, in words; "" where they are. 3 statements at most.

    `first` proposed at `since`, `second` would decide now.
    """
    if first.name == second.name or (first.account is not None and first.account == second.account):
        return SAME
    both = [one for one in (first.account, second.account) if one is not None]
    if len(both) == 2 and _one_person(both):
        return ONE_PERSON
    acts = list(StaffAccountAct.objects.filter(account__in=both).order_by("at", "pk"))
    if len(both) == 2:
        for one, other in (both, both[::-1]):
            if any(act.kind == Kind.CREATED and act.by == other for act in acts if act.account == one):
                return MADE
            if any(_last_set(acts, one, way) == other for way in _WAYS_IN):
                return OPENED
        for way in _WAYS_IN:
            setters = {_still_set(acts, one, way) for one in both}
            if len(setters) == 1 and None not in setters:
                return THIRD
    if second.account is None:
        return ""
    joined = get_user_model()._default_manager.filter(pk=second.account).values_list("date_joined", flat=True).first()
    if joined is not None and joined > since:
        return SINCE
    if any(act.account == second.account and act.by != second.account and act.at > since for act in acts):
        return SINCE
    return ""


def check(first: Member, second: Member, *, since: datetime) -> None:
    """Refuse a second pair of eyes that may be the first.

    Raises:
        FourEyes: as `why_not` says.
    """
    if why := why_not(first, second, since=since):
        raise FourEyes(why)


def named(username: str) -> Member:
    """The member of staff whose account is called this; one statement. Names are given once and never change."""
    found = get_user_model()._default_manager.filter(username=username).values_list("pk", flat=True).first()
    return Member(name=username, account=found)


def _one_person(accounts: list[int]) -> bool:
    """Whether both have the same staff number, or the same address of e-mail; blanks and case apart."""
    numbers = StaffPerson.objects.filter(account__in=accounts).values_list("staff_number", flat=True)
    addresses = get_user_model()._default_manager.filter(pk__in=accounts).values_list("email", flat=True)
    return any(_twice(values) for values in (numbers, addresses))


def _twice(values: Iterable[str]) -> bool:
    said = [plain for value in values if (plain := "".join(value.split()).casefold())]
    return len(said) != len(set(said))


def _last_set(acts: list[StaffAccountAct], account: int, way: str) -> int | None:
    """Who set this of an account last, its holder aside: who was given a password changes it, and is known by it still."""
    return next(
        (act.by for act in reversed(acts) if act.account == account and act.kind == way and act.by != account), None
    )


def _still_set(acts: list[StaffAccountAct], account: int, way: str) -> int | None:
    """Who else set what an account is opened by now; None where its holder has set it since, or the command line did."""
    last = next((act for act in reversed(acts) if act.account == account and act.kind == way), None)
    return last.by if last is not None and last.by != account else None
