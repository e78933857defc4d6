"""The log for administrators: read-only, searchable; opening an event about a patient is itself a look."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline

from hie.audit import personal
from hie.audit.desk import ExactSearch, PeriodFilter
from hie.audit.kinds import SHAPES, EventType
from hie.audit.models import AuditEvent, AuditSeal, Checkpoint, Disclosure
from hie.audit.plain_list import PlainList
from hie.exchange import access, decision_pages
from hie.exchange.access import Held
from hie.exchange.staff_pages import AuditedAdmin, ReadOnly, bare


class KindFilter(admin.SimpleListFilter):
    """Kinds from the table, without asking ten million rows which of them occur."""

    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind.value, f"{SHAPES[kind].title} ({kind.value})") for kind in EventType]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


class OutcomeFilter(admin.SimpleListFilter):
    """Outcome in words."""

    title = "outcome"
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("0", "done"), ("4", "refused"), ("8", "failed"), ("12", "failed gravely")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        value = self.value()
        return queryset.filter(outcome=int(value)) if value in {"0", "4", "8", "12"} else queryset


class PurposeFilter(admin.SimpleListFilter):
    """The purposes of the code table's top, and emergency."""

    title = "purpose"
    parameter_name = "purpose"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        codes = ("TREAT", "BTG", "HPAYMT", "HOPERAT", "HRESCH", "PUBHLTH", "PATRQT", "HLEGAL", "HMARKT")
        return [(code, code) for code in codes]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        return queryset.filter(purpose=self.value()) if self.value() else queryset


class WhatFilter(admin.SimpleListFilter):
    """What left, from the kinds there are: asking the rows which occur would read them all."""

    title = "what left"
    parameter_name = "what"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(what, what) for what in ("bytes", "metadata", "demographics", "query")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Disclosure]) -> QuerySet[Disclosure]:
        return queryset.filter(what=self.value()) if self.value() else queryset


class DisclosureInline(ReadOnly, TabularInline):  # type: ignore[misc]  # unfold has no types
    """What left with the event."""

    model = Disclosure
    fk_name = "event"
    extra = 0
    hide_title = True
    fields = (
        "document_id",
        "custodian",
        "what",
        "confidentiality",
        "rule",
        "reason",
        "obligations",
        "recipient",
    )
    readonly_fields = fields
    ordering = ("n",)


class Strict:
    """A list that needs nothing but its own files, and says so to the browser."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list."""
        return bare(super().changelist_view(request, extra_context))  # type: ignore[misc]  # of the ModelAdmin behind it


@admin.register(AuditEvent)
class AuditEventAdmin(Strict, ExactSearch, AuditedAdmin, ReadOnly, PlainList, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Events, newest first. The count of all is an estimate: nothing waits for ten million rows."""

    held = Held.AUDIT
    person_fields = ("person_id",)

    columns = (
        ("Time (UTC)", lambda row: _time(row.at)),
        ("What", lambda row: _kind(row)),
        ("Outcome", lambda row: _outcome(row)),
        ("Organization", lambda row: row.organization),
        ("User", lambda row: row.user),
        ("Purpose", lambda row: row.purpose),
        ("Rule", lambda row: row.rule),
    )
    list_display = ("at", "kind_words", "outcome_words", "organization", "user", "purpose", "rule")
    list_filter = (PeriodFilter, KindFilter, OutcomeFilter, PurposeFilter)
    searched = search_fields = ("correlation", "request_id", "patient_identifier", "user", "organization", "rule")
    searched_ids = ("id", "person_id")
    search_help_text = (
        "The exact id of an event, person, user, organization, question, request, patient identifier or rule"
    )
    ordering = ("-at", "-id")
    list_per_page = 50
    inlines = (DisclosureInline,)
    exclude = ("personal", "personal_key", "detail", "denied", "decision")
    readonly_fields = ("words", "detail_json", "denied_json", "decision_json", "explained", "seal")
    ways: ClassVar = {"explained": access.may_see_decisions}

    def get_urls(self) -> list[Any]:
        """With the page that explains a decision."""
        view = self.admin_site.admin_view(self.explain_view)
        return [path("<uuid:event_id>/explain/", view, name="audit_auditevent_explain"), *super().get_urls()]

    def explain_view(self, request: HttpRequest, event_id: UUID) -> HttpResponse:
        """Why something was decided, document by document."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        url = reverse("admin:audit_auditevent_change", args=[event_id])
        context = {**self.admin_site.each_context(request), "opts": self.opts, "row_url": url}
        return decision_pages.explained_page(request, event_id, context)

    @admin.display(description="why")
    def explained(self, row: AuditEvent) -> str:
        """The way to the page that explains it, where something was decided."""
        if not row.decision:
            return "nothing was decided on a record"
        url = reverse("admin:audit_auditevent_explain", args=[row.id])
        return format_html('<a href="{}">Read each document’s rules in order</a>', url)

    @admin.display(description="what", ordering="kind")
    def kind_words(self, row: AuditEvent) -> str:
        return _kind(row)

    @admin.display(description="outcome", ordering="outcome")
    def outcome_words(self, row: AuditEvent) -> str:
        return _outcome(row)

    @admin.display(description="names and free text")
    def words(self, row: AuditEvent) -> SafeString:
        found = personal.open_words([(row.id, row.personal_key, row.personal)], connection).get(row.id, {})
        # The raw query may hold the demographics of whoever was looked for; titles belong to the privacy officer's page.
        return _pretty({name: value for name, value in found.items() if name not in {"query", "documents"}})

    @admin.display(description="detail")
    def detail_json(self, row: AuditEvent) -> SafeString:
        return _pretty(row.detail)

    @admin.display(description="refused documents")
    def denied_json(self, row: AuditEvent) -> SafeString:
        return _pretty(row.denied)

    @admin.display(description="decision")
    def decision_json(self, row: AuditEvent) -> SafeString:
        # What a document is about is no auditor's business: the privacy officer reads it where the decision is explained.
        return _pretty({name: value for name, value in row.decision.items() if name != "facts"})

    @admin.display(description="place in the log")
    def seal(self, row: AuditEvent) -> str:
        found = AuditSeal.objects.filter(event_id=row.id).values_list("seq", flat=True).first()
        return f"{found:,}" if found else "not sealed yet"

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEvent]:
        """A list needs neither the encrypted words nor the records of decisions."""
        rows: QuerySet[AuditEvent] = super().get_queryset(request)
        one = request.resolver_match is not None and "object_id" in request.resolver_match.kwargs
        return rows if one else rows.defer("personal", "detail", "denied", "decision")


