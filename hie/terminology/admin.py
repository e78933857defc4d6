"""Administrators' view of the affinity domain: modes may be changed, codes added and retired."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline

from hie.exchange.staff_pages import NotedAdmin, ReadOnly, staff_of
from hie.terminology import versions
from hie.terminology.models import Code, CodeSet, CodeSetVersion


class CodeInline(TabularInline):  # type: ignore[misc]  # unfold is untyped
    """Codes within their set."""

    model = Code
    extra = 0
    fields = ("code", "scheme", "display", "active")
    can_delete = False
    show_change_link = False


class VersionInline(ReadOnly, TabularInline):  # type: ignore[misc]  # unfold is untyped
    """What the set was before, newest first: never altered."""

    model = CodeSetVersion
    extra = 0
    fields = readonly_fields = ("number", "made_at", "made_by", "mode", "source", "held")
    verbose_name_plural = "versions"

    @admin.display(description="codes")
    def held(self, obj: CodeSetVersion) -> str:
        """Every code that it had."""
        return ", ".join(f"{scheme}|{code}" if scheme else code for code, scheme, _ in obj.codes)


@admin.register(CodeSet)
class CodeSetAdmin(NotedAdmin, ModelAdmin):  # type: ignore[misc]  # unfold is untyped
    """Sets with their mode."""

    noted_as = "terminology-changed"
    list_display = ("attribute", "mode", "source", "loaded_at")
    list_filter = ("mode",)
    readonly_fields = ("attribute", "mode_chosen", "source", "loaded_at")
    inlines = (CodeInline, VersionInline)

    def save_model(self, request: HttpRequest, obj: CodeSet, form: Any, change: bool) -> None:
        """A mode that staff choose stays when a file is loaded that names none."""
        obj.mode_chosen = obj.mode_chosen or "mode" in form.changed_data
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """With its codes saved, the set has its next version."""
        super().save_related(request, form, formsets, change)
        versions.keep(form.instance, by=staff_of(request).user_id)

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

    def get_readonly_fields(self, request: HttpRequest, obj: Code | None = None) -> tuple[str, ...]:
        """A code stays in its set."""
        return ("code_set",) if obj is not None else ()

    def save_model(self, request: HttpRequest, obj: Code, form: Any, change: bool) -> None:
        """The code's set has its next version."""
        super().save_model(request, obj, form, change)
        versions.keep(obj.code_set, by=staff_of(request).user_id)

    def has_delete_permission(self, request: object, obj: object = None) -> bool:
        """A code is retired, never deleted."""
        return False
