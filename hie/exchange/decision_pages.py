"""Staff's pages about decisions: who could see a document, what a changed choice would do, why something was decided.

Each asks for a reason first and records one look; nothing is kept in the browser. For the `admin.py` of the app whose
rows they hang on.

Source: spec/consent.md 14.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from consent import explain, policies
from consent.drafts import ConsentDraft, Draft
from consent.errors import DirectiveRefused
from hie.directory import queries as directory
from hie.exchange import access, explained, what_if, who_could_see, why_document
from hie.exchange.askers import Block
from hie.exchange.errors import AccessRefused, BadRequest, NotFound
from hie.exchange.staff_pages import bare, roles_of, staff_of
from hie.standards import fhir
from hie.standards.errors import MalformedContent
from hie.standards.facts import Decision

LONGEST_REASON = 500
LONGEST_DRAFT = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a table: who, what for, the answer, why."""

    who: str
    purposes: str
    roles: str
    yes: bool
    rule: str
    why: str
    documents: tuple[str, ...] = ()
    before: str = ""


def who_could_see_page(request: HttpRequest, document_id: UUID, context: Mapping[str, Any]) -> HttpResponse:
    """Who could see this document: every answer in groups, once there is a reason."""

    def look(reason: str) -> dict[str, Any]:
        seen = who_could_see.for_staff(str(document_id), staff_of(request), reason=reason)
        answers = [one for one in seen.answers if one.decision.rule not in ("G1", "G2", "G4", "G5")]
        stopped = len(seen.answers) - len(answers)
        rows = [_row(one.block, one.decision, seen.custodian) for one in answers]
        rows.sort(key=lambda row: (row.purposes, row.who, row.roles))
        return {"rows": rows, "stopped": stopped, "document": document_id}

    return _page(request, "exchange/who_could_see.html", {**context, "title": "Who could see this document"}, look)


def why_not_shown_page(request: HttpRequest, document_id: UUID, context: Mapping[str, Any]) -> HttpResponse:
    """Why this document does not show to one asker, rule by rule, once there is a reason."""
    organizations, purposes, roles = why_document.choices()
    typed = {name: request.POST.get(name, "")[:200] for name in ("organization", "purpose", "role")}

    def look(reason: str) -> dict[str, Any]:
        return {"why": why_document.not_shown(str(document_id), staff_of(request), reason=reason, **typed)}

    context = {
        **context, "title": "Why does it not show?", "organizations": organizations, "purposes": purposes, "roles": roles,
        "chosen": typed,
    }  # fmt: skip
    return _page(request, "exchange/why_not_shown.html", context, look)


def missing_document_page(request: HttpRequest, context: Mapping[str, Any]) -> HttpResponse:
    """Why a document is not there, by its uniqueId, once there is a reason."""
    organizations, _, _ = why_document.choices()
    typed = {name: request.POST.get(name, "").strip()[:200] for name in ("unique", "organization")}

    def look(reason: str) -> dict[str, Any]:
        found = why_document.missing(
            typed["unique"], staff_of(request), organization=typed["organization"], reason=reason
        )
        return {"why": found.why, "found": found.found}

    context = {**context, "title": "Why did it not arrive?", "organizations": organizations, "chosen": typed}
    return _page(request, "exchange/missing_document.html", context, look, may=_may_see_documents)


def _may_see_documents(roles: Collection[str]) -> bool:
    return access.staff_view(roles, access.Held.DOCUMENT_METADATA) is not None


def explained_page(request: HttpRequest, decision_id: UUID, context: Mapping[str, Any]) -> HttpResponse:
    """Why something was decided: each document with its rules in order, once there is a reason."""

    def look(reason: str) -> dict[str, Any]:
        told = explained.explain_for_staff(str(decision_id), staff_of(request), reason=reason)
        return {"decision": told, "purpose": explain.purpose_words(told.purpose)}

    return _page(request, "exchange/explained.html", {**context, "title": "Why this was decided"}, look)


def what_if_page(
    request: HttpRequest, person_id: UUID, consent_id: UUID, resource: Mapping[str, Any], context: Mapping[str, Any]
) -> HttpResponse:
    """What ending or changing one choice, or another time, would change for whom; nothing is stored."""
    typed = {
        "how": request.POST.get("how", "end"),
        "at": request.POST.get("at", "").strip()[:40],
        "draft": request.POST.get("draft", "")[:LONGEST_DRAFT],
    }

    def look(reason: str) -> dict[str, Any]:
        found = what_if.compare_for_staff(person_id, _draft(typed, consent_id), staff_of(request), reason=reason)
        rows = [
            _row(
                one.block,
                one.after,
                "",
                documents=tuple(
                    f"{document.title or document.document_id} ({_name(document.custodian)})"
                    for document in one.documents
                ),
                before=_words(one.before, ""),
            )
            for one in found.changes
        ]
        # What the choice says now is shown to start from, once the look at it is recorded.
        typed["draft"] = typed["draft"] or json.dumps(_bare(resource), indent=2, ensure_ascii=False, default=str)
        return {"rows": rows, "found": found}

    context = {
        **context,
        "title": "What if this choice were another",
        "typed_draft": typed,
        "longest_draft": LONGEST_DRAFT,
    }
    return _page(request, "exchange/what_if.html", context, look)


