"""Signing in to the desk: recorded, with a second factor always, and not to be guessed."""

from __future__ import annotations

import base64
import re

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django_otp.plugins.otp_totp.models import TOTPDevice

from hie.audit.models import AuditEvent
from hie.trust.accounts import FREE_FAILURES
from hie.trust.models import RecoveryCode, SignInAttempts
from tests import second_factor
from tests.second_factor import code_of

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough one"
SIGN_IN = "/admin/login/"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@pytest.fixture
def ida() -> User:
    return User.objects.create_superuser("ida", password=PASSWORD)


def sign_in(client: Client, **words: str) -> int:
    return client.post(SIGN_IN, {"username": "ida", "password": PASSWORD, "next": "/admin/"} | words).status_code


def kinds() -> list[tuple[str, str]]:
    """What was recorded, but that a page was opened."""
    return list(AuditEvent.objects.exclude(kind="desk-page").order_by("at").values_list("kind", "reason"))


SETTING_UP = "/admin/second-factor/"
KEY = re.compile(r'<b class="mono" dir="ltr">([A-Z2-7 ]+)</b>')
PAPER = re.compile(r'<li class="mono" dir="ltr">([0-9A-Z-]+)</li>')


@pytest.fixture
def app(ida: User) -> str:
    """Ida's code app, set up before; its secret."""
    TOTPDevice.objects.create(user=ida, name="app", key=base64.b32decode(SECRET).hex())
    return SECRET


def test_a_sign_in_and_its_failures_are_recorded_without_what_was_typed(app: str, client: Client) -> None:
    assert sign_in(client, password="hunter2-hunter2") == 200
    assert sign_in(client, otp_token=code_of(app)) == 302
    client.post("/admin/logout/")
    assert kinds() == [("login-failed", "wrong-password"), ("login", ""), ("logout", "")]
    failed = AuditEvent.objects.get(kind="login-failed")
    assert failed.face == "admin"
    assert "hunter2" not in str(vars(failed))


def test_the_password_alone_or_a_wrong_code_opens_nothing(app: str, client: Client) -> None:
    assert sign_in(client) == 200
    assert sign_in(client, otp_token="000000") == 200
    TOTPDevice.objects.update(throttling_failure_count=0, throttling_failure_timestamp=None)
    assert sign_in(client, otp_token=code_of(app)) == 302
    assert client.get("/admin/").status_code == 200
    assert [kind for kind, _ in kinds()] == ["login-failed", "login-failed", "login"]
    assert AuditEvent.objects.filter(reason="wrong-code").count() == 2
    other = Client()
    assert sign_in(other, otp_token=code_of(app)) == 200, "the code was used"


def test_who_has_no_app_sets_one_up_before_anything_opens(ida: User, client: Client) -> None:
    assert client.post(SIGN_IN, {"username": "ida", "password": PASSWORD, "next": "/admin/directory/participant/"})["Location"] == SETTING_UP  # fmt: skip
    for closed in ("/admin/", "/admin/auth/user/", "/admin/password_change/", "/admin/search/?q=x"):
        assert client.get(closed).status_code == 302, closed
    assert client.get(SIGN_IN)["Location"] == SETTING_UP
    assert kinds() == []
    page = client.get(SETTING_UP).content.decode()
    secret = "".join(KEY.findall(page)[0].split())
    picture = client.get(SETTING_UP + "code.svg")
    assert picture["Content-Type"] == "image/svg+xml"
    assert picture["Cache-Control"] == "no-store" or "no-store" in picture["Cache-Control"]
    assert client.post(SETTING_UP, {"act": "set-up", "code": "000000"}).status_code == 422
    before = client.session.session_key
    done = client.post(SETTING_UP, {"act": "set-up", "code": code_of(secret)})
    assert len(PAPER.findall(done.content.decode())) == 10
    assert 'href="/admin/directory/participant/"' in done.content.decode()
    assert client.session.session_key != before
    assert client.get("/admin/").status_code == 200
    assert [kind for kind, _ in kinds()] == ["staff-act", "login", "staff-act"]
    acts = [row.detail for row in AuditEvent.objects.filter(kind="staff-act")]
    assert {act["act"] for act in acts} == {"second-factor"}
    assert all(act["own"] for act in acts)
    assert secret not in str([vars(row) for row in AuditEvent.objects.all()])
    assert sign_in(Client(), otp_token=code_of(secret)) == 200, "the code that set it up was used by that"
    TOTPDevice.objects.update(throttling_failure_count=0, throttling_failure_timestamp=None)
    assert sign_in(Client(), otp_token=code_of(secret, steps=1)) == 302


