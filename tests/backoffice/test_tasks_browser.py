"""Tasks of the desk in Chromium: no axe violation, no sideways scrolling, large text, by keyboard alone, without script."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from hie.exchange.desk_models import DeskTaskAct
from hie.exchange.desk_queues import QUEUES
from hie.exchange.models import InboundMessage
from hie.trust.staff import ensure_roles
from tests.backoffice import waiting
from tests.backoffice.conftest import PASSWORD
from tests.backoffice.looking import EVERY, IN_CHROMIUM, PHONE_390, Keys, Look, look_at, look_at_it_as_it_is, signed_in
from tests.backoffice.test_tasks import PUT_OFF, url

pytestmark = IN_CHROMIUM
# Besides the widths of every page of the desk, those that the reference was measured at.
LOOKS = (*EVERY, PHONE_390, Look(width=1280, colours=False))
EXTREMES = (Look(width=1280), Look(width=320, height=700))


def everybody(username: str = "ida") -> User:
    """A member of staff who decides in every queue."""
    ensure_roles()
    user = User.objects.create_user(username, password=PASSWORD, is_staff=True, first_name="Ida", last_name="Moss")
    user.groups.set(Group.objects.filter(name__in=["steward", "operator", "privacy-officer", "onboarding"]))
    return user


def all_waiting(world: UUID) -> dict[str, str]:
    """Something in every queue, with texts as long as they come; key by queue."""
    found = {queue: make(world) for queue, make in waiting.MAKE.items()}
    waiting.message(
        "A" * 52, digest=b"e" * 32, sender="A_VERY_LONG_SENDING_APPLICATION_NAME|AND_A_FACILITY_OF_THE_SAME_KIND_OF_LENGTH",
        participant_id="", error_text="The identity of the patient could not be found under the authority that is named",
        error_element="PID-3.4.2", kind="ADT^A01^ADT_A01",
    )  # fmt: skip
    waiting.code_inside("A-CODE-OF-SIXTY-FOUR-CHARACTERS-WITHOUT-ANY-PLACE-TO-BREAK-IT-64")
    return found


def fill(page: Any, queue: str) -> None:
    """Choose and type what a decision of this queue needs, but for the reason."""
    outcome, typed = PUT_OFF[queue]
    page.locator(f"input[name=outcome][value={outcome}]").check()
    for name, value in typed.items():
        page.locator(f"[name={name}]").fill(value)


def test_each_queue_and_each_state_of_a_task_has_no_violation_and_fits(
    browser: Any, live_server: LiveServer, world: UUID
) -> None:
    page = signed_in(browser, live_server, everybody())
    page.goto(live_server.url + url("keys"))
    wrong = look_at(page, "tasks-empty", EXTREMES)
    keys = all_waiting(world)
    for queue in QUEUES:
        page.goto(live_server.url + url(queue))
        wrong += look_at(page, f"tasks-{queue}", EXTREMES)
        page.goto(live_server.url + url(queue, keys[queue]))
        wrong += look_at(page, f"task-{queue}", EXTREMES)
        fill(page, queue)
        page.evaluate("document.getElementById('why').form.noValidate = true")
        page.get_by_role("button", name="Save, then next").click()
        page.locator("#errors").wait_for()
        if queue in {"messages", "codes"}:
            wrong += look_at(page, f"task-{queue}-error", EXTREMES)
        page.get_by_label("Reason (required)").fill("It was looked at, and this is why it is so.")
        page.get_by_role("button", name="Save, then next").click()
        page.locator("#notice").wait_for()
        if queue in {"messages", "consents"}:
            wrong += look_at(page, f"task-{queue}-next", EXTREMES)
        page.goto(live_server.url + url(queue, keys[queue]))
        wrong += look_at(page, f"task-{queue}-decided", EXTREMES)
    for state in ("done", "off"):
        page.goto(live_server.url + url("messages") + f"?state={state}")
        wrong += look_at(page, f"tasks-{state}", EXTREMES)
    assert wrong == []
    page.said[:] = [line for line in page.said if "status of 422" not in line]
    assert page.said + page.elsewhere == []
    assert DeskTaskAct.objects.count() == len(QUEUES)


def test_each_task_has_no_violation_and_fits(browser: Any, live_server: LiveServer, world: UUID) -> None:
    page = signed_in(browser, live_server, everybody())
    keys = all_waiting(world)
    page.goto(live_server.url + url("messages"))
    wrong = look_at(page, "tasks-messages", LOOKS)
    for queue in QUEUES:
        # The longest waiting of messages is not the longest written.
        key = QUEUES["messages"].everything(timezone.now())[-1].key if queue == "messages" else keys[queue]
        page.goto(live_server.url + url(queue, key))
        wrong += look_at(page, f"task-{queue}", LOOKS)
    assert wrong == []
    assert page.said + page.elsewhere == []


@pytest.mark.parametrize("width", [1280, 390])
def test_the_pages_fit_with_text_of_twice_the_size(
    browser: Any, live_server: LiveServer, world: UUID, width: int
) -> None:
    page = signed_in(browser, live_server, everybody(), viewport={"width": width, "height": 800})
    keys = all_waiting(world)
    wrong = []
    for queue in ("consents", "codes", "messages", "keys"):
        for address in (url(queue), url(queue, keys[queue])):
            page.goto(live_server.url + address)
            page.evaluate("document.documentElement.style.fontSize = '200%'")
            wrong += look_at_it_as_it_is(page, f"large{width}-{'task' if keys[queue] in address else 'tasks'}-{queue}")
    assert wrong == []


def test_a_task_is_decided_and_taken_back_by_keyboard_alone(browser: Any, live_server: LiveServer, world: UUID) -> None:
    key = waiting.messages(world)
    page = signed_in(browser, live_server, everybody())
    page.goto(live_server.url + url("messages", key))
    keys = Keys(page)
    keys.tab_to("Skip to the main part")
    keys.tab_to("Go to the decision")
    page.keyboard.press("Enter")
    keys.tab_to_id("outcome-first")
    page.keyboard.press("Space")
    keys.tab_to_id("why")
    page.keyboard.type("Their clock was wrong")
    keys.tab_to("Save, then next")
    page.keyboard.press("Enter")
    page.locator("#notice").wait_for()
    assert InboundMessage.objects.get().aside is not None
    page.wait_for_function("document.activeElement.id == 'notice'")
    keys.tab_to("See it, or take it back")
    page.keyboard.press("Enter")
    page.locator("#why-back").wait_for()
    keys.tab_to_id("why-back")
    page.keyboard.type("It was right after all")
    keys.tab_to("Take it back")
    page.keyboard.press("Enter")
    page.locator("#notice").wait_for()
    assert InboundMessage.objects.get().aside is None


def test_a_task_is_decided_without_script_and_leads_to_the_next(
    browser: Any, live_server: LiveServer, world: UUID
) -> None:
    waiting.message()
    waiting.message("78", error_element="PID-8")
    waiting.message("79", error_element="PID-8", digest=b"f" * 32)
    page = signed_in(browser, live_server, everybody(), java_script_enabled=False)
    page.goto(live_server.url + url("messages"))
    page.locator(".queue__what a").first.click()
    page.get_by_label("Put them aside").check()
    page.get_by_label("Reason (required)").fill("Known")
    page.get_by_role("button", name="Save, then next").click()
    page.locator("#notice").wait_for()
    assert "PID-7" in page.content()
    assert InboundMessage.objects.filter(aside__isnull=True).count() == 1
