"""XACML 3.0 in JSON: Permit, Deny, NotApplicable or Indeterminate, one result for each resource asked about.

Request: ``AccessSubject`` (organization, subject-id, role, purpose), ``Action``, ``Resource`` (patient and
document; several for several documents), ``Environment`` (current-dateTime, when a minute and more from now, makes it a simulation), or the same as ``Category`` with
CategoryIds. Attributes are called by the names of `NAMES`; one that is not understood is refused, for what it
says may narrow what is permitted. Rule G1 is Indeterminate, F3 NotApplicable. What may not be told, and what is not there, is one
Indeterminate. Status codes: ``missing-attribute`` for what is needed and not there, ``syntax-error`` for what cannot be
read, ``processing-error`` for what cannot be answered. Attributes with IncludeInResult come back with their result.
Answers in ``application/xacml+json``, or in ``application/json`` to whoever asked in it or wants it.

Source: spec/consent.md 14; OASIS XACML 3.0 core, JSON Profile 1.1, XSPA profile of XACML.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse

from consent import explain
from documents import facts as facts_of_entries
from hie.exchange import access, decisions
from hie.exchange.decisions import OrganizationNamed, Question, Told, TooManyDocuments
from hie.exchange.errors import BadRequest, NotFound
from hie.exchange.named_patients import PatientNamed
from hie.faces.decisions.http import json_refusal, listed, mapped, only, service, text
from hie.standards.facts import Caller
from hie.standards.fhir import JsonObject
from hie.trust.extensions import PURPOSE_SYSTEMS

TYPES = ("application/xacml+json", "application/json")
_STATUS = "urn:oasis:names:tc:xacml:1.0:status:"
_SHORT = ("AccessSubject", "Action", "Resource", "Environment")
_CATEGORY = {
    "urn:oasis:names:tc:xacml:1.0:subject-category:access-subject": "AccessSubject",
    "urn:oasis:names:tc:xacml:3.0:attribute-category:action": "Action",
    "urn:oasis:names:tc:xacml:3.0:attribute-category:resource": "Resource",
    "urn:oasis:names:tc:xacml:3.0:attribute-category:environment": "Environment",
}
NAMES: Mapping[str, Mapping[str, str]] = {
    "AccessSubject": {
        "subject-id": "user",
        "urn:oasis:names:tc:xacml:1.0:subject:subject-id": "user",
        "urn:oasis:names:tc:xspa:1.0:subject:subject-id": "user",
        "organization": "organization",
        "organization-id": "organization",
        "urn:oasis:names:tc:xspa:1.0:subject:organization-id": "organization",
        "role": "role",
        "urn:oasis:names:tc:xacml:2.0:subject:role": "role",
        "purpose": "purpose",
        "purpose-of-use": "purpose",
        "urn:oasis:names:tc:xspa:1.0:subject:purposeofuse": "purpose",
        "relationship": "relationship",
        "care-team": "care_team",
    },
    "Action": {"action-id": "operation", "urn:oasis:names:tc:xacml:1.0:action:action-id": "operation"},
    "Resource": {
        "patient": "patient",
        "patient-id": "patient",
        "urn:oasis:names:tc:xacml:1.0:resource:patient-id": "patient",
        "urn:ihe:iti:ser:2016:patient-id": "patient",
        "resource-id": "document",
        "document": "document",
        "urn:oasis:names:tc:xacml:1.0:resource:resource-id": "document",
        "class": "class",
    },
    "Environment": {
        "current-dateTime": "now",
        "urn:oasis:names:tc:xacml:1.0:environment:current-dateTime": "now",
        "purpose": "purpose",
        "purpose-of-use": "purpose",
        "urn:oasis:names:tc:xspa:1.0:subject:purposeofuse": "purpose",
    },
}
"""What each attribute of a category means here."""
_MANY = frozenset({"care_team", "class", "patient"})
_CODED = frozenset({"class", "organization", "patient", "purpose"})
_OPERATIONS = {"read": "retrieve", "access": "retrieve", "search": "query"}
_CX = re.compile(r"^(?P<value>[^^]+)\^\^\^(?:[^&]*)&(?P<oid>[0-9.]+)&ISO$")
_VERSION = re.compile(r"^\d+(\.\d+)*$")
_MAX_RESOURCES = 50
_NOW = timedelta(minutes=1)


@dataclass(slots=True)
class _Asked:
    """The attributes of one category, by what they mean; each with where it stands."""

    values: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    told: JsonObject | None = None
    """The category with the attributes that are to come back with the result."""
    given: JsonObject = field(default_factory=dict)
    """The category as sent."""

    def one(self, name: str) -> str | None:
        """The value of an attribute that may have one."""
        found = self.values.get(name, [])
        return found[0][0] if found else None

    def all(self, name: str) -> list[tuple[str, str]]:
        """Value and place of each."""
        return self.values.get(name, [])


class _MissingAttribute(BadRequest):
    """Something that a decision needs is not in the request, which is well-formed otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asks:
    """One question, with what of it is to come back with its result."""

    question: Question
    told: tuple[JsonObject, ...]


