"""`/api/queries`: ask every community, get one list with each one's answer named (design.md)."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from hie.exchange import named_patients, query, query_answers, tasks
from hie.exchange.errors import BadRequest, Unsettled
from hie.exchange.query import QueryRequest
from hie.exchange.query_answers import QueryView, instant
from hie.exchange.waiting import ROOM
from hie.faces.rest.authentication import TokenAuthentication
from hie.faces.rest.errors import error_body, word_for
from hie.faces.rest.parsers import raw_of
from hie.faces.rest.renderers import OrjsonRenderer
from hie.faces.rest.serializers import ErrorOutput, QueryInput, QueryOutput
from hie.standards.errors import HubError
from hie.standards.facts import Caller
from hie.trust import limits, tokens

MAX_WAIT_S = 30.0
STREAM_POLL_S = 0.25
KEEP_ALIVE_S = 15.0


def caller_of(request: Request) -> Caller:
    """Who asks: what `TokenAuthentication` found."""
    caller: Caller = request.auth  # type: ignore[assignment]  # the stubs know only the framework's own tokens
    return caller


class CallerView(APIView):
    """A JSON view for a caller with a token, within its participant's limits."""

    authentication_classes = (TokenAuthentication,)
    permission_classes = (IsAuthenticated,)
    renderer_classes: tuple[type[BaseRenderer], ...] = (OrjsonRenderer,)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Every answer about patients stays out of caches and names its request."""
        response = super().dispatch(request, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        response["X-Content-Type-Options"] = "nosniff"
        return response


ERRORS = dict.fromkeys((400, 401, 403, 404, 422, 429), ErrorOutput)
WAIT = OpenApiParameter("wait", float, description="Seconds to wait for completion, at most 30.")


class QueryApi(CallerView):
    """A view of queries: few at once in a process, whoever waits for answers apart."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Take a place before the first look into the database, which is the one at the token."""
        self.received_at = datetime.now(UTC)
        # Whoever sends slowly waits outside: three of them would else keep everybody from asking. One that is too large
        # is refused where all input is.
        with contextlib.suppress(RequestDataTooBig):
            _ = request.body
        with ROOM.entered():
            return super().dispatch(request, *args, **kwargs)


class Queries(QueryApi):
    """Start a cross-organization query."""

    @extend_schema(request=QueryInput, responses={200: QueryOutput, 202: QueryOutput, **ERRORS})
    def post(self, request: Request) -> Response:
        """Ask; answered 202 with `Location`, or 200 when complete within `Prefer: wait=S`."""
        caller = caller_of(request)
        raw = raw_of(request._request)
        with limits.admit(caller):
            serializer = QueryInput(data=request.data)
            serializer.is_valid(raise_exception=True)
            data = serializer.validated_data
            asked = query.ask(
                QueryRequest(
                    person_id=None,
                    named=_named(data["patient"]),
                    filter=data.get("filter", {}),
                    targets=tuple(data.get("targets", ())),
                    deadline_s=data["deadline_s"],
                    idempotency_key=request.headers.get("Idempotency-Key"),
                    raw=raw,
                    received_at=self.received_at,
                ),
                caller=caller,
                nudge=tasks.nudge,
            )
        ahead = query_answers.wait(asked, until_s=_preferred_wait(request))
        current = query_answers.view(asked, caller=caller, ahead=ahead)
        response = Response(as_json(current), status=202 if current.status == "running" else 200)
        response["Location"] = f"{settings.BASE_URL}/api/queries/{asked.id}"
        return response


class OneQuery(QueryApi):
    """One query: read it, cancel it."""

    @extend_schema(parameters=[WAIT], responses={200: QueryOutput, **ERRORS})
    def get(self, request: Request, query_id: UUID) -> Response:
        """The list as it may be shown now."""
        caller = caller_of(request)
        asked = query.owned(query_id, caller)
        ahead = query_answers.wait(asked, until_s=_seconds(request.query_params.get("wait"), element="wait"))
        with limits.admit(caller):
            return Response(as_json(query_answers.view(asked, caller=caller, ahead=ahead)))

    @extend_schema(responses={204: None, **ERRORS})
    def delete(self, request: Request, query_id: UUID) -> Response:
        """Stop asking."""
        query.cancel(query_id, caller=caller_of(request))
        return Response(status=204)


