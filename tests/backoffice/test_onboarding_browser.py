"""The pages by which an organization joins, in Chromium: no violation, no sideways scrolling, light and dark, at every width."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, User
from pytest_django.live_server_helper import LiveServer

from hie.trust.staff import ensure_roles
from tests.backoffice.conftest import PASSWORD
from tests.backoffice.looking import IN_CHROMIUM, look_at, signed_in
from tests.backoffice.test_onboarding import filled

pytestmark = IN_CHROMIUM


def onboarder(username: str) -> User:
    ensure_roles()
    user = User.objects.create_user(username, password=PASSWORD, is_staff=True, first_name="Ida", last_name="Moss")
    user.groups.set(Group.objects.filter(name="onboarding"))
    return user


def fill(page: Any, part: str) -> None:
    for name, value in filled(part).items():
        if name == "act":
            continue
        field = page.locator(f"[name={name}]")
        if name == "purposes":
            for code in value:
                page.locator(f"[name=purposes][value={code}]").check()
        elif field.evaluate("node => node.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)
    page.get_by_role("button", name="Save and go on").click()


def test_the_way_in_has_no_violation_and_fits(browser: Any, live_server: LiveServer, settings: Any) -> None:
    settings.BASE_URL = live_server.url
    page = signed_in(browser, live_server, onboarder("ada"))
    page.goto(f"{live_server.url}/admin/directory/onboarding/invite/")
    wrong = look_at(page, "onboarding-invite")
    page.get_by_label("Name of the organization").fill("Osprey Fold Laboratory")
    page.get_by_label("Reason").fill("Contract signed")
    page.get_by_role("button", name="Invite it").click()
    code = page.locator("#code code").text_content()
    wrong += look_at(page, "onboarding-code")
    url = page.url.partition("?")[0]

    own = page.context.browser.new_context(reduced_motion="reduce").new_page()
    own.said, own.elsewhere = [], []
    own.goto(f"{live_server.url}/join/")
    own.get_by_label("Code of the invitation").fill("WRONG")
    own.get_by_role("button", name="Go on").click()
    wrong += look_at(own, "join-wrong")
    own.get_by_label("Code of the invitation").fill(code)
    own.get_by_role("button", name="Go on").click()
    own.get_by_label("OID of the organization").fill("clinic")
    own.get_by_role("button", name="Save and go on").click()
    wrong += look_at(own, "join-fault")
    fill(own, "organization")
    wrong += look_at(own, "join-agreement")

    page.goto(f"{url}?step=agreement")
    wrong += look_at(page, "onboarding-agreement")
    fill(page, "agreement")
    own.goto(f"{live_server.url}/join/keys")
    fill(own, "keys")
    own.locator("[name=endpoints]").fill("mllp mllp://127.0.0.1:1")
    own.get_by_role("button", name="Save and go on").click()
    own.locator("#assertion").fill("not a token")
    own.get_by_role("button", name="Run the self-test").click()
    own.get_by_text("Show the").click()
    wrong += look_at(own, "join-report")
    page.goto(f"{url}?step=test")
    wrong += look_at(page, "onboarding-report")
    page.goto(f"{url}?step=approval")
    wrong += look_at(page, "onboarding-approval")
    assert wrong == []
