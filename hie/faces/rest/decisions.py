"""`/api/decisions/{id}/explain` and `/api/documents/{id}/who-could-see`: why something was shown, and who could see it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from consent import explain
from hie.directory import queries as directory
from hie.exchange import explained, who_could_see
from hie.exchange.errors import BadRequest
from hie.exchange.explained import Explained, ExplainedRule
from hie.exchange.query_answers import instant
from hie.exchange.who_could_see import Answer
from hie.faces.rest.queries import ERRORS, CallerView, caller_of
from hie.faces.rest.serializers import ExplainedOutput, WhoCouldSeeOutput
from hie.trust import limits

LANGUAGE = OpenApiParameter(
    "language", str, description="en, es; for patients ar too. Else as Accept-Language says, else English."
)


class Explain(CallerView):
    """One decision in words."""

    @extend_schema(parameters=[LANGUAGE], responses={200: ExplainedOutput, **ERRORS})
    def get(self, request: Request, decision_id: UUID) -> Response:
        """The rules in order, fired or not and why, as far as this caller may know."""
        caller = caller_of(request)
        with limits.admit(caller):
            found = explained.explain_decision(
                str(decision_id),
                caller=caller,
                language=_language(request),
                raw=f"GET {request._request.get_full_path()}",
            )
            # By what language it was chosen and which it is; nobody keeps a copy.
            headers = {"Vary": "Accept-Language", "Content-Language": found.language, "Cache-Control": "no-store"}
            return Response(_explained(found), headers=headers)


class WhoCouldSee(CallerView):
    """Who could see a document."""

    @extend_schema(responses={200: WhoCouldSeeOutput, **ERRORS})
    def get(self, request: Request, document_id: UUID) -> Response:
        """Every participant, purpose and role with the answer and the rule that decides, in groups; for the patient."""
        caller = caller_of(request)
        with limits.admit(caller):
            _only(request, ())
            seen = who_could_see.for_patient(
                str(document_id), caller=caller, raw=f"GET {request._request.get_full_path()}"
            )
            members = directory.participants()
            body = {
                "document": {"id": seen.document_id, "title": seen.title, "custodian": seen.custodian},
                "patient": {"reference": f"Patient/{seen.person_id}"},
                "answers": [_answer(one, {key: facts.name for key, facts in members.items()}) for one in seen.answers],
            }
            return Response(body, headers={"Cache-Control": "no-store"})


def _only(request: Request, names: tuple[str, ...]) -> None:
    for name in request.query_params:
        if name not in names:
            raise BadRequest("not understood here", element=name[:100])


def _language(request: Request) -> str:
    _only(request, ("language",))
    given = request.query_params.get("language")
    if given is not None:
        if given not in explained.LANGUAGES[explain.Audience.PATIENT]:
            raise BadRequest("language is en, es or ar", element="language")
        return str(given)
    accepted = request.headers.get("Accept-Language", "")[:200]
    return accepted.partition(",")[0].partition(";")[0].strip() or "en"


def _explained(found: Explained) -> dict[str, Any]:
    return {
        "id": found.id,
        "at": instant(found.at),
        "audience": found.audience,
        "language": found.language,
        "request": {"organization": found.organization, "purpose": found.purpose, "role": found.role},
        "sentence": found.sentence,
        "rules": [_rule(one) for one in found.rules],
        "documents": [
            {
                "id": one.document_id,
                "decision": one.decision,
                "rule": one.rule,
                "reason": one.reason,
                "sentence": one.sentence,
                "obligations": list(one.obligations),
                "rules": [_rule(rule) for rule in one.rules],
            }
            for one in found.documents
        ],
    }


def _rule(one: ExplainedRule) -> dict[str, Any]:
    return {"rule": one.rule, "fired": one.fired, "reason": one.reason if one.fired else "", "why": one.why}


def _answer(one: Answer, names: dict[str, str]) -> dict[str, Any]:
    decision = one.decision
    return {
        "organizations": [{"id": key, "name": names.get(key) or key} for key in one.block.organizations],
        "purposes": list(one.block.purposes),
        "roles": list(one.block.roles),
        "person": one.block.person or None,
        "decision": decision.outcome,
        "rule": decision.rule,
        "reason": decision.reason,
        "obligations": list(decision.obligations),
        "basis": [
            {name: value for name in ("kind", "id", "version", "path") if (value := getattr(item, name))}
            for item in decision.basis
        ],
    }
