"""Client authentication by a signed assertion (`private_key_jwt`), each one good once.

Source: RFC 7523; SMART backend services; design.md "Token request".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from hie.directory.queries import ClientFacts
from hie.standards.facts import Caller
from hie.trust import client_keys
from hie.trust.addresses import token_url
from hie.trust.errors import TokenRefused
from hie.trust.models import UsedAssertion

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS = ("RS384", "ES384", "RS256", "ES256")
MAX_LIFETIME_S = 300
CLOCK_SKEW_S = 30
MAX_LENGTH = 20_000
FRESH = timedelta(minutes=5)
"""How long after signing in again an act that needs it may be done."""
# One wording for a client unknown, a key unknown and a signature wrong: client ids are not to be guessed here.
_NOT_ACCEPTED = "client, key or signature is not accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """A client assertion whose signature and times hold; `jti` not yet spent."""

    client: ClientFacts
    jti: str
    expires_at: datetime
    claims: dict[str, Any]


def verify(encoded: str, clients: Mapping[str, ClientFacts], *, now: datetime) -> Assertion:
    """The assertion, when a key of one of the clients, by client id, signed it for this token endpoint.

    Header: typ JWT, alg one of RS384 ES384 RS256 ES256, kid; a jku only if it is the registered
    URL. Claims: iss = sub = client_id, aud = the token URL, iat, exp ≤ iat + 300 s and not past, jti.
    30 s of clock difference are forgiven for iat and nbf, none for exp.

    Raises:
        TokenRefused: invalid_client.
    """
    if not encoded or len(encoded) > MAX_LENGTH:
        raise TokenRefused("invalid_client", "client_assertion is missing or too long")
    header, unproven = _unproven(encoded)
    named = unproven.get("iss")
    client_id = named if isinstance(named, str) else ""

    def refuse(why: str) -> TokenRefused:
        known = clients.get(client_id)
        return TokenRefused(
            "invalid_client", why, client_id=client_id[:256], participant_id=known.participant_id if known else None
        )

    kid, algorithm = header.get("kid"), header.get("alg")
    if str(header.get("typ", "")).upper() != "JWT":
        raise refuse("header typ must be JWT")
    if algorithm not in ALGORITHMS:
        raise refuse(f"header alg must be one of {' '.join(ALGORITHMS)}")
    if not isinstance(kid, str) or not kid:
        raise refuse("header kid is missing")
    if not client_id or unproven.get("sub") != client_id:
        raise refuse("iss and sub must both be the client_id")
    client = clients.get(client_id)
    if client is None:
        raise refuse(_NOT_ACCEPTED)
    if "jku" in header and (not client.jwks_url or header["jku"] != client.jwks_url):
        raise refuse("header jku is not the registered JWKS URL")
    key = client_keys.find(client, kid=kid, algorithm=algorithm, now=now)
    if key is None:
        raise refuse(_NOT_ACCEPTED)
    try:
        claims = jwt.decode(
            encoded,
            key.material,
            algorithms=[algorithm],
            audience=token_url(),
            options={
                "require": ["iss", "sub", "aud", "iat", "exp", "jti"],
                "strict_aud": False,
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except jwt.InvalidSignatureError as error:
        raise refuse(_NOT_ACCEPTED) from error
    except jwt.InvalidAudienceError as error:
        raise refuse("aud must be the token URL") from error
    except jwt.MissingRequiredClaimError as error:
        raise refuse(f"{error.claim} is missing") from error
    except jwt.PyJWTError as error:
        raise refuse("client_assertion is not a valid JWT") from error
    if isinstance(claims["aud"], list) and len(claims["aud"]) != 1:
        raise refuse("aud must be the token URL alone")
    issued, expires = _seconds(claims["iat"]), _seconds(claims["exp"])
    not_before = _seconds(claims["nbf"]) if "nbf" in claims else issued
    if issued is None or expires is None or not_before is None:
        raise refuse("iat, exp and nbf must be seconds since 1970")
    at = now.timestamp()
    if expires <= at:
        raise refuse("the assertion has expired")
    if expires > issued + MAX_LIFETIME_S:
        raise refuse(f"exp must be at most {MAX_LIFETIME_S} s after iat")
    if issued > at + CLOCK_SKEW_S or not_before > at + CLOCK_SKEW_S:
        raise refuse("the assertion is from the future")
    jti = claims["jti"]
    if not isinstance(jti, str) or not jti or len(jti) > 512:
        raise refuse("jti must be a text of 1 to 512 characters")
    return Assertion(client=client, jti=jti, expires_at=datetime.fromtimestamp(expires, tz=UTC), claims=claims)


def spend(assertion: Assertion) -> None:
    """Use up the assertion: of any number that come at once, exactly one returns.

    Raises:
        TokenRefused: invalid_client; the jti was used before.
    """
    client = assertion.client
    # Kept for as long as it may be replayed, and as it may stand for a step-up.
    kept_until = max(assertion.expires_at + timedelta(seconds=60), timezone.now() + FRESH)
    if spend_once(client.client_id, assertion.jti, until=kept_until):
        return
    raise TokenRefused(
        "invalid_client",
        "this assertion (jti) has been used before",
        client_id=client.client_id,
        participant_id=client.participant_id,
    )


def spend_once(issuer: str, assertion_id: str, *, until: datetime) -> bool:
    """Use up an id of this issuer, for as long as it could come again: of any number at once exactly one is told True."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO trust_usedassertion (jti_digest, expires_at) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [_digest(issuer, assertion_id), until],
        )
        return bool(cursor.rowcount == 1)


