"""Signing in to the portal, and the file that opens accounts."""

from __future__ import annotations

import json
import re
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.test import Client, override_settings
from django.utils import timezone
from django_otp.oath import TOTP

from consent.models import ProxyGrant
from hie.audit.models import AuditEvent
from hie.directory import registration
from hie.exchange import accounts
from hie.exchange.errors import BadRequest
from hie.trust.models import PatientAccount, SignInAttempts
from patients import linking
from tests.directory.forms import clinic, file, hospital
from tests.portal.conftest import ALICE, CHILD, PASSWORD, PORTAL, SON, busy_log, fed, signed_in
from tests.portal.test_own_account import set_up

SECRET = "JBSWY3DPEHPK3PXP"


def post(client: Client, **data: str) -> Any:
    return client.post("/my/sign-in", {"login": "alice", "password": PASSWORD, **data})


def test_a_right_password_leads_to_the_log_under_a_new_session(alice: str) -> None:
    client = Client()
    client.get("/my/sign-in")
    answer = post(client, login=" ALICE ")
    assert (answer.status_code, answer["Location"]) == (302, "/my/")
    assert client.get("/my/").status_code == 200
    cookie = answer.cookies["sessionid"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    first = cookie.value
    assert post(client).cookies["sessionid"].value != first


def test_the_form_of_the_page_signs_in_with_its_forgery_token(alice: str) -> None:
    client = Client(enforce_csrf_checks=True)
    assert post(client).status_code == 403
    page = client.get("/my/sign-in").content.decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert token
    assert post(client, csrfmiddlewaretoken=token[1]).status_code == 302


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": "wrong horse battery"},
        {"login": "nobody"},
        {"login": "alice'--"},
        {"login": "x" * 10_000},
    ],
    ids=["password", "login", "quote", "endless"],
)
def test_a_wrong_login_and_a_wrong_password_are_one_answer(alice: str, wrong: dict[str, str]) -> None:
    answer = post(Client(), **wrong)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "The login or the password is not right." in page
    assert "<title>Error: Sign in" in page
    assert 'aria-invalid="true"' in page
    assert PASSWORD not in page


def test_an_empty_form_names_each_field(alice: str) -> None:
    page = post(Client(), login="", password="").content.decode()
    assert 'href="#login"' in page
    assert 'href="#password"' in page


@pytest.mark.parametrize("login", ["alice", "nobody"])
def test_after_five_failures_even_the_right_password_waits_and_so_does_no_account(alice: str, login: str) -> None:
    client = Client()
    for _ in range(5):
        assert post(client, login=login, password="wrong").status_code == 200
    answer = post(client, login=login)
    assert answer.status_code == 429
    assert 1 <= int(answer["Retry-After"]) <= 60
    assert "Wait 1 minute, then try again." in answer.content.decode()
    SignInAttempts.objects.update(locked_until=timezone.now() - timedelta(seconds=1))
    assert post(client, login=login).status_code == (302 if login == "alice" else 200)
    # One more failure after a lock locks again, for longer; a success forgets.
    assert SignInAttempts.objects.exists() == (login == "nobody")


def test_signing_in_out_and_failing_are_recorded_without_what_was_typed(alice: str) -> None:
    post(Client(), login="my-secret-typed-in-the-wrong-field", password="x")
    client = signed_in()
    assert client.post("/my/sign-out")["Location"] == "/my/sign-in?out=1"
    rows = list(AuditEvent.objects.filter(kind__in=["login", "login-failed", "logout"]).order_by("at"))
    assert [(row.kind, row.outcome) for row in rows] == [("login-failed", 4), ("login", 0), ("logout", 0)]
    assert {row.organization for row in rows} == {"org-portal"}
    assert rows[1].user == f"Patient/{alice}"
    assert "my-secret" not in str([row.__dict__ for row in rows])
    assert client.get("/my/").status_code == 302


def test_signing_out_needs_a_post(alice: str) -> None:
    client = signed_in()
    assert client.get("/my/sign-out").status_code == 405
    assert client.get("/my/").status_code == 200


@pytest.mark.parametrize(
    "onward", ["https://evil.example/my/", "//evil.example/my/", "/admin/", "/my/../admin/", "javascript:x"]
)
def test_signing_in_never_leads_elsewhere(alice: str, onward: str) -> None:
    target = post(Client(), next=onward)["Location"]
    assert target.startswith("/my/")
    assert "evil" not in target


def test_a_page_asked_for_is_shown_after_signing_in(alice: str) -> None:
    client = Client()
    away = client.get("/my/?why=TREAT")["Location"]
    assert away == "/my/sign-in?next=%2Fmy%2F%3Fwhy%3DTREAT"
    assert 'name="next" value="/my/?why=TREAT"' in client.get(away).content.decode()


def test_a_changed_password_ends_the_sessions(alice: str) -> None:
    client = signed_in()
    accounts.load({"patients": [{**ALICE, "password": "another horse battery"}]})
    assert client.get("/my/").status_code == 302


def test_a_closed_account_and_a_closed_portal_let_nobody_in(alice: str) -> None:
    client = signed_in()
    PatientAccount.objects.filter(login="alice").update(active=False)
    assert client.get("/my/").status_code == 302
    assert "not right" in post(Client()).content.decode()
    PatientAccount.objects.filter(login="alice").update(active=True)
    client = signed_in()
    registration.apply(file(clinic(), hospital(), {**PORTAL, "status": "suspended"}))
    assert client.get("/my/").status_code == 403
    assert post(Client()).status_code == 403


