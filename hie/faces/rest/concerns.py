"""`/api/concerns`: looks of an organization's users that a patient does not recognise, and its answers.

Source: spec/consent.md 15.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from hie.exchange import concern_answers
from hie.exchange.concern_answers import Answerable
from hie.exchange.concern_rows import PATIENT, Act, Said
from hie.exchange.query_answers import instant
from hie.faces.rest.parsers import raw_of
from hie.faces.rest.queries import ERRORS, CallerView, caller_of
from hie.faces.rest.serializers import ConcernAnswerInput, ConcernOutput, ConcernsOutput
from hie.trust import limits


class Concerns(CallerView):
    """What the organization was asked."""

    @extend_schema(responses={200: ConcernsOutput, **ERRORS})
    def get(self, request: Request) -> Response:
        """The concerns about the caller's organization, newest first, at most 200; for a purpose of its operations."""
        caller = caller_of(request)
        with limits.admit(caller):
            return Response({"concerns": [_as_json(one) for one in concern_answers.cases(caller=caller)]})


class Answer(CallerView):
    """The answer to one of them."""

    @extend_schema(request=ConcernAnswerInput, responses={200: ConcernOutput, **ERRORS})
    def post(self, request: Request, number: str) -> Response:
        """Answer what was asked, for the organization; the user concerned does not. The patient reads it."""
        caller, raw = caller_of(request), raw_of(request._request)
        with limits.admit(caller):
            serializer = ConcernAnswerInput(data=request.data)
            serializer.is_valid(raise_exception=True)
            text = serializer.validated_data["text"]
            return Response(_as_json(concern_answers.answer(number, text, caller=caller, raw=raw)))


def _as_json(one: Answerable) -> dict[str, Any]:
    return {
        "number": one.number, "reason": one.reason, "status": one.status,
        "asked_at": instant(one.asked_at), "due_at": instant(one.due_at), "overdue": one.overdue,
        "event": str(one.event_id), "at": instant(one.at), "request_id": one.request_id or None,
        "transaction": one.transaction or None, "organization": one.organization, "user": one.user or None,
        "role": one.role or None, "purpose": one.purpose or None,
        "said": [{"by": _by(said), "at": instant(said.at), "text": said.words} for said in one.said],
    }  # fmt: skip


def _by(said: Said) -> str:
    """Which side said it. Whether the patient or a helper of hers is not the organization's to know."""
    if said.kind == Act.ANSWERED:
        return "organization"
    return "patient" if said.actor == PATIENT or said.actor.startswith("RelatedPerson/") else "exchange"
