"""The token service over HTTP: token, introspection, keys, metadata.

Source: RFC 6749, 7662, 7517, 8414; design.md "Interfaces".
"""

from __future__ import annotations

from typing import Any

import structlog
from django.core.exceptions import BadRequest, RequestDataTooBig, TooManyFieldsSent
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from hie.audit import recorder
from hie.directory import queries
from hie.trust import discovery, hub_keys, limits, token_service, tokens
from hie.trust.errors import NotAuthenticated, TokenRefused, TooManyRequests
from hie.trust.requests import network_address, request_id

log = structlog.get_logger(__name__)

MAX_BODY = 64 * 1024
_FORM = "application/x-www-form-urlencoded"


@csrf_exempt
@require_POST
def token(request: HttpRequest) -> HttpResponse:
    """``POST /oauth/token``: RFC 6749 4.4 with a signed assertion; errors as in 5.2, each one audited."""
    address, this_request = network_address(request), request_id(request)
    try:
        issued = token_service.issue(_form(request), network_address=address, request_id=this_request)
    except TokenRefused as refused:
        return _refused(refused, request)
    return _answer(
        {
            "access_token": issued.access_token,
            "token_type": "Bearer",
            "expires_in": issued.expires_in,
            "scope": issued.scope,
        },
        request=request,
    )


@csrf_exempt
@require_POST
def introspect(request: HttpRequest) -> HttpResponse:
    """``POST /oauth/introspect`` (RFC 7662, IUA [102]): by bearer token.

    A participant is told of its own tokens, and of others' with the scope ``introspect``; of any other
    token, and of one that is not in force, ``{"active": false}`` alone.
    """
    try:
        caller = tokens.authenticate(request, face="oauth")
        asked = _form(request).get("token", "")
    except NotAuthenticated as refused:
        answer = _answer({"error": "invalid_token", "error_description": refused.reason}, status=401, request=request)
        answer["WWW-Authenticate"] = refused.www_authenticate
        return answer
    except TokenRefused as refused:
        return _answer({"error": refused.code, "error_description": refused.description}, status=400, request=request)
    if not asked:
        return _answer(
            {"error": "invalid_request", "error_description": "token: is missing"}, status=400, request=request
        )
    try:
        claims = tokens.verified_claims(asked)
        held = tokens.caller_of(
            claims, queries.snapshot(), network_address="", request_id=caller.request_id, face="oauth"
        )
    except NotAuthenticated:
        return _answer({"active": False}, request=request)
    if held.participant_id != caller.participant_id and "introspect" not in caller.scopes:
        return _answer({"active": False}, request=request)
    members = ("iss", "sub", "client_id", "aud", "exp", "iat", "jti", "extensions")
    return _answer(
        {"active": True, "token_type": "Bearer", "scope": " ".join(sorted(held.scopes))}
        | {member: claims[member] for member in members},
        request=request,
    )


@require_GET
def jwks(request: HttpRequest) -> HttpResponse:
    """``GET /oauth/jwks``: the public keys that sign our tokens, and our assertions at other communities."""
    answer = JsonResponse(hub_keys.jwks())
    answer["Cache-Control"] = "public, max-age=60"
    return answer


@require_GET
def authorization_server_metadata(request: HttpRequest) -> HttpResponse:
    """``GET /.well-known/oauth-authorization-server`` (RFC 8414)."""
    return JsonResponse(discovery.authorization_server_metadata())


def _form(request: HttpRequest) -> dict[str, str]:
    """The members of a form, each given once.

    Raises:
        TokenRefused: invalid_request.
    """
    if request.content_type != _FORM:
        raise TokenRefused("invalid_request", f"Content-Type must be {_FORM}")
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        length = 0
    if length > MAX_BODY:
        raise TokenRefused("invalid_request", "the form is too large")
    try:
        given = request.POST
    except (RequestDataTooBig, TooManyFieldsSent, BadRequest, UnicodeError) as error:
        raise TokenRefused("invalid_request", "the form cannot be read") from error
    form: dict[str, str] = {}
    for member, values in given.lists():
        if len(values) != 1:
            raise TokenRefused("invalid_request", f"{member[:100]}: is given more than once")
        if "\x00" in values[0]:
            raise TokenRefused("invalid_request", f"{member[:100]}: holds a NUL character")
        form[member] = values[0]
    return form


def _refused(refused: TokenRefused, request: HttpRequest) -> HttpResponse:
    address, this_request = network_address(request), request_id(request)
    body = {"error": refused.code, "error_description": refused.description}
    try:
        limits.failed_attempts(address)
    except TooManyRequests as busy:
        # Past the limit not each refusal is a row any more: nobody unknown may fill the audit log.
        answer = _answer(body, status=429, request=request)
        answer["Retry-After"] = str(busy.retry_after_s)
        return answer
    recorder.failed_login(
        client_id=refused.client_id,
        participant_id=refused.participant_id,
        reason=f"{refused.code}: {refused.description}",
        network_address=address,
        request_id=this_request,
        face="oauth",
    )
    return _answer(body, status=401 if refused.code == "invalid_client" else 400, request=request)


def _answer(body: dict[str, Any], *, status: int = 200, request: HttpRequest) -> HttpResponse:
    answer = JsonResponse(body, status=status)
    answer["Cache-Control"] = "no-store"
    answer["Pragma"] = "no-cache"
    answer["X-Request-Id"] = request_id(request)
    return answer
