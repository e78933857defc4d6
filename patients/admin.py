"""The index for administrators: persons with their records, links and events, read-only; and the review queue.

Who a person is stands on that person's page only, and in a list narrowed by a search: both are looks the patient sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display

from hie.exchange import (
    desk_search,
    desk_words,
    identity_pages,
    review_cases,
    review_figures,
    review_list,
    review_stakes,
    stewardship,
    values_by_hand,
    why_match,
)
from hie.exchange.access import Held
from hie.exchange.errors import AccessRefused, BadRequest
from hie.exchange.staff_pages import AuditedAdmin, bare, keep_reason, sentence, staff_of
from hie.standards.errors import HubError
from hie.trust.errors import FourEyes
from patients import by_hand, identifiers, review_queue
from patients.errors import (
    AlreadyUndone,
    InvalidMerge,
    NotClaimed,
    OwnProposal,
    ReviewClaimed,
    ReviewClosed,
    UnknownIdentityEvent,
    UnknownPatient,
    UnknownValue,
)
from patients.models import (
    IdentityEvent,
    ImportRun,
    Link,
    MatchDecision,
    MatchModel,
    PatientIdentifier,
    Person,
    ReviewAct,
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


class _IdentityPages(AuditedAdmin):
    """For the steward whom a registrar calls: find a person, ask whether two are one, move records out, undo a change.

    Nothing is decided here: what moves records becomes a case of the review queue, under its rules. A look at each person
    is recorded before the page is shown.
    """

    def get_urls(self) -> list[Any]:
        """With the pages of a person's identity."""
        pages: list[tuple[str, Any, str]] = [
            ("find/", self.find_view, "find"),
            ("<uuid:person_id>/identity/", self.identity_view, "identity"),
            ("<uuid:person_id>/split/", self.split_view, "split"),
            ("<uuid:person_id>/join/<uuid:other_id>/", self.join_view, "join"),
            ("<uuid:person_id>/why/", self.why_view, "why"),
        ]
        own = [
            path(route, self.admin_site.admin_view(view), name=f"patients_person_{name}") for route, view, name in pages
        ]
        return [*own, *super().get_urls()]

    def find_view(self, request: HttpRequest) -> HttpResponse:
        """A form that asks for a person; a POST answers, so that no name stands in an address."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        to = next((name for name in ("join", "into") if name in request.GET), "")
        about = self._living(request.GET[to]) if to else None
        found: list[identity_pages.Summary] | None = None
        more, error, form = False, None, request.POST
        if request.method == "POST":
            try:
                asked, reason = identity_pages.Asked.of(form), form.get("reason", "").strip()[:500]
                if not reason:
                    raise BadRequest("give a reason", element="reason")
                found, more = identity_pages.find(asked)
                found = [one for one in found if one.person_id != about]
                people = [one.person_id for one in found]
                self._look(request, people, reason, {"page": "find", "list": True})
                keep_reason(request, people, reason)
            except BadRequest as refused:
                error = refused
        return self._shown(
            request, "person_find", "Find a person", error,
            found=found, more=more,
            to=to, about=about, typed=form,
            kept=urlencode([("record", one) for one in request.GET.getlist("record") if one.isdigit()]),
            authorities=identity_pages.authorities(), longest=identity_pages.LONGEST,
        )  # fmt: skip

    def identity_view(self, request: HttpRequest, person_id: UUID) -> HttpResponse:
        """Records, links and changes of a person, and who it was on a day; a POST undoes a change."""
        person = self._person_for(request, person_id, "identity")
        if not isinstance(person, Person):
            return person
        error: Exception | None = None
        if request.method == "POST":
            try:
                return self._undone(request, person)
            except AccessRefused as refusal:
                raise PermissionDenied(str(refusal)) from refusal
            except HubError as refused:
                error = refused
        found = identity_pages.identity(person)
        then, at = None, None
        if "on" in request.GET:
            try:
                at = identity_pages.instant_of(request.GET["on"], request.GET.get("at", ""))
                then = identity_pages.then(person.pk, at)
            except BadRequest as refused:
                error = error or refused
        self._seen(request, person, {*found.people, *(one.now for one in then or ())}, "identity")
        asked = request.POST if request.method == "POST" else request.GET
        return self._shown(
            request, "person_identity", "Identity", error, page=found, person=person, then=then, at=at,
            on=request.GET.get("on", ""), at_time=request.GET.get("at", ""), today=timezone.now().date(),
            undoing=found.change(asked.get("event", "") or asked.get("undo", "")), typed=request.POST,
            done="done" in request.GET,
        )  # fmt: skip

    def _undone(self, request: HttpRequest, person: Person) -> HttpResponse:
        form = request.POST
        found = identity_pages.identity(person).change(form.get("event", ""))
        if form.get("act") != "undo":
            raise BadRequest("no such act", element="act")
        if found is None:
            raise UnknownIdentityEvent
        done = stewardship.undo_change(found.event_id, staff_of(request), form.get("reason", "")[:500])
        if done.item_id is not None:
            return _to_case(done.item_id)
        return HttpResponseRedirect(f"{request.path}?done=1#notice")

    def split_view(self, request: HttpRequest, person_id: UUID) -> HttpResponse:
        """Which records are somebody else's, and whose; a POST opens the case."""
        person = self._person_for(request, person_id, "split")
        if not isinstance(person, Person):
            return person
        into = self._living(request.GET["into"]) if request.GET.get("into") else None
        if into == person.pk:
            raise Http404
        if into is not None:
            # Whoever it is was looked for with a reason; an address that was typed is asked for one.
            given = self._reason_given(request, [into])
            if isinstance(given, HttpResponse) or not given:
                return given if isinstance(given, HttpResponse) else self._ask_reason(request, person)
        found = identity_pages.identity(person)
        marked = request.POST.getlist("record") if request.method == "POST" else request.GET.getlist("record")
        error: Exception | None = None
        if request.method == "POST":
            try:
                return self._parting(request, person, found, marked, into)
            except AccessRefused as refusal:
                raise PermissionDenied(str(refusal)) from refusal
            except (HubError, _LookAgain) as refused:
                error = refused
                found = identity_pages.identity(person)
        self._seen(request, person, {*found.people, *([into] if into else [])}, "split")
        other = identity_pages.summaries([into]).get(into) if into else None
        return self._shown(
            request, "person_split", "Move records out", error, page=found, person=person, other=other, marked=marked,
            typed=request.POST,
        )  # fmt: skip

    def _parting(
        self,
        request: HttpRequest,
        person: Person,
        found: identity_pages.Identity,
        marked: list[str],
        into: UUID | None,
    ) -> HttpResponse:
        form = request.POST
        if form.get("act") == "find":
            query = urlencode([("into", str(person.pk)), *(("record", one) for one in marked if one.isdigit())])
            return HttpResponseRedirect(f"{reverse('admin:patients_person_find')}?{query}")
        if form.get("act") != "open":
            raise BadRequest("no such act", element="act")
        if form.get("seen", "") != found.seen:
            raise _LookAgain
        records = identity_pages.chosen(found, marked)
        reason = form.get("reason", "")[:500]
        done = stewardship.open_parting(person.pk, records, staff_of(request), reason, into=into)
        return _to_case(done.item_id)

    def join_view(self, request: HttpRequest, person_id: UUID, other_id: UUID) -> HttpResponse:
        """Two persons who are said to be one; a POST opens the case that asks."""
        person = self._person_for(request, person_id, "join", other_id)
        if not isinstance(person, Person):
            return person
        other = self._living(str(other_id))
        if other == person.pk:
            return HttpResponseRedirect(reverse("admin:patients_person_identity", args=[person.pk]))
        error: Exception | None = None
        if request.method == "POST":
            try:
                reason = request.POST.get("reason", "")[:500]
                return _to_case(stewardship.open_case(person.pk, other, staff_of(request), reason).item_id)
            except AccessRefused as refusal:
                raise PermissionDenied(str(refusal)) from refusal
            except HubError as refused:
                error = refused
        self._seen(request, person, {person.pk, other}, "join")
        both = identity_pages.summaries([person.pk, other])
        return self._shown(
            request, "person_join", "Are these two one person?", error, person=person,
            both=[both[person.pk], both[other]], typed=request.POST,
        )  # fmt: skip

    def why_view(self, request: HttpRequest, person_id: UUID) -> HttpResponse:
        """Why this person is not one with another: a form that asks for the other, and with ``other`` the answer.

        A POST, so that no number stands in an address; both have a look in the log before anything is compared.
        """
        person = self._person_for(request, person_id, "why")
        if not isinstance(person, Person):
            return person
        error: BadRequest | None = None
        found: list[UUID] = []
        if request.method == "POST":
            try:
                found = self._others(request.POST)
            except BadRequest as refused:
                error = refused
        reason = request.POST.get("reason", "").strip()[:500] if found else ""
        self._seen(request, person, [person.pk], "why")
        if found:
            self._look(request, found, reason, {"page": "why", "row": str(person.pk)})
            keep_reason(request, found, reason)
        many = len(found) > 1
        return self._shown(
            request, "person_why", "Why did this not match?", error, person=person,
            about=identity_pages.summaries([person.pk])[person.pk], typed=request.POST,
            kept=request.POST.get("reason", "") or str(self._reason_given(request, [person.pk])),
            others=sorted(identity_pages.summaries(found).values(), key=lambda one: one.name) if many else (),
            match=why_match.match(person.pk, found[0]) if len(found) == 1 else None, longest=identity_pages.LONGEST,
        )  # fmt: skip

    def _others(self, form: Mapping[str, str]) -> list[UUID]:
        """Whom the number or id of a form may mean, one at least.

        Raises:
            BadRequest: nobody, or no reason to look.
        """
        if not form.get("reason", "").strip():
            raise BadRequest("give a reason", element="reason")
        try:
            words = desk_words.words_of(form.get("other", ""))
        except BadRequest as refused:
            raise BadRequest(str(refused), element="other") from refused
        found = desk_search.persons_by_number(words)
        if not found:
            raise BadRequest("nobody has this number or id: look at the spelling", element="other")
        return found

    def _living(self, person_id: str) -> UUID:
        """The person that this one is today; 404 where there is none."""
        try:
            found = identifiers.survivor(UUID(person_id))
        except ValueError as error:
            raise Http404 from error
        if found is None:
            raise Http404
        return found

    def _person_for(self, request: HttpRequest, person_id: UUID, page: str, *others: UUID) -> Person | HttpResponse:
        """The person of a page, once there is a reason to look; else the answer that asks for one, or leads to who he is now."""
        person: Person | None = self.get_object(request, str(person_id))
        if not self.has_view_permission(request, person):
            raise PermissionDenied
        if person is None:
            raise Http404
        if person.merged_into_id:
            there = reverse(f"admin:patients_person_{page}", args=[self._living(str(person.pk)), *others])
            return HttpResponseRedirect(there)
        given = self._reason_given(request, {person.pk, *(self._living(str(one)) for one in others)})
        if isinstance(given, HttpResponse):
            return given
        return person if given else self._ask_reason(request, person)

    def _seen(self, request: HttpRequest, person: Person, people: Iterable[UUID], page: str) -> None:
        reason = self._reason_given(request, [person.pk])
        self._look(request, people, str(reason), {"page": page, "row": str(person.pk)})

    def _shown(
        self, request: HttpRequest, template: str, title: str, error: Exception | None, **context: Any
    ) -> HttpResponse:
        problem, field, status = _problem(error)
        if isinstance(error, BadRequest) and error.element not in {"reason", "act"}:
            problem, field = sentence(error), error.element or "main"
        elif error is not None and field == "decision":
            field = "main"
        shown = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": title, "now": timezone.now(),
            "problem": problem, "problem_field": field, "queue_url": reverse("admin:patients_reviewitem_changelist"),
            **context,
        }  # fmt: skip
        return bare(TemplateResponse(request, f"backoffice/{template}.html", shown, status=status))


