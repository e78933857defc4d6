"""This hub as a client of other communities: an access token for a peer's endpoint.

The peer's token endpoint is read from its SMART configuration; this hub proves itself by an assertion
signed with its client key (published at ``/oauth/jwks``) and says for whom it asks: user, role,
organization and exactly one purpose (hl7-b2b). Tokens are held per process until shortly before they
end, one for each (endpoint, who, why): a token made for one user never carries another's question.

Source: SMART backend services; UDAP Security B2B; design.md "Token request".
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit
from weakref import WeakKeyDictionary

import httpx
import jwt
import orjson
from django.conf import settings

from hie.standards.facts import Caller, EndpointFacts
from hie.trust import hub_keys, server_certificates
from hie.trust.assertions import ASSERTION_TYPE
from hie.trust.errors import PeerRefused
from hie.trust.peer_session import PeerGarbled, PeerSession

TIMEOUT_S = 5.0
MAX_BYTES = 64 * 1024
SCOPES = "system/Patient.rs system/DocumentReference.rs system/List.rs system/Binary.r"
_DISCOVERED_S = 3600.0
_EARLY_S = 30.0
_ASSERTION_S = 120
_MAX_HELD = 5000
_JOINED_S = 1.0
_GIVEN_UP_S = 180.0


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    until: float  # monotonic


_endpoints: dict[str, tuple[str, float]] = {}
_tokens: dict[tuple[Any, ...], _Token] = {}
_lock = threading.Lock()


def client_id() -> str:
    """The client id under which peers know this hub: ``HUB_CLIENT_ID``, by default its home community id."""
    return str(getattr(settings, "HUB_CLIENT_ID", "") or settings.HOME_COMMUNITY_ID)


def token_for(endpoint: EndpointFacts, purpose: str, caller: Caller, *, timeout_s: float = TIMEOUT_S) -> str:
    """An access token of this hub at a peer, speaking for `caller` with `purpose`.

    Raises:
        PeerRefused: the peer did not answer in time, answered nonsense, or refused.
    """
    key = _key(endpoint, purpose, caller)
    if (held := _held(key)) is not None:
        return held
    try:
        with httpx.Client(
            timeout=timeout_s, follow_redirects=False, trust_env=False, verify=server_certificates.trusted()
        ) as session:
            address = _known_token_endpoint(endpoint)
            if address is None:
                status, body = _sync(session, "GET", _configuration_url(endpoint))
                address = _remember_token_endpoint(endpoint, status, body)
            status, body = _sync(session, "POST", address, _form(address, purpose, caller))
    except httpx.HTTPError as error:
        raise PeerRefused(endpoint.participant_id, type(error).__name__) from error
    return _remember(key, endpoint, status, body)


async def token_for_async(
    session: PeerSession,
    endpoint: EndpointFacts,
    purpose: str,
    caller: Caller,
    *,
    timeout_s: float = TIMEOUT_S,
) -> str:
    """`token_for` on an event loop, over the caller's session; the deadline covers both steps.

    Raises:
        PeerRefused: the peer did not answer in time, answered nonsense, or refused.
    """
    key = _key(endpoint, purpose, caller)
    if (held := _held(key)) is not None:
        return held
    # Twenty questions at once to one community wait for one token, not for twenty. A request that has hung for a
    # while is not joined: the peer may be back.
    under_way = _asking.setdefault(session, {})
    asking, since = under_way.get(key, (None, 0.0))
    if asking is None or time.monotonic() - since > _JOINED_S:
        asking = asyncio.ensure_future(_fetch(session, endpoint, purpose, caller))
        under_way[key] = (asking, time.monotonic())
        asking.add_done_callback(partial(_settled, under_way, key))
    try:
        async with asyncio.timeout(timeout_s):
            # Who gives up waiting does not take the token from the others.
            status, body = await asyncio.shield(asking)
    except (PeerGarbled, TimeoutError, OSError) as error:
        raise PeerRefused(endpoint.participant_id, type(error).__name__) from error
    return _remember(key, endpoint, status, body)


_UnderWay = dict[tuple[Any, ...], tuple[asyncio.Future[tuple[int, bytes]], float]]
_asking: WeakKeyDictionary[PeerSession, _UnderWay] = WeakKeyDictionary()


def _settled(under_way: _UnderWay, key: tuple[Any, ...], done: asyncio.Future[tuple[int, bytes]]) -> None:
    """Forget a request that ended, and look at its outcome, also when nobody waits for it any more."""
    if under_way.get(key, (None,))[0] is done:
        del under_way[key]
    if not done.cancelled():
        done.exception()


async def _fetch(session: PeerSession, endpoint: EndpointFacts, purpose: str, caller: Caller) -> tuple[int, bytes]:
    """What the peer's token endpoint answers; one that never does is given up after `_GIVEN_UP_S`."""
    async with asyncio.timeout(_GIVEN_UP_S):
        address = _known_token_endpoint(endpoint)
        if address is None:
            status, body = await _async(session, "GET", _configuration_url(endpoint))
            address = _remember_token_endpoint(endpoint, status, body)
        return await _async(session, "POST", address, _form(address, purpose, caller))


def forget(endpoint: EndpointFacts) -> None:
    """Drop what is held for a peer: call it when the peer answered 401 to a token from here."""
    with _lock:
        _endpoints.pop(endpoint.url, None)
        for key in [key for key in _tokens if key[0] == endpoint.url]:
            del _tokens[key]


def _key(endpoint: EndpointFacts, purpose: str, caller: Caller) -> tuple[Any, ...]:
    return (
        endpoint.url,
        client_id(),
        purpose,
        caller.user_id,
        caller.user_name,
        caller.role,
        caller.organization_oid,
        caller.organization_name,
        caller.relationship,
        caller.care_teams,
        caller.on_behalf_of,
    )


