"""A bearer token to a `Caller`, checked against the directory at this moment.

Source: RFC 6750; RFC 9068; IUA [72]; issue 2, "Trust": a suspended participant is refused with a token in hand.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import Any

import jwt
from django.http import HttpRequest
from django.utils import timezone

from hie.directory import queries
from hie.directory.queries import ClientFacts, Directory
from hie.standards.facts import Caller
from hie.trust import hub_keys, refusals, scopes
from hie.trust.addresses import base_url, fhir_base
from hie.trust.errors import NotAuthenticated
from hie.trust.requests import network_address, request_id

MAX_LENGTH = 16_384
_FACES = (("/api", "rest"), ("/oauth", "oauth"), ("/consent", "consent"))


def authenticate(request: HttpRequest, *, face: str | None = None) -> Caller:
    """The caller of a request with ``Authorization: Bearer``; one statement when the directory did not change.

    The token must be ours, in force and meant for us; the participant, its agreement, its client and the
    organization acting must be active now. Scopes are those of the token that are still registered.
    `face` names the door; by default it is told from the path. A token that is refused is audited.

    Raises:
        NotAuthenticated: 401; its `www_authenticate` is the header to answer with.
    """
    header = request.headers.get("Authorization", "")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotAuthenticated("no bearer token", 'Bearer realm="hie"')
    address, this_request, door = network_address(request), request_id(request), face or _face(request.path)
    claims: dict[str, Any] = {}
    try:
        claims = verified_claims(token.strip())
        return caller_of(claims, queries.snapshot(), network_address=address, request_id=this_request, face=door)
    except NotAuthenticated as refused:
        refusals.record(
            refused.reason,
            client_id=claims.get("client_id", ""),
            participant_id=claims.get("extensions", {}).get("hie", {}).get("participant"),
            network_address=address,
            request_id=this_request,
            face=door,
        )
        raise


def recheck(caller: Caller) -> None:
    """Hold a caller against the directory again, within a long answer; one statement.

    Raises:
        NotAuthenticated: its participant, organization or client is not active any more.
    """
    directory = queries.snapshot()
    if caller.token_id:
        _check_client(directory, caller.client_id, caller.participant_id)
    _check_active(directory, caller.participant_id, caller.organization_id)


def _check_client(directory: Directory, client_id: str, participant_id: str) -> ClientFacts:
    client = directory.clients.get(client_id)
    if client is None or client.participant_id != participant_id:
        raise NotAuthenticated("the client is no longer registered")
    return client


def _check_active(directory: Directory, participant_id: str, organization_id: str) -> None:
    now = timezone.now()
    if not directory.is_active(participant_id, now):
        raise NotAuthenticated("the participant is not active")
    if organization_id != participant_id and not (
        directory.within(organization_id, participant_id) and directory.is_active(organization_id, now)
    ):
        raise NotAuthenticated("the organization is not active")


def _face(path: str) -> str:
    return next((name for prefix, name in _FACES if path.startswith(prefix)), "fhir")


@dataclass(frozen=True, slots=True)
class _Verified:
    claims: dict[str, Any]
    kid: str
    issuer: str
    until: float


# Signatures already checked, by digest of the token: a client uses one token for minutes. Its end and
# the standing of its key are asked again at every use, and who it names is looked up in the directory.
_verified: dict[bytes, _Verified] = {}
_MAX_VERIFIED = 4096


def verified_claims(token: str) -> dict[str, Any]:
    """The claims of one of our access tokens: signature, exp, nbf, iss and aud hold. To be read, not changed.

    Raises:
        NotAuthenticated: they do not.
    """
    if len(token) > MAX_LENGTH:
        raise NotAuthenticated("the token is too long")
    digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
    held = _verified.get(digest)
    if (
        held is not None
        and held.issuer == base_url()
        and hub_keys.verifying_key(hub_keys.Ring.TOKENS, held.kid) is not None
    ):
        if held.until <= time.time():
            raise NotAuthenticated("the token has expired")
        return held.claims
    claims, kid = _verify(token)
    if len(_verified) >= _MAX_VERIFIED:
        _verified.clear()
    _verified[digest] = _Verified(claims, kid, base_url(), claims["exp"])
    return claims


def _verify(token: str) -> tuple[dict[str, Any], str]:
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError) as error:
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
    return claims, key.kid


def caller_of(
    claims: dict[str, Any], directory: Directory, *, network_address: str, request_id: str, face: str
) -> Caller:
    """The caller that verified claims name, as the directory stands now.

    Raises:
        NotAuthenticated: the client is gone or another's, or participant or organization is not active.
    """
    hie = claims.get("extensions", {}).get("hie", {})
    participant_id, organization_id = hie.get("participant", ""), hie.get("organization", "")
    client = _check_client(directory, claims["client_id"], participant_id)
    _check_active(directory, participant_id, organization_id)
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
