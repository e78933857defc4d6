"""From invitation to taking part: what is known of an organization on its way, and the two people who let it in.

The draft is what it will be registered as. It is kept part by part, and a part only when it holds no fault. Live it
goes by `registration.apply`, with what a file of participants would say, so a wizard can do nothing that a file cannot.
The self-test itself is `hie.exchange.self_test`; here is what of it counts.

Source: design.md "participants"; spec/consent.md 3 and 11.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from hie.directory import registration
from hie.directory.errors import Fault, OnboardingChanged, OnboardingRefused, RegistrationRefused
from hie.directory.forms import Form, storable
from hie.directory.models import Onboarding, OnboardingAct, OnboardingTest, Participant

State, Act = Onboarding.State, OnboardingAct.Kind

CODE_LASTS = timedelta(days=14)
RERUN_AFTER = timedelta(seconds=5)
"""A run connects to other machines and takes a worker: one begins at most so often."""
RUN_AT_MOST = timedelta(seconds=90)
"""After that a run that was begun and did not end is taken for broken off."""
TEST_LASTS = timedelta(days=30)
"""So long a run of the self-test counts: addresses, keys and certificates do not stay as they were."""
# Without letters and digits that look alike; sixteen of them are 80 bits, so nobody guesses one.
_ALPHABET = "ABCDEFGHJKMNPQRSTVWXYZ23456789"
_GROUPS, _GROUP = 4, 4
_LONGEST_REASON = 500

PARTS: Mapping[str, tuple[str, ...]] = {
    "organization": (
        "id", "name", "type", "organization_oid", "assigning_authority", "hl7v2", "home_community_id", "source_id",
    ),
    "agreement": (
        "part_of", "jurisdiction", "purposes", "scopes", "agreement", "default_role", "default_purpose",
        "part2_program", "requires_relationship", "users",
    ),
    "keys": ("jwks", "jwks_url", "certificates"),
    "endpoints": ("endpoints",),
}  # fmt: skip
"""Which members of the draft each part holds, in the order of the steps."""
OWN_PARTS = ("organization", "keys", "endpoints")
"""What the organization itself says; what it may ask for is the exchange's to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Who acts: a member of staff by name and account, or the organization by its code (`account` None)."""

    name: str
    account: int | None = None


def invite(name: str, by: Who, *, reason: str, now: datetime) -> tuple[Onboarding, str]:
    """Begin an onboarding; with the code that the organization opens it by, which is shown this once.

    Raises:
        OnboardingRefused: no name, or no reason.
    """
    name = name.strip()
    if not name or len(name) > 200 or not storable(name):
        raise OnboardingRefused("give the name of the organization, of at most 200 characters", element="name")
    why = _reason(reason)
    code = _new_code()
    with transaction.atomic():
        row = Onboarding.objects.create(
            name=name, draft={"name": name}, begun_at=now, begun_by=by.name, begun_account=_account(by),
            code_digest=_digest(code), code_expires_at=now + CODE_LASTS,
        )  # fmt: skip
        _note(row, Act.INVITED, by, now, reason=why)
    return row, code


def new_code(onboarding_id: UUID, by: Who, *, now: datetime) -> str:
    """Another code in place of the one there was.

    Raises:
        OnboardingRefused: there is no such onboarding, or it has ended.
    """
    code = _new_code()
    with transaction.atomic():
        row = _locked(onboarding_id, (State.OPEN, State.WAITING))
        row.code_digest, row.code_expires_at = _digest(code), now + CODE_LASTS
        row.save(update_fields=["code_digest", "code_expires_at"])
        _note(row, Act.CODE_GIVEN, by, now)
    return code


def by_code(code: str, *, now: datetime) -> UUID | None:
    """The onboarding that a code opens; None for one that is wrong, has ended, or was replaced."""
    row = (
        Onboarding.objects.filter(code_digest=_digest(code), code_expires_at__gt=now)
        .exclude(code_digest=b"")
        .exclude(state__in=[State.LIVE, State.WITHDRAWN])
        .first()
    )
    return row.pk if row else None


