"""Directives, law and grants as administrators see them: read only, but that the privacy officer may end a directive."""

from __future__ import annotations

import difflib
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.decorators import display

from consent import models
from consent.errors import FourEyes, PolicyChanged, PolicyRefused
from hie.exchange import consents, governance
from hie.exchange.access import PRIVACY_OFFICER, Held
from hie.exchange.errors import AccessRefused, BadRequest
from hie.exchange.staff_pages import AuditedAdmin, PolicyAdmin, bare, roles_of, staff_of

_LONGEST = 500
_REFUSED = (PolicyRefused, PolicyChanged, FourEyes)


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Shows rows; adds, changes and deletes nothing."""

    list_per_page = 50

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        """Rows come from use cases, not from here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What is registered is not edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is removed."""
        return False


@admin.register(models.Consent)
class ConsentAdmin(AuditedAdmin, ReadOnlyAdmin):
    """Directives; unintelligible ones can be filtered out for attention."""

    held = Held.CONSENTS
    identifier_fields = ("identifier_id",)
    list_display = ("id", "status", "version", "capacity", "filed_by", "unintelligible", "updated_at")
    list_filter = ("status", "capacity", "unintelligible")
    list_select_related = ("identifier",)
    search_fields = ("id", "identifier__value")
    ordering = ("-updated_at", "pk")
    readonly_fields = ("ending",)

    @display(description="end it")  # type: ignore[untyped-decorator]  # unfold ships no types
    def ending(self, row: models.Consent) -> str:
        """The way to the page that ends it, for the privacy officer."""
        if row.status != "active":
            return "it is not in force"
        url = reverse("admin:consent_consent_end", args=[row.pk])
        return format_html('<a href="{}">End it, with reason and evidence (privacy officer)</a>', url)

    def get_urls(self) -> list[Any]:
        """With the page that ends a directive."""
        view = self.admin_site.admin_view(self.end_view)
        return [path("<uuid:consent_id>/end/", view, name="consent_consent_end"), *super().get_urls()]

    def end_view(self, request: HttpRequest, consent_id: UUID) -> HttpResponse:
        """A form that asks for reason and evidence; a POST with both ends the directive."""
        row: models.Consent | None = self.get_object(request, str(consent_id))
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        if row is None:
            raise Http404
        row_url = reverse("admin:consent_consent_change", args=[row.pk])
        typed = {name: request.POST.get(name, "")[:_LONGEST] for name in ("reason", "evidence")}
        problem = field = ""
        if request.method == "POST":
            try:
                consents.end(row.pk, staff_of(request), reason=typed["reason"], evidence=typed["evidence"])
                return HttpResponseRedirect(row_url)
            except AccessRefused as refusal:
                raise PermissionDenied(str(refusal)) from refusal
            except BadRequest as refusal:
                field = refusal.element or "reason"
                problem = f"Give the {field}. One sentence is enough."
        elif PRIVACY_OFFICER not in roles_of(request.user):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": "End a patient's choice", "row": row,
            "row_url": row_url, "typed": typed, "problem": problem, "problem_field": field, "longest": _LONGEST,
        }  # fmt: skip
        return bare(TemplateResponse(request, "consent/end.html", context, status=422 if problem else 200))


@admin.register(models.ConsentVersion)
class ConsentVersionAdmin(AuditedAdmin, ReadOnlyAdmin):
    """Every version of every directive."""

    held = Held.CONSENTS
    identifier_fields = ("consent.identifier_id",)
    list_display = ("consent", "version", "action", "status", "actor", "recorded_at")
    list_filter = ("action",)
    list_select_related = ("consent",)
    search_fields = ("consent__id", "actor")
    ordering = ("-recorded_at", "pk")


def _propose(kind: str, subject: str, version: int, words: str) -> str:
    url = f"{reverse('admin:consent_policyproposal_propose')}?{urlencode({'kind': kind, 'subject': subject, 'version': version})}"
    return format_html('<a href="{}">{}</a>', url, words)


@admin.register(models.PolicyProposal)
class PolicyProposalAdmin(PolicyAdmin, ReadOnlyAdmin):
    """Changes of policy: proposed by one person, put into force by another."""

    list_display = ("subject", "kind", "state", "version", "proposed_by", "proposed_at", "decided_by", "deciding")
    list_filter = ("state", "kind")
    search_fields = ("subject", "proposed_by", "decided_by")
    ordering = ("-proposed_at", "pk")
    readonly_fields = ("deciding",)

    @display(description="decide")  # type: ignore[untyped-decorator]  # unfold ships no types
    def deciding(self, row: models.PolicyProposal) -> str:
        """The way to the page that shows what it changes and decides it."""
        return format_html(
            '<a href="{}">See what it changes</a>', reverse("admin:consent_policyproposal_decide", args=[row.pk])
        )

    def get_urls(self) -> list[Any]:
        """With the pages that propose and decide."""
        return [
            path("propose/", self.admin_site.admin_view(self.propose_view), name="consent_policyproposal_propose"),
            path(
                "<uuid:proposal_id>/decide/",
                self.admin_site.admin_view(self.decide_view),
                name="consent_policyproposal_decide",
            ),
            *super().get_urls(),
        ]

    def propose_view(self, request: HttpRequest) -> HttpResponse:
        """A part of policy with its versions, and a form for the next; the report comes before the proposal."""
        staff = staff_of(request)
        if not self.has_view_permission(request) or not governance.may(staff):
            raise PermissionDenied
        given = request.POST if request.method == "POST" else request.GET
        kind, subject = given.get("kind", "")[:32], given.get("subject", "")[:64].strip()
        typed = {
            name: given.get(name, "")[:limit] for name, limit in (("body", 500_000), ("reason", _LONGEST), ("from", 32))
        }
        found = governance.versions(kind, subject) if kind in models.PolicyProposal.Kind.values and subject else []
        problem, report = None, None
        if request.method == "POST":
            try:
                body, starts = _json(typed["body"]), _instant(typed["from"])
                if "propose" in request.POST:
                    row = governance.propose(kind, subject, body, staff, reason=typed["reason"], effective_from=starts)
                    return HttpResponseRedirect(reverse("admin:consent_policyproposal_decide", args=[row.pk]))
                report = governance.report(kind, subject, body, staff)
            except _REFUSED as refusal:
                problem = refusal
        else:
            governance.look(staff, page="propose", subject=subject)
            number = given.get("version", "")
            shown = next((one for one in found if str(one.number) == number), found[0] if found else None)
            typed["body"] = _text(shown.body) if shown is not None else ""
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": "Propose a change of policy",
            "kind": kind, "subject": subject, "kinds": models.PolicyProposal.Kind.choices, "versions": found,
            "typed": typed, "report": report, "problem": problem, "longest": _LONGEST,
        }  # fmt: skip
        return bare(TemplateResponse(request, "consent/propose.html", context, status=422 if problem else 200))

    def decide_view(self, request: HttpRequest, proposal_id: UUID) -> HttpResponse:
        """What a proposal changes, and the form of the second person."""
        staff = staff_of(request)
        row: models.PolicyProposal | None = self.get_object(request, str(proposal_id))
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        if row is None:
            raise Http404
        reason, problem = request.POST.get("reason", "")[:_LONGEST], None
        if request.method == "POST":
            act = governance.activate if "activate" in request.POST else governance.withdraw
            try:
                act(row.pk, staff, reason=reason)
                return HttpResponseRedirect(request.path)
            except AccessRefused as refusal:
                raise PermissionDenied(str(refusal)) from refusal
            except _REFUSED as refusal:
                problem = refusal
        else:
            governance.look(staff, page="decide", subject=str(row.pk))
        found = {one.number: one for one in governance.versions(row.kind, row.subject)}
        base = found.get(row.on_version)
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": "Change of policy", "row": row,
            "lines": _difference(base.body if base is not None else None, row.body), "report": row.report,
            "may": governance.may(staff), "own": row.proposed_by == staff.user_id, "reason": reason,
            "problem": problem, "longest": _LONGEST,
        }  # fmt: skip
        return bare(TemplateResponse(request, "consent/decide.html", context, status=422 if problem else 200))


def _text(body: Any) -> str:
    return json.dumps(body, indent=1, ensure_ascii=False)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PolicyRefused("is no JSON", element="body") from error


def _instant(text: str) -> datetime | None:
    if not text.strip():
        return None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise PolicyRefused("is no time", element="effective_from") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _difference(old: Any, new: Any) -> list[tuple[str, str]]:
    """The lines of both, each with whether it is new, gone or the same."""
    before = _text(old).splitlines() if old is not None else []
    found = difflib.unified_diff(before, _text(new).splitlines(), lineterm="", n=2)
    return [(line[:1], line[1:]) for line in found if not line.startswith(("---", "+++"))]


@admin.register(models.Jurisdiction)
class JurisdictionAdmin(PolicyAdmin, ReadOnlyAdmin):
    """Versions of the law of each place."""

    list_display = ("code", "version", "effective_from", "created_at", "next")
    search_fields = ("code",)
    ordering = ("code", "-version")

    @display(description="change it")  # type: ignore[untyped-decorator]  # unfold ships no types
    def next(self, row: models.Jurisdiction) -> str:
        """The way to the next version, or back to this one."""
        return _propose("jurisdiction", row.code, row.version, "Propose a version from this one")


@admin.register(models.CodeTable)
class CodeTableAdmin(PolicyAdmin, ReadOnlyAdmin):
    """Overrides of the code tables shipped with the hub."""

    list_display = ("name", "version", "effective_from", "created_at", "next")
    ordering = ("name", "-version")

    @display(description="change it")  # type: ignore[untyped-decorator]  # unfold ships no types
    def next(self, row: models.CodeTable) -> str:
        """The way to the next version, or back to this one."""
        return _propose("code-table", row.name, row.version, "Propose a version from this one")


@admin.register(models.ProxyGrant)
class ProxyGrantAdmin(AuditedAdmin, ReadOnlyAdmin):
    """Who may act for whom."""

    held = Held.CONSENTS
    identifier_fields = ("identifier_id",)
    list_display = ("id", "person", "kind", "status", "max_confidentiality", "start", "end")
    list_filter = ("kind", "status")
    list_select_related = ("identifier",)
    search_fields = ("person", "identifier__value")
    ordering = ("-created_at", "pk")


@admin.register(models.BreakGlassGrant)
class BreakGlassGrantAdmin(AuditedAdmin, ReadOnlyAdmin):
    """Emergency grants."""

    held = Held.CONSENTS
    identifier_fields = ("identifier_id",)
    list_display = ("id", "user", "organization", "reason", "status", "start", "end")
    list_filter = ("reason", "status")
    list_select_related = ("identifier",)
    search_fields = ("user", "organization", "identifier__value")
    ordering = ("-start", "pk")
