"""Values by hand in Chromium: no axe violation light and dark, no sideways scrolling at 320 px or with large text, by
keyboard alone, without script; with values, with none, and with what was wrong.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.urls import reverse
from pytest_django.live_server_helper import LiveServer

from hie.exchange import stewardship
from hie.exchange.access import Staff
from hie.standards.demographics import Address, Demographics, HumanName
from patients import by_hand, identifiers
from tests.backoffice.cases import fed, who
from tests.backoffice.looking import IN_CHROMIUM, Keys, look_at, look_at_it_as_it_is, signed_in, steward
from tests.exchange.world import CLINIC_AUTHORITY, HOSPITAL_AUTHORITY, exchange

pytestmark = IN_CHROMIUM
BO = Staff(user_id="bo", roles=frozenset({"steward"}), name="Bo Reed")


def amara() -> UUID:
    """Somebody of two records; nothing was set by hand."""
    exchange()
    first = fed(HOSPITAL_AUTHORITY, "M1", who("Amara Jo", "Lindqvist-Whitt", "1968-12-01"))
    assert fed(CLINIC_AUTHORITY, "M2", who("Amara Jo", "Lindqvist-Whitt", "1968-12-01")).person_id == first.person_id
    return UUID(str(first.person_id))


def corrected(person: UUID) -> None:
    """A name that holds, an address that was undone, a sex that was withdrawn: each with a reason."""
    name = HumanName(use="official", given=("Amara", "Josephine"), family="Lindqvist-Whitt-Featherstonehaugh")
    stewardship.set_value(person, "names", Demographics(names=(name,)), BO, "Passport seen at the desk, call 4711")
    home = Address(use="home", lines=("1 Fen Street, at the back of the old customs house",), city="Velmoor")
    stewardship.set_value(person, "addresses", Demographics(addresses=(home,)), BO, "She told us by phone")
    stewardship.set_value(person, "gender", Demographics(gender="male"), BO, "Typed by mistake")
    held = {row.field: row.pk for row in by_hand.holding(person)}
    stewardship.undo_value(held["addresses"], BO, "It was her sister")
    stewardship.withdraw_value(held["gender"], BO, "The records have it")


def opened(page: Any, live_server: LiveServer, person: UUID) -> str:
    """The page, past the question why one looks; its address."""
    url = live_server.url + reverse("admin:patients_person_by_hand", args=[person])
    page.goto(url)
    page.get_by_label("Your reason").fill("Asked by phone, call 4711")
    page.get_by_role("button", name="Open the page").click()
    page.get_by_role("heading", name="As it is shown now").wait_for()
    return url


def test_values_by_hand_have_no_violation_and_fit(browser: Any, live_server: LiveServer) -> None:
    person = amara()
    page = signed_in(browser, live_server, steward("ada", "Ada", "Moss"))
    steward("bo", "Bo", "Reed")
    url = opened(page, live_server, person)
    assert page.get_by_role("heading", name="What was done by hand").count() == 0
    wrong = look_at(page, "by-hand-empty")
    corrected(person)
    page.goto(url)
    assert page.get_by_role("heading", name="What was done by hand").is_visible()
    wrong += look_at(page, "by-hand")
    for field in ("names", "birth_date", "addresses", "telecoms", "deceased", "occupation"):
        page.goto(f"{url}?set={field}#form")
        wrong += look_at(page, f"by-hand-set-{field}")
    for act in ("Withdraw Name", "Undo this change of Sex"):
        page.goto(url)
        page.get_by_role("link", name=act).first.click()
        page.get_by_role("heading", name=act.split(" ")[0]).wait_for()
        wrong += look_at(page, f"by-hand-{act.split(' ')[0].lower()}")
    page.goto(f"{url}?set=birth_date#form")
    page.get_by_role("textbox", name="Date of birth").fill("1968-02-31")
    page.get_by_label("Reason (required)").fill("Seen on the passport")
    page.get_by_role("button", name="Set it by hand").click()
    page.get_by_role("alert").wait_for()
    assert page.title().startswith("Error: ")
    assert page.get_by_role("textbox", name="Date of birth").input_value() == "1968-02-31"
    wrong += look_at(page, "by-hand-error")
    page.get_by_role("textbox", name="Date of birth").fill("1968-12-11")
    page.get_by_label("Reason (required)").fill("   ")
    page.get_by_role("button", name="Set it by hand").click()
    page.get_by_role("alert").get_by_role("link").click()
    page.wait_for_function("document.activeElement.id == 'why'")
    wrong += look_at(page, "by-hand-no-reason")
    page.get_by_label("Reason (required)").fill("Seen on the passport")
    page.get_by_role("button", name="Set it by hand").click()
    page.locator("#notice").wait_for()
    page.wait_for_function("document.activeElement.id == 'notice'")
    wrong += look_at(page, "by-hand-done")
    assert wrong == [], "\n".join(wrong)
    assert [word for word in page.said if "status of 422" not in word] == []
    assert page.elsewhere == []


def test_values_by_hand_lose_nothing_with_text_of_twice_the_size(browser: Any, live_server: LiveServer) -> None:
    person = amara()
    corrected(person)
    page = signed_in(browser, live_server, steward("ada", "Ada", "Moss"), viewport={"width": 1280, "height": 900})
    url = opened(page, live_server, person)
    wrong = []
    for name, query in (("by-hand", ""), ("by-hand-set", "?set=addresses")):
        page.goto(url + query)
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        wrong += look_at_it_as_it_is(page, f"{name}-large-text")
    assert wrong == []


def test_a_value_is_set_withdrawn_and_undone_by_keyboard_alone(browser: Any, live_server: LiveServer) -> None:
    person = amara()
    page = signed_in(browser, live_server, steward("ada", "Ada", "Moss"))
    opened(page, live_server, person)
    keys = Keys(page)
    keys.tab_to("Skip to the main part")
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.id == 'main'")
    keys.tab_to("Set Occupation by hand")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Set by hand: Occupation").wait_for()
    keys.tab_to_id("occupation")
    page.keyboard.type("Ferry pilot")
    keys.tab_to_id("why")
    page.keyboard.type("She said so at the desk")
    keys.tab_to("Set it by hand")
    page.keyboard.press("Enter")
    page.locator("#notice").wait_for()
    page.wait_for_function("document.activeElement.id == 'notice'")
    assert [row.value for row in by_hand.holding(person)] == [{"occupation": "Ferry pilot"}]
    keys.tab_to("Withdraw Occupation")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Withdraw this value").wait_for()
    keys.tab_to_id("why")
    page.keyboard.type("She has retired")
    keys.tab_to("Withdraw it")
    page.keyboard.press("Enter")
    page.locator("#notice").wait_for()
    assert by_hand.holding(person) == []
    keys.tab_to("Undo this change of Occupation")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Undo this change").wait_for()
    keys.tab_to_id("why")
    page.keyboard.type("She has not")
    keys.tab_to("Undo")
    page.keyboard.press("Enter")
    page.locator("#notice").wait_for()
    assert [row.value for row in by_hand.holding(person)] == [{"occupation": "Ferry pilot"}]


def test_a_value_is_set_and_undone_without_script(browser: Any, live_server: LiveServer) -> None:
    person = amara()
    page = signed_in(browser, live_server, steward("ada", "Ada", "Moss"), java_script_enabled=False)
    opened(page, live_server, person)
    page.get_by_role("link", name="Set Sex by hand").click()
    page.get_by_role("combobox", name="Sex").select_option("male")
    page.get_by_label("Reason (required)").fill("Passport seen at the desk")
    page.get_by_role("button", name="Set it by hand").click()
    assert page.locator("#notice").is_visible()
    assert [row.value for row in by_hand.holding(person)] == [{"gender": "male"}]
    page.get_by_role("link", name="Undo this change of Sex").click()
    page.get_by_label("Reason (required)").fill("It was her brother’s")
    page.get_by_role("button", name="Undo it").click()
    assert page.locator("#notice").is_visible()
    assert by_hand.holding(person) == []
    assert identifiers.resolve(HOSPITAL_AUTHORITY, "M1") is not None
