"""The desk in Chromium: no axe violation (WCAG 2 A and AA), nothing on the console, light and dark."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse
from pytest_django.live_server_helper import LiveServer

from hie.exchange.models import InboundMessage, Query
from hie.trust.staff import ensure_roles
from tests import second_factor
from tests.backoffice.conftest import PASSWORD
from tests.backoffice.looking import IN_CHROMIUM, Look, look_at
from tests.chromium import WCAG

pytestmark = IN_CHROMIUM
LOOKS = (Look(width=1280), Look(width=1280, theme="dark"))


@pytest.fixture
def boss(db: None) -> User:
    ensure_roles()
    user = User.objects.create_superuser("ida", password=PASSWORD, first_name="Ida", last_name="Moss")
    user.groups.set(Group.objects.filter(name="privacy-officer"))
    return user


def paths(question: Query, message: InboundMessage) -> dict[str, str]:
    return {
        "home": "/admin/",
        "participants": reverse("admin:directory_participant_changelist"),
        "participant": reverse("admin:directory_participant_change", args=["org-clinic"]),
        "persons": reverse("admin:patients_person_changelist") + "?q=P1",
        "person": reverse("admin:patients_person_change", args=[question.person_id]),
        "questions": reverse("admin:exchange_query_changelist"),
        "question": reverse("admin:exchange_query_change", args=[question.pk]),
        "messages": reverse("admin:exchange_inboundmessage_changelist"),
        "audit": reverse("admin:audit_auditevent_changelist"),
    }


def enter(page: Any, live_server: LiveServer, user: User) -> None:
    """Home, as somebody who has given password and code: how these are typed, tests/backoffice/test_sign_in.py looks at."""
    session = second_factor.sign_in(user).cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
    page.goto(f"{live_server.url}/admin/")
    page.get_by_role("heading", name="Queues").wait_for()


def test_the_desk_has_no_axe_violation_and_no_word_on_the_console(
    browser: Any, live_server: LiveServer, boss: User, document: Any, question: Query, failed_message: InboundMessage,
) -> None:  # fmt: skip
    page = browser.new_context(reduced_motion="reduce").new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    elsewhere: list[str] = []
    page.on(
        "request", lambda sent: None if sent.url.startswith((live_server.url, "data:")) else elsewhere.append(sent.url)
    )
    page.goto(f"{live_server.url}/admin/login/?next=/admin/")
    wrong = look_at(page, "sign-in", LOOKS, tags=WCAG)
    enter(page, live_server, boss)
    for name, path in paths(question, failed_message).items():
        page.goto(live_server.url + path)
        if page.get_by_label("Your reason").count():
            wrong += look_at(page, f"{name}-reason", LOOKS, tags=WCAG)
            page.get_by_label("Your reason").fill("Asked by phone, call 4711")
            page.get_by_role("button", name="Open the page").click()
            page.get_by_label("Your reason").wait_for(state="detached")
        wrong += look_at(page, name, LOOKS, tags=WCAG)
    assert wrong == [], "\n".join(wrong)
    assert said == []
    assert elsewhere == []


def test_the_desk_fits_a_narrow_window(
    browser: Any, live_server: LiveServer, boss: User, document: Any, question: Query, failed_message: InboundMessage
) -> None:
    page = browser.new_context(viewport={"width": 390, "height": 800}).new_page()
    page.goto(f"{live_server.url}/admin/login/?next=/admin/")
    enter(page, live_server, boss)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
