"""Administrators' view of documents: metadata only, nothing can be changed, no content is opened.

A title is written by a clinician and says as much as the document: it is not shown here. Codes and labels of a
document above N are for the privacy officer only (spec/consent.md 7, item 5).
"""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.html import format_html
from unfold.admin import ModelAdmin, TabularInline

from documents.labels import count_to_label
from documents.models import (
    Association,
    Blob,
    DocumentEntry,
    EntryCode,
    Folder,
    LabelAssignment,
    LabelRun,
    ReviewItem,
    SubmissionSet,
)
from hie.exchange import access, decision_pages
from hie.exchange.access import Held
from hie.exchange.staff_pages import AuditedAdmin, ReadOnly


class CodeInline(ReadOnly, TabularInline):  # type: ignore[misc]  # unfold is untyped
    """The coded values of an entry."""

    model = EntryCode
    fields = readonly_fields = ("attribute", "code", "scheme", "display")
    extra = 0
    hide_title = True


class LabelInline(ReadOnly, TabularInline):  # type: ignore[misc]  # unfold is untyped
    """Which rule set which label."""

    model = LabelAssignment
    fields = readonly_fields = ("label", "rule", "rule_version", "label_version", "assigned_by", "assigned_at")
    extra = 0
    hide_title = True


@admin.register(DocumentEntry)
class DocumentEntryAdmin(AuditedAdmin, ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold is untyped
    """Entries, newest first."""

    held = Held.DOCUMENT_METADATA
    identifier_fields = ("patient_identifier_id",)
    list_display = ("entry_uuid", "custodian", "mime_type", "status", "confidentiality", "restricted", "registered_at")
    list_filter = ("availability_status", "restricted", "labelled", "confidentiality", "object_type", "mime_type")
    search_fields = ("=unique_id", "=entry_uuid", "=custodian")
    ordering = ("-id",)
    show_full_result_count = False
    list_select_related = ()
    inlines = (CodeInline, LabelInline)
    fields = (
        "entry_uuid", "logical_id", "version", "unique_id", "object_type", "availability_status", "custodian",
        "mime_type", "size", "hash", "language_code", "creation_time", "service_start_time", "service_stop_time",
        "repository_unique_id", "home_community_id", "document_availability", "limited_metadata", "labels",
        "confidentiality", "labelled", "label_version", "restricted", "registered_at", "updated_at", "who", "why",
    )  # fmt: skip
    readonly_fields = ("who", "why")
    ways: ClassVar = {"who": access.may_see_decisions, "why": access.may_see_decisions}
    list_before_template = "exchange/ask_missing_document.html"

    def get_urls(self) -> list[Any]:
        """With the pages that say who could see the document, why somebody does not, and why one is not there."""
        pages: list[tuple[str, Any, str]] = [
            ("missing/", self.missing_view, "missing"),
            ("<uuid:entry_uuid>/who-could-see/", self.who_view, "who"),
            ("<uuid:entry_uuid>/why/", self.why_view, "why"),
        ]
        own = [
            path(route, self.admin_site.admin_view(view), name=f"documents_documententry_{name}")
            for route, view, name in pages
        ]
        return [*own, *super().get_urls()]

    def who_view(self, request: HttpRequest, entry_uuid: UUID) -> HttpResponse:
        """Who could see this document, and why."""
        return decision_pages.who_could_see_page(request, entry_uuid, self._context_of(request, entry_uuid))

    def why_view(self, request: HttpRequest, entry_uuid: UUID) -> HttpResponse:
        """Why it does not show to one who asks."""
        return decision_pages.why_not_shown_page(request, entry_uuid, self._context_of(request, entry_uuid))

    def missing_view(self, request: HttpRequest) -> HttpResponse:
        """Why a document did not arrive."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        url = reverse("admin:documents_documententry_changelist")
        context = {**self.admin_site.each_context(request), "opts": self.opts, "row_url": url}
        return decision_pages.missing_document_page(request, context)

    def _context_of(self, request: HttpRequest, entry_uuid: UUID) -> dict[str, Any]:
        if not self.has_view_permission(request):
            raise PermissionDenied
        row = DocumentEntry.objects.filter(entry_uuid=entry_uuid).only("pk").first()
        if row is None:
            raise Http404
        url = reverse("admin:documents_documententry_change", args=[row.pk])
        return {**self.admin_site.each_context(request), "opts": self.opts, "row_url": url}

    @admin.display(description="who could see it")
    def who(self, row: DocumentEntry) -> str:
        """The way to that page."""
        url = reverse("admin:documents_documententry_who", args=[row.entry_uuid])
        return format_html('<a href="{}">See who could see this document, and why</a>', url)

    @admin.display(description="why does it not show")
    def why(self, row: DocumentEntry) -> str:
        """The way to that page."""
        url = reverse("admin:documents_documententry_why", args=[row.entry_uuid])
        return format_html('<a href="{}">See why it does not show to somebody</a>', url)

    def get_inlines(self, request: HttpRequest, obj: DocumentEntry | None = None) -> list[Any]:
        """Codes and labels only where this reader may have them."""
        return list(self.inlines) if obj is None or self._words(request, obj) else []

    def get_fields(self, request: HttpRequest, obj: DocumentEntry | None = None) -> list[Any]:
        """As `get_inlines`."""
        shown = super().get_fields(request, obj)
        return [name for name in shown if name != "labels" or obj is None or self._words(request, obj)]

    def _words(self, request: HttpRequest, obj: DocumentEntry) -> bool:
        view = self.staff_view(request)
        return view is not None and view.words_of(obj.confidentiality)

    @admin.display(description="status", ordering="availability_status")
    def status(self, row: DocumentEntry) -> str:
        """The status without its URN."""
        return row.availability_status.rpartition(":")[2]


@admin.register(LabelRun)
class LabelRunAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold is untyped
    """How far registered documents were gone over with the labelling rules; newest first. Counts only."""

    list_display = ("rules_version", "state", "started_at", "finished_at", "looked_at", "raised", "unread", "waiting")
    ordering = ("-id",)
    fields = readonly_fields = (
        "rules_version", "rules", "state", "started_at", "updated_at", "finished_at", "looked_at", "raised", "unread", "waiting",
    )  # fmt: skip

    @admin.display(description="state")
    def state(self, row: LabelRun) -> str:
        """What became of it."""
        return "superseded" if row.superseded else "finished" if row.finished_at else "running"

    @admin.display(description="waiting")
    def waiting(self, row: LabelRun) -> str:
        """Documents that the rules of a running run were not applied to yet; counted up to ten thousand."""
        if row.finished_at:
            return ""
        found = count_to_label(row.rules, limit=10_001)
        return "more than 10000" if found > 10_000 else str(found)


@admin.register(ReviewItem)
class ReviewItemAdmin(AuditedAdmin, ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold is untyped
    """Documents accepted with doubts; open ones first."""

    held = Held.DOCUMENT_METADATA
    identifier_fields = ("entry.patient_identifier_id",)
    list_display = ("entry_uuid", "custodian", "reasons", "opened_at", "closed_at", "outcome")
    list_filter = (("closed_at", admin.EmptyFieldListFilter), "outcome")
    list_select_related = ("entry",)
    ordering = ("closed_at", "opened_at")
    fields = ("entry_uuid", "custodian", "reasons", "opened_at", "closed_at", "closed_by", "outcome", "deciding")
    readonly_fields = ("deciding",)

    @admin.display(description="decide")
    def deciding(self, row: ReviewItem) -> str:
        """The way to its task, where it is decided."""
        url = reverse("admin:desk_task", args=["doubtful-documents", row.pk])
        return format_html('<a href="{}">Open its task: the evidence and the decision</a>', url)

    def task(self, row: ReviewItem) -> str:
        """Opening an item of the queue is the task, while it waits."""
        return "" if row.closed_at else f"Review of a doubtful document, item {row.pk}"

    @admin.display(description="document")
    def entry_uuid(self, row: ReviewItem) -> str:
        """The entry it is about."""
        return str(row.entry.entry_uuid)

    @admin.display(description="custodian")
    def custodian(self, row: ReviewItem) -> str:
        """Who answers for the document."""
        return row.entry.custodian


@admin.register(SubmissionSet)
class SubmissionSetAdmin(AuditedAdmin, ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold is untyped
    """Submissions, newest first."""

    held = Held.DOCUMENT_METADATA
    identifier_fields = ("patient_identifier_id",)
    list_display = ("entry_uuid", "custodian", "source_id", "submission_time", "content_type_code", "registered_at")
    search_fields = ("=unique_id", "=entry_uuid", "=custodian")
    ordering = ("-id",)
    show_full_result_count = False
    fields = (
        "entry_uuid", "unique_id", "source_id", "custodian", "submission_time", "content_type_code",
        "content_type_scheme", "home_community_id", "limited_metadata", "registered_at",
    )  # fmt: skip


@admin.register(Folder)
class FolderAdmin(AuditedAdmin, ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold is untyped
    """Folders, last updated first."""

    held = Held.DOCUMENT_METADATA
    identifier_fields = ("patient_identifier_id",)
    list_display = ("entry_uuid", "custodian", "availability_status", "last_update_time")
    search_fields = ("=unique_id", "=entry_uuid", "=custodian")
    ordering = ("-last_update_time", "-id")
    show_full_result_count = False
    fields = ("entry_uuid", "unique_id", "version", "custodian", "availability_status", "last_update_time")


@admin.register(Association)
class AssociationAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold is untyped
    """Relationships and memberships."""

    list_display = ("entry_uuid", "type", "source", "target", "availability_status", "registered_at")
    list_filter = ("type", "availability_status")
    search_fields = ("=entry_uuid", "=source", "=target")
    ordering = ("-id",)
    show_full_result_count = False
    fields = ("entry_uuid", "type", "source", "target", "availability_status", "submission_set_status", "registered_at")


@admin.register(Blob)
class BlobAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold is untyped
    """Encrypted bytes: how much, under which document key. Neither digest nor keys are shown."""

    list_display = ("id", "size", "key_id", "created_at")
    list_filter = ("key_id",)
    ordering = ("-created_at",)
    show_full_result_count = False
    fields = ("id", "size", "key_id", "segment_size", "created_at")
