"""The index for administrators: persons with their records, links and events, the review queue. Read-only."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.utils.html import format_html_join
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display

from patients.models import (
    IdentityEvent,
    ImportRun,
    Link,
    MatchDecision,
    MatchModel,
    PatientIdentifier,
    Person,
    ReviewItem,
    SourceRecord,
)


class _ReadOnly:
    """Registered things are looked at, never edited; what changes them is a use case of the exchange."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def _weights(weights: dict[str, float]) -> str:
    rows = sorted(weights.items(), key=lambda item: -abs(item[1]))
    return format_html_join("", "<div>{} {}</div>", ((name, f"{bits:+.1f}") for name, bits in rows))


class LinkInline(_ReadOnly, TabularInline):  # type: ignore[misc]  # unfold ships no types
    model = Link
    extra = 0
    fields = ("source_record", "kind", "score", "field_weights", "model_version", "valid_from", "valid_to")
    readonly_fields = fields
    ordering = ("-valid_from", "pk")

    @display(description="weights (bits)")  # type: ignore[untyped-decorator]  # unfold ships no types
    def field_weights(self, link: Link) -> str:
        return _weights(link.weights)


class EventInline(_ReadOnly, TabularInline):  # type: ignore[misc]  # unfold ships no types
    model = IdentityEvent
    fk_name = "person"
    extra = 0
    fields = ("at", "kind", "source_record", "other_person", "actor", "reason")
    readonly_fields = fields
    ordering = ("-seq",)


class IdentifierInline(_ReadOnly, TabularInline):  # type: ignore[misc]  # unfold ships no types
    model = PatientIdentifier
    extra = 0
    fields = ("authority", "value", "created_at")
    readonly_fields = fields


@admin.register(Person)
class PersonAdmin(_ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    list_display = ("id", "state", "created_at", "updated_at")
    search_fields = ("id__exact", "links__source_record__identifiers__value__exact")
    list_select_related = ("merged_into",)
    ordering = ("-created_at", "pk")
    fields = ("id", "merged_into", "created_at", "updated_at")
    show_full_result_count = False
    inlines = (LinkInline, EventInline)

    @display(description="state", label={"current": "success", "merged": "warning"})  # type: ignore[untyped-decorator]  # unfold ships no types
    def state(self, person: Person) -> str:
        return "merged" if person.merged_into_id else "current"


@admin.register(SourceRecord)
class SourceRecordAdmin(_ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    list_display = ("id", "participant_id", "status", "created_at", "updated_at")
    list_filter = ("status",)
    search_fields = ("identifiers__value__exact", "participant_id__exact")
    ordering = ("-updated_at", "pk")
    fields = ("participant_id", "status", "replaced_by", "created_at", "updated_at")
    show_full_result_count = False
    inlines = (IdentifierInline,)


@admin.register(ReviewItem)
class ReviewItemAdmin(_ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    list_display = ("id", "kind", "status", "likelihood", "source_record", "person", "candidate", "created_at")
    list_filter = ("status", "kind")
    list_select_related = ("source_record", "person", "candidate")
    ordering = ("status", "-probability", "pk")
    fields = (
        "kind", "status", "source_record", "version", "person", "candidate", "likelihood", "field_weights", "reason",
        "claimed_by", "decided_by", "decision", "created_at", "decided_at",
    )  # fmt: skip
    readonly_fields = fields

    @display(description="probability", ordering="probability")  # type: ignore[untyped-decorator]  # unfold ships no types
    def likelihood(self, item: ReviewItem) -> str:
        return "" if item.probability is None else f"{item.probability:.1%}"

    @display(description="weights (bits)")  # type: ignore[untyped-decorator]  # unfold ships no types
    def field_weights(self, item: ReviewItem) -> str:
        return _weights(item.weights)


@admin.register(IdentityEvent)
class IdentityEventAdmin(_ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    list_display = ("seq", "at", "kind", "person", "source_record", "actor")
    list_filter = ("kind",)
    list_select_related = ("person", "source_record")
    search_fields = ("person__id__exact",)
    ordering = ("-seq",)
    show_full_result_count = False


@admin.register(MatchDecision)
class MatchDecisionAdmin(_ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    list_display = ("id", "verdict", "record_a", "record_b", "reviewer", "decided_at", "withdrawn_at")
    list_filter = ("verdict",)
    list_select_related = ("record_a", "record_b")
    ordering = ("-decided_at", "pk")


@admin.register(MatchModel)
class MatchModelAdmin(_ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    list_display = ("version", "status", "created_at")
    ordering = ("-created_at", "pk")
    fields = ("version", "status", "statistics", "created_at")


@admin.register(ImportRun)
class ImportRunAdmin(_ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    list_display = (
        "id",
        "participant_id",
        "status",
        "read",
        "new",
        "linked",
        "review",
        "updated",
        "refused",
        "started_at",
    )
    list_filter = ("status",)
    ordering = ("-started_at", "pk")
