"""Notices for administrators: what waits to be told, to where, and why it did not arrive; given-up ones are tried again."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin

from hie.exchange import notices
from hie.exchange.staff_pages import caller_of, roles_of
from hie.outbox.models import OutboxMessage

TRIED_AT_ONCE = 1000


@admin.register(OutboxMessage)
class OutboxMessageAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Notices, newest first; they hold ids and codes, never content."""

    list_display = (
        "created_at", "topic", "receiver", "key", "attempts", "next_attempt_at", "delivered_at", "failed_at", "last_error",
    )  # fmt: skip
    list_filter = (
        ("delivered_at", admin.EmptyFieldListFilter),
        ("failed_at", admin.EmptyFieldListFilter),
        "topic",
    )
    search_fields = ("=key", "=receiver")
    actions = ("try_again",)
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

    def has_try_again_permission(self, request: HttpRequest) -> bool:
        """Operators and administrators."""
        return bool(roles_of(request.user) & {"operator", "administrator"})

    @admin.action(description="Try again …", permissions=["try_again"])
    def try_again(self, request: HttpRequest, chosen: QuerySet[OutboxMessage]) -> HttpResponse | None:
        """Ask for the reason, with what would be tried; then put those that were given up back."""
        given_up = chosen.filter(failed_at__isnull=False, delivered_at__isnull=True)
        reason = request.POST.get("reason", "").strip()[:500]
        ids = list(given_up.order_by("pk").values_list("pk", flat=True)[:TRIED_AT_ONCE])
        if not ids:
            self.message_user(request, "None of these was given up.", messages.ERROR)
            return None
        if not reason:
            context = {
                **self.admin_site.each_context(request),
                "title": "Try notices again",
                "opts": self.opts,
                "ids": ids,
                "by_cause": list(given_up.order_by().values("topic", "receiver", "last_error").annotate(n=Count("pk"))),
                "without_reason": "confirmed" in request.POST,
            }
            return TemplateResponse(request, "outbox/try_again.html", context)
        count = notices.try_again(ids, caller_of(request), reason)
        self.message_user(request, f"Back among those to be told: {count}.", messages.SUCCESS)
        return HttpResponseRedirect(request.get_full_path())
