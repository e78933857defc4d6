"""The index for administrators: persons with their records, links and events, read-only; and the review queue.

Who a person is stands on that person's page only, and in a list narrowed by a search: both are looks the patient sees.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display

from hie.exchange import review_figures, review_list, review_stakes, stewardship, values_by_hand
from hie.exchange.access import Held
from hie.exchange.errors import AccessRefused, BadRequest
from hie.exchange.staff_pages import AuditedAdmin, ReadOnly, bare, sentence, staff_of
from hie.standards.errors import HubError
from patients import by_hand, identifiers
from patients.admin.cases import CasePage
from patients.admin.identity import IdentityPages
from patients.admin.parts import FIELDS_SAY, REFUSALS, OfRecords
from patients.errors import UnknownValue
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

CURRENT = Q(links__valid_to__isnull=True) & ~Q(links__kind=Link.Kind.REJECTED)


def _demographics(person: Person) -> dict[str, Any]:
    found: dict[str, Any] = person.golden.get("demographics") or {}
    return found


def _weights(weights: dict[str, float]) -> str:
    rows = sorted(weights.items(), key=lambda item: -abs(item[1]))
    return format_html_join("", "<div>{} {}</div>", ((name, f"{bits:+.1f}") for name, bits in rows))


class LinkInline(ReadOnly, TabularInline):  # type: ignore[misc]  # unfold ships no types
    model = Link
    extra = 0
    hide_title = True
    fields = ("source_record", "kind", "score", "field_weights", "model_version", "valid_from", "valid_to")
    readonly_fields = fields
    ordering = ("-valid_from", "pk")

    @display(description="weights (bits)")  # type: ignore[untyped-decorator]  # unfold ships no types
    def field_weights(self, link: Link) -> str:
        return _weights(link.weights)


class EventInline(ReadOnly, TabularInline):  # type: ignore[misc]  # unfold ships no types
    model = IdentityEvent
    fk_name = "person"
    extra = 0
    hide_title = True
    fields = ("at", "kind", "source_record", "other_person", "actor", "reason")
    readonly_fields = fields
    ordering = ("-seq",)


class IdentifierInline(ReadOnly, TabularInline):  # type: ignore[misc]  # unfold ships no types
    model = PatientIdentifier
    extra = 0
    hide_title = True
    fields = ("authority", "value", "created_at")
    readonly_fields = fields


@admin.register(Person)
class PersonAdmin(IdentityPages, ReadOnly, ModelAdmin):  # type: ignore[misc]
    held = Held.IDENTITIES
    person_fields = ("pk",)
    list_display = ("id", "state", "records", "created_at", "updated_at")
    search_fields = ("id__exact", "links__source_record__identifiers__value__exact")
    search_help_text = "The exact id of a person, or an identifier as its organization writes it"
    list_select_related = ("merged_into",)
    ordering = ("-created_at", "pk")
    fields = (
        "id",
        "name",
        "born",
        "gender",
        "address",
        "by_hand",
        "identity",
        "why",
        "merged_into",
        "created_at",
        "updated_at",
    )
    readonly_fields = ("name", "born", "gender", "address", "by_hand", "identity", "why")
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

    @display(description="values by hand")  # type: ignore[untyped-decorator]
    def by_hand(self, person: Person) -> str:
        if person.merged_into_id:
            return "at the person whom this one is part of"
        url = reverse("admin:patients_person_by_hand", args=[person.pk])
        return format_html('<a href="{}">See where each value comes from, set or withdraw one</a>', url)

    @display(description="identity")  # type: ignore[untyped-decorator]
    def identity(self, person: Person) -> str:
        url = reverse("admin:patients_person_identity", args=[person.pk])
        return format_html(
            '<a href="{}">See who it was when, move records out, join with another, undo a change</a>', url
        )

    @display(description="why did it not match")  # type: ignore[untyped-decorator]
    def why(self, person: Person) -> str:
        if person.merged_into_id:
            return "at the person whom this one is part of"
        url = reverse("admin:patients_person_why", args=[person.pk])
        return format_html('<a href="{}">See why it is not one with another person</a>', url)

    def get_urls(self) -> list[Any]:
        """With the page of values set by hand."""
        view = self.admin_site.admin_view(self.by_hand_view)
        return [path("<uuid:person_id>/by-hand/", view, name="patients_person_by_hand"), *super().get_urls()]

    def by_hand_view(self, request: HttpRequest, person_id: UUID) -> HttpResponse:
        """Where each detail comes from; a POST sets one by hand, withdraws it, or undoes either."""
        person: Person | None = self.get_object(request, str(person_id))
        if not self.has_view_permission(request, person):
            raise PermissionDenied
        if person is None:
            raise Http404
        if person.merged_into_id:
            survivor = identifiers.survivor(person.pk)
            return HttpResponseRedirect(reverse("admin:patients_person_by_hand", args=[survivor]))
        given = self._reason_given(request, [person.pk])
        if isinstance(given, HttpResponse):
            return given
        error: Exception | None = None
        if request.method == "POST":
            try:
                self._done_by_hand(request, person)
                return HttpResponseRedirect(f"{request.path}?done=1#notice")
            except AccessRefused as refusal:
                raise PermissionDenied(str(refusal)) from refusal
            except HubError as refused:
                error = refused
        if not given:
            return self._ask_reason(request, person)
        self._look(request, [person.pk], given, {"page": "by-hand", "row": str(person.pk)})
        return self._by_hand_page(request, person, error)

    def _done_by_hand(self, request: HttpRequest, person: Person) -> None:
        staff, reason, form = staff_of(request), request.POST.get("reason", "")[:500], request.POST
        act, number = form.get("act", ""), form.get("value_id", "")
        if act == "set":
            field = form.get("field", "")
            value = values_by_hand.value_of(field, {name: str(form.get(name, "")) for name in form})
            stewardship.set_value(person.pk, field, value, staff, reason)
        elif act in ("withdraw", "undo") and number.isascii() and number.isdigit() and len(number) < 18:
            if by_hand.person_of(int(number)) != person.pk:
                raise UnknownValue
            if act == "withdraw":
                stewardship.withdraw_value(int(number), staff, reason)
            else:
                stewardship.undo_value(int(number), staff, reason)
        else:
            raise BadRequest("no such act", element="act")

    def _by_hand_page(self, request: HttpRequest, person: Person, error: Exception | None) -> HttpResponse:
        asked = request.POST if request.method == "POST" else request.GET
        person.refresh_from_db()
        shown = values_by_hand.page(person)
        setting = shown.row(asked.get("field", "") or asked.get("set", ""))
        starts = asked if request.method == "POST" or setting is None else setting.inputs
        act = next((one for one in ("withdraw", "undo") if one in asked or asked.get("act") == one), "")
        problem, where = "", "main"
        if isinstance(error, BadRequest):
            problem, element = sentence(error), error.element or ""
            if element == "reason":
                problem, where = FIELDS_SAY[element]
            elif setting is not None and element in {part.name for part in setting.field.parts}:
                where = element
        elif error is not None:
            problem = REFUSALS.get(type(error), "This could not be done. Nothing was changed.")
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": "Values by hand",
            "page": shown, "setting": setting.field if setting else None, "longest": values_by_hand.LONGEST,
            "inputs": [(part, starts.get(part.name, "")) for part in setting.field.parts] if setting else (),
            "act": act, "acting": shown.act(asked.get("value_id", "") or asked.get(act, "")) if act else None,
            "problem": problem, "problem_field": where, "typed_reason": asked.get("reason", ""),
            "done": "done" in request.GET, "person_url": reverse("admin:patients_person_change", args=[person.pk]),
        }  # fmt: skip
        answer = TemplateResponse(request, "backoffice/by_hand.html", context, status=422 if error else 200)
        return bare(answer)

    @display(description="state", label={"current": "success", "merged": "warning"})  # type: ignore[untyped-decorator]  # unfold ships no types
    def state(self, person: Person) -> str:
        return "merged" if person.merged_into_id else "current"


@admin.register(SourceRecord)
class SourceRecordAdmin(OfRecords, ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    record_fields = ("pk",)
    list_display = ("id", "participant_id", "status", "created_at", "updated_at")
    list_filter = ("status",)
    search_fields = ("identifiers__value__exact", "participant_id__exact")
    ordering = ("-updated_at", "pk")
    fields = ("participant_id", "status", "replaced_by", "created_at", "updated_at", "why")
    readonly_fields = ("why",)
    show_full_result_count = False
    inlines = (IdentifierInline,)

    @display(description="why did it not match")  # type: ignore[untyped-decorator]
    def why(self, record: SourceRecord) -> str:
        link = Link.objects.filter(source_record=record, valid_to__isnull=True).exclude(kind=Link.Kind.REJECTED).first()
        if link is None:
            return "it belongs to nobody"
        url = reverse("admin:patients_person_why", args=[link.person_id])
        return format_html('<a href="{}">See why its person is not one with another</a>', url)


@admin.register(ReviewItem)
class ReviewItemAdmin(AuditedAdmin, CasePage):
    """The review queue: a list without names, one page a case, what was done, and figures."""

    held = Held.IDENTITIES
    list_filter = ("status", "kind")

    def people(self, rows: Iterable[Any]) -> set[UUID]:
        """Those whom the case is between today: the ones its page shows."""
        return {person for row in rows for person in review_stakes.persons(row)}

    def task(self, row: ReviewItem) -> str:
        """Opening an item of the queue is the task, while it waits."""
        waits = row.status in {ReviewItem.Status.OPEN, ReviewItem.Status.DEFERRED}
        return f"Review of {row.kind.replace('-', ' ')}, item {row.pk}" if waits else ""

    def get_urls(self) -> list[Any]:
        """With the pages beside the list."""
        pages = [("done/", self.done_view, "done"), ("figures/", self.figures_view, "figures")]
        own = [
            path(route, self.admin_site.admin_view(view), name=f"patients_reviewitem_{name}")
            for route, view, name in pages
        ]
        return [*own, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """What waits, most at stake first; a POST takes the next case."""
        self._let_in(request)
        if request.method == "POST":
            return self._next(request)
        me = f"Staff/{request.user.get_username()}"
        listed = review_list.listed(review_list.Narrowed.of(request.GET), actor=me)
        return self._page(request, "review_queue", "Review queue", listed=listed, me=me, done=self._last_act(request))

    def done_view(self, request: HttpRequest) -> HttpResponse:
        """What was done lately: by this steward, or by all; each can be undone here."""
        self._let_in(request)
        me, everybody = f"Staff/{request.user.get_username()}", request.GET.get("who") == "all"
        acts = review_list.acts(actor="" if everybody else me, me=me)
        return self._page(request, "review_done", "Cases done", acts=acts, everybody=everybody)

    def figures_view(self, request: HttpRequest) -> HttpResponse:
        """How the queue and the links are doing; a POST draws links at random for review."""
        self._let_in(request)
        found, problem = review_figures.figures(), ""
        if request.method == "POST":
            try:
                drawn = stewardship.draw_sample(staff_of(request), found.sample_waits)
            except BadRequest:
                problem = f"No link was drawn: {found.sample_waits} drawn links wait already. Review those first."
            else:
                return HttpResponseRedirect(f"{request.path}?drawn={drawn}#notice")
        drawn_now = request.GET.get("drawn", "")
        return self._page(
            request, "review_figures", "Figures of the review", figures=found, problem=problem,
            drawn=int(drawn_now) if drawn_now.isascii() and drawn_now.isdigit() and len(drawn_now) < 4 else None,
            sample=stewardship.SAMPLE,
        )  # fmt: skip

    def _let_in(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def _page(self, request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
        shown = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": title, "now": timezone.now(),
            "queue_url": reverse("admin:patients_reviewitem_changelist"), **context,
        }  # fmt: skip
        return bare(TemplateResponse(request, f"backoffice/{template}.html", shown))


@admin.register(IdentityEvent)
class IdentityEventAdmin(AuditedAdmin, ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    held = Held.IDENTITIES
    person_fields = ("person_id", "other_person_id")
    list_display = ("seq", "at", "kind", "person", "source_record", "actor")
    list_filter = ("kind",)
    list_select_related = ("person", "source_record")
    search_fields = ("person__id__exact",)
    ordering = ("-seq",)
    show_full_result_count = False


@admin.register(MatchDecision)
class MatchDecisionAdmin(OfRecords, ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    record_fields = ("record_a_id", "record_b_id")
    list_display = ("id", "verdict", "record_a", "record_b", "reviewer", "decided_at", "withdrawn_at")
    list_filter = ("verdict",)
    list_select_related = ("record_a", "record_b")
    ordering = ("-decided_at", "pk")


@admin.register(MatchModel)
class MatchModelAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    list_display = ("version", "status", "created_at")
    ordering = ("-created_at", "pk")
    fields = ("version", "status", "statistics", "created_at")


@admin.register(ImportRun)
class ImportRunAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
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
