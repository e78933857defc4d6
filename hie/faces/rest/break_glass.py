"""`/api/break-glass`: a clinician declares an emergency, a supervisor allows one more, a participant answers for one.

Source: design.md; spec/consent.md 9.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from hie.exchange import emergency, emergency_answers
from hie.exchange.emergency import Declaration
from hie.exchange.emergency_answers import Answerable
from hie.exchange.named_patients import PatientNamed
from hie.exchange.query_answers import instant
from hie.faces.rest.parsers import raw_of
from hie.faces.rest.queries import ERRORS, CallerView, caller_of
from hie.faces.rest.serializers import (
    EmergencyAnswerInput,
    EmergencyCaseOutput,
    EmergencyCasesOutput,
    EmergencyInput,
    EmergencyOutput,
    EmergencyTermsOutput,
    LeaveInput,
    LeaveOutput,
)
from hie.trust import limits


class BreakGlass(CallerView):
    """Emergency access."""

    @extend_schema(responses={200: EmergencyTermsOutput, **ERRORS})
    def get(self, request: Request) -> Response:
        """The statement to be accepted, what an emergency asks for, and that more may be available in one."""
        caller = caller_of(request)
        with limits.admit(caller):
            terms = emergency.terms(caller=caller)
        return Response(
            {
                "statement": terms.statement, "hint": terms.hint, "reasons": list(terms.reasons),
                "min_text": terms.min_text, "hours": terms.hours, "a_day": terms.a_day,
            }
        )  # fmt: skip

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


class Leaves(CallerView):
    """Emergencies beyond three a day."""

    @extend_schema(request=LeaveInput, responses={201: LeaveOutput, **ERRORS})
    def post(self, request: Request) -> Response:
        """As a second clinician, allow a colleague of the same organization one more, within four hours."""
        caller, raw = caller_of(request), raw_of(request._request)
        with limits.admit(caller):
            with emergency.attempt(caller, raw):
                serializer = LeaveInput(data=request.data)
                serializer.is_valid(raise_exception=True)
            said = serializer.validated_data
            leave = emergency.allow_one_more(
                said["user"], said["text"], step_up=said["step_up"], caller=caller, raw=raw
            )
        body = {"user": leave.user, "start": instant(leave.given_at), "end": instant(leave.ends_at)}
        return Response(body, status=201)


class Cases(CallerView):
    """Emergency accesses that were found not justified, as their participant answers for them."""

    @extend_schema(responses={200: EmergencyCasesOutput, **ERRORS})
    def get(self, request: Request) -> Response:
        """The cases of the caller's organization, newest first, at most 200; for a purpose of its operations."""
        caller = caller_of(request)
        with limits.admit(caller):
            return Response({"cases": [_as_json(one) for one in emergency_answers.cases(caller=caller)]})


class Answer(CallerView):
    """The answer to one of them."""

    @extend_schema(request=EmergencyAnswerInput, responses={200: EmergencyCaseOutput, **ERRORS})
    def post(self, request: Request, grant_id: UUID) -> Response:
        """Answer once, for the organization; the user concerned does not."""
        caller, raw = caller_of(request), raw_of(request._request)
        with limits.admit(caller):
            serializer = EmergencyAnswerInput(data=request.data)
            serializer.is_valid(raise_exception=True)
            text = serializer.validated_data["text"]
            return Response(_as_json(emergency_answers.answer(grant_id, text, caller=caller, raw=raw)))


def _as_json(case: Answerable) -> dict[str, Any]:
    return {
        "id": str(case.grant_id), "user": case.user, "reason": case.reason, "text": case.text,
        "start": instant(case.start), "end": instant(case.end),
        "opened_at": instant(case.opened_at), "due_at": instant(case.due_at),
        "status": case.status, "raised": case.raised,
        "answered_at": instant(case.answered_at) if case.answered_at is not None else None,
        "answer": case.answer or None,
    }  # fmt: skip


def _named(said: dict[str, Any]) -> PatientNamed:
    if "reference" in said:
        return PatientNamed(id=said["reference"].removeprefix("Patient/"))
    return PatientNamed(system=said["identifier"]["system"], value=said["identifier"]["value"])
