"""The review queue in Chromium: no axe violation light and dark, no sideways scrolling at 320 px or with large text, by
keyboard alone, without script.
"""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from pytest_django.live_server_helper import LiveServer

from patients import identifiers
from patients.models import ReviewItem
from tests.backoffice import cases
from tests.backoffice.looking import IN_CHROMIUM, Keys, look_at, look_at_it_as_it_is, signed_in, steward

pytestmark = IN_CHROMIUM
QUEUE = "/admin/patients/reviewitem/"


def case_url(item: ReviewItem) -> str:
    return reverse("admin:patients_reviewitem_change", args=[item.pk])


def test_the_queue_and_each_kind_of_case_have_no_violation_and_fit(browser: Any, live_server: LiveServer) -> None:
    ada, bo = steward("ada", "Ada", "Moss"), steward("bo", "Bo", "Reed")
    every = cases.every_kind()
    page = signed_in(browser, live_server, ada)
    wrong: list[str] = []
    for name, item in every.items():
        page.goto(live_server.url + case_url(item))
        if name in {"low-score", "overlay"}:
            wrong += look_at(page, f"case-{name}-free")
        page.get_by_role("button", name="Take this case").click()
        page.get_by_role("heading", name="Your decision").wait_for()
        wrong += look_at(page, f"case-{name}")
    page.goto(live_server.url + case_url(every["low-score"]))
    page.get_by_label("One person: merge").check()
    page.get_by_label("Reason (required)").fill("The passport is the same")
    page.get_by_role("button", name="Save, then next case").click()
    page.locator("#notice").wait_for()
    wrong += look_at(page, "proposed-notice")
    page.goto(live_server.url + case_url(every["low-score"]))
    wrong += look_at(page, "own-proposal")
    page.goto(live_server.url + QUEUE)
    wrong += look_at(page, "queue")
    page.goto(live_server.url + QUEUE + "done/")
    wrong += look_at(page, "done")
    page.goto(live_server.url + QUEUE + "figures/")
    wrong += look_at(page, "figures")
    other = signed_in(browser, live_server, bo)
    other.goto(live_server.url + case_url(every["twins"]))
    other.get_by_role("heading", name="Another steward has this case").wait_for()
    wrong += look_at(other, "taken")
    other.goto(live_server.url + case_url(every["low-score"]))
    other.get_by_role("button", name="Take this case").click()
    other.get_by_role("heading", name="The second look is yours").wait_for()
    wrong += look_at(other, "second")
    other.get_by_label("Reason (required)").fill("   ")
    other.get_by_role("button", name="Confirm: one person").click()
    other.get_by_role("alert").wait_for()
    assert other.title().startswith("Error: ")
    wrong += look_at(other, "error")
    other.get_by_label("Reason (required)").fill("Seen the passport")
    other.get_by_role("button", name="Confirm: one person").click()
    other.locator("#notice").wait_for()
    wrong += look_at(other, "confirmed")
    assert wrong == [], "\n".join(wrong)
    for one in (page, other):
        assert [word for word in one.said if "status of 422" not in word] == []
        assert one.elsewhere == []


def test_an_empty_queue_says_so_and_has_no_violation(browser: Any, live_server: LiveServer) -> None:
    page = signed_in(browser, live_server, steward("ada", "Ada", "Moss"))
    wrong = []
    for name in ("", "done/", "figures/", "?kind=overlay"):
        page.goto(live_server.url + QUEUE + name)
        wrong += look_at(page, f"empty-{name.strip('/?') or 'queue'}".replace("=", "-"))
    assert wrong == []
    page.goto(live_server.url + QUEUE)
    assert page.get_by_role("heading", name="Nothing waits").is_visible()


def test_text_of_twice_the_size_loses_nothing(browser: Any, live_server: LiveServer) -> None:
    ada = steward("ada", "Ada", "Moss")
    item = cases.every_kind()["many-records"]
    page = signed_in(browser, live_server, ada, viewport={"width": 1280, "height": 900})
    wrong = []
    for name, url in (("queue", QUEUE), ("case", case_url(item)), ("figures", QUEUE + "figures/")):
        page.goto(live_server.url + url)
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        wrong += look_at_it_as_it_is(page, f"{name}-large-text")
    assert wrong == []
    assert [word for word in page.said if "style" not in word] == []


def test_a_whole_case_goes_by_keyboard_alone(browser: Any, live_server: LiveServer) -> None:
    ada = steward("ada", "Ada", "Moss")
    cases.every_kind()
    page = signed_in(browser, live_server, ada)
    page.goto(live_server.url + QUEUE)

    keys = Keys(page)
    page.keyboard.press("Tab")
    assert keys.focused() == "Skip to the main part"
    page.keyboard.press("Enter")
    keys.tab_to("Take the next case")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Your decision").wait_for()
    number = int(page.url.split("/reviewitem/")[1].split("/")[0])
    for _ in range(150):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "verdict":
            break
    # Down the choices to the one that keeps apart.
    for _ in range(6):
        if page.evaluate("document.activeElement.value") == "different":
            break
        page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    keys.tab_to_id("why")
    page.keyboard.type("Born at different places")
    keys.tab_to("Save, then next case")
    page.keyboard.press("Enter")
    page.locator("#notice").wait_for()
    page.wait_for_function("document.activeElement.id == 'notice'")
    item = ReviewItem.objects.get(pk=number)
    assert (item.status, item.decision) == ("decided", "different")
    keys.tab_to("Undo")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("Too fast")
    keys.tab_to(f"Undo case {number}")
    page.keyboard.press("Enter")
    page.get_by_text("the case waits again").first.wait_for()
    item.refresh_from_db()
    assert item.status == "open"


def test_a_case_is_decided_and_undone_without_script(browser: Any, live_server: LiveServer) -> None:
    ada = steward("ada", "Ada", "Moss")
    item = cases.every_kind()["many-records"]
    page = signed_in(browser, live_server, ada, java_script_enabled=False)
    page.goto(live_server.url + case_url(item))
    page.get_by_role("button", name="Take this case").click()
    page.get_by_label("One person: merge").check()
    page.get_by_label("Reason (required)").fill("Same phone since 1999")
    page.get_by_role("button", name="Save, then next case").click()
    item.refresh_from_db()
    assert item.status == "decided"
    other = item.candidate_id
    assert other is not None
    assert identifiers.survivor(other) == identifiers.survivor(item.person_id)
    page.get_by_text("Undo", exact=False).first.click()
    page.get_by_label("Reason to undo (required)").first.fill("No")
    page.get_by_role("button", name=f"Undo case {item.pk}").first.click()
    assert identifiers.survivor(other) == other
