"""One's own account at the desk: passkeys in place of the code, sessions that end, and what another administrator may do."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice

from hie.audit.models import AuditEvent
from hie.trust import sign_ins
from hie.trust.accounts import FREE_FAILURES
from hie.trust.models import Passkey, RecoveryCode, SignedIn, StaffAccountAct
from tests import second_factor
from tests.portal.conftest import alice
from tests.portal.test_passkeys import ORIGIN, Device, options
from tests.second_factor import code_of

__all__ = ["alice"]

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough one"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
MINE, KEYS, SIGN_IN, SECOND = "/admin/account/", "/admin/account/passkeys/", "/admin/login/", "/admin/second-factor/"


@pytest.fixture(autouse=True)
def place(settings: Any) -> None:
    settings.BASE_URL = ORIGIN


@pytest.fixture
def ida() -> User:
    user = User.objects.create_superuser("ida", password=PASSWORD, email="ida@hub.example")
    TOTPDevice.objects.create(user=user, name="app", key=base64.b32decode(SECRET).hex())
    return user


@pytest.fixture
def desk(ida: User) -> Client:
    return second_factor.sign_in(ida)


def unthrottled() -> None:
    TOTPDevice.objects.update(throttling_failure_count=0, throttling_failure_timestamp=None, last_t=-1)


def added(desk: Client, device: Device, **changed: str) -> Any:
    unthrottled()
    form = {"name": "Laptop", "code": code_of(SECRET), "credential": device.made(options(desk, KEYS))}
    return desk.post(KEYS, form | changed)


def half_way(ida: User) -> Client:
    """A browser in which the password alone was given."""
    client = Client()
    client.force_login(ida)
    return client


def test_only_who_has_a_passkey_leaves_the_code_out_and_is_asked_for_either_next(desk: Client, ida: User) -> None:
    form = {"username": "ida", "password": PASSWORD, "next": "/admin/consent/consent/"}
    assert Client().post(SIGN_IN, form).status_code == 200
    device = Device()
    added(desk, device)
    assert Client().post(SIGN_IN, {**form, "password": "wrong"}).status_code == 200
    browser = Client()
    assert browser.post(SIGN_IN, form)["Location"] == SECOND
    assert browser.get("/admin/").status_code == 302
    answer = browser.post(SECOND, {"act": "passkey", "credential": device.used(options(browser, SECOND))})
    assert answer["Location"] == "/admin/consent/consent/"
    assert browser.get("/admin/").status_code == 200


def acts() -> list[str]:
    return list(StaffAccountAct.objects.order_by("pk").values_list("changed__factor", flat=True))


# --- passkeys --------------------------------------------------------------------------------------------------------


def test_a_passkey_stands_in_for_the_code_behind_the_password_and_is_noted(desk: Client, ida: User) -> None:
    device = Device()
    assert added(desk, device)["Location"] == f"{MINE}?added=1#notice"
    row = Passkey.objects.get()
    assert (row.staff, row.account_id, row.name) == (ida.pk, None, "Laptop")
    assert device.handle == f"desk/{ida.pk}".encode()
    assert "Laptop" in desk.get(MINE).content.decode()
    browser = half_way(ida)
    assert browser.get("/admin/").status_code == 302
    asked = options(browser, SECOND)
    assert [one["id"] for one in asked["allowCredentials"]]
    answer = browser.post(SECOND, {"act": "passkey", "credential": device.used(asked)})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
    assert browser.get("/admin/").status_code == 200
    assert acts() == ["passkey added"]
    assert AuditEvent.objects.filter(kind="login").count() == 1


@pytest.mark.parametrize("what", ["another-device", "unverified", "elsewhere", "twice", "no-challenge", "nothing"])
def test_what_is_not_this_accounts_passkey_lets_nobody_in(desk: Client, ida: User, what: str) -> None:
    device = Device()
    added(desk, device)
    browser = half_way(ida)
    asked = options(browser, SECOND)
    used = device.used(asked)
    if what == "another-device":
        other = Device(credential_id=device.credential_id, handle=device.handle)
        used = other.used(asked)
    elif what == "unverified":
        device.verifies = False
        used = device.used(asked)
    elif what == "elsewhere":
        device.origin = "https://other.example"
        used = device.used(asked)
    elif what == "twice":
        assert browser.post(SECOND, {"act": "passkey", "credential": used}).status_code == 302
        browser = half_way(ida)
        options(browser, SECOND)
    elif what == "no-challenge":
        browser = half_way(ida)
    else:
        used = ""
    refused = browser.post(SECOND, {"act": "passkey", "credential": used})
    assert (refused.status_code, b"type a code" in refused.content) == (422, True)
    assert browser.get("/admin/").status_code == 302
    assert AuditEvent.objects.filter(kind="login-failed", reason="wrong-passkey").count() == 1


def test_the_passkey_of_one_account_is_none_of_another_nor_of_the_portal(desk: Client, ida: User, alice: str) -> None:
    device = Device()
    added(desk, device)
    bo = User.objects.create_superuser("bo", password=PASSWORD)
    TOTPDevice.objects.create(user=bo, name="app", key=base64.b32decode(SECRET).hex())
    theirs = Device()
    added(second_factor.sign_in(bo), theirs)
    browser = half_way(ida)
    assert browser.post(SECOND, {"act": "passkey", "credential": theirs.used(options(browser, SECOND))}).status_code == 422  # fmt: skip
    portal = Client()
    used = device.used(options(portal, "/my/sign-in/passkey"))
    assert portal.post("/my/sign-in/passkey", {"credential": used}).status_code == 422


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        pytest.param({"name": " "}, "Give it a name", id="no-name"),
        pytest.param({"code": "000000"}, "The code is not right", id="wrong-code"),
        pytest.param({"code": ""}, "The code is not right", id="no-code"),
        pytest.param({"credential": "{}"}, "That did not work", id="no-credential"),
    ],
)
def test_whoever_finds_the_page_open_adds_no_passkey_without_a_code(
    desk: Client, changed: dict[str, str], says: str
) -> None:
    answer = added(desk, Device(), **changed)
    assert (answer.status_code, says in answer.content.decode()) == (422, True)
    assert not Passkey.objects.exists()


def test_a_passkey_is_taken_off_and_opens_nothing_more(desk: Client, ida: User) -> None:
    device = Device()
    added(desk, device)
    row = Passkey.objects.get()
    desk.post(KEYS, {"act": "off", "passkey": "999999"})
    assert Passkey.objects.exists()
    assert desk.post(KEYS, {"act": "off", "passkey": str(row.pk)})["Location"] == f"{MINE}?off=1#notice"
    assert acts() == ["passkey added", "passkey taken off"]
    page = half_way(ida).get(SECOND).content.decode()
    assert "data-options" not in page


# --- sessions --------------------------------------------------------------------------------------------------------


def test_sessions_are_seen_and_ended_one_or_all_others(ida: User, desk: Client) -> None:
    others = [second_factor.sign_in(ida) for _ in range(3)]
    SignedIn.objects.filter(pk=others[0].session["desk-session"]).update(browser="Firefox", system="Linux")
    page = desk.get(MINE).content.decode()
    assert page.count("Last seen".lower()) == 4
    assert "Firefox on Linux" in page
    assert page.count("End it") == 3
    desk.post(MINE, {"session": others[0].session["desk-session"]})
    assert [one.get("/admin/").status_code for one in (desk, *others)] == [200, 302, 200, 200]
    desk.post(MINE, {"act": "end-others"})
    assert [one.get("/admin/").status_code for one in (desk, *others)] == [200, 302, 302, 302]
    told = [row.detail for row in AuditEvent.objects.filter(kind="staff-act").order_by("at")]
    assert [(one["act"], one["sessions"]) for one in told] == [("sessions ended", 1), ("sessions ended", 2)]


def test_nobody_ends_anothers_session_by_its_id(ida: User, desk: Client) -> None:
    bo = User.objects.create_superuser("bo", password=PASSWORD)
    theirs = second_factor.sign_in(bo)
    desk.post(MINE, {"session": theirs.session["desk-session"]})
    assert theirs.get("/admin/").status_code == 200


@pytest.mark.parametrize(
    ("change", "open_"),
    [
        pytest.param({"seen_at": timedelta(minutes=-29)}, True, id="seen-lately"),
        pytest.param({"seen_at": timedelta(minutes=-32)}, False, id="idle"),
        pytest.param({"ends_at": timedelta(minutes=1)}, True, id="about-to-end"),
        pytest.param({"ends_at": timedelta(minutes=-1)}, False, id="too-long"),
    ],
)
def test_a_session_ends_when_idle_and_after_its_longest_time_and_the_sign_in_page_says_so(
    desk: Client, change: dict[str, timedelta], open_: bool
) -> None:
    SignedIn.objects.update(**{name: timezone.now() + delta for name, delta in change.items()})
    answer = desk.get("/admin/account/", follow=True)
    assert (answer.redirect_chain == []) is open_
    page = answer.content.decode()
    assert ("Your session has ended" in page) is not open_
    assert ("This session ends at" in page) is ("ends_at" in change and open_)
    assert ("You will be signed out in 2 minutes" in page) is open_
    if not open_:
        assert "_auth_user_id" not in desk.session


def test_a_request_keeps_a_session_going_and_one_ends_with_signing_out(desk: Client) -> None:
    SignedIn.objects.update(seen_at=timezone.now() - timedelta(minutes=20))
    assert desk.get("/admin/account/stay/").status_code == 200
    assert SignedIn.objects.get().seen_at > timezone.now() - timedelta(minutes=1)
    held = desk.session["desk-session"]
    desk.post("/admin/logout/")
    assert SignedIn.objects.get(pk=held).ended_at is not None


def test_another_password_or_factor_ends_every_other_session(ida: User, desk: Client) -> None:
    other = second_factor.sign_in(ida)
    form = {"old_password": PASSWORD, "new_password1": "quite another one 7", "new_password2": "quite another one 7"}
    assert desk.post("/admin/password_change/", form).status_code == 302
    assert [one.get("/admin/").status_code for one in (desk, other)] == [200, 302]
    assert [one.id for one in sign_ins.of(sign_ins.Owner(staff=ida.pk))] == [desk.session["desk-session"]]


# --- what another administrator may do -------------------------------------------------------------------------------


def test_another_administrator_lets_who_lost_everything_start_again_and_it_is_recorded(ida: User, desk: Client) -> None:
    added(desk, Device())
    desk.post(SECOND, {"act": "codes"})
    assert RecoveryCode.objects.filter(staff=ida.pk).count() == 10
    bo = User.objects.create_superuser("bo", password=PASSWORD)
    boss = second_factor.sign_in(bo)
    boss.post("/admin/auth/user/", {"action": "new_factor", "_selected_action": [str(ida.pk), str(bo.pk)]})
    assert not TOTPDevice.objects.filter(user=ida).exists()
    assert not Passkey.objects.exists()
    assert not RecoveryCode.objects.filter(staff=ida.pk).exists()
    assert desk.get("/admin/").status_code == 302
    assert TOTPDevice.objects.filter(user=bo).exists(), "never one's own"
    event = AuditEvent.objects.filter(kind="staff-act", user="Staff/bo").latest("at")
    assert (event.detail["username"], event.detail["changed"]) == ("ida", {"factor": "taken off"})
    client = half_way(ida)
    assert b"Set up your second factor" in client.get(SECOND).content
    assert "by <bdi>bo</bdi>" in second_factor.sign_in(ida).get(MINE).content.decode()


def test_a_name_that_is_locked_is_seen_to_be_so_on_the_list_of_staff(ida: User, desk: Client) -> None:
    User.objects.create_user("bo", password=PASSWORD, is_staff=True)
    assert "until" not in desk.get("/admin/auth/user/").content.decode().split("results")[-1]
    for _ in range(FREE_FAILURES + 1):
        Client().post(SIGN_IN, {"username": "bo", "password": "wrong"})
    page = desk.get("/admin/auth/user/").content.decode()
    assert page.count("UTC") == 1
    assert "until " in desk.get(f"/admin/auth/user/{User.objects.get(username='bo').pk}/change/").content.decode()


def test_the_account_page_costs_as_much_for_many_sessions_as_for_few(
    ida: User, desk: Client, django_assert_max_num_queries: Any
) -> None:
    for _ in range(30):
        second_factor.sign_in(ida)
    with django_assert_max_num_queries(20):
        desk.get(MINE)