def refusal(status: int, code: str, message: str, element: str | None) -> HttpResponse:
    """A request that cannot be decided: Indeterminate, with what is wrong and where."""
    if status in (401, 403, 404, 405, 406, 413, 415, 429, 500, 503):
        # Not of the request's content: a result would look like a decision.
        return json_refusal(status, code, message, element)
    told = f"{element}: {message}" if element else message
    return JsonResponse({"Response": [_indeterminate("syntax-error", told)]}, status=status, content_type=TYPES[0])


@service(refusal, TYPES)
def decide(request: HttpRequest, caller: Caller, body: JsonObject, raw: str) -> HttpResponse:
    """`POST /consent/xacml`."""
    wanted = _type_wanted(request)
    if wanted is None:
        return refusal(406, "not-acceptable", f"answers are in {' or '.join(TYPES)}", None)
    try:
        results = _results(_questions(body, raw), caller)
    except _MissingAttribute as missing:
        results = [_indeterminate("missing-attribute", f"{missing.element}: {missing}")]
    return JsonResponse({"Response": results}, content_type=wanted)


def _type_wanted(request: HttpRequest) -> str | None:
    """The media type to answer in: the one asked for, where both do that of the question; None where neither does."""
    asked_in = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    accepted: dict[str, float] = {}
    for one in request.headers.get("Accept", "").split(","):
        name, *parameters = (part.strip().lower() for part in one.split(";"))
        weight = next((_weight(part[2:]) for part in parameters if part.startswith("q=")), 1.0)
        if name:
            accepted[name] = max(weight, accepted.get(name, 0.0))
    if not accepted:
        return asked_in

    def liked(media_type: str) -> tuple[float, bool]:
        names = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
        return next((accepted[name] for name in names if name in accepted), 0.0), media_type == asked_in

    best = max(TYPES, key=liked)
    return best if liked(best)[0] > 0 else None


def _weight(text_: str) -> float:
    try:
        return min(max(float(text_), 0.0), 1.0)
    except ValueError:
        return 0.0


def _results(asked: list[_Asks], caller: Caller) -> list[JsonObject]:
    """A result for each question; what is asked twice is decided, and recorded, once."""
    known: dict[Question, JsonObject] = {}
    found = []
    for one in asked:
        key = replace(one.question, raw="")
        if key not in known:
            known[key] = _result(one.question, caller)
        found.append({**known[key], **({"Category": list(one.told)} if one.told else {})})
    return found


# --- reading ----------------------------------------------------------------------------------------------------------


def _questions(body: JsonObject, raw: str) -> list[_Asks]:
    only(body, ("Request",), "")
    request = mapped(body.get("Request"), "Request")
    only(request, ("ReturnPolicyIdList", "CombinedDecision", "XPathVersion", "Category", *_SHORT), "Request")
    for name in ("ReturnPolicyIdList", "CombinedDecision"):
        if not isinstance(request.get(name, False), bool):
            raise BadRequest("is true or false", element=f"Request.{name}")
    if request.get("CombinedDecision"):
        raise BadRequest("decisions are given one by one", element="Request.CombinedDecision")
    held = _categories(request)
    digest = hashlib.sha256(raw.encode("utf-8", "replace")).hexdigest()
    for name in ("AccessSubject", "Action", "Environment"):
        if len(held[name]) > 1:
            raise BadRequest("is asked about once", element=f"Request.{name}")
    if not held["Resource"]:
        raise _MissingAttribute("a resource with its patient is needed", element="Request.Resource")
    if len(held["Resource"]) > _MAX_RESOURCES:
        raise BadRequest(f"at most {_MAX_RESOURCES} are decided at once", element="Request.Resource")
    subject, action, environment = (
        (held[name] or [_Asked()])[0] for name in ("AccessSubject", "Action", "Environment")
    )
    organization = subject.one("organization")
    operation = action.one("operation")
    at = environment.one("now")
    shared = tuple(one.told for one in (subject, action, environment) if one.told is not None)
    questions = [
        Question(
            patient=tuple(_patient(value, where) for value, where in _patients(resource, n)),
            organization=None if organization is None else _organization(organization),
            user=subject.one("user"),
            role=subject.one("role"),
            purpose=_purpose(subject, environment),
            operation="retrieve" if operation is None else _OPERATIONS.get(operation, operation),
            relationship=subject.one("relationship"),
            care_teams=tuple(value for value, _ in subject.all("care_team")),
            documents=() if resource.one("document") is None else (_bare(resource.one("document") or ""),),
            classes=facts_of_entries.spelled(_coding(value, where) for value, where in resource.all("class")),
            at=None if at is None else _instant(at),
            # The whole request is kept with its first question; with each other one its own resource.
            raw=raw if n == 0 else json.dumps({"Resource": resource.given, "of": digest}),
        )
        for n, resource in enumerate(held["Resource"])
    ]
    return [
        _Asks(question=question, told=(*shared, resource.told) if resource.told is not None else shared)
        for question, resource in zip(questions, held["Resource"], strict=True)
    ]


