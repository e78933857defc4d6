"""CDS Hooks: the service ``patient-consent-consult``, one card that says what consent decides.

Context: ``patientId`` (identifiers), ``scope``, ``purposeOfUse``, ``actor`` (identifiers of the requester: its
organization; ``urn:hie:user`` and ``urn:hie:role`` for the person, else as the token says), ``class`` (codings of
documents) and ``category`` (of consents: all count, so it narrows nothing). A question of a class is answered over the documents of it that this caller may be told
of: CONSENT_PERMIT when some are permitted, with a REDACT obligation that takes out the rest. NO_CONSENT is said where only the default
decided (F1, F2, F3); whether it permits stands in ``extension.decision``. What may not be told answers as an
unknown patient does: no card.

Source: spec/consent.md 14; CDS Hooks 2.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from documents import facts as facts_of_entries
from hie.exchange import decisions
from hie.exchange.decisions import Answer, OrganizationNamed, Question, Told
from hie.exchange.errors import BadRequest, NotFound
from hie.exchange.named_patients import PatientNamed
from hie.faces.decisions.http import base_url, json_refusal, listed, mapped, only, service, text
from hie.standards.facts import Caller
from hie.standards.fhir import JsonObject
from hie.trust.extensions import PURPOSE_SYSTEMS

SERVICE = "patient-consent-consult"
OBLIGATION_SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
OWN_SYSTEM = "urn:hie:obligation"
_IN_ACT_CODE = frozenset({"MINEC", "NORDSCLCD", "NOREUSE", "NORELINK", "REDACT"})
_SCOPES = ("patient-privacy", "research")
_REQUEST = ("hook", "hookInstance", "context", "fhirServer", "fhirAuthorization", "prefetch", "extension")
_CONTEXT = ("patientId", "scope", "purposeOfUse", "actor", "class", "category")
_DEFAULTS = frozenset({"F1", "F2", "F3"})
_USER, _ROLE = "urn:hie:user", "urn:hie:role"


@csrf_exempt
def discovery(request: HttpRequest) -> HttpResponse:
    """`GET /consent/cds-services`: the one service there is."""
    if request.method not in ("GET", "HEAD"):
        response = json_refusal(405, "not-allowed", "only GET is offered here", None)
        response["Allow"] = "GET, HEAD"
        return response
    described = {
        "hook": SERVICE,
        "id": SERVICE,
        "title": "Consent decision",
        "description": "Whether a requester may see documents of a patient, by consent, law and agreement, and what goes with it",
    }
    response = JsonResponse({"services": [described]})
    response["Cache-Control"] = "public, max-age=60"
    return response


@service(json_refusal, ("application/json",))
def consult(request: HttpRequest, caller: Caller, body: JsonObject, raw: str) -> HttpResponse:
    """`POST /consent/cds-services/patient-consent-consult`."""
    question = _question(body, raw)
    try:
        answer = decisions.decide(question, caller=caller)
    except NotFound:
        return JsonResponse({"cards": []})
    return JsonResponse({"cards": [_card(answer)]})


# --- reading ----------------------------------------------------------------------------------------------------------


def _question(body: JsonObject, raw: str) -> Question:
    only(body, _REQUEST, "")
    if text(body.get("hook"), "hook") != SERVICE:
        raise BadRequest(f"the hook is {SERVICE}", element="hook")
    text(body.get("hookInstance"), "hookInstance")
    context = mapped(body.get("context"), "context")
    only(context, _CONTEXT, "context")
    if text(context.get("scope"), "context.scope", absent=_SCOPES[0]) not in _SCOPES:
        raise BadRequest(f"scope is one of: {' '.join(_SCOPES)}", element="context.scope")
    patient = [
        PatientNamed(system=system, value=value)
        for system, value in _identifiers(context.get("patientId"), "context.patientId")
    ]
    if not patient:
        raise BadRequest("an identifier of the patient is needed", element="context.patientId")
    user, role, organization = None, None, None
    for n, (system, value) in enumerate(_identifiers(context.get("actor"), "context.actor")):
        if system == _USER and user is None:
            user = value
        elif system == _ROLE and role is None:
            role = value
        elif system not in (_USER, _ROLE) and organization is None:
            organization = OrganizationNamed(system=system, value=value)
        else:
            raise BadRequest(
                "one organization, one user and one role can be asked about", element=f"context.actor[{n}]"
            )
    # The category is that of consents, all of which count here: it is read, and narrows nothing.
    _codings(context, "category")
    return Question(
        patient=tuple(patient),
        organization=organization,
        user=user,
        role=role,
        purpose=_purpose(context.get("purposeOfUse")),
        classes=facts_of_entries.spelled(_codings(context, "class")),
        of_a_kind=True,
        raw=raw,
    )


def _identifiers(value: Any, where: str) -> list[tuple[str, str]]:
    found = []
    for n, one in enumerate(listed(value, where)):
        given = mapped(one, f"{where}[{n}]")
        only(given, ("system", "value", "use", "type", "period", "assigner", "id"), f"{where}[{n}]")
        found.append(
            (text(given.get("system"), f"{where}[{n}].system"), text(given.get("value"), f"{where}[{n}].value"))
        )
    return found


def _codings(context: Mapping[str, Any], name: str) -> list[tuple[str, str]]:
    found = []
    for n, one in enumerate(listed(context.get(name), f"context.{name}")):
        where = f"context.{name}[{n}]"
        given = mapped(one, where)
        only(given, ("system", "code", "display", "version", "userSelected"), where)
        found.append((text(given.get("system"), f"{where}.system"), text(given.get("code"), f"{where}.code")))
    return found


def _purpose(value: Any) -> str | None:
    if value is None:
        return None
    where = "context.purposeOfUse"
    if isinstance(value, list):
        if len(value) != 1:
            raise BadRequest("exactly one purpose can be asked about", element=where)
        value, where = value[0], f"{where}[0]"
    if isinstance(value, dict):
        only(value, ("system", "code", "display"), where)
        if text(value.get("system"), f"{where}.system", absent="") not in PURPOSE_SYSTEMS:
            raise BadRequest("is of an unknown code system", element=f"{where}.system")
        value, where = value.get("code"), f"{where}.code"
    return text(value, where)


# --- telling ----------------------------------------------------------------------------------------------------------


def _card(answer: Answer) -> JsonObject:
    told = answer.documents
    deciding = [one for one in told if one.decision.permitted] or list(told)
    first = deciding[0].decision
    by_default = {one.decision.rule for one in deciding} <= _DEFAULTS
    summary = "NO_CONSENT" if by_default else "CONSENT_PERMIT" if first.permitted else "CONSENT_DENY"
    indicator = (
        "info" if first.permitted and answer.decision == "permit" else "warning" if first.permitted else "critical"
    )
    return {
        "summary": summary,
        "detail": decisions.sentence(answer, deciding[0]),
        "indicator": indicator,
        "source": {"label": "Consent decision service of the exchange", "url": f"{base_url()}/consent/cds-services"},
        "extension": {
            "decision": first.outcome,
            "rule": first.rule,
            "reason": first.reason,
            "obligations": _obligations(told, deciding),
            "basedOn": _based_on(one for one in deciding if one.decision.rule == first.rule),
            "decisionId": answer.id,
        },
    }


def _obligations(told: Iterable[Told], deciding: Iterable[Told]) -> list[JsonObject]:
    told = list(told)
    if not any(one.decision.permitted for one in told):
        return []
    codes = sorted({code for one in deciding for code in one.decision.obligations})
    found: list[JsonObject] = [{"id": _obligation(code), "parameters": {"codes": []}} for code in codes]
    taken_out = decisions.redactions(told)
    if taken_out:
        parameters = {"codes": [{"system": system, "code": code} for system, code in taken_out]}
        found.append({"id": _obligation("REDACT"), "parameters": parameters})
    return found


def _obligation(code: str) -> JsonObject:
    return {"system": OBLIGATION_SYSTEM if code in _IN_ACT_CODE else OWN_SYSTEM, "code": code}


def _based_on(told: Iterable[Told]) -> list[JsonObject]:
    found: dict[tuple[tuple[str, str], ...], JsonObject] = {}
    for one in told:
        for item in decisions.basis_of(one.decision):
            found.setdefault(tuple(item.items()), dict(item))
    return list(found.values())
