"""Concerns of patients at the desk in Chromium: no axe violation, no sideways scrolling, by keyboard alone, without script."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.urls import reverse
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from hie.audit.recorder import EventDraft, EventType, write
from hie.directory import working_days
from hie.exchange import concern_rows, concerns
from hie.exchange.models import Concern
from patients import identifiers
from tests.backoffice.looking import IN_CHROMIUM, Keys, look_at, signed_in
from tests.backoffice.test_emergency_browser import officer
from tests.exchange import world as hub

pytestmark = IN_CHROMIUM
QUEUE = "/admin/exchange/concern/"


def doubted(person: UUID, words: str, *, participant: str = "org-clinic", days: int = 0) -> Concern:
    """A concern about a look of Dr. Moor's, as a patient raises one."""
    at = timezone.now() - timedelta(days=days)
    event = EventDraft(kind=EventType.PATIENT_READ, caller=hub.caller(), person_id=person, at=at)
    (event_id,) = write([event])
    concern = concern_rows.opened(
        now=at, identifier_id=identifiers.anchor(person).pk, event_id=event_id, event_at=at, looker="Practitioner/ada",
        participant=participant, raised_by=concern_rows.PATIENT, reason="visit", status="asked" if participant else "office",
        asked_at=at if participant else None, due_at=working_days.answer_due(at, participant=""),
    )  # fmt: skip
    concern_rows.note(concern, "raised", actor=concern_rows.PATIENT, now=at, person_id=person, words=words)
    return concern


def url(concern: Concern) -> str:
    return reverse("admin:exchange_concern_change", args=[concern.pk])


def test_the_queue_and_each_state_of_a_concern_have_no_violation_and_fit(
    browser: Any, live_server: LiveServer, world: UUID
) -> None:
    page = signed_in(browser, live_server, officer("ida", "Ida", "Moss"))
    page.goto(live_server.url + QUEUE)
    wrong = look_at(page, "concern-queue-empty")
    late = doubted(world, "Ich war nicht dort. 我那天在家。", days=20)
    fresh = doubted(world, "I was at home, and so was my son, who drove me to the lake and back.")
    doubted(world, "Who was this?", participant="")
    concerns.pass_on_overdue()
    page.goto(live_server.url + QUEUE)
    wrong += look_at(page, "concern-queue")
    page.goto(live_server.url + QUEUE + "?number=C-1")
    wrong += look_at(page, "concern-queue-none")
    page.goto(live_server.url + url(late))
    wrong += look_at(page, "concern-case")
    page.get_by_label("The look was wrong").check()
    page.evaluate("document.getElementById('why').form.noValidate = true")
    page.get_by_role("button", name="Save, then next").click()
    page.locator("#errors").wait_for()
    wrong += look_at(page, "concern-case-error")
    page.get_by_label("Reason, or what you write (required)").fill("Nobody there treats you.")
    page.get_by_role("button", name="Save, then next").click()
    page.locator("#notice").wait_for()
    wrong += look_at(page, "concern-done")
    page.goto(live_server.url + url(late))
    page.get_by_text("Open it again").first.click()
    wrong += look_at(page, "concern-closed")
    page.goto(live_server.url + url(fresh))
    wrong += look_at(page, "concern-asked")
    assert wrong == []
    page.said[:] = [line for line in page.said if "status of 422" not in line]
    assert page.said + page.elsewhere == []
    late.refresh_from_db()
    assert (late.status, late.outcome) == ("settled", "upheld")


def test_a_concern_is_decided_by_keyboard_alone(browser: Any, live_server: LiveServer, world: UUID) -> None:
    concern = doubted(world, "Who was this?")
    page = signed_in(browser, live_server, officer("ida", "Ida", "Moss"))
    page.goto(live_server.url + url(concern))
    keys = Keys(page)
    keys.tab_to_id("outcome-first")
    page.keyboard.press("Space")
    keys.tab_to_id("why")
    page.keyboard.type("It was your family doctor")
    keys.tab_to("Save, then next")
    page.keyboard.press("Enter")
    page.locator("#notice").wait_for()
    concern.refresh_from_db()
    assert concern.outcome == "explained"


def test_the_pages_work_without_script(browser: Any, live_server: LiveServer, world: UUID) -> None:
    concern = doubted(world, "Who was this?")
    Concern.objects.update(status="answered", answered_at=timezone.now())
    page = signed_in(browser, live_server, officer("ida", "Ida", "Moss"), java_script_enabled=False)
    page.goto(live_server.url + url(concern))
    page.get_by_label("Ask the organization more").check()
    page.get_by_label("Reason, or what you write (required)").fill("Who is Dr. Moor?")
    page.get_by_role("button", name="Save, then next").click()
    page.locator("#notice").wait_for()
    concern.refresh_from_db()
    assert concern.status == "asked"
