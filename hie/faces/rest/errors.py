"""What a refusal is called on `/api/`: ``{"error": {"code", "message", "field"}}`` (design.md)."""

from __future__ import annotations

import re
import uuid
from typing import Any

import structlog
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_handler

from hie.exchange import errors as exchange
from hie.standards.errors import HubError, MalformedContent
from hie.trust import errors as trust

log = structlog.get_logger(__name__)

REST_CODE: dict[type[HubError], tuple[int, str]] = {
    exchange.AccessRefused: (403, "forbidden"),
    exchange.NotFound: (404, "not-found"),
    exchange.BadRequest: (422, "invalid"),
    exchange.IdempotencyConflict: (422, "idempotency-conflict"),
    exchange.RemoteUnavailable: (502, "upstream-unavailable"),
    exchange.Unsettled: (503, "busy"),
    trust.NotAuthenticated: (401, "unauthenticated"),
    trust.NotEntitled: (403, "forbidden"),
    trust.TooManyRequests: (429, "throttled"),
    MalformedContent: (400, "malformed"),
}
"""Refusals with a word of their own; any other `HubError` is a 422 named after its class."""


def error_body(code: str, message: str, field: str | None = None) -> dict[str, Any]:
    """The one error form of `/api/`; half a character that a name or a value held is shown escaped."""
    return {"error": {"code": code, "message": _whole(message), "field": None if field is None else _whole(field)}}


def _whole(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def word_for(error: HubError) -> tuple[int, str]:
    """Status and code of a refusal."""
    for kind in type(error).__mro__:
        if kind in REST_CODE:
            return REST_CODE[kind]
    return 422, re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()


def exception_handler(error: Exception, context: dict[str, Any]) -> Response:
    """Every failure of a JSON view in the one form; what is ours carries only an incident number."""
    if isinstance(error, HubError):
        status, code = word_for(error)
        response = Response(error_body(code, str(error), error.element), status=status)
        if isinstance(error, trust.TooManyRequests | exchange.Unsettled):
            response["Retry-After"] = str(max(1, round(error.retry_after_s)))
        if isinstance(error, trust.NotAuthenticated):
            response["WWW-Authenticate"] = error.www_authenticate
        return response
    if isinstance(error, exceptions.ValidationError):
        field, message = _first(error.detail)
        return Response(error_body("invalid", message, field), status=422)
    if isinstance(error, exceptions.ParseError):
        return Response(error_body("malformed", "the body is not JSON in UTF-8"), status=400)
    if isinstance(error, Http404):
        return Response(error_body("not-found", "there is nothing here"), status=404)
    known = drf_handler(error, context)
    if known is not None:
        detail = getattr(error, "detail", "")
        code = getattr(error, "default_code", "error").replace("_", "-")
        known.data = error_body(code, str(detail))
        return known
    incident = uuid.uuid4().hex[:12]
    log.exception("rest.incident", incident=incident)
    return Response(error_body("internal", f"something went wrong here; quote {incident}"), status=500)


def _first(detail: Any, path: str = "") -> tuple[str, str]:
    """The first problem of a serializer's answer, with its path (``patient.identifier.value``)."""
    if isinstance(detail, dict):
        key, value = next(iter(detail.items()))
        inner = path if key == "non_field_errors" else f"{path}.{key}" if path else str(key)
        return _first(value, inner)
    if isinstance(detail, list):
        for position, item in enumerate(detail):
            if isinstance(item, dict):
                if item:
                    return _first(item, f"{path}[{position}]")
            else:
                return path, str(item)
        return path, "not usable"
    return path, str(detail)