def events(request: HttpRequest, query_id: UUID) -> HttpResponseBase:
    """`GET /api/queries/{id}/events`: targets and documents as they come, until all is told."""
    try:
        caller = tokens.authenticate(request)
        query.owned(query_id, caller)
        after = _event_id(request.headers.get("Last-Event-ID"))
        query_answers.changes(query_id, caller=caller, after=after)
    except HubError as error:
        status, code = word_for(error)
        refusal = JsonResponse(error_body(code, str(error), error.element), status=status)
        if isinstance(error, Unsettled):
            refusal["Retry-After"] = str(error.retry_after_s)
        return refusal
    response = StreamingHttpResponse(_stream(query_id, caller, after), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    return response


def _stream(query_id: UUID, caller: Caller, after: int) -> Iterator[bytes]:
    quiet_since = time.monotonic()
    while True:
        try:
            # Each turn asks the door again: suspension and revocation end the stream, or thin it.
            told, done = query_answers.changes(query_id, caller=caller, after=after)
        except Unsettled:
            # Asked again at the next turn.
            told, done = [], False
        except HubError as error:
            _, code = word_for(error)
            yield b"event: error\ndata: " + orjson.dumps(error_body(code, str(error))) + b"\n\n"
            return
        for item in told:
            after = item.id
            yield f"id: {item.id}\nevent: {item.kind}\ndata: ".encode() + orjson.dumps(item.data) + b"\n\n"
            quiet_since = time.monotonic()
        if done:
            return
        if time.monotonic() - quiet_since > KEEP_ALIVE_S:
            yield b": still asking\n\n"
            quiet_since = time.monotonic()
        close_old_connections()
        time.sleep(STREAM_POLL_S)


def as_json(current: QueryView) -> dict[str, Any]:
    """The form of design.md."""
    return {
        "id": str(current.id),
        "status": current.status,
        "created_at": instant(current.created_at),
        "deadline_at": instant(current.deadline_at),
        "completed_at": instant(current.completed_at),
        "patient": {"reference": f"Patient/{current.person_id}"},
        "purpose": current.purpose,
        "targets": [query_answers.target_json(target) for target in current.targets],
        "documents": [document for _, document in current.documents],
    }


def _named(said: dict[str, Any]) -> named_patients.PatientNamed:
    """The patient as the body names one."""
    if "reference" in said:
        return named_patients.PatientNamed(id=said["reference"].removeprefix("Patient/"))
    return named_patients.PatientNamed(system=said["identifier"]["system"], value=said["identifier"]["value"])


def _preferred_wait(request: Request) -> float:
    match = re.search(r"(?:^|[,;\s])wait\s*=\s*([^\s,;]+)", request.headers.get("Prefer", ""))
    return _seconds(match.group(1), element="Prefer") if match else 0.0


def _seconds(value: str | None, *, element: str) -> float:
    if value is None:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        raise BadRequest("wait is a number of seconds", element=element) from None
    if not 0 <= seconds <= MAX_WAIT_S:
        raise BadRequest("wait is between 0 and 30 seconds", element=element)
    return seconds


def _event_id(value: str | None) -> int:
    if not value:
        return 0
    if not (value.isascii() and value.isdigit()) or len(value) > 18:
        raise BadRequest("Last-Event-ID is the id of an event of this stream", element="Last-Event-ID")
    return int(value)


def unknown(request: HttpRequest) -> HttpResponse:
    """Any other path below `/api/`."""
    return JsonResponse(error_body("not-found", "there is nothing here"), status=404)
