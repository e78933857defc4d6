"""The pages of the desk's second factor in Chromium: set up by keyboard, with a picture a camera can read, on a phone too."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from pytest_django.live_server_helper import LiveServer

from tests.backoffice.conftest import PASSWORD
from tests.backoffice.looking import IN_CHROMIUM, look_at
from tests.second_factor import code_of

pytestmark = IN_CHROMIUM


def test_an_app_is_set_up_at_the_first_sign_in(browser: Any, live_server: LiveServer) -> None:
    User.objects.create_superuser("ida", password=PASSWORD)
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.said = []
    page.on("console", lambda word: page.said.append(word.text) if word.type in {"error", "warning"} else None)
    page.set_default_timeout(90_000)
    page.goto(f"{live_server.url}/admin/login/?next=/admin/")
    wrong = look_at(page, "desk-sign-in")
    page.fill("#id_username", "ida")
    page.fill("#id_password", PASSWORD)
    page.click("#login-form button")
    page.wait_for_url("**/admin/second-factor/")
    assert page.evaluate("document.querySelector('img.qr').naturalWidth") > 100
    wrong += look_at(page, "desk-set-up")
    page.fill("#code", "000000")
    page.keyboard.press("Enter")
    page.wait_for_selector("#errors")
    assert page.title().startswith("Error: ")
    wrong += look_at(page, "desk-set-up-error")
    page.said.clear()  # the browser says of a 422 that it is one
    page.fill("#code", code_of("".join(page.inner_text("b.mono").split())))
    page.keyboard.press("Enter")
    page.wait_for_selector(".codes")
    wrong += look_at(page, "desk-codes")
    page.click("text=I have kept them")
    page.wait_for_url("**/admin/")
    page.goto(f"{live_server.url}/admin/second-factor/")
    wrong += look_at(page, "desk-second-factor")
    assert wrong == []
    assert page.said == []


def test_a_session_that_gave_no_code_is_asked_for_it(browser: Any, live_server: LiveServer) -> None:
    from django.test import Client

    from tests import second_factor

    ida = User.objects.create_superuser("ida", password=PASSWORD)
    second_factor.sign_in(ida)
    client = Client()
    client.force_login(ida)
    context = browser.new_context(reduced_motion="reduce")
    context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}])
    page = context.new_page()
    page.goto(f"{live_server.url}/admin/second-factor/")
    assert look_at(page, "desk-ask") == []
