"""Emergency access at the desk in Chromium: no axe violation, no sideways scrolling, by keyboard alone, without script."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.models import Group, User
from django.urls import reverse
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from consent import emergency_reviews
from consent.models import EmergencyReview
from hie.exchange import emergency_review
from hie.exchange.access import Staff
from hie.trust.staff import ensure_roles
from tests.backoffice.conftest import PASSWORD
from tests.backoffice.emergencies import emergency, looked
from tests.backoffice.looking import IN_CHROMIUM, Keys, look_at, signed_in

pytestmark = IN_CHROMIUM
QUEUE = "/admin/consent/emergencyreview/"


def officer(username: str, first: str, last: str) -> User:
    """A privacy officer."""
    ensure_roles()
    user = User.objects.create_user(username, password=PASSWORD, is_staff=True, first_name=first, last_name=last)
    user.groups.set(Group.objects.filter(name="privacy-officer"))
    return user


def url(review: EmergencyReview) -> str:
    return reverse("admin:consent_emergencyreview_change", args=[review.pk])


def some(world: UUID) -> list[EmergencyReview]:
    """One due soon with an objection, one overdue, one fresh."""
    now = timezone.now()
    late = emergency(world, text="She fell from the stairs at noon", at=now - timedelta(hours=80))
    soon = emergency(world, text="Found at home, could not speak. We needed her medicines and allergies.", at=now - timedelta(hours=63))  # fmt: skip
    fresh = emergency(world, user_id="Practitioner/bo", user_name="Bo Reed")
    for title, letter, rule in (("List of medicines", "N", "C1"), ("Hospital letter of 2 November", "R", "D2")):
        looked(world, soon, title, letter, rule)
    emergency_reviews.told(soon, actor="hub", now=soon.opened_at + timedelta(minutes=2))
    emergency_reviews.object_to(soon, "I was not there that day", actor="Patient/x", now=now)
    emergency_review.escalate()
    return [late, soon, fresh]


def test_the_queue_and_each_state_of_a_case_have_no_violation_and_fit(
    browser: Any, live_server: LiveServer, world: UUID
) -> None:
    ida, bo = officer("ida", "Ida", "Moss"), officer("bo", "Bo", "Reed")
    late, soon, fresh = some(world)
    page = signed_in(browser, live_server, ida)
    page.goto(live_server.url + QUEUE)
    wrong = look_at(page, "emergency-queue")
    page.goto(live_server.url + url(soon))
    wrong += look_at(page, "emergency-free")
    page.get_by_role("button", name="Take this case").click()
    page.get_by_role("heading", name="Your decision").wait_for()
    wrong += look_at(page, "emergency-case")
    page.get_by_label("Not justified").check()
    page.get_by_label("Reason (required)").first.fill("Nobody was ill that day")
    page.get_by_role("button", name="Save, then next case").click()
    page.locator("#notice").wait_for()
    wrong += look_at(page, "emergency-done")
    page.goto(live_server.url + url(soon))
    wrong += look_at(page, "emergency-decided")
    other = signed_in(browser, live_server, bo)
    emergency_review.claim(fresh.pk, Staff(user_id="ida", roles=frozenset({"privacy-officer"})))
    other.goto(live_server.url + url(fresh))
    wrong += look_at(other, "emergency-other")
    other.goto(live_server.url + QUEUE + "?state=decided")
    wrong += look_at(other, "emergency-decided-list")
    assert wrong == []
    assert page.said + page.elsewhere + other.said + other.elsewhere == []
    late.refresh_from_db()
    soon.refresh_from_db()
    assert (soon.outcome, late.status) == ("not-justified", "open")


def test_a_case_is_taken_and_decided_by_keyboard_alone(browser: Any, live_server: LiveServer, world: UUID) -> None:
    ida = officer("ida", "Ida", "Moss")
    review = emergency(world)
    page = signed_in(browser, live_server, ida)
    page.goto(live_server.url + QUEUE)
    keys = Keys(page)
    keys.tab_to("Take the next case")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Your decision").wait_for()
    keys.tab_to_id("outcome-first")
    page.keyboard.press("Space")
    keys.tab_to_id("why")
    page.keyboard.type("The ambulance confirms it")
    keys.tab_to("Save, then next case")
    page.keyboard.press("Enter")
    page.locator("#notice").wait_for()
    review.refresh_from_db()
    assert review.outcome == "justified"


def test_the_pages_work_without_script(browser: Any, live_server: LiveServer, world: UUID) -> None:
    review = emergency(world)
    page = signed_in(browser, live_server, officer("ida", "Ida", "Moss"), java_script_enabled=False)
    page.goto(live_server.url + url(review))
    page.get_by_role("button", name="Take this case").click()
    page.get_by_label("Pass on to a second reviewer").check()
    page.get_by_label("Reason (required)").first.fill("I know her")
    page.get_by_role("button", name="Save, then next case").click()
    page.locator("#notice").wait_for()
    review.refresh_from_db()
    assert review.passed_on_by == "Staff/ida"
