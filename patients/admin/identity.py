"""The pages on which a steward finds a person, sees who it is and why, joins, parts and undoes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone

from hie.exchange import desk_search, desk_words, identity_pages, stewardship, why_match
from hie.exchange.errors import AccessRefused, BadRequest
from hie.exchange.staff_pages import AuditedAdmin, bare, keep_reason, sentence, staff_of
from hie.standards.errors import HubError
from patients import identifiers
from patients.admin.parts import LookAgain, problem_of
from patients.errors import UnknownIdentityEvent
from patients.models import Person


class IdentityPages(AuditedAdmin):
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
            except (HubError, LookAgain) as refused:
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
            raise LookAgain
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
        problem, field, status = problem_of(error)
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
