"""Directives, law and grants as administrators see them: read only."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from consent import models
from hie.exchange.access import Held
from hie.exchange.staff_pages import AuditedAdmin


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
    list_display = ("id", "status", "version", "unintelligible", "updated_at")
    list_filter = ("status", "unintelligible")
    list_select_related = ("identifier",)
    search_fields = ("id", "identifier__value")
    ordering = ("-updated_at", "pk")


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
