"""Questions to others, what they named, and messages as they came in: looked at, never edited.

The found count of a target is before consent: administrators see that there was an answer, never what it holds.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.decorators import display

from hie.exchange import concern_review, inbox, message_replay, query_words
from hie.exchange.access import Held
from hie.exchange.concern_rows import ConcernRefused
from hie.exchange.desk_communities import LOOKED_BACK, SLOW_OR_DOWN
from hie.exchange.errors import BadRequest
from hie.exchange.message_pages import ReplayPages, WhyPages
from hie.exchange.models import (
    Concern,
    ConcernAct,
    DeathObjection,
    InboundMessage,
    Query,
    QueryTarget,
    RemoteDocument,
)
from hie.exchange.staff_pages import AuditedAdmin, ReadOnly, TaskAdmin, bare, sentence, staff_of
from hie.standards.errors import HubError


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
        since = timezone.now() - LOOKED_BACK
        bad = QueryTarget.objects.filter(status__in=SLOW_OR_DOWN, withheld=False).values("query_id")
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
        """The way to its task, where it is decided."""
        url = reverse("admin:desk_task", args=["deaths", row.pk])
        return format_html('<a href="{}">Open its task: the evidence and the decision</a>', url)


@admin.register(Concern)
class ConcernAdmin(TaskAdmin, ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """The queue of concerns of patients: a list by deadline, and one page each; a GET shows it, a POST acts on it."""

    held = Held.AUDIT
    identifier_fields = ("identifier_id",)
    search_fields = ("=number",)

    def task(self, row: Concern) -> str:
        """Every concern is a task."""
        return f"Concern {row.number}"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """What waits, due first; a number that a patient quotes leads to its page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        number = request.GET.get("number", "").strip()[:32]
        named = Concern.objects.filter(number__iexact=number).first() if number and "\0" not in number else None
        if named is not None:
            return self._to(named.pk)
        page = request.GET.get("page", "1")
        wanted = int(page) if page.isascii() and page.isdigit() and len(page) < 6 else 1
        now = timezone.now()
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": "Concerns of patients",
            "listed": concern_review.listed(request.GET.get("state", ""), wanted, staff_of(request), now=now),
            "number": number, "now": now, "done": self._done(request),
        }  # fmt: skip
        return bare(TemplateResponse(request, "backoffice/concern_queue.html", context))

    def _act(self, request: HttpRequest, row: Concern) -> HttpResponse:
        staff, said = staff_of(request), request.POST.get("reason", "")[: concern_review.MAX_REASON + 1]
        outcome, seen = request.POST.get("outcome", ""), request.POST.get("seen", "")
        match request.POST.get("act", ""):
            case "skip":
                return self._to(concern_review.next_for(staff, after=row.pk, now=timezone.now()))
            case "reopen":
                concern_review.reopen(row.pk, staff, said)
                return self._to(row.pk, done=row.pk)
            case "decide" if outcome == "ask":
                concern_review.ask(row.pk, staff, said, as_seen=seen)
            case "decide" if outcome == "write":
                concern_review.write(row.pk, staff, said, as_seen=seen)
                return self._to(row.pk, done=row.pk)
            case "decide":
                concern_review.decide(row.pk, outcome, staff, said, as_seen=seen)
            case _:
                raise BadRequest("choose what to do", element="act")
        return self._to(concern_review.next_for(staff, after=row.pk, now=timezone.now()), done=row.pk)

    def _page(self, request: HttpRequest, row: Concern, error: HubError | None = None) -> HttpResponse:
        staff, view = staff_of(request), self.staff_view(request)
        if view is None:
            raise PermissionDenied
        detail = {"page": self.opts.label_lower, "row": str(row.pk), "concern": row.number, "by": row.raised_by}
        self._look(request, self.people([row]), self.task(row), detail)
        field, status = "", 200
        if error is not None:
            field = {"reason": "why", "outcome": "outcome-first"}.get(error.element or "", "main")
            status = 409 if isinstance(error, ConcernRefused) else 422
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": "Was this look right?",
            "case": concern_review.case(row, staff, view, now=timezone.now()), "concern": row, "now": timezone.now(),
            "problem": sentence(error), "problem_field": field, "longest": concern_review.MAX_REASON,
            "reason_words": concern_review.REASON_WORDS[row.reason], "done": self._done(request),
            "typed": {name: request.POST.get(name, "")[: concern_review.MAX_REASON] for name in ("outcome", "reason", "act")},
            "event_url": reverse("admin:audit_auditevent_change", args=[row.event_id]),
            "person_url": reverse("admin:patients_person_change", args=[next(iter(self.people([row])))]),
            "queue_url": reverse("admin:exchange_concern_changelist"),
        }  # fmt: skip
        return bare(TemplateResponse(request, "backoffice/concern_case.html", context, status=status))

    def _done(self, request: HttpRequest) -> ConcernAct | None:
        """What this reviewer did last with the concern that the address names."""
        number = request.GET.get("done", "")
        if not (number.isascii() and number.isdigit() and len(number) < 18):
            return None
        last = ConcernAct.objects.filter(concern=int(number)).select_related("concern").order_by("-at", "-pk").first()
        return last if last is not None and last.actor == f"Staff/{request.user.get_username()}" else None

    def _to(self, pk: int | None, *, done: int | None = None) -> HttpResponse:
        name = f"admin:exchange_concern_{'change' if pk is not None else 'changelist'}"
        asked = f"?done={done}#notice" if done is not None else ""
        return HttpResponseRedirect(f"{reverse(name, args=[pk] if pk is not None else [])}{asked}")


