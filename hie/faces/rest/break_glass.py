"""`/api/break-glass`: a clinician declares an emergency (design.md; spec/consent.md 9)."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from hie.exchange import emergency
from hie.exchange.emergency import Declaration
from hie.exchange.find import PatientNamed
from hie.exchange.query import instant
from hie.faces.rest.parsers import raw_of
from hie.faces.rest.queries import ERRORS, CallerView, caller_of
from hie.faces.rest.serializers import EmergencyInput, EmergencyOutput
from hie.trust import limits


class BreakGlass(CallerView):
    """Emergency access."""

    @extend_schema(request=EmergencyInput, responses={201: EmergencyOutput, **ERRORS})
    def post(self, request: Request) -> Response:
        """Open a grant for this user and patient, for four hours; the patient is told, and it is reviewed."""
        caller, raw = caller_of(request), raw_of(request._request)
        with limits.admit(caller):
            with emergency.attempt(caller, raw):
                serializer = EmergencyInput(data=request.data)
                serializer.is_valid(raise_exception=True)
            said = serializer.validated_data
            grant = emergency.declare(
                Declaration(
                    patient=_named(said["patient"]),
                    reason=said["reason"],
                    text=said["text"],
                    statement_accepted=said["statement_accepted"],
                    step_up=said["step_up"],
                    raw=raw,
                ),
                caller=caller,
            )
        body = {"id": grant.id, "start": instant(grant.start), "end": instant(grant.end), "status": grant.status}
        return Response(body, status=201)


def _named(said: dict[str, Any]) -> PatientNamed:
    if "reference" in said:
        return PatientNamed(id=said["reference"].removeprefix("Patient/"))
    return PatientNamed(system=said["identifier"]["system"], value=said["identifier"]["value"])
