"""`/api/audit/{id}/proof`: what shows that one event is in the sealed log (spec/consent.md 17)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from hie.exchange import audit_search
from hie.exchange.errors import BadRequest
from hie.faces.rest.queries import ERRORS, CallerView
from hie.faces.rest.serializers import ProofOutput
from hie.trust import limits


class Proof(CallerView):
    """The inclusion proof of one event, for the patient it is about."""

    @extend_schema(
        parameters=[OpenApiParameter("seal", int, description="size of the checkpoint that the proof is to lead to")],
        responses={200: ProofOutput, **ERRORS},
    )
    def get(self, request: Request, event_id: UUID) -> Response:
        """Leaf, audit path and the signed checkpoint it leads to."""
        caller: Any = request.auth
        given = request.query_params.get("seal", "")
        if given and not (given.isascii() and given.isdigit() and len(given) <= 18):
            raise BadRequest("a number of events is expected", element="seal")
        with limits.admit(caller):
            return Response(audit_search.proof(str(event_id), caller, seal=int(given) if given else None))