def _categories(request: Mapping[str, Any]) -> dict[str, list[_Asked]]:
    found: dict[str, list[_Asked]] = {name: [] for name in _SHORT}
    for name in _SHORT:
        for n, one in enumerate(listed(request.get(name), f"Request.{name}", most=_MAX_RESOURCES)):
            found[name].append(_category(name, one, f"Request.{name}[{n}]"))
    for n, one in enumerate(listed(request.get("Category"), "Request.Category", most=_MAX_RESOURCES + 3)):
        where = f"Request.Category[{n}]"
        identifier = text(mapped(one, where).get("CategoryId"), f"{where}.CategoryId")
        if identifier not in _CATEGORY:
            raise BadRequest("a category that is not understood here", element=f"{where}.CategoryId")
        found[_CATEGORY[identifier]].append(_category(_CATEGORY[identifier], one, where))
    return found


def _category(name: str, value: Any, where: str) -> _Asked:
    given = mapped(value, where)
    only(given, ("Attribute", "CategoryId", "Id"), where)
    asked = _Asked(given=dict(given))
    coming_back: list[Any] = []
    for n, one in enumerate(listed(given.get("Attribute"), f"{where}.Attribute")):
        place = f"{where}.Attribute[{n}]"
        attribute = mapped(one, place)
        only(attribute, ("AttributeId", "Value", "DataType", "Issuer", "IncludeInResult"), place)
        if not isinstance(attribute.get("IncludeInResult", False), bool):
            raise BadRequest("is true or false", element=f"{place}.IncludeInResult")
        if attribute.get("IncludeInResult"):
            coming_back.append({key: one for key, one in attribute.items() if key != "IncludeInResult"})
        identifier = text(attribute.get("AttributeId"), f"{place}.AttributeId")
        meaning = NAMES[name].get(identifier)
        if meaning is None:
            raise BadRequest("an attribute that is not understood here", element=f"{place}.AttributeId")
        values = attribute.get("Value")
        listed_values = values if isinstance(values, list) else [values]
        if not listed_values or len(listed_values) > 100:
            raise BadRequest("has 1 to 100 values", element=f"{place}.Value")
        held = asked.values.setdefault(meaning, [])
        held += [
            (text(_code(one, meaning, f"{place}.Value"), f"{place}.Value"), f"{place}.Value") for one in listed_values
        ]
        if len(held) > 1 and meaning not in _MANY:
            raise BadRequest("exactly one value can be asked about", element=f"{place}.Value")
    if coming_back:
        asked.told = {"CategoryId": next(uri for uri, short in _CATEGORY.items() if short == name)}
        asked.told["Attribute"] = coming_back
    return asked


def _code(value: Any, meaning: str, where: str) -> Any:
    """A value as a text: a coded one with its system, a role without, as in a token.

    Raises:
        BadRequest: a system where no value has one.
    """
    if not isinstance(value, dict):
        return value
    system, code = value.get("system"), value.get("code")
    if system is None or meaning == "role":
        return code
    if meaning not in _CODED:
        raise BadRequest("a value here has no system", element=where)
    return f"{text(system, where)}|{text(code, where)}"


def _patients(resource: _Asked, n: int) -> list[tuple[str, str]]:
    found = resource.all("patient")
    if not found:
        raise _MissingAttribute("the patient is needed", element=f"Request.Resource[{n}].Attribute")
    return found