def accepted(assertion: Assertion, user_id: str, organization: str, *, now: datetime) -> None:
    """Note for whom a token is given: from here on the assertion can stand for a step-up of this user there, once."""
    UsedAssertion.objects.filter(jti_digest=_digest(assertion.client.client_id, assertion.jti)).update(
        user_id=user_id, organization=organization, accepted_at=now
    )


def is_fresh(caller: Caller, jti: str, *, now: datetime) -> bool:
    """Whether `jti` names an assertion by which this user signed in within `FRESH`, not used since.

    Through this client and as of this organization: a client may speak for several.
    """
    return _fresh(caller, jti, now).exists()


def step_up(caller: Caller, jti: str, *, now: datetime) -> bool:
    """Use a fresh assertion as the step-up of one act, in its transaction; of several at once exactly one may."""
    return _fresh(caller, jti, now).update(stepped_up_at=now) == 1


def _fresh(caller: Caller, jti: str, now: datetime) -> QuerySet[UsedAssertion]:
    return UsedAssertion.objects.filter(
        jti_digest=_digest(caller.client_id, jti),
        user_id=caller.user_id,
        organization=caller.organization_id,
        accepted_at__gt=now - FRESH,
        stepped_up_at__isnull=True,
    ).exclude(user_id="")


def _digest(client_id: str, jti: str) -> bytes:
    return hashlib.sha256(f"{client_id}\x00{jti}".encode()).digest()


def forget_ended(now: datetime) -> int:
    """Delete the marks of assertions that have ended; returns how many."""
    return UsedAssertion.objects.filter(expires_at__lt=now).delete()[0]


def _unproven(encoded: str) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        whole = jwt.decode_complete(encoded, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise TokenRefused("invalid_client", "client_assertion is not a JWT") from error
    try:
        whole_text = json.dumps([whole["header"], whole["payload"]], ensure_ascii=False)
        whole_text.encode()
    except (UnicodeEncodeError, RecursionError) as error:
        # Half a character can be escaped in JSON, but neither stored nor logged.
        raise TokenRefused("invalid_client", "client_assertion holds half a character") from error
    if "\\u0000" in whole_text:
        raise TokenRefused("invalid_client", "client_assertion holds a NUL character")
    return whole["header"], whole["payload"]


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        return None
    return float(value)
