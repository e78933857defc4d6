"""Codes by which organizations let their patients in: who gives them, what they open, and one answer for all that do not."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client, override_settings
from django.utils import timezone

from hie.audit.models import AuditEvent
from hie.directory import queries as directory
from hie.directory import registration
from hie.exchange import activation
from hie.trust import activation as codes
from hie.trust import token_service
from hie.trust.models import ActivationCode, PatientAccount, RecoveryCode
from hie.trust.staff import ensure_roles
from patients import linking
from tests import second_factor
from tests.directory.forms import clinic, file, hospital
from tests.exchange import world
from tests.portal.conftest import ALICE, PASSWORD, PORTAL, fed, signed_in
from tests.portal.test_deaths import said_dead
from tests.second_factor import code_of

BORN = {"A1": "1970-05-01", "N1": "1980-02-03"}
SYSTEM = "urn:oid:2.999.10.1.1"
NEW = "a new long password"
REFUSED = "The code and the date of birth do not fit, or the code is too old or used."
KEY = re.compile(r'<bdi dir="ltr">([A-Z2-7 ]{30,})</bdi>')


def clinician(**changes: Any) -> Any:
    return world.caller(**({"scopes": frozenset({activation.SCOPE})} | changes))


def asked(body: Any, **changes: Any) -> Any:
    """`POST /api/patients/activation-codes` by the clinic."""
    who = clinician(**changes)
    token = token_service.encode(who, tuple(who.scopes), now=timezone.now(), lifetime_s=300)
    return Client().post(
        "/api/patients/activation-codes", json.dumps(body), content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    )  # fmt: skip


def given(value: str = "A1") -> str:
    answer = asked({"identifier": {"system": SYSTEM, "value": value}})
    assert answer.status_code == 201, answer.content
    return str(answer.json()["code"])


def typed(code: str, born: str, client: Client | None = None) -> Any:
    return (client or Client()).post("/my/first-visit", {"code": code, "born": born})


def chosen(client: Client, **changes: str) -> Any:
    said = {"login": "Rosa", "password": NEW, "again": NEW} | changes
    return client.post("/my/first-visit/account", said)


@pytest.fixture(autouse=True)
def entrusted(alice: str) -> None:
    """The clinic may give codes."""
    scopes = ["system/*.cruds", activation.SCOPE]
    registration.apply(file(clinic(scopes=scopes), hospital(), PORTAL))
    directory.bump_epoch()


@pytest.fixture
def nora(alice: str) -> str:
    """Nora, whom the clinic knows and who has no account; her person."""
    return fed("N1", "Nilsson", "Nora", "1980-02-03")


def test_a_code_of_the_clinic_opens_an_account_of_its_patient(nora: str) -> None:
    answer = asked({"identifier": {"system": SYSTEM, "value": "N1"}})
    assert answer.status_code == 201
    assert set(answer.json()) == {"code", "expires_at", "url"}
    assert answer.json()["url"].endswith("/my/first-visit")
    client = Client()
    assert (
        typed(answer.json()["code"].lower().replace("-", " "), "1980-02-03", client)["Location"]
        == "/my/first-visit/account"
    )
    page = client.get("/my/first-visit/account").content.decode()
    assert "Welcome, <bdi>Nora Nilsson</bdi>" in page
    assert chosen(client)["Location"] == "/my/welcome"
    assert "Welcome, <bdi>Nora Nilsson</bdi>" in client.get("/my/welcome").content.decode()
    log = client.get("/my/").content.decode()
    assert "a code for a way in here" in log
    account = PatientAccount.objects.get(login="rosa")
    assert account.password != NEW
    row = ActivationCode.objects.get()
    assert (row.organization, str(row.account_id)) == ("org-clinic", str(account.pk))
    assert answer.json()["code"] not in str(vars(row))
    assert signed_in("rosa", NEW).get("/my/").status_code == 200
    assert AuditEvent.objects.filter(kind="account-code", person_id=nora, organization="org-clinic").count() == 1
    assert NEW not in str([vars(one) for one in AuditEvent.objects.all()])


@pytest.mark.parametrize(
    ("body", "changes", "status", "field"),
    [
        ({"identifier": {"system": "urn:oid:2.999.10.2.1", "value": "A1"}}, {}, 422, "identifier.system"),
        ({"identifier": {"system": "urn:oid:2.999.1.3", "value": "A1"}}, {}, 422, "identifier.system"),
        ({"identifier": {"system": "", "value": "A1"}}, {}, 422, "identifier.system"),
        ({"identifier": {"system": SYSTEM, "value": "none"}}, {}, 404, None),
        ({"identifier": {"system": SYSTEM, "value": "\u0000"}}, {}, 400, None),
        ({"identifier": {"system": SYSTEM}}, {}, 422, "identifier.value"),
        ({"identifier": {"system": SYSTEM, "value": "A1"}, "why": "x"}, {}, 422, "why"),
        ({"identifier": {"system": SYSTEM, "value": "A1"}}, {"scopes": frozenset({"system/*.cruds"})}, 403, None),
    ],
)
def test_a_code_is_refused_for_another_authority_an_unknown_number_and_without_the_scope(
    alice: str, body: Any, changes: Any, status: int, field: str | None
) -> None:
    answer = asked(body, **changes)
    assert (answer.status_code, answer.json()["error"]["field"]) == (status, field), answer.content
    assert not ActivationCode.objects.exists()


def test_a_record_without_a_whole_date_of_birth_gets_no_code(alice: str) -> None:
    fed("Y1", "Yilmaz", "Yara", "1980")
    answer = asked({"identifier": {"system": SYSTEM, "value": "Y1"}})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "identifier")


def test_guessed_numbers_are_stopped(alice: str, settings: Any) -> None:
    settings.GUESSING_PER_MINUTE = 2
    who = {"user_id": "Practitioner/guesser"}
    answers = [asked({"identifier": {"system": SYSTEM, "value": f"no-{n}"}}, **who).status_code for n in range(4)]
    assert answers[:2] == [404, 404]
    assert 429 in answers


def wrong() -> dict[str, Any]:
    def old() -> str:
        code = given()
        ActivationCode.objects.update(ends_at=timezone.now())
        return code

    def used() -> str:
        code = given("N1")
        client = Client()
        typed(code, BORN["N1"], client)
        chosen(client)
        return code

    def replaced() -> str:
        code = given()
        given()
        return code

    def closed() -> str:
        code = given()
        PatientAccount.objects.filter(login="alice").update(active=False)
        return code

    def dead() -> str:
        code = given()
        said_dead()
        return code

    def child() -> str:
        code = given("M1")
        return code

    return {"wrong": lambda: "ABCD-EFGH-JKMN", "old": old, "used": used, "replaced": replaced, "closed": closed, "dead": dead, "child": child}  # fmt: skip


@pytest.mark.parametrize("how", wrong())
def test_wrong_old_used_and_hidden_are_one_answer(nora: str, how: str) -> None:
    code = wrong()[how]()
    born = {"used": BORN["N1"], "child": f"{timezone.now().year - 6}-01-01"}.get(how, BORN["A1"])
    client = Client()
    never = typed("2345-6789-ABCD", born, Client())
    answer = typed(code, born, client)
    assert answer.status_code == never.status_code == 422
    bare = re.compile(r'name="csrfmiddlewaretoken" value="[^"]+"')
    assert bare.sub("", answer.content.decode()) == bare.sub("", never.content.decode())
    assert REFUSED in answer.content.decode()
    assert code not in answer.content.decode()
    assert client.get("/my/first-visit/account").status_code == 302


def test_five_wrong_birth_dates_end_a_code_and_fewer_do_not(alice: str) -> None:
    code = given()
    for _ in range(4):
        assert typed(code, "1971-05-01").status_code == 422
    assert typed(code, BORN["A1"]).status_code == 302
    for _ in range(2):
        assert typed(code, "1971-05-01").status_code == 422
    assert typed(code, BORN["A1"]).status_code == 422


def test_many_tries_from_one_address_wait(alice: str, settings: Any) -> None:
    settings.REFUSED_TOKENS_PER_MINUTE = 3
    elsewhere = Client(REMOTE_ADDR="192.0.2.77")
    answers = [typed("ABCD-EFGH-JKMN", "1970-05-01", elsewhere).status_code for _ in range(5)]
    assert answers[0] == 422
    assert answers[-1] == 429


def test_an_empty_form_names_each_field(alice: str) -> None:
    page = typed("", "").content.decode()
    assert 'href="#code"' in page
    assert 'href="#born"' in page


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"login": "alice"}, "Somebody has this login."),
        ({"login": "x"}, "Choose a login of 3 to 64"),
        ({"login": ""}, "Choose a login."),
        ({"password": "short", "again": "short"}, "Make it longer"),
        ({"password": "password1234", "again": "password1234"}, "Many people use this one."),
        ({"login": "nora-nilsson", "password": "nora-nilsson1", "again": "nora-nilsson1"}, "too much like your name"),
        ({"again": "something else"}, "The two are not the same."),
        ({"password": "", "again": ""}, "Type a new password."),
    ],
)
def test_a_login_or_password_that_will_not_do_is_named_and_the_code_stays_good(
    nora: str, changes: dict[str, str], says: str
) -> None:
    client = Client()
    typed(given("N1"), BORN["N1"], client)
    answer = chosen(client, **changes)
    assert answer.status_code == 422
    assert says in answer.content.decode()
    assert "<title>Error: " in answer.content.decode()
    assert PatientAccount.objects.count() == 2
    assert chosen(client)["Location"] == "/my/welcome"


def test_a_new_code_lets_the_owner_back_in_and_everybody_else_out(alice: str) -> None:
    old = signed_in()
    secret = "JBSWY3DPEHPK3PXP"
    PatientAccount.objects.filter(login="alice").update(totp_secret=secret)
    client = Client()
    typed(given(), BORN["A1"], client)
    page = client.get("/my/first-visit/account").content.decode()
    assert "Your login is <bdi>alice</bdi>" in page
    assert chosen(client, login="")["Location"] == "/my/welcome"
    assert old.get("/my/").status_code == 302
    assert PatientAccount.objects.filter(identifier__source_record__isnull=False).count() == 2
    row = PatientAccount.objects.get(login="alice")
    assert row.totp_secret == ""
    assert signed_in(password=NEW).get("/my/").status_code == 200
    assert Client().post("/my/sign-in", {"login": "alice", "password": PASSWORD}).status_code == 200


def test_a_code_follows_its_person_through_a_merge(nora: str) -> None:
    code = given("N1")
    survivor = fed("B7", "Nilsson", "Nora Maria", "1961-01-01")
    linking.merge(UUID(survivor), UUID(nora), actor="steward/ada", reason="same person")
    client = Client()
    assert typed(code, "1980-02-03", client).status_code == 302
    chosen(client)
    assert accounts_person("rosa") == survivor


def accounts_person(login: str) -> str:
    from hie.exchange import accounts

    return accounts.person_of(PatientAccount.objects.get(login=login).identifier_id)


def test_a_code_counts_once_even_when_two_windows_hold_it(nora: str) -> None:
    code = given("N1")
    one, two = Client(), Client()
    typed(code, BORN["N1"], one)
    typed(code, BORN["N1"], two)
    assert chosen(one)["Location"] == "/my/welcome"
    assert chosen(two, login="other")["Location"] == "/my/first-visit"
    assert not PatientAccount.objects.filter(login="other").exists()


@override_settings(PATIENT_SECOND_FACTOR="required")
def test_where_a_second_factor_is_required_the_first_visit_ends_with_one(nora: str) -> None:
    client = Client()
    typed(given("N1"), BORN["N1"], client)
    assert chosen(client)["Location"] == "/my/sign-in/app"
    assert client.get("/my/").status_code == 302
    page = client.get("/my/sign-in/app").content.decode()
    secret = "".join(KEY.findall(page)[0].split())
    done = client.post("/my/sign-in/app", {"code": code_of(secret)}).content.decode()
    assert 'href="/my/welcome"' in done
    assert client.get("/my/welcome").status_code == 200
    assert RecoveryCode.objects.count() == 10


def officer(*roles: str) -> Client:
    ensure_roles()
    user = User.objects.create_user("ida", password=PASSWORD, is_staff=True)
    user.groups.set(Group.objects.filter(name__in=roles))
    return second_factor.sign_in(user)


def test_the_privacy_officer_gives_a_code_at_the_desk_and_says_why(nora: str) -> None:
    desk = officer("privacy-officer")
    assert desk.get("/admin/trust/activationcode/").status_code == 200
    address = "/admin/trust/activationcode/give/"
    assert desk.get(address).status_code == 200
    for said, field in (
        ({"identifier": f"{SYSTEM}|N1", "reason": ""}, "why"),
        ({"identifier": f"{SYSTEM}|none", "reason": "at the desk"}, "identifier"),
        ({"identifier": "N1", "reason": "at the desk"}, "identifier"),
        ({"identifier": f"{SYSTEM}|\x00", "reason": "at the desk"}, "identifier"),
    ):
        answer = desk.post(address, said)
        assert answer.status_code == 422
        assert f'href="#{field}"' in answer.content.decode()
    page = desk.post(address, {"identifier": f"{SYSTEM}|N1", "reason": "She stood here with her passport"})
    found = re.search(r'id="given">([0-9A-Z-]{14})<', page.content.decode())
    assert found
    client = Client()
    assert typed(found[1], BORN["N1"], client).status_code == 302
    event = AuditEvent.objects.get(kind="account-code")
    assert (event.user, str(event.person_id)) == ("Staff/ida", nora)
    chosen(client)
    assert "She stood here with her passport" in client.get("/my/").content.decode()


@pytest.mark.parametrize("role", ["steward", "onboarding", "auditor", "operator"])
def test_no_other_role_gives_codes(nora: str, role: str) -> None:
    desk = officer(role)
    said = {"identifier": f"{SYSTEM}|N1", "reason": "because"}
    assert desk.post("/admin/trust/activationcode/give/", said).status_code == 403
    assert desk.get("/admin/trust/activationcode/").status_code == 403
    assert codes.waiting(timezone.now()) == 0


def test_a_closed_portal_takes_no_code(alice: str) -> None:
    code = given()
    registration.apply(file(clinic(), hospital(), {**PORTAL, "status": "suspended"}))
    directory.bump_epoch()
    assert typed(code, BORN["A1"]).status_code == 403


def test_a_code_typed_right_is_kept_for_half_an_hour(alice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    typed(given(), BORN["A1"], client)
    session = client.session
    session["my-code"] = session["my-code"] | {"until": 0}
    session.save()
    assert client.get("/my/first-visit/account").status_code == 302
    assert ALICE["login"] == "alice"
    assert ActivationCode.objects.filter(ends_at__gt=timezone.now() + timedelta(days=13)).exists()
