"""The pages of the review queue over HTTP: who is shown is recorded, who may act does, and a refusal says what to do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from hie.audit.models import AuditEvent
from patients import identifiers
from patients.models import ReviewAct, ReviewItem
from tests.backoffice import cases
from tests.exchange.world import CLINIC_AUTHORITY, exchange

pytestmark = pytest.mark.django_db
AsRole = Callable[..., Client]
QUEUE = "/admin/patients/reviewitem/"


def url_of(item: ReviewItem) -> str:
    return reverse("admin:patients_reviewitem_change", args=[item.pk])


def looked_at() -> list[UUID]:
    found = AuditEvent.objects.filter(kind="staff-look").order_by("at").values_list("person_id", flat=True)
    return [UUID(str(one)) for one in found]


def form(client: Client, item: ReviewItem, **changes: Any) -> dict[str, Any]:
    """What a steward sends who has taken the case and read its page."""
    client.post(url_of(item), {"act": "claim"})
    seen = client.get(url_of(item)).context_data["case"].seen
    return {"act": "decide", "verdict": "different", "reason": "Two sisters", "seen": seen} | changes


def test_the_list_names_nobody_and_records_no_look(as_role: AsRole) -> None:
    cases.every_kind()
    steward = as_role("steward")
    for page in ("", "?state=second", "done/?who=all", "figures/"):
        text = steward.get(QUEUE + page).content.decode()
        for name in ("Quarrel", "Ferris", "Oxley", "Arden", "Okonjo", "Brandvold", "Holloway", "Lindqvist", "1971"):
            assert name not in text, (page, name)
    assert looked_at() == []


def test_everybody_whom_a_case_shows_has_a_look_in_the_log_before_it_is_shown(as_role: AsRole) -> None:
    exchange()
    item = cases.low_score()
    steward = as_role("steward")
    shown = steward.get(url_of(item))
    assert b"Quarrel" in shown.content
    both = {item.person_id, item.candidate_id}
    assert set(looked_at()) == both
    assert len(looked_at()) == 2
    # What was posted and refused is shown again, so it is another look.
    steward.post(url_of(item), form(steward, item, reason=" "))
    assert looked_at().count(item.person_id) == 3
    for look in AuditEvent.objects.filter(kind="staff-look"):
        assert look.detail["row"] == str(item.pk)


def test_a_case_that_was_decided_is_shown_for_a_reason_only(as_role: AsRole) -> None:
    exchange()
    item = cases.low_score()
    steward = as_role("steward")
    steward.post(url_of(item), form(steward, item))
    AuditEvent.objects.all()
    before = len(looked_at())
    asked = steward.get(url_of(item))
    assert b"Your reason" in asked.content
    assert b"Quarrel" not in asked.content
    assert len(looked_at()) == before
    steward.post(url_of(item), {"look_reason": "A complaint, call 4711"})
    assert b"Undo this decision" in steward.get(url_of(item)).content


def test_the_pages_run_no_foreign_and_no_inline_script(as_role: AsRole) -> None:
    item = cases.every_kind()["low-score"]
    steward = as_role("steward")
    for page in (QUEUE, QUEUE + "done/", QUEUE + "figures/", url_of(item)):
        answer = steward.get(page)
        policy = answer.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        text = answer.content.decode()
        assert "style=" not in text
        assert " on" + "click" not in text
        assert "<script>" not in text


@pytest.mark.parametrize("role", ["auditor", "operator", "onboarding"])
def test_who_is_no_steward_sees_no_queue_and_decides_nothing(as_role: AsRole, role: str) -> None:
    exchange()
    item = cases.low_score()
    other = as_role(role)
    for page in (QUEUE, QUEUE + "done/", QUEUE + "figures/", url_of(item)):
        assert other.get(page).status_code in {302, 403}, page
    for page in (QUEUE, QUEUE + "figures/", url_of(item)):
        assert other.post(page, {"act": "claim"}).status_code in {302, 403}, page
    item.refresh_from_db()
    assert item.claimed_by == ""
    assert not ReviewItem.objects.filter(sampled=True).exists()


def test_after_a_decision_the_next_case_is_ones_own_and_the_last_can_be_undone_there(as_role: AsRole) -> None:
    every = cases.every_kind()
    ada = as_role("steward", username="ada")
    taken = ada.post(QUEUE)
    item = every["low-score"]
    assert taken["Location"] == url_of(item)
    seen = ada.get(url_of(item)).context_data["case"].seen
    decided = ada.post(url_of(item), {"act": "decide", "verdict": "different", "reason": "Two sisters", "seen": seen})
    page = ada.get(decided["Location"].split("#")[0])
    assert decided["Location"].endswith(f"?done={item.pk}#notice")
    assert page.context_data["claim"] == "mine"
    assert page.context_data["item"].pk != item.pk
    assert f"Undo case {item.pk}" in page.content.decode()
    undone = ada.post(url_of(item), {"act": "undo", "reason": "Too fast"})
    assert undone.status_code == 302
    item.refresh_from_db()
    assert item.status == "open"
    assert ada.post(url_of(item), {"act": "undo", "reason": "Again"}).status_code == 422


def test_skipping_gives_the_case_back_and_goes_on(as_role: AsRole) -> None:
    every = cases.every_kind()
    ada = as_role("steward", username="ada")
    first = every["low-score"]
    ada.post(url_of(first), {"act": "claim"})
    skipped = ada.post(url_of(first) + "?kind=possible-match", {"act": "skip"})
    assert skipped["Location"].startswith("/admin/patients/reviewitem/")
    assert "kind=possible-match" in skipped["Location"]
    assert url_of(first) not in skipped["Location"]
    first.refresh_from_db()
    assert first.claimed_by == ""


def test_of_two_stewards_the_second_is_told_who_has_the_case_and_what_she_typed_is_kept(as_role: AsRole) -> None:
    exchange()
    item = cases.low_score()
    ada, bo = as_role("steward", username="ada"), as_role("steward", username="bo")
    late = form(bo, item, reason="Typed for ten minutes")
    ReviewItem.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    ada.post(url_of(item), {"act": "claim"})
    refused = bo.post(url_of(item), late)
    assert refused.status_code == 409
    text = refused.content.decode()
    assert "Another steward took this case before you" in text
    assert "Ida Moss works on it until" in text
    assert "Typed for ten minutes" in text
    assert not ReviewAct.objects.exists()
    item.refresh_from_db()
    assert (item.status, item.claimed_by) == ("open", "Staff/ada")


def test_a_decision_on_records_that_changed_meanwhile_is_refused_and_keeps_what_was_typed(as_role: AsRole) -> None:
    exchange()
    item = cases.low_score()
    ada = as_role("steward", username="ada")
    typed = form(ada, item)
    cases.fed(CLINIC_AUTHORITY, "L2", cases.who("Rosamund", "Quarrel", "1971-04-19", phone="+12025550101", line="", city="", code=""))  # fmt: skip
    refused = ada.post(url_of(item), typed)
    assert (refused.status_code, b"A record changed while you looked" in refused.content) == (409, True)
    assert b"Two sisters" in refused.content
    assert b"+12025550101" in refused.content
    item.refresh_from_db()
    assert item.status == "open"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        pytest.param({"reason": ""}, "why", id="no-reason"),
        pytest.param({"verdict": ""}, "verdict-first", id="no-verdict"),
        pytest.param({"verdict": "link-all"}, "verdict-first", id="a-verdict-that-is-none"),
        pytest.param({"verdict": "defer", "until": ""}, "until", id="no-day"),
        pytest.param({"verdict": "defer", "until": "2020-01-01"}, "until", id="a-day-that-is-over"),
        pytest.param({"verdict": "defer", "until": "next week"}, "until", id="a-day-that-is-none"),
        pytest.param({"act": "confirm"}, "decision", id="nothing-to-confirm"),
        pytest.param({"act": "everything"}, "decision", id="no-such-act"),
    ],
)
def test_what_is_missing_is_named_beside_its_field_and_nothing_is_decided(
    as_role: AsRole, changes: dict[str, str], field: str
) -> None:
    exchange()
    item = cases.low_score()
    ada = as_role("steward", username="ada")
    refused = ada.post(url_of(item), form(ada, item) | changes)
    text = refused.content.decode()
    assert refused.status_code == 422
    assert f'href="#{field}"' in text
    assert f'id="{field}"' in text
    assert "<title>Error: " in text
    assert not ReviewAct.objects.exists()


def test_documents_move_only_when_a_second_steward_agrees(as_role: AsRole) -> None:
    exchange()
    item = cases.low_score(documents=2)
    ada, bo = as_role("steward", username="ada"), as_role("steward", username="bo")
    ada.post(url_of(item), form(ada, item, verdict="same", reason="One passport"))
    other = item.candidate_id
    assert other is not None
    assert identifiers.survivor(other) == other
    assert b"Waits for another steward than you" in ada.get(QUEUE).content
    own = ada.post(url_of(item), {"act": "claim"})
    assert (own.status_code, b"You proposed this verdict yourself" in own.content) == (409, True)
    page = bo.get(QUEUE)
    assert b"Waits for a second steward" in page.content
    assert "1 needs a second steward" in page.content.decode()
    second = form(bo, item, act="confirm", reason="Seen the passport")
    assert "One passport" in bo.get(url_of(item)).content.decode()
    assert bo.post(url_of(item), second).status_code == 302
    assert identifiers.survivor(other) == identifiers.survivor(item.person_id)
    undone = bo.post(url_of(item), {"act": "undo", "reason": "It was the sister"})
    assert undone.status_code == 302
    assert identifiers.survivor(other) == other


def test_an_unknown_case_and_odd_addresses_are_no_errors_of_ours(as_role: AsRole) -> None:
    exchange()
    ada = as_role("steward", username="ada")
    for page in ("999999/change/", "x/change/", "?page=0", "?page=-1", "?kind=%00", "?done=99999999999999999999", "?state="):  # fmt: skip
        assert ada.get(QUEUE + page).status_code in {200, 302, 404}, page
    item = cases.low_score()
    for done in ("abc", "1" * 30, "٣", str(item.pk)):
        assert ada.get(url_of(item), {"done": done}).status_code == 200


def test_drawing_links_tells_how_many_and_stops_when_enough_wait(as_role: AsRole) -> None:
    cases.every_kind()
    ada = as_role("steward", username="ada")
    drawn = ada.post(QUEUE + "figures/", follow=False)
    number = ReviewItem.objects.filter(sampled=True).count()
    assert number > 0
    assert drawn["Location"].endswith(f"?drawn={number}#notice")
    assert b"Link drawn at random" in ada.get(QUEUE).content
    person = ReviewItem.objects.filter(sampled=True).first()
    assert person is not None
    ReviewItem.objects.bulk_create(
        ReviewItem(
            kind="doubtful-link", source_record_id=person.source_record_id, person_id=person.person_id, sampled=True
        )
        for _ in range(200)
    )
    full = ada.post(QUEUE + "figures/")
    assert b"No link was drawn" in full.content
    assert b"<title>Error: " in full.content
