"""`/api/patients/imports`: bulk import of demographics, followed from outside (design.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.http import HttpRequest, StreamingHttpResponse
from django.http.request import UnreadablePostError
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.request import Request
from rest_framework.response import Response

from hie.exchange import imports, tasks
from hie.exchange.errors import BadRequest
from hie.exchange.imports import ImportView
from hie.exchange.query_answers import instant
from hie.faces.rest.queries import ERRORS, CallerView, caller_of
from hie.faces.rest.renderers import NdjsonRenderer, OrjsonRenderer
from hie.faces.rest.serializers import ImportOutput
from hie.trust import limits

NDJSON = "application/x-ndjson"
_TAKEN = {
    "application/fhir+ndjson": NDJSON, "application/ndjson": NDJSON, NDJSON: NDJSON, "text/csv": "text/csv",
    "application/gzip": "application/gzip", "application/x-gzip": "application/gzip",
}  # fmt: skip
_PIECE = 1 << 20
PARTICIPANT = OpenApiParameter("participant", str, description="Whose patients; the caller's own when left out.")
COLUMNS = OpenApiParameter("columns", str, description="For CSV: the column map, a JSON object.")
LINES: dict[Any, Any] = {(200, NDJSON): OpenApiTypes.STR, **ERRORS}


class Imports(CallerView):
    """Start a bulk import."""

    @extend_schema(
        parameters=[PARTICIPANT, COLUMNS],
        request={NDJSON: OpenApiTypes.BINARY, "text/csv": OpenApiTypes.BINARY},
        responses={202: ImportOutput, **ERRORS, 415: ERRORS[400]},
    )
    def post(self, request: Request) -> Response:
        """NDJSON of FHIR Patients, or CSV; plain or gzip. Answered 202 with `Location` once the file is stored."""
        caller, http = caller_of(request), request._request
        bare = (http.META.get("CONTENT_TYPE") or "").partition(";")[0].strip().lower()
        if bare not in _TAKEN:
            raise UnsupportedMediaType(bare)
        with limits.admit(caller):
            begun = imports.begin(
                _pieces(http),
                content_type=_TAKEN[bare],
                participant_id=request.query_params.get("participant") or None,
                columns=_columns(request.query_params.get("columns")),
                caller=caller,
                raw_query=f"POST {http.get_full_path()}",
            )
        tasks.nudge_imports()
        response = Response(as_json(begun), status=202)
        response["Location"] = _url(begun.id)
        return response


class OneImport(CallerView):
    """One bulk import."""

    @extend_schema(responses={200: ImportOutput, **ERRORS})
    def get(self, request: Request, import_id: UUID) -> Response:
        """How far it is, and what became of its lines so far."""
        caller = caller_of(request)
        with limits.admit(caller):
            return Response(as_json(imports.view(import_id, caller=caller)))


class ImportLines(CallerView):
    """What became of the lines of one bulk import."""

    refused = False
    renderer_classes = (OrjsonRenderer, NdjsonRenderer)

    @extend_schema(responses=LINES)
    def get(self, request: Request, import_id: UUID) -> StreamingHttpResponse:
        """One JSON object a line, in the order of the file."""
        caller = caller_of(request)
        with limits.admit(caller):
            told = imports.lines(
                import_id,
                caller=caller,
                refused=self.refused,
                raw_query=f"GET {request._request.get_full_path()}",
            )
        return StreamingHttpResponse(_encoded(told), content_type=NDJSON)


def as_json(run: ImportView) -> dict[str, Any]:
    """The form of design.md; the files are there when the import has settled."""
    settled = run.status != "running"
    return {
        "id": str(run.id),
        "status": run.status,
        "read": run.read,
        "new": run.new,
        "linked": run.linked,
        "review": run.review,
        "updated": run.updated,
        "refused": run.refused,
        "started_at": instant(run.started_at),
        "finished_at": instant(run.finished_at),
        "links_url": f"{_url(run.id)}/links" if settled else None,
        "refused_url": f"{_url(run.id)}/refused" if settled else None,
    }


def _url(import_id: UUID) -> str:
    return f"{settings.BASE_URL}/api/patients/imports/{import_id}"


def _encoded(told: Iterator[Mapping[str, Any]]) -> Iterator[bytes]:
    held: list[bytes] = []
    for line in told:
        held.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        if len(held) == 1000:
            yield b"".join(held)
            held = []
    yield b"".join(held)


def _pieces(http: HttpRequest) -> Iterator[bytes]:
    """The body as it comes, without a limit of its own: the store has one.

    Raises:
        ParseError: it broke off.
    """
    environ = http.META
    if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower() and not environ.get("CONTENT_LENGTH"):
        http._stream = environ["wsgi.input"]  # without a Content-Length Django takes every body for empty
    taken = 0
    try:
        while piece := http.read(_PIECE):
            taken += len(piece)
            yield piece
    except (UnreadablePostError, OSError) as error:
        raise ParseError("the body broke off") from error
    stated = environ.get("CONTENT_LENGTH") or ""
    if stated.isdigit() and taken < int(stated):
        raise ParseError("the body broke off")


def _columns(text: str | None) -> dict[str, Any] | None:
    if not text:
        return None
    try:
        found = orjson.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise BadRequest("the column map is a JSON object", element="columns")
    return found
