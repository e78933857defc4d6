"""What is done to accounts of the desk, and by whom: kept with each account, and in the sealed log.

Called where it is done, in the transaction that does it. Who sets another's password can use the account: the rule of
two people (`hie.trust.second_person`) goes by these rows.

Source: issue 5, item 12; spec/consent.md 16.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hie.audit import recorder
from hie.standards.facts import Caller
from hie.trust.models import StaffAccountAct, StaffPerson

Kind = StaffAccountAct.Kind
COMMAND_LINE = Caller(
    participant_id=recorder.HUB,
    organization_id=recorder.HUB,
    client_id="command-line",
    user_id="",
    role="system",
    face="hub",
)


def note(
    account: Any, kind: StaffAccountAct.Kind, *, by: int | None, caller: Caller = COMMAND_LINE, **changed: Any
) -> None:
    """Write down what was done to an account (a user row), and by whose (primary key; None: at the command line).

    `changed` says what it was before and is now, never a secret. In the caller's transaction.
    """
    by_name = caller.user_id.removeprefix("Staff/") if by is not None else ""
    StaffAccountAct.objects.create(account=account.pk, kind=kind, by=by, by_name=by_name, changed=changed)
    detail: dict[str, Any] = {
        "what": "staff account",
        "act": kind.value,
        "account": account.pk,
        "username": account.get_username(),
        "own": by == account.pk,
    }
    if changed:
        detail["changed"] = changed
    recorder.write([recorder.EventDraft(kind=recorder.EventType.STAFF_ACT, caller=caller, detail=detail)])


def standing(account: Any) -> Mapping[str, Any]:
    """What an account may do: to be compared before and after a change. One statement."""
    return {
        "active": account.is_active,
        "staff": account.is_staff,
        "superuser": account.is_superuser,
        "roles": sorted(account.groups.values_list("name", flat=True)) if account.pk else [],
    }


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What is different, each as [before, after]."""
    return {name: [before.get(name), after[name]] for name in after if before.get(name) != after[name]}


def person_of(account: int) -> str:
    """The staff number behind an account; "" where it is not known. One statement."""
    return StaffPerson.objects.filter(account=account).values_list("staff_number", flat=True).first() or ""


def set_person(account: Any, staff_number: str) -> bool:
    """Say who stands behind an account ("" nobody known); whether anything changed. Noted by the caller."""
    wanted = staff_number.strip()
    if person_of(account.pk) == wanted:
        return False
    if wanted:
        StaffPerson.objects.update_or_create(account=account.pk, defaults={"staff_number": wanted})
    else:
        StaffPerson.objects.filter(account=account.pk).delete()
    return True


def history(account: int) -> list[StaffAccountAct]:
    """What was done to an account, newest first; one statement."""
    return list(StaffAccountAct.objects.filter(account=account).order_by("-at", "-pk"))