def code_now(shift: int = 0) -> str:
    import base64

    totp = TOTP(base64.b32decode(SECRET))
    totp.time = time.time() + shift
    return f"{totp.token():06d}"


def test_with_a_second_factor_the_password_alone_opens_nothing_and_a_code_works_once(alice: str) -> None:
    accounts.load({"patients": [{**ALICE, "totp_secret": SECRET}]})
    client = Client()
    assert post(client)["Location"] == "/my/sign-in/code"
    assert client.get("/my/").status_code == 302
    assert "6 digits" in client.get("/my/sign-in/code").content.decode()
    assert "Wait for a new code" in client.post("/my/sign-in/code", {"code": "000000"}).content.decode()
    right = code_now()
    assert client.post("/my/sign-in/code", {"code": right})["Location"] == "/my/"
    assert client.get("/my/").status_code == 200
    other = Client()
    post(other)
    assert other.post("/my/sign-in/code", {"code": right}).status_code == 200
    assert other.get("/my/").status_code == 302


def test_an_account_follows_its_person_through_a_merge(alice: str) -> None:
    busy_log(alice)
    survivor = fed("B7", "Delgado", "Rosa Maria", "1961-01-01")
    client = signed_in()
    linking.merge(UUID(survivor), UUID(alice), actor="steward/ada", reason="same person")
    assert "Dr. Eve Marlowe" in client.get("/my/").content.decode()


def test_the_file_of_accounts_is_loaded_twice_with_the_same_end(alice: str, tmp_path: Path, capsys: Any) -> None:
    entry = {"patients": [{**SON, "proxy_for": [CHILD]}]}
    staff = [
        {"username": "admin", "password": PASSWORD, "totp_secret": None, "roles": ["administrator"]},
        {"username": "ada", "password": PASSWORD, "totp_secret": SECRET, "roles": ["steward", "auditor"]},
    ]
    path = tmp_path / "accounts.json"
    path.write_text(json.dumps({**entry, "staff": staff}))
    for expected in (
        ["updated sam", "updated admin", "updated ada"],
        ["unchanged sam", "unchanged admin", "unchanged ada"],
    ):
        call_command("accounts", str(path))
        assert capsys.readouterr().out.splitlines() == expected
    admin, ada = (get_user_model().objects.get(username=name) for name in ("admin", "ada"))
    assert (admin.is_superuser, admin.is_staff) == (True, True)
    assert (ada.is_superuser, ada.is_staff) == (False, True)
    assert sorted(ada.groups.values_list("name", flat=True)) == ["auditor", "steward"]
    assert ada.totpdevice_set.count() == 1  # type: ignore[attr-defined]  # django-otp has no types
    (grant,) = ProxyGrant.objects.filter(kind="parent")
    assert (grant.max_confidentiality, grant.status) == ("R", "active")
    assert "Mia Delgado" in signed_in("sam").get("/my/").content.decode()


@pytest.mark.parametrize(
    ("wrong", "element"),
    [
        ({"patients": [{**ALICE, "identifier": "none^^^&2.999.1&ISO"}]}, "patients[0].identifier"),
        ({"patients": [{**ALICE, "identifier": 7}]}, "patients[0].identifier"),
        ({"patients": [{**ALICE, "password": ""}]}, "patients[0].password"),
        ({"patients": [{**ALICE, "proxy_for": ["x"]}]}, "patients[0].proxy_for[0]"),
        ({"patients": [{**ALICE, "totp_secret": "not base 32!"}]}, "patients[0]"),
        ({"patients": {}}, "patients"),
        ({"staff": [{"username": "x", "password": "y", "roles": ["king"]}]}, "staff[0]"),
        ({"staff": [{"username": "x", "password": "y", "roles": "steward"}]}, "staff[0].roles"),
        ([], "accounts"),
    ],
)
def test_a_faulty_file_of_accounts_names_what_is_wrong_and_changes_nothing(
    alice: str, wrong: Any, element: str
) -> None:
    before = PatientAccount.objects.count()
    with pytest.raises(BadRequest) as refused:
        accounts.load(
            {"patients": [{**SON, "login": "new"}], **wrong}
            if isinstance(wrong, dict) and "patients" not in wrong
            else wrong
        )
    assert refused.value.element == element
    assert PatientAccount.objects.count() == before


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "accounts.json"
    path.write_text("{")
    with pytest.raises(CommandError, match="not JSON"):
        call_command("accounts", str(path))


@override_settings(SESSION_COOKIE_SECURE=True)
def test_cookies_are_secure_where_the_hub_is(alice: str) -> None:
    assert post(Client()).cookies["sessionid"]["secure"]


def test_a_file_that_says_nothing_of_it_leaves_a_second_factor_that_its_owner_set_up(alice: str) -> None:
    client = signed_in()
    set_up(client)
    accounts.load({"patients": [ALICE]})
    assert client.get("/my/").status_code == 200
    assert post(Client())["Location"] == "/my/sign-in/code"
    staff = {"username": "ada", "password": PASSWORD, "roles": ["auditor"], "totp_secret": SECRET}
    accounts.load({"staff": [staff]})
    accounts.load({"staff": [staff | {"totp_secret": None}]})
    assert get_user_model().objects.get(username="ada").totpdevice_set.count() == 1  # type: ignore[attr-defined]  # django-otp has no types
    accounts.load({"patients": [{**ALICE, "totp_secret": ""}], "staff": [staff | {"totp_secret": ""}]})
    assert post(Client())["Location"] == "/my/"
    assert get_user_model().objects.get(username="ada").totpdevice_set.count() == 0  # type: ignore[attr-defined]  # django-otp has no types
