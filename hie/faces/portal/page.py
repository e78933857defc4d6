"""What every page of the portal has: who reads it, its errors in plain words, and the policy its browser keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any
from urllib.parse import urlencode

import structlog
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.middleware.csrf import CsrfViewMiddleware
from django.shortcuts import render as django_render
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext
from django.views.decorators.csrf import csrf_exempt

from hie.exchange import deaths
from hie.exchange.errors import AccessRefused, BadRequest, NotFound, RemoteUnavailable, Unsettled
from hie.faces.portal import session
from hie.faces.portal.session import Reader
from hie.standards.errors import HubError
from hie.trust import provider
from hie.trust.errors import NotAuthenticated, NotEntitled, TooManyRequests

log = structlog.get_logger(__name__)

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# Of the pages of passkeys alone: our own file, nothing inline, and still no request of its own.
SCRIPT_POLICY = f"{POLICY}; script-src 'self'"
View = Callable[..., HttpResponseBase]
STATUS: dict[type[HubError], int] = {
    NotFound: 404,
    AccessRefused: 403,
    NotEntitled: 403,
    NotAuthenticated: 403,
    TooManyRequests: 429,
    BadRequest: 400,
    RemoteUnavailable: 503,
    Unsettled: 503,
}


class _Csrf(CsrfViewMiddleware):
    """Django's check, whose answer is the reason instead of Django's own page."""

    def _reject(self, request: HttpRequest, reason: str) -> str:
        return reason


def page(*methods: str, signed_in: bool = True, script: bool = False, by_link: bool = False) -> Callable[[View], View]:
    """Make a view a page: methods allowed, forgery refused, somebody signed in, errors in words, headers set.

    A view of a signed-in page gets the `Reader` as its second argument. `script`: the page loads one of our files.
    `by_link`: a POST may come from elsewhere, as a secret in the address says who may.
    """
    allowed = methods or ("GET",)

    def decorate(view: View) -> View:
        @csrf_exempt
        @wraps(view)
        def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return harden(_answer(request, view, allowed, signed_in, by_link, args, kwargs), script=script)

        return shown

    return decorate


def _answer(
    request: HttpRequest,
    view: View,
    allowed: tuple[str, ...],
    signed_in: bool,
    by_link: bool,
    args: Any,
    kwargs: Any,
) -> HttpResponseBase:
    if request.method == "HEAD":
        allowed = (*allowed, "HEAD") if "GET" in allowed else allowed
    if request.method not in allowed:
        return _with_allow(error_page(request, 405), allowed)
    check = _Csrf(lambda _: HttpResponse())
    check.process_request(request)
    if not by_link and check.process_view(request, view, (), {}):
        return error_page(request, 403, expired=True)
    try:
        if not signed_in:
            return view(request, *args, **kwargs)
        reader = session.reader(request)
        if reader is None:
            return HttpResponseRedirect(f"{reverse('portal:sign-in')}?{urlencode({'next': request.get_full_path()})}")
        request.portal_reader = reader  # type: ignore[attr-defined]  # for the frame of error pages
        return view(request, reader, *args, **kwargs)
    except (HubError, Http404, PermissionDenied) as error:
        return _refusal(request, error)
    except Exception:
        # The outer edge of this face: a number for the reader, the rest for the log.
        log.exception("portal_failed", request_id=session.visit_of(request).request_id, view=view.__name__)
        return error_page(request, 500)


def _refusal(request: HttpRequest, error: Exception) -> HttpResponse:
    if isinstance(error, Http404):
        return error_page(request, 404)
    if isinstance(error, PermissionDenied):
        return error_page(request, 403)
    if isinstance(error, NotFound | AccessRefused) and _is_said_dead(request):
        return said_dead(request)
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 503)
    answer = error_page(request, status)
    if isinstance(error, TooManyRequests | Unsettled):
        answer["Retry-After"] = str(error.retry_after_s)
    return answer


def _is_said_dead(request: HttpRequest) -> bool:
    reader: Reader | None = getattr(request, "portal_reader", None)
    return reader is not None and reader.acting is None and deaths.is_said_dead(reader.person_id)


def said_dead(request: HttpRequest, *, wrong: bool = False, typed: str = "") -> HttpResponse:
    """What a patient reads who signs in although the record says that she has died; and how she says that she lives."""
    reader: Reader | None = getattr(request, "portal_reader", None)
    context = {
        "waits": reader is not None and deaths.waits(reader.person_id),
        "wrong": wrong,
        "typed": typed,
        "longest": deaths.MAX_SAID,
        "place": "",
    }
    return render(request, "said_dead.html", context, reader=reader, status=422 if wrong else 403)


def error_page(request: HttpRequest, status: int, *, expired: bool = False) -> HttpResponse:
    """A page that says what is wrong and what to do."""
    words = {
        400: (gettext("We could not read that"), gettext("Go back, look at what you typed, and try again.")),
        403: (
            gettext("You may not see this"),
            gettext("If you think you should, call the office of your clinic or ours."),
        ),
        404: (gettext("There is nothing here"), gettext("The page may have moved, or the link may be old.")),
        405: (gettext("That does not work here"), gettext("Go back to the log and start again from there.")),
        429: (gettext("Too many tries"), gettext("Wait a minute, then try again.")),
        500: (gettext("Something broke on our side"), gettext("Your data is safe. Try again in a few minutes.")),
        503: (gettext("This does not work right now"), gettext("Your data is safe. Try again in a few minutes.")),
    }
    title, text = words[status]
    if expired:
        title = gettext("This page was open for too long")
        text = gettext("Go back, load the page again, and send the form once more.")
    context = {
        "heading": title,
        "text": text,
        "reference": session.visit_of(request).request_id if status >= 500 else "",
    }
    reader: Reader | None = getattr(request, "portal_reader", None)
    return render(request, "error.html", context, reader=reader, status=status)


def not_found(request: HttpRequest, path: str = "") -> HttpResponseBase:
    """Any other path below `/my/`."""
    return harden(error_page(request, 404))


def render(
    request: HttpRequest,
    template: str,
    context: Mapping[str, Any] | None = None,
    *,
    reader: Reader | None = None,
    status: int = 200,
) -> HttpResponse:
    """A template of the portal within its frame."""
    language = (translation.get_language() or "en").split("-")[0]
    frame = {
        "hub_name": getattr(settings, "HUB_NAME", ""),
        "language": language,
        "direction": "rtl" if translation.get_language_bidi() else "ltr",
        "languages": [(code, name) for code, name in settings.LANGUAGES],
        "reader": reader,
        "provider": provider.configured(),
        "here": request.get_full_path() if request.method == "GET" else reverse("portal:log"),
    }
    return django_render(request, f"portal/{template}", {**frame, **(context or {})}, status=status)


def harden(response: HttpResponseBase, *, script: bool = False) -> HttpResponseBase:
    """What a browser may do with a page: load our style, send our forms, keep nothing. A stricter policy stays.

    `script`: run our file.
    """
    response.headers.setdefault("Content-Security-Policy", SCRIPT_POLICY if script else POLICY)
    response["Cache-Control"] = "no-store"
    response["Permissions-Policy"] = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
    response["Referrer-Policy"] = "same-origin"
    response["X-Content-Type-Options"] = "nosniff"
    response["X-Frame-Options"] = "DENY"
    return response


def _with_allow(response: HttpResponse, allowed: tuple[str, ...]) -> HttpResponse:
    response["Allow"] = HttpResponseNotAllowed(allowed)["Allow"]
    return response