def code_used(onboarding_id: UUID, by: Who, *, now: datetime) -> None:
    """Note that the organization opened it by its code."""
    with transaction.atomic():
        _note(_locked(onboarding_id, (State.OPEN, State.WAITING)), Act.CODE_USED, by, now)


def faults(draft: Form) -> dict[str, list[Fault]]:
    """What is wrong or missing, by part; a part without faults is whole. It reads the whole directory.

    Paths are relative to the draft: ``agreement.period.start``.
    """
    found: dict[str, list[Fault]] = {part: [] for part in PARTS}
    for fault in registration.faults_of({"participants": [draft]}):
        path = fault.path.removeprefix("participants[0]").removeprefix(".")
        found[part_of(path)].append(Fault(path=path, message=fault.message))
    if "agreement" not in draft:
        found["agreement"].append(Fault(path="agreement.period.start", message="is missing"))
    found["agreement"] += [
        Fault(path=member, message="name at least one") for member in ("purposes", "scopes") if draft.get(member) == []
    ]
    jwks = draft.get("jwks")
    if not (draft.get("jwks_url") or (isinstance(jwks, dict) and jwks.get("keys")) or found["keys"]):
        found["keys"].append(Fault(path="jwks_url", message="give the address of a JWKS, or a public key"))
    taken = draft.get("id")
    if isinstance(taken, str) and storable(taken) and Participant.objects.filter(pk=taken).exists():
        found["organization"].append(Fault(path="id", message=f"{draft['id']} takes part already"))
    return found


def told_outside(fault: Fault) -> Fault:
    """The fault as the organization itself is told it: not whose something is, nor what two people decided of whom."""
    for inside, outside in _OUTSIDE:
        if inside in fault.message:
            return Fault(path=fault.path, message=outside)
    return fault


_OUTSIDE = (
    ("is already that of", "is taken already"),
    ("takes part already", "is taken already"),
    ("by two people", "is taken already"),
    ("at the administrators' desk", "is taken already"),
    ("neither in the file nor registered", "is not known here"),
)


def part_of(path: str) -> str:
    """The part of the draft that a path belongs to; the first where no part knows it."""
    member = path.partition(".")[0].partition("[")[0]
    return next((part for part, members in PARTS.items() if member in members), "organization")


def save(
    onboarding_id: UUID, part: str, members: Mapping[str, Any], by: Who, *, version: int, now: datetime
) -> list[Fault]:
    """Keep a part of the draft as its form says it; what is wrong with it, and then nothing was kept.

    Raises:
        OnboardingRefused: no such onboarding, it waits for its second person, or it has ended; or not the organization's part.
        OnboardingChanged: somebody changed it since that version was shown.
    """
    if part not in PARTS or (by.account is None and part not in OWN_PARTS):
        raise OnboardingRefused("this part is not yours to change", element=part)
    with transaction.atomic():
        row = _locked(onboarding_id, (State.OPEN,))
        if row.version != version:
            raise OnboardingChanged("somebody else changed it meanwhile: look at it and save again", element=part)
        kept = {member: value for member, value in row.draft.items() if member not in PARTS[part]}
        draft = kept | {member: value for member, value in members.items() if member in PARTS[part]}
        wrong = faults(draft)[part]
        if wrong:
            return wrong if by.account is not None else [told_outside(fault) for fault in wrong]
        if draft == row.draft:
            return []
        changed = sorted(m for m in set(draft) | set(row.draft) if draft.get(m) != row.draft.get(m))
        row.draft, row.version = draft, row.version + 1
        row.save(update_fields=["draft", "version"])
        _note(row, Act.SAVED, by, now, detail={"part": part, "members": changed, "version": row.version})
    return []


