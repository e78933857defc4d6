"""The pages of getting in, in Chromium: a first visit, an app set up, the account's page; in three languages, at every width."""

from __future__ import annotations

import re
from typing import Any

import pytest

from hie.trust import activation
from patients import identifiers
from tests.portal.conftest import world
from tests.portal.test_browser import Browsing, browsing, pytestmark  # noqa: F401 - fixtures and marks
from tests.second_factor import code_of

NEW = "four words in a row"


def letter() -> str:
    """The code of a letter for Alice."""
    from django.utils import timezone

    from hie.trust.models import PatientAccount

    found = identifiers.resolve("2.999.10.1.1", "A1")
    assert found is not None
    PatientAccount.objects.filter(login="alice").delete()
    code, _ = activation.issue(found.pk, organization="org-clinic", issued_by="Practitioner/ada", now=timezone.now())
    return code


def without_status(browsing: Browsing) -> None:  # noqa: F811
    """What a browser says of an answer that is an error is no fault of the page."""
    browsing.noise[:] = [line for line in browsing.noise if "status of 422" not in line]


@pytest.mark.parametrize("language", ["en", "es", "ar"])
def test_a_first_visit_is_accessible_in_every_language(browsing: Browsing, language: str) -> None:  # noqa: F811
    world()
    code = letter()
    page = browsing.page
    browsing.open("/my/sign-in")
    if language != "en":
        page.click(f"button[name=language][value={language}]")
    browsing.hold(f"sign-in-{language}")
    browsing.open("/my/sign-in/help")
    browsing.hold(f"forgotten-{language}")
    browsing.open("/my/first-visit")
    browsing.hold(f"first-visit-{language}", fully=language != "es")
    page.fill("#code", "ABCD-EFGH-JKMN")
    page.fill("#born", "1970-05-01")
    page.click("main button[type=submit]")
    page.wait_for_selector(".errors")
    without_status(browsing)
    browsing.hold(f"first-visit-error-{language}")
    page.fill("#code", code)
    page.click("main button[type=submit]")
    page.wait_for_url("**/first-visit/account")
    browsing.hold(f"first-account-{language}")
    page.fill("#login", "x")
    page.fill("#password", "short")
    page.fill("#again", "shorter")
    page.click("main form.form button[type=submit]")
    page.wait_for_selector(".errors")
    without_status(browsing)
    browsing.hold(f"first-account-error-{language}")
    page.fill("#login", "rosa")
    page.fill("#password", NEW)
    page.fill("#again", NEW)
    page.click("main form.form button[type=submit]")
    page.wait_for_url("**/my/welcome")
    browsing.hold(f"welcome-{language}", fully=language != "es")


@pytest.mark.parametrize("language", ["en", "es", "ar"])
def test_an_app_is_set_up_and_the_account_looked_at_in_every_language(browsing: Browsing, language: str) -> None:  # noqa: F811
    world()
    browsing.sign_in()
    page = browsing.page
    if language != "en":
        page.click(f"button[name=language][value={language}]")
    browsing.hold(f"log-offer-{language}")
    browsing.open("/my/account")
    browsing.hold(f"account-{language}")
    browsing.open("/my/account/app")
    assert page.evaluate("document.querySelector('img.qr').naturalWidth") > 100
    browsing.hold(f"app-{language}", fully=language != "es")
    page.fill("#code", "000000")
    page.keyboard.press("Enter")
    page.wait_for_selector(".errors")
    without_status(browsing)
    browsing.hold(f"app-error-{language}")
    key = re.sub(r"[^A-Z2-7]", "", page.inner_text("#key"))
    page.fill("#code", code_of(key))
    page.keyboard.press("Enter")
    page.wait_for_selector(".codes")
    paper = page.inner_text(".codes li").strip()
    browsing.hold(f"codes-{language}")
    browsing.open("/my/account")
    browsing.hold(f"account-with-app-{language}", fully=language != "es")
    for name, address in (("codes-ask", "codes"), ("app-off", "app/off"), ("password", "password"), ("confirm", "confirm"), ("stay", "stay")):  # fmt: skip
        browsing.open(f"/my/account/{address}")
        browsing.hold(f"{name}-{language}")
    page.click("form[action$='/sign-out'] button")
    page.wait_for_url("**/my/sign-in?out=1")
    page.fill("#login", "alice")
    page.fill("#password", "correct horse battery")
    page.click("main form.form button[type=submit]")
    page.wait_for_url("**/my/sign-in/code")
    browsing.hold(f"code-{language}")
    page.click("main a[href*=paper]")
    browsing.hold(f"code-paper-{language}")
    page.fill("#code", paper)
    page.keyboard.press("Enter")
    page.wait_for_url("**/my/account?recovered=1*")
    browsing.hold(f"recovered-{language}")


