"""Retention, holds and one's own account in Chromium: no violation, no sideways scrolling, by keyboard, without a script."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group, User
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice
from pytest_django.live_server_helper import LiveServer

from consent.models import LegalHold, RetentionRun
from hie.exchange import retention
from hie.exchange.access import Staff
from hie.trust.models import SignedIn
from hie.trust.staff import ensure_roles
from tests import second_factor
from tests.backoffice.conftest import PASSWORD
from tests.backoffice.looking import EVERY, IN_CHROMIUM, PHONE_390, Keys, Look, look_at, look_at_it_as_it_is, signed_in
from tests.chromium import ALL, WCAG
from tests.portal.conftest import world
from tests.second_factor import code_of

pytestmark = IN_CHROMIUM
PAGE = "/admin/consent/retentionrun/"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
WIDE = (
    Look(width=1280, colours=False),
    PHONE_390,
    # Twice the size of text is half the width of the page.
    Look(width=640, height=450, colours=False),
    *EVERY,
)


def officer(username: str) -> User:
    ensure_roles()
    user = User.objects.create_user(username, password=PASSWORD, is_staff=True, first_name="Ida", last_name="Moss")
    user.groups.set(Group.objects.filter(name="privacy-officer"))
    TOTPDevice.objects.create(user=user, name="app", key=base64.b32decode(SECRET).hex())
    return user


def some_history(alice: str) -> None:
    """Removals, one under way, and two holds."""
    at = timezone.now()
    for n, (part, removed, held) in enumerate((("log", 12_000, 3), ("messages", 400, 0), ("questions", 1, 0))):
        RetentionRun.objects.create(
            part=part, rule_version=n, days=90, ended_before=at, started_at=at - timedelta(hours=n),
            finished_at=at if n else None, removed=removed, held=held, first_at=at - timedelta(days=4000), last_at=at,
        )  # fmt: skip
    staff = Staff(user_id="ida", roles=frozenset({"administrator"}), account=1)
    retention.place("person", alice, staff, reason="Matter 12, county court of Velmoor, asked for by the clerk")
    retention.place("organization", "org-clinic", staff, reason="Matter 13")


def test_the_pages_of_retention_have_no_violation_and_fit(browser: Any, live_server: LiveServer) -> None:
    some_history(world())
    second = officer("bo")
    page = signed_in(browser, live_server, officer("ada"))
    page.goto(live_server.url + PAGE)
    wrong = look_at(page, "retention", WIDE)
    page.get_by_role("link", name="Place a hold").click()
    page.get_by_label("Which one").fill("nobody")
    page.get_by_label("Reason").fill("Matter 14")
    page.get_by_role("button", name="Place the hold").click()
    page.locator("#errors").wait_for()
    assert page.title().startswith("Error: ")
    wrong += look_at(page, "retention-hold-wrong", WIDE)
    page.goto(live_server.url + PAGE)
    page.get_by_role("link", name="Propose another time").nth(3).click()
    page.get_by_label("Days that it is kept").fill("30")
    page.get_by_role("button", name="See what it would change").click()
    page.get_by_text("90 days now, 30 days then").wait_for()
    wrong += look_at(page, "retention-report", WIDE)
    page.get_by_label("Reason").fill("Fewer traces")
    page.get_by_role("button", name="Propose it").click()
    page.get_by_text("You proposed this.").wait_for()
    address = page.url
    page.goto(live_server.url + PAGE)
    wrong += look_at(page, "retention-waiting", WIDE)
    other = signed_in(browser, live_server, second)
    other.goto(address)
    wrong += look_at(other, "retention-decide", WIDE)
    other.get_by_label("Reason").fill("Read")
    other.get_by_role("button", name="Activate it").click()
    other.get_by_text("Activated, version 1").wait_for()
    other.goto(live_server.url + PAGE)
    other.get_by_role("link", name="Propose to lift it").first.click()
    other.get_by_role("button", name="See what it would change").click()
    other.get_by_text("What went cannot be brought back.").wait_for()
    wrong += look_at(other, "retention-lift", WIDE)
    assert wrong == []
    assert [word for word in (*page.said, *other.said) if "422" not in word] == []
    assert page.elsewhere == other.elsewhere == []


def test_a_hold_is_placed_by_keyboard_and_without_a_script(browser: Any, live_server: LiveServer) -> None:
    alice = world()
    page = signed_in(browser, live_server, officer("ada"), java_script_enabled=True)
    page.goto(live_server.url + PAGE)
    keys = Keys(page)
    keys.tab_to("Place a hold")
    page.keyboard.press("Enter")
    page.get_by_label("Which one").wait_for()
    keys.tab_to_id("subject")
    page.keyboard.type(alice)
    keys.tab_to_id("why")
    page.keyboard.type("Matter 12")
    keys.tab_to("Place the hold")
    page.keyboard.press("Enter")
    page.wait_for_url("**/retentionrun/#holds")
    assert LegalHold.objects.get().subject == alice
    bare = signed_in(browser, live_server, officer("bo"), java_script_enabled=False)
    bare.goto(live_server.url + PAGE)
    assert "Matter 12" in bare.content()


def test_ones_own_account_has_no_violation_and_fits(browser: Any, live_server: LiveServer) -> None:
    user = officer("ada")
    second_factor.sign_in(user)
    SignedIn.objects.update(browser="Firefox", system="Windows")
    page = signed_in(browser, live_server, user)
    page.goto(f"{live_server.url}/admin/account/")
    wrong = look_at(page, "my-account", WIDE)
    page.goto(f"{live_server.url}/admin/account/passkeys/")
    wrong += look_at(page, "my-passkeys", WIDE)
    page.goto(f"{live_server.url}/admin/account/stay/")
    wrong += look_at(page, "my-stay", WIDE)
    moved = "document.getAnimations().filter(a => a.animationName === 'desk-ending').map(a => { a.currentTime = 1680002; return 1 }).length"
    SignedIn.objects.update(ends_at=timezone.now() + timedelta(minutes=9))
    for address, name in (("/admin/consent/legalhold/place/", "frame"), ("/admin/consent/consent/", "list")):
        page.goto(live_server.url + address)
        link = page.get_by_role("link", name="Stay signed in (opens a new tab)")
        assert not link.is_visible()
        assert page.evaluate(moved) == 1
        assert link.is_visible()
        assert page.get_by_text("This session ends at").is_visible()
        wrong += look_at(page, f"ending-{name}", WIDE, tags=ALL if name == "frame" else WCAG)
    page.goto(f"{live_server.url}/admin/account/")
    page.get_by_role("button", name="End all others").click()
    page.locator("#notice").wait_for()
    wrong += look_at(page, "my-account-ended", WIDE)
    SignedIn.objects.update(ended_at=timezone.now())
    page.goto(f"{live_server.url}/admin/account/")
    page.get_by_text("Your session has ended.").wait_for()
    wrong += look_at(page, "session-ended", WIDE)
    assert wrong == []
    assert page.said == []
    assert page.elsewhere == []


def test_a_passkey_is_made_and_stands_in_for_the_code(browser: Any, live_server: LiveServer, settings: Any) -> None:
    """In Chromium's own authenticator."""
    settings.BASE_URL = live_server.url
    user = officer("ada")
    page = signed_in(browser, live_server, user)
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    device = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True, "isUserVerified": True}  # fmt: skip
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": {**device, "automaticPresenceSimulation": True}})
    page.goto(f"{live_server.url}/admin/account/passkeys/")
    assert not page.is_visible("#passkey-without")
    wrong = look_at_it_as_it_is(page, "my-passkeys-add")
    page.fill("#name", "Laptop at the office")
    page.fill("#code", code_of(SECRET))
    page.click("#passkey button")
    page.wait_for_url("**/admin/account/?added=1*")
    wrong += look_at_it_as_it_is(page, "my-account-passkey")
    page.click("text=Sign out")
    page.goto(f"{live_server.url}/admin/login/?next=/admin/account/")
    page.fill("#id_username", "ada")
    page.fill("#id_password", PASSWORD)
    page.click("#login-form button")
    page.wait_for_url("**/admin/second-factor/")
    wrong += look_at_it_as_it_is(page, "desk-ask-passkey")
    page.click("#passkey button")
    page.wait_for_url("**/admin/account/")
    assert page.get_by_text("Laptop at the office").is_visible()
    devtools.send("WebAuthn.disable")
    assert wrong == []
