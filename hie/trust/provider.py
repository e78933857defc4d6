"""Signing patients in through an OpenID Connect provider: authorization code with PKCE, and everything checked.

The provider is configured (``HIE_OIDC_*``), its addresses and keys are read from its own metadata. Who somebody is
there is its issuer and its `sub`: names and mail addresses it tells of are neither asked for nor believed.

Source: OpenID Connect Core 1.0, 3.1.2 and 3.1.3.7; Discovery 1.0; RFC 7636 (PKCE); RFC 9207 (`iss` in the answer);
RFC 8176 (`amr`).
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import UUID

import httpx
import jwt
import orjson
import structlog
from django.conf import settings
from django.db import IntegrityError, transaction

from hie.trust import accounts, client_keys, server_certificates
from hie.trust.accounts import AccountFacts
from hie.trust.errors import NotAuthenticated, ProviderLinked, ProviderUnavailable
from hie.trust.models import PatientAccount, ProviderLink

log = structlog.get_logger(__name__)

ALGORITHMS = ("ES256", "ES384", "PS256", "RS256")
LEEWAY_S = 60
OLDEST_S = 600
TIMEOUT_S = 5.0
MAX_BYTES = 262_144
_METADATA_LASTS_S = 3600.0
_held: dict[str, tuple[float, Mapping[str, Any]]] = {}
_guard = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A configured provider; `name` is what people know it by."""

    issuer: str
    client_id: str
    client_secret: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """What the session keeps while somebody is at the provider; each part is new for each trip."""

    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Who somebody is at the provider; `strong`: they gave more than one factor there."""

    issuer: str
    subject: str
    strong: bool = False


def configured(whom: str = "patients") -> Provider | None:
    """The provider that patients, or "staff", may sign in through; None when there is none."""
    held = (settings.STAFF_OIDC if whom == "staff" else settings.PATIENT_OIDC) or {}
    if not held.get("issuer"):
        return None
    return Provider(
        issuer=str(held["issuer"]),
        client_id=str(held["client_id"]),
        client_secret=str(held.get("client_secret") or ""),
        name=str(held.get("name") or urlsplit(str(held["issuer"])).hostname or ""),
    )


def begin(provider: Provider, *, back: str) -> tuple[str, Trip]:
    """Where the browser goes, and what to keep until it comes back to `back`.

    Raises:
        ProviderUnavailable.
    """
    trip = Trip(state=secrets.token_urlsafe(32), nonce=secrets.token_urlsafe(32), verifier=secrets.token_urlsafe(48))
    challenge = base64.urlsafe_b64encode(hashlib.sha256(trip.verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": back,
        "scope": "openid",
        "state": trip.state,
        "nonce": trip.nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    address = str(_metadata(provider)["authorization_endpoint"])
    return f"{address}{'&' if '?' in address else '?'}{urlencode(asked)}", trip


def finish(provider: Provider, trip: Trip, answer: Mapping[str, str], *, back: str) -> Known:
    """Who came back, from the parameters that came with them.

    Raises:
        NotAuthenticated: not the trip that was begun, refused there, or a token that does not hold. ProviderUnavailable.
    """
    if not secrets.compare_digest(answer.get("state", "").encode(), trip.state.encode()):
        raise NotAuthenticated("provider: another state")
    if answer.get("iss", provider.issuer) != provider.issuer:
        raise NotAuthenticated("provider: another issuer")
    if answer.get("error") or not answer.get("code"):
        raise NotAuthenticated("provider: refused there")
    form = {
        "grant_type": "authorization_code",
        "code": answer["code"][:4096],
        "redirect_uri": back,
        "client_id": provider.client_id,
        "code_verifier": trip.verifier,
    }
    metadata = _metadata(provider)
    told = _asked("POST", str(metadata["token_endpoint"]), provider=provider, form=form)
    token = told.get("id_token")
    if not isinstance(token, str):
        raise NotAuthenticated("provider: no id token")
    return _verified(provider, token, nonce=trip.nonce, jwks_uri=str(metadata["jwks_uri"]))


def addresses_of(provider: Provider) -> Mapping[str, Any]:
    """Where the provider is asked, by the names of its metadata.

    Raises:
        ProviderUnavailable.
    """
    return _metadata(provider)


def account_of(known: Known) -> AccountFacts | None:
    """The open account that is linked to somebody at the provider; None when none is."""
    row = (
        PatientAccount.objects.filter(
            provider_links__issuer=known.issuer, provider_links__subject=known.subject, active=True
        )
        .distinct()
        .first()
    )
    return accounts._facts(row) if row is not None else None


def link(account_id: str, known: Known) -> None:
    """Note who an account is at the provider: one at a time. In the caller's transaction.

    Raises:
        ProviderLinked: somebody else's account is linked to them.
    """
    ProviderLink.objects.filter(account_id=UUID(account_id), issuer=known.issuer).exclude(
        subject=known.subject
    ).delete()
    if ProviderLink.objects.filter(account_id=UUID(account_id), issuer=known.issuer, subject=known.subject).exists():
        return
    try:
        with transaction.atomic():
            ProviderLink.objects.create(account_id=account_id, issuer=known.issuer, subject=known.subject)
    except IntegrityError as error:
        raise ProviderLinked from error


def unlink(account_id: str) -> bool:
    """Forget who an account is at any provider; whether it was linked."""
    return ProviderLink.objects.filter(account_id=UUID(account_id)).delete()[0] > 0


def is_linked(account_id: str, provider: Provider) -> bool:
    """Whether an account is linked to somebody at this provider; one statement."""
    return ProviderLink.objects.filter(account_id=UUID(account_id), issuer=provider.issuer).exists()


def forget() -> None:
    """Read the metadata of providers again."""
    with _guard:
        _held.clear()


def _verified(provider: Provider, token: str, *, nonce: str, jwks_uri: str) -> Known:
    claims = claims_of(provider, token, nonce=nonce, jwks_uri=jwks_uri)
    methods = claims.get("amr")
    strong = isinstance(methods, list) and "mfa" in methods
    return Known(issuer=provider.issuer, subject=str(claims["sub"]), strong=strong)


def claims_of(provider: Provider, token: str, *, nonce: str, jwks_uri: str) -> dict[str, Any]:
    """What an ID token says that this provider made for this hub, just now, for the trip of this nonce.

    Raises:
        NotAuthenticated: signature, algorithm, issuer, audience, party, times, nonce or subject do not hold.
    """
    try:
        header = jwt.get_unverified_header(token)
        algorithm, kid = str(header.get("alg")), str(header.get("kid") or "")
        if algorithm not in ALGORITHMS:
            raise NotAuthenticated("provider: another algorithm")
        found = [
            key
            for key in client_keys.fetched(jwks_uri, kid=kid)
            if str(key.get("kid") or "") == kid
            and key.get("use", "sig") == "sig"
            and key.get("alg", algorithm) == algorithm
        ]
        if len(found) != 1:
            raise NotAuthenticated("provider: no such key")
        claims = jwt.decode(
            token,
            key=jwt.PyJWK(dict(found[0]), algorithm=algorithm),
            algorithms=[algorithm],
            audience=provider.client_id,
            issuer=provider.issuer,
            leeway=LEEWAY_S,
            options={"require": ["iss", "sub", "aud", "exp", "iat"]},
        )
    except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
        raise NotAuthenticated(f"provider: {type(error).__name__}") from error
    audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if (len(audience) > 1 or "azp" in claims) and claims.get("azp") != provider.client_id:
        raise NotAuthenticated("provider: for another client")
    if not secrets.compare_digest(str(claims.get("nonce") or "").encode(), nonce.encode()):
        raise NotAuthenticated("provider: another nonce")
    if claims["iat"] < time.time() - OLDEST_S:
        raise NotAuthenticated("provider: too old")
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= 255 or not subject.isprintable():
        raise NotAuthenticated("provider: no subject")
    return dict(claims)


def _metadata(provider: Provider) -> Mapping[str, Any]:
    with _guard:
        held = _held.get(provider.issuer)
    if held is not None and time.monotonic() - held[0] < _METADATA_LASTS_S:
        return held[1]
    told = _asked("GET", f"{provider.issuer.rstrip('/')}/.well-known/openid-configuration")
    needed = ("authorization_endpoint", "token_endpoint", "jwks_uri")
    if told.get("issuer") != provider.issuer or not all(_is_usable(told.get(name)) for name in needed):
        log.warning("provider_metadata_unusable", issuer=provider.issuer)
        raise ProviderUnavailable("its metadata are another's, or not whole")
    with _guard:
        _held[provider.issuer] = (time.monotonic(), told)
    return told


def _is_usable(address: object) -> bool:
    parts = urlsplit(str(address or ""))
    # In the clear only where everything is on one machine, as in the sandbox.
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost", "::1"})


def _asked(
    method: str, address: str, *, provider: Provider | None = None, form: Mapping[str, str] | None = None
) -> dict[str, Any]:
    if not _is_usable(address):
        raise ProviderUnavailable("its address is not https")
    auth = httpx.BasicAuth(provider.client_id, provider.client_secret) if provider and provider.client_secret else None
    body = bytearray()
    deadline = time.monotonic() + TIMEOUT_S
    try:
        # `trust_env` off: a proxy from the environment must not see codes and tokens.
        with (
            httpx.Client(
                timeout=TIMEOUT_S,
                follow_redirects=False,
                trust_env=False,
                verify=server_certificates.trusted(),
                auth=auth,
            ) as session,
            session.stream(method, address, data=form, headers={"Accept": "application/json"}) as answer,
        ):
            status = answer.status_code
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > MAX_BYTES or time.monotonic() > deadline:
                    raise ProviderUnavailable("its answer is too long or too slow")
    except httpx.HTTPError as error:
        log.warning("provider_not_reached", address=address, error=type(error).__name__)
        raise ProviderUnavailable("it does not answer") from error
    if form is not None and 400 <= status < 500:
        raise NotAuthenticated("provider: the code was refused")
    try:
        told = orjson.loads(bytes(body))
    except ValueError as error:
        raise ProviderUnavailable("its answer is not JSON") from error
    if status != 200 or not isinstance(told, dict):
        raise ProviderUnavailable(f"it answered {status}")
    return told
