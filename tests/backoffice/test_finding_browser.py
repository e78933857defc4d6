"""The search, the pages that say why not and the trying of messages in Chromium: no axe violation light and dark, no sideways
scrolling at 320 and 390 px or with large text, by keyboard alone, without script; empty, full, and with what was wrong.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.models import Group, User
from django.urls import reverse
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from documents.models import DocumentEntry
from hie.directory import registration
from hie.exchange.models import InboundMessage
from hie.faces.hl7v2 import mllp
from hie.trust.staff import ensure_roles
from patients import identifiers
from tests.backoffice.cases import documented, fed, low_score, who
from tests.backoffice.conftest import PASSWORD
from tests.backoffice.looking import EVERY, IN_CHROMIUM, PHONE_390, Keys, look_at, look_at_it_as_it_is, signed_in
from tests.exchange.world import CLINIC_AUTHORITY, HOSPITAL_AUTHORITY, exchange
from tests.hl7v2 import messages
from tests.hl7v2.messages import adt, pid

pytestmark = IN_CHROMIUM
WHY = "The registrar called, 4711"
EAST_OID = "2.999.33.1"
PHONES = (PHONE_390, *EVERY)
THEIRS = (" landmark-one-main: ", " landmark-unique: ", " region: ")
"""Rules that unfold's own frame does not hold."""


def somebody(*roles: str) -> User:
    """A member of staff of these roles."""
    ensure_roles()
    user = User.objects.create_user("ada", password=PASSWORD, is_staff=True, first_name="Ada", last_name="Moss")
    user.groups.set(Group.objects.filter(name__in=roles))
    user.is_superuser = "administrator" in roles
    user.save()
    return user


def people() -> tuple[UUID, UUID]:
    """Two whom a steward is asked about, a woman of a long name with documents, and her namesake in another script."""
    exchange()
    item = low_score()
    home = {"line": "1 Fen Street, at the back of the old customs house", "phone": "+12025550188"}
    for owner, value in ((HOSPITAL_AUTHORITY, "M1"), (CLINIC_AUTHORITY, "M-2-2026-000000417-000000000000000000000001")):
        fed(owner, value, who("Amara Josephine", "Lindqvist-Whitt-Featherstonehaugh", "1968-12-01", **home))
    documented(HOSPITAL_AUTHORITY, "M1", 2)
    fed(CLINIC_AUTHORITY, "A1", who("ليلى", "الخطيب", "1968-12-01", phone="", line=""))
    assert item.candidate_id is not None
    return item.person_id, item.candidate_id


def east(event: str, control_id: str, number: str, **fields: str) -> bytes:
    return adt(event, control_id, pid(f"{number}^^^&{EAST_OID}&ISO^MR", **fields), application="LATER", facility="EAST")


def waiting(*, beside: bool = False) -> None:
    """Messages of a hospital that is registered since: fine, out of order, refused again; and one that was accepted.

    `beside`: the exchange of `people` is there already.
    """
    if not beside:
        messages.register()
    raws = [east("A04", "1", "71"), east("A08", "2", "71", name="Quimby^Eleonora"), east("A04", "3", "72", birth="soon"), east("A04", "a-control-id-of-forty-letters-0123456789", "73"), adt("A04", "9")]  # fmt: skip
    for place, raw in enumerate(raws):
        mllp.answer(raw)
        row = InboundMessage.objects.order_by("-received_at")[0]
        row.received_at = timezone.now() - timedelta(minutes=60 - place)
        row.save()
    registration.apply({"participants": [messages.participant("org-east", EAST_OID, "LATER", "EAST")]})
    # Newer news of 73 came by another message.
    mllp.answer(east("A04", "later", "73"))


def look_at_list(page: Any, name: str) -> list[str]:
    """As `look_at`, of a page in unfold's own frame, whose landmarks are unfold's."""
    return [one for one in look_at(page, name, PHONES) if not any(rule in one for rule in THEIRS)]


def find(page: Any, live_server: LiveServer, text: str, reason: str = WHY) -> None:
    page.goto(live_server.url + "/admin/find/")
    page.get_by_label("What you know of it").fill(text)
    if reason:
        page.get_by_label("Why you look (needed to find persons)").fill(reason)
    page.locator("main").get_by_role("button", name="Search").click()
    page.wait_for_load_state()