def _held(key: tuple[Any, ...]) -> str | None:
    held = _tokens.get(key)
    return held.value if held is not None and time.monotonic() < held.until else None


def _configuration_url(endpoint: EndpointFacts) -> str:
    return f"{endpoint.url.rstrip('/')}/.well-known/smart-configuration"


def _known_token_endpoint(endpoint: EndpointFacts) -> str | None:
    known = _endpoints.get(endpoint.url)
    return known[0] if known is not None and time.monotonic() < known[1] else None


def _remember_token_endpoint(endpoint: EndpointFacts, status: int, body: bytes) -> str:
    address = _json(endpoint, status, body, "smart-configuration").get("token_endpoint")
    if not isinstance(address, str):
        raise PeerRefused(endpoint.participant_id, "smart-configuration names no token_endpoint")
    # A peer reached over TLS may not send our assertion over a plain line.
    if urlsplit(address).scheme not in {"https", urlsplit(endpoint.url).scheme} or not urlsplit(address).hostname:
        raise PeerRefused(endpoint.participant_id, "token_endpoint is not an acceptable URL")
    if _place(address) != _place(endpoint.url) and _place(address) not in settings.PEER_TOKEN_HOSTS:
        # What is fetched there is sent here: a peer that names another's would be given that one's token.
        raise PeerRefused(endpoint.participant_id, "token_endpoint is on another host than the endpoint")
    _endpoints[endpoint.url] = (address, time.monotonic() + _DISCOVERED_S)
    return address


def _place(address: str) -> str:
    """Host and port of an address, in lower case; the port left out where it is the scheme's own."""
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    usual = port == (443 if parts.scheme == "https" else 80)
    return str(parts.hostname).lower() if usual else f"{str(parts.hostname).lower()}:{port}"


def _form(address: str, purpose: str, caller: Caller) -> dict[str, str]:
    key = hub_keys.signing_key(hub_keys.Ring.CLIENT)
    issued = int(time.time())
    b2b = {
        "version": "1",
        "subject_id": caller.user_id,
        "subject_name": caller.user_name,
        "subject_role": caller.role or "",
        "organization_id": f"urn:oid:{caller.organization_oid}" if caller.organization_oid else "",
        "organization_name": caller.organization_name,
        "purpose_of_use": [f"urn:oid:2.16.840.1.113883.5.8#{purpose}"],
    }
    hie = {
        "relationship": caller.relationship,
        "care_teams": list(caller.care_teams),
        "on_behalf_of": caller.on_behalf_of,
    }
    extensions: dict[str, Any] = {"hl7-b2b": {member: value for member, value in b2b.items() if value}}
    if stated := {member: value for member, value in hie.items() if value}:
        extensions["hie"] = stated
    assertion = jwt.encode(
        {
            "iss": client_id(),
            "sub": client_id(),
            "aud": address,
            "iat": issued,
            "exp": issued + _ASSERTION_S,
            "jti": str(uuid.uuid4()),
            "extensions": extensions,
        },
        key.private,
        algorithm=key.algorithm,
        headers={"kid": key.kid, "typ": "JWT"},
    )
    return {
        "grant_type": "client_credentials",
        "scope": SCOPES,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion,
    }


def _sync(session: httpx.Client, method: str, url: str, form: dict[str, str] | None = None) -> tuple[int, bytes]:
    body = bytearray()
    with session.stream(method, url, data=form, headers={"Accept": "application/json"}) as answer:
        for chunk in answer.iter_bytes():
            body += chunk
            if len(body) > MAX_BYTES:
                raise httpx.DecodingError("answer too large")
        return answer.status_code, bytes(body)


async def _async(session: PeerSession, method: str, url: str, form: dict[str, str] | None = None) -> tuple[int, bytes]:
    headers = {"Accept": "application/json"}
    if form is None:
        return await session.exchange(method, url, headers, at_most=MAX_BYTES)
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    return await session.exchange(method, url, headers, urlencode(form).encode(), at_most=MAX_BYTES)


def _remember(key: tuple[Any, ...], endpoint: EndpointFacts, status: int, body: bytes) -> str:
    answer = _json(endpoint, status, body, "token endpoint")
    value, kind, lifetime = answer.get("access_token"), answer.get("token_type"), answer.get("expires_in", 60)
    if not isinstance(value, str) or not value or str(kind).lower() != "bearer":
        raise PeerRefused(endpoint.participant_id, "token endpoint answered without a bearer token")
    lifetime_s = float(lifetime) if isinstance(lifetime, int | float) and not isinstance(lifetime, bool) else 60.0
    with _lock:
        now = time.monotonic()
        if len(_tokens) >= _MAX_HELD:
            for old in [old for old, held in _tokens.items() if held.until <= now] or list(_tokens)[: _MAX_HELD // 10]:
                del _tokens[old]
        _tokens[key] = _Token(value, now + min(lifetime_s, 3600.0) - _EARLY_S)
    return value


def _json(endpoint: EndpointFacts, status: int, body: bytes, what: str) -> dict[str, Any]:
    try:
        answer = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError:
        answer = {}
    if status != 200:
        error = answer.get("error") if isinstance(answer, dict) else None
        word = f" {error[:40]}" if isinstance(error, str) else ""
        raise PeerRefused(endpoint.participant_id, f"{what} answered {status}{word}")
    if not isinstance(answer, dict) or not answer:
        raise PeerRefused(endpoint.participant_id, f"{what} did not answer with JSON")
    return answer
