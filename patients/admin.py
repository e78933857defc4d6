"""The index for administrators: persons with their records, links and events, the review queue. Read-only.

Who a person is stands on that person's page only, and in a list narrowed by a search: both are looks the patient sees.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import Count, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html_join
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display

from hie.exchange import stewardship
from hie.exchange.access import Held
from hie.exchange.staff_pages import REASON_FIELD, AuditedAdmin, staff_of
from hie.standards.errors import HubError
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


CURRENT = Q(links__valid_to__isnull=True) & ~Q(links__kind=Link.Kind.REJECTED)


class _OfRecords(AuditedAdmin):
    """For rows that speak of source records: their persons are those the records are linked to now."""

    held = Held.IDENTITIES
    record_fields: tuple[str, ...] = ()

    def people(self, rows: Iterable[Any]) -> set[UUID]:
        """1 query."""
        records = {getattr(row, name) for row in rows for name in self.record_fields}
        links = Link.objects.filter(source_record__in=records, valid_to__isnull=True).exclude(kind=Link.Kind.REJECTED)
        return set(links.values_list("person_id", flat=True))


def _demographics(person: Person) -> dict[str, Any]:
    found: dict[str, Any] = person.golden.get("demographics") or {}
    return found


def _weights(weights: dict[str, float]) -> str:
    rows = sorted(weights.items(), key=lambda item: -abs(item[1]))
    return format_html_join("", "<div>{} {}</div>", ((name, f"{bits:+.1f}") for name, bits in rows))


class LinkInline(_ReadOnly, TabularInline):  # type: ignore[misc]  # unfold ships no types
    model = Link
    extra = 0
    hide_title = True
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
    hide_title = True
    fields = ("at", "kind", "source_record", "other_person", "actor", "reason")
    readonly_fields = fields
    ordering = ("-seq",)


class IdentifierInline(_ReadOnly, TabularInline):  # type: ignore[misc]  # unfold ships no types
    model = PatientIdentifier
    extra = 0
    hide_title = True
    fields = ("authority", "value", "created_at")
    readonly_fields = fields


@admin.register(Person)
class PersonAdmin(AuditedAdmin, _ReadOnly, ModelAdmin):  # type: ignore[misc]
    held = Held.IDENTITIES
    person_fields = ("pk",)
    list_display = ("id", "state", "records", "created_at", "updated_at")
    search_fields = ("id__exact", "links__source_record__identifiers__value__exact")
    search_help_text = "The exact id of a person, or an identifier as its organization writes it"
    list_select_related = ("merged_into",)
    ordering = ("-created_at", "pk")
    fields = ("id", "name", "born", "gender", "address", "merged_into", "created_at", "updated_at")
    readonly_fields = ("name", "born", "gender", "address")
    show_full_result_count = False
    list_per_page = 50
    inlines = (LinkInline, EventInline)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Person]:
        """With the number of current records, in the list's one statement."""
        rows: QuerySet[Person] = super().get_queryset(request)
        return rows.annotate(n_records=Count("links", filter=CURRENT))

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        """Names stand in the answer to a search only, which is recorded; a list of everybody shows none."""
        shown = ("id", "name", "born") if request.GET.get("q", "").strip() else ("id",)
        return (*shown, *self.list_display[1:])

    @display(description="records")  # type: ignore[untyped-decorator]
    def records(self, person: Any) -> int:
        return int(person.n_records)

    @display(description="name")  # type: ignore[untyped-decorator]
    def name(self, person: Person) -> str:
        names = _demographics(person).get("names") or [{}]
        return " ".join([*(names[0].get("given") or []), names[0].get("family") or ""]).strip() or "not known"

    @display(description="born")  # type: ignore[untyped-decorator]
    def born(self, person: Person) -> str:
        return str(_demographics(person).get("birth_date") or "not known")

    @display(description="gender")  # type: ignore[untyped-decorator]
    def gender(self, person: Person) -> str:
        return str(_demographics(person).get("gender") or "not known")

    @display(description="address")  # type: ignore[untyped-decorator]
    def address(self, person: Person) -> str:
        first = (_demographics(person).get("addresses") or [{}])[0]
        parts = [*(first.get("lines") or []), first.get("city"), first.get("postal_code")]
        return ", ".join(part for part in parts if part) or "not known"

    @display(description="state", label={"current": "success", "merged": "warning"})  # type: ignore[untyped-decorator]  # unfold ships no types
    def state(self, person: Person) -> str:
        return "merged" if person.merged_into_id else "current"