def test_the_search_is_fit_for_everybody(browser: Any, live_server: LiveServer) -> None:
    people()
    page = signed_in(browser, live_server, somebody("privacy-officer", "steward", "operator"))
    page.goto(live_server.url + "/admin/find/")
    wrong = look_at(page, "find-empty", PHONES)
    find(page, live_server, "x")
    wrong += look_at(page, "find-too-short", PHONES)
    find(page, live_server, "Lindqvist")
    wrong += look_at(page, "find-name-alone", PHONES)
    find(page, live_server, "Nobody 1911-11-11")
    wrong += look_at(page, "find-nothing", PHONES)
    find(page, live_server, "Lindqvist 1968-12-01")
    page.get_by_role("heading", name="Persons: 1").wait_for()
    wrong += look_at(page, "find-person", PHONES)
    find(page, live_server, "الخطيب 1968")
    page.get_by_role("heading", name="Persons: 1").wait_for()
    wrong += look_at(page, "find-arabic", PHONES)
    find(page, live_server, "clinic")
    wrong += look_at(page, "find-organization", PHONES)
    page.goto(live_server.url + "/admin/")
    wrong += look_at_list(page, "home-with-search")
    page.goto(live_server.url + "/admin/patients/person/")
    wrong += look_at_list(page, "list-with-search")
    assert wrong == [], "\n".join(wrong)
    assert [word for word in page.said if "status of 422" not in word] == []
    assert page.elsewhere == []


def test_the_pages_that_say_why_not_are_fit_for_everybody(browser: Any, live_server: LiveServer) -> None:
    person, other = people()
    page = signed_in(browser, live_server, somebody("administrator", "privacy-officer"))
    url = live_server.url + reverse("admin:patients_person_why", args=[person])
    page.goto(url)
    page.get_by_label("Your reason").fill(WHY)
    page.get_by_role("button", name="Open the page").click()
    page.get_by_role("heading", name="With whom did it not match?").wait_for()
    wrong = look_at(page, "why-match-ask", PHONES)
    page.get_by_label("Number or id of the other").fill("nobody-has-this")
    page.get_by_role("button", name="See why").click()
    page.get_by_role("alert").wait_for()
    wrong += look_at(page, "why-match-wrong", PHONES)
    page.get_by_label("Number or id of the other").fill(str(other))
    page.get_by_role("button", name="See why").click()
    page.get_by_role("heading", name="A steward must decide").wait_for()
    wrong += look_at(page, "why-match", PHONES)
    mllp.answer(adt("A04", "broken", pid(birth="soon")))
    row = InboundMessage.objects.get()
    page.goto(live_server.url + reverse("admin:exchange_inboundmessage_change", args=[row.pk]))
    wrong += look_at_list(page, "why-message")
    page.goto(live_server.url + reverse("admin:exchange_inboundmessage_missing"))
    wrong += look_at(page, "missing-message-ask", PHONES)
    page.get_by_label("Its control id (MSH-10)").fill("404")
    page.get_by_label("From which organization").select_option("org-clinic")
    page.get_by_role("button", name="Look for it").click()
    page.get_by_role("heading", name="No message with this control id came in").wait_for()
    wrong += look_at(page, "missing-message", PHONES)
    page.goto(live_server.url + reverse("admin:directory_participant_why", args=["org-clinic"]))
    wrong += look_at(page, "why-organization", PHONES)
    documented(HOSPITAL_AUTHORITY, "M1")
    entry = DocumentEntry.objects.order_by("pk")[0]
    page.goto(live_server.url + reverse("admin:documents_documententry_why", args=[entry.entry_uuid]))
    wrong += look_at(page, "why-document-ask", PHONES)
    page.get_by_label("Organization").select_option("org-clinic")
    page.get_by_label("Reason (required)").fill(WHY)
    page.get_by_role("button", name="Work it out").click()
    page.get_by_role("heading", name="Step by step").wait_for()
    wrong += look_at(page, "why-document", PHONES)
    page.goto(live_server.url + reverse("admin:documents_documententry_missing"))
    page.get_by_label("Its uniqueId").fill("2.999.404")
    page.get_by_label("Reason (required)").fill(WHY)
    page.get_by_role("button", name="Look for it").click()
    page.get_by_role("heading", name="Nothing with this uniqueId came in").wait_for()
    wrong += look_at(page, "missing-document", PHONES)
    assert wrong == [], "\n".join(wrong)
    assert [word for word in page.said if "status of 422" not in word] == []
    assert page.elsewhere == []


def test_trying_messages_again_is_fit_for_everybody(browser: Any, live_server: LiveServer) -> None:
    waiting()
    page = signed_in(browser, live_server, somebody("operator"))
    page.goto(live_server.url + reverse("admin:exchange_inboundmessage_changelist"))
    wrong = look_at_list(page, "messages")
    ids = "&".join(f"message={row.pk}" for row in InboundMessage.objects.filter(status="refused"))
    page.goto(f"{live_server.url}{reverse('admin:exchange_inboundmessage_replay')}?{ids}")
    wrong += look_at(page, "replay-choose", PHONES)
    page.get_by_label("Reason (required)").fill(WHY)
    page.get_by_role("button", name="See what would come of it").click()
    page.get_by_role("heading", name="would be accepted now").wait_for()
    wrong += look_at(page, "replay-ahead", PHONES)
    page.get_by_label("Reason (required)").fill("   ")
    page.get_by_role("button", name="Try them again").click()
    page.get_by_role("alert").wait_for()
    wrong += look_at(page, "replay-wrong", PHONES)
    page.get_by_label("Reason (required)").fill(WHY)
    page.get_by_role("button", name="Try them again").click()
    page.locator("#notice").wait_for()
    wrong += look_at(page, "replay-done", PHONES)
    assert wrong == [], "\n".join(wrong)
    assert [word for word in page.said if "status of 422" not in word] == []
    assert page.elsewhere == []
    states = {row.control_id: row.status for row in InboundMessage.objects.all()}
    assert (states["1"], states["2"], states["3"]) == ("accepted", "accepted", "refused")
    assert states["a-control-id-of-forty-letters-0123456789"] == "refused"


