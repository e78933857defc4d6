"""Trust for administrators: nothing here is edited; assertions used are shown for the time they are kept."""

from __future__ import annotations

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from hie.trust.models import UsedAssertion


@admin.register(UsedAssertion)
class UsedAssertionAdmin(ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    list_display = ("digest", "expires_at")
    ordering = ("-expires_at",)
    list_per_page = 50

    @admin.display(description="Assertion (digest)")
    def digest(self, used: UsedAssertion) -> str:
        return bytes(used.jti_digest).hex()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False
