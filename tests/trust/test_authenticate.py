"""A bearer token to a caller: checked now, cheaply, and never another's."""

from __future__ import annotations

import time
from datetime import timedelta

import jwt
import pytest
from django.test import Client, RequestFactory
from django.utils import timezone

from hie.directory import registration
from hie.directory.models import Agreement, Participant
from hie.trust import hub_keys, requests, tokens
from hie.trust.errors import NotAuthenticated
from tests.directory.forms import EC_P256, clinic, file
from tests.trust.conftest import b2b, token

pytestmark = [pytest.mark.django_db, pytest.mark.urls("hie.trust.urls"), pytest.mark.usefixtures("directory")]


def request(encoded: str, **headers: str):
    return RequestFactory().get("/", headers={"Authorization": f"Bearer {encoded}"} | headers)


def refused(encoded: str) -> str:
    with pytest.raises(NotAuthenticated) as error:
        tokens.authenticate(request(encoded))
    assert error.value.www_authenticate.startswith("Bearer")
    return error.value.reason


def test_a_token_costs_one_statement_and_little_time(django_assert_num_queries):
    encoded = token()
    tokens.authenticate(request(encoded))
    asked = request(encoded)
    with django_assert_num_queries(1):
        tokens.authenticate(asked)
    started = time.process_time()
    for _ in range(50):
        tokens.authenticate(asked)
    assert (time.process_time() - started) / 50 < 0.003


def test_suspension_bites_at_the_next_request_with_a_token_in_hand():
    encoded = token()
    assert tokens.authenticate(request(encoded)).participant_id == "org-clinic"
    registration.suspend("org-clinic", "x", "y")
    assert refused(encoded) == "the participant is not active"
    registration.reinstate("org-clinic", "x", "y")
    assert tokens.authenticate(request(encoded)).participant_id == "org-clinic"


def test_a_long_answer_can_ask_again_whether_its_caller_is_still_active():
    caller = tokens.authenticate(request(token()))
    tokens.recheck(caller)
    registration.suspend("org-clinic", "x", "y")
    with pytest.raises(NotAuthenticated):
        tokens.recheck(caller)


def test_a_refused_token_is_audited_with_its_client_and_a_flood_is_not(settings):
    from hie.audit.models import AuditEvent

    settings.REFUSED_TOKENS_PER_MINUTE = 3
    encoded = token()
    registration.suspend("org-clinic", "x", "y")
    before = AuditEvent.objects.count()
    refused(encoded)
    assert AuditEvent.objects.count() == before + 1
    for _ in range(9):
        refused("garbage")
    assert AuditEvent.objects.count() == before + 3


@pytest.mark.parametrize(("path", "face"), [("/fhir/Patient", "fhir"), ("/api/queries", "rest"), ("/oauth/x", "oauth")])
def test_the_door_is_told_from_the_path(path, face):
    asked = RequestFactory().get(path, headers={"Authorization": f"Bearer {token()}"})
    assert tokens.authenticate(asked).face == face


def test_an_agreement_that_ends_ends_the_token():
    encoded = token()
    Agreement.objects.filter(participant="org-clinic").update(end="2026-01")
    assert refused(encoded) == "the participant is not active"


def test_suspending_the_hospital_or_the_ward_ends_the_wards_token():
    encoded = token("org-hospital", extensions={"hl7-b2b": b2b(organization_id="urn:oid:2.999.10.2.9")})
    registration.suspend("org-hospital-ward", "x", "y")
    assert refused(encoded) == "the organization is not active"
    registration.reinstate("org-hospital-ward", "x", "y")
    registration.suspend("org-hospital", "x", "y")
    assert refused(encoded) == "the participant is not active"


def test_a_client_renamed_or_gone_ends_its_token():
    encoded = token()
    registration.apply(file(clinic(client_id="another")))
    assert refused(encoded) == "the client is no longer registered"
    Participant.objects.filter(pk="org-clinic").delete()
    assert refused(encoded) == "the client is no longer registered"


def test_a_scope_taken_from_the_registration_is_gone_from_the_token():
    encoded = token(scope="system/Patient.rs system/DocumentReference.rs")
    registration.apply(file(clinic(scopes=["system/Patient.rs"])))
    assert tokens.authenticate(request(encoded)).scopes == {"system/Patient.rs"}


def remade(encoded: str, *, key=None, algorithm: str = "ES256", headers: dict | None = None, **changes) -> str:
    """The token again with one thing changed, signed by the hub's own key unless told."""
    claims = jwt.decode(encoded, options={"verify_signature": False}) | changes
    ours = hub_keys.signing_key(hub_keys.Ring.TOKENS)
    return jwt.encode(
        {name: value for name, value in claims.items() if value is not None},
        ours.private if key is None else key,
        algorithm=algorithm,
        headers={"kid": ours.kid, "typ": "at+jwt"} | (headers or {}),
    )


