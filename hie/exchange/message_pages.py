"""Pages about messages: why one did not arrive, and trying some again: which and why, what would come of it, what came.

For `hie/exchange/admin.py`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone

from hie.directory import queries as directory
from hie.exchange import message_replay, why_message
from hie.exchange.errors import AccessRefused, BadRequest, NotFound
from hie.exchange.staff_pages import bare, caller_of, roles_of

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Any]
else:
    _Base = object

REPLAYERS = frozenset({"operator", "administrator"})
LONGEST_REASON, LONGEST_ID = 500, 200
_CAUSE = ("protocol", "code", "element", "kind")


class WhyPages(_Base):
    """On the page of a message what became of it, step by step; and a page for one that never came. No patient is told of."""

    change_form_before_template = "exchange/message_why.html"

    def get_urls(self) -> list[Any]:
        """With the page for a message that is missed."""
        view = self.admin_site.admin_view(self.missing_view)
        return [path("missing/", view, name="exchange_inboundmessage_missing"), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The message, below why it did or did not arrive."""
        row = self.get_object(request, unquote(object_id)) if self.has_view_permission(request) else None
        context = {**(extra_context or {}), "why": why_message.kept(row) if row is not None else None}
        answer: HttpResponse = super().change_view(request, object_id, form_url, context)
        return answer

    def missing_view(self, request: HttpRequest) -> HttpResponse:
        """Why a message is not there, by its control id, its organization and the time: a GET, as none of it is of a patient."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked, today = request.GET, timezone.now().date()
        typed = {
            "control": asked.get("control", "").strip()[:LONGEST_ID],
            "organization": asked.get("organization", "")[:LONGEST_ID],
            "since": asked.get("since", f"{today - timedelta(days=7):%Y-%m-%d}")[:10],
            "until": asked.get("until", f"{today:%Y-%m-%d}")[:10],
        }
        found, problem, field = None, "", "main"
        if "control" in asked or "organization" in asked:
            try:
                since, until = _day(typed["since"], "since"), _day(typed["until"], "until") + timedelta(days=1)
                found = why_message.missing(typed["control"], typed["organization"], since, until)
            except BadRequest as refused:
                problem, field = f"{str(refused)[:1].upper()}{str(refused)[1:]}.", refused.element or "main"
        names = sorted((facts.name or key, key) for key, facts in directory.participants().items())
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": "Why did a message not arrive?",
            "asked": typed, "missing": found, "problem": problem, "problem_field": field, "organizations": names,
            "longest": LONGEST_ID, "today": today, "list_url": reverse("admin:exchange_inboundmessage_changelist"),
        }  # fmt: skip
        return bare(TemplateResponse(request, "exchange/missing_message.html", context, status=422 if problem else 200))


def _day(text: str, element: str) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise BadRequest("choose a day", element=element) from error
    if not 1900 < day.year < 9000:
        raise BadRequest("choose a day", element=element)
    return datetime.combine(day, time(), tzinfo=UTC)


class ReplayPages(_Base):
    """Choose with a reason, look ahead, try, see what came: one address for the first three, one for the last."""

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Operators and administrators may have a message tried again."""
        return bool(roles_of(request.user) & REPLAYERS)

    def get_urls(self) -> list[Any]:
        """With the pages that try messages again."""
        pages: list[tuple[str, Any, str]] = [
            ("replay/", self.replay_view, "replay"),
            ("replay/<uuid:run_id>/", self.replayed_view, "replayed"),
        ]
        own = [
            path(route, self.admin_site.admin_view(view), name=f"exchange_inboundmessage_{name}")
            for route, view, name in pages
        ]
        return [*own, *super().get_urls()]

    def replay_view(self, request: HttpRequest) -> HttpResponse:
        """Which messages and why; a POST looks ahead, or tries what was looked at."""
        self._let_in(request)
        if request.method != "POST":
            return self._named(request)
        form = request.POST
        if form.get("act") == "try":
            try:
                return self._tried(request)
            except NotFound as absent:
                raise Http404 from absent
            except BadRequest as refused:
                return self._looked(request, form.get("looked", ""), refused)
        return self._looked(request, form.get("reason", ""))

    def choose(self, request: HttpRequest, ids: list[str]) -> HttpResponse:
        """The page that asks why these messages are tried."""
        self._let_in(request)
        try:
            return self._shown(request, "replay_choose", None, picked=message_replay.chosen(ids))
        except BadRequest as refused:
            return self._shown(request, "replay_choose", refused, picked=None)

    def _named(self, request: HttpRequest) -> HttpResponse:
        """Those that the address names: by id, or by their cause."""
        if "message" in request.GET:
            return self.choose(request, request.GET.getlist("message"))
        protocol, code, element, kind = (request.GET.get(name, "") for name in _CAUSE)
        try:
            picked = message_replay.of_cause(protocol, code, element, kind)
        except NotFound:
            # Somebody else was quicker.
            return HttpResponseRedirect(f"{reverse('admin:exchange_inboundmessage_changelist')}?open=1")
        return self._shown(request, "replay_choose", None, picked=picked)

    def _looked(self, request: HttpRequest, reason: str, refused: BadRequest | None = None) -> HttpResponse:
        """What would come of it; `refused`: anew, as the trying lacked something, and what was typed stays."""
        picked = None
        try:
            picked = message_replay.chosen(request.POST.getlist("of"))
            ahead = message_replay.look_ahead(picked.ids, caller_of(request), reason[:LONGEST_REASON])
        except BadRequest as problem:
            return self._shown(request, "replay_choose", problem, picked=picked)
        return self._shown(request, "replay_ahead", refused, ahead=ahead)

    def replayed_view(self, request: HttpRequest, run_id: UUID) -> HttpResponse:
        """What came of a run."""
        self._let_in(request)
        try:
            found = message_replay.result(run_id)
        except NotFound as absent:
            raise Http404 from absent
        return self._shown(request, "replay_done", None, run=found)

    def _tried(self, request: HttpRequest) -> HttpResponse:
        form = request.POST
        try:
            run_id = UUID(form.get("run", ""))
        except ValueError as error:
            raise BadRequest("look ahead first", element="messages") from error
        try:
            message_replay.run(
                run_id, form.getlist("message"), caller_of(request), form.get("reason", "")[:LONGEST_REASON]
            )
        except AccessRefused as refusal:
            raise PermissionDenied(str(refusal)) from refusal
        url = reverse("admin:exchange_inboundmessage_replayed", args=[run_id])
        return HttpResponseRedirect(f"{url}#notice")

    def _let_in(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request) or not self.has_replay_permission(request):
            raise PermissionDenied

    def _shown(self, request: HttpRequest, template: str, error: BadRequest | None, **context: Any) -> HttpResponse:
        problem = "" if error is None else f"{str(error)[:1].upper()}{str(error)[1:]}."
        field = {"reason": "why", "messages": "messages"}.get((error.element or "") if error else "", "main")
        shown = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": _TITLES[template],
            "problem": problem, "problem_field": field, "typed": request.POST, "at_once": message_replay.AT_ONCE,
            "looks_ahead_s": int(message_replay.LOOKS_AHEAD_S),
            "list_url": reverse("admin:exchange_inboundmessage_changelist"), **context,
        }  # fmt: skip
        return bare(TemplateResponse(request, f"exchange/{template}.html", shown, status=422 if problem else 200))


_TITLES = {
    "replay_choose": "Try messages again",
    "replay_ahead": "What would come of it",
    "replay_done": "What came of it",
}
