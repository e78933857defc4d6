"""Bringing an organization to taking part: invite, prepare, test, approve by a second person; each act recorded.

Staff act by role. The organization itself opens its own onboarding by the code of its invitation and says who it is, its
keys and its endpoints, and runs the self-test; what it may ask for, and when it begins, the exchange says.

Source: design.md "participants"; spec/consent.md 11.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from consent import jurisdictions
from hie.audit import recorder
from hie.audit.recorder import HUB, EventType
from hie.directory import onboarding
from hie.directory.errors import Fault, OnboardingRefused
from hie.directory.models import Onboarding, OnboardingTest
from hie.directory.onboarding import Who
from hie.exchange import self_test
from hie.exchange.access import Staff
from hie.exchange.errors import AccessRefused
from hie.standards.facts import Caller
from hie.trust import limits, second_person
from hie.trust.second_person import Member

ROLES = frozenset({"administrator", "onboarding"})
"""Who prepares and approves."""


def may(staff: Staff) -> bool:
    """Whether a member of staff brings organizations in, by role."""
    return bool(staff.roles & ROLES)


def invite(name: str, staff: Staff, *, reason: str) -> tuple[UUID, str]:
    """Begin an onboarding; its id, and the code for the organization, which is shown this once.

    Raises:
        AccessRefused: not by this role. OnboardingRefused: no name or reason.
    """
    with _act(staff, "invited") as event, transaction.atomic():
        row, code = onboarding.invite(name, _who(staff), reason=reason, now=timezone.now())
        event.note(detail={"act": "invited", "onboarding": str(row.pk)})
        event.commit()
    return row.pk, code


def new_code(onboarding_id: UUID, staff: Staff) -> str:
    """Another code for the organization in place of the one there was, which opens nothing from now on.

    Raises:
        AccessRefused: not by this role. OnboardingRefused: it has ended.
    """
    with _act(staff, "code-given", onboarding_id) as event, transaction.atomic():
        code = onboarding.new_code(onboarding_id, _who(staff), now=timezone.now())
        event.commit()
    return code


def look(onboarding_id: UUID, staff: Staff) -> Onboarding:
    """One onboarding for its page at the desk; the look is recorded.

    Raises:
        AccessRefused: not by this role. OnboardingRefused: there is none.
    """
    with _act(staff, "looked", onboarding_id):
        return _row(onboarding_id)


def ask(onboarding_id: UUID, staff: Staff, *, reason: str, version: int) -> None:
    """Say that it is ready, so that a second person decides.

    Raises:
        AccessRefused: not by this role. OnboardingRefused, OnboardingChanged: as `hie.directory.onboarding.ask`.
    """
    with _act(staff, "asked", onboarding_id) as event, transaction.atomic():
        onboarding.ask(onboarding_id, _who(staff), reason=reason, version=version, now=timezone.now())
        event.commit()


def send_back(onboarding_id: UUID, staff: Staff, *, reason: str) -> None:
    """Not yet: it can be changed again.

    Raises:
        AccessRefused: not by this role. OnboardingRefused: it does not wait.
    """
    with _act(staff, "sent-back", onboarding_id) as event, transaction.atomic():
        onboarding.send_back(onboarding_id, _who(staff), reason=reason, now=timezone.now())
        event.commit()


def approve(onboarding_id: UUID, staff: Staff, *, reason: str, version: int) -> str:
    """Let it in, as the second person; the id of the participant.

    Raises:
        AccessRefused: not by this role. OnboardingRefused: the two may be one (`hie.trust.second_person`), or as
            `hie.directory.onboarding.approve`. OnboardingChanged, RegistrationRefused: as that.
    """
    second = _member(staff)

    def check(row: Onboarding) -> None:
        for name, account in ((row.begun_by, row.begun_account), (row.asked_by, row.asked_account)):
            first = Member(name=name, account=account)
            if why := second_person.why_not(first, second, since=row.asked_at or row.begun_at):
                raise OnboardingRefused(why, element="person")
        if wrong := _unknown_law(row.draft):
            raise OnboardingRefused(f"{wrong.path} {wrong.message}", element=wrong.path)

    with _act(staff, "approved", onboarding_id) as event, transaction.atomic():
        participant = onboarding.approve(
            onboarding_id, _who(staff), reason=reason, version=version, now=timezone.now(), check=check
        )
        event.note(detail={"act": "approved", "onboarding": str(onboarding_id), "participant": participant})
        event.commit()
    return participant


def withdraw(onboarding_id: UUID, staff: Staff, *, reason: str) -> None:
    """Give it up.

    Raises:
        AccessRefused: not by this role. OnboardingRefused: it has ended.
    """
    with _act(staff, "withdrawn", onboarding_id) as event, transaction.atomic():
        onboarding.withdraw(onboarding_id, _who(staff), reason=reason, now=timezone.now())
        event.commit()


def save(
    onboarding_id: UUID, part: str, members: Mapping[str, Any], staff: Staff | None, *, version: int
) -> list[Fault]:
    """Keep a part of the draft; what is wrong with it, and then nothing was kept. `staff` None: the organization itself.

    Raises:
        AccessRefused: not by this role. OnboardingRefused, OnboardingChanged: as `hie.directory.onboarding.save`.
    """
    with _act(staff, "saved", onboarding_id, part=part) as event, transaction.atomic():
        who = _who(staff, onboarding_id)
        if "jurisdiction" in members and (wrong := _unknown_law(members)):
            return [wrong]
        found = onboarding.save(onboarding_id, part, members, who, version=version, now=timezone.now())
        event.commit()
    return found


def test(onboarding_id: UUID, samples: Mapping[str, bytes], staff: Staff | None) -> OnboardingTest:
    """Run the self-test on the draft as it stands, and keep its report; the samples are not kept.

    Raises:
        AccessRefused: not by this role. OnboardingRefused: a part is not whole yet, it has ended, or another run is
            under way.
    """
    with _act(staff, "tested", onboarding_id) as event:
        if wrong := [part for part, found in onboarding.faults(_row(onboarding_id).draft).items() if found]:
            raise OnboardingRefused(f"something is missing: {', '.join(wrong)}", element=wrong[0])
        now, began = timezone.now(), time.monotonic()
        row = onboarding.begin_test(onboarding_id, now=now)
        # Nothing is locked while other machines are asked.
        report = self_test.run(row.draft, samples, now=now)
        with transaction.atomic():
            made = onboarding.tested(
                onboarding_id, _who(staff, onboarding_id), version=row.version, report=report,
                took_s=round(time.monotonic() - began, 1), now=now,
            )  # fmt: skip
            event.note(
                detail={"act": "tested", "onboarding": str(onboarding_id), "passed": made.passed, "failed": made.failed}
            )
            event.commit()
    return made


def enter(code: str, *, network_address: str) -> Onboarding | None:
    """The onboarding that a code opens, for the organization; None where it opens none, and that is counted.

    Raises:
        TooManyRequests: too many wrong codes from this address. OnboardingRefused: it ended this moment.
    """
    found = onboarding.by_code(code, now=timezone.now())
    if found is None:
        limits.failed_attempts(f"join {network_address}")
        recorder.failed_login(
            client_id="onboarding", participant_id=HUB, reason="no such code", network_address=network_address,
            request_id="", face="join",
        )  # fmt: skip
        return None
    with _act(None, "code-used", found) as event, transaction.atomic():
        onboarding.code_used(found, _who(None, found), now=timezone.now())
        event.commit()
    return _row(found)


def ticket(row: Onboarding) -> list[str]:
    """What the organization's session remembers: which onboarding, and by which code."""
    return [str(row.pk), bytes(row.code_digest).hex()]


