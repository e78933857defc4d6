"""Questions to others, what they named, and messages as they came in: looked at, never edited.

The found count of a target is before consent: administrators see that there was an answer, never what it holds.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.decorators import display

from hie.exchange import deaths, inbox, query_words, queues
from hie.exchange.access import Held
from hie.exchange.errors import AccessRefused, BadRequest
from hie.exchange.models import DeathObjection, InboundMessage, Query, QueryTarget, RemoteDocument
from hie.exchange.staff_pages import AuditedAdmin, ReadOnly, bare, caller_of, roles_of, staff_of
from hie.standards.errors import HubError

REPLAYED_AT_ONCE = 200


class TroubleFilter(admin.SimpleListFilter):
    """Questions of the last day with a community that was late, down or wrong."""

    title = "trouble"
    parameter_name = "trouble"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """One choice."""
        return [("1", "A community was down, late or wrong in the last day")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Query]) -> QuerySet[Query]:
        """The queries with such a target."""
        if self.value() != "1":
            return queryset
        since = timezone.now() - queues.LOOKED_BACK
        bad = QueryTarget.objects.filter(status__in=queues.SLOW_OR_DOWN, withheld=False).values("query_id")
        return queryset.filter(created_at__gte=since, pk__in=bad)


@admin.register(Query)
class QueryAdmin(AuditedAdmin, ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Cross-organization questions, newest first."""

    held = Held.QUERIES
    person_fields = ("person_id",)
    list_display = ("created_at", "participant_id", "user_id", "purpose", "state", "answers", "found")
    list_filter = ("status", TroubleFilter, "purpose")
    search_fields = ("=id", "=participant_id", "=user_id", "=person_id")
    search_help_text = "The exact id of a question, organization, user or person"
    ordering = ("-created_at", "pk")
    show_full_result_count = False
    list_per_page = 50
    fields = (
        "id", "participant_id", "client_id", "user_id", "purpose", "person_id", "filter", "created_at", "deadline_at",
        "completed_at", "expires_at",
    )  # fmt: skip
    change_form_before_template = "exchange/query_targets.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Query]:
        """With counts of targets and documents, in the list's one statement."""
        rows: QuerySet[Query] = super().get_queryset(request)
        return rows.annotate(
            n_targets=Count("targets", distinct=True),
            n_answered=Count("targets", filter=Q(targets__status__in=["answered", "nothing"]), distinct=True),
            n_found=Count("targets__documents", distinct=True),
        )

    @display(
        description="state", ordering="status",
        label={"running": "info", "complete": "success", "cancelled": "warning", "expired": "warning"},
    )  # type: ignore[untyped-decorator]  # fmt: skip
    def state(self, row: Query) -> str:
        """The state as a badge."""
        return row.status

    @admin.display(description="answered")
    def answers(self, row: Any) -> str:
        """How many of those asked answered."""
        return f"{row.n_answered} of {row.n_targets}"

    @admin.display(description="found before consent")
    def found(self, row: Any) -> int:
        """Documents of others, before consent: a count, for administrators only."""
        return int(row.n_found)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The question with what came of each community."""
        view = self.staff_view(request)
        page = query_words.page(object_id, consent_outcomes=view.consent_outcomes) if view else None
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "asked": page})


@admin.register(RemoteDocument)
class RemoteDocumentAdmin(AuditedAdmin, ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """What other communities named, as metadata without titles and codes."""

    held = Held.QUERIES
    person_fields = ("target.query.person_id",)
    list_display = ("id", "community", "custodian", "content_type", "size", "received_at")
    list_filter = ("content_type",)
    list_select_related = ("target__query",)
    search_fields = ("=id", "=unique_id", "=target__target_id")
    ordering = ("-received_at", "pk")
    show_full_result_count = False
    fields = ("id", "question", "community", "custodian", "unique_id", "content_type", "size", "sha1", "received_at")
    readonly_fields = ("question", "community")

    @admin.display(description="community", ordering="target__name")
    def community(self, row: RemoteDocument) -> str:
        """Who named it."""
        return row.target.name

    @admin.display(description="question")
    def question(self, row: RemoteDocument) -> str:
        """The question it answers."""
        return str(row.target.query_id)


@admin.register(DeathObjection)
class DeathObjectionAdmin(AuditedAdmin, ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Patients whom the record says are dead, and who signed in and say they live; a steward settles it."""

    held = Held.IDENTITIES
    identifier_fields = ("identifier_id",)
    list_display = ("id", "at", "standing", "closed_at")
    list_filter = (("closed_at", admin.EmptyFieldListFilter),)
    ordering = ("closed_at", "at", "pk")
    fields = ("at", "said", "closed_at", "closed_by", "closed_reason", "settling")
    readonly_fields = ("settling",)

    def task(self, row: DeathObjection) -> str:
        """Each is a task."""
        return f"Objection to a death, number {row.pk}"

    @display(description="standing", label={"waits": "danger", "closed": "success"})  # type: ignore[untyped-decorator]
    def standing(self, row: DeathObjection) -> str:
        """Whether it waits, as a badge."""
        return "closed" if row.closed_at is not None else "waits"

    @display(description="settle it")  # type: ignore[untyped-decorator]  # unfold ships no types
    def settling(self, row: DeathObjection) -> str:
        """The ways to the person's page, where the death is set right, and to the end of the objection."""
        (person_id,) = self.people([row])
        by_hand = reverse("admin:patients_person_by_hand", args=[person_id])
        close = reverse("admin:exchange_deathobjection_close", args=[row.pk])
        return format_html(
            '<a href="{}">Set the death right by hand</a>, then <a href="{}">close the objection, with the reason</a>',
            by_hand, close,
        )  # fmt: skip

    def get_urls(self) -> list[Any]:
        """With the page that closes one."""
        view = self.admin_site.admin_view(self.close_view)
        return [path("<int:objection_id>/close/", view, name="exchange_deathobjection_close"), *super().get_urls()]

    def close_view(self, request: HttpRequest, objection_id: int) -> HttpResponse:
        """A form that asks for the reason; a POST with it closes the objection."""
        row: DeathObjection | None = self.get_object(request, str(objection_id))
        if not self.has_view_permission(request, row) or not roles_of(request.user) & deaths.STEWARDS:
            raise PermissionDenied
        if row is None:
            raise Http404
        problem = ""
        if request.method == "POST":
            try:
                deaths.close(row.pk, staff_of(request), reason=request.POST.get("reason", ""))
                return HttpResponseRedirect(reverse("admin:exchange_deathobjection_change", args=[row.pk]))
            except AccessRefused as refusal:
                raise PermissionDenied(str(refusal)) from refusal
            except HubError as refusal:
                problem = f"{str(refusal)[:1].upper()}{str(refusal)[1:]}."
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": "Close an objection to a death",
            "row": row, "row_url": reverse("admin:exchange_deathobjection_change", args=[row.pk]),
            "typed": request.POST, "problem": problem, "problem_field": "why", "longest": deaths.MAX_SAID,
        }  # fmt: skip
        return bare(TemplateResponse(request, "exchange/close_objection.html", context, status=422 if problem else 200))