@admin.register(SourceRecord)
class SourceRecordAdmin(_OfRecords, _ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    record_fields = ("pk",)
    list_display = ("id", "participant_id", "status", "created_at", "updated_at")
    list_filter = ("status",)
    search_fields = ("identifiers__value__exact", "participant_id__exact")
    ordering = ("-updated_at", "pk")
    fields = ("participant_id", "status", "replaced_by", "created_at", "updated_at")
    show_full_result_count = False
    inlines = (IdentifierInline,)


@admin.register(ReviewItem)
class ReviewItemAdmin(AuditedAdmin, _ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    held = Held.IDENTITIES
    person_fields = ("person_id", "candidate_id")
    list_display = ("id", "kind", "status", "likelihood", "source_record", "person", "candidate", "created_at")
    list_filter = ("status", "kind")
    list_select_related = ("source_record", "person", "candidate")
    ordering = ("status", "-probability", "pk")
    fields = (
        "kind", "status", "source_record", "version", "person", "candidate", "likelihood", "field_weights", "reason",
        "claimed_by", "decided_by", "decision", "created_at", "decided_at",
    )  # fmt: skip
    readonly_fields = fields

    change_form_before_template = "exchange/review_pair.html"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The records side by side; a POST with a verdict decides the item."""
        item: ReviewItem | None = self.get_object(request, unquote(object_id))
        if item is None or not self.has_view_permission(request, item):
            refused: HttpResponse = super().change_view(request, object_id, form_url, extra_context)
            return refused
        if request.method == "POST" and REASON_FIELD not in request.POST:
            return self._decide(request, item)
        # A decided item is no task: its records come after the reason was asked for.
        context = {"pair": stewardship.pair(item), "may_decide": True} if request.method == "GET" else {}
        shown: HttpResponse = super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})
        return shown

    def _decide(self, request: HttpRequest, item: ReviewItem) -> HttpResponse:
        verdict, reason = request.POST.get("verdict", ""), request.POST.get("reason", "")[:500]
        try:
            settled = stewardship.decide_review(item.pk, verdict, staff_of(request), reason)
        except HubError as error:
            self.message_user(request, f"Not decided: {error}.", messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        self.message_user(request, f"Item {item.pk}: {settled.verdict.value}.", messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:patients_reviewitem_changelist") + "?status__exact=open")

    def task(self, row: ReviewItem) -> str:
        """Opening an item of the queue is the task, while it waits."""
        waits = row.status in {ReviewItem.Status.OPEN, ReviewItem.Status.DEFERRED}
        return f"Review of {row.kind.replace('-', ' ')}, item {row.pk}" if waits else ""

    @display(description="probability", ordering="probability")  # type: ignore[untyped-decorator]  # unfold ships no types
    def likelihood(self, item: ReviewItem) -> str:
        return "" if item.probability is None else f"{item.probability:.1%}"

    @display(description="weights (bits)")  # type: ignore[untyped-decorator]  # unfold ships no types
    def field_weights(self, item: ReviewItem) -> str:
        return _weights(item.weights)


@admin.register(IdentityEvent)
class IdentityEventAdmin(AuditedAdmin, _ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    held = Held.IDENTITIES
    person_fields = ("person_id", "other_person_id")
    list_display = ("seq", "at", "kind", "person", "source_record", "actor")
    list_filter = ("kind",)
    list_select_related = ("person", "source_record")
    search_fields = ("person__id__exact",)
    ordering = ("-seq",)
    show_full_result_count = False


@admin.register(MatchDecision)
class MatchDecisionAdmin(_OfRecords, _ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    record_fields = ("record_a_id", "record_b_id")
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
