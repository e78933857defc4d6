"""The pages about decisions in Chromium: no violation, no sideways scrolling in any look, by keyboard, without script."""

from __future__ import annotations

from typing import Any

from pytest_django.live_server_helper import LiveServer

from tests.backoffice.looking import IN_CHROMIUM, Keys, look_at, signed_in
from tests.backoffice.test_decision_pages import keys_and_folders, pages
from tests.backoffice.test_emergency_browser import officer

__all__ = ["keys_and_folders", "pages"]
pytestmark = IN_CHROMIUM


def test_the_pages_of_decisions_have_no_violation_and_fit(
    browser: Any,
    live_server: LiveServer,
    pages: dict[str, str],
) -> None:
    page = signed_in(browser, live_server, officer("ida", "Ida", "Moss"))
    wrong: list[str] = []
    for name, done, heading in (
        ("who", "Show it", "Answers"),
        ("explain", "Show it", "Why this was decided"),
        ("what-if", "Work it out", "Differences"),
    ):
        page.goto(live_server.url + pages[name])
        wrong += look_at(page, f"decision-{name}-reason")
        page.locator("#reason").fill("Asked by the patient by phone, call 4711")
        page.get_by_role("button", name=done).click()
        page.get_by_role("heading", name=heading).wait_for()
        for more in page.query_selector_all("main details"):
            more.query_selector("summary").click()
        wrong += look_at(page, f"decision-{name}")
    page.get_by_label("The choice says what stands below").check()
    page.locator("#draft").fill('{"resourceType": "Consent", "status": "active"}')
    page.get_by_role("button", name="Work it out").click()
    page.locator("#errors").wait_for()
    wrong += look_at(page, "decision-what-if-error")
    assert wrong == []
    # A draft that is refused answers 422, which the browser notes.
    assert [one for one in page.said + page.elsewhere if "422" not in one] == []


def test_what_another_choice_would_change_is_worked_out_by_keyboard_alone(
    browser: Any,
    live_server: LiveServer,
    pages: dict[str, str],
) -> None:
    page = signed_in(browser, live_server, officer("ida", "Ida", "Moss"))
    page.goto(live_server.url + pages["what-if"])
    keys = Keys(page)
    keys.tab_to_id("reason")
    page.keyboard.type("Asked by the patient")
    keys.tab_to("Work it out")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Differences").wait_for()
    assert page.get_by_text("Now: D3").count() > 0


def test_the_pages_of_decisions_work_without_script(
    browser: Any,
    live_server: LiveServer,
    pages: dict[str, str],
) -> None:
    page = signed_in(browser, live_server, officer("ida", "Ida", "Moss"), java_script_enabled=False)
    for name, done in (("who", "Show it"), ("explain", "Show it"), ("what-if", "Work it out")):
        page.goto(live_server.url + pages[name])
        page.locator("#reason").fill("case 7")
        page.get_by_role("button", name=done).click()
        assert "D3" in page.locator("main").inner_text() or "Denied" in page.locator("main").inner_text(), name
