"""Access tokens: who gets one, and for what.

Source: RFC 6749 4.4 and 5; design.md "Token request"; spec/fhir.md 7; spec/consent.md 3 "Across communities".
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import jwt
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from hie.audit import recorder
from hie.directory import queries
from hie.directory.queries import ClientFacts
from hie.standards.facts import Caller
from hie.trust import acting, assertions, extensions, hub_keys, scopes
from hie.trust.addresses import base_url, fhir_base
from hie.trust.errors import TokenRefused

MAX_LIFETIME_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """What the token endpoint answers with."""

    access_token: str
    expires_in: int
    scope: str


def issue(form: Mapping[str, str], *, network_address: str, request_id: str) -> IssuedToken:
    """An access token for a client that proves itself by a signed assertion.

    The assertion is spent as soon as it is proven, whatever comes after. No token leaves before its
    issue is in the audit log.

    Raises:
        TokenRefused: unsupported_grant_type, invalid_client, invalid_scope or invalid_request.
    """
    now = timezone.now()
    if form.get("grant_type") != "client_credentials":
        raise TokenRefused("unsupported_grant_type", "grant_type must be client_credentials")
    if form.get("client_assertion_type") != assertions.ASSERTION_TYPE:
        raise TokenRefused("invalid_client", f"client_assertion_type must be {assertions.ASSERTION_TYPE}")
    directory = queries.snapshot()
    assertion = assertions.verify(form.get("client_assertion", ""), directory.clients, now=now)
    client = assertion.client
    if form.get("client_id", client.client_id) != client.client_id:
        raise _refuse(client, "invalid_client", "client_id is not the issuer of the assertion")
    # Committed at once: a request that is refused below must not give the assertion back.
    assertions.spend(assertion)
    participant = acting.participant(client, directory, now=now)
    try:
        stated = extensions.read(assertion.claims)
    except TokenRefused as refused:
        raise _refuse(client, refused.code, refused.description) from refused
    caller = acting.caller(stated, client, participant, directory, now=now)
    granted = scopes.granted(tuple(form.get("scope", "").split()), client.scopes)
    if not granted:
        raise _refuse(client, "invalid_scope", "no scope asked for is registered for this client")
    lifetime_s = min(int(getattr(settings, "ACCESS_TOKEN_LIFETIME_S", MAX_LIFETIME_S)), MAX_LIFETIME_S)
    caller = replace(
        caller,
        scopes=frozenset(granted),
        token_id=str(uuid.uuid4()),
        network_address=network_address,
        request_id=request_id,
        face="oauth",
    )
    token = encode(caller, granted, now=now, lifetime_s=lifetime_s)
    with transaction.atomic():
        recorder.token_issued(caller)
        assertions.accepted(assertion, caller.user_id, caller.organization_id, now=now)
    return IssuedToken(access_token=token, expires_in=lifetime_s, scope=" ".join(granted))


def encode(caller: Caller, granted: tuple[str, ...], *, now: datetime, lifetime_s: int) -> str:
    """The caller as an access token: a JWT signed ES256 by the hub's newest key."""
    key = hub_keys.signing_key(hub_keys.Ring.TOKENS)
    issued = int(now.timestamp())
    iua: dict[str, Any] = {
        "subject_name": caller.user_name,
        "subject_organization": caller.organization_name,
        "subject_organization_id": f"urn:oid:{caller.organization_oid}" if caller.organization_oid else "",
        "person_id": caller.user_id,
        "home_community_id": settings.HOME_COMMUNITY_ID,
    }
    if caller.role:
        iua["subject_role"] = [{"code": caller.role}]
    if caller.purpose:
        iua["purpose_of_use"] = [
            {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": caller.purpose}
        ]
    hie = {
        "participant": caller.participant_id,
        "organization": caller.organization_id,
        "relationship": caller.relationship,
        "care_teams": list(caller.care_teams),
        "on_behalf_of": caller.on_behalf_of,
        "intermediary": caller.intermediary_id,
    }
    claims = {
        "iss": base_url(),
        "sub": caller.client_id,
        "client_id": caller.client_id,
        "aud": [fhir_base(), base_url()],
        "iat": issued,
        "exp": issued + lifetime_s,
        "jti": caller.token_id,
        "scope": " ".join(granted),
        "extensions": {
            "ihe_iua": {member: value for member, value in iua.items() if value},
            "hie": {member: value for member, value in hie.items() if value},
        },
    }
    return jwt.encode(claims, key.private, algorithm=key.algorithm, headers={"kid": key.kid, "typ": "at+jwt"})


def _refuse(client: ClientFacts, code: str, description: str) -> TokenRefused:
    return TokenRefused(code, description, client_id=client.client_id, participant_id=client.participant_id)
