"""From invitation to taking part: the steps, what stands against each, and the two people who let somebody in."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.utils import InternalError
from django.utils import timezone

from hie.directory import onboarding, queries, registration
from hie.directory.errors import OnboardingChanged, OnboardingRefused
from hie.directory.models import Onboarding, OnboardingAct, Participant
from hie.directory.onboarding import Who
from tests.directory.forms import EC_P384, clinic, file, jwk

pytestmark = pytest.mark.django_db
ADA, BO, CY = Who(name="ada", account=1), Who(name="bo", account=2), Who(name="cy", account=3)
OWN = Who(name="Onboarding/x")
PASSES = [{"result": "pass", "check": "Key", "clause": "RFC 7517", "field": "jwks", "found": "", "fix": ""}]
FAILS = [{"result": "fail", "check": "Key", "clause": "RFC 7517", "field": "jwks", "found": "No.", "fix": "Yes."}]


def invited(name: str = "Osprey Fold Laboratory") -> tuple[Onboarding, str]:
    return onboarding.invite(name, ADA, reason="Contract signed", now=timezone.now())


def members(part: str, **changes: Any) -> dict[str, Any]:
    whole = clinic(agreement={"status": "active", "period": {"start": "2026-01-01"}}) | changes
    return {member: value for member, value in whole.items() if member in onboarding.PARTS[part]}


def saved(row: Onboarding, part: str, by: Who = ADA, **changes: Any) -> list[str]:
    found = onboarding.save(row.pk, part, members(part, **changes), by, version=version(row.pk), now=timezone.now())
    return [str(fault) for fault in found]


def version(onboarding_id: Any) -> int:
    return int(Onboarding.objects.get(pk=onboarding_id).version)


def prepared(report: list[dict[str, str]] = PASSES) -> Onboarding:
    row, _ = invited()
    for part in onboarding.PARTS:
        assert saved(row, part) == []
    row.refresh_from_db()
    onboarding.tested(row.pk, ADA, version=row.version, report=report, took_s=0.1, now=timezone.now())
    return row


def test_two_people_let_an_organization_in_and_it_takes_part_from_then_on():
    row = prepared()
    assert not Participant.objects.exists()
    onboarding.ask(row.pk, BO, reason="All there", version=version(row.pk), now=timezone.now())
    assert (
        onboarding.approve(row.pk, CY, reason="Looked at", version=version(row.pk), now=timezone.now()) == "org-clinic"
    )
    assert queries.is_active("org-clinic", timezone.now())
    row.refresh_from_db()
    assert (row.state, row.decided_by, bytes(row.code_digest)) == ("live", "cy", b"")
    assert [act.kind for act in row.acts.all()] == [
        "invited", "saved", "saved", "saved", "tested", "asked", "approved"
    ]  # fmt: skip


def test_it_is_registered_as_a_file_of_the_same_would_register_it():
    row = prepared()
    onboarding.ask(row.pk, BO, reason="All there", version=version(row.pk), now=timezone.now())
    onboarding.approve(row.pk, CY, reason="Looked at", version=version(row.pk), now=timezone.now())
    assert registration.apply({"participants": [row.draft]}) == [("unchanged", "org-clinic")]


@pytest.mark.parametrize("second", [ADA, BO])
def test_who_began_it_or_asked_for_it_does_not_approve_it(second: Who):
    row = prepared()
    onboarding.ask(row.pk, BO, reason="All there", version=version(row.pk), now=timezone.now())
    with pytest.raises(OnboardingRefused, match="does not approve"):
        onboarding.approve(row.pk, second, reason="Looked at", version=version(row.pk), now=timezone.now())
    assert not Participant.objects.exists()


def test_the_database_itself_refuses_one_person():
    row = prepared()
    with pytest.raises(IntegrityError), transaction.atomic():
        Onboarding.objects.filter(pk=row.pk).update(state="live", asked_account=7, decided_account=7)


def test_what_was_done_and_reports_cannot_be_changed():
    row = prepared()
    for rows in (row.acts.all(), row.tests.all()):
        with pytest.raises((IntegrityError, InternalError)), transaction.atomic():
            rows.update(actor="somebody else")
        with pytest.raises((IntegrityError, InternalError)), transaction.atomic():
            rows.delete()


def test_a_part_with_a_fault_is_not_kept_and_the_fault_names_its_member():
    row, _ = invited()
    assert saved(row, "organization", organization_oid="clinic") == ["organization_oid: must be an OID"]
    row.refresh_from_db()
    assert row.draft == {"name": "Osprey Fold Laboratory"}
    assert row.version == 1


def test_what_another_participant_holds_is_told_before_everything_is_filled_in():
    registration.apply(file(clinic()))
    row, _ = invited()
    found = saved(row, "organization")
    assert "id: org-clinic takes part already" in found
    assert saved(row, "organization", id="org-new", client_id="org-new") == [
        "organization_oid: is already that of org-clinic", "assigning_authority: is already that of org-clinic",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("against", "words"),
    [
        ("untested", "has not been run"),
        ("failed", "1 of 1 checks"),
        ("changed", "since the self-test"),
        ("old", "older than 30 days"),
        ("missing", "missing: keys"),
    ],
)
def test_it_is_not_ready_while(against: str, words: str):
    now = timezone.now()
    row = prepared(FAILS if against == "failed" else PASSES)
    if against == "untested":
        row, _ = invited("Other Laboratory")
        for part in onboarding.PARTS:
            assert saved(row, part) == []
    if against == "changed":
        assert saved(row, "endpoints", endpoints=[{"kind": "fhir", "url": "https://lab.example/fhir"}]) == []
    if against == "missing":
        Onboarding.objects.filter(pk=row.pk).update(draft={m: v for m, v in row.draft.items() if m != "jwks"})
    row.refresh_from_db()
    later = now + timedelta(days=31) if against == "old" else now
    assert words in onboarding.not_ready(row, now=later)
    with pytest.raises(OnboardingRefused, match=words):
        onboarding.ask(row.pk, BO, reason="All there", version=version(row.pk), now=later)


def test_what_changed_between_asking_and_approving_is_looked_at_again():
    row = prepared()
    onboarding.ask(row.pk, BO, reason="All there", version=version(row.pk), now=timezone.now())
    registration.apply(file(clinic()))
    with pytest.raises(OnboardingRefused, match="missing: organization"):
        onboarding.approve(row.pk, CY, reason="Looked at", version=version(row.pk), now=timezone.now())
    onboarding.send_back(row.pk, CY, reason="Already there", now=timezone.now())
    row.refresh_from_db()
    assert row.state == "open"


def test_of_two_who_change_it_at_once_the_second_looks_again():
    row, _ = invited()
    assert saved(row, "organization") == []
    with pytest.raises(OnboardingChanged):
        onboarding.save(row.pk, "keys", members("keys"), BO, version=1, now=timezone.now())


def test_the_organization_says_who_it_is_but_not_what_it_may_ask_for():
    row, _ = invited()
    assert saved(row, "organization", OWN) == []
    with pytest.raises(OnboardingRefused, match="not yours"):
        saved(row, "agreement", OWN)


def test_a_part_keeps_no_member_of_another():
    row, _ = invited()
    both = members("organization") | {"purposes": ["BTG"], "scopes": ["system/*.cruds"]}
    onboarding.save(row.pk, "organization", both, OWN, version=1, now=timezone.now())
    row.refresh_from_db()
    assert "purposes" not in row.draft
    assert "scopes" not in row.draft


def test_a_code_opens_its_onboarding_until_it_is_replaced_ends_or_runs_out():
    now = timezone.now()
    row, code = invited()
    assert onboarding.by_code(code.lower().replace("-", " "), now=now) == row.pk
    assert onboarding.by_code(code, now=now + timedelta(days=15)) is None
    assert onboarding.by_code("", now=now) is None
    other = onboarding.new_code(row.pk, ADA, now=now)
    assert onboarding.by_code(code, now=now) is None
    assert onboarding.by_code(other, now=now) == row.pk
    onboarding.withdraw(row.pk, ADA, reason="Changed their mind", now=now)
    assert onboarding.by_code(other, now=now) is None


def test_the_code_itself_is_kept_nowhere():
    row, code = invited()
    held = json.dumps(
        [str(Onboarding.objects.values().get(pk=row.pk)), [str(a) for a in OnboardingAct.objects.values()]]
    )
    assert code not in held
    assert code.replace("-", "") not in held


def test_it_needs_a_key_of_either_kind():
    row, _ = invited()
    empty = onboarding.save(row.pk, "keys", {}, ADA, version=1, now=timezone.now())
    assert [fault.path for fault in empty] == ["jwks_url"]
    assert (
        onboarding.save(row.pk, "keys", {"jwks": {"keys": [jwk(EC_P384, "a")]}}, ADA, version=1, now=timezone.now())
        == []
    )


def test_of_two_runs_of_the_self_test_at_once_one_is_refused_and_one_that_broke_off_is_forgotten():
    row = prepared()
    now = timezone.now() + timedelta(minutes=1)
    onboarding.begin_test(row.pk, now=now)
    with pytest.raises(OnboardingRefused, match="is running"):
        onboarding.begin_test(row.pk, now=now + timedelta(seconds=30))
    onboarding.begin_test(row.pk, now=now + timedelta(minutes=5))
