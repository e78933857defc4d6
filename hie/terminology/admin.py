"""Administrators' view of the affinity domain: modes may be changed, codes added and retired."""

from __future__ import annotations

from django.contrib import admin
from unfold.admin import ModelAdmin, TabularInline

from hie.exchange.staff_pages import NotedAdmin
from hie.terminology.models import Code, CodeSet


class CodeInline(TabularInline):  # type: ignore[misc]  # unfold is untyped
    """Codes within their set."""

    model = Code
    extra = 0
    fields = ("code", "scheme", "display", "active")
    can_delete = False
    show_change_link = False


@admin.register(CodeSet)
class CodeSetAdmin(NotedAdmin, ModelAdmin):  # type: ignore[misc]  # unfold is untyped
    """Sets with their mode."""

    noted_as = "terminology-changed"
    list_display = ("attribute", "mode", "source", "loaded_at")
    list_filter = ("mode",)
    readonly_fields = ("attribute", "source", "loaded_at")
    inlines = (CodeInline,)

    def has_add_permission(self, request: object) -> bool:
        """A set comes with its attribute, from a file."""
        return False

    def has_delete_permission(self, request: object, obj: object = None) -> bool:
        """A set is switched off, never deleted."""
        return False


@admin.register(Code)
class CodeAdmin(NotedAdmin, ModelAdmin):  # type: ignore[misc]  # unfold is untyped
    """Codes across sets, for searching."""

    noted_as = "terminology-changed"
    list_display = ("code", "scheme", "display", "code_set", "active")
    list_filter = ("code_set", "active")
    search_fields = ("code", "display")
    list_select_related = ("code_set",)
    autocomplete_fields = ()

    def has_delete_permission(self, request: object, obj: object = None) -> bool:
        """A code is retired, never deleted."""
        return False