def tested(
    onboarding_id: UUID, by: Who, *, version: int, report: Sequence[Mapping[str, Any]], took_s: float, now: datetime
) -> OnboardingTest:
    """Keep a run of the self-test, made on a version of the draft.

    Raises:
        OnboardingRefused: no such onboarding, or it has ended.
    """
    with transaction.atomic():
        row = _locked(onboarding_id, (State.OPEN, State.WAITING))
        row.test_begun_at = None
        row.save(update_fields=["test_begun_at"])
        newest = row.tests.first()
        passed = sum(1 for check in report if check["result"] == "pass")
        made = OnboardingTest.objects.create(
            onboarding=row, number=newest.number + 1 if newest else 1, draft_version=version, began_at=now,
            took_s=took_s, actor=by.name, passed=passed, failed=len(report) - passed, report=list(report),
        )  # fmt: skip
        _note(row, Act.TESTED, by, now, detail={"test": made.number, "passed": passed, "failed": made.failed})
    return made


def not_ready(row: Onboarding, *, now: datetime) -> str:
    """Why it cannot be approved yet, in words; "" where nothing stands against it."""
    wrong = [part for part, found in faults(row.draft).items() if found]
    if wrong:
        return f"Something is missing: {', '.join(wrong)}."
    test = row.tests.first()
    if test is None:
        return "The self-test has not been run."
    if test.draft_version != row.version:
        return "Something was changed since the self-test. Run it again."
    if now - test.began_at > TEST_LASTS:
        return "The self-test is older than 30 days. Run it again."
    if test.failed:
        return f"{test.failed} of {test.passed + test.failed} checks of the self-test failed."
    return ""


def ask(onboarding_id: UUID, by: Who, *, reason: str, version: int, now: datetime) -> None:
    """Say that it is ready: from here on a second person decides.

    `version` is that of the draft which was looked at.

    Raises:
        OnboardingRefused: it is not ready, or no reason. OnboardingChanged: it was changed since that version.
    """
    why = _reason(reason)
    with transaction.atomic():
        row = _locked(onboarding_id, (State.OPEN,))
        _same(row, version)
        if against := not_ready(row, now=now):
            raise OnboardingRefused(against, element="test")
        row.state, row.asked_at, row.asked_by, row.asked_account = State.WAITING, now, by.name, _account(by)
        row.save(update_fields=["state", "asked_at", "asked_by", "asked_account"])
        _note(row, Act.ASKED, by, now, reason=why)


def send_back(onboarding_id: UUID, by: Who, *, reason: str, now: datetime) -> None:
    """Not yet: what is missing stands in the reason, and it can be changed again.

    Raises:
        OnboardingRefused: it does not wait, or no reason.
    """
    why = _reason(reason)
    with transaction.atomic():
        row = _locked(onboarding_id, (State.WAITING,))
        row.state, row.asked_at, row.asked_by, row.asked_account = State.OPEN, None, "", None
        row.save(update_fields=["state", "asked_at", "asked_by", "asked_account"])
        _note(row, Act.SENT_BACK, by, now, reason=why)


def approve(
    onboarding_id: UUID,
    by: Who,
    *,
    reason: str,
    version: int,
    now: datetime,
    check: Callable[[Onboarding], None] = lambda row: None,
) -> str:
    """Let it in, as the second person; the id of the participant, who takes part from the commit on.

    `version` is that of the draft which was looked at; `check` looks at the row under its lock, and raises.

    Raises:
        OnboardingRefused: it does not wait, the same person asked or began it, or it is not ready any more.
        OnboardingChanged: it was changed since that version.
        RegistrationRefused: the directory has changed, and what it says contradicts it.
    """
    why = _reason(reason)
    with transaction.atomic():
        row = _locked(onboarding_id, (State.WAITING,))
        _same(row, version)
        check(row)
        account = _account(by)
        if account in (row.asked_account, row.begun_account):
            raise OnboardingRefused("who began it or asked for it does not approve it", element="person")
        if against := not_ready(row, now=now):
            raise OnboardingRefused(against, element="test")
        found = registration.apply({"participants": [row.draft]}, actor=row.asked_by, approved_by=by.name)
        if found != [("created", row.draft["id"])]:
            raise RegistrationRefused([Fault(path="id", message=f"{row.draft['id']} takes part already")])
        row.state, row.participant_id, row.code_digest, row.code_expires_at = State.LIVE, row.draft["id"], b"", None
        row.decided_at, row.decided_by, row.decided_account = now, by.name, account
        row.save(
            update_fields=[
                "state", "participant_id", "code_digest", "code_expires_at", "decided_at", "decided_by", "decided_account",
            ]
        )  # fmt: skip
        _note(row, Act.APPROVED, by, now, reason=why, detail={"participant": row.participant_id})
    return str(row.participant_id)


