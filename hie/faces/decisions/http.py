"""What the decision services share: token, scope and limits, the body, refusals in the form of each protocol.

Source: spec/consent.md 14; design.md "Interfaces".
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.http.request import RawPostDataException, UnreadablePostError
from django.views.decorators.csrf import csrf_exempt

from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.directory import queries as directory
from hie.exchange.errors import AccessRefused, BadRequest, NotFound, Unsettled
from hie.standards import fhir
from hie.standards.errors import HubError, MalformedContent
from hie.standards.facts import Caller
from hie.standards.fhir import JsonObject
from hie.trust import limits, scopes, tokens
from hie.trust.errors import NotAuthenticated, NotEntitled, TooManyRequests
from hie.trust.requests import request_id
from patients.normalise import storable

log = logging.getLogger("hie.decisions")

MAX_BODY = 1 << 20
LONGEST = 1000
STATUS: Mapping[type[HubError], tuple[int, str]] = {
    NotFound: (404, "not-found"),
    AccessRefused: (403, "forbidden"),
    NotEntitled: (403, "forbidden"),
    NotAuthenticated: (401, "unauthenticated"),
    TooManyRequests: (429, "throttled"),
    Unsettled: (503, "busy"),
    MalformedContent: (400, "malformed"),
    BadRequest: (400, "invalid"),
}
"""Status and word of a refusal; any other is a 422 of its element."""

Refuse = Callable[[int, str, str, str | None], HttpResponse]
View = Callable[[HttpRequest, Caller, JsonObject, str], HttpResponse]


class TooLong(HubError):
    """The body is larger than any question here."""


class NotJson(HubError):
    """The body is not announced as JSON in UTF-8."""


def service(refuse: Refuse, types: tuple[str, ...]) -> Callable[[View], Callable[..., HttpResponseBase]]:
    """Make a function of caller and body a service: POST alone, authenticated, bounded, refused in one form.

    `refuse` makes the answer of status, code, message and element; `types` are the media types it takes.
    """

    def decorate(view: View) -> Callable[..., HttpResponseBase]:
        @csrf_exempt
        @wraps(view)
        def answered(request: HttpRequest) -> HttpResponseBase:
            return _headed(request, _answer(request, view, refuse, types))

        return answered

    return decorate


def _answer(request: HttpRequest, view: View, refuse: Refuse, types: tuple[str, ...]) -> HttpResponse:
    try:
        with ExitStack() as held:
            with directory.one_reading() as reading:
                caller = tokens.authenticate(request)
                held.enter_context(limits.admit(caller))
            directory.offer(reading)
            if request.method != "POST":
                response = refuse(405, "not-allowed", "only POST is offered here", None)
                response["Allow"] = "POST"
                return response
            _need_scope(request, caller)
            raw = _body(request, types)
            return view(request, caller, fhir.loads(raw), raw.decode("utf-8", "replace"))
    except HubError as error:
        return _refusal(error, refuse)
    except (UnreadablePostError, RawPostDataException):
        return refuse(400, "malformed", "the body broke off", None)
    except Exception:
        incident = uuid.uuid4().hex[:12]
        log.exception("incident %s at %s", incident, request.path)
        return refuse(500, "internal", f"something went wrong here; quote {incident}", None)
    finally:
        directory.offer(None)


def _need_scope(request: HttpRequest, caller: Caller) -> None:
    if scopes.allows(caller.scopes, "Consent", "r") or scopes.allows_transaction(caller.scopes, "ITI-108"):
        return
    with recorder.recording(EventType.ACCESS_REFUSED, caller, query=f"{request.method} {request.path}"):
        raise NotEntitled("the token's scopes do not cover Consent.r")


def _body(request: HttpRequest, types: tuple[str, ...]) -> bytes:
    name, _, parameters = request.headers.get("Content-Type", "").partition(";")
    charset = next(
        (p.partition("=")[2].strip(' "').lower() for p in parameters.split(";") if "charset" in p.lower()), ""
    )
    if name.strip().lower() not in types or charset not in ("", "utf-8", "utf8"):
        raise NotJson(f"the body is taken as {types[0]} in UTF-8")
    raw = request.read(MAX_BODY + 1)
    if len(raw) > MAX_BODY:
        raise TooLong(f"at most {MAX_BODY} bytes are taken here")
    return raw


def _refusal(error: HubError, refuse: Refuse) -> HttpResponse:
    status, code = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), (422, "invalid"))
    if isinstance(error, TooLong):
        status, code = 413, "too-long"
    if isinstance(error, NotJson):
        status, code = 415, "unsupported"
    response = refuse(status, code, str(error), error.element)
    if isinstance(error, NotAuthenticated):
        response["WWW-Authenticate"] = error.www_authenticate
    if isinstance(error, TooManyRequests | Unsettled):
        response["Retry-After"] = str(max(1, round(error.retry_after_s)))
    return response


def _headed(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    response["X-Request-Id"] = request_id(request)
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "no-store"
    return response


def json_refusal(status: int, code: str, message: str, field: str | None) -> HttpResponse:
    """A refusal as `/api/` says it."""
    return JsonResponse({"error": {"code": code, "message": message, "field": field}}, status=status)


def unknown(request: HttpRequest) -> HttpResponse:
    """Any other path below `/consent/`."""
    return _headed(request, json_refusal(404, "not-found", "there is nothing here", None))


# --- reading JSON -----------------------------------------------------------------------------------------------------


def only(data: Mapping[str, Any], members: tuple[str, ...], where: str) -> None:
    """Refuse members that are not understood, by name.

    Raises:
        BadRequest: there is one.
    """
    for name in data:
        if name not in members:
            raise BadRequest(f"{_printable(name)} is not understood here", element=_at(where, _printable(name)))


def text(value: Any, where: str, *, absent: str | None = None) -> str:
    """A text that is not empty.

    Raises:
        BadRequest: something else, or nothing and `absent` None.
    """
    if value is None and absent is not None:
        return absent
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST:
        raise BadRequest(f"a text of 1 to {LONGEST} characters is needed", element=where)
    if not storable(value):  # JSON can write half of a surrogate pair, and NUL
        raise BadRequest("is no text", element=where)
    return value.strip()


def listed(value: Any, where: str, *, most: int = 100) -> list[Any]:
    """A list; nothing is an empty one, and one object a list of it.

    Raises:
        BadRequest: something else, or too many.
    """
    if value is None:
        return []
    found = value if isinstance(value, list) else [value]
    if len(found) > most or not isinstance(value, list | dict):
        raise BadRequest(f"a list of at most {most} is needed", element=where)
    return found


def mapped(value: Any, where: str) -> Mapping[str, Any]:
    """An object.

    Raises:
        BadRequest: something else.
    """
    if not isinstance(value, dict):
        raise BadRequest("an object is needed", element=where)
    return value


def _at(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() and c.isascii() else "?" for c in name)[:100]


def base_url() -> str:
    """The absolute address of the hub."""
    return str(settings.BASE_URL)
