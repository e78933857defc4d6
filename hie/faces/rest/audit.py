"""`/api/audit/{id}/proof`: what shows that one event is in the sealed log (spec/consent.md 17)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from hie.exchange import access_log
from hie.faces.rest.queries import ERRORS, CallerView
from hie.faces.rest.serializers import ProofOutput
from hie.trust import limits


class Proof(CallerView):
    """The inclusion proof of one event, for the patient it is about."""

    @extend_schema(responses={200: ProofOutput, **ERRORS})
    def get(self, request: Request, event_id: UUID) -> Response:
        """Leaf, audit path and the signed checkpoint it leads to."""
        caller: Any = request.auth
        with limits.admit(caller):
            return Response(access_log.proof(str(event_id), caller))
