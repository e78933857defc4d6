"""The pages of retention at the desk: what is kept how long, holds, and who may change it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from django.utils import timezone

from consent.models import LegalHold, PolicyProposal, RetentionRule, RetentionRun
from hie.audit.models import AuditEvent
from hie.exchange.models import Query
from tests.exchange.test_retention import again, asked, sweep

pytestmark = pytest.mark.django_db
AsRole = Callable[..., Client]
PAGE, PLACE = "/admin/consent/retentionrun/", "/admin/consent/legalhold/place/"
PROPOSE = "/admin/consent/policyproposal/propose/"


def test_a_time_is_changed_by_two_on_the_pages_and_the_next_sweep_goes_by_it(world: UUID, as_role: AsRole) -> None:
    officer, boss = as_role("privacy-officer", username="ada"), as_role("administrator", username="bo")
    for days in (10, 50, 100):
        asked(days, world)
    sweep()
    page = officer.get(PAGE).content.decode()
    assert "90 days from the question" in page
    assert "1 removed" in page
    form = {"kind": "retention", "subject": "questions", "days": "30", "reason": "fewer traces"}
    shown = officer.get(PROPOSE, {"kind": "retention", "subject": "questions"}).content.decode()
    assert 'value="90"' in shown
    report = officer.post(PROPOSE, {**form, "report": "1"}).content.decode()
    assert "90 days now, 30 days then" in report
    assert PolicyProposal.objects.count() == 0
    for wrong in ("1", "0", "x", "99999999", ""):
        assert officer.post(PROPOSE, {**form, "days": wrong, "propose": "1"}).status_code == 422
    there = officer.post(PROPOSE, {**form, "propose": "1"})["Location"]
    assert "Time that something is kept: questions" in officer.get(PAGE).content.decode()
    number = PolicyProposal.objects.get().reports.get().pk
    decide = {"reason": "read", "report": str(number), "activate": "1"}
    assert officer.post(there, decide).status_code == 422
    assert boss.post(there, decide).status_code == 302
    assert RetentionRule.objects.get().body == {"days": 30}
    again()
    assert sweep() == 1
    assert Query.objects.count() == 1
    page = boss.get(PAGE).content.decode()
    assert "30 days from the question" in page
    assert "Version 1, 30 days" in page


def test_a_hold_is_placed_on_a_page_and_lifted_by_two(world: UUID, as_role: AsRole) -> None:
    officer, boss = as_role("privacy-officer", username="ada"), as_role("administrator", username="bo")
    asked(100, world)
    bare = officer.post(PLACE, {"kind": "person", "subject": str(world), "reason": ""})
    assert (bare.status_code, b'id="why" name="reason"' in bare.content) == (422, True)
    assert officer.post(PLACE, {"kind": "person", "subject": "x" * 300, "reason": "m"}).status_code == 422
    done = officer.post(PLACE, {"kind": "person", "subject": str(world), "reason": "Matter 12"})
    assert done["Location"] == f"{PAGE}#holds"
    page = officer.get(PAGE).content.decode()
    assert str(world) in page
    assert "Matter 12" in page
    assert "Quarrel" not in page
    sweep()
    assert Query.objects.count() == 1
    hold = LegalHold.objects.get()
    form = {"kind": "hold", "subject": str(hold.pk), "reason": "over", "body": '{"status": "lifted"}', "propose": "1"}
    assert '{&quot;status&quot;' in officer.get(PROPOSE, {"kind": "hold", "subject": str(hold.pk)}).content.decode().replace("\n ", "")  # fmt: skip
    there = officer.post(PROPOSE, form)["Location"]
    shown = boss.get(there).content.decode()
    assert f"It holds the person {world}" in shown
    number = PolicyProposal.objects.get().reports.get().pk
    assert boss.post(there, {"reason": "read", "report": str(number), "activate": "1"}).status_code == 302
    again()
    sweep()
    assert Query.objects.count() == 0
    listed = boss.get("/admin/consent/legalhold/").content.decode()
    assert "ada and bo" in listed


@pytest.mark.parametrize(
    ("role", "sees", "changes"),
    [
        pytest.param("administrator", True, True, id="administrator"),
        pytest.param("privacy-officer", True, True, id="privacy-officer"),
        pytest.param("auditor", True, False, id="auditor"),
        pytest.param("steward", False, False, id="steward"),
        pytest.param("onboarding", False, False, id="onboarding"),
        pytest.param("operator", False, False, id="operator"),
    ],
)
def test_who_sees_and_changes_how_long_things_are_kept(
    world: UUID, as_role: AsRole, role: str, sees: bool, changes: bool
) -> None:
    client = as_role(role)
    answer = client.get(PAGE)
    assert (answer.status_code == 200) is sees
    assert (b"Propose another time" in answer.content) is changes
    assert (b"Place a hold" in answer.content) is changes
    assert (client.get(PLACE).status_code == 200) is changes
    before = AuditEvent.objects.count()
    placed = client.post(PLACE, {"kind": "person", "subject": str(world), "reason": "Matter 12"})
    assert (placed.status_code == 302) is changes
    assert LegalHold.objects.exists() is changes
    assert AuditEvent.objects.count() > before
    url = f"{PROPOSE}?kind=retention&subject=questions"
    assert (client.get(url).status_code == 200) is changes


def test_the_page_costs_the_same_for_many_runs_and_holds_as_for_few(
    world: UUID, as_role: AsRole, django_assert_max_num_queries: Any
) -> None:
    client = as_role("privacy-officer")
    at = timezone.now()
    for n in range(60):
        RetentionRun.objects.create(part="log", rule_version=0, days=1, ended_before=at, started_at=at - timedelta(days=n), finished_at=at, removed=n + 1)  # fmt: skip
        LegalHold.objects.create(kind="organization", subject=f"org-{n}", reason="m", placed_by="ada")
    with django_assert_max_num_queries(60):
        page = client.get(PAGE).content.decode()
    assert page.count("org-") >= 60
