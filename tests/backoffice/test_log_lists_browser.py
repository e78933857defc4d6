"""Public holidays and the lists of the log at the desk in Chromium: no violation, no sideways scrolling, and the way by keys."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from hie.audit.recorder import DisclosureDraft, EventDraft, EventType, write
from tests.audit.test_verify import EVE
from tests.backoffice.looking import IN_CHROMIUM, look_at, signed_in
from tests.backoffice.test_governance_browser import officer

pytestmark = IN_CHROMIUM


def test_public_holidays_are_entered_and_taken_out_without_a_violation(browser: Any, live_server: LiveServer) -> None:
    page = signed_in(browser, live_server, officer("ada"))
    page.goto(f"{live_server.url}/admin/directory/publicholiday/")
    wrong = look_at(page, "holidays-empty")
    ahead = [(timezone.now() + timedelta(days=n)).date().isoformat() for n in (20, 40)]
    page.get_by_label("Place").select_option("JA")
    page.get_by_label("Days, one a line").fill("tomorrow Harvest Day")
    page.get_by_label("Reason").fill("Calendar of the state")
    page.get_by_role("button", name="Enter these holidays").click()
    page.get_by_role("alert").wait_for()
    wrong += look_at(page, "holidays-wrong")
    page.get_by_label("Days, one a line").fill(
        f"{ahead[0]} Harvest Day\n{ahead[1]} Día de la Independencia y de la Constitución"
    )
    page.get_by_role("button", name="Enter these holidays").click()
    page.get_by_text("2 holidays entered for JA.").wait_for()
    wrong += look_at(page, "holidays")
    page.get_by_role("link", name="Take it out").first.click()
    wrong += look_at(page, "holidays-out")
    page.get_by_label("Reason").fill("Entered for the wrong year")
    page.get_by_role("button", name="Take it out").click()
    page.get_by_text("Taken out.", exact=False).first.wait_for()
    page.locator("summary", has_text="Taken out").click()
    wrong += look_at(page, "holidays-removed")
    assert wrong == []


def test_the_lists_of_the_log_have_no_violation_and_are_searched_by_keys(browser: Any, live_server: LiveServer) -> None:
    shown = (DisclosureDraft(document_id="d1", unique_id="1.2.3", custodian="org-y", what="bytes", rule="D6"),)
    long = replace(
        EVE,
        organization_id="org-with-a-very-long-name-that-does-not-end-soon",
        user_id="Practitioner/maximiliane-featherstonehaugh",
    )
    write([EventDraft(kind=EventType.FIND_DOCUMENTS, caller=one, outcome=4 * (n % 3 == 0), disclosures=shown) for n in range(60) for one in (EVE, long)])  # fmt: skip
    page = signed_in(browser, live_server, officer("ada"))
    page.goto(f"{live_server.url}/admin/audit/auditevent/")
    wrong = look_at(page, "audit-events")
    page.get_by_role("link", name="Older", exact=True).click()
    page.get_by_text("Page 2").wait_for()
    page.get_by_label("Find").fill(long.user_id)
    page.get_by_label("Outcome").select_option("refused")
    page.get_by_label("Find").press("Enter")
    page.get_by_text("Found 20.").wait_for()
    wrong += look_at(page, "audit-found")
    page.get_by_label("Find").fill("nobody-is-called-so")
    page.get_by_role("search", name="Search the log").get_by_role("button", name="Search").click()
    page.get_by_text("Nothing fits this search.").wait_for()
    wrong += look_at(page, "audit-nothing")
    page.get_by_role("link", name="Show all again").click()
    page.locator("tbody a").first.click()
    page.wait_for_url("**/change/")
    page.goto(f"{live_server.url}/admin/audit/disclosure/")
    wrong += look_at(page, "audit-disclosures")
    assert wrong == []
