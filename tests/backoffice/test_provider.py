"""Staff sign in through their organization's provider: to an account that is there, and to the second factor all the same."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from hie.audit.models import AuditEvent
from hie.trust import client_keys, provider
from tests.backoffice.conftest import PASSWORD
from tests.portal.conftest import alice  # noqa: F401 - a fixture
from tests.portal.test_provider import Small, away, small  # noqa: F401 - a fixture

SECOND = "/admin/second-factor/"


@pytest.fixture
def theirs(small: Small, settings: Any) -> Small:  # noqa: F811
    """The provider of staff, who are called ida there."""
    settings.STAFF_OIDC = settings.PATIENT_OIDC | {"claim": "preferred_username", "name": "Clinic ID"}
    User.objects.create_user("ida", password=PASSWORD, is_staff=True)
    small.lies = {"preferred_username": "ida"}
    provider.forget()
    client_keys.forget()
    return small


def trip(theirs: Small, client: Client, **changes: str) -> Any:
    asked = away(client, "/admin/provider/")
    assert asked["redirect_uri"].endswith("/admin/provider/back/")
    assert asked["code_challenge_method"] == "S256"
    return client.get("/admin/provider/back/", {"code": theirs.code(asked), "state": asked["state"]} | changes)


def test_who_comes_from_the_provider_gives_the_second_factor_too(theirs: Small) -> None:
    client = Client()
    assert "Sign in through Clinic ID" in client.get("/admin/login/").content.decode()
    assert trip(theirs, client)["Location"] == SECOND
    assert client.get("/admin/").status_code == 302
    assert "Set up your second factor" in client.get(SECOND).content.decode()


@pytest.mark.parametrize(
    "lie",
    [
        {"preferred_username": "nobody"},
        {"preferred_username": None},
        {"preferred_username": ["ida"]},
        {"aud": "somebody-else"},
        {"iss": "https://evil.example"},
        {"nonce": "another"},
        {"exp": 1},
        {"azp": "other"},
    ],
)
def test_a_token_that_does_not_hold_and_a_name_without_account_let_nobody_in(
    theirs: Small, lie: dict[str, Any]
) -> None:
    theirs.lies = theirs.lies | lie
    client = Client()
    answer = trip(theirs, client)
    assert answer["Location"] == "/admin/login/?provider=wrong"
    assert "That did not work at Clinic ID" in client.get(answer["Location"]).content.decode()
    assert client.get(SECOND)["Location"].startswith("/admin/login/")
    assert AuditEvent.objects.filter(kind="login-failed", reason="provider").count() == 1
    assert User.objects.count() == 1


@pytest.mark.parametrize("changes", [{"state": "x"}, {"code": "guessed"}, {"error": "access_denied"}])
def test_what_comes_back_must_be_what_went_away(theirs: Small, changes: dict[str, str]) -> None:
    client = Client()
    assert trip(theirs, client, **changes)["Location"] == "/admin/login/?provider=wrong"
    assert client.get(SECOND)["Location"].startswith("/admin/login/")


def test_a_closed_account_and_one_that_is_no_staff_stay_out(theirs: Small) -> None:
    User.objects.update(is_active=False)
    assert trip(theirs, Client())["Location"] == "/admin/login/?provider=wrong"
    User.objects.update(is_active=True, is_staff=False)
    assert trip(theirs, Client())["Location"] == "/admin/login/?provider=wrong"


def test_without_a_provider_of_staff_there_is_no_such_way_and_the_password_still_works(db: None) -> None:
    User.objects.create_user("ida", password=PASSWORD, is_staff=True)
    client = Client()
    for address in ("/admin/provider/", "/admin/provider/back/"):
        assert client.get(address).status_code == 404
    assert client.post("/admin/login/", {"username": "ida", "password": PASSWORD})["Location"] == SECOND