# An instant is told in seconds from now: a run may take long between collecting a test and running it.
BROKEN = {
    "expired": ({"exp": -1}, "the token has expired"),
    "not-yet": ({"nbf": 600}, "not one of our tokens"),
    "other-issuer": ({"iss": "https://evil.example"}, "not one of our tokens"),
    "other-audience": ({"aud": "https://other.example"}, "not one of our tokens"),
    "no-jti": ({"jti": None}, "not one of our tokens"),
    "other-key": ({"key": EC_P256}, "not one of our tokens"),
    "hs256-with-public-key": ({"key": "k" * 64, "algorithm": "HS256"}, "not one of our tokens"),
    "unknown-kid": ({"headers": {"kid": "20200101T000000000000Z-x"}}, "not one of our tokens"),
    "not-an-access-token": ({"headers": {"typ": "JWT"}}, "not one of our tokens"),
}


@pytest.mark.parametrize(("broken", "why"), BROKEN.values(), ids=BROKEN)
def test_a_token_with_one_thing_wrong_is_refused(broken, why):
    encoded = token()
    assert tokens.authenticate(request(remade(encoded))).participant_id == "org-clinic"
    now = int(time.time())
    changed = {name: now + value if name in ("exp", "nbf") else value for name, value in broken.items()}
    assert refused(remade(encoded, **changed)) == why


def test_a_token_seen_before_ends_at_its_time_too(monkeypatch):
    encoded = token()
    assert tokens.authenticate(request(encoded)).participant_id == "org-clinic"
    later = time.time() + 301
    monkeypatch.setattr(tokens.time, "time", lambda: later)
    assert refused(encoded) == "the token has expired"


@pytest.mark.parametrize("header", ["", "Basic eDp5", "Bearer", "Bearer  ", "bearerx y"])
def test_no_bearer_token_is_refused_without_an_error_code(header):
    with pytest.raises(NotAuthenticated) as error:
        tokens.authenticate(RequestFactory().get("/", headers={"Authorization": header}))
    assert error.value.www_authenticate == 'Bearer realm="hie"'


@pytest.mark.parametrize("garbage", ["x", "a.b.c", "x" * 20_000, "..", "é"])
def test_garbage_is_refused(garbage):
    assert refused(garbage)


def test_tokens_of_the_key_before_stay_good_for_the_overlap(monkeypatch):
    encoded = token()
    old = hub_keys.signing_key(hub_keys.Ring.TOKENS)
    new = hub_keys.rotate(hub_keys.Ring.TOKENS)
    assert hub_keys.signing_key(hub_keys.Ring.TOKENS).kid == new.kid != old.kid
    assert tokens.authenticate(request(encoded)).participant_id == "org-clinic"
    monkeypatch.setitem(hub_keys._OVERLAP, hub_keys.Ring.TOKENS, timedelta(0))
    hub_keys._held.clear()
    assert refused(encoded) == "not one of our tokens"


def test_keys_are_kept_for_the_owner_alone_and_published_without_private_parts():
    token()
    [path] = (hub_keys._folder(hub_keys.Ring.TOKENS)).iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    answer = Client().get("/jwks").json()
    assert {key["alg"] for key in answer["keys"]} == {"ES256", "ES384"}
    assert not any("d" in key for key in answer["keys"])


def introspect(bearer: str, asked: str):
    return Client().post(
        "/introspect",
        f"token={asked}",
        content_type="application/x-www-form-urlencoded",
        headers={"Authorization": f"Bearer {bearer}"},
    )


def test_introspection_tells_a_participant_of_its_own_tokens_only():
    mine, theirs = token(), token("org-hospital", extensions={})
    assert introspect(mine, mine).json()["active"] is True
    assert introspect(mine, mine).json()["client_id"] == "org-clinic"
    assert introspect(mine, theirs).json() == {"active": False}
    assert introspect(mine, "garbage").json() == {"active": False}
    assert introspect("garbage", mine).status_code == 401
    registration.apply(file(clinic(scopes=["introspect"])))
    assert introspect(token(scope="introspect"), theirs).json()["active"] is True
    registration.suspend("org-hospital", "x", "y")
    assert introspect(token(scope="introspect"), theirs).json() == {"active": False}


def test_the_request_id_is_echoed_when_usable_and_made_when_not():
    encoded = token()
    assert tokens.authenticate(request(encoded, **{"X-Request-Id": "abc-1"})).request_id == "abc-1"
    made = tokens.authenticate(request(encoded, **{"X-Request-Id": "a b\nc"})).request_id
    assert len(made) == 36


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "garbage", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
    ],
)
def test_only_trusted_proxies_say_where_a_caller_is(settings, peer, forwarded, address):
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    asked = RequestFactory().get("/", headers={"X-Forwarded-For": forwarded}, REMOTE_ADDR=peer)
    assert requests.network_address(asked) == address


def test_marks_of_ended_assertions_are_swept():
    from hie.trust import assertions
    from hie.trust.models import UsedAssertion

    token()
    assert assertions.forget_ended(timezone.now()) == 0
    assert assertions.forget_ended(timezone.now() + timedelta(minutes=10)) == 1
    assert not UsedAssertion.objects.exists()