def withdraw(onboarding_id: UUID, by: Who, *, reason: str, now: datetime) -> None:
    """Give it up.

    Raises:
        OnboardingRefused: it has ended already, or no reason.
    """
    why = _reason(reason)
    with transaction.atomic():
        row = _locked(onboarding_id, (State.OPEN, State.WAITING))
        row.state, row.code_digest, row.code_expires_at = State.WITHDRAWN, b"", None
        row.decided_at, row.decided_by, row.decided_account = now, by.name, _account(by)
        row.save(
            update_fields=["state", "code_digest", "code_expires_at", "decided_at", "decided_by", "decided_account"]
        )
        _note(row, Act.WITHDRAWN, by, now, reason=why)


def _same(row: Onboarding, version: int) -> None:
    if row.version != version:
        raise OnboardingChanged("it was changed since you looked at it: look at it again", element="test")


def begin_test(onboarding_id: UUID, *, version: int | None = None, now: datetime) -> Onboarding:
    """Note that a run of the self-test is under way; the row as it is tested.

    Raises:
        OnboardingRefused: it has ended, or another run is under way or has only just ended.
    """
    with transaction.atomic():
        row = _locked(onboarding_id, (State.OPEN, State.WAITING))
        if row.test_begun_at is not None and now - row.test_begun_at < RUN_AT_MOST:
            raise OnboardingRefused("a self-test is running: wait until it has ended", element="test")
        newest = row.tests.first()
        if newest is not None and now - newest.began_at < RERUN_AFTER:
            raise OnboardingRefused("the self-test ran just now: wait a few seconds", element="test")
        row.test_begun_at = now
        row.save(update_fields=["test_begun_at"])
    return row


def _locked(onboarding_id: UUID, states: tuple[Onboarding.State, ...]) -> Onboarding:
    row = Onboarding.objects.select_for_update().filter(pk=onboarding_id).first()
    if row is None:
        raise OnboardingRefused("there is no such onboarding", element="onboarding")
    if row.state not in states:
        raise OnboardingRefused(f"it cannot be done now: {row.get_state_display().lower()}", element="state")
    return row


def _note(
    row: Onboarding,
    kind: OnboardingAct.Kind,
    by: Who,
    now: datetime,
    *,
    reason: str = "",
    detail: Mapping[str, Any] | None = None,
) -> None:
    OnboardingAct.objects.create(
        onboarding=row, at=now, kind=kind, actor=by.name, reason=reason, detail=dict(detail or {})
    )


def _reason(text: str) -> str:
    text = text.strip()
    if not text or len(text) > _LONGEST_REASON or not storable(text):
        raise OnboardingRefused(f"give a reason, of at most {_LONGEST_REASON} characters", element="reason")
    return text


def _account(by: Who) -> int:
    if by.account is None:
        raise OnboardingRefused("only a member of staff does this", element="person")
    return by.account


def _new_code() -> str:
    text = "".join(secrets.choice(_ALPHABET) for _ in range(_GROUPS * _GROUP))
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


def _digest(code: str) -> bytes:
    plain = "".join(code.upper().split()).replace("-", "")
    return hashlib.sha256(f"onboarding\0{plain}".encode()).digest()