def test_a_stranger_and_who_works_at_no_desk_set_nothing_up(client: Client) -> None:
    assert client.get(SETTING_UP).status_code == 302
    assert client.get(SETTING_UP + "code.svg").status_code == 404
    User.objects.create_user("walker", password=PASSWORD)
    client.force_login(User.objects.get(username="walker"))
    assert client.get(SETTING_UP).status_code == 302
    assert client.post(SETTING_UP, {"act": "set-up", "code": "123456"}).status_code == 302
    assert not TOTPDevice.objects.exists()


def test_with_the_password_alone_no_app_takes_the_place_of_the_one_there_is(app: str, ida: User) -> None:
    client = Client()
    client.force_login(ida)
    page = client.get(SETTING_UP + "?change=1").content.decode()
    assert "Code from your app" in page
    assert not KEY.search(page)
    assert client.post(SETTING_UP, {"act": "set-up", "code": code_of(app)}).status_code == 200
    assert client.post(SETTING_UP, {"act": "codes"}).status_code == 200
    assert not RecoveryCode.objects.exists()
    assert client.get("/admin/").status_code == 302
    assert client.post(SETTING_UP, {"act": "give", "code": code_of(app)})["Location"] == "/admin/"
    assert client.get("/admin/").status_code == 200


def test_a_recovery_code_opens_once_and_a_new_app_ends_the_old_one(app: str, ida: User, client: Client) -> None:
    second_factor.sign_in(ida, client)
    one, two = PAPER.findall(client.post(SETTING_UP, {"act": "codes"}).content.decode())[:2]
    assert "10 left" in client.get(SETTING_UP, follow=True).content.decode()
    assert sign_in(Client(), otp_token=one.lower().replace("-", " ")) == 302
    assert sign_in(Client(), otp_token=one) == 200
    assert "9 left" in client.get(SETTING_UP, follow=True).content.decode()
    secret = "".join(KEY.findall(client.get(SETTING_UP + "?change=1").content.decode())[0].split())
    assert client.post(SETTING_UP, {"act": "set-up", "code": code_of(secret)}).status_code == 200
    SignInAttempts.objects.all().delete()
    assert sign_in(Client(), otp_token=code_of(app, steps=1)) == 200
    assert sign_in(Client(), otp_token=two) == 200, "codes of the old app are gone"
    assert RecoveryCode.objects.count() == 10
    assert one not in str([bytes(row.digest) for row in RecoveryCode.objects.all()])


def test_guessing_the_code_locks_the_page_that_asks_for_it(app: str, ida: User) -> None:
    client = Client()
    client.force_login(ida)
    for _ in range(FREE_FAILURES):
        assert client.post(SETTING_UP, {"act": "give", "code": "000000"}).status_code == 422
    assert client.post(SETTING_UP, {"act": "give", "code": code_of(app)}).status_code == 429
    assert client.get("/admin/").status_code == 302


def test_a_session_ends_when_its_device_is_taken_away(app: str, ida: User, client: Client) -> None:
    second_factor.sign_in(ida, client)
    assert client.get("/admin/").status_code == 200
    TOTPDevice.objects.all().delete()
    assert client.get("/admin/").status_code == 302


def test_guessing_locks_the_name_even_for_the_right_password(ida: User, client: Client) -> None:
    for _ in range(FREE_FAILURES):
        assert sign_in(client, password="wrong") == 200
    assert sign_in(client) == 200
    assert kinds()[-1] == ("login-failed", "too-many-attempts")


def test_every_refusal_reads_the_same(ida: User, client: Client) -> None:
    TOTPDevice.objects.create(user=ida, name="app", confirmed=True)
    answers = [
        client.post(SIGN_IN, {"username": name, "password": word}).context["form"].non_field_errors().as_text()
        for name, word in (("nobody", PASSWORD), ("ida", "wrong"), ("ida", PASSWORD))
    ]
    assert answers[0] == answers[1] == answers[2]
    assert "is not right" in answers[0]


def test_an_administrator_lets_a_colleague_start_again_and_that_is_noted_but_never_himself(
    app: str, ida: User, client: Client
) -> None:
    bo = User.objects.create_user("bo", password=PASSWORD, is_staff=True)
    TOTPDevice.objects.create(user=bo, name="app")
    second_factor.sign_in(ida, client)
    chosen = {"action": "new_factor", "_selected_action": [ida.pk, bo.pk]}
    assert client.post("/admin/auth/user/", chosen).status_code == 302
    assert list(TOTPDevice.objects.values_list("user__username", flat=True)) == ["ida"]
    assert client.post(SIGN_IN, {"username": "bo", "password": PASSWORD})["Location"] == SETTING_UP
    (act,) = [row.detail for row in AuditEvent.objects.filter(kind="staff-act")]
    assert (act["username"], act["act"], act["own"]) == ("bo", "second-factor", False)
