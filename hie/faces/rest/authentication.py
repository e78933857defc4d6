"""The bearer token of `/api/`, as the rest of the hub reads it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from hie.standards.facts import Caller
from hie.trust import tokens


class CallerUser:
    """DRF wants a user: the caller stands in for one."""

    is_authenticated = True

    def __init__(self, caller: Caller) -> None:
        self.caller = caller


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer`: the participant is checked against the directory at each request."""

    def authenticate(self, request: Request) -> tuple[CallerUser, Caller]:
        """The caller, or `NotAuthenticated`."""
        caller = tokens.authenticate(request._request)
        return CallerUser(caller), caller

    def authenticate_header(self, request: Request) -> str:
        """What a 401 offers."""
        return 'Bearer realm="hub"'


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # drf-spectacular is untyped here
    """How the OpenAPI document names it."""

    target_class = "hie.faces.rest.authentication.TokenAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """RFC 6750."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