def test_two_minutes_before_the_end_the_page_says_so_and_keeps_what_was_typed(browsing: Browsing) -> None:  # noqa: F811
    world()
    browsing.sign_in()
    page = browsing.page
    page.fill("#text", "half a word")
    assert not page.is_visible(".ending a")
    # The page's own clock, put on by 28 minutes: no script is shipped, the browser shows it by itself.
    moved = "document.getAnimations().filter(a => a.animationName === 'ending').map(a => { a.currentTime = 1680002; return 1 }).length"
    assert page.evaluate(moved) == 1
    assert page.is_visible(".ending a")
    for width in (1280, 320):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    with page.context.expect_page() as opened:
        page.click(".ending a")
    opened.value.wait_for_load_state()
    assert "You stay signed in" in opened.value.title()
    assert page.input_value("#text") == "half a word"
    assert page.evaluate("document.scripts.length") == 0


def test_a_passkey_is_made_and_signs_in(browsing: Browsing, settings: Any) -> None:  # noqa: F811
    """In Chromium's own authenticator, and the pages that ask for it are as the others are."""
    settings.BASE_URL = browsing.server
    world()
    page = browsing.page
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    kind = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True, "isUserVerified": True}  # fmt: skip
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": {**kind, "automaticPresenceSimulation": True}})
    browsing.sign_in()
    browsing.open("/my/account/passkeys")
    browsing.hold("passkeys-without-app")
    browsing.open("/my/account/app")
    page.fill("#code", code_of(re.sub(r"[^A-Z2-7]", "", page.inner_text("#key"))))
    page.keyboard.press("Enter")
    page.wait_for_selector(".codes")
    browsing.open("/my/account/passkeys")
    assert not page.is_visible("#passkey-without")
    browsing.hold("passkeys-none")
    page.fill("#name", "My phone")
    page.click("#passkey button")
    page.wait_for_url("**/my/account?passkey=1*")
    for language in ("ar", "es", "en"):
        browsing.open("/my/account/passkeys")
        page.click(f"button[name=language][value={language}]")
        browsing.open("/my/account/passkeys")
        browsing.hold(f"passkeys-{language}")
    page.click("text=Sign out")
    page.wait_for_url("**/my/sign-in?out=1")
    page.click("text=Use a passkey")
    page.wait_for_url(re.compile(r"/my/sign-in/passkey\?"))
    browsing.hold("passkey-sign-in")
    page.click("#passkey button")
    page.wait_for_url(re.compile(r"^[^?]*/my/$"))
    assert page.is_visible("h1")
    devtools.send("WebAuthn.disable")


def test_without_a_script_the_pages_of_passkeys_say_what_works(
    chromium: Any,
    live_server: Any,
    transactional_db: None,
) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{live_server}/my/sign-in/passkey")
    assert page.is_visible("#passkey-without")
    assert not page.is_visible("#passkey button")
    page.click("text=Sign in with my password")
    assert page.is_visible("#password")
    context.close()
