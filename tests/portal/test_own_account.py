"""My account: a second factor set up, changed and taken off, codes on paper, the password, and sessions on other devices."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client, override_settings
from django.utils import timezone

from hie.audit.models import AuditEvent
from hie.exchange import retention
from hie.ops import checks
from hie.trust import second_factor, sign_ins
from hie.trust.models import PatientAccount, RecoveryCode, SignedIn
from hie.trust.second_factor import Owner
from tests.portal.conftest import PASSWORD, signed_in
from tests.second_factor import code_of

KEY = re.compile(r'<bdi dir="ltr">([A-Z2-7 ]{30,})</bdi>')
PAPER = re.compile(r'<bdi dir="ltr">([0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4})</bdi>')
NEW = "four words in a row"
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1"


def row(login: str = "alice") -> PatientAccount:
    return PatientAccount.objects.get(login=login)


def set_up(client: Client, address: str = "/my/account/app") -> tuple[str, list[str]]:
    """An app set up on a page; its secret, and the recovery codes."""
    secret = "".join(KEY.findall(client.get(address).content.decode())[0].split())
    done = client.post(address, {"code": code_of(secret)})
    assert done.status_code == 200
    return secret, PAPER.findall(done.content.decode())


def password(client: Client, word: str = PASSWORD) -> Any:
    return client.post("/my/sign-in", {"login": "alice", "password": word})


def test_an_app_is_set_up_and_asked_for_from_then_on(alice: str) -> None:
    client, other = signed_in(), signed_in()
    assert "Make your account safer." in client.get("/my/").content.decode()
    picture = client.get("/my/account/app.svg")
    assert picture.status_code == 404, "nothing is being set up"
    client.get("/my/account/app")
    picture = client.get("/my/account/app.svg")
    assert (picture["Content-Type"], picture["Cache-Control"]) == ("image/svg+xml", "no-store")
    assert client.post("/my/account/app", {"code": "000000"}).status_code == 422
    secret, codes = set_up(client)
    assert len(codes) == len(set(codes)) == second_factor.RECOVERY_CODES
    assert client.get("/my/").status_code == 200
    assert other.get("/my/").status_code == 302, "sessions without it have ended"
    assert "Make your account safer." not in client.get("/my/").content.decode()
    again = Client()
    assert password(again)["Location"] == "/my/sign-in/code"
    assert again.post("/my/sign-in/code", {"code": code_of(secret)}).status_code == 200, "the code set it up"
    assert again.post("/my/sign-in/code", {"code": code_of(secret, steps=1)})["Location"] == "/my/"
    events = AuditEvent.objects.filter(kind="account-changed")
    assert [one.detail["act"] for one in events] == ["app set up"]
    assert secret not in str([vars(one) for one in AuditEvent.objects.all()])


def test_the_secret_lies_sealed_in_the_database_and_opens_for_its_account_alone(alice: str) -> None:
    client = signed_in()
    secret, codes = set_up(client)
    held = row()
    assert secret not in held.totp_secret
    assert second_factor.opened(held.totp_secret, Owner(account=str(held.pk))).rstrip("=") == secret
    with pytest.raises(second_factor.UnreadableSecret):
        second_factor.opened(held.totp_secret, Owner(account=str(row("sam").pk)))
    with pytest.raises(second_factor.UnreadableSecret):
        second_factor.opened(held.totp_secret, Owner(staff=1))
    stored = str([vars(one) for one in RecoveryCode.objects.all()])
    assert not any(code in stored or code.replace("-", "") in stored for code in codes)
    client.get("/my/account/app")
    fresh = client.session["my-app"]["sealed"]
    assert not KEY.findall(f'<bdi dir="ltr">{fresh}</bdi>')


def test_a_secret_from_before_they_were_sealed_works_and_is_sealed_by_the_task(alice: str) -> None:
    secret = "JBSWY3DPEHPK3PXP"
    PatientAccount.objects.filter(login="alice").update(totp_secret=secret)
    client = Client()
    password(client)
    assert client.post("/my/sign-in/code", {"code": code_of(secret)})["Location"] == "/my/"
    assert second_factor.seal_all() == 1
    assert secret not in row().totp_secret
    assert client.get("/my/").status_code == 200, "sealing ends no session"
    assert second_factor.seal_all() == 0
    other = Client()
    password(other)
    assert other.post("/my/sign-in/code", {"code": code_of(secret, steps=1)})["Location"] == "/my/"


def test_a_recovery_code_stands_in_once_and_new_ones_end_the_old(alice: str) -> None:
    client = signed_in()
    _, codes = set_up(client)
    other = Client()
    password(other)
    assert "Recovery code" in other.get("/my/sign-in/code?paper=1").content.decode()
    assert other.post("/my/sign-in/code", {"code": "ABCD-EFGH-JKMN", "paper": "1"}).status_code == 200
    answer = other.post("/my/sign-in/code", {"code": codes[0].lower(), "paper": "1"})
    assert answer["Location"] == "/my/account?recovered=1#notice"
    page = other.get("/my/account?recovered=1").content.decode()
    assert "It does not work again." in page
    assert "You have 9 left." in page
    third = Client()
    password(third)
    assert "you have used it" in third.post("/my/sign-in/code", {"code": codes[0], "paper": "1"}).content.decode()
    assert "The old ones stop working." in client.get("/my/account/codes").content.decode()
    fresh = PAPER.findall(client.post("/my/account/codes").content.decode())
    assert not set(fresh) & set(codes)
    assert third.post("/my/sign-in/code", {"code": codes[1], "paper": "1"}).status_code == 200
    assert third.post("/my/sign-in/code", {"code": fresh[1], "paper": "1"}).status_code == 302


def test_the_app_is_taken_off_where_that_is_left_to_the_patient(alice: str) -> None:
    client = signed_in()
    set_up(client)
    assert "Take the code app off?" in client.get("/my/account/app/off").content.decode()
    with override_settings(PATIENT_SECOND_FACTOR="required"):
        assert client.get("/my/account/app/off").status_code == 404
        assert client.post("/my/account/app/off").status_code == 403
        assert "Take the app off" not in client.get("/my/account").content.decode()
    assert row().totp_secret
    assert client.post("/my/account/app/off")["Location"] == "/my/account?off=1#notice"
    assert (row().totp_secret, RecoveryCode.objects.count()) == ("", 0)
    assert password(Client())["Location"] == "/my/"
    assert client.get("/my/account/codes").status_code == 404


@override_settings(PATIENT_SECOND_FACTOR="required")
def test_where_it_is_required_nobody_gets_in_before_one_is_set_up(alice: str) -> None:
    client = Client()
    assert client.get("/my/sign-in/app").status_code == 302
    assert password(client)["Location"] == "/my/sign-in/app"
    for closed in ("/my/", "/my/account", "/my/account/app", "/my/documents", "/my/sign-in/code"):
        assert client.get(closed).status_code == 302, closed
    assert AuditEvent.objects.filter(kind="login").count() == 0
    before = client.session.session_key
    secret, codes = set_up(client, "/my/sign-in/app")
    assert len(codes) == second_factor.RECOVERY_CODES
    assert client.session.session_key != before
    assert client.get("/my/").status_code == 200
    assert AuditEvent.objects.filter(kind="login").count() == 1
    other = Client()
    assert password(other)["Location"] == "/my/sign-in/code"
    assert other.get("/my/sign-in/app").status_code == 302
    assert other.post("/my/sign-in/app", {"code": code_of(secret, steps=1)}).status_code == 302
    assert other.get("/my/").status_code == 302


@override_settings(PATIENT_SECOND_FACTOR="required")
def test_two_windows_do_not_set_up_two_apps_at_the_first_sign_in(alice: str) -> None:
    one, two = Client(), Client()
    password(one)
    password(two)
    late = "".join(KEY.findall(two.get("/my/sign-in/app").content.decode())[0].split())
    secret, _ = set_up(one, "/my/sign-in/app")
    assert two.post("/my/sign-in/app", {"code": code_of(late)}).status_code == 422
    assert second_factor.opened(row().totp_secret, Owner(account=str(row().pk))).rstrip("=") == secret


def test_production_lets_nobody_leave_the_second_factor_out(settings: Any) -> None:
    assert checks.patients_have_a_second_factor() == []
    settings.PRODUCTION = True
    assert [one.id for one in checks.patients_have_a_second_factor()] == ["hie.E011"]
    settings.PATIENT_SECOND_FACTOR = "required"
    assert checks.patients_have_a_second_factor() == []


def test_a_new_password_must_be_a_good_one_and_ends_other_sessions(alice: str) -> None:
    client, other = signed_in(), signed_in()
    for typed, again, says in (
        ("short", "short", "Make it longer"),
        ("password1234", "password1234", "Many people use this one."),
        ("alice-delgado", "alice-delgado", "too much like your name"),
        (NEW, NEW + "x", "The two are not the same."),
        ("", "", "Type a new password."),
    ):
        answer = client.post("/my/account/password", {"password": typed, "again": again})
        assert answer.status_code == 422
        assert says in answer.content.decode()
        assert not typed or typed not in answer.content.decode()
    assert client.post("/my/account/password", {"password": NEW, "again": NEW}).status_code == 302
    assert client.get("/my/").status_code == 200
    assert other.get("/my/").status_code == 302
    assert password(Client()).status_code == 200
    assert password(Client(), NEW).status_code == 302


@pytest.mark.parametrize("address", ["app", "app/off", "codes", "password"])
def test_a_way_in_is_changed_only_by_who_shows_to_be_the_owner(alice: str, address: str) -> None:
    client = signed_in()
    set_up(client)
    session = client.session
    session["my"] = session["my"] | {"confirmed": time.time() - 601}
    session.save()
    for answer in (client.get(f"/my/account/{address}"), client.post(f"/my/account/{address}", {"code": "1"})):
        assert answer["Location"].startswith("/my/account/confirm?next=")
    page = client.get(answer["Location"]).content.decode()
    assert 'type="password"' in page
    onward = f"/my/account/{address}"
    assert client.post("/my/account/confirm", {"typed": "wrong", "next": onward}).status_code == 422
    assert client.post("/my/account/confirm", {"typed": PASSWORD, "next": onward})["Location"] == onward
    assert client.get(onward).status_code == 200
    assert (
        client.post("/my/account/confirm", {"typed": PASSWORD, "next": "//evil.example"})["Location"] == "/my/account"
    )


def test_guessing_the_password_at_that_page_waits_too(alice: str) -> None:
    client = signed_in()
    for _ in range(5):
        assert client.post("/my/account/confirm", {"typed": "wrong"}).status_code == 422
    assert client.post("/my/account/confirm", {"typed": PASSWORD}).status_code == 429


def on(agent: str) -> Client:
    client = Client(headers={"user-agent": agent})
    assert client.post("/my/sign-in", {"login": "alice", "password": PASSWORD}).status_code == 302
    return client


def test_sessions_are_told_by_device_and_ended_one_by_one(alice: str) -> None:
    here, phone, third = on(FIREFOX), on(PHONE), on("curl/8")
    page = here.get("/my/account").content.decode()
    assert "Firefox on Windows" in page
    assert "Safari on iPhone" in page
    assert "A device that does not say what it is" in page
    assert page.count("This device") == 1
    assert page.index("Firefox on Windows") < page.index("Safari on iPhone")
    one = SignedIn.objects.get(system="iPhone")
    assert here.post(f"/my/account/sessions/{one.pk}/end")["Location"] == "/my/account?ended=1#notice"
    assert phone.get("/my/").status_code == 302
    assert third.get("/my/").status_code == 200
    assert here.post(f"/my/account/sessions/{one.pk}/end").status_code == 404
    assert here.post("/my/account/sessions/end").status_code == 302
    assert (here.get("/my/").status_code, third.get("/my/").status_code) == (200, 302)
    acts = AuditEvent.objects.filter(kind="account-changed").values_list("detail", flat=True)
    assert [act["sessions"] for act in acts] == [1, 1]


def test_nobody_ends_the_session_of_another(alice: str) -> None:
    sam, rosa = signed_in("sam"), on(FIREFOX)
    theirs = SignedIn.objects.get(account__login="alice")
    assert sam.post(f"/my/account/sessions/{theirs.pk}/end").status_code == 404
    sam.post("/my/account/sessions/end")
    assert rosa.get("/my/").status_code == 200
    assert "Firefox" not in sam.get("/my/account").content.decode()


def test_ending_the_session_one_sits_in_signs_out(alice: str) -> None:
    client = on(FIREFOX)
    own = SignedIn.objects.get()
    assert client.post(f"/my/account/sessions/{own.pk}/end")["Location"] == "/my/sign-in?out=1"
    assert client.get("/my/").status_code == 302
    assert AuditEvent.objects.filter(kind="logout").count() == 1


@pytest.mark.parametrize(
    ("changed", "open_"),
    [
        ({"seen_at": -timedelta(minutes=29)}, True),
        ({"seen_at": -timedelta(minutes=32)}, False),
        ({"ends_at": -timedelta(seconds=1)}, False),
    ],
)
def test_a_session_ends_when_nothing_was_done_and_after_its_longest_time(
    alice: str, changed: dict[str, timedelta], open_: bool
) -> None:
    client = signed_in()
    SignedIn.objects.update(**{name: timezone.now() + ago for name, ago in changed.items()})
    assert client.get("/my/").status_code == (200 if open_ else 302)
    if open_:
        assert SignedIn.objects.get().seen_at > timezone.now() - timedelta(minutes=1)


def test_a_page_says_when_the_session_ends_and_how_to_stay(alice: str) -> None:
    page = signed_in().get("/my/").content.decode()
    assert "You are signed out when you do nothing for 30 minutes, and after 8 hours." in page
    assert "You will be signed out in 2 minutes." in page
    assert timedelta(minutes=30) == sign_ins.IDLE
    assert timedelta(hours=8) == sign_ins.LONGEST
    assert signed_in().get("/my/account/stay").status_code == 200
    assert "You will be signed out" not in Client().get("/my/sign-in").content.decode()


@pytest.mark.parametrize(
    ("agent", "told"),
    [
        (FIREFOX, ("Firefox", "Windows")),
        (PHONE, ("Safari", "iPhone")),
        ("Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile Safari/537.36", ("Chrome", "Android")),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36 Edg/130.0.0.0", ("Edge", "Windows")),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Safari/605.1.15", ("Safari", "Mac")),
        ("<script>alert(1)</script>" * 1000, ("", "")),
        ("", ("", "")),
    ],
)  # fmt: skip
def test_a_device_is_told_in_words_people_know(agent: str, told: tuple[str, str]) -> None:
    assert sign_ins.device(agent) == told


def test_rows_of_ended_sessions_go_and_running_ones_stay(alice: str) -> None:
    client = signed_in()
    retention.carry_on(until=time.monotonic() + 60)
    assert client.get("/my/").status_code == 200
    SignedIn.objects.update(ends_at=timezone.now() - timedelta(days=32))
    retention.carry_on(until=time.monotonic() + 60, now=timezone.now() + timedelta(days=1, seconds=1))
    assert not SignedIn.objects.exists()