def test_they_lose_nothing_with_text_of_twice_the_size(browser: Any, live_server: LiveServer) -> None:
    person, other = people()
    waiting(beside=True)
    page = signed_in(browser, live_server, somebody("administrator", "privacy-officer"), viewport={"width": 1280, "height": 900})  # fmt: skip
    wrong: list[str] = []

    def look(name: str) -> None:
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        found = look_at_it_as_it_is(page, f"{name}-large-text")
        wrong.extend(one for one in found if not any(rule in one for rule in THEIRS))

    find(page, live_server, "Lindqvist 1968-12-01")
    look("find-person")
    page.goto(live_server.url + "/admin/")
    look("home-with-search")
    page.goto(live_server.url + reverse("admin:patients_person_why", args=[person]))
    page.get_by_label("Your reason").fill(WHY)
    page.get_by_role("button", name="Open the page").click()
    page.get_by_label("Number or id of the other").fill(str(other))
    page.get_by_role("button", name="See why").click()
    page.get_by_role("heading", name="Step by step").wait_for()
    look("why-match")
    ids = "&".join(f"message={row.pk}" for row in InboundMessage.objects.filter(status="refused"))
    page.goto(f"{live_server.url}{reverse('admin:exchange_inboundmessage_replay')}?{ids}")
    page.get_by_label("Reason (required)").fill(WHY)
    page.get_by_role("button", name="See what would come of it").click()
    page.get_by_role("heading", name="would be accepted now").wait_for()
    look("replay-ahead")
    page.goto(live_server.url + reverse("admin:exchange_inboundmessage_missing") + "?control=404&organization=org-clinic")  # fmt: skip
    look("missing-message")
    page.goto(live_server.url + reverse("admin:directory_participant_why", args=["org-clinic"]))
    look("why-organization")
    assert wrong == [], "\n".join(wrong)


def test_somebody_is_found_and_a_message_tried_by_keyboard_alone(browser: Any, live_server: LiveServer) -> None:
    people()
    waiting(beside=True)
    page = signed_in(browser, live_server, somebody("administrator", "privacy-officer"))
    page.goto(live_server.url + reverse("admin:patients_reviewitem_changelist"))
    keys = Keys(page)
    keys.tab_to_id("desk-q")
    page.keyboard.type("Lindqvist 1968-12-01")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Search", exact=True).wait_for()
    # The box has no field for the reason: it is asked for where it is needed.
    assert page.get_by_text("Say why you look").is_visible()
    keys.tab_to_id("why")
    page.keyboard.type(WHY)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Persons: 1").wait_for()
    keys.tab_to("Open Lindqvist")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Records now").wait_for()
    row = InboundMessage.objects.get(control_id="1")
    page.goto(live_server.url + reverse("admin:exchange_inboundmessage_change", args=[row.pk]))
    keys.tab_to("See what would come of it, then try it")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Try 1 message again?").wait_for()
    keys.tab_to_id("why")
    page.keyboard.type(WHY)
    keys.tab_to("See what would come of it")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="1 of 1 would be accepted now").wait_for()
    keys.tab_to("Try them again")
    page.keyboard.press("Enter")
    page.locator("#notice").wait_for()
    row.refresh_from_db()
    assert row.status == "accepted"
    assert identifiers.resolve(EAST_OID, "71") is not None


def test_it_works_without_script(browser: Any, live_server: LiveServer) -> None:
    people()
    waiting(beside=True)
    page = signed_in(browser, live_server, somebody("operator", "steward"), java_script_enabled=False)
    find(page, live_server, "Lindqvist 1968-12-01")
    assert page.get_by_role("heading", name="Persons: 1").is_visible()
    row = InboundMessage.objects.get(control_id="1")
    page.goto(f"{live_server.url}{reverse('admin:exchange_inboundmessage_replay')}?message={row.pk}")
    page.get_by_label("Reason (required)").fill(WHY)
    page.get_by_role("button", name="See what would come of it").click()
    page.get_by_role("button", name="Try them again").click()
    page.locator("#notice").wait_for()
    row.refresh_from_db()
    assert row.status == "accepted"