def _patient(value: str, where: str) -> PatientNamed:
    """``Patient/id``, ``system|value``, or an identifier as HL7 v2 writes it (CX)."""
    if value.startswith("Patient/"):
        return PatientNamed(id=value.removeprefix("Patient/"))
    cx = _CX.match(value)
    if cx is not None:
        return PatientNamed(system=f"urn:oid:{cx['oid']}", value=cx["value"])
    system, bar, number = value.rpartition("|")
    if not bar or not system or not number:
        raise BadRequest("a patient is Patient/id, system|value, or value^^^&OID&ISO", element=where)
    return PatientNamed(system=system, value=number)


def _coding(value: str, where: str) -> tuple[str, str]:
    system, bar, code = value.rpartition("|")
    if not bar or not system or not code:
        raise BadRequest("a class is system|code", element=where)
    return system, code


def _organization(value: str) -> OrganizationNamed:
    if value.startswith("Organization/"):
        return OrganizationNamed(id=value.removeprefix("Organization/"))
    system, _, number = value.rpartition("|")
    return OrganizationNamed(system=system, value=number)


def _purpose(subject: _Asked, environment: _Asked) -> str | None:
    found = [*subject.all("purpose"), *environment.all("purpose")]
    if len(found) > 1:
        raise BadRequest("exactly one purpose can be asked about", element=found[1][1])
    if not found:
        return None
    value, where = found[0]
    system, _, code = value.rpartition("#" if "#" in value else "|")
    if system not in PURPOSE_SYSTEMS:
        raise BadRequest("is of an unknown code system", element=where)
    return code


def _bare(value: str) -> str:
    return value.removeprefix("urn:uuid:").removeprefix("DocumentReference/")


def _instant(value: str) -> datetime | None:
    where = "Request.Environment"
    try:
        found = datetime.fromisoformat(value) if "T" in value else None
    except ValueError:
        found = None
    if found is None or found.tzinfo is None or not 1900 < found.year < 9000:
        raise BadRequest("current-dateTime is an instant with its offset", element=where)
    at = found.astimezone(UTC)
    # A request states the time it was made at as a matter of course: that asks about now, by the clock of the hub.
    return None if abs(at - access.now()) <= _NOW else at


# --- telling ----------------------------------------------------------------------------------------------------------


def _result(question: Question, caller: Caller) -> JsonObject:
    try:
        answer = decisions.decide(question, caller=caller)
    except (NotFound, TooManyDocuments) as absent:
        return _indeterminate("processing-error", str(absent))
    told = answer.documents
    deciding: list[Told] = [one for one in told if one.decision.permitted] or list(told)
    first = deciding[0].decision
    if answer.decision == "partial" or (first.permitted and decisions.redactions(told)):
        # Of several documents only some: a Permit would open all, and no obligation of this form can say which.
        return _indeterminate("processing-error", "of these documents some are permitted: ask about each")
    if first.rule == "G1":
        told_of = (question.purpose or caller.purpose, question.role or caller.role, question.user or caller.user_id)
        code = "syntax-error" if all(told_of) else "missing-attribute"
        return _indeterminate(code, explain.sentence(first, explain.Audience.PARTICIPANT)) | {
            "PolicyIdentifierList": {"PolicyIdReference": [{"Id": f"urn:hie:rule:{first.rule}"}]}
        }
    result: JsonObject = {
        "Decision": "NotApplicable" if first.rule == "F3" else "Permit" if first.permitted else "Deny",
        "Status": {"StatusCode": {"Value": f"{_STATUS}ok"}},
    }
    codes = sorted({code for one in deciding for code in one.decision.obligations})
    if codes:
        result["Obligations"] = [{"Id": f"urn:hie:obligation:{code}", "AttributeAssignment": []} for code in codes]
    policies: list[JsonObject] = [{"Id": f"urn:hie:rule:{first.rule}"}]
    for item in decisions.basis_of(first):
        reference = {"Id": f"urn:hie:{item['kind']}:{item['id']}{'#' + item['path'] if 'path' in item else ''}"}
        if _VERSION.match(item.get("version", "")):
            reference["Version"] = item["version"]
        policies.append(reference)
    result["PolicyIdentifierList"] = {"PolicyIdReference": policies}
    return result


def _indeterminate(code: str, message: str) -> JsonObject:
    return {
        "Decision": "Indeterminate",
        "Status": {"StatusCode": {"Value": f"{_STATUS}{code}"}, "StatusMessage": message},
    }
