"""Notices for administrators: what waits to be told, to where, and why it did not arrive.

Those that were given up are tried again, or put aside, at their task (`hie.exchange.desk_notices`).
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from hie.outbox.models import OutboxMessage


@admin.register(OutboxMessage)
class OutboxMessageAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Notices, newest first; they hold ids and codes, never content."""

    list_display = (
        "created_at", "topic", "receiver", "key", "attempts", "next_attempt_at", "delivered_at", "failed_at",
        "aside_at", "last_error",
    )  # fmt: skip
    list_filter = (
        ("delivered_at", admin.EmptyFieldListFilter),
        ("failed_at", admin.EmptyFieldListFilter),
        ("aside_at", admin.EmptyFieldListFilter),
        "topic",
    )
    search_fields = ("=key", "=receiver")
    ordering = ("-created_at", "-pk")
    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Notices are written with what they tell of."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What is to be told is not edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is removed by hand."""
        return False