class OpenFilter(admin.SimpleListFilter):
    """Messages that wait for somebody."""

    title = "waits"
    parameter_name = "open"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """One choice."""
        return [("1", "Refused or failed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[InboundMessage]) -> QuerySet[InboundMessage]:
        """Those refused or failed."""
        waits = [InboundMessage.Status.REFUSED, InboundMessage.Status.FAILED]
        return queryset.filter(status__in=waits) if self.value() == "1" else queryset


@admin.register(InboundMessage)
class InboundMessageAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Messages and what became of them. Their bytes and replies are shown to nobody: they are of patients."""

    list_display = ("received_at", "protocol", "kind", "sender", "standing", "error_code", "error_element", "attempts")
    list_filter = (OpenFilter, "status", "protocol", "kind", "error_code", "error_element")
    search_fields = ("=id", "=control_id", "=participant_id")
    search_help_text = "The exact id of a message, its control id, or the id of an organization"
    ordering = ("-received_at", "pk")
    show_full_result_count = False
    list_per_page = 50
    list_before_template = "exchange/message_groups.html"
    actions = ("replay",)
    fields = (
        "id", "protocol", "kind", "sender", "participant_id", "control_id", "size", "network_address", "status",
        "error_code", "error_element", "error_text", "attempts", "received_at", "settled_at",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[InboundMessage]:
        """Without the bytes: they are never needed here."""
        rows: QuerySet[InboundMessage] = super().get_queryset(request)
        return rows.defer("raw", "reply", "digest")

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Operators and administrators may have a message tried again."""
        return bool(roles_of(request.user) & {"operator", "administrator"})

    @display(
        description="became", ordering="status",
        label={"received": "info", "accepted": "success", "refused": "warning", "failed": "danger"},
    )  # type: ignore[untyped-decorator]  # fmt: skip
    def standing(self, row: InboundMessage) -> str:
        """What became of it, as a badge."""
        return row.status

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, below the causes with their counts."""
        groups = inbox.error_groups()
        context = {"groups": groups[:20], "more_groups": max(0, len(groups) - 20)}
        answer: HttpResponse = super().changelist_view(request, {**(extra_context or {}), **context})
        return answer

    @admin.action(description="Try again …", permissions=["replay"])
    def replay(self, request: HttpRequest, chosen: QuerySet[InboundMessage]) -> HttpResponse | None:
        """Ask for the reason, with what would be tried; then run each through the handler of its protocol."""
        ids = list(chosen.order_by("received_at", "pk").values_list("pk", flat=True)[: REPLAYED_AT_ONCE + 1])
        reason = request.POST.get("reason", "").strip()[:500]
        if len(ids) > REPLAYED_AT_ONCE:
            self.message_user(request, f"Choose at most {REPLAYED_AT_ONCE} messages at once.", messages.ERROR)
            return None
        if not reason:
            context = {
                **self.admin_site.each_context(request),
                "title": "Try messages again",
                "opts": self.opts,
                "ids": [str(one) for one in ids],
                "by_cause": list(
                    chosen.order_by().values("protocol", "kind", "status", "error_code").annotate(n=Count("pk"))
                ),
                "action_name": "replay",
                "without_reason": "confirmed" in request.POST,
            }
            return TemplateResponse(request, "exchange/replay.html", context)
        outcomes: dict[str, int] = {}
        for one in ids:
            try:
                status = inbox.replay(one, caller_of(request), reason).status
            except BadRequest:
                status = "left alone (a question)"
            except HubError:
                status = "unreadable"
            outcomes[status] = outcomes.get(status, 0) + 1
        words = ", ".join(f"{count} {status}" for status, count in sorted(outcomes.items()))
        level = messages.SUCCESS if set(outcomes) == {"accepted"} else messages.WARNING
        self.message_user(request, f"Tried again: {words}.", level)
        return HttpResponseRedirect(request.get_full_path())
