"""The pages by which an organization joins: at the desk, and its own behind the code of its invitation."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from hie.audit.models import AuditEvent
from hie.directory import registration
from hie.directory.models import Onboarding, Participant
from tests.directory.forms import EC_P384, clinic, file, jwk
from tests.exchange.world import HOSPITAL_AUTHORITY
from tests.fhir.conftest import provide_bundle
from tests.trust.conftest import TOKEN_URL, assertion

pytestmark = pytest.mark.django_db
INVITE = "/admin/directory/onboarding/invite/"
Desk = Callable[..., Client]


@pytest.fixture(autouse=True)
def here(settings: Any) -> None:
    settings.BASE_URL = TOKEN_URL.removesuffix("/oauth/token")


def invited(desk: Client, name: str = "Osprey Fold Laboratory") -> tuple[str, str]:
    """Its page at the desk, and the code as that page shows it."""
    answer = desk.post(INVITE, {"name": name, "reason": "Contract signed"})
    assert answer.status_code == 302, answer.content
    shown = desk.get(answer["Location"]).content.decode()
    found = re.search(r"<code>([A-Z0-9-]{19})</code>", shown)
    assert found is not None
    return answer["Location"].partition("?")[0], found[1]


def filled(part: str, **changes: str | list[str]) -> dict[str, Any]:
    whole = clinic()
    forms: dict[str, dict[str, Any]] = {
        "organization": {
            "name": whole["name"], "id": whole["id"], "type": whole["type"], "organization_oid": whole["organization_oid"],
            "assigning_authority": HOSPITAL_AUTHORITY,
        },
        "agreement": {
            "purposes": ["TREAT", "BTG"], "other_purposes": "HQUALIMP", "scopes": "system/DocumentReference.crs\nITI-65",
            "agreement_start": "2026-01-01", "agreement_end": "", "labels_documents": "no",
            "users": "Practitioner/ada | Ada Moor | physician | TREAT",
        },
        "keys": {"jwks": json.dumps({"keys": [jwk(EC_P384, "clinic-1")]})},
        "endpoints": {"endpoints": ""},
    }  # fmt: skip
    return {"act": "save", **forms[part], **changes}


def version(url: str) -> str:
    return str(Onboarding.objects.get(pk=url.rstrip("/").split("/")[-2]).version)


def save(desk: Client, url: str, part: str, **changes: Any) -> Any:
    return desk.post(f"{url}?step={part}", filled(part, **changes) | {"version": version(url)})


def prepared(desk: Client) -> str:
    url, _ = invited(desk)
    for part in ("organization", "agreement", "keys", "endpoints"):
        assert save(desk, url, part).status_code == 302
    samples = {"assertion": assertion(), "bundle": json.dumps(provide_bundle())}
    assert desk.post(f"{url}?step=test", {"act": "test"} | samples).status_code == 302
    return url


def test_from_invitation_to_taking_part_by_two_people(as_role: Desk):
    desk, second = as_role("onboarding", username="ada"), as_role("onboarding", username="bo")
    url = prepared(desk)
    page = desk.get(f"{url}?step=test").content.decode()
    assert "fail</span>" not in page
    assert (
        desk.post(f"{url}?step=approval", {"act": "ask", "reason": "All there", "version": version(url)}).status_code
        == 302
    )
    own = desk.post(f"{url}?step=approval", {"act": "approve", "reason": "Mine", "version": version(url)})
    assert own.status_code == 422
    assert not Participant.objects.exists()
    assert (
        second.post(
            f"{url}?step=approval", {"act": "approve", "reason": "Looked at", "version": version(url)}
        ).status_code
        == 302
    )
    assert Participant.objects.get().pk == "org-clinic"
    assert "It takes part as org-clinic" in second.get(url).content.decode()


def test_each_act_and_look_is_in_the_log(as_role: Desk):
    desk = as_role("onboarding", username="ada")
    url, code = invited(desk)
    save(desk, url, "organization")
    Client().post("/join/", {"code": code})
    Client().post("/join/", {"code": "AAAA"})
    acts = [event.detail.get("act") for event in AuditEvent.objects.filter(kind="directory-changed").order_by("at")]
    assert [act for act in acts if act != "looked"] == ["invited", "saved", "code-used"]
    assert "looked" in acts
    assert AuditEvent.objects.filter(kind="login-failed", client="onboarding").count() == 1
    assert code not in json.dumps([event.detail for event in AuditEvent.objects.all()])


def test_the_code_is_shown_once(as_role: Desk):
    desk = as_role("onboarding")
    url, code = invited(desk)
    assert code not in desk.get(f"{url}?step=invitation").content.decode()
    answer = desk.post(f"{url}?step=invitation", {"act": "code"})
    assert re.search(r"<code>[A-Z0-9-]{19}</code>", desk.get(answer["Location"].partition("#")[0]).content.decode())
    assert Client().post("/join/", {"code": code}).status_code == 422


def test_what_cannot_be_kept_stays_in_the_form_and_is_told_at_its_field(as_role: Desk):
    desk = as_role("onboarding")
    url, _ = invited(desk)
    answer = save(desk, url, "organization", organization_oid="clinic")
    page = html.unescape(answer.content.decode())
    people = html.unescape(save(desk, url, "agreement", users="Practitioner/ada | Ada Moor").content.decode())
    assert answer.status_code == 422
    assert '<a href="#organization_oid">OID of the organization: It must be an OID.</a>' in page
    assert '<a href="#users">People who use it: Line 1: role is missing.</a>' in people
    assert 'value="clinic"' in page
    assert "<title>Error:" in page
    keys = save(desk, url, "keys", jwks="{")
    assert "is not JSON" in keys.content.decode()
    endpoints = save(desk, url, "endpoints", endpoints="fhir https://a.example/fhir\nfax 123")
    assert "Line 2: kind must be one of" in html.unescape(endpoints.content.decode())


def test_a_form_shows_again_what_was_kept(as_role: Desk):
    desk = as_role("onboarding")
    url, _ = invited(desk)
    for part in ("organization", "agreement", "keys", "endpoints"):
        first = save(desk, url, part)
        assert first.status_code == 302
    before = Onboarding.objects.get().draft
    endpoint = "fhir https://a.example/fhir 2.999.1.2"
    save(desk, url, "endpoints", endpoints=endpoint)
    page = html.unescape(desk.get(f"{url}?step=agreement").content.decode())
    assert "HQUALIMP" in page
    assert 'value="TREAT" checked' in page
    assert endpoint in desk.get(f"{url}?step=endpoints").content.decode()
    save(desk, url, "endpoints")
    assert Onboarding.objects.get().draft == before


@pytest.mark.parametrize("role", ["steward", "auditor", "operator", "privacy-officer"])
def test_other_roles_neither_see_nor_begin_one(role: str, as_role: Desk):
    url, _ = invited(as_role("onboarding"))
    other = as_role(role, username="other")
    assert other.get(INVITE).status_code == 403
    assert other.post(INVITE, {"name": "X", "reason": "Y"}).status_code == 403
    assert other.get(url).status_code == 403
    assert other.post(url, {"act": "withdraw", "reason": "Y"}).status_code == 403
    assert other.get(url.replace("change/", "report.json")).status_code == 403
    assert Onboarding.objects.count() == 1


def test_the_organization_fills_in_its_own_and_tests_itself_and_no_more(as_role: Desk):
    desk = as_role("onboarding")
    url, code = invited(desk)
    other_url, _ = invited(desk, "Another Organization")
    own = Client()
    assert own.get("/join/organization")["Location"] == "/join/"
    assert own.post("/join/", {"code": code}).status_code == 302
    assert "Another Organization" not in own.get("/join/organization").content.decode()
    assert own.post("/join/organization", filled("organization") | {"version": "1"}).status_code == 302
    refused = own.post("/join/agreement", filled("agreement") | {"version": "2"})
    assert "purposes" not in Onboarding.objects.get(name="Osprey Fold Laboratory").draft
    assert refused.status_code == 200
    assert save(desk, url, "agreement").status_code == 302
    assert own.post("/join/keys", filled("keys") | {"version": version(url)}).status_code == 302
    assert own.post("/join/endpoints", filled("endpoints") | {"version": version(url)}).status_code == 302
    assert own.post("/join/test", {"assertion": assertion(drop=("jti",))}).status_code == 302
    page = own.get("/join/test").content.decode()
    assert "jti is missing" in page.lower()
    assert own.get("/join/report.json").json()["run"] == 1
    assert own.post("/join/test", {"assertion": assertion()}).status_code == 422
    assert "draft" not in own.get("/join/report.json").json()
    own.post("/join/leave")
    assert own.get("/join/keys")["Location"] == "/join/"
    assert other_url != url


def test_a_page_that_was_open_when_the_code_was_replaced_or_it_ended_leads_back(as_role: Desk):
    desk = as_role("onboarding")
    url, code = invited(desk)
    own = Client()
    own.post("/join/", {"code": code})
    desk.post(f"{url}?step=approval", {"act": "withdraw", "reason": "Changed their mind"})
    assert own.get("/join/organization")["Location"] == "/join/"
    assert own.post("/join/organization", filled("organization") | {"version": "1"})["Location"] == "/join/"


def test_a_code_that_was_replaced_shuts_out_who_came_in_by_it(as_role: Desk):
    desk = as_role("onboarding")
    url, code = invited(desk)
    own = Client()
    own.post("/join/", {"code": code})
    desk.post(f"{url}?step=invitation", {"act": "code"})
    assert own.get("/join/organization")["Location"] == "/join/"
    assert own.post("/join/organization", filled("organization") | {"version": "1"})["Location"] == "/join/"
    assert Onboarding.objects.get().version == 1


def test_the_second_person_approves_what_he_saw_and_nothing_newer(as_role: Desk):
    desk, second = as_role("onboarding", username="ada"), as_role("onboarding", username="bo")
    url = prepared(desk)
    desk.post(f"{url}?step=approval", {"act": "ask", "reason": "All there", "version": version(url)})
    seen = version(url)
    desk.post(f"{url}?step=approval", {"act": "send-back", "reason": "One more"})
    save(desk, url, "agreement", users="Practitioner/other | Cy Other | physician")
    desk.post(f"{url}?step=test", {"act": "test", "assertion": assertion(), "bundle": json.dumps(provide_bundle())})
    Onboarding.objects.update(state="waiting", asked_by="ada", asked_account=Onboarding.objects.get().begun_account)
    late = second.post(f"{url}?step=approval", {"act": "approve", "reason": "Looked at", "version": seen})
    assert late.status_code == 422
    assert "changed since you looked" in late.content.decode()
    assert not Participant.objects.exists()


@pytest.mark.parametrize(
    "jwks",
    ["5", "[1]", '"x"', "true", '{"keys": [{"kid": "a\\u0000"}]}', '{"keys": [{"kid": "a", "x": NaN}]}', "[" * 100_000],
)
def test_keys_that_are_none_are_told_and_not_kept(jwks: str, as_role: Desk):
    desk = as_role("onboarding")
    url, _ = invited(desk)
    assert save(desk, url, "keys", jwks=jwks).status_code == 422
    assert Onboarding.objects.get().version == 1


def test_names_and_reasons_that_cannot_be_kept_are_refused(as_role: Desk):
    desk = as_role("onboarding")
    for form in ({"name": "A\x00B", "reason": "Why"}, {"name": "AB", "reason": "W\x00hy"}):
        assert desk.post(INVITE, form).status_code == 422
    assert not Onboarding.objects.exists()


def test_the_organization_is_not_told_who_else_takes_part(as_role: Desk):
    registration.apply(file(clinic()))
    desk = as_role("onboarding")
    url, code = invited(desk)
    own = Client()
    own.post("/join/", {"code": code})
    form = filled("organization", id="org-new") | {"version": "1"}
    told = html.unescape(own.post("/join/organization", form).content.decode())
    assert "It is taken already." in told
    assert "org-clinic" not in told
    form = filled("organization", id="org-clinic", organization_oid="2.999.55", assigning_authority="") | {
        "version": "1"
    }
    told = html.unescape(own.post("/join/organization", form).content.decode())
    assert "It is taken already." in told
    assert "two people" not in told
    assert "org-clinic" in save(desk, url, "organization", id="org-new").content.decode()


def test_a_law_that_is_not_known_is_not_kept(as_role: Desk):
    desk = as_role("onboarding")
    url, _ = invited(desk)
    answer = save(desk, url, "agreement", jurisdiction="NOWHERE")
    assert answer.status_code == 422
    assert "no place whose law is known" in answer.content.decode()


def test_wrong_codes_are_counted(settings: Any):
    settings.REFUSED_TOKENS_PER_MINUTE = 3
    answers = [Client().post("/join/", {"code": f"WRONG-{n}"}).status_code for n in range(5)]
    assert answers[0] == 422
    assert answers[-1] == 429


def test_the_pages_run_no_script_and_are_kept_nowhere(as_role: Desk):
    desk = as_role("onboarding")
    url, code = invited(desk)
    own = Client()
    own.post("/join/", {"code": code})
    for answer in (own.get("/join/"), own.get("/join/organization"), desk.get(url), desk.get(INVITE)):
        assert "default-src 'none'" in answer["Content-Security-Policy"]
        assert "unsafe" not in answer["Content-Security-Policy"]
        assert "no-store" in answer["Cache-Control"]
        assert "<script" not in answer.content.decode()


def test_home_counts_those_that_wait_for_approval(as_role: Desk):
    desk = as_role("onboarding", username="ada")
    url = prepared(desk)
    assert "Organizations waiting for approval" in desk.get("/admin/").content.decode()
    desk.post(f"{url}?step=approval", {"act": "ask", "reason": "All there", "version": version(url)})
    page = desk.get("/admin/").content.decode()
    assert re.search(r'queue__n">1<.*?Organizations waiting for approval', page, re.DOTALL)


def test_the_list_shows_every_onboarding(as_role: Desk):
    desk = as_role("onboarding")
    invited(desk)
    assert "Osprey Fold Laboratory" in desk.get("/admin/directory/onboarding/").content.decode()
