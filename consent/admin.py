"""Directives, law and grants as administrators see them: read only, but that the privacy officer may end a directive."""

from __future__ import annotations

from typing import Any
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
from hie.exchange import consents, decision_pages
from hie.exchange.access import PRIVACY_OFFICER, Held
from hie.exchange.errors import AccessRefused, BadRequest
from hie.exchange.staff_pages import AuditedAdmin, bare, roles_of, staff_of

_LONGEST = 500


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
    readonly_fields = ("ending", "trying")

    @display(description="end it")  # type: ignore[untyped-decorator]  # unfold ships no types
    def ending(self, row: models.Consent) -> str:
        """The way to the page that ends it, for the privacy officer."""
        if row.status != "active":
            return "it is not in force"
        url = reverse("admin:consent_consent_end", args=[row.pk])
        return format_html('<a href="{}">End it, with reason and evidence (privacy officer)</a>', url)

    @display(description="what if")  # type: ignore[untyped-decorator]  # unfold ships no types
    def trying(self, row: models.Consent) -> str:
        """The way to the page that works out what another choice would change."""
        url = reverse("admin:consent_consent_what_if", args=[row.pk])
        return format_html('<a href="{}">See what ending or changing it would change for whom</a>', url)

    def get_urls(self) -> list[Any]:
        """With the pages that end a directive and try out another."""
        wrap = self.admin_site.admin_view
        return [
            path("<uuid:consent_id>/end/", wrap(self.end_view), name="consent_consent_end"),
            path("<uuid:consent_id>/what-if/", wrap(self.what_if_view), name="consent_consent_what_if"),
            *super().get_urls(),
        ]

    def what_if_view(self, request: HttpRequest, consent_id: UUID) -> HttpResponse:
        """What ending or changing this directive would change for whom."""
        row: models.Consent | None = self.get_object(request, str(consent_id))
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        if row is None:
            raise Http404
        (person_id,) = self.people([row])
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "row_url": reverse("admin:consent_consent_change", args=[row.pk]),
        }
        return decision_pages.what_if_page(request, person_id, row.pk, row.resource, context)

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


@admin.register(models.Jurisdiction)
class JurisdictionAdmin(ReadOnlyAdmin):
    """Versions of the law of each place."""

    list_display = ("code", "version", "effective_from", "created_at")
    search_fields = ("code",)
    ordering = ("code", "-version")


@admin.register(models.CodeTable)
class CodeTableAdmin(ReadOnlyAdmin):
    """Overrides of the code tables shipped with the hub."""

    list_display = ("name", "version", "effective_from", "created_at")
    ordering = ("name", "-version")


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
