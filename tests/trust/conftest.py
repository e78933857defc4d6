"""A clinic, a hospital with a ward, a community; keys in a folder of the test; limits fresh."""

from __future__ import annotations

import time
import uuid
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from django.test import Client

from hie.directory import registration
from hie.trust import client_keys, clients, hub_keys, limits
from hie.trust.assertions import ASSERTION_TYPE
from tests.directory.forms import EC_P256, EC_P384, RSA_2048, clinic, community, file, hospital, ward
from tests.grounds import ground

KEYS = {
    "org-clinic": (EC_P384, "clinic-1", "ES384"),
    "org-hospital": (RSA_2048, "hospital-1", "RS384"),
    "com-east": (EC_P256, "east-1", "ES256"),
}
TOKEN_URL = "https://hub.example/oauth/token"


@pytest.fixture(autouse=True)
def hub(settings, tmp_path):
    settings.BASE_URL = "https://hub.example"
    settings.HUB_KEYS_DIR = tmp_path / "hub-keys"
    settings.ALLOWED_HOSTS = ["*"]
    settings.SECURE_SSL_REDIRECT = False
    for key in limits._redis().scan_iter("hie:limit:*"):
        limits._redis().delete(key)
    hub_keys._held.clear()
    client_keys.forget()
    clients._tokens.clear()
    clients._endpoints.clear()


@ground
def directory() -> None:
    """All four in the directory."""
    register()


def register(*more: dict[str, Any]) -> None:
    registration.apply(file(clinic(), hospital(), ward(), community(), *more))


def b2b(**changes: Any) -> dict[str, Any]:
    """The hl7-b2b extension of Dr Moor at the clinic, for treatment; `None` leaves a member out."""
    whole = {
        "version": "1",
        "subject_id": "Practitioner/ada",
        "subject_name": "Ada Moor",
        "subject_role": "physician",
        "organization_id": "urn:oid:2.999.10.1",
        "organization_name": "The Clinic",
        "purpose_of_use": ["TREAT"],
    } | changes
    return {member: value for member, value in whole.items() if value is not None}


def assertion(
    client: str = "org-clinic",
    *,
    extensions: dict[str, Any] | None = None,
    header: dict[str, Any] | None = None,
    key: Any = None,
    algorithm: str | None = None,
    drop: tuple[str, ...] = (),
    **claims: Any,
) -> str:
    """A good assertion, but for what the test breaks."""
    own_key, kid, own_algorithm = KEYS[client]
    now = int(time.time())
    whole = {
        "iss": client,
        "sub": client,
        "aud": TOKEN_URL,
        "iat": now,
        "exp": now + 120,
        "jti": str(uuid.uuid4()),
        "extensions": extensions if extensions is not None else {"hl7-b2b": b2b()},
    } | claims
    whole = {claim: value for claim, value in whole.items() if claim not in drop}
    return jwt.encode(
        whole,
        own_key if key is None else key,
        algorithm=algorithm or own_algorithm,
        headers={"kid": kid, "typ": "JWT"} | (header or {}),
    )


def ask(encoded: str, *, scope: str = "system/Patient.rs", **form: Any) -> Any:
    """POST a token request."""
    body = {
        "grant_type": "client_credentials",
        "scope": scope,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": encoded,
    } | form
    data = urlencode({name: value for name, value in body.items() if value is not None}, doseq=True)
    return Client().post("/token", data, content_type="application/x-www-form-urlencoded")


def token(client: str = "org-clinic", *, scope: str = "system/*.cruds", **changes: Any) -> str:
    """An access token; fails when the hub gives none."""
    answer = ask(assertion(client, **changes), scope=scope)
    assert answer.status_code == 200, answer.content
    return str(answer.json()["access_token"])
