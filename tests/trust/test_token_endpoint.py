"""POST /oauth/token: real assertions, each refusal broken in exactly one place."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.db import connection
from django.test import Client, RequestFactory
from django.utils import timezone

from hie.directory import queries, registration
from hie.trust import assertions, tokens
from hie.trust.errors import TokenRefused
from hie.trust.models import UsedAssertion
from tests.directory.forms import EC_P256, EC_P384, clinic, file, jwk
from tests.trust.conftest import ask, assertion, b2b, token

pytestmark = [pytest.mark.django_db, pytest.mark.urls("hie.trust.urls"), pytest.mark.usefixtures("directory")]


def claims(encoded: str) -> dict:
    return jwt.decode(encoded, options={"verify_signature": False})


def caller(encoded: str):
    return tokens.authenticate(RequestFactory().get("/", headers={"Authorization": f"Bearer {encoded}"}))


@pytest.mark.parametrize("client", ["org-clinic", "org-hospital", "com-east"])
def test_a_good_assertion_gets_a_short_token_signed_es256(client):
    answer = ask(assertion(client, extensions={}))
    body = answer.json()
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    assert body["token_type"].lower() == "bearer"
    assert body["expires_in"] <= 300
    assert body["scope"] == "system/Patient.rs"
    assert jwt.get_unverified_header(body["access_token"])["alg"] == "ES256"
    assert claims(body["access_token"])["iss"] == "https://hub.example"


def test_the_caller_is_the_user_role_organization_and_purpose_stated():
    who = caller(token(extensions={"hl7-b2b": b2b(), "hie": {"relationship": "referral", "care_teams": ["ct-1"]}}))
    assert (who.participant_id, who.organization_id, who.client_id) == ("org-clinic", "org-clinic", "org-clinic")
    assert (who.user_id, who.user_name, who.role, who.purpose) == ("Practitioner/ada", "Ada Moor", "physician", "TREAT")
    assert (who.relationship, who.care_teams, who.organization_oid) == ("referral", ("ct-1",), "2.999.10.1")


def test_codes_may_carry_their_system_and_a_ward_may_act_under_its_hospital():
    stated = b2b(
        organization_id="urn:oid:2.999.10.2.9",
        purpose_of_use=["urn:oid:2.16.840.1.113883.5.8#ETREAT"],
        subject_role="http://example.org/roles#nurse",
    )
    who = caller(token("org-hospital", extensions={"hl7-b2b": stated}))
    assert (who.participant_id, who.organization_id) == ("org-hospital", "org-hospital-ward")
    assert (who.role, who.purpose, who.organization_name) == ("nurse", "ETREAT", "The Ward")


def test_ihe_iua_says_the_same_in_codings():
    iua = {
        "person_id": "Practitioner/ada",
        "subject_name": "Ada Moor",
        "subject_organization_id": "urn:oid:2.999.10.1",
        "subject_role": [{"system": "urn:x", "code": "physician"}],
        "purpose_of_use": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}],
    }
    who = caller(token(extensions={"ihe_iua": iua}))
    assert (who.user_id, who.role, who.purpose) == ("Practitioner/ada", "physician", "TREAT")


def test_without_an_extension_the_device_acts_with_the_defaults_of_the_registration():
    who = caller(token(extensions={}))
    assert (who.user_id, who.role, who.purpose) == ("Device/org-clinic", None, None)
    registration.apply(file(clinic(default_role="system", default_purpose="TREAT")))
    who = caller(token(extensions={}))
    assert (who.user_id, who.role, who.purpose) == ("Device/org-clinic", "system", "TREAT")


def test_a_role_not_stated_is_that_of_the_directory():
    assert caller(token(extensions={"hl7-b2b": b2b(subject_role=None)})).role == "physician"


def test_a_community_relays_for_an_organization_we_do_not_know():
    stated = b2b(organization_id="urn:oid:2.999.77.7", organization_name="Far Clinic")
    who = caller(token("com-east", extensions={"hl7-b2b": stated}))
    assert (who.organization_id, who.intermediary_id) == ("com-east", "com-east")
    assert (who.organization_name, who.organization_oid) == ("Far Clinic", "2.999.77.7")


OTHER = ec.generate_private_key(ec.SECP384R1())
NOW = int(time.time())
INVALID_CLIENT = {
    "expired": ({"iat": NOW - 200, "exp": NOW - 1}, "expired"),
    "lives-too-long": ({"iat": NOW, "exp": NOW + 3600}, "300 s after iat"),
    "from-the-future": ({"iat": NOW + 3600, "exp": NOW + 3700}, "future"),
    "not-yet": ({"nbf": NOW + 3600}, "future"),
    "exp-as-text": ({"exp": "soon"}, "iat, exp and nbf must be"),
    "other-audience": ({"aud": "https://other.example/oauth/token"}, "aud must be the token URL"),
    "second-audience": ({"aud": ["https://hub.example/oauth/token", "https://b.example"]}, "token URL alone"),
    "issuer-unknown": ({"iss": "org-nobody", "sub": "org-nobody"}, "not accepted"),
    "sub-differs": ({"sub": "org-hospital"}, "iss and sub"),
    "another-clients-name": ({"iss": "org-hospital", "sub": "org-hospital"}, "not accepted"),
    "no-jti": ({"drop": ("jti",)}, "jti"),
    "empty-jti": ({"jti": ""}, "jti"),
    "no-iat": ({"drop": ("iat",)}, "iat"),
    "no-exp": ({"drop": ("exp",)}, "exp"),
    "no-aud": ({"drop": ("aud",)}, "aud"),
    "wrong-signature": ({"key": OTHER}, "not accepted"),
    "unknown-kid": ({"header": {"kid": "clinic-9"}}, "not accepted"),
    "no-kid": ({"header": {"kid": ""}}, "kid is missing"),
    "typ": ({"header": {"typ": "at+jwt"}}, "typ must be JWT"),
    "jku-not-registered": ({"header": {"jku": "https://evil.example/jwks"}}, "jku"),
    "hs256": ({"key": "x" * 48, "algorithm": "HS256"}, "alg must be one of"),
    "none": ({"key": "", "algorithm": "none"}, "alg must be one of"),
    "es512": ({"key": ec.generate_private_key(ec.SECP521R1()), "algorithm": "ES512"}, "alg must be one of"),
    "another-curve": ({"key": EC_P256, "algorithm": "ES256"}, "not accepted"),
}


@pytest.mark.parametrize(("broken", "why"), INVALID_CLIENT.values(), ids=INVALID_CLIENT)
def test_an_assertion_with_one_fault_is_invalid_client(broken, why):
    answer = ask(assertion(**broken))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert why in answer.json()["error_description"]
    assert answer["Cache-Control"] == "no-store"


@pytest.mark.parametrize("garbage", ["", "x", "a.b.c", "." * 5000, "e30.e30.", "é.é.é"])
def test_garbage_is_invalid_client(garbage):
    answer = ask(garbage)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


HALF = "\ud800"


@pytest.mark.parametrize(
    "broken",
    [
        {"jti": HALF},
        {"iss": HALF, "sub": HALF},
        {"iss": "a\x00b", "sub": "a\x00b"},
        {"header": {"kid": HALF}},
        {"jti": "a\x00b"},
        {"extensions": {"hl7-b2b": b2b(subject_name=HALF)}},
        {"extensions": {"hl7-b2b": b2b(), "hie": {"care_teams": ["a\x00", HALF]}}},
    ],
    ids=["jti", "issuer", "issuer-nul", "kid", "jti-nul", "name", "teams"],
)
def test_half_characters_and_nul_in_an_assertion_are_refused_and_audited(broken):
    answer = ask(assertion(**broken))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


INVALID_REQUEST = {
    "two-purposes": {"hl7-b2b": b2b(purpose_of_use=["TREAT", "HPAYMT"])},
    "no-purpose": {"hl7-b2b": b2b(purpose_of_use=[])},
    "purpose-left-out": {"hl7-b2b": b2b(purpose_of_use=None)},
    "purpose-as-text": {"hl7-b2b": b2b(purpose_of_use="TREAT")},
    "purpose-of-another-system": {"hl7-b2b": b2b(purpose_of_use=["http://example.org#TREAT"])},
    "unknown-member": {"hl7-b2b": b2b(colour="blue")},
    "version": {"hl7-b2b": b2b(version="2")},
    "anothers-organization": {"hl7-b2b": b2b(organization_id="urn:oid:2.999.10.2")},
    "unknown-organization": {"hl7-b2b": b2b(organization_id="urn:oid:2.999.10.3")},
    "relationship": {"hl7-b2b": b2b(), "hie": {"relationship": "friend"}},
    "hie-member": {"hl7-b2b": b2b(), "hie": {"relation": "referral"}},
    "iua-purposes": {"ihe_iua": {"purpose_of_use": [{"code": "TREAT"}, {"code": "HPAYMT"}]}},
    "both": {"hl7-b2b": b2b(), "ihe_iua": {}},
    "not-an-object": {"hl7-b2b": ["TREAT"]},
    "number-as-name": {"hl7-b2b": b2b(subject_name=7)},
}


@pytest.mark.parametrize("extensions", INVALID_REQUEST.values(), ids=INVALID_REQUEST)
def test_a_statement_with_one_fault_is_invalid_request(extensions):
    answer = ask(assertion(extensions=extensions))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert ":" in answer.json()["error_description"]


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": None}, "unsupported_grant_type"),
        ({"client_assertion_type": "jwt"}, "invalid_client"),
        ({"client_id": "org-hospital"}, "invalid_client"),
        ({"scope": ""}, "invalid_scope"),
        ({"scope": "user/Patient.rs openid"}, "invalid_scope"),
        ({"scope": "system/Patient.rs?name=x"}, "invalid_scope"),
        ({"scope": ["system/Patient.rs", "system/List.rs"]}, "invalid_request"),
    ],
)
def test_a_form_with_one_fault_is_refused(form, error):
    assert ask(assertion(), **form).json()["error"] == error


def test_a_body_that_is_no_form_is_refused():
    answer = Client().post("/token", "{}", content_type="application/json")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"&".join(b"a%d=1" % n for n in range(5000)), "application/x-www-form-urlencoded"),
        (b"grant_type=%ff", "application/x-www-form-urlencoded; charset=latin-1"),
        (b"scope=" + b"x" * 70_000, "application/x-www-form-urlencoded"),
        (b"scope=%00", "application/x-www-form-urlencoded"),
    ],
    ids=["fields", "charset", "large", "nul"],
)
def test_a_form_that_cannot_be_read_is_an_oauth_error_not_a_page(body, kind):
    answer = Client().post("/token", body, content_type=kind)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_scopes_granted_are_those_asked_and_registered():
    registration.apply(file(clinic(scopes=["system/Patient.rs", "system/DocumentReference.cruds", "ITI-67"])))
    asked = "system/*.rs system/Patient.cud system/Patient.read ITI-67 ITI-65"
    assert ask(assertion(), scope=asked).json()["scope"].split() == [
        "system/Patient.rs",
        "system/DocumentReference.rs",
        "system/Patient.read",
        "ITI-67",
    ]


def test_an_assertion_is_good_once():
    encoded = assertion()
    assert ask(encoded).status_code == 200
    again = ask(encoded)
    assert (again.status_code, again.json()["error"]) == (401, "invalid_client")
    assert "used before" in again.json()["error_description"]


def test_an_assertion_is_spent_also_by_a_request_that_is_refused_for_its_scope():
    encoded = assertion()
    assert ask(encoded, scope="nothing").json()["error"] == "invalid_scope"
    assert "used before" in ask(encoded).json()["error_description"]


def test_of_many_uses_of_one_assertion_at_once_exactly_one_wins():
    encoded = assertion()
    proven = assertions.verify(encoded, queries.snapshot().clients, now=timezone.now())
    start = threading.Barrier(6)

    def use() -> bool:
        # Each thread has a connection of its own, so each insert is a real transaction against the others.
        start.wait()
        try:
            assertions.spend(proven)
            return True
        except TokenRefused as refused:
            assert refused.code == "invalid_client"  # noqa: PT017 - the loser's word
            return False
        finally:
            connection.close()

    def clean() -> None:
        try:
            UsedAssertion.objects.all().delete()
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        try:
            won = [future.result() for future in [pool.submit(use) for _ in range(6)]]
        finally:
            pool.submit(clean).result()
    assert sorted(won) == [False] * 5 + [True]


def test_a_suspended_participant_gets_no_token_and_is_told_so():
    registration.suspend("org-clinic", "x", "y")
    answer = ask(assertion())
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert "not active" in answer.json()["error_description"]


def test_a_ward_with_an_agreement_ended_gets_no_token_of_its_hospitals_client():
    registration.suspend("org-hospital-ward", "x", "y")
    stated = b2b(organization_id="urn:oid:2.999.10.2.9")
    assert ask(assertion("org-hospital", extensions={"hl7-b2b": stated})).json()["error"] == "invalid_client"


def test_two_keys_overlap_and_an_expired_or_early_one_is_refused():
    second = ec.generate_private_key(ec.SECP384R1())

    def with_second(**validity: int) -> int:
        keys = {"keys": [jwk(EC_P384, "clinic-1"), jwk(second, "clinic-2", **validity)]}
        registration.apply(file(clinic(jwks=keys)))
        assert ask(assertion()).status_code == 200
        return ask(assertion(key=second, header={"kid": "clinic-2"})).status_code

    assert with_second() == 200
    assert with_second(exp=NOW + 3600) == 200
    assert with_second(exp=NOW - 1) == 401
    assert with_second(nbf=NOW + 3600) == 401
    registration.apply(file(clinic(jwks={"keys": [jwk(second, "clinic-2")]})))
    assert ask(assertion()).status_code == 401


def test_refusals_and_issues_are_audited_with_client_and_reason():
    from hie.audit.models import AuditEvent

    ask(assertion())
    ask(assertion(exp=NOW - 1, iat=NOW - 100))
    kinds = list(AuditEvent.objects.order_by("pk").values_list("kind", flat=True))
    assert len(kinds) == 2
    assert kinds[0] != kinds[1]