class OpenFilter(admin.SimpleListFilter):
    """Messages that wait for somebody."""

    title = "waits"
    parameter_name = "open"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """One choice."""
        return [("1", "Refused or failed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[InboundMessage]) -> QuerySet[InboundMessage]:
        """Those refused or failed, and not put aside."""
        waits = [InboundMessage.Status.REFUSED, InboundMessage.Status.FAILED]
        return queryset.filter(status__in=waits, aside__isnull=True) if self.value() == "1" else queryset


@admin.register(InboundMessage)
class InboundMessageAdmin(WhyPages, ReplayPages, ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold has no types
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
        "error_code", "error_element", "error_text", "attempts", "received_at", "settled_at", "again",
    )  # fmt: skip
    readonly_fields = ("again",)

    def get_fields(self, request: HttpRequest, obj: InboundMessage | None = None) -> Any:
        """Without the way to try it again for who may not."""
        shown = super().get_fields(request, obj)
        return shown if self.has_replay_permission(request) else [name for name in shown if name != "again"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[InboundMessage]:
        """Without the bytes: they are never needed here."""
        rows: QuerySet[InboundMessage] = super().get_queryset(request)
        return rows.defer("raw", "reply", "digest")

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
        context = {
            "groups": groups[:20], "more_groups": max(0, len(groups) - 20), "may_replay": self.has_replay_permission(request),
        }  # fmt: skip
        answer: HttpResponse = super().changelist_view(request, {**(extra_context or {}), **context})
        return answer

    @admin.action(description="Try again …", permissions=["replay"])
    def replay(self, request: HttpRequest, chosen: QuerySet[InboundMessage]) -> HttpResponse:
        """To the page that asks for the reason and looks ahead, with those that were chosen."""
        ids = chosen.order_by("received_at", "pk").values_list("pk", flat=True)[: message_replay.AT_ONCE + 1]
        return self.choose(request, [str(one) for one in ids])

    @admin.display(description="try it again")
    def again(self, row: InboundMessage) -> str:
        """The way to the page that does."""
        url = f"{reverse('admin:exchange_inboundmessage_replay')}?message={row.pk}"
        return format_html('<a href="{}">See what would come of it, then try it</a>', url)
