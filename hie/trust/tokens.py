"""A bearer token to a `Caller`, checked against the directory at this moment.

Source: RFC 6750; RFC 9068; IUA [72]; issue 2, "Trust": a suspended participant is refused with a token in hand.
"""

from __future__ import annotations

from typing import Any

import jwt
from django.http import HttpRequest
from django.utils import timezone

from hie.directory import queries
from hie.directory.queries import Directory
from hie.standards.facts import Caller
from hie.trust import hub_keys, scopes
from hie.trust.addresses import base_url, fhir_base
from hie.trust.errors import NotAuthenticated
from hie.trust.requests import network_address, request_id

MAX_LENGTH = 16_384


def authenticate(request: HttpRequest, *, face: str = "fhir") -> Caller:
    """The caller of a request with ``Authorization: Bearer``; one statement when the directory did not change.

    The token must be ours, in force and meant for us; the participant, its agreement, its client and the
    organization acting must be active now. Scopes are those of the token that are still registered.

    Raises:
        NotAuthenticated: 401; its `www_authenticate` is the header to answer with.
    """
    header = request.headers.get("Authorization", "")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotAuthenticated("no bearer token", 'Bearer realm="hie"')
    claims = verified_claims(token.strip())
    return caller_of(
        claims,
        queries.snapshot(),
        network_address=network_address(request),
        request_id=request_id(request),
        face=face,
    )


def verified_claims(token: str) -> dict[str, Any]:
    """The claims of one of our access tokens: signature, exp, nbf, iss and aud hold.

    Raises:
        NotAuthenticated: they do not.
    """
    if len(token) > MAX_LENGTH:
        raise NotAuthenticated("the token is too long")
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        raise NotAuthenticated("not one of our tokens") from error
    kid = header.get("kid")
    key = hub_keys.verifying_key(hub_keys.Ring.TOKENS, kid) if isinstance(kid, str) else None
    if key is None or header.get("alg") != key.algorithm or header.get("typ") != "at+jwt":
        raise NotAuthenticated("not one of our tokens")
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key.public,
            algorithms=[key.algorithm],
            audience=[base_url(), fhir_base()],
            issuer=base_url(),
            # `iat` is not held against our clock: another host of this hub may be a moment ahead.
            options={
                "require": ["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope"],
                "verify_iat": False,
            },
        )
    except jwt.ExpiredSignatureError as error:
        raise NotAuthenticated("the token has expired") from error
    except jwt.PyJWTError as error:
        raise NotAuthenticated("not one of our tokens") from error
    return claims


def caller_of(
    claims: dict[str, Any], directory: Directory, *, network_address: str, request_id: str, face: str
) -> Caller:
    """The caller that verified claims name, as the directory stands now.

    Raises:
        NotAuthenticated: the client is gone or another's, or participant or organization is not active.
    """
    now = timezone.now()
    client = directory.clients.get(claims["client_id"])
    hie = claims.get("extensions", {}).get("hie", {})
    participant_id, organization_id = hie.get("participant", ""), hie.get("organization", "")
    if client is None or client.participant_id != participant_id:
        raise NotAuthenticated("the client is no longer registered")
    if not directory.is_active(participant_id, now):
        raise NotAuthenticated("the participant is not active")
    if organization_id != participant_id and not (
        directory.within(organization_id, participant_id) and directory.is_active(organization_id, now)
    ):
        raise NotAuthenticated("the organization is not active")
    iua = claims["extensions"].get("ihe_iua", {})
    return Caller(
        participant_id=participant_id,
        organization_id=organization_id,
        client_id=client.client_id,
        user_id=iua.get("person_id", ""),
        user_name=iua.get("subject_name", ""),
        role=_first_code(iua.get("subject_role")),
        purpose=_first_code(iua.get("purpose_of_use")),
        organization_name=iua.get("subject_organization", ""),
        organization_oid=iua.get("subject_organization_id", "").removeprefix("urn:oid:"),
        relationship=hie.get("relationship"),
        care_teams=tuple(hie.get("care_teams", ())),
        on_behalf_of=hie.get("on_behalf_of"),
        scopes=frozenset(scopes.granted(tuple(claims["scope"].split()), client.scopes)),
        token_id=claims["jti"],
        intermediary_id=hie.get("intermediary"),
        network_address=network_address,
        request_id=request_id,
        face=face,
    )


def _first_code(codings: Any) -> str | None:
    return codings[0].get("code") if codings else None
