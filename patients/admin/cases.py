"""The page of one case of the review queue: the evidence, the verdict with its reason, undo, the next case."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from unfold.admin import ModelAdmin

from hie.exchange import review_cases, review_list, stewardship
from hie.exchange.errors import AccessRefused, BadRequest
from hie.exchange.staff_pages import ReadOnly, bare, staff_of
from hie.standards.errors import HubError
from patients import review_queue
from patients.admin.parts import LookAgain, problem_of
from patients.models import ReviewAct, ReviewItem


class CasePage(ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
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
        except (HubError, LookAgain) as error:
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
                    raise LookAgain
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
        problem, field, status = problem_of(error)
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


def _midnight(day: str) -> datetime | None:
    """The beginning of a day written as 2026-03-01, UTC; None when it is none."""
    try:
        return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None
