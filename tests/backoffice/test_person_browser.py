"""The pages of a person's identity in Chromium: no axe violation light and dark, no sideways scrolling at 320 px or with
large text, by keyboard alone, without script; empty, full, and with what was wrong.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.urls import reverse
from pytest_django.live_server_helper import LiveServer

from patients import identifiers, linking
from patients.models import ReviewItem
from tests.backoffice.cases import documented, fed, who
from tests.backoffice.looking import IN_CHROMIUM, Keys, look_at, look_at_it_as_it_is, signed_in, steward
from tests.exchange.world import CLINIC_AUTHORITY, HOSPITAL_AUTHORITY, exchange

pytestmark = IN_CHROMIUM
FIND = "/admin/patients/person/find/"
WHY = "The registrar called, 4711"


def two() -> tuple[UUID, UUID, list[int]]:
    """A woman of three records with documents and a history, and a man of one record."""
    exchange()
    home = {"line": "1 Fen Street, at the back of the old customs house", "phone": "+12025550188"}
    made = [fed(owner, value, who("Amara Josephine", "Lindqvist-Whitt-Featherstonehaugh", "1968-12-01", **home)) for owner, value in (
        (HOSPITAL_AUTHORITY, "M1"), (CLINIC_AUTHORITY, "M-2-2026-000000417"), (CLINIC_AUTHORITY, "M3"))]  # fmt: skip
    documented(CLINIC_AUTHORITY, "M3", 2)
    other = fed(HOSPITAL_AUTHORITY, "F1", who("Felix", "Arden", "1970-08-25", gender="male", line="12 Station Road", phone="+12025550177"))  # fmt: skip
    person, records = made[0].person_id, [one.source_record_id for one in made]
    linking.undo(linking.unlink(records[1], actor="Staff/bo", reason="Two women of one name, said the clinic"), actor="Staff/ada", reason="One woman after all")  # fmt: skip
    linking.merge(person, other.person_id, actor="client-9", reason="Same passport number, typed at the counter")
    undone = linking.merge_of(other.person_id)
    assert undone is not None
    linking.undo(undone, actor="Staff/bo", reason="The passport was her husband’s")
    return UUID(str(person)), UUID(str(other.person_id)), records


def found(page: Any, live_server: LiveServer, number: str, query: str = "") -> None:
    """Look for a person by number."""
    page.goto(f"{live_server.url}{FIND}{query}")
    page.get_by_label("Number").fill(number)
    page.get_by_label("Why you look").fill(WHY)
    page.get_by_role("button", name="Look for the person").click()
    page.locator("#results").wait_for()


def test_the_pages_of_an_identity_have_no_violation_and_fit(browser: Any, live_server: LiveServer) -> None:
    person, other, records = two()
    page = signed_in(browser, live_server, steward("ada", "Ada", "Moss"))
    steward("bo", "Bo", "Reed")
    page.goto(live_server.url + FIND)
    wrong = look_at(page, "person-find")
    page.get_by_label("Family name").fill("Lindqvist")
    page.get_by_label("Date of birth").fill("1968-02-31")
    page.get_by_label("Why you look").fill(WHY)
    page.get_by_role("button", name="Look for the person").click()
    page.get_by_role("alert").get_by_role("link").click()
    page.wait_for_function("document.activeElement.id == 'born'")
    assert page.title().startswith("Error: ")
    wrong += look_at(page, "person-find-error")
    page.get_by_label("Date of birth").fill("1968")
    page.get_by_role("button", name="Look for the person").click()
    page.locator("#results").wait_for()
    wrong += look_at(page, "person-found")
    found(page, live_server, "nobody")
    wrong += look_at(page, "person-not-found")
    found(page, live_server, "M1")
    page.get_by_role("link", name="Open Lindqvist").click()
    page.get_by_role("heading", name="Records now").wait_for()
    wrong += look_at(page, "person-identity")
    page.locator("#on").fill("2026-01-05")
    page.get_by_role("button", name="Show that day").click()
    page.get_by_role("heading", name="As the hub held it").wait_for()
    wrong += look_at(page, "person-identity-then")
    page.get_by_role("link", name="Undone: two persons merged").click()
    page.get_by_role("heading", name="Bring back what was undone").wait_for()
    page.get_by_label("Reason (required)").fill("   ")
    page.get_by_role("button", name="Bring it back").click()
    page.get_by_role("alert").wait_for()
    wrong += look_at(page, "person-identity-undo")
    page.goto(live_server.url + reverse("admin:patients_person_split", args=[person]))
    wrong += look_at(page, "person-split")
    page.get_by_label("Reason (required)").fill(WHY)
    page.get_by_role("button", name="See what would move").click()
    page.get_by_role("alert").get_by_role("link").click()
    page.wait_for_function("document.activeElement.id == 'records'")
    wrong += look_at(page, "person-split-error")
    found(page, live_server, "F1", f"?into={person}&record={records[2]}")
    page.get_by_role("link", name="Their records").click()
    assert page.locator(f"input[value='{records[2]}']").is_checked()
    wrong += look_at(page, "person-split-into")
    page.get_by_label("Reason (required)").fill(WHY)
    page.get_by_role("button", name="See what would move").click()
    page.locator("#notice").wait_for()
    page.wait_for_function("document.activeElement.id == 'notice'")
    wrong += look_at(page, "case-parting")
    found(page, live_server, "F1", f"?join={person}")
    page.get_by_role("link", name="Same person?").click()
    page.get_by_role("heading", name="Are these two one person?").wait_for()
    wrong += look_at(page, "person-join")
    page.get_by_label("Reason (required)").fill(WHY)
    page.get_by_role("button", name="Open the case").click()
    page.locator("#notice").wait_for()
    wrong += look_at(page, "case-asked")
    page.goto(live_server.url + reverse("admin:patients_reviewitem_changelist"))
    wrong += look_at(page, "queue-with-asked")
    assert wrong == [], "\n".join(wrong)
    assert [word for word in page.said if "status of 422" not in word] == []
    assert page.elsewhere == []
    assert identifiers.survivor(other) == other


def test_the_pages_of_an_identity_lose_nothing_with_text_of_twice_the_size(
    browser: Any, live_server: LiveServer
) -> None:
    person, other, _ = two()
    page = signed_in(browser, live_server, steward("ada", "Ada", "Moss"), viewport={"width": 1280, "height": 900})
    found(page, live_server, "F1")
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    wrong = look_at_it_as_it_is(page, "person-found-large-text")
    found(page, live_server, "M1")
    for name, people in (("identity", [person]), ("split", [person]), ("join", [person, other])):
        page.goto(live_server.url + reverse(f"admin:patients_person_{name}", args=people))
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        wrong += look_at_it_as_it_is(page, f"person-{name}-large-text")
    assert wrong == []


def test_records_are_moved_out_and_back_by_keyboard_alone(browser: Any, live_server: LiveServer) -> None:
    two()
    page = signed_in(browser, live_server, steward("ada", "Ada", "Moss"))
    page.goto(live_server.url + FIND)
    keys = Keys(page)
    keys.tab_to("Skip to the main part")
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.id == 'main'")
    keys.tab_to_id("value")
    page.keyboard.type("M1")
    keys.tab_to_id("why")
    page.keyboard.type(WHY)
    keys.tab_to("Look for the person")
    page.keyboard.press("Enter")
    page.locator("#results").wait_for()
    keys.tab_to("Open Lindqvist")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Records now").wait_for()
    keys.tab_to("Move records out")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Whose are they?").wait_for()
    first = page.locator("input[name=record]").first
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "record":
            break
    page.keyboard.press("Space")
    assert first.is_checked()
    keys.tab_to_id("why")
    page.keyboard.type(WHY)
    keys.tab_to("See what would move")
    page.keyboard.press("Enter")
    page.locator("#notice").wait_for()
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "verdict":
            break
    page.keyboard.press("Space")
    assert page.evaluate("document.querySelector('[name=verdict]:checked').value") == "different"
    keys.tab_to_id("why")
    keys.tab_to("Save, then next case")
    page.keyboard.press("Enter")
    page.locator("#notice").wait_for()
    item = ReviewItem.objects.get(kind="parting")
    gone = identifiers.resolve(HOSPITAL_AUTHORITY, "M1") or identifiers.resolve(CLINIC_AUTHORITY, "M3")
    assert item.status == "decided"
    assert gone is not None


def test_two_persons_are_asked_about_without_script(browser: Any, live_server: LiveServer) -> None:
    person, other, _ = two()
    page = signed_in(browser, live_server, steward("ada", "Ada", "Moss"), java_script_enabled=False)
    found(page, live_server, "F1", f"?join={person}")
    page.get_by_role("link", name="Same person?").click()
    # The other person was looked for; why this one is opened is asked.
    page.get_by_label("Your reason").fill(WHY)
    page.get_by_role("button", name="Open the page").click()
    page.get_by_label("Reason (required)").fill(WHY)
    page.get_by_role("button", name="Open the case").click()
    page.locator("#notice").wait_for()
    page.get_by_role("radio", name="Not the same person").check()
    assert page.get_by_label("Reason (required)").input_value() == WHY
    page.get_by_role("button", name="Save, then next case").click()
    assert ReviewItem.objects.get().decision == "different"
    assert identifiers.survivor(other) == other
