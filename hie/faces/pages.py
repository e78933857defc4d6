"""What only pages need: sessions, sign-in, forms, messages and languages of browsers.

Requests of machines carry a token, and what they are told goes by no cookie: for them these would cost some
three percent of an answer for nothing. Each class is Django's own, passed by below `MACHINES`.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.locale import LocaleMiddleware
from django.utils import translation
from django_otp.middleware import OTPMiddleware

MACHINES = ("/fhir/", "/api/", "/consent/")
"""Paths below which every view authenticates by a token and none by a cookie."""


def of_a_machine(request: HttpRequest) -> bool:
    """Whether the request is one of a face without pages."""
    return request.path_info.startswith(MACHINES)


class _PagesOnly:
    """Passed by for machines."""

    get_response: Any

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if of_a_machine(request):
            return self.get_response(request)  # type: ignore[no-any-return]
        return super().__call__(request)  # type: ignore[misc,no-any-return]  # that of Django's class beside this one


class Sessions(_PagesOnly, SessionMiddleware):
    """Sessions of browsers."""


class Languages(_PagesOnly, LocaleMiddleware):
    """The language of a page: the cookie's or the browser's."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """As Django's; for a machine the hub's own, whatever page this thread has answered before."""
        if of_a_machine(request):
            translation.deactivate()
        return super().__call__(request)


class Forms(_PagesOnly, CsrfViewMiddleware):
    """No form is taken from another site's page."""

    def process_view(self, request: HttpRequest, *view: Any) -> Any:
        """As Django's; a request without a cookie cannot be forged by one."""
        return None if of_a_machine(request) else super().process_view(request, *view)


class SignIn(_PagesOnly, AuthenticationMiddleware):
    """Who is signed in."""


class SecondFactor(_PagesOnly, OTPMiddleware):  # type: ignore[misc]  # it comes without types
    """Whether with a second factor."""


class Messages(_PagesOnly, MessageMiddleware):
    """What the next page says of the last act."""