@admin.register(Disclosure)
class DisclosureAdmin(Strict, ExactSearch, AuditedAdmin, ReadOnly, PlainList, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """What left, one row a document; who it left to is in its event."""

    held = Held.AUDIT
    person_fields = ("person_id",)
    list_display = ("at", "what", "custodian", "recipient", "rule", "document_id")
    list_filter = (PeriodFilter, WhatFilter)
    columns = (
        ("Time (UTC)", lambda row: _time(row.at)),
        ("What", lambda row: row.what),
        ("Custodian", lambda row: row.custodian),
        ("Recipient", lambda row: row.recipient),
        ("Rule", lambda row: row.rule),
        ("Document", lambda row: row.document_id),
    )
    searched = search_fields = ("document_id", "unique_id", "custodian", "rule")
    searched_ids = ("person_id", "event_id")
    search_help_text = "The exact id of a document, organization, person, event or rule"
    ordering = ("-at", "-id")
    list_per_page = 50
    fields = DISCLOSED = (
        "event_id", "at", "person_id", "document_id", "unique_id", "custodian", "what", "confidentiality", "rule",
        "reason", "obligations", "recipient",
    )  # fmt: skip

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Labels only where this reader may have them."""
        view = self.staff_view(request)
        words = obj is not None and view is not None and view.words_of(obj.confidentiality)
        return (*self.DISCLOSED, "labels") if words else self.DISCLOSED


@admin.register(AuditSeal)
class AuditSealAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Places of the log."""

    list_display = ("seq", "event_id", "at", "sealed_at")
    search_fields = ("=seq", "=event_id")
    show_full_result_count = False
    fields = ("seq", "event_id", "at", "sealed_at", "leaf_hex", "chain_hex")
    readonly_fields = ("leaf_hex", "chain_hex")

    @admin.display(description="leaf")
    def leaf_hex(self, row: AuditSeal) -> str:
        return bytes(row.leaf).hex()

    @admin.display(description="chain")
    def chain_hex(self, row: AuditSeal) -> str:
        return bytes(row.chain).hex()


@admin.register(Checkpoint)
class CheckpointAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Signed statements of the log."""

    list_display = ("size", "at", "root_hex")
    fields = ("size", "at", "root_hex", "note_json")
    readonly_fields = ("root_hex", "note_json")
    show_full_result_count = False

    @admin.display(description="Merkle root")
    def root_hex(self, row: Checkpoint) -> str:
        return bytes(row.root).hex()

    @admin.display(description="signed note")
    def note_json(self, row: Checkpoint) -> SafeString:
        return _pretty(row.note)


def _kind(row: AuditEvent) -> str:
    try:
        return SHAPES[EventType(row.kind)].title
    except ValueError:
        return row.kind


def _outcome(row: AuditEvent) -> str:
    return {0: "done", 4: "refused", 8: "failed", 12: "failed gravely"}.get(row.outcome, str(row.outcome))


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _pretty(value: Any) -> SafeString:
    return format_html("<pre>{}</pre>", json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True))