def own(held: Any) -> Onboarding | None:
    """The onboarding that a session has opened, while the code that it did so by still opens it; None otherwise."""
    if not isinstance(held, list) or len(held) != 2:
        return None
    try:
        key = UUID(str(held[0]))
    except ValueError:
        return None
    row = Onboarding.objects.filter(pk=key, code_expires_at__gt=timezone.now()).exclude(code_digest=b"").first()
    return row if row is not None and ticket(row) == held and row.state in (State.OPEN, State.WAITING) else None


State = Onboarding.State


def _unknown_law(members: Mapping[str, Any]) -> Fault | None:
    law = members.get("jurisdiction")
    if not law or law in jurisdictions.in_effect():
        return None
    return Fault(path="jurisdiction", message="is no place whose law is known here")


def _row(onboarding_id: UUID) -> Onboarding:
    row = Onboarding.objects.filter(pk=onboarding_id).first()
    if row is None:
        raise OnboardingRefused("there is no such onboarding", element="onboarding")
    return row


def _who(staff: Staff | None, onboarding_id: UUID | None = None) -> Who:
    if staff is None:
        return Who(name=f"Onboarding/{onboarding_id}")
    return Who(name=staff.user_id, account=_member(staff).account)


def _member(staff: Staff) -> Member:
    if staff.account is None:
        raise AccessRefused("G5", "role-not-permitted")
    return Member(name=staff.user_id, account=staff.account)


@contextmanager
def _act(
    staff: Staff | None, act: str, onboarding_id: UUID | None = None, **detail: str
) -> Iterator[recorder.Recording]:
    caller = staff.caller() if staff is not None else _organization(onboarding_id)
    with recorder.recording(EventType.DIRECTORY_CHANGED, caller) as event:
        event.note(detail={"act": act, **({"onboarding": str(onboarding_id)} if onboarding_id else {}), **detail})
        if staff is not None and not may(staff):
            raise AccessRefused("G5", "role-not-permitted")
        yield event


def _organization(onboarding_id: UUID | None) -> Caller:
    return Caller(
        participant_id=HUB, organization_id=HUB, client_id="onboarding", user_id=f"Onboarding/{onboarding_id}",
        role="system", face="join",
    )  # fmt: skip