def _to_case(item_id: int | None) -> HttpResponse:
    return HttpResponseRedirect(f"{reverse('admin:patients_reviewitem_change', args=[item_id])}?opened=1#notice")


@admin.register(Person)
class PersonAdmin(_IdentityPages, _ReadOnly, ModelAdmin):  # type: ignore[misc]
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
                problem, where = _FIELDS_SAY[element]
            elif setting is not None and element in {part.name for part in setting.field.parts}:
                where = element
        elif error is not None:
            problem = _REFUSALS.get(type(error), "This could not be done. Nothing was changed.")
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
class SourceRecordAdmin(_OfRecords, _ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
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


class _CasePage(_ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    """One case of the review queue: a GET shows it, a POST acts on it. The look is recorded by `AuditedAdmin`."""

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The records side by side and the decision; what was posted is done, or told why it is not."""
        item: ReviewItem | None = self.get_object(request, unquote(object_id))
        if item is None or not self.has_view_permission(request, item):
            refused: HttpResponse = super().change_view(request, object_id, form_url, extra_context)
            return refused
        if request.method != "POST":
            return self._case(request, item)
        try:
            return self._done(request, item)
        except AccessRefused as refusal:
            raise PermissionDenied(str(refusal)) from refusal
        except (HubError, _LookAgain) as error:
            item.refresh_from_db()
            return self._case(request, item, error)

    def _done(self, request: HttpRequest, item: ReviewItem) -> HttpResponse:
        staff, act, reason = staff_of(request), request.POST.get("act", ""), request.POST.get("reason", "")[:500]
        match act:
            case "claim":
                stewardship.claim_review(item.pk, staff)
                return self._to(request, item.pk, anchor="decision")
            case "extend":
                stewardship.claim_review(item.pk, staff)
                item.refresh_from_db()
                return self._case(request, item)
            case "release":
                stewardship.release_review(item.pk, staff)
                return self._to(request)
            case "skip":
                stewardship.release_review(item.pk, staff)
                return self._next(request, after=item.pk)
            case "undo":
                stewardship.undo_review(item.pk, staff, reason)
                return self._to(request, item.pk, done=item.pk)
            case "decide" | "confirm" | "reject":
                if request.POST.get("seen", "") != review_cases.case(item).seen:
                    raise _LookAgain
                if act == "decide":
                    until = _midnight(request.POST.get("until", ""))
                    stewardship.decide_review(item.pk, request.POST.get("verdict", ""), staff, reason, until=until)
                elif act == "confirm":
                    stewardship.confirm_review(item.pk, staff, reason)
                else:
                    stewardship.reject_review(item.pk, staff, reason)
                return self._next(request, after=item.pk, done=item.pk)
        raise BadRequest("no such act", element="act")

    def _case(self, request: HttpRequest, item: ReviewItem, error: Exception | None = None) -> HttpResponse:
        me, now = f"Staff/{request.user.get_username()}", timezone.now()
        found = review_cases.case(item, me=me)
        if request.method == "POST":
            self._look(
                request, found.people, self.task(item) or "Review of a case decided before", {"row": str(item.pk)}
            )
        claimed = item.claimed_by and item.claimed_until is not None and item.claimed_until > now
        claim = (
            "closed" if not found.waits
            else "own-proposal" if item.proposed_by == me
            else "mine" if item.claimed_by == me
            else "other" if claimed
            else "free"
        )  # fmt: skip
        problem, field, status = _problem(error)
        # Whoever opened the case and decides it has said why already.
        first = found.acts[0] if found.acts else None
        opened = first if first is not None and first.kind == ReviewAct.Kind.OPENED and first.actor == me else None
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": found.heading, "case": found,
            "item": item, "claim": claim, "claim_live": claimed, "me": me, "now": now, "problem": problem,
            "problem_field": field, "done": self._last_act(request), "narrowed": request.GET.urlencode(),
            "queue_url": reverse("admin:patients_reviewitem_changelist"),
            "typed": {name: request.POST.get(name, "") for name in ("verdict", "reason", "until", "act")}
            | ({"reason": opened.reason} if opened is not None and request.method != "POST" else {}),
            "opened": "opened" in request.GET,
            "claimed_by": found.names.get(item.claimed_by, item.claimed_by),
            "proposed_by": found.names.get(item.proposed_by, item.proposed_by),
            "until_from": (now + timedelta(days=1)).date(), "until_at": (now + timedelta(days=7)).date(),
            "until_to": (now + review_queue.LONGEST_DEFERRAL).date(),
        }  # fmt: skip
        return bare(TemplateResponse(request, "backoffice/review_case.html", context, status=status))

    def _last_act(self, request: HttpRequest) -> review_list.Act | None:
        done = request.GET.get("done", "")
        me = f"Staff/{request.user.get_username()}"
        found = (
            review_list.acts(item_id=int(done), me=me, limit=1)
            if done.isascii() and done.isdigit() and len(done) < 18
            else []
        )
        return found[0] if found and found[0].actor == me else None

    def _next(self, request: HttpRequest, *, after: int | None = None, done: int | None = None) -> HttpResponse:
        """To the next case of the list that is free, taken; to the list when there is none."""
        narrowed = review_list.Narrowed.of(request.GET)
        ids = review_list.in_order(narrowed, actor=f"Staff/{request.user.get_username()}", after=after)
        taken = stewardship.claim_first(ids, staff_of(request))
        return self._to(request, taken, done=done)

    def _to(
        self, request: HttpRequest, item_id: int | None = None, *, done: int | None = None, anchor: str = ""
    ) -> HttpResponse:
        query = request.GET.copy()
        query.pop("done", None)
        if done is not None:
            query["done"] = str(done)
            anchor = "notice"
        page = "admin:patients_reviewitem_change" if item_id is not None else "admin:patients_reviewitem_changelist"
        url = reverse(page, args=[item_id] if item_id is not None else [])
        asked = f"?{query.urlencode()}" if query else ""
        return HttpResponseRedirect(f"{url}{asked}{'#' + anchor if anchor else ''}")


class _LookAgain(Exception):
    """The records have changed since the steward's page was made."""


_REFUSALS: Mapping[type[Exception], str] = {
    ReviewClaimed: "Another steward took this case before you. Nothing was decided.",
    NotClaimed: "Take this case first, then decide. Nothing was decided; what you typed is kept.",
    OwnProposal: "You proposed this verdict yourself. Another steward must confirm or reject it.",
    ReviewClosed: "This case was decided before. What was done stands below.",
    InvalidMerge: "The records were linked otherwise meanwhile, so this cannot be carried out. Look again.",
    AlreadyUndone: "This was undone before.",
    UnknownIdentityEvent: "This cannot be undone.",
    UnknownPatient: "One of the two has no record in use, so there is nothing to compare.",
    UnknownValue: "This value does not hold any more. Look again.",
    _LookAgain: "A record changed while you looked. Nothing was decided: look again, then decide.",
}
_FIELDS_SAY: Mapping[str, tuple[str, str]] = {
    "reason": ("Give a reason. One sentence is enough.", "why"),
    "verdict": ("Choose what you decide.", "verdict-first"),
    "until": (f"Choose a day from tomorrow on, within {review_queue.LONGEST_DEFERRAL.days} days.", "until"),
    "act": ("There is nothing here to undo, confirm or reject now.", "decision"),
}


def _problem(error: Exception | None) -> tuple[str, str, int]:
    """A refusal in words, the id of what it is about, and the status of the answer."""
    if error is None:
        return "", "", 200
    if isinstance(error, BadRequest):
        return *_FIELDS_SAY.get(error.element or "", (f"{error}.", "decision")), 422
    if isinstance(error, FourEyes):
        return f"{sentence(error)} Nothing was decided.", "decision", 409
    return _REFUSALS.get(type(error), "This could not be done. Nothing was changed."), "decision", 409


def _midnight(day: str) -> datetime | None:
    """The beginning of a day written as 2026-03-01, UTC; None when it is none."""
    try:
        return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None


@admin.register(ReviewItem)
class ReviewItemAdmin(AuditedAdmin, _CasePage):  # type: ignore[misc]  # unfold ships no types
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
