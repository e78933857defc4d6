"""Signing in to the desk: recorded, with the second factor where there is one, and not to be guessed."""

from __future__ import annotations

import time

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice

from hie.audit.models import AuditEvent
from hie.trust.accounts import FREE_FAILURES

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough one"
SIGN_IN = "/admin/login/"


@pytest.fixture
def ida() -> User:
    return User.objects.create_superuser("ida", password=PASSWORD)


def sign_in(client: Client, **words: str) -> int:
    return client.post(SIGN_IN, {"username": "ida", "password": PASSWORD, "next": "/admin/"} | words).status_code


def kinds() -> list[tuple[str, str]]:
    return list(AuditEvent.objects.order_by("at").values_list("kind", "reason"))


def code_of(device: TOTPDevice) -> str:
    totp = TOTP(device.bin_key, device.step, device.t0, device.digits)
    totp.time = time.time()
    return f"{totp.token():06d}"


def test_a_sign_in_and_its_failures_are_recorded_without_what_was_typed(ida: User, client: Client) -> None:
    assert sign_in(client, password="hunter2-hunter2") == 200
    assert sign_in(client) == 302
    client.post("/admin/logout/")
    assert kinds() == [("login-failed", "wrong-password"), ("login", ""), ("logout", "")]
    failed = AuditEvent.objects.get(kind="login-failed")
    assert failed.face == "admin"
    assert "hunter2" not in str(vars(failed))


def test_a_second_factor_is_asked_where_there_is_one(ida: User, client: Client) -> None:
    device = TOTPDevice.objects.create(user=ida, name="app", confirmed=True)
    assert sign_in(client) == 200
    assert sign_in(client, otp_token="000000") == 200
    TOTPDevice.objects.update(throttling_failure_count=0, throttling_failure_timestamp=None)
    assert sign_in(client, otp_token=code_of(device)) == 302
    assert client.get("/admin/").status_code == 200
    assert [kind for kind, _ in kinds()] == ["login-failed", "login-failed", "login"]
    assert AuditEvent.objects.filter(reason="wrong-code").count() == 2


def test_a_session_without_the_code_ends_when_a_device_is_added(ida: User, client: Client) -> None:
    client.force_login(ida)
    assert client.get("/admin/").status_code == 200
    TOTPDevice.objects.create(user=ida, name="app", confirmed=True)
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