def _draft(typed: Mapping[str, str], consent_id: UUID) -> Draft:
    at = None
    if typed["at"]:
        try:
            at = datetime.fromisoformat(typed["at"])
        except ValueError:
            raise BadRequest("is an instant such as 2027-01-31T12:00Z", element="at") from None
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        if not 1900 < at.year < 9000:
            raise BadRequest("is an instant such as 2027-01-31T12:00Z", element="at")
    if typed["how"] == "end":
        return Draft(consents=(ConsentDraft(replaces=consent_id),), at=at)
    if typed["how"] == "time":
        if at is None:
            raise BadRequest("a time is needed", element="at")
        return Draft(at=at)
    try:
        resource = fhir.loads(typed["draft"].encode("utf-8", "surrogatepass"))
    except MalformedContent as error:
        raise BadRequest("the draft is not JSON", element="draft") from error
    return Draft(consents=(ConsentDraft(resource=resource, replaces=consent_id),), at=at)


def _bare(resource: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in resource.items() if name not in ("id", "meta", "text")}


def _page(
    request: HttpRequest,
    template: str,
    context: Mapping[str, Any],
    look: Callable[[str], dict[str, Any]],
    *,
    may: Callable[[Collection[str]], bool] = access.may_see_decisions,
) -> HttpResponse:
    if not may(roles_of(request.user)) and request.method != "POST":
        raise PermissionDenied  # at once: not after the reason was written
    reason = request.POST.get("reason", "").strip()[:LONGEST_REASON]
    problem = field = ""
    found: dict[str, Any] = {}
    if request.method == "POST":
        try:
            found = look(reason)
        except AccessRefused as refusal:
            raise PermissionDenied(str(refusal)) from refusal
        except NotFound as absent:
            raise Http404 from absent
        except BadRequest as refusal:
            field = refusal.element or "reason"
            problem = "Give a reason. One sentence is enough." if field == "reason" else _problem(field, refusal)
        except DirectiveRefused as refusal:
            field, problem = "draft", "; ".join(f"{one.element} {one.message}" for one in refusal.problems[:5])
    shown = {
        **context,
        **found,
        "shown": bool(found),
        "reason": reason,
        "problem": problem,
        "problem_field": field,
        "longest": LONGEST_REASON,
    }
    return bare(TemplateResponse(request, template, shown, status=422 if problem else 200))


def _problem(field: str, refusal: BadRequest) -> str:
    """What was wrong: as a sentence of its own, or after the name of a field that is written as FHIR calls it."""
    said = str(refusal)
    return f"{field}: {said}" if field in ("at", "draft") else f"{said[:1].upper()}{said[1:]}."


def _row(block: Block, decision: Decision, custodian: str, *, documents: tuple[str, ...] = (), before: str = "") -> Row:
    who = ", ".join(_name(one) for one in block.organizations)
    person = f"{who_could_see.name_of(block.person)}, " if block.person else ""
    return Row(
        who=f"{person}{who}",
        purposes=_purposes(block.purposes),
        roles=", ".join(block.roles),
        yes=decision.permitted,
        rule=decision.rule,
        why=_words(decision, custodian),
        documents=documents,
        before=before,
    )


def _purposes(codes: tuple[str, ...]) -> str:
    """Purposes in words: one that stands here with all that is below it is said alone. Emergency access (BTG), which is
    decided apart, is below nothing here.
    """
    families = policies.current().tables.families
    below = {
        code: {one for one, family in families.items() if code in family and one not in (code, "BTG")} for code in codes
    }
    whole = {code for code in codes if below[code] <= set(codes)}
    left = [code for code in codes if not any(code in below[one] for one in whole)]
    return ", ".join(sorted(explain.purpose_words(one) for one in left))


def _words(decision: Decision, custodian: str) -> str:
    parameters = {"o2": _name(custodian)} if custodian else {}
    return f"{decision.rule}: {explain.sentence(decision, explain.Audience.ADMINISTRATOR, parameters)}"


def _name(participant_id: str) -> str:
    facts = directory.participant(participant_id)
    return facts.name if facts is not None and facts.name else participant_id
